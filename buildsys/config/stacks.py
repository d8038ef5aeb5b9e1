"""`stacks.yaml` becomes stacks: single ones as they stand, families by their matrix."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType

from buildsys.config import template
from buildsys.config.lines import Line, read_lines
from buildsys.config.model import Family, LayerUse, Stack
from buildsys.config.schema import FamilyFields, StackFields, StacksFile
from buildsys.config.source import Path, Source
from buildsys.config.template import literally
from buildsys.errors import Diagnostic, Location
from buildsys.names import CUSTOM_SUFFIX, NAME, group_problem, stack_problem, target_name

_SETTINGS = ("groups", "deprecated")
_GROUP = re.compile(NAME)
RESERVED = frozenset({"default", "cpu", "gpu", "all", "mirrors"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One stack's variables, with where each value stands, and its settings."""

    values: Mapping[str, str]
    locations: Mapping[str, Location]
    groups: tuple[str, ...]
    deprecated: str | None
    location: Location


def load_stacks(shape: StacksFile, source: Source, diagnostics: list[Diagnostic]) -> tuple[Stack, ...]:
    """Return all stacks, sorted by name, after adding every mistake; layers are not looked up."""
    found = [stack for name, family in shape.families.items() for stack in _family(name, family, source, diagnostics)]
    for name, fields in shape.stacks.items():
        path: Path = ("stacks", name)
        lines = read_lines(fields.layers, (*path, "layers"), source, diagnostics)
        for line in lines:
            if line.has or line.when.values:
                message = f"`when` has no meaning in the single stack `{name}`, which has no rows"
                diagnostics.append(Diagnostic(message=message, location=line.location))
        literal = [replace(line, parameters={k: literally(v) for k, v in line.parameters.items()}) for line in lines]
        row = _Row(values={}, locations={}, groups=(), deprecated=fields.deprecated, location=source.key_location(path))
        found.append(_stack(name, None, fields, fields.description or name, literal, row, diagnostics))
    _check_names(found, diagnostics)
    return tuple(sorted(found, key=lambda stack: stack.name))


def families(shape: StacksFile) -> tuple[Family, ...]:
    """Return the families, sorted by name."""
    named = sorted(shape.families.items())
    return tuple(Family(name=name, description=fields.description) for name, fields in named)


def _check_names(stacks: list[Stack], diagnostics: list[Diagnostic]) -> None:
    by_target: dict[str, Stack] = {}
    names = {stack.name for stack in stacks}
    groups = {group for stack in stacks for group in stack.groups} | {stack.family for stack in stacks} | RESERVED
    for stack in stacks:
        target = target_name(stack.name)
        problem = stack_problem(stack.name)
        named = filter(None, [problem, *map(group_problem, stack.groups)])
        diagnostics.extend(Diagnostic(message=each, location=stack.location) for each in named)
        other = stack.name.removesuffix(CUSTOM_SUFFIX)
        if other != stack.name and other in names:
            message = f"the stack `{stack.name}` has the name that images of Dockerfiles on `{other}` get"
            diagnostics.append(
                Diagnostic(message=message, location=stack.location, hint="give one of them another name")
            )
        if target in groups and not problem:
            message = f"the stack `{stack.name}` has the name of a group"
            diagnostics.append(Diagnostic(message=message, location=stack.location))
        first = by_target.setdefault(target, stack)
        if first is stack:
            continue
        if first.name == stack.name:
            where = f", the other one at {first.location}" if first.location != stack.location else " by this row"
            message = f"two stacks are named `{stack.name}`{where}"
        else:
            message = f"the stacks `{first.name}` and `{stack.name}` would both be the bake target `{target}`"
        hint = "give the rows different values for what the name shows, or show more in the name"
        diagnostics.append(Diagnostic(message=message, location=stack.location, hint=hint))


def _family(name: str, fields: FamilyFields, source: Source, diagnostics: list[Diagnostic]) -> Iterator[Stack]:
    path: Path = ("families", name)
    if name in RESERVED:
        message = f"`{name}` is the name of a group that every project has"
        diagnostics.append(Diagnostic(message=message, location=source.key_location(path)))
    lines = read_lines(fields.layers, (*path, "layers"), source, diagnostics)
    rows = list(_rows(fields, path, source))
    for row in rows:
        for group in row.groups:
            if not _GROUP.fullmatch(group):
                message = f"`{group}` cannot be the name of a group: lower-case letters, digits, single `-` between"
                diagnostics.append(Diagnostic(message=message, location=row.location))
    variables = frozenset(key for row in rows for key in row.values)
    if not _check_templates(fields, lines, variables, path, source, diagnostics):
        return
    by_name = dict(fields.stacks)
    for row in rows:
        try:
            stack_name = _filled(fields.name, row)
        except KeyError as error:
            message = f"the name `{fields.name}` uses `{error.args[0]}`, which this row does not have"
            hint = f"put the part in brackets: `[-{error.args[0]}{{{error.args[0]}}}]`"
            diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
            continue
        own = by_name.pop(stack_name, None)
        described = own.description if own and own.description else fields.description
        stack = _stack(stack_name, name, fields, described, lines, row, diagnostics)
        if own:
            stack = Stack(
                name=stack.name,
                family=stack.family,
                description=stack.description,
                groups=tuple(sorted({*stack.groups, *own.groups})),
                platforms=stack.platforms,
                layers=stack.layers,
                deprecated=own.deprecated or stack.deprecated,
                location=stack.location,
            )
        yield stack
    for unknown in by_name:
        near = get_close_matches(unknown, [_filled_or_nothing(fields.name, row) for row in rows], 1)
        diagnostics.append(
            Diagnostic(
                message=f"the matrix makes no stack `{unknown}`",
                location=source.key_location((*path, "stacks", unknown)),
                hint=f"did you mean `{near[0]}`?" if near else None,
            )
        )


def _filled(name: str, row: _Row) -> str:
    return template.fill(template.without_absent_parts(name, frozenset(row.values)), row.values)


def _filled_or_nothing(name: str, row: _Row) -> str:
    try:
        return _filled(name, row)
    except KeyError:
        return ""


def _rows(fields: FamilyFields, path: Path, source: Source) -> Iterator[_Row]:
    """Yield the product of each row's lists, in the order in which they stand, without what is excluded."""
    for index, raw in enumerate(fields.matrix):
        at = (*path, "matrix", index)
        variables = {key: value for key, value in raw.items() if key not in _SETTINGS}
        placed = [
            [(key, value, _value_location(source, (*at, key), i)) for i, value in enumerate(values)]
            for key, values in variables.items()
        ]
        for combination in itertools.product(*placed):
            values = {key: value for key, value, _ in combination}
            if any(_excluded(rule, values) for rule in fields.exclude):
                continue
            yield _Row(
                values=MappingProxyType(values),
                locations=MappingProxyType({key: location for key, _, location in combination}),
                groups=tuple(raw.get("groups", ())),
                deprecated=" ".join(raw["deprecated"]) if "deprecated" in raw else fields.deprecated,
                location=source.location(at),
            )


def _value_location(source: Source, path: Path, index: int) -> Location:
    return source.values.get((*path, index)) or source.location(path)


def _excluded(rule: Mapping[str, list[str]], values: Mapping[str, str]) -> bool:
    return all(values.get(key) in allowed for key, allowed in rule.items())


def _check_templates(
    fields: FamilyFields,
    lines: list[Line],
    variables: frozenset[str],
    path: Path,
    source: Source,
    diagnostics: list[Diagnostic],
) -> bool:
    """Whether all templates of a family can be read and use only variables that some row has."""
    before = len(diagnostics)
    texts = [(fields.name, source.location((*path, "name")))]
    texts += [(text, line.locations[key]) for line in lines for key, text in line.parameters.items()]
    used: set[str] = set()
    for text, location in texts:
        if problem := template.problem(text):
            diagnostics.append(Diagnostic(message=problem, location=location))
        used |= template.names(text)
        for name in sorted(template.names(text) - variables):
            diagnostics.append(_no_variable(name, variables, location))
    for line in lines:
        names = {*line.has, *(name for name, _ in line.when.values)}
        used |= names
        for name in sorted(names - variables):
            diagnostics.append(_no_variable(name, variables, line.location))
    for index, row in enumerate(fields.matrix):
        for name in sorted(row.keys() - used - {*_SETTINGS}):
            location = source.key_location((*path, "matrix", index, name))
            message = f"nothing in the family uses the variable `{name}`"
            near = get_close_matches(name, sorted(used), 1)
            hint = f"did you mean `{near[0]}`?" if near else None
            diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
    return len(diagnostics) == before


def _no_variable(name: str, variables: frozenset[str], location: Location) -> Diagnostic:
    near = get_close_matches(name, sorted(variables), 1)
    hint = f"did you mean `{near[0]}`?" if near else None
    return Diagnostic(message=f"no row of the matrix has the variable `{name}`", location=location, hint=hint)


def _stack(
    name: str,
    family: str | None,
    fields: StackFields,
    description: str,
    lines: list[Line],
    row: _Row,
    diagnostics: list[Diagnostic],
) -> Stack:
    uses = []
    for line in lines:
        if not line.when.holds(row.values) or any(each not in row.values for each in line.has):
            continue
        parameters, locations = {}, {}
        for key, text in line.parameters.items():
            missing = template.names(text) - row.values.keys()
            if missing:
                absent = min(missing)
                message = f"`{key}` of `{line.layer}` uses `{absent}`, which `{name}` does not have"
                hint = f"add `when: {absent}` beside the layer, or `{absent}` to the row"
                diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
                continue
            parameters[key] = template.fill(text, row.values)
            used = sorted(template.names(text))
            locations[key] = row.locations[used[0]] if len(used) == 1 else line.locations[key]
        uses.append(
            LayerUse(
                layer=line.layer,
                parameters=MappingProxyType(parameters),
                location=line.location,
                locations=MappingProxyType(locations),
            )
        )
    return Stack(
        name=name,
        family=family,
        description=description,
        groups=tuple(sorted({*fields.groups, *row.groups})),
        platforms=tuple(fields.platforms),
        layers=tuple(uses),
        deprecated=row.deprecated,
        location=row.location,
    )
