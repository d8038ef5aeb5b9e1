"""An image over blobs that exist is what BuildKit would make of the stack's assembly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from buildsys.oci.config import CONFIG_TYPE, Config
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, digest_of
from buildsys.resolve.image import Variable
from buildsys.run.compose import Composed, Part, compose, value_of
from tests.support.trees import FAST, planned, stack, tree

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
COMM = FAST.replace("/opt/fast", "/opt/comm")


def part(name: str, *, media_type: str = OCI_LAYER, **config: Any) -> Part:
    """Return an image of one layer; `config` are the image's settings."""
    layer = Descriptor(media_type=media_type, digest=f"sha256:{name}", size=len(name))
    given = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": config,
        "history": [{"created_by": f"RUN {name}"}],
        "rootfs": {"type": "layers", "diff_ids": [digest_of(name.encode())]},
    }
    return Part(layers=(layer,), config=Config.parse(json.dumps(given).encode()))


def composed(base: Part, *artifacts: Part, fast: str = FAST, **annotations: str) -> Composed:
    """Return the image of a stack of the system, and `comm` and `fast` as far as there are artifacts."""
    layers = ["system", "comm", "fast"][: 1 + len(artifacts)]
    made = planned(tree(f"stacks:\n  one: {{layers: [{', '.join(layers)}]}}\n", fast=fast, comm=COMM))
    return compose(stack(made), base, artifacts, annotations)


def config_of(image: Composed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(image.config)
    return found


def settings(extra: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an image of system, `comm` and `fast`, whose layer.yaml also has `extra`."""
    image = composed(part("base", **base), part("comm"), part("fast"), fast=FAST + extra)
    found: dict[str, Any] = config_of(image)["config"]
    return found


def test_layers_are_those_of_the_base_and_then_of_each_artifact_in_order() -> None:
    image = composed(part("base"), part("comm"), part("fast"))
    manifest = json.loads(image.manifest)
    assert [each["digest"] for each in manifest["layers"]] == ["sha256:base", "sha256:comm", "sha256:fast"]
    assert [each["size"] for each in manifest["layers"]] == [4, 4, 4]
    assert config_of(image)["rootfs"] == {
        "type": "layers",
        "diff_ids": [digest_of(name) for name in (b"base", b"comm", b"fast")],
    }
    assert [each.digest for each in image.layers] == ["sha256:base", "sha256:comm", "sha256:fast"]


def test_manifest_names_its_config_by_size_and_digest() -> None:
    image = composed(part("base"), b="2", a="1")
    manifest = json.loads(image.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["config"] == {
        "mediaType": CONFIG_TYPE,
        "digest": digest_of(image.config),
        "size": len(image.config),
    }
    assert list(manifest["annotations"].items()) == [("a", "1"), ("b", "2")]
    assert image.digest == digest_of(image.manifest)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (DOCKER_LAYER, OCI_LAYER),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_LAYER),
        (OCI_LAYER, OCI_LAYER),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
    ],
)
def test_types_of_docker_become_those_of_an_oci_manifest(given: str, written: str) -> None:
    manifest = json.loads(composed(part("base", media_type=given)).manifest)
    assert [each["mediaType"] for each in manifest["layers"]] == [written]


def test_history_has_an_entry_for_each_layer() -> None:
    history = config_of(composed(part("base"), part("comm"), part("fast")))["history"]
    assert [each["created_by"] for each in history] == [
        "RUN base",
        "COPY --link --from=comm / /",
        "COPY --link --from=fast / /",
    ]


def test_other_settings_of_the_base_stay() -> None:
    given: dict[str, Any] = {
        "Cmd": ["/bin/sh"],
        "Entrypoint": ["/init"],
        "StopSignal": "SIGINT",
        "Volumes": {"/data": {}},
    }
    found = config_of(composed(part("base", **given)))
    assert (found["architecture"], found["os"], found["created"]) == ("amd64", "linux", "2026-01-02T03:04:05Z")
    assert {name: found["config"][name] for name in given} == given
    assert not {"ExposedPorts", "User", "WorkingDir"} & found["config"].keys()


def test_base_without_time_history_or_settings_is_enough() -> None:
    found = config_of(composed(Part(layers=(), config=Config(os="linux", architecture="amd64"))))
    assert found["created"] == "1970-01-01T00:00:00Z"
    assert found["history"] == []
    assert found["config"]["Env"] == ["LANG=C.UTF-8"]


def test_variable_that_the_base_has_keeps_its_place_and_a_new_one_comes_last() -> None:
    base = {"Env": ["PATH=/bin", "LANG=C", "HOME=/root"]}
    assert settings("", base)["Env"] == ["PATH=/opt/fast/bin:/opt/comm/bin:/bin", "LANG=C.UTF-8", "HOME=/root"]
    assert settings("", {"Env": ["A=x=y"]})["Env"] == ["A=x=y", "LANG=C.UTF-8", "PATH=/opt/fast/bin:/opt/comm/bin"]


def variable(value: str | None = None, before: tuple[str, ...] = (), behind: tuple[str, ...] = ()) -> Variable:
    return Variable(name="A", value=value, prepended=before, appended=behind, layers=())


@pytest.mark.parametrize(
    ("given", "parent", "value"),
    [
        (variable("x"), "p", "x"),
        (variable(""), "p", ""),
        (variable(before=("a", "b")), "p", "a:b:p"),
        (variable(behind=("y", "z")), "p", "p:y:z"),
        (variable(before=("a",), behind=("z",)), "p", "a:p:z"),
        (variable("x", ("a",), ("z",)), "p", "a:x:z"),
        # A list with an empty part would mean the current folder.
        (variable(before=("a",), behind=("z",)), "", "a:z"),
        (variable(before=("a",)), "", "a"),
        (variable(behind=("z",)), "", "z"),
        (variable("", ("a",)), "p", "a"),
        (variable("$A"), "p", "$A"),
    ],
)
def test_value_is_that_of_the_assembly(given: Variable, parent: str, value: str) -> None:
    assert value_of(given, parent) == value


def test_labels_of_layers_go_before_those_of_the_base_and_the_title_is_the_stack() -> None:
    base = {"Labels": {"z": "base", "a": "base", "org.opencontainers.image.title": "base"}}
    assert list(settings("labels: {a: own}\n", base)["Labels"].items()) == [
        ("a", "own"),
        ("org.opencontainers.image.title", "one"),
        ("z", "base"),
    ]


def test_ports_are_joined_with_those_of_the_base_and_have_a_protocol() -> None:
    found = settings("ports: [80, 53/udp]\n", {"ExposedPorts": {"22/tcp": {}, "80/tcp": {}}})
    assert found["ExposedPorts"] == {"22/tcp": {}, "53/udp": {}, "80/tcp": {}}


def test_user_and_workdir_take_the_place_of_those_of_the_base() -> None:
    base = {"User": "root", "WorkingDir": "/"}
    found = settings("user: me\nworkdir: /srv\n", base)
    assert (found["User"], found["WorkingDir"]) == ("me", "/srv")
    found = settings("", base)
    assert (found["User"], found["WorkingDir"]) == ("root", "/")


def test_equal_parts_give_equal_bytes_whatever_the_order_of_annotations() -> None:
    first = composed(part("base", Labels={"a": "1", "b": "2"}), part("comm"), x="1", y="2")
    second = composed(part("base", Labels={"b": "2", "a": "1"}), part("comm"), y="2", x="1")
    assert first == second


def test_parts_are_left_as_they_were() -> None:
    base = part("base", Env=["A=1"], Labels={"a": "1"})
    before = base.config.to_json()
    composed(base, part("comm"))
    assert base.config.to_json() == before


def test_image_of_more_layers_than_docker_takes_is_not_composed() -> None:
    base = part("base")
    layers, digests = base.layers * 126, base.config.diff_ids * 126
    most = replace(base, layers=layers, config=replace(base.config, diff_ids=digests, history=()))
    assert len(composed(most, part("comm")).layers) == 127
    with pytest.raises(ValueError, match="it would have 128 layers, and docker takes at most 127"):
        composed(most, part("comm"), part("fast"))


def test_base_with_triggers_is_not_composed() -> None:
    with pytest.raises(ValueError, match="ONBUILD"):
        composed(part("base", OnBuild=["RUN true"]))
