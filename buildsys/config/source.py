"""A YAML text becomes plain values, each scalar as the text that is written, each with its location."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias, Union

import yaml

from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.texts import control, recomposed
from buildsys.values import dataclass

Data: TypeAlias = Union[str, "list[Data]", "dict[str, Data]", None]
Path: TypeAlias = tuple[str | int, ...]

# libyaml's parser where PyYAML was built with it: several times faster, same events and marks.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What one YAML file says: `data` without types, and the location of each value and each key.

    The locations of keys are found under the path of their value.
    """

    file: str
    data: Data
    values: Mapping[Path, Location]
    keys: Mapping[Path, Location]

    def location(self, path: Path) -> Location:
        """Return the location of the value at `path`, or of the nearest thing around it.

        Steps that are not in the file are left out: one entry may be written without a list around it.
        """
        return self.values.get(self._known(path)) or Location(file=self.file)

    def part_location(self, path: Path, part: str) -> Location:
        """Return the location of a part of the text at `path`, of all of it where that is written otherwise."""
        whole, text = self.location(path), self.text(path)
        if text is None or "\n" in text or part not in text:
            return whole
        # Quotes, and nothing that is escaped.
        quotes = whole.length - len(text)
        if quotes not in (0, 2):
            return whole
        return replace(whole, column=whole.column + quotes // 2 + text.index(part), length=len(part))

    def key_location(self, path: Path) -> Location:
        """Return the location of the key of the value at `path`; that of the value itself if it has no key."""
        known = self._known(path)
        found = self.keys.get(known) if known[-1:] == path[-1:] else None
        return found or self.location(known)

    def _known(self, path: Path) -> Path:
        known: Path = ()
        for step in path:
            if (*known, step) in self.values:
                known = (*known, step)
        return known

    def text(self, path: Path) -> str | None:
        """Return the text at `path`; None if there is none or something else."""
        current: Data = self.data
        for step in path:
            if isinstance(current, dict) and isinstance(step, str):
                current = current.get(step)
            elif isinstance(current, list) and isinstance(step, int) and step < len(current):
                current = current[step]
            else:
                return None
        return current if isinstance(current, str) else None


def read(text: str, file: str) -> Source:
    """Return what a YAML text says; `file` is its name in locations.

    Unquoted `3.10` stays `3.10` and `on` stays `on`; an unquoted null is None. Raises `InvalidInput` for a
    syntax error, two equal keys, the alias contains itself, or more than one document.
    """
    try:
        nodes = list(_compose_all(text))
    except yaml.MarkedYAMLError as error:
        raise InvalidInput([_syntax_diagnostic(error, text, file)]) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the file has a character that YAML does not allow: {error.reason}"
        raise InvalidInput([Diagnostic(message=message, location=Location(file=file, line=line))]) from error
    if len(nodes) > 1:
        location = _location(nodes[1], file) if nodes[1] else Location(file=file)
        raise InvalidInput([Diagnostic(message="the file has a second document, expected one", location=location)])
    reader = _Reader(file=file, values={}, keys={}, diagnostics=[])
    data = reader.read(nodes[0], (), ()) if nodes and nodes[0] is not None else None
    if reader.diagnostics:
        raise InvalidInput(reader.diagnostics)
    return Source(file=file, data=data, values=MappingProxyType(reader.values), keys=MappingProxyType(reader.keys))


def _compose_all(text: str) -> Iterator[yaml.Node | None]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    file: str
    values: dict[Path, Location]
    keys: dict[Path, Location]
    diagnostics: list[Diagnostic]

    def read(self, node: yaml.Node, path: Path, above: tuple[int, ...]) -> Data:
        self.values[path] = _location(node, self.file)
        if id(node) in above:
            self._wrong("the alias contains itself", node)
            return None
        inside = (*above, id(node))
        match node:
            case yaml.ScalarNode():
                self._check_characters(node)
                # The parser of libyaml says "" where the one of Python says None.
                plain = not node.style
                return None if plain and node.value in _NULLS else str(node.value)
            case yaml.SequenceNode():
                return [self.read(each, (*path, index), inside) for index, each in enumerate(node.value)]
            case yaml.MappingNode():
                return self._mapping(node, path, inside)
        raise TypeError(f"unknown YAML node {node!r}")

    def _mapping(self, node: yaml.MappingNode, path: Path, above: tuple[int, ...]) -> Data:
        found: dict[str, Data] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong("the key is not a plain text", key)
                continue
            self._check_characters(key)
            name = str(key.value)
            if name in found:
                line = self.keys[(*path, name)].line
                self._wrong(f"`{name}` is defined twice, first on line {line}", key)
                continue
            self.keys[(*path, name)] = _location(key, self.file)
            found[name] = self.read(value, (*path, name), above)
        return found

    def _check_characters(self, node: yaml.ScalarNode) -> None:
        """Add a diagnostic for what only an escape such as `\\e` can bring into a text, and for what bake changes."""
        if found := control(str(node.value), keep="\n\t"):
            self._wrong(f"the text has the control character `{found}`", node)
        elif changed := recomposed(str(node.value)):
            message = f"the text has {changed[0]}, which bake would read as {changed[1]}"
            self._wrong(message, node, f"write {changed[1]}, which is the same in Unicode's normal form C")

    def _wrong(self, message: str, node: yaml.Node, hint: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(message=message, location=_location(node, self.file), hint=hint))


def _location(node: yaml.Node, file: str) -> Location:
    start, end = node.start_mark, node.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Location(file=file, line=start.line + 1, column=start.column + 1, length=max(1, length))


def _syntax_diagnostic(error: yaml.MarkedYAMLError, text: str, file: str) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    location = Location(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Location(file=file)
    lines = text.splitlines()
    line = lines[location.line - 1] if location.line <= len(lines) else ""
    hint = None
    marked = next((i for i, each in enumerate(lines, 1) if each.startswith(("<<<<<<<", ">>>>>>>"))), None)
    if marked is not None:
        location = Location(file=file, line=marked)
        hint = "resolve the conflict: this looks like a conflict marker of git"
    elif "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "indent with spaces, not tabs"
    elif "{" in line and '"{' not in line:
        hint = "put a text that starts with `{` in quotes"
    problem = (error.problem or "it cannot be read").removeprefix("found ")
    return Diagnostic(message=f"not valid YAML: {problem}", location=location, hint=hint)
