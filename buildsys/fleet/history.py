"""What the public tags of a stack named, one document for each stack beside the nodes, and which tags are held."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from buildsys.errors import BuildsysError
from buildsys.events.history import History as TimesByTarget
from buildsys.fleet.durations import with_recorded
from buildsys.foreign import list_of, object_of
from buildsys.names import KEY_LABEL, NODES, shortened
from buildsys.oci.artifacts import ArtifactType, find_artifact, put_artifact
from buildsys.oci.client import ImageRegistry, in_threads
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference, is_digest
from buildsys.plan.plan import Plan
from buildsys.run.index import REVISION, TagMove
from buildsys.run.session import Session
from buildsys.run.store import Store
from buildsys.values import dataclass

HISTORY = ArtifactType(manifest="application/vnd.buildsys.history.v1", blob="application/vnd.buildsys.history.v1+json")
TAG = "history-"
_FORMAT = 1
# Entries of one stack; the oldest are dropped. At one move an hour it is three weeks, at one a week ten years.
MOST_ENTRIES = 500
# An entry is written before its tags move; within these seconds its run may still be moving them.
_MOVING = 600
# Two runs that write at once: each looks whether its entries are there, and adds them again.
_WRITES = 4


class UnreadableHistory(BuildsysError):
    """A history of another format; nothing is written in its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """That tags of a repository move to an image: `time` in seconds since 1970, `commit` empty where it is unknown.

    `number` counts the entries of a stack from 1 on. `by` is the command: `bake`, `rollback` or `promote`.
    """

    number: int
    time: int
    tags: tuple[str, ...]
    key: str
    digest: str
    reason: str = ""
    commit: str = ""
    by: str = "bake"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Tags that stay at an image since a rollback; `time` in seconds since 1970."""

    time: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What the tags of a stack named, the oldest entry first."""

    stack: str
    repository: str
    entries: tuple[Entry, ...] = ()
    hold: Hold | None = None

    def holds(self, key: str) -> bool:
        """Whether tags stay where they are when an image with this key is published: one that they have named."""
        return self.hold is not None and any(each.key == key for each in self.entries)

    def add(self, *entries: Entry) -> History:
        """Return the history with entries that get the next numbers; those that it has are not added again."""
        known = {_identity(each) for each in self.entries}
        first = self.entries[-1].number + 1 if self.entries else 1
        new = [each for each in entries if _identity(each) not in known]
        added = tuple(replace(each, number=number) for number, each in enumerate(new, first))
        return replace(self, entries=(*self.entries, *added)[-MOST_ENTRIES:])

    def next(self, entry: Entry, now: Mapping[str, str | None]) -> History:
        """Return the history with an entry whose tags are about to move from what they name `now`.

        Moves that never happened are taken out: a run was killed between its entry and its tags, and they still name
        what they named before.
        """
        lost = set[tuple[int, str]]()
        for tag in entry.tags:
            named: list[Entry | None] = [None, None, *(each for each in self.entries if tag in each.tags)]
            before, last = named[-2:]
            # A tag that names nothing may have been deleted.
            is_over = last and (last.digest == entry.digest or (before and last.time < entry.time - _MOVING))
            if last and is_over and last.digest != now[tag] == (before and before.digest):
                lost.add((last.number, tag))
        left = [
            replace(each, tags=tuple(tag for tag in each.tags if (each.number, tag) not in lost))
            for each in self.entries
        ]
        return replace(self, entries=tuple(each for each in left if each.tags)).add(entry)

    def named_since(self, since: float) -> frozenset[str]:
        """Return the digests that tags named at some time since one in seconds since 1970, or at which they are held.

        What a tag names still is among them only if it moved there since: the tag itself is in the registry.
        """
        last: dict[str, str] = {}
        found = {self.hold.digest} if self.hold else set[str]()
        for each in self.entries:
            if each.time >= since:
                found |= {each.digest, *(last[tag] for tag in each.tags if tag in last)}
            last |= dict.fromkeys(each.tags, each.digest)
        return frozenset(found)

    def named(self, number: int) -> Mapping[str, Entry]:
        """Return which entry moved each tag last, when that of a number had been added."""
        return {tag: each for each in self.entries if each.number <= number for tag in each.tags}


def _identity(entry: Entry) -> tuple[object, ...]:
    return entry.time, entry.tags, entry.digest, entry.by


def write(history: History) -> bytes:
    """Return the document of a history."""
    value = {
        "version": _FORMAT,
        "stack": history.stack,
        "repository": history.repository,
        "hold": None if history.hold is None else {"time": history.hold.time, "digest": history.hold.digest},
        "entries": [
            {
                "number": each.number,
                "time": each.time,
                "by": each.by,
                "tags": list(each.tags),
                "key": each.key,
                "digest": each.digest,
                "reason": each.reason,
                "commit": each.commit,
            }
            for each in history.entries
        ],
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read(raw: bytes) -> History:
    """Return the history in a document; raises `UnreadableHistory`."""
    try:
        value = object_of(raw)
        if value.get("version") != _FORMAT:
            raise ValueError(f"version {value.get('version')}, and this buildsys reads version {_FORMAT}")
        hold = value.get("hold")
        return History(
            stack=_text(value, "stack"),
            repository=_text(value, "repository"),
            entries=tuple(map(_entry, list_of(value, "entries", dict))),
            hold=None if hold is None else Hold(time=_number(hold, "time"), digest=_digest(hold)),
        )
    except (ValueError, TypeError, KeyError) as error:
        message = f"a history of tags cannot be read: {error}"
        raise UnreadableHistory(message, hint="use the version of buildsys that has written it") from error


def _entry(value: dict[str, Any]) -> Entry:
    return Entry(
        number=_number(value, "number"),
        time=_number(value, "time"),
        tags=tuple(list_of(value, "tags", str)),
        key=_text(value, "key"),
        digest=_digest(value),
        reason=_text(value, "reason"),
        commit=_text(value, "commit"),
        by=_text(value, "by"),
    )


def _text(value: dict[str, Any], name: str) -> str:
    if not isinstance(value[name], str):
        raise ValueError(f"`{name}` is no text")
    return str(value[name])


def _number(value: dict[str, Any], name: str) -> int:
    if type(value[name]) is not int or not 0 <= value[name] < 1 << 40:
        raise ValueError(f"`{name}` is no number")
    return int(value[name])


def _digest(value: dict[str, Any]) -> str:
    if not is_digest(_text(value, "digest")):
        raise ValueError("`digest` is no digest")
    return str(value["digest"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """The histories of all stacks below a prefix of a registry, such as `registry.example.com/ml`."""

    registry: ImageRegistry
    prefix: str

    @property
    def nodes(self) -> Reference:
        """The repository that has them, which is known without a project."""
        return Reference.parse(f"{self.prefix}/{NODES}:{TAG}")

    def location(self, stack: str) -> Reference:
        """Return where the history of a stack is."""
        return self.nodes.with_tag(f"{TAG}{shortened(stack)}")

    def find(self, stack: str) -> History | None:
        """Return the history of a stack, None if it has none; raises `RegistryProblem`, `UnreadableHistory`."""
        raw = find_artifact(self.registry, self.location(stack), HISTORY)
        found = None if raw is None else read(raw)
        return found if found is None or found.stack == stack else None

    def change(self, stack: str, repository: str, action: Callable[[History], History]) -> History:
        """Change the history of a stack, and return it as it is then; entries of a run at the same time stay.

        Raises `RegistryProblem`, `UnreadableHistory`.
        """
        found = self.find(stack) or History(stack=stack, repository=repository)
        for _ in range(_WRITES):
            wanted = action(found)
            if wanted == found:
                break
            put_artifact(self.registry, self.location(stack), HISTORY, write(wanted))
            found = self.find(stack) or History(stack=stack, repository=repository)
            if found.hold == wanted.hold and {*map(_identity, wanted.entries)} <= {*map(_identity, found.entries)}:
                break
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What a run reads of histories and writes to them: `run.index.TagHistory`; `note` takes what could not be done."""

    archive: Archive
    clock: Callable[[], float]
    note: Callable[[str], None]
    by: str = "bake"

    def estimates(self, history: TimesByTarget, plan: Plan, names: Iterable[str]) -> TimesByTarget:
        """Return a history of this machine with the times of nodes that it lacks, as the registry has them."""
        store = Store(registry=self.archive.registry, prefix=self.archive.prefix)
        return with_recorded(history, store, plan, names)

    def held(self, keys: Mapping[str, str]) -> Mapping[str, str]:
        """Return why the tags of stacks stay: they were rolled back from an image of the same key, or of an older one.

        So they do where the history cannot be read. Raises `RegistryProblem`.
        """

        def why(stack: str) -> str:
            try:
                found = self.archive.find(stack)
            except UnreadableHistory as error:
                return f"the tags of `{stack}` stay where they are: {error.message}"
            if found is None or found.hold is None or not found.holds(keys[stack]):
                return ""
            return (
                f"the tags of `{stack}` are held at {found.hold.digest[:19]} since a rollback; "
                f"`buildsys rollback {stack} --release` ends that, and so does an image with a new key"
            )

        found = zip(keys, in_threads(why, keys), strict=True)
        return {stack: text for stack, text in found if text}

    def moving(self, moves: Iterable[TagMove], now: Mapping[str, str | None]) -> None:
        """Add an entry for each move, which ends a hold."""

        def keep(move: TagMove) -> None:
            image = Reference.parse(move.image)
            try:
                entry = entry_of(self.archive.registry, image, move.tags, now=self.clock(), by=self.by)
                entry = replace(entry, key=move.key, reason=move.reason)
                held = {Reference.parse(tag).target: now[tag] for tag in move.tags}
                self.archive.change(move.stack, move.repository, lambda old: replace(old.next(entry, held), hold=None))
            except (RegistryProblem, UnreadableHistory) as error:
                self.note(f"the history of `{move.stack}` lacks that its tags move: {error}")

        in_threads(keep, moves)


def entry_of(registry: ImageRegistry, image: Reference, tags: Iterable[str], *, now: float, by: str) -> Entry:
    """Return an entry for references of tags that move to an image, with what its annotations say; its number is 0."""
    manifest = registry.manifest(image)
    said = dict(manifest.annotations) if manifest else {}
    return Entry(
        number=0,
        time=int(now),
        tags=tuple(Reference.parse(tag).target for tag in tags),
        key=said.get(KEY_LABEL, ""),
        digest=image.digest or "",
        commit=said.get(REVISION, ""),
        by=by,
    )


def record_of(session: Session, store: Store) -> Record:
    """Return the histories of a run's registry."""
    archive = Archive(registry=store.registry, prefix=store.prefix)
    return Record(archive=archive, clock=session.context.clock, note=lambda text: session.note("history", text))
