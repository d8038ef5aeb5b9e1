"""What the measurement of start-up makes of its samples, and what its registry answers."""

from __future__ import annotations

import json

from start_up import CASES, EMPTY, LIBRARIES, Sample, figures, imports, manifest, table


def samples(*seconds: float, memory: float = 50.0) -> list[Sample]:
    return [Sample(wall=each * 2, processor=each, memory=memory) for each in seconds]


def test_ratio_is_that_of_medians_of_processor_time_to_the_reference_of_the_case() -> None:
    taken = {
        "": {EMPTY: samples(0.01), LIBRARIES: samples(0.1, 0.2, 9.0)},
        "this": {case.name: samples(0.03, 0.5, 0.5) for case in CASES},
    }
    found = {each["command"]: each["ratio"] for each in figures(taken)["commands"]}
    assert found["plan"] == 2.5
    assert found["--version"] == 50.0


def test_table_marks_what_is_over_its_limit() -> None:
    taken = {
        "": {EMPTY: samples(0.01), LIBRARIES: samples(0.2)},
        "this": {case.name: samples(0.41, memory=61.0) if case.name == "plan" else samples(0.01) for case in CASES},
    }
    lines = {line.split()[1]: line for line in table(figures(taken)).splitlines() if line.startswith("this")}
    assert lines["plan"].endswith("2.0 over memory over")
    assert lines["bake"].endswith("2.5")


def test_imports_are_summed_by_library_and_the_heaviest_come_first() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1000 |       1000 |   yaml.reader\n"
        "import time:      2000 |       3000 | yaml\n"
        "import time:      4000 |       4000 | json.decoder\n"
        "a warning of the command\n"
    )
    libraries, modules = imports(text)
    assert libraries == {"yaml": (2, 3.0), "standard library": (1, 4.0)}
    assert modules[0] == (4.0, "json.decoder")


def test_manifest_carries_key_and_inputs() -> None:
    found = json.loads(manifest("0" * 64, '{"a":"b"}'))
    assert found["annotations"] == {"dev.buildsys.key": "0" * 64, "dev.buildsys.inputs": '{"a":"b"}'}
