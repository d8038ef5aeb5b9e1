"""Why a bake failed, judged by the kind of step first and by its message second, and whether a retry may help.

The patterns are error texts of BuildKit, containerd and gRPC, as seen in trials on a real engine and registry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from buildsys.buildkit.failure import Checksum, Failure, FailureKind
from buildsys.buildkit.progress import StepKind
from buildsys.buildkit.vertices import Snapshot, Vertex, failed

_COMMAND = re.compile(r'process "(?P<command>.*)" did not complete successfully: exit code: (?P<status>\d+)', re.S)
_MISMATCH = re.compile(r"digest mismatch (?P<found>sha\d+:[0-9a-f]+): (?P<expected>sha\d+:[0-9a-f]+)")
_URL = re.compile(r"\bhttps?://\S+")
_ERROR = re.compile(r"ERROR: (?:target (?P<target>[\w.-]+): )?(?P<message>.*)", re.S)
_HEADER = re.compile(r"(?P<file>\S.*):(?P<line>\d+)")
_SOURCE = re.compile(r"\s*\d+ \| (?P<mark>>>>|   ) ?(?P<text>.*)")
_RULE = "-" * 20

# A blob that an imported cache lost is seen only when the content of a step is wanted.
_LOST = re.compile(r"not found|unexpected status|failed to (load|fetch|copy)|blob unknown", re.I)
_NOT_A_CACHE = frozenset({FailureKind.COMMAND, FailureKind.CHECKSUM, FailureKind.INVALID, FailureKind.INTERRUPTED})
_INFRASTRUCTURE = re.compile(
    r"no active session|client connection is closing|error reading from server|no such job"
    r"|failed to receive status|transport is closing|cannot connect to the docker daemon"
    r"|is the docker daemon running|code = unavailable|docker daemon is not running|error during connect"
    r"|failed to dial|no builder .* found running|closing the grpc connection|graceful[ _]stop"
    r"|daemon is shutting down",
    re.I,
)
_FINAL = re.compile(
    r"not found|denied|unauthorized|forbidden|no basic auth credentials|authentication required"
    r"|\b40[134]\b|no space left on device|x509|certificate|invalid reference|manifest unknown"
    r"|name unknown|not implemented|unsupported|server gave http response to https client",
    re.I,
)
_PASSING = re.compile(
    r"\b429\b|too many requests|toomanyrequests|\b5\d\d\b|internal server error|bad gateway"
    r"|service unavailable|gateway time-?out|\bEOF\b|connection reset|connection refused|broken pipe"
    r"|use of closed network connection|TLS handshake timeout|i/o timeout|failed to copy|short read"
    r"|failed commit on ref|cannot reuse body|failed to resolve source metadata|deadline exceeded"
    r"|client\.timeout exceeded|temporary failure|no such host|server misbehaving|network is unreachable"
    r"|no route to host|http2: |stream error|unexpected status",
    re.I,
)
_DROP = re.compile(r"sha\d+:[0-9a-f]+|https?://\S+|\d+\.\d+\.\d+\.\d+(:\d+)?")
_INVALID = re.compile(
    r"dockerfile parse error|failed to find target|failed to parse|unknown instruction"
    r"|failed to read dockerfile|failed to process|undefined variable|base name .* should not be blank"
    r"|unsupported context source|failed to calculate checksum of ref .*: not found"
    r"|no such file or directory|lstat|message larger than max|currently not implemented"
    r"|unsupported (block|argument)|missing required argument|additional privileges",
    re.I,
)
_STEP_KINDS: dict[StepKind, FailureKind] = {
    StepKind.RESOLVE: FailureKind.RESOLVE,
    StepKind.SOURCE: FailureKind.RESOLVE,
    StepKind.AUTH: FailureKind.RESOLVE,
    StepKind.PUSH: FailureKind.PUSH,
    StepKind.EXPORT: FailureKind.EXPORT,
    StepKind.CACHE_EXPORT: FailureKind.CACHE,
    StepKind.CACHE_IMPORT: FailureKind.CACHE,
}


def failure_of(snapshot: Snapshot, exit_code: int, *, interrupted: bool = False) -> Failure | None:
    """Return why a bake that ended with `exit_code` failed; None if it did not."""
    if interrupted:
        return Failure(kind=FailureKind.INTERRUPTED, message="interrupted")
    if exit_code == 0:
        return None
    target, message = _last_error(snapshot.text)
    vertex = _culprit(failed(snapshot), message)
    words = message or (vertex.error if vertex else "") or f"bake ended with {exit_code} without any output"
    kind = _kind(vertex, words)
    file, line, source = _frame(snapshot.text)
    ran = _COMMAND.search(vertex.error if vertex else words) if kind is FailureKind.COMMAND else None
    return Failure(
        kind=kind,
        message=words,
        target=(vertex.owner if vertex else "") or target,
        step=vertex.name if vertex else "",
        file=file,
        line=line,
        source=source,
        command=_plain_command(ran["command"]) if ran else "",
        status=int(ran["status"]) if ran else None,
        last_words=vertex.tail if vertex and kind is FailureKind.COMMAND else (),
        checksum=_checksum(vertex, words) if kind is FailureKind.CHECKSUM else None,
    )


def is_lost_cache(failure: Failure) -> bool:
    """Whether a bake failed because an imported cache names a blob that its registry lost."""
    return failure.kind not in _NOT_A_CACHE and bool(_LOST.search(failure.message))


def is_transient(failure: Failure) -> bool:
    """Whether the same bake may succeed if it is retried.

    A command that failed, an error in the input and a wrong checksum never do. For the rest: trouble between
    buildx and the engine is transient whatever else is said; `not found` and `denied` are final; a push or a
    cache whose message is otherwise unknown (registries' own texts replace the status) is retried.
    """
    if failure.kind in _NEVER:
        return False
    words = failure.message
    if failure.kind is FailureKind.TRANSIENT or _INFRASTRUCTURE.search(words):
        return True
    bare = _DROP.sub(" ", words)
    if _FINAL.search(bare):
        return False
    return bool(_PASSING.search(bare)) or failure.kind in (FailureKind.PUSH, FailureKind.CACHE)


_NEVER = frozenset(
    {FailureKind.COMMAND, FailureKind.CHECKSUM, FailureKind.INVALID, FailureKind.CONTENT, FailureKind.INTERRUPTED},
)


def _kind(vertex: Vertex | None, words: str) -> FailureKind:
    error = vertex.error if vertex else words
    if _MISMATCH.search(error) and (vertex is None or vertex.kind is not StepKind.EXPORT):
        return FailureKind.CHECKSUM
    if vertex and vertex.kind is StepKind.RUN and _COMMAND.search(error):
        return FailureKind.COMMAND
    if _INFRASTRUCTURE.search(error) or _INFRASTRUCTURE.search(words):
        return FailureKind.TRANSIENT
    if "failed to push" in error:
        return FailureKind.PUSH
    if vertex and vertex.kind in _STEP_KINDS:
        return _STEP_KINDS[vertex.kind]
    if vertex is None and "failed to resolve source metadata" in words:
        return FailureKind.RESOLVE
    # An `ADD` of a URL is a file step, but what fails in it is a download.
    if vertex and vertex.kind is StepKind.FILE and _URL.search(vertex.name) and not _INVALID.search(error):
        return FailureKind.RESOLVE
    if vertex is None and _COMMAND.search(words):
        return FailureKind.COMMAND
    return FailureKind.INVALID if _INVALID.search(words) else FailureKind.UNKNOWN


def _last_error(text: Sequence[str]) -> tuple[str, str]:
    """Return the target that the last error names, and its message; continuation lines belong to it."""
    for index in range(len(text) - 1, -1, -1):
        found = _ERROR.match(text[index])
        if found:
            rest = [line for line in text[index + 1 :] if line.strip()]
            return found["target"] or "", "\n".join([found["message"], *rest])
    said = [line.strip() for line in text if line.strip()]
    return "", said[-1] if said else ""


def _culprit(vertexes: Sequence[Vertex], message: str) -> Vertex | None:
    """Return the failed step that the last error is about, else the first that failed."""
    about = (vertex for vertex in vertexes if vertex.error and vertex.error in message)
    return next(about, vertexes[0] if vertexes else None)


def _frame(text: Sequence[str]) -> tuple[str, int, tuple[str, ...]]:
    """Return file, line and instruction of the last Dockerfile frame in what buildx printed."""
    rules = [index for index, line in enumerate(text) if line == _RULE]
    if len(rules) < 2 or rules[-2] == 0:
        return "", 0, ()
    header = _HEADER.fullmatch(text[rules[-2] - 1].strip())
    if not header:
        return "", 0, ()
    inside = (_SOURCE.fullmatch(line) for line in text[rules[-2] + 1 : rules[-1]])
    source = tuple(found["text"] for found in inside if found and found["mark"] == ">>>")
    return header["file"], int(header["line"]), source


def _plain_command(quoted: str) -> str:
    """Return a command as the Dockerfile has it; BuildKit writes it as a quoted Go string after its shell."""
    text = re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), quoted)
    return text.removeprefix("/bin/sh -c ")


def _checksum(vertex: Vertex | None, words: str) -> Checksum | None:
    found = _MISMATCH.search(vertex.error if vertex else words)
    if not found:
        return None
    url = _URL.search(vertex.name) if vertex else None
    return Checksum(url=url[0] if url else "", expected=found["expected"], found=found["found"])
