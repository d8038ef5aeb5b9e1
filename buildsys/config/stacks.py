"""`stacks.yaml` becomes stacks: single ones as they are written, families by their matrix."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import groupby
from typing import TypeAlias

from buildsys.config.inheritance import Extension, choice_of, extended, own_fields, own_of
from buildsys.config.lines import Line, Lines, check_lines, check_template, literal, names_in, unused_sets, uses_of
from buildsys.config.matrix import (
    PUBLISHED,
    SETTINGS,
    PublishedFields,
    Row,
    RowFields,
    RowShape,
    check_excludes,
    is_excluded,
    rows_of,
)
from buildsys.config.model import Family, Stack
from buildsys.config.tags import Declared, as_written, check_tags, claims_of, with_tags
from buildsys.errors import Diagnostic, Location, did_you_mean
from buildsys.names import CUSTOM_SUFFIX, group_problem, stack_problem, target_name
from buildsys.recipes import template
from buildsys.recipes.fields import FORMAT, LINE, MEANT, NAME, NAMES, NOTHING, PLATFORMS, TEXT, VALUES
from buildsys.recipes.recipe import ImageFields
from buildsys.recipes.template import literally
from buildsys.records.schema import Record, nullable, optional, required
from buildsys.records.shapes import Anything, Dictionary, Many, Reader
from buildsys.records.source import Data, Path, Source
from buildsys.values import dataclass

# How the other file calls what a stack has.
_MEANT = {**MEANT, "requires": "layers"}
_LAYERS = "names of layers, or maps from a name to its parameters, with an optional `when`"
_FLAVOUR = "flavour of each layer that has it and for which `layers` names none"
RESERVED = frozenset({"default", "cpu", "gpu", "all", "mirrors"})


@dataclass(frozen=True, kw_only=True, slots=True)
class RowStackFields(PublishedFields):
    """Additional fields of one stack of a family."""

    description: str | None = nullable(TEXT, None, "one line")
    groups: tuple[str, ...] = optional(NAMES, (), "additional groups")
    flavour: str | None = nullable(LINE, None, _FLAVOUR)
    deprecated: str | None = nullable(TEXT, None, "reason; excludes it from `--all` and the default group")


@dataclass(frozen=True, kw_only=True, slots=True)
class StackFields(RowStackFields):
    """What single stacks and families have in common."""

    layers: tuple[Data, ...] = required(Many(Anything(), least=1), _LAYERS)
    platforms: tuple[str, ...] = optional(PLATFORMS, ("linux/amd64",), "default `[linux/amd64]`")


@dataclass(frozen=True, kw_only=True, slots=True)
class SingleFields(StackFields):
    """A single stack."""

    layers: tuple[Data, ...] = required(Many(Anything(), least=1), _LAYERS, default=(), unless="extends")
    extends: str | None = nullable(LINE, None, "a stack, whose layers, own fields, groups and platforms it also has")
    without: tuple[str, ...] = optional(NAMES, (), "layers that it does not take from the stack that it extends")


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
        Dictionary(Record(RowStackFields, "RowStackFields", meant=MEANT)),
        NOTHING,
        "additional settings of single rows, by name",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StacksFile:
    """The images of a project."""

    format: int = optional(FORMAT, 1, "version of the format, default 1; a later one is refused")
    registry: tuple[str, ...] = optional(
        Many(LINE, least=1, or_one=True, once=True),
        ("buildsys",),
        "default of BUILDSYS_REGISTRY; images are copied from the first of several to the others",
    )
    families: Mapping[str, FamilyFields] = optional(
        Dictionary(Record(FamilyFields, "FamilyFields", meant=_MEANT), key=NAME),
        NOTHING,
        "stacks declared by a matrix, by family",
    )
    sets: Mapping[str, tuple[Data, ...]] = optional(
        Dictionary(Many(Anything(), least=1), key=NAME),
        NOTHING,
        "lists of layers by name, used in `layers` as `- set: name`",
    )
    stacks: Mapping[str, SingleFields] = optional(
        Dictionary(Record(SingleFields, "SingleFields", meant=_MEANT)), NOTHING, "single stacks, by name"
    )


STACKS = Record(StacksFile, "StacksFile")
_STACKS_KEYS = {each.name for each in fields(StacksFile)}
MOST_ROWS = 10_000
# That families say, for each of their rows: 20,000 groups took 17 seconds for 700 rows.
_MOST_VALUES = 1_000_000
# A stack, its row, and what counts for the names of its images.
_Found: TypeAlias = tuple[Stack, Row, list[Declared]]


def load_stacks(file: StacksFile, source: Source, diagnostics: list[Diagnostic]) -> tuple[Stack, ...]:
    """Return all stacks, sorted by name, after adding everything that is wrong; layers are not looked up."""
    reader, before = Reader(source, diagnostics), len(diagnostics)
    data = source.data or {}
    if not file.families and not file.stacks and isinstance(data, dict) and data.keys() <= _STACKS_KEYS:
        reader.wrong("the file has no stacks", (), "declare one, such as `stacks: {my-image: {layers: [my-layer]}}`")
    layers = Lines(file.sets, reader)
    if _has_too_many_rows(file, layers, reader):
        return ()
    rows = [
        row
        for name, family in (file.families if file.sets else NOTHING).items()
        for row in rows_of(family.matrix, None, ("families", name), source)
    ]
    if not layers.check_sets(rows):
        return ()
    found = [each for name, family in file.families.items() for each in _family(name, family, layers, reader)]
    is_complete = {stack.family for stack, _, _ in found} == file.families.keys()
    found += [_single(name, fields, layers, reader) for name, fields in file.stacks.items()]
    stacks = [stack for stack, _, _ in found]
    _check_names(stacks, diagnostics)
    stacks = extended(stacks, _extensions(file, reader), reader, is_complete=is_complete)
    claims = [claims_of(stack, row, said, reader) for stack, (_, row, said) in zip(stacks, found, strict=True)]
    stacks = with_tags(claims, diagnostics) if len(diagnostics) == before else stacks
    return tuple(sorted(stacks, key=lambda stack: stack.name))


def _has_too_many_rows(file: StacksFile, layers: Lines, reader: Reader) -> bool:
    """Whether the matrices have more rows than can be planned, after adding the diagnostic at the one that exceeds."""
    rows = work = 0
    # What a family says is read for each of its rows: layers, exclusions, groups, tags and fields of its own.
    below = [path for path in reader.source.values if len(path) > 2 and path[0] == "families"]
    said = Counter(path[1] for path in below if path[2] != "matrix")
    of_rows = Counter((path[1], path[3]) for path in below if len(path) > 4 and path[4] in PUBLISHED.keys)
    for name, family in file.families.items():
        listed = len(layers.of(family.layers, ("families", name, "layers"))) + said[name]
        for index, row in enumerate(family.matrix):
            count = math.prod(len(values) for key, values in row.values.items() if key not in SETTINGS)
            rows += count
            work += count * (listed + len(row.values.get("groups", ())) + of_rows[name, index])
            if rows > MOST_ROWS or work > _MOST_VALUES:
                what = f"{rows} rows, more than {MOST_ROWS}"
                if rows <= MOST_ROWS:
                    what = f"{rows} rows with {work} values in all, more than {_MOST_VALUES}"
                message = f"the matrices of this file, up to this row, have {what}"
                reader.wrong(message, ("families", name, "matrix", index), "shorten its lists, or remove a row")
                return True
    return False


def _extensions(file: StacksFile, reader: Reader) -> Mapping[str, Extension]:
    """Return what stacks say of those that they extend, after adding a diagnostic for `without` in any other."""
    found = {}
    for name, stack in file.stacks.items():
        path: Path = ("stacks", name)
        if stack.extends is not None:
            has_platforms = (*path, "platforms") in reader.source.values
            found[name] = Extension(base=stack.extends, without=stack.without, has_platforms=has_platforms)
        elif stack.without:
            message = f"`without` has no meaning in the stack `{name}`, which extends no stack"
            reader.wrong(message, (*path, "without"), "remove `without`", key=True)
    return found


def set_warnings(file: StacksFile, source: Source) -> Iterator[Diagnostic]:
    """Yield a warning for each named set that no stack uses."""
    for name in unused_sets(file.sets, [each.layers for each in (*file.families.values(), *file.stacks.values())]):
        hint = f"remove it, or add `- set: {name}` to the `layers` of a stack"
        yield Diagnostic(
            message=f"no stack uses the set `{name}`", location=source.key_location(("sets", name)), hint=hint
        )


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


def _single(name: str, fields: SingleFields, layers: Lines, reader: Reader) -> _Found:
    """Return a stack that is declared alone; braces in it are no templates."""
    path: Path = ("stacks", name)
    lines = layers.of(fields.layers, (*path, "layers"))
    for condition in (each for line in lines for each in line.conditions if each.path[: len(path)] == path):
        message = f"`when` has no meaning in the single stack `{name}`, which has no rows"
        hint = "remove `when`, or declare a family, whose `matrix` has rows"
        reader.diagnostics.append(Diagnostic(message=message, location=condition.location, hint=hint))
    lines = [literal(line) if line.path[: len(path)] == path else line for line in lines]
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
    own, _ = own_fields(fields, path, None, reader)
    stack = replace(
        stack,
        layers=uses_of(name, lines, row, reader.diagnostics),
        own=own_of(name, row, [(f"stack {name}", own)], reader.diagnostics),
        flavour=choice_of(name, row, _flavours(fields, path, literally), reader),
    )
    return stack, row, [(as_written(fields, path, reader), path)]


def _family(name: str, fields: FamilyFields, layers: Lines, reader: Reader) -> Iterator[_Found]:
    """Yield the stack of each row."""
    path: Path = ("families", name)
    if name in RESERVED:
        reader.wrong(f"`{name}` is the name of a built-in group", path, "rename the family", key=True)
    lines = layers.of(fields.layers, (*path, "layers"))
    every = list(rows_of(fields.matrix, fields.deprecated, path, reader.source))
    check_excludes(fields.exclude, every, path, reader)
    rows = [row for row in every if not any(is_excluded(rule, row.values) for rule in fields.exclude)]
    reader.diagnostics.extend(_row_groups(rows))
    before = len(reader.diagnostics)
    _check_templates(fields, lines, rows, path, reader)
    common, used = own_fields(fields, path, rows, reader)
    own_of_rows = {}
    for at, of_row in groupby(rows, key=lambda row: row.path):
        several = list(of_row)
        own_of_rows[at], names = own_fields(several[0].published, at, several, reader)
        used |= names
    by_name = {}
    for one, written in fields.stacks.items():
        more, names = own_fields(written, (*path, "stacks", one), rows, reader)
        by_name[one] = written, more
        used |= names
    flavours = [
        *_flavours(fields, path),
        *(one for name, written in fields.stacks.items() for one in _flavours(written, (*path, "stacks", name))),
    ]
    for text, at in flavours:
        check_template(text, at, frozenset(key for row in rows for key in row.values), reader)
        used |= template.names(text)
    used |= names_in(lines) | template.names(fields.name) | check_tags(_declared(fields, path), rows, reader)
    _check_variables(fields, used, path, reader)
    if len(reader.diagnostics) > before:
        return
    names_of_rows = list[str]()
    platform_locations = _platform_locations(fields, path, reader.source)
    for row in rows:
        try:
            stack_name = template.fill_parts(fields.name, row.values)
        except KeyError as error:
            message = f"the name `{fields.name}` uses `{error.args[0]}`, which this row does not have"
            hint = f"put the part in brackets: `[-{error.args[0]}{{{error.args[0]}}}]`"
            reader.diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
            continue
        names_of_rows.append(stack_name)
        own, own_more = by_name.pop(stack_name, (RowStackFields(), ImageFields()))
        stack = Stack(
            name=stack_name,
            family=name,
            description=own.description or fields.description,
            groups=tuple(sorted({*fields.groups, *row.groups, *own.groups})),
            platforms=fields.platforms,
            layers=uses_of(stack_name, lines, row, reader.diagnostics),
            deprecated=own.deprecated or row.deprecated,
            location=row.location,
            platform_locations=platform_locations,
            own=own_of(
                stack_name,
                row,
                [
                    (f"family {name}", common),
                    (f"row {stack_name}", own_of_rows[row.path]),
                    (f"stack {stack_name}", own_more),
                ],
                reader.diagnostics,
            ),
            flavour=choice_of(
                stack_name,
                row,
                [*_flavours(fields, path), *_flavours(own, (*path, "stacks", stack_name))],
                reader,
            ),
        )
        yield stack, row, [(own, (*path, "stacks", stack_name)), (row.published, row.path), (fields, path)]
    for unknown in by_name:
        near = did_you_mean(unknown, names_of_rows, "remove it, or add its row")
        reader.wrong(f"the matrix has no row for the stack `{unknown}`", (*path, "stacks", unknown), near, key=True)


def _flavours(
    fields: StackFields | RowStackFields, path: Path, as_template: Callable[[str], str] = str
) -> list[tuple[str, Path]]:
    """Return the flavour that a declaration sets, as a template, and the path of it; none if it sets none."""
    return [] if fields.flavour is None else [(as_template(fields.flavour), (*path, "flavour"))]


def _row_groups(rows: list[Row]) -> Iterator[Diagnostic]:
    for row in rows:
        for group in filter(NAME.problem, row.groups):
            message = f"`{group}` cannot be the name of a group: lower-case letters, digits, single `-` between"
            yield Diagnostic(message=message, location=row.location, hint="rename the group")


def _platform_locations(fields: StackFields, path: Path, source: Source) -> Mapping[str, Location]:
    return {name: source.location((*path, "platforms", index)) for index, name in enumerate(fields.platforms)}


def _declared(fields: FamilyFields, path: Path) -> list[Declared]:
    """Return what a family says about the names of images, in all places."""
    rows: list[Declared] = [(row.published, (*path, "matrix", index)) for index, row in enumerate(fields.matrix)]
    return [(fields, path), *rows, *((own, (*path, "stacks", name)) for name, own in fields.stacks.items())]


def _check_templates(fields: FamilyFields, lines: list[Line], rows: list[Row], path: Path, reader: Reader) -> None:
    """Add a diagnostic for each template in `layers` or `name` that cannot be read or uses what no row has."""
    check_lines(lines, rows, path, reader)
    variables = frozenset(key for row in rows for key in row.values)
    check_template(fields.name, (*path, "name"), variables, reader)


def _check_variables(fields: FamilyFields, used: set[str], path: Path, reader: Reader) -> None:
    """Add a diagnostic for each variable of a matrix that nothing uses."""
    for index, row in enumerate(fields.matrix):
        for name in sorted(row.values.keys() - used - {*SETTINGS}):
            message = f"nothing in the family uses the variable `{name}`"
            hint = did_you_mean(name, used, f"remove `{name}`, or use it in `name`")
            reader.wrong(message, (*path, "matrix", index, name), hint, key=True)
