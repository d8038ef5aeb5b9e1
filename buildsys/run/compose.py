"""Which config and manifest a stack's image has over the blobs of its parts, equal to those of its assembly.

An assembly runs nothing, so the result of BuildKit follows from the configs and manifests of the parts. Equal parts
give equal digests. What a config says is read and written by `oci.config`; here is what the instructions of an
assembly change in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from buildsys.names import TITLE_LABEL
from buildsys.oci.config import CONFIG_TYPE, MILLISECOND, MOST_LAYERS, Config, Probe, Settings, canonical
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, digest_of
from buildsys.recipes.recipe import Healthcheck
from buildsys.resolve.image import Variable
from buildsys.resolve.node import ImageTarget
from buildsys.values import dataclass

_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
# Docker's own media types are not allowed in an OCI manifest.
_OCI_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": _GZIP,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": _GZIP,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """An image that exists: its layers in order, and its config."""

    layers: tuple[Descriptor, ...]
    config: Config


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
    """Return a stack's image; `artifacts` are in the order in which the stack joins them.

    Raises ValueError where a manifest over the blobs is not what an engine would build: for more layers than docker
    takes, and for triggers of the base, which an engine runs.
    """
    layers = tuple(layer for part in (base, *artifacts) for layer in part.layers)
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"it would have {len(layers)} layers, and docker takes at most {MOST_LAYERS}")
    if base.config.settings.triggers:
        raise ValueError("its base has ONBUILD triggers, which only an engine can run")
    created = base.config.created or "1970-01-01T00:00:00Z"
    joined = (
        {"created": created, "created_by": f"COPY --link --from={layer} / /", "comment": "buildsys"}
        for layer, _ in stack.artifacts
    )
    config = replace(
        base.config,
        created=created,
        settings=_settings(stack, base.config.settings),
        history=(*base.config.history, *joined),
        diff_ids=tuple(digest for part in (base, *artifacts) for digest in part.config.diff_ids),
    ).to_json()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
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
    return Composed(config=config, manifest=canonical(manifest), layers=layers)


def _settings(stack: ImageTarget, settings: Settings) -> Settings:
    """Return settings as the instructions of the assembly change them."""
    config = stack.config
    environment = dict(settings.environment)
    for variable in stack.environment:
        environment[variable.name] = value_of(variable, environment.get(variable.name, ""))
    found = replace(
        settings,
        environment=environment,
        labels={**settings.labels, **config.labels, TITLE_LABEL: stack.stack},
        ports=settings.ports.union(each for port in config.ports for each in _single_ports(port)),
        workdir=config.workdir or settings.workdir,
        user=config.user or settings.user,
    )
    if config.entrypoint is not None:
        found = replace(found, entrypoint=config.entrypoint, command=())
    if config.command is not None:
        # BuildKit says of each command that its words are apart, which Windows asks for.
        found = replace(found, command=config.command, words_apart=True)
    return replace(found, healthcheck=_probe(config.healthcheck)) if config.healthcheck else found


def _single_ports(port: str) -> list[str]:
    """Return the ports of a range one by one, as an assembly has them."""
    numbers, _, protocol = port.partition("/")
    first, _, last = numbers.partition("-")
    return [f"{number}/{protocol or 'tcp'}" for number in range(int(first), int(last or first) + 1)]


def _probe(healthcheck: Healthcheck) -> Probe:
    durations = {
        "Interval": healthcheck.interval,
        "Timeout": healthcheck.timeout,
        "StartPeriod": healthcheck.start_period,
    }
    return Probe(
        test=("CMD", *healthcheck.command),
        durations={name: (value or 0) * MILLISECOND for name, value in durations.items()},
        retries=healthcheck.retries or 0,
    )


def value_of(variable: Variable, parent: str) -> str:
    """Return a variable's value where the parent has `parent`, empty if it has none."""
    middle = variable.value if variable.value is not None else parent or variable.default or ""
    return variable.separator.join([*variable.prepended, *([middle] if middle else []), *variable.appended])
