"""Bytes that a registry may answer with instead of a manifest, a config, a token or a list of tags."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
BLOB = b"some bytes"


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def descriptor(data: bytes, kind: str, **fields: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **fields}


CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2020-01-01T00:00:00Z",
    "config": {"Env": ["A=b"], "Labels": {"a": "b"}},
    "history": [{"created_by": "x"}],
    "rootfs": {"type": "layers", "diff_ids": [digest(b"plain")]},
}
LAYER = descriptor(BLOB, LAYER_TYPE)
DOCUMENT: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": MANIFEST_TYPE,
    "config": descriptor(raw(CONFIG), CONFIG_TYPE),
    "layers": [LAYER],
}
IMAGE = raw(DOCUMENT)
DEEP = 100_000


def image(**fields: Any) -> bytes:
    return raw({**DOCUMENT, **fields})


def index(*children: bytes, kind: str = MANIFEST_TYPE, **fields: Any) -> bytes:
    return raw(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [descriptor(child, kind) for child in children],
            **fields,
        }
    )


def wide_index(number: int) -> bytes:
    """Return an index of one image many times."""
    one = raw(descriptor(IMAGE, MANIFEST_TYPE))
    return (
        b'{"schemaVersion": 2, "mediaType": "%s", "manifests": [' % INDEX_TYPE.encode()
        + b",".join([one] * number)
        + b"]}"
    )


def bomb(kind: str, size: int = 50 << 20) -> bytes:
    """Return zeros, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if kind == "gzip" else 15)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()


def no_objects() -> Iterator[tuple[str, bytes]]:
    """Yield names and bodies that are not one JSON object of UTF-8 in bounds."""
    yield "nothing", b""
    yield "html", b"<html><title>log in</title></html>"
    yield "scalar", b"5"
    yield "list", b"[]"
    yield "null", b"null"
    yield "text", b'"x"'
    yield "true", b"true"
    yield "two-values", b"{} {}"
    yield "cut-off", b'{"schemaVersion": 2, "layers": ['
    yield "nan", b'{"schemaVersion": 2, "x": NaN}'
    yield "infinity", b'{"schemaVersion": 2, "x": -Infinity}'
    yield "huge-float", b'{"schemaVersion": 2, "x": 1e999}'
    yield "huge-integer", b'{"schemaVersion": 2, "x": ' + b"9" * 10_000 + b"}"
    yield "nul", b"\0" * 100
    yield "invalid-utf-8", b'{"schemaVersion": 2, "x": "\xff\xfe"}'
    yield "utf-16", '{"schemaVersion": 2}'.encode("utf-16")
    yield "byte-order-mark", b"\xef\xbb\xbf{}"
    yield "lone-surrogate", b'{"schemaVersion": 2, "x": "\\ud800"}'
    yield "equal-keys", b'{"schemaVersion": 2, "schemaVersion": 2, "layers": []}'
    yield "deep-lists", b'{"schemaVersion": 2, "x": ' + b"[" * DEEP + b"]" * DEEP + b"}"
    yield "deep-objects", b'{"x":' * DEEP + b"1" + b"}" * DEEP
    yield "deep-and-open", b"[" * DEEP
    yield "quotes-without-end", b'{"x": "' + b'\\"' * 1_000_000
    yield "many-empty-lists", b'{"x": [' + b"[]," * 1_000_000 + b"[]]}"
    yield "many-empty-objects", b'{"x": [' + b"{}," * 1_000_000 + b"{}]}"


def no_manifests() -> Iterator[tuple[str, bytes]]:
    """Yield names and JSON objects that are not manifests."""
    huge = 10**400
    for name, fields in (
        ("schema-1", {"schemaVersion": 1}),
        ("schema-text", {"schemaVersion": "2"}),
        ("schema-list", {"schemaVersion": [2]}),
        ("config-text", {"config": "x"}),
        ("config-null", {"config": None}),
        ("config-list", {"config": []}),
        ("config-empty", {"config": {}}),
        ("layers-text", {"layers": "x"}),
        ("layers-object", {"layers": {"a": 1}}),
        ("layers-of-numbers", {"layers": [1, 2]}),
        ("layers-of-null", {"layers": [None]}),
        ("size-missing", {"layers": [{"mediaType": LAYER_TYPE, "digest": digest(b"")}]}),
        ("size-negative", {"layers": [{**LAYER, "size": -1}]}),
        ("size-float", {"layers": [{**LAYER, "size": 1.5}]}),
        ("size-text", {"layers": [{**LAYER, "size": "10"}]}),
        ("size-true", {"layers": [{**LAYER, "size": True}]}),
        ("size-1e308", {"layers": [{**LAYER, "size": 1e308}]}),
        ("size-of-400-digits", {"layers": [{**LAYER, "size": huge}]}),
        ("size-null", {"layers": [{**LAYER, "size": None}]}),
        ("digest-missing", {"layers": [{"mediaType": LAYER_TYPE, "size": 1}]}),
        ("digest-null", {"layers": [{**LAYER, "digest": None}]}),
        ("digest-number", {"layers": [{**LAYER, "digest": 5}]}),
        ("digest-path", {"layers": [{**LAYER, "digest": "sha256:../../../etc/passwd"}]}),
        ("digest-upper-case", {"layers": [{**LAYER, "digest": digest(b"x").upper()}]}),
        ("digest-md5", {"layers": [{**LAYER, "digest": "md5:" + "0" * 32}]}),
        ("digest-short", {"layers": [{**LAYER, "digest": "sha256:00"}]}),
        ("media-type-of-layer-number", {"layers": [{**LAYER, "mediaType": 5}]}),
        ("annotations-list", {"annotations": ["a"]}),
        ("annotations-number", {"annotations": {"dev.buildsys.key": 5}}),
        ("annotations-deep", {"annotations": {"a": {"b": {}}}}),
        ("index-and-image", {"manifests": []}),
    ):
        yield name, image(**fields)
    for name, child in (
        ("children-numbers", 5),
        ("child-platform-text", {**LAYER, "platform": "linux/amd64"}),
        ("child-platform-numbers", {**LAYER, "platform": {"os": 5, "architecture": []}}),
        ("child-digest-odd", {**LAYER, "digest": "sha256:" + "z" * 64}),
    ):
        yield name, raw({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [child]})


def no_configs() -> Iterator[tuple[str, bytes]]:
    """Yield names and configs of images that cannot be composed."""
    yield from no_objects()
    for name, fields in (
        ("rootfs-missing", {"rootfs": None}),
        ("rootfs-list", {"rootfs": []}),
        ("diff-ids-missing", {"rootfs": {}}),
        ("diff-ids-text", {"rootfs": {"type": "layers", "diff_ids": "x"}}),
        ("diff-ids-object", {"rootfs": {"type": "layers", "diff_ids": {"0": digest(b"")}}}),
        ("diff-ids-numbers", {"rootfs": {"type": "layers", "diff_ids": [5]}}),
        ("diff-ids-too-few", {"rootfs": {"type": "layers", "diff_ids": []}}),
        ("diff-ids-too-many", {"rootfs": {"type": "layers", "diff_ids": [digest(b"")] * 2}}),
        ("diff-ids-no-digests", {"rootfs": {"type": "layers", "diff_ids": ["x"]}}),
        ("history-text", {"history": "x"}),
        ("history-numbers", {"history": [1]}),
        ("history-object", {"history": {}}),
        ("created-number", {"created": 5}),
        ("created-list", {"created": []}),
        ("settings-text", {"config": "x"}),
        ("settings-list", {"config": [1]}),
        ("environment-number", {"config": {"Env": 5}}),
        ("environment-numbers", {"config": {"Env": [5]}}),
        ("environment-without-value", {"config": {"Env": ["A"]}}),
        ("environment-object", {"config": {"Env": {"A": "b"}}}),
        ("labels-list", {"config": {"Labels": ["a"]}}),
        ("labels-numbers", {"config": {"Labels": {"a": 1}}}),
        ("ports-list", {"config": {"ExposedPorts": ["80"]}}),
        ("diff-ids-of-no-layers", {"rootfs": {"diff_ids": [digest(b"plain")]}}),
        ("history-of-more-layers", {"history": [{}, {}]}),
        ("history-of-fewer-layers", {"history": [{"empty_layer": True}]}),
        ("history-with-a-number", {"history": [{"created_by": 1}]}),
        ("history-empty-text", {"history": [{"empty_layer": "yes"}]}),
        ("created-no-time", {"created": "yesterday"}),
        ("platform-missing", {"os": None}),
        ("platform-of-another-machine", {"architecture": "arm64"}),
        ("platform-of-another-system", {"os": "windows"}),
        ("platform-number", {"architecture": 64}),
        ("field-unknown", {"x": {"a": 1}}),
        ("setting-unknown", {"config": {"StopTimeout": 5}}),
        ("environment-twice", {"config": {"Env": ["A=1", "A=2"]}}),
        ("environment-without-name", {"config": {"Env": ["=1"]}}),
        ("environment-nul", {"config": {"Env": ["A=\0"]}}),
        ("labels-nul", {"config": {"Labels": {"a": "\0"}}}),
        ("ports-99999", {"config": {"ExposedPorts": {"99999/tcp": {}}}}),
        ("ports-text", {"config": {"ExposedPorts": {"http": {}}}}),
        ("ports-of-numbers", {"config": {"ExposedPorts": {"80/tcp": 1}}}),
        ("ports-protocol", {"config": {"ExposedPorts": {"80/ipx": {}}}}),
        ("ports-backwards", {"config": {"ExposedPorts": {"90-80/tcp": {}}}}),
        ("volumes-list", {"config": {"Volumes": ["/a"]}}),
        ("volumes-empty", {"config": {"Volumes": {"": {}}}}),
        ("user-number", {"config": {"User": 0}}),
        ("user-nul", {"config": {"User": "a\0"}}),
        ("folder-list", {"config": {"WorkingDir": ["/"]}}),
        ("words-text", {"config": {"Cmd": "sh"}}),
        ("words-numbers", {"config": {"Entrypoint": [1]}}),
        ("words-escaped-text", {"config": {"ArgsEscaped": "yes"}}),
        ("signal-number", {"config": {"StopSignal": 9}}),
        ("shell-text", {"config": {"Shell": "/bin/sh"}}),
        ("triggers-text", {"config": {"OnBuild": "RUN true"}}),
        ("healthcheck-list", {"config": {"Healthcheck": ["CMD"]}}),
        ("healthcheck-test-text", {"config": {"Healthcheck": {"Test": "true"}}}),
        ("healthcheck-unknown", {"config": {"Healthcheck": {"Test": ["NONE"], "X": 1}}}),
        ("healthcheck-too-long", {"config": {"Healthcheck": {"Interval": 2**63}}}),
        ("healthcheck-too-short", {"config": {"Healthcheck": {"Timeout": 999_999}}}),
        ("healthcheck-negative", {"config": {"Healthcheck": {"StartPeriod": -1}}}),
        ("healthcheck-float", {"config": {"Healthcheck": {"Interval": 1e9}}}),
        ("healthcheck-true", {"config": {"Healthcheck": {"Retries": True}}}),
        ("healthcheck-retries", {"config": {"Healthcheck": {"Retries": 2**31}}}),
    ):
        yield name, raw({**CONFIG, **fields})


def no_tokens() -> Iterator[tuple[str, bytes]]:
    """Yield names and answers of a token service without a token that can be used."""
    yield from no_objects()
    yield "empty-object", b"{}"
    yield "of-10-megabytes", raw({"token": "x" * (10 << 20)})
    for name, token in (
        ("number", 5),
        ("token-list", ["x"]),
        ("token-null", None),
        ("token-empty", ""),
        ("token-of-two-lines", "a\r\nX-Injected: yes"),
        ("token-of-other-letters", "tökén"),
        ("token-nul", "a\0b"),
        ("token-of-blanks", "a b"),
    ):
        yield name, raw({"token": token})


def no_tags() -> Iterator[tuple[str, bytes]]:
    """Yield names and bodies that are not lists of tags."""
    yield from no_objects()
    yield "tags-text", raw({"tags": "latest"})
    yield "tags-numbers", raw({"tags": [1, 2]})
    yield "tags-object", raw({"tags": {"a": "b"}})
