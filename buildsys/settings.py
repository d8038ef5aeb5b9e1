"""What `buildsys.settings.yaml` and the environment say of mirrors, proxies and certificates on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from buildsys.errors import InvalidInput, Mistake
from buildsys.settings_paths import path_mistakes, settings_text
from buildsys.source import Data, Source, read

SETTINGS_FILE = "buildsys.settings.yaml"
_KEYS = ("parents", "downloads", "apt", "pip", "conda", "ca", "files", "proxy")
_PIP = ("index-url", "extra-index-url", "find-links", "trusted-host")
_PROXY = ("http", "https", "no")
_ORIGIN = re.compile(r"https?://[^/\s]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where this machine gets things from; empty where it goes to the original places.

    `parents` maps a registry to what stands in its place, `downloads` a scheme and host to an address, `apt` a
    codename or `*` to the lines of a sources.list, `pip` an option of pip to its values, `conda` a setting
    such as `channel_alias` to its value, `proxy` one of `http`,
    `https`, `no` to its value. `ca` is a file of certificates, `files` a folder that builds see at
    `/run/mirrors/files`.
    """

    parents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    downloads: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    apt: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    pip: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conda: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    proxy: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ca: Path | None = None
    files: Path | None = None

    @property
    def reaches_builds(self) -> bool:
        """Whether anything of it must be told to a RUN."""
        return bool(self.apt or self.pip or self.conda or self.proxy or self.ca or self.files)


def read_settings(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a project: those of its file, or of the one that BUILDSYS_SETTINGS names.

    What the environment says goes before the file, see `with_environment`. Raises `InvalidInput` with every mistake.
    """
    named = environ.get("BUILDSYS_SETTINGS")
    shown = named or SETTINGS_FILE
    path = root / shown
    if named and not path.is_file():
        message = f"BUILDSYS_SETTINGS names `{named}`, which does not exist"
        raise InvalidInput([Mistake(message=message)])
    own, source = Settings(), None
    if (text := settings_text(root, shown)) is not None:
        own, source = parse_settings(text, shown, path.parent), read(text, shown)
    settings = with_environment(own, environ, root)
    mistakes = []
    if settings.ca is not None and not settings.ca.is_file():
        mistakes.append(Mistake(message=f"`ca` names `{settings.ca}`, which is not a file"))
    if settings.files is not None and not settings.files.is_dir():
        mistakes.append(Mistake(message=f"`files` names `{settings.files}`, which is not a folder"))
    for key, given, said in (("ca", settings.ca, own.ca), ("files", settings.files, own.files)):
        if given is not None:
            place = source.place((key,)) if source and given is said else None
            mistakes += path_mistakes(root, key, given, path if place else None, place)
    if mistakes:
        raise InvalidInput(mistakes)
    return settings


def with_environment(settings: Settings, environ: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings with what the environment says in place of what they said.

    BUILDSYS_PARENTS is `registry=mirror` with spaces between; BUILDSYS_APT has the lines of a sources.list for every
    release, BUILDSYS_APT_<CODENAME> for one, with line ends or `;` between; BUILDSYS_PIP_<OPTION> has pip's option,
    BUILDSYS_PROXY_HTTP, _HTTPS and _NO the proxies; BUILDSYS_CA and BUILDSYS_FILES are paths, relative to `folder`.
    Downloads have their bake variables, BUILDSYS_DOWNLOADS_<HOST>. An empty value takes away what the file says.
    Raises `InvalidInput`.
    """
    parents, apt = dict(settings.parents), dict(settings.apt)
    pip, proxy = dict(settings.pip), dict(settings.proxy)
    for name, value in sorted(environ.items()):
        if name == "BUILDSYS_PARENTS":
            pairs = [word.partition("=") for word in value.split()]
            if wrong := [registry for registry, equals, mirror in pairs if not (registry and equals and mirror)]:
                message = f"BUILDSYS_PARENTS has `{wrong[0]}`, expected `registry=mirror`"
                raise InvalidInput([Mistake(message=message)])
            parents |= {registry: mirror for registry, _, mirror in pairs}
        elif name == "BUILDSYS_APT" or name.startswith("BUILDSYS_APT_"):
            codename = name.removeprefix("BUILDSYS_APT").removeprefix("_").lower() or "*"
            lines = [line.strip() for line in value.replace(";", "\n").splitlines()]
            apt[codename] = tuple(line for line in lines if line)
    for option in _PIP:
        if (words := environ.get(f"BUILDSYS_PIP_{option.upper().replace('-', '_')}")) is not None:
            pip[option] = tuple(words.split())
    for kind in _PROXY:
        if (address := environ.get(f"BUILDSYS_PROXY_{kind.upper()}")) is not None:
            proxy[kind] = address
    ca, files = environ.get("BUILDSYS_CA"), environ.get("BUILDSYS_FILES")
    return replace(
        settings,
        parents=MappingProxyType(parents),
        apt=MappingProxyType({codename: lines for codename, lines in apt.items() if lines}),
        pip=MappingProxyType({option: values for option, values in pip.items() if values}),
        proxy=MappingProxyType({kind: value for kind, value in proxy.items() if value}),
        ca=settings.ca if ca is None else _path(folder, ca),
        files=settings.files if files is None else _path(folder, files),
    )


def parse_settings(text: str, file: str, folder: Path) -> Settings:
    """Return what a settings file says; paths in it are relative to `folder`."""
    source = read(text, file)
    reader = _Reader(source=source, mistakes=[])
    reader.mapping((), _KEYS)
    settings = Settings(
        parents=reader.texts(("parents",)),
        downloads=MappingProxyType({k.rstrip("/"): v.rstrip("/") for k, v in reader.texts(("downloads",)).items()}),
        apt=reader.lists(("apt",)),
        pip=reader.lists(("pip",), _PIP),
        conda=reader.texts(("conda",)),
        proxy=reader.texts(("proxy",), _PROXY),
        ca=_path(folder, reader.text("ca")),
        files=_path(folder, reader.text("files")),
    )
    for origin, mirror in settings.downloads.items():
        if not _ORIGIN.fullmatch(origin):
            hint = "write scheme and host alone, such as `https://example.com`"
            reader.wrong(f"`{origin}` is not where downloads come from", ("downloads", origin), hint, key=True)
        if "://" not in mirror:
            reader.wrong(
                f"`{mirror}` is not an address", ("downloads", origin), "begin it with `https://` or `http://`"
            )
    for registry, mirror in settings.parents.items():
        if "://" in mirror:
            hint = "a mirror of images is a registry and a path, without a scheme"
            reader.wrong(f"`{mirror}` cannot be a part of an image's name", ("parents", registry), hint)
    if reader.mistakes:
        raise InvalidInput(reader.mistakes)
    return settings


def _path(folder: Path, name: str) -> Path | None:
    return folder / name if name else None


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
            self.wrong(f"`{path[-1]}` is not a mapping" if path else "the file is not a mapping", path)
            return {}
        for key in value:
            if keys and key not in keys:
                near = get_close_matches(key, keys, 1)
                known = ", ".join(f"`{each}`" for each in keys)
                hint = f"did you mean `{near[0]}`?" if near else f"known are {known}"
                self.wrong(f"unknown key `{key}`", (*path, key), hint, key=True)
        return value

    def text(self, key: str) -> str:
        value = self.mapping(()).get(key)
        if value is not None and not isinstance(value, str):
            self.wrong(f"`{key}` is not a text", (key,))
            return ""
        return value or ""

    def texts(self, path: tuple[str, ...], keys: tuple[str, ...] = ()) -> Mapping[str, str]:
        found = {}
        for key, value in self.mapping(path, keys).items():
            if isinstance(value, str):
                found[key] = value
            else:
                self.wrong(f"`{key}` is not a text", (*path, key))
        return MappingProxyType(found)

    def lists(self, path: tuple[str, ...], keys: tuple[str, ...] = ()) -> Mapping[str, tuple[str, ...]]:
        found = {}
        for key, value in self.mapping(path, keys).items():
            words = [value] if isinstance(value, str) else value
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                found[key] = tuple(str(word) for word in words)
            else:
                self.wrong(f"`{key}` is not a text or a list of texts", (*path, key))
        return MappingProxyType(found)

    def wrong(self, message: str, path: tuple[str, ...], hint: str | None = None, *, key: bool = False) -> None:
        place = self.source.key_place(path) if key else self.source.place(path)
        self.mistakes.append(Mistake(message=message, place=place, hint=hint))
