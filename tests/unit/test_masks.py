"""In which forms a credential is recognised, and what of an address is one."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from buildsys.addresses import cleaned, credentials_in, followed, origin, tokens_in, without_credentials
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.events.events import Noted, TargetPlanned
from buildsys.masks import Mask

PASSWORD = "p@ss:w/rd'\"\\é&$x"
USERINFO = f"robot:{quote(PASSWORD, safe='')}"
MASK = Mask.of_texts([f"http://{USERINFO}@proxy.example.com:3128"])


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        quote(PASSWORD, safe=""),
        "p%40ss%3aw%2frd%27%22%5c%c3%a9%26%24x",
        f"http://robot:{PASSWORD}@proxy.example.com",
        json.dumps(PASSWORD),
        json.dumps(PASSWORD, ensure_ascii=False),
        shlex.quote(PASSWORD),
        "'" + PASSWORD.replace("'", "'\\''") + "'",
        f"Proxy-Authorization: Basic {base64.b64encode(f'robot:{PASSWORD}'.encode()).decode()}",
        base64.urlsafe_b64encode(f"robot:{PASSWORD}".encode()).decode(),
        base64.b64encode(USERINFO.encode()).decode(),
    ],
)
def test_password_is_recognised_as_programs_print_it(text: str) -> None:
    masked = MASK.text(text)
    assert "***" in masked
    assert not any(piece in masked for piece in ("p@ss", "p%40ss", "ss:w", "cm9ib3Q6"))


@pytest.mark.parametrize(
    ("address", "shown", "hidden"),
    [
        ("https://t0ken@example.com/x", "a t0ken here", "a *** here"),
        ("https://t0ken:@example.com/x", "a t0ken here", "a *** here"),
        ("https://t0ken:x-oauth-basic@example.com/x", "a t0ken here", "a *** here"),
        ("https://:pass@example.com/x", "a pass here", "a *** here"),
        ("https://me:pw@example.com/x", "pw of me:pw", "pw of ***"),
        ("https://a:b@example.com/x", "curl //a:b@example.com", "curl ***example.com"),
        ("http://me:x/yz@example.com", "x/yz", "***"),
        ("deb [trusted=yes] mirror+https://me:secret@example.com x main", "secret", "***"),
    ],
)
def test_what_is_secret_in_an_address_is_masked_alone_too(address: str, shown: str, hidden: str) -> None:
    assert Mask.of_texts([address]).text(shown) == hidden


@pytest.mark.parametrize(
    "text",
    ["https://example.com/a@b", "me@example.com", "https://example.com:443/x", "git@example.com:x", "robot", "***", ""],
)
def test_text_without_credential_stays(text: str) -> None:
    assert MASK.text(text) == text
    assert list(credentials_in(text)) == []
    assert not Mask.of_texts([text])


def test_credentials_of_any_address_are_hidden_in_a_text() -> None:
    assert without_credentials("at `https://a:b@c/d?e@f` and http://x@y") == "at `https://***@c/d?e@f` and http://***@y"


def test_token_in_the_path_of_a_conda_channel_is_found() -> None:
    assert list(tokens_in("https://conda.example.com/t/xy-123/main")) == ["xy-123"]
    assert list(tokens_in("https://conda.example.com/main?x=/t/a/")) == []


def test_values_are_masked_but_for_the_fields_that_name_things() -> None:
    failure = Failure(kind=FailureKind.COMMAND, message=PASSWORD, target=PASSWORD, last_words=("a", PASSWORD))
    masked = MASK.value(failure, keep=("target",))
    assert masked == Failure(kind=FailureKind.COMMAND, message="***", target=PASSWORD, last_words=("a", "***"))
    assert masked.kind is FailureKind.COMMAND
    planned = TargetPlanned(at=1.0, name="a", title="a", kind="node", action="build", needs=("b",))
    assert MASK.value(planned) == planned
    assert MASK.value(Noted(at=1.0, about="x", text=f"a {PASSWORD}")).text == "a ***"
    assert MASK.value(None) is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    mask: Mask


def test_mask_shows_nothing_of_what_it_knows() -> None:
    assert "p@ss" not in repr(Holder(mask=MASK))


def test_origin_is_scheme_host_and_port() -> None:
    assert origin("HTTPS://R.Example.com/x") == ("https", "r.example.com", 443)
    assert origin("http://a:b@[::1]:5000/x") == ("http", "::1", 5000)
    assert cleaned("https://a:b@R.example.com:443/x y?z#f") == "https://r.example.com/x%20y?z"
    assert followed("https://r.example.com/a/b", "../c?d=%20") == "https://r.example.com/c?d=%20"


@pytest.mark.parametrize(
    "address",
    ["ftp://a/", "file:///a", "a/b", "", "https://", "https://me:s3cret/x@a/", "https://a:99999/", "http://[a"],
)
def test_address_that_is_none_of_http_is_refused_without_being_quoted(address: str) -> None:
    with pytest.raises(ValueError, match="not an http or https address") as caught:
        origin(address)
    assert "s3cret" not in str(caught.value)


# Secrets.

KEY = "-----BEGIN KEY-----\nbm90LWEtcmVhbC1rZXk\nc2Vjb25kLWxpbmUtb2Yta2V5\n{\n-----END KEY-----\n"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("behind", ["", "\n", "xy", "xyz"])
def test_secret_is_masked_in_base64_wherever_it_begins(before: str, behind: str) -> None:
    secret = "not-a-real-secret-42"
    code = base64.b64encode(f"{before}{secret}{behind}".encode())
    found = Mask(secrets=[secret]).data(code)
    assert b"***" in found
    # What may remain is a part of the first and of the last three characters.
    assert len(found) <= 12 + len(before) * 2 + len(behind) * 2


def test_each_line_of_a_secret_is_masked_and_a_line_that_says_nothing_is_not() -> None:
    mask = Mask(secrets=[KEY])
    assert mask.text(f"x {KEY.splitlines()[1]} y") == "x *** y"
    assert mask.text("{") == "{"
    assert mask.text(KEY).split() == ["***"]


def test_secret_is_masked_as_programs_quote_it_and_encode_it() -> None:
    secret = 'a "quoted"/secret\''
    mask = Mask(secrets=[secret])
    for text in (json.dumps(secret), quote(secret, safe=""), repr(secret), f"TOKEN={secret}"):
        assert "secret" not in mask.text(text)


def test_base64_that_a_program_breaks_into_lines_is_masked() -> None:
    lines = base64.encodebytes((KEY * 3).encode()).decode().split()
    assert len(lines) > 2
    assert all(Mask(secrets=[KEY * 3]).text(line).startswith("***") for line in lines[:-1])


def test_secret_that_is_too_short_to_be_found_is_not_masked() -> None:
    assert Mask(secrets=["abc", ""]).text("abcdef") == "abcdef"
