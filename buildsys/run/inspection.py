"""What a run knows of the contents of its nodes: how inventories get there, and what is refused because of them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path

from buildsys.bake.definition import Target
from buildsys.bake.hcl import Value
from buildsys.bake.inventory import helpers, inventory_name, inventory_target, parent_image
from buildsys.bake.targets import base_of
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.errors import Location
from buildsys.inventory import document
from buildsys.inventory.contents import unstable_files
from buildsys.inventory.model import Inventory, UnreadableInventory
from buildsys.inventory.promises import Broken, artifact_problems, base_problems, reset_folders, shared_paths
from buildsys.inventory.shelf import Shelf, parent_key
from buildsys.inventory.step import MOST_PRINTED, NO_TOOLS, RESULT, read_printed
from buildsys.names import NODES, architecture, shared_path
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import OCI_INDEX, Descriptor, Reference
from buildsys.plan.plan import Plan
from buildsys.project.mirrors import mirrored_reference
from buildsys.project.settings import read_settings
from buildsys.project.workspace import Workspace
from buildsys.resolve.node import ImageTarget, Node
from buildsys.run.decision import Selection
from buildsys.run.store import Store
from buildsys.values import dataclass

# Parsed ones that are kept: one of 30,000 paths takes 10 MB.
_KEPT = 8
# Of these a note names the first.
_LISTED = 3


def shelf_of(store: Store, clock: Callable[[], float] = time.time) -> Shelf:
    """Return where the inventories of a store's nodes are; `clock` is for the time in those that are written."""
    return Shelf(registry=store.registry, nodes=Reference.parse(f"{store.prefix}/{NODES}"), clock=clock)


@dataclass(kw_only=True, slots=True)
class Inspection:
    """The inventories of one run; `helpers` are the images that may list a node, the best first.

    `key_of` returns the key of a node; `shelf` is where inventories are stored, None for a run that stores nothing;
    `open_shelf` returns where those of nodes are that a registry has. `root` is the project, and `note` reports what is
    not checked.
    """

    plan: Plan
    key_of: Callable[[str], str]
    root: Path
    note: Callable[[str], None]
    helpers: list[Value]
    shelf: Shelf | None = None
    open_shelf: Callable[[], Shelf | None] = lambda: None
    _folder: Path | None = None
    _files: dict[str, tuple[Path, Callable[[bytes], Inventory]]] = field(default_factory=dict)
    _unlisted: set[str] = field(default_factory=set)
    _parsed: dict[str, Inventory] = field(default_factory=dict)
    _noted: set[str] = field(default_factory=set)
    _base_problems: dict[tuple[str, ...], tuple[Broken, ...]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, folder: Path) -> None:
        """Begin to list nodes into a folder of the project; what was listed before is read from the registry."""
        with self._lock:
            self._folder = folder
            self._files.clear()

    def targets(self, names: Iterable[str]) -> dict[str, Target]:
        """Return the targets that list those of `names` that are nodes, by node; none where no helper is of use."""
        with self._lock:
            nodes = [node for name in names if isinstance(node := self.plan.targets[name], Node)]
            return {
                node.name: self._target(
                    node.name,
                    f"target:{node.name}",
                    node.platform,
                    base=None if node.recipe.prefix else base_of(self.plan, node),
                )
                for node in nodes
                if self.helpers and node.name not in self._unlisted
            }

    def parent_target(self, image: ImageTarget) -> Target | None:
        """Return the target that lists the parent on which an image is assembled, None where its list is known."""
        with self._lock:
            name = _parent_name(image)
            is_needed = image.base is None and image.artifacts
            if not is_needed or not self.helpers or name in self._unlisted or self._of_parent(image) is not None:
                return None
            return self._target(name, parent_image(self.plan, image.parent.name), image.platform)

    def _target(self, name: str, context: Value, platform: str, *, base: Value | None = None) -> Target:
        folder = self._place(name)
        # What an earlier attempt wrote is of an earlier attempt.
        shutil.rmtree(folder, ignore_errors=True)
        place = folder.relative_to(self.root).as_posix()
        return inventory_target(
            name,
            context,
            self.helpers[0],
            platform=platform,
            folder=place,
            timestamp=self.plan.timestamp,
            base=base,
        )

    def _place(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / inventory_name(name)

    def drop_helper(self, target: Target, why: str) -> None:
        """Do without the helper that a target used: it cannot list anything."""
        with self._lock:
            if self.helpers and target.contexts["helper"] == self.helpers[0]:
                del self.helpers[0]
                if not self.helpers:
                    self._note_once("helper", f"no image can list what nodes hold: {why}; {self._instead}")

    @property
    def _instead(self) -> str:
        return "the pushed layers are read" if self.shelf else "it is not checked"

    def give_up(self, target: Target, failure: Failure, *, passes: bool) -> None:
        """Do without the list that a target failed to write; what `passes` is no fault of its helper."""
        if passes:
            self.skip(target.name.removeprefix(inventory_name("")), failure.message)
        else:
            self.drop_helper(target, failure.message.strip().splitlines()[0])

    def skip(self, name: str, why: str) -> None:
        """Do without the list of one node, or of a parent."""
        with self._lock:
            if name not in self._unlisted:
                self._unlisted.add(name)
                instead = self._instead if name in self.plan.targets else "what is added to it is not checked"
                self._note_once(name, f"the contents of `{name}` cannot be listed: {why}; {instead}")

    def take(self, target: Target) -> bool:
        """Take what a target has printed; return whether the node must be listed once more, on another helper."""
        name = target.name.removeprefix(inventory_name(""))
        path = self._place(name) / RESULT
        try:
            with path.open("rb") as file:
                raw = file.read(MOST_PRINTED + 1)
            if raw == NO_TOOLS:
                self.drop_helper(target, "`find` with `-printf` is missing there")
                return bool(self.helpers)
            inventory = read_printed(raw)
        except FileNotFoundError:
            self.skip(name, "the step wrote nothing")
            return False
        except (OSError, UnreadableInventory) as error:
            self.skip(name, str(error))
            return False
        with self._lock:
            self._files[name] = (path, read_printed)
            self._keep(name, inventory)
        return False

    def may_be_newer(self, name: str) -> bool:
        """Whether files of a node that was built are newer than images may be, or nothing lists it."""
        found = self._own(name)
        return found is None or bool(found.newer)

    def is_listed(self, name: str) -> bool:
        """Whether the list of a node was taken, or is done without."""
        return name in self._files or name in self._unlisted

    def node_failure(self, name: str, pushed: Reference | None) -> Failure | None:
        """Return why a node that was built may not be used, None if it may; `pushed` is where it is in a registry."""
        node = self.plan.targets[name]
        if not isinstance(node, Node):
            return None
        inventory = self._own(name)
        if inventory is None and pushed is not None and self.shelf is not None:
            try:
                inventory, _ = self.shelf.read_pushed(pushed)
                path = self._place(name) / RESULT
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(document.write(inventory))
                with self._lock:
                    self._files[name] = (path, document.read)
                    self._keep(name, inventory)
            except (RegistryProblem, UnreadableInventory) as error:
                why = f"the layers of `{name}` are not checked: {error}"
                if node.recipe.prefix and isinstance(error, RegistryProblem):
                    return Failure(kind=FailureKind.PUSH, message=why, target=name)
                self._note_once(f"{name} pushed", why)
        if inventory is None:
            return None
        self._note_unstable(node, inventory)
        broken = artifact_problems(inventory, node.recipe.prefix) if node.recipe.prefix else ()
        folder = "" if node.generated else node.folder
        return _failure(name, f"`{name}`", broken, node.recipe.place("prefix"), folder=folder)

    def store(self, name: str, subject: Descriptor) -> None:
        """Store the inventory of a node beside it, before the node gets the tag of its key.

        A registry that does not take it loses no node; `inventory --fill` adds it.
        """
        inventory = self._own(name)
        if inventory is None or self.shelf is None:
            return
        try:
            self.shelf.put(self.key_of(name), inventory, subject)
        except RegistryProblem as problem:
            self._note_once("store", f"the inventory of `{name}` is not stored: {problem}")

    def store_parent(self, image: ImageTarget) -> None:
        """Store the inventory of a parent, once for each digest."""
        inventory, digest = self._own(_parent_name(image)), self.plan.parent(image.parent.name).locked.digest
        if inventory is None or digest is None or self.shelf is None:
            return
        subject = Descriptor(media_type=OCI_INDEX, digest=digest, size=0)
        try:
            self.shelf.put(parent_key(digest, image.platform), inventory, subject)
        except RegistryProblem as problem:
            self._note_once("store", f"the inventory of `{image.parent.name}` is not stored: {problem}")

    def image_failure(self, target: str, references: Mapping[str, str]) -> Failure | None:
        """Return why the nodes of an image cannot be put together; `references` are those of published nodes."""
        image = self.plan.targets[target]
        if not isinstance(image, ImageTarget) or not image.artifacts:
            return None
        nodes = {name: self.plan.targets[name] for _, name in image.artifacts}
        artifacts = [node for node in nodes.values() if isinstance(node, Node)]
        for node in artifacts:
            broken = self._of_base(image, node, references)
            title = f"`{node.recipe.layer}` cannot be added to `{image.base or image.parent.name}`"
            if failure := _failure(target, title, broken, node.recipe.place("prefix")):
                return failure
        for number, later in enumerate(artifacts):
            for earlier in artifacts[:number]:
                if failure := self._pair_failure(target, earlier, later, references):
                    return failure
        return None

    def _of_base(self, image: ImageTarget, node: Node, references: Mapping[str, str]) -> tuple[Broken, ...]:
        key = (image.base or _parent_name(image), *node.recipe.prefix)
        with self._lock:
            if key not in self._base_problems:
                base = self.find(image.base, references) if image.base else self._of_parent(image)
                if base is None:
                    return ()
                self._base_problems[key] = base_problems(base, node.recipe.prefix, node.recipe.replaced)
            return self._base_problems[key]

    def _pair_failure(self, target: str, earlier: Node, later: Node, references: Mapping[str, str]) -> Failure | None:
        """Return why two artifacts do not go together. Each has only its prefix, so they meet only where these nest.

        The plan lets prefixes nest only where the later layer is built on the earlier one.
        """
        if shared_path(earlier.recipe.prefix, later.recipe.prefix) is None:
            return None
        inventories = [self.find(node.name, references) for node in (earlier, later)]
        if inventories[0] is None or inventories[1] is None:
            return None
        paths = shared_paths(inventories[0], inventories[1], depends=True)
        names = f"`{later.recipe.layer}` and `{earlier.recipe.layer}`"
        hint = f"remove it from `{later.recipe.layer}`"
        broken = [Broken(message=f"both write `/{path}`, one of them a folder", hint=hint) for path in paths[:_LISTED]]
        broken += reset_folders(inventories[0], later.recipe.prefix)
        return _failure(target, names, broken, later.recipe.place("prefix"))

    def find(self, name: str, references: Mapping[str, str]) -> Inventory | None:
        """Return the inventory of a node of this run, or of one that a registry has; None where there is none."""
        with self._lock:
            found = self._own(name)
            reference = references.get(name, "")
            if found is not None or "@" not in reference:
                return found
            shelf = self.shelf or self.open_shelf()
            try:
                found = shelf.find(self.key_of(name), reference.rpartition("@")[2]) if shelf else None
            except RegistryProblem as problem:
                self._note_once("read", f"inventories cannot be read: {problem}")
            if found is None:
                text = f"`{name}` has no inventory, so what is added to it is not checked"
                self._note_once("missing", f"{text}: run `buildsys inventory --fill`")
            else:
                self._keep(name, found)
            return found

    def _of_parent(self, image: ImageTarget) -> Inventory | None:
        name = _parent_name(image)
        found, digest = self._own(name), self.plan.parent(image.parent.name).locked.digest
        if found is None and digest is not None and (shelf := self.shelf or self.open_shelf()):
            try:
                found = shelf.find(parent_key(digest, image.platform), digest)
            except RegistryProblem as problem:
                self._note_once("read", f"inventories cannot be read: {problem}")
            if found is not None:
                self._keep(name, found)
        return found

    def _own(self, name: str) -> Inventory | None:
        """Return an inventory that this run has taken or read."""
        with self._lock:
            if name not in self._parsed and name in self._files:
                path, read = self._files[name]
                self._keep(name, read(path.read_bytes()))
            return self._parsed.get(name)

    def _keep(self, name: str, inventory: Inventory) -> None:
        with self._lock:
            self._parsed.pop(name, None)
            self._parsed[name] = inventory
            while len(self._parsed) > _KEPT and (gone := next(iter(self._parsed))):
                del self._parsed[gone]

    def _note_unstable(self, node: Node, inventory: Inventory) -> None:
        base = self._own(node.base) if node.base else None
        found = unstable_files(inventory, base)
        if found:
            shown = ", ".join(f"`/{each.path}` ({each.fix})" for each in found[:_LISTED])
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            self._note_once(f"{node.name} unstable", f"`{node.name}` differs from build to build: {shown}{more}")

    def _note_once(self, about: str, text: str) -> None:
        with self._lock:
            if about in self._noted:
                return
            self._noted.add(about)
        self.note(text)


def inspection_of(
    workspace: Workspace,
    environ: Mapping[str, str],
    selection: Selection,
    *,
    note: Callable[[str], None],
    shelf: Shelf | None = None,
    open_shelf: Callable[[], Shelf | None] = lambda: None,
) -> Inspection:
    """Return what checks the contents of a run's nodes, with the helper of the lock where this machine has it."""
    plan = selection.plan
    helper = mirrored_reference(plan.helper, read_settings(workspace.root, environ)) if plan.helper else ""
    return Inspection(
        plan=plan,
        helpers=list(helpers(replace(plan, helper=helper), selection.targets)),
        key_of=lambda name: selection.keys.of(name).key,
        root=workspace.root,
        note=note,
        shelf=shelf,
        open_shelf=open_shelf,
    )


def _parent_name(image: ImageTarget) -> str:
    """Return what the parent of an image is called here, by platform: no node's name begins so, or has a `_`."""
    return f"parent_{image.parent.name}_{architecture(image.platform)}"


def _failure(
    target: str, subject: str, broken: Iterable[Broken], location: Location, *, folder: str = ""
) -> Failure | None:
    """Return the failure of a target that breaks promises, None for none; `folder` is that of its Dockerfile."""
    broken = list(broken)
    if not broken:
        return None
    lines = [f"error: {subject}: {each.message}\nhint: {each.hint}" for each in broken]
    file = location.file.removeprefix(f"{folder}/") if folder else location.file
    return Failure(kind=FailureKind.CONTENT, message="\n".join(lines), target=target, file=file, line=location.line)
