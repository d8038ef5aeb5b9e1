from buildsys.errors import Diagnostic, ExitCode, InvalidInput, Location


def test_diagnostics_are_sorted_by_location_and_reported_once() -> None:
    late = Diagnostic(message="late", location=Location(file="stacks.yaml", line=9))
    early = Diagnostic(message="early", location=Location(file="stacks.yaml", line=2))
    error = InvalidInput([late, early, late])
    assert error.diagnostics() == (early, late)
    assert error.exit_code is ExitCode.INVALID
