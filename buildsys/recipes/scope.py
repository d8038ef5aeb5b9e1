"""One flavour of one `layer.yaml` while it is checked: its fields, their locations, its parameters, their uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from buildsys import pattern, texts
from buildsys.errors import Diagnostic, Location, did_you_mean, which_one
from buildsys.recipes import template
from buildsys.recipes.parameters import Parameter, When, scheme_problem, value_problem
from buildsys.recipes.recipe import RECIPE_FIELDS, ImageFields, RecipeFields
from buildsys.records.shapes import Template
from buildsys.records.source import Path, Source

# Fields whose entries a flavour adds to the common ones; any other field it replaces.
_JOINED = ("parameters", "downloads")
# What they use decides nothing of an image.
_OF_NO_IMAGE = ("tests", "checks")


class Scope:
    """What the parts of a recipe are checked against; what is wrong is added to `diagnostics`.

    `used` are the parameters that something uses, `in_image` those that the image depends on.

    `said` are the fields of a flavour over the common ones. Paths are those of common fields; what is wrong is located
    in the flavour where that has the field, or the entry.
    """

    def __init__(
        self,
        common: RecipeFields,
        flavour: str,
        own: RecipeFields,
        *,
        source: Source,
        diagnostics: list[Diagnostic],
    ) -> None:
        self.source, self.diagnostics, self.flavour = source, diagnostics, flavour
        values: dict[str, Any] = {each.name: self._field(each.name, common, own) for each in fields(RecipeFields)}
        self.said = RecipeFields(**values)
        self.parameters: Mapping[str, Parameter] = self.said.parameters
        self.used: set[str] = set()
        self.in_image: set[str] = set()

    def _field(self, name: str, common: RecipeFields, own: RecipeFields) -> object:
        before, after = getattr(common, name), getattr(own, name)
        if name in _JOINED:
            return MappingProxyType({**{key: each for key, each in before.items() if key not in after}, **after})
        return after if self.in_flavour(name) else before

    def in_flavour(self, *path: str | int) -> bool:
        """Whether the flavour itself has a field, or an entry of one."""
        return ("flavours", self.flavour, *path) in self.source.values

    def wrong(self, message: str, path: Path, hint: str | None = None, *, part: str = "", key: bool = False) -> None:
        """Add a diagnostic at the value of `path`, at a part of it, or at its key."""
        location = self.location(path, part=part, key=key)
        self.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))

    def location(self, path: Path, *, part: str = "", key: bool = False) -> Location:
        """Return the location of the value of `path`, of a part of it or of its key, in the flavour that has it."""
        if self.in_flavour(*path[: 2 if path[:1] and path[0] in _JOINED else 1]):
            path = ("flavours", self.flavour, *path)
        if key:
            return self.source.key_location(path)
        return self.source.part_location(path, part) if part else self.source.location(path)

    def check(self) -> None:
        """Check all parameters, and all templates and conditions: what they use, and what they may become."""
        for parameter in self.parameters.values():
            self._check_parameter(parameter)
        RECIPE_FIELDS.visit(self.said, (), self)

    def text(self, text: str, template_: Template, path: Path) -> str:
        """Check a template's names, and with a sample in their place what it may become."""
        if fault := template.problem(text):
            self.wrong(fault.message, path, fault.hint, part=fault.part)
        elif found := text_problem(text, template_):
            self.wrong(found[0], path, found[1])
        for name in sorted(template.names(text)):
            self._use(name, path, part=name)
        return text

    def enters(self, when: When, path: Path) -> bool:
        """Check a condition's names and values."""
        if when.has:
            message = "`when` has names without values, and a parameter always has a value"
            self.wrong(message, (*path, "when"), "write it as `name: value`")
        for name, values in when.values:
            self._use(name, (*path, "when", name))
            parameter = self.parameters.get(name)
            for index, value in enumerate(values):
                if not self._is_possible(name, value):
                    hint = which_one(value, parameter.values) if parameter else None
                    message = f"`{texts.shown(value)}` is never a value of `{name}`"
                    self.wrong(message, (*path, "when", name, index), hint)
        return True

    def _is_possible(self, name: str, value: str) -> bool:
        """Whether a parameter, or `flavour`, can have a value; one that does not exist is reported elsewhere."""
        if name == "flavour" and name not in self.parameters:
            return ("flavours", value) in self.source.values
        parameter = self.parameters.get(name)
        return parameter is None or value_problem(parameter, value) is None

    def _use(self, name: str, path: Path, *, part: str = "") -> None:
        """Note that a parameter is used, by a part of a template or as a key."""
        self.used.add(name)
        if path[0] not in _OF_NO_IMAGE:
            self.in_image.add(name)
        if name not in self.parameters and not (name == "flavour" and self.flavour):
            hint = did_you_mean(name, self.parameters, f"declare `{name}` under `parameters`")
            self.wrong(f"`{name}` is not a parameter of this layer", path, hint, part=part, key=not part)

    def _check_parameter(self, parameter: Parameter) -> None:
        path = ("parameters", parameter.name)
        if parameter.name == "flavour":
            self.wrong("`flavour` is reserved", path, "rename the parameter", key=True)
        if parameter.source and parameter.source.filter and (hint := template.filter_hint(parameter.source.filter)):
            chosen = parameter.source.filter
            self.wrong(f"`{chosen}` is not a filter", (*path, "from"), hint, part=chosen)
        if parameter.pattern is not None:
            try:
                pattern.compiled(parameter.pattern)
            except pattern.Unsupported as error:
                said = f"`{parameter.pattern}` cannot be a pattern: {error}"
                self.wrong(said, (*path, "pattern"), "write a simpler one, or list the `values`")
                return
        if parameter.default is not None and (problem := value_problem(parameter, parameter.default)):
            message, hint = problem
            self.wrong(message, (*path, "default"), hint)
        for index, value in enumerate(parameter.values):
            if problem := scheme_problem(parameter, value):
                self.wrong(problem[0], (*path, "values", index), problem[1])
        for value in parameter.supported_until:
            if problem := value_problem(parameter, value):
                self.wrong(problem[0], (*path, "supported_until", value), problem[1], key=True)


def text_problem(text: str, template_: Template) -> tuple[str, str | None] | None:
    """Return what a template may not become, shown by a sample, and what to do about it; None if it is fine."""
    named = text.startswith("{") and not text.startswith("{{")
    rule = template_.leading if template_.leading and named else template_.rule
    expected = rule(template.sample(text, template_.sample)) if rule else None
    if rule is None or expected is None:
        return None
    problem = f"is `{texts.excerpt(text)}`, expected {expected}"
    if rule is not texts.argument and "\n" in text:
        problem = f"has more than one line, which {template_.holder} cannot hold"
    better = template_.repair(text) if template_.repair else None
    repaired = better and not rule(template.sample(better))
    return f"{template_.what} {problem}", f"write `{better}`" if repaired else template_.advice


def part_problems(said: ImageFields) -> Iterator[tuple[str, Path, str]]:
    """Yield message, path and hint for what names no program or test, and options joined as folders would be."""
    healthcheck = said.healthcheck.command if said.healthcheck else ()
    for path, words in ((("entrypoint",), said.entrypoint), (("healthcheck", "command"), healthcheck)):
        if words and (expected := texts.program(words[0])):
            yield f"the first word of `{path[0]}` is empty, expected {expected}", (*path, 0), "remove it"
    for index, test in enumerate(said.tests):
        if problem := test.problem:
            yield problem[0], ("tests", index), problem[1]
    for index, environment in enumerate(said.environment):
        for field, given in (("prepend", environment.prepend), ("append", environment.append)):
            for name, parts in given.items():
                options = [part for part in parts if part.startswith("-")]
                if options and environment.separator is None:
                    message = (
                        f"`{name}` would be joined by `:`, and `{texts.excerpt(options[0])}` is an option of a program"
                    )
                    yield message, ("environment", index, field, name), 'add `separator: " "`'
