"""Fields of layer.yaml on a stack or family: they follow those of all layers, and override them."""

from __future__ import annotations

import pytest

from buildsys.image_tests.declared import declared_tests
from buildsys.report.documents import list_document
from tests.support.keyed import keyed
from tests.support.trees import FAST, diagnostics, planned, stack, tree

TOOLS = "description: d\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [x]}]\n"


def single(own: str, layers: str = "[system, fast]", **more: str) -> dict[str, str]:
    """Return the project whose stack `one` has own fields: the lines of a mapping."""
    return tree(f"stacks:\n  one:\n    layers: {layers}\n    {own}\n", **more)


def family(own: str, rows: str = "[{r: [1, 2]}]", of_rows: str = "{}") -> dict[str, str]:
    return tree(
        "families:\n  f:\n    description: d\n    name: 'f{r}'\n    layers: [system: {release: '{r}'}]\n"
        f"    {own}\n    matrix: {rows}\n    stacks: {of_rows}\n"
    )


def variables(files: dict[str, str], name: str = "one") -> dict[str, tuple[str, tuple[str, ...]]]:
    return {each.name: (each.shown, each.layers) for each in stack(planned(files), name).environment}


def test_own_variable_replaces_that_of_a_layer_and_is_its_only_origin() -> None:
    found = variables(single("environment: {set: {LANG: C}, prepend: {PATH: /own/bin}}"))
    assert found == {
        "LANG": ("C", ("stack one",)),
        "PATH": ("/own/bin:/opt/fast/bin:$PATH", ("fast", "stack one")),
    }


def test_own_variable_decides_between_layers_that_set_it_to_different_values() -> None:
    other = TOOLS + "environment: {set: {LANG: other}}\n"
    files = single("user: me", "[system, other]", other=other)
    assert [message for _, message, _ in diagnostics(files)] == [
        "`one`: the layers `system` and `other` set `LANG` to `C.UTF-8` and `other`"
    ]
    assert variables(single("environment: {set: {LANG: C}}", "[system, other]", other=other))["LANG"][0] == "C"


def test_own_label_decides_between_layers() -> None:
    one, other = (FAST.replace("/opt/fast", f"/opt/{name}") + f"labels: {{a: {name}}}\n" for name in ("x", "y"))
    files = single("labels: {a: own}", "[system, x, y]", x=one, y=other)
    config = stack(planned(files)).config
    assert (dict(config.labels), config.sources["label a"]) == ({"a": "own"}, "stack one")


def test_own_settings_follow_those_of_all_layers() -> None:
    fast = FAST + "user: fast\nentrypoint: [fast]\ncommand: [start]\nports: [80]\n"
    config = stack(planned(single("user: me\n    entrypoint: [own]\n    ports: [90]", fast=fast))).config
    assert (config.user, config.entrypoint, config.command, config.ports) == ("me", ("own",), None, ("80", "90"))
    assert config.sources["user"] == "stack one"


def test_row_overrides_its_family_which_overrides_layers() -> None:
    files = family("environment: {set: {LANG: '{r}'}}", of_rows="{f2: {environment: {set: {LANG: row}}}}")
    assert variables(files, "f1")["LANG"] == ("1", ("family f",))
    assert variables(files, "f2")["LANG"] == ("row", ("stack f2",))


def test_braces_are_templates_in_a_family_and_no_templates_in_a_single_stack() -> None:
    assert stack(planned(family("command: ['{r}', '{{r}}']")), "f2").config.command == ("2", "{r}")
    assert stack(planned(single("command: ['{r}', '{{r}}']"))).config.command == ("{r}", "{{r}}")


def test_condition_of_an_own_entry_is_on_variables_of_the_row() -> None:
    files = family("environment: [{when: {r: 2}, set: {TWO: yes}}]")
    assert [("TWO" in variables(files, name)) for name in ("f1", "f2")] == [False, True]


def test_own_packages_are_installed_on_the_last_system_layer_by_the_one_that_provides_the_system() -> None:
    files = single("packages: [{names: [vim, curl]}, {names: [vim]}]", "[other, fast, system]", other=TOOLS)
    plan = planned(files)
    node = next(node for node in plan.nodes if node.name == stack(plan).base)
    assert (node.title, node.base, node.dockerfile) == (
        "stack-packages curl vim on system 1",
        "other-on-system-1",
        "layers/system/Dockerfile",
    )
    assert (node.packages, dict(node.arguments)) == (("curl", "vim"), {"PACKAGES": "curl vim"})


def test_packages_of_a_family_and_of_its_row_are_one_node() -> None:
    plan = planned(family("packages: [names: [zip]]", of_rows="{f2: {packages: [names: ['z-{r}']]}}"))
    assert [node.packages for node in plan.nodes if "stack-packages" in node.name] == [("zip",), ("z-2", "zip")]


def test_equal_packages_share_a_node_whatever_the_stacks_set() -> None:
    text = (
        "stacks:\n"
        "  one: {layers: [system], packages: [names: [a, b]], user: me}\n"
        "  two: {layers: [system], packages: [{names: [b]}, {names: [a]}], labels: {a: b}}\n"
    )
    plan = planned(tree(text))
    assert stack(plan, "one").base == stack(plan, "two").base


def test_own_packages_need_a_system_that_can_install() -> None:
    files = single("packages: [names: [vim]]")
    files["layers/system/Dockerfile"] = "FROM base\nRUN install\n"
    messages = [message for _, message, _ in diagnostics(files)]
    assert messages == ["no layer of `one` can install the packages of `stack-packages`"]


def test_own_tests_run_after_those_of_layers_without_a_folder() -> None:
    fast = FAST + "tests: [{run: fast}]\n"
    plan = planned(single('tests: [{run: "echo {x}", expect: "{x}"}]', fast=fast))
    found = [(test.layer, test.folder, test.run, test.expect) for test in declared_tests(plan, ("one",))]
    assert found == [("fast", "layers/fast", "fast", None), ("stack one", "", "echo {x}", "{x}")]


def test_stack_without_own_fields_has_no_layer_of_its_own() -> None:
    plain, _ = keyed(tree())
    empty, _ = keyed(single("labels: {}\n    packages: []"))
    assert [each.name for each in stack(empty).layers] == [each.name for each in stack(plain).layers]


def test_list_names_the_stack_as_the_origin() -> None:
    document = list_document(planned(single("user: me\n    labels: {a: b}")))
    found = document["stacks"][0]["settings_from"]
    assert (found["user"], found["labels"]) == ("stack one", {"a": "stack one"})


@pytest.mark.parametrize(
    ("own", "location", "message"),
    [
        ("user: 'a b'", "6:11", "`user` is `a b`, expected a name or a number, and `:` with a group where wanted"),
        ("entrypoint: ['']", "6:18", "the first word of `entrypoint` is empty, expected the name of a program"),
        ("command: ['{r']", "6:16", "the `{` has no counterpart"),
        ("labels: {a: '{x}'}", "6:19", "no row of the matrix has the variable `x`"),
        ("environment: {when: {x: 1}, set: {A: b}}", "6:26", "no row of the matrix has the variable `x`"),
    ],
)
def test_error_in_an_own_field_is_reported_at_its_place(own: str, location: str, message: str) -> None:
    found = diagnostics(family(own))
    assert [(each.removeprefix("stacks.yaml:"), text) for each, text, _ in found] == [(location, message)]


def test_row_without_a_variable_that_an_own_field_uses_is_reported() -> None:
    files = family("labels: {a: '{v}'}", "[{r: 1}, {r: 2, v: 3}]")
    assert [(each, text) for each, text, _ in diagnostics(files)] == [
        ("stacks.yaml:7:14", "`labels` of the family `f` uses `v`, which `f1` does not have")
    ]


def test_condition_in_a_single_stack_is_reported() -> None:
    files = single("packages: [{names: [vim], when: {r: 1}}]")
    assert [text for _, text, _ in diagnostics(files)] == ["`when` has no meaning in a single stack, which has no rows"]


def test_names_alone_in_a_condition_are_variables_that_a_row_has() -> None:
    files = family("environment: [{when: v, set: {V: '{v}'}}]", "[{r: 1}, {r: 2, v: 3}]")
    assert [variables(files, name).get("V", ("",))[0] for name in ("f1", "f2")] == ["", "3"]
    assert [text for _, text, _ in diagnostics(family("environment: [{when: w, set: {V: x}}]"))] == [
        "no row of the matrix has the variable `w`"
    ]
    assert [text for _, text, _ in diagnostics(single("environment: [{when: v, set: {V: x}}]"))] == [
        "`when` has no meaning in a single stack, which has no rows"
    ]


def test_fields_of_a_row_are_between_those_of_its_family_and_of_a_single_stack_of_it() -> None:
    row = "[{r: [1, 2], user: row, labels: {a: '{r}'}}, {r: 3, environment: {set: {LANG: row}}}]"
    files = family("user: family", row, "{f2: {user: one}}").copy()
    files["layers/system/layer.yaml"] = files["layers/system/layer.yaml"].replace("[1, 2]", "[1, 2, 3]")
    plan = planned(files)
    found = {name: stack(plan, name).config for name in ("f1", "f2", "f3")}
    assert {name: config.user for name, config in found.items()} == {"f1": "row", "f2": "one", "f3": "family"}
    assert [dict(config.labels) for config in found.values()] == [{"a": "1"}, {"a": "2"}, {}]
    assert found["f1"].sources["user"] == "row f1"
    assert variables(files, "f3")["LANG"] == ("row", ("row f3",))


def test_own_commands_run_in_a_node_of_their_own_after_the_packages() -> None:
    plan = planned(single("packages: [names: [vim]]\n    run: [first, 'second \"$X\"']"))
    commands, packages = (
        next(node for node in plan.nodes if node.recipe.layer == name) for name in ("stack-commands", "stack-packages")
    )
    assert (stack(plan).base, commands.base) == (commands.name, packages.name)
    assert commands.generated == 'FROM base\nRUN <<END\nset -eu\nfirst\nsecond "$X"\nEND\n'
    assert (commands.added_layers, commands.folder) == (1, "")


def test_own_files_are_an_artifact_of_the_folder_files_and_later_declarations_replace_earlier_ones() -> None:
    files = family(
        "files: {/etc/a: {from: a, owner: '{r}:0'}, /etc/b: b}",
        of_rows="{f2: {files: {/etc/b: {from: c, mode: 0600}}}}",
    )
    plan = planned(files)
    node = next(node for node in plan.nodes if node.name == dict(stack(plan, "f2").artifacts)["stack-files"])
    assert (node.folder, node.recipe.prefix) == ("files", ("/etc/a", "/etc/b"))
    assert "COPY --chown=2:0 a /etc/\nCOPY --chmod=0600 c /etc/b\n" in node.generated


def test_equal_files_and_commands_share_a_node_and_different_ones_have_different_names_and_titles() -> None:
    stacks = "".join(
        f"  {name}: {{layers: [system], run: {run}, files: {{/etc/a: {{from: a, mode: {mode}}}}}}}\n"
        for name, run, mode in (("one", "x", "0600"), ("two", "x", "0600"), ("three", "y", "0644"))
    )
    plan = planned(tree(f"stacks:\n{stacks}"))
    one, two, three = ((each.base, each.artifacts) for each in (stack(plan, name) for name in ("one", "two", "three")))
    assert one == two
    assert {one[0], *one[1]}.isdisjoint({three[0], *three[1]})
    own = [node.title for node in plan.nodes if node.recipe.layer in ("stack-files", "stack-commands")]
    assert len(set(own)) == 4


def test_stacks_that_extend_have_the_files_and_commands_of_their_base_too() -> None:
    text = (
        "stacks:\n  first: {layers: [system], run: x, files: {/etc/a: a, /etc/b: b}}\n"
        "  one: {extends: first, run: y, files: {/etc/b: c}}\n"
    )
    plan = planned(tree(text))
    node = {node.recipe.layer: node for node in plan.nodes if node.name in stack(plan).below}
    assert node["stack-commands"].recipe.run == ("x", "y")
    assert {path: entry.source for path, entry in node["stack-files"].recipe.files.items()} == {
        "/etc/a": "a",
        "/etc/b": "c",
    }


@pytest.mark.parametrize(
    ("own", "location", "message"),
    [
        ("files: {/etc: {from: a}}", "5:13", "`/etc` is a folder of the system, which no artifact can own as a whole"),
        ("files: {/opt/fast/x: x}", "5:26", "the layers `fast` and `stack-files` of `one` both own `/opt/fast/x`"),
        ("files: {/srv/x: ../x}", "5:21", "`from` has `.` or `..`"),
        ("files: {/srv/x: {owner: me}}", "5:13", "the file `/srv/x` has no `from`"),
        ("run: ['']", "5:11", "`` cannot be a command: at least one word"),
    ],
)
def test_error_in_own_files_or_commands_is_reported_at_its_place(own: str, location: str, message: str) -> None:
    found = diagnostics(single(f"description: d\n    {own}"))
    assert (f"stacks.yaml:{location}", message) in [(each, text) for each, text, _ in found]
