"""The Dockerfiles of nodes whose layers have none: of files, and of commands after packages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from buildsys.recipes import template
from buildsys.recipes.recipe import PlacedFile, Recipe

# As BuildKit's parser has it (moby/buildkit, `frontend/dockerfile/parser/parser.go`).
_CONTINUED = re.compile(r"(?<!\\)\\[ \t]*\Z")
_ROOT = "0:0"
_FOLDER_MODE = "0755"


def files_dockerfile(entries: Iterable[PlacedFile], parameters: Mapping[str, str]) -> str:
    """Return the Dockerfile of an artifact of files; its context is the folder of the layer.

    Folders above a path are root's with mode 0755, as `WORKDIR` creates them: `COPY --chown` gives those that it
    creates to the owner of the file. A folder with a mode or an owner is copied out of a folder of its own, since
    `--chmod` and `--chown` leave the folder that is copied to as it is (measured with BuildKit of Engine 28).
    """
    ordered = sorted(entries, key=lambda entry: entry.path)
    owners = {entry.path: _pair(template.fill(entry.owner, parameters)) for entry in ordered}
    special = [entry for entry in ordered if entry.is_folder and (_folder_mode(entry), owners[entry.path]) != _PLAIN]
    above = {posixpath.dirname(entry.place) for entry in ordered} | {
        entry.place for entry in ordered if entry.is_folder and entry not in special
    }
    lines = ["FROM scratch AS folders", *(f"WORKDIR {_own(number, entry)}" for number, entry in enumerate(special)), ""]
    lines = lines if special else []
    lines += ["FROM scratch AS files", *(f"WORKDIR {path}" for path in sorted(above - {"/"}))]
    for number, entry in enumerate(special):
        words = _flags(_folder_mode(entry), owners[entry.path])
        lines.append(f"COPY --from=folders {words}/{number}/ {posixpath.dirname(entry.place).rstrip('/')}/")
    for entry in ordered:
        if entry.is_folder and entry.source:
            lines.append(f"COPY {_flags(None, owners[entry.path])}{entry.source.rstrip('/')}/ {entry.path}")
    lines += _copies([entry for entry in ordered if not entry.is_folder], owners)
    return "\n".join([*lines, "", "FROM scratch", "COPY --link --from=files / /", ""])


def commands_dockerfile(recipe: Recipe, installer: Recipe | None) -> str:
    """Return the Dockerfile of a layer with `run`, behind that of the layer that installs its packages."""
    head = f"{whole(installer.text)}\n\n" if installer else "FROM base\n"
    return f"{head}{run_step(recipe)}"


def whole(dockerfile: str) -> str:
    """Return a Dockerfile to which instructions can be added: its last one does not continue on the next line."""
    lines = dockerfile.split("\n")
    while lines:
        last = _CONTINUED.sub("", lines.pop())
        if last.strip() and not last.lstrip().startswith("#"):
            return "\n".join([*lines, last])
    return ""


def run_step(recipe: Recipe) -> str:
    """Return the instructions that run a layer's commands, with the arguments that these name.

    They are a heredoc, in which no text is more than text, whose delimiter is none of its lines.
    """
    lines = ["set -eu", *(line for command in recipe.run for line in command.rstrip("\n").split("\n"))]
    word = next(word for number in count() if (word := f"END{number or ''}") not in lines)
    return "\n".join([*(f"ARG {name}" for name in sorted(recipe.declared)), f"RUN <<{word}", *lines, word, ""])


_PLAIN = (_FOLDER_MODE, _ROOT)


def _copies(files: Iterable[PlacedFile], owners: Mapping[str, str]) -> Iterator[str]:
    """Yield one COPY for files that keep their name and go to one folder with one owner and mode."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for entry in files:
        folder, name = posixpath.split(entry.path)
        source = entry.source or ""
        target = f"{folder.rstrip('/')}/" if posixpath.basename(source) == name else entry.path
        groups.setdefault((target, _flags(entry.mode, owners[entry.path])), []).append(source)
    for (target, flags), sources in sorted(groups.items()):
        yield f"COPY {flags}{' '.join(sorted(sources))} {target}"


def _folder_mode(entry: PlacedFile) -> str:
    return (entry.mode or _FOLDER_MODE).zfill(4)


def _own(number: int, entry: PlacedFile) -> str:
    return f"/{number}/{posixpath.basename(entry.place)}"


def _pair(owner: str) -> str:
    """Return the ids of a user and a group without zeros before them; as in COPY, a group is that of the user."""
    user, _, group = owner.partition(":")
    return f"{int(user)}:{int(group or user)}"


def _flags(mode: str | None, owner: str) -> str:
    words = [*([f"--chown={owner}"] if owner != _ROOT else ()), *([f"--chmod={mode.zfill(4)}"] if mode else ())]
    return "".join(f"{word} " for word in words)
