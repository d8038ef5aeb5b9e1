"""What the set-up says where a machine lacks what it needs, and how it uses the installed docker."""

from __future__ import annotations

import pytest

import ground
import machine_apt
from machine_apt import MachineUnfit
from machine_settings import reaches_containers, settings_text


def test_user_without_root_rights_gets_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert machine_apt.machine_lacks() == ["root rights"]
    with pytest.raises(MachineUnfit, match="it lacks root rights") as caught:
        machine_apt.check_machine()
    assert "Docker Engine 28" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("github.com/docker/buildx v0.29.1+ds1 0.29.1-1", (0, 29, 1)),
        ("github.com/docker/buildx 0.13.1 v1", (0, 13, 1)),
        ("28.5.2+dfsg4", (28, 5, 2)),
        ("dev", ()),
    ],
)
def test_version_is_the_first_numbers_with_a_dot(text: str, expected: tuple[int, ...]) -> None:
    assert ground.numbers(text) == expected


def test_docker_is_judged_by_the_first_thing_that_it_lacks() -> None:
    new, old = "github.com/docker/buildx v0.29.1", "github.com/docker/buildx v0.13.1"
    containerd = '[["driver-type","io.containerd.snapshotter.v1"]]'

    def what(client: bool, buildx: str | None, engine: str | None, store: str = "", tests: bool = False) -> str:
        reason = ground.judge(client, buildx, engine, store, tests=tests)
        assert reason is None or reason.fix
        return reason.what if reason else "usable"

    assert what(False, None, None) == "there is no `docker` command"
    assert what(True, None, None) == "docker has no buildx"
    assert what(True, old, None) == "buildx 0.13.1 is older than 0.29"
    assert what(True, new, None) == "no docker engine is reachable"
    assert what(True, new, "20.10.24+dfsg1") == "the docker engine 20.10.24+dfsg1 is older than 28"
    assert what(True, new, "28.0.0") == "usable"
    assert what(True, new, "28.0.0", '[["Backing Filesystem","extfs"]]', tests=True).startswith("the engine keeps")
    assert what(True, new, "28.0.0", containerd, tests=True) == "usable"


def test_error_without_docker_or_private_engine_hints_at_both() -> None:
    reason = ground.Reason(what="the docker of this machine reaches no registry", fix="name a mirror")
    error = ground.NoGround(reason, "it lacks root rights", only_root=True)
    assert str(error) == (
        "the docker of this machine reaches no registry, and a private engine cannot be set up: it lacks root rights"
    )
    assert error.hint == "name a mirror, or run this as root, and a private engine is set up"
    assert ground.NoGround(reason, "it runs `ubuntu`", only_root=False).hint == "name a mirror"


@pytest.mark.parametrize(
    ("address", "reaches"),
    [
        ("https://index.example.com/simple", True),
        ("proxy.example.com:3128", True),
        ("http://127.0.0.1:3141/simple", False),
        ("localhost:3128", False),
        ("http://[::1]:3128", False),
        ("file:///opt/index", False),
    ],
)
def test_address_on_loopback_or_in_a_file_means_another_thing_in_a_container(address: str, reaches: bool) -> None:
    assert reaches_containers(address) is reaches


def test_exceptions_from_a_proxy_say_nothing_without_one() -> None:
    assert settings_text({"timeout": "5"}, {"NO_PROXY": "example.com"}) == ""
