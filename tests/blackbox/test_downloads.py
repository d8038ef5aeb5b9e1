"""`buildsys lock` records the checksum of a download that came whole, or leaves the lock as it is."""

from __future__ import annotations

import hashlib
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Run, answering, buildsys, http_answer, refused, run, with_download, write

ADDRESS = "https://example.com/archive"
WHOLE = http_answer(b"a" * 100)
CUT = http_answer(b"a" * 50, length=100)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def project(project: Path) -> Path:
    """The small project, whose layer `conf` has a download without a checksum."""
    with_download(project, ADDRESS)
    return project


def lock(project: Path, mirror: str, *words: str, **given: Any) -> Run:
    write(project, "buildsys.settings.yaml", f"downloads: {{'https://example.com': '{mirror}'}}\n")
    return buildsys(project, "lock", *words, **given)


def held(project: Path) -> str:
    return (project / "buildsys.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CUT, ("50 of 100 bytes",)),
        (http_answer(b"", length=100), ("0 of 100 bytes",)),
        (CHUNKED + b"32\r\n" + b"a" * 50 + b"\r\n", ("50 bytes",)),
        (CHUNKED + b"64\r\n" + b"a" * 50, ("50 bytes",)),
        (CHUNKED + b"32\r\n" + b"a" * 50 + b"\r\nzz\r\n", ("50 bytes",)),
        (http_answer(b""), ("empty",)),
        (http_answer(b"a", "Content-Length: 100"), ("length",)),
        (http_answer(b"a" * 50, "Content-Range: bytes 0-49/100", status="206 Partial Content"), ("206",)),
        (http_answer(b"", status="204 No Content"), ("204",)),
        (http_answer(b"a" * 5, "Transfer-Encoding: identity", length=100), ("encoding", "identity")),
        (http_answer(b"a" * 5, "Transfer-Encoding: gzip, chunked", length=5), ("encoding", "gzip")),
    ],
)
def test_incomplete_download_is_refused_and_the_lock_stays(
    project: Path, answer: bytes, words: tuple[str, ...]
) -> None:
    before = held(project)
    with answering(answer) as server:
        done = lock(project, server.address)
    refused(done, ADDRESS, *words, code=5)
    assert held(project) == before


def test_connection_that_breaks_in_the_middle_is_refused_and_the_lock_stays(project: Path) -> None:
    before = held(project)
    with answering(http_answer(b"a" * 50, length=1_000_000), reset=True) as server:
        done = lock(project, server.address)
    refused(done, ADDRESS, "1000000 bytes", code=5)
    assert held(project) == before


def test_existing_entry_is_not_replaced_by_a_partial_download(project: Path) -> None:
    entry = f'downloads:\n  "{ADDRESS}":\n    sha256: {"1" * 64}\n    size: 100\n'
    write(project, "buildsys.lock", held(project) + entry)
    before = held(project)
    with answering(CUT) as server:
        done = lock(project, server.address, "--update", ADDRESS)
    refused(done, ADDRESS, "50 of 100 bytes", code=5)
    assert held(project) == before


def test_entry_stays_when_the_lock_is_rewritten(project: Path) -> None:
    with answering(WHOLE) as server:
        assert lock(project, server.address).code == 0
        before = held(project)
        done = lock(project, server.address)
    assert done.code == 0, done.output
    assert held(project) == before
    assert len(server.asked) == 1


@pytest.mark.parametrize("first", [CUT, http_answer(b""), CHUNKED + b"32\r\n" + b"a" * 50 + b"\r\n"])
def test_download_that_ends_early_once_is_retried_and_recorded_whole(project: Path, first: bytes) -> None:
    with answering(first, WHOLE) as server:
        done = lock(project, server.address)
    assert done.code == 0, done.output
    assert len(server.asked) == 2
    assert f"sha256: {hashlib.sha256(b'a' * 100).hexdigest()}\n    size: 100\n" in held(project)


@pytest.mark.parametrize(
    "answer",
    [WHOLE, CHUNKED + b"64\r\n" + b"a" * 100 + b"\r\n0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * 100],
)
def test_whole_download_is_recorded_however_its_end_is_marked(project: Path, answer: bytes) -> None:
    with answering(answer) as server:
        done = lock(project, server.address)
    assert done.code == 0, done.output
    assert "size: 100\n" in held(project)


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://example.com/archive", "data:,abc", "https://[x"])
def test_redirect_to_no_web_server_is_refused(project: Path, location: str) -> None:
    before = held(project)
    with answering(http_answer(b"", f"Location: {location}", status="302 Found")) as server:
        done = lock(project, server.address)
    refused(done, ADDRESS, "redirects", code=5)
    assert held(project) == before


def test_redirect_to_another_web_server_is_followed(project: Path) -> None:
    with (
        answering(WHOLE) as there,
        answering(http_answer(b"", f"Location: {there.address}/a b", status="307 Temporary Redirect")) as server,
    ):
        done = lock(project, server.address)
    assert done.code == 0, done.output
    assert there.asked[0].startswith(b"GET /a%20b HTTP/1.1\r\n")


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS, and the file of its certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    done = run(tmp_path, openssl, *words, *names, "-keyout", "key.pem", "-out", "cert.pem")
    assert done.code == 0, done.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context, tmp_path / "cert.pem"


def test_redirect_from_https_to_http_is_refused(project: Path, tls: tuple[ssl.SSLContext, Path]) -> None:
    context, certificate = tls
    before = held(project)
    with answering(WHOLE) as plain:
        answer = http_answer(b"", f"Location: {plain.address}/archive", status="301 Moved Permanently")
        with answering(answer, tls=context) as server:
            done = lock(project, server.address, SSL_CERT_FILE=str(certificate))
    refused(done, ADDRESS, "from https", code=5)
    assert plain.asked == []
    assert held(project) == before
