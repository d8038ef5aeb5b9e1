"""How things are called in bake, in a Dockerfile, in a registry and in an image, and which names are taken."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from buildsys.texts import LONGEST_NAME, excerpt, short

# Bake takes these characters only (docker/buildx, bake/bake.go); on its command line a dot becomes `_` too.
_NOT_IN_TARGET = re.compile(r"[^a-zA-Z0-9_-]")
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_NOT_IN_VARIABLE = re.compile(r"[^A-Z0-9]+")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_OWN_TAGS = ("incoming-", "inventory-", "key-", "last-", "platform-", "seen-", "tests-", "used-")
LONGEST_TARGET = LONGEST_NAME
NAME = r"[a-z0-9]+(-[a-z0-9]+)*"
"""The form of the names of layers, flavours, families and groups."""
_NAME = re.compile(NAME)
CONTEXTS: Mapping[str, str] = MappingProxyType(
    {
        "base": "the base layer",
        "toolchain": "the toolchain of artifacts",
        "mirrors": "the folder of mirrors",
        "scratch": "the empty image",
        "context": "the files beside a Dockerfile",
        "dockerfile": "the folder of a Dockerfile",
    }
)
"""Names in a Dockerfile that mean one thing everywhere, and what."""
TIMES = "/run/mirrors/times"
"""Where RUN steps find the script that sets the times of what they write; a folder of mirrors sources it."""
OWN_PACKAGES = "stack-packages"
"""What the layer of a stack's own packages is called."""
OWN_COMMANDS = "stack-commands"
"""What the layer of a stack's own commands is called."""
OWN_FILES = "stack-files"
"""What the layer of a stack's own files is called."""
OWN_FILES_FOLDER = "files"
"""The folder of the project in which the files of stacks themselves are."""
_LAYERS: Mapping[str, str] = MappingProxyType(
    {
        **CONTEXTS,
        "default": "the group of all images",
        "set": "a named set of layers in a stack",
        OWN_PACKAGES: "the packages that stacks themselves name",
        OWN_COMMANDS: "the commands that stacks themselves run",
        OWN_FILES: "the files that stacks themselves have",
        "when": "the condition of a layer in a stack",
    }
)
_STACKS: Mapping[str, str] = MappingProxyType(
    {
        "nodes": "the repository of nodes",
        "mirrors": "the bake target of the mirrors",
        "default": "the group of all images",
        "scratch": CONTEXTS["scratch"],
        "base": CONTEXTS["base"],
    }
)
# A stack may name a group that it is in anyway, such as `default`.
_GROUPS: Mapping[str, str] = MappingProxyType({"mirrors": _STACKS["mirrors"]})
# What buildsys sets where a Dockerfile declares it.
OWN_ARGUMENTS = frozenset({"PACKAGES", "EPOCH", "PREFIX"})
# What BuildKit itself sets, by platform and, with another name for it, by call (docs.docker.com, Dockerfile reference).
PLATFORM_ARGUMENTS = frozenset(
    {f"{side}{what}" for side in ("BUILD", "TARGET") for what in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")}
    | {"TARGETSTAGE", "SOURCE_DATE_EPOCH"}
)
# `BUILDKIT_SYNTAX` brings in a foreign frontend; a proxy sees, and may change, what a build fetches.
_SWITCH = re.compile(r"BUILDKIT_.*|.*_PROXY", re.IGNORECASE)
DEFAULT_PLATFORM = "linux/amd64"
# What templates and conditions call the platform that a layer is built for.
PLATFORM = "platform"
# Of a secret; its variable is unique in a project, see `secret_variable`.
SECRET_ID = r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
MIRRORS_SECRET = "mirrors"
"""The secret with which RUN steps get the credentials of mirrors and proxies; empty where there are none."""
# BuildKit sends these to the servers of git and of downloads by itself (moby/buildkit, `source/git`, `source/http`).
_BUILDKIT_SECRET = re.compile(r"(GIT|HTTP)_AUTH_(TOKEN|HEADER).*")
STATE_FOLDER = ".buildsys"
LAYER_FILE = "layer.yaml"
# What no build reads of a layer, at the top of its folder: it is for people, and for tests.
UNBUILT = (LAYER_FILE, "README.md", "tests")
SETTINGS_FILE = "buildsys.settings.yaml"
STACKS_FILE = "stacks.yaml"
LOCK_FILE = "buildsys.lock"
OVERLAY_FILE = "buildsys.lock.local"
"""What a machine puts before the lock; it is not committed."""
# The annotation of what is published, and the label of an image in an engine's own store.
KEY_LABEL = "dev.buildsys.key"
# https://github.com/opencontainers/image-spec/blob/main/annotations.md
TITLE_LABEL = "org.opencontainers.image.title"
# As many as Linux follows in one path (path_resolution(7)).
MOST_SYMLINKS = 40
# What Linux systems have as symlinks: `COPY --link` replaces one by a folder, in which nothing of the system is.
_SYSTEM_LINKS: Mapping[str, str] = MappingProxyType(
    {
        **{f"/{name}": f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")},
        **{"/usr/tmp": "/var/tmp", "/usr/local/man": "/usr/local/share/man"},
        **{"/var/run": "/run", "/var/lock": "/run/lock", "/etc/mtab": "/proc/mounts"},
    }
)
# What a container, a build or another engine than docker mounts over, so that nothing in an image is found there.
_MOUNTED = ("/proc", "/sys", "/dev", "/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
# Anyone may write there; the folder that an artifact brings has other permissions.
_TEMPORARY = ("/tmp", "/var/tmp")
_SYSTEM_FOLDERS = frozenset(
    {"/boot", "/etc", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/usr", "/var"}
    | {f"/usr/{name}" for name in ("bin", "games", "include", "lib", "lib32", "lib64", "libexec", "libx32", "local")}
    | {f"/usr/{name}" for name in ("sbin", "share", "src")}
    | {f"/var/{name}" for name in ("backups", "cache", "lib", "local", "log", "mail", "opt", "spool")}
)
_MULTIARCH = re.compile(r"/usr/lib/[a-z0-9_]+-linux-[a-z0-9]+")
NODES = "nodes"
"""The repository of nodes."""
CUSTOM_SUFFIX = "-custom"
"""What the repository of users' own Dockerfiles on a stack has behind the stack's name."""


def download_arguments(name: str) -> tuple[str, str]:
    """Return the arguments of a download: its address and its checksum."""
    word = name.upper().replace("-", "_")
    return f"{word}_URL", f"{word}_SHA256"


def target_name(name: str) -> str:
    """Return the name of a bake target; two names may become one, which is for the caller to refuse."""
    return _NOT_IN_TARGET.sub("_", name)


def architecture(platform: str) -> str:
    """Return what the names of targets and local tags say of a platform: `arm64` of `linux/arm64`."""
    return platform.removeprefix("linux/").replace("/", "-")


def reference_problem(name: str) -> str | None:
    """Return why a stack's name cannot be the last part of a repository's name, or None."""
    if _REPOSITORY.fullmatch(name):
        return None
    return f"`{excerpt(name)}` cannot be an image's name: lower-case letters, digits, single `.` `_` `-` between"


def repository_problem(name: str) -> str | None:
    """Return why a path below the registry cannot be the repository of images, or None."""
    if not all(_REPOSITORY.fullmatch(part) for part in name.split("/")):
        rule = "lower-case letters, digits, single `.` `_` `-` `/` between"
        return f"`{excerpt(name)}` cannot be a repository: {rule}"
    return f"the repository `{name}` is reserved for nodes" if name == NODES else None


def layer_problem(name: str) -> str | None:
    """Return why a folder cannot be that of a layer, or None."""
    if not _NAME.fullmatch(name):
        return f"`{excerpt(name)}` cannot be a layer's name: lower-case letters, digits, single `-` between"
    if expected := short(name):
        return f"`{excerpt(name)}` cannot be a layer's name: expected {expected}"
    if name.isdecimal():
        return f"`{name}` cannot be a layer's name: in `COPY --from` a number is a stage"
    return _reserved(name, _LAYERS)


def stack_problem(name: str) -> str | None:
    """Return why a stack cannot have a name, or None."""
    if expected := short(name):
        return f"`{excerpt(name)}` cannot be an image's name: expected {expected}"
    return reference_problem(name) or _reserved(name, _STACKS)


def group_problem(name: str) -> str | None:
    """Return why a stack cannot name a group, or None."""
    return _reserved(name, _GROUPS)


def context_problem(name: str) -> str | None:
    """Return why a folder that is given to a Dockerfile cannot have a name, or None."""
    return _reserved(name, CONTEXTS)


def _reserved(name: str, words: Mapping[str, str]) -> str | None:
    return f"the name `{name}` is reserved for {words[name]}" if name in words else None


def is_switch(argument: str) -> bool:
    """Whether an argument changes how BuildKit builds, as `BUILDKIT_SYNTAX` and `HTTP_PROXY` do in either case."""
    return _SWITCH.fullmatch(argument) is not None


def argument_problem(argument: str) -> str | None:
    """Return why a layer cannot set an argument, or None."""
    if is_switch(argument):
        return f"the argument `{argument}` changes how BuildKit builds"
    if argument in PLATFORM_ARGUMENTS:
        return f"the argument `{argument}` is set by BuildKit"
    return f"the argument `{argument}` is set by buildsys" if argument in OWN_ARGUMENTS else None


def secret_problem(name: str) -> str | None:
    """Return why a layer cannot declare a secret of this id, or None."""
    if name == MIRRORS_SECRET:
        return f"the secret `{name}` is reserved for credentials of mirrors, and every RUN may mount it"
    return f"the secret `{name}` is reserved for BuildKit" if _BUILDKIT_SECRET.fullmatch(name) else None


def secret_variable(name: str) -> str:
    """Return the variable of the environment that has the value of a secret."""
    return variable_name("SECRET", name)


def prefix_problem(prefix: str, layer: str) -> tuple[str, str] | None:
    """Return why an artifact cannot own an absolute path, and what to do, or None."""
    own = f"choose a folder of its own, such as `/opt/{layer}`"
    normal = f"/{posixpath.normpath(prefix).lstrip('/')}"
    if normal != prefix:
        better = own if normal == "/" or prefix_problem(normal, layer) else f"write `{normal}`"
        return f"`{excerpt(prefix)}` has `.`, `..` or an empty part", better
    for link, target in _SYSTEM_LINKS.items():
        if prefix == link:
            return f"`{link}` is a symlink in most systems, and would be replaced", own
        if prefix.startswith(f"{link}/"):
            better = f"{target}{prefix.removeprefix(link)}"
            hint = own if prefix_problem(better, layer) else f"write `{better}`"
            return f"`{link}` is a symlink in most systems, and `{excerpt(prefix)}` would replace it", hint
    for folder in _MOUNTED:
        if prefix == folder or prefix.startswith(f"{folder}/"):
            return f"`{folder}` is mounted over when a container starts", own
    for folder in _TEMPORARY:
        if prefix == folder or prefix.startswith(f"{folder}/"):
            return f"`{folder}` is writable by everyone, and an artifact would change that", own
    if prefix in _SYSTEM_FOLDERS or _MULTIARCH.fullmatch(prefix):
        return f"`{prefix}` is a folder of the system, which no artifact can own as a whole", own
    return None


def shared_path(one: Iterable[str], other: Collection[str]) -> str | None:
    """Return the first path that two artifacts both own by their prefixes, or None."""
    pairs = ((first, second) for first in one for second in other)
    return next((max(pair, key=len) for pair in pairs if _is_at_or_below(*sorted(pair, key=len, reverse=True))), None)


def _is_at_or_below(path: str, other: str) -> bool:
    return f"{path}/".startswith(f"{other}/")


def tag_problem(tag: str) -> str | None:
    """Return why a tag cannot be a public one of an image, or None."""
    if not _TAG.fullmatch(tag):
        return f"`{excerpt(tag)}` is not a tag: letters, digits, `_`, `.` and `-`, 128 at most, no `.` or `-` first"
    if is_own_tag(tag):
        own = ", ".join(f"`{each}…`" for each in _OWN_TAGS)
        return f"the tag `{tag}` is reserved: `last` and {own} are moved by buildsys alone"
    return None


def is_own_tag(tag: str) -> bool:
    """Whether buildsys alone moves a tag, so that it is no public one."""
    return tag == "last" or tag.startswith(_OWN_TAGS)


def variable_name(prefix: str, name: str) -> str:
    """Return the bake variable of something: `BUILDSYS_<PREFIX>_<NAME>`."""
    return f"BUILDSYS_{prefix}_{_NOT_IN_VARIABLE.sub('_', name.upper()).strip('_')}"


def short_hash(text: str) -> str:
    """Return eight hexadecimal digits of a text's hash, for a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def shortened(name: str) -> str:
    """Return a name of at most `LONGEST_TARGET` characters: a longer one ends in its hash."""
    if len(name) <= LONGEST_TARGET:
        return name
    return f"{name[: LONGEST_TARGET - 9]}-{short_hash(name)}"
