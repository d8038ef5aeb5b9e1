"""How the registry client takes answers of a script: credentials, retries, redirects, digests."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import pytest

from buildsys.errors import ExitCode, InvalidInput
from buildsys.oci.auth import Challenge
from buildsys.oci.client import Registry, ask_many
from buildsys.oci.credentials import Credential, no_credentials
from buildsys.oci.http import (
    DigestMismatch,
    RateLimited,
    Request,
    Response,
    Retries,
    RetryNotice,
    ServerError,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    loopback,
    retry_after,
)
from buildsys.oci.reference import MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest, Reference, digest_of

RAW = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(b"x"), "size": 1}],
    }
).encode()
IMAGE = Reference.parse("r.example.com/team/app:1")
THERE = Response(
    status=200,
    headers={"docker-content-digest": digest_of(RAW), "content-length": str(len(RAW)), "content-type": OCI_MANIFEST},
)
CHALLENGE = 'Bearer realm="https://auth.example.com/token",service="r.example.com",scope="repository:team/app:pull"'

Answer = Response | Exception


@dataclass(kw_only=True)
class Script:
    """A transport that answers from a list, or by a function, and keeps what it was asked."""

    answers: list[Answer] = field(default_factory=list)
    by: Callable[[Request], Answer] | None = None
    asked: list[Request] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        self.asked.append(request)
        answer = self.by(request) if self.by else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Hold nothing open."""


@dataclass(kw_only=True)
class Bench:
    """A registry client on a script, and its waits and notices."""

    script: Script
    waited: list[float] = field(default_factory=list)
    notices: list[RetryNotice] = field(default_factory=list)

    def registry(self, credential: Credential | None = None, attempts: int = 3) -> Registry:
        return Registry(
            transport=self.script,
            credentials=(lambda _: credential) if credential else no_credentials,
            retries=Retries(attempts=attempts, first=1.0, cap=20.0, jitter=0.0),
            sleep=self.waited.append,
            now=lambda: 1_000_000_000.0,
            listener=self.notices.append,
        )


def bench(*answers: Answer) -> Bench:
    return Bench(script=Script(answers=list(answers)))


def headers(request: Request) -> dict[str, str]:
    return dict(request.headers)


def test_existing_manifest_is_found_by_its_head_alone() -> None:
    on = bench(THERE)
    found = on.registry().head(IMAGE)
    assert found == Descriptor(media_type=OCI_MANIFEST, digest=digest_of(RAW), size=len(RAW))
    asked = on.script.asked[0]
    assert (asked.method, asked.url) == ("HEAD", "https://r.example.com/v2/team/app/manifests/1")
    assert all(each in headers(asked)["Accept"] for each in MANIFEST_TYPES)


def test_missing_manifest_is_none_and_is_asked_for_once() -> None:
    on = bench(Response(status=404))
    assert on.registry().head(IMAGE) is None
    assert len(on.script.asked) == 1


@pytest.mark.parametrize("lacking", ["docker-content-digest", "content-length", "content-type"])
def test_head_that_leaves_something_out_is_completed_by_reading_the_manifest(lacking: str) -> None:
    short = Response(status=200, headers={name: value for name, value in THERE.headers.items() if name != lacking})
    on = bench(short, Response(status=200, headers={"content-type": OCI_MANIFEST}, body=RAW))
    found = on.registry().head(IMAGE)
    assert found is not None
    assert (found.digest, found.size) == (digest_of(RAW), len(RAW))
    assert [each.method for each in on.script.asked] == ["HEAD", "GET"]


def test_challenge_is_answered_with_a_token_of_its_realm_and_scope_once_for_all_requests() -> None:
    on = bench(
        Response(status=401, headers={"www-authenticate": CHALLENGE}),
        Response(status=200, body=b'{"token": "T1"}'),
        THERE,
        THERE,
    )
    registry = on.registry(Credential(username="me", password="secret"))
    assert registry.head(IMAGE) is not None
    assert registry.head(IMAGE) is not None
    first, token, second, third = on.script.asked
    assert "Authorization" not in headers(first)
    query = parse_qs(urlsplit(token.url).query)
    assert urlsplit(token.url).netloc == "auth.example.com"
    assert query == {"service": ["r.example.com"], "scope": ["repository:team/app:pull"]}
    assert headers(token)["Authorization"] == f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert headers(second)["Authorization"] == headers(third)["Authorization"] == "Bearer T1"


def test_identity_token_is_exchanged_by_post_and_not_sent_to_the_registry() -> None:
    on = bench(
        Response(status=401, headers={"www-authenticate": CHALLENGE}),
        Response(status=200, body=b'{"access_token": "T2"}'),
        THERE,
    )
    on.registry(Credential(identity_token="long-lived")).head(IMAGE)
    _, token, second = on.script.asked
    assert (token.method, urlsplit(token.url).query) == ("POST", "")
    assert parse_qs((token.body or b"").decode())["refresh_token"] == ["long-lived"]
    assert headers(second)["Authorization"] == "Bearer T2"


def test_basic_challenge_is_answered_with_the_credential() -> None:
    on = bench(Response(status=401, headers={"www-authenticate": 'Basic realm="x"'}), THERE)
    on.registry(Credential(username="me", password="p:w")).head(IMAGE)
    assert headers(on.script.asked[1])["Authorization"] == f"Basic {base64.b64encode(b'me:p:w').decode()}"


def test_refusal_without_credentials_says_how_to_log_in_and_is_not_retried() -> None:
    on = bench(Response(status=401, headers={"www-authenticate": 'Basic realm="x"'}))
    with pytest.raises(Unauthorized, match="requires credentials, and none are configured") as caught:
        on.registry().head(IMAGE)
    assert caught.value.hint == "run `docker login r.example.com`"
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert on.waited == []


def test_refused_credentials_are_reported_as_such() -> None:
    denied = Response(status=401, headers={"www-authenticate": CHALLENGE})
    on = bench(denied, Response(status=401, body=b'{"errors": [{"code": "UNAUTHORIZED", "message": "wrong"}]}'))
    with pytest.raises(Unauthorized, match="rejects the given credentials \\(401 UNAUTHORIZED wrong\\)"):
        on.registry(Credential(username="me", password="old")).head(IMAGE)


def test_token_is_never_fetched_from_a_plain_address_elsewhere() -> None:
    plain = CHALLENGE.replace("https://", "http://")
    on = bench(Response(status=401, headers={"www-authenticate": plain}))
    with pytest.raises(UnexpectedAnswer, match="which is not https"):
        on.registry(Credential(username="me", password="secret")).head(IMAGE)
    assert len(on.script.asked) == 1


def test_secrets_are_in_no_text_that_is_shown() -> None:
    credential = Credential(username="me", password="s3cret", identity_token="t0ken")
    request = Request(method="GET", url="https://x/", headers=(("Authorization", "Bearer s3cret"),), body=b"s3cret")
    assert "s3cret" not in f"{credential!r} {request!r}"
    assert "t0ken" not in repr(credential)


def test_redirect_is_followed_without_the_proof() -> None:
    on = bench(
        Response(status=401, headers={"www-authenticate": 'Basic realm="x"'}),
        Response(status=307, headers={"location": "https://store.example.net/blob?sig=1"}),
        Response(status=200, body=b"x"),
    )
    assert on.registry(Credential(username="me", password="secret")).blob(IMAGE, digest_of(b"x")) == b"x"
    assert on.script.asked[2].url == "https://store.example.net/blob?sig=1"
    assert "Authorization" not in headers(on.script.asked[2])


def test_limited_rate_waits_as_long_as_the_registry_asks_and_reports_it() -> None:
    on = bench(Response(status=429, headers={"retry-after": "7"}), THERE)
    assert on.registry().head(IMAGE) is not None
    assert on.waited == [7.0]
    assert [(each.attempt, each.attempts, each.wait) for each in on.notices] == [(1, 3, 7.0)]
    assert isinstance(on.notices[0].problem, RateLimited)


def test_wait_that_a_registry_asks_for_is_bounded() -> None:
    on = bench(Response(status=429, headers={"retry-after": "86400"}), THERE)
    on.registry().head(IMAGE)
    assert on.waited == [20.0]


def test_failing_server_is_retried_with_growing_waits_and_then_given_up() -> None:
    on = bench(*[Response(status=502)] * 4)
    with pytest.raises(ServerError, match="`HEAD /v2/team/app/manifests/1`"):
        on.registry(attempts=4).head(IMAGE)
    assert on.waited == [1.0, 2.0, 4.0]


def test_request_that_the_server_does_not_know_is_not_retried() -> None:
    on = bench(Response(status=501))
    with pytest.raises(ServerError):
        on.registry().head(IMAGE)
    assert on.waited == []


@pytest.mark.parametrize("broken", [ConnectionResetError("reset"), http.client.RemoteDisconnected("gone")])
def test_broken_connection_is_retried(broken: Exception) -> None:
    on = bench(broken, THERE)
    assert on.registry().head(IMAGE) is not None
    assert len(on.waited) == 1


def test_refused_connection_is_given_up_for_all_references_of_that_host() -> None:
    on = Bench(script=Script(by=lambda _: ConnectionRefusedError(111, "refused")))
    references = [IMAGE.with_tag(str(number)) for number in range(20)]
    found = ask_many(references, on.registry().head, 1)
    assert list(found) == references
    assert all(isinstance(each, Unreachable) for each in found.values())
    assert len(on.script.asked) == 1


def test_many_references_are_answered_in_order_each_asked_once() -> None:
    def by(request: Request) -> Response:
        return Response(status=404) if request.url.endswith("/2") else THERE

    on = Bench(script=Script(by=by))
    one, two, three = (IMAGE.with_tag(str(number)) for number in (1, 2, 3))
    found = ask_many([three, one, two, one], on.registry().head)
    assert list(found) == [three, one, two]
    assert found[two] is None
    assert len(on.script.asked) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(status=200, body=b'{"schemaVersion":2,"x":' + b"[" * 100_000), UnexpectedAnswer),
        (Response(status=200, body=RAW.replace(b'"size": 1', b'"size": 1e999')), UnexpectedAnswer),
        (Response(status=400, body=b"[" * 100_000), UnexpectedAnswer),
        *(
            (Response(status=200, headers={"docker-content-digest": digest}, body=RAW), DigestMismatch)
            for digest in ("zz", "shake_128:00", "sha256:1", "\xff")
        ),
    ],
)
@pytest.mark.parametrize("ask", [Registry.manifest, Registry.head])
def test_useless_answer_is_a_named_problem(
    answer: Response, kind: type[Exception], ask: Callable[[Registry, Reference], object]
) -> None:
    with pytest.raises(kind):
        ask(bench(*[answer] * 2).registry(), IMAGE)


def test_head_with_a_digest_that_is_none_is_completed_by_reading_the_manifest() -> None:
    """Before, such a text was taken for the digest, as far as into the lock."""
    on = bench(replace(THERE, headers={**THERE.headers, "docker-content-digest": "md5:0"}), replace(THERE, body=RAW))
    found = on.registry().head(IMAGE)
    assert found is not None
    assert found.digest == digest_of(RAW)


def test_length_of_thousands_of_digits_is_none() -> None:
    answer = Response(status=200, headers={"content-length": "9" * 5000}, body=RAW)
    assert bench(answer).registry().manifest(IMAGE) is not None


def test_content_is_not_searched_for_errors() -> None:
    """Before, every body was parsed as JSON, and a deep one ended the command with a traceback."""
    body = b"[" * 100_000
    assert bench(Response(status=200, body=body)).registry().blob(IMAGE, digest_of(body)) == body


def test_bytes_that_are_not_what_the_digest_says_are_never_used() -> None:
    wanted = IMAGE.with_digest(digest_of(b"other"))
    with pytest.raises(DigestMismatch):
        bench(Response(status=200, headers={"content-type": OCI_MANIFEST}, body=RAW)).registry().manifest(wanted)
    with pytest.raises(DigestMismatch):
        bench(Response(status=200, body=b"y")).registry().blob(IMAGE, digest_of(b"x"))


def test_upload_that_breaks_is_started_from_its_beginning() -> None:
    opened = Response(status=202, headers={"location": "/v2/team/app/blobs/uploads/1?state=a"})
    on = bench(
        Response(status=404), opened, ConnectionResetError("reset"), opened, Response(status=201), Response(status=200)
    )
    stored = on.registry().put_blob(IMAGE, b"x")
    assert stored.digest == digest_of(b"x")
    put = on.script.asked[-1]
    assert put.url == f"https://r.example.com/v2/team/app/blobs/uploads/1?state=a&digest={digest_of(b'x')}".replace(
        "sha256:", "sha256%3A"
    )
    assert [each.method for each in on.script.asked] == ["HEAD", "POST", "PUT", "POST", "PUT"]


def test_mount_that_the_registry_does_not_do_is_cancelled_and_false() -> None:
    on = bench(Response(status=202, headers={"location": "/v2/team/app/blobs/uploads/9"}), Response(status=204))
    assert not on.registry().mount_blob(IMAGE, digest_of(b"x"), Reference.parse("r.example.com/team/base:1"))
    assert [(each.method, urlsplit(each.url).path.rsplit("/", 1)[-1]) for each in on.script.asked][1] == ("DELETE", "9")


@pytest.mark.parametrize(
    "answer",
    [Response(status=403), Response(status=503), ConnectionResetError()],
    ids=["refused", "failed", "no-answer"],
)
def test_mount_is_false_also_where_it_cannot_be_cancelled(answer: Answer) -> None:
    on = bench(Response(status=202, headers={"location": "/v2/team/app/blobs/uploads/9"}), answer)
    assert not on.registry().mount_blob(IMAGE, digest_of(b"x"), Reference.parse("r.example.com/team/base:1"))
    assert on.waited == []


def test_mount_across_registries_asks_no_registry() -> None:
    on = bench()
    assert not on.registry().mount_blob(IMAGE, digest_of(b"x"), Reference.parse("other.example.com/base:1"))
    assert on.script.asked == []


def test_tags_are_read_over_all_pages() -> None:
    on = bench(
        Response(
            status=200,
            headers={"link": '</v2/team/app/tags/list?last=b&n=2>; rel="next"'},
            body=b'{"tags": ["b", "a"]}',
        ),
        Response(status=200, body=b'{"tags": ["c"]}'),
    )
    assert on.registry().tags(IMAGE) == ("a", "b", "c")
    assert on.script.asked[1].url == "https://r.example.com/v2/team/app/tags/list?last=b&n=2"


def test_repositories_are_those_of_the_catalog_over_all_pages() -> None:
    on = bench(
        Response(
            status=200,
            headers={"link": '</v2/_catalog?last=b&n=2>; rel="next"'},
            body=b'{"repositories": ["team/b", "a"]}',
        ),
        Response(status=200, body=b'{"repositories": ["c"]}'),
    )
    assert on.registry().repositories(IMAGE) == ("a", "c", "team/b")
    assert [each.url for each in on.script.asked] == [
        "https://r.example.com/v2/_catalog?n=1000",
        "https://r.example.com/v2/_catalog?last=b&n=2",
    ]
    assert bench(Response(status=404)).registry().repositories(IMAGE) == ()


def test_plain_http_is_for_loopback_alone() -> None:
    on = Bench(script=Script(by=lambda _: THERE))
    for name in ("127.0.0.1:5000/x:1", "localhost:5000/x:1", "r.example.com:5000/x:1", "docker.io/library/debian:12"):
        on.registry().head(Reference.parse(name))
    assert [each.url.partition("/v2/")[0] for each in on.script.asked] == [
        *("http://127.0.0.1:5000", "http://localhost:5000", "https://r.example.com:5000"),
        "https://registry-1.docker.io",
    ]
    assert not loopback("127.0.0.1.example.com")


@pytest.mark.parametrize(
    ("header", "scheme", "realm"),
    [
        (CHALLENGE, "bearer", "https://auth.example.com/token"),
        ('Basic realm="x", Bearer realm="https://a/,b",service=s', "bearer", "https://a/,b"),
        ("basic realm=x", "basic", "x"),
    ],
)
def test_challenge_is_read_in_every_form(header: str, scheme: str, realm: str) -> None:
    found = Challenge.parse(header)
    assert found is not None
    assert (found.scheme, found.realm) == (scheme, realm)


def test_challenge_of_an_unknown_kind_is_none() -> None:
    assert Challenge.parse('Negotiate abc="d"') is None


def test_refusal_without_any_challenge_is_a_refusal() -> None:
    with pytest.raises(Unauthorized):
        bench(Response(status=401)).registry(Credential(username="me", password="secret")).head(IMAGE)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after("12", now=0.0) == 12.0
    assert retry_after("Sun, 09 Sep 2001 01:46:50 GMT", now=1_000_000_000.0) == 10.0
    assert retry_after("Sun, 09 Sep 2001 01:46:30 GMT", now=1_000_000_000.0) == 0.0
    assert retry_after("soon", now=0.0) is None
    assert retry_after(None, now=0.0) is None


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
        (f"r.example.com/a:1@{digest_of(b'x')}", f"r.example.com/a:1@{digest_of(b'x')}"),
        (f"r.example.com/a@{digest_of(b'x')}", f"r.example.com/a@{digest_of(b'x')}"),
    ],
)
def test_reference_is_read_as_docker_reads_it(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    "text", ["", "r.example.com/UPPER:1", "a b", "a@sha256:12", "r.example.com/a:", "r.example.com/a:-x"]
)
def test_text_other_than_a_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not an image reference"):
        Reference.parse(text)


def test_manifest_of_schema_version_one_is_refused() -> None:
    with pytest.raises(ValueError, match="schema version 2"):
        Manifest.parse(b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json")


def test_index_without_media_type_is_known_by_its_manifests() -> None:
    raw = b'{"schemaVersion": 2, "manifests": []}'
    assert Manifest.parse(raw, "text/plain").descriptor.media_type == OCI_INDEX


def uploading(least: str = "") -> Bench:
    """A registry that opens uploads, and asks for chunks of at least some bytes."""
    opened = Response(status=202, headers={"location": "/v2/x/blobs/uploads/1?s=0", "oci-chunk-min-length": least})
    taken = Response(status=202, headers={"location": "/v2/x/blobs/uploads/1?s=1"})
    answers = {"POST": opened, "PATCH": taken, "PUT": Response(status=201)}
    return Bench(script=Script(by=lambda request: answers[request.method]))


def test_blob_of_several_pieces_is_sent_in_chunks_and_ended_without_a_body() -> None:
    on = uploading()
    on.registry().send_blob(IMAGE, digest_of(b"abcde"), lambda: [b"ab", b"cde"])
    sent = [(each.method, each.body, headers(each).get("Content-Range")) for each in on.script.asked]
    assert sent == [("POST", None, None), ("PATCH", b"ab", "0-1"), ("PATCH", b"cde", "2-4"), ("PUT", b"", None)]
    assert parse_qs(urlsplit(on.script.asked[-1].url).query) == {"s": ["1"], "digest": [digest_of(b"abcde")]}


def test_blob_of_one_piece_takes_one_request_and_an_empty_one_too() -> None:
    for pieces in ([b"abcde"], []):
        on = uploading()
        on.registry().send_blob(IMAGE, digest_of(b"".join(pieces)), lambda pieces=pieces: pieces)  # type: ignore[misc]
        assert [(each.method, each.body) for each in on.script.asked][1:] == [("PUT", b"".join(pieces))]


def test_no_chunk_but_the_last_is_shorter_than_the_registry_asks_for() -> None:
    on = uploading(least="3")
    on.registry().send_blob(IMAGE, digest_of(b"abcdefg"), lambda: [b"ab", b"cd", b"ef", b"g"])
    assert [each.body for each in on.script.asked if each.method == "PATCH"] == [b"abcd", b"efg"]


def test_chunks_that_break_are_sent_again_from_the_first() -> None:
    on, calls = uploading(), []

    def pieces() -> list[bytes]:
        calls.append(len(on.script.asked))
        return [b"ab", b"cd"]

    answer = on.script.by
    broken = [http.client.RemoteDisconnected("gone")]
    assert answer is not None
    by = answer
    on.script.by = lambda request: broken.pop() if request.method == "PATCH" and broken else by(request)
    on.registry().send_blob(IMAGE, digest_of(b"abcd"), pieces)
    assert [each.method for each in on.script.asked] == ["POST", "PATCH", "POST", "PATCH", "PATCH", "PUT"]
    assert len(calls) == 2
