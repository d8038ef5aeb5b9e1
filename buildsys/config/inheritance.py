"""What stacks have beside their lists of layers: fields of layer.yaml of their own, and what they extend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from buildsys.config.lines import check_template, check_variable
from buildsys.config.matrix import Row, check_values
from buildsys.config.model import Choice, OwnFields, Stack
from buildsys.errors import Diagnostic, did_you_mean
from buildsys.names import OWN_FILES
from buildsys.recipes import template
from buildsys.recipes.owned import file_problems
from buildsys.recipes.parameters import When
from buildsys.recipes.recipe import IMAGE_FIELDS, ImageFields
from buildsys.recipes.scope import part_problems, text_problem
from buildsys.records.shapes import Reader, Template
from buildsys.records.source import Path
from buildsys.values import dataclass

_NOTHING = ImageFields()


@dataclass(frozen=True, kw_only=True, slots=True)
class Extension:
    """What a single stack says of the stack that it extends: `without` are layers that it does not take from there."""

    base: str
    without: tuple[str, ...]
    has_platforms: bool


class _Texts:
    """Checks the templates and conditions of own fields against the rows that have them; without rows, none has any."""

    def __init__(self, rows: list[Row] | None, reader: Reader) -> None:
        self._rows, self._reader = rows, reader
        self._variables = frozenset(key for row in rows or () for key in row.values)
        self.names: set[str] = set()

    def text(self, text: str, template_: Template, path: Path) -> str:
        """Return a template, that of the text itself where no row can change it."""
        text = template.literally(text) if self._rows is None else text
        before = len(self._reader.diagnostics)
        check_template(text, path, self._variables, self._reader)
        if len(self._reader.diagnostics) == before and (problem := text_problem(text, template_)):
            self._reader.wrong(problem[0], path, problem[1])
        self.names |= template.names(text)
        return text

    def enters(self, when: When, path: Path) -> bool:
        """Check a condition, and look at what is in force under it."""
        self.names.update(when.has, (name for name, _ in when.values))
        if self._rows is not None:
            check_values(when.values, self._rows, (*path, "when"), self._reader)
            for name in when.has:
                check_variable(
                    name, self._reader.source.part_location((*path, "when"), name), self._variables, self._reader
                )
        elif when != When():
            hint = "remove `when`, or declare a family, whose `matrix` has rows"
            self._reader.wrong("`when` has no meaning in a single stack, which has no rows", (*path, "when"), hint)
        return True


class _Filled:
    """Collects the variables of a row that own fields use, and those that it does not have, with the field of each."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.used: set[str] = set()
        self.absent: dict[str, str] = {}

    def text(self, text: str, _: Template, path: Path) -> str:
        """Return the template as it is."""
        names = template.names(text)
        self.used |= names & self._row.values.keys()
        for name in sorted(names - self.used):
            self.absent.setdefault(name, str(path[0]))
        return text

    def enters(self, when: When, _: Path) -> bool:
        """Whether a row has what is behind a condition."""
        self.used.update({*when.has, *(name for name, _ in when.values)} & self._row.values.keys())
        return when.holds(self._row.values)


def own_fields(
    written: ImageFields, path: Path, rows: list[Row] | None, reader: Reader
) -> tuple[ImageFields, set[str]]:
    """Return the fields of layer.yaml among those of a declaration, and the variables of rows that they use.

    What is wrong is added to the reader. Without rows, which a single stack does not have, braces are what is written.
    """
    values: dict[str, Any] = {each.name: getattr(written, each.name) for each in fields(ImageFields)}
    texts = _Texts(rows, reader)
    if ImageFields(**values) == _NOTHING:
        return _NOTHING, set()
    found = IMAGE_FIELDS.visit(ImageFields(**values), path, texts)
    for message, at, hint in part_problems(found):
        reader.wrong(message, (*path, *at), hint)
    for message, at, better, is_key in file_problems(OWN_FILES, found.files):
        reader.wrong(message, (*path, "files", *at), better, key=is_key)
    return found, texts.names


def own_of(
    stack: str, row: Row, declared: Iterable[tuple[str, ImageFields]], diagnostics: list[Diagnostic]
) -> tuple[OwnFields, ...]:
    """Return the own fields of the stack of a row; `declared` are those of each declaration that it is part of."""
    found = []
    for origin, each in declared:
        if each == _NOTHING:
            continue
        filled = _Filled(row)
        IMAGE_FIELDS.visit(each, (), filled)
        for name, field in filled.absent.items():
            what = " `".join(origin.split())
            message = f"`{field}` of the {what}` uses `{name}`, which `{stack}` does not have"
            hint = f"add `{name}` to the row, or move the text to the stacks that have it"
            diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
        values = MappingProxyType({key: value for key, value in row.values.items() if key in filled.used})
        found.append(OwnFields(origin=origin, fields=each, values=values, location=row.location))
    return tuple(found)


def choice_of(stack: str, row: Row, written: Iterable[tuple[str, Path]], reader: Reader) -> Choice | None:
    """Return the flavour that the layers of a row's stack follow, by the last of the templates that are written."""
    last = [*written][-1:]
    if not last:
        return None
    [(text, path)] = last
    field = location = reader.source.location(path)
    for name in sorted(template.names(text)):
        if name not in row.values:
            message, hint = f"`flavour` uses `{name}`, which `{stack}` does not have", f"add `{name}` to the row"
            reader.diagnostics.append(Diagnostic(message=message, location=row.location, hint=hint))
            return None
        location = row.locations[name]
    return Choice(name=template.fill(text, row.values), location=location, field=field)


def extended(
    stacks: Sequence[Stack], extensions: Mapping[str, Extension], reader: Reader, *, is_complete: bool
) -> list[Stack]:
    """Return the stacks, those that extend others with what they have from there.

    What is wrong is added to the reader; that a stack does not exist only if the stacks are complete.
    """
    declared = {stack.name: stack for stack in stacks}
    done = {name: stack for name, stack in declared.items() if name not in extensions}
    broken = set[str]()
    for stack in stacks:
        chain, seen = [stack.name], set[str]()
        while chain[-1] in declared and chain[-1] not in done and chain[-1] not in seen:
            seen.add(chain[-1])
            chain.append(extensions[chain[-1]].base)
        last = chain[-1]
        if last not in done:
            if last in declared or is_complete:
                _report(chain, declared, reader)
            affected = chain[chain.index(last) :] if last in declared else chain[:-1]
            done |= {name: declared[name] for name in affected}
            broken.update(affected)
        for base, name in zip(chain[:0:-1], chain[-2::-1], strict=True):
            if name not in done:
                broken |= {name} if base in broken else set()
                known = None if name in broken else reader
                done[name] = _joined(done[base], declared[name], extensions[name], known)
    return [done[stack.name] for stack in stacks]


def _report(chain: list[str], declared: Mapping[str, Stack], reader: Reader) -> None:
    """Add the diagnostic that the last of a chain does not exist, or is in it twice."""
    *_, name, last = chain
    path = ("stacks", name, "extends")
    if last in declared:
        loop = " → ".join(chain[chain.index(last) :])
        reader.wrong(f"stacks extend each other: {loop}", path, f"remove `extends` from `{name}`")
        return
    near = did_you_mean(last, declared, "use the name of a stack, or remove `extends`")
    reader.wrong(f"the stack `{name}` extends `{last}`, which does not exist", path, near)


def _joined(base: Stack, own: Stack, extension: Extension, reader: Reader | None) -> Stack:
    """Return a stack with what it has from its base; a layer that both list keeps its place in the base's list."""
    names = [use.layer for use in base.layers]
    for index, name in enumerate(extension.without if reader else ()):
        if reader and name not in names:
            hint = did_you_mean(name, names, "remove it from `without`")
            message = f"the stack `{own.name}` is `without` the layer `{name}`, which `{base.name}` does not list"
            reader.wrong(message, ("stacks", own.name, "without", index), hint)
    layers = [use for use in base.layers if use.layer not in extension.without]
    places = {use.layer: place for place, use in enumerate(layers)}
    for use in own.layers:
        # A layer that the stack itself lists twice is an error, which is found later.
        if (place := places.pop(use.layer, None)) is None:
            layers.append(use)
        else:
            before = layers[place]
            layers[place] = replace(
                use,
                parameters=MappingProxyType({**before.parameters, **use.parameters}),
                locations=MappingProxyType({**before.locations, **use.locations}),
                keys=MappingProxyType({**before.keys, **use.keys}),
            )
    platforms = own if extension.has_platforms else base
    return replace(
        own,
        layers=tuple(layers),
        groups=tuple(sorted({*base.groups, *own.groups})),
        platforms=platforms.platforms,
        platform_locations=platforms.platform_locations,
        own=(*base.own, *own.own),
        base=base.name,
        flavour=own.flavour or base.flavour,
    )
