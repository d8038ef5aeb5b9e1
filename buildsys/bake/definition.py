"""What a bake definition holds, as a value: written as HCL for people, and as JSON for one run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, fields
from typing import Any

from buildsys.bake.hcl import Attribute, Block, Comment, Expression, Item, Value, json_value, write
from buildsys.values import dataclass

# Where a target is written to the builder's cache and nowhere else.
ONLY_CACHED = ("type=cacheonly",)
# Provenance holds the arguments of everything below, and gives equal images unequal digests.
NO_PROVENANCE = ("type=provenance,disabled=true",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One build, with the fields of buildx's own `Target` (docker/buildx, bake/bake.go) that are used here.

    None and an empty mapping are not written; `comment` is for the readers of the HCL.
    """

    name: str
    comment: str = ""
    description: str | None = None
    context: Value = None
    dockerfile: str | None = None
    contexts: Mapping[str, Value] = field(default_factory=dict)
    dockerfile_inline: Value = None
    args: Mapping[str, Value] = field(default_factory=dict)
    secret: tuple[str, ...] | None = None
    tags: tuple[Value, ...] | None = None
    labels: Mapping[str, Value] = field(default_factory=dict)
    annotations: tuple[str, ...] | None = None
    platforms: tuple[str, ...] | None = None
    cache_from: Value = None
    cache_to: Value = None
    output: tuple[str, ...] | None = None
    no_cache: bool | None = None
    attest: tuple[str, ...] = NO_PROVENANCE

    def attributes(self) -> Iterator[tuple[str, Value]]:
        """Yield the attributes that have a value, by their names in bake."""
        for name, attribute in _ATTRIBUTES:
            value = getattr(self, name)
            if value is not None and value != {}:
                yield attribute, value


_ATTRIBUTES = tuple(
    (each.name, each.name.replace("_", "-")) for each in fields(Target) if each.name not in ("name", "comment")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Targets, or groups, that are baked by one name."""

    name: str
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A variable that the environment may set."""

    name: str
    description: str
    default: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A function that expressions of targets may call."""

    name: str
    params: tuple[str, ...]
    result: Expression


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """Everything that bake reads, in the order in which it is written."""

    comment: str = ""
    variables: tuple[Variable, ...] = ()
    functions: tuple[Function, ...] = ()
    groups: tuple[Group, ...] = ()
    targets: tuple[Target, ...] = ()

    def to_hcl(self) -> str:
        """Return the text of an HCL file, which ends with a newline: equal definitions give equal bytes."""
        return write(self._items())

    def _items(self) -> Iterator[Item]:
        if self.comment:
            yield Comment(self.comment)
        for kind, name, attributes in self._blocks():
            yield Block(kind, (name,), tuple(Attribute(key, value) for key, value in attributes))
        for target in self.targets:
            comment = (Comment(target.comment),) if target.comment else ()
            body = (Attribute(key, value) for key, value in target.attributes())
            yield Block("target", (target.name,), (*comment, *body))

    def to_json(self) -> str:
        """Return the text of a JSON file from which bake reads the same, without the comments of targets."""
        document: dict[str, Any] = {"//": self.comment} if self.comment else {}
        for kind, name, attributes in self._blocks():
            document.setdefault(kind, {})[name] = {key: json_value(value) for key, value in attributes}
        for function in self.functions:
            # Names of parameters are keywords, not templates.
            document["function"][function.name]["params"] = function.params
        for target in self.targets:
            attributes = target.attributes()
            document.setdefault("target", {})[target.name] = {key: json_value(value) for key, value in attributes}
        # In ASCII: HCL's reader of JSON takes a quote behind a sign such as U+0600 for a part of that character.
        return json.dumps(document, indent=1)

    def _blocks(self) -> Iterator[tuple[str, str, Iterable[tuple[str, Value]]]]:
        """Yield kind, name and attributes of every block but targets."""
        for variable in self.variables:
            # A default may hold no call: bake looks for functions in it as if it were an expression.
            yield "variable", variable.name, (("description", variable.description), ("default", variable.default))
        for function in self.functions:
            params = [Expression(name) for name in function.params]
            yield "function", function.name, (("params", params), ("result", function.result))
        for group in self.groups:
            yield "group", group.name, (("targets", group.targets),)
