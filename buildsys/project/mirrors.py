"""Settings become the folder that builds see at `/run/mirrors`, a secret beside it, and bake variables that differ."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.names import MIRRORS_SECRET, STATE_FOLDER, TIMES
from buildsys.oci.reference import split_host
from buildsys.project.files import is_there, read_named
from buildsys.project.settings import Settings
from buildsys.project.state import State
from buildsys.switches import writes_caches

CONTEXT = f"{STATE_FOLDER}/mirrors"
_INSIDE = "/run/mirrors"
# Where BuildKit puts the secret, unless a mount says otherwise.
_SECRET = f"/run/secrets/{MIRRORS_SECRET}"
# A memory file system of each RUN's own, so that no layer and no cache gets what is written there (BuildKit 0.25).
_MEMORY = "/dev/shm"
_USE_SECRET = f"""\
if [ -s {_SECRET} ]; then
    . {_SECRET}
else
    echo 'buildsys: this RUN does not get the credentials of mirrors: add --mount=type=secret,id={MIRRORS_SECRET}' >&2
    exit 1
fi"""
_NEED_MEMORY = f"""\
if ! (while read -r a b c d; do [ "$b $c" != "{_MEMORY} tmpfs" ] || exit 0; done </proc/mounts; exit 1); then
    echo 'buildsys: {_MEMORY} is not in memory, and an image would keep the credentials of mirrors' >&2
    exit 1
fi"""
# Every name under which a program that a layer runs looks for a bundle of certificates.
_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CONDA_SSL_VERIFY",
)
# Without the dot that some begin with.
_PRIVATE_NAMES = frozenset({"netrc", "auth.conf", "pypirc", "npmrc", "pgpass", "git-credentials", "config.json"})
# What uv calls the options of pip, whose files it does not read, and what separates several values.
_UV_VARIABLES = (
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("trusted-host", "UV_INSECURE_HOST", " "),
)


def refuse_cache(settings: Settings, environ: Mapping[str, str], overrides: Collection[str] = ()) -> None:
    """Raise `InvalidInput` where BuildKit's cache would be written beside private files in `files` of the settings.

    A cache holds what a RUN mounts as layers of their own, that folder too, and others read it. Credentials of mirrors
    are a secret, which no cache holds. `overrides` are values of `--set`.
    """
    written = writes_caches(environ)
    named = [each for each in overrides if "cache-to" in each.partition("=")[0] and each.partition("=")[2]]
    if not (written or named) or settings.files is None or not has_private_files(settings.files):
        return
    name = "BUILDSYS_FILES" if "BUILDSYS_FILES" in environ else "`files`"
    cache = "BUILDSYS_CACHE is set" if written else "`--set` writes a cache"
    message = f"{cache}, and the private files in {name} would be readable in that cache"
    hint = "remove the private files, or use no cache"
    if written:
        hint = "set BUILDSYS_CACHE_WRITE=0, which only reads the cache, or run `unset BUILDSYS_CACHE`"
    raise InvalidInput([Diagnostic(message=message, hint=hint)])


def has_private_files(folder: Path) -> bool:
    """Return whether a folder holds what is kept from others: by its mode, or by a name that programs know."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return any(not path.stat().st_mode & 0o004 or path.name.lstrip(".") in _PRIVATE_NAMES for path in found)


def mirror_files(settings: Settings, *, ca: bytes | None = None) -> Mapping[str, bytes]:
    """Return the files of the context folder by name, without credentials; `ca` is the content of the bundle."""
    found = _collected(settings, has_ca=ca is not None)
    script = ["# Written by buildsys out of the settings of this machine; sourced by RUN steps, in no image."]
    # A bake file of an earlier buildsys has no such script.
    script += [f"[ ! -f {TIMES} ] || . {TIMES}", *found.script, *([_USE_SECRET] if found.secret else []), ":", ""]
    certificates = {} if ca is None else {"ca.crt": ca}
    return MappingProxyType({**certificates, **found.files, "use": "\n".join(script).encode()})


def mirrors_secret(settings: Settings) -> str:
    """Return the script that gives RUN steps all settings with credentials; empty if there are none."""
    found = _collected(settings, has_ca=False).secret
    return "\n".join([*found, ":", ""]) if found else ""


class _Collected:
    """What RUN steps get: lines of the script `use`, the files beside it, and lines of the secret."""

    def __init__(self) -> None:
        self.script: list[str] = []
        self.files: dict[str, bytes] = {}
        self.secret: list[str] = []

    def export(self, name: str, value: str, *, secret: bool = False) -> None:
        """Add a variable."""
        (self.secret if secret else self.script).append(f"export {name}={shlex.quote(value)}")

    def file(self, name: str, lines: Iterable[str], *, secret: bool = False) -> str:
        """Add a file, and return its path in a RUN."""
        text = "".join(f"{line}\n" for line in lines)
        if not secret:
            self.files[name] = text.encode()
            return f"{_INSIDE}/{name}"
        path = f"{_MEMORY}/buildsys-{name.replace('/', '-')}"
        if _NEED_MEMORY not in self.secret:
            self.secret.insert(0, _NEED_MEMORY)
        self.secret.append(f"(umask 077 && printf %s {shlex.quote(text)} >{shlex.quote(path)})")
        return path


def _collected(settings: Settings, *, has_ca: bool) -> _Collected:
    found = _Collected()
    private = {(section, key) for section, key, _ in settings.credentials()}
    for name in _CA_VARIABLES if has_ca else ():
        found.export(name, f"{_INSIDE}/ca.crt")
    if settings.pip:
        options = ["[global]"]
        for option, values in sorted(settings.pip.items()):
            # pip takes a line end into a single value, so only lists are on lines of their own.
            single = len(values) == 1
            options += [f"{option} = {values[0]}"] if single else [f"{option} =", *(f"    {v}" for v in values)]
        path = found.file("pip.conf", options, secret=any(section == "pip" for section, _ in private))
        found.export("PIP_CONFIG_FILE", path)
        for option, variable, joint in _UV_VARIABLES:
            if option in settings.pip:
                value = joint.join(settings.pip[option])
                found.export(variable, value, secret=("pip", option) in private)
    for key, value in sorted(settings.conda.items()):
        found.export(f"CONDA_{key.upper()}", value, secret=("conda", key) in private)
    for kind, value in sorted(settings.proxy.items()):
        # Programs disagree on the case: curl reads `http_proxy` in lower case alone.
        for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY"):
            found.export(name, value, secret=("proxy", kind) in private)
    _collect_apt(settings, found, {key for section, key in private if section == "apt"}, has_ca=has_ca)
    return found


def _collect_apt(settings: Settings, found: _Collected, private: Collection[str], *, has_ca: bool) -> None:
    """Add the lists and configurations of apt; where only certificates are set, the image's own lists stay."""
    common = [f'Acquire::https::CAInfo "{_INSIDE}/ca.crt";'] if has_ca else []
    if not (common or settings.apt):
        return
    if common:
        found.file("apt/any.conf", common)
    for codename, lines in sorted(settings.apt.items()):
        name = "any" if codename == "*" else codename
        path = found.file(f"apt/{name}.list", lines, secret=codename in private)
        configuration = [
            f'Dir::Etc::SourceList "{path}";',
            'Dir::Etc::SourceParts "/dev/null";',
            # The context belongs to root, so a sandboxed reader of a `file:` repository would not get in.
            'APT::Sandbox::User "root";',
        ]
        found.file(f"apt/{name}.conf", [*configuration, *common])
    found.script += [
        'for each in "$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")" any; do',
        f'    if [ -f "{_INSIDE}/apt/$each.conf" ]; then',
        f'        export APT_CONFIG="{_INSIDE}/apt/$each.conf"',
        "        break",
        "    fi",
        "done",
    ]


def write_mirrors(settings: Settings, root: Path) -> str:
    """Write the context folder of a project and return its path below `root`; where builds need none, return "".

    Raises `InvalidInput` for symlinks in the folder, or which leave the folder of files that the settings name.
    """
    state = State(root)
    if not settings.reaches_builds:
        if is_there(root / CONTEXT):
            # What an earlier setting put there may be a credential.
            with state.locked():
                state.fill(CONTEXT, {})
        return ""
    ca = None
    if settings.ca is not None:
        ca = read_named(settings.ca)
    files = mirror_files(settings, ca=ca)
    kept = () if settings.files is None else ("files",)
    # Two commands may do so at once, and a build of another may be reading.
    with state.locked():
        state.fill(CONTEXT, files, kept=kept)
        if settings.files is not None:
            state.copy(settings.files, f"{CONTEXT}/files")
    return CONTEXT


def mirrored_variables(
    settings: Settings, *, origins: Mapping[str, str], parents: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the bake variables that the settings change: of download origins and of parent images."""
    found = {}
    for variable, origin in origins.items():
        if mirror := settings.downloads.get(origin):
            found[variable] = mirror
    for variable, reference in parents.items():
        mirrored = mirrored_reference(reference, settings)
        if mirrored != reference:
            found[variable] = mirrored
    return found


def mirrored_reference(reference: str, settings: Settings) -> str:
    """Return an image reference with its registry replaced by the mirror that the settings name."""
    host, path = split_host(reference)
    mirror = settings.parents.get(host)
    return f"{mirror.rstrip('/')}/{path}" if mirror else reference
