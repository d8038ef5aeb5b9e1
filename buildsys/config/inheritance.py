"""What stacks have beside their lists of layers: fields of layer.yaml of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from buildsys.config import template
from buildsys.config.lines import check_template
from buildsys.config.matrix import Row, check_values
from buildsys.config.model import OwnFields
from buildsys.config.recipe import IMAGE_FIELDS, ImageFields, When
from buildsys.config.scope import part_problems, text_problem
from buildsys.errors import Diagnostic
from buildsys.records.shapes import Reader, Template
from buildsys.records.source import Path

_NOTHING = ImageFields()


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
        self.names.update(name for name, _ in when.values)
        if self._rows is not None:
            check_values(when.values, self._rows, (*path, "when"), self._reader)
        elif when.values:
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
        self.used.update(name for name, _ in when.values if name in self._row.values)
        return when.holds(self._row.values)


def own_fields(
    written: ImageFields, path: Path, rows: list[Row] | None, reader: Reader
) -> tuple[ImageFields, set[str]]:
    """Return the fields of layer.yaml among those of a declaration, and the variables that they use.

    What is wrong is added to the reader. Without rows, which a single stack does not have, braces are what is written.
    """
    values: dict[str, Any] = {each.name: getattr(written, each.name) for each in fields(ImageFields)}
    texts = _Texts(rows, reader)
    found = IMAGE_FIELDS.visit(ImageFields(**values), path, texts)
    for message, at, hint in part_problems(found):
        reader.wrong(message, (*path, *at), hint)
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
