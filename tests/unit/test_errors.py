from buildsys.errors import ExitCode, InvalidInput, Mistake, Place


def test_mistakes_are_sorted_by_place_and_told_once() -> None:
    late = Mistake(message="late", place=Place(file="stacks.yaml", line=9))
    early = Mistake(message="early", place=Place(file="stacks.yaml", line=2))
    error = InvalidInput([late, early, late])
    assert error.mistakes() == (early, late)
    assert error.exit_code is ExitCode.INVALID
