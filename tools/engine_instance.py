"""One private engine with its registry: where its files are, and the two things that it keeps."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from machine_apt import Failure

# A socket path has at most 107 bytes; the longest one below the folder of sockets is containerd's.
LONGEST_SOCKET_FOLDER = 60


class NotStarted(Failure):
    """The instance was never started, so nothing is known of it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the engine `{name}` was never started", "run `python3 tools/private_engine.py start`")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What an instance keeps: the port of its registry, and the number of its network 10.213.N.0/24."""

    port: int
    subnet: int

    @property
    def network(self) -> str:
        """The address range of the bridge."""
        return f"10.213.{self.subnet}.0/24"

    @property
    def gateway(self) -> str:
        """The bridge's own address, with the length of its prefix."""
        return f"10.213.{self.subnet}.1/24"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One engine with its registry: where each of its files is."""

    home: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder of this instance."""
        return self.home / "instances" / self.name

    @property
    def identity(self) -> str:
        """A short word that no other instance on this machine has."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def sockets(self) -> Path:
        """Where the sockets are: in the instance's folder, or in a short one if that path is too long."""
        inside = self.folder / "run"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        return Path("/run") / f"bsys-{self.identity}"

    @property
    def bridge(self) -> str:
        """The name of the network bridge; at most 15 characters."""
        return f"bsys-{self.identity}"

    @property
    def socket(self) -> Path:
        """The engine's API socket."""
        return self.sockets / "docker.sock"

    @property
    def engine_config(self) -> Path:
        """The engine's configuration; its path on a command line identifies the daemon of this instance."""
        return self.folder / "daemon.json"

    @property
    def registry_config(self) -> Path:
        """The registry's configuration; its path on a command line identifies the registry of this instance."""
        return self.folder / "registry.yml"

    @property
    def client_config(self) -> Path:
        """What `DOCKER_CONFIG` names."""
        return self.folder / "client"

    @property
    def engine_pid_file(self) -> Path:
        """Written by the engine itself."""
        return self.sockets / "docker.pid"

    @property
    def registry_pid_file(self) -> Path:
        """Written by us."""
        return self.sockets / "registry.pid"

    @property
    def containerd_pid_file(self) -> Path:
        """Written by the engine for the containerd that it starts."""
        return self.sockets / "exec" / "containerd" / "containerd.pid"

    def log(self, what: str) -> Path:
        """The log of `engine` or `registry`."""
        return self.folder / "logs" / f"{what}.log"

    def read_state(self) -> State | None:
        """The state kept, or none before the first start."""
        path = self.folder / "state.json"
        if not path.is_file():
            return None
        known = json.loads(path.read_text(encoding="utf-8"))
        return State(port=known["port"], subnet=known["subnet"])

    def write_state(self, state: State) -> None:
        """Keep the state, all or nothing."""
        partial = self.folder / "state.json.partial"
        text = json.dumps({"version": 1, **dataclasses.asdict(state)}, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(self.folder / "state.json")

    def known_state(self) -> State:
        """The state kept; raises `NotStarted`."""
        state = self.read_state()
        if state is None:
            raise NotStarted(self.name)
        return state


@contextlib.contextmanager
def locked(home: Path, name: str = "lock") -> Iterator[None]:
    """Let one process at a time change what lies in a folder."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / name).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(words: str) -> None:
    """Print a message to stderr; results go to stdout."""
    print(words, file=sys.stderr, flush=True)
