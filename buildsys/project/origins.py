"""Where layers are copied from: this buildsys, a folder, or a git repository at a revision."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from buildsys import __version__
from buildsys.config.lockfile import REVISION, LockedLayer
from buildsys.config.model import File
from buildsys.errors import Diagnostic, InvalidInput, WrongUsage
from buildsys.project.files import lack
from buildsys.project.revision import fetched_revision
from buildsys.project.workspace import Workspace
from buildsys.values import dataclass

SHIPPED = "buildsys"
"""The origin of layers that come with buildsys."""
_PACKAGE = Path(__file__).parents[1]
# A user's name alone is no secret; git itself knows the rest by its own settings.
_USER, _HOST = r"\w[\w.-]*@", r"[A-Za-z0-9][A-Za-z0-9.:-]*"
_ADDRESS = rf"(?:https://{_HOST}|file://|ssh://(?:{_USER})?{_HOST})/[^@\s]+|{_USER}{_HOST}:[^@\s]+"
_GIT = re.compile(rf"({_ADDRESS})(?:@({REVISION}))?")
_FOLDER_AT = re.compile(rf"(.+)@({REVISION})")
_DEFAULT_REF = "HEAD"


class Library(Protocol):
    """What layers are copied from, as a workspace and a revision are read; names are paths from its top."""

    def tree(self) -> Mapping[str, str]:
        """Return the texts of layers and of the lock, by path."""

    def contents(self, folders: Iterable[str]) -> Mapping[str, Mapping[str, File]]:
        """Return the files of folders, by path relative to each."""

    def data(self, name: str) -> bytes:
        """Return the bytes of a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A place that layers are copied from, as the lock names it; `ref` is empty but for a git repository."""

    origin: str = SHIPPED
    ref: str = ""

    @classmethod
    def of(cls, layer: LockedLayer) -> Origin:
        """Return the origin of a layer that was copied."""
        return cls(origin=layer.origin, ref=layer.ref)

    def __str__(self) -> str:
        return f"{self.origin}@{self.ref}" if self.ref else self.origin


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenOrigin:
    """An origin while it is read; `revision` is the commit, the version of buildsys, or empty for a folder."""

    origin: Origin
    revision: str
    library: Library

    @property
    def title(self) -> str:
        """What to call it in messages."""
        if self.origin.ref:
            return f"{self.origin} ({self.revision[:12]})"
        return f"{self.origin} {self.revision}".strip()


def shipped() -> Path:
    """Return the folder with the `layers/` and the lock that come with buildsys: in a wheel, or in a checkout."""
    wheel = _PACKAGE / "shipped"
    return wheel if wheel.is_dir() else _PACKAGE.parent


def parse_origin(text: str, root: Path) -> Origin:
    """Return the origin that a person names: a folder from the current one on, or a repository with `@REVISION`.

    A folder is kept relative to the project at `root` unless it was absolute. Raises `WrongUsage` for anything else.
    """
    if match := _GIT.fullmatch(text):
        return Origin(origin=match[1], ref=match[2] or _DEFAULT_REF)
    if "://" in text or not text:
        # What is wrong may be a password.
        message = "`--from` is not an address that layers are copied from, expected one with `https`, `ssh` or `file`"
        raise WrongUsage(message, hint="write `https://HOST/REPOSITORY@REVISION`, without credentials")
    match = None if os.path.lexists(text) else _FOLDER_AT.fullmatch(text)
    folder, ref = (match[1], match[2]) if match else (text, "")
    if problem := lack(Path(folder), "a folder"):
        raise WrongUsage(f"the folder `{folder}` of `--from` {problem}", hint="name a folder that has `layers/`")
    if not Path(folder).is_absolute():
        # With `./`, a folder is never taken for `buildsys` itself.
        relative = os.path.relpath(folder, root)
        folder = relative if relative.startswith("..") else f"./{relative}"
    return Origin(origin=folder, ref=ref)


@contextlib.contextmanager
def opened(origin: Origin, root: Path, environ: Mapping[str, str]) -> Iterator[OpenOrigin]:
    """Give what an origin of the project at `root` has now.

    Raises `InvalidInput` where there are no layers, and as git does where it is a repository.
    """
    if origin.ref:
        address = origin.origin
        if not re.fullmatch(_ADDRESS, address):
            address = str(Path(os.path.realpath(root / address)))
        with fetched_revision(address, origin.ref, environ) as (commit, revision):
            yield OpenOrigin(origin=origin, revision=commit, library=revision)
        return
    is_shipped = origin.origin == SHIPPED
    folder = shipped() if is_shipped else Path(os.path.realpath(root / origin.origin))
    if problem := lack(folder / "layers", "a folder"):
        message = f"`{origin.origin}/layers` {problem}, and layers are copied from there"
        raise InvalidInput([Diagnostic(message=message, hint="name a folder that has `layers/`")])
    yield OpenOrigin(origin=origin, revision=__version__ if is_shipped else "", library=Workspace(root=folder))
