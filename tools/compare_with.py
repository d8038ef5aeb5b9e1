#!/usr/bin/env python3
"""Compares what buildsys of this tree answers with what it answered at another revision, on the same projects.

The shipped project, each of `examples/` and each golden project are copied, once for each tool. What is written
(bake file, lock, schemas), exit codes, drawings and the JSON documents must be equal; only the fields in `WORDING`
may have another text. Golden files may differ from the revision's in wording, not in a bake file or a key. No engine
and no network are used. Prints a table and every difference, and ends with 1 if there is any.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REVISION = "20c28a2"
PROJECT = ("stacks.yaml", "buildsys.lock", "layers", "files", "environments", "mirrors")
GOLDEN = "tests/golden"
BAKE_FILE = "docker-bake.hcl"
WRITTEN = (BAKE_FILE, "buildsys.lock")
# The fields of JSON documents that hold sentences: there the texts may differ, but not which of them exist.
WORDING = frozenset({"hint", "message", "note", "reason", "warnings", "why"})
FORMATS = ("tree", "mermaid", "dot", "json")

# Holds the libraries, and forks for each command what then is `python -m buildsys`: that saves most of its start.
# Nothing of buildsys is imported before, so that each command imports what it needs in its own order.
SERVER = """
import json, os, runpy, sys, tempfile
import networkx, packaging.specifiers, packaging.version, pydantic, typer, typer.main, yaml
pydantic.BaseModel, pydantic.TypeAdapter

for line in sys.stdin:
    folder, *words = json.loads(line)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            os.chdir(folder)
            with open(os.devnull) as nothing:
                for number, file in enumerate((nothing, output, errors)):
                    os.dup2(file.fileno(), number)
            sys.argv[:] = ["buildsys", *words]
            code = 0
            try:
                runpy.run_module("buildsys", run_name="__main__", alter_sys=True)
            except SystemExit as ending:
                code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
            except BaseException:
                import traceback
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
    print(json.dumps([os.waitstatus_to_exitcode(status), *texts]), flush=True)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command came to, with the files that it may have written."""

    code: int
    output: str
    errors: str
    files: dict[str, bytes | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A command, how its output is compared (`json`, `text`, or `code`: not at all), and what it may write."""

    words: tuple[str, ...]
    kind: str = "code"
    writes: tuple[str, ...] = ()


class Tool:
    """Buildsys of one tree, with its copies of the projects; close it when done."""

    def __init__(self, tree: Path, projects: Path) -> None:
        self.projects = projects
        home = projects.parent
        environment = {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": str(home / "bin"),
            "PYTHONPATH": str(tree),
            "PYTHONPYCACHEPREFIX": str(home / "compiled"),
        }
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, project: str, question: Question) -> None:
        """Run a command in this tool's copy of a project; `receive` waits for its end."""
        assert self._server.stdin
        self._server.stdin.write(json.dumps([str(self.projects / project), *question.words]) + "\n")
        self._server.stdin.flush()

    def receive(self, project: str, question: Question) -> Answer:
        """Return the answer to the question that was sent last."""
        assert self._server.stdout
        code, output, errors = json.loads(self._server.stdout.readline())
        files = {name: _bytes(self.projects / project / name) for name in question.writes}
        return Answer(code=code, output=output, errors=errors, files=files)

    def ask(self, project: str, question: Question) -> Answer:
        """Run a command to its end."""
        self.send(project, question)
        return self.receive(project, question)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()


@dataclass(frozen=True, kw_only=True, slots=True)
class Faulty:
    """An error: a file of a small project has the text `new`, or is missing where that is None; a command runs."""

    name: str
    file: str
    new: str | None = ""
    words: tuple[str, ...] = ("plan",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An intended difference in answers to `words`: its description matches `pattern`, commit `since` introduced it."""

    words: tuple[str, ...]
    pattern: str
    since: str
    why: str


KNOWN = (
    Known(
        words=("variables",),
        pattern=r'the output differs at line 1: ".*" is now "unset BUILDSYS_PARENT_[A-Z0-9_]+"',
        since="a4a1c80",
        why="a variable exported earlier would override the lock, so it is unset first",
    ),
    Known(
        words=("schema", "layer"),
        pattern=r"\.(\$defs\.RecipeFields\.)?properties\.(platforms|ports)\.anyOf\[0\]\.items\b.*",
        since="4102096",
        why="platforms and ports are validated",
    ),
    Known(
        words=("schema", "stacks"),
        pattern=r"\.\$defs\.(Stack|Family)Fields\.properties\.(platforms|matrix|exclude)\.items\b.*",
        since="4102096",
        why="platforms and names of parameters are validated",
    ),
    *(
        Known(
            words=("schema", name),
            pattern=r"\S*: the fields .* are now .*\bdescription\b.*|\S*\.description: .*",
            since="4f9b57b",
            why="every field has a description, in plain English",
        )
        for name in ("layer", "stacks")
    ),
)

FAULTY_PROJECT = "one-stack"
WRONG_USE_PROJECT = "wrong-use"
STACKS = "stacks.yaml"
FAULTY = (
    Faulty(name="no-stacks-file", file=STACKS, new=None),
    Faulty(name="empty-stacks-file", file=STACKS),
    Faulty(name="list-for-stacks", file=STACKS, new="- a\n- b\n"),
    Faulty(name="unclosed-yaml", file=STACKS, new="stacks: {a: [\n"),
    Faulty(name="unknown-key", file=STACKS, new="stakcs: {}\n"),
    Faulty(name="two-equal-keys", file=STACKS, new="stacks: {}\nstacks: {}\n"),
    Faulty(name="two-documents", file=STACKS, new="stacks: {}\n---\nstacks: {}\n"),
    Faulty(name="unknown-layer", file=STACKS, new="stacks: {a: {layers: [nothing-like-it]}}\n"),
    Faulty(name="no-layers", file=STACKS, new="stacks: {a: {layers: []}}\n"),
    Faulty(name="name-with-space", file=STACKS, new="stacks: {'a b': {layers: [linux]}}\n"),
    Faulty(name="registry-with-quote", file=STACKS, new="registry: 'a\"b'\nstacks: {}\n"),
    Faulty(name="lock-is-a-list", file="buildsys.lock", new="- a\n"),
    Faulty(name="lock-of-another-version", file="buildsys.lock", new="version: 99\n"),
    Faulty(name="no-layer-yaml", file="layers/empty/README", new="nothing\n"),
    Faulty(name="layer-is-a-text", file="layers/extra/layer.yaml", new="text\n"),
    Faulty(name="layer-without-description", file="layers/extra/layer.yaml", new="kind: system\n"),
    Faulty(name="layer-of-unknown-kind", file="layers/extra/layer.yaml", new="description: x\nkind: y\nlicence: z\n"),
    Faulty(name="layer-without-dockerfile", file="layers/extra/layer.yaml", new="description: x\nlicence: z\n"),
    Faulty(name="stale-bake-file", file=BAKE_FILE, new="# old\n", words=("plan", "--check")),
    Faulty(name="no-bake-file", file=BAKE_FILE, new=None, words=("plan", "--check")),
)

WRONG_USE = (
    ("nothing-like-it",),
    ("plan", "--nothing-like-it"),
    ("show",),
    ("show", "nothing-like-it"),
    ("explain", "nothing-like-it", "--offline"),
    ("explain", "*", "--offline"),
    ("why", "nothing-like-it", "nothing-like-it"),
    ("graph", "--offline", "--format", "svg"),
    ("graph", "--offline", "--stack", "nothing-like-it"),
    ("graph", "--affected", "nothing-like-it"),
    ("diff", "nothing-like-it"),
    ("diff", "--", "--output=x"),
    ("affected",),
    ("affected", "--since", "nothing-like-it"),
    ("lock", "name-without-update"),
    ("schema", "nothing-like-it"),
    ("-C", "nothing-like-it", "plan"),
    ("bake",),
    ("bake", "--all"),
    ("bake", "--all", "some-name"),
    ("bake", "nothing-like-it"),
    ("bake", "--all", "--push"),
    ("test", "nothing-like-it"),
    ("report",),
    ("doctor",),
)


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield where two JSON values differ; in fields of `WORDING` only if one of them is missing, not in the text."""
    if type(old) is not type(new):
        yield f"{path or '.'}: {_short(old)} is now {_short(new)}"
    elif isinstance(old, dict):
        if list(old) != list(new):
            yield f"{path or '.'}: the fields {', '.join(old)} are now {', '.join(new)}"
        for name in old.keys() & new.keys():
            inside = f"{path}.{name}"
            yield from (
                _wording(old[name], new[name], inside) if name in WORDING else differences(old[name], new[name], inside)
            )
    elif isinstance(old, list):
        if len(old) != len(new):
            yield f"{path or '.'}: {len(old)} entries are now {len(new)}"
        for number, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from differences(before, after, f"{path}[{number}]")
    elif old != new:
        yield f"{path or '.'}: {_short(old)} is now {_short(new)}"


def _wording(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield where something else than the text of sentences differs: a text for a text, as many for as many."""
    texts = all(isinstance(each, str) for each in (old, new))
    lists = all(isinstance(each, list) and all(isinstance(one, str) for one in each) for each in (old, new))
    if texts and bool(old) == bool(new):
        return
    if lists and len(old) == len(new):
        return
    yield from differences(old, new, path)


def compare(question: Question, old: Answer, new: Answer) -> Iterator[str]:
    """Yield what differs between two answers to a question."""
    if "Traceback (most recent call last)" in new.errors:
        yield f"a traceback: {new.errors.splitlines()[-1]}"
    if old.code != new.code:
        yield f"exit code {old.code} is now {new.code}: {_last(old.errors)} / {_last(new.errors)}"
        return
    for name, before in old.files.items():
        if before != new.files[name]:
            yield f"{name} differs{_first_line(before, new.files[name])}"
    if question.kind == "text" and old.output != new.output:
        yield f"the output differs{_first_line(old.output.encode(), new.output.encode())}"
    if question.kind == "json" and old.code == 0:
        yield from differences(json.loads(old.output), json.loads(new.output))


def known(question: Question, difference: str, commits: frozenset[str]) -> Known | None:
    """Return why a difference is intended, None if it is not; one of `commits` must have introduced it."""
    found = (each for each in KNOWN if each.words == question.words and re.fullmatch(each.pattern, difference))
    return next((each for each in found if each.since in commits), None)


def golden_differences(name: str, old: str | None, new: str | None) -> Iterator[str]:
    """Yield the differences of a golden file except wording: all of a bake file or input, keys and digests of others.

    A file that is None does not exist; a new one cannot differ from an old one.
    """
    if old is None:
        return
    if new is None:
        yield f"{name} is missing"
    elif name.endswith(".hcl") or "/project/" in name:
        if old != new:
            yield f"{name} differs{_first_line(old.encode(), new.encode())}"
    else:
        gone, added = (Counter(re.findall(r"\b[0-9a-f]{8,64}\b", text)) for text in (old, new))
        if gone != added:
            yield f"{name}: other keys or digests: {dict(gone - added)} are now {dict(added - gone)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _last(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("error")] or errors.splitlines() or [""]
    return _short(lines[0])


def _first_line(old: bytes | None, new: bytes | None) -> str:
    """Return the first line in which two files differ."""
    if old is None or new is None:
        return f": it {'does not exist' if new is None else 'exists'} now"
    before, after = (each.decode(errors="replace").splitlines() for each in (old, new))
    length = min(len(before), len(after))
    number = next((n for n in range(length) if before[n] != after[n]), length)
    lines = [each[number] if number < len(each) else "" for each in (before, after)]
    return f" at line {number + 1}: {_short(lines[0])} is now {_short(lines[1])}"


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def questions(stacks: Sequence[str], nodes: Sequence[str], layers: Sequence[str]) -> Iterator[Question]:
    """Yield what a project is asked that can be planned."""
    yield Question(words=("plan",), writes=WRITTEN)
    yield Question(words=("plan", "--check"))
    yield Question(words=("plan", "--json"), kind="json")
    yield Question(words=("plan", "--json", "--offline"), kind="json", writes=WRITTEN)
    yield Question(words=("list",))
    yield Question(words=("list", "--json"), kind="json")
    for stack in stacks:
        yield Question(words=("show", stack, "--json"), kind="json")
    yield Question(words=("show", stacks[0]))
    for target in (*stacks[:: max(1, len(stacks) // 6)], *nodes[:: max(1, len(nodes) // 10)]):
        yield Question(words=("explain", target, "--offline", "--json"), kind="json")
    yield Question(words=("explain", nodes[0], "--offline"))
    yield Question(words=("explain", nodes[-1], "--json"), kind="json")
    for layer in layers:
        yield Question(words=("why", stacks[0], layer, "--json"), kind="json")
    for form in FORMATS:
        kind = "json" if form == "json" else "text"
        yield Question(words=("graph", "--offline", "--format", form), kind=kind)
        yield Question(words=("graph", "--offline", "--format", form, "--stack", stacks[-1]), kind=kind)
        yield Question(words=("graph", "--affected", "HEAD~1", "--format", form), kind=kind)
    for revision in ("HEAD", "HEAD~1", "HEAD~2"):
        yield Question(words=("diff", revision))
        yield Question(words=("diff", revision, "--json"), kind="json")
        yield Question(words=("affected", "--since", revision), kind="text")
        yield Question(words=("affected", "--since", revision, "--why"))
        yield Question(words=("affected", "--since", revision, "--json"), kind="json")
    yield Question(words=("variables",), kind="text")
    yield Question(words=("lock", "--check"))
    yield Question(words=("lock", "--offline", "--json"), kind="json", writes=WRITTEN)
    for name in ("layer", "stacks"):
        yield Question(words=("schema", name), kind="json")
    # The written file is the printed one, as the check below verifies.
    yield Question(words=("schema", "--write"))
    yield Question(words=("schema", "--check"))


def git(folder: Path, *words: str) -> str:
    """Run git with an identity of its own; a failure ends this program."""
    identity = ("-c", "commit.gpgsign=false", "-c", "user.name=compare", "-c", "user.email=compare@example.com")
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"git {' '.join(words)}: {done.stderr}")
    return done.stdout


def copy_project(source: Path, folder: Path) -> None:
    """Copy a project without its bake file, as a repository of three commits that differ in layers and their order."""
    folder.mkdir(parents=True)
    for name in PROJECT:
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, symlinks=True)
        elif (source / name).exists():
            shutil.copy(source / name, folder / name)
    git(folder, "init", "--quiet")
    recipes = sorted(path for path in folder.glob("layers/**/*Dockerfile") if path.is_file())
    for every in (3, 4, 0):
        texts = {path: path.read_bytes() for path in recipes[:: every or 1]}
        for path, text in texts.items() if every else ():
            path.write_bytes(text + b"\n# an earlier state\n")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", f"state {every}")
        for path, text in texts.items():
            path.write_bytes(text)


def prepare(folder: Path) -> None:
    """Copy all projects into a folder."""
    copy_project(ROOT, folder / "shipped")
    for example in sorted((ROOT / "examples").iterdir()):
        if (example / "stacks.yaml").is_file():
            copy_project(example, folder / example.name)
    for case in sorted((ROOT / GOLDEN).iterdir()):
        if (case / "project").is_dir():
            copy_project(case / "project", folder / f"golden-{case.name}")
    copy_project(ROOT / GOLDEN / FAULTY_PROJECT / "project", folder / WRONG_USE_PROJECT)
    for fault in FAULTY:
        copy_project(ROOT / GOLDEN / FAULTY_PROJECT / "project", folder / f"faulty-{fault.name}")
        path = folder / f"faulty-{fault.name}" / fault.file
        if fault.new is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fault.new, encoding="utf-8")


def asked(new: Tool, only: str) -> Iterator[tuple[str, Question]]:
    """Yield all questions with their projects; those of one project are together, in the order to be asked in."""
    chosen = sorted(path for path in new.projects.iterdir() if fnmatch.fnmatch(path.name, only))
    for folder in chosen:
        if folder.name == WRONG_USE_PROJECT or folder.name.startswith("faulty-"):
            continue
        planned = new.ask(folder.name, Question(words=("plan", "--offline", "--json")))
        if planned.code:
            yield from ((folder.name, Question(words=words)) for words in (("plan",), ("list",), ("diff", "HEAD")))
            continue
        # The same state for both tools: what was written here to find names is taken away.
        (folder / BAKE_FILE).unlink()
        document = json.loads(planned.output)
        stacks = [each["name"] for each in document["stacks"]]
        nodes = [each["name"] for each in document["nodes"]]
        layers = sorted({each["layer"] for each in document["nodes"]})
        for question in questions(stacks, nodes, layers):
            yield folder.name, question
    for folder in chosen:
        for fault in FAULTY:
            if folder.name == f"faulty-{fault.name}":
                yield folder.name, Question(words=fault.words, writes=WRITTEN)
        if folder.name == WRONG_USE_PROJECT:
            yield from ((folder.name, Question(words=words)) for words in WRONG_USE)


def commits_since(revision: str) -> frozenset[str]:
    """Return the short names of the commits among those of `KNOWN` that the revision does not have."""
    listed = git(ROOT, "rev-list", f"{revision}..HEAD").split()
    return frozenset(each.since for each in KNOWN if any(commit.startswith(each.since) for commit in listed))


def golden_files(revision: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the golden files that changed since a revision, as name, text there and text here."""
    for name in git(ROOT, "diff", "--no-renames", "--name-only", revision, "--", GOLDEN).splitlines():
        shown = subprocess.run(
            ["git", "-C", str(ROOT), "show", f"{revision}:{name}"], capture_output=True, text=True, check=False
        )
        here = ROOT / name
        yield (
            name,
            shown.stdout if shown.returncode == 0 else None,
            here.read_text(encoding="utf-8") if here.is_file() else None,
        )


def run(revision: str, folder: Path, only: str) -> int:
    """Ask both tools everything, print the table and the differences, and return their number."""
    (folder / "bin").mkdir()
    (folder / "bin" / "git").symlink_to(shutil.which("git") or sys.exit("git is needed"))
    prepare(folder / "old")
    shutil.copytree(folder / "old", folder / "new", symlinks=True)
    old = Tool(folder / "tree", folder / "old")
    new = Tool(ROOT, folder / "new")
    commits = commits_since(revision)
    count = 0
    intended: Counter[Known] = Counter()
    print(f"{'project':44} {'commands':>8} {'differences':>11}", flush=True)
    try:
        for project, group in itertools.groupby(asked(new, only), key=lambda each: each[0]):
            commands, found = 0, []
            for _, question in group:
                old.send(project, question)
                after = new.ask(project, question)
                commands += 1
                for each in compare(question, old.receive(project, question), after):
                    if reason := known(question, each, commits):
                        intended[reason] += 1
                    else:
                        found.append(f"    buildsys {' '.join(question.words)}: {each}")
            print("\n".join([f"{project:44} {commands:8} {len(found):11}", *found]), flush=True)
            count += len(found)
    finally:
        old.close()
        new.close()
    for reason, times in intended.items():
        print(f"intended, {times} times: `{' '.join(reason.words)}` since {reason.since}: {reason.why}")
    changed = list(golden_files(revision))
    spoiled = [each for name, before, after in changed for each in golden_differences(name, before, after)]
    print(f"{'golden files that changed':44} {len(changed):8} {len(spoiled):11}")
    for name, before, _ in changed:
        print(f"    {name}{' (new)' if before is None else ''}")
    for each in spoiled:
        print(f"    difference: {each}")
    return count + len(spoiled)


def main() -> int:
    """Make a worktree of the revision, compare, remove it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("revision", nargs="?", default=REVISION)
    parser.add_argument("--only", metavar="PATTERN", default="*", help="only these projects, such as `shipped`")
    arguments = parser.parse_args()
    revision = arguments.revision
    with tempfile.TemporaryDirectory(prefix="buildsys-compare-") as name:
        folder = Path(name)
        git(ROOT, "worktree", "add", "--quiet", "--detach", str(folder / "tree"), revision)
        try:
            count = run(revision, folder, arguments.only)
        finally:
            subprocess.run(
                ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder / "tree")],
                check=False,
                capture_output=True,
            )
    print(f"{count} differences from {revision}" if count else f"no difference from {revision}")
    return 1 if count else 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
