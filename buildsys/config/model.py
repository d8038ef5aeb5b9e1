"""The values that a project declares and that phases share: parameters, recipes, layers, stacks, and their catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from buildsys.config import fields
from buildsys.config.schema import Record, key_name, location_of, nullable, optional, required
from buildsys.config.shapes import Boolean, Choice, Converted, Dictionary, Either, Integer, Many, Text
from buildsys.errors import Diagnostic, Location
from buildsys.values import dataclass

SCHEMA_VERSION = 1
OS = "os"
# How the content of a symlink begins; the rest is where it leads.
LINK = "link:"


class Kind(StrEnum):
    """The base of a layer's node: the system below it, a toolchain, or a parent image alone."""

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


def _when(values: Mapping[str, tuple[str, ...]]) -> When:
    return When(values=tuple(sorted(values.items())))


CONDITION = Converted(fields.VALUES, _when)


def _condition() -> When:
    return optional(CONDITION, When(), "parameter names and their values")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterSource:
    """A parameter of another layer of the stack, and the filter that its value goes through."""

    layer: str
    parameter: str
    filter: str | None = None


def _source(text: str) -> ParameterSource:
    layer, _, rest = text.partition(".")
    parameter, _, chosen = rest.partition("|")
    return ParameterSource(layer=layer, parameter=parameter, filter=chosen or None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A declared input of a layer.

    `source` gives its value if none is set.
    """

    name: str = key_name()
    description: str = required(fields.TEXT, "what it is for")
    type: ParameterType = optional(Choice(ParameterType), ParameterType.STRING)
    default: str | None = nullable(Converted(fields.ONE_OR_MORE, " ".join), None, "value where a stack sets none")
    values: tuple[str, ...] = optional(fields.TEXTS, (), "the only values allowed")
    pattern: str | None = nullable(fields.TEXT, None, "regular expression for the whole value")
    source: ParameterSource | None = nullable(
        Converted(Text(form=r"^[a-z0-9-]+\.[a-z0-9_-]+(\|[a-z]+)?$"), _source),
        None,
        "`layer.parameter` or `layer.parameter|filter`, taken where no value is set",
        key="from",
    )
    label: bool = optional(Boolean(), False, "its value is part of the names of nodes")

    @property
    def argument(self) -> str:
        """The name of the Dockerfile argument."""
        return self.name.upper().replace("-", "_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """Packages of the operating system."""

    names: tuple[str, ...] = required(fields.PACKAGES)
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Lines for arguments of the Dockerfile.

    An argument gets the lines of all whose condition holds.
    """

    lines: Mapping[str, tuple[str, ...]] = required(fields.LINES)
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file that a build fetches.

    `sha256` is None where no source gives it, and `reason` says why. `location` is that of the checksum.
    """

    url: str = required(fields.URL)
    sha256: str | None = required(fields.SHA256)
    reason: str | None = nullable(fields.TEXT, None, "why the checksum is unknown")
    when: When = _condition()
    location: Location = location_of("sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What a layer does to the variables of an image.

    Lists are in order of mention.
    """

    set: Mapping[str, str] = optional(fields.VARIABLES, fields.NOTHING)
    prepend: Mapping[str, tuple[str, ...]] = optional(fields.PARTS, fields.NOTHING)
    append: Mapping[str, tuple[str, ...]] = optional(fields.PARTS, fields.NOTHING)
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A demand on other layers of the stack.

    `needs` maps `layer.parameter` to a version range.
    """

    needs: Mapping[str, str] = required(Dictionary(fields.TEMPLATE, key=Text(form=r"^[a-z0-9-]+\.[a-z0-9_-]+$")))
    message: str | None = nullable(fields.TEXT, None)
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTest:
    """A command that is run in every image that has the layer.

    It must end with 0 and print `expect` somewhere.
    """

    run: str = required(fields.TEMPLATE)
    expect: str | None = nullable(fields.TEMPLATE, None)
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class Healthcheck:
    """How docker sees whether a container does its work.

    Durations are in milliseconds; None leaves docker's default.
    """

    command: tuple[str, ...] = required(Many(fields.TEMPLATE, least=1), "a command and its words, run without a shell")
    interval: int | None = nullable(fields.DURATION, None, "between two checks, such as `30s`")
    timeout: int | None = nullable(fields.DURATION, None, "after which a check has failed")
    start_period: int | None = nullable(fields.DURATION, None, "in which a failed check does not count")
    retries: int | None = nullable(Integer(1), None, "failed checks in a row that make it unhealthy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """The image that a chain of system layers starts from."""

    name: str = required(fields.PARENT_NAME)
    images: tuple[str, ...] = required(fields.IMAGES, "sources of the same image, tried in order")


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """A fixed toolchain."""

    layer: str = required(fields.NAME)
    parameters: Mapping[str, str] = optional(Dictionary(fields.TEMPLATE, key=fields.PARAMETER_NAME), fields.NOTHING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """What building a layer takes, so that a run does not start more at once than the builder can bear.

    Memory and disk are in bytes; 0 is unknown.
    """

    memory: int = nullable(fields.SIZE, 0, "at its highest, such as `4 GB`")
    disk: int = nullable(fields.SIZE, 0, "while it is built, such as `10 GB`")
    minutes: int = nullable(Integer(1), 0, "what it takes, where no run has recorded it yet")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeFields:
    """What a layer, or one flavour of it, may say."""

    description: str | None = nullable(fields.TEXT, None)
    kind: Kind | None = nullable(Choice(Kind), None)
    licence: str | None = nullable(fields.LINE, None)
    platforms: tuple[str, ...] = nullable(Many(fields.PLATFORM), ())
    requires: tuple[str, ...] = nullable(fields.NAMES, ())
    after: tuple[str, ...] = nullable(fields.NAMES, ())
    conflicts: tuple[str, ...] = nullable(fields.NAMES, ())
    order: int = nullable(Integer(), 0)
    accelerator: str | None = nullable(fields.NAME, None)
    prefix: str | None = nullable(fields.PREFIX, None)
    toolchain: Toolchain | None = nullable(Either("os", Record(Toolchain, "ToolchainFields")), None)
    dockerfile: str | None = nullable(fields.TEXT, None)
    parameters: Mapping[str, Parameter] = optional(
        Dictionary(Record(Parameter, "ParameterFields"), key=fields.PARAMETER_NAME), fields.NOTHING
    )
    packages: tuple[Packages, ...] = nullable(Many(Record(Packages, "PackagesFields")), ())
    arguments: tuple[Arguments, ...] = nullable(Many(Record(Arguments, "ArgumentsFields")), ())
    parent: Parent | None = nullable(Record(Parent, "ParentFields"), None)
    downloads: Mapping[str, tuple[Download, ...]] = optional(
        Dictionary(Many(Record(Download, "DownloadFields"), or_one=True), key=fields.PARAMETER_NAME),
        fields.NOTHING,
    )
    environment: tuple[Environment, ...] = nullable(Many(Record(Environment, "EnvironmentFields"), or_one=True), ())
    labels: Mapping[str, str] = nullable(fields.LABELS, fields.NOTHING)
    ports: tuple[str, ...] = nullable(Many(fields.PORT), ())
    user: str | None = nullable(fields.USER, None)
    workdir: str | None = nullable(fields.WORKDIR, None)
    entrypoint: tuple[str, ...] | None = nullable(
        fields.TEMPLATES, None, "a command and its words, run without a shell"
    )
    command: tuple[str, ...] | None = nullable(
        fields.TEMPLATES, None, "words given to the entry point, or run where there is none"
    )
    healthcheck: Healthcheck | None = nullable(Record(Healthcheck, "HealthcheckFields"), None)
    checks: tuple[Check, ...] = nullable(Many(Record(Check, "CheckFields")), ())
    freshness: str | None = nullable(Choice(("week", "month")), None)
    weight: Weight = nullable(Record(Weight, "WeightFields"), Weight())
    tests: tuple[ImageTest, ...] = nullable(Many(Record(ImageTest, "TestFields")), ())


RECIPE_FIELDS = Record(RecipeFields, "RecipeFields")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe(RecipeFields):
    """One way to have a layer: all fields of layer.yaml for one flavour, `flavour` empty if there is one way.

    `file` is the layer.yaml, and `dockerfile` a path as well; `declared` and `references` are what the Dockerfile
    declares and names, `added_layers` how many layers it adds to its base.
    """

    layer: str
    flavour: str
    file: str
    description: str
    kind: Kind
    licence: str
    declared: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    added_layers: int = 0

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
    locations: Mapping[str, Location] = field(default_factory=lambda: fields.NOTHING)


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
