"""How numbers, times and texts are written in few columns, and which marks a stream can carry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from buildsys.values import dataclass


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
    """Return the marks that can be written in an encoding, plain ones if it is unknown."""
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
    """Return a number of bytes as `412 MB`, None as an empty text."""
    if size is None:
        return ""
    for limit, unit in ((1e6, "kB"), (1e9, "MB")):
        # What would be rounded up to a thousand is written in the next unit.
        if size < limit * 0.9995:
            return f"{size / limit * 1e3:.0f} {unit}"
    return f"{size / 1e9:.1f} GB"


def format_remaining(seconds: float, *, whole: bool) -> str:
    """Return how long is left, no more exactly than it is known; not `whole`: the seconds of some targets are not."""
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


def format_retries(number: int) -> str:
    """Return `1 retry`, `2 retries`."""
    return "1 retry" if number == 1 else f"{number} retries"


def format_seconds(seconds: float) -> str:
    """Return `0.4 s`, `9.8 s`, `0:42`, `3:41`, `1:02:03`."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    return format_duration(round(seconds))


def format_difference(seconds: float) -> str:
    """Return a difference of seconds with its sign: `+3.1 s`, `−1:20`, `±0.0 s`."""
    sign = "±" if round(abs(seconds), 1) == 0 else "+" if seconds > 0 else "−"
    return sign + format_seconds(abs(seconds))


def format_share(part: float, whole: float) -> str:
    """Return `71 %`; a part above nothing is never `0 %`, and one below the whole never `100 %`."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 1:
        return "< 1 %"
    return "> 99 %" if 99 < share < 100 else f"{share:.0f} %"


def format_moment(at: float) -> str:
    """Return a time in seconds since 1970 as `2026-11-25 12:14:03 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.?)")


def clean(text: str) -> str:
    """Return a text as one line without escape sequences, so that no foreign text moves a terminal's cursor."""
    return "".join(letter for letter in " ".join(_ESCAPE.sub("", text).split()) if letter.isprintable())


def cut(text: str, width: int, mark: str) -> str:
    """Return a text of at most `width` columns, its end left out."""
    return text if len(text) <= width else text[: max(0, width - len(mark))].rstrip() + mark[:width]


def cut_start(text: str, width: int, mark: str) -> str:
    """Return an error's text of at most `width` columns, its beginning left out: the cause comes last."""
    keep = width - len(mark)
    return cut(text, width, mark) if len(text) <= width or keep < 1 else mark + text[-keep:].lstrip()


def cut_middle(text: str, width: int, mark: str) -> str:
    """Return a title of at most `width` columns: both its ends distinguish it from others."""
    keep = width - len(mark)
    if len(text) <= width or keep < 2:
        return cut(text, width, mark)
    return text[: keep - keep // 2] + mark + text[-(keep // 2) :]


def distinct_parts(names: Sequence[str]) -> dict[str, str]:
    """Return the words of each name by which it differs from the others, without a beginning and end common to all."""
    words = [name.split("-") for name in names]
    room = min(map(len, words), default=0)
    first = _alike(words, room)
    last = _alike([each[::-1] for each in words], room - first)
    return {name: "-".join(each[first : len(each) - last]) for name, each in zip(names, words, strict=True)}


def _alike(words: Sequence[Sequence[str]], room: int) -> int:
    return next((index for index in range(room) if len({each[index] for each in words}) > 1), room)
