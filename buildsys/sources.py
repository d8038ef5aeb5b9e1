"""Whether contexts may be published under a key: with the modes that git keeps, unchanged since keys were computed.

A key covers bytes and the executable bit. BuildKit takes every permission bit and empty folders too, and it reads the
files minutes after the key was computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from buildsys.errors import Mistake
from buildsys.key import Contents, File, left_out, read_files
from buildsys.plan import Plan
from buildsys.workspace import Workspace

_FOLDER_MODE = 0o755
_FILE_MODES = {True: 0o755, False: 0o644}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The contexts of a plan's nodes as they were when its keys were computed."""

    workspace: Workspace
    plan: Plan
    contents: Contents

    def unfit(self, targets: Iterable[str]) -> tuple[Mistake, ...]:
        """Return a mistake for each context of the nodes among `targets` that another checkout would give otherwise."""
        nodes = [node for node in self.plan.nodes if node.name in {*targets}]
        contexts = {(node.folder, node.dockerfile.rpartition("/")[2]) for node in nodes}
        contexts |= {(folder, "") for node in nodes for _, folder in node.folders}
        modes = self.workspace.folder_modes(sorted({folder for folder, _ in contexts}))
        found = (
            unfit_context(folder, dockerfile, self.contents.get(folder, {}), modes.get(folder, {}))
            for folder, dockerfile in sorted(contexts)
        )
        return tuple(mistake for mistakes in found for mistake in mistakes)

    def changed(self, targets: Iterable[str]) -> str:
        """Return how the files that the nodes among `targets` read differ from what their keys say, empty if not."""
        nodes = [node for node in self.plan.nodes if node.name in {*targets}]
        folders = {node.folder for node in nodes} | {folder for node in nodes for _, folder in node.folders}
        now = self.workspace.contents(sorted(folders))
        for node in nodes:
            if change := difference(dict(read_files(node, self.contents)), dict(read_files(node, now))):
                return change
        return ""


def difference(before: Mapping[str, File], after: Mapping[str, File]) -> str:
    """Return the first difference between the files of contexts by path, empty if there is none.

    A file that was changed and changed back differs too: a build in between read other bytes.
    """
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None:
            return f"`{path}` appeared while the run was in progress"
        if new is None:
            return f"`{path}` disappeared while the run was in progress"
        if old != new:
            return f"`{path}` changed while the run was in progress"
        if old.stamp != new.stamp:
            return f"`{path}` was rewritten while the run was in progress"
    return ""


def unfit_context(
    folder: str, dockerfile: str, files: Mapping[str, File], folders: Mapping[str, int]
) -> Iterator[Mistake]:
    """Yield what in a context has another mode than git gives it, and folders without files, which git does not keep.

    `folder` is its path as messages show it, `dockerfile` the name of its Dockerfile, empty for a folder that a
    parameter names; `folders` maps each folder in it to its mode. The context's own mode goes nowhere: BuildKit 0.25
    gives the folder that it copies a context to 755, whatever the context has.
    """
    prefix = f"{folder}/"
    is_left_out = left_out(dockerfile, files)
    visible = {path: file for path, file in files.items() if not is_left_out(path)}
    inhabited = {str(above) for path in visible for above in PurePosixPath(path).parents}
    sent = {path for path in folders if path and (path in inhabited or not is_left_out(path))}
    modes = {f"{path}/": folders[path] for path in sent if folders[path] != _FOLDER_MODE}
    modes |= {path: file.mode for path, file in visible.items() if _is_odd(file)}
    if modes:
        first = min(modes)
        count = f"{len(modes)} {'path has' if len(modes) == 1 else 'paths have'} a mode that git does not keep"
        yield Mistake(
            message=f"`{folder}`: {count}, such as `{prefix}{first}` with {modes[first]:o}, expected 644 or 755",
            hint=f"run `chmod -R u=rwX,go=rX,a-st {folder}`: modes go into the image, and its key does not cover them",
        )
    for path in sorted(sent - inhabited):
        if not any(other.startswith(f"{path}/") for other in sent):
            yield Mistake(
                message=f"`{prefix}{path}` is a folder without files, which git does not keep and no key covers",
                hint=f"remove it, or create it in `{prefix}{dockerfile or 'Dockerfile'}`",
            )


def _is_odd(file: File) -> bool:
    return not file.content.startswith("link:") and file.mode != _FILE_MODES[file.executable]
