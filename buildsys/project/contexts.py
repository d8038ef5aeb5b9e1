"""Which files a build may read of a folder on disk, and which folders no build can read."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from buildsys.config.model import LINK, File
from buildsys.dockerfile.ignore import ignored
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.names import LAYER_FILE, UNBUILT
from buildsys.project.files import Entry, Home, digest_file, read_file
from buildsys.texts import shown

CONTEXT_LIMIT = 2_000_000_000
"""Bytes of a folder that builds read: each run copies and hashes it, and the engine keeps another copy."""
# Of the parts of a folder that is too large.
_LARGEST = 3


def files_of(home: Home, folder: str, diagnostics: list[Diagnostic]) -> dict[str, File]:
    """Return the files of a folder by path relative to it, after adding everything that is wrong."""
    found: dict[str, File] = {}
    is_excluded = exclusion_of(home, folder)
    entries = tuple(home.walk(folder, diagnostics, is_excluded))
    read = [each for each in entries if not (is_excluded(each.name) or _is_unbuilt(folder, each.name))]
    # Before the bytes are read: to hash a hundred gigabytes takes minutes.
    if wrong := (*_untransferable(home, folder, read), *_too_large(home, folder, read)):
        diagnostics.extend(wrong)
        return found
    for entry in entries:
        name = f"{folder}/{entry.name}" if folder else entry.name
        try:
            if entry.is_link:
                found[entry.name] = File(content=f"{LINK}{_target(entry)}")
            elif not entry.is_folder:
                found[entry.name] = _file(home, name, entry.path)
        except InvalidInput as error:
            if not is_excluded(entry.name):
                diagnostics.extend(error.diagnostics())
    return found


def _target(entry: Entry) -> str:
    """Return where a symlink leads, as it is written: `Path` would turn `./a//b` into `a/b`, and git would not."""
    return os.readlink(entry.path)  # noqa: PTH115


def _is_unbuilt(folder: str, name: str) -> bool:
    """Whether a file is a layer's and of no build."""
    parts = folder.split("/")
    return len(parts) == 2 and parts[0] == "layers" and name.partition("/")[0] in UNBUILT


def _untransferable(home: Home, folder: str, entries: Iterable[Entry]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each name, or target of a symlink, that is not UTF-8: BuildKit's messages cannot have it.

    Measured with buildx 0.29: the build ends with `string field contains invalid UTF-8`, without the name.
    """
    for entry in entries:
        texts = [entry.name, _target(entry)] if entry.is_link else [entry.name]
        if any(not _is_utf8(each) for each in texts):
            name = shown(f"{folder}/{entry.name}".strip("/"))
            message = f"the name `{name}` is not UTF-8, and BuildKit transfers no other"
            if _is_utf8(entry.name):
                message = f"the target of the symlink `{name}` is not UTF-8, and BuildKit transfers no other"
            hint = f"rename it, or exclude it in `{home.show(f'{folder}/.dockerignore'.strip('/'))}`"
            yield Diagnostic(message=message, location=Location(file=shown(home.show(folder))), hint=hint)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _too_large(home: Home, folder: str, entries: Iterable[Entry]) -> Iterator[Diagnostic]:
    """Yield a diagnostic if builds read more of a folder than a context may have; it names the largest parts."""
    sizes: dict[str, int] = {}
    for entry in entries:
        if not entry.is_folder:
            top = entry.name.partition("/")[0]
            sizes[top] = sizes.get(top, 0) + entry.status.st_size
    if (size := sum(sizes.values())) > CONTEXT_LIMIT:
        largest = sorted(sizes, key=lambda each: -sizes[each])[:_LARGEST]
        named = ", ".join(f"`{shown(each)}` {_gb(sizes[each])}" for each in largest)
        message = (
            f"`{home.show(folder)}` has {_gb(size)} that builds read, expected at most {_gb(CONTEXT_LIMIT)}: {named}"
        )
        rules = home.show(f"{folder}/.dockerignore".strip("/"))
        hint = f"exclude what no build needs in `{rules}`, or fetch it as a download"
        yield Diagnostic(message=message, location=Location(file=home.show(folder)), hint=hint)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def exclusion_of(home: Home, folder: str) -> Callable[[str], bool]:
    """Return whether no Dockerfile of a context reads a path in it, by all files of rules at its top.

    Rules are read when first asked for. What buildsys itself reads is never excluded, nor is a folder, whose path ends
    with `/`, where a rule may take back something in it.
    """

    @functools.cache
    def rules() -> tuple[str, ...]:
        found = []
        with contextlib.suppress(OSError, InvalidInput):
            for path in sorted(home.find(folder).iterdir()):
                if path.name.endswith(".dockerignore"):
                    found.append(read_file(path, home, f"{folder}/{path.name}").decode("utf-8", "replace"))
        return tuple(found)

    def is_excluded(path: str) -> bool:
        inside = path.rstrip("/")
        if not inside or ("/" not in path and is_needed(path)) or not rules():
            return False
        return all(ignored(text)(inside) and not (path.endswith("/") and "!" in text) for text in rules())

    return is_excluded


def is_needed(name: str) -> bool:
    """Whether a file at the top of a layer is read whatever the rules say."""
    return name == LAYER_FILE or name.endswith(".dockerignore") or "Dockerfile" in name


def _file(home: Home, name: str, path: Path) -> File:
    rules = None
    if name.endswith(".dockerignore"):
        rules = read_file(path, home, name).decode("utf-8", "replace")
    status, digest = digest_file(path, home, name)
    return File(
        content=f"sha256:{digest}",
        executable=bool(status.st_mode & 0o100),
        rules=rules,
    )
