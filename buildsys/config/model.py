"""The values that phases share: parameters, recipes, layers, stacks, and the catalog that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from buildsys.errors import Diagnostic, Location

SCHEMA_VERSION = 1
OS = "os"
# How the content of a symlink begins; the rest is where it leads.
LINK = "link:"


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


class Kind(StrEnum):
    """What a layer's node stands on: the system below it, a toolchain, or a parent image alone."""

    SYSTEM = "system"
    ARTIFACT = "artifact"
    TOOLCHAIN = "toolchain"


class ParameterType(StrEnum):
    """What a parameter's text must be."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    WORDS = "words"
    FOLDER = "folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """A condition on parameter values: every name has one of its values. Empty: always."""

    values: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def holds(self, parameters: Mapping[str, str]) -> bool:
        """Whether the parameters, `flavour` among them, satisfy it; an absent one satisfies nothing."""
        return all(parameters.get(name) in allowed for name, allowed in self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterSource:
    """A parameter of another layer of the stack, and the filter that its value goes through."""

    layer: str
    parameter: str
    filter: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A declared input of a layer; `source` gives its value if none is set."""

    name: str
    description: str
    type: ParameterType = ParameterType.STRING
    default: str | None = None
    values: tuple[str, ...] = ()
    pattern: str | None = None
    source: ParameterSource | None = None
    label: bool = False

    @property
    def argument(self) -> str:
        """The name of the Dockerfile argument."""
        return self.name.upper().replace("-", "_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """Packages of the operating system, in force under a condition."""

    names: tuple[str, ...]
    when: When = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Lines for arguments of the Dockerfile, under a condition; an argument gets the lines of all that hold."""

    lines: Mapping[str, tuple[str, ...]]
    when: When = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file that a build fetches; `sha256` is None where no source gives it, `reason` says why.

    `place` is where its checksum stands, or is said to be unknown.
    """

    url: str
    sha256: str | None
    reason: str | None = None
    when: When = When()
    location: Location = field(default=Location(file=""), compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What a layer does to the image's variables, under a condition; lists are in order of mention."""

    set: Mapping[str, str] = field(default_factory=_nothing)
    prepend: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    append: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    when: When = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A demand on another layer of the stack: `specifier` is a version range for its parameter."""

    layer: str
    parameter: str
    specifier: str
    message: str | None = None
    when: When = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTest:
    """A command that must end with 0 in an image and print `expect` somewhere."""

    run: str
    expect: str | None = None
    when: When = When()


@dataclass(frozen=True, kw_only=True, slots=True)
class Healthcheck:
    """How docker sees whether a container does its work; durations in milliseconds, None leaves docker's default."""

    command: tuple[str, ...]
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    retries: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """The image that a chain of system layers starts from: its name, and references to try in order."""

    name: str
    images: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolchainUse:
    """The toolchain that an artifact is made on; without a layer it is the one of the stack's `os`."""

    layer: str | None = None
    parameters: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """What building takes: `memory` and `disk` in bytes, `minutes` where no run has recorded it; 0 is unknown."""

    memory: int = 0
    disk: int = 0
    minutes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to have a layer: all fields of layer.yaml for one flavour, `flavour` empty if there is one way.

    `declared` and `references` are what the Dockerfile declares and names; `file` is the layer.yaml.
    """

    layer: str
    flavour: str
    file: str
    description: str
    kind: Kind
    licence: str
    platforms: tuple[str, ...]
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    order: int = 0
    accelerator: str | None = None
    prefix: str | None = None
    toolchain: ToolchainUse = field(default_factory=ToolchainUse)
    dockerfile: str | None = None
    declared: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    parameters: Mapping[str, Parameter] = field(default_factory=_nothing)
    packages: tuple[Packages, ...] = ()
    arguments: tuple[Arguments, ...] = ()
    parent: Parent | None = None
    downloads: Mapping[str, tuple[Download, ...]] = field(default_factory=_nothing)
    environment: tuple[Environment, ...] = ()
    labels: Mapping[str, str] = field(default_factory=_nothing)
    ports: tuple[str, ...] = ()
    user: str | None = None
    workdir: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    checks: tuple[Check, ...] = ()
    freshness: str | None = None
    tests: tuple[ImageTest, ...] = ()
    weight: Weight = field(default_factory=Weight)

    @property
    def folder(self) -> str:
        """The layer's folder, relative to the project root."""
        return self.file.rpartition("/")[0]

    @property
    def makes_node(self) -> bool:
        """Whether anything is built for it, or it only gives a parent or settings."""
        return self.dockerfile is not None or bool(self.packages)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A folder of `layers/`: its recipes by flavour, and the names that it answers to."""

    name: str
    file: str
    recipes: Mapping[str, Recipe]
    default_flavour: str
    provides: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerUse:
    """A layer as a stack names it; `places` say where each parameter's value was written."""

    layer: str
    parameters: Mapping[str, str]
    location: Location
    locations: Mapping[str, Location] = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """One image to publish, as declared: `deprecated` says why it is, or is None."""

    name: str
    family: str | None
    description: str
    groups: tuple[str, ...]
    platforms: tuple[str, ...]
    layers: tuple[LayerUse, ...]
    deprecated: str | None
    location: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Stacks that are declared together."""

    name: str
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Everything that a project declares; every layer that a stack or a layer names exists."""

    registry: str
    layers: Mapping[str, Layer]
    families: tuple[Family, ...]
    stacks: tuple[Stack, ...]
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
