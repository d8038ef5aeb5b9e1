"""Values become HTML: texts are escaped unless they are HTML already, numbers are written for people."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime

from buildsys.report.text import format_duration

# What no HTML may hold, and what turns the direction of the text that follows it.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_NO_END = frozenset({"link", "meta", "input", "rect", "line", "path", "circle"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return any text as HTML that shows it."""
    return text if isinstance(text, Markup) else Markup(html.escape(cleaned(text)))


def cleaned(text: str) -> str:
    """Return a text without what cannot be shown; each such character becomes a replacement character."""
    return _CONTROL.sub("\ufffd", text)


def element(name: str, /, *content: str, **attributes: str | float | bool | None) -> Markup:
    """Return an element; `class_` is written `class`, `data_target` is `data-target`, none and false are left out."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        if isinstance(value, float):
            value = f"{value:.3f}".rstrip("0").rstrip(".")
        words.append(shown if value is True else f'{shown}="{escaped(str(value))}"')
    opened = f"<{' '.join(words)}>"
    if name in _NO_END and not content:
        # Of these SVG wants its end, which HTML allows.
        return Markup(f"{opened[:-1]}/>")
    return Markup(f"{opened}{joined(*content)}</{name}>")


def joined(*content: str) -> Markup:
    """Return texts and elements one after the other."""
    return Markup("".join(escaped(each) for each in content))


def script_data(value: object) -> Markup:
    """Return JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def seconds_text(seconds: float) -> str:
    """`0.4 s`, `9.8 s`, `0:42`, `3:41`, `1:02:03`."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    return format_duration(round(seconds))


def more_text(seconds: float) -> str:
    """A difference of seconds with its sign: `+3.1 s`, `−1:20`, `±0.0 s`."""
    sign = "±" if round(abs(seconds), 1) == 0 else "+" if seconds > 0 else "−"
    return sign + seconds_text(abs(seconds))


def share_text(part: float, whole: float) -> str:
    """`71 %`; a part that is there is never `0 %`, and one that is not whole never `100 %`."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 1:
        return "< 1 %"
    return "> 99 %" if 99 < share < 100 else f"{share:.0f} %"


def moment_text(at: float) -> str:
    """A time in seconds since 1970 as `2026-11-25 12:14:03 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
