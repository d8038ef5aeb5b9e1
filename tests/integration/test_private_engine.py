"""The private engine as a command: it starts, holds what it is given, and leaves nothing where it was ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import PRIVATE_ENGINE, Run, run

# One at a time, and none that a person uses.
NAME = "lifecycle"

pytestmark = pytest.mark.engine


def command(*words: str | Path) -> Run:
    return run(sys.executable, PRIVATE_ENGINE, *words, "--name", NAME)


def status() -> dict[str, object]:
    known = json.loads(command("status", "--json").stdout)
    assert isinstance(known, dict)
    return known


def docker(*words: str) -> Run:
    """Run docker as `env` says."""
    exports = command("env").stdout
    script = f'{exports}\nexec docker "$@"'
    return run("sh", "-c", script, "sh", *words)


def lives(pid: object) -> bool:
    """Whether a process exists, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def rules(engine: dict[str, object]) -> list[str]:
    """The firewall rules of the machine, by the program that the engine itself uses."""
    output = [run("iptables", "-t", table, "-S", environment=programs(engine)) for table in ("filter", "nat")]
    assert [each.code for each in output] == [0, 0]
    return [line for each in output for line in each.stdout.splitlines()]


def programs(engine: dict[str, object]) -> dict[str, str]:
    """The environment with the programs that the engine itself uses for networks."""
    return {"PATH": f"{engine['home']}/wrappers{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin:/sbin"}


@pytest.fixture
def engine() -> Iterator[dict[str, object]]:
    """A started private engine; what it holds is removed afterwards."""
    started = command("start")
    if started.code == 5 and "cannot run a private engine" in started.stderr:
        # Not a lack: a machine with a docker of its own needs none.
        pytest.skip(started.stderr.strip())
    try:
        assert started.code == 0, started.stderr
        yield status()
    finally:
        assert command("wipe").code == 0


def test_started_engine_answers_and_a_second_start_changes_nothing(engine: dict[str, object]) -> None:
    assert engine["running"] is True
    assert docker("version", "--format", "{{.Server.Version}}").stdout.startswith("28.")
    assert docker("buildx", "inspect").stdout.splitlines()[1].split() == ["Driver:", "docker"]
    assert "io.containerd.snapshotter.v1" in docker("info", "--format", "{{.DriverStatus}}").stdout
    again = command("start")
    assert again.code == 0
    assert status() == engine
    assert re.search(r"^export BUILDSYS_REGISTRY=127\.0\.0\.1:\d+/buildsys$", again.stdout, re.MULTILINE)


def test_reset_empties_the_engine_and_leaves_the_registry_what_it_has(
    engine: dict[str, object], tmp_path: Path
) -> None:
    overlay = tmp_path / "buildsys.lock.local"
    done = command("bootstrap", "debian:12", "--overlay", overlay)
    assert done.code == 0, done.stderr
    parent = done.stdout.strip().removeprefix("debian-12: ")
    assert parent.rpartition("@")[2] in overlay.read_text(encoding="utf-8")
    assert docker("pull", "--quiet", parent).code == 0
    assert docker("run", "--rm", parent, "cat", "/etc/debian_version").stdout.startswith("12.")
    assert docker("images", "--quiet").stdout != ""
    assert command("reset-engine").code == 0
    assert docker("images", "--quiet").stdout == ""
    assert docker("pull", "--quiet", parent).stdout.strip() == parent
    # The registry's daemon kept running, the engine's is a new one.
    after = status()
    assert after["registry_pid"] == engine["registry_pid"]
    assert after["engine_pid"] != engine["engine_pid"]


def test_stop_ends_both_daemons_and_removes_the_bridge_and_its_rules(engine: dict[str, object]) -> None:
    bridge = str(engine["bridge"])
    assert Path("/sys/class/net", bridge).exists()
    assert len([line for line in rules(engine) if bridge in line]) == 3
    assert command("stop").code == 0
    assert not lives(engine["engine_pid"])
    assert not lives(engine["registry_pid"])
    assert not Path("/sys/class/net", bridge).exists()
    assert not [line for line in rules(engine) if bridge in line or str(engine["network"]) in line]
    output = command("status")
    assert output.code == 5
    assert "running: False" in output.stdout
    # Ending what has ended is no failure.
    assert command("stop").code == 0


def test_bridge_that_an_engine_left_behind_gets_the_network_of_the_new_one(engine: dict[str, object]) -> None:
    assert command("stop").code == 0
    for words in (("link", "add", "name", engine["bridge"], "type", "bridge"), ("link", "set", engine["bridge"], "up")):
        assert run("ip", *map(str, words), environment=programs(engine)).code == 0
    added = run("ip", "address", "add", "10.213.250.1/24", "dev", str(engine["bridge"]), environment=programs(engine))
    assert added.code == 0
    assert command("start").code == 0
    shown = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
    assert shown.stdout.strip() == engine["network"]
    assert len([line for line in rules(engine) if str(engine["bridge"]) in line]) == 3


def test_pid_file_that_names_a_stranger_is_not_believed(engine: dict[str, object]) -> None:
    assert command("stop").code == 0
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        folder = Path(str(engine["settings"]["DOCKER_HOST"]).removeprefix("unix://")).parent  # type: ignore[index]
        (folder / "registry.pid").write_text(f"{stranger.pid}\n", encoding="ascii")
        (folder / "docker.pid").write_text(f"{stranger.pid}\n", encoding="ascii")
        assert command("stop").code == 0
        assert stranger.poll() is None
        assert command("start").code == 0
        assert status()["registry_pid"] != stranger.pid
    finally:
        stranger.kill()
        stranger.wait()


def test_wipe_leaves_no_image_and_nothing_of_the_registry(engine: dict[str, object]) -> None:
    folder = Path(str(engine["logs"])).parent
    assert (folder / "docker").is_dir()
    assert command("wipe").code == 0
    assert [name for name in ("docker", "registry") if (folder / name).exists()] == []


def test_engine_that_was_never_started_is_reported_with_a_hint(tmp_path: Path) -> None:
    done = run(sys.executable, PRIVATE_ENGINE, "env", "--home", tmp_path, "--name", "nobody")
    assert (done.code, done.stdout) == (5, "")
    assert done.stderr == (
        "error: the engine `nobody` was never started\nhint: run `python3 tools/private_engine.py start`\n"
    )


def test_invalid_name_is_wrong_usage() -> None:
    done = run(sys.executable, PRIVATE_ENGINE, "status", "--name", "../x")
    assert done.code == 2
    assert "`../x` is not a name" in done.stderr


def test_parent_that_cannot_be_built_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = run(sys.executable, PRIVATE_ENGINE, "bootstrap", "ubuntu:22.04", "--home", tmp_path / "home")
    assert (done.code, (tmp_path / "home").exists()) == (2, False)
    assert done.stderr == "error: cannot bootstrap `ubuntu:22.04`\nhint: use one of `debian:12`, `debian:13`\n"
