"""Starts and ends the daemons of a private engine, and asks whether they answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from engine_instance import Instance, State, locked
from engine_network import choose_state, connect, disconnect, outer_mtu
from engine_programs import install, make_link, tool_environment
from machine_apt import Failure, check_machine, remove_tree

HOME_FOLDERS = ("apt", "bin", "bootstrap", "downloads", "emulation", "instances", "root", "root.partial", "wrappers")


class NotAnswering(Failure):
    """A daemon ended early or does not answer in time; the end of its log is part of the message."""

    def __init__(self, what: str, log: Path) -> None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        last_words = "\n".join(f"  | {line}" for line in lines[-12:])
        super().__init__(f"the {what} does not answer\n  --> {log}\n{last_words}".rstrip())


def own_pid(pid_file: Path, mark: Path) -> int | None:
    """The process that the file names, if it lives and has `mark` on its command line, which identifies the engine."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        command = Path("/proc", str(pid), "cmdline").read_bytes()
        stat = Path("/proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):
        return None
    is_zombie = stat.rpartition(")")[2].split()[0] == "Z"
    return pid if os.fsencode(mark) in command.split(b"\0") and not is_zombie else None


def engine_pid(instance: Instance) -> int | None:
    """The pid of this instance's dockerd, if it runs."""
    return own_pid(instance.engine_pid_file, instance.engine_config)


def registry_pid(instance: Instance) -> int | None:
    """The pid of this instance's registry, if it runs."""
    return own_pid(instance.registry_pid_file, instance.registry_config)


def engine_answers(instance: Instance) -> bool:
    """Whether the engine's socket answers a ping."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(instance.socket))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def registry_answers(port: int) -> bool:
    """Whether a registry answers at the port."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def is_running(instance: Instance) -> bool:
    """Whether engine and registry belong to this instance and both answer."""
    state = instance.read_state()
    if state is None or engine_pid(instance) is None or registry_pid(instance) is None:
        return False
    return engine_answers(instance) and registry_answers(state.port)


def _spawn(instance: Instance, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own, so that it outlives the shell and hears no Ctrl-C."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=tool_environment(instance.home),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def start_engine(instance: Instance) -> subprocess.Popen[bytes]:
    """Start dockerd, which starts its own containerd; a pid file left by a crash is removed before."""
    settings = {
        "bridge": instance.bridge,
        "builder": {"gc": {"enabled": True, "defaultReservedSpace": "40GB"}},
        "data-root": str(instance.folder / "docker"),
        "exec-root": str(instance.sockets / "exec"),
        "features": {"containerd-snapshotter": True},
        "group": "root",
        "hosts": [f"unix://{instance.socket}"],
        "ip6tables": False,
        "iptables": False,
        "mtu": outer_mtu(),
        "pidfile": str(instance.engine_pid_file),
    }
    instance.engine_config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    instance.engine_pid_file.unlink(missing_ok=True)
    return _spawn(instance, ["dockerd", "--config-file", str(instance.engine_config)], instance.log("engine"))


def start_registry(instance: Instance, state: State) -> subprocess.Popen[bytes]:
    """Start the registry on loopback, with deletion allowed."""
    instance.registry_config.write_text(
        "version: 0.1\n"
        "log:\n  level: warn\n  accesslog:\n    disabled: true\n"
        "storage:\n"
        f"  filesystem:\n    rootdirectory: {json.dumps(str(instance.folder / 'registry'))}\n"
        "  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{state.port}\n",
        encoding="utf-8",
    )
    command = ["docker-registry", "serve", str(instance.registry_config)]
    process = _spawn(instance, command, instance.log("registry"))
    instance.registry_pid_file.write_text(f"{process.pid}\n", encoding="ascii")
    return process


def start(instance: Instance) -> State:
    """Install what is missing, start what does not run, and return when both answer."""
    if not is_running(instance):
        check_machine()
        with locked(instance.home):
            _start_under_lock(instance)
    return instance.known_state()


def _start_under_lock(instance: Instance) -> None:
    install(instance.home)
    instance.sockets.mkdir(parents=True, exist_ok=True)
    (instance.client_config / "cli-plugins").mkdir(parents=True, exist_ok=True)
    plugin = next((instance.home / "root").glob("usr/lib*/docker/cli-plugins/docker-buildx"))
    make_link(instance.client_config / "cli-plugins" / "docker-buildx", plugin)
    state = instance.known_state() if registry_pid(instance) else choose_state(instance)
    instance.write_state(state)
    registry = None if registry_pid(instance) else start_registry(instance, state)
    if not engine_pid(instance):
        # Docker takes the first address of a bridge: the one of an engine that was killed, and its folder deleted.
        disconnect(instance, state)
    connect(instance, state)
    engine = None if engine_pid(instance) else start_engine(instance)
    _await("engine", instance, engine, lambda: engine_answers(instance))
    _await("registry", instance, registry, lambda: registry_answers(state.port))


def _await(what: str, instance: Instance, process: subprocess.Popen[bytes] | None, ready: Callable[[], bool]) -> None:
    def ended() -> bool:
        return process is not None and process.poll() is not None

    if not _wait_until(lambda: ended() or ready(), seconds=60) or ended():
        raise NotAnswering(what, instance.log(what))


def stop_engine(instance: Instance) -> None:
    """End dockerd, and then the containerd it started, should that one have outlived it."""
    _end(lambda: engine_pid(instance))
    _end(lambda: own_pid(instance.containerd_pid_file, instance.sockets / "exec/containerd/containerd.toml"))


def stop(instance: Instance) -> None:
    """End exactly the processes of this instance, and remove its bridge and rules."""
    state = instance.read_state()
    if state is None:
        return
    stop_engine(instance)
    _end(lambda: registry_pid(instance))
    for path in (instance.engine_pid_file, instance.registry_pid_file):
        path.unlink(missing_ok=True)
    disconnect(instance, state)


def _end(find: Callable[[], int | None]) -> None:
    for stop_signal, seconds in ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0)):
        pid = find()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, stop_signal)
        _wait_until(lambda: find() is None, seconds)


def reset_engine(instance: Instance) -> None:
    """Empty the engine's store of images and build cache, and start it again; the registry is not touched."""
    with locked(instance.home):
        instance.known_state()
        stop_engine(instance)
        remove_tree(instance.folder / "docker")
        _start_under_lock(instance)


def wipe(instance: Instance, *, everything: bool) -> None:
    """Stop, and remove the data of one instance, or of all of them with the downloads and the home itself."""
    if not (instance.home / "lock").exists():
        return
    with locked(instance.home):
        if not everything:
            stop(instance)
            for name in ("docker", "registry"):
                remove_tree(instance.folder / name)
            return
        for folder in (instance.home / "instances").glob("*"):
            other = Instance(home=instance.home, name=folder.name)
            stop(other)
            remove_tree(other.sockets)
        for name in HOME_FOLDERS:
            remove_tree(instance.home / name)
        (instance.home / "lock").unlink()
