"""Settings become the folder that builds see at `/run/mirrors`, and the bake variables that differ."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.masks import Mask
from buildsys.names import STATE_FOLDER
from buildsys.oci.reference import split_host
from buildsys.project.files import read_named
from buildsys.project.settings import Settings
from buildsys.project.settings_checks import variable_of
from buildsys.project.state import State
from buildsys.switches import writes_caches

CONTEXT = f"{STATE_FOLDER}/mirrors"
# The bytes of `mirrors/use` as this project has it: equal bytes find each other's caches.
IDLE = b"""\
# Sourced by every RUN that talks to a package source; it says which mirrors, proxy and certificates to use.
# This one says nothing: the sources of the parent image are used. `buildsys bake` puts another in its place
# where `buildsys.settings.yaml` names mirrors; nothing of it stays in an image.
:
"""
_INSIDE = "/run/mirrors"
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
    """Raise `InvalidInput` where BuildKit's cache would be written beside credentials in the settings.

    A cache holds what a RUN mounts as layers of their own, the mirrors' folder too, and others read it. `overrides`
    are values of `--set`.
    """
    written = writes_caches(environ)
    named = [each for each in overrides if "cache-to" in each.partition("=")[0] and each.partition("=")[2]]
    if not (written or named):
        return
    names = []
    for section, key in dict.fromkeys((section, key) for section, key, _ in settings.credentials()):
        variable = variable_of(section, key)
        names.append(variable if variable in environ else f"`{section}.{key}`")
    if settings.files is not None and has_private_files(settings.files):
        names.append("BUILDSYS_FILES" if "BUILDSYS_FILES" in environ else "`files`")
    if not names:
        return
    cache = "BUILDSYS_CACHE is set" if written else "`--set` writes a cache"
    message = f"{cache}, and the credentials in {' and '.join(names)} would be readable in that cache"
    hint = "use mirrors without credentials, or no cache"
    if written:
        hint = "set BUILDSYS_CACHE_WRITE=0, which only reads the cache, or run `unset BUILDSYS_CACHE`"
    raise InvalidInput([Diagnostic(message=message, hint=hint)])


def has_private_files(folder: Path) -> bool:
    """Return whether a folder holds what is kept from others: by its mode, or by a name that programs know."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return any(not path.stat().st_mode & 0o004 or path.name.lstrip(".") in _PRIVATE_NAMES for path in found)


def mirror_files(settings: Settings, *, ca: bytes | None = None) -> Mapping[str, bytes]:
    """Return the files of the context folder by name; `ca` is the content of the bundle."""
    exports: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    if ca is not None:
        files["ca.crt"] = ca
        exports += [(name, f"{_INSIDE}/ca.crt") for name in _CA_VARIABLES]
    if settings.pip:
        options = ["[global]"]
        for option, values in sorted(settings.pip.items()):
            # pip takes a line end into a single value, so only lists are on lines of their own.
            single = len(values) == 1
            options += [f"{option} = {values[0]}"] if single else [f"{option} =", *(f"    {v}" for v in values)]
        files["pip.conf"] = "".join(f"{line}\n" for line in options).encode()
        exports.append(("PIP_CONFIG_FILE", f"{_INSIDE}/pip.conf"))
        exports += [
            (variable, joint.join(settings.pip[option]))
            for option, variable, joint in _UV_VARIABLES
            if option in settings.pip
        ]
    exports += [(f"CONDA_{key.upper()}", value) for key, value in sorted(settings.conda.items())]
    for kind, value in sorted(settings.proxy.items()):
        # Programs disagree on the case: curl reads `http_proxy` in lower case alone.
        exports += [(f"{kind}_proxy", value), (f"{kind.upper()}_PROXY", value)]
    script = [
        "# Written by buildsys out of the settings of this machine; sourced by RUN steps, in no image.",
        *(f"export {name}={shlex.quote(value)}" for name, value in exports),
    ]
    apt = _apt_files(settings, has_ca=ca is not None)
    files |= apt
    if apt:
        script += [
            'for each in "$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")" any; do',
            f'    if [ -f "{_INSIDE}/apt/$each.conf" ]; then',
            f'        export APT_CONFIG="{_INSIDE}/apt/$each.conf"',
            "        break",
            "    fi",
            "done",
        ]
    files["use"] = ("\n".join([*script, ":"]) + "\n").encode()
    return MappingProxyType(files)


def _apt_files(settings: Settings, *, has_ca: bool) -> dict[str, bytes]:
    """Return the lists and configurations of apt; where only certificates are set, the image's own lists stay."""
    common = f'Acquire::https::CAInfo "{_INSIDE}/ca.crt";\n' if has_ca else ""
    files = {"apt/any.conf": common.encode()} if common else {}
    for codename, lines in sorted(settings.apt.items()):
        name = "any" if codename == "*" else codename
        files[f"apt/{name}.list"] = "".join(f"{line}\n" for line in lines).encode()
        configuration = (
            f'Dir::Etc::SourceList "{_INSIDE}/apt/{name}.list";\n'
            'Dir::Etc::SourceParts "/dev/null";\n'
            # The context belongs to root, so a sandboxed reader of a `file:` repository would not get in.
            'APT::Sandbox::User "root";\n'
        )
        files[f"apt/{name}.conf"] = (configuration + common).encode()
    return files


def write_mirrors(settings: Settings, root: Path) -> str:
    """Write the context folder of a project and return its path below `root`.

    Where builds need none it holds the script that does nothing, and not what the project has in `mirrors/`: that is
    for plain bake, and no key covers it. Raises `InvalidInput` for symlinks in the folder, or which leave the folder of
    files that the settings name.
    """
    ca = None
    if settings.ca is not None:
        ca = read_named(settings.ca)
    state = State(root)
    mask = Mask(each for _, _, each in settings.credentials())
    # No other user of this machine reads credentials; in a RUN they are root's, and apt reads its own as another user.
    files = mirror_files(settings, ca=ca) if settings.reaches_builds else {"use": IDLE}
    kept = () if settings.files is None else ("files",)
    # Two commands may do so at once, and a build of another may be reading.
    with state.locked():
        state.fill(CONTEXT, files, is_secret=lambda data: bool(mask.spans(data)), kept=kept)
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
