"""What differs from another revision, which images a change therefore affects, and how long they take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from buildsys.commands.plan import chosen_targets, make_plan
from buildsys.errors import Diagnostic, InvalidInput
from buildsys.names import OVERLAY_FILE
from buildsys.plan.actions import BUILD, Action
from buildsys.plan.diff import Changed, ChangeKind, compare
from buildsys.plan.keys import folders_of, keys_of
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.graph import closure
from buildsys.resolve.node import ImageTarget
from buildsys.run.contexts import contents_of
from buildsys.values import dataclass

if TYPE_CHECKING:
    from buildsys.run.scheduler import Left

# What GitHub (`github.event.before`) and GitLab (`CI_COMMIT_BEFORE_SHA`) give where there is no earlier commit.
_NO_COMMIT = {"0" * 40, "0" * 64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Affected:
    """The images that differ from those of a revision, each once for each platform; those that are built come first.

    `nodes` are what is built for them. `targets` are what a bake of these names is about: the images, and nodes that
    are named themselves. `others` are stacks that differ too and that no bake without names builds; `removed` are
    stacks that no longer exist. `note` says why everything counts as affected; it is empty where the revision could be
    compared.
    """

    plan: Plan
    since: str
    images: tuple[Changed, ...]
    nodes: tuple[Changed, ...]
    targets: tuple[str, ...]
    others: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    note: str = ""

    @property
    def built(self) -> tuple[Changed, ...]:
        """The images that are built; of the others only names move."""
        return tuple(each for each in self.images if each.change != ChangeKind.TAGS)

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks of the images, each once."""
        return tuple(dict.fromkeys(each.stack for each in self.images))

    @property
    def moved(self) -> tuple[str, ...]:
        """The stacks whose images are not rebuilt and have other names."""
        built = {each.stack for each in self.built}
        return tuple(stack for stack in self.stacks if stack not in built)


def differences(
    workspace: Workspace, revision: str, environ: Mapping[str, str], plan: Plan | None = None
) -> tuple[Plan, tuple[Changed, ...]]:
    """Return the plan of the sources as they are, and what differs in it from that of a revision.

    `plan` is that plan where it is known. Raises as `open_revision`, and `InvalidInput` for a revision without a plan.
    """
    from buildsys.project.revision import open_revision

    tree = workspace.tree()
    plan = plan or make_plan(tree, overlay=True)
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


def affected(
    workspace: Workspace,
    revision: str,
    environ: Mapping[str, str],
    *,
    words: Sequence[str] = (),
    plan: Plan | None = None,
    today: date,
) -> Affected:
    """Return the images that differ from those of a revision, of those that a bake of `words` would build.

    Everything counts as affected where there is no earlier commit, and in a shallow clone without it. Raises as
    `differences`, and `InvalidInput` for words that mean nothing.
    """
    from buildsys.project.revision import ShallowClone

    note = ""
    try:
        if revision in _NO_COMMIT:
            plan = plan or make_plan(workspace.tree(), overlay=True)
            changes = everything(plan)
            note = f"everything counts as affected: `{revision[:8]}…` means that there is no earlier commit"
        else:
            plan, changes = differences(workspace, revision, environ, plan)
    except ShallowClone as error:
        plan = plan or make_plan(workspace.tree(), overlay=True)
        changes = everything(plan)
        note = f"everything counts as affected: {error.message}. {error.hint}"
    chosen, _ = chosen_targets(plan, words, everything=False, today=today)
    return _affected(plan, revision, changes, chosen, note=note, named=bool(words))


def _affected(
    plan: Plan, since: str, changes: Sequence[Changed], chosen: Collection[str], *, note: str, named: bool
) -> Affected:
    present = [each for each in changes if each.change != ChangeKind.REMOVED]
    images = [each for each in present if each.kind == "image" and each.target in chosen]
    below = closure(plan.needs, [each.target for each in images])
    stacks = {each.name: each.stack for each in plan.stacks}
    others = dict.fromkeys(
        stacks[each.target] for each in present if each.kind == "image" and each.target not in chosen
    )
    gone = (each.stack for each in changes if each.kind == "image" and each.change == ChangeKind.REMOVED)
    return Affected(
        plan=plan,
        since=since,
        images=tuple(sorted(images, key=lambda each: each.change == ChangeKind.TAGS)),
        nodes=tuple(each for each in present if each.kind == "node" and each.target in below),
        targets=tuple(sorted({each.target for each in present} & {*chosen})),
        others=() if named else tuple(others),
        removed=tuple(name for name in dict.fromkeys(gone) if name not in plan.indexes),
        note=note,
    )


def estimate(workspace: Workspace, found: Affected) -> Left | None:
    """Return how long what is built takes by what earlier runs recorded; None if nothing of it was recorded."""
    from buildsys.events.journal import history_of
    from buildsys.run.scheduler import estimate_of

    built = (each.target for each in (*found.nodes, *found.built))
    actions = {name: Action(target=name, word=BUILD, reason="") for name in built}
    return estimate_of(found.plan, actions, history_of(workspace))


def everything(plan: Plan) -> tuple[Changed, ...]:
    """Return every node and image as new, for a revision that cannot be read."""
    return tuple(
        Changed(
            target=name,
            title=each.title,
            kind="image" if isinstance(each, ImageTarget) else "node",
            change=ChangeKind.ADDED,
            stack=each.stack if isinstance(each, ImageTarget) else "",
        )
        for name, each in plan.targets.items()
    )
