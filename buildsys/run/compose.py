"""Which config and manifest a stack's image has over the blobs of its parts, equal to those of its assembly.

An assembly runs nothing, so the result of BuildKit follows from the configs and manifests of the parts. Equal parts
give equal digests. What a config says is read and written by `oci.config`; here is what the instructions of an
assembly change in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace

from buildsys.events.events import ImageLayer
from buildsys.names import TITLE_LABEL
from buildsys.oci.config import CONFIG_TYPE, MILLISECOND, MOST_LAYERS, Config, Probe, Settings, canonical
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, digest_of
from buildsys.plan.plan import Plan
from buildsys.recipes.recipe import Healthcheck
from buildsys.resolve.image import Variable
from buildsys.resolve.node import ImageTarget, Node
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


@dataclass(kw_only=True, slots=True)
class BlobOrigins:
    """The blobs of the targets of a run, each with the buildsys layer that it comes from."""

    plan: Plan
    found: dict[str, tuple[ImageLayer, ...]] = field(default_factory=dict)

    def add(self, name: str, blobs: Iterable[Descriptor]) -> tuple[ImageLayer, ...]:
        """Take the blobs of a target, after those of what it is built on, and return them with their layers.

        What a node has and its base has not is of the node's own layer, which is not known if those of the base are
        not. The first node on a parent has the blobs of the parent too.
        """
        target = self.plan.targets[name]
        known = {blob.digest: blob.layer for need in target.below for blob in self.found.get(need, ())}
        own = ""
        if isinstance(target, Node) and (target.recipe.prefix or target.base is None or target.base in self.found):
            own = target.recipe.layer
        self.found[name] = tuple(
            ImageLayer(digest=each.digest, size=each.size, layer=known.get(each.digest, own)) for each in blobs
        )
        return self.found[name]


def total_size(layers: Sequence[ImageLayer]) -> int | None:
    """Return the bytes of the blobs of an image, None if they are not known."""
    return sum(each.size for each in layers) if layers else None


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
