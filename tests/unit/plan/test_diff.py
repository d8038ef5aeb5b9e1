"""What differs between two plans, and the deepest input that brought it about."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from buildsys.errors import InvalidInput
from buildsys.plan.actions import Difference
from buildsys.plan.diff import Changed, compare, users_of, why_path
from tests.support.keyed import file, keyed
from tests.support.trees import FAST, ladder, planned, tree

COMM = FAST.replace("/opt/fast", "/opt/comm").replace("requires: [os]", "requires: [os, fast]")
TAKES_FAST = (
    "FROM toolchain AS build\nCOPY --from=fast / /\nARG VERSION\nARG FLAGS\nRUN make\n"
    "FROM scratch\nCOPY --from=build /artifact /\n"
)
STACKS = "stacks:\n  one: {layers: [system, comm]}\n  two: {layers: [system]}\n"
TOOLS, FAST_NODE, COMM_NODE = "tools-1", "fast-1_0-tools-1", "comm-1_0-tools-1-with-fast-1_0"


def files(stacks: str = STACKS) -> dict[str, str]:
    found = {**tree(stacks, comm=COMM), "layers/comm/Dockerfile": TAKES_FAST}
    rules = {f"layers/{name}/.dockerignore": "*\n" for name in ("system", "tools", "fast", "comm")}
    return {**found, **rules}


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, Changed]:
    return {each.target: each for each in compare(keyed(before), keyed(after))}


def test_nothing_differs_between_equal_sources() -> None:
    assert compare(keyed(files()), keyed(files())) == ()


def test_cause_goes_to_the_deepest() -> None:
    dockerfile = files()["layers/tools/Dockerfile"]
    found = changes(files(), {**files(), "layers/tools/Dockerfile": dockerfile + "#\n"})
    difference = Difference(name="dockerfile", before=file(dockerfile).content, after=file(f"{dockerfile}#\n").content)
    assert list(found) == [TOOLS, FAST_NODE, COMM_NODE, "one"]
    assert {each.change for each in found.values()} == {"changed"}
    assert {(each.cause, each.difference) for each in found.values()} == {(TOOLS, difference)}
    assert [each.kind for each in found.values()] == ["node", "node", "node", "image"]
    assert [each.title for each in found.values()] == ["tools 1", "fast 1.0 on tools 1", "comm 1.0 on tools 1", "one"]


def test_cause_of_an_image_is_its_own_setting_where_no_node_differs() -> None:
    system = files()["layers/system/layer.yaml"].replace("C.UTF-8", "de")
    found = changes(files(), {**files(), "layers/system/layer.yaml": system})
    assert list(found) == ["one", "two"]
    assert found["two"].cause == "two"
    assert found["two"].difference == Difference(name="variable LANG", before="C.UTF-8", after="de")


def test_own_input_goes_before_what_is_below() -> None:
    # The artifact differs by its own Dockerfile and by its toolchain: a person who asks means the first.
    after = {**files(), "layers/tools/Dockerfile": "FROM base\n#\n", "layers/fast/Dockerfile": "#\n" + TAKES_ALONE}
    found = changes(files(), after)
    assert found[FAST_NODE].cause == FAST_NODE
    assert found[COMM_NODE].cause == TOOLS


TAKES_ALONE = files()["layers/fast/Dockerfile"]


def test_moved_parent_is_the_cause_of_every_change_of_its_stacks() -> None:
    lock = files()["buildsys.lock"].replace("1" * 64, "2" * 64)
    found = changes(files(), {**files(), "buildsys.lock": lock})
    assert list(found) == ["system-1", "one", "two"]
    moved = Difference(name="base", before=f"sha256:{'1' * 64}", after=f"sha256:{'2' * 64}")
    assert {(each.cause, each.difference) for each in found.values()} == {("system-1", moved)}


def test_added_and_removed_are_listed_with_their_kind_only() -> None:
    fewer = files("stacks:\n  two: {layers: [system]}\n")
    gone = changes(files(), fewer)
    assert {name: (each.change, each.kind, each.cause) for name, each in gone.items()} == {
        TOOLS: ("removed", "node", None),
        FAST_NODE: ("removed", "node", None),
        COMM_NODE: ("removed", "node", None),
        "one": ("removed", "image", None),
    }
    assert {each.change for each in changes(fewer, files()).values()} == {"added"}
    assert list(changes(fewer, files())) == list(gone)


def test_image_with_a_node_that_is_new_names_the_node() -> None:
    later = files(STACKS.replace("comm]", "fast: 2.0, comm]"))
    found = changes(files(), later)["one"]
    assert (found.change, found.cause, found.difference) == ("changed", "comm-1_0-tools-1-with-fast-2_0", None)


def test_image_that_lost_an_artifact_is_its_own_cause() -> None:
    wide, narrow = files(STACKS.replace("[system]", "[system, fast]")), files()
    found = changes(wide, narrow)["two"]
    assert found.cause == "two"
    assert found.difference == Difference(name="order of artifacts", before="fast", after="")


def test_users_are_the_stacks_that_have_a_node_directly_or_not() -> None:
    made = planned(files())
    assert users_of(made, TOOLS) == ("one",)
    assert users_of(made, "system-1") == ("one", "two")
    assert users_of(made, "gone") == ()


def calls(function: Callable[[], object]) -> int:
    """Return how many functions of Python a call of one comes to."""
    found = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal found
        found += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


LEVELS = 14


def test_users_are_found_in_one_pass_however_many_ways_lead_down() -> None:
    made = planned(ladder(LEVELS))
    assert users_of(made, "left0-1_0-tools-1") == ("one",)
    assert users_of(made, "fast-1_0-tools-1") == ("two",)
    # Whether `one` has it is known only when all of it was looked at.
    assert calls(lambda: users_of(made, "fast-1_0-tools-1")) < 20 * len(made.targets)


def test_what_differs_is_found_without_going_every_way_down() -> None:
    before = ladder(LEVELS)
    after = {**before, "layers/left0/Dockerfile": before["layers/left0/Dockerfile"] + "#\n"}
    two = keyed(before), keyed(after)
    assert {each.cause for each in compare(*two)} == {"left0-1_0-tools-1"}
    assert calls(lambda: compare(*two)) < 8 * LEVELS * len(two[0][0].targets)


def test_path_goes_from_the_line_of_the_stack_to_the_layer() -> None:
    made = planned(files())
    assert why_path(made, "one", "fast") == (("comm", "named by the stack"), ("fast", "required by `comm`"))
    assert why_path(made, "one", "comm") == (("comm", "named by the stack"),)


def test_layer_that_the_stack_does_not_have_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        why_path(planned(files()), "one", "fats")
    assert [(each.message, each.hint) for each in caught.value.diagnostics()] == [
        ("`fats` is not a layer of stack `one`", "did you mean `fast`?")
    ]


def test_image_that_only_gains_a_tag_differs_and_names_the_tags() -> None:
    before = files(STACKS.replace("[system]}", "[system], tags: [a]}"))
    after = files(STACKS.replace("[system]}", "[system], tags: [a, b]}"))
    found = changes(before, after)
    assert list(found) == ["two"]
    assert (found["two"].cause, found["two"].difference) == ("two", Difference(name="tags", before="a", after="a, b"))


def test_image_that_moves_to_another_repository_differs() -> None:
    found = changes(files(), files(STACKS.replace("[system]}", "[system], repository: other}")))
    assert list(found) == ["two"]
    assert found["two"].difference == Difference(name="repository", before="two", after="other")
