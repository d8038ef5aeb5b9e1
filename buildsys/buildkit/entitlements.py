"""Whether a resolved bake definition stays inside the project: `--progress rawjson` skips bake's own check.

See `commands/bake.go` of docker/buildx: entitlements are asked for under the other kinds of progress only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from buildsys.errors import Diagnostic

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL_SCHEMES = ("oci-layout://", "cwd://", "file://")
_REMOTE = ("target:", "git@", "github.com/", "gitlab.com/")
_PRIVILEGED_NETWORKS = frozenset({"host"})


def check_paths(definition: Mapping[str, Any], root: Path, *, allowed: Sequence[Path] = ()) -> tuple[Diagnostic, ...]:
    """Return what a definition, as `bake --print` gives it, reads or writes outside of `root`, in order.

    Every local context and named context, Dockerfile, secret, ssh key, output and local cache must lie in
    `root` or in one of `allowed` after symbolic links are followed; a target must ask for no entitlement.
    """
    homes = tuple(folder.resolve() for folder in (root, *allowed))
    diagnostics: list[Diagnostic] = []
    for name, target in sorted((definition.get("target") or {}).items()):
        try:
            diagnostics += _outside(name, target, root, homes)
            diagnostics += _asking(name, target)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            # A path that cannot be read, or a field of another type, may lead anywhere.
            diagnostics.append(
                Diagnostic(
                    message=f"target `{name}` of the resolved bake file has paths or privileges that cannot be checked",
                    hint="check `docker buildx version`",
                )
            )
    return tuple(sorted(diagnostics, key=lambda diagnostic: diagnostic.message))


def _outside(name: str, target: Mapping[str, Any], root: Path, homes: Sequence[Path]) -> Iterator[Diagnostic]:
    for what, path in _paths(target):
        resolved = (root / path).resolve()
        if not any(resolved.is_relative_to(home) for home in homes):
            yield Diagnostic(
                message=f"target `{name}` has {what} `{path}`, which lies outside of `{root}`",
                hint="move it into the project, or allow its folder by name",
            )


def _asking(name: str, target: Mapping[str, Any]) -> Iterator[Diagnostic]:
    for asked in _privileges(target):
        yield Diagnostic(
            message=f"target `{name}` asks for the privilege `{asked}`",
            hint="remove `entitlements` and `network` from the target: no layer needs them",
        )


def _paths(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _context_paths(target)
    yield from _credential_paths(target)
    yield from _output_paths(target)


def _context_paths(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    context = _local(str(target.get("context") or "."))
    if context is not None:
        yield "the context", context
    if not target.get("dockerfile-inline"):
        dockerfile = str(target.get("dockerfile") or "Dockerfile")
        if dockerfile.startswith("cwd://"):
            yield "the Dockerfile", dockerfile.removeprefix("cwd://")
        elif context is not None and _local(dockerfile) is not None:
            yield "the Dockerfile", str(Path(context) / dockerfile)
    for name, value in sorted((target.get("contexts") or {}).items()):
        path = _local(str(value)) if value else None
        if path is not None:
            yield f"the context `{name}` in", path


def _credential_paths(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for secret in _entries(target.get("secret")):
        source = secret.get("src") or secret.get("source")
        if source and secret.get("type", "file") == "file":
            yield f"the secret `{secret.get('id', '')}` in", _home(source)
    for key in _entries(target.get("ssh")):
        given = key.get("paths") or key.get("path") or ()
        for path in given.split(",") if isinstance(given, str) else given:
            yield f"the ssh key `{key.get('id', 'default')}` in", _home(path)


def _output_paths(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for output in _entries(target.get("output")):
        if output.get("dest") and output["dest"] != "-":
            yield "an output to", output["dest"]
    for field, side, what in (
        ("cache-to", "dest", "a cache written to"),
        ("cache-from", "src", "a cache read from"),
    ):
        for cache in _entries(target.get(field)):
            if cache.get("type") == "local" and cache.get(side):
                yield what, cache[side]


def _privileges(target: Mapping[str, Any]) -> list[str]:
    asked = {str(one) for one in target.get("entitlements") or ()}
    if target.get("network") in _PRIVILEGED_NETWORKS:
        asked.add(f"network.{target['network']}")
    return sorted(asked)


def _local(value: str) -> str | None:
    """Return the path that a context names, or None if it is an image, a target, a URL or standard input."""
    for scheme in _LOCAL_SCHEMES:
        if value.startswith(scheme):
            # An OCI layout may name a tag or digest after its folder.
            path = value.removeprefix(scheme)
            return re.split(r"@|:(?=[^/]*$)", path)[0] if scheme == "oci-layout://" else path
    if value == "-" or _SCHEME.match(value) or value.startswith(_REMOTE):
        return None
    return value


def _home(path: str) -> str:
    # buildx follows `~` nowhere but in keys and secrets; a path that starts so is never inside the project.
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _entries(value: object) -> Iterator[dict[str, Any]]:
    """Yield the entries of a bake list; each is an object since buildx 0.19 and was `key=value,…` before."""
    if not isinstance(value, Iterable) or isinstance(value, str):
        return
    for entry in value:
        if isinstance(entry, Mapping):
            yield dict(entry)
        elif isinstance(entry, str):
            fields = dict(part.split("=", 1) for part in entry.split(",") if "=" in part)
            bare = [part for part in entry.split(",") if part and "=" not in part]
            yield fields or {"dest": bare[0] if bare else ""}
