"""What `buildsys.settings.yaml` and the environment say of mirrors, proxies and certificates on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from buildsys.errors import InvalidInput, Mistake, Place
from buildsys.source import Data, Source, read

SETTINGS_FILE = "buildsys.settings.yaml"
_KEYS = ("parents", "downloads", "apt", "pip", "ca", "files", "proxy")
_PIP = ("index-url", "extra-index-url", "find-links", "trusted-host")
_PROXY = ("http", "https", "no")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where this machine gets things from; empty where it goes to the original places.

    `parents` maps a registry to what stands in its place, `downloads` a scheme and host to an address, `apt` a
    codename or `*` to the lines of a sources.list, `pip` an option of pip to its values, `proxy` one of `http`,
    `https`, `no` to its value. `ca` is a file of certificates, `files` a folder that builds see at
    `/run/mirrors/files`.
    """

    parents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    downloads: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    apt: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    pip: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    proxy: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ca: Path | None = None
    files: Path | None = None

    @property
    def reaches_builds(self) -> bool:
        """Whether anything of it must be told to a RUN."""
        return bool(self.apt or self.pip or self.proxy or self.ca or self.files)


def read_settings(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a project: those of its file, or of the one that BUILDSYS_SETTINGS names.

    The environment goes before the file: BUILDSYS_PIP_INDEX_URL for the Python package index, BUILDSYS_CA for the
    certificates. Raises `InvalidInput` with every mistake.
    """
    named = environ.get("BUILDSYS_SETTINGS")
    path = root / (named or SETTINGS_FILE)
    if named and not path.is_file():
        message = f"BUILDSYS_SETTINGS names `{named}`, which does not exist"
        raise InvalidInput([Mistake(message=message)])
    settings = Settings()
    if path.is_file():
        settings = parse_settings(path.read_text(encoding="utf-8"), named or SETTINGS_FILE, path.parent)
    if index := environ.get("BUILDSYS_PIP_INDEX_URL"):
        settings = replace(settings, pip=MappingProxyType({**settings.pip, "index-url": (index,)}))
    if ca := environ.get("BUILDSYS_CA"):
        settings = replace(settings, ca=Path(ca))
    for what, found in (("ca", settings.ca), ("files", settings.files)):
        if found is not None and not found.exists():
            raise InvalidInput([Mistake(message=f"`{what}` names `{found}`, which does not exist")])
    return settings


def parse_settings(text: str, file: str, folder: Path) -> Settings:
    """Return what a settings file says; paths in it are relative to `folder`."""
    source = read(text, file)
    reader = _Reader(source=source, mistakes=[])
    data = reader.mapping((), _KEYS)
    settings = Settings(
        parents=reader.texts(("parents",)),
        downloads=MappingProxyType({k.rstrip("/"): v.rstrip("/") for k, v in reader.texts(("downloads",)).items()}),
        apt=reader.lists(("apt",)),
        pip=reader.lists(("pip",), _PIP),
        proxy=reader.texts(("proxy",), _PROXY),
        ca=folder / str(data["ca"]) if data.get("ca") else None,
        files=folder / str(data["files"]) if data.get("files") else None,
    )
    if reader.mistakes:
        raise InvalidInput(reader.mistakes)
    return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    source: Source
    mistakes: list[Mistake]

    def mapping(self, path: tuple[str, ...], keys: tuple[str, ...] = ()) -> Mapping[str, Data]:
        value: Data = self.source.data
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._wrong("expected a mapping", self.source.place(path))
            return {}
        for key in value:
            if keys and key not in keys:
                known = ", ".join(f"`{each}`" for each in keys)
                place = self.source.key_place((*path, key))
                self._wrong(f"unknown key `{key}`", place, f"known are {known}")
        return value

    def texts(self, path: tuple[str, ...], keys: tuple[str, ...] = ()) -> Mapping[str, str]:
        found = {}
        for key, value in self.mapping(path, keys).items():
            if isinstance(value, str):
                found[key] = value
            else:
                self._wrong(f"`{key}` is not a text", self.source.place((*path, key)))
        return MappingProxyType(found)

    def lists(self, path: tuple[str, ...], keys: tuple[str, ...] = ()) -> Mapping[str, tuple[str, ...]]:
        found = {}
        for key, value in self.mapping(path, keys).items():
            words = [value] if isinstance(value, str) else value
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                found[key] = tuple(str(word) for word in words)
            else:
                self._wrong(f"`{key}` is not a text or a list of texts", self.source.place((*path, key)))
        return MappingProxyType(found)

    def _wrong(self, message: str, place: Place, hint: str | None = None) -> None:
        self.mistakes.append(Mistake(message=message, place=place, hint=hint))
