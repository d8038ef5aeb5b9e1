"""Which config and manifest a stack's image has over the blobs of its parts, equal to those of its assembly.

An assembly runs nothing, so the result of BuildKit follows from the configs and manifests of the parts. Equal parts
give equal digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from buildsys.config.model import Healthcheck
from buildsys.names import TITLE_LABEL
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, digest_of
from buildsys.resolve.image import Variable
from buildsys.resolve.node import ImageTarget
from buildsys.values import dataclass

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
# Docker's own media types are not allowed in an OCI manifest.
_OCI_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": _GZIP,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": _GZIP,
}
# In a millisecond.
_NANOSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """An image that exists: its layers in order, and its config as the registry holds it."""

    layers: tuple[Descriptor, ...]
    config: Mapping[str, Any]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of its layers before compression."""
        return tuple(self.config["rootfs"]["diff_ids"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """The bytes of a config and of the manifest that names it; `layers` are the blobs that must exist."""

    config: bytes
    manifest: bytes
    layers: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)


def compose(stack: ImageTarget, base: Part, artifacts: Sequence[Part], annotations: Mapping[str, str]) -> Composed:
    """Return a stack's image; `artifacts` are in the order in which the stack joins them."""
    layers = tuple(layer for part in (base, *artifacts) for layer in part.layers)
    created = str(base.config.get("created") or "1970-01-01T00:00:00Z")
    settings = _settings(stack, dict(base.config.get("config") or {}))
    history = [
        *(base.config.get("history") or ()),
        *(
            {"created": created, "created_by": f"COPY --link --from={layer} / /", "comment": "buildsys"}
            for layer, _ in stack.artifacts
        ),
    ]
    config = {
        **{key: value for key, value in base.config.items() if key not in ("config", "history", "rootfs")},
        "created": created,
        "config": settings,
        "history": history,
        "rootfs": {
            "type": "layers",
            "diff_ids": [digest for part in (base, *artifacts) for digest in part.diff_ids],
        },
    }
    config_bytes = _canonical(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config_bytes), "size": len(config_bytes)},
        "layers": [
            {
                "mediaType": _OCI_TYPES.get(layer.media_type, layer.media_type),
                "digest": layer.digest,
                "size": layer.size,
            }
            for layer in layers
        ],
        "annotations": dict(sorted(annotations.items())),
    }
    return Composed(config=config_bytes, manifest=_canonical(manifest), layers=layers)


def _settings(stack: ImageTarget, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a config that the instructions of the assembly change."""
    environment = dict(entry.split("=", 1) for entry in settings.get("Env") or ())
    for variable in stack.environment:
        environment[variable.name] = value_of(variable, environment.get(variable.name, ""))
    settings["Env"] = [f"{name}={value}" for name, value in environment.items()]
    config = stack.config
    labels = {**(settings.get("Labels") or {}), **config.labels, TITLE_LABEL: stack.stack}
    settings["Labels"] = dict(sorted(labels.items()))
    if config.ports:
        ports = {each for port in config.ports for each in _single_ports(port)}
        settings["ExposedPorts"] = {port: {} for port in sorted({*(settings.get("ExposedPorts") or ()), *ports})}
    if config.workdir:
        settings["WorkingDir"] = config.workdir
    if config.user:
        settings["User"] = config.user
    if config.entrypoint is not None:
        settings.update({"Entrypoint": list(config.entrypoint), "Cmd": []})
    if config.command is not None:
        # BuildKit says of each command that its words are apart, which Windows asks for.
        settings.update({"Cmd": list(config.command), "ArgsEscaped": True})
    if config.healthcheck is not None:
        settings["Healthcheck"] = _healthcheck(config.healthcheck)
    # A list without words is left out of a config.
    return {name: value for name, value in settings.items() if name not in ("Entrypoint", "Cmd") or value}


def _single_ports(port: str) -> list[str]:
    """Return the ports of a range one by one, as an assembly has them."""
    numbers, _, protocol = port.partition("/")
    first, _, last = numbers.partition("-")
    return [f"{number}/{protocol or 'tcp'}" for number in range(int(first), int(last or first) + 1)]


def _healthcheck(healthcheck: Healthcheck) -> dict[str, Any]:
    found: dict[str, Any] = {"Test": ["CMD", *healthcheck.command]}
    durations = {
        "Interval": healthcheck.interval,
        "Timeout": healthcheck.timeout,
        "StartPeriod": healthcheck.start_period,
    }
    found |= {name: value * _NANOSECONDS for name, value in durations.items() if value is not None}
    return {**found, "Retries": healthcheck.retries} if healthcheck.retries is not None else found


def value_of(variable: Variable, parent: str) -> str:
    """Return a variable's value where the parent has `parent`, empty if it has none."""
    middle = variable.value if variable.value is not None else parent or variable.default or ""
    return variable.separator.join([*variable.prepended, *([middle] if middle else []), *variable.appended])


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
