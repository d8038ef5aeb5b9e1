"""How steps, outcomes and failures are worded: here for the terminal, the summary and the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.progress import StepKind, split_name
from buildsys.events.events import MADE, ImagesCopied, ImageTested, TargetEnded
from buildsys.report.text import clean, cut, format_count, format_size

_FLAGS = re.compile(r"(?:--[a-z]+(?:=\S+)?(?: |$))*")
_HEREDOC = re.compile(r"<<-?[\"']?\w+[\"']?(?: \((?P<first>.*)\))?")
_PROLOGUE = re.compile(r"(?:set [-+]\S+(?: pipefail)?|\. \S+|cd \S+|export [^;&]+?) ?(?:&&|;|\.\.\.$|$) ?")
# How compilers, package managers and interpreters begin the line that says what is wrong.
_ERROR = re.compile(
    r"\b(?:error|fatal): |^E: |^fatal: |^\w[\w.]*(?:Error|Exception): |\bundefined reference\b|: command not found$"
    r"|\bNo such file or directory$|^(?:.*: )?Killed$",
    re.IGNORECASE,
)
# What make, ninja and others say after it.
_CONSEQUENCE = re.compile(
    r"^(?:g?make(?:\[\d+\])?: |ninja: |subprocess\.CalledProcessError: |error: (?:subprocess|command) )"
)
_DIGEST = re.compile(r"@sha256:[0-9a-f]+")
_PLAIN_STEPS = {
    StepKind.EXPORT: "exporting",
    StepKind.PUSH: "pushing",
    StepKind.CACHE_IMPORT: "reading the cache",
    StepKind.CACHE_EXPORT: "writing the cache",
}
_COMMAND_WIDTH = 110


def outcome_word(outcome: str) -> str:
    """Return the outcome of a target for people; that of an event keeps its word until another version of events."""
    return "built" if outcome == MADE else outcome


def step_words(name: str, kind: str) -> str:
    """Return what a step does; for a RUN its first command that does work, if BuildKit's name for it has one."""
    text = clean(split_name(name)[1])
    if kind in _PLAIN_STEPS:
        return _PLAIN_STEPS[StepKind(kind)]
    if kind == StepKind.SOURCE:
        source = _DIGEST.sub("", text.removeprefix("FROM ")).removeprefix("docker-image://")
        return f"downloading {source.rpartition('/')[2]}" if "://" in source else f"pulling {source}"
    if kind == StepKind.RUN:
        return _command(text.removeprefix("RUN "))
    instruction, _, rest = text.removeprefix("LINK ").partition(" ")
    return f"{instruction} {_without_flags(rest)}".rstrip()


def _without_flags(text: str) -> str:
    found = _FLAGS.match(text)
    return text[found.end() :] if found else text


def _command(text: str) -> str:
    text = _without_flags(text)
    if script := _HEREDOC.fullmatch(text):
        text = script["first"] or ""
    # The commands that set up a shell do not show what it does then.
    while found := _PROLOGUE.match(text):
        text = text[found.end() :]
    return text or "RUN"


def tests_words(tested: Iterable[ImageTested]) -> str:
    """Return how many tests of some images passed, failed and were skipped."""
    tested = tuple(tested)
    counts = {
        name: sum(getattr(each, name) for each in tested) for name in ("passed", "remembered", "failed", "skipped")
    }
    known = f" ({counts['remembered']} remembered)" if counts["remembered"] else ""
    others = [f"{counts[name]} {name}" for name in ("failed", "skipped") if counts[name]]
    return ", ".join([f"{format_count(counts['passed'], 'test')} passed{known}", *others])


def copies_lines(copies: ImagesCopied) -> Iterator[str]:
    """Yield what a registry got of the images of another, and what it lacks and why; nothing if it had all of them."""
    if copies.copied or copies.tags:
        sent = f"{format_count(copies.sent, 'blob')} sent" + (f" ({format_size(copies.size)})" if copies.sent else "")
        counts = f"{sent}, {copies.mounted} mounted, {format_count(len(copies.tags), 'tag')} moved"
        yield f"copied {format_count(len(copies.copied), 'image')} to {copies.registry}: {counts}"
    if copies.lacking:
        lacking = f"{format_count(len(copies.lacking), 'image')} ({', '.join(copies.lacking)})"
        yield f"{copies.registry} lacks {lacking}: {clean(copies.why)}. The next run copies what is missing"
    elif copies.untagged:
        yield f"{copies.registry} has old tags of {', '.join(copies.untagged)}: {clean(copies.why)}"


def failure_place(ended: TargetEnded) -> str:
    """Return where a failure is, as `layers/ucx/Dockerfile:14`, or an empty text."""
    failure = ended.failure
    file = ended.file or (failure.file if failure else "")
    return f"{file}:{failure.line}" if file and failure and failure.line else file


def failure_lines(failure: Failure, *, most: int = 20) -> tuple[str, ...]:
    """Return a failure in words: a command with its output and exit code, or what BuildKit reported."""
    if failure.kind is not FailureKind.COMMAND:
        return failure_output(failure, most=most)
    command = cut(clean(failure.command), _COMMAND_WIDTH, "...")
    return (
        *([f"$ {command}"] if command else ()),
        *failure_output(failure, most=most),
        *([f"exit code {failure.status}"] if failure.status is not None else ()),
    )


def deciding_line(failure: Failure) -> str:
    """Return the line that says why a target failed, empty where nothing was recorded.

    Of the output of a command that is the first that begins as an error does and is not the consequence of another,
    else the last; of anything else the first.
    """
    lines = failure_output(failure, most=len(failure.last_words) or 1)
    if failure.kind is not FailureKind.COMMAND or not failure.last_words:
        return lines[0] if lines else ""
    causes = [line for line in lines if not _CONSEQUENCE.search(line)]
    return next((line for line in causes if _ERROR.search(line)), (causes or list(lines) or [""])[-1])


def failure_output(failure: Failure, *, most: int) -> tuple[str, ...]:
    """Return the last lines of output of a command that failed; else the first lines of BuildKit's message."""
    if failure.checksum is not None:
        wrong = failure.checksum
        return (
            f"{clean(wrong.url)} does not have the declared checksum",
            f"expected {clean(wrong.expected)}",
            f"found    {clean(wrong.found)}",
        )
    output = tuple(line for each in failure.last_words if (line := clean(each)))
    if failure.kind is FailureKind.COMMAND and output:
        return output[-most:]
    return tuple(line for each in failure.message.splitlines() if (line := clean(each)))[:most]
