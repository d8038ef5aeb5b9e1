"""Which credential docker's own settings hold for a registry."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

from buildsys.errors import BuildsysError
from buildsys.foreign import object_of
from buildsys.oci.http import RegistryProblem
from buildsys.values import dataclass

# The name under which docker keeps the credentials for docker.io.
_DOCKER_IO = "https://index.docker.io/v1/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """A user with a password, or an identity token that is exchanged for access tokens; never shown."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


# Gives the credential for a host as references write it (`docker.io`, `127.0.0.1:5000`), or None.
Credentials = Callable[[str], Credential | None]
# Runs `docker-credential-NAME get` with the server on stdin; returns exit code and stdout.
Helper = Callable[[str, str], tuple[int, str]]


class CredentialsUnreadable(RegistryProblem):
    """Docker's settings or a credential helper named there cannot be used."""


def no_credentials(_host: str) -> Credential | None:
    """Return no credentials for any host."""
    return None


def docker_credentials(
    config_dir: Path, *, helper: Helper | None = None, reader: Callable[[Path], bytes] = Path.read_bytes
) -> Credentials:
    """Return the provider that reads `config.json` in `config_dir` when first asked, and asks for each host once.

    `reader` returns the bytes of a file, or raises `BuildsysError` or `OSError`.
    Order as in docker's command line: the host's entry in `credHelpers`, else `credsStore`; then `auths`.
    """
    run = helper or _run_helper

    @cache
    def settings() -> Mapping[str, Any]:
        path = config_dir / "config.json"
        try:
            return object_of(reader(path)) if path.exists() else {}
        except BuildsysError as error:
            raise CredentialsUnreadable(f"docker's settings cannot be used: {error}", host="") from error
        except (OSError, ValueError) as error:
            # Why JSON cannot be read has no word of it.
            why = error.strerror if isinstance(error, OSError) else error
            raise CredentialsUnreadable(f"docker's settings in `{path}` cannot be read: {why}", host="") from error

    @cache
    def provide(host: str) -> Credential | None:
        server = _DOCKER_IO if host == "docker.io" else host
        helpers = _mapping(settings().get("credHelpers"))
        program = helpers.get(server) or helpers.get(host) or settings().get("credsStore")
        if program and (found := _ask(run, str(program), server)):
            return found
        for name, entry in _mapping(settings().get("auths")).items():
            if name == server or re.sub(r"^https?://", "", name).partition("/")[0] == server:
                return _entry(_mapping(entry))
        return None

    return provide


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for everything else, as docker's own settings may have."""
    return value if isinstance(value, dict) else {}


def _entry(entry: Mapping[str, Any]) -> Credential | None:
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
        except ValueError:
            return None
    token = str(entry.get("identitytoken", ""))
    if not username and not token:
        return None
    # Docker itself pads a password with null bytes in old files.
    return Credential(username=username, password=password.strip("\0"), identity_token=token)


def _ask(run: Helper, program: str, server: str) -> Credential | None:
    code, output = run(program, server)
    if code != 0:
        # The helpers' protocol has no exit code for "unknown", only these words.
        if "credentials not found" in output:
            return None
        raise CredentialsUnreadable(
            f"`docker-credential-{program}` failed for `{server}` with exit code {code}",
            host=server,
            hint=f"try `echo {server} | docker-credential-{program} get`",
        )
    try:
        answer = object_of(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialsUnreadable(
            f"`docker-credential-{program}` returned unreadable credentials for `{server}`", host=server
        ) from error
    if username == "<token>":
        return Credential(identity_token=secret)
    return Credential(username=username, password=secret)


def _run_helper(program: str, server: str) -> tuple[int, str]:
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{program}", "get"],
            input=server,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise CredentialsUnreadable(
            f"`docker-credential-{program}` cannot be run: {type(error).__name__}", host=server
        ) from error
    return done.returncode, done.stdout
