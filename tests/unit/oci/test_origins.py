"""Credentials of a registry go to it alone: same scheme, host and port, whatever an answer sends to."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl

import pytest

from buildsys.oci.client import Registry
from buildsys.oci.credentials import Credential
from buildsys.oci.http import (
    RegistryProblem,
    Response,
    Retries,
    RetryNotice,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from buildsys.oci.reference import OCI_MANIFEST, Reference, digest_of
from tests.unit.oci.test_client import IMAGE, RAW, THERE, Bench, Script, bench, headers

CREDENTIAL = Credential(username="me", password="s3cret")
BASIC = f"Basic {base64.b64encode(b'me:s3cret').decode()}"
ASKS = Response(status=401, headers={"www-authenticate": 'Basic realm="x"'})
BLOB = Response(status=200, body=b"x")
DIGEST = digest_of(b"x")
LOCAL = Reference.parse("127.0.0.1:5000/team/app:1")


def bearer(realm: str) -> Response:
    return Response(status=401, headers={"www-authenticate": f'Bearer realm="{realm}",service="s"'})


def sends_to(location: str, status: int = 307) -> Response:
    return Response(status=status, headers={"location": location})


def proofs(on: Bench) -> list[tuple[str, str]]:
    """Return where each request went, with what proved who asks."""
    return [(each.url, headers(each).get("Authorization", "")) for each in on.script.asked]


@pytest.mark.parametrize(
    "location",
    [
        "http://r.example.com/blob",
        "http://r.example.com/other?x=y",
        "https://r.example.com@evil.example/blob",
        "https://r.example.com:443@evil.example:443/blob",
    ],
)
def test_redirect_to_another_origin_gets_no_credentials(location: str) -> None:
    no_proof_after(location)


@pytest.mark.parametrize(
    "location",
    [
        "http://r.example.com:443/blob",
        "http://R.EXAMPLE.COM/blob",
        "https://r.example.com:8443/blob",
        "https://r.example.com:80/blob",
        "//other.example.com/blob",
        "https://r.example.com.evil.example/blob",
        "https://sub.r.example.com/blob",
    ],
)
def test_redirect_to_another_host_or_port_still_gets_no_credentials(location: str) -> None:
    no_proof_after(location)


def no_proof_after(location: str) -> None:
    on = bench(ASKS, sends_to(location), BLOB)
    assert on.registry(CREDENTIAL).blob(IMAGE, DIGEST) == b"x"
    assert [proof for _, proof in proofs(on)] == ["", BASIC, ""]
    assert not any("@" in url for url, _ in proofs(on))


@pytest.mark.parametrize(
    "location", ["https://r.example.com:443/blob", "https://R.Example.com/blob", "HTTPS://R.EXAMPLE.COM:443/blob"]
)
def test_redirect_to_the_same_origin_written_otherwise_keeps_the_credentials(location: str) -> None:
    same_proof_after(location)


@pytest.mark.parametrize("location", ["/blob", "https://r.example.com/blob"])
def test_redirect_to_the_same_origin_still_keeps_the_credentials(location: str) -> None:
    same_proof_after(location)


def same_proof_after(location: str) -> None:
    on = bench(ASKS, sends_to(location), BLOB)
    assert on.registry(CREDENTIAL).blob(IMAGE, DIGEST) == b"x"
    assert proofs(on)[2] == ("https://r.example.com/blob", BASIC)


def test_default_port_that_a_reference_writes_is_the_same_origin() -> None:
    image = Reference.parse("r.example.com:443/team/app:1")
    on = bench(ASKS, sends_to("https://r.example.com/blob"), BLOB)
    on.registry(CREDENTIAL).blob(image, DIGEST)
    assert [proof for _, proof in proofs(on)] == ["", BASIC, BASIC]


def test_credentials_come_back_only_at_home_after_a_way_through_plain_http() -> None:
    on = bench(ASKS, sends_to("http://r.example.com/a"), sends_to("https://r.example.com/b"), BLOB)
    on.registry(CREDENTIAL).blob(IMAGE, DIGEST)
    assert [proof for _, proof in proofs(on)] == ["", BASIC, "", BASIC]


def test_challenge_of_another_place_is_answered_with_nothing_and_named() -> None:
    on = bench(sends_to("http://r.example.com/blob"), ASKS, BLOB)
    with pytest.raises(Unauthorized, match=r"redirects to `http://r\.example\.com`, which requires credentials"):
        on.registry(CREDENTIAL).blob(IMAGE, DIGEST)
    assert [proof for _, proof in proofs(on)] == ["", ""]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://r.example.com/x", "gopher://x/", "data:,x"])
def test_redirect_to_no_web_server_is_refused(location: str) -> None:
    on = bench(sends_to(location), BLOB)
    with pytest.raises(UnexpectedAnswer, match="an address that cannot be used"):
        on.registry(CREDENTIAL).blob(IMAGE, DIGEST)
    assert len(on.script.asked) == 1


def test_userinfo_of_a_redirect_is_sent_nowhere_and_shown_nowhere() -> None:
    on = bench(sends_to("https://you:t0psecret@store.example.net/blob"), Response(status=403))
    with pytest.raises(Unauthorized) as caught:
        on.registry(CREDENTIAL).blob(IMAGE, DIGEST)
    assert proofs(on)[1] == ("https://store.example.net/blob", "")
    assert "t0psecret" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://r.example.com/upload", "http://r.example.com/v2/x?state=1"])
def test_upload_that_is_opened_in_the_clear_gets_no_credentials(location: str) -> None:
    no_proof_at_upload(location)


@pytest.mark.parametrize("location", ["https://r.example.com:8443/upload", "//other.example.com/upload"])
def test_upload_that_is_opened_at_another_host_or_port_still_gets_no_credentials(location: str) -> None:
    no_proof_at_upload(location)


def no_proof_at_upload(location: str) -> None:
    on = bench(ASKS, Response(status=404), sends_to(location, 202), Response(status=201))
    on.registry(CREDENTIAL).put_blob(IMAGE, b"x")
    assert [proof for _, proof in proofs(on)] == ["", BASIC, BASIC, ""]
    assert on.script.asked[-1].method == "PUT"


def test_next_page_in_the_clear_gets_no_credentials() -> None:
    no_proof_at_next_page("http://r.example.com/v2/next")


@pytest.mark.parametrize("link", ["https://r.example.com:444/v2/next", "https://other.example.com/v2/next"])
def test_next_page_at_another_host_or_port_still_gets_no_credentials(link: str) -> None:
    no_proof_at_next_page(link)


def no_proof_at_next_page(link: str) -> None:
    first = Response(status=200, headers={"link": f'<{link}>; rel="next"'}, body=b'{"tags": ["a"]}')
    on = bench(ASKS, first, Response(status=200, body=b'{"tags": ["b"]}'))
    assert on.registry(CREDENTIAL).tags(IMAGE) == ("a", "b")
    assert [proof for _, proof in proofs(on)] == ["", BASIC, ""]


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://r.example.com/next"])
def test_next_page_that_is_none_is_refused(link: str) -> None:
    first = Response(status=200, headers={"link": f'<{link}>; rel="next"'}, body=b'{"tags": ["a"]}')
    on = bench(first, Response(status=200, body=b'{"tags": ["b"]}'))
    with pytest.raises(UnexpectedAnswer):
        on.registry(CREDENTIAL).tags(IMAGE)
    assert len(on.script.asked) == 1


@pytest.mark.parametrize(
    "realm",
    [
        "http://127.0.0.1:5001/token",
        "http://localhost/token",
        "http://me@[::1]:5001/token",
        "https:///token",
    ],
)
def test_https_registry_gets_no_token_from_what_is_not_https(realm: str) -> None:
    no_token_from(realm)


@pytest.mark.parametrize(
    "realm",
    ["http://auth.example.com/token", "file:///token", "ftp://auth.example.com/token", "/token", "auth.example.com/t"],
)
def test_https_registry_still_gets_no_token_from_elsewhere_in_the_clear(realm: str) -> None:
    no_token_from(realm)


def no_token_from(realm: str) -> None:
    on = bench(bearer(realm), Response(status=200, body=b'{"token": "T"}'), THERE)
    with contextlib.suppress(UnexpectedAnswer):
        on.registry(CREDENTIAL).head(IMAGE)
    assert len(on.script.asked) == 1


def test_realm_with_credentials_is_asked_without_them_and_quoted_without_them() -> None:
    on = bench(bearer("https://you:t0psecret@auth.example.com/token"), Response(status=200, body=b"[]"))
    with pytest.raises(UnexpectedAnswer) as caught:
        on.registry(CREDENTIAL).head(IMAGE)
    assert "t0psecret" not in str(caught.value)
    assert urls(on)[1].startswith("https://auth.example.com/token?")
    plain = bench(bearer("http://you:t0psecret@auth.example.com/token"))
    with pytest.raises(UnexpectedAnswer) as refusal:
        plain.registry(CREDENTIAL).head(IMAGE)
    assert "t0psecret" not in str(refusal.value)


def urls(on: Bench) -> list[str]:
    return [url for url, _ in proofs(on)]


@pytest.mark.parametrize("image", [LOCAL, IMAGE])
@pytest.mark.parametrize("realm", ["https://auth.example.com/token", "https://auth.example.com:8443/token?x=y"])
def test_token_may_still_come_from_another_host_by_https(image: Reference, realm: str) -> None:
    on = bench(bearer(realm), Response(status=200, body=b'{"token": "T"}'), THERE)
    assert on.registry(CREDENTIAL).head(image) is not None
    assert [proof for _, proof in proofs(on)] == ["", BASIC, "Bearer T"]
    assert urls(on)[1].startswith(realm)


def test_plain_realm_gets_credentials_only_where_it_is_the_registry_or_named_insecure() -> None:
    """Another port of loopback may be a different user's."""
    plain, token = bearer("http://127.0.0.1:5001/token"), Response(status=200, body=b'{"token": "T"}')
    on = bench(plain, token, THERE)
    with pytest.raises(UnexpectedAnswer, match="would get its credentials by plain HTTP"):
        on.registry(CREDENTIAL).head(LOCAL)
    assert [proof for _, proof in proofs(on)] == [""]
    without = bench(plain, token, THERE)
    assert without.registry().head(LOCAL) is not None
    assert [proof for _, proof in proofs(without)] == ["", "", "Bearer T"]
    home = bench(bearer("http://127.0.0.1:5000/token"), token, THERE)
    assert home.registry(CREDENTIAL).head(LOCAL) is not None
    assert [proof for _, proof in proofs(home)] == ["", BASIC, "Bearer T"]
    named = bench(plain, token, THERE)
    with Registry(transport=named.script, credentials=lambda _: CREDENTIAL, insecure=["127.0.0.1:5001"]) as registry:
        assert registry.head(LOCAL) is not None
    assert [proof for _, proof in proofs(named)] == ["", BASIC, "Bearer T"]


def test_token_answer_that_redirects_still_takes_the_credentials_nowhere() -> None:
    on = bench(bearer("https://auth.example.com/token"), sends_to("http://evil.example/token", 302))
    with pytest.raises(UnexpectedAnswer):
        on.registry(CREDENTIAL).head(IMAGE)
    assert len(on.script.asked) == 2


def test_token_for_one_host_is_still_not_sent_to_another() -> None:
    other = Reference.parse("other.example.com/team/app:1")
    on = bench(bearer("https://auth.example.com/token"), Response(status=200, body=b'{"token": "T"}'), THERE, THERE)
    registry = on.registry(CREDENTIAL)
    registry.head(IMAGE)
    registry.head(other)
    assert [proof for _, proof in proofs(on)] == ["", BASIC, "Bearer T", ""]


# A registry on loopback that speaks only TLS.

WRONG_SCHEME = Response(status=400, body=b"Client sent an HTTP request to an HTTPS server.")
NO_TLS = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")
NO_TLS.reason = "WRONG_VERSION_NUMBER"


@pytest.mark.parametrize("plain", [WRONG_SCHEME, ConnectionResetError("reset"), http.client.BadStatusLine("\x15\x03")])
def test_credentials_for_what_speaks_only_tls_are_never_sent_by_plain_http(plain: Response | Exception) -> None:
    on = bench(plain, ASKS, ASKS, THERE, THERE)
    registry = on.registry(CREDENTIAL)
    assert registry.head(LOCAL) is not None
    assert registry.head(LOCAL) is not None
    assert [url.partition("://")[0] for url in urls(on)] == ["http", "https", "https", "https", "https"]
    assert [proof for _, proof in proofs(on)] == ["", "", "", BASIC, BASIC]


def test_plain_registry_that_refuses_a_request_stays_plain() -> None:
    on = bench(WRONG_SCHEME, NO_TLS, *[WRONG_SCHEME] * 4)
    registry = on.registry()
    for _ in range(2):
        with pytest.raises(UnexpectedAnswer, match="400"):
            registry.head(LOCAL)
    first, probe, *others = [url.partition("://")[0] for url in urls(on)]
    assert (first, probe, {*others}) == ("http", "https", {"http"})


def test_registry_elsewhere_is_asked_by_https_alone() -> None:
    on = bench(*[WRONG_SCHEME] * 4)
    with pytest.raises(UnexpectedAnswer, match="400"):
        on.registry().head(IMAGE)
    assert {url.partition("://")[0] for url in urls(on)} == {"https"}


# Answers that end early.


def cut(body: bytes, **more: str) -> Response:
    fields = {"content-type": OCI_MANIFEST, "content-length": "1000", **more}
    return Response(status=200, headers=fields, body=body)


def registry(on: Bench, attempts: int) -> Registry:
    notices: list[RetryNotice] = []
    return Registry(
        transport=on.script,
        retries=Retries(attempts=attempts, first=1.0, jitter=0.0),
        sleep=on.waited.append,
        listener=notices.append,
    )


def test_body_that_is_shorter_than_its_length_is_retried_and_then_an_error() -> None:
    on = Bench(script=Script(by=lambda _: cut(RAW)))
    with pytest.raises(Unreachable, match=f"ended after {len(RAW)} bytes"):
        registry(on, 3).manifest(IMAGE)
    assert len(on.script.asked) == 3
    assert len(on.waited) == 2


def test_blob_that_is_cut_off_is_read_again() -> None:
    on = bench(cut(b""), Response(status=200, headers={"content-length": "1"}, body=b"x"))
    with contextlib.suppress(RegistryProblem):
        registry(on, 2).blob(IMAGE, DIGEST)
    assert len(on.script.asked) == 2


def test_list_of_tags_that_is_cut_off_is_read_again() -> None:
    listed = bench(cut(b'{"tags": ["a"]}'), Response(status=200, body=b'{"tags": ["a", "b"]}'))
    assert registry(listed, 2).tags(IMAGE) == ("a", "b")


def test_token_that_is_cut_off_is_no_token() -> None:
    on = bench(bearer("https://auth.example.com/token"), cut(b'{"token": "T"}'), THERE)
    with pytest.raises(Unreachable):
        registry(on, 1).head(IMAGE)


def test_length_of_what_has_no_body_is_still_no_promise() -> None:
    assert bench(THERE).registry().head(IMAGE) is not None
