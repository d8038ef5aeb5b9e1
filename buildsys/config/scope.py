"""One flavour of one `layer.yaml` while it is read: its fields, their places, its parameters, their uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from buildsys import texts
from buildsys.config import template
from buildsys.config.model import Parameter, ParameterSource, ParameterType, When
from buildsys.config.parameters import value_problem
from buildsys.config.schema import ParameterFields, RecipeFields
from buildsys.config.source import Path, Source
from buildsys.errors import Diagnostic


class Fields:
    """The fields of a flavour over the common ones, and where each came from."""

    def __init__(self, common: RecipeFields, own: RecipeFields | None, path: Path) -> None:
        self._common, self._own, self._path = common, own, path

    def get(self, field: str) -> tuple[object, Path]:
        """Return a field's value and where it stands: the flavour's own if it says anything."""
        if self._own is not None and field in self._own.model_fields_set:
            return getattr(self._own, field), (*self._path, field)
        return getattr(self._common, field), (field,)

    def joined(self, field: str) -> Iterator[tuple[str, object, Path]]:
        """Yield the entries of a mapping field, a flavour's after the common ones and in their stead."""
        common: Mapping[str, object] = getattr(self._common, field)
        own: Mapping[str, object] = getattr(self._own, field) if self._own is not None else {}
        for key, value in common.items():
            if key not in own:
                yield key, value, (field, key)
        for key, value in own.items():
            yield key, value, (*self._path, field, key)


class Scope:
    """What the parts of a recipe are checked against; every mistake is added to `mistakes`."""

    def __init__(self, *, source: Source, fields: Fields, diagnostics: list[Diagnostic]) -> None:
        self.source, self.fields, self.diagnostics = source, fields, diagnostics
        self.used: set[str] = set()
        self.parameters: dict[str, Parameter] = {}
        for name, declared, path in fields.joined("parameters"):
            assert isinstance(declared, ParameterFields)
            self.parameters[name] = self._parameter(name, declared, path)

    def wrong(self, message: str, path: Path, hint: str | None = None, *, key: bool = False) -> None:
        """Add a mistake at the value of `path`, or at its key."""
        location = self.source.key_location(path) if key else self.source.location(path)
        self.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))

    def get(self, field: str) -> tuple[object, Path]:
        """Return a field's value and where it stands."""
        return self.fields.get(field)

    def strings(self, field: str) -> tuple[str, ...]:
        """Return a list field; nothing is an empty one."""
        value, _ = self.get(field)
        return tuple(value) if isinstance(value, list) else ()

    def text(
        self, value: str, path: Path, rule: texts.Rule | None = None, what: str = "", holder: str = "a Dockerfile"
    ) -> str:
        """Check a template's names and return it; what it may become is held to a rule."""
        if problem := template.problem(value):
            self.wrong(problem, path)
        elif rule and (expected := rule(template.sample(value))):
            problem = f"is `{texts.shown(value)}`, expected {expected}"
            if "\n" in value:
                problem = f"has more than one line, which {holder} cannot hold"
            self.wrong(f"{what} {problem}", path)
        for name in sorted(template.names(value)):
            self.use(name, path)
        return value

    def use(self, name: str, path: Path) -> None:
        """Note that something uses a parameter, which must exist."""
        self.used.add(name)
        if name not in self.parameters and name != "flavour":
            near = get_close_matches(name, self.parameters, 1)
            self.wrong(
                f"`{name}` is not a parameter of this layer",
                path,
                f"did you mean `{near[0]}`?" if near else None,
            )

    def when(self, condition: Mapping[str, list[str]], path: Path) -> When:
        """Check a condition's names and values and return it."""
        for name, values in condition.items():
            self.use(name, (*path, "when", name))
            parameter = self.parameters.get(name)
            for value in values if parameter and parameter.values else []:
                if parameter and value not in parameter.values:
                    self.wrong(f"`{value}` is never a value of `{name}`", (*path, "when", name))
        return When(values=tuple((name, tuple(values)) for name, values in sorted(condition.items())))

    def _parameter(self, name: str, fields: ParameterFields, path: Path) -> Parameter:
        default = " ".join(fields.default) if fields.default is not None else None
        parameter = Parameter(
            name=name,
            description=fields.description,
            type=ParameterType(fields.type),
            default=default,
            values=tuple(fields.values),
            pattern=fields.pattern,
            source=_source(fields.source) if fields.source else None,
            label=fields.label,
        )
        if name == "flavour":
            self.wrong("`flavour` is the name of a layer's way, a parameter cannot have it", path, key=True)
        if parameter.source and parameter.source.filter not in (None, *template.FILTERS):
            known = ", ".join(f"`{each}`" for each in template.FILTERS)
            self.wrong(f"`|{parameter.source.filter}` is not a filter, expected one of {known}", (*path, "from"))
        if fields.pattern is not None:
            try:
                re.compile(fields.pattern)
            except re.error as error:
                self.wrong(f"`{fields.pattern}` is not a regular expression: {error}", (*path, "pattern"))
                return parameter
        if default is not None and (message := value_problem(parameter, default)):
            self.wrong(message, (*path, "default"))
        return parameter


def _source(text: str) -> ParameterSource:
    layer, _, rest = text.partition(".")
    parameter, _, chosen = rest.partition("|")
    return ParameterSource(layer=layer, parameter=parameter, filter=chosen or None)
