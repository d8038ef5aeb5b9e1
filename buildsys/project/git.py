"""Git as a reader: the repository of a project, or one that is fetched, its objects; nothing in a work tree is run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import string
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from buildsys.errors import Diagnostic, InvalidInput, Unavailable
from buildsys.values import dataclass

# What git sets for its hooks: it may name another repository than the project's, or be relative to another folder.
_FOREIGN = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
# A person's own settings may name programs in the work tree, which a pull request changes.
_SAFE = ("-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
# Others run a program that the address names, or let anyone on the way change what is fetched.
_PROTOCOLS = "file:https:ssh"
_CHECKED = ("-c", "fetch.fsckObjects=true", "-c", "gc.auto=0", "-c", "maintenance.auto=false")
_ONLY = ("--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-gc")
_NO_REVISION = "couldn't find remote ref"
# Trees that list one tree many times make any number of files out of a few objects.
_LISTING_BYTES = 128 * 2**20
_TEXT_BYTES = 16 * 2**20
_CHUNK_BYTES = 2**20


class Entry(NamedTuple):
    """A file or symlink of a tree: its mode as git writes it, and the name of its object."""

    mode: str
    object: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository by its own folder; `prefix` is the project's path in the work tree, empty at the top.

    `environ` is what git inherits, but for the variables that name another repository.
    `git replace` has a part in what a revision means, and none in what is in a tree or an object.
    """

    folder: Path
    prefix: str
    environ: Mapping[str, str]

    def ask(self, *words: str) -> bytes:
        """Return what git answers; raises `Unavailable` with its reason."""
        return _answer(self.environ, self.folder, *self._words(words))

    def revision(self, name: str) -> str | None:
        """Return the hexadecimal digits of the one object that git knows by a revision, None if there is not one."""
        return self._verified("rev-parse", "--verify", "--quiet", name)

    def object(self, name: str) -> str | None:
        """Return the same of a name that begins with those digits."""
        return self._verified("--no-replace-objects", "rev-parse", "--verify", "--quiet", name)

    def _verified(self, *words: str) -> str | None:
        try:
            found = self.ask(*words).decode().strip()
        except Unavailable:
            return None
        return found if found and not set(found) - set(string.hexdigits) else None

    def tracks(self, *paths: str) -> bool:
        """Return whether the index has one of the project's files, by path relative to the project."""
        names = (f"{self.prefix}/{path}" if self.prefix else path for path in paths)
        return bool(self.ask("--literal-pathspecs", "ls-files", "-z", "--", *names))

    def entries(self, tree: str) -> Iterator[tuple[str, Entry]]:
        """Yield the files and symlinks of a tree, by path; a submodule has none.

        Raises `InvalidInput` where they are too many.
        """
        words = self._words(("--no-replace-objects", "ls-tree", "-r", "-z", "--full-tree", tree))
        with _started(self.environ, self.folder, *words) as (process, said):
            assert process.stdout is not None
            listing = process.stdout.read(_LISTING_BYTES + 1)
            if len(listing) > _LISTING_BYTES:
                message = f"the list of files of the tree `{tree}` is longer than {_LISTING_BYTES // 2**20} MiB"
                raise InvalidInput([Diagnostic(message=message)])
            if process.wait():
                raise _failed(said)
        for line in listing.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode, kind, name = facts.decode().split()
            if kind == "blob":
                yield os.fsdecode(path), Entry(mode, name)

    @contextlib.contextmanager
    def objects(self) -> Iterator[Objects]:
        """Give the objects; one process of git answers until the block ends."""
        words = self._words(("--no-replace-objects", "cat-file", "--batch"))
        with _started(self.environ, self.folder, *words) as (process, said):
            yield Objects(process, said)

    def _words(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return ("--git-dir", str(self.folder), *words)


def find_repository(root: Path, environ: Mapping[str, str]) -> Repository:
    """Return the repository that the project at `root` is in.

    Git finds it, so that its own checks hold, such as whose it is; for that it runs nothing. Raises `Unavailable`
    with git's reason, `InvalidInput` where it would take a folder of the project for the repository.
    """
    words = ("rev-parse", "--is-inside-work-tree", "--show-cdup", "--absolute-git-dir")
    inside, _, answer = _answer(environ, root, *words).removesuffix(b"\n").partition(b"\n")
    up, _, folder = answer.partition(b"\n")
    depth = up.count(b"/")
    found = Path(os.fsdecode(folder))
    if inside != b"true" or found in (root, *root.parents[:depth]):
        message = f"`{root}` is inside a git repository, but not in its work tree"
        raise InvalidInput([Diagnostic(message=message, hint="run this in a clone: `git clone`")])
    return Repository(folder=found, prefix="/".join(root.parts[-depth:]) if depth else "", environ=environ)


def fetch(address: str, revision: str, folder: Path, environ: Mapping[str, str]) -> Repository:
    """Return a new repository in an empty folder, whose `FETCH_HEAD` is a revision of the one at an address.

    Nothing is checked out, so neither hooks nor filters run, and submodules are not fetched; git asks for no password.
    Raises `InvalidInput` where the repository has no such branch, tag or commit, `Unavailable` with git's reason.
    """
    environ = {"GIT_TERMINAL_PROMPT": "0", **environ, "GIT_ALLOW_PROTOCOL": _PROTOCOLS}
    found = Repository(folder=folder, prefix="", environ=environ)
    _answer(environ, folder, "init", "--quiet", "--bare", "--template=", str(folder))
    try:
        # Without `--` an address or a revision that begins with `-` would be an option.
        found.ask(*_CHECKED, "fetch", *_ONLY, "--", address, revision)
    except Unavailable as error:
        if _NO_REVISION not in error.message:
            raise
        hint = "name a branch, a tag or all digits of a commit"
        raise InvalidInput([Diagnostic(message=f"the repository has no revision `{revision}`", hint=hint)]) from None
    return found


class Objects:
    """The bytes of objects, asked one by one of a running `git cat-file --batch`."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._questions = process.stdin.fileno()
        self._answers = process.stdout
        self._said = said
        self._digests: dict[str, str] = {}

    def digest(self, name: str) -> str:
        """Return the sha256 of the bytes of an object."""
        if name not in self._digests:
            for _ in self._chunks(name, self._ask(name)):
                pass
        return self._digests[name]

    def data(self, name: str) -> bytes | None:
        """Return the bytes of an object, None if they are more than a text has."""
        size = self._ask(name)
        found = bytearray()
        for chunk in self._chunks(name, size):
            if size <= _TEXT_BYTES:
                found += chunk
        return bytes(found) if size <= _TEXT_BYTES else None

    def _chunks(self, name: str, left: int) -> Iterator[bytes]:
        """Yield the `left` bytes of an object, and record their digest."""
        digest = hashlib.sha256()
        while left:
            chunk = self._answers.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise _failed(self._said)
            left -= len(chunk)
            digest.update(chunk)
            yield chunk
        self._answers.readline()
        self._digests[name] = digest.hexdigest()

    def _ask(self, name: str) -> int:
        """Return the size of an object; its bytes and the end of a line are the next to be read."""
        # A git that has ended says why in place of an answer.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._questions, f"{name}\n".encode())
        answer = self._answers.readline().split()
        if answer[1:] == [b"missing"]:
            raise Unavailable(
                f"git: the object `{name}` is missing", hint="run `git fsck`, or clone the repository again"
            )
        if len(answer) != 3:
            raise _failed(self._said)
        return int(answer[2])


def _answer(environ: Mapping[str, str], folder: Path, *words: str) -> bytes:
    with _started(environ, folder, *words) as (process, said):
        answer, _ = process.communicate()
        if process.returncode:
            raise _failed(said)
    return answer


@contextlib.contextmanager
def _started(
    environ: Mapping[str, str], folder: Path, *words: str
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Give a running git and the file of its diagnostics; it ends with the block."""
    kept = {name: value for name, value in environ.items() if name not in _FOREIGN}
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                ["git", *_SAFE, *words],
                cwd=folder,
                # Its reasons are looked for by their first word.
                env={**kept, "LC_ALL": "C"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == "git":
                raise Unavailable("the command `git` is not on PATH", hint="install git") from None
            raise Unavailable(f"`git` cannot be started in `{folder}`: {error.strerror}") from error
        with process:
            try:
                yield process, said
            finally:
                process.kill()


def _failed(said: IO[bytes]) -> Unavailable:
    """Return the error of a git that failed: the first line is the reason, what follows is what to do about it."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith(("fatal:", "error:"))), 0)
    reason = lines[first] if lines else "it failed without output"
    return Unavailable(f"git: {reason}", hint=" ".join(lines[first + 1 :]) or None)
