"""The entries of `layers` become lines, each a layer with templates of its parameters; named sets become theirs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from buildsys.config.matrix import Row, check_values
from buildsys.config.model import LayerUse
from buildsys.errors import Diagnostic, Location, which_one
from buildsys.recipes import template
from buildsys.recipes.fields import ONE_OR_MORE
from buildsys.recipes.parameters import CONDITION, When
from buildsys.records.shapes import WRONG, Converted, Dictionary, Reader, Wrong
from buildsys.records.source import Data, Path
from buildsys.texts import shown
from buildsys.values import dataclass

SETS = "sets"
# As many as no image has; sets that use sets can be endless in a few lines.
_MOST_LINES = 1_000
_PARAMETERS = Dictionary(Converted(ONE_OR_MORE, " ".join))
_FORM = "a layer is a name, or a name with its parameters and an optional `when`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A `when` of an entry, and where it is written."""

    when: When
    location: Location
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An entry of `layers`: a layer with its parameters, still templates, and the conditions for it.

    `path` is that of the layer's name, in a set too.
    """

    layer: str
    parameters: Mapping[str, str]
    conditions: tuple[Condition, ...]
    location: Location
    locations: Mapping[str, Location]
    keys: Mapping[str, Location]
    path: Path


class Lines:
    """Reads the lists of layers of one file; each named set is read once, however many lists use it."""

    def __init__(self, sets: Mapping[str, tuple[Data, ...]], reader: Reader) -> None:
        self._sets, self._reader = sets, reader
        self._known: dict[Path, list[Line]] = {}
        self._open: list[str] = []

    def of(self, items: tuple[Data, ...], path: Path) -> list[Line]:
        """Return the lines of the list at a path in order, without those that cannot be read."""
        if path not in self._known:
            entries = (self._entry(item, (*path, index)) for index, item in enumerate(items))
            self._known[path] = [line for entry in entries for line in entry]
        return self._known[path]

    def check_sets(self, rows: list[Row]) -> bool:
        """Whether all sets are right, used or not, after adding every diagnostic; `rows` are those of all families."""
        before = len(self._reader.diagnostics)
        for name in self._sets:
            check_lines(self._lines(name), rows, (SETS, name), self._reader)
        return len(self._reader.diagnostics) == before

    def _entry(self, item: Data, path: Path) -> list[Line]:
        if isinstance(item, dict) and "set" in item and len(item.keys() - {"when"}) == 1:
            return self._use(item, path)
        line = self._line(item, path)
        return [] if isinstance(line, Wrong) else [line]

    def _use(self, item: Mapping[str, Data], path: Path) -> list[Line]:
        """Return the lines of a set where a list names it, each under the condition of that place too."""
        name, at = item["set"], (*path, "set")
        condition = self._condition(item.get("when"), (*path, "when"))
        if not isinstance(name, str):
            self._reader.expected("the name of a set", at, name, "write `- set:` and the name of one of the `sets`")
            return []
        if name not in self._sets:
            hint = which_one(name, sorted(self._sets), f"declare it: `sets: {{{name}: [my-layer]}}`")
            self._reader.wrong(f"the set `{shown(name)}` does not exist", at, hint)
            return []
        if name in self._open:
            loop = " → ".join([*self._open[self._open.index(name) :], name])
            self._reader.wrong(f"sets use each other: {loop}", at, f"remove `set: {name}` here")
            return []
        found = self._lines(name)
        if len(found) > _MOST_LINES:
            message = f"with this the list has more than {_MOST_LINES} layers"
            self._reader.wrong(message, at, "remove the set, or layers from it")
            return []
        if isinstance(condition, Wrong) or condition is None:
            return [] if condition else found
        return [replace(line, conditions=(condition, *line.conditions)) for line in found]

    def _lines(self, name: str) -> list[Line]:
        self._open.append(name)
        found = self.of(self._sets[name], (SETS, name))
        self._open.pop()
        return found

    def _line(self, item: Data, path: Path) -> Line | Wrong:
        reader, location = self._reader, self._reader.source.location
        if isinstance(item, str):
            whole = location(path)
            return Line(layer=item, parameters={}, conditions=(), location=whole, locations={}, keys={}, path=path)
        if not isinstance(item, dict):
            found = "a list" if item else "nothing"
            hint = "write its name, without brackets" if item else "write the name of a layer, or remove the dash"
            return reader.wrong(f"{_FORM}; found {found}", path, hint)
        names = [key for key in item if key != "when"]
        if len(names) != 1:
            found = ", ".join(f"`{name}`" for name in names) or "none"
            hint = "write each layer behind a dash of its own, and indent its parameters below it"
            return reader.wrong(f"{_FORM}; found {found}", path, hint)
        layer, value = names[0], item[names[0]]
        at = (*path, layer)
        # A text is the version.
        data: Data = {"version": value} if isinstance(value, str) else {} if value is None else value
        parameters = _PARAMETERS.read(data, at, reader)
        condition = self._condition(item.get("when"), (*path, "when"))
        if isinstance(parameters, Wrong) or isinstance(condition, Wrong):
            return WRONG
        return Line(
            layer=layer,
            parameters=parameters,
            conditions=() if condition is None else (condition,),
            location=reader.source.key_location(at),
            locations=MappingProxyType({key: location((*at, key)) for key in parameters}),
            keys=MappingProxyType({key: reader.source.key_location((*at, key)) for key in parameters}),
            path=at,
        )

    def _condition(self, data: Data, path: Path) -> Condition | Wrong | None:
        """Return the condition at a path, None where there is none."""
        if data is None:
            return None
        source, found = self._reader.source, CONDITION.read(data, path, self._reader)
        if isinstance(found, Wrong):
            return WRONG
        location = source.key_location(path) if isinstance(data, dict) else source.location(path)
        return Condition(when=found, location=location, path=path)


def literal(line: Line) -> Line:
    """Return a line whose parameters become what is written, braces too."""
    return replace(line, parameters={key: template.literally(text) for key, text in line.parameters.items()})


def names_in(lines: Iterable[Line]) -> set[str]:
    """Return the variables that lines use, in templates and in conditions."""
    found = {name for line in lines for text in line.parameters.values() for name in template.names(text)}
    for condition in (each for line in lines for each in line.conditions):
        found.update(condition.when.has, (name for name, _ in condition.when.values))
    return found


def check_lines(lines: Iterable[Line], rows: list[Row], inside: Path, reader: Reader) -> None:
    """Add a diagnostic for each template that cannot be read, and each variable and value that no row has.

    Looked at is what is written below the path `inside`: a set is checked once, and not where it is used.
    """
    variables = frozenset(key for row in rows for key in row.values)
    depth = len(inside)
    for line in lines:
        for condition in (each for each in line.conditions if each.path[:depth] == inside):
            check_values(condition.when.values, rows, condition.path, reader)
            for name in condition.when.has:
                check_variable(name, condition.location, variables, reader)
        for key, text in line.parameters.items() if line.path[:depth] == inside else ():
            check_template(text, (*line.path, key), variables, reader)


def check_template(text: str, path: Path, variables: Collection[str], reader: Reader) -> None:
    """Add a diagnostic for a template that cannot be read, and for each name in it that no row has."""
    if problem := template.problem(text):
        location = reader.source.part_location(path, problem.part)
        reader.diagnostics.append(Diagnostic(message=problem.message, location=location, hint=problem.hint))
    for name in sorted(template.names(text)):
        check_variable(name, reader.source.part_location(path, name), variables, reader)


def check_variable(name: str, location: Location, variables: Collection[str], reader: Reader) -> None:
    if name not in variables:
        hint = which_one(name, sorted(variables), f"add `{name}` to the matrix")
        message = f"no row of the matrix has the variable `{name}`"
        reader.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))


def uses_of(name: str, lines: Iterable[Line], row: Row, diagnostics: list[Diagnostic]) -> tuple[LayerUse, ...]:
    """Return the layers of the stack of a row, their templates filled."""
    uses = []
    for line in lines:
        if not all(condition.when.holds(row.values) for condition in line.conditions):
            continue
        parameters, locations = {}, {}
        for key, text in line.parameters.items():
            used = sorted(template.names(text))
            absent = next((each for each in used if each not in row.values), None)
            if absent is not None:
                message = f"`{key}` of `{line.layer}` uses `{absent}`, which `{name}` does not have"
                hint = f"add `when: {absent}` to the layer, or `{absent}` to the row"
                if not row.values:
                    hint = f"list `{line.layer}` itself in place of the set: a single stack has no variables"
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


def unused_sets(sets: Mapping[str, tuple[Data, ...]], lists: Iterable[tuple[Data, ...]]) -> tuple[str, ...]:
    """Return the names of sets that none of the lists of layers uses, directly or through other sets."""
    used = set[str]()
    waiting = [*lists]
    while waiting:
        named = [item["set"] for item in waiting.pop() if isinstance(item, dict) and "set" in item]
        found = {each for each in named if isinstance(each, str) and each in sets} - used
        used |= found
        waiting += [sets[each] for each in found]
    return tuple(name for name in sets if name not in used)
