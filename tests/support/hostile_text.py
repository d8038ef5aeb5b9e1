"""Texts that some reader on the way from a project's files to an image might take for more than text."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator


def _split(pieces: str) -> list[str]:
    return pieces.split()


_HCL = _split(
    r"$ { % } ${ %{ $${ %%{ $$${ %%%{ ${HOME} %{if~true} %{~endif~} ${1+1} ~} <<EOT <<-EOT EOT EOT2 /* */ // "
)
_HCL += [
    "cache_to(",
    "timestamp()",
    'env("HOME")',
    "for",
    "\nEOT\n",
    "%{ if true }",
    "target:a",
    "cwd://a",
    "oci-layout://a",
]
_SHELL = _split(r"""` ' " \ ; | & < > ( ) * ? [ ] ! # ^ ~ = $(id) `id` $HOME ${A:-x} ${A:+x} $$ && || \\ \" \$""")
_SHELL += _split("%A% - -- --help -f")
_DOCKERFILE = _split(
    r'\n <<E --from=x --mount=type=x ["a"] [" "] ONBUILD $TARGETARCH ${BUILDSYS_TAG} HOME docker-image://a'
)
_DOCKERFILE += [
    "RUN id",
    "\nRUN id\n",
    "# syntax=x",
    "# escape=`",
    "# check=error=true",
    "\\\n",
    "\\ ",
    " AS x",
    "FROM scratch",
]
_DATA = _split("true false yes null ~ 0 -0 1.0 1e3 0x1f 0o17 .inf NaN 2026-01-01 1_000 012")
_DATA += _split("@ &a *a !!str --- ... {} [] , <<")
_DATA += _split(r"""\u0041 \n \x41 \U0001F600 {"a":1} a=b a,b "a,b" type=local,dest=/ %2e%2e &amp; <b> ::error::x""")
_DATA += ["- ", "? ", ": ", "a #b", "{", "}"]
_NAMES = _split(
    "https://e.com/a.git git@e.com:a BUILDSYS_REGISTRY PATH .. ../a / // /.. . a/ ~/a : _ - a b value 1 2.0"
)
_BLANK = [" ", "  ", "\t", "\n", "\xa0", "\u2028", "\u2029", "\u3000", "\u200b", "\u2060", "\u180e", "x y"]
# The last of them are joined with what follows by readers that go by what a person takes for one character.
_SIGNS = [*"\ufeff\u200e\u200f\u202e\u2066\u2069\u061c\u200d\ufe0f\u00ad\ufffd\ue000\ufdd0\u0600\u06dd\u0d4e"]
_SIGNS += [*"\U000e0001\U0010fffd\U0001ffff\U000110bd\U0001193f"]
_UNICODE = [*"éßİıﬁ𝒳€漢한אاไ½①Ａ٣١\u0338\u0301\u0323\u20e3\u0c4d", "👩\u200d🚀", "🇩🇪", "\u1175", "\u11ab"]
PIECES = (_HCL, _SHELL, _DOCKERFILE, _DATA, _NAMES, _BLANK, _SIGNS, _UNICODE)
# These are refused, or the plan would change what they are.
_REFUSED = ["\r", "\r\n", "\v", "\f", *"\x85\x7f\x00\x07\x9b", "\x1b[31m", "\x1b]8;;x\x07"]
_REFUSED += [
    "e\u0301",
    "a\u0323\u0307",
    "a\u0307\u0323",
    "\u212b",
    "\u2126",
    "\u1100\u1161",
    "\u0958",
    "\U0002f800",
    "=\u0338",
]
_LONGEST = 15_000


def texts(chance: random.Random, count: int) -> list[str]:
    """Return that many distinct texts, each piece alone among them, and the empty one; no half of a surrogate pair."""
    found = dict.fromkeys(["", *(piece for row in (*PIECES, _REFUSED) for piece in row)])
    while len(found) < count:
        found[_text(chance)] = None
    return [*found][:count]


def near(chance: random.Random, count: int, example: Callable[[random.Random], str]) -> list[str]:
    """Return that many distinct texts: right ones of a rule, the same with one place changed, and hostile ones."""
    found = dict.fromkeys(texts(chance, count // 3))
    while len(found) < count:
        text = example(chance)
        if chance.random() < 0.6:
            place = chance.randrange(len(text) + 1)
            text = text[:place] + _piece(chance) + text[place + chance.randrange(2) :]
        found[text] = None
    return [*found]


def word(chance: random.Random, characters: str, most: int = 12) -> str:
    """Return a word of some of these characters."""
    return "".join(chance.choices(characters, k=chance.randint(1, most)))


def _piece(chance: random.Random) -> str:
    return str(chance.choice(_REFUSED if chance.random() < 0.02 else chance.choice(PIECES)))


def _text(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.7:
        return "".join(_piece(chance) for _ in range(chance.randint(2, 6)))
    if kind < 0.995:
        return "".join(_characters(chance, chance.randint(1, 12)))
    return "".join(_piece(chance) for _ in range(9)) * (chance.randint(1, _LONGEST) // 60 + 1)


def _characters(chance: random.Random, count: int) -> Iterator[str]:
    """Yield characters of all planes, those of the first ones more often."""
    for _ in range(count):
        code = chance.randrange(0x20, chance.choice([0x7F, 0x250, 0x3000, 0x10000, sys.maxunicode + 1]))
        yield chr(code) if not (0xD800 <= code < 0xE000 or 0x7F <= code < 0xA0) else "\ud7ff"
