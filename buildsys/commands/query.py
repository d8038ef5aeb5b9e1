"""The use cases that only look: keys and actions of the sources as they are, and against another revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from buildsys.commands.plan import make_plan
from buildsys.config.lockfile import Lock, lock_text, parse_lock
from buildsys.config.model import Contents
from buildsys.errors import Diagnostic, Differs, InvalidInput, Unavailable
from buildsys.names import LOCK_FILE, OVERLAY_FILE, STATE_FOLDER
from buildsys.plan.actions import Action, ActionKind, decide
from buildsys.plan.diff import Changed, ChangeKind, compare, users_of
from buildsys.plan.downloads import checked_downloads
from buildsys.plan.keys import Keys, folders_of, keys_of
from buildsys.plan.plan import Plan
from buildsys.plan.selection import select
from buildsys.project.workspace import Workspace, named_prefix
from buildsys.run.contexts import contents_of
from buildsys.run.variables import check_names
from buildsys.values import dataclass

# Downloads of many gigabytes take as long.
LONGEST_WAIT = 900.0
WAITING = f"waiting for another `buildsys lock` in this project, at most {LONGEST_WAIT / 60:.0f} minutes"
LOCKING = f"{STATE_FOLDER}/locking"

if TYPE_CHECKING:
    from buildsys.commands.lock import Change
    from buildsys.masks import Mask
    from buildsys.run.scheduler import Left


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedActions:
    """The sources as they are: plan, keys, and what would be done about every target."""

    plan: Plan
    keys: Keys
    actions: Mapping[str, Action]


def look(
    workspace: Workspace,
    environ: Mapping[str, str],
    plan: Plan | None = None,
    *,
    names: tuple[str, ...] = (),
    contents: Contents | None = None,
    offline: bool,
) -> PlannedActions:
    """Return a plan with actions: by the registry that is named, else by the engine's own store of images.

    `names` are what a bake would be asked for, by default all images that are not deprecated. `contents` are the files
    of its contexts where they are known. Without `plan` it is that of a bake on this machine, offline that of the
    committed files. Where no engine answers, and offline, everything is to be built. Raises `InvalidInput` for names
    that mean nothing, and for names that no registry takes.
    """
    plan = plan or make_plan(workspace.tree(), overlay=not offline)
    check_names(plan, environ)
    keys = keys_of(plan, contents or contents_of(workspace, plan))
    wanted = select(plan, names) if names else [stack.name for stack in plan.stacks if not stack.deprecated]
    if offline:
        return PlannedActions(plan=plan, keys=keys, actions=decide(plan, keys, {}, {}, wanted))
    if named_prefix(workspace, environ) is None:
        return PlannedActions(plan=plan, keys=keys, actions=decide(plan, keys, _in_the_engine(plan, keys), {}, wanted))
    from buildsys.run.store import open_store

    with open_store(workspace, environ) as store:
        there = store.existing(plan, keys)
        first = decide(plan, keys, there.references, {}, wanted)
        previous = store.previous(plan, [name for name, action in first.items() if action.word is ActionKind.BUILD])
    actions = decide(plan, keys, there.references, previous, wanted, foreign=there.foreign)
    return PlannedActions(plan=plan, keys=keys, actions=actions)


def estimate(workspace: Workspace, found: PlannedActions) -> Left | None:
    """Return how long what is to be built takes by what earlier runs recorded; None if nothing of it was recorded."""
    from buildsys.events.journal import history_of
    from buildsys.run.scheduler import estimate_of

    return estimate_of(found.plan, found.actions, history_of(workspace))


def _in_the_engine(plan: Plan, keys: Keys) -> Mapping[str, str]:
    """Return the stacks whose image in the engine's own store has their key, as target to a name of the image."""
    from buildsys.buildkit.images import own_images

    images = own_images()
    return {stack.name: images[key][0] for stack in plan.stacks if (key := keys.stacks[stack.name].key) in images}


def differences(workspace: Workspace, revision: str, environ: Mapping[str, str]) -> tuple[Plan, tuple[Changed, ...]]:
    """Return the plan of the sources as they are, and what differs in it from that of a revision."""
    from buildsys.project.revision import open_revision

    tree = workspace.tree()
    plan = make_plan(tree, overlay=True)
    after = (plan, keys_of(plan, contents_of(workspace, plan)))
    # Base images of this machine are the same ones whatever the revision.
    overlay = {OVERLAY_FILE: tree[OVERLAY_FILE]} if OVERLAY_FILE in tree else {}
    with open_revision(workspace.root, revision, environ) as other:
        try:
            old = make_plan({**other.tree(), **overlay}, overlay=True)
            before = (old, keys_of(old, other.contents(folders_of(old))))
        except InvalidInput as error:
            first = error.diagnostics()[0]
            message = f"the project of `{revision}` cannot be planned: {first.message}"
            raise InvalidInput(
                [Diagnostic(message=message, hint="compare with a revision that can be planned")]
            ) from error
    return plan, compare(before, after)


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Everything known about one node or stack."""

    target: str
    title: str
    key: str
    inputs: Mapping[str, str]
    action: Action
    below: tuple[str, ...]
    users: tuple[str, ...]


def explain(found: PlannedActions, word: str) -> Explanation:
    """Explain a node or stack; raises `InvalidInput` for a name that means none, or several."""
    targets = select(found.plan, [word])
    if len(targets) != 1:
        message = f"`{word}` matches {len(targets)} targets, expected one"
        raise InvalidInput([Diagnostic(message=message, hint=f"name one of them, such as `{targets[0]}`")])
    target = targets[0]
    node = next((each for each in found.plan.nodes if each.name == target), None)
    stack = next((each for each in found.plan.stacks if each.name == target), None)
    keyed = found.keys.of(target)
    return Explanation(
        target=target,
        title=node.title if node else stack.stack if stack else target,
        key=keyed.key,
        inputs=keyed.inputs,
        action=found.actions[target],
        below=node.below if node else stack.below if stack else (),
        users=users_of(found.plan, target) if node else (),
    )


def lock(
    workspace: Workspace,
    environ: Mapping[str, str],
    *,
    update: tuple[str, ...] | None,
    offline: bool,
    check: bool,
    today: date,
    timestamp: int | None = None,
    adds_timestamp: bool = True,
    on_wait: Callable[[], None] = lambda: None,
) -> tuple[Change, ...]:
    """Write the lock with what is missing, or with what `update` moves; with `check` write nothing.

    `timestamp`, in seconds since 1970, replaces that of the lock; a missing one becomes the beginning of `today` where
    `adds_timestamp` is set. `on_wait` is called once where another process is writing it, which is waited for. Raises
    `Differs` with `check` if a reference has no entry or an address gives another file than its checksum says,
    `Unavailable` if nothing that is asked answers, or a version gives nothing whose checksum the lock must have.
    """
    if check:
        return _check_lock(workspace, environ, offline=offline, today=today)
    from buildsys.commands.lock import check_answers, check_versions, next_timestamp, resolved
    from buildsys.project.settings import mask_of, read_settings
    from buildsys.project.state import State
    from buildsys.run.store import registry_of

    # What another process writes meanwhile would be lost: each reads the lock, and asks for minutes.
    with State(workspace.root).reserved(LOCKING, LONGEST_WAIT, on_wait):
        held, plan = _lock_and_plan(workspace, today)
        if timestamp is None and held.timestamp is None and adds_timestamp:
            timestamp = next_timestamp(None, today)
        settings = read_settings(workspace.root, environ)
        with nullcontext() if offline else registry_of(settings, environ) as registry:
            found, changes = resolved(
                plan,
                held,
                update=update,
                registry=registry,
                settings=settings,
                today=today,
                timestamp=timestamp,
                environ=environ,
            )
        changes = _masked(changes, mask_of(workspace.root, environ))
        check_answers(changes)
        workspace.write(LOCK_FILE, lock_text(found))
    if not offline:
        check_versions(plan, found, changes)
    return changes


def _check_lock(workspace: Workspace, environ: Mapping[str, str], *, offline: bool, today: date) -> tuple[Change, ...]:
    """Return which addresses could not be compared with their checksums; raises `Differs` for everything wrong."""
    from buildsys.commands.lock import compared, missing_entries, missing_versions
    from buildsys.project.settings import mask_of, read_settings

    held, plan = _lock_and_plan(workspace, today)
    missing = [*missing_entries(plan, held), *(layer for layer in plan.epochs if layer not in held.epochs)]
    missing += missing_versions(plan, held)
    if missing:
        listed = "\n".join(f"+ {name}" for name in missing)
        count = f"{len(missing)} {'entry' if len(missing) == 1 else 'entries'}"
        raise Differs(f"`{LOCK_FILE}` lacks {count}", difference=listed, hint="run `buildsys lock`")
    if offline:
        return ()
    from buildsys.config.catalog import load

    written = checked_downloads(load(workspace.tree()), plan.nodes)
    changes = compared(plan, held, written, read_settings(workspace.root, environ), environ)
    changes = _masked(changes, mask_of(workspace.root, environ))
    if wrong := [each for each in changes if each.after != each.before]:
        at = {each.address: each.location for each in written}
        lines = [
            f"- {each.name} {each.before} ({at.get(each.name) or LOCK_FILE})\n+ {each.name} {each.after}"
            for each in wrong
        ]
        count = "1 address gives" if len(wrong) == 1 else f"{len(wrong)} addresses give"
        message = f"{count} another file than the checksum says"
        hint = "write the new checksum if the file is right; `buildsys lock --update ADDRESS` does it in the lock"
        raise Differs(message, difference="\n".join(lines), hint=hint)
    return tuple(each for each in changes if each.note)


def _lock_and_plan(workspace: Workspace, today: date) -> tuple[Lock, Plan]:
    """Return the lock as it is, and the plan with every epoch and without what the lock says of downloads.

    An epoch that is missing would be an error in the plan; here it is the question. So are downloads: what the lock
    knows of them would look like a checksum that the layer declares.
    """
    tree = dict(workspace.tree())
    held = parse_lock(tree[LOCK_FILE]) if LOCK_FILE in tree else Lock()
    tree[LOCK_FILE] = lock_text(replace(_with_all_epochs(held, tree, today), downloads={}))
    return held, make_plan(tree, locking=True)


def _masked(changes: tuple[Change, ...], mask: Mask) -> tuple[Change, ...]:
    """Return changes whose notes, which quote registries and proxies, are fit to be shown."""
    return mask.value(changes, keep=("name", "before", "after"))


def _with_all_epochs(held: Lock, tree: Mapping[str, str], today: date) -> Lock:
    from buildsys.config.catalog import load

    fresh = {
        layer.name: today.isoformat()
        for layer in load(tree).layers.values()
        if any(recipe.freshness for recipe in layer.recipes.values())
    }
    return replace(held, epochs={**fresh, **held.epochs})


def moved_upstream(
    workspace: Workspace, environ: Mapping[str, str], today: date
) -> tuple[tuple[Change, ...], Unavailable | None]:
    """Return what moved since it was locked or cannot be looked up, and the problem if no registry answers for any."""
    from buildsys.commands.lock import outdated
    from buildsys.project.settings import mask_of, read_settings
    from buildsys.run.store import registry_of

    plan = make_plan(workspace.tree())
    settings = read_settings(workspace.root, environ)
    with registry_of(settings, environ) as registry:
        found, problem = outdated(plan, registry, settings, today)
    return _masked(found, mask_of(workspace.root, environ)), problem


def everything(plan: Plan) -> list[Changed]:
    """Return every image as changed, for a revision that cannot be read."""
    return [
        Changed(target=stack.name, title=stack.stack, kind="image", change=ChangeKind.ADDED) for stack in plan.stacks
    ]
