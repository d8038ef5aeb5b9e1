"""What a registry has under a reference, and how manifests and small blobs get there."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType, TracebackType
from typing import Protocol, TypeVar

from buildsys.foreign import list_of
from buildsys.oci import uploads
from buildsys.oci.auth import Session
from buildsys.oci.bounds import Bounds
from buildsys.oci.connections import Connections
from buildsys.oci.credentials import Credentials, no_credentials
from buildsys.oci.http import (
    Client,
    DigestMismatch,
    NotFound,
    RegistryProblem,
    Response,
    Retries,
    RetryNotice,
    Transport,
    UnexpectedAnswer,
    Unreachable,
    UnreadableManifest,
    loopback,
)
from buildsys.oci.reference import MANIFEST_TYPES, Descriptor, Manifest, Reference, digest_of, is_digest
from buildsys.oci.uploads import expect, scope

_ACCEPT = ("Accept", ", ".join(MANIFEST_TYPES))
_BINARY = "application/octet-stream"
CONCURRENCY = 8
_MOST_PAGES = 1000
# An image for each of four platforms, with the 127 layers that an engine takes at most.
_MOST_PARTS = 520
_DEEPEST_INDEX = 3
T = TypeVar("T")
Q = TypeVar("Q")


class ImageRegistry(Protocol):
    """What is needed of a registry to publish and find images: `Registry` without what only lists or deletes."""

    def head(self, reference: Reference) -> Descriptor | None:
        """Return the descriptor of `reference`, None if it does not exist."""

    def manifest(self, reference: Reference) -> Manifest | None:
        """Return the manifest or index, None if it does not exist."""

    def blob(self, repository: Reference, digest: str) -> bytes:
        """Return the bytes of a blob."""

    def blob_part(self, repository: Reference, digest: str, first: int, last: int) -> bytes:
        """Return the bytes of a blob from `first` to `last`, or all of them."""

    def blob_exists(self, repository: Reference, digest: str, size: int | None = None) -> bool:
        """Return whether the registry has the blob, of the right `size` where that is given."""

    def mount_blob(self, target_repository: Reference, digest: str, source_repository: Reference) -> bool:
        """Let the registry link one of its blobs into another repository; False if it does not."""

    def put_blob(self, repository: Reference, data: bytes) -> Descriptor:
        """Store a small blob."""

    def send_blob(self, repository: Reference, digest: str, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Store a blob of any size; `pieces` is called for each attempt."""

    def put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> Descriptor:
        """Store a manifest under the tag or digest of `reference`."""

    def tag(self, source: Reference, new_tag: str) -> Descriptor:
        """Put the identical manifest under `new_tag` in the same repository."""


class ListedRegistry(ImageRegistry, Protocol):
    """What is needed of a registry in addition to find out what can be deleted from it, and to delete it."""

    def tags(self, repository: Reference) -> tuple[str, ...]:
        """Return all tags of a repository, sorted; none if it does not exist."""

    def repositories(self, host: Reference) -> tuple[str, ...]:
        """Return the repositories in the catalog of a reference's registry, sorted; none if it has no catalog."""

    def delete(self, reference: Reference) -> bool:
        """Delete the manifest and with it every tag that names it; False if it does not exist."""


class Registry:
    """All registries that references name; safe to share between threads; close it when done.

    `environ` names the proxies. Hosts for which `plain` holds are asked by plain HTTP; `insecure` are registries whose
    certificates are not verified, and which are asked by plain HTTP where they do not speak TLS.
    Operations that take a `repository` ignore its tag and digest. Each raises RegistryProblem, after retries where the
    problem is transient and a retry does no harm.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = MappingProxyType({}),
        credentials: Credentials = no_credentials,
        bounds: Bounds | None = None,
        retries: Retries | None = None,
        plain: Callable[[str], bool] = loopback,
        insecure: Collection[str] = (),
        listener: Callable[[RetryNotice], None] = lambda _notice: None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
        transport: Transport | None = None,
    ) -> None:
        self._client = Client(
            transport=transport or Connections(environ=environ, bounds=bounds, insecure=insecure),
            retries=retries or Retries(),
            sleep=sleep,
            now=now,
            listener=listener,
        )
        self._session = Session(client=self._client, credentials=credentials, plain=plain, insecure=insecure)

    def close(self) -> None:
        """Close all kept connections."""
        self._client.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def head(self, reference: Reference) -> Descriptor | None:
        """Return the descriptor of `reference`, None if it does not exist."""
        response = self._ask("HEAD", reference, f"manifests/{reference.target}", headers=(_ACCEPT,))
        if response.status == 404:
            return None
        digest, size = response.headers.get("docker-content-digest", ""), response.length
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        # Some registries leave the digest out of a cached answer, and some know no HEAD (405).
        if not is_digest(digest) or size is None or kind not in MANIFEST_TYPES or response.status != 200:
            manifest = self.manifest(reference)
            return manifest.descriptor if manifest else None
        if reference.digest and reference.digest != digest:
            raise _mismatch(reference, reference.digest, digest)
        return Descriptor(media_type=kind, digest=digest, size=size)

    def manifest(self, reference: Reference) -> Manifest | None:
        """Return the manifest or index, None if it does not exist; its bytes are checked against the digest."""
        response = self._ask("GET", reference, f"manifests/{reference.target}", headers=(_ACCEPT,))
        if response.status == 404:
            return None
        expect(reference, response, 200)
        expected = reference.digest or response.headers.get("docker-content-digest")
        if expected:
            _check(reference, response.body, expected)
        try:
            return Manifest.parse(response.body, response.headers.get("content-type", ""))
        except ValueError as error:
            raise UnreadableManifest(
                f"`{reference}` is not an image that can be read: {error}", host=reference.host
            ) from error

    def blob(self, repository: Reference, digest: str) -> bytes:
        """Return the bytes of a blob, checked; meant for small ones, since they are held in memory."""
        response = self._ask("GET", repository, f"blobs/{digest}")
        expect(repository.with_digest(digest), response, 200)
        _check(repository.with_digest(digest), response.body, digest)
        return response.body

    def blob_part(self, repository: Reference, digest: str, first: int, last: int) -> bytes:
        """Return the bytes of a blob from `first` to `last`, or all of them; a part is not checked."""
        headers = (("Range", f"bytes={first}-{last}"),)
        response = self._ask("GET", repository, f"blobs/{digest}", headers=headers)
        expect(repository.with_digest(digest), response, 200, 206)
        return response.body

    def blob_exists(self, repository: Reference, digest: str, size: int | None = None) -> bool:
        """Return whether the registry has the blob, of the right `size` where that is given."""
        response = self._ask("HEAD", repository, f"blobs/{digest}")
        if response.status == 404:
            return False
        expect(repository.with_digest(digest), response, 200)
        return size is None or response.length in (None, size)

    def verify(self, reference: Reference) -> tuple[str, ...]:
        """Return what is missing of `reference` as `missing_parts` does."""
        return missing_parts(self, reference)

    def mount_blob(self, target_repository: Reference, digest: str, source_repository: Reference) -> bool:
        """Let the registry link one of its blobs into another repository; False if it asks for the bytes instead."""
        if target_repository.host != source_repository.host:
            return False
        return uploads.mount(self._session, target_repository, digest, source_repository)

    def put_blob(self, repository: Reference, data: bytes, media_type: str = _BINARY) -> Descriptor:
        """Store a small blob in one piece, unless it exists; return its descriptor."""
        descriptor = Descriptor.of(data, media_type)
        if not self.blob_exists(repository, descriptor.digest):
            self.send_blob(repository, descriptor.digest, lambda: [data])
        return descriptor

    def send_blob(self, repository: Reference, digest: str, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Store a blob of any size; `pieces` is called for each attempt."""
        self._client.repeat(lambda: uploads.upload(self._session, repository, digest, pieces()))

    def put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> Descriptor:
        """Store a manifest under the tag or digest of `reference`; return its descriptor."""
        descriptor = Descriptor.of(raw, media_type)
        if reference.digest:
            _check(reference, raw, reference.digest)
        scopes, headers = (scope(reference, "pull,push"),), (("Content-Type", media_type),)
        path = f"manifests/{reference.target}"
        response = self._ask("PUT", reference, path, scopes=scopes, headers=headers, body=raw)
        expect(reference, response, 201)
        stored = response.headers.get("docker-content-digest", descriptor.digest)
        if stored.startswith("sha256:") and stored != descriptor.digest:
            raise _mismatch(reference, descriptor.digest, stored)
        return descriptor

    def tag(self, source: Reference, new_tag: str) -> Descriptor:
        """Put the identical manifest under `new_tag` in the same repository; return its descriptor."""
        manifest = self.manifest(source)
        if manifest is None:
            raise NotFound(f"`{source}` does not exist, so it cannot be tagged", host=source.host, status=404)
        return self.put_manifest(source.with_tag(new_tag), manifest.raw, manifest.descriptor.media_type)

    def tags(self, repository: Reference) -> tuple[str, ...]:
        """Return all tags of a repository, sorted; none if it does not exist."""
        return self._listed(repository, "tags/list?n=1000", "tags", scope(repository, "pull"))

    def repositories(self, host: Reference) -> tuple[str, ...]:
        """Return the repositories in the catalog of a reference's registry, sorted; none if it has no catalog.

        https://distribution.github.io/distribution/spec/api/#catalog: a registry need not have one, or show it to all.
        """
        address = self._session.follow(host, self._session.url(host, ""), "/v2/_catalog?n=1000")
        return self._listed(host, address, "repositories", "registry:catalog:*")

    def _listed(self, repository: Reference, path: str, field: str, needs: str) -> tuple[str, ...]:
        """Return the names on all pages of a list, sorted; none if it does not exist."""
        found: set[str] = set()
        pages = 0
        page: str | None = path
        while page:
            response = self._ask("GET", repository, page, scopes=(needs,))
            if response.status == 404:
                break
            expect(repository, response, 200)
            try:
                names = list_of(response.json(repository.host), field, str)
            except ValueError as error:
                message = f"registry `{repository.host}` returned no list of {field}: {error}"
                raise UnexpectedAnswer(message, host=repository.host) from error
            # A page that adds nothing has no use for a next one.
            more = not found.issuperset(names) and pages < _MOST_PAGES
            found.update(names)
            pages += 1
            link = response.headers.get("link", "")
            following = link[link.find("<") + 1 : link.find(">")] if 'rel="next"' in link else ""
            if following and not more:
                message = f"registry `{repository.host}` lists {field} without an end"
                raise UnexpectedAnswer(message, host=repository.host)
            here = self._session.url(repository, page)
            page = self._session.follow(repository, here, following) if following else None
        return tuple(sorted(found))

    def delete(self, reference: Reference) -> bool:
        """Delete the manifest and with it every tag that names it; False if it does not exist."""
        found = self.head(reference) if reference.digest is None else None
        digest = reference.digest or (found.digest if found else None)
        if digest is None:
            return False
        scopes = (scope(reference, "delete,pull,push"),)
        response = self._ask("DELETE", reference, f"manifests/{digest}", scopes=scopes)
        if response.status != 404:
            expect(reference, response, 202, 200)
        return response.status != 404

    def _ask(
        self,
        method: str,
        repository: Reference,
        path: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
    ) -> Response:
        scopes = scopes or (scope(repository, "pull"),)
        return self._session.repeat(method, repository, path, scopes=scopes, headers=headers, body=body)


def missing_parts(registry: ImageRegistry, reference: Reference) -> tuple[str, ...]:
    """Return the full names of manifests and blobs of `reference` that are missing or damaged, sorted.

    An index is followed to its manifests. Blobs are looked up, not read; a wrong size counts as damaged. So do an
    image that cannot be read, and one of more parts than any has.
    """
    seen: dict[str, None] = {}
    try:
        return tuple(sorted(set(_missing(registry, reference, seen, _DEEPEST_INDEX))))
    except UnreadableManifest:
        return (str(reference),)


def _missing(registry: ImageRegistry, reference: Reference, seen: dict[str, None], depth: int) -> Iterator[str]:
    try:
        manifest = registry.manifest(reference)
    except (DigestMismatch, UnreadableManifest):
        manifest = None
    if manifest is None:
        yield str(reference)
        return
    for child in manifest.manifests:
        if _is_new(reference, child.digest, seen, depth):
            yield from _missing(registry, reference.with_digest(child.digest), seen, depth - 1)
    for blob in manifest.blobs:
        if _is_new(reference, blob.digest, seen, depth) and not registry.blob_exists(reference, blob.digest, blob.size):
            yield str(reference.with_digest(blob.digest))


def _is_new(reference: Reference, digest: str, seen: dict[str, None], depth: int) -> bool:
    """Count a part of an image, and return whether it was not seen; raises UnreadableManifest where it has too many."""
    if digest in seen:
        return False
    seen[digest] = None
    if len(seen) > _MOST_PARTS or depth < 0:
        raise UnreadableManifest(f"`{reference}` has more parts than an image", host=reference.host)
    return True


def ask_many(
    references: Iterable[Reference],
    ask: Callable[[Reference], T | None],
    concurrency: int = CONCURRENCY,
    *,
    ends: Callable[[RegistryProblem], bool] = lambda problem: (
        isinstance(problem, Unreachable) and not problem.transient
    ),
) -> dict[Reference, T | RegistryProblem | None]:
    """Return the answer for each reference, or its problem, in the order given.

    One question for each distinct reference. A host with a problem for which `ends` holds is given up for all of them;
    without it one that takes no connection.
    """
    wanted = list(dict.fromkeys(references))
    ended: dict[str, RegistryProblem] = {}

    def look(reference: Reference) -> T | RegistryProblem | None:
        if reference.host in ended:
            return ended[reference.host]
        try:
            return ask(reference)
        except RegistryProblem as problem:
            if ends(problem):
                ended[reference.host] = problem
            return problem

    if len(wanted) < 2:
        return {reference: look(reference) for reference in wanted}
    with ThreadPoolExecutor(max_workers=min(concurrency, len(wanted))) as pool:
        return dict(zip(wanted, pool.map(look, wanted), strict=True))


def in_threads(action: Callable[[Q], T], items: Iterable[Q]) -> list[T]:
    """Return the results of an action on several threads, in the order of the items.

    Of several errors the first by this order is raised, when nothing runs any more; what has not begun then does not.
    """
    with ThreadPoolExecutor(max_workers=CONCURRENCY) as pool:
        return list(pool.map(action, items))


def _check(reference: Reference, raw: bytes, expected: str) -> None:
    """Raise DigestMismatch for bytes that are not those of a digest; none are those of an unknown algorithm."""
    found = digest_of(raw, like=expected) if is_digest(expected) else digest_of(raw)
    if found != expected:
        raise _mismatch(reference, expected, found)


def _mismatch(reference: Reference, expected: str, found: str) -> DigestMismatch:
    message = f"`{reference}` has the digest `{found}`, expected `{expected}`"
    return DigestMismatch(message, host=reference.host)
