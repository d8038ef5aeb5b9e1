"""Which images of environments are in use: each use is recorded beside the image, so that a clean-up keeps it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from buildsys.oci.artifacts import put_time, time_of
from buildsys.oci.client import ImageRegistry
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference

USED = "used-"
T = TypeVar("T")
# A use within a day of the recorded one is not recorded.
_DAY = 86400.0


def in_use(registry: ImageRegistry, find: Callable[[], T], place: Callable[[T], str | None], now: float) -> T:
    """Return what `find` returns, with a record that its image is used at a time in seconds since 1970.

    `place` returns the reference of the image, with its digest, None if there is none. An image that a clean-up has
    deleted meanwhile is searched for, and then built, once more.
    """
    found = find()
    if (reference := place(found)) is None or _record_use(registry, Reference.parse(reference), now):
        return found
    found = find()
    if (reference := place(found)) is not None:
        _record_use(registry, Reference.parse(reference), now)
    return found


def _record_use(registry: ImageRegistry, image: Reference, now: float) -> bool:
    """Record a use, and return whether the image exists behind it: who deletes looks for records before and after."""
    location = image.with_tag(f"{USED}{image.target.partition(':')[2]}")
    found = registry.head(image)
    if found is None:
        return False
    held = registry.manifest(location)
    if held is None or (time_of(held.annotations) or 0.0) < now - _DAY:
        # Who may only pull uses it too.
        with contextlib.suppress(RegistryProblem):
            put_time(registry, location, found, now)
    return registry.head(image) is not None
