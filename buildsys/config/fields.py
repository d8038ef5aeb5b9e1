"""The fields of a recipe that hold texts and conditions, read one by one."""

from __future__ import annotations

from types import MappingProxyType

from buildsys import texts
from buildsys.addresses import IN_HISTORY, NO_CREDENTIALS, credentials_in
from buildsys.config.model import (
    Arguments,
    Check,
    Download,
    Environment,
    Healthcheck,
    ImageTest,
    Kind,
    Packages,
    Parent,
    ToolchainUse,
    Weight,
)
from buildsys.config.schema import EnvironmentFields, HealthcheckFields, ToolchainFields, WeightFields
from buildsys.config.scope import Scope
from buildsys.config.source import Path


def read_packages(scope: Scope, kind: Kind) -> tuple[Packages, ...]:
    """Return the packages; an artifact cannot have any."""
    value, path = scope.get("packages")
    found = []
    for index, fields in enumerate(value if isinstance(value, list) else []):
        at = (*path, index)
        names = tuple(
            scope.text(each, (*at, "names", i), texts.package, "the package") for i, each in enumerate(fields.names)
        )
        found.append(Packages(names=names, when=scope.when(fields.when, at)))
    if found and kind is Kind.ARTIFACT:
        scope.wrong("an artifact cannot add packages to the system", path, key=True)
    return tuple(found)


def read_arguments(scope: Scope) -> tuple[Arguments, ...]:
    """Return the lines for arguments, in order."""
    value, path = scope.get("arguments")
    found = []
    for index, fields in enumerate(value if isinstance(value, list) else []):
        at = (*path, index)
        lines = {k: tuple(scope.text(v, (*at, "lines", k)) for v in vs) for k, vs in fields.lines.items()}
        found.append(Arguments(lines=MappingProxyType(lines), when=scope.when(fields.when, at)))
    return tuple(found)


def read_downloads(scope: Scope) -> dict[str, tuple[Download, ...]]:
    """Return the downloads by name, each with its variants in order."""
    found = {}
    for name, many, path in scope.fields.joined("downloads"):
        assert isinstance(many, list)
        entries = []
        for index, fields in enumerate(many):
            at = (*path, index)
            known = fields.sha256 != "unknown"
            if not known and not fields.reason:
                scope.wrong("`sha256: unknown` needs a `reason`", at)
            if any(credentials_in(fields.url)):
                scope.wrong(f"the address {IN_HISTORY}", (*at, "url"), NO_CREDENTIALS)
            entries.append(
                Download(
                    url=scope.text(fields.url, (*at, "url"), texts.address, "`url`"),
                    sha256=fields.sha256 if known else None,
                    reason=fields.reason,
                    when=scope.when(fields.when, at),
                    location=scope.source.location((*at, "sha256")),
                )
            )
        found[name] = tuple(entries)
    return found


def read_environment(scope: Scope) -> tuple[Environment, ...]:
    """Return what is done to variables, in order."""
    value, path = scope.get("environment")
    found = []
    for index, fields in enumerate(value if isinstance(value, list) else []):
        at = (*path, index)
        _check_variables(scope, fields, at)
        found.append(
            Environment(
                set=MappingProxyType({k: scope.text(v, at) for k, v in fields.set.items()}),
                prepend=MappingProxyType({k: tuple(scope.text(v, at) for v in vs) for k, vs in fields.prepend.items()}),
                append=MappingProxyType({k: tuple(scope.text(v, at) for v in vs) for k, vs in fields.append.items()}),
                when=scope.when(fields.when, at),
            )
        )
    return tuple(found)


def _check_variables(scope: Scope, fields: EnvironmentFields, path: Path) -> None:
    """A Dockerfile's `ENV NAME="value"` holds any value of one line, under a name of these characters."""
    said = [
        *fields.set.items(),
        *((k, v) for many in (fields.prepend, fields.append) for k, vs in many.items() for v in vs),
    ]
    for name, value in said:
        if expected := texts.variable(name):
            scope.wrong(f"`{texts.shown(name)}` cannot be the name of a variable: {expected}", path)
        if texts.one_line(value):
            scope.wrong(f"the value of `{name}` has more than one line, which an image's variable cannot hold", path)


def read_labels(scope: Scope) -> dict[str, str]:
    """Return the labels."""
    value, path = scope.get("labels")
    labels = value if isinstance(value, dict) else {}
    for key in labels:
        if expected := texts.label_key(key):
            scope.wrong(f"the key of a label is `{texts.shown(key)}`, expected {expected}", (*path, key), key=True)
    return {
        key: scope.text(text, (*path, key), texts.one_line, "a label", "a Dockerfile's `LABEL`")
        for key, text in labels.items()
    }


def read_user(scope: Scope) -> str | None:
    """Return the user, or None."""
    value, path = scope.get("user")
    return None if value is None else scope.text(str(value), path, texts.user, "`user`")


def read_workdir(scope: Scope) -> str | None:
    """Return the folder that a container starts in, or None."""
    value, path = scope.get("workdir")
    if value is None:
        return None
    # A parameter may hold the whole path.
    rule = texts.name if str(value).startswith("{") else texts.workdir
    return scope.text(str(value), path, rule, "`workdir`")


def read_words(scope: Scope, field: str) -> tuple[str, ...] | None:
    """Return the words of a command, or None where nothing is said; no words are another thing."""
    value, path = scope.get(field)
    if not isinstance(value, list):
        return None
    return tuple(scope.text(word, (*path, index)) for index, word in enumerate(value))


def read_healthcheck(scope: Scope) -> Healthcheck | None:
    """Return the healthcheck, or None."""
    value, path = scope.get("healthcheck")
    if not isinstance(value, HealthcheckFields):
        return None
    return Healthcheck(
        command=tuple(scope.text(word, (*path, "command", index)) for index, word in enumerate(value.command)),
        interval=_milliseconds(value.interval),
        timeout=_milliseconds(value.timeout),
        start_period=_milliseconds(value.start_period),
        retries=value.retries,
    )


def _milliseconds(duration: str | None) -> int | None:
    if duration is None:
        return None
    number = duration.rstrip("hms")
    return int(number) * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}[duration.removeprefix(number)]


def read_parent(scope: Scope) -> Parent | None:
    """Return the parent, or None."""
    value, path = scope.get("parent")
    if value is None:
        return None
    name = scope.text(value.name, (*path, "name"), texts.parent, "the name of the parent")  # type: ignore[attr-defined]
    images = value.images  # type: ignore[attr-defined]
    return Parent(
        name=name,
        images=tuple(
            scope.text(each, (*path, "images", index), texts.image, "the image") for index, each in enumerate(images)
        ),
    )


def read_toolchain(scope: Scope) -> ToolchainUse:
    """Return the toolchain named, or the one of the stack."""
    value, path = scope.get("toolchain")
    if not isinstance(value, ToolchainFields):
        return ToolchainUse()
    texts = {k: scope.text(v, (*path, "parameters", k)) for k, v in value.parameters.items()}
    return ToolchainUse(layer=value.layer, parameters=MappingProxyType(texts))


def read_checks(scope: Scope) -> tuple[Check, ...]:
    """Return the demands on other layers."""
    value, path = scope.get("checks")
    found = []
    for index, fields in enumerate(value if isinstance(value, list) else []):
        at = (*path, index)
        when = scope.when(fields.when, at)
        for needed, specifier in fields.needs.items():
            layer, _, parameter = needed.partition(".")
            text = scope.text(specifier, (*at, "needs", needed))
            found.append(Check(layer=layer, parameter=parameter, specifier=text, message=fields.message, when=when))
    return tuple(found)


def read_weight(scope: Scope) -> Weight:
    """Return what building takes; MB and GB are powers of ten."""
    value, _ = scope.get("weight")
    if not isinstance(value, WeightFields):
        return Weight()
    return Weight(memory=_bytes(value.memory), disk=_bytes(value.disk), minutes=value.minutes or 0)


def _bytes(size: str | None) -> int:
    if size is None:
        return 0
    return int(float(size[:-2]) * {"MB": 10**6, "GB": 10**9}[size[-2:]])


def read_tests(scope: Scope) -> tuple[ImageTest, ...]:
    """Return the tests of an image."""
    value, path = scope.get("tests")
    found = []
    for index, fields in enumerate(value if isinstance(value, list) else []):
        at = (*path, index)
        expect = scope.text(fields.expect, (*at, "expect")) if fields.expect is not None else None
        run = scope.text(fields.run, (*at, "run"))
        found.append(ImageTest(run=run, expect=expect, when=scope.when(fields.when, at)))
    return tuple(found)
