"""How a run's facts are said in few columns: times, sizes, steps, failures, and the marks that a stream can carry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.progress import StepKind, split_name
from buildsys.events.events import TargetEnded


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """The characters outside ASCII that screens are drawn with."""

    done: str = "✓"
    failed: str = "✗"
    again: str = "↻"
    stopped: str = "■"
    dot: str = "·"
    cut: str = "…"


PLAIN_MARKS = Marks(done="+", failed="x", again="~", stopped="#", dot="-", cut="...")


def marks_for(encoding: str | None) -> Marks:
    """Return the marks that can be written in an encoding; in none known, plain ones."""
    marks = Marks()
    every = (marks.done, marks.failed, marks.again, marks.stopped, marks.dot, marks.cut)
    try:
        "".join(every).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN_MARKS
    return marks


def format_duration(seconds: float) -> str:
    """Return a duration as `3:41`, from an hour on as `1:03:41`."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_size(size: int | None) -> str:
    """Return a number of bytes as `412 MB`; nothing for what is not known."""
    if size is None:
        return ""
    for limit, unit in ((1e6, "kB"), (1e9, "MB")):
        # What would be rounded up to a thousand is said in the next unit.
        if size < limit * 0.9995:
            return f"{size / limit * 1e3:.0f} {unit}"
    return f"{size / 1e9:.1f} GB"


def format_remaining(seconds: float, *, whole: bool) -> str:
    """Return how long is left, no more exactly than it is known; not `whole`: some targets' seconds are not."""
    word = "about" if whole else "at least"
    if seconds < 10:
        return "a few seconds left" if whole else ""
    if seconds < 55:
        return f"{word} {round(seconds / 10) * 10} s left"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{word} {minutes} min left"
    # To five minutes: an estimate of hours is not better.
    hours, minutes = divmod(round(seconds / 300) * 5, 60)
    return f"{word} {hours} h {minutes} min left" if minutes else f"{word} {hours} h left"


def format_count(number: int, word: str) -> str:
    """Return `1 image`, `2 images`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.?)")


def clean(text: str) -> str:
    """Return a text as one line without escapes, so that nothing foreign moves a terminal's cursor."""
    return "".join(letter for letter in " ".join(_ESCAPE.sub("", text).split()) if letter.isprintable())


def cut(text: str, width: int, mark: str) -> str:
    """Return a text of at most `width` columns, its end left out."""
    return text if len(text) <= width else text[: max(0, width - len(mark))].rstrip() + mark[:width]


def cut_start(text: str, width: int, mark: str) -> str:
    """Return an error's text of at most `width` columns: its cause stands at the end."""
    keep = width - len(mark)
    return cut(text, width, mark) if len(text) <= width or keep < 1 else mark + text[-keep:].lstrip()


def cut_middle(text: str, width: int, mark: str) -> str:
    """Return a title of at most `width` columns: both its ends tell it from others."""
    keep = width - len(mark)
    if len(text) <= width or keep < 2:
        return cut(text, width, mark)
    return text[: keep - keep // 2] + mark + text[-(keep // 2) :]


def told_apart(names: Sequence[str]) -> dict[str, str]:
    """Return of each name the words by which it differs from the others: what all begin and end with is left out."""
    words = [name.split("-") for name in names]
    room = min(map(len, words), default=0)
    first = _alike(words, room)
    last = _alike([each[::-1] for each in words], room - first)
    return {name: "-".join(each[first : len(each) - last]) for name, each in zip(names, words, strict=True)}


def _alike(words: Sequence[Sequence[str]], room: int) -> int:
    return next((index for index in range(room) if len({each[index] for each in words}) > 1), room)


_FLAGS = re.compile(r"(?:--[a-z]+(?:=\S+)?(?: |$))*")
_HEREDOC = re.compile(r"<<-?[\"']?\w+[\"']?(?: \((?P<first>.*)\))?")
_PROLOGUE = re.compile(r"(?:set [-+]\S+(?: pipefail)?|\. \S+|cd \S+|export [^;&]+?) ?(?:&&|;|\.\.\.$|$) ?")
_DIGEST = re.compile(r"@sha256:[0-9a-f]+")
_PLAIN_STEPS = {
    StepKind.EXPORT: "exporting",
    StepKind.PUSH: "pushing",
    StepKind.CACHE_IMPORT: "reading the cache",
    StepKind.CACHE_EXPORT: "writing the cache",
}


def step_words(name: str, kind: str) -> str:
    """Return what a step does: of a RUN its first command that does work, where BuildKit's name for it shows one."""
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
    # How a shell is set up says nothing of what it does then.
    while found := _PROLOGUE.match(text):
        text = text[found.end() :]
    return text or "RUN"


_WORDS = 3


def failure_words(ended: TargetEnded) -> tuple[str, ...]:
    """Return what is told of a failure at once: its place, and the few lines that say most; the summary has all."""
    failure = ended.failure
    if failure is None:
        return ()
    where = ended.file or failure.file
    location = (f"{where}:{failure.line}" if failure.line else where,) if where else ()
    return (*location, *_said(failure))


def _said(failure: Failure) -> tuple[str, ...]:
    if failure.checksum is not None:
        found = failure.checksum
        return (
            f"the checksum of {clean(found.url)} is not what was declared",
            f"expected {clean(found.expected)}",
            f"found    {clean(found.found)}",
        )
    last = tuple(words for line in failure.last_words if (words := clean(line)))
    if failure.kind is FailureKind.COMMAND and last:
        return last[-_WORDS:]
    return tuple(words for line in failure.message.splitlines() if (words := clean(line)))[:_WORDS]
