import pytest

from buildsys.errors import Diagnostic, ExitCode, InvalidInput, Location, nearest, use_one_of


def test_diagnostics_are_sorted_by_location_and_reported_once() -> None:
    late = Diagnostic(message="late", location=Location(file="stacks.yaml", line=9))
    early = Diagnostic(message="early", location=Location(file="stacks.yaml", line=2))
    error = InvalidInput([late, early, late])
    assert error.diagnostics() == (early, late)
    assert error.exit_code is ExitCode.INVALID


def test_error_with_two_hints_is_reported_once() -> None:
    at = Location(file="stacks.yaml", line=2)
    first, second = (Diagnostic(message="unknown key", location=at, hint=hint) for hint in ("use `a`", "use `b`"))
    assert InvalidInput([second, first]).diagnostics() == InvalidInput([first, second]).diagnostics() == (first,)


@pytest.mark.parametrize("typed", ["name-77", "nam-7777", "Name-7777"])
def test_near_word_is_found_among_very_many(typed: str) -> None:
    assert nearest(typed, [f"name-{number}" for number in range(10_000)]) is not None


def test_hint_lists_the_first_of_very_many_words() -> None:
    hint = use_one_of(f"name-{number}" for number in range(10_000)) or ""
    assert hint.startswith("use one of `name-0`, `name-1`, ")
    assert hint.endswith(", `name-49`, …")
    assert "…" not in (use_one_of(f"name-{number}" for number in range(50)) or "")
