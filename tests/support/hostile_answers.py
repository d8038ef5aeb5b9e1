"""The table of what a hostile registry, token service, redirect target or download server answers to a command."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.support import hostile_values as values
from tests.support.hostile_server import (
    Asked,
    Reply,
    Script,
    answer,
    dripping,
    endless,
    late,
    resetting,
    stalling,
)

# What a server answers may end a command as: unavailable, or as content that cannot be used and is built instead.
UNAVAILABLE, REBUILT = 5, 0
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
ODD_TEXTS = (
    b"<html><h1>502 Bad Gateway</h1></html>",
    b"\x1b[31mred\x1b[0m\x1b]0;title\x07",
    b"\n::error::this is not an error\n::set-output name=x::y\n",
    "\u202eright to left\u2066\u200f".encode(),
    b"\0\1\2\r\n\r\n",
    values.raw({"errors": [{"code": "\x1b[2J", "message": "\n::error file=x::y\u202e\0" * 20}]}),
    values.raw({"errors": "x"}),
    values.raw({"errors": [5, None, {"code": ["x"], "message": {"a": 1}}]}),
    b"[" * 100_000,
    b"x" * (1 << 20),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One answer and the command that gets it; `code` is how it ends, `silent` that the answer is worth no word.

    `patch` replaces constants, by their full name, where the answer would take long to reach them. `anonymous` is a
    name of the registry without credentials, `trusting` settings that let the other host have them, and `leads` says
    that the answer leads the command to the other host.
    """

    name: str
    command: str
    script: Script
    code: int = UNAVAILABLE
    silent: bool = False
    patch: Mapping[str, int] = field(default_factory=dict)
    anonymous: bool = False
    trusting: bool = False
    leads: bool = False


def always(reply: Reply) -> Script:
    return lambda _: reply


def case(command: str, name: str, reply: Reply | Script, code: int = UNAVAILABLE, **fields: bool) -> Case:
    """Return a case whose script is given, or answers always the same."""
    script = reply if callable(reply) and getattr(reply, "by_request", False) else always(reply)  # type: ignore[arg-type]
    return Case(name=f"{command}-{name}", command=command, script=script, code=code, **fields)  # type: ignore[arg-type]


def by_request(script: Script) -> Script:
    """Mark a function as one of requests."""
    script.by_request = True  # type: ignore[attr-defined]
    return script


def manifest(body: bytes = values.IMAGE, *headers: str, **fields: str | int) -> bytes:
    return answer(body, *headers, kind=values.MANIFEST_TYPE, **fields)  # type: ignore[arg-type]


def lengths(command: str, body: bytes) -> Iterator[Case]:
    for name, length, code in (
        ("short", len(body) - 10, REBUILT),
        ("long", len(body) + 10, UNAVAILABLE),
        ("negative", "-5", UNAVAILABLE),
        ("no-number", "many", UNAVAILABLE),
        ("of-18-digits", "9" * 18, UNAVAILABLE),
        ("of-5000-digits", "9" * 5000, UNAVAILABLE),
        ("with-sign", f"+{len(body)}", UNAVAILABLE),
        ("float", f"{len(body)}.0", UNAVAILABLE),
        ("hexadecimal", hex(len(body)), UNAVAILABLE),
        ("empty", " ", UNAVAILABLE),
        ("above-the-bound", 5 << 20, UNAVAILABLE),
        ("list", f"{len(body)}, {len(body) + 1}", UNAVAILABLE),
    ):
        yield case(command, f"length-{name}", manifest(body, length=length), code)
    twice = manifest(body, f"Content-Length: {len(body) + 1}")
    yield case(command, "length-two-values", twice)


def digests() -> Iterator[Case]:
    right = values.digest(values.IMAGE)
    for name, said in (
        ("wrong", values.digest(b"other")),
        ("of-sha512-wrong", values.digest(b"other", "sha512")),
        ("upper-case", right.upper()),
        ("no-digest", "latest"),
        ("md5", values.digest(values.IMAGE, "md5")),
        ("shake", "shake_128:00"),
        ("short", right[:20]),
        ("path", "sha256:../../etc/passwd"),
        ("odd-letters", "sha256:\x1b[31m\xff"),
        ("of-60-kilobytes", "sha256:" + "a" * 60_000),
        ("of-two", f"{right}, {right}"),
    ):
        yield case("plan", f"digest-{name}", manifest(values.IMAGE, f"Docker-Content-Digest: {said}"), REBUILT)
    yield case("plan", "digest-missing", manifest(), REBUILT)
    lie = manifest(values.IMAGE, f"Docker-Content-Digest: {values.digest(b'other')}")
    yield case("lock", "digest-wrong", lie, UNAVAILABLE)
    yield case("outdated", "digest-no-digest", manifest(values.IMAGE, "Docker-Content-Digest: zz"), UNAVAILABLE)


def redirects() -> Iterator[Case]:
    def to(location: str, status: str = "307 Temporary Redirect") -> Reply:
        return answer(b"", f"Location: {location}", status=status)

    for name, location in (
        ("file", "file:///etc/passwd"),
        ("ftp", "ftp://127.0.0.1/x"),
        ("script", "javascript:alert(1)"),
        ("data", "data:text/plain,x"),
        ("broken-address", "http://[::1/x"),
        ("empty-address", "http:///x"),
        ("port-99999", "http://127.0.0.1:99999/x"),
        ("without-host", "http:/x"),
        ("port-text", "http://127.0.0.1:x/"),
        ("port-0", "http://127.0.0.1:0/"),
        ("closed-port", "http://127.0.0.1:1/x"),
        ("unknown-host", "http://nowhere.invalid/x"),
        ("blank-in-host", "http://a b/x"),
        ("odd-host", "http://\xff\xfe/x"),
        ("long-host", f"http://{'a' * 300}.invalid/x"),
        ("backslashes", "http:\\\\127.0.0.2\\x"),
        ("missing", ""),
    ):
        yield case("plan", f"redirect-{name}", to(location))
    for status in ("301 x", "302 x", "303 x", "308 x"):
        yield case("plan", f"redirect-{status[:3]}-file", to("file:///etc/passwd", status))
    for status in ("300 x", "304 x", "305 x", "306 x"):
        yield case("plan", f"redirect-{status[:3]}", to("http://127.0.0.1:1/", status))
    # Nothing is there.
    yield case("plan", "redirect-of-60-kilobytes", to("/v2/" + "a" * 60_000), REBUILT, silent=True)
    yield case("plan", "redirect-without-location", answer(status="302 Found"))

    @by_request
    def itself(asked: Asked) -> Reply:
        return to(asked.path)

    @by_request
    def farther(asked: Asked) -> Reply:
        return to(f"{asked.path}x")

    @by_request
    def relative(asked: Asked) -> Reply:
        return to(asked.path if "elsewhere" in asked.path else "../" * 20 + f"elsewhere/{asked.case}/x")

    def elsewhere(form: str, there: Reply) -> Script:
        @by_request
        def script(asked: Asked) -> Reply:
            if asked.path.startswith("/v2/") and not asked.authorization:
                return answer(b"", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
            if asked.path.startswith("/v2/"):
                return to(form.format(home=asked.home, other=asked.other, path=f"/elsewhere/{asked.case}/x"))
            return there

        return script

    yield case("plan", "redirect-to-itself", itself)
    yield case("plan", "redirect-300-times", farther)
    yield case("plan", "redirect-relative", relative)
    ok = manifest()
    for name, form, there, code in (
        ("other-host", "http://{other}{path}", ok, REBUILT),
        ("other-host-that-asks", "http://{other}{path}", answer(status="401 x"), UNAVAILABLE),
        ("other-host-with-challenge", "http://{other}{path}", _challenge('Basic realm="x"'), UNAVAILABLE),
        ("other-host-with-credentials", "http://you:s3cr3t@{other}{path}", ok, REBUILT),
        ("credentials-that-look-like-home", "http://{home}@{other}{path}", ok, REBUILT),
        ("without-scheme", "//{other}{path}", ok, REBUILT),
        ("other-host-that-stalls", "http://{other}{path}", stalling(b""), UNAVAILABLE),
        ("other-host-that-garbles", "http://{other}{path}", b"\0" * 1000, UNAVAILABLE),
        ("loopback-of-another-port", "http://{other}{path}", answer(status="500 x"), UNAVAILABLE),
    ):
        yield case("plan", f"redirect-to-{name}", elsewhere(form, there), code, leads=True)
    yield case("head", "redirected-elsewhere", elsewhere("http://{other}{path}", ok), REBUILT, leads=True)


def _challenge(header: str) -> bytes:
    return answer(b"", f"WWW-Authenticate: {header}", status="401 Unauthorized")


_PLACES = re.compile(r"\{(home|other|case)\}")


def realms() -> Iterator[Case]:
    def asking(form: str, token: Reply = b"") -> Script:
        @by_request
        def script(asked: Asked) -> Reply:
            if not asked.path.startswith("/v2/"):
                return token
            known = {"home": asked.home, "other": asked.other, "case": asked.case}
            return _challenge(_PLACES.sub(lambda found: known[found[1]], form))

        return script

    good = answer(values.raw({"token": "T"}))
    for name, form in (
        ("file", 'Bearer realm="file:///etc/passwd"'),
        ("ftp", 'Bearer realm="ftp://127.0.0.1/x"'),
        ("http-elsewhere", 'Bearer realm="http://{other}/token/{case}"'),
        ("http-elsewhere-by-name", 'Bearer realm="http://nowhere.invalid/token/{case}"'),
        ("https-elsewhere-closed", 'Bearer realm="https://127.0.0.1:1/token"'),
        ("with-credentials", 'Bearer realm="http://you:s3cr3t@{other}/token/{case}"'),
        ("that-looks-like-home", 'Bearer realm="http://{home}@{other}/token/{case}"'),
        ("missing", 'Bearer service="x"'),
        ("empty", 'Bearer realm="",service=""'),
        ("relative", 'Bearer realm="/token/{case}"'),
        ("broken-address", 'Bearer realm="http://[::1/token"'),
        ("broken-zone", 'Bearer realm="http://[fe80::1%25\x01]/token"'),
        ("port-text", 'Bearer realm="http://127.0.0.1:x/token"'),
        ("with-quotes", 'Bearer realm="http://{home}/token/{case}\\"",service="a"'),
        ("without-quotes", "Bearer realm=http://{home}/token/{case}"),
        ("of-60-kilobytes", f'Bearer realm="http://127.0.0.1:1/{"a" * 60_000}"'),
        ("of-10-megabytes", f'Bearer realm="http://127.0.0.1:1/{"a" * (10 << 20)}"'),
        ("of-unknown-kind", 'Negotiate realm="x"'),
        ("digest", 'Digest realm="x", nonce="y", qop="auth"'),
        ("nothing", ""),
        ("basic-without-end", 'Basic realm="'),
        ("of-many-challenges", ", ".join(f'Bearer realm="http://127.0.0.1:1/{n}"' for n in range(1000))),
        ("odd-letters", 'Bearer realm="http://\xff\xfe\x1b[31m/token"'),
        ("with-odd-scope", 'Bearer realm="http://{home}/token/{case}",scope="\x1b[31m a&b=c#\xff"'),
    ):
        yield case("plan", f"realm-{name}", asking(form, good))
    other = 'Bearer realm="http://{other}/token/{case}",service="s"'
    for name, first in (
        ("good", good),
        ("refused", answer(status="401 x")),
        ("html", answer(ODD_TEXTS[0])),
        ("redirected", answer(b"", "Location: http://127.0.0.1:1/", status="302 x")),
    ):
        yield case("plan", f"realm-of-others-{name}", asking(other, first), anonymous=True, leads=True)
    home = 'Bearer realm="http://{home}/token/{case}",service="s"'
    for name, body in values.no_tokens():
        yield case("plan", f"token-{name}", asking(home, answer(body)))
    for name, token in (
        ("refused", answer(status="401 x")),
        ("forbidden", answer(ODD_TEXTS[2], status="403 x")),
        ("failing", answer(ODD_TEXTS[0], status="500 x")),
        ("without-content", b"HTTP/1.1 204 x\r\n\r\n"),
        ("redirected", answer(b"", "Location: http://127.0.0.1:1/", status="302 x")),
        ("dripping", dripping(HEAD + b"\r\n")),
        ("stalled", stalling(b"")),
        ("always-refused", good),
    ):
        yield case("plan", f"token-{name}", asking(home, token))

    @by_request
    def expires(asked: Asked) -> Reply:
        if not asked.path.startswith("/v2/"):
            return answer(values.raw({"token": "T", "expires_in": -(10**9), "issued_at": "never"}))
        if asked.authorization != "Bearer T":
            return _challenge(f'Bearer realm="http://{asked.home}/token/{asked.case}"')
        return answer(status="404 x")

    yield case("plan", "token-that-expired-long-ago", expires, REBUILT, silent=True)


def bombs() -> Iterator[Case]:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for kind in ("gzip", "deflate"):
        packed = values.bomb(kind)
        yield case("plan", f"bomb-{kind}", manifest(packed, f"Content-Encoding: {kind}"), REBUILT)
    yield case("plan", "bomb-br", manifest(b"\x1b" * 1000, "Content-Encoding: br"), REBUILT)
    yield case("plan", "bomb-many-encodings", manifest(b"x", f"Content-Encoding: {'gzip, ' * 500}"))
    for name, reply in (
        ("endless-body", endless(HEAD + b"\r\n", b"[" * 1024)),
        ("endless-chunks", endless(chunked, b"400\r\n" + b"x" * 1024 + b"\r\n")),
        ("chunk-of-exabytes", endless(chunked + b"fffffffffffffff\r\n", b"x" * 1024)),
        ("chunk-negative", chunked + b"-5\r\nhello\r\n0\r\n\r\n"),
        ("chunk-minus-one", endless(chunked + b"-1\r\n", b"x" * 1024)),
        ("chunk-without-length", chunked + b"zz\r\nhello\r\n"),
        ("chunk-line-without-end", endless(chunked, b"1")),
        ("chunk-extension-without-end", endless(chunked + b"5;", b"a")),
        ("trailers-without-end", endless(chunked + b"0\r\n", b"A: b\r\n")),
        ("encoding-unknown", HEAD + b"Transfer-Encoding: rot13\r\n\r\nx"),
        ("encoding-twice", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("headers-without-end", endless(HEAD, b"A: b\r\n")),
        ("headers-100000", HEAD + b"A: b\r\n" * 100_000 + b"\r\n"),
        ("header-of-a-megabyte", HEAD + b"A: " + b"b" * (1 << 20) + b"\r\n\r\n"),
        ("header-line-without-end", endless(HEAD + b"A: ", b"b")),
        ("status-line-without-end", endless(b"HTTP/1.1 200 ", b"x")),
        ("status-text", b"HTTP/1.1 abc OK\r\n\r\n"),
        ("status-negative", b"HTTP/1.1 -1 OK\r\n\r\n"),
        ("status-99999", b"HTTP/1.1 99999 OK\r\n\r\n"),
        ("version-9", b"HTTP/9.9 200 OK\r\n\r\n"),
        ("protocol-icy", b"ICY 200 OK\r\n\r\n"),
        ("protocol-ssh", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("binary", bytes(range(256)) * 64),
        ("nothing", b""),
        ("continue-without-end", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
        ("continue-dripping", dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
        ("processing", b"HTTP/1.1 102 Processing\r\n\r\n" * 5),
        ("switching", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
    ):
        yield case("plan", f"bomb-{name}", reply)
    yield case("plan", "bomb-header-without-colon", HEAD + b"no colon here\r\n\r\n" + values.IMAGE, REBUILT)
    yield case("plan", "bomb-lines-of-unix", HEAD.replace(b"\r", b"") + b"\n" + values.IMAGE, REBUILT)
    yield case("plan", "bomb-of-megabytes", manifest(b" " * (5 << 20)))
    yield case("plan", "bomb-megabytes-without-length", manifest(b" " * (5 << 20), length=""))


def documents() -> Iterator[Case]:
    for name, body in (*values.no_objects(), *values.no_manifests()):
        yield case("plan", f"manifest-{name}", manifest(body), REBUILT)
    for name, kind in (("of-html", "text/html"), ("odd", "\x1b[31m;\xff"), ("list", "a, b"), ("long", "a" * 60_000)):
        odd = values.image(mediaType="text/html")
        yield case("plan", f"manifest-type-{name}", answer(odd, kind=kind), REBUILT)
    many = values.wide_index(20_000)
    yield case("plan", "index-of-20000", answer(many, kind=values.INDEX_TYPE), REBUILT)
    yield case("plan", "index-of-a-million", answer(values.wide_index(1_000_000), kind=values.INDEX_TYPE))
    for command in ("lock", "outdated"):
        for name, body in (
            ("html", b"<html>"),
            ("deep", b"[" * values.DEEP),
            ("many", values.wide_index(20_000)),
            ("odd", dict(values.no_manifests())["size-1e308"]),
        ):
            yield case(command, f"manifest-{name}", manifest(body), UNAVAILABLE)
    for name, body in values.no_configs():
        yield case("part", f"config-{name}", _image_with(body))
    for name, body in values.no_tags():
        yield case("tags", name, answer(body))


def _image_with(config: bytes) -> Script:
    @by_request
    def script(asked: Asked) -> Reply:
        document = values.image(config=values.descriptor(config, values.CONFIG_TYPE))
        if "manifests" in asked.path:
            # The part is asked for by a digest that this is the content of.
            return manifest(document)
        return answer(config)

    return script


def loops() -> Iterator[Case]:
    @by_request
    def itself(asked: Asked) -> Reply:
        return answer(values.raw({"tags": ["a"]}), f'Link: <{asked.path}>; rel="next"')

    @by_request
    def pages(asked: Asked) -> Reply:
        number = len(asked.path)
        return answer(values.raw({"tags": [str(number)]}), f'Link: <{asked.path}1>; rel="next"')

    yield case("tags", "link-to-itself", itself)
    yield case("tags", "pages-without-end", pages)
    for name, link in (
        ("file", "file:///etc/passwd"),
        ("broken", "http://[::1"),
        ("closed", "http://127.0.0.1:1/"),
        ("long", "/v2/" + "a" * 60_000),
    ):
        page = answer(values.raw({"tags": ["a"]}), f'Link: <{link}>; rel="next"')
        yield case("tags", f"link-{name}", page, REBUILT if name == "long" else UNAVAILABLE)

    @by_request
    def pages_elsewhere(asked: Asked) -> Reply:
        if asked.path.startswith("/v2/") and not asked.authorization:
            return _challenge('Basic realm="x"')
        link = f"http://you:s3cr3t@{asked.other}/elsewhere/{asked.case}/list"
        return answer(values.raw({"tags": ["a"]}), *([f'Link: <{link}>; rel="next"'] if "/v2/" in asked.path else []))

    yield case("tags", "link-elsewhere", pages_elsewhere, REBUILT, leads=True)
    chain = [values.IMAGE]
    for _ in range(50):
        chain.append(values.index(chain[-1], kind=values.INDEX_TYPE))
    by_digest = {values.digest(each): each for each in chain}

    @by_request
    def nested(asked: Asked) -> Reply:
        return answer(by_digest.get(asked.path.rpartition("/")[2], chain[-1]), kind=values.INDEX_TYPE)

    @by_request
    def wide(asked: Asked) -> Reply:
        layers = [{**values.LAYER, "digest": values.digest(str(number).encode())} for number in range(10_000)]
        return manifest(values.image(layers=layers)) if "manifests" in asked.path else answer()

    yield case("verify", "indexes-50-deep", nested, REBUILT)
    yield case("verify", "layers-10000", wide, REBUILT)


def slow() -> Iterator[Case]:
    long = b"Content-Length: 100000\r\n\r\n"
    for command in ("plan", "lock", "outdated"):
        for name, reply in (
            ("byte-by-byte", dripping(HEAD + long)),
            ("before-the-status", stalling(b"")),
        ):
            yield case(command, f"slow-{name}", reply)
    for name, reply in (
        ("after-the-headers", stalling(HEAD + long)),
        ("in-the-status", stalling(b"HTTP/1.1 2")),
        ("status-byte-by-byte", dripping(b"HTTP/1.1 200 ")),
        ("headers-byte-by-byte", dripping(HEAD + b"A: ")),
        ("headers-line-by-line", dripping(HEAD, b"A: b\r\n")),
        ("chunks", dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")),
        ("chunk-length", dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0")),
        ("failing-each-time", late(7, answer(status="503 x"))),
    ):
        yield case("plan", f"slow-{name}", reply)
    for name, reply in (
        ("at-once", resetting()),
        ("in-the-status", resetting(b"HTTP/1.1 2")),
        ("in-the-body", HEAD + long + b"{"),
        ("in-the-body-by-reset", resetting(HEAD + long + b"{")),
        ("in-a-chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\nx"),
        ("before-a-chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    ):
        yield case("plan", f"early-end-{name}", reply)
    # http.client takes the end of a connection for the end of headers.
    yield case("plan", "early-end-in-the-headers", b"HTTP/1.1 200 OK\r\nContent-Len", REBUILT)
    # The look-ups of the index and its image take 14 of 20 slow seconds: what nothing depends on, the latest results,
    # is not waited for.
    yield case("plan", "slow-missing-each-time", late(7, answer(status="404 x")), REBUILT, silent=True)


def statuses() -> Iterator[Case]:
    odd = [103, 201, 202, 206, 207, 226, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 599, 999]
    odd += [*range(400, 404), *range(405, 419), *range(421, 427), 428, 429, 431]
    for number, status in enumerate(odd):
        body = ODD_TEXTS[number % len(ODD_TEXTS)]
        yield case("plan", f"status-{status}", answer(body, status=f"{status} \x1b[31m::error::x"))
    for number, body in enumerate(ODD_TEXTS):
        yield case("plan", f"missing-with-odd-text-{number}", answer(body, status="404 x"), REBUILT, silent=True)
        yield case("plan", f"refused-with-odd-text-{number}", answer(body, status="400 x"))
    yield case("plan", "status-204-with-body", HEAD.replace(b"200", b"204") + b"Content-Length: 5\r\n\r\nhello")
    yield case("plan", "status-304-with-body", HEAD.replace(b"200", b"304") + b"Content-Length: 5\r\n\r\nhello")
    for name, value in (
        ("negative", "-5"),
        ("year-9999", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("year-1", "Mon, 01 Jan 0001 00:00:00 -0000"),
        ("text", "soon"),
        ("float", "1e9"),
        ("of-5000-digits", "9" * 5000),
        ("zone-odd", "Fri, 31 Dec 1999 23:59:59 +9999999"),
        ("empty", ""),
        ("an-hour", "3600"),
    ):
        for line in ("429 x", "503 x"):
            yield case("plan", f"wait-{line[:3]}-{name}", answer(b"", f"Retry-After: {value}", status=line))


def writes() -> Iterator[Case]:
    """Yield what only a run asks for."""
    opened = "202 Accepted"

    def uploads(start: Reply, end: Reply = b"") -> Script:
        @by_request
        def script(asked: Asked) -> Reply:
            if asked.method == "POST":
                return start
            return answer(status="404 x") if asked.method == "HEAD" else end

        return script

    for name, reply in (
        ("accepted", answer(status="202 x")),
        ("redirected", answer(b"", "Location: http://127.0.0.1:1/", status="307 x")),
        ("other-digest", answer(b"", f"Docker-Content-Digest: {values.digest(b'x')}", status="201 x")),
        ("too-large", answer(ODD_TEXTS[2], status="413 x")),
        ("garbled", b"\0\0\0"),
        ("stalled", stalling(b"")),
        ("endless", endless(b"HTTP/1.1 201 x\r\n\r\n", b"x" * 1024)),
        ("refused", _challenge('Basic realm="x"')),
    ):
        yield case("put", name, reply)
    for name, location in (
        ("file", "file:///etc/passwd"),
        ("broken", "http://[::1"),
        ("closed", "http://127.0.0.1:1/x"),
        ("other-port", "http://127.0.0.1:99999/x"),
        ("empty", ""),
    ):
        start = answer(b"", f"Location: {location}", status=opened)
        yield case("blob", f"opened-at-{name}", uploads(start))
        # It is only to be cancelled, which a registry need not allow.
        yield case("mount", f"opened-at-{name}", uploads(start), REBUILT)
    yield case("blob", "opened-nowhere", uploads(answer(status=opened)))
    yield case("blob", "opened-by-200", uploads(answer(b"", "Location: /x")))
    yield case("mount", "odd-status", uploads(answer(status="299 x")))

    @by_request
    def elsewhere(asked: Asked) -> Reply:
        if asked.path.startswith("/v2/") and not asked.authorization:
            return _challenge('Basic realm="x"')
        if asked.method == "HEAD":
            return answer(status="404 x")
        if asked.method == "POST":
            location = f"http://you:s3cr3t@{asked.other}/elsewhere/{asked.case}/upload"
            return answer(b"", f"Location: {location}", status=opened)
        return answer(status="403 x")

    for command in ("blob", "mount"):
        code = UNAVAILABLE if command == "blob" else REBUILT
        yield case(command, "opened-elsewhere", elsewhere, code, leads=command == "blob")
    yield case("tag", "of-html", answer(b"<html>"))
    yield case("tag", "of-nothing", answer(status="404 x"))
    yield case("delete", "odd-status", answer(status="299 x"))
    yield case("head", "of-html", answer(b"<html>"))


def runs() -> Iterator[Case]:
    """Yield what commands ask for that also ask docker."""
    # What cannot be read is built, or missing; the docker of these tests says that it builds, and pushes nothing.
    for command, code in (("bake", REBUILT), ("push", 1), ("warm", 1), ("doctor", UNAVAILABLE)):
        for name, reply in (
            ("html", manifest(ODD_TEXTS[0])),
            ("deep", manifest(b"[" * values.DEEP)),
            ("other-digest", manifest(values.IMAGE, f"Docker-Content-Digest: {values.digest(b'other')}")),
        ):
            yield case(command, name, reply, code)
        for name, odd in (
            ("length-no-number", manifest(values.IMAGE, length="many")),
            ("refused-with-odd-text", answer(ODD_TEXTS[2], status="400 x")),
            ("realm-of-file", _challenge('Bearer realm="file:///etc/passwd"')),
            ("without-rights", answer(ODD_TEXTS[1], status="403 x")),
            ("redirect-to-closed-port", answer(b"", "Location: http://127.0.0.1:1/x", status="307 x")),
            ("reset", resetting()),
        ):
            yield case(command, name, odd)


def downloads() -> Iterator[Case]:
    yield from lengths("download", b"some archive")
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for name, reply, code in (
        ("empty", answer(), UNAVAILABLE),
        ("of-petabytes", answer(b"x", length="9" * 17), UNAVAILABLE),
        ("byte-by-byte", dripping(HEAD + b"\r\n"), UNAVAILABLE),
        ("chunk-by-chunk", dripping(chunked, b"1\r\nx\r\n"), UNAVAILABLE),
        ("stalled", stalling(HEAD + b"\r\nbeginning"), UNAVAILABLE),
        ("stalled-before-the-status", stalling(b""), UNAVAILABLE),
        ("headers-without-end", endless(HEAD, b"A: b\r\n"), UNAVAILABLE),
        ("header-line-without-end", endless(HEAD + b"A: ", b"b"), UNAVAILABLE),
        ("continue-without-end", dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), UNAVAILABLE),
        ("chunk-negative", chunked + b"-5\r\nhello\r\n0\r\n\r\n", UNAVAILABLE),
        ("chunk-without-length", chunked + b"zz\r\nhello\r\n", UNAVAILABLE),
        ("trailers-dripping", dripping(chunked + b"1\r\nx\r\n0\r\n", b"A: b\r\n"), UNAVAILABLE),
        ("encoding-unknown", HEAD + b"Transfer-Encoding: rot13\r\n\r\nx", UNAVAILABLE),
        ("partial", answer(b"x", status="206 x"), UNAVAILABLE),
        ("without-content", b"HTTP/1.1 204 x\r\n\r\n", UNAVAILABLE),
        ("missing", answer(ODD_TEXTS[2], status="404 \x1b[31m::error::\x07"), UNAVAILABLE),
        ("failing", answer(status="500 x"), UNAVAILABLE),
        ("binary", b"\0" * 1000, UNAVAILABLE),
        ("reset", resetting(), UNAVAILABLE),
        ("redirect-file", answer(b"", "Location: file:///etc/passwd", status="302 x"), UNAVAILABLE),
        ("redirect-broken", answer(b"", "Location: http://[::1", status="302 x"), UNAVAILABLE),
        ("redirect-closed", answer(b"", "Location: http://127.0.0.1:1/", status="302 x"), UNAVAILABLE),
        ("redirect-with-blanks", answer(b"", "Location: http://a b c/\x01", status="302 x"), UNAVAILABLE),
    ):
        yield case("download", name, reply, code)

    @by_request
    def itself(asked: Asked) -> Reply:
        return answer(b"", f"Location: {asked.path}", status="302 x")

    @by_request
    def moved(asked: Asked) -> Reply:
        here = asked.path.startswith("/download/")
        location = f"Location: http://you:s3cr3t@{asked.other}/elsewhere/{asked.case}/x.tar"
        return answer(b"", location, status="302 x") if here else answer(b"archive", status="503 x")

    yield case("download", "redirect-to-itself", itself, UNAVAILABLE)
    yield case("download", "redirect-elsewhere", moved, UNAVAILABLE, leads=True)
    yield Case(
        name="download-without-end",
        command="download",
        script=always(endless(HEAD + b"\r\n", b"x" * 1024)),
        # All of it would take a minute to read from this machine.
        patch={"buildsys.oci.download._MOST_BYTES": 64 << 20},
    )


# Documents differ only in how they are read, which unit tests show for all of them.
_DOCUMENT = re.compile("|".join(f"-{name}$" for name, _ in (*values.no_objects(), *values.no_manifests())))
_DOCUMENTS_KEPT = re.compile("deep|many|nan$|html$|1e308|lone|missing$")
# What ends for the same reason as another case does, after many seconds or with much work.
_ALIKE = re.compile(
    r"slow-(?!byte|before|chunks|failing)|(lock|outdated)-slow|-dripping$|chunk-by-chunk|-stalled$|continue-without-end$"
    r"|wait-503|wait-429-(negative|float|zone)|status-(408|50[0247]|511|599)$|bomb-(status-\d|binary|protocol-ssh)"
    r"|end-in-a-chunk|end-before|end-in-the-body-by|10000$|index-of-|outdated-manifest-many|missing-each-time"
)
_ALIKE_KEPT = re.compile("token-stalled|download-stalled$")


def representative() -> tuple[Case, ...]:
    """Return the cases without most of those that are alike, and without what takes long."""
    return tuple(
        each
        for each in cases()
        if (not _ALIKE.search(each.name) or _ALIKE_KEPT.search(each.name))
        and (not _DOCUMENT.search(each.name) or (_DOCUMENTS_KEPT.search(each.name) and each.command != "part"))
    )


def trusting() -> tuple[Case, ...]:
    """Return cases in which the settings let the other host have the credentials: their requests must be found."""

    @by_request
    def script(asked: Asked) -> Reply:
        if not asked.path.startswith("/v2/"):
            return answer(values.raw({"token": "T"}))
        return _challenge(f'Bearer realm="http://{asked.other}/token/{asked.case}",service="s"')

    return (case("plan", "realm-that-is-trusted", script, trusting=True, leads=True),)


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return all cases."""
    parts = (digests, redirects, realms, bombs, documents, loops, slow, statuses, writes, runs, downloads)
    return (*lengths("plan", values.IMAGE), *(each for part in parts for each in part()))
