"""Whether nodes keep the promises of their layers: what an artifact may hold, what a base must be above a prefix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from buildsys.errors import enumerated
from buildsys.inventory.model import FOLDER, LINK, Entry, Inventory, folders_above
from buildsys.texts import excerpt
from buildsys.values import dataclass

# More paths than these make no message clearer.
_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """A promise that is not kept: `message` names the path, `hint` is what to do."""

    message: str
    hint: str


def artifact_problems(inventory: Inventory, prefixes: Iterable[str]) -> tuple[Broken, ...]:
    """Return what an artifact has that it may not have, or lacks.

    It has its prefixes and nothing outside; the folders above are root's, with mode 0755: they replace those of the
    image that it is added to, with owner and mode.
    """
    return tuple(_artifact_problems(inventory, tuple(prefix.strip("/") for prefix in prefixes)))


def _artifact_problems(inventory: Inventory, prefixes: tuple[str, ...]) -> Iterator[Broken]:
    above = dict.fromkeys(path for prefix in prefixes for path in folders_above(prefix))
    inside = tuple(f"{prefix}/" for prefix in prefixes)
    outside = {path: None for path in inventory.entries if path not in above and not f"{path}/".startswith(inside)}
    own = enumerated([f"/{excerpt(prefix)}" for prefix in prefixes])
    kind = "prefix" if len(prefixes) == 1 else "prefixes"
    # What is in a folder that is outside need not be named.
    named = [path for path in outside if path.rpartition("/")[0] not in outside]
    if named:
        yield Broken(
            message=f"it has {_paths(named)} outside of its {kind} {own}",
            hint=f"let the Dockerfile copy nothing but {own}: files of others would be replaced in each image",
        )
    for prefix in prefixes:
        if prefix not in inventory.entries:
            found = "it is empty" if not inventory.entries else f"it has no `/{prefix}`"
            yield Broken(message=f"{found}, expected its prefix", hint=f"put its files below `/{prefix}`, or change it")
    for path in above:
        entry = inventory.entries.get(path)
        if entry is not None and not entry.is_plain_folder:
            yield Broken(
                message=f"`/{excerpt(path)}` above its prefix is {entry.words}, expected one of root with mode 0755",
                hint=f"create it with `install -d -m 0755`: it replaces `/{excerpt(path)}` of each image",
            )


def base_problems(base: Inventory, prefixes: Iterable[str], files: Collection[str] = ()) -> tuple[Broken, ...]:
    """Return why an artifact cannot be added to a base: what the base has above its prefixes, or at them.

    Adding it replaces symlinks by folders (facts of BuildKit: `COPY --link`), and gives folders root's owner and 0755.
    Those prefixes that are `files` may replace files.
    """
    return tuple(
        each for prefix in prefixes for each in _base_problems(base, prefix.strip("/"), is_file=prefix in files)
    )


def reset_folders(earlier: Inventory, prefixes: Iterable[str]) -> tuple[Broken, ...]:
    """Return which folders of an artifact a later one with a prefix below them would reset."""
    above = dict.fromkeys(path for prefix in prefixes for path in folders_above(prefix.strip("/")))
    found = (earlier.entries[path] for path in above if path in earlier.entries)
    return tuple(
        Broken(
            message=f"`/{excerpt(entry.path)}` is {entry.words} in the first, and the second would reset it",
            hint="let the layer that has the folder add the files too",
        )
        for entry in found
        if entry.type == FOLDER and not entry.is_plain_folder
    )


def _base_problems(base: Inventory, prefix: str, *, is_file: bool) -> tuple[Broken, ...]:
    for path in (*folders_above(prefix), prefix):
        entry = base.entries.get(path)
        if entry is None:
            return ()
        if path == prefix and is_file:
            message = f"`/{excerpt(path)}` is {entry.words} there, and the artifact would replace it by a file"
            hint = "use another path, or let a system layer remove it"
            return (Broken(message=message, hint=hint),) if entry.type in (FOLDER, LINK) else ()
        if entry.type != FOLDER:
            real = resolved(base, prefix)
            hint = f"write `prefix: /{excerpt(real)}`" if entry.type == LINK and real else "use another prefix"
            message = f"`/{excerpt(path)}` is {entry.words} there, and the artifact would replace it by a folder"
            return (Broken(message=message, hint=hint),)
        if path != prefix and not entry.is_plain_folder:
            message = f"`/{excerpt(path)}` is {entry.words} there, and the artifact would reset it to root and 0755"
            hint = "use a prefix below folders of root, such as `/opt/…`, and let a system layer add a symlink"
            return (Broken(message=message, hint=hint),)
    return ()


def resolved(base: Inventory, path: str) -> str:
    """Return where a path leads in a file system when symlinks are followed, empty where they lead nowhere."""
    waiting, found = path.split("/")[::-1], list[str]()
    for _ in range(200):
        if not waiting:
            return "/".join(found)
        part = waiting.pop()
        if part == "..":
            found = found[:-1]
        elif part not in ("", "."):
            entry = base.entries.get("/".join([*found, part]))
            if entry is None or entry.type != LINK:
                found.append(part)
            else:
                found = [] if entry.target.startswith("/") else found
                waiting += entry.target.split("/")[::-1]
    return ""


def shared_paths(one: Inventory, other: Inventory, *, depends: bool) -> tuple[str, ...]:
    """Return the paths that two artifacts of one image both write, sorted.

    Folders that are equal count for both. With `depends` the other one was built on the first, and may replace its
    files; a folder that it replaces by something else takes away what was in it.
    """
    smaller, larger = sorted((one.entries, other.entries), key=len)
    return tuple(
        path for path in sorted(smaller) if path in larger and _collide(smaller[path], larger[path], depends=depends)
    )


def _collide(one: Entry, other: Entry, *, depends: bool) -> bool:
    if depends:
        return (one.type == FOLDER) != (other.type == FOLDER)
    return one.type != FOLDER or one != other


def _paths(paths: list[str]) -> str:
    words = ", ".join(f"`/{excerpt(path)}`" for path in paths[:_NAMED])
    return words + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
