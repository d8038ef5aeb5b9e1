"""How epochs move: to the week of a refresh, or at once to one that is new, for a layer, a flavour or a release."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType

from buildsys.config.lockfile import Lock, epoch_names, epoch_parts
from buildsys.errors import Diagnostic, InvalidInput, did_you_mean
from buildsys.plan.plan import Plan, release_of
from buildsys.texts import shown

_EXAMPLES = 3


def next_epoch(held: str | None, today: date) -> str:
    """Return the Monday of this week, or the epoch of the lock if that is later, such as this week's second."""
    monday = (today - timedelta(days=today.weekday())).isoformat()
    return monday if held is None else max(held, monday, key=epoch_parts)


def renewed(plan: Plan, lock: Lock, words: Collection[str], today: date) -> tuple[Lock, Mapping[str, str | None]]:
    """Return the lock with a new epoch for what `words` name, and the epochs before of the entries that it renews
    or begins.

    A word is a layer whose packages age, `layer/flavour`, either with `@release`, or a pattern of these. No node of any
    other kind gets the new epoch: an entry that others share stays, and a narrower one begins. Raises `InvalidInput`
    for a word that names nothing.
    """
    kinds = aging(plan)
    possible = list(dict.fromkeys(name for names in kinds for name in names))
    diagnostics = [
        Diagnostic(
            message=f"`{shown(word)}` is not a layer whose packages age",
            hint=did_you_mean(
                word,
                possible,
                f"name one of {', '.join(f'`{each}`' for each in possible[:_EXAMPLES])}"
                if possible
                else "add `freshness: week` to the layer",
            ),
        )
        for word in words
        if not any(fnmatchcase(name, word) for name in possible)
    ]
    if diagnostics:
        raise InvalidInput(diagnostics)
    chosen = {names for names in kinds if any(fnmatchcase(name, word) for name in names for word in words)}
    entries = set()
    for names in chosen:
        used = next((number for number, name in enumerate(names) if name in lock.epochs), len(names) - 1)
        alone = (
            name for name in reversed(names[: used + 1]) if chosen.issuperset(each for each in kinds if name in each)
        )
        entries.add(next(alone))
    held = {name: held_epoch(name, kinds, lock) for name in sorted(entries)}
    epoch = fresh_epoch(max(filter(None, held.values()), key=epoch_parts, default=None), today)
    return replace(lock, epochs=MappingProxyType({**lock.epochs, **dict.fromkeys(held, epoch)})), held


def fresh_epoch(held: str | None, today: date) -> str:
    """Return an epoch that is later than that of the lock: today, or with the next counter where it is of today."""
    if held is None or epoch_parts(held)[0] < today:
        return today.isoformat()
    day, counter = epoch_parts(held)
    return f"{day.isoformat()}.{counter + 1}"


def aging(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the entries of epochs that nodes can have, each kind of node once, the entry that counts first."""
    found = {
        epoch_names(recipe, release_of(plan.targets, node, recipe))
        for node in plan.nodes
        for recipe in (node.recipe, node.build)
        if recipe.freshness
    }
    return tuple(sorted(found))


def held_epoch(name: str, kinds: Collection[tuple[str, ...]], lock: Lock) -> str | None:
    """Return the epoch of an entry; of one that begins, the latest that any of its nodes has."""
    if name in lock.epochs:
        return lock.epochs[name]
    held = (
        next((lock.epochs[each] for each in names if each in lock.epochs), None) for names in kinds if name in names
    )
    return max(filter(None, held), key=epoch_parts, default=None)
