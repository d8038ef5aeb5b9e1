"""The events of a run become one HTML file that needs nothing else: no network, no folder beside it.

All figures and pictures are in the page as it is; its script only chooses, filters and sorts. The page's own policy
allows this script and this style and nothing more, so no text of a build can become a program.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket

from buildsys.errors import BuildsysError, Diagnostic, InvalidInput
from buildsys.events.events import BLOCKED, FAILED, MADE, NOT_REACHED, REUSED, Event, read_lines
from buildsys.events.model import UNFINISHED, RunModel, Step, run_model
from buildsys.names import STATE_FOLDER
from buildsys.project.files import lack, read_named
from buildsys.project.run_folder import BEFORE, EVENTS, REPORT, RunFolder
from buildsys.project.state import State
from buildsys.project.workspace import Workspace, write_whole
from buildsys.report import outcomes, text
from buildsys.report.html.details import details
from buildsys.report.html.diagram import draw_diagram
from buildsys.report.html.effects import delays, images, savings
from buildsys.report.html.figures import busy, changes, critical_path, image_sizes, node_sizes, slowest_steps
from buildsys.report.html.timeline import draw_timeline, mark, outcome_class, step_class
from buildsys.texts import shown

EVENTS_FILE = f"{STATE_FOLDER}/{EVENTS}"
REPORT_FILE = f"{STATE_FOLDER}/{REPORT}"
SLOWEST = 25
# Of those that others waited for.
DELAYS = 15
OUTCOMES = (MADE, REUSED, FAILED, BLOCKED, NOT_REACHED, UNFINISHED)
SIGNALS = {2: "Ctrl-C", 15: "SIGTERM"}
_FOLDER = Path(__file__).parent
_EVENTS_LIMIT = 256 << 20
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def write_report(workspace: Workspace, events: Path | None, output: Path | None) -> str:
    """Write the page of a run, by default the last one, and return its path as a person would type it.

    Raises `InvalidInput` if a file holds no events.
    """
    state = State(workspace.root)
    found = _given(events) if events else _own(state, EVENTS_FILE)
    if not found and events:
        hint = f"name a file that a run wrote, such as `{EVENTS_FILE}`"
        raise InvalidInput([Diagnostic(message=f"`{events}` has no events of a run", hint=hint)])
    if not found:
        message = f"there is no run to report: `{EVENTS_FILE}` has no events"
        raise InvalidInput([Diagnostic(message=message, hint="run `buildsys bake` first")])
    # Only the last run has a known predecessor.
    before = _own(state, f"{STATE_FOLDER}/{BEFORE}") if events is None else ()
    data = page(run_model(found), run_model(before) if before else None).encode()
    if output:
        if output.exists() and (problem := lack(output, "a file")):
            raise InvalidInput([Diagnostic(message=f"`{output}` {problem}", hint="name a different file")])
        write_whole(Path(os.path.realpath(output)), data)
        return str(output)
    state.write(REPORT_FILE, data)
    return REPORT_FILE


def write_page(folder: RunFolder, run: RunModel) -> str:
    """Write the page of a run into its folder, and return its path as a person would type it.

    Raises `Unavailable` if the disk does not take it, `InvalidInput` for a symlink in its place.
    """
    try:
        before = _own(folder.state, folder.file(BEFORE))
    except BuildsysError:
        # A page without the previous run is better than none.
        before = ()
    folder.state.write(folder.file(REPORT), page(run, run_model(before) if before else None).encode())
    folder.show(REPORT)
    return folder.file(REPORT)


def _own(state: State, name: str) -> tuple[Event, ...]:
    data = state.read(name, limit=_EVENTS_LIMIT)
    return tuple(read_lines(io.StringIO((data or b"").decode(errors="replace"))))


def _given(path: Path) -> tuple[Event, ...]:
    return tuple(read_lines(io.StringIO(read_named(path, _EVENTS_LIMIT).decode(errors="replace"))))


def page(run: RunModel, earlier: RunModel | None = None) -> str:
    """Return the page of a run that is over; `earlier` is the run before it."""
    style, script = ((_FOLDER / f"report.{each}").read_text("utf-8") for each in ("css", "js"))
    headline_class, headline = _headline(run)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            style=style,
            script=script,
            policy=_policy(script, style),
            headline=headline,
            headline_class=headline_class,
            run=run,
            earlier=earlier,
            copies=[(each, tuple(outcomes.copies_lines(each))) for each in run.copies],
            moved=[each for each in run.tags if each.tags or each.missing],
            targets=list(run.targets.values()),
            data=details(run, earlier.targets if earlier else {}),
            **(_sections(run, earlier) if run.targets else {}),
        )
    )


def _sections(run: RunModel, earlier: RunModel | None) -> dict[str, Any]:
    """Return what the sections show of a run that has targets."""
    targets = list(run.targets.values())
    path = critical_path(targets)
    critical = frozenset(each.name for each in path)
    stretches = busy(run)
    number = {each: sum(target.outcome == each for target in targets) for each in OUTCOMES}
    steps = [step.seconds for target in targets for step in target.steps if not step.cached]
    return {
        "outcomes": {each: number[each] for each in OUTCOMES if number[each] or each in (MADE, REUSED)},
        "failed": [each for each in targets if each.outcome == FAILED],
        "path": path,
        "gaps": [each for each in stretches if not each.targets],
        "average": sum(each.seconds * each.targets for each in stretches) / (run.seconds or 1.0),
        "timeline": draw_timeline(run, stretches, critical),
        "diagram": draw_diagram(targets, critical),
        "images": images(run),
        "saved": savings(run),
        "delays": delays(run),
        "sizes": image_sizes(targets),
        "nodes": node_sizes(targets),
        "slowest": slowest_steps(targets, SLOWEST),
        "step_seconds": sum(steps),
        "most_delays": DELAYS,
        "changes": changes(run, earlier) if earlier else (),
    }


def _headline(run: RunModel) -> tuple[str, str]:
    """Return how the run ended, as a class and in a few words."""
    failed = sum(target.outcome == FAILED for target in run.targets.values())
    several = f"{failed} of {text.format_count(len(run.targets), 'target')} failed" if failed else ""
    if not run.head and not run.targets:
        return "is-not-reached", "No events of this run"
    if run.done is None or run.done.signal:
        signal = run.done.signal if run.done else 0
        words = f"Stopped by {SIGNALS.get(signal, f'signal {signal}')}" if signal else "Did not finish"
        return "is-unfinished", f"{words}; {several}" if several else words
    if several:
        return "is-failed", several
    if run.done.exit_code:
        return "is-failed", f"Ended with exit code {run.done.exit_code}"
    if not any(target.outcome == MADE for target in run.targets.values()):
        return "is-made", "Nothing to do"
    return "is-made", "All done"


def _policy(script: str, style: str) -> str:
    """Return a policy that allows this script and this style, named by their digests."""

    def named(part: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {named(script)}; style-src {named(style)}; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        bytecode_cache=_compiled(),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    environment.filters |= {
        "count": text.format_count,
        "deciding": outcomes.deciding_line,
        "difference": text.format_difference,
        "failure_lines": outcomes.failure_lines,
        "mark": mark,
        "moment": text.format_moment,
        "outcome": outcomes.outcome_word,
        "outcome_class": outcome_class,
        "percent": lambda part, whole: f"{100 * min(part / whole, 1.0) if whole else 0:.2f}%",
        "place": outcomes.failure_place,
        "seconds": text.format_seconds,
        "share": text.format_share,
        "short_digests": lambda reason: _DIGEST.sub(r"\1…", reason),
        "size": text.format_size,
        "step_class": step_class,
        "step_words": _step_words,
    }
    return environment


class CompiledTemplates(FileSystemBytecodeCache):
    """Files of compiled templates; one that cannot be written or read back costs time, never the page."""

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read a template, which is compiled if its file is not whole."""
        with contextlib.suppress(Exception):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a template, which is compiled next time if the disk does not take it."""
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


def _compiled() -> CompiledTemplates | None:
    """Return where compiled templates are kept: beside Python's own bytecode, if that may be written."""
    # Compiling them takes longer than the rest of a run that has nothing to do.
    folder = _FOLDER / "__pycache__"
    if sys.dont_write_bytecode or not os.access(folder, os.W_OK):
        return None
    return CompiledTemplates(str(folder))


def _step_words(step: Step) -> str:
    return outcomes.step_words(step.name, step.kind) or step.name


def _printable(value: Any) -> Any:
    """Write characters that no page may hold, and those that turn the direction of a text, as escapes."""
    return shown(value, keep="\n\r\t") if type(value) is str else value
