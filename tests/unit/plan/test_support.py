"""What is near the end of its support is warned about, and what is beyond it is left out of `--all` alone."""

from __future__ import annotations

import io
from datetime import date

import pytest

from buildsys.bake.targets import plan_definition
from buildsys.commands.plan import chosen_targets
from buildsys.errors import InvalidInput
from buildsys.plan.plan import Plan
from buildsys.plan.support import support_warnings
from buildsys.report.console import Screen
from buildsys.report.documents import list_document, plan_document
from buildsys.report.tables import show_list, show_stack
from tests.support.trees import diagnostics, planned, tree

STACKS = """\
stacks:
  own: {layers: [system: {release: 1}], supported_until: 2030-01-31}
  one: {layers: [system: {release: 1}, fast]}
  also: {layers: [system: {release: 1}]}
  two: {layers: [system: {release: 2}]}
  old: {layers: [system: {release: 1}], deprecated: old}
"""
END = date(2027, 4, 30)
BEFORE, NEAR, AFTER = date(2027, 1, 29), date(2027, 1, 30), date(2027, 5, 1)


def files(stacks: str = STACKS, until: str = "{1: 2027-04-30}") -> dict[str, str]:
    found = tree(stacks)
    layer = "layers/system/layer.yaml"
    found[layer] = found[layer].replace("label: true}", f"label: true, supported_until: {until}}}")
    return found


@pytest.fixture
def plan() -> Plan:
    return planned(files())


def warned(plan: Plan, today: date) -> list[str]:
    return [each.message for each in support_warnings(plan, today)]


def test_value_of_a_parameter_ends_the_support_of_all_stacks_that_have_it(plan: Plan) -> None:
    found = {each.stack: each.support and (each.support.until, each.support.value) for each in plan.stacks}
    of_value = (END, "`system` release 1")
    assert found == {"own": (date(2030, 1, 31), ""), "one": of_value, "also": of_value, "two": None, "old": of_value}


def test_warning_comes_ninety_days_before_once_for_all_stacks_of_a_value(plan: Plan) -> None:
    assert warned(plan, BEFORE) == []
    assert warned(plan, NEAR) == ["support of `also`, `one` ends on 2027-04-30, as that of `system` release 1"]
    (found,) = support_warnings(plan, NEAR)
    assert str(found.location).startswith("layers/system/layer.yaml:8:")


def test_last_day_still_has_support(plan: Plan) -> None:
    assert " ends on " in warned(plan, END)[0]
    assert " ended on " in warned(plan, AFTER)[0]
    assert chosen_targets(plan, [], everything=True, today=END) == (("also", "one", "own", "two"), ())


def test_everything_leaves_out_what_is_beyond_its_support_and_reports_it(plan: Plan) -> None:
    for everything in (True, False):
        targets, notes = chosen_targets(plan, [], everything=everything, today=AFTER)
        assert targets == ("own", "two")
        said = "left out: support of `also`, `one` ended on 2027-04-30, as that of `system` release 1"
        assert [each.message for each in notes] == [said]


def test_name_means_an_image_whatever_the_day(plan: Plan) -> None:
    assert chosen_targets(plan, ["one"], everything=False, today=AFTER) == (("one",), ())
    assert chosen_targets(plan, ["default"], everything=False, today=AFTER)[0] == ("also", "one", "own", "two")


def test_nothing_left_is_an_error_and_no_empty_run() -> None:
    plan = planned(files("stacks:\n  one: {layers: [system], supported_until: 2020-01-31}\n"))
    with pytest.raises(InvalidInput, match="left out: support of `one` ended on 2020-01-31"):
        chosen_targets(plan, [], everything=True, today=AFTER)


def test_bake_file_keys_and_tags_do_not_depend_on_support(plan: Plan) -> None:
    without = planned(files(STACKS.replace(", supported_until: 2030-01-31", ""), "{}"))
    assert plan_definition(plan).to_hcl() == plan_definition(without).to_hcl()


def test_family_row_and_stack_have_a_date_of_their_own() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{r}'\n    layers: [system: {release: '{r}'}]\n"
        "    supported_until: 2028-01-01\n    matrix: [{r: 1}, {r: 2, supported_until: 2029-01-01}]\n"
        "    stacks: {f1: {supported_until: 2030-01-01}}\n"
    )
    found = {each.stack: str(each.support.until) for each in planned(files(text)).stacks if each.support}
    assert found == {"f1": "2030-01-01", "f2": "2029-01-01"}


def test_list_show_and_documents_name_the_day(plan: Plan) -> None:
    stream = io.StringIO()
    show_list(plan, list(plan.indexes), Screen(stream, {}))
    assert "  one   cpu  supported until 2027-04-30\n" in stream.getvalue()
    assert "  old   cpu  deprecated: old\n" in stream.getvalue()
    stream = io.StringIO()
    show_stack(plan, "one", Screen(stream, {}))
    assert "supported until 2027-04-30, as `system` release 1\n" in stream.getvalue()
    days = {each["name"]: each["supported_until"] for each in list_document(plan)["stacks"]}
    assert days == {"own": "2030-01-31", "one": "2027-04-30", "also": "2027-04-30", "two": None, "old": "2027-04-30"}
    ends = tuple(support_warnings(plan, NEAR))
    assert plan_document(plan, warnings=ends)["warnings"][-1] == ends[0].message


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("{1: 2027-02-30}", "`2027-02-30`: expected a day of the calendar"),
        ("{1: soon}", "`soon`: expected a date"),
        ("{3: 2027-04-30}", "`3` is not a value of `release`"),
    ],
)
def test_day_or_value_that_does_not_exist_is_refused(until: str, message: str) -> None:
    assert message in [found[1] for found in diagnostics(files(until=until))]
