"""A tree becomes a catalog, or every error in it with its location."""

from __future__ import annotations

import pytest

from buildsys.config.catalog import load
from buildsys.errors import InvalidInput
from buildsys.recipes.recipe import Weight
from tests.support.keyed import keyed
from tests.support.trees import FAST, diagnostics, loaded, planned, tree


def one(files: dict[str, str]) -> tuple[str, str, str | None]:
    found = diagnostics(files)
    assert len(found) == 1, found
    return found[0]


def layers_of(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return the parameters that stacks set, by stack and layer."""
    catalog = load(tree(text))
    return {stack.name: {use.layer: dict(use.parameters) for use in stack.layers} for stack in catalog.stacks}


def test_versions_stay_as_they_are_written() -> None:
    text = "stacks:\n  a: {layers: [system, fast: 3.10]}\n  b: {layers: [system, fast: {version: 18.00, flags: on}]}\n"
    found = layers_of(text)
    assert found["a"]["fast"] == {"version": "3.10"}
    assert found["b"]["fast"] == {"version": "18.00", "flags": "on"}


def test_matrix_makes_a_stack_of_every_combination_but_those_excluded() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{r}[-v{v}]'\n"
        "    layers:\n      - system: {release: '{r}'}\n      - fast: '{v}'\n        when: v\n"
        "    matrix: [{r: [1, 2]}, {r: [1, 2], v: [1.0, 3.10]}]\n    exclude: [{r: 2, v: [3.10]}]\n"
    )
    assert layers_of(text) == {
        "f1": {"system": {"release": "1"}},
        "f1-v1.0": {"system": {"release": "1"}, "fast": {"version": "1.0"}},
        "f1-v3.10": {"system": {"release": "1"}, "fast": {"version": "3.10"}},
        "f2": {"system": {"release": "2"}},
        "f2-v1.0": {"system": {"release": "2"}, "fast": {"version": "1.0"}},
    }


def test_layer_can_depend_on_the_values_of_a_row() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{w}'\n"
        "    layers:\n      - system\n      - fast:\n        when: {w: [a, b]}\n    matrix: [{w: [a, b, c]}]\n"
    )
    found = layers_of(text)
    assert [name for name, uses in found.items() if "fast" in uses] == ["fa", "fb"]


def test_braces_in_a_single_stack_are_no_template() -> None:
    assert layers_of('stacks:\n  a: {layers: [system, fast: {flags: "{x} }{"}]}\n')["a"]["fast"]["flags"] == "{x} }{"


def test_single_stack_with_a_condition_is_refused_and_not_left_without_the_layer() -> None:
    text = "stacks:\n  a:\n    layers:\n      - system\n      - fast:\n        when: cuda\n"
    expected = ("stacks.yaml:6:15", "`when` has no meaning in the single stack `a`, which has no rows")
    assert one(tree(text))[:2] == expected


def test_stack_with_the_name_of_its_family_is_refused() -> None:
    text = "families:\n  f:\n    description: d\n    name: f\n    layers: [system]\n    matrix: [{}]\n"
    assert one(tree(text))[1] == "the stack `f` has the name of a group"


def test_group_of_a_row_must_be_a_name() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{r}'\n    layers: [system: {release: '{r}'}]\n"
        "    matrix: [{r: 1, groups: [two words]}]\n"
    )
    message = "`two words` cannot be the name of a group: lower-case letters, digits, single `-` between"
    assert one(tree(text)) == ("stacks.yaml:6:14", message, "rename the group")


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("f{x}", 14, "no row of the matrix has the variable `x`"),
        ("f{r", 13, "the `{` has no counterpart"),
        ("f{r|upper}", 16, "`upper` is not a filter"),
    ],
)
def test_name_of_a_family_is_checked(name: str, column: int, message: str) -> None:
    text = (
        f"families:\n  f:\n    description: d\n    name: '{name}'\n    layers: [system: {{release: '{{r}}'}}]\n"
        "    matrix: [{r: 1}]\n"
    )
    location, found, _ = diagnostics(tree(text))[0]
    assert (location, found) == (f"stacks.yaml:4:{column}", message)


def test_unused_variable_is_reported_with_the_nearest_name() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{release}'\n    layers: [system: {release: '{release}'}]\n"
        "    matrix: [{release: 1, relaese: 2}]\n"
    )
    expected = ("stacks.yaml:6:27", "nothing in the family uses the variable `relaese`", "did you mean `release`?")
    assert one(tree(text)) == expected


def test_name_that_a_row_cannot_fill_is_reported_with_the_brackets_that_help() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{r}-{v}'\n    layers: [system: {release: '{r}'}]\n"
        "    matrix: [{r: 1, v: 2}, {r: 2}]\n"
    )
    message = "the name `f{r}-{v}` uses `v`, which this row does not have"
    assert one(tree(text)) == ("stacks.yaml:6:28", message, "put the part in brackets: `[-v{v}]`")


def test_row_named_by_a_stack_of_the_family_must_exist() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'image{r}'\n    layers: [system: {release: '{r}'}]\n"
        "    matrix: [{r: 1}]\n    stacks: {image2: {groups: [x]}}\n"
    )
    assert one(tree(text)) == (
        "stacks.yaml:7:14",
        "the matrix has no row for the stack `image2`",
        "did you mean `image1`?",
    )


def test_deprecation_of_stack_goes_before_that_of_row_and_family() -> None:
    text = (
        "families:\n  f:\n    description: d\n    deprecated: all\n    name: 'f{r}'\n"
        "    layers: [system: {release: '{r}'}]\n    matrix: [{r: 1}, {r: 2, deprecated: row}]\n"
        "    stacks: {f2: {deprecated: own}}\n"
    )
    assert {stack.name: stack.deprecated for stack in load(tree(text)).stacks} == {"f1": "all", "f2": "own"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("[fast]", "a layer is a name, or a name with its parameters and an optional `when`; found a list"),
        ("{}", "a layer is a name, or a name with its parameters and an optional `when`; found none"),
        (
            "{fast: {}, system: {}}",
            "a layer is a name, or a name with its parameters and an optional `when`; found `fast`, `system`",
        ),
        ("fast: [a, b]", "`fast`: expected a mapping, found a list"),
        ("fast: []", "`fast`: expected a mapping, found a list"),
        ("fast: {version: {a: b}}", "`version`: expected a text, found a mapping"),
        ("{fast: 1.0, when: {cuda: {a: b}}}", "`cuda`: expected a text, found a mapping"),
    ],
)
def test_entry_other_than_a_layer_is_reported(entry: str, message: str) -> None:
    text = f"stacks:\n  a:\n    layers:\n      - system\n      - {entry}\n"
    location, found, _ = one(tree(text))
    assert found == message
    assert location.startswith("stacks.yaml:5:")


def test_unknown_keys_are_reported_with_all_other_diagnostics() -> None:
    files = tree("stacks:\n  a: {layers: [systm], groop: x}\n", fast=FAST.replace("prefix:", "prefx:"))
    assert diagnostics(files) == [
        ("layers/fast/layer.yaml:4:1", "unknown key `prefx`", "did you mean `prefix`?"),
        ("stacks.yaml:2:16", "the stack `a` has the layer `systm`, which does not exist", "did you mean `system`?"),
        ("stacks.yaml:2:24", "unknown key `groop`", "did you mean `groups`?"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "after: [other]",
        "conflicts: [other]",
        "checks: [{needs: {other.version: '>1'}}]",
        "parameters: {version: {description: d, default: 1, from: other.version}, flags: {description: d, default: 1}}",
    ],
)
def test_copied_layer_may_name_layers_that_were_not_copied_unless_it_requires_them(line: str) -> None:
    text = FAST if line.startswith("parameters") else f"{FAST}{line}\n"
    if line.startswith("parameters"):
        text = f"{FAST.partition('parameters:')[0]}{line}\n"
    files = tree(fast=text)
    assert "names `other`, which does not exist" in one(files)[1]
    files["buildsys.lock"] = f"version: 1\nlayers:\n  fast: {{origin: buildsys, sha256: {'a' * 64}}}\n"
    assert load(files).layers["fast"]
    files["layers/fast/layer.yaml"] = text.replace("requires: [os]", "requires: [os, other]")
    assert "`requires` names `other`, which does not exist" in one(files)[1]


def test_provided_name_is_no_layer_of_a_stack() -> None:
    assert one(tree("stacks:\n  a: {layers: [os]}\n"))[1] == (
        "the stack `a` has the layer `os`, which only names what a layer provides"
    )


def test_layer_with_a_name_that_another_provides_is_refused() -> None:
    other = "description: d\nkind: system\nlicence: free\npackages: [{names: [x]}]\n"
    expected = ("layers/system/layer.yaml:4:12", "`os` is a layer, and also a name that `system` provides")
    assert one(tree(os=other))[:2] == expected


def test_toolchain_must_be_one() -> None:
    text = FAST + "toolchain: {layer: system}\n"
    message = "`system` is a layer of kind `system`, expected a toolchain"
    assert one(tree(fast=text)) == ("layers/fast/layer.yaml:10:20", message, "use `tools`")


def test_unused_parameter_is_reported() -> None:
    text = FAST.replace("parameters:", "parameters:\n  speed: {description: how fast, default: 1}")
    assert one(tree(fast=text)) == (
        "layers/fast/layer.yaml:7:3",
        "nothing in this layer uses the parameter `speed`",
        "remove it, or declare `ARG SPEED` in the Dockerfile",
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("type: integer, default: 1.0", "`flags` is a whole number, not `1.0`"),
        ("type: boolean, default: yes", "`flags` is `true` or `false`, not `yes`"),
        ("type: folder, default: ../x", "`flags` is a folder inside the project, not `../x`"),
        ("values: [1.0, 3.10], default: 3.1", "`3.1` is not a value of `flags`, which has `1.0`, `3.10`"),
        ("pattern: '[0-9]+', default: 1a", "`1a` does not have the form `[0-9]+` that `flags` requires"),
        (
            "pattern: '(', default: a",
            "`(` cannot be a pattern: it is not a regular expression, missing ), unterminated subpattern at position 0",
        ),
        ("from: system.release|half, default: a", "`half` is not a filter"),
    ],
)
def test_parameter_is_checked_against_its_declaration(said: str, message: str) -> None:
    text = FAST.replace("type: words, default: []", said)
    location, found, _ = one(tree(fast=text))
    assert (location.rpartition(":")[0], found) == ("layers/fast/layer.yaml:8", message)


def test_condition_on_an_impossible_value_is_reported() -> None:
    text = FAST.replace("default: 1.0,", "default: 1.0, values: [1.0],") + "tests: [{run: x, when: {version: 2.0}}]\n"
    assert one(tree(fast=text)) == (
        "layers/fast/layer.yaml:10:34",
        "`2.0` is never a value of `version`",
        "did you mean `1.0`?",
    )


def test_text_with_an_unknown_parameter_is_reported_with_the_nearest_name() -> None:
    text = FAST + 'tests: [{run: "fast --version", expect: "{verson}"}]\n'
    expected = ("layers/fast/layer.yaml:10:43", "`verson` is not a parameter of this layer", "did you mean `version`?")
    assert one(tree(fast=text)) == expected


@pytest.mark.parametrize(
    ("name", "value", "column", "message"),
    [
        ("A B", "x", 21, "`A B` cannot be the name of a variable: letters, digits and `_`, no digit first"),
        ("1A", "x", 21, "`1A` cannot be the name of a variable: letters, digits and `_`, no digit first"),
        ("A", "x\\ny", 26, "a variable has more than one line, which an image cannot hold"),
    ],
)
def test_variable_that_a_dockerfile_cannot_hold_is_refused(name: str, value: str, column: int, message: str) -> None:
    text = FAST.replace("{prepend: {PATH: /opt/fast/bin}}", f'{{set: {{"{name}": "{value}"}}}}')
    location, found, _ = one(tree(fast=text))
    assert (location, found) == (f"layers/fast/layer.yaml:9:{column}", message)


def test_label_of_several_lines_is_refused() -> None:
    text = FAST + 'labels: {a: "x\\nUSER root"}\n'
    message = "a label has more than one line, which a Dockerfile's `LABEL` cannot hold"
    assert one(tree(fast=text)) == ("layers/fast/layer.yaml:10:13", message, "write it on one line")


def test_missing_stacks_file_is_reported() -> None:
    files = tree()
    del files["stacks.yaml"]
    with pytest.raises(InvalidInput) as caught:
        load(files)
    assert [each.message for each in caught.value.diagnostics()] == ["`stacks.yaml` is missing"]


def test_files_below_a_layer_and_beside_are_not_layers() -> None:
    files = {**tree(), "layers/fast/tests/layer.yaml": "x: [", "layers/README.md": "{", "other/x/layer.yaml": "["}
    assert sorted(loaded(files).layers) == ["fast", "system", "tools"]


def test_values_of_a_catalog_cannot_be_changed() -> None:
    catalog = loaded(tree())
    with pytest.raises(TypeError):
        catalog.layers["new"] = catalog.layers["fast"]  # type: ignore[index]
    with pytest.raises(TypeError):
        catalog.layers["fast"].recipes[""].parameters["x"] = None  # type: ignore[index]
    with pytest.raises(TypeError):
        catalog.stacks[0].layers[0].parameters["x"] = "y"  # type: ignore[index]


@pytest.mark.parametrize(
    ("instruction", "rules", "named"),
    [
        ("COPY . /x", "", "`layer.yaml`, `README.md`, `tests`"),
        ("COPY ./ /x", "tests\n", "`layer.yaml`, `README.md`"),
        ("COPY *.md /x", "", "`README.md`"),
        ("COPY t*/x /x", "", "`tests`"),
        ("COPY . /x", "*\n!src\n", ""),
        ("COPY src /x", "", ""),
        ("RUN true", "", ""),
    ],
)
def test_plain_bake_that_copies_what_is_in_no_build_is_warned_of(instruction: str, rules: str, named: str) -> None:
    folder = "layers/system"
    files = {
        **tree("stacks:\n  a: {layers: [system]}\n"),
        f"{folder}/Dockerfile": f"FROM base\nARG PACKAGES\nRUN install $PACKAGES\n{instruction}\n",
        f"{folder}/.dockerignore": rules,
        f"{folder}/README.md": "",
        f"{folder}/src/a": "",
        f"{folder}/tests/x": "",
    }
    message = f"plain `docker buildx bake` also copies {named} of `{folder}`, which `buildsys bake` does not"
    assert [each.message for each in load(files).warnings] == ([message] if named else [])


def test_weight_is_read_in_bytes_and_is_no_input_of_a_key() -> None:
    plain = tree("stacks:\n  one: {layers: [system, fast]}\n")
    heavy = {
        **plain,
        "layers/fast/layer.yaml": plain["layers/fast/layer.yaml"]
        + "weight: {memory: 1.5 GB, disk: 20 MB, minutes: 7}\n",
    }
    (before, first), (after, second) = keyed(plain), keyed(heavy)
    weights = {node.recipe.layer: node.recipe.weight for node in after.nodes}
    assert weights["fast"] == Weight(memory=1_500_000_000, disk=20_000_000, minutes=7)
    assert weights["system"] == Weight()
    assert {name: key.key for name, key in first.nodes.items()} == {name: key.key for name, key in second.nodes.items()}
    assert before.nodes != after.nodes


@pytest.mark.parametrize(
    "line",
    [f"weight: {{disk: {'9' * 400} GB}}", f"healthcheck: {{command: [true], interval: {'9' * 5000}h}}"],
)
def test_number_beyond_every_machine_is_reported_at_its_place(line: str) -> None:
    """Before, such a number ended the command with a traceback."""
    files = tree("stacks:\n  one: {layers: [system, fast]}\n")
    files["layers/fast/layer.yaml"] += f"{line}\n"
    with pytest.raises(InvalidInput, match="expected at most 12 characters") as raised:
        load(files)
    assert raised.value.diagnostics()[0].location is not None


@pytest.mark.parametrize("size", ["4", "4 TB", "-1 GB", "GB"])
def test_weight_with_an_invalid_size_is_reported_at_its_location(size: str) -> None:
    files = tree("stacks:\n  one: {layers: [system, fast]}\n")
    files["layers/fast/layer.yaml"] += f"weight: {{memory: '{size}'}}\n"
    with pytest.raises(InvalidInput) as raised:
        load(files)
    assert raised.value.diagnostics()[0].location is not None
    assert "expected a size in MB or GB" in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("[{r: 1, v: [1.0, 2.0]}]", "two stacks are named `f1` by this row"),
        ("[{r: 1, v: 1.0}, {r: 1, v: 2.0}]", "two stacks are named `f1`, the other one at stacks.yaml:6:14"),
    ],
)
def test_stacks_of_one_name_show_the_other_place_where_there_is_another(rows: str, words: str) -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{r}'\n"
        f"    layers: [system, fast: '{{v}}']\n    matrix: {rows}\n"
    )
    assert one(tree(text))[1] == words


def test_alias_that_is_wrong_in_two_places_is_reported_once() -> None:
    files = tree("stacks:\n  a: {layers: [system]}\n")
    files["layers/fast/layer.yaml"] += "healthcheck: &one {nothing: x, command: [a]}\nparent: *one\n"
    found = [message for _, message, _ in diagnostics(files) if message == "unknown key `nothing`"]
    assert len(found) == 1


def test_condition_on_a_parameter_whose_pattern_is_wrong_is_no_second_error() -> None:
    files = tree("stacks:\n  a: {layers: [system]}\n")
    layer = "description: d\nkind: system\nlicence: MIT\nparameters: {p: {description: d, default: x, pattern: '*'}}\n"
    files["layers/other/layer.yaml"] = f"{layer}packages: [{{names: [a], when: {{p: [x]}}}}]\n"
    location, message, _ = one(files)
    assert message.startswith("`*` cannot be a pattern")
    assert location.startswith("layers/other/layer.yaml:4:")


def test_each_unknown_name_of_a_long_list_has_its_place() -> None:
    files = tree("stacks:\n  a: {layers: [system]}\n")
    names = [f"name-{number}" for number in range(500)]
    layer = f"description: d\nkind: system\nlicence: MIT\nrequires: [{', '.join(names)}]\n"
    files["layers/other/layer.yaml"] = layer
    places = {location for location, _, _ in diagnostics(files)}
    line = layer.split("\n")[3]
    assert places == {f"layers/other/layer.yaml:4:{line.index(name) + 1}" for name in names}


@pytest.mark.parametrize("where", ["groups", "row", "labels", "exclude"])
def test_what_is_read_for_each_row_is_bounded(where: str) -> None:
    """Before, only layers and exclusions were counted: 700 rows with 20,000 groups took 17 seconds."""
    many = "[" + ", ".join(f"g{number}" for number in range(2_500)) + "]"
    more = {
        "groups": f"    groups: {many}\n",
        "labels": f"    labels: {{{many[1:-1].replace(',', ': a,')}: a}}\n",
        "exclude": "    exclude: [" + ", ".join(["{v: 1}"] * 1_300) + "]\n",
    }
    values = ", ".join(map(str, range(500)))
    row = f"{{v: [{values}], groups: {many}}}" if where == "row" else f"{{v: [{values}]}}"
    files = tree(
        "families:\n  f:\n    description: a family\n    name: 'f{v}'\n    layers: [system]\n"
        f"{more.get(where, '')}    matrix: [{row}]\n"
    )
    with pytest.raises(InvalidInput, match=r"have 500 rows with 1\d{6} values in all, more than 1000000"):
        planned(files)
