"""How a blob gets into a repository: linked from a different repository, or sent in one piece or in several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from buildsys.oci.auth import Session
from buildsys.oci.http import NotFound, RegistryProblem, Response, UnexpectedAnswer
from buildsys.oci.reference import Reference

_BINARY = ("Content-Type", "application/octet-stream")


def mount(session: Session, target: Reference, digest: str, source: Reference) -> bool:
    """Let a registry link one of its blobs into another repository; False if it asks for the bytes instead."""
    scopes = (scope(target, "pull,push"), scope(source, "pull"))
    path = f"blobs/uploads/?mount={quote(digest, safe='')}&from={quote(source.repository, safe='')}"
    response = session.repeat("POST", target, path, scopes=scopes)
    if response.status == 202:
        # An upload that no client cancels ends by itself, and some registries let no client cancel one.
        with contextlib.suppress(RegistryProblem):
            session.once("DELETE", target, _location(session, target, response), scopes=scopes)
        return False
    expect(target.with_digest(digest), response, 201)
    return True


def upload(session: Session, repository: Reference, digest: str, pieces: Iterable[bytes]) -> None:
    """Send a blob by an upload of its own: a broken one cannot be continued safely.

    Several pieces are chunks of https://github.com/opencontainers/distribution-spec/blob/main/spec.md, none shorter
    than the registry asks for.
    """
    scopes = (scope(repository, "pull,push"),)
    opened = session.once("POST", repository, "blobs/uploads/", scopes=scopes)
    expect(repository, opened, 202)
    least = opened.headers.get("oci-chunk-min-length", "")
    chunks = _chunks(pieces, int(least) if least.isdecimal() and len(least) < 10 else 0)
    location, last, sent = _location(session, repository, opened), next(chunks, b""), 0
    for chunk in chunks:
        location, sent = _append(session, repository, location, last, sent), sent + len(last)
        last = chunk
    if sent:
        location, last = _append(session, repository, location, last, sent), b""
    location += f"{'&' if '?' in location else '?'}digest={quote(digest, safe='')}"
    done = session.once("PUT", repository, location, scopes=scopes, headers=(_BINARY,), body=last)
    expect(repository.with_digest(digest), done, 201)


def _chunks(pieces: Iterable[bytes], least: int) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        held += piece
        if len(held) >= max(least, 1):
            yield held
            held = b""
    if held:
        yield held


def _append(session: Session, repository: Reference, location: str, chunk: bytes, first: int) -> str:
    """Send a chunk of an upload, and return where the next one goes."""
    headers = (_BINARY, ("Content-Range", f"{first}-{first + len(chunk) - 1}"))
    scopes = (scope(repository, "pull,push"),)
    response = session.once("PATCH", repository, location, scopes=scopes, headers=headers, body=chunk)
    expect(repository, response, 202)
    return _location(session, repository, response)


def _location(session: Session, repository: Reference, response: Response) -> str:
    location = response.headers.get("location")
    if not location:
        raise UnexpectedAnswer(f"registry `{repository.host}` did not open an upload", host=repository.host)
    return session.follow(repository, session.url(repository, "blobs/uploads/"), location)


def scope(reference: Reference, actions: str) -> str:
    """Return what a token must allow, as the authentication of distribution writes it."""
    return f"repository:{reference.repository}:{actions}"


def expect(reference: Reference, response: Response, *statuses: int) -> None:
    """Raise `NotFound` or `UnexpectedAnswer` for an answer of any other status."""
    if response.status in statuses:
        return
    kind = NotFound if response.status == 404 else UnexpectedAnswer
    message = f"registry `{reference.host}` answered for `{reference}`: {response.reason()}"
    raise kind(message, host=reference.host, status=response.status)
