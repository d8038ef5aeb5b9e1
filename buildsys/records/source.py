"""A YAML text becomes plain values, each scalar as the text that is written, each with its location."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeAlias, Union

import yaml

from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.texts import control, recomposed, shown
from buildsys.values import dataclass

Data: TypeAlias = Union[str, "list[Data]", "dict[str, Data]", None]
Path: TypeAlias = tuple[str | int, ...]

# libyaml's parser where PyYAML was built with it: several times faster, same events and marks.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_VALUES = 250_000
MOST_ALIASED = 20_000
DEEPEST = 30
# What YAML allows, but for the line ends that only some programs know, and a byte order mark within.
_FOREIGN = re.compile("\\r(?!\n)|[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
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
        whole, text = self.location(path), self.text(self._known(path))
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

    def below(self, path: Path) -> Iterator[tuple[Path, Data]]:
        """Yield every value at and below a path, which need not exist, in the order of the file."""
        waiting = [(path, self._at(path))]
        while waiting:
            at, data = waiting.pop()
            yield at, data
            inner = enumerate(data) if isinstance(data, list) else data.items() if isinstance(data, dict) else ()
            waiting += reversed([((*at, step), each) for step, each in inner])

    def text(self, path: Path) -> str | None:
        """Return the text at `path`; None if there is none or something else."""
        found = self._at(path)
        return found if isinstance(found, str) else None

    def _at(self, path: Path) -> Data:
        current: Data = self.data
        for step in path:
            if isinstance(current, dict) and isinstance(step, str):
                current = current.get(step)
            elif isinstance(current, list) and isinstance(step, int) and step < len(current):
                current = current[step]
            else:
                return None
        return current


def read(text: str, file: str) -> Source:
    """Return what a YAML text says; `file` is its name in locations.

    Unquoted `3.10` stays `3.10` and `on` stays `on`; an unquoted null is None. Raises `InvalidInput` for a
    syntax error, two equal keys, an alias that contains itself, more than one document, more than `MOST_VALUES`
    values or `MOST_ALIASED` in aliases, or more than `DEEPEST` levels.
    """
    text = text.removeprefix("\ufeff")
    if foreign := _FOREIGN.search(text):
        raise InvalidInput([_foreign_diagnostic(text, foreign.start(), file)])
    loader = _Loader(text)
    reader = _Reader(file=file, loader=loader, values={}, keys={}, order=[], anchors={}, diagnostics=[])
    try:
        data = reader.document()
    except yaml.MarkedYAMLError as error:
        raise InvalidInput([_syntax_diagnostic(error, text, file)]) from error
    finally:
        loader.dispose()
    if reader.diagnostics:
        raise InvalidInput(reader.diagnostics)
    return Source(file=file, data=data, values=MappingProxyType(reader.values), keys=MappingProxyType(reader.keys))


def _foreign_diagnostic(text: str, offset: int, file: str) -> Diagnostic:
    line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    message = f"the file has the character U+{ord(text[offset]):04X}, which is not allowed in YAML or ends no line here"
    return Diagnostic(
        message=message,
        location=Location(file=file, line=line, column=column),
        hint="remove it, or write it as an escape in double quotes",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Anchored:
    """The value of an alias: its data, the path that it was read at, and its part of the reader's `order`."""

    data: Data
    path: Path
    first: int
    last: int


@dataclass(kw_only=True, slots=True)
class _Reader:
    """Reads events as they come, so that a text is never held as more than a value with its locations.

    `order` are the paths of `values` as they were added; an anchor that is not complete is None.
    """

    file: str
    loader: Any
    values: dict[Path, Location]
    keys: dict[Path, Location]
    order: list[Path]
    anchors: dict[str, _Anchored | None]
    diagnostics: list[Diagnostic]
    aliased: int = 0

    def document(self) -> Data:
        """Return the only document of the stream, None if there is none."""
        event = self._next(yaml.StreamStartEvent)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        data = self.node(self._next(), ())
        self._next()
        if not isinstance(second := self._next(), yaml.StreamEndEvent):
            self._wrong("the file has a second document, expected one", self._location(second), "remove the line `---`")
        return data

    def _next(self, skipped: type[yaml.Event] | None = None) -> Any:
        event = self.loader.get_event()
        return self.loader.get_event() if skipped and isinstance(event, skipped) else event

    def node(self, event: Any, path: Path) -> Data:
        """Return the value that begins with an event, after reading the events of it."""
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, path)
        first, anchor = len(self.order), event.anchor
        self._add(path, self._location(event))
        if anchor is not None:
            self.anchors[anchor] = None
        data: Data
        if isinstance(event, yaml.ScalarEvent):
            self._check_characters(event)
            # The parser of libyaml says "" where the one of Python says None.
            plain = not event.style
            data = None if plain and event.value in _NULLS else str(event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            data = self._sequence(event, path)
        else:
            data = self._mapping(event, path)
        if anchor is not None:
            self.anchors[anchor] = _Anchored(data=data, path=path, first=first, last=len(self.order))
        return data

    def _sequence(self, start: Any, path: Path) -> Data:
        found: list[Data] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self.node(event, (*path, len(found))))
        self.values[path] = self._location(start, event)
        return found

    def _mapping(self, start: Any, path: Path) -> Data:
        found: dict[str, Data] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            location = self._location(event)
            key = self._key(event, path)
            name = key if isinstance(key, str) else ""
            if not isinstance(key, str):
                self._wrong("the key is not a plain text", location, "write one word as the key")
            elif name in found:
                message = f"`{shown(name)}` is defined twice, first on line {self.keys[(*path, name)].line}"
                self._wrong(message, location, "remove one of them, or rename it")
            elif name == "<<":
                hint = "write out the keys that it would merge"
                self._wrong("the key `<<` would merge, and merge keys are not supported", location, hint)
            else:
                self.keys[(*path, name)] = location
            value = self.node(self._next(), (*path, name))
            found.setdefault(name, value)
        self.values[path] = self._location(start, event)
        return found

    def _key(self, event: Any, path: Path) -> Data:
        """Return the text of a key, whatever null it looks like, or the value in its place."""
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None:
            self._check_characters(event)
            return str(event.value)
        key = self.node(event, (*path, ""))
        return str(event.value) if isinstance(event, yaml.ScalarEvent) else key

    def _aliased(self, event: Any, path: Path) -> Data:
        """Return the value of an alias; its locations are those of the anchor."""
        location = self._location(event)
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            inside = event.anchor in self.anchors
            message = "the alias contains itself" if inside else "the alias has no anchor"
            hint = (
                "write out the value" if inside else "put a text that begins with `*` in quotes, or write out the value"
            )
            self._wrong(message, location, hint)
            self._add(path, location)
            return None
        self.aliased += anchored.last - anchored.first
        if self.aliased > MOST_ALIASED:
            message = f"the aliases of the file repeat more than {MOST_ALIASED} values"
            self._wrong(message, location, "repeat fewer values by aliases")
            raise InvalidInput(self.diagnostics)
        for each in self.order[anchored.first : anchored.last]:
            copy = (*path, *each[len(anchored.path) :])
            self._add(copy, self.values[each], at=location)
            if each in self.keys and each != anchored.path:
                self.keys[copy] = self.keys[each]
        return anchored.data

    def _add(self, path: Path, location: Location, *, at: Location | None = None) -> None:
        """Record the location of a value; `at` is where an alias brings it in. Raises `InvalidInput` for too many."""
        self.values[path] = location
        self.order.append(path)
        if len(path) > DEEPEST:
            self._wrong(f"the value has more than {DEEPEST} levels", at or location, "write it with less nesting")
        elif len(self.order) > MOST_VALUES:
            hint = "split the file's content, or leave some of it out"
            self._wrong(f"the file has more than {MOST_VALUES} values", at or location, hint)
        else:
            return
        raise InvalidInput(self.diagnostics)

    def _check_characters(self, event: Any) -> None:
        """Add a diagnostic for what only an escape such as `\\e` can bring into a text, and for what bake changes."""
        if found := control(str(event.value), keep="\n\t"):
            self._wrong(f"the text has the control character `{found}`", self._location(event), "remove it")
        elif changed := recomposed(str(event.value)):
            message = f"the text has {changed[0]}, which bake would read as {changed[1]}"
            hint = f"write {changed[1]}, which is the same in Unicode's normal form C"
            self._wrong(message, self._location(event), hint)

    def _wrong(self, message: str, location: Location, hint: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))

    def _location(self, first: Any, last: Any = None) -> Location:
        start, end = first.start_mark, (last or first).end_mark
        length = end.column - start.column if end.line == start.line else 1
        return Location(file=self.file, line=start.line + 1, column=start.column + 1, length=max(1, length))


_QUOTE = "put a text that begins with this character in quotes"
_ALIKE = "indent the line as those beside it, or put a text with special characters in quotes"
_BACKSLASH = "write `\\\\` for a backslash, or put the text in single quotes"


@dataclass(frozen=True, slots=True)
class _Words:
    """A message and a hint in place of a parser's; with `from_start` the place is where what is wrong begins."""

    message: str
    hint: str
    from_start: bool = False


# What a parser says, as a regular expression.
_KNOWN = {
    r"expected ',' or '\]'": _Words(
        "the list has no `,` or `]` here", "close it with `]`, or separate its entries by `,`"
    ),
    r"expected ',' or '\}'": _Words(
        "the mapping has no `,` or `}` here", "close it with `}`, or separate its keys by `,`"
    ),
    r"expected ':'": _Words("the line is not `key: value`", "write `: ` behind the key, on one line with it", True),
    r"expected (the )?key|expected <block end>|<document start>": _Words(
        "the line does not fit those beside it", _ALIKE
    ),
    r"expected '-'": _Words(
        "the line is no entry of the list above it", "begin each entry with `- `, all indented alike"
    ),
    r"node content": _Words("a value is missing here", _QUOTE),
    r"cannot start any token|alphabetic or numeric|tag|directive": _Words(
        "the character has a meaning in YAML", _QUOTE
    ),
    r"mapping values": _Words(
        "the `:` is not allowed here", "put a text with `: ` in quotes, or indent as the line above"
    ),
    r"sequence entries|mapping keys": _Words("the list or key is not allowed here", "begin it on a line of its own"),
    r"end of stream|document indicator": _Words(
        "the quote has no end", "close it with the quote that it begins with", True
    ),
    r"escape|hexdec": _Words("the text has an escape that YAML does not know", _BACKSLASH),
    r"comment or line break|indentation indicator": _Words(
        "the text is on the line of its `|` or `>`", "begin it on the next line"
    ),
    r"nesting depth": _Words("the value has too many levels", "write it with less nesting"),
    r"%YAML|incompatible": _Words("the file has a `%YAML` line", "remove the line"),
}


def _syntax_diagnostic(error: Any, text: str, file: str) -> Diagnostic:
    """Return what to say of a `yaml.MarkedYAMLError`, where it is or, for what is never closed, where that begins."""
    lines = text.split("\n")
    conflict = next((i for i, each in enumerate(lines, 1) if each.startswith(("<<<<<<<", ">>>>>>>"))), None)
    if conflict is not None:
        hint = "resolve the conflict: this looks like a conflict marker of git"
        return Diagnostic(message="not valid YAML", location=Location(file=file, line=conflict), hint=hint)
    problem = error.problem or "it cannot be read"
    known = next((words for said, words in _KNOWN.items() if re.search(said, problem)), None)
    words = known or _Words(problem.removeprefix("found "), "put texts with special characters in quotes")
    mark, start = error.problem_mark or error.context_mark, error.context_mark
    unclosed = mark is not None and start is not None and "',' or" in problem and _is_behind(mark, start, lines)
    if start is not None and (words.from_start or unclosed):
        mark = start
    location = _mark_location(mark, lines, file)
    line = lines[location.line - 1]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        words = _Words("the line is indented by a tab", "indent with spaces, not tabs")
    elif unclosed:
        words = _Words(words.message.replace(" here", " at its end"), words.hint)
    elif "{" in line and '"{' not in line and not line.rstrip().endswith(("}", ",")):
        words = _Words(words.message, "put a text that starts with `{` in quotes")
    return Diagnostic(message=f"not valid YAML: {words.message}", location=location, hint=words.hint)


def _is_behind(mark: Any, start: Any, lines: list[str]) -> bool:
    """Whether a mark is on a line after that of `start`, or at the end of the text."""
    return mark.line > start.line or not "".join([lines[mark.line][mark.column :], *lines[mark.line + 1 :]]).strip()


def _mark_location(mark: Any, lines: list[str], file: str) -> Location:
    """Return the location of a mark; one behind the last line is at the end of the last text."""
    if mark is None:
        return Location(file=file)
    if mark.line < len(lines) and (mark.line or mark.column) and lines[mark.line :] != [""]:
        return Location(file=file, line=mark.line + 1, column=min(mark.column, len(lines[mark.line])) + 1)
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    if mark.line <= last:
        return Location(file=file, line=mark.line + 1, column=mark.column + 1)
    return Location(file=file, line=last + 1, column=max(1, len(lines[last].rstrip())))
