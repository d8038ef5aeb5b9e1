"""The config of an image: what is read, what is refused, and what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildsys.oci.config import MOST_LAYERS, Config, Probe, Settings, misfit
from buildsys.oci.reference import digest_of
from tests.support import hostile_values as values

DIGEST = digest_of(b"layer")
# As BuildKit wrote it (buildx 0.29, Engine 28.5) from an image with each instruction that leaves a trace in a config.
BUILT: dict[str, Any] = {
    "architecture": "amd64",
    "author": "someone",
    "config": {
        "User": "a b",
        "ExposedPorts": {"80/tcp": {}, "9/sctp": {}},
        "Env": ["PATH=/bin", 'A=x y"\\$B', "B="],
        "Entrypoint": ["a", '$HOME " \\ \n'],
        "Cmd": ["/bin/sh", "-c", "echo"],
        "Volumes": {"/b": {}, "/data x": {}},
        "WorkingDir": "/wd",
        "Labels": {"A.b": "1", "b.z": "<&>\u2028"},
        "StopSignal": "SIGINT",
        "ArgsEscaped": True,
        "Healthcheck": {
            "Test": ["CMD-SHELL", "x"],
            "Interval": 1_500_000_000,
            "StartInterval": 7_000_000,
            "Retries": 3,
        },
        "OnBuild": ["RUN echo ran > /ran"],
        "Shell": ["/bin/sh", "-e", "-c"],
    },
    "created": "2026-11-29T21:01:15.888811206Z",
    "history": [{"created_by": "RUN a"}, {"created_by": "MAINTAINER someone", "empty_layer": True}],
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
}


def of(**fields: Any) -> bytes:
    return json.dumps({**BUILT, **fields}).encode()


def test_config_of_buildkit_is_written_as_it_was_read() -> None:
    assert json.loads(Config.parse(of()).to_json()) == BUILT
    assert Config.parse(Config.parse(of()).to_json()) == Config.parse(of())


def test_settings_are_values() -> None:
    found = Config.parse(of()).settings
    assert dict(found.environment) == {"PATH": "/bin", "A": 'x y"\\$B', "B": ""}
    assert (found.user, found.entrypoint, found.words_apart) == ("a b", ("a", '$HOME " \\ \n'), True)
    assert found.healthcheck is not None
    assert (found.healthcheck.test, found.healthcheck.retries) == (("CMD-SHELL", "x"), 3)


def test_what_is_empty_is_left_out_and_read_as_absent() -> None:
    nothing = dict.fromkeys(BUILT["config"])
    bare = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    found = Config.parse(json.dumps({**bare, "config": nothing, "history": None}).encode())
    assert found == Config(os="linux", architecture="amd64", settings=Settings())
    assert json.loads(found.to_json()) == {**bare, "config": {}, "history": []}


def test_inherited_healthcheck_of_none_is_kept() -> None:
    found = Config.parse(of(config={"Healthcheck": {"Test": ["NONE"]}}))
    assert found.settings.healthcheck == Probe(
        test=("NONE",), durations=dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval"), 0)
    )
    assert json.loads(found.to_json())["config"] == {"Healthcheck": {"Test": ["NONE"]}}


def test_fields_of_others_are_kept_where_buildkit_keeps_them() -> None:
    more = {"os.version": "5", "os.features": ["a"], "variant": "v2"}
    assert json.loads(Config.parse(of(**more)).to_json()) == {**BUILT, **more}


def test_field_that_buildkit_drops_is_refused_unless_it_is_empty() -> None:
    empty = Config.parse(of(config={**BUILT["config"], "Hostname": "", "StopTimeout": None}, docker_version=""))
    assert json.loads(empty.to_json()) == BUILT
    with pytest.raises(ValueError, match="`config` has a field that BuildKit does not know"):
        Config.parse(of(config={"Hostname": "h"}))


@pytest.mark.parametrize("port", ["80", "53/UDP", "9000-9002/tcp", "0/tcp", "65535/sctp"])
def test_ports_are_read_as_docker_reads_them(port: str) -> None:
    assert Config.parse(of(config={"ExposedPorts": {port: {}}})).settings.ports == {port}


IDENTITY = {name for name, _ in values.no_configs() if name.startswith(("platform", "diff-ids", "rootfs"))}


@pytest.mark.parametrize("name", sorted(dict(values.no_configs()).keys() - IDENTITY))
def test_config_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Config.parse(dict(values.no_configs())[name])


@pytest.mark.parametrize("name", sorted(IDENTITY))
def test_config_of_another_image_is_a_misfit(name: str) -> None:
    assert misfit(dict(values.no_configs())[name], layers=1, platform="linux/amd64")


@pytest.mark.parametrize(
    ("fields", "layers", "platform", "problem"),
    [
        ({}, 1, "linux/amd64", None),
        ({}, 2, "linux/amd64", "it has 2 layers, and its config 1 `diff_ids`"),
        ({}, 1, "linux/arm64", "it is for `linux/amd64`, expected `linux/arm64`"),
        ({"architecture": "arm64"}, 1, "linux/arm64", None),
        ({"architecture": "arm64", "variant": "v8"}, 1, "linux/arm64", None),
        ({"architecture": "arm64"}, 1, "linux/arm64/v8", None),
        (
            {"architecture": "arm", "variant": "v6"},
            1,
            "linux/arm/v7",
            "it is for `linux/arm/v6`, expected `linux/arm/v7`",
        ),
        ({"architecture": "arm"}, 1, "linux/arm/v7", "it is for `linux/arm`, expected `linux/arm/v7`"),
        ({"os": "windows"}, 1, "linux/amd64", "it is for `windows/amd64`, expected `linux/amd64`"),
    ],
)
def test_image_fits_its_layers_and_its_platform(
    fields: dict[str, str], layers: int, platform: str, problem: str | None
) -> None:
    assert misfit(of(**fields), layers=layers, platform=platform) == problem


def test_image_of_more_layers_than_docker_takes_is_a_misfit() -> None:
    def image(count: int) -> bytes:
        return of(rootfs={"type": "layers", "diff_ids": [DIGEST] * count})

    assert misfit(image(MOST_LAYERS), layers=MOST_LAYERS, platform="linux/amd64") is None
    found = misfit(image(MOST_LAYERS + 1), layers=MOST_LAYERS + 1, platform="linux/amd64")
    assert found == "it has 128 layers, and docker takes at most 127"
