"""Copies of build contexts: BuildKit reads exactly the bytes and modes that keys cover, whatever is edited meanwhile.

BuildKit reads a context minutes after its key was computed, with every permission bit and with empty folders. And its
transfer takes a file for one that it holds already if size, time and mode are equal, of any folder of the same name
(buildx 0.29, BuildKit 0.25: two projects with files of one time got each other's bytes). So a context is copied once,
when a run begins, with the modes that git keeps, to a folder whose name is the hash of what is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from buildsys.bake.targets import Copies
from buildsys.config.model import LINK, Contents, File
from buildsys.errors import Diagnostic, InvalidInput, Location, Unavailable
from buildsys.plan.keys import at_their_stacks, build_files, context_files, folders_of
from buildsys.plan.plan import Plan
from buildsys.project.files import Home, open_file
from buildsys.project.state import State
from buildsys.project.workspace import Workspace
from buildsys.resolve.node import Node
from buildsys.run.variables import MIRRORS

_PIECE = 1 << 20


def copy_contexts(
    workspace: Workspace, nodes: Iterable[Node], contents: Contents, top: Path, *, timestamp: int
) -> Copies:
    """Copy what the builds of nodes read into folders below `top`, which is in the project.

    Everything in them has the time `timestamp`, in seconds since 1970: keys do not know when files were changed.

    Raises `InvalidInput` for a file that differs from what `contents` records.
    """
    home = workspace.home
    context: dict[str, str] = {}
    folders: dict[str, dict[str, str]] = {}
    for node in nodes:
        given = {
            name: copy_context(
                home, folder, dict(context_files("", contents.get(folder, {}))), top, timestamp=timestamp
            )
            for name, folder in node.folders
        }
        files = build_files(node, contents.get(node.folder, {}))
        copy = copy_context(home, node.folder, files, top, timestamp=timestamp, beside=given.values())
        context[node.name] = copy.relative_to(workspace.root).as_posix()
        folders[node.name] = {each: path.relative_to(workspace.root).as_posix() for each, path in given.items()}
    return Copies(context=context, folders=folders)


def copy_context(
    home: Home, folder: str, files: Mapping[str, File], top: Path, *, timestamp: int, beside: Iterable[Path] = ()
) -> Path:
    """Copy files of a folder into a folder below `top` that is called by their hash, and return its path.

    `beside` are the copies of other folders that the same build reads: the transfer holds these by the name of the
    build's own context. Raises `InvalidInput` for a file that is not what `files` says of it.
    """
    listed = {path: [file.content, file.executable] for path, file in sorted(files.items())}
    text = json.dumps([listed, sorted(path.name for path in beside)])
    target = top / hashlib.sha256(text.encode()).hexdigest()
    if target.exists():
        return target
    source = home.find(folder)
    try:
        top.mkdir(exist_ok=True)
        _folder(target, top)
        for path, file in files.items():
            copy = target / path
            _folder(copy.parent, top)
            if file.content.startswith(LINK):
                copy.symlink_to(file.content.removeprefix(LINK))
            else:
                _copy_file(home, f"{folder}/{path}".strip("/"), source / path, copy, file)
        for each in (target, *target.rglob("*")):
            os.utime(each, (timestamp, timestamp), follow_symlinks=False)
    except OSError as error:
        raise Unavailable(f"`{error.filename or target}` cannot be written: {error.strerror}") from error
    return target


def _folder(path: Path, top: Path) -> None:
    """Create a folder and those above it up to `top`, with git's mode whatever the umask."""
    if path != top and not path.is_dir():
        _folder(path.parent, top)
        path.mkdir()
        path.chmod(0o755)


def _copy_file(home: Home, name: str, source: Path, copy: Path, file: File) -> None:
    digest = hashlib.sha256()
    with open_file(source, home, name) as opened, copy.open("xb") as written:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            written.write(piece)
    copy.chmod(0o755 if file.executable else 0o644)
    if file.content != f"sha256:{digest.hexdigest()}":
        message = f"`{home.show(name)}` changed while the run began"
        raise InvalidInput(
            [Diagnostic(message=message, location=Location(file=home.show(name)), hint="run the command again")]
        )


def copy_mirrors(workspace: Workspace, environment: Mapping[str, str], top: Path) -> Mapping[str, str]:
    """Return the bake variables of a run, with a copy of the mirrors' folder below `top` in place of the project's.

    The next command on this machine may replace that one while builds of this run read it. Modes are kept.
    """
    name = environment.get(MIRRORS, "")
    if not name:
        return environment
    folder = workspace.root / name
    try:
        with State(workspace.root).locked():
            listed = sorted(
                (path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)
                for path in folder.rglob("*")
                for status in (path.lstat(),)
            )
            # By what the transfer compares, so that a later run need not transfer it again.
            copy = top / hashlib.sha256(json.dumps(listed).encode()).hexdigest()
            top.mkdir(exist_ok=True)
            shutil.copytree(folder, copy, symlinks=True, copy_function=_link_or_copy)
    except OSError as error:
        raise Unavailable(f"`{error.filename or top}` cannot be written: {error.strerror}") from error
    return {**environment, MIRRORS: copy.relative_to(workspace.root).as_posix()}


def _link_or_copy(source: str, copy: str) -> None:
    """Give a file a second name: the folder is filled with new files, and never written into. Not all disks can."""
    try:
        os.link(source, copy, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, copy, follow_symlinks=False)


def contents_of(workspace: Workspace, plan: Plan, folders: Iterable[str] | None = None) -> Contents:
    """Return the files that the builds of a plan read, or those of some of its folders.

    Raises `InvalidInput` for what points outside the project or cannot be read; a folder that a parameter names is
    reported at its stack.
    """
    try:
        return workspace.contents(folders_of(plan) if folders is None else folders)
    except InvalidInput as error:
        raise InvalidInput(at_their_stacks(plan, error.diagnostics())) from error
