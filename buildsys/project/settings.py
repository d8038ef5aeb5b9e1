"""What `buildsys.settings.yaml` and the environment say of mirrors, proxies and certificates on this machine."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from buildsys.addresses import IN_HISTORY, NO_CREDENTIALS, credentials_in
from buildsys.config.source import Data, Source, read
from buildsys.errors import BuildsysError, Diagnostic, InvalidInput
from buildsys.masks import Mask
from buildsys.project.files import Home
from buildsys.project.settings_checks import credentials_of, problem_of, variable_of
from buildsys.project.settings_paths import path_diagnostics, settings_text
from buildsys.project.workspace import find_workspace

SETTINGS_FILE = "buildsys.settings.yaml"
_KEYS = ("parents", "downloads", "apt", "pip", "conda", "ca", "files", "proxy", "registries")
_PIP = ("index-url", "extra-index-url", "find-links", "trusted-host")
_PROXY = ("http", "https", "no")
_REGISTRIES = ("insecure",)
_SECTIONS = ("parents", "downloads", "apt", "pip", "conda", "proxy", "registries")
# What a message of YAML may quote of a file, and the keys that are shown though nobody knows them: what stands there by
# mistake may be a password.
_FOUND = re.compile(r"'[^']*' ?|`[^`]*@[^`]*` ?")
_PLAIN = re.compile(r"[\w.*-]{1,40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where this machine gets things from; empty where it goes to the original places.

    `parents` maps a registry to what stands in its place, `downloads` a scheme and host to an address, `apt` a
    codename or `*` to the lines of a sources.list, `pip` an option of pip to its values, `conda` a setting
    such as `channel_alias` to its value, `proxy` one of `http`,
    `https`, `no` to its value, `registries` has under `insecure` those whose certificates are not verified. `ca` is a
    file of certificates, `files` a folder that builds see at `/run/mirrors/files`.
    """

    parents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    downloads: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    apt: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    pip: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conda: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    proxy: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    registries: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    ca: Path | None = None
    files: Path | None = None

    @property
    def reaches_builds(self) -> bool:
        """Whether anything of it must be told to a RUN."""
        return bool(self.apt or self.pip or self.conda or self.proxy or self.ca or self.files)

    @property
    def insecure(self) -> tuple[str, ...]:
        """The registries, as `host[:port]`, that buildsys asks without verification, or by plain HTTP."""
        return self.registries.get("insecure", ())

    def values(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield each text: its section, its key, its number in the list of a key, itself."""
        for section in _SECTIONS:
            for key, value in getattr(self, section).items():
                for index, text in enumerate((value,) if isinstance(value, str) else value):
                    yield section, key, index, text

    def credentials(self) -> Iterator[tuple[str, str, str]]:
        """Yield the credentials in the addresses, with section and key."""
        for section, key, _, text in self.values():
            for each in credentials_of(section, key, text):
                yield section, key, each


def read_settings(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a project: those of its file, or of the one that BUILDSYS_SETTINGS names.

    What the environment says goes before the file, see `with_environment`. Raises `InvalidInput` with every mistake.
    """
    named = environ.get("BUILDSYS_SETTINGS")
    shown = named or SETTINGS_FILE
    path = root / shown
    if named and not path.is_file():
        message = f"BUILDSYS_SETTINGS names `{named}`, which does not exist"
        raise InvalidInput([Diagnostic(message=message)])
    own, source = Settings(), None
    if (text := settings_text(root, shown)) is not None:
        own, source = parse_settings(text, shown, path.parent), read(text, shown)
    settings = with_environment(own, environ, root)
    diagnostics = []
    if settings.ca is not None and not settings.ca.is_file():
        diagnostics.append(Diagnostic(message=f"`ca` names `{settings.ca}`, which is not a file"))
    if settings.files is not None and not settings.files.is_dir():
        diagnostics.append(Diagnostic(message=f"`files` names `{settings.files}`, which is not a folder"))
    for key, given, said in (("ca", settings.ca, own.ca), ("files", settings.files, own.files)):
        if given is not None:
            location = source.location((key,)) if source and given is said else None
            diagnostics += path_diagnostics(root, key, given, path if location else None, location)
    if diagnostics:
        raise InvalidInput(diagnostics)
    return settings


def mask_of(root: Path, environ: Mapping[str, str] = os.environ) -> Mask:
    """Return the mask of all credentials that the settings of a project and the environment have.

    It is needed most where something is wrong, so settings that cannot be used are looked at as they stand there.
    """
    try:
        text = settings_text(root, environ.get("BUILDSYS_SETTINGS") or SETTINGS_FILE) or ""
    except InvalidInput:
        text = ""
    texts, tokens = [text], list[str]()
    try:
        settings = parse_settings(text, SETTINGS_FILE, root, checked=False)
    except InvalidInput:
        settings = Settings()
    for section, key, _, value in settings.values():
        tokens += credentials_of(section, key, value)
    for name, value in environ.items():
        if name.startswith("BUILDSYS_"):
            texts.append(value)
        elif name.lower().endswith("_proxy"):
            # Programs take a proxy without a scheme too.
            texts.append(value if "://" in value else f"://{value}")
    # Docker gives the proxies of its own settings to every RUN.
    with contextlib.suppress(InvalidInput):
        texts.append((Home(root=docker_config_dir(environ)).read("config.json") or b"").decode("utf-8", "replace"))
    return Mask.of_texts(texts, tokens)


def docker_config_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of docker's settings: `$DOCKER_CONFIG`, else `~/.docker`."""
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def mask_near(directory: Path | None) -> Mask:
    """Return the mask of the project that a command works on; without one, that of the environment."""
    try:
        return mask_of(find_workspace(directory).root)
    except BuildsysError:
        return mask_of(Path(os.devnull))


def with_environment(settings: Settings, environ: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings with what the environment says in place of what they said.

    BUILDSYS_PARENTS is `registry=mirror` with spaces between; BUILDSYS_APT has the lines of a sources.list for every
    release, BUILDSYS_APT_<CODENAME> for one, with line ends or `;` between; BUILDSYS_PIP_<OPTION> has pip's option,
    BUILDSYS_PROXY_HTTP, _HTTPS and _NO the proxies; BUILDSYS_REGISTRIES_INSECURE has registries with spaces between;
    BUILDSYS_CA and BUILDSYS_FILES are paths, relative to `folder`.
    Downloads have their bake variables, BUILDSYS_DOWNLOADS_<HOST>. An empty value takes away what the file says.
    Raises `InvalidInput`.
    """
    parents, apt, pip, proxy = dict[str, str](), dict[str, tuple[str, ...]](), dict[str, tuple[str, ...]](), {}
    downloads = {}
    for name, value in sorted(environ.items()):
        if name == "BUILDSYS_PARENTS":
            pairs = [word.partition("=") for word in value.split()]
            if wrong := ["=".join(pair) for pair in pairs if not all(pair)]:
                found = f"`{wrong[0].rstrip('=')}`" if "@" not in wrong[0] else "a word"
                raise InvalidInput([Diagnostic(message=f"BUILDSYS_PARENTS has {found}, expected `registry=mirror`")])
            parents |= {registry: mirror for registry, _, mirror in pairs}
        elif name == "BUILDSYS_APT" or name.startswith("BUILDSYS_APT_"):
            codename = name.removeprefix("BUILDSYS_APT").removeprefix("_").lower() or "*"
            lines = [line.strip() for line in value.replace(";", "\n").splitlines()]
            apt[codename] = tuple(line for line in lines if line)
        elif name.startswith("BUILDSYS_DOWNLOADS_"):
            downloads[name] = value
    for option in _PIP:
        if (words := environ.get(variable_of("pip", option))) is not None:
            pip[option] = tuple(words.split())
    names = environ.get(variable_of("registries", "insecure"))
    registries = {} if names is None else {"insecure": tuple(names.split())}
    for kind in _PROXY:
        if (address := environ.get(variable_of("proxy", kind))) is not None:
            proxy[kind] = address
    given = Settings(
        parents=parents,
        apt=_filled(apt),
        pip=_filled(pip),
        proxy={k: value for k, value in proxy.items() if value},
        registries=_filled(registries),
    )
    diagnostics = [
        Diagnostic(message=f"{name} {IN_HISTORY}", hint=NO_CREDENTIALS)
        for name, value in downloads.items()
        if any(credentials_in(value))
    ]
    for section, key, _, text in given.values():
        name = variable_of(section, key)
        if problem := problem_of(section, key, text, name):
            message = f"{name}: {problem.message}" if name not in problem.message else problem.message
            diagnostics.append(Diagnostic(message=message, hint=problem.hint))
    if diagnostics:
        raise InvalidInput(diagnostics)
    ca, files = environ.get("BUILDSYS_CA"), environ.get("BUILDSYS_FILES")
    return replace(
        settings,
        parents=MappingProxyType({**settings.parents, **parents}),
        apt=_filled({**settings.apt, **apt}),
        pip=_filled({**settings.pip, **pip}),
        proxy=MappingProxyType({kind: value for kind, value in {**settings.proxy, **proxy}.items() if value}),
        registries=_filled({**settings.registries, **registries}),
        ca=settings.ca if ca is None else _path(folder, ca),
        files=settings.files if files is None else _path(folder, files),
    )


def _filled(lists: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({key: values for key, values in lists.items() if values})


def parse_settings(text: str, file: str, folder: Path, *, checked: bool = True) -> Settings:
    """Return what a settings file says; paths in it are relative to `folder`.

    Raises `InvalidInput`; what is not `checked` may hold values that cannot be used.
    """
    try:
        source = read(text, file)
    except InvalidInput as error:
        # Some messages quote what was found, which may be a value where a key was expected.
        diagnostics = [replace(each, message=_FOUND.sub("", each.message)) for each in error.diagnostics()]
        raise InvalidInput(diagnostics) from error
    reader = _Reader(source=source, diagnostics=[])
    reader.mapping((), _KEYS)
    settings = Settings(
        parents=reader.texts(("parents",)),
        downloads=MappingProxyType({k.rstrip("/"): v.rstrip("/") for k, v in reader.texts(("downloads",)).items()}),
        apt=reader.lists(("apt",)),
        pip=reader.lists(("pip",), _PIP),
        conda=reader.texts(("conda",)),
        proxy=reader.texts(("proxy",), _PROXY),
        registries=reader.lists(("registries",), _REGISTRIES),
        ca=_path(folder, reader.text("ca")),
        files=_path(folder, reader.text("files")),
    )
    if checked:
        for section, key, index, value in settings.values():
            if problem := problem_of(section, key, value, f"`{section}.{key}`"):
                reader.wrong(problem.message, (section, key, index), problem.hint, key=problem.of_key)
        if reader.diagnostics:
            raise InvalidInput(reader.diagnostics)
    return settings


def _path(folder: Path, name: str) -> Path | None:
    return folder / name if name else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    source: Source
    diagnostics: list[Diagnostic]

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
                shown = f" `{key}`" if _PLAIN.fullmatch(key) else ""
                self.wrong(f"unknown key{shown}", (*path, key), hint, key=True)
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

    def wrong(self, message: str, path: tuple[str | int, ...], hint: str | None = None, *, key: bool = False) -> None:
        location = self.source.key_location(path[:2]) if key else self.source.location(path)
        self.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
