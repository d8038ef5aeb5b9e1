"""The commands and the output on a page of docs/, run in the order of the page in one shell.

A fence is `console`, with each command behind `$` (its further lines behind `>`) and then its output, which is
compared, or `sh`, with commands alone. A second word says what its commands need: nothing, or such as `engine`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support.command_line import run

DOCS = Path(__file__).parents[2] / "docs"
REGISTRY = "registry.example.com"
_FENCE = re.compile(r"^```(?P<kind>console|sh)(?: (?P<needs>\w+))?\n(?P<text>(?:(?!```).*\n)*)```$", re.MULTILINE)
_COMMAND = re.compile(r"^\$ (.*(?:\n> .*)*)\n", re.MULTILINE)
_BEGIN = "-- the output of the next command --\n"
_IDENTITY = {
    f"GIT_{who}_{what}": text
    for who in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "test"), ("EMAIL", "test@example.com"))
}
_UNIT = "(?:[kMG]?B|s|min|h)"
# What differs from run to run, and what is compared in its place.
_MASKS = (
    (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|\b[0-9a-f]{12}\b|\b(?=[a-f]*\d)[0-9a-f]{8}\b", "DIGEST"),
    (r"\b20\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?Z?|\.\d+\b)?", "TIME"),
    (rf"\b\d+(?:\.\d+)? {_UNIT}\b(?: \d+ s\b)?|(?<!\S)\d+:\d\d\b|\ba few seconds\b", "AMOUNT"),
    # What earlier runs left in the cache of the engine.
    (r"\b\d+ %(?= of the steps from cache)", "PART"),
    (r"\bruns/\d+", "runs/NUMBER"),
    # Columns are as wide as what is masked, and as the name of the registry.
    (r"(?<=\S) {2,}", "  "),
)


def masked(text: str) -> str:
    """Return output with a word for each digest, key, time, duration, size and number of a run."""
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of a page; `shown` is its output there, None if the page has none; `section` is its heading."""

    text: str
    shown: str | None
    needs: str
    section: str


class Page:
    """A page with its commands."""

    def __init__(self, name: str) -> None:
        self.name = name
        text = (DOCS / name).read_text(encoding="utf-8")
        self.commands: list[Command] = []
        for fence in _FENCE.finditer(text):
            heading = text[: fence.start()].rpartition("\n## ")[2].partition("\n")[0]
            where = {"needs": fence["needs"] or "", "section": heading}
            if fence["kind"] == "sh":
                self.commands += (Command(text=line, shown=None, **where) for line in fence["text"].splitlines())
                continue
            before, *rest = _COMMAND.split(fence["text"])
            assert not before, f"{name} has output without a command: {before}"
            found = zip(rest[::2], rest[1::2], strict=True)
            self.commands += (Command(text=each.replace("\n> ", "\n"), shown=shown, **where) for each, shown in found)

    def of(self, section: str) -> list[str]:
        """Return the commands of a section."""
        return [each.text for each in self.commands if each.section == section]

    def run(
        self,
        folder: Path,
        *needs: str,
        path: Path,
        registry: str = REGISTRY,
        behind: Mapping[str, str] = MappingProxyType({}),
        shell: Mapping[str, str] = MappingProxyType({}),
        compared: bool = True,
    ) -> str:
        """Run the commands that need nothing more than this, compare what they print, and return all of it.

        `path` has the program buildsys, `registry` replaces that of the page, and `behind` has commands that the page
        does not have, to run after one of it. UPDATE_GOLDEN=1 writes to the page what differs.
        """
        chosen = [each for each in self.commands if each.needs in {"", *needs}]
        assert behind.keys() <= {each.text for each in chosen}
        shell = {**_IDENTITY, **shell, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
        script = _script((each.text.replace(REGISTRY, registry), behind.get(each.text, ":")) for each in chosen)
        done = run(folder, "sh", "-c", script, seconds=1200, shell=shell)
        output = done.stdout.replace(registry, REGISTRY)
        assert done.code == 0, output + done.stderr
        if not compared:
            return output
        printed = output.split(_BEGIN)[1:]
        if os.environ.get("UPDATE_GOLDEN"):
            self._update(chosen, printed)
            return output
        for each, text in zip(chosen, printed, strict=True):
            assert each.shown is None or masked(each.shown) == masked(text), f"{self.name}: {each.text}"
        return output

    def _update(self, chosen: Iterable[Command], printed: Iterable[str]) -> None:
        """Write the output of commands to the page, where it is a different one."""
        text, end = (DOCS / self.name).read_text(encoding="utf-8"), 0
        for command, output in zip(chosen, printed, strict=True):
            if command.shown is None:
                continue
            words = "$ " + command.text.replace("\n", "\n> ") + "\n"
            begin = text.index(words + command.shown, end) + len(words)
            if masked(command.shown) != masked(output):
                text = text[:begin] + output + text[begin + len(command.shown) :]
                end = begin + len(output)
            else:
                end = begin + len(command.shown)
        (DOCS / self.name).write_text(text, encoding="utf-8")


def _script(commands: Iterable[tuple[str, str]]) -> str:
    """Return a shell script that prints both streams of each command, and stops at the first that fails."""
    found = (f"printf %s '{_BEGIN}'\n{command}\n{{ {behind}\n}} >/dev/null" for command, behind in commands)
    return "\n".join(("set -eu", "exec 2>&1", *found))


def all_pages(needs: str) -> list[Page]:
    """Return the pages with commands that need this."""
    pages = (Page(path.name) for path in sorted(DOCS.glob("*.md")))
    return [page for page in pages if any(each.needs == needs for each in page.commands)]
