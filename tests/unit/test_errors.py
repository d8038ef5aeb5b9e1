from buildsys.errors import Diagnostic, ExitCode, InvalidInput, Location


def test_mistakes_are_sorted_by_place_and_told_once() -> None:
    late = Diagnostic(message="late", location=Location(file="stacks.yaml", line=9))
    early = Diagnostic(message="early", location=Location(file="stacks.yaml", line=2))
    error = InvalidInput([late, early, late])
    assert error.diagnostics() == (early, late)
    assert error.exit_code is ExitCode.INVALID
