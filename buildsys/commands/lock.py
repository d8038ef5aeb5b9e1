"""Resolves what is mutable into the lock: parents by their registries, downloads by their bytes, epochs by the day."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType

from buildsys.commands.downloads import Unreached, fetched
from buildsys.config.lockfile import Lock, LockedDownload, LockedParent
from buildsys.config.model import Kind
from buildsys.errors import Diagnostic, InvalidInput
from buildsys.oci.client import Registry
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.plan.plan import Plan, PlannedParent, stale
from buildsys.project.mirrors import mirrored_reference
from buildsys.project.settings import Settings

_OFFLINE, _OFFLINE_KEPT = "not asked, offline", "kept as it is: offline"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One entry that was looked at; `before` and `after` are equal where it stays."""

    name: str
    before: str | None
    after: str | None
    note: str = ""


def missing_entries(plan: Plan, lock: Lock) -> tuple[str, ...]:
    """Return the parents that the lock has no entry for, sorted."""
    return tuple(sorted(parent.name for parent in plan.parents if parent.name not in lock.parents))


def resolved(
    plan: Plan,
    lock: Lock,
    *,
    update: Collection[str] | None,
    registry: Registry | None,
    settings: Settings,
    today: date,
) -> tuple[Lock, tuple[Change, ...]]:
    """Return the lock with what is missing or unknown added, what `update` names moved, what nothing uses dropped.

    `update` are patterns of parents, layers and addresses; None moves nothing, no pattern everything but toolchains,
    which move only by name. Without a registry, and where none can be reached, an entry stays as it is, and its
    change says so. Raises `InvalidInput` for a pattern that means nothing, `Unavailable` for a download that is not
    whole.
    """
    toolchains = {n.parent.name for n in plan.nodes if n.parent and n.recipe.kind is Kind.TOOLCHAIN}
    addresses = sorted({d.url for n in plan.nodes for d in n.downloads if d.sha256 is None and ".git#" not in d.url})
    layers = sorted({each.layer for n in plan.nodes for each in (n.recipe, n.build) if each.freshness})
    known = [*(parent.name for parent in plan.parents), *layers, *addresses]
    _check_patterns(update or (), known)

    def moves(name: str) -> bool:
        if update is None:
            return False
        return any(fnmatchcase(name, each) for each in update) if update else name not in toolchains

    changes = []
    parents = {}
    for parent in plan.parents:
        before = lock.parents.get(parent.name)
        after, note = before, ""
        if before is None or before.digest is None or moves(parent.name):
            after, note = _parent(parent, before, registry, settings)
        parents[parent.name] = after or LockedParent(reference=parent.images[0], digest=None, reason=note)
        changes.append(
            Change(
                name=parent.name,
                before=before.digest if before else None,
                after=parents[parent.name].digest,
                note=note,
            )
        )
    epochs = {}
    monday = (today - timedelta(days=today.weekday())).isoformat()
    for layer in layers:
        day = lock.epochs.get(layer)
        epochs[layer] = monday if day is None or moves(layer) else day
        changes.append(Change(name=layer, before=day, after=epochs[layer]))
    downloads = {}
    for address in addresses:
        held = lock.downloads.get(address)
        found, note = held, ""
        if held is None or moves(address):
            if registry is None:
                note = _OFFLINE_KEPT if held else _OFFLINE
            else:
                found, note = _download(address, held, settings)
        if found:
            downloads[address] = found
        changes.append(
            Change(
                name=address,
                before=held.sha256 if held else None,
                after=found.sha256 if found else None,
                note=note,
            )
        )
    return (
        Lock(parents=MappingProxyType(parents), epochs=MappingProxyType(epochs), downloads=MappingProxyType(downloads)),
        tuple(changes),
    )


def _check_patterns(patterns: Collection[str], known: list[str]) -> None:
    diagnostics = [
        Diagnostic(message=f"nothing in the lock is named `{each}`", hint="`buildsys lock --json` shows all entries")
        for each in patterns
        if not any(fnmatchcase(name, each) for name in known)
    ]
    if diagnostics:
        raise InvalidInput(diagnostics)


def _parent(
    parent: PlannedParent, before: LockedParent | None, registry: Registry | None, settings: Settings
) -> tuple[LockedParent | None, str]:
    """Ask the sources of a parent in their order; return its entry and what to say of it."""
    if registry is None:
        return before, _OFFLINE_KEPT if before else _OFFLINE
    problems = []
    for image in parent.images:
        reference = Reference.parse(mirrored_reference(image, settings))
        try:
            manifest = registry.manifest(reference)
        except RegistryProblem as problem:
            problems.append(problem.message)
            continue
        if manifest is None:
            problems.append(f"`{image}` does not exist")
            continue
        platforms = {
            each.platform: each.digest
            for each in manifest.manifests
            if each.platform and "unknown" not in each.platform
        }
        found = LockedParent(
            reference=image,
            digest=manifest.descriptor.digest,
            platforms=MappingProxyType(dict(sorted(platforms.items()))),
        )
        note = f"from source {len(problems) + 1}, {image}: {'; '.join(problems)}" if problems else ""
        return found, note
    why = "; ".join(problems)
    if before is None:
        return None, why
    kept = before if before.digest else replace(before, reason=before.reason or why)
    return kept, f"kept as it is: {why}"


def _download(address: str, held: LockedDownload | None, settings: Settings) -> tuple[LockedDownload | None, str]:
    origin = "/".join(address.split("/")[:3])
    url = address.replace(origin, settings.downloads.get(origin, origin), 1)
    try:
        return fetched(address, url), ""
    except Unreached as error:
        return held, f"{'kept as it is' if held else 'unknown'}: {error}"


def outdated(plan: Plan, registry: Registry, settings: Settings, today: date) -> tuple[Change, ...]:
    """Return what moved upstream since it was locked, what could not be asked, and layers whose packages are stale."""
    found = []
    for parent in plan.parents:
        locked = parent.locked
        if locked.digest is None or locked.local:
            continue
        reference = Reference.parse(mirrored_reference(locked.reference, settings))
        try:
            answer = registry.head(reference)
        except RegistryProblem as problem:
            found.append(Change(name=parent.name, before=locked.digest, after=None, note=problem.message))
            continue
        if answer is None:
            note = f"`{locked.reference}` does not exist any more"
            found.append(Change(name=parent.name, before=locked.digest, after=None, note=note))
        elif answer.digest != locked.digest:
            found.append(Change(name=parent.name, before=locked.digest, after=answer.digest))
    return (*found, *(Change(name=layer, before=day, after=None, note="stale") for layer, day in stale(plan, today)))
