"""Which failures of a bake there are, and what is known of one."""

from __future__ import annotations

from enum import StrEnum

from buildsys.values import dataclass


class FailureKind(StrEnum):
    """Where a bake failed; `TRANSIENT` is the connection between buildx and the engine itself.

    `CONTENT` is what was built, and breaks a promise of its layer; `TEST` is an image that fails its tests.
    """

    TRANSIENT = "transient"
    COMMAND = "command"
    CHECKSUM = "checksum"
    RESOLVE = "resolve"
    PUSH = "push"
    EXPORT = "export"
    CACHE = "cache"
    INVALID = "invalid"
    CONTENT = "content"
    TEST = "test"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checksum:
    """A download that is not what was declared."""

    url: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One failure of one bake.

    `target` is empty where nothing names it. `file` and `line` are as BuildKit reports them: the Dockerfile's
    name relative to its context. `source` holds the lines of the failing instruction, `command` what a
    failing RUN ran, `status` how that ended, `last_words` its last lines of output.
    """

    kind: FailureKind
    message: str
    target: str = ""
    step: str = ""
    file: str = ""
    line: int = 0
    source: tuple[str, ...] = ()
    command: str = ""
    status: int | None = None
    last_words: tuple[str, ...] = ()
    checksum: Checksum | None = None
