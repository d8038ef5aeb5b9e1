"""What holds for the bake file of every project; the name of a test is the law."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.bake.targets import NOTHING, plan_definition
from buildsys.commands.plan import make_plan
from buildsys.errors import InvalidInput
from buildsys.recipes.recipe import OS
from tests.support.bake_text import arguments, blocks, dockerfile, environment
from tests.support.projects import LAW, Fields, Project, other_stack, projects, with_stacks

SHUFFLES = st.randoms(use_true_random=False)
TARGET = re.compile(r"[a-zA-Z0-9_-]+")


def shuffled(values: Any, order: random.Random) -> Any:
    """Return a list or a mapping with its entries in another order."""
    if isinstance(values, dict):
        return dict(shuffled(list(values.items()), order))
    found = list(values)
    order.shuffle(found)
    return found


def reordered(fields: Fields, order: random.Random) -> Fields:
    """Return a stack or family with its layers in another order."""
    return {**fields, "layers": shuffled(fields["layers"], order)}


@LAW
@given(project=projects(), order=SHUFFLES)
def test_order_of_layers_in_a_list_changes_no_layer_and_no_value(project: Project, order: random.Random) -> None:
    other = replace(
        project,
        stacks=tuple((name, reordered(fields, order)) for name, fields in project.stacks),
        families=tuple((name, reordered(fields, order)) for name, fields in project.families),
    )

    def layers(each: Project) -> dict[str, dict[str, dict[str, str]]]:
        return {
            stack.name: {layer.name: dict(layer.parameters) for layer in stack.layers} for stack in each.plan().stacks
        }

    assert layers(other) == layers(project)


@LAW
@given(project=projects(), order=SHUFFLES)
def test_order_of_stacks_and_of_rows_changes_no_byte(project: Project, order: random.Random) -> None:
    families = tuple((name, {**each, "matrix": shuffled(each["matrix"], order)}) for name, each in project.families)
    other = replace(project, stacks=tuple(shuffled(project.stacks, order)), families=families)
    assert other.bake_file() == project.bake_file()


@LAW
@given(project=projects(), order=SHUFFLES)
def test_order_of_files_changes_no_byte(project: Project, order: random.Random) -> None:
    tree = project.tree()
    assert plan_definition(make_plan(shuffled(tree, order))).to_hcl() == plan_definition(make_plan(tree)).to_hcl()


@LAW
@given(project=projects(), order=SHUFFLES)
def test_order_of_keys_of_a_layer_changes_no_byte(project: Project, order: random.Random) -> None:
    layers = {name: shuffled(dict(fields), order) for name, fields in project.layers.items()}
    assert replace(project, layers=layers).bake_file() == project.bake_file()


@LAW
@given(project=projects(), position=st.integers(0, 20), indent=st.integers(0, 6))
def test_a_comment_in_stacks_yaml_changes_no_byte(project: Project, position: int, indent: int) -> None:
    tree = project.tree()
    lines = tree["stacks.yaml"].splitlines()
    lines.insert(position % (len(lines) + 1), f"{' ' * indent}# a: {{b}} said in between")
    changed = {**tree, "stacks.yaml": "\n".join(lines)}
    assert changed != tree
    assert plan_definition(make_plan(changed)).to_hcl() == plan_definition(make_plan(tree)).to_hcl()


@LAW
@given(data=st.data(), project=projects())
def test_adding_a_stack_changes_no_other_target(data: st.DataObject, project: Project) -> None:
    more = data.draw(other_stack(project))
    before = blocks(project.bake_file(), "target")
    after = blocks(with_stacks(project, [*project.stacks, more]).bake_file(), "target")
    assert {name: after.get(name) for name in before} == before
    assert more[0] in after


@LAW
@given(project=projects())
def test_every_layer_comes_after_what_it_requires_or_follows(project: Project) -> None:
    for stack in project.plan().stacks:
        order = [each.name for each in stack.layers]
        for each in stack.layers:
            needs = {
                next(n for n in order if n.endswith("-os")) if need == OS else need for need in each.recipe.requires
            }
            assert needs <= set(order)
            for need in {*needs, *(set(each.recipe.after) & set(order))}:
                assert order.index(need) < order.index(each.name)


@LAW
@given(project=projects())
def test_every_node_comes_after_its_dependencies(project: Project) -> None:
    plan = project.plan()
    order = [node.name for node in plan.nodes]
    assert all(order.index(need) < order.index(node.name) for node in plan.nodes for need in node.below)


@LAW
@given(data=st.data(), project=projects(), size=st.integers(2, 5))
def test_a_cycle_is_reported_with_its_whole_loop(data: st.DataObject, project: Project, size: int) -> None:
    loop = data.draw(st.permutations([f"loop-{number}" for number in range(size)]))
    common = {"description": "in a circle", "kind": "artifact", "licence": "free"}
    recipe = "FROM toolchain AS build\nRUN make\nFROM scratch\nCOPY --from=build /artifact /\n"
    layers = dict(project.layers)
    for name, need in zip(loop, [*loop[1:], loop[0]], strict=True):
        word = data.draw(st.sampled_from(["requires", "after"]))
        layers[name] = {**common, "prefix": f"/opt/{name}", word: [need]}
    stack = {"layers": [*project.stacks[0][1]["layers"], *({name: {}} for name in sorted(loop))]}
    broken = replace(
        project,
        layers=layers,
        dockerfiles={**project.dockerfiles, **dict.fromkeys(loop, recipe)},
        stacks=(("x", stack),),
    )
    with pytest.raises(InvalidInput) as caught:
        broken.plan()
    first = loop.index(min(loop))
    shown = " → ".join([*loop[first:], *loop[:first], loop[first]])
    assert [each.message for each in caught.value.diagnostics()] == [f"layers need each other: {shown}"]
    location = caught.value.diagnostics()[0].location
    assert location is not None
    named = broken.tree()[location.file].splitlines()[location.line - 1][location.column - 1 :][: location.length]
    assert (location.file, named) == (f"layers/{loop[first]}/layer.yaml", f'"{loop[(first + 1) % size]}"')


@LAW
@given(project=projects())
def test_equal_work_is_one_target_however_many_stacks_use_it(project: Project) -> None:
    plan = project.plan()
    copies = [(f"copy-of-{name}", fields) for name, fields in project.stacks]
    assert with_stacks(project, [*project.stacks, *copies]).plan().nodes == plan.nodes
    bodies = blocks(plan_definition(plan).to_hcl(), "target")
    work = [re.sub(r"^  (cache-(from|to)|description).*\n", "", bodies[node.name], flags=re.M) for node in plan.nodes]
    assert len(set(work)) == len(work)


@LAW
@given(project=projects())
def test_every_link_leads_to_a_target(project: Project) -> None:
    text = project.bake_file()
    targets = blocks(text, "target")
    assert set(re.findall(r'"target:([^"]*)"', text)) <= targets.keys()
    for members in blocks(text, "group").values():
        assert set(re.findall(r'"([^"]*)"', members)) <= targets.keys()
    grounds = re.findall(r'"docker-image://([^"]*)"', text)
    variables = blocks(text, "variable")
    assert {each for each in grounds if f"docker-image://{each}" != NOTHING} <= {f"${{{name}}}" for name in variables}


@LAW
@given(project=projects())
def test_names_of_targets_are_such_as_bake_takes_and_are_given_once(project: Project) -> None:
    text = project.bake_file()
    named = re.findall(r'^(?:target|group) "(.*)" \{$', text, re.MULTILINE)
    assert [name for name in named if not TARGET.fullmatch(name)] == []
    assert len({name.lower() for name in named}) == len(named)


@LAW
@given(project=projects())
def test_no_two_targets_write_one_cache(project: Project) -> None:
    text = project.bake_file()
    written = re.findall(r'cache_to\("([^"]*)"', text)
    assert sorted(written) == sorted(blocks(text, "target"))


@LAW
@given(project=projects(), parent=st.sampled_from([{}, {"SEARCH": "/bin"}, {"SEARCH": ""}]))
def test_every_variable_reaches_the_image_as_it_was_written(project: Project, parent: dict[str, str]) -> None:
    plan = project.plan()
    bodies = blocks(plan_definition(plan).to_hcl(), "target")
    for stack in plan.stacks:
        expected: dict[str, str] = dict(parent)
        front: list[str] = []
        behind: list[str] = []
        for each in sorted(stack.layers, key=lambda layer: layer.position):
            said = project.layers[each.name].get("environment", {"set": {}})
            expected.update({k: v.replace("{{", "{").replace("}}", "}") for k, v in said["set"].items()})
            front = [*said.get("prepend", {}).get("SEARCH", []), *front]
            behind = [*behind, *said.get("append", {}).get("SEARCH", [])]
        middle = [parent["SEARCH"]] if parent.get("SEARCH") else []
        if front or behind:
            expected["SEARCH"] = ":".join([*dict.fromkeys(front), *middle, *dict.fromkeys(behind)])
        assert environment(dockerfile(bodies[stack.name]), parent) == expected


@LAW
@given(project=projects())
def test_every_argument_reaches_the_dockerfile_as_it_was_written(project: Project) -> None:
    plan = project.plan()
    bodies = blocks(plan_definition(plan).to_hcl(), "target")
    for node in plan.nodes:
        assert arguments(bodies[node.name]).items() >= dict(node.arguments).items()
    given_flags = {
        " ".join(parameters["flags"])
        for _, fields in project.stacks
        for line in fields["layers"]
        for parameters in line.values()
        if "flags" in parameters
    }
    assert given_flags <= {arguments(bodies[node.name]).get("FLAGS", "") for node in plan.nodes} | {""}
