"""The exact shape of `layer.yaml` and `stacks.yaml`, and their JSON Schemas."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from buildsys import texts
from buildsys.names import NAME

_SCALAR = {"type": ["string", "number", "boolean"]}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _listed_mapping(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class _OrOne:
    """Tells the JSON Schema that one entry may stand without a list around it."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(core)
        return {"anyOf": [many["items"], many]}


class _OrNothing:
    """Tells the JSON Schema that the value may be left empty."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "null"}]}


def _truth(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("expected `true` or `false`")


def _empty(value: object) -> object:
    return {} if value is None else value


def _held(rule: texts.Rule) -> AfterValidator:
    """Return the validator that holds a text to a rule."""

    def check(value: str) -> str:
        if expected := rule(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


Text = Annotated[str, WithJsonSchema(_SCALAR)]
Line = Annotated[str, _held(texts.one_line), WithJsonSchema(_SCALAR)]
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$")]
Boolean = Annotated[bool, BeforeValidator(_truth), WithJsonSchema({"type": "boolean"})]
OneOrMore = Annotated[
    list[Text],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
]
Condition = Annotated[dict[ParameterName, OneOrMore], Field(description="parameter names and their values")]
Port = Annotated[
    str,
    _held(texts.port),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": r"^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?(/(tcp|udp|sctp))?$"},
            ]
        }
    ),
]
Platform = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64}|unknown)$")]
Size = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)? ?(MB|GB)$")]
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*(ms|s|m|h)$")]
KindName = Literal["system", "artifact", "toolchain"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterFields(_Strict):
    """A declared input of a layer."""

    description: Text = Field(description="what it is for")
    type: Literal["string", "integer", "boolean", "words", "folder"] = "string"
    default: OneOrMore | None = Field(None, description="value where a stack sets none")
    values: list[Text] = Field(default_factory=list, description="the only values allowed")
    pattern: Text | None = Field(None, description="regular expression for the whole value")
    source: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9_-]+(\|[a-z]+)?$")] | None = Field(
        None,
        alias="from",
        description="`layer.parameter` or `layer.parameter|filter`, taken where no value is set",
    )
    label: Boolean = Field(False, description="its value is part of the names of nodes")


class PackagesFields(_Strict):
    """Packages of the operating system."""

    names: list[Text]
    when: Condition = Field(default_factory=dict)


class ArgumentsFields(_Strict):
    """Lines for arguments of the Dockerfile."""

    lines: dict[Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")], OneOrMore]
    when: Condition = Field(default_factory=dict)


class ParentFields(_Strict):
    """The image that a chain of system layers starts from."""

    name: Text
    images: list[Text] = Field(min_length=1, description="sources of the same image, tried in order")


class DownloadFields(_Strict):
    """A file that a build fetches."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+/\S*$")]
    sha256: Sha256
    reason: Text | None = Field(None, description="why the checksum is unknown")
    when: Condition = Field(default_factory=dict)


class EnvironmentFields(_Strict):
    """What a layer does to the variables of an image."""

    set: dict[str, Text] = Field(default_factory=dict)
    prepend: dict[str, OneOrMore] = Field(default_factory=dict)
    append: dict[str, OneOrMore] = Field(default_factory=dict)
    when: Condition = Field(default_factory=dict)


class CheckFields(_Strict):
    """A demand on other layers of the stack."""

    needs: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9_-]+$")], Text]
    message: Text | None = None
    when: Condition = Field(default_factory=dict)


class TestFields(_Strict):
    """A command that is run in every image that has the layer."""

    __test__ = False
    run: Text
    expect: Text | None = None
    when: Condition = Field(default_factory=dict)


class ToolchainFields(_Strict):
    """A fixed toolchain."""

    layer: Name
    parameters: dict[ParameterName, Text] = Field(default_factory=dict)


class WeightFields(_Strict):
    """What building a layer takes, so that a run does not start more at once than the builder can bear."""

    memory: Size | None = Field(None, description="at its highest, such as `4 GB`")
    disk: Size | None = Field(None, description="while it is built, such as `10 GB`")
    minutes: int | None = Field(None, ge=1, description="what it takes, where no run has recorded it yet")


class HealthcheckFields(_Strict):
    """How docker sees whether a container does its work."""

    command: list[Text] = Field(min_length=1, description="a command and its words, run without a shell")
    interval: Duration | None = Field(None, description="between two checks, such as `30s`")
    timeout: Duration | None = Field(None, description="after which a check has failed")
    start_period: Duration | None = Field(None, description="in which a failed check does not count")
    retries: int | None = Field(None, ge=1, description="failed checks in a row that make it unhealthy")


class RecipeFields(_Strict):
    """What a layer, or one flavour of it, may say."""

    description: Text | None = None
    kind: KindName | None = None
    licence: Line | None = None
    platforms: list[Platform] | None = None
    requires: list[Name] | None = None
    after: list[Name] | None = None
    conflicts: list[Name] | None = None
    order: int | None = None
    accelerator: Name | None = None
    prefix: Annotated[str, StringConstraints(pattern=r"^/[^\s]*[^/\s]$")] | None = None
    toolchain: Literal["os"] | ToolchainFields | None = None
    dockerfile: Text | None = None
    parameters: dict[ParameterName, ParameterFields] = Field(default_factory=dict)
    packages: list[PackagesFields] | None = None
    arguments: list[ArgumentsFields] | None = None
    parent: ParentFields | None = None
    downloads: dict[ParameterName, Annotated[list[DownloadFields], BeforeValidator(_listed_mapping), _OrOne()]] = Field(
        default_factory=dict
    )
    environment: Annotated[list[EnvironmentFields], BeforeValidator(_listed_mapping), _OrOne()] | None = None
    labels: dict[str, Text] | None = None
    ports: list[Port] | None = None
    user: Text | None = None
    workdir: Text | None = None
    entrypoint: list[Text] | None = Field(None, description="a command and its words, run without a shell")
    command: list[Text] | None = Field(None, description="words given to the entry point, or run where there is none")
    healthcheck: HealthcheckFields | None = None
    checks: list[CheckFields] | None = None
    freshness: Literal["week", "month"] | None = None
    weight: WeightFields | None = None
    tests: list[TestFields] | None = None


class LayerFile(RecipeFields):
    """A layer: a reusable recipe for images."""

    description: Text = Field(description="one line")
    licence: Line = Field(description="of what the layer installs")
    provides: list[Name] = Field(default_factory=list, description="other names that it answers to")
    flavours: dict[Name, Annotated[RecipeFields, BeforeValidator(_empty), _OrNothing()]] = Field(default_factory=dict)
    default_flavour: Name | None = None


class StackFields(_Strict):
    """A single stack."""

    description: Text | None = None
    layers: list[Any] = Field(min_length=1)
    groups: list[Name] = Field(default_factory=list)
    platforms: list[Platform] = Field(default_factory=lambda: ["linux/amd64"])
    deprecated: Text | None = None


class RowStackFields(_Strict):
    """What one stack of a family has besides."""

    description: Text | None = None
    groups: list[Name] = Field(default_factory=list)
    deprecated: Text | None = None


class FamilyFields(StackFields):
    """Stacks declared by a matrix."""

    description: Text = Field(description="one line")
    name: Line = Field(description="template of the stacks' names")
    matrix: list[dict[ParameterName, OneOrMore]] = Field(min_length=1)
    exclude: list[dict[ParameterName, OneOrMore]] = Field(default_factory=list)
    stacks: dict[str, RowStackFields] = Field(default_factory=dict)


class StacksFile(_Strict):
    """The images of a project."""

    registry: Line = Field("buildsys", description="default of BUILDSYS_REGISTRY")
    families: dict[Name, FamilyFields] = Field(default_factory=dict)
    stacks: dict[str, StackFields] = Field(default_factory=dict)


FILES: Mapping[str, type[BaseModel]] = types.MappingProxyType({"layer": LayerFile, "stacks": StacksFile})


def json_schema(name: str) -> str:
    """Return the JSON Schema of `layer` or `stacks` as text; the same bytes every time."""
    schema = FILES[name].model_json_schema(by_alias=True)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
