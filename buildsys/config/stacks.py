"""`stacks.yaml` becomes stacks: single ones as they are written, families by their matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from buildsys.config import template
from buildsys.config.fields import LINE, NAME, NAMES, NOTHING, ONE_OR_MORE, PLATFORMS, TEXT, VALUES
from buildsys.config.matrix import (
    SETTINGS,
    PublishedFields,
    Row,
    RowFields,
    RowShape,
    check_excludes,
    check_values,
    is_excluded,
    rows_of,
)
from buildsys.config.model import Family, LayerUse, Stack
from buildsys.config.recipe import CONDITION, When
from buildsys.config.tags import Claims, Declared, check_tags, claims_of, literal, named, templates, with_tags
from buildsys.config.template import literally
from buildsys.errors import Diagnostic, Location, did_you_mean, which_one
from buildsys.names import CUSTOM_SUFFIX, group_problem, stack_problem, target_name
from buildsys.records.schema import Record, nullable, optional, required
from buildsys.records.shapes import WRONG, Anything, Converted, Dictionary, Many, Reader, Wrong
from buildsys.records.source import Data, Path, Source
from buildsys.values import dataclass

# How the other file calls what a stack has.
_MEANT = {"requires": "layers"}
_PARAMETERS = Dictionary(Converted(ONE_OR_MORE, " ".join))
RESERVED = frozenset({"default", "cpu", "gpu", "all", "mirrors"})


@dataclass(frozen=True, kw_only=True, slots=True)
class RowStackFields(PublishedFields):
    """Additional fields of one stack of a family."""

    description: str | None = nullable(TEXT, None, "one line")
    groups: tuple[str, ...] = optional(NAMES, (), "additional groups")
    deprecated: str | None = nullable(TEXT, None, "reason; excludes it from `--all` and the default group")


@dataclass(frozen=True, kw_only=True, slots=True)
class StackFields(RowStackFields):
    """A single stack."""

    layers: tuple[Data, ...] = required(
        Many(Anything(), least=1), "names of layers, or maps from a name to its parameters, with an optional `when`"
    )
    platforms: tuple[str, ...] = optional(PLATFORMS, ("linux/amd64",), "default `[linux/amd64]`")


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyFields(StackFields):
    """Stacks declared by a matrix."""

    description: str = required(TEXT, "one line")
    name: str = required(LINE, "template of the names of the stacks; a part in `[ ]` is omitted without its variables")
    matrix: tuple[RowFields, ...] = required(
        Many(RowShape(), least=1), "rows of variables; a list gives one stack per value"
    )
    exclude: tuple[Mapping[str, tuple[str, ...]], ...] = optional(Many(VALUES), (), "rows to omit")
    stacks: Mapping[str, RowStackFields] = optional(
        Dictionary(Record(RowStackFields, "RowStackFields")), NOTHING, "additional settings of single rows, by name"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StacksFile:
    """The images of a project."""

    registry: str = optional(LINE, "buildsys", "default of BUILDSYS_REGISTRY")
    families: Mapping[str, FamilyFields] = optional(
        Dictionary(Record(FamilyFields, "FamilyFields", meant=_MEANT), key=NAME),
        NOTHING,
        "stacks declared by a matrix, by family",
    )
    stacks: Mapping[str, StackFields] = optional(
        Dictionary(Record(StackFields, "StackFields", meant=_MEANT)), NOTHING, "single stacks, by name"
    )


STACKS = Record(StacksFile, "StacksFile")
_STACKS_KEYS = {each.name for each in fields(StacksFile)}
MOST_ROWS = 10_000
# Of layers and exclusions that rows are compared with, in all rows together.
_MOST_LINES = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """An entry of `layers`: a layer with its parameters, still templates, and the rows that have it."""

    layer: str
    parameters: Mapping[str, str]
    when: When
    has: tuple[str, ...]
    location: Location
    locations: Mapping[str, Location]
    keys: Mapping[str, Location]
    condition: Location
    path: Path


def load_stacks(file: StacksFile, source: Source, diagnostics: list[Diagnostic]) -> tuple[Stack, ...]:
    """Return all stacks, sorted by name, after adding everything that is wrong; layers are not looked up."""
    reader, before = Reader(source, diagnostics), len(diagnostics)
    data = source.data or {}
    if not file.families and not file.stacks and isinstance(data, dict) and data.keys() <= _STACKS_KEYS:
        reader.wrong("the file has no stacks", (), "declare one, such as `stacks: {my-image: {layers: [my-layer]}}`")
    if _has_too_many_rows(file, reader):
        return ()
    claims = [each for name, family in file.families.items() for each in _family(name, family, reader)]
    claims += [_single(name, fields, reader) for name, fields in file.stacks.items()]
    _check_names([each.stack for each in claims], diagnostics)
    found = [each.stack for each in claims] if len(diagnostics) > before else with_tags(claims, diagnostics)
    return tuple(sorted(found, key=lambda stack: stack.name))


def _has_too_many_rows(file: StacksFile, reader: Reader) -> bool:
    """Whether the matrices have more rows than can be planned, after adding the diagnostic at the one that exceeds."""
    rows = lines = 0
    for name, family in file.families.items():
        for index, row in enumerate(family.matrix):
            count = math.prod(len(values) for key, values in row.values.items() if key not in SETTINGS)
            rows += count
            lines += count * (len(family.layers) + len(family.exclude))
            if rows > MOST_ROWS or lines > _MOST_LINES:
                what = f"{rows} rows, more than {MOST_ROWS}"
                if rows <= MOST_ROWS:
                    what = f"{rows} rows with {lines} layers and exclusions, more than {_MOST_LINES}"
                message = f"the matrices of this file, up to this row, have {what}"
                reader.wrong(message, ("families", name, "matrix", index), "shorten its lists, or remove a row")
                return True
    return False


def families(file: StacksFile) -> tuple[Family, ...]:
    """Return the families, sorted by name."""
    named = sorted(file.families.items())
    return tuple(Family(name=name, description=fields.description) for name, fields in named)


def _check_names(stacks: list[Stack], diagnostics: list[Diagnostic]) -> None:
    """Add a diagnostic for each name that is reserved, or that two stacks would have."""
    by_target: dict[str, Stack] = {}
    reported: set[tuple[str | None, str]] = set()
    names = {stack.name for stack in stacks}
    groups = {group for stack in stacks for group in stack.groups} | {stack.family for stack in stacks} | RESERVED
    for stack in stacks:

        def wrong(message: str, hint: str | None = None, *, location: Location = stack.location) -> None:
            diagnostics.append(Diagnostic(message=message, location=location, hint=hint))

        target = target_name(stack.name)
        problem = stack_problem(stack.name)
        if problem:
            better = stack.name.lower().replace(" ", "-")
            wrong(problem, "rename the stack" if stack_problem(better) else f"write `{better}`")
        for each in filter(None, map(group_problem, stack.groups)):
            wrong(each, "rename the group")
        other = stack.name.removesuffix(CUSTOM_SUFFIX)
        if other != stack.name and other in names:
            message = f"the stack name `{stack.name}` is reserved for images of Dockerfiles on `{other}`"
            wrong(message, "rename one of them")
        if target in groups and not problem:
            wrong(f"the stack `{stack.name}` has the name of a group", "rename the stack")
        first = by_target.setdefault(target, stack)
        if first is stack:
            continue
        message = f"the stacks `{first.name}` and `{stack.name}` would both be the bake target `{target}`"
        if first.name == stack.name:
            where = f", the other one at {first.location}" if first.location != stack.location else " by this row"
            message = f"two stacks are named `{stack.name}`{where}"
        # Of many rows with one name, the first two say it.
        if (stack.family, target) not in reported:
            is_row = stack.family is not None
            hint = "show more of the row's variables in `name`" if is_row else "rename one of them"
            wrong(message, hint)
        reported.add((stack.family, target))


def _single(name: str, fields: StackFields, reader: Reader) -> Claims:
    """Return a stack that is declared alone; braces in it are no templates."""
    path: Path = ("stacks", name)
    lines = []
    for line in _lines(fields, path, reader):
        if line.has or line.when.values:
            message = f"`when` has no meaning in the single stack `{name}`, which has no rows"
            hint = "remove `when`, or declare a family, whose `matrix` has rows"
            reader.diagnostics.append(Diagnostic(message=message, location=line.condition, hint=hint))
        lines.append(replace(line, parameters={k: literally(v) for k, v in line.parameters.items()}))
    location = reader.source.key_location(path)
    row = Row(values={}, locations={}, groups=(), deprecated=fields.deprecated, location=location)
    stack = Stack(
        name=name,
        family=None,
        description=fields.description or name,
        groups=tuple(sorted({*fields.groups})),
        platforms=fields.platforms,
        layers=(),
        deprecated=fields.deprecated,
        location=location,
        platform_locations=_platform_locations(fields, path, reader.source),
    )
    stack = replace(stack, layers=_uses(name, lines, row, reader.diagnostics))
    return claims_of(stack, row, [(literal(fields, path, reader), path)], reader)


def _family(name: str, fields: FamilyFields, reader: Reader) -> Iterator[Claims]:
    """Yield the stack of each row."""
    path: Path = ("families", name)
    if name in RESERVED:
        reader.wrong(f"`{name}` is the name of a built-in group", path, "rename the family", key=True)
    lines = _lines(fields, path, reader)
    every = list(rows_of(fields.matrix, fields.deprecated, path, reader.source))
    check_excludes(fields.exclude, every, path, reader)
    rows = [row for row in every if not any(is_excluded(rule, row.values) for rule in fields.exclude)]
    for row in rows:
        for group in filter(NAME.problem, row.groups):
            message = f"`{group}` cannot be the name of a group: lower-case letters, digits, single `-` between"
            reader.diagnostics.append(Diagnostic(message=message, location=row.location, hint="rename the group"))
    if not _check_templates(fields, lines, rows, path, reader):
        return
    by_name, names = dict(fields.stacks), list[str]()
    platform_locations = _platform_locations(fields, path, reader.source)
    for row in rows:
        try:
            stack_name = template.fill_parts(fields.name, row.values)
        except KeyError as error:
            message = f"the name `{fields.name}` uses `{error.args[0]}`, which this row does not have"
            hint = f"put the part in brackets: `[-{error.args[0]}{{{error.args[0]}}}]`"
            reader.diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
            continue
        names.append(stack_name)
        own = by_name.pop(stack_name, RowStackFields())
        stack = Stack(
            name=stack_name,
            family=name,
            description=own.description or fields.description,
            groups=tuple(sorted({*fields.groups, *row.groups, *own.groups})),
            platforms=fields.platforms,
            layers=_uses(stack_name, lines, row, reader.diagnostics),
            deprecated=own.deprecated or row.deprecated,
            location=row.location,
            platform_locations=platform_locations,
        )
        said = [(own, (*path, "stacks", stack_name)), (row.published, row.path), (fields, path)]
        yield claims_of(stack, row, said, reader)
    for unknown in by_name:
        near = did_you_mean(unknown, names, "remove it, or add its row")
        reader.wrong(f"the matrix has no row for the stack `{unknown}`", (*path, "stacks", unknown), near, key=True)


def _platform_locations(fields: StackFields, path: Path, source: Source) -> Mapping[str, Location]:
    return {name: source.location((*path, "platforms", index)) for index, name in enumerate(fields.platforms)}


def _check_templates(fields: FamilyFields, lines: list[_Line], rows: list[Row], path: Path, reader: Reader) -> bool:
    """Whether all templates of a family can be read and use only variables that some row has."""
    before = len(reader.diagnostics)
    variables = frozenset(key for row in rows for key in row.values)
    part = reader.source.part_location
    conditions: set[str] = set()
    used = [(name, part((*path, "name"), name)) for name in sorted(template.names(fields.name))]
    texts = [(fields.name, (*path, "name"))]
    for line in lines:
        texts += [(text, (*line.path, key)) for key, text in line.parameters.items()]
        for key, text in line.parameters.items():
            used += [(name, part((*line.path, key), name)) for name in sorted(template.names(text))]
        used += [(name, line.condition) for name in line.has]
        at = (*line.path[:-1], "when")
        check_values(line.when.values, rows, at, reader)
        conditions.update(name for name, _ in line.when.values)
    declared = _declared(fields, path)
    texts += templates(declared)
    used += [(name, part(at, name)) for text, at in templates(declared) for name in sorted(template.names(text))]
    used += [(name, reader.source.location(at)) for name, at in named(declared)]
    conditions.update(check_tags(declared, rows, reader))
    for text, at in texts:
        if problem := template.problem(text):
            location = part(at, problem.part)
            reader.diagnostics.append(Diagnostic(message=problem.message, location=location, hint=problem.hint))
    for name, location in used:
        if name not in variables:
            hint = which_one(name, sorted(variables), f"add `{name}` to the matrix")
            message = f"no row of the matrix has the variable `{name}`"
            reader.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
    names = {name for name, _ in used} | conditions
    for index, row in enumerate(fields.matrix):
        for name in sorted(row.values.keys() - names - {*SETTINGS}):
            message = f"nothing in the family uses the variable `{name}`"
            hint = did_you_mean(name, names, f"remove `{name}`, or use it in `name`")
            reader.wrong(message, (*path, "matrix", index, name), hint, key=True)
    return len(reader.diagnostics) == before


def _declared(fields: FamilyFields, path: Path) -> list[Declared]:
    """Return what a family says about the names of images, in all places."""
    rows: list[Declared] = [(row.published, (*path, "matrix", index)) for index, row in enumerate(fields.matrix)]
    return [(fields, path), *rows, *((own, (*path, "stacks", name)) for name, own in fields.stacks.items())]


def _uses(name: str, lines: list[_Line], row: Row, diagnostics: list[Diagnostic]) -> tuple[LayerUse, ...]:
    """Return the layers of the stack of a row, their templates filled."""
    uses = []
    for line in lines:
        if not line.when.holds(row.values) or any(each not in row.values for each in line.has):
            continue
        parameters, locations = {}, {}
        for key, text in line.parameters.items():
            used = sorted(template.names(text))
            absent = next((each for each in used if each not in row.values), None)
            if absent is not None:
                message = f"`{key}` of `{line.layer}` uses `{absent}`, which `{name}` does not have"
                hint = f"add `when: {absent}` to the layer, or `{absent}` to the row"
                diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
                continue
            parameters[key] = template.fill(text, row.values)
            locations[key] = row.locations[used[0]] if len(used) == 1 else line.locations[key]
        uses.append(
            LayerUse(
                layer=line.layer,
                parameters=MappingProxyType(parameters),
                location=line.location,
                locations=MappingProxyType(locations),
                keys=line.keys,
            )
        )
    return tuple(uses)


def _lines(fields: StackFields, path: Path, reader: Reader) -> list[_Line]:
    """Return the entries of `layers` in order, without those that cannot be read."""
    read = (_line(item, (*path, "layers", index), reader) for index, item in enumerate(fields.layers))
    return [line for line in read if not isinstance(line, Wrong)]


def _line(item: Data, path: Path, reader: Reader) -> _Line | Wrong:
    location = reader.source.location
    if isinstance(item, str):
        whole = location(path)
        return _Line(
            layer=item,
            parameters={},
            when=When(),
            has=(),
            location=whole,
            locations={},
            keys={},
            condition=whole,
            path=path,
        )
    form = "a layer is a name, or a name with its parameters and an optional `when`"
    if not isinstance(item, dict):
        found = "a list" if item else "nothing"
        hint = "write its name, without brackets" if item else "write the name of a layer, or remove the dash"
        return reader.wrong(f"{form}; found {found}", path, hint)
    names = [key for key in item if key != "when"]
    if len(names) != 1:
        found = ", ".join(f"`{name}`" for name in names) or "none"
        hint = "write each layer behind a dash of its own, and indent its parameters below it"
        return reader.wrong(f"{form}; found {found}", path, hint)
    layer, value = names[0], item[names[0]]
    at = (*path, layer)
    # A text is the version.
    data: Data = {"version": value} if isinstance(value, str) else {} if value is None else value
    parameters = _PARAMETERS.read(data, at, reader)
    when, has = _condition(item.get("when"), (*path, "when"), reader)
    if isinstance(parameters, Wrong) or isinstance(when, Wrong) or isinstance(has, Wrong):
        return WRONG
    return _Line(
        layer=layer,
        parameters=parameters,
        when=when,
        has=has,
        location=reader.source.key_location(at),
        locations=MappingProxyType({key: location((*at, key)) for key in parameters}),
        keys=MappingProxyType({key: reader.source.key_location((*at, key)) for key in parameters}),
        condition=reader.source.key_location((*path, "when")) if not has else location((*path, "when")),
        path=at,
    )


def _condition(data: Data, path: Path, reader: Reader) -> tuple[When | Wrong, tuple[str, ...] | Wrong]:
    """Return the values that variables must have, and the variables that a row must have."""
    if data is None:
        return When(), ()
    if not isinstance(data, dict):
        return When(), ONE_OR_MORE.read(data, path, reader)
    return CONDITION.read(data, path, reader), ()
