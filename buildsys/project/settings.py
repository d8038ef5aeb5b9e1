"""What `buildsys.settings.yaml` and the environment say of mirrors, proxies and certificates on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from buildsys.errors import BuildsysError, Diagnostic, Diagnostics, InvalidInput, Location, Unavailable
from buildsys.foreign import json_of
from buildsys.masks import Mask
from buildsys.names import SETTINGS_FILE, secret_variable
from buildsys.oci.reference import prefix_problem
from buildsys.project.files import decoded, lack, read_named
from buildsys.project.git import find_repository
from buildsys.project.secrets import SOURCES, SecretSource, committed_problem, source_problems
from buildsys.project.settings_checks import Problem, credentials_of, download_problem, problem_of, variable_of
from buildsys.project.workspace import PRIVATE, Workspace, find_workspace
from buildsys.recipes.fields import NOTHING, ONE_OR_MORE, TEXT
from buildsys.records.schema import Record, nullable, parse
from buildsys.records.shapes import Converted, Dictionary, Reader
from buildsys.records.source import read
from buildsys.switches import cache_switch
from buildsys.texts import shown
from buildsys.values import dataclass

_PIP = ("index-url", "extra-index-url", "find-links", "trusted-host")
_PROXY = ("http", "https", "no")
_REGISTRIES = ("insecure",)
_KEYS = {"pip": _PIP, "proxy": _PROXY, "registries": _REGISTRIES}
_SECTIONS = ("parents", "downloads", "apt", "pip", "conda", "proxy", "registries")
# What a message of YAML may quote of a file: a misplaced text may be a password.
_HINTS = {"ca": "name a file of certificates", "files": "name a folder with only files for builds"}
_FOUND = re.compile(r"'[^']{2,}' ?|`[^`]*@[^`]*` ?")


_SECRET = secret_variable("")
_TEXTS = Dictionary(TEXT)
_PATH = Converted(TEXT, lambda text: Path(text) if text else None)
Value: TypeAlias = tuple[str, str, int, str]
"""A section, a key, a number in the list of the key, and the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where this machine gets things from; empty where it goes to the original places.

    `parents` maps a registry to its replacement, `downloads` a scheme and host to an address, `apt` a
    codename or `*` to the lines of a sources.list, `pip` an option of pip to its values, `conda` a setting
    such as `channel_alias` to its value, `proxy` one of `http`,
    `https`, `no` to its value, `registries` has under `insecure` those whose certificates are not verified. `ca` is a
    file of certificates, `files` a folder that builds see at `/run/mirrors/files`, `secrets` says where values are.
    """

    parents: Mapping[str, str] = nullable(_TEXTS, NOTHING)
    downloads: Mapping[str, str] = nullable(_TEXTS, NOTHING)
    apt: Mapping[str, tuple[str, ...]] = nullable(Dictionary(ONE_OR_MORE), NOTHING)
    pip: Mapping[str, tuple[str, ...]] = nullable(Dictionary(ONE_OR_MORE, only=_PIP), NOTHING)
    conda: Mapping[str, str] = nullable(_TEXTS, NOTHING)
    proxy: Mapping[str, str] = nullable(Dictionary(TEXT, only=_PROXY), NOTHING)
    registries: Mapping[str, tuple[str, ...]] = nullable(Dictionary(ONE_OR_MORE, only=_REGISTRIES), NOTHING)
    ca: Path | None = nullable(_PATH, None)
    files: Path | None = nullable(_PATH, None)
    secrets: Mapping[str, SecretSource] = nullable(SOURCES, NOTHING)

    @property
    def reaches_builds(self) -> bool:
        """Whether a RUN needs anything of it."""
        return bool(self.apt or self.pip or self.conda or self.proxy or self.ca or self.files)

    @property
    def insecure(self) -> tuple[str, ...]:
        """The registries, as `host[:port]`, that buildsys asks without verification, or by plain HTTP."""
        return self.registries.get("insecure", ())

    def values(self) -> Iterator[Value]:
        """Yield each text."""
        return _values({section: getattr(self, section) for section in _SECTIONS})

    def credentials(self) -> Iterator[tuple[str, str, str]]:
        """Yield the credentials in the addresses, with section and key."""
        for section, key, _, text in self.values():
            for each in credentials_of(section, key, text):
                yield section, key, each


_SETTINGS = Record(Settings, "Settings")


def _values(sections: Mapping[str, Any]) -> Iterator[Value]:
    """Yield the texts of sections, also of some that have other things in them."""
    for section in _SECTIONS:
        entries = sections.get(section)
        for key, value in entries.items() if isinstance(entries, Mapping) else ():
            for index, text in enumerate(value if isinstance(value, (list, tuple)) else (value,)):
                if isinstance(text, str):
                    yield section, key, index, text


def read_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a project: those of its file, or of the one that BUILDSYS_SETTINGS names.

    What the environment says goes before the file, see `with_environment`. Raises `InvalidInput`.
    """
    named = environ.get("BUILDSYS_SETTINGS")
    file = named or SETTINGS_FILE
    path = root / file
    if named and (problem := lack(path, "a file")):
        message = f"`BUILDSYS_SETTINGS` names `{named}`, which {problem}"
        hint = "name a file by a path from the project's folder, or run `unset BUILDSYS_SETTINGS`"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    own, source = Settings(), None
    if (text := _settings_text(root, file)) is not None:
        own, source = parse_settings(text, file, path.parent), read(text, file)
    settings = with_environment(own, environ, root)

    def is_committed() -> bool:
        return _is_committed(root, path, environ)

    diagnostics: list[Diagnostic] = []
    for key, given, said in (("ca", settings.ca, own.ca), ("files", settings.files, own.files)):
        if given is not None:
            location = source.location((key,)) if source and given is said else None
            wrong = tuple(_kind_diagnostics(key, given, location))
            diagnostics += wrong or _path_diagnostics(root, key, given, location, is_committed)
    # What a variable says is used in place of the file's entry.
    for name, secret in ((name, each) for name, each in own.secrets.items() if secret_variable(name) not in environ):
        location, key = source.location(("secrets", name)) if source else None, f"secrets.{name}.file"
        if secret.file is not None:
            wrong = tuple(_kind_diagnostics(key, secret.file, location))
            diagnostics += wrong or _path_diagnostics(root, key, secret.file, location, is_committed)
        elif location:
            diagnostics += committed_problem(name, secret, location, is_committed)
    if diagnostics:
        raise InvalidInput(diagnostics)
    return settings


def mask_of(root: Path, environ: Mapping[str, str]) -> Mask:
    """Return the mask of all credentials that the settings of a project and the environment have.

    It is needed most where something is wrong, so settings that cannot be used are looked at as they are written.
    """
    try:
        text = _settings_text(root, environ.get("BUILDSYS_SETTINGS") or SETTINGS_FILE) or ""
    except InvalidInput:
        text = ""
    try:
        data = read(text, SETTINGS_FILE).data
    except InvalidInput:
        data = None
    texts, tokens, secrets = [text], list[str](), list[str]()
    for section, key, _, value in _values(data) if isinstance(data, dict) else ():
        tokens += credentials_of(section, key, value)
    for name, value in environ.items():
        if name.startswith(_SECRET):
            secrets.append(value)
        if name.startswith("BUILDSYS_"):
            texts.append(value)
        elif name.lower().endswith("_proxy"):
            # Programs take a proxy without a scheme too.
            texts.append(value if "://" in value else f"://{value}")
    # Docker gives the proxies of its own settings to every RUN.
    with contextlib.suppress(InvalidInput):
        texts.append(read_named(docker_config_dir(environ) / "config.json").decode("utf-8", "replace"))
        with contextlib.suppress(ValueError):
            # Docker writes `&` as `\u0026`.
            texts.append(json.dumps(json_of(texts[-1]), ensure_ascii=False))
    return Mask.of_texts(texts, tokens, secrets)


def docker_config_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of docker's settings: `$DOCKER_CONFIG`, else `~/.docker`."""
    # Without a home, as docker itself: it reads nothing then.
    return Path(environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))  # noqa: PTH111


def mask_near(directory: Path | None, environ: Mapping[str, str]) -> Mask:
    """Return the mask of the project that a command works on; without one, that of the environment."""
    try:
        return mask_of(find_workspace(directory).root, environ)
    except BuildsysError:
        return mask_of(Path(os.devnull), environ)


def with_environment(settings: Settings, environ: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings with what the environment says in place of what they said.

    BUILDSYS_PARENTS is `registry=mirror` with spaces between; BUILDSYS_APT has the lines of a sources.list for every
    release, BUILDSYS_APT_<CODENAME> for one, with line ends or `;` between; BUILDSYS_PIP_<OPTION> has pip's option,
    BUILDSYS_PROXY_HTTP, _HTTPS and _NO the proxies; BUILDSYS_REGISTRIES_INSECURE has registries with spaces between;
    BUILDSYS_CA and BUILDSYS_FILES are paths, relative to `folder`.
    Downloads have their bake variables, BUILDSYS_DOWNLOADS_<HOST>. An empty value takes away what the file says.
    Raises `InvalidInput`.
    """
    sections: dict[str, Mapping[str, str | tuple[str, ...]]] = {
        "parents": _parents(environ.get("BUILDSYS_PARENTS", "")),
        "apt": dict(_apt(environ)),
        "pip": {option: tuple(words.split()) for option, words in _given(environ, "pip", _PIP)},
        "proxy": dict(_given(environ, "proxy", _PROXY)),
        "registries": {key: tuple(words.split()) for key, words in _given(environ, "registries", _REGISTRIES)},
    }
    if diagnostics := [*_wrong_downloads(environ), *_wrong_cache(environ), *_wrong_variables(sections)]:
        raise InvalidInput(diagnostics)
    changed: dict[str, Any] = {
        name: MappingProxyType({k: value for k, value in {**getattr(settings, name), **entries}.items() if value})
        for name, entries in sections.items()
    }
    for name, variable in (("ca", "BUILDSYS_CA"), ("files", "BUILDSYS_FILES")):
        if variable in environ:
            changed[name] = folder / environ[variable] if environ[variable] else None
    return replace(settings, **changed)


def _given(environ: Mapping[str, str], section: str, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what the environment says for the keys of a section."""
    for key in keys:
        if (value := environ.get(variable_of(section, key))) is not None:
            yield key, value


def _parents(value: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in value.split()]
    if wrong := ["".join(pair) for pair in pairs if not all(pair)]:
        found = f"`{wrong[0].rstrip('=')}`" if "@" not in wrong[0] else "a word"
        message = f"`BUILDSYS_PARENTS` has {found}, expected `registry=mirror`"
        hint = "write it as `docker.io=mirror.example.com/hub`, with blanks between several"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    return {registry: mirror for registry, _, mirror in pairs}


def _apt(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each release and its lines."""
    for name, value in sorted(environ.items()):
        if name == "BUILDSYS_APT" or name.startswith("BUILDSYS_APT_"):
            lines = [line.strip() for line in value.replace(";", "\n").splitlines()]
            codename = name.removeprefix("BUILDSYS_APT").removeprefix("_").lower() or "*"
            yield codename, tuple(line for line in lines if line)


def _wrong_downloads(environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    for name, value in environ.items():
        if not name.startswith("BUILDSYS_DOWNLOADS_"):
            continue
        if not value:
            # Bake would take the empty text for the address.
            yield Diagnostic(message=f"`{name}` is empty, expected an address", hint=f"run `unset {name}`")
        elif problem := download_problem(value, f"`{name}`"):
            yield _of_variable(f"`{name}`", problem)


def _wrong_cache(environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    if (switch := cache_switch(environ)) not in ("", "0", "1"):
        message = f"`{switch}` is not a value of `BUILDSYS_CACHE_WRITE`, expected `0` or `1`"
        yield Diagnostic(message=message, hint="use `0` to only read the cache")
    value = environ.get("BUILDSYS_CACHE", "")
    if not value or re.fullmatch(r"type=gha|type=local,[^,]+", value):
        return
    found = f"is `{shown(value)}`" if "@" not in value else "cannot be read"
    message = f"`BUILDSYS_CACHE` {found}, expected a repository, `type=local,/folder` or `type=gha`"
    if value.startswith("type="):
        yield Diagnostic(message=message, hint="name a repository such as `registry.example.com/cache`")
    elif problem := prefix_problem(value):
        yield Diagnostic(message=message, hint=problem[1])


def _of_variable(name: str, problem: Problem) -> Diagnostic:
    message = f"{name}: {problem.message}" if name not in problem.message else problem.message
    return Diagnostic(message=message, hint=problem.hint)


def _wrong_variables(sections: Mapping[str, Any]) -> Iterator[Diagnostic]:
    for section, key, _, text in _values(sections):
        name = f"`{variable_of(section, key)}`"
        if text and (problem := problem_of(section, key, text, name)):
            yield _of_variable(name, problem)


def parse_settings(text: str, file: str, folder: Path) -> Settings:
    """Return what a settings file says; paths in it are relative to `folder`. Raises `InvalidInput`."""
    try:
        source = read(text, file)
    except InvalidInput as error:
        # Some messages quote what was found, which may be a value where a key was expected.
        diagnostics = [replace(each, message=_FOUND.sub("", each.message)) for each in error.diagnostics()]
        raise InvalidInput(diagnostics) from error
    diagnostics = Diagnostics()
    settings = parse(source, _SETTINGS, diagnostics)
    reader = Reader(source, diagnostics)
    # Also where the shape of something else is wrong.
    for section, key, index, value in _values(source.data) if isinstance(source.data, dict) else ():
        if key not in _KEYS.get(section, (key,)):
            continue
        name = key.rstrip("/") if section == "downloads" else key
        if problem := problem_of(section, name, value, f"`{section}.{name}`"):
            path = (section, key) if problem.of_key else (section, key, index)
            reader.wrong(problem.message, path, problem.hint, key=problem.of_key)
    for message, place, hint in source_problems(settings.secrets) if settings else ():
        reader.wrong(message, place, hint)
    if diagnostics or settings is None:
        raise InvalidInput(diagnostics)
    downloads = {origin.rstrip("/"): mirror.rstrip("/") for origin, mirror in settings.downloads.items()}
    return replace(
        settings,
        downloads=MappingProxyType(downloads),
        ca=folder / settings.ca if settings.ca else None,
        files=folder / settings.files if settings.files else None,
        secrets=MappingProxyType({name: each.below(folder) for name, each in settings.secrets.items()}),
    )


def _settings_text(root: Path, name: str) -> str | None:
    """Return the text of a settings file, None if there is none; one that is named in the project must not lead out."""
    path = root / name
    workspace = Workspace(root=root)
    if Path(os.path.normpath(path)).is_relative_to(root):
        if path.is_symlink() and not path.exists():
            raise workspace.home.wrong(
                name, f"the symlink `{name}` points to `{path.readlink()}`, which does not exist"
            )
        return workspace.read(name)
    return decoded(read_named(path), str(path))


def _path_diagnostics(
    root: Path, key: str, path: Path, location: Location | None, is_committed: Callable[[], bool]
) -> Iterator[Diagnostic]:
    """Yield what is wrong with a path that `key` of the settings names.

    `location` is where the settings file names it, None if the environment does; `is_committed` says whether git has
    that file. A path in the project must not point outside it; one outside is not taken from a file that is committed.
    """
    real = Path(os.path.realpath(path))
    named = _named(key, path, location)
    if root.is_relative_to(real):
        message = f"{named}, which contains the complete project"
        hint = _HINTS.get(key, "name the file that has the value")
        yield Diagnostic(message=message, location=location, hint=hint)
    elif Path(os.path.normpath(path)).is_relative_to(root):
        if not real.is_relative_to(root):
            message = f"{named}, which points outside the project by a symlink, to `{real}`"
            yield Diagnostic(message=message, location=location, hint=f"name `{real}` itself")
        elif real.relative_to(root).parts[0].casefold() in PRIVATE:
            message = f"{named}, and `{real.relative_to(root)}` is a private file of the project"
            yield Diagnostic(message=message, location=location, hint="name a path with only files for builds")
    elif location is not None and is_committed():
        message = f"{named}, outside of the project, in a file that is committed to git"
        secret = key.removeprefix("secrets.").removesuffix(".file")
        variable = secret_variable(secret) if secret != key else f"BUILDSYS_{key.upper()}"
        name = Path(location.file).name
        hint = f"set `{variable}`, or keep the file out of git: `git rm --cached {name}`"
        yield Diagnostic(message=message, location=location, hint=hint)


def _kind_diagnostics(key: str, path: Path, location: Location | None) -> Iterator[Diagnostic]:
    """Yield what is wrong with what there is at a path that `key` of the settings names, as `_path_diagnostics`."""
    if problem := lack(path, "a folder" if key == "files" else "a file"):
        hint = _HINTS.get(key, "name the file that has the value")
        yield Diagnostic(message=f"{_named(key, path, location)}, which {problem}", location=location, hint=hint)


def _named(key: str, path: Path, location: Location | None) -> str:
    return f"`{key if location else f'BUILDSYS_{key.upper()}'}` names `{path}`"


def _is_committed(root: Path, file: Path, environ: Mapping[str, str]) -> bool:
    """Whether git tracks a file, by its own path or by the one that a symlink leads to; without git nothing does.

    Raises `InvalidInput` where git does not say.
    """
    real = Path(os.path.realpath(root))
    own = Path(os.path.realpath(file.parent), file.name)
    names = {
        each.relative_to(real).as_posix() for each in (own, Path(os.path.realpath(file))) if each.is_relative_to(real)
    }
    if not names:
        return False
    try:
        return find_repository(real, environ).tracks(*sorted(names))
    except Unavailable as error:
        if "not a git repository" in error.message or "not on PATH" in error.message:
            return False
        message = f"git does not report whether `{file.name}` is committed: {error.message.removeprefix('git: ')}"
        hint = f"set `BUILDSYS_CA`, `BUILDSYS_FILES` and `{_SECRET}<ID>` in place of `ca`, `files` and `secrets`"
        raise InvalidInput([Diagnostic(message=message, hint=hint)]) from error
