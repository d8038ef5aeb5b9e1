"""How long nodes took, beside their inventories in the registry, so that machines without a history can estimate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from buildsys.events.history import History, measured
from buildsys.events.model import RunModel
from buildsys.foreign import object_of
from buildsys.names import KEY_LABEL, NODES
from buildsys.oci.artifacts import ArtifactType, dated, find_artifact, put_artifact
from buildsys.oci.client import ImageRegistry, in_threads
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.plan.keys import keyed
from buildsys.plan.plan import Plan
from buildsys.resolve.node import Node
from buildsys.run.store import Store
from buildsys.values import dataclass

RECORD = ArtifactType(manifest="application/vnd.buildsys.record.v1", blob="application/vnd.buildsys.record.v1+json")
TAG = "record-"
_LAYOUT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRecord:
    """When a node was built, in seconds since 1970, and how long it took; None where most of it came from a cache."""

    ended: int
    seconds: float | None


def location(prefix: str, key: str) -> Reference:
    """Return where the record of the node with a key is."""
    return Reference.parse(f"{prefix}/{NODES}:{TAG}{key}")


def find_record(registry: ImageRegistry, place: Reference) -> BuildRecord | None:
    """Return a record, None where it is missing or of another format; raises `RegistryProblem`."""
    raw = find_artifact(registry, place, RECORD)
    try:
        value = object_of(raw) if raw is not None else {}
        ended, seconds = float(value["ended"]), value["seconds"]
        seconds = None if seconds is None else float(seconds)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    if value.get("version") != _LAYOUT or not 0 <= ended < 1 << 40:
        return None
    return BuildRecord(ended=int(ended), seconds=seconds if seconds is not None and 0 <= seconds < math.inf else None)


def keep(store: Store, run: RunModel, note: Callable[[str], None]) -> None:
    """Store the records of the nodes that a run has built; one that the registry does not take is noted."""
    nodes = Reference.parse(f"{store.prefix}/{NODES}:x").name
    built = []
    for name, seconds in measured(run).items():
        end = run.targets[name].ended
        if end and end.reference and Reference.parse(end.reference).name == nodes:
            record = BuildRecord(ended=int(end.at), seconds=seconds)
            built.append((Reference.parse(end.reference), record))

    def put(each: tuple[Reference, BuildRecord]) -> str:
        image, record = each
        value = {"version": _LAYOUT, "ended": record.ended, "seconds": record.seconds}
        try:
            manifest = store.registry.manifest(image)
            key = dict(manifest.annotations).get(KEY_LABEL) if manifest else None
            if manifest and key:
                data = json.dumps(value, separators=(",", ":")).encode()
                place, written = location(store.prefix, key), dated(record.ended)
                put_artifact(store.registry, place, RECORD, data, manifest.descriptor, annotations=written)
        except RegistryProblem as problem:
            return str(problem)
        return ""

    if problems := [each for each in in_threads(put, built) if each]:
        note(f"how long {len(problems)} of {len(built)} nodes took is not stored: {problems[0]}")


def with_recorded(history: History, store: Store, plan: Plan, names: Iterable[str]) -> History:
    """Return a history that also has the times of nodes which it lacks, of the latest result of each name.

    What a registry does not answer is left out: these are estimates.
    """
    unknown = [each for each in names if isinstance(plan.targets[each], Node) and each not in history.seconds]
    latest = store.previous(plan, unknown)

    def seconds(name: str) -> float | None:
        try:
            found = find_record(store.registry, location(store.prefix, keyed(latest[name]).key))
        except RegistryProblem:
            return None
        return found.seconds if found else None

    found = {name: each for name, each in zip(latest, in_threads(seconds, latest), strict=True) if each is not None}
    return replace(history, seconds={**found, **history.seconds})
