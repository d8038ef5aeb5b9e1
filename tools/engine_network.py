"""What a private engine touches outside its home: a bridge, firewall rules, a subnet, a port."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engine_instance import Instance, State, say
from engine_programs import tool_environment
from machine_apt import CommandFailed, run_command

FIRST_PORT = 5555


def _firewall_rules(instance: Instance, state: State) -> list[list[str]]:
    """Table, chain and rule of each: out through translation, and both ways past a closed forward chain."""
    return [
        ["nat", "POSTROUTING", "-s", state.network, "!", "-o", instance.bridge, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-i", instance.bridge, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-o", instance.bridge, "-j", "ACCEPT"],
    ]


def _firewall(home: Path, action: str, rule: Sequence[str]) -> bool:
    command = ["iptables", "--wait", "-t", rule[0], action, *rule[1:]]
    try:
        run_command(command, environment=tool_environment(home))
    except CommandFailed:
        if action == "-I":
            raise
        return False
    return True


def connect(instance: Instance, state: State) -> None:
    """Make the bridge and its rules, those that are missing."""
    environment = tool_environment(instance.home)
    if not Path("/sys/class/net", instance.bridge).exists():
        run_command(["ip", "link", "add", "name", instance.bridge, "type", "bridge"], environment=environment)
    run_command(["ip", "address", "replace", state.gateway, "dev", instance.bridge], environment=environment)
    run_command(["ip", "link", "set", "dev", instance.bridge, "up"], environment=environment)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="ascii")
    for rule in _firewall_rules(instance, state):
        if not _firewall(instance.home, "-C", rule):
            _firewall(instance.home, "-I", rule)


def disconnect(instance: Instance, state: State) -> None:
    """Remove the bridge and its rules."""
    for rule in _firewall_rules(instance, state):
        while _firewall(instance.home, "-D", rule):
            pass
    if Path("/sys/class/net", instance.bridge).exists():
        run_command(["ip", "link", "delete", instance.bridge], environment=tool_environment(instance.home))


def describe(instance: Instance) -> str:
    """What the machine says of its networks, for a report of tests that failed."""
    environment = tool_environment(instance.home)
    asked = (["ip", "-brief", "address"], ["ip", "route"], ["iptables", "-S"], ["iptables", "-t", "nat", "-S"])
    lines = [f"the bridge of the engine is {instance.bridge}"]
    for command in asked:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines += [f"$ {' '.join(command)}", done.stdout + done.stderr]
    return "\n".join(lines)


def outer_mtu() -> int:
    """The MTU of the interface with the default route: a larger one inside loses packets on some networks."""
    for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == "00000000":
            return int(Path("/sys/class/net", interface, "mtu").read_text(encoding="ascii"))
    return 1500


def choose_state(instance: Instance) -> State:
    """Keep the port while it is free, else take the next free one; keep the subnet, or take an unused one."""
    known = instance.read_state()
    others = [
        state
        for folder in instance.folder.parent.iterdir()
        if folder != instance.folder and (state := Instance(home=instance.home, name=folder.name).read_state())
    ]
    ports = [known.port] if known else []
    ports += [port for port in range(FIRST_PORT, FIRST_PORT + 200) if port not in {state.port for state in others}]
    port = next(port for port in ports if _port_is_free(port))
    if known and port != known.port:
        say(f"port {known.port} is taken by another program, the registry moves to {port}: `bootstrap` again")
    # A route's destination is in hexadecimal, its bytes reversed: 10.213.7.0 is 0007D50A.
    routed = re.findall(r"\b00([0-9A-F]{2})D50A\b", Path("/proc/net/route").read_text(encoding="ascii"))
    used = {state.subnet for state in others} | {int(octet, 16) for octet in routed}
    subnet = known.subnet if known else next(number for number in range(256) if number not in used)
    return State(port=port, subnet=subnet)


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
