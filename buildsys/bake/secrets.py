"""Which secrets a bake target passes: references to variables, never values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from buildsys.bake.definition import Target
from buildsys.names import secret_variable


def secret_references(ids: Iterable[str]) -> tuple[str, ...] | None:
    """Return the entries of `secret` for some ids; bake passes an empty secret where the variable is not set."""
    return tuple(f"id={each},env={secret_variable(each)}" for each in sorted(ids)) or None


def with_secrets(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return targets, each after those that it links to, which pass the secrets of these too.

    A step of a linked target may run for the session of a target that links to it, and buildx before 0.37 gave that
    no secrets of the other (moby/buildkit#3056, #4011). No RUN sees them: a Dockerfile that mounts a secret which its
    layer does not declare is refused.
    """
    found: dict[str, Target] = {}
    for each in targets:
        linked = (str(value).removeprefix("target:") for value in each.contexts.values())
        secrets = {entry for name in linked if name in found for entry in found[name].secret or ()}
        own = tuple(sorted({*(each.secret or ()), *secrets})) or None
        found[each.name] = replace(each, secret=own)
    return tuple(found.values())
