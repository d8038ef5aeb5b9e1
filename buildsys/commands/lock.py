"""What the lock says of what is mutable: parents by their registries, downloads by their bytes, epochs by the day."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from types import MappingProxyType

from buildsys.config.lockfile import (
    DIGEST,
    Lock,
    LockedDownload,
    LockedParent,
    timestamp_of,
    timestamp_problem,
    timestamp_text,
)
from buildsys.errors import Diagnostic, InvalidInput, Unavailable, WrongUsage, did_you_mean
from buildsys.oci.client import Registry
from buildsys.oci.config import described
from buildsys.oci.download import Unreached, fetched
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Manifest, Reference
from buildsys.plan.downloads import Checked, can_be_locked
from buildsys.plan.epochs import aging, held_epoch, next_epoch
from buildsys.plan.plan import Plan, PlannedParent, stale
from buildsys.plan.platforms import is_platform
from buildsys.project.mirrors import mirrored_reference
from buildsys.project.settings import Settings
from buildsys.recipes.fields import PLATFORM
from buildsys.recipes.recipe import Kind
from buildsys.texts import shown
from buildsys.values import dataclass

_MOST_NAMED = 3
_OFFLINE, _OFFLINE_KEPT = "not asked, offline", "kept as it is: offline"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One entry of the lock; `before` and `after` are equal where it stays.

    `answered` says whether a registry or server answered for it, None if none was asked.
    """

    name: str
    before: str | None
    after: str | None
    note: str = ""
    answered: bool | None = None


def missing_entries(plan: Plan, lock: Lock) -> tuple[str, ...]:
    """Return the parents without an entry in the lock, sorted."""
    return tuple(sorted(parent.name for parent in plan.parents if parent.name not in lock.parents))


def missing_versions(plan: Plan, lock: Lock) -> tuple[str, ...]:
    """Return the addresses without an entry in the lock, which must have their checksums, sorted."""
    wanted = {each.url for node in plan.nodes for each in node.downloads if each.is_locked}
    return tuple(sorted(wanted - {url for url, each in lock.downloads.items() if each.sha256}))


def check_versions(plan: Plan, lock: Lock, changes: Collection[Change]) -> None:
    """Raise `Unavailable` for the first address that gave nothing, and whose checksum the lock must have."""
    notes = {each.name: each.note for each in changes}
    for url in missing_versions(plan, lock):
        location = next(each.location for node in plan.nodes for each in node.downloads if each.url == url)
        hint = "check the value, or name a mirror under `downloads` in `buildsys.settings.yaml`"
        message = f"`{url}` has no checksum: {notes[url].removeprefix('unknown: ')}"
        raise Unavailable(message, location=location, hint=hint)


def resolved(
    plan: Plan,
    lock: Lock,
    *,
    update: Collection[str] | None,
    registry: Registry | None,
    settings: Settings,
    today: date,
    timestamp: int | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Lock, tuple[Change, ...]]:
    """Return the lock with missing entries added, those that `update` names renewed, and unused ones dropped.

    `update` are patterns of parents, entries of epochs such as `layer/flavour@release` and addresses; None renews
    nothing, an empty collection everything but toolchains and checksums that the lock must have, which are renewed
    only by name.
    Without a registry, and where none can be reached, an entry stays as it is, and its change reports it. `timestamp`,
    in seconds since 1970, replaces that of the lock, None keeps it. `environ` names the proxies of downloads. Raises
    `InvalidInput` for a pattern without a match, `Unavailable` for a download that is incomplete.
    """
    toolchains = {n.parent.name for n in plan.nodes if n.parent and n.recipe.kind is Kind.TOOLCHAIN}
    downloads_of_nodes = [each for node in plan.nodes for each in node.downloads]
    unknown = {each.url for each in downloads_of_nodes if each.sha256 is None}
    versions = {each.url for each in downloads_of_nodes if each.is_locked}
    addresses = sorted(url for url in unknown if can_be_locked(url) or url in lock.downloads)
    fresh = aging(plan)
    possible = dict.fromkeys(name for names in fresh for name in names)
    # An entry of one flavour or release begins when it is asked for by its name.
    begun = {**lock.epochs, **{name: "" for name in possible if name in (update or ())}}
    layers = sorted({next((name for name in names if name in begun), names[-1]) for names in fresh})
    known = [*(parent.name for parent in plan.parents), *layers, *possible, *addresses]
    _check_patterns(update or (), known)

    def renews(name: str) -> bool:
        if update is None:
            return False
        return any(fnmatchcase(name, each) for each in update) if update else name not in toolchains | versions

    changes: list[Change] = []
    parents = {}
    for parent in plan.parents:
        before = lock.parents.get(parent.name)
        found, note, answered = before, "", None
        if before is None or before.digest is None or renews(parent.name):
            found, note, answered = _parent(parent, before, registry, settings, _assembled(plan, parent))
        entry = found or LockedParent(reference=parent.images[0], digest=None, reason=note)
        parents[parent.name] = entry
        held = before.digest if before else None
        changes.append(Change(name=parent.name, before=held, after=entry.digest, note=note, answered=answered))
    epochs = {}
    for name in layers:
        # A flavour and a release begin where their layer is.
        before_epoch = held_epoch(name, fresh, lock)
        epochs[name] = next_epoch(before_epoch, today) if before_epoch is None or renews(name) else before_epoch
        stays = before_epoch == epochs[name] and renews(name)
        note = f"of this week; `buildsys fresh {name}` renews it at once" if stays else ""
        changes.append(Change(name=name, before=lock.epochs.get(name), after=epochs[name], note=note))
    timestamp = lock.timestamp if timestamp is None else timestamp
    if timestamp is not None:
        held_time = None if lock.timestamp is None else timestamp_text(lock.timestamp)
        changes.append(Change(name="timestamp", before=held_time, after=timestamp_text(timestamp)))
    downloads = {}
    for address in addresses:
        old = lock.downloads.get(address)
        new, note, answered = old, "", None
        if can_be_locked(address) and (old is None or renews(address)):
            new, note, answered = _download(address, old, settings, environ, offline=registry is None)
        if new:
            downloads[address] = new
        sums = [each.sha256 if each else None for each in (old, new)]
        changes.append(Change(name=address, before=sums[0], after=sums[1], note=note, answered=answered))
    return (
        replace(
            lock,
            timestamp=timestamp,
            parents=MappingProxyType(parents),
            epochs=MappingProxyType(epochs),
            downloads=MappingProxyType(downloads),
        ),
        tuple(changes),
    )


def next_timestamp(text: str | None, today: date) -> int:
    """Return the seconds since 1970 of a time as the lock has it, by default the midnight with which `today` begins.

    Raises `WrongUsage` for a time that has not come yet: files of a build would be older than it, and keep the time
    of the build.
    """
    latest = timestamp_of(f"{today.isoformat()}T00:00:00Z")
    if text is None:
        return latest
    problem = timestamp_problem(text)
    if problem is None and timestamp_of(text) > latest:
        problem = f"a time that has passed, at the latest {timestamp_text(latest)}"
    if problem is not None:
        message = f"`{shown(text)}` is not a timestamp, expected {problem}"
        raise WrongUsage(message, hint=f"use `{timestamp_text(latest)}`")
    return timestamp_of(text)


def _check_patterns(patterns: Collection[str], known: list[str]) -> None:
    diagnostics = [
        Diagnostic(
            message=f"the lock has no entry `{each}`",
            hint=did_you_mean(each, known, "run `buildsys lock --json` to list all entries"),
        )
        for each in patterns
        if not any(fnmatchcase(name, each) for name in known)
    ]
    if diagnostics:
        raise InvalidInput(diagnostics)


def _parent(
    parent: PlannedParent,
    before: LockedParent | None,
    registry: Registry | None,
    settings: Settings,
    assembled: Collection[str],
) -> tuple[LockedParent | None, str, bool | None]:
    """Return the entry of a parent by the first source that has it, None if none has; a note, and `answered`.

    `assembled` are the platforms for which images are assembled on the parent itself.
    """
    if registry is None:
        return before, _OFFLINE_KEPT if before else _OFFLINE, None
    problems, answered = [], False
    for image in parent.images:
        reference = Reference.parse(mirrored_reference(image, settings))
        try:
            manifest = registry.manifest(reference)
        except RegistryProblem as problem:
            problems.append(problem.message)
            continue
        answered = True
        if manifest is None:
            problems.append(f"`{image}` does not exist")
            continue
        unread = ""
        try:
            platforms, triggers = _described(registry, reference, manifest, assembled)
        except (RegistryProblem, ValueError) as problem:
            platforms, triggers, unread = {}, False, f"`{image}`: its platform is unknown: {problem}"
        found = LockedParent(
            reference=image,
            digest=manifest.descriptor.digest,
            platforms=MappingProxyType(dict(sorted(platforms.items()))),
            triggers=triggers,
        )
        note = f"from source {len(problems) + 1}, {image}: {'; '.join(problems)}" if problems else unread
        return found, note, answered
    why = "; ".join(problems)
    if before is None:
        return None, why, answered
    kept = before if before.digest else replace(before, reason=before.reason or why)
    return kept, f"kept as it is: {why}", answered


def _assembled(plan: Plan, parent: PlannedParent) -> frozenset[str]:
    """Return the platforms for which images are assembled on a parent itself, without a system node."""
    return frozenset(each.platform for each in plan.stacks if each.base is None and each.parent.name == parent.name)


def _described(
    registry: Registry, reference: Reference, manifest: Manifest, assembled: Collection[str]
) -> tuple[dict[str, str], bool]:
    """Return the digest of each platform of an image, and whether one of those `assembled` has ONBUILD triggers.

    Raises `RegistryProblem`, and `ValueError` for a config that cannot be read.
    """
    if manifest.config is not None:
        platform, triggers = described(registry.blob(reference, manifest.config.digest))
        return {} if PLATFORM.problem(platform) else {platform: manifest.descriptor.digest}, triggers
    platforms = {
        each.platform: each.digest
        for each in manifest.manifests
        # What a registry says becomes a line of the lock.
        if each.platform and "unknown" not in each.platform
        if not PLATFORM.problem(each.platform) and not DIGEST.problem(each.digest)
    }
    wanted = {digest for name, digest in platforms.items() if any(is_platform(name, each) for each in assembled)}
    parts = [registry.manifest(reference.with_digest(digest)) for digest in sorted(wanted)]
    configs = [registry.blob(reference, part.config.digest) for part in parts if part and part.config]
    return platforms, any(described(config)[1] for config in configs)


def _download(
    address: str, held: LockedDownload | None, settings: Settings, environ: Mapping[str, str], *, offline: bool
) -> tuple[LockedDownload | None, str, bool | None]:
    """Return the entry of a download, None if its content is unknown, a note, and `answered`."""
    if offline:
        return held, _OFFLINE_KEPT if held else _OFFLINE, None
    origin = "/".join(address.split("/")[:3])
    url = address.replace(origin, settings.downloads.get(origin, origin), 1)
    try:
        found = fetched(address, url, environ=environ)
    except Unreached as error:
        return held, f"{'kept as it is' if held else 'unknown'}: {error}", False
    return LockedDownload(sha256=found.sha256, size=found.size), "", True


def compared(
    plan: Plan, lock: Lock, written: Collection[Checked], settings: Settings, environ: Mapping[str, str]
) -> tuple[Change, ...]:
    """Return what each address gives now, beside the checksum that a layer or the lock has for it.

    `written` are the checksums of layers. An address that cannot be reached keeps its checksum, with a note. Raises
    `Unavailable` where none can be reached.
    """
    sums = {each.address: each.sha256 for each in written if "{" not in each.address}
    unknown = {d.url for n in plan.nodes for d in n.downloads if d.sha256 is None}
    sums |= {url: each.sha256 for url, each in lock.downloads.items() if url in unknown and each.sha256}
    changes = []
    for address, held in sorted(sums.items()):
        found, note, answered = _download(address, LockedDownload(sha256=held), settings, environ, offline=False)
        after = found.sha256 if found else held
        changes.append(Change(name=address, before=held, after=after, note=note, answered=answered))
    check_answers(changes)
    return tuple(changes)


def check_answers(changes: Collection[Change]) -> None:
    """Raise `Unavailable` if nothing answered that was asked for any entry."""
    asked = [each for each in changes if each.answered is not None]
    if not asked or any(each.answered for each in asked):
        return
    names = [f"`{each.name}`" for each in asked]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    raise Unavailable(
        f"nothing answered for {', '.join(names[:_MOST_NAMED])}{more}: {asked[0].note.removeprefix('kept as it is: ')}",
        hint="name mirrors under `parents` and `downloads` in `buildsys.settings.yaml`; nothing was written",
    )


def outdated(
    plan: Plan, registry: Registry, settings: Settings, today: date
) -> tuple[tuple[Change, ...], Unavailable | None]:
    """Return the parents that moved upstream or cannot be looked up, and the layers whose packages are stale.

    With them is the problem if no registry answers for any parent.
    """
    found, answers = [], 0
    for parent in plan.parents:
        locked = parent.locked
        if locked.digest is None or locked.local:
            continue
        reference = Reference.parse(mirrored_reference(locked.reference, settings))
        try:
            answer = registry.head(reference)
        except RegistryProblem as error:
            found.append(Change(name=parent.name, before=locked.digest, after=None, note=error.message, answered=False))
            continue
        answers += 1
        if answer is None:
            note = f"`{locked.reference}` no longer exists"
            found.append(Change(name=parent.name, before=locked.digest, after=None, note=note))
        elif answer.digest != locked.digest:
            found.append(Change(name=parent.name, before=locked.digest, after=answer.digest))
    problem = None
    try:
        check_answers(() if answers else found)
    except Unavailable as error:
        problem = error
    aged = (Change(name=layer, before=day, after=None, note="stale") for layer, day in stale(plan, today))
    return (*found, *aged), problem
