"""Projects with one error in them: what a command says of it, and whether its hint fixes it.

A file of `tests/golden/mistakes` is a list of errors, in the order of the golden texts beside it:

    - name: the layer of a stack is misspelt
      base: small                      # a folder of tests/golden/mistakes, or of tests/golden with a `project`
      change:
        stacks.yaml: {replace: ["hello: 1.0", "helo: 1.0"]}
      run: plan --offline              # the default
      variables: {CI: "1"}             # of the environment
      exit: 4                          # the default
      errors: 1                        # the default: said once

A change of a file is a text, null where the file is to go, `{replace: [old, new]}` for one place of it, `{edits: [[old,
new], …]}` for several, `{move: path}`, or `{link: where it leads}`.

The hint is applied as a person would who does just what it says, see `fixed`. Where it asks for a thought, `fix` is
that thought: `{change: …}`, `{run: …}` for another command line, `{variables: …}` for another environment, `{first: …}`
for a command before; the same command must then succeed. With `fix: none` the hint is not applied.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
import yaml

from buildsys.__main__ import main

FOLDER = Path(__file__).parents[1] / "golden" / "mistakes"
FILES = tuple(sorted(FOLDER.glob("*.yaml")))
_FOREIGN = ("BUILDSYS_", "BUILDX_", "GIT_", "CI", "NO_COLOR", "FORCE_COLOR")
# What a command keeps for itself.
_STATE = ".buildsys"
Change = Mapping[str, Any]
_get_command = typer.main.get_command
_command = functools.cache(_get_command)


class NotMechanical(Exception):
    """A hint that asks for a thought."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One entry of a file."""

    name: str
    area: str
    change: Change = field(default_factory=dict)
    base: str = "small"
    run: str = "plan --offline"
    variables: Mapping[str, str] = field(default_factory=dict)
    exit: int = 4
    errors: int = 1
    fix: Any = None

    @property
    def words(self) -> list[str]:
        """The command line."""
        return shlex.split(self.run)

    @property
    def by_hand(self) -> Mapping[str, Any] | None:
        """What a person does who follows a hint that asks for a thought; None where the hint says it all."""
        return self.fix if isinstance(self.fix, dict) else None

    @property
    def is_fixed(self) -> bool:
        """Whether the test applies the hint."""
        return self.fix is None or isinstance(self.fix, dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One error or warning as it is printed; `length` is that of the carets."""

    word: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    length: int = 0
    hint: str = ""


def mistakes(path: Path) -> tuple[Mistake, ...]:
    """Return the errors of a file."""
    return tuple(Mistake(area=path.stem, **entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8")))


def base(name: str, folder: Path) -> Path:
    """Copy a base project, with a bake file as an earlier plan left it; return its folder."""
    source = FOLDER / name
    shutil.copytree(source if source.is_dir() else FOLDER.parent / name / "project", folder)
    (folder / "docker-bake.hcl").write_text("# as an earlier plan left it\n", encoding="utf-8")
    return folder


def changed(project: Path, change: Change) -> None:
    """Change files of a project."""
    for name, given in change.items():
        path = project / name
        match given:
            case None:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            case str():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(given, encoding="utf-8")
            case {"replace": [old, new]}:
                _replace(path, [(old, new)])
            case {"edits": edits}:
                _replace(path, edits)
            case {"move": where}:
                (project / where).parent.mkdir(parents=True, exist_ok=True)
                path.rename(project / where)
            case {"link": where}:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(where)
            case _:
                raise ValueError(f"no change of a file: {given!r}")


def _replace(path: Path, edits: list[tuple[str, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{path.name} has {text.count(old)} times {old!r}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def run(project: Path, words: list[str], variables: Mapping[str, str]) -> Ended:
    """Run the command line in a project, within this process, as the entry point does."""
    written = [io.BytesIO() for _ in range(2)]
    streams = [io.TextIOWrapper(each, encoding="utf-8") for each in written]
    with _within(project, words, variables):
        sys.stdout, sys.stderr = streams
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        # The entry point puts watchers round them.
        for stream in streams:
            stream.flush()
    stdout, stderr = (each.getvalue().decode() for each in written)
    where = str(project)
    return Ended(code=int(code), stdout=stdout.replace(where, "/project"), stderr=stderr.replace(where, "/project"))


@contextlib.contextmanager
def _within(project: Path, words: list[str], variables: Mapping[str, str]) -> Iterator[None]:
    """Have the folder, arguments and environment of a command, and afterwards those of before."""
    before = Path.cwd(), sys.argv, sys.stdout, sys.stderr, dict(os.environ)
    # Half of the time of a command is spent on its declaration, which is the same for all.
    typer.main.get_command = _command
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    try:
        os.chdir(project)
        os.environ.clear()
        os.environ.update({**kept, **variables})
        sys.argv = ["buildsys", *words]
        yield
    finally:
        os.chdir(before[0])
        sys.argv, sys.stdout, sys.stderr = before[1:4]
        typer.main.get_command = _get_command
        os.environ.clear()
        os.environ.update(before[4])


def files(project: Path) -> dict[str, bytes]:
    """Return the content of all files of a project but those that are a command's own."""
    found = {}
    for path in sorted(project.rglob("*")):
        name = str(path.relative_to(project))
        if not name.startswith(_STATE) and not path.is_dir():
            found[name] = bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
    return found


def said(text: str) -> tuple[Said, ...]:
    """Return the errors and warnings of an output."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if match := re.match(r"(error|warning): (.*)", line):
            found.append({"word": match[1], "message": match[2]})
        elif found and (match := re.match(r"  --> (.+):(\d+):(\d+)$", line)):
            found[-1] |= {"file": match[1], "line": int(match[2]), "column": int(match[3])}
        elif found and (match := re.match(r" *\| *(\^+)$", line)):
            found[-1]["length"] = len(match[1])
        elif found and (match := re.match(r"hint: (.*)", line)):
            found[-1]["hint"] = match[1]
    return tuple(Said(**each) for each in found)


def errors(text: str) -> tuple[Said, ...]:
    """Return the errors of an output."""
    return tuple(each for each in said(text) if each.word == "error")


def fixed(project: Path, mistake: Mistake, ended: Ended) -> Ended:
    """Do what the hints of an output say, in order from the end of each file, and return the command's new end."""
    words, variables = mistake.words, dict(mistake.variables)
    if mistake.by_hand is not None:
        known = {"change", "run", "variables", "first"}
        assert mistake.by_hand.keys() <= known, f"`fix` has keys other than {sorted(known)}"
        changed(project, mistake.by_hand.get("change", {}))
        words = shlex.split(mistake.by_hand.get("run", mistake.run))
        variables = dict(mistake.by_hand.get("variables", variables))
        if first := mistake.by_hand.get("first"):
            assert f"`buildsys {first}`" in ended.stderr, f"no hint names `buildsys {first}`"
            _succeeds(project, shlex.split(first), variables)
    else:
        for each in sorted(errors(ended.stderr), key=lambda one: (one.file, -one.line, -one.column)):
            words, variables = _follow(project, each, words, variables)
    return run(project, words, variables)


def _succeeds(project: Path, words: list[str], variables: Mapping[str, str]) -> None:
    done = run(project, words, variables)
    assert done.code == 0, done.stderr


def _follow(
    project: Path, error: Said, words: list[str], variables: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Do what one hint says; return the words and variables of the command to come."""
    if match := re.match(r"run `buildsys ([^`]+)`", error.hint):
        _succeeds(project, shlex.split(match[1]), variables)
        return words, variables
    new = _replacement(error.hint)
    if error.file:
        path = project / error.file
        path.write_text(_edited(path.read_text(encoding="utf-8"), error, new), encoding="utf-8")
        return words, variables
    return _reworded(error, new, words, variables)


def _replacement(hint: str) -> str | None:
    """Return the text that a hint gives for the one at its place, None where it gives none."""
    forms = r"did you mean `([^`]+)`\?", r"(?:use|expected) one of `([^`]+)`", r"(?:write|use|set) `([^`]+)`"
    return next((match[1] for form in forms if (match := re.match(form, hint))), None)


def _reworded(
    error: Said, new: str | None, words: list[str], variables: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the environment with the first name or value that a message quotes replaced."""
    quoted = re.findall(r"`([^`]+)`", error.message)
    for old in quoted:
        if old in words and (new or error.hint.startswith("remove ")):
            return [each for word in words if (each := new if word == old else word)], variables
        if old in variables.values() and new:
            return words, {name: new if value == old else value for name, value in variables.items()}
        if old in variables and new:
            return words, {new if name == old else name: value for name, value in variables.items()}
        if old in variables and error.hint.startswith(("unset ", "remove ")):
            return words, {name: value for name, value in variables.items() if name != old}
    raise NotMechanical(error.hint)


def _edited(text: str, error: Said, new: str | None) -> str:
    """Return the text of a file with the token at the place of an error replaced, removed, or with a field added."""
    lines = text.split("\n")
    line, start = lines[error.line - 1], error.column - 1
    # The line of a settings file, which may have a password, is not shown, and nothing marks the token.
    token = re.match(r"[^\s:,{}\[\]]*", line[start:])
    end = start + (error.length or (token.end() if token else 0))
    if new is not None:
        quote = line[start] if line[start : start + 1] in ("'", '"') and new[0] not in "'\"" else ""
        lines[error.line - 1] = f"{line[:start]}{quote}{new}{quote}{line[end:]}"
    elif match := re.match(r"add `([^`]+: [^`]+)`", error.hint):
        _add(lines, error, match[1])
    elif error.hint.startswith("remove "):
        _remove(lines, error.line - 1, start, end)
    else:
        raise NotMechanical(error.hint)
    return "\n".join(lines)


def _add(lines: list[str], error: Said, entry: str) -> None:
    """Add an entry to the mapping at a place, which is that of its key, or of itself."""
    line = lines[error.line - 1]
    # A mapping of several lines is at its first key, and only a key has carets below all of it.
    behind = line[error.column - 1 + error.length :]
    is_key = behind.startswith(":")
    brace = error.column - 1 if not is_key else len(line) - len(behind.lstrip(": "))
    if line[brace : brace + 1] == "{":
        lines[error.line - 1] = f"{line[: brace + 1]}{entry}, {line[brace + 1 :]}"
        return
    inner = error.line if is_key and line.rstrip().endswith(":") else error.line - 1
    indent = len(lines[inner]) - len(lines[inner].lstrip(" -"))
    if inner != error.line - 1 or not lines[inner].lstrip().startswith("- "):
        lines.insert(inner, " " * indent + entry)
        return
    dash = lines[inner]
    lines[inner : inner + 1] = [dash[:indent] + entry, " " * indent + dash[indent:]]


def _remove(lines: list[str], number: int, start: int, end: int) -> None:
    """Remove what is at a place: the entry of a list or mapping in one line, else its line and what is below it."""
    line = lines[number]
    before, after = line[:start], line[end:]
    if before.strip(" -"):
        entry = re.match(r":\s*[^,}\]]*", after)
        after = after[entry.end() :] if entry else after
        before, after = (before, after[2:]) if after.startswith(", ") else (before.removesuffix(", "), after)
        lines[number] = before + after
        return
    depth = len(line) - len(line.lstrip(" "))
    last = number + 1
    while last < len(lines) and lines[last].strip() and len(lines[last]) - len(lines[last].lstrip(" ")) > depth:
        last += 1
    del lines[number:last]


def golden(path: Path, texts: Mapping[str, str]) -> str:
    """Return the text of the golden file beside a file of errors: each name, and what is said below it."""
    head = f"What buildsys says of each error in {path.name}; UPDATE_GOLDEN=1 writes it.\n"
    return head + "".join(f"\n== {name}\n{text}" for name, text in texts.items())


def read_golden(path: Path) -> dict[str, str]:
    """Return what is kept as said of each error of a file."""
    if not (kept := path.with_suffix(".txt")).is_file():
        return {}
    parts = re.split(r"^== (.*)\n", kept.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {name: text.rstrip("\n") + "\n" for name, text in zip(parts[::2], parts[1::2], strict=True)}
