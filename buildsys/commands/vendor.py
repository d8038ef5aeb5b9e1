"""Layers that a project copies from an origin: what else they require, what changed there or here since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date

from buildsys.commands.lock import Change
from buildsys.commands.offer import Offer, checksum, difference, read_files
from buildsys.commands.query import LOCKING, LONGEST_WAIT
from buildsys.config.catalog import layers_of
from buildsys.config.lockfile import Lock, lock_text, parse_lock
from buildsys.errors import BuildsysError, Diagnostic, Differs, InvalidInput, Location, did_you_mean, enumerated
from buildsys.names import LAYER_FILE, LOCK_FILE
from buildsys.project.origins import Origin, opened
from buildsys.project.placement import Files, NewFile, place
from buildsys.project.settings import mask_of
from buildsys.project.state import State
from buildsys.project.workspace import Workspace
from buildsys.recipes.recipe import Layer
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What `add` did: layers that it wrote, those that these require, and the difference to what they were before.

    `stays` are layers that were copied before, `newer` those of them that their origin has changed since, `changed`
    those that have been changed in the project. `titles` are the origins.
    """

    titles: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    difference: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A project before layers are copied into it: the folders of `layers/`, those that can be read, and the lock."""

    workspace: Workspace
    names: frozenset[str]
    layers: Mapping[str, Layer]
    lock: Lock

    @classmethod
    def read(cls, workspace: Workspace) -> Project:
        """Return a project on disk."""
        tree = workspace.tree()
        lock = parse_lock(tree[LOCK_FILE]) if LOCK_FILE in tree else Lock()
        names = frozenset(path.split("/")[1] for path in tree if path.startswith("layers/"))
        return cls(workspace=workspace, names=names, layers=layers_of(tree)[0], lock=lock)

    def checksum(self, name: str) -> str:
        """Return the checksum of a layer as it is now."""
        return checksum(self.workspace.contents([f"layers/{name}"])[f"layers/{name}"])

    def is_changed(self, name: str) -> bool:
        """Whether a layer that was copied has been changed here; one that was removed has not."""
        return name in self.names and self.checksum(name) != self.lock.layers[name].sha256


def add(
    workspace: Workspace,
    environ: Mapping[str, str],
    names: Sequence[str],
    origin: Origin,
    *,
    today: date,
    on_wait: Callable[[], None] = lambda: None,
) -> Copied:
    """Copy layers of an origin and everything that they require into a project, and record them in its lock.

    A layer that was copied before stays as it is. `on_wait` is called once where another process is writing the lock.
    Raises `InvalidInput`, and writes nothing, for a layer that the origin lacks, and for one of that name that the
    project has of its own.
    """
    with _writing(workspace, on_wait) as project, opened(origin, workspace.root, environ) as source:
        offer = Offer(source)
        names = tuple(dict.fromkeys(names))
        for name in names:
            offer.check(name)
        written = tuple(name for name in names if name not in project.names)
        stays = tuple(name for name in names if name in project.names)
        # What an interrupted command copied is what would be copied now.
        unknown = [name for name in stays if name not in project.lock.layers]
        adopted = [name for name in unknown if project.checksum(name) == offer.entry(name).sha256]
        _refuse_own(name for name in unknown if name not in adopted)
        required = offer.required(written, project.names, project.layers.values())
        locked = offer.added_to(project.lock, (*written, *required, *adopted), today)
        _write(project, {name: offer.files(name) for name in (*written, *required)}, locked)
        newer = tuple(name for name in stays if offer.entry(name).sha256 != locked.layers[name].sha256)
        return Copied(titles=(source.title,), written=written, required=required, stays=stays, newer=newer)


def update(
    workspace: Workspace,
    environ: Mapping[str, str],
    names: Sequence[str],
    origin: Origin | None,
    *,
    today: date,
    on_wait: Callable[[], None] = lambda: None,
) -> Copied:
    """Replace layers that were copied, by default all, by what their origin has now, or a different `origin`.

    Raises `Differs`, with the difference, and writes nothing, if one of them would lose a change of the project.
    """
    with _writing(workspace, on_wait) as project, ExitStack() as open_origins:
        known = project.lock.layers
        _check_copied(names, known)
        offers = _offers(project, names or tuple(known), origin, environ, open_origins)
        changed = tuple(name for name in offers if project.is_changed(name))
        moved = [
            name
            for name, offer in offers.items()
            if name not in project.names or offer.entry(name).sha256 != known[name].sha256
        ]
        lost = [name for name in moved if name in changed]
        if lost:
            raise Differs(
                f"{enumerated(f'layers/{name}' for name in lost)} would lose a change of this project",
                difference="".join(_difference(project, offers[name], name) for name in lost),
                hint=f"rename the folder, and remove `{lost[0]}` from `layers` in `{LOCK_FILE}`, to keep your own; "
                "remove the folder to take the new one",
            )
        difference = "".join(_difference(project, offers[name], name) for name in moved)
        lock, folders, required = project.lock, dict[str, Files](), list[str]()
        for offer in dict.fromkeys(offers.values()):
            mine = [name for name in moved if offers[name] is offer]
            more = offer.required(mine, {*project.names, *folders}, project.layers.values())
            required += more
            folders |= {name: offer.files(name) for name in (*mine, *more)}
            # What did not change has a later revision now.
            lock = offer.added_to(lock, [*(name for name in offers if offers[name] is offer), *more], today)
        _write(project, folders, lock, replaced=[name for name in moved if name in project.names])
        return Copied(
            titles=tuple(dict.fromkeys(offer.origin.title for offer in offers.values())),
            written=tuple(moved),
            required=tuple(required),
            stays=tuple(name for name in offers if name not in moved),
            changed=changed,
            difference=difference,
        )


def outdated(workspace: Workspace, environ: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the layers that their origin has changed since they were copied, and those whose origin cannot be read."""
    project = Project.read(workspace)
    found = []
    for name, held in project.lock.layers.items():
        before, after, note = held.sha256, held.sha256, ""
        try:
            with ExitStack() as open_origins:
                [offer] = _offers(project, (name,), None, environ, open_origins).values()
                after, note = offer.entry(name).sha256, f"see `buildsys add --update {name}`"
        except BuildsysError as error:
            after, note = "", error.message
        if after != before:
            found.append(Change(name=f"layers/{name}", before=before, after=after or None, note=note))
    # What git reports may have an address of its own settings.
    return mask_of(workspace.root, environ).value(tuple(found), keep=("name", "before", "after"))


@contextmanager
def _writing(workspace: Workspace, on_wait: Callable[[], None]) -> Iterator[Project]:
    """Give a project whose lock no other command changes meanwhile."""
    with State(workspace.root).reserved(LOCKING, LONGEST_WAIT, on_wait):
        yield Project.read(workspace)


def _offers(
    project: Project, names: Sequence[str], origin: Origin | None, environ: Mapping[str, str], stack: ExitStack
) -> dict[str, Offer]:
    """Return the offer that each layer is taken from; each origin is opened once."""
    found: dict[Origin, Offer] = {}
    for name in names:
        meant = origin or Origin.of(project.lock.layers[name])
        if meant not in found:
            found[meant] = Offer(stack.enter_context(opened(meant, project.workspace.root, environ)))
        found[meant].check(name)
    return {name: found[origin or Origin.of(project.lock.layers[name])] for name in names}


def _check_copied(names: Iterable[str], known: Iterable[str]) -> None:
    wrong = [
        Diagnostic(
            message=f"`{name}` is not in `layers` of `{LOCK_FILE}`, so it was not copied",
            hint=did_you_mean(name, known, f"run `buildsys add {name}`"),
        )
        for name in names
        if name not in known
    ]
    if wrong:
        raise InvalidInput(wrong)


def _refuse_own(names: Iterable[str]) -> None:
    own = [
        Diagnostic(
            message=f"`layers/{name}` is a layer of this project, which was not copied",
            location=Location(file=f"layers/{name}/{LAYER_FILE}"),
            hint=f"rename the folder `layers/{name}`, or remove `{name}` from the command",
        )
        for name in names
    ]
    if own:
        raise InvalidInput(own)


def _write(project: Project, folders: Mapping[str, Files], lock: Lock, replaced: Iterable[str] = ()) -> None:
    """Write folders of layers and the lock, all or nothing; raises `InvalidInput` for one outside of the project."""
    if not folders and lock == project.lock:
        return
    home = project.workspace.home
    names = {name: f"layers/{name}" for name in folders}
    for folder in (*names.values(), LOCK_FILE):
        home.find(folder)
    linked = [names[name] for name in replaced if (home.root / names[name]).is_symlink()]
    if linked:
        message = f"`{linked[0]}` is a symlink, which an update would replace by a folder"
        hint = "update the project that it leads into, or remove the symlink"
        raise home.wrong(linked[0], message, hint)
    place(
        home.root,
        {names[name]: files for name, files in folders.items()},
        {LOCK_FILE: NewFile(data=lock_text(lock).encode())},
        replaced={LOCK_FILE, *(names[name] for name in replaced)},
    )


def _difference(project: Project, offer: Offer, name: str) -> str:
    before = read_files(project.workspace, name) if name in project.names else {}
    return difference(f"layers/{name}", before, offer.files(name), offer.origin.title)
