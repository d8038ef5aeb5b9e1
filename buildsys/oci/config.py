"""What the config of an image says: read from its bytes, strictly and in bounds, and written as BuildKit writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from buildsys.foreign import list_of, object_of, texts_of
from buildsys.oci.reference import is_digest
from buildsys.texts import excerpt
from buildsys.values import dataclass

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MOST_LAYERS = 127
"""Layers of an image that docker's older image store and CRI-O take at most (moby/buildkit#6097)."""
MILLISECOND = 1_000_000
"""In nanoseconds, the unit of durations in a config."""
_LONGEST = 2**63 - 1
_MOST_RETRIES = 2**31 - 1
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(?:tcp|udp|sctp))?", re.IGNORECASE | re.ASCII)
# What BuildKit 0.25 keeps of a config, in its order; it drops what it does not know.
_SETTINGS = frozenset(
    {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"}
    | {"ArgsEscaped", "Healthcheck", "OnBuild", "Shell"}
)
_FIELDS = frozenset({"architecture", "author", "config", "created", "history", "os", "rootfs", "variant"})
_MORE_FIELDS = frozenset({"os.version", "os.features"})
_HEALTHCHECK = ("Interval", "Timeout", "StartPeriod", "StartInterval")


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A healthcheck: `durations` are in nanoseconds by docker's names for them, 0 or absent is docker's default."""

    test: tuple[str, ...] = ()
    durations: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How containers of an image run; empty is absent, as in a config."""

    user: str = ""
    ports: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    volumes: frozenset[str] = frozenset()
    workdir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    words_apart: bool = False
    healthcheck: Probe | None = None
    triggers: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """An image's config: platform, settings, and for each layer the digest of its tar, the first layer first.

    `history` has what the image's author wrote there; `more` are fields that only other systems than Linux use.
    """

    os: str
    architecture: str
    variant: str = ""
    author: str = ""
    created: str | None = None
    settings: Settings = field(default_factory=Settings)
    history: tuple[Mapping[str, Any], ...] = ()
    diff_ids: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> Config:
        """Return the config in `raw`; ValueError for one that docker or BuildKit would refuse, or read differently."""
        value = object_of(raw)
        _only(value, _FIELDS | _MORE_FIELDS, "the config")
        diff_ids = _diff_ids(value)
        created = _text(value, "created") or None
        if created and not _TIME.fullmatch(created):
            raise ValueError("`created` is no time")
        history = list_of(value, "history", dict)
        described = sum(map(_has_layer, history))
        if history and described != len(diff_ids):
            raise ValueError("`history` has another number of layers than `diff_ids`")
        settings = value.get("config")
        if not isinstance(settings, dict | None):
            raise ValueError("`config` is no object")
        return cls(
            os=_text(value, "os"),
            architecture=_text(value, "architecture"),
            variant=_text(value, "variant"),
            author=_text(value, "author"),
            created=created,
            settings=_settings(settings or {}),
            history=tuple(history),
            diff_ids=diff_ids,
            more={name: value[name] for name in sorted(_MORE_FIELDS) if value.get(name)},
        )

    def to_json(self) -> bytes:
        """Return its bytes; equal configs give equal bytes."""
        value = {
            "architecture": self.architecture,
            "author": self.author,
            "config": _document(self.settings),
            "created": self.created,
            "history": [dict(entry) for entry in self.history],
            "os": self.os,
            **self.more,
            "variant": self.variant,
        }
        rootfs = {"type": "layers", "diff_ids": list(self.diff_ids)}
        kept = {name: found for name, found in value.items() if found or name in ("config", "history")}
        return canonical({**kept, "rootfs": rootfs})


def misfit(raw: bytes, *, layers: int, platform: str) -> str | None:
    """Return why bytes cannot be the config of an image for a platform whose manifest has a number of layers."""
    try:
        value = object_of(raw)
        count = len(_diff_ids(value))
        found = [_text(value, name) for name in ("os", "architecture", "variant")]
    except ValueError as error:
        return f"its config cannot be read: {error}"
    if count != layers:
        return f"it has {layers} layers, and its config {count} `diff_ids`"
    if layers > MOST_LAYERS:
        return f"it has {layers} layers, and docker takes at most {MOST_LAYERS}"
    wanted = [*platform.split("/"), ""][:3]
    # Of one machine there are two names: `arm64` and `arm64/v8`. A platform without a variant means any.
    variants = {"", "v8"} if wanted[2] == "v8" else {wanted[2] or found[2]}
    if found[:2] != wanted[:2] or found[2] not in variants:
        return f"it is for `{excerpt('/'.join(filter(None, found)))}`, expected `{platform}`"
    return None


def described(raw: bytes) -> tuple[str, bool]:
    """Return the platform of an image by its config, and whether it has ONBUILD triggers; raises ValueError."""
    value = object_of(raw)
    settings = value.get("config") or {}
    if not isinstance(settings, dict):
        raise ValueError("`config` is no object")
    platform = "/".join(filter(None, (_text(value, name) for name in ("os", "architecture", "variant"))))
    return platform, bool(_words(settings, "OnBuild"))


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return a document as JSON without blanks, its fields in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _diff_ids(value: Mapping[str, Any]) -> tuple[str, ...]:
    rootfs = value.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise ValueError("`rootfs` is no list of layers")
    found = list_of(rootfs, "diff_ids", str)
    if not all(map(is_digest, found)):
        raise ValueError("`diff_ids` has an entry that is not a digest")
    return tuple(found)


def _document(settings: Settings) -> dict[str, Any]:
    """Return settings as a config has them; what is empty is left out."""
    probe = settings.healthcheck
    durations = {name: probe.durations[name] for name in _HEALTHCHECK if probe.durations.get(name)} if probe else {}
    found = {
        "User": settings.user,
        "ExposedPorts": {port: {} for port in sorted(settings.ports)},
        "Env": [f"{name}={value}" for name, value in settings.environment.items()],
        "Entrypoint": list(settings.entrypoint),
        "Cmd": list(settings.command),
        "Volumes": {path: {} for path in sorted(settings.volumes)},
        "WorkingDir": settings.workdir,
        "Labels": dict(sorted(settings.labels.items())),
        "StopSignal": settings.stop_signal,
        "ArgsEscaped": settings.words_apart,
        "OnBuild": list(settings.triggers),
        "Shell": list(settings.shell),
    }
    if probe:
        test = {"Test": list(probe.test)} if probe.test else {}
        found["Healthcheck"] = {**test, **durations, **({"Retries": probe.retries} if probe.retries else {})}
    return {name: value for name, value in found.items() if value or name == "Healthcheck"}


def _settings(value: Mapping[str, Any]) -> Settings:
    _only(value, _SETTINGS, "`config`")
    escaped = value.get("ArgsEscaped")
    if not isinstance(escaped, bool | None):
        raise ValueError("`ArgsEscaped` is neither true nor false")
    labels = texts_of(value, "Labels")
    _printable("Labels", *labels, *labels.values())
    return Settings(
        user=_text(value, "User"),
        ports=_names(value, "ExposedPorts", _is_port),
        environment=_environment(_words(value, "Env")),
        entrypoint=_words(value, "Entrypoint"),
        command=_words(value, "Cmd"),
        volumes=_names(value, "Volumes", bool),
        workdir=_text(value, "WorkingDir"),
        labels=labels,
        stop_signal=_text(value, "StopSignal"),
        words_apart=bool(escaped),
        healthcheck=_probe(value.get("Healthcheck")),
        triggers=_words(value, "OnBuild"),
        shell=_words(value, "Shell"),
    )


def _environment(entries: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not name or not equals:
            raise ValueError("`Env` has an entry without a name or a value")
        if name in found:
            raise ValueError("`Env` has a variable twice")
        found[name] = text
    return found


def _probe(value: Any) -> Probe | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("`Healthcheck` is no object")
    _only(value, frozenset({"Test", "Retries", *_HEALTHCHECK}), "`Healthcheck`")
    durations = {name: _number(value, name, _LONGEST) for name in _HEALTHCHECK}
    if any(0 < each < MILLISECOND for each in durations.values()):
        raise ValueError("`Healthcheck` has a time below a millisecond")
    return Probe(test=_words(value, "Test"), durations=durations, retries=_number(value, "Retries", _MOST_RETRIES))


def _has_layer(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of the history says that a layer belongs to it."""
    for name in ("created", "created_by", "author", "comment"):
        _text(entry, name)
    empty = entry.get("empty_layer")
    if not isinstance(empty, bool | None):
        raise ValueError("`empty_layer` is neither true nor false")
    return not empty


def _only(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Raise ValueError for a field that an assembly would drop; one without content changes nothing."""
    if any(content for name, content in value.items() if name not in known):
        raise ValueError(f"{where} has a field that BuildKit does not know")


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str | None):
        raise ValueError(f"`{name}` is no text")
    _printable(name, found or "")
    return found or ""


def _words(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = list_of(value, name, str)
    _printable(name, *found)
    return tuple(found)


def _printable(name: str, *texts: str) -> None:
    if any("\0" in text for text in texts):
        raise ValueError(f"`{name}` has a text that no process can be given")


def _names(value: Mapping[str, Any], name: str, rule: Callable[[str], bool]) -> frozenset[str]:
    found = value.get(name)
    if found is None:
        return frozenset()
    if not isinstance(found, dict) or not all(isinstance(each, dict | None) for each in found.values()):
        raise ValueError(f"`{name}` is no object of objects")
    if not all(map(rule, found)):
        raise ValueError(f"`{name}` has an entry that docker does not take")
    _printable(name, *found)
    return frozenset(found)


def _is_port(text: str) -> bool:
    found = _PORT.fullmatch(text)
    return found is not None and int(found[1]) <= int(found[2] or found[1]) <= 65535


def _number(value: Mapping[str, Any], name: str, most: int) -> int:
    found = value.get(name)
    if found is None:
        return 0
    if type(found) is not int or not 0 <= found <= most:
        raise ValueError(f"`{name}` is no number that docker takes")
    return found
