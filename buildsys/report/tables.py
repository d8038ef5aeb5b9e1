"""A plan and the answers of the commands that ask, as lines and columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from buildsys.bake.targets import copied_names
from buildsys.config.model import Budget
from buildsys.errors import enumerated
from buildsys.plan.actions import BUILD, REUSE, SKIP, Action, Difference, format_difference, short
from buildsys.plan.diff import Changed, ChangeKind
from buildsys.plan.plan import Plan
from buildsys.recipes.recipe import Kind
from buildsys.report.console import Screen, columns
from buildsys.report.documents import layer_contents
from buildsys.report.text import clean, format_count, format_remaining, format_size
from buildsys.resolve.image import healthcheck_text, words_json
from buildsys.resolve.node import ImageTarget

if TYPE_CHECKING:
    # Only for annotations: a table of a plan does not wait for the modules of other commands.
    from buildsys.commands.affected import Affected
    from buildsys.commands.lock import Change
    from buildsys.commands.query import Explanation
    from buildsys.commands.vendor import Copied
    from buildsys.run.scheduler import Left

# Of what a layer brings into a stack, these have a line for each.
_LISTED = ("run", "downloads", "tests")
# Of targets that are built for one reason.
_MOST_TITLES = 3


def show_plan(plan: Plan, *, state: str, screen: Screen, only: Mapping[str, Action] | None = None) -> None:
    """Write one line per target in build order, and the count; of `only`, those that are skipped are left out."""
    kept = {name for name in plan.targets if only is None or only[name].word != SKIP}
    rows = [("node", node.title, node.name) for node in plan.nodes if node.name in kept]
    for stack in plan.stacks:
        if stack.name not in kept:
            continue
        rows.append(("image", stack.title, _of_what(stack) + (" · deprecated" if stack.deprecated else "")))
    for line in columns(rows):
        screen.line(line)
    deprecated = sum(parts[0].deprecated is not None for parts in plan.indexes.values())
    note = f" ({deprecated} deprecated)" if deprecated else ""
    nodes, images = (format_count(len(each), word) for each, word in ((plan.nodes, "node"), (plan.indexes, "image")))
    if only is not None:
        nodes = f"{len(kept & {node.name for node in plan.nodes})} of {nodes}"
        images = f"{len({each.stack for each in plan.stacks if each.name in kept})} of {images}"
    screen.line(f"{nodes}, {images}{note}. {state}")


def _of_what(stack: ImageTarget) -> str:
    artifacts = [layer for layer, _ in stack.artifacts]
    base = stack.base or stack.parent.name
    return " + ".join([base, *artifacts])


def show_list(plan: Plan, chosen: Collection[str], screen: Screen) -> None:
    """Write the chosen stacks by family, and the groups with how many of them they have."""
    families = [(family.name, family.description) for family in plan.families]
    for name, description in [*families, (None, "single stacks")]:
        stacks = [parts[0] for stack, parts in plan.indexes.items() if stack in chosen and parts[0].family == name]
        if not stacks:
            continue
        screen.line(screen.styled(name or "single stacks", "bold") + (f"  {description}" if name else ""))
        rows = []
        for stack in stacks:
            groups = [group for group in stack.groups if group != name]
            until = f"supported until {stack.support.until}" if stack.support else ""
            mark = f"deprecated: {stack.deprecated}" if stack.deprecated else until
            public = [_public(stack)] if any(map(_public, stacks)) else []
            rows.append((stack.stack, " ".join(groups), *public, mark))
        for line in columns(rows):
            screen.line(line)
    if plan.copies:
        screen.line(f"published to {plan.registry}, and copied to {enumerated(plan.copies)}")
    targets = {each.name for stack in chosen for each in plan.indexes[stack]}
    counts = {name: len(targets & {*members}) for name, members in plan.groups.items()}
    screen.line(f"groups: {', '.join(f'{name} ({number})' for name, number in counts.items() if number) or 'none'}")


def _public(stack: ImageTarget) -> str:
    """Return the repository of a stack, and its first tag; empty where both are as they are without a word on them."""
    more = f" +{len(stack.tags) - 1}" if len(stack.tags) > 1 else ""
    if stack.tags:
        return f"{stack.repository}:{stack.tags[0]}{more}"
    return stack.repository if stack.repository != stack.stack else ""


def show_stack(plan: Plan, target: str, screen: Screen) -> None:
    """Write a stack's layers with their parameters and the origin of each, and the merged settings of its image."""
    stack = next(each for each in plan.stacks if each.name == target)
    screen.line(f"{screen.styled(stack.stack, 'bold')}  {stack.description}")
    for line in _state(plan, stack):
        screen.line(line)
    screen.line("layers")
    for each in stack.layers:
        flavour = f" ({each.parameters['flavour']})" if "flavour" in each.parameters else ""
        kind = "system" if each.recipe.kind is Kind.SYSTEM else "artifact"
        kind = "settings" if each.is_own and not each.recipe.makes_node else kind
        screen.line(f"  {screen.styled(each.name, 'bold')}{flavour}  {kind}, {each.why}")
        screen.line(f"    {each.recipe.description}")
        rows = [
            (name, value if value else '""', f"from {each.origins[name]}")
            for name, value in each.parameters.items()
            if name in each.origins
        ]
        for line in columns(rows, indent="      "):
            screen.line(line)
        contents = layer_contents(plan, stack, each)
        brought = [(name, " ".join(values)) for name, values in contents.items() if values and name not in _LISTED]
        brought += [(name.removesuffix("s"), clean(one)) for name in _LISTED for one in contents[name]]
        for line in columns(brought, indent="      "):
            screen.line(line)
    screen.line("environment")
    for line in columns((v.name, v.shown, f"from {', '.join(v.layers)}") for v in stack.environment):
        screen.line(line)
    if rows := list(_settings(stack)):
        screen.line("settings")
        for line in columns(rows):
            screen.line(line)


def _state(plan: Plan, stack: ImageTarget) -> Iterator[str]:
    """Yield lines about a stack as a whole: how long it is maintained, what it is based on and published as."""
    if stack.deprecated:
        yield f"deprecated: {stack.deprecated}"
    if stack.support:
        yield f"supported until {stack.support.until}" + (f", as {stack.support.value}" if stack.support.value else "")
    parent = plan.parent(stack.parent.name)
    yield f"parent    {parent.reference}"
    if parent.locked.digest is None:
        yield f"          not pinned: {parent.locked.reason}"
    if _public(stack):
        yield f"published {stack.repository}: {' '.join(stack.tags) or 'BUILDSYS_TAG'}"
    for number, name in enumerate(copied_names(plan, stack)):
        yield f"{'' if number else 'copied to':<9} {name}"
    if stack.budget:
        yield f"budget    {_budget(stack.budget)}"
    yield f"groups    {' '.join(stack.groups)}"
    shown = f", shown is {stack.platform}" if stack.is_part else ""
    yield f"platforms {' '.join(each.platform for each in plan.indexes[stack.stack])}{shown}"
    yield f"declared  {stack.location}"


def _budget(budget: Budget) -> str:
    size = [f"at most {format_size(budget.size)}"] if budget.size is not None else []
    return ", ".join([*size, *([f"at most {budget.layers} layers"] if budget.layers is not None else [])]) or "none"


def _settings(stack: ImageTarget) -> Iterator[tuple[str, str, str]]:
    """Yield each setting of an image that a layer gives: what it is, its value, and the layer."""
    config = stack.config
    probe = config.healthcheck
    values = (
        ("entrypoint", None if config.entrypoint is None else words_json(config.entrypoint)),
        ("command", None if config.command is None else words_json(config.command)),
        ("user", config.user),
        ("workdir", config.workdir),
        ("healthcheck", healthcheck_text(probe) if probe else None),
        *((f"port {port}", port) for port in config.ports),
        *((f"label {key}", value) for key, value in config.labels.items()),
    )
    for name, value in values:
        if value is not None:
            what, _, key = name.partition(" ")
            text = f"{key}={value}" if what == "label" else value
            yield what, text, f"from {config.sources[name]}"


def show_actions(
    plan: Plan, actions: Mapping[str, Action], screen: Screen, *, left: Left | None = None, folds: bool = True
) -> None:
    """Write the action for each target that is needed, and its reason; then the counts, and how long it may take.

    With `folds`, targets that are built for one reason are one line, and so are those that are reused.
    """
    titles = {node.name: node.title for node in plan.nodes}
    images = {stack.name: stack.title for stack in plan.stacks}
    groups: dict[tuple[str, str], list[str]] = {}
    for name, action in actions.items():
        if action.word == SKIP or (folds and action.word == REUSE):
            continue
        word = "image" if name in images and action.word == BUILD else action.word
        same = (word, action.reason if folds else name)
        groups.setdefault(same, []).append(name)
    rows = [
        (word, _several([titles.get(name) or images[name] for name in names]), actions[names[0]].reason)
        for (word, _), names in groups.items()
    ]
    nodes = [actions[name].word for name in titles]
    stacks = [actions[name].word for name in images]
    reused = [titles.get(name) or images[name] for name, action in actions.items() if action.word == REUSE]
    if folds and reused:
        few = len(reused) <= _MOST_TITLES
        rows.append((REUSE, ", ".join(reused) if few else _counted(nodes.count(REUSE), stacks.count(REUSE)), ""))
    for line in columns(rows):
        screen.line(line)
    skipped = sum(word == SKIP for word in nodes)
    screen.line(
        f"{format_count(nodes.count(BUILD), 'node')} to build{_in_brackets(estimate_words(left))}, "
        f"{nodes.count(REUSE)} reused, {skipped} not needed; "
        f"{stacks.count(BUILD)} of {format_count(len(stacks) - stacks.count(SKIP), 'image')} to build"
    )


def _several(titles: Sequence[str]) -> str:
    if len(titles) <= _MOST_TITLES:
        return ", ".join(titles)
    return f"{', '.join(titles[: _MOST_TITLES - 1])} and {len(titles) - _MOST_TITLES + 1} more"


def _counted(nodes: int, images: int) -> str:
    parts = (format_count(nodes, "node") if nodes else "", format_count(images, "image") if images else "")
    return ", ".join(filter(None, parts))


def show_explanation(found: Explanation, screen: Screen) -> None:
    """Write the key, action, needs, users and inputs of a node or stack."""
    screen.line(f"{screen.styled(found.title, 'bold')}  {found.target}")
    screen.line(f"key       {found.key}")
    screen.line(f"{found.action.word:<9} {found.action.reason}")
    for word, names in (("needs", found.below), ("used by", found.users)):
        if names:
            screen.line(f"{word:<9} {', '.join(names)}")
    screen.line("inputs")
    for line in columns((name, short(value)) for name, value in found.inputs.items()):
        screen.line(line)


def show_why(path: Sequence[tuple[str, str]], screen: Screen) -> None:
    """Write how a layer comes into a stack."""
    for index, (name, reason) in enumerate(path):
        screen.line(f"{'  ' * index}{name}  {reason}")


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "is new"
    if difference.name == "dockerfile":
        return "its Dockerfile changed"
    if difference.name.startswith(("file ", "folder ")):
        word = "is new" if difference.before is None else "was removed" if difference.after is None else "changed"
        kind, _, path = difference.name.partition(" ")
        return f"{path if kind == 'file' else path.partition(' ')[2]} {word}"
    return format_difference(difference)


def _reason(plan: Plan, each: Changed) -> str:
    if each.cause is None:
        return ""
    if each.change == ChangeKind.TAGS:
        return f"not rebuilt, {_difference(each.difference)}"
    titles = {node.name: node.title for node in plan.nodes}
    what = _difference(each.difference)
    return what if each.cause == each.target else f"{titles.get(each.cause, each.cause)}: {what}"


def show_changes(plan: Plan, changes: Sequence[Changed], screen: Screen) -> None:
    """Write the changes and their number."""
    for line in columns((each.change, each.kind, each.title, _reason(plan, each)) for each in changes):
        screen.line(line)
    nodes = sum(each.kind == "node" for each in changes)
    images = format_count(len(changes) - nodes, "image")
    screen.line(f"{format_count(nodes, 'node')} and {images} differ" if changes else "nothing differs")


def show_affected(found: Affected, screen: Screen, *, why: bool) -> None:
    """Write the name of each stack that a change affects; with `why` the first reason for it."""
    reasons: dict[str, str] = {}
    for each in found.images:
        reasons.setdefault(each.stack, _reason(found.plan, each))
    for line in columns(((name, reason) if why else (name,) for name, reason in reasons.items()), indent=""):
        screen.line(line)


def affected_line(found: Affected, left: Left | None) -> str:
    """Return how many images a change affects, what is built for them, and how long that takes where it is known."""
    words = [f"{len(found.stacks)} of {len(found.plan.indexes)} images"]
    if found.moved:
        words.append(f"{len(found.moved)} of them not rebuilt")
    if found.nodes:
        words.append(f"{format_count(len(found.nodes), 'node')} to build{_in_brackets(estimate_words(left))}")
    if found.removed:
        words.append(f"{len(found.removed)} removed")
    if found.others:
        words.append(f"{len(found.others)} more that are deprecated or without support")
    return ", ".join(words)


def estimate_words(left: Left | None) -> str:
    """Return how long something may take, such as `about 12 min`; empty where that is not known."""
    return format_remaining(left.seconds, whole=left.whole).removesuffix(" left") if left else ""


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def show_copied(copied: Copied, screen: Screen, *, update: bool) -> None:
    """Write which layers were copied from where, the difference of an update, and which stay as they are."""
    if copied.difference:
        screen.line(copied.difference.rstrip("\n"))
    if copied.written:
        required = f" and what they require: {_folders(copied.required)}" if copied.required else ""
        word = "updated" if update else "added"
        screen.line(f"{word} {_folders(copied.written)}{required} (from {', '.join(copied.titles)})")
    for name in copied.stays:
        note = ", with changes of this project" if name in copied.changed else ""
        if name in copied.newer:
            note = f": `buildsys add --update {name}` shows what differs"
        screen.line(f"layers/{name} stays as it is{note}")
    if not copied.written and not copied.stays:
        screen.line("no layer of this project was copied")


def _folders(names: Iterable[str]) -> str:
    return ", ".join(f"layers/{name}" for name in names)


def show_lock(changes: Sequence[Change], screen: Screen, *, nothing: str = "nothing moved") -> None:
    """Write the entries that moved, with old and new value, and notes on others."""
    rows = []
    for each in changes:
        if each.before != each.after or each.note:
            moved = f"{short(each.before)} → {short(each.after)}" if each.before != each.after else short(each.after)
            rows.append((each.name, moved, each.note))
    for line in columns(rows):
        screen.line(line)
    if not any(each.before != each.after for each in changes):
        screen.line(nothing)
