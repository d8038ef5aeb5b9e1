#!/usr/bin/env python3
"""Sets up and runs a private Docker engine and registry on a bare Debian machine, which is left as it was.

Everything lives in one folder: downloads, unpacked programs, data, sockets, logs. The only traces outside are
a bridge, two firewall rules in the forward chain and one for address translation, and IP forwarding switched on;
`stop` removes all but the last. The engine's own firewall handling is off, because two daemons empty each
other's chains; so containers reach the network over the default bridge only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import bootstrap_debian
import machine_apt
from engine_daemons import engine_pid, is_running, registry_pid, reset_engine, start, stop, wipe
from engine_instance import Instance, State, locked, say
from engine_programs import tool_environment
from machine_apt import Failure


def settings_for_clients(instance: Instance, state: State) -> dict[str, str]:
    """The environment variables with which docker and buildsys use this instance."""
    return {
        "DOCKER_HOST": f"unix://{instance.socket}",
        "DOCKER_CONFIG": str(instance.client_config),
        "BUILDSYS_REGISTRY": f"127.0.0.1:{state.port}/buildsys",
    }


def export_lines(instance: Instance) -> str:
    """The lines for the shell's `eval`."""
    values = settings_for_clients(instance, instance.known_state())
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join([*lines, f'export PATH={shlex.quote(str(instance.home / "bin"))}:"$PATH"'])


def status(instance: Instance) -> dict[str, object]:
    """What is known of an instance, for `status --json`."""
    state = instance.read_state()
    known: dict[str, object] = {
        "name": instance.name,
        "home": str(instance.home),
        "running": is_running(instance),
        "engine_pid": engine_pid(instance),
        "registry_pid": registry_pid(instance),
        "bridge": instance.bridge,
        "network": state.network if state else None,
        "logs": str(instance.log("engine").parent),
    }
    return {**known, "settings": settings_for_clients(instance, state) if state else {}}


def bootstrap(instance: Instance, names: Sequence[str], overlay: Path, *, again: bool) -> None:
    """Make the parents asked for, push them to the instance's registry, and note them in the overlay."""
    numbers = [bootstrap_debian.release_number(name) for name in names]
    bootstrap_debian.read_overlay(overlay)
    state = start(instance)
    registry = bootstrap_debian.LocalRegistry(f"127.0.0.1:{state.port}")
    source = machine_apt.read_debian_source()
    cache = instance.home / "bootstrap"
    with locked(cache):
        parents = {}
        for number in numbers:
            say(f"bootstrapping debian:{number}")
            environment = tool_environment(instance.home)
            layer = bootstrap_debian.make_layer(number, source, cache, environment, again=again)
            parents[number] = bootstrap_debian.push_image(registry, number, layer)
            print(f"debian-{number}: {parents[number].reference}@{parents[number].digest}")
        bootstrap_debian.update_overlay(overlay, parents, registry)


def default_home() -> Path:
    """`BUILDSYS_ENGINE_HOME`, else a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("BUILDSYS_ENGINE_HOME") or f"{cache}/buildsys/engine")


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, default=default_home(), help="the folder that everything lives in")
    common.add_argument("--name", "--instance", default="default", help="which engine, of several side by side")
    parser = argparse.ArgumentParser(prog="private_engine.py", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", parents=[common], help="install what is missing and start engine and registry")
    commands.add_parser("stop", parents=[common], help="end both")
    commands.add_parser("env", parents=[common], help='print export lines, for `eval "$(… env)"`')
    commands.add_parser("reset-engine", parents=[common], help="empty the engine's store, not the registry")
    asked = commands.add_parser("status", parents=[common], help="show what is running; exits with 5 if it is not")
    asked.add_argument("--json", action="store_true")
    wiped = commands.add_parser("wipe", parents=[common], help="stop, and remove images, cache and registry contents")
    wiped.add_argument("--all", action="store_true", help="every instance, the downloads and the programs too")
    command = commands.add_parser("bootstrap", parents=[common], help="build Debian base images from packages")
    command.add_argument("images", nargs="+", metavar="debian:NUMBER")
    command.add_argument("--overlay", type=Path, default=Path("buildsys.lock.local"), help="the overlay to update")
    command.add_argument("--again", action="store_true", help="bootstrap even if there is a cached one")
    arguments = parser.parse_args(words)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", arguments.name):
        parser.error(f"`{arguments.name}` is not a name of lower-case letters, digits and `-`")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Do one command and return the exit code."""
    instance = Instance(home=arguments.home.expanduser().resolve(), name=arguments.name)
    if arguments.command == "start":
        start(instance)
        print(f"engine `{instance.name}` is running; to use it in this shell:\n{export_lines(instance)}")
    elif arguments.command == "stop":
        with locked(instance.home):
            stop(instance)
    elif arguments.command == "env":
        print(export_lines(instance))
    elif arguments.command == "reset-engine":
        reset_engine(instance)
    elif arguments.command == "wipe":
        wipe(instance, everything=arguments.all)
    elif arguments.command == "bootstrap":
        bootstrap(instance, arguments.images, arguments.overlay, again=arguments.again)
    else:
        known = status(instance)
        plain = "\n".join(f"{name}: {value}" for name, value in known.items())
        print(json.dumps(known, indent=2) if arguments.json else plain)
        return 0 if known["running"] else 5
    return 0


def main() -> int:
    """Run the command line; a failure is reported in one message and becomes the exit code."""
    try:
        code = run(parse_arguments(sys.argv[1:]))
        sys.stdout.flush()
        return code
    except Failure as failure:
        say(f"error: {failure}" + (f"\nhint: {failure.hint}" if failure.hint else ""))
        return failure.exit_code
    except BrokenPipeError:
        # The reader of the output has closed it; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
