"""The values that a project declares and that phases share: its stacks and the catalog, and the files of contexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import date

from buildsys.errors import Diagnostic, Location
from buildsys.recipes import fields
from buildsys.recipes.recipe import ImageFields, Layer
from buildsys.records.schema import location_of, nullable
from buildsys.records.shapes import Integer
from buildsys.values import dataclass

# How the content of a symlink begins; the rest is where it leads.
LINK = "link:"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerUse:
    """A layer as a stack names it; `locations` say where each parameter's value was written, `keys` where its name.

    `platforms` are those for which the stack has it, with the location of each; none means all.
    """

    layer: str
    parameters: Mapping[str, str]
    location: Location
    locations: Mapping[str, Location] = field(default_factory=lambda: fields.NOTHING)
    keys: Mapping[str, Location] = field(default_factory=lambda: fields.NOTHING)
    platforms: Mapping[str, Location] = field(default_factory=lambda: fields.NOTHING)


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnFields:
    """Fields of layer.yaml on a stack or family, which `origin` names; `values` are the variables in its templates."""

    origin: str
    fields: ImageFields
    values: Mapping[str, str]
    location: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A flavour that all layers of a stack follow which have it: its name, where that is set, and the field itself."""

    name: str
    location: Location
    field: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What an image may have at most: bytes in the registry, and image layers, those of its parent too."""

    size: int | None = nullable(fields.SIZE, None, "bytes of all its layers in the registry, such as `2 GB`")
    layers: int | None = nullable(Integer(1), None, "number of its layers, those of the parent image too")
    at_size: Location | None = location_of("size")
    at_layers: Location | None = location_of("layers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """One image to publish, as declared: `deprecated` says why it is, or is None.

    `own` are its own fields, of the most general declaration first; they follow those of all layers. `base` is the
    stack that it extends; what it has from there is part of the other fields.
    `repository` is below the registry. Without `tags` its tag is BUILDSYS_TAG.
    """

    name: str
    family: str | None
    description: str
    groups: tuple[str, ...]
    platforms: tuple[str, ...]
    layers: tuple[LayerUse, ...]
    deprecated: str | None
    location: Location
    platform_locations: Mapping[str, Location] = field(default_factory=lambda: fields.NOTHING, compare=False)
    own: tuple[OwnFields, ...] = ()
    base: str | None = None
    flavour: Choice | None = None
    repository: str = ""
    tags: tuple[str, ...] = ()
    supported_until: date | None = None
    budget: Budget | None = None

    def on(self, platform: str) -> Stack:
        """Return the stack for one platform, with the layers that it has there."""
        layers = tuple(each for each in self.layers if not each.platforms or platform in each.platforms)
        return replace(self, platforms=(platform,), layers=layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Stacks that are declared together."""

    name: str
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Everything that a project declares; every layer that a stack or a layer names exists.

    What is published to `registry` is copied to the registries of `copies`.
    """

    registry: str
    layers: Mapping[str, Layer]
    families: tuple[Family, ...]
    stacks: tuple[Stack, ...]
    copies: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a build context: what git keeps of its mode, and the sha256 of its bytes or where a link leads.

    `rules` is the text of a `.dockerignore`, which says which other files count.
    """

    content: str
    executable: bool = False
    rules: str | None = None


Contents = Mapping[str, Mapping[str, File]]
"""For each folder below the project root that builds read: its files, by path relative to it."""
