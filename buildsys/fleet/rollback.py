"""How public tags get back to an image that they named before: by digest, from what the registry remembers alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from buildsys.errors import Diagnostic, InvalidInput, Unavailable
from buildsys.fleet.history import Archive, Entry, History, Hold, entry_of
from buildsys.oci.client import in_threads, missing_parts
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.run.index import put_tag, tagged
from buildsys.values import dataclass

_NUMBER = re.compile(r"[1-9][0-9]{0,5}")
_KEY = re.compile(r"(sha256:)?[0-9a-f]{8,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Back:
    """Where tags of a stack went: to the image of an entry, which tags, and those that name an image of others."""

    stack: str
    entry: Entry
    moved: tuple[str, ...]
    kept: tuple[str, ...]
    others: tuple[str, ...]


def history_of(archive: Archive, stack: str) -> History:
    """Return the history of a stack; raises `InvalidInput` if it has none."""
    found = archive.find(stack)
    if found is None:
        message = f"`{archive.prefix}` has no history of a stack `{stack}`"
        hint = "`buildsys bake --push` begins it when tags move"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    return found


def roll_back(archive: Archive, stack: str, to: str | None, *, clock: Callable[[], float]) -> Back:
    """Move the tags of a stack to an earlier image, by default the one before, and hold them there.

    `to` is the number of an entry, a key, a digest or the beginning of one. Tags move that named this image then; one
    that names an image of another stack by now stays. The hold is written first, so that a bake meanwhile finds it.
    Raises `InvalidInput`, `Unavailable` for an image that lacks a part, `RegistryProblem`.
    """
    history = history_of(archive, stack)
    place = Reference.parse(f"{archive.prefix}/{history.repository}:x")
    names = sorted({tag for each in history.entries for tag in each.tags})
    now = {Reference.parse(tag).target: digest for tag, digest in tagged(archive.registry, _full(place, names)).items()}
    entry = _before(history, {*now.values()}) if to is None else _chosen(history, to)
    image = place.with_digest(entry.digest)
    if missing := missing_parts(archive.registry, image):
        message = f"`{image}` cannot be used: {missing[0]} is missing from the registry"
        raise Unavailable(message, hint=f"`buildsys history {stack}` lists other images")
    named = history.named(entry.number)
    tags = [tag for tag in names if tag in named and named[tag].digest == entry.digest]
    own = {each.digest for each in history.entries}
    others = tuple(tag for tag in tags if now[tag] is not None and now[tag] not in own)
    moves = [tag for tag in tags if tag not in others and now[tag] != entry.digest]
    seconds = clock()
    moved = entry_of(archive.registry, image, _full(place, moves), now=seconds, by="rollback")
    moved = replace(moved, key=entry.key, reason=f"back to {entry.number}")
    hold = Hold(time=int(seconds), digest=entry.digest)

    def keep(old: History) -> History:
        return replace(old.next(moved, now) if moves else old, hold=hold)

    archive.change(stack, history.repository, keep)
    in_threads(lambda tag: put_tag(archive.registry, image, tag), moves)
    kept = tuple(tag for tag in tags if now[tag] == entry.digest)
    return Back(stack=stack, entry=entry, moved=tuple(moves), kept=kept, others=others)


def follow(archive: Archive, back: Back, repository: str, prefix: str) -> str:
    """Move the same tags in a further registry, which has copies; return why that was not done, empty if it was."""
    image = Reference.parse(f"{prefix}/{repository}:x").with_digest(back.entry.digest)
    try:
        if missing := missing_parts(archive.registry, image):
            return f"{missing[0]} is missing"
        in_threads(lambda tag: put_tag(archive.registry, image, tag), [*back.moved, *back.kept])
    except RegistryProblem as problem:
        return str(problem)
    return ""


def release(archive: Archive, stack: str) -> bool:
    """End the hold of a stack's tags, which stay until the next bake; return whether there was one."""
    history = history_of(archive, stack)
    if history.hold is None:
        return False
    archive.change(stack, history.repository, lambda old: replace(old, hold=None))
    return True


def _full(place: Reference, tags: list[str]) -> list[str]:
    return [str(place.with_tag(tag)) for tag in tags]


def _before(history: History, now: set[str | None]) -> Entry:
    """Return the last image before the one that the tags name; what a rollback left is not one of them."""
    baked = [each for each in history.entries if each.by != "rollback"]
    present = next((number for number, each in reversed([*enumerate(baked)]) if each.digest in now), len(baked))
    digest = baked[present].digest if present < len(baked) else ""
    earlier = [each for each in baked[:present] if each.digest != digest]
    if not earlier:
        message = f"the tags of `{history.stack}` named no image before"
        hint = f"name one of `buildsys history {history.stack}` with `--to`"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    return earlier[-1]


def _chosen(history: History, word: str) -> Entry:
    found = [each for each in history.entries if each.by != "rollback"] or [*history.entries]
    if _NUMBER.fullmatch(word):
        found = [each for each in history.entries if each.number == int(word)]
    elif _KEY.fullmatch(word):
        bare = word.removeprefix("sha256:")
        digests = [each for each in found if each.digest.removeprefix("sha256:").startswith(bare)]
        keys = [each for each in found if each.key.startswith(bare) and not word.startswith("sha256:")]
        found = [*digests, *keys]
    else:
        found = []
    if len({each.digest for each in found}) != 1:
        what = "names several images" if found else "is not an image"
        message = f"`{word}` {what} in the history of `{history.stack}`"
        hint = f"name the number, the digest or the key of one that `buildsys history {history.stack}` lists"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    return found[-1]
