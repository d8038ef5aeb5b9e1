"""Which repository and tags a stack has, and which stack has a tag that several declare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from buildsys.config.catalog import load
from tests.support.laws import examples
from tests.support.trees import diagnostics, tree

FAMILY = """\
families:
  f:
    description: d
    name: "f{r}%s"
    repository: lang
    tags: %s
    layers: [system, fast]
    matrix: %s
"""


def declared(tags: str, matrix: str) -> str:
    """Return a file with one family, whose stacks are named by the variables that rows have."""
    parts = {" d:": "[-d{d}]", " v:": "[-{v}]"}
    return FAMILY % ("".join(part for name, part in parts.items() if name in matrix), tags, matrix)


def tags_of(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return repository and tags of each stack."""
    return {stack.name: (stack.repository, stack.tags) for stack in load(tree(text)).stacks}


def family(tags: str, matrix: str) -> dict[str, str]:
    """Return the tags of each stack of a family, joined by blanks."""
    return {name: " ".join(tags) for name, (_, tags) in tags_of(declared(tags, matrix)).items()}


def only(text: str) -> tuple[str, str, str | None]:
    found = diagnostics(tree(text))
    assert len(found) == 1, found
    return found[0]


def test_without_a_word_the_repository_is_the_name_and_the_tag_is_that_of_the_run() -> None:
    assert tags_of("stacks:\n  a: {layers: [system]}\n") == {"a": ("a", ())}


def test_repository_alone_keeps_the_tag_of_the_run() -> None:
    assert tags_of("stacks:\n  a: {layers: [system], repository: team/a}\n") == {"a": ("team/a", ())}


def test_single_stack_has_the_tags_that_it_lists() -> None:
    assert tags_of("stacks:\n  a: {layers: [system], tags: [1.0, v1]}\n") == {"a": ("a", ("1.0", "v1"))}


def test_templates_use_variables_filters_and_optional_parts() -> None:
    found = family('["{r}[-{v}]", {tag: "{r|series}[-{v}]", newest: r}]', "[{r: 4.5.1}, {r: 4.5.1, v: slim}]")
    assert found == {"f4.5.1": "4.5.1 4.5", "f4.5.1-slim": "4.5.1-slim 4.5-slim"}


def test_newest_is_by_version_and_not_by_text() -> None:
    found = family('["{r}", {tag: "{r|major}", newest: r}]', "[{r: [4.9.1, 4.10.0, 3.9]}]")
    assert found == {"f4.9.1": "4.9.1", "f4.10.0": "4.10.0 4", "f3.9": "3.9 3"}


def test_newest_is_by_several_variables_in_their_order() -> None:
    found = family('["{r}-{d}", {tag: x, newest: [r, d]}]', "[{r: 1, d: [12, 13]}, {r: 2, d: [11, 12]}]")
    assert [name for name, tags in found.items() if "x" in tags] == ["f2-d12"]
    found = family('["{r}-{d}", {tag: x, newest: [d, r]}]', "[{r: 1, d: [12, 13]}, {r: 2, d: [11, 12]}]")
    assert [name for name, tags in found.items() if "x" in tags] == ["f1-d13"]


def test_newest_of_texts_that_differ_are_apart() -> None:
    found = family('["{r}-{d}", {tag: "d{d}", newest: r}]', "[{r: [1, 2], d: [12, 13]}]")
    assert found == {"f1-d12": "1-12", "f1-d13": "1-13", "f2-d12": "2-12 d12", "f2-d13": "2-13 d13"}


def test_prerelease_has_a_moving_tag_only_where_no_final_release_has_it() -> None:
    found = family('["{r}", {tag: "{r|series}", newest: r}, {tag: latest, newest: r}]', "[{r: [3.14.1, 3.15.0rc1]}]")
    assert found == {"f3.14.1": "3.14.1 3.14 latest", "f3.15.0rc1": "3.15.0rc1 3.15"}


def test_of_prereleases_alone_the_highest_is_the_newest() -> None:
    found = family('["{r}", {tag: next, newest: r}]', "[{r: [3.15.0rc1, 3.15.0rc2]}]")
    assert found == {"f3.15.0rc1": "3.15.0rc1", "f3.15.0rc2": "3.15.0rc2 next"}


def test_deprecated_stack_has_its_own_tags_and_no_moving_one() -> None:
    found = family('["{r}", {tag: latest, newest: r}]', "[{r: 1}, {r: 2, deprecated: old}]")
    assert found == {"f1": "1 latest", "f2": "2"}


def test_schemes_are_by_tag_and_by_variable() -> None:
    found = family('["{r}", {tag: latest, newest: r, versions: debian}]', "[{r: [24.9-py3, 24.10-py3]}]")
    assert found == {"f24.10-py3": "24.10-py3 latest", "f24.9-py3": "24.9-py3"}
    tags = '["{r}-{d}", {tag: latest, newest: [r, d], versions: [semver, pep440]}]'
    found = family(tags, "[{r: [1.0.0-rc.1, 1.0.0-rc.2], d: [9, 12]}]")
    assert [name for name, own in found.items() if "latest" in own] == ["f1.0.0-rc.2-d12"]


def test_tag_with_a_condition_is_only_for_rows_that_satisfy_it() -> None:
    found = family('["{r}[-{v}]", {tag: "{v}", when: v, newest: r}]', "[{r: [1, 2]}, {r: [1, 2], v: slim}]")
    assert found == {"f1": "1", "f2": "2", "f1-slim": "1-slim", "f2-slim": "2-slim slim"}
    found = family('["{r}[-{v}]", {tag: x, when: {r: 2, v: slim}}]', "[{r: [1, 2]}, {r: [1, 2], v: slim}]")
    assert [name for name, tags in found.items() if "x" in tags.split()] == ["f2-slim"]


def test_row_and_stack_of_a_family_replace_what_the_family_says() -> None:
    text = declared('["{r}"]', '[{r: 1}, {r: 2, tags: ["row-{r}"], repository: "other{r}"}, {r: 3, tags: [row]}]')
    text += "    stacks: {f3: {tags: [own, '{r}x']}}\n"
    assert tags_of(text) == {"f1": ("lang", ("1",)), "f2": ("other2", ("row-2",)), "f3": ("lang", ("own", "3x"))}


def test_newest_is_found_among_all_families_of_a_repository() -> None:
    one = declared('["{r}", {tag: latest, newest: r}]', "[{r: 1}]")
    text = one + one.replace("families:\n", "").replace("  f:", "  g:").replace('"f{r}', '"g{r}').replace(
        "r: 1", "r: 2"
    )
    assert tags_of(text) == {"f1": ("lang", ("1",)), "g2": ("lang", ("2", "latest"))}


def test_tag_of_two_stacks_is_an_error_with_both_places() -> None:
    fields = "{layers: [system], repository: x, tags: [t]}"
    text = f"stacks:\n  a: {fields}\n  b: {fields}\n"
    location, message, _ = only(text)
    assert (location, message) == (
        "stacks.yaml:3:3",
        "the tag `x:t` is that of `a`, which is at stacks.yaml:2:3, and of `b`",
    )


def test_one_tag_in_two_repositories_is_no_conflict() -> None:
    text = "stacks:\n  a: {layers: [system], tags: [t]}\n  b: {layers: [system], tags: [t]}\n"
    assert tags_of(text) == {"a": ("a", ("t",)), "b": ("b", ("t",))}


def test_equal_versions_are_a_conflict() -> None:
    assert "the tag `lang:x` is that of" in only(declared('["{r}", {tag: x, newest: r}]', "[{r: 3.1}, {r: 3.1.0}]"))[1]


def test_tag_without_newest_is_not_given_away() -> None:
    assert "`lang:4`" in only(declared('["{r}", {tag: "{r|major}", newest: r}]', "[{r: 4}, {r: 4.1}]"))[1]


def test_stack_without_tags_is_alone_in_its_repository() -> None:
    text = "stacks:\n  a: {layers: [system]}\n  b: {layers: [system], repository: a, tags: [t]}\n"
    location, message, _ = only(text)
    assert location == "stacks.yaml:2:3"
    assert message.startswith("the tag `a:${BUILDSYS_TAG}` is that of `b`, which is at stacks.yaml:3:3")


def test_stack_without_any_tag_is_refused() -> None:
    found = only(declared("[{tag: latest, newest: r}]", "[{r: 1}, {r: 2}]"))
    assert found[1] == "`f1` has no tag: newer stacks have each that it declares"


def test_tag_of_one_platform_in_the_bake_file_is_that_of_no_other_stack() -> None:
    text = (
        "stacks:\n  a: {layers: [system], repository: x, tags: [t], platforms: [linux/amd64, linux/arm64]}\n"
        "  b: {layers: [system], repository: x, tags: [t-arm64]}\n"
    )
    assert only(text)[1].startswith("the tag `x:t-arm64` is that of `a`")


@pytest.mark.parametrize(
    ("tag", "value", "place"),
    [
        ('"last-{r}"', "1", "6:12"),
        ('"{r} x"', "1", "6:12"),
        ('"{r}"', "1:2.3-1", "8:18"),
        ('"{r}"', "last-1", "8:18"),
        (f'"{"x" * 128}{{r}}"', "1", "6:12"),
    ],
)
def test_tag_that_no_registry_takes_is_refused_where_it_is_written(tag: str, value: str, place: str) -> None:
    text = declared(f"[{tag}]", f"[{{r: '{value}', v: 1}}]").replace("f{r}[-{v}]", "f{v}")
    assert only(text)[0] == f"stacks.yaml:{place}"


def test_tag_leaves_room_for_the_architecture() -> None:
    platforms = "platforms: [linux/amd64, linux/arm64]"
    text = "stacks:\n  a: {layers: [system], tags: [%s], %s}\n"
    layers = {"layers/system/layer.yaml": tree()["layers/system/layer.yaml"] + f"{platforms}\n"}
    assert load({**tree(text % ("x" * 122, platforms)), **layers}).stacks[0].tags == ("x" * 122,)
    (found,) = diagnostics({**tree(text % ("x" * 123, platforms)), **layers})
    assert found[1].endswith("has 123 characters, expected at most 122 before the architecture")


@pytest.mark.parametrize("name", ["nodes", "a//b", "Team/a", "/a", "a:b", "[x]y"])
def test_repository_that_is_reserved_or_malformed_is_refused(name: str) -> None:
    assert only(f"stacks:\n  a: {{layers: [system], repository: '{name}'}}\n")[0] == "stacks.yaml:2:37"


def test_repository_of_images_of_dockerfiles_is_reserved() -> None:
    text = "stacks:\n  a: {layers: [system]}\n  b: {layers: [system], repository: a-custom}\n"
    assert only(text)[1] == "the repository `a-custom` is reserved for images of Dockerfiles on `a`"


VERSION = st.builds(
    lambda numbers, end: ".".join(map(str, numbers)) + end,
    st.lists(st.integers(0, 12), min_size=1, max_size=3),
    st.sampled_from(["", "", "", "a1", "rc2"]),
)


@examples(60)
@given(versions=st.lists(VERSION, min_size=1, max_size=7, unique_by=Version), old=st.sets(st.integers(0, 6)))
def test_moving_tag_is_that_of_the_highest_final_version_that_is_not_deprecated(
    versions: list[str], old: set[int]
) -> None:
    rows = [f"{{r: '{each}'{', deprecated: x' if n in old else ''}}}" for n, each in enumerate(versions)]
    found = family('["v{r}", {tag: latest, newest: r}]', f"[{', '.join(rows)}]")
    known = [Version(each) for n, each in enumerate(versions) if n not in old]
    final = [each for each in known if not each.is_prerelease] or known
    having = [name for name, tags in found.items() if "latest" in tags]
    assert [Version(name.removeprefix("f")) for name in having] == ([max(final)] if final else [])


def test_stack_that_extends_has_names_and_support_of_its_own() -> None:
    text = (
        "stacks:\n  a: {layers: [system], repository: lang, tags: [v1], supported_until: 2030-01-01}\n"
        "  b: {extends: a}\n  c: {extends: a, repository: lang, tags: [v2], supported_until: 2031-01-01}\n"
    )
    assert tags_of(text) == {"a": ("lang", ("v1",)), "b": ("b", ()), "c": ("lang", ("v2",))}
    until = {stack.name: str(stack.supported_until) for stack in load(tree(text)).stacks}
    assert until == {"a": "2030-01-01", "b": "None", "c": "2031-01-01"}


def test_tag_of_a_stack_leaves_room_for_the_platforms_that_it_has_from_another() -> None:
    long = "t" * 128
    text = "stacks:\n  a: {layers: [system], platforms: [linux/amd64, linux/arm64]}\n  b: {extends: a, tags: [%s]}\n"
    _, message, _ = only(text % long)
    assert "expected at most 122 before the architecture" in message


def test_variables_of_a_tag_and_of_a_set_are_used() -> None:
    text = (
        "sets:\n  s: [system, {fast: '{v}', when: v}]\n"
        "families:\n  f:\n    description: d\n    name: f{r}\n    tags: [{tag: '{t}', when: {u: 1}}]\n"
        "    layers: [set: s]\n    matrix: [{r: 1, t: x, u: 1, v: 1.0}]\n"
    )
    assert tags_of(text) == {"f1": ("f1", ("x",))}


def test_stack_of_a_family_has_fields_of_its_own_beside_its_names() -> None:
    text = declared("['{r}']", "[{r: [1, 2]}]") + "    user: me\n    stacks: {f1: {tags: [one], labels: {a: b}}}\n"
    assert tags_of(text) == {"f1": ("lang", ("one",)), "f2": ("lang", ("2",))}
    own = {stack.name: [each.origin for each in stack.own] for stack in load(tree(text)).stacks}
    assert own == {"f1": ["family f", "stack f1"], "f2": ["family f"]}


def test_row_has_names_of_images_and_fields_of_its_own() -> None:
    text = declared("['{r}']", "[{r: 1, repository: other, user: me}]")
    assert tags_of(text) == {"f1": ("other", ("1",))}
    assert [each.origin for stack in load(tree(text)).stacks for each in stack.own] == ["row f1"]
