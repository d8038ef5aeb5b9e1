"""What a command line asks of a run."""

from __future__ import annotations

from dataclasses import dataclass

RETRIES = 5
MIN_FREE = 2 * 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a run goes about its work.

    `verify` looks at the blobs of all that exists. `jobs` and `max_targets` are None for what suits the builder;
    `min_free` is in bytes. `partial_tags` moves the tags of what is there though something is missing;
    `docker_progress` shows BuildKit's own words. `linked` writes the BuildKit caches that a plain bake looks for, and
    fills those that are gone. `command` is what was typed.
    """

    command: str = "buildsys bake"
    builder: str | None = None
    no_cache: bool = False
    load: bool = False
    verify: bool = False
    overrides: tuple[str, ...] = ()
    keep_going: bool = False
    jobs: int | None = None
    max_targets: int | None = None
    retries: int = RETRIES
    min_free: int = MIN_FREE
    partial_tags: bool = False
    docker_progress: bool = False
    linked: bool = False
