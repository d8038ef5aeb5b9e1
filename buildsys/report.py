"""Results, events and mistakes become what a person reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from buildsys.actions import BUILD, LEAVE, REUSE, Action
from buildsys.errors import BuildsysError, Differs, Mistake
from buildsys.model import Kind
from buildsys.plan import Plan, StackTarget

if TYPE_CHECKING:
    # Only named in annotations: what reports a plan must not wait for the engine's side.
    from buildsys.baking import BakeReport, Outcome
    from buildsys.failure import Failure
    from buildsys.publishing import Published
    from buildsys.testing import TestResult

_STYLES = {"error": "1;31", "hint": "36", "good": "32", "bad": "31", "dim": "2", "bold": "1"}


class Screen:
    """Writes to a terminal or a pipe: colour only on a terminal that wants it, marks only where they can be encoded."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = terminal and not os.environ.get("NO_COLOR")

    def line(self, text: str = "") -> None:
        """Write a line."""
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()

    def styled(self, text: str, style: str) -> str:
        """Return the text in a style, if this screen has colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text


def columns(rows: Iterable[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Return rows as lines whose columns begin at the same place."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))).rstrip()
        for row in rows
    ]


def show_error(error: BuildsysError, files: dict[str, str], screen: Screen) -> None:
    """Write every mistake of an error with its place, the line of the file and the hint."""
    if isinstance(error, Differs):
        screen.line(error.difference.rstrip("\n"))
    for mistake in error.mistakes():
        show_mistake(mistake, files, screen, word="error")
    several = len(error.mistakes())
    if several > 1:
        screen.line(f"{several} errors")


def show_mistake(mistake: Mistake, files: dict[str, str], screen: Screen, *, word: str) -> None:
    """Write one mistake; `files` are the texts that places refer to."""
    style = "error" if word == "error" else "bold"
    screen.line(f"{screen.styled(f'{word}:', style)} {mistake.message}")
    place = mistake.place
    if place is not None:
        screen.line(f"  --> {place}")
        lines = files.get(place.file, "").splitlines()
        if 0 < place.line <= len(lines) and lines[place.line - 1].strip():
            number = str(place.line)
            text = lines[place.line - 1].replace("\t", " ")
            length = max(1, min(place.length, len(text) - place.column + 1))
            screen.line(f"{' ' * len(number)} |")
            screen.line(f"{number} | {text}")
            screen.line(f"{' ' * len(number)} | {' ' * (place.column - 1)}{screen.styled('^' * length, 'error')}")
    if mistake.hint:
        screen.line(f"{screen.styled('hint:', 'hint')} {mistake.hint}")


def show_plan(plan: Plan, *, state: str, screen: Screen) -> None:
    """Write one line per target in build order, and the count."""
    rows = [("node", node.title, node.name) for node in plan.nodes]
    for stack in plan.stacks:
        declared = stack.noded.stack
        rows.append(("image", declared.name, _of_what(stack) + (" · deprecated" if declared.deprecated else "")))
    for line in columns(rows):
        screen.line(line)
    deprecated = sum(stack.noded.stack.deprecated is not None for stack in plan.stacks)
    note = f" ({deprecated} deprecated)" if deprecated else ""
    screen.line(f"{_count(len(plan.nodes), 'node')}, {_count(len(plan.stacks), 'image')}{note}. {state}")


def _of_what(stack: StackTarget) -> str:
    artifacts = [layer for layer, _ in stack.noded.artifacts]
    base = stack.noded.base or stack.noded.parent.name
    return " + ".join([base, *artifacts])


def _count(number: int, word: str, several: str = "") -> str:
    return f"{number} {word if number == 1 else several or f'{word}s'}"


def show_list(plan: Plan, screen: Screen) -> None:
    """Write the stacks by family, and the groups."""
    families = [(family.name, family.description) for family in plan.families]
    for name, description in [*families, (None, "single stacks")]:
        stacks = [stack for stack in plan.stacks if stack.noded.stack.family == name]
        if not stacks:
            continue
        screen.line(screen.styled(name or "single stacks", "bold") + (f"  {description}" if name else ""))
        rows = []
        for stack in stacks:
            groups = [group for group in stack.groups if group != name]
            mark = f"deprecated: {stack.noded.stack.deprecated}" if stack.noded.stack.deprecated else ""
            rows.append((stack.stack, " ".join(groups), mark))
        for line in columns(rows):
            screen.line(line)
    screen.line(f"groups: {', '.join(f'{name} ({len(members)})' for name, members in plan.groups.items())}")


def show_stack(plan: Plan, target: str, screen: Screen) -> None:
    """Write a stack's layers with their parameters and where these come from, and the merged environment."""
    stack = next(each for each in plan.stacks if each.name == target)
    declared = stack.noded.stack
    parent = plan.parent(stack.noded.parent.name)
    screen.line(f"{screen.styled(declared.name, 'bold')}  {declared.description}")
    if declared.deprecated:
        screen.line(f"deprecated: {declared.deprecated}")
    screen.line(f"parent    {parent.reference}")
    if parent.locked.digest is None:
        screen.line(f"          not pinned: {parent.locked.reason}")
    screen.line(f"groups    {' '.join(stack.groups)}")
    screen.line(f"platforms {' '.join(declared.platforms)}")
    screen.line(f"declared  {declared.place}")
    screen.line("layers")
    nodes = dict(stack.noded.artifacts)
    for each in stack.noded.layered.instances:
        flavour = f" ({each.parameters['flavour']})" if "flavour" in each.parameters else ""
        kind = "system" if each.recipe.kind is Kind.SYSTEM else "artifact"
        screen.line(f"  {screen.styled(each.name, 'bold')}{flavour}  {kind}, {each.why}")
        screen.line(f"    {each.recipe.description}")
        rows = [
            (name, value if value else '""', f"from {each.origins[name]}")
            for name, value in each.parameters.items()
            if name in each.origins
        ]
        for line in columns(rows, indent="      "):
            screen.line(line)
        if each.name in nodes:
            screen.line(f"      node {nodes[each.name]}")
    screen.line("environment")
    for line in columns((v.name, v.shown, f"from {', '.join(v.layers)}") for v in stack.environment):
        screen.line(line)


def show_bake(report: BakeReport, screen: Screen) -> None:
    """Write what became of every target, and for a failure all that is needed to go on."""
    rows = [_outcome_row(each) for each in report.outcomes]
    for line in columns(rows):
        screen.line(line)
    counts = {word: sum(each.word == word for each in report.outcomes) for word in ("made", "already there", "failed")}
    missed = sum(each.word == "not reached" for each in report.outcomes)
    words = [f"{counts['made']} made", f"{counts['already there']} already there"]
    if report.failure:
        words += [f"{counts['failed']} failed", f"{missed} not reached"]
    screen.line(f"{', '.join(words)} · {_count(report.runs, 'RUN step')} executed · {_seconds(report.seconds)}")
    for problem in report.cache_problems:
        screen.line(f"warning: cache: {problem}")
    if report.failure is not None:
        _show_failure(report.failure, report.context, report.log, screen)


def _outcome_row(each: Outcome) -> tuple[str, ...]:
    size = f"{each.size / 1e6:.0f} MB" if each.size else ""
    digest = each.digest[:19] if each.digest else ""
    tag = each.tags[0] if each.tags else ""
    return (each.word, each.name, _seconds(each.seconds) if each.seconds else "", size, digest, tag)


def _show_failure(failure: Failure, folder: str, log: str, screen: Screen) -> None:
    if failure.kind == "interrupted":
        screen.line(
            "interrupted: steps that ended stay in the builder's cache, and the same command goes on from there"
        )
        return
    where = f"{failure.file}:{failure.line}" if failure.file else ""
    if where and folder:
        where = f"{folder}/{where}"
    screen.line(f"{screen.styled('failed', 'bad')} {failure.target or 'bake'}  {where}".rstrip())
    if failure.checksum is not None:
        screen.line(f"    the checksum of {failure.checksum.url} is not what was declared")
        screen.line(f"    expected {failure.checksum.expected}")
        screen.line(f"    found    {failure.checksum.found}")
    elif failure.last_words:
        for line in failure.last_words[-8:]:
            screen.line(f"    {line}")
    else:
        for line in failure.message.splitlines()[:8]:
            screen.line(f"    {line}")
    if failure.status is not None:
        screen.line(f"  ended with {failure.status}")
    if failure.target:
        screen.line(f"  alone  buildsys bake {failure.target}")
    if log:
        screen.line(f"  log    {log}")


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def show_actions(plan: Plan, actions: Mapping[str, Action], screen: Screen) -> None:
    """Write what is done about each target that is not left alone, and why; then the count."""
    titles = {node.name: node.title for node in plan.nodes}
    images = {stack.name: stack.stack for stack in plan.stacks}
    rows = []
    for name, action in actions.items():
        if action.word == LEAVE:
            continue
        word = "image" if name in images and action.word == BUILD else action.word
        rows.append((word, titles.get(name) or images[name], action.reason))
    for line in columns(rows):
        screen.line(line)
    nodes = [actions[name].word for name in titles]
    stacks = [actions[name].word for name in images]
    left = sum(word == LEAVE for word in nodes)
    screen.line(
        f"{_count(nodes.count(BUILD), 'node')} to build, {nodes.count(REUSE)} reused, {left} not needed; "
        f"{stacks.count(BUILD)} of {_count(len(stacks) - stacks.count(LEAVE), 'image')} to make"
    )


def show_published(result: Published, screen: Screen) -> None:
    """Write what was made under which reference, what was there, what is missing and why."""
    decision = result.decision
    rows = [("made", name, _brief(reference)) for name, reference in {**result.nodes, **result.stacks}.items()]
    for name in decision.targets:
        if name in decision.existing and name not in result.stacks:
            rows.append(("reused", name, _brief(decision.existing[name])))
    rows += [("blocked", name, f"by {cause}") for name, cause in result.blocked.items()]
    for line in columns(rows):
        screen.line(line)
    for name, missing in result.damaged.items():
        screen.line(f"warning: {name} was damaged in the registry and is made again: {missing[0]} is missing")
    reused = sum(action.word == REUSE for action in decision.actions.values())
    screen.line(
        f"{_count(len(result.nodes), 'node')} and {_count(len(result.stacks), 'image')} made, {reused} reused · "
        f"{_count(len(result.runs), 'RUN step')} executed · {_count(len(result.moved), 'tag')} moved · "
        f"{_seconds(result.seconds)}" + (f" · {_count(result.retries, 'try', 'tries')} again" if result.retries else "")
    )
    if result.blocked:
        verb = "is" if len(result.blocked) == 1 else "are"
        total = _count(len(decision.tags), "image")
        screen.line(f"Nothing was tagged: {len(result.blocked)} of {total} {verb} missing")
    for failure in result.failures:
        where = next((node.folder for node in decision.plan.nodes if node.name == failure.target), "")
        _show_failure(failure, where, result.log or "", screen)


def show_failures(failures: Iterable[Failure], screen: Screen) -> None:
    """Write failures that belong to no plan of the project's own."""
    for failure in failures:
        _show_failure(failure, "", "", screen)


def _brief(reference: str) -> str:
    name, _, digest = reference.partition("@")
    return f"{name}@{digest[:19]}"


def show_test(result: TestResult, screen: Screen) -> None:
    """Write a test in one line, and what it said if it failed."""
    test = result.test
    word = screen.styled("ok  ", "good") if result.problem is None else screen.styled("fail", "bad")
    screen.line(f"{word} {test.stack}  {test.layer}  {test.run}")
    if result.problem is not None:
        screen.line(f"     {result.problem}")
        for line in result.output.splitlines()[-12:]:
            screen.line(f"     | {line}")
