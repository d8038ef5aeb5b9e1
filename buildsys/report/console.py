"""Results, events and mistakes become what a person reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from buildsys.config.model import Kind
from buildsys.errors import BuildsysError, Diagnostic, Differs
from buildsys.masks import Mask
from buildsys.plan.actions import BUILD, REUSE, SKIP, Action
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget
from buildsys.switches import wants_colour
from buildsys.texts import shown

if TYPE_CHECKING:
    # Only named in annotations: what reports a plan must not wait for the engine's side.
    from buildsys.commands.image_tests import TestResult

# A message may have lines of its own; what else a terminal would act on is written as an escape.
_KEPT = "\n\t"
_STYLES = {"error": "1;31", "hint": "36", "good": "32", "bad": "31", "dim": "2", "bold": "1"}


class Screen:
    """Writes to a terminal or a pipe: colour only on a terminal that wants it, marks only where they can be encoded."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self._colour = self.stream.isatty() and wants_colour(os.environ)

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


def show_error(error: BuildsysError, files: dict[str, str], screen: Screen, mask: Mask | None = None) -> None:
    """Write every mistake of an error with its place, the line of the file and the hint, all of it masked."""
    mask = mask or Mask()
    if isinstance(error, Differs):
        screen.line(mask.text(error.difference.rstrip("\n")))
    shown = {name: mask.text(text) for name, text in files.items()}
    for diagnostic in error.diagnostics():
        show_diagnostic(mask.value(diagnostic, keep=("file",)), shown, screen, word="error")
    several = len(error.diagnostics())
    if several > 1:
        screen.line(f"{several} errors")


def show_diagnostic(diagnostic: Diagnostic, files: dict[str, str], screen: Screen, *, word: str) -> None:
    """Write one mistake; `files` are the texts that places refer to."""
    style = "error" if word == "error" else "bold"
    screen.line(f"{screen.styled(f'{word}:', style)} {shown(diagnostic.message, keep=_KEPT)}")
    location = diagnostic.location
    if location is not None:
        screen.line(f"  --> {shown(str(location))}")
        lines = files.get(location.file, "").split("\n")
        if 0 < location.line <= len(lines) and lines[location.line - 1].strip():
            number = str(location.line)
            text = shown(lines[location.line - 1].rstrip("\r").replace("\t", " "))
            length = max(1, min(location.length, len(text) - location.column + 1))
            screen.line(f"{' ' * len(number)} |")
            screen.line(f"{number} | {text}")
            screen.line(f"{' ' * len(number)} | {' ' * (location.column - 1)}{screen.styled('^' * length, 'error')}")
    if diagnostic.hint:
        screen.line(f"{screen.styled('hint:', 'hint')} {shown(diagnostic.hint, keep=_KEPT)}")


def show_plan(plan: Plan, *, state: str, screen: Screen) -> None:
    """Write one line per target in build order, and the count."""
    rows = [("node", node.title, node.name) for node in plan.nodes]
    for stack in plan.stacks:
        rows.append(("image", stack.stack, _of_what(stack) + (" · deprecated" if stack.deprecated else "")))
    for line in columns(rows):
        screen.line(line)
    deprecated = sum(stack.deprecated is not None for stack in plan.stacks)
    note = f" ({deprecated} deprecated)" if deprecated else ""
    screen.line(f"{_count(len(plan.nodes), 'node')}, {_count(len(plan.stacks), 'image')}{note}. {state}")


def _of_what(stack: ImageTarget) -> str:
    artifacts = [layer for layer, _ in stack.artifacts]
    base = stack.base or stack.parent.name
    return " + ".join([base, *artifacts])


def _count(number: int, word: str, several: str = "") -> str:
    return f"{number} {word if number == 1 else several or f'{word}s'}"


def show_list(plan: Plan, screen: Screen) -> None:
    """Write the stacks by family, and the groups."""
    families = [(family.name, family.description) for family in plan.families]
    for name, description in [*families, (None, "single stacks")]:
        stacks = [stack for stack in plan.stacks if stack.family == name]
        if not stacks:
            continue
        screen.line(screen.styled(name or "single stacks", "bold") + (f"  {description}" if name else ""))
        rows = []
        for stack in stacks:
            groups = [group for group in stack.groups if group != name]
            mark = f"deprecated: {stack.deprecated}" if stack.deprecated else ""
            rows.append((stack.stack, " ".join(groups), mark))
        for line in columns(rows):
            screen.line(line)
    screen.line(f"groups: {', '.join(f'{name} ({len(members)})' for name, members in plan.groups.items())}")


def show_stack(plan: Plan, target: str, screen: Screen) -> None:
    """Write a stack's layers with their parameters and where these come from, and the merged environment."""
    stack = next(each for each in plan.stacks if each.name == target)
    parent = plan.parent(stack.parent.name)
    screen.line(f"{screen.styled(stack.stack, 'bold')}  {stack.description}")
    if stack.deprecated:
        screen.line(f"deprecated: {stack.deprecated}")
    screen.line(f"parent    {parent.reference}")
    if parent.locked.digest is None:
        screen.line(f"          not pinned: {parent.locked.reason}")
    screen.line(f"groups    {' '.join(stack.groups)}")
    screen.line(f"platforms {' '.join(stack.platforms)}")
    screen.line(f"declared  {stack.location}")
    screen.line("layers")
    nodes = dict(stack.artifacts)
    for each in stack.layers:
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


def show_actions(plan: Plan, actions: Mapping[str, Action], screen: Screen) -> None:
    """Write what is done about each target that is not left alone, and why; then the count."""
    titles = {node.name: node.title for node in plan.nodes}
    images = {stack.name: stack.stack for stack in plan.stacks}
    rows = []
    for name, action in actions.items():
        if action.word == SKIP:
            continue
        word = "image" if name in images and action.word == BUILD else action.word
        rows.append((word, titles.get(name) or images[name], action.reason))
    for line in columns(rows):
        screen.line(line)
    nodes = [actions[name].word for name in titles]
    stacks = [actions[name].word for name in images]
    left = sum(word == SKIP for word in nodes)
    screen.line(
        f"{_count(nodes.count(BUILD), 'node')} to build, {nodes.count(REUSE)} reused, {left} not needed; "
        f"{stacks.count(BUILD)} of {_count(len(stacks) - stacks.count(SKIP), 'image')} to make"
    )


def show_test(result: TestResult, screen: Screen) -> None:
    """Write a test in one line, and what it said if it failed."""
    test = result.test
    word = screen.styled("ok  ", "good") if result.problem is None else screen.styled("fail", "bad")
    screen.line(f"{word} {test.stack}  {test.layer}  {test.run}")
    if result.problem is not None:
        screen.line(f"     {result.problem}")
        for line in result.output.splitlines()[-12:]:
            screen.line(f"     | {line}")
