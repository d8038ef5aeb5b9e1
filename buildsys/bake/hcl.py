"""How a value is written as HCL, laid out as `terraform fmt` does, and as the JSON that bake reads as HCL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, Union

from buildsys.values import dataclass

_WIDTH = 100
_INDENT = "  "

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
# As a bare key, `for` opens a for-expression and the others are values, not names.
_NOT_A_KEY = frozenset({"for", "null", "true", "false"})

# Characters that a quoted string needs to escape: the quote, the backslash, control characters, and the
# line separators and byte order mark that editors treat as more than text.
_UNSAFE = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Characters that a heredoc cannot have, since it knows no backslash escapes.
_NOT_IN_HEREDOC = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_MARKER = re.compile(r"(\$+|%+)\{")
_NOT_AS_IT_IS = re.compile(rf"{_UNSAFE.pattern}|[$%]\{{")
# What would open an interpolation, or escape the one that is written for the character after it.
_NOT_IN_JSON = re.compile(rf"[$%]+(?=\{{|{_NOT_IN_HEREDOC.pattern})|{_NOT_IN_HEREDOC.pattern}")


@dataclass(frozen=True, slots=True)
class Expression:
    """HCL source written as it is, such as a variable reference or a function call."""

    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """One quoted string of literal texts and of expressions that are interpolated between them."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A literal text of several lines, written between delimiters so that a person can read it.

    A text that a heredoc cannot hold exactly (no newline at its end, control characters) and a text inside
    a list or map is written as a quoted string of the same value.
    """

    text: str


# HCL strings are sequences of Unicode in normal form C: the reader of the file composes what is not.
Value: TypeAlias = Union[str, bool, int, Expression, Template, Heredoc, "Sequence[Value]", "Mapping[str, Value]", None]


@dataclass(frozen=True, slots=True)
class Attribute:
    """`name = value`; the name is an identifier."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Comment:
    """One or more lines of comment; it belongs to the block or attribute that follows it.

    Two comments in a row are set apart by a blank line, so a comment at the top of a file can be separate.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """`kind "label" { body }`."""

    kind: str
    labels: tuple[str, ...] = ()
    body: tuple[Attribute | Block | Comment, ...] = ()


Item: TypeAlias = Attribute | Block | Comment


def write(items: Iterable[Item]) -> str:
    """Return the items as HCL text that ends with a newline, in the order given; empty when there are none.

    Keys of a mapping keep their order too: who wants them sorted sorts them. Raises ValueError for a name
    that is not an identifier.
    """
    return "".join(f"{line}\n" for line in _body(tuple(items), ""))


def _body(items: tuple[Item, ...], indent: str) -> Iterator[str]:
    run: list[tuple[str, str]] = []
    for position, item in enumerate(items):
        apart = position > 0 and _apart(items, position)
        if run and (apart or not isinstance(item, Attribute)):
            yield from _aligned(run, indent)
            run.clear()
        if apart:
            yield ""
        match item:
            case Attribute():
                name = _identifier(item.name)
                run.append((name, _value(item.value, indent, len(indent) + len(name) + 3, top=True)))
            case Comment():
                for line in item.text.splitlines() or [""]:
                    yield f"{indent}# {line}".rstrip()
            case Block():
                yield from _block(item, indent)
    yield from _aligned(run, indent)


def _apart(items: tuple[Item, ...], position: int) -> bool:
    """Whether a blank line goes before the item: only around blocks, each with its comment."""
    before, item = items[position - 1], items[position]
    if isinstance(before, Comment):
        return isinstance(item, Comment)
    if isinstance(item, Comment) and position + 1 < len(items):
        item = items[position + 1]
    return isinstance(before, Block) or isinstance(item, Block)


def _block(block: Block, indent: str) -> Iterator[str]:
    head = " ".join([_identifier(block.kind), *map(quoted, block.labels)])
    if not block.body:
        yield f"{indent}{head} {{}}"
        return
    yield f"{indent}{head} {{"
    yield from _body(block.body, indent + _INDENT)
    yield f"{indent}}}"


def _aligned(pairs: Sequence[tuple[str, str]], indent: str) -> Iterator[str]:
    """Give the `=` of neighbouring lines one column, by the rule of hclwrite's formatter.

    A value that opens a bracket and closes it on a later line is set apart; a heredoc ends its run.
    """
    run: list[tuple[str, str]] = []
    for name, text in pairs:
        several = "\n" in text
        if not several or text.startswith("<<"):
            run.append((name, text))
        if several:
            yield from _run(run, indent)
            run.clear()
            if not text.startswith("<<"):
                yield f"{indent}{name} = {text}"
    yield from _run(run, indent)


def _run(pairs: Sequence[tuple[str, str]], indent: str) -> list[str]:
    width = max([len(name) for name, _ in pairs], default=0)
    return [f"{indent}{name:<{width}} = {text}" for name, text in pairs]


def _value(value: Value, indent: str, used: int, *, top: bool = False) -> str:
    """Return the text of a value that starts after `used` columns; `top` is outside every list and map."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return quoted(value)
        case Expression():
            return value.text
        case Template():
            return f'"{_interpolated(value, _escaped, _numbered)}"'
        case Heredoc():
            return _heredoc(value.text) if top else quoted(value.text)
        case Mapping():
            return _mapping(value, indent)
        case _:
            return _sequence(value, indent, used)


def _sequence(values: Sequence[Value], indent: str, used: int) -> str:
    inner = indent + _INDENT
    texts = [_value(value, inner, len(inner)) for value in values]
    line = f"[{', '.join(texts)}]"
    if "\n" not in line and used + len(line) <= _WIDTH:
        return line
    return "\n".join(["[", *(f"{inner}{text}," for text in texts), f"{indent}]"])


def _mapping(values: Mapping[str, Value], indent: str) -> str:
    if not values:
        return "{}"
    inner = indent + _INDENT
    keys = [_key(name) for name in values]
    texts = [_value(value, inner, len(inner) + len(key) + 3) for key, value in zip(keys, values.values(), strict=True)]
    return "\n".join(["{", *_aligned(list(zip(keys, texts, strict=True)), inner), f"{indent}}}"])


def _key(name: str) -> str:
    return name if _IDENTIFIER.match(name) and name not in _NOT_A_KEY else quoted(name)


def _identifier(name: str) -> str:
    if not _IDENTIFIER.match(name):
        raise ValueError(f"`{name}` is not an HCL identifier")
    return name


def quoted(text: str) -> str:
    """Return a text as a quoted string, in which no character ends it or opens an interpolation."""
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Escape a literal for a quoted string.

    `${` becomes `$${`. A further dollar before it would be read as part of the escape, so that one is
    written by its number; the same holds for the per cent sign.
    """
    if not _NOT_AS_IT_IS.search(text):
        return text
    text = _UNSAFE.sub(lambda found: _SHORT.get(found[0]) or _numbered(found[0]), text)
    return _MARKER.sub(lambda found: _numbered(found[1][1:]) + found[1][0] * 2 + "{", text)


def _numbered(characters: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in characters)


def _interpolated(template: Template, escape: Callable[[str], str], number: Callable[[str], str]) -> str:
    """Return a template without quotes; `number` writes markers that would escape the expression after them."""
    pieces: list[str] = []
    literal = ""
    for part in template.parts:
        if isinstance(part, str):
            literal += part
            continue
        start = literal.rstrip("$%")
        pieces += [escape(start), number(literal.removeprefix(start)), f"${{{part.text}}}"]
        literal = ""
    return "".join([*pieces, escape(literal)])


def _heredoc(text: str) -> str:
    if not text.endswith("\n") or _NOT_IN_HEREDOC.search(text):
        return quoted(text)
    delimiter, number = "EOT", 1
    while delimiter in text:
        number += 1
        delimiter = f"EOT{number}"
    # Without escapes by number, a dollar before `$${` is written as an interpolated string.
    body = _MARKER.sub(lambda found: _strings(found[1][1:]) + found[1][0] * 2 + "{", text)
    return f"<<{delimiter}\n{body}{delimiter}"


def _strings(characters: str) -> str:
    """Return characters as interpolated strings, for a template without quotes."""
    return "".join(f'${{"{_numbered(each) if _NOT_IN_HEREDOC.match(each) else each}"}}' for each in characters)


def json_value(value: Value) -> Any:
    """Return what a JSON file must hold so that bake reads the value.

    In such a file every string, a key of an object too, is a template (hashicorp/hcl, json/spec.md); one that is a
    single interpolation keeps the type of its expression.
    """
    match value:
        case str():
            return _json_text(value)
        case Expression():
            return f"${{{value.text}}}"
        case Template():
            return _interpolated(value, _json_text, _strings)
        case Heredoc():
            return _json_text(value.text)
        case Mapping():
            return {_json_text(name): json_value(each) for name, each in value.items()}
        case None | int():
            return value
        case _:
            return [json_value(each) for each in value]


def _json_text(text: str) -> str:
    """Return a literal as a template without quotes.

    In one that is read from JSON, a byte order mark at its beginning is dropped, and after a carriage return no
    interpolation may be seen (buildx 0.29): such characters are written as interpolated strings.
    """
    return _NOT_IN_JSON.sub(lambda found: _strings(found[0]), text)


def evaluate(value: Value, variables: Mapping[str, str]) -> str:
    """Return a text with variables filled in; the only expressions in it are their names."""
    match value:
        case Template():
            return "".join(part if isinstance(part, str) else variables[part.text] for part in value.parts)
        case Expression():
            return variables[value.text]
        case Heredoc():
            return value.text
    return str(value)
