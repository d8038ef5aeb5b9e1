"""What a mutant of a project is: files with some bytes, words or parts of their structure exchanged, by seed and index.

The same seed and index give the same bytes on every machine.
"""

from __future__ import annotations

import copy
import pickle
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import yaml

Files: TypeAlias = Mapping[str, bytes]
Slot: TypeAlias = tuple[Any, Any]
"""A list or mapping, and the index or key of something in it."""

SETTINGS = "buildsys.settings.yaml"
_TOKEN = re.compile(rb"\w+|[ \t]+|\n[ ]*|[^\w\s]")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_SIZES = (*[2] * 24, *[9] * 16, *[40] * 8, 300, 300, 2_000, 20_000)
# What is longer is above any limit; to write it as YAML would take seconds, and to hold it the memory of a finding.
_LONGEST = 5_000_000
# Of lists; the long ones are rare, because most of the time would be theirs.
_LENGTHS = (*[2] * 12, *[12] * 12, *[120] * 4, 1_000, 20_000)
_LARGEST = 2 << 20
# How many changes one mutant has.
_TIMES = (1, 1, 1, 1, 2, 2, 3, 5)

_BYTES = (
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\r",
    b"\r\n",
    b"\t",
    b"\x1b[2J",
    b"\xe2\x80\xa8",
    b"\x85",
)
_WORDS = (
    *("", "~", "null", "true", "on", "-1", "0", "00", "1e9", "0x10", ".nan", "9" * 40, "9" * 4400, "3.10"),
    *("١٢", "{", "}", "{}", "{x}", "{version}", "{version|series}", "{version|nothing}", "{{", "[", "[-{x}]"),
    *("[[", "]]", "{flavour}", "os", "base", "scratch", "mirrors", "default", "toolchain", "nodes", "packages"),
    *("flavour", "version", "../..", "/", ".", "a" * 256, "é" * 130, "a b", " a", "a\nb", "a\tb", "\u202e"),
    *("\u2028", "\ud7ff", "İ", "ß", "\U0001f600", "-", "--", "a--b", ">=1", ">=x", "==1.*", "!", "<,", "~=1"),
    *(">=1.0,<" + "2." * 300, "1!2", "*", "latest", "sha256:" + "0" * 64, "unknown", "https://example.com/a"),
    *("http://[::1/a", "https://u:p@example.com/", "http://a:99999999/", "docker.io/library/debian:12", "//"),
    *("65535", "65536", "1-2", "2-1", "80/tcp", "99999999999999h", "1h", "10 GB", "1e999GB", "root:root:root"),
    *("4294967296", "$X", "${X}", "$${X}", "%{X}", "`id`", "$(id)", "'", '"', "\\", "a\\", "#", "<<EOF"),
    *("2026-13-45", "2026-11-23"),
)  # fmt: skip
_PATTERNS = (
    *("(a+)+$", "(a|aa)*b", "(.*)*x", r"(\w+\s?)*$", "(" * 900 + ")" * 900, "a{99999999}", "(a{1000}){1000}"),
    *("[z-a]", "*", "(?", r"(?P<a>.)(?P=a)", r"\d+(\.\d+)*", "(x+x+)+y", "(?i)ſ", r"\8", "(?<=a+)b"),
    *("[[:alpha:]]+", "a**", "(a?){64}a{64}", "^(([a-z])+.)+[A-Z]([a-z])+$"),
)  # fmt: skip
_RULES = (
    *("*a" * 40 + "b", "**/" * 60 + "x", "[z-a]", "[[:alpha:]]", "![[:alpha:]]", "[", "[]", "[^a]", "[!a]"),
    *("[a-", "\\", "a\\", "!", "!!a", "**", "**/**", "***", "/", "//", "..", "../x", "!..", ".", "#", " # a"),
    *("[" * 900, "[" * 900 + "]" * 900, "*" * 2000, "?" * 300, "a/../b", "!conf", "[\\]a]", "[\\a-\\z]"),
    *("[]a]", "[^]a]", "*.y*ml", "**/*.*/**", "\ufeffa", "a\r", "(a+)+$", "{a,b}", "a|b", "[é-ü]", "[--a]"),
)  # fmt: skip
_LINES = (
    *("# syntax=a/b", "# escape=`", "// syntax=x", "#!/bin/sh", "{}", "\\", "RUN \\", "RUN true \\"),
    *("RUN <<EOF", "COPY <<A <<B /x", "RUN <<-'E F'", "FROM", "FROM base AS", "FROM scratch"),
    *("FROM base AS base", "FROM nothing AS x", "FROM 1", "FROM --platform=$X base", "FROM ${X}"),
    *("FROM base as A", "ARG", "ARG =", "ARG A=", "ARG TARGETARCH=x", "ARG PASSWORD", "ARG BUILDKIT_SYNTAX"),
    *("ARG X=${Y:-${Z}}", "ARG 'A B'", "ARG A B=\"", "ARG HTTP_PROXY", "COPY --from=9 a b"),
    *("COPY --from=" + "9" * 4400 + " a b", "COPY --from=١ a b", "COPY --link --chmod=1 a b"),
    *("COPY [\"a\", \"b\"]", "COPY [" * 500, "RUN --mount=type=bind,from=x,from=y true"),
    *("RUN --mount=from= true", "RUN --mount=,,,, true", "RUN --network=host true", "ONBUILD RUN x"),
    *("ONBUILD ONBUILD", "ONBUILD COPY --from=x a b", "RUN " + "a" * 70_000, "RUN " + "\"'" * 500),
    *("RUN ${" * 300, "MAINTAINER x", "NOTHING x", "ENV A", "COPY \"a", "ADD https://x/ /", "é"),
)  # fmt: skip
# Raw YAML in the place of a value.
_YAML = (
    *("[" * 900 + "]" * 900, "[" * 20_000, "{a: " * 900 + "}" * 900, "{? " * 400, "&a [*a]", "&a {b: *a}"),
    *("*nothing", "&a", "!!python/object:os.system x", "!!binary aGk=", "!x y", '"\\ud800"', '"\\x00"'),
    *('"\\e"', '"\\N"', "'a", '"a', "|2\n a", ">-", "? a", "? [a]\n: b", "{<<: {a: b}}", "<<: *a"),
    *("{a: 1, a: 2}", "--- a", "...\nb", "@a", "`a", "%YAML 9.9", "- - - - a", "a: b: c", "{a b", "[a, ", "#"),
    *("", " : ", "!<tag:yaml.org,2002:int> 5", "[[[[]]]", "{{a}: b}", "- " * 900 + "a"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A project, the files of it that are different, None for one that is removed, and variables of the environment."""

    project: int
    changed: Mapping[str, bytes | None]
    how: str
    environ: Mapping[str, str] = field(default_factory=dict)


def mutant(projects: Sequence[Files], seed: int, index: int) -> Mutant:
    """Return the mutant of an index: mostly one file of one project is changed, and mostly once."""
    rng = random.Random(f"{seed}:{index}")
    number = rng.randrange(len(projects))
    files = projects[number]
    changed: dict[str, bytes | None] = {}
    how = []
    for _ in range(rng.choice((1, 1, 1, 1, 1, 2))):
        path = rng.choice(sorted(files))
        kind, change = rng.choice((("bytes", _by_bytes), ("tokens", _by_tokens), *[("structure", _by_structure)] * 3))
        data = changed.get(path, files[path]) or b""
        for _ in range(rng.choice(_TIMES)):
            # A file of this size is refused, and each change of it would take seconds.
            if len(data) < _LARGEST:
                data = change(rng, path, data)
        changed[path] = None if path != "stacks.yaml" and rng.random() < 0.002 else data
        how.append(f"{kind} of {path}")
    environ = {}
    if rng.random() < 0.02:
        name = rng.choice(("BUILDSYS_REGISTRY", "BUILDSYS_TAG"))
        environ[name] = rng.choice(_WORDS) * rng.choice((1, 1, 2, 300))
        how.append(name)
    return Mutant(project=number, changed=changed, how=", ".join(how), environ=environ)


def _often(rng: random.Random, part: bytes) -> int:
    """Return how often a part of a file is repeated."""
    return min(rng.choice(_SIZES), max(_LONGEST // max(len(part), 1), 1))


def _by_bytes(rng: random.Random, path: str, data: bytes) -> bytes:
    del path
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice(_SIZES[:48]))
    match rng.randrange(8):
        case 0:
            return data[:start] + bytes([rng.randrange(256)]) + data[start + 1 :]
        case 1:
            return data[:start] + rng.choice(_BYTES) + data[start:]
        case 2:
            return data[:start] + data[end:]
        case 3:
            return data[:end] + data[start:end] * _often(rng, data[start:end]) + data[end:]
        case 4:
            return data[:start]
        case 5:
            return data[:start] + rng.randbytes(rng.choice(_SIZES[:48])) + data[start:]
        case 6:
            return bytes(data[start] ^ (1 << rng.randrange(8)) if i == start else each for i, each in enumerate(data))
        case _:
            text = data.decode("utf-8", "replace")
            codec = rng.choice(("utf-16", "utf-8-sig", "utf-32", "cp1252", "utf-16-le"))
            return rng.choice(
                (text.encode(codec, "replace"), data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), b"")
            )


def _by_tokens(rng: random.Random, path: str, data: bytes) -> bytes:
    words = _TOKEN.findall(data)
    if not words:
        return rng.choice(_hostile(path)).encode("utf-8", "surrogatepass")
    first, second = rng.randrange(len(words)), rng.randrange(len(words))
    match rng.randrange(6):
        case 0:
            del words[first : first + rng.choice((1, 1, 2, 5))]
        case 1:
            words[first], words[second] = words[second], words[first]
        case 2:
            words[first] = words[second]
        case 3:
            words.insert(first, words[second])
        case 4:
            words[first] = rng.choice(_hostile(path)).encode("utf-8", "surrogatepass")
        case _:
            words[first] *= _often(rng, words[first])
    return b"".join(words)


def _by_structure(rng: random.Random, path: str, data: bytes) -> bytes:
    if path.endswith((".yaml", ".lock")):
        return _by_values(rng, path, data)
    lines = data.decode("utf-8", "replace").split("\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(8):
        case 0:
            del lines[first]
        case 1:
            lines[first], lines[second] = lines[second], lines[first]
        case 2:
            lines.insert(first, lines[second])
        case 3:
            lines[first] += rng.choice((" \\", "\\", " ", lines[second]))
        case 4:
            lines[first:first] = [lines[second]] * _often(rng, lines[second].encode())
        case 5:
            lines[first] = lines[first].replace(" ", rng.choice((" --from=x ", "\t", " <<EOF ", " $", ' "', " [")), 1)
        case 6 if path.endswith(".dockerignore"):
            lines[first] = "".join(rng.choices("*?[]!\\/^-:.#ab \té", k=rng.choice((3, 8, 30, 120))))
        case _:
            lines.insert(first, rng.choice(_hostile(path)))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _hostile(path: str) -> Sequence[str]:
    if path.endswith(".dockerignore"):
        return _RULES
    if path.endswith((".yaml", ".lock")):
        return (*_WORDS, *_YAML)
    return _LINES if "Dockerfile" in path else _WORDS


def _by_values(rng: random.Random, path: str, data: bytes) -> bytes:
    """Exchange one value of a YAML file; one that is none any more, or deep, is left to the other ways."""
    pickled = _parsed(data)
    if pickled is None:
        return _by_tokens(rng, path, data)
    whole = [pickle.loads(pickled)]
    raw: dict[str, str] = {}
    try:
        _exchange(rng, list(_slots(whole)), raw)
        text = yaml.dump(
            whole[0] if whole else None,
            Dumper=_DUMPER,
            default_flow_style=rng.choice((False, False, True, None)),
            sort_keys=False,
            allow_unicode=rng.random() < 0.5,
            width=rng.choice((20, 100, 10**6)),
        )
    except (RecursionError, yaml.YAMLError):
        return _by_tokens(rng, path, data)
    for mark, snippet in raw.items():
        text = text.replace(mark, snippet)
    return str(text).encode("utf-8", "surrogatepass")


def _parsed(data: bytes) -> bytes | None:
    """Return what a YAML file says, pickled, so that each caller can have its own; None if that cannot be changed."""
    return _pickled(data) if len(data) < 10_000 else None


@lru_cache(maxsize=256)
def _pickled(data: bytes) -> bytes | None:
    try:
        found = yaml.load(data, Loader=_LOADER)
        return pickle.dumps(found) if isinstance(found, (list, dict)) else None
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError, ValueError):
        return None


def _slots(whole: list[Any]) -> Iterator[Slot]:
    """Yield every place of a value; a list or mapping that occurs twice is entered once."""
    waiting, seen = [whole], set[int]()
    while waiting and len(seen) < 2_000:
        holder = waiting.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for key in range(len(holder)) if isinstance(holder, list) else list(holder):
            yield holder, key
            if isinstance(holder[key], (list, dict)):
                waiting.append(holder[key])


def _exchange(rng: random.Random, slots: Sequence[Slot], raw: dict[str, str]) -> None:
    change: Callable[[random.Random, Sequence[Slot], Slot, dict[str, str]], None] = rng.choice(_CHANGES)
    change(rng, slots, rng.choice(slots[1:] or slots), raw)


def _delete(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    del rng, slots, raw
    del slot[0][slot[1]]


def _duplicate(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    """Insert a copy, or under a key that is nearly the same, or very many."""
    del slots
    holder, key = slot
    value = copy.deepcopy(holder[key])
    count = rng.choice((1, 1, 1, 2, 9, 200))
    if isinstance(holder, list):
        holder[key:key] = (
            [value] * count if isinstance(value, str) else [copy.deepcopy(value) for _ in range(min(count, 9))]
        )
    elif rng.random() < 0.3:
        holder["TWICE"] = value
        raw["TWICE"] = str(key)
    else:
        for number in range(count):
            holder[f"{key}{number}"] = value


def _swap(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    del raw
    holder, key = slot
    other, there = rng.choice(slots)
    holder[key], other[there] = other[there], holder[key]


def _retype(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    del slots, raw
    holder, key = slot
    value = holder[key]
    choices = [None, "", [], {}, [value], {"a": value}, [[value]], [None], {"": None}, _text(value)]
    if isinstance(value, dict):
        choices += [list(value), list(value.values())]
    elif isinstance(value, list):
        choices += [dict.fromkeys(map(_text, value)), value[0] if value else None]
    holder[key] = rng.choice(choices)


def _nest(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    del slots, raw
    holder, key = slot
    for _ in range(rng.choice((2, 5, 30, 120))):
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}


def _alias(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    """Put a list or mapping into a different place too, be it into itself, or build a bomb."""
    del raw
    holder, key = slot
    if rng.random() < 0.1:
        bomb: Any = "x"
        width = rng.choice((2, 9, 60))
        for _ in range(rng.choice((3, 9, 30))):
            bomb = [bomb] * width if rng.random() < 0.7 else {f"k{number}": bomb for number in range(width)}
        holder[key] = bomb
        return
    other, there = rng.choice(slots)
    holder[key] = other[there]


def _hostile_value(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    holder, key = slot
    match rng.randrange(6):
        case 0:
            holder[key] = "PLACE0"
            raw["PLACE0"] = rng.choice(_YAML)
        case 1:
            holder[key] = (rng.choice(_WORDS) * rng.choice(_SIZES))[:_LONGEST]
        case 2:
            other, there = rng.choice(slots)
            holder[key] = rng.choice((f"{_text(holder[key])}{rng.choice(_WORDS)}", str(there), _text(other[there])))
        case _:
            holder[key] = rng.choice(_WORDS)


def _hostile_key(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    del raw
    holder, key = slot
    names = sorted({str(there) for _, there in slots})
    new = rng.choice((rng.choice(names), rng.choice(_KEYS), rng.choice(_WORDS)))
    if isinstance(holder, dict):
        pairs = [(new if each == key else each, value) for each, value in holder.items()]
        holder.clear()
        holder.update(pairs)
    else:
        holder[key] = {new: holder[key]}


def _add(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    """Add a key that belongs elsewhere, with the value of something else."""
    del raw
    holder, _ = slot
    other, there = rng.choice(slots)
    if isinstance(holder, dict):
        holder[rng.choice(_KEYS)] = rng.choice((other[there], rng.choice(_WORDS), None, [], {}))
    else:
        holder.append(rng.choice((other[there], rng.choice(_WORDS), None)))


def _pattern(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    """Let a parameter have a hostile pattern, and a value that it takes long to refuse."""
    del raw
    holders = [
        holder for holder, key in slots if isinstance(holder, dict) and key in ("pattern", "values", "label", "default")
    ]
    holder = rng.choice(holders) if holders else slot[0]
    if isinstance(holder, dict):
        holder["pattern"] = rng.choice(_PATTERNS)
        holder.pop("values", None)
        holder["default"] = rng.choice(("a", "x", "aA", "a ", "1.")) * rng.choice((1, 12, 30, 3_000)) + rng.choice(
            ("", "!", "b")
        )


def _product(rng: random.Random, slots: Sequence[Slot], slot: Slot, raw: dict[str, str]) -> None:
    """Let lists grow, whose product a matrix is."""
    del raw
    holders = [holder for holder, _ in slots if isinstance(holder, dict)] or [slot[0]]
    holder = rng.choice(holders)
    for name in rng.sample(sorted(holder), rng.randint(1, min(5, len(holder)))) if isinstance(holder, dict) else ():
        holder[name] = [f"{number}" for number in range(rng.choice(_LENGTHS))]


def _text(value: Any) -> str:
    """Return a text as a copy of limited length; of a list or mapping, which may repeat itself, nothing."""
    return value[:100_000] if isinstance(value, str) else ""


_CHANGES = (
    *(_delete, _duplicate, _swap, _swap, _retype, _retype, _nest, _alias, _alias),
    *(_hostile_value, _hostile_value, _hostile_value, _hostile_key, _add, _add, _pattern, _product),
)
_KEYS = re.findall(
    r"\S+",
    """
    registry families stacks description layers groups platforms deprecated name matrix exclude when kind licence
    provides requires after conflicts parameters type default values pattern from label packages names arguments
    lines downloads url sha256 reason environment set prepend append checks needs message tests run expect
    healthcheck command interval timeout start_period retries parent images prefix toolchain layer flavours
    default_flavour dockerfile mode owner entrypoint user workdir ports labels weight cpu memory disk freshness
    version parents epochs reference digest source size apt pip conda proxy registries ca files http insecure index-url
    """,
)
