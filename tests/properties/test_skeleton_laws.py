"""What holds for every `stacks.yaml` to which a stack is added."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from buildsys.commands.skeleton import with_stack
from buildsys.errors import InvalidInput
from buildsys.records.source import read
from tests.support.projects import LAW

ENTRY = "  new-one:\n    layers:\n      - debian-os\n"
COMMENT = st.sampled_from(["", "# a comment\n", "\n", "    # indented\n", "\n\n# two\n\n"])
NAME = st.sampled_from(["a", "b", "c-1", '"d"', "e.2"])
# `@` is the indentation of the block.
FORMS = (": {layers: [x]}\n", ":\n@ layers:\n@ - x\n", ":\n@  layers:\n@    - x: >-\n@       # text\n")
STACK = st.builds(
    lambda name, comment, form, end: f"{comment}@{name}{form}{end}", NAME, COMMENT, st.sampled_from(FORMS), COMMENT
)
BLOCK = st.builds(
    lambda stacks, indent, comment: f"stacks:{comment}\n" + "".join(stacks).replace("@", " " * indent),
    st.lists(STACK, max_size=3, unique_by=lambda text: text.partition("@")[2][:3]),
    st.integers(1, 6),
    st.sampled_from(["", "  # why"]),
)
OTHER = st.sampled_from(
    ["registry: x\n", "families: {}\n", "text: |\n  stacks:\n    a\n", "more:\n  stacks:\n    a: 1\n", "# end\n"]
)
FLOW = st.sampled_from(
    ["stacks: {}\n", "stacks: {a: {layers: [x]}}\n", '"stacks":\n  a: {layers: [x]}\n', "{registry: x}\n"]
)
TEXT = st.builds(
    lambda before, block, after, end: f"{''.join(before)}{block}{''.join(after)}".rstrip("\n") + end,
    st.lists(OTHER, max_size=2, unique=True),
    BLOCK | FLOW | st.just(""),
    st.lists(OTHER, max_size=2, unique=True),
    st.sampled_from(["", "\n", "\n\n"]),
)


def data(text: str) -> dict[str, Any]:
    found = read(text, "stacks.yaml").data
    return found if isinstance(found, dict) else {}


@LAW
@given(TEXT)
def test_stack_is_added_and_no_other_line_or_value_changes_or_it_is_refused(text: str) -> None:
    try:
        before = data(text)
    except InvalidInput:
        return
    try:
        found = with_stack(text, "new-one", ENTRY)
    except InvalidInput:
        found = ""
    if not found:
        assert any(each in text for each in ("stacks: {", "{registry", '"stacks"'))
        return
    after = data(found)
    assert after.pop("stacks") == {**(before.pop("stacks", None) or {}), "new-one": {"layers": ["debian-os"]}}
    assert after == before
    lines = found.splitlines()
    # All earlier lines are in it, in their order.
    kept = iter(lines)
    assert all(line in kept for line in text.rstrip().splitlines())
