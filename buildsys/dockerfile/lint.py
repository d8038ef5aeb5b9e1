"""Whether a Dockerfile keeps the project's rules, and is read by BuildKit's own frontend as it is read here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from buildsys.dockerfile.parser import (
    HEREDOC,
    KEYWORDS,
    MOST_INSTRUCTIONS,
    Argument,
    Dockerfile,
    Read,
    Reference,
    directives,
    is_stage,
    plain_words,
    words,
)
from buildsys.errors import Diagnostic, Location, did_you_mean, nearest, use_one_of
from buildsys.names import PLATFORM_ARGUMENTS, context_problem, is_switch
from buildsys.texts import LONGEST_ARGUMENT, LONGEST_LINE, control, shown, variable

_SECRET = re.compile(
    r"(?:_|\A)(?:apikey|auth|credentials?|passphrase|passw(?:or)?d|pword|secrets?|tokens?)(?:_|\Z)|key\Z",
    re.IGNORECASE,
)
_FROM = re.compile(r"\S+(\s+(?i:as)\s+\S+)?")
# What becomes an argument or a variable of a process.
_EXECUTED = frozenset({"ARG", "CMD", "ENTRYPOINT", "ENV", "HEALTHCHECK", "RUN"})
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_PUBLIC = re.compile(r"(?:_|\A)public(?:_|\Z)", re.IGNORECASE)
# As BuildKit looks for a frontend, and as older ones did, which continued behind a directive that they did not know.
_DIRECTIVE = r"\s*{mark}\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*\S"
_MARKS = ("#", "//")
_DELIMITER = re.compile(r"(['\"]?)[A-Za-z0-9_.-]+\1")
_ODD_VARIABLE = re.compile(r"\$\{(?![A-Za-z_][A-Za-z0-9_]*\})")


def problems(dockerfile: Dockerfile, contexts: Mapping[str, str], flavour: str = "") -> tuple[Diagnostic, ...]:
    """Return what breaks the project's rules, in order of place.

    `contexts` are the names that a layer declares, with what each is; the first is what the layer is built on.
    """
    if len(dockerfile.reads) > MOST_INSTRUCTIONS:
        location = Location(file=dockerfile.file, line=dockerfile.reads[-1].instruction.line)
        message = f"the file has more than {MOST_INSTRUCTIONS} instructions"
        return (Diagnostic(message=message, location=location, hint="join RUN instructions, or use a script"),)
    found = [*frontend_problems(dockerfile), *unreadable(dockerfile), *_too_long(dockerfile)]
    if is_readable(dockerfile):
        found += _outside(dockerfile, contexts, flavour)
    found += _unlinked(dockerfile)
    for each in dockerfile.arguments:
        if looks_secret(each.name):
            message = f"`ARG {each.name}` looks like a secret, and arguments stay readable in the image's history"
            hint = (
                "declare it under `secrets` in layer.yaml, and mount it by `RUN --mount=type=secret`; rename a public "
                "value, such as `GPG_FINGERPRINT`"
            )
            found.append(Diagnostic(message=message, location=argument_location(dockerfile, each), hint=hint))
    return _in_order(found)


def looks_secret(argument: str) -> bool:
    """Whether an argument has the name of a value that must not be in an image."""
    return bool(_SECRET.search(argument)) and not _PUBLIC.search(argument)


def artifact_problems(dockerfile: Dockerfile, prefixes: Collection[str]) -> tuple[Diagnostic, ...]:
    """Return why the last stage is not `FROM scratch` with one `COPY --from=<stage> <folder> /` and nothing else.

    `prefixes` are the absolute paths that the artifact owns; its files must land there, so the copied folder
    holds the whole paths. Only this form keeps its digest when images join it.
    """
    known = dockerfile.stages
    if len(dockerfile.reads) > MOST_INSTRUCTIONS:
        # Its last stage was not read, and `problems` reports that.
        return ()
    if not known:
        return ()
    last = known[-1]
    form = "`COPY --from=<stage> <folder> /`"
    reads = [read for read in dockerfile.reads if read.instruction.line >= last.line]
    head = _location(dockerfile, reads[0], reads[0].rest, last.base)
    found = []
    if last.base != "scratch":
        message = f"an artifact's last stage is `FROM {last.base}`, expected `FROM scratch`"
        found.append(Diagnostic(message=message, location=head, hint=f"end with `FROM scratch` and {form}"))
    copies = [read for read in reads if read.instruction.keyword == "COPY"]
    for extra in [read for read in reads[1:] if read not in copies[:1]]:
        word = extra.instruction.keyword
        message = f"an artifact's last stage has `{word}`, expected only one {form}"
        hint = "put environment, labels and users into `layer.yaml`, and work into an earlier stage"
        found.append(Diagnostic(message=message, location=_location(dockerfile, extra, 0, word), hint=hint))
    if not copies:
        message = f"an artifact's last stage has no {form}"
        found.append(Diagnostic(message=message, location=head, hint=f"end with {form}"))
        return _in_order(found)
    copy, location = copies[0], _location(dockerfile, copies[0], copies[0].rest, copies[0].instruction.arguments)
    source = dict(copy.instruction.flags).get("from", "")
    names = {stage.name.lower() for stage in known[:-1] if stage.name}
    outside = {each.name for each in dockerfile.references}
    if source not in outside and source.lower() not in names and not is_stage(source, len(known) - 1):
        message = f"an artifact is copied from {f'`{source}`' if source else 'the context'}, expected an earlier stage"
        hint = (
            f"write `COPY --from={known[-2].name} …`" if len(known) > 1 else f"build it in a stage, and end with {form}"
        )
        found.append(Diagnostic(message=message, location=_location(dockerfile, copy, 0, "COPY"), hint=hint))
    copied = plain_words(copy.instruction.arguments)
    if len(copied) != 2 or copied[-1] != "/":
        message = f"an artifact ends with `COPY {copy.instruction.arguments}`, expected one folder and `/`"
        hint = f"write `{copied[0]} /`" if len(copied) == 2 else f"write {form}"
        found.append(Diagnostic(message=message, location=location, hint=hint))
    elif prefix := next((each for each in prefixes if f"/{copied[0].strip('/.')}".endswith(each)), None):
        message = f"the copy puts the content of `{prefix}` into `/`, expected it at `{prefix}`"
        hint = f"create the tree in a separate folder, such as `/artifact{prefix}`, and copy `/artifact`"
        found.append(Diagnostic(message=message, location=location, hint=hint))
    return _in_order(found)


def _is_stage(source: str, count: int) -> bool:
    return source.isdecimal() and int(source) < count


def is_readable(dockerfile: Dockerfile) -> bool:
    """Whether the stages and arguments of a file are known: what is wrong with them otherwise only follows."""
    instructions = [read.instruction for read in dockerfile.reads]
    known = all(each.keyword in KEYWORDS for each in instructions)
    plain = all(_FROM.fullmatch(each.arguments) for each in instructions if each.keyword == "FROM")
    return known and plain and bool(dockerfile.stages) and all(read.unended is None for read in dockerfile.reads)


def unreadable(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    """Yield what keeps BuildKit, or one without a network, from reading the file at all."""
    file = dockerfile.file
    for number, line in enumerate(dockerfile.text.split("\n"), 1):
        if (size := len(line.encode())) > LONGEST_LINE:
            message = f"the line has {size} bytes, BuildKit reads at most {LONGEST_LINE}"
            hint = "put the text into a file, and copy that"
            yield Diagnostic(message=message, location=Location(file=file, line=number), hint=hint)
    began, early = False, list[Diagnostic]()
    for read in dockerfile.reads:
        word, arguments = read.instruction.keyword, read.instruction.arguments
        location = _location(dockerfile, read, 0, word)
        near = nearest(word, KEYWORDS)
        # Whatever follows from a misspelt FROM is not said too.
        began = began or "FROM" in (word, near)
        if word not in KEYWORDS:
            hint = (
                f"did you mean `{near}`?"
                if near
                else "begin the line with an instruction, or end the one above in `\\`"
            )
            yield Diagnostic(message=f"`{word}` is not an instruction", location=location, hint=hint)
        elif not began and word != "ARG":
            message = f"`{word}` is before the first `FROM`"
            early.append(Diagnostic(message=message, location=location, hint="move it below the first `FROM`"))
        if word == "ONBUILD":
            message = "`ONBUILD` would act in builds of other projects, and an image that is composed does not have it"
            hint = "write the instruction into the layer that needs it"
            yield Diagnostic(message=message, location=location, hint=hint)
        if word == "FROM" and not _FROM.fullmatch(arguments):
            message = f"`FROM {arguments}` is not `FROM <name>` or `FROM <name> AS <stage>`"
            parts = arguments.split()
            hint = f"write `FROM {parts[0]} AS {parts[-1]}`" if len(parts) > 1 else "write `FROM` and one name"
            place = _location(dockerfile, read, 0, f"FROM {arguments}")
            yield Diagnostic(message=message, location=place, hint=hint)
        if read.unended is not None:
            message, hint = f"the heredoc `{read.unended}` has no end", f"end it with a line `{read.unended}`"
            yield Diagnostic(message=message, location=location, hint=hint)
    if began:
        yield from early
    else:
        hint = "begin with `FROM base`, or in an artifact with `FROM toolchain AS build`"
        yield Diagnostic(message="the file has no `FROM`", location=Location(file=file), hint=hint)


def _too_long(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    """Yield what no process can take as an argument or a variable; a heredoc that begins with `#!` is a file."""
    for read in dockerfile.reads:
        word, heredocs = read.instruction.keyword, "".join(read.instruction.heredocs)
        size = len(f"{read.source.text}{heredocs}".encode())
        if word in _EXECUTED and size > LONGEST_ARGUMENT and not heredocs.startswith("#!"):
            message = f"this `{word}` has {size} bytes, expected at most {LONGEST_ARGUMENT}"
            hint = "put the text into a file of the layer, and copy or mount that"
            yield Diagnostic(message=message, location=_location(dockerfile, read, 0, word), hint=hint)


def _outside(dockerfile: Dockerfile, contexts: Mapping[str, str], flavour: str) -> Iterator[Diagnostic]:
    stages = [stage.name for stage in dockerfile.stages if stage.name]
    where = f" in the flavour `{flavour}`" if flavour else ""
    for one in dockerfile.references:
        if one.name not in contexts:
            said = {"FROM": f"FROM {one.name}", "--from": f"--from={one.name}", "mount": f"from={one.name}"}
            message = f"`{said[one.how]}` is neither a stage of this file nor a context of the layer{where}"
            location = Location(file=dockerfile.file, line=one.line, column=one.column, length=len(one.name))
            known = [*contexts] if one.how == "FROM" else [*contexts, *stages]
            hint = did_you_mean(one.name, known, _instead(one, contexts, stages))
            yield Diagnostic(message=message, location=location, hint=hint)
    for stage in dockerfile.stages:
        message = ""
        if stage.name and stage.name.lower() in contexts:
            message = f"the stage `{stage.name}` would be replaced by the declared context of that name"
        elif stage.name and context_problem(stage.name.lower()):
            message = f"the stage `{stage.name}` has a reserved name"
        elif stage.name and not _STAGE.fullmatch(stage.name.lower()):
            message = f"`{stage.name}` cannot be a stage's name: letters, digits, `_`, `.` and `-`, a letter first"
        if message:
            yield Diagnostic(
                message=message, location=Location(file=dockerfile.file, line=stage.line), hint="rename the stage"
            )


def _instead(one: Reference, contexts: Mapping[str, str], stages: Sequence[str]) -> str:
    """Return the hint what to name instead of an image, or of something that a layer does not have."""
    first = next(iter(contexts))
    if one.how == "FROM":
        return f"use `{first}`, {contexts[first]}"
    return use_one_of(dict.fromkeys([*stages, *sorted(contexts)])) or ""


def _unlinked(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    for read in dockerfile.reads:
        flags = {name: (value, offset) for name, value, offset in read.values}
        if read.instruction.keyword not in {"COPY", "ADD"} or flags.get("link", ("false", 0))[0] == "false":
            continue
        if "chmod" in flags:
            value, offset = flags["chmod"]
            message = "`--chmod` disables `--link` without a warning"
            hint = "set the mode in the RUN that creates the files"
            yield Diagnostic(message=message, location=_location(dockerfile, read, offset, value), hint=hint)
        value, offset = flags.get("chown", ("", 0))
        if any(part and "$" not in part and not part.isdecimal() for part in value.split(":")):
            message = f"`--chown={value}` with `--link` has no user names to look up"
            location = _location(dockerfile, read, offset, value)
            yield Diagnostic(message=message, location=location, hint="use numbers, such as `--chown=1000:1000`")


def argument_location(dockerfile: Dockerfile, argument: Argument) -> Location:
    """Return where an argument is declared."""
    length = max(1, len(argument.name))
    return Location(file=dockerfile.file, line=argument.line, column=argument.column, length=length)


def _location(dockerfile: Dockerfile, read: Read, offset: int, what: str) -> Location:
    line, column = read.source.at(offset)
    return Location(file=dockerfile.file, line=line, column=column, length=max(1, len(what)))


def _in_order(found: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(found, key=lambda one: (one.location.line, one.location.column) if one.location else (0, 0)))


def frontend_problems(dockerfile: Dockerfile) -> tuple[Diagnostic, ...]:
    """Return what brings in another frontend, or changes how this one reads and builds."""
    parts = (_frontends, _reading, _ambiguous, _arguments)
    return tuple(diagnostic for part in parts for diagnostic in part(dockerfile))


def _frontends(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each way to name a frontend (moby/buildkit, `frontend/dockerfile/parser/directives.go`).

    These are `# syntax=`, `// syntax=` and a JSON object, each behind a byte order mark and a line `#!…` if there are.
    """
    file, lines = dockerfile.file, dockerfile.text.removeprefix("\ufeff").split("\n")
    first = 1 if lines[0].startswith("#!") else 0
    hint = "remove the line: BuildKit uses its built-in frontend"
    for mark in _MARKS:
        form = re.compile(_DIRECTIVE.format(mark=mark))
        for number, line in enumerate(lines[first:], first + 1):
            found = form.match(line)
            if not found:
                break
            if found[1].lower() == "syntax":
                message = f"a `{mark} syntax=` line makes every build fetch a frontend from the network"
                location = Location(file=file, line=number, length=len(line))
                yield Diagnostic(message=message, location=location, hint=hint)
    if "\n".join(lines[first:]).lstrip(" \t\r\n").startswith("{"):
        message = "the file begins with `{`, and BuildKit fetches the frontend that a JSON object names"
        yield Diagnostic(message=message, location=Location(file=file, line=first + 1), hint="begin with `FROM`")


def _reading(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    """Yield what BuildKit, an editor and buildsys may read in different ways."""
    file, lines = dockerfile.file, dockerfile.text.removeprefix("\ufeff").split("\n")
    for name, value, number in directives(lines):
        if name == "escape" and value != "\\":
            message = f"`# escape={shown(value)}` changes how every line is read, expected none"
            yield Diagnostic(
                message=message, location=Location(file=file, line=number), hint="continue lines with `\\`"
            )
    for number, line in enumerate(lines, 1):
        if found := control(line.removesuffix("\r"), keep="\t"):
            message = f"the line has the control character `{found}`"
            yield Diagnostic(message=message, location=Location(file=file, line=number), hint="remove the character")


def _ambiguous(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    """Yield what BuildKit's reader of flags and its reader of shell words may take otherwise than those of buildsys.

    BuildKit reads flags byte by byte, with quotes and backslashes of its own, and mounts as CSV; a word that its shell
    reader cannot end opens no heredoc (moby/buildkit, `frontend/dockerfile/parser/split_command.go`, `parser.go`).
    """
    file = dockerfile.file
    for read in dockerfile.reads:
        text, keyword = read.source.text, read.instruction.keyword
        head = text[len(keyword) : read.rest]
        line, column = read.source.at(read.rest)
        location = Location(file=file, line=line, column=column)
        if not (head.isascii() and head.replace("\t", " ").isprintable()) or set(head) & set("'\"\\`"):
            message = f"the flags of `{keyword}` have quotes, backslashes or letters that parsers read differently"
            yield Diagnostic(message=message, location=location, hint="write flags in plain ASCII, without quotes")
        rest = text[read.rest :]
        opens = "<<" in rest and keyword in ("ADD", "COPY", "RUN")
        if (opens or keyword == "ARG") and words(rest) is None:
            message = f"parsers disagree on where a quote or brace of this `{keyword}` ends"
            yield Diagnostic(message=message, location=location, hint="write it without quotes inside of `${…}`")
        elif opens and _ODD_VARIABLE.search(rest):
            message = f"this `{keyword}` has `<<` and a `${{…}}` that is more than a name: parsers split it differently"
            yield Diagnostic(message=message, location=location, hint="use the variable in the body, or without `<<`")
        for word, offset in (words(rest) or ()) if opens else ():
            if (opened := HEREDOC.match(word)) and not _DELIMITER.fullmatch(opened[2]):
                line, column = read.source.at(read.rest + offset)
                message = f"`{shown(word)}` opens a heredoc whose end marker parsers read differently"
                hint = "end it with a plain word, such as `<<EOF`"
                yield Diagnostic(message=message, location=Location(file=file, line=line, column=column), hint=hint)


def _arguments(dockerfile: Dockerfile) -> Iterator[Diagnostic]:
    for read in dockerfile.reads:
        if read.instruction.keyword != "ENV":
            continue
        said = words(read.source.text[read.rest :]) or []
        # `ENV NAME value` is the old form of one variable.
        for word, offset in said if said and "=" in said[0][0] else said[:1]:
            if (name := word.partition("=")[0]) in PLATFORM_ARGUMENTS:
                message, hint = f"`ENV {name}` replaces the value that BuildKit sets", "rename the variable"
                location = _location(dockerfile, read, read.rest + offset, name)
                yield Diagnostic(message=message, location=location, hint=hint)
    for each in dockerfile.arguments:
        location, name = argument_location(dockerfile, each), each.name
        if expected := variable(name):
            message = f"`ARG {shown(name)}` is not a plain name, expected {expected}"
            yield Diagnostic(message=message, location=location, hint="rename the argument")
        elif is_switch(name):
            message, hint = f"`ARG {name}` changes how BuildKit builds", "put proxies and mirrors into the settings"
            yield Diagnostic(message=message, location=location, hint=hint)
        elif each.has_default and name in PLATFORM_ARGUMENTS:
            message = f"`ARG {name}` has a default, which BuildKit may replace by its own value"
            yield Diagnostic(message=message, location=location, hint="remove the default: BuildKit sets it")
