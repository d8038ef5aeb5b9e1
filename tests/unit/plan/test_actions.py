"""What is built, what exists, what nothing needs; and the sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from buildsys.plan.actions import BUILD, REUSE, SKIP, Difference, decide, first_difference, format_difference, short
from tests.support.keyed import keyed
from tests.support.trees import FAST, tree

TOOLS, SYSTEM, FAST_NODE = "tools-1", "system-1", "fast-1_0-tools-1"
DIGEST = f"sha256:{'ab' * 32}"


def files(**changes: str) -> dict[str, str]:
    """Return a project in which files of layers are others: `fast=` layer.yaml, `fast_Dockerfile=` the Dockerfile."""
    found = {**tree(), **{f"layers/{name}/.dockerignore": "layer.yaml\n" for name in ("system", "tools", "fast")}}
    for name, text in changes.items():
        layer, _, file_name = name.partition("_")
        found[f"layers/{layer}/{file_name or 'layer.yaml'}"] = text
    return found


def words(project: Mapping[str, str], existing: Mapping[str, str], *wanted: str) -> dict[str, str]:
    made, keys = keyed(project)
    return {name: each.word for name, each in decide(made, keys, existing, {}, wanted or ("one",)).items()}


def test_everything_that_is_needed_is_built_where_nothing_exists() -> None:
    assert words(files(), {}) == dict.fromkeys([SYSTEM, TOOLS, FAST_NODE, "one"], BUILD)


def test_what_only_something_that_exists_needs_is_left() -> None:
    assert words(files(), {FAST_NODE: "x@y"}) == {SYSTEM: BUILD, TOOLS: SKIP, FAST_NODE: REUSE, "one": BUILD}
    assert words(files(), {"one": "x@y"}) == {SYSTEM: SKIP, TOOLS: SKIP, FAST_NODE: SKIP, "one": REUSE}


def test_what_nothing_asked_for_needs_is_left() -> None:
    project = {**files(), "stacks.yaml": "stacks:\n  one: {layers: [system]}\n  two: {layers: [system, fast]}\n"}
    assert words(project, {}) == {SYSTEM: BUILD, TOOLS: SKIP, FAST_NODE: SKIP, "one": BUILD, "two": SKIP}
    assert words(project, {}, TOOLS)["one"] == SKIP


def test_what_exists_is_reused_even_if_nothing_needs_it() -> None:
    made, keys = keyed(files())
    found = decide(made, keys, {TOOLS: "r/nodes@sha256:1", "one": "r/one@sha256:2"}, {}, ["one"])
    assert (found[TOOLS].word, found[TOOLS].reference) == (REUSE, "r/nodes@sha256:1")
    assert found["one"].reason == "exists as r/one@sha256:2"
    assert found[SYSTEM].reason == "no requested target needs it"


def test_targets_are_in_build_order_and_stacks_last() -> None:
    made, keys = keyed(files())
    assert list(decide(made, keys, {}, {}, ["one"])) == [SYSTEM, TOOLS, FAST_NODE, "one"]


def reasons(
    before: Mapping[str, str], after: Mapping[str, str], existing: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return why each target of `after` is built, where `before` was published last."""
    published, old = keyed(before)
    made, keys = keyed(after)
    targets = [*(node.name for node in published.nodes), *(stack.name for stack in published.stacks)]
    previous = {name: old.of(name).inputs for name in targets}
    wanted = [stack.name for stack in made.stacks]
    found = decide(made, keys, existing or {}, previous, wanted)
    return {name: each.reason for name, each in found.items() if each.word == BUILD}


DOCKERFILE = files()["layers/fast/Dockerfile"]
SYSTEM_YAML = files()["layers/system/layer.yaml"]
DOWNLOAD = FAST + "downloads: {source: {url: 'https://example.com/a', sha256: %s}}\n"
TAKES_DOWNLOAD = "FROM scratch AS source\nARG SOURCE_URL\nARG SOURCE_SHA256\n" + DOCKERFILE


@pytest.mark.parametrize(
    ("before", "after", "target", "reason"),
    [
        (files(), files(fast_Dockerfile=DOCKERFILE + "#\n"), FAST_NODE, "layers/fast/Dockerfile changed"),
        (files(fast_a="1"), files(fast_a="2"), FAST_NODE, "layers/fast/a changed"),
        (files(), files(fast_a="1"), FAST_NODE, "layers/fast/a is new"),
        (files(fast_a="1"), files(), FAST_NODE, "layers/fast/a was removed"),
        (files(), files(fast=FAST.replace("type: words, default: []", "type: words, default: [-x, -y]")), FAST_NODE,
         "argument FLAGS: \"\" → -x -y"),
        (files(), files(system=SYSTEM_YAML.replace("zip, base", "acl, base")), SYSTEM, "packages +acl -zip"),
        (files(fast=DOWNLOAD % ("1" * 64), fast_Dockerfile=TAKES_DOWNLOAD),
         files(fast=DOWNLOAD % ("2" * 64), fast_Dockerfile=TAKES_DOWNLOAD), FAST_NODE,
         "download source: 11111111 → 22222222"),
        (files(), {**files(), "buildsys.lock": files()["buildsys.lock"].replace("1" * 64, "2" * 64)}, SYSTEM,
         "parent linux-1 moved from 11111111 to 22222222"),
        (files(), files(system=SYSTEM_YAML.replace("C.UTF-8", "de")), "one", "variable LANG: C.UTF-8 → de"),
        (files(), files(system=SYSTEM_YAML + "user: me\n"), "one", 'user: "" → me'),
        (files(), files(system=SYSTEM_YAML + "labels: {a: b}\n"), "one", "label a: nothing → b"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_reason_names_the_input_and_what_it_was(
    before: dict[str, str], after: dict[str, str], target: str, reason: str
) -> None:
    assert reasons(before, after)[target] == reason


def test_reason_of_an_epoch_says_from_when_to_when() -> None:
    text = "ARG PACKAGES\nARG EPOCH\n"
    project = files(system=SYSTEM_YAML + "freshness: week\n", system_Dockerfile=f"FROM base\n{text}RUN install\n")
    lock = project["buildsys.lock"] + "epochs: {system: 2026-11-%s}\n"
    found = reasons({**project, "buildsys.lock": lock % 16}, {**project, "buildsys.lock": lock % 23})
    assert found[SYSTEM] == "packages are refreshed: 2026-11-16 → 2026-11-23"


def test_reason_of_a_folder_that_is_given_names_the_file_in_it() -> None:
    fast = FAST.replace("flags:", "source: {description: s, type: folder, default: mine/x}\n  flags:")
    dockerfile = DOCKERFILE.replace("RUN make", "RUN --mount=type=bind,from=source,target=/s make")
    project = {**files(fast=fast, fast_Dockerfile=dockerfile), "mine/x/a b.py": "1"}
    assert reasons(project, {**project, "mine/x/a b.py": "2"})[FAST_NODE] == "mine/x/a b.py changed"


def test_reason_names_the_input_that_is_built() -> None:
    found = reasons(files(), files(tools_Dockerfile="FROM base\nRUN other\n"))
    assert found == {
        SYSTEM: "the image published under its key is missing",
        TOOLS: "layers/tools/Dockerfile changed",
        FAST_NODE: f"{TOOLS} is built",
        "one": f"{FAST_NODE} is built",
    }


def test_reason_names_the_different_input_that_exists() -> None:
    before, after = files(), files(fast_Dockerfile=DOCKERFILE + "#\n")
    keys = [keyed(each)[1].nodes[FAST_NODE].key[:8] for each in (before, after)]
    found = reasons(before, after, {FAST_NODE: "r@x"})
    assert found["one"] == f"artifact fast changed: {keys[0]} → {keys[1]}"


def test_what_is_built_beside_it_is_not_taken_for_the_reason() -> None:
    # The system is missing from the registry and is rebuilt as it was; what differs is the artifact, which exists.
    found = reasons(files(), files(fast_Dockerfile=DOCKERFILE + "#\n"), {FAST_NODE: "r@x"})
    assert found[SYSTEM] == "the image published under its key is missing"
    assert found["one"].startswith("artifact fast changed")


def reason_after(target: str, **inputs: str) -> str:
    """Return why a target is built whose published inputs were these, and else what they are now."""
    made, keys = keyed(files())
    previous = {target: {**keys.of(target).inputs, **{name.replace("_", " "): text for name, text in inputs.items()}}}
    return decide(made, keys, {}, previous, ["one"])[target].reason


def test_other_inputs_are_shown_by_their_names() -> None:
    assert reason_after(SYSTEM, platforms="linux/arm64") == "platforms: linux/arm64 → linux/amd64"
    assert reason_after(SYSTEM, definition="0") == "definition: 0 → 1"
    assert reason_after("one", order_of_artifacts="a b") == "order of artifacts: a b → fast"
    assert reason_after(FAST_NODE, context_comm="a" * 64) == "context comm changed: aaaaaaaa → nothing"


def test_first_time_differs_from_a_loss() -> None:
    made, keys = keyed(files())
    found = decide(made, keys, {}, {TOOLS: keys.nodes[TOOLS].inputs}, ["one"])
    assert found[SYSTEM].reason == "nothing was published under its name yet"
    assert (found[TOOLS].reason, found[TOOLS].difference) == ("the image published under its key is missing", None)


def test_difference_that_says_most_comes_first() -> None:
    before = {"base": "1", "argument B": "1", "argument A": "1", "file x": "1", "dockerfile": "1", "user": "1"}
    before |= {"variable A": "1", "order of artifacts": "1"}
    order = ["dockerfile", "file x", "argument A", "argument B", "order of artifacts", "variable A", "user", "base"]
    found = []
    while difference := first_difference(before, {}):
        found.append(difference.name)
        before = {name: value for name, value in before.items() if name != difference.name}
    assert found == order


def test_difference_has_none_for_the_side_that_lacks_it() -> None:
    assert first_difference({"a": "1"}, {}) == Difference(name="a", before="1", after=None)
    assert first_difference({}, {"a": "1"}) == Difference(name="a", before=None, after="1")
    assert first_difference({"a": "1"}, {"a": "1"}) is None


@pytest.mark.parametrize(
    ("name", "before", "after", "text"),
    [
        ("argument PINS", "a==1 b==1 c==1 d==1 e==1", "a==1 b==2 c==1 d==1 e==1", "argument PINS: +b==2 -b==1"),
        ("argument PINS", "a==1", "a==2", "argument PINS: a==1 → a==2"),
        ("argument FLAGS", "a b c d e", "e d c b a", "argument FLAGS: a b c d e → e d c b a"),
        ("argument PACKAGES", "a", "a b", "packages +b"),
        ("argument PACKAGES", None, "b a", "packages +b +a"),
        ("argument PACKAGES", None, "", 'argument PACKAGES: nothing → ""'),
    ],
)
def test_of_a_long_list_what_changed_is_shown(name: str, before: str | None, after: str, text: str) -> None:
    assert format_difference(Difference(name=name, before=before, after=after)) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        (DIGEST, "abababab"),
        ("ab" * 32, "abababab"),
        ("zz" * 32, f"{('zz' * 32)[:57]}…"),
        ("x" * 60, "x" * 60),
        ("", '""'),
    ],
)
def test_value_is_short_where_it_would_fill_a_line(value: str | None, shown: str) -> None:
    assert short(value) == shown
