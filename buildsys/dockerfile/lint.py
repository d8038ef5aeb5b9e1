"""What a Dockerfile takes from outside and what it declares, and whether it keeps the project's rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Literal, TypeAlias

from buildsys.dockerfile.frontend import argument_words, frontend_problems
from buildsys.dockerfile.parser import KEYWORDS, LONGEST_LINE, Instruction, Read, plain_words, read_all
from buildsys.errors import Diagnostic, Location
from buildsys.names import context_problem

How: TypeAlias = Literal["FROM", "--from", "mount"]

_SECRET = re.compile(
    r"(?:_|\A)(?:apikey|auth|credentials?|passphrase|passw(?:or)?d|pword|secrets?|tokens?)(?:_|\Z)|key\Z",
    re.IGNORECASE,
)
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_PUBLIC = re.compile(r"(?:_|\A)public(?:_|\Z)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The name of an image or named context that the Dockerfile takes from outside, and where it stands."""

    name: str
    line: int
    column: int
    how: How


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A FROM with what follows it; `base` is its text, `name` is None unless AS gives one."""

    base: str
    name: str | None
    line: int
    instructions: tuple[Instruction, ...]


def split(text: str) -> tuple[Instruction, ...]:
    """Return the instructions in order; never fails: a heredoc without its end reaches to the end of the file."""
    return tuple(read.instruction for read in read_all(text))


def stages(text: str) -> tuple[Stage, ...]:
    """Return the stages in order; instructions before the first FROM belong to none."""
    instructions = split(text)
    starts = [index for index, one in enumerate(instructions) if one.keyword == "FROM"]
    found = []
    for start, end in pairwise([*starts, len(instructions)]):
        words = instructions[start].arguments.split()
        name = words[2] if len(words) == 3 and words[1].upper() == "AS" else None
        base = words[0] if words else ""
        line = instructions[start].line
        found.append(Stage(base=base, name=name, line=line, instructions=instructions[start + 1 : end]))
    return tuple(found)


def references(text: str) -> tuple[Reference, ...]:
    """Return every name that a FROM, `--from=` or `--mount=…,from=` takes from outside the file, in order.

    As in BuildKit (measured with 0.25): FROM sees the stages before it, `--from=` and mounts see all of them
    by name in any case, and a number is a stage for `COPY --from=` only. `scratch` is nothing.
    """
    known = stages(text)
    names = [(stage.name or "").lower() for stage in known]
    found = []
    for how, name, (line, column) in _mentions(text):
        visible = [n for n, stage in zip(names, known, strict=True) if how != "FROM" or stage.line < line]
        numbered = how == "--from" and name.isdecimal() and int(name) < len(known)
        if name and name != "scratch" and name.lower() not in visible and not numbered:
            found.append(Reference(name=name, line=line, column=column, how=how))
    return tuple(found)


def layer_count(text: str) -> int:
    """Return how many layers the last stage adds to what it stands on."""
    found = stages(text)
    makers = ("RUN", "COPY", "ADD", "WORKDIR")
    return sum(each.keyword in makers for each in found[-1].instructions) if found else 0


def declared_arguments(text: str) -> dict[str, bool]:
    """Return the names that ARG declares, in order, and whether any declaration of each gives a default."""
    found: dict[str, bool] = {}
    for name, has_default, _ in argument_words(read_all(text)):
        found[name] = found.get(name, False) or has_default
    return found


def argument_positions(text: str) -> dict[str, tuple[int, int]]:
    """Return line and column of the first declaration of each argument."""
    found: dict[str, tuple[int, int]] = {}
    for name, _, position in argument_words(read_all(text)):
        found.setdefault(name, position)
    return found


def problems(text: str, file: str, contexts: Collection[str]) -> tuple[Diagnostic, ...]:
    """Return what breaks the project's rules, in order of place; `contexts` are the names that a layer declares."""
    found = [*frontend_problems(text, file), *_unreadable(text, file)]
    found += [*_outside(text, file, contexts), *_unlinked(text, file)]
    for name, _, (line, column) in argument_words(read_all(text)):
        if _SECRET.search(name) and not _PUBLIC.search(name):
            message = f"`ARG {name}` looks like a secret, and arguments stay readable in the image's history"
            location = Location(file=file, line=line, column=column, length=len(name))
            found.append(Diagnostic(message=message, location=location, hint="pass it with `RUN --mount=type=secret`"))
    return _in_order(found)


def artifact_problems(text: str, file: str, prefix: str) -> tuple[Diagnostic, ...]:
    """Return why the last stage is not `FROM scratch` with one `COPY --from=<stage> <folder> /` and nothing else.

    `prefix` is the absolute path that the artifact owns; its files must land there, so the copied folder
    holds the whole path. Only this form keeps its digest when images join it.
    """
    known = stages(text)
    if not known:
        message = "an artifact's Dockerfile has no stage, expected one that ends as `FROM scratch`"
        return (Diagnostic(message=message, location=Location(file=file)),)
    last = known[-1]
    form = "`COPY --from=<stage> <folder> /`"
    reads = [read for read in read_all(text) if read.instruction.line >= last.line]
    head = _location(file, reads[0], reads[0].rest, last.base)
    found = []
    if last.base != "scratch":
        message = f"an artifact's last stage is `FROM {last.base}`, expected `FROM scratch`"
        found.append(Diagnostic(message=message, location=head, hint=f"end with `FROM scratch` and {form}"))
    copies = [read for read in reads if read.instruction.keyword == "COPY"]
    for extra in [read for read in reads[1:] if read not in copies[:1]]:
        word = extra.instruction.keyword
        message = f"`{word}` in an artifact's last stage, expected nothing but one {form}"
        hint = "environment, labels and users belong to `layer.yaml`, work to an earlier stage"
        found.append(Diagnostic(message=message, location=_location(file, extra, 0, word), hint=hint))
    if not copies:
        found.append(Diagnostic(message=f"an artifact's last stage has no {form}", location=head))
        return _in_order(found)
    copy, location = copies[0], _location(file, copies[0], copies[0].rest, copies[0].instruction.arguments)
    source = dict(copy.instruction.flags).get("from", "")
    names = {stage.name.lower() for stage in known[:-1] if stage.name}
    if source.lower() not in names and not (source.isdecimal() and int(source) < len(known) - 1):
        message = f"an artifact is copied from `{source or 'the context'}`, expected an earlier stage of the file"
        found.append(Diagnostic(message=message, location=_location(file, copy, 0, "COPY")))
    copied = plain_words(copy.instruction.arguments)
    if len(copied) != 2 or copied[-1] != "/":
        message = f"an artifact ends with `COPY {copy.instruction.arguments}`, expected one folder and `/`"
        found.append(Diagnostic(message=message, location=location, hint=f"write {form}"))
    elif f"/{copied[0].strip('/.')}".endswith(f"/{prefix.strip('/')}"):
        message = f"the copy puts the content of `{prefix}` into `/`, expected it at `{prefix}`"
        hint = f"make the tree in a folder of its own, such as `/artifact{prefix}`, and copy `/artifact`"
        found.append(Diagnostic(message=message, location=location, hint=hint))
    return _in_order(found)


def _unreadable(text: str, file: str) -> Iterator[Diagnostic]:
    """Yield what keeps BuildKit, or one without a network, from reading the file at all."""
    for number, line in enumerate(text.split("\n"), 1):
        if (size := len(line.encode())) > LONGEST_LINE:
            message = f"a line of {size} bytes, BuildKit reads at most {LONGEST_LINE}"
            yield Diagnostic(message=message, location=Location(file=file, line=number))
    began = False
    for read in read_all(text):
        word, arguments = read.instruction.keyword, read.instruction.arguments
        location = _location(file, read, 0, word)
        began = began or word == "FROM"
        if word not in KEYWORDS:
            near = get_close_matches(word, sorted(KEYWORDS), 1)
            meant = f"did you mean `{near[0]}`?" if near else None
            yield Diagnostic(message=f"`{word}` is not an instruction", location=location, hint=meant)
        elif not began and word != "ARG":
            yield Diagnostic(message=f"`{word}` stands before the first `FROM`", location=location)
        if word == "ONBUILD":
            message = "`ONBUILD` would act in builds of other projects, and an image that is composed does not have it"
            hint = "write the instruction into the layer that needs it"
            yield Diagnostic(message=message, location=location, hint=hint)
        if word == "FROM" and not re.fullmatch(r"\S+(\s+(?i:as)\s+\S+)?", arguments):
            message = f"`FROM {arguments}` is not `FROM <name>` or `FROM <name> AS <stage>`"
            yield Diagnostic(message=message, location=location)
        if read.unended is not None:
            yield Diagnostic(message=f"the heredoc `{read.unended}` has no end", location=location)
    if not began:
        yield Diagnostic(message="the file has no `FROM`", location=Location(file=file))


def _outside(text: str, file: str, contexts: Collection[str]) -> Iterator[Diagnostic]:
    listed = ", ".join(f"`{name}`" for name in sorted(contexts)) or "none"
    for one in references(text):
        if one.name not in contexts:
            near = get_close_matches(one.name, sorted(contexts), 1)
            said = {"FROM": f"FROM {one.name}", "--from": f"--from={one.name}", "mount": f"from={one.name}"}
            message = f"`{said[one.how]}` names neither a declared context nor a stage of this file"
            location = Location(file=file, line=one.line, column=one.column, length=len(one.name))
            hint = f"did you mean `{near[0]}`?" if near else f"declared contexts: {listed}"
            yield Diagnostic(message=message, location=location, hint=hint)
    for stage in stages(text):
        message = ""
        if stage.name and stage.name.lower() in contexts:
            message = f"the stage `{stage.name}` would be replaced by the declared context of that name"
        elif stage.name and context_problem(stage.name.lower()):
            message = f"the stage `{stage.name}` has a reserved name"
        elif stage.name and not _STAGE.fullmatch(stage.name.lower()):
            message = f"`{stage.name}` cannot be a stage's name: letters, digits, `_`, `.` and `-`, a letter first"
        if message:
            yield Diagnostic(message=message, location=Location(file=file, line=stage.line), hint="rename the stage")


def _unlinked(text: str, file: str) -> Iterator[Diagnostic]:
    for read in read_all(text):
        flags = {name: (value, offset) for name, value, offset in read.values}
        if read.instruction.keyword not in {"COPY", "ADD"} or flags.get("link", ("false", 0))[0] == "false":
            continue
        if "chmod" in flags:
            value, offset = flags["chmod"]
            message = "`--chmod` silently switches `--link` off"
            hint = "set the mode where the files are made"
            yield Diagnostic(message=message, location=_location(file, read, offset, value), hint=hint)
        value, offset = flags.get("chown", ("", 0))
        if any(part and "$" not in part and not part.isdecimal() for part in value.split(":")):
            message = f"`--chown={value}` with `--link` looks names up where there are none"
            location = _location(file, read, offset, value)
            yield Diagnostic(message=message, location=location, hint="use numbers, such as `--chown=1000:1000`")


def _mentions(text: str) -> Iterator[tuple[How, str, tuple[int, int]]]:
    """Yield each name in FROM, `--from=` and mounts, an ONBUILD's too, with its place."""
    for read in read_all(text):
        if read.instruction.keyword == "FROM":
            yield "FROM", next(iter(read.instruction.arguments.split()), ""), read.source.at(read.rest)
        for flag, value, offset in read.values:
            if flag == "from":
                yield "--from", value, read.source.at(offset)
            for field in re.finditer(r"(?:\A|,)(?i:from)=([^,]*)", value) if flag == "mount" else ():
                yield "mount", field[1], read.source.at(offset + field.start(1))


def _location(file: str, read: Read, offset: int, what: str) -> Location:
    line, column = read.source.at(offset)
    return Location(file=file, line=line, column=column, length=max(1, len(what)))


def _in_order(found: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(found, key=lambda one: (one.location.line, one.location.column) if one.location else (0, 0)))
