"""What `layer.yaml` declares: recipes and layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from enum import StrEnum

from buildsys.dockerfile.sources import ContextSource
from buildsys.errors import Location
from buildsys.names import OWN_FILES_FOLDER
from buildsys.recipes import fields, template
from buildsys.recipes.parameters import CONDITION, Parameter, When
from buildsys.records.schema import Brief, Record, key_name, location_of, nullable, optional, required
from buildsys.records.shapes import Boolean, Choice, Dictionary, Either, Integer, Many
from buildsys.values import dataclass

OS = "os"


class Kind(StrEnum):
    """The base of a layer's node: the system below it, a toolchain, or a parent image alone."""

    SYSTEM = "system"
    ARTIFACT = "artifact"
    TOOLCHAIN = "toolchain"


def _condition() -> When:
    return optional(
        CONDITION,
        When(),
        "names of parameters with their values; all must match. In stacks.yaml of variables, also without values",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """Packages of the operating system."""

    names: tuple[str, ...] = required(fields.PACKAGES, "names of packages, each with an optional `=version`")
    when: When = _condition()
    location: Location = location_of("names")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Lines for arguments of the Dockerfile."""

    lines: Mapping[str, tuple[str, ...]] = required(
        fields.LINES, "lines by argument; those of matching entries are joined"
    )
    when: When = _condition()
    location: Location = location_of("lines")


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file that a build downloads.

    `sha256` is None where no source gives it, and `reason` says why; it is `LOCKED` where the lock must have it.
    `location` is that of the checksum.
    """

    url: str = required(fields.URL, "address, passed to the Dockerfile as `NAME_URL`")
    sha256: str | None = required(
        fields.CHECKSUM,
        "checksum, passed as `NAME_SHA256`; `locked` is that in the lock, `unknown` needs a `reason`",
    )
    reason: str | None = nullable(fields.TEXT, None, "why the checksum is unknown")
    when: When = _condition()
    location: Location | None = location_of("sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """A value that RUN steps mount; it is in no key."""

    id: str = required(fields.SECRET_ID, "mounted by `RUN --mount=type=secret,id=<id>,required=true`")
    description: str = required(fields.LINE, "one line: what it is for, and who has it")
    location: Location = location_of("id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Variables of the image; lists are in order of mention."""

    set: Mapping[str, str] = optional(fields.VARIABLES, fields.NOTHING, "values by variable")
    prepend: Mapping[str, tuple[str, ...]] = optional(fields.PARTS, fields.NOTHING, "parts before the value")
    append: Mapping[str, tuple[str, ...]] = optional(fields.PARTS, fields.NOTHING, "parts after the value")
    separator: str | None = nullable(fields.SEPARATOR, None, "text between the parts; default `:`")
    default: Mapping[str, str] = optional(fields.DEFAULTS, fields.NOTHING, "values where the base image has none")
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A version constraint on other layers of the stack."""

    needs: Mapping[str, str] = required(
        Dictionary(fields.CONSTRAINT, key=fields.NEED),
        "version ranges by `layer.parameter`, such as `>=11.0`; absent layers are ignored",
    )
    message: str | None = nullable(fields.TEXT, None, "text of the error")
    when: When = _condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTest:
    """A command that is run, or a page that is asked for, in every image that has the layer."""

    run: str | None = nullable(fields.SCRIPT, None, "shell command that must exit with 0; this or `http` is required")
    http: str | None = nullable(
        fields.PAGE,
        None,
        "port and path, such as `8888/api`, that the container's own command must answer with a status below 400",
    )
    expect: str | None = nullable(fields.TEMPLATE, None, "text that the output, or the page, must contain")
    running: bool = optional(
        Boolean(), False, "`run` is executed while the container's own command runs, and repeated until it passes"
    )
    within: int | None = nullable(
        fields.DURATION, None, "how long a test of a running container is repeated; default `60s`"
    )
    gpu: bool = optional(Boolean(), False, "the container has the machine's GPUs; without any the test is skipped")
    when: When = _condition()

    @property
    def problem(self) -> tuple[str, str] | None:
        """What does not fit together, with a hint."""
        if (self.run is None) == (self.http is None):
            has = "neither `run` nor `http`" if self.run is None else "both `run` and `http`"
            return f"a test has {has}", "write one of them; a test of both is two entries"
        if self.within is not None and self.http is None and not self.running:
            return "`within` is for tests of a running container", "add `running: true`, or remove `within`"
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Healthcheck:
    """How docker checks a container."""

    # Durations are in milliseconds; None leaves docker's default.

    command: tuple[str, ...] = required(fields.COMMAND, "a list of words, run without a shell")
    interval: int | None = nullable(fields.DURATION, None, "time between two checks, such as `30s`")
    timeout: int | None = nullable(fields.DURATION, None, "time after which a check has failed")
    start_period: int | None = nullable(
        fields.DURATION, None, "time after the start in which failed checks do not count"
    )
    retries: int | None = nullable(Integer(1, 2**31 - 1), None, "failed checks in a row until it is unhealthy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """The image that a chain of system layers starts from."""

    name: str = required(fields.PARENT_NAME, "name of the image in the lock, such as `debian-{release}`")
    images: tuple[str, ...] = required(fields.IMAGES, "sources of the same image, tried in order")
    location: Location | None = location_of("name")


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """A fixed toolchain."""

    layer: str = required(fields.NAME, "a layer of kind `toolchain`")
    parameters: Mapping[str, str] = optional(
        Dictionary(fields.TEMPLATE, key=fields.PARAMETER_NAME), fields.NOTHING, "values of its parameters"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """Resources of a build, so that a run does not start more at once than the builder can carry.

    Memory and disk are in bytes; 0 is unknown.
    """

    memory: int = nullable(fields.SIZE, 0, "peak memory of the build, such as `4 GB`")
    disk: int = nullable(fields.SIZE, 0, "disk space of the build, such as `10 GB`")
    minutes: int = nullable(Integer(1), 0, "duration of the build, used until a run has recorded it")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedFile:
    """A file or a folder of an artifact; a path with `/` at its end is a folder."""

    path: str = key_name()
    source: str | None = nullable(
        fields.FILE_SOURCE,
        None,
        "a file or folder of the layer, or of a stack in `files`; a folder without it is empty",
        key="from",
    )
    mode: str | None = nullable(
        fields.MODE, None, "octal mode; default of a file is `0644`, or `0755` if it is executable, of a folder `0755`"
    )
    owner: str = optional(fields.OWNER, "0:0", "ids of the user and the group; default `0:0`, which is root")
    location: Location = location_of("from")

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.endswith("/")

    @property
    def place(self) -> str:
        """The path without a slash at its end."""
        return self.path.rstrip("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFields:
    """What a layer, and a stack itself, may add to an image without a recipe."""

    packages: tuple[Packages, ...] = nullable(
        Many(Record(Packages, "PackagesFields")), (), "passed to the Dockerfile as one sorted argument `PACKAGES`"
    )
    run: tuple[str, ...] = nullable(
        fields.COMMANDS,
        (),
        "system without a Dockerfile, and stack: shell commands that run after the packages are installed, as one step",
    )
    files: Mapping[str, PlacedFile] = optional(
        Dictionary(Brief("from", Record(PlacedFile, "FileFields")), key=fields.FILE_PATH),
        fields.NOTHING,
        "artifact without a Dockerfile, and stack: files and folders of the image, by path",
    )
    environment: tuple[Environment, ...] = nullable(
        Many(Record(Environment, "EnvironmentFields", otherwise="put variables below `set`"), or_one=True),
        (),
        "variables of the image, merged in the order in which the stack lists its layers",
    )
    labels: Mapping[str, str] = nullable(fields.LABELS, fields.NOTHING, "labels of the image")
    ports: tuple[str, ...] = nullable(Many(fields.PORT, once=True), (), "exposed ports, such as `8000-8010/udp`")
    user: str | None = nullable(
        fields.USER, None, "user of the image: name or number, with an optional group such as `1000:users`"
    )
    workdir: str | None = nullable(fields.WORKDIR, None, "working folder of the image")
    entrypoint: tuple[str, ...] | None = nullable(
        fields.WORDS, None, "entry point of the image: a list of words, run without a shell"
    )
    command: tuple[str, ...] | None = nullable(
        fields.WORDS, None, "default arguments of the entry point, or the command if there is none"
    )
    healthcheck: Healthcheck | None = nullable(
        Record(Healthcheck, "HealthcheckFields"), None, "replaces the healthcheck of earlier layers"
    )
    tests: tuple[ImageTest, ...] = nullable(
        Many(Record(ImageTest, "TestFields", first="run")), (), "commands to run in its images"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeFields(ImageFields):
    """The fields that a layer and each of its flavours may have."""

    description: str | None = nullable(fields.TEXT, None, "one line")
    kind: Kind | None = nullable(Choice(Kind), None, "kind of the layer; required here or in each flavour")
    licence: str | None = nullable(fields.LINE, None, "licence of the software that the flavour installs")
    platforms: tuple[str, ...] = nullable(fields.PLATFORMS, (), "default `[linux/amd64]`")
    requires: tuple[str, ...] = nullable(
        fields.NAMES, (), "layers or provided names that the layer needs; missing ones are added"
    )
    after: tuple[str, ...] = nullable(fields.NAMES, (), "layers that come before this one if the stack has them")
    conflicts: tuple[str, ...] = nullable(fields.NAMES, (), "layers that cannot be in the same stack")
    order: int = nullable(Integer(), 0, "position among independent layers: smaller first, then as listed; default 0")
    accelerator: str | None = nullable(
        fields.NAME, None, "`gpu` puts stacks with this layer into the group `gpu`, others are in `cpu`"
    )
    prefix: tuple[str, ...] = nullable(
        Many(fields.PREFIX, least=1, or_one=True, once=True), (), "artifact only, required: the paths that it owns"
    )
    toolchain: Toolchain | None = nullable(
        Either("os", Record(Toolchain, "ToolchainFields")),
        None,
        "artifact: what it is built on, default `os`; provider of `os`: the toolchain for its artifacts",
    )
    dockerfile: str | None = nullable(fields.TEXT, None, "name of the file; default is `Dockerfile`")
    parameters: Mapping[str, Parameter] = optional(
        Dictionary(Record(Parameter, "ParameterFields"), key=fields.PARAMETER_NAME),
        fields.NOTHING,
        "inputs of the layer, passed to the Dockerfile as arguments",
    )
    arguments: tuple[Arguments, ...] = nullable(
        Many(Record(Arguments, "ArgumentsFields")), (), "arguments of several lines for the Dockerfile"
    )
    parent: Parent | None = nullable(Record(Parent, "ParentFields"), None, "system and toolchain: the base image")
    downloads: Mapping[str, tuple[Download, ...]] = optional(
        Dictionary(Many(Record(Download, "DownloadFields"), or_one=True), key=fields.PARAMETER_NAME),
        fields.NOTHING,
        "files to download; the first entry whose condition matches is used",
    )
    secrets: tuple[Secret, ...] = nullable(
        Many(Record(Secret, "SecretFields")), (), "values that RUN steps mount, given on each machine; in no key"
    )
    checks: tuple[Check, ...] = nullable(Many(Record(Check, "CheckFields")), (), "version constraints on other layers")
    freshness: str | None = nullable(
        Choice(("week", "month")), None, "how often packages are refreshed; the epoch is passed as `EPOCH`"
    )
    weight: Weight = nullable(Record(Weight, "WeightFields"), Weight(), "resources of a build; not part of any key")


IMAGE_FIELDS = Record(ImageFields, "ImageFields")
RECIPE_FIELDS = Record(RecipeFields, "RecipeFields", meant=fields.MEANT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe(RecipeFields):
    """One way to have a layer: all fields of layer.yaml for one flavour, `flavour` empty if there is one way.

    `text` is that of the Dockerfile; `declared`, `references` and `sources` are what it declares, names and copies or
    mounts, `added_layers` how many layers it adds to its base. Of a layer with `run`, which has none, `declared` are
    the arguments that the commands name. `mounted` are the ids of secrets that it mounts, `uncredentialed` the RUN
    steps that mount the mirrors alone; `places` are the locations of fields and of the names in them.
    """

    layer: str
    flavour: str
    file: str
    description: str
    kind: Kind
    licence: str
    text: str = ""
    declared: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    added_layers: int = 0
    mounted: frozenset[str] = frozenset()
    uncredentialed: tuple[Location, ...] = field(default=(), compare=False)
    places: Mapping[tuple[str, str], Location] = field(default_factory=dict, compare=False)
    sources: tuple[ContextSource, ...] = ()

    @property
    def folder(self) -> str:
        """The layer's folder, or that of the files of a stack itself, relative to the project root; empty without."""
        return self.file.rpartition("/")[0] or (OWN_FILES_FOLDER if self.files else "")

    @property
    def replaced(self) -> frozenset[str]:
        """The paths at which it has files, which may replace those of a system."""
        return frozenset(each.place for each in self.files.values() if not each.is_folder)

    def place(self, name: str, item: str = "") -> Location:
        """Return the location of a field, or of a name in it."""
        return self.places.get((name, item)) or self.places.get((name, "")) or Location(file=self.file)

    @property
    def makes_node(self) -> bool:
        """Whether anything is built for it, or it only gives a parent or settings."""
        return self.dockerfile is not None or bool(self.packages or self.files or self.run)


def built_with(recipe: RecipeFields, declared: Collection[str], references: Collection[str]) -> frozenset[str]:
    """Return the parameters that affect what is built, and not only the image's settings.

    `declared` are the arguments of the Dockerfile, `references` the contexts that it names.
    """
    names = {name for name, each in recipe.parameters.items() if each.argument in declared or name in references}
    conditions = [each.when for each in recipe.packages] + [each.when for each in recipe.arguments]
    texts = [text for packages in recipe.packages for text in packages.names]
    texts += [text for each in recipe.arguments for lines in each.lines.values() for text in lines]
    for variants in recipe.downloads.values():
        conditions += [one.when for one in variants]
        texts += [one.url for one in variants]
    texts += [each.owner for each in recipe.files.values()]
    texts += recipe.toolchain.parameters.values() if recipe.toolchain else ()
    texts += [recipe.parent.name] if recipe.parent else ()
    names |= {name for when in conditions for name, _ in when.values}
    names |= {name for text in texts for name in template.names(text)}
    return frozenset(names & recipe.parameters.keys())


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A folder of `layers/`: its recipes by flavour, and the names that it answers to."""

    name: str
    file: str
    recipes: Mapping[str, Recipe]
    default_flavour: str
    provides: tuple[str, ...] = ()
