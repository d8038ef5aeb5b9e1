"""Which images are near the end of their support on a day, or beyond it; plans and bake files do not depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from buildsys.errors import Diagnostic, InvalidInput, enumerated
from buildsys.plan.plan import SHOWN_NAMES, Plan
from buildsys.plan.selection import select
from buildsys.resolve.node import ImageTarget
from buildsys.resolve.support import Support

NOTICE = timedelta(days=90)
"""How long before the end of support the plan warns of it."""


def support_warnings(plan: Plan, today: date) -> Iterator[Diagnostic]:
    """Yield a warning for each end of support within `NOTICE`, and each in the past; deprecated stacks are left out."""
    for support, stacks in _ends(each for each in plan.stacks if each.deprecated is None):
        if support.until - NOTICE <= today:
            hint = "move to what has support, set `supported_until` of the stack, or mark it `deprecated`"
            yield Diagnostic(message=_message(support, stacks, today), location=support.location, hint=hint)


def with_support(plan: Plan, today: date) -> tuple[tuple[str, ...], tuple[Diagnostic, ...]]:
    """Return the targets of all images that are not deprecated and have support, and what is left out.

    Raises `InvalidInput` if nothing remains.
    """
    chosen = select(plan, ["default"])
    ended = [each for each in plan.stacks if each.name in chosen and each.support and each.support.until < today]
    left = {each.name for each in ended}
    hint = "name an image to build it nevertheless"
    notes = tuple(
        Diagnostic(message=f"left out: {_message(support, stacks, today)}", location=support.location, hint=hint)
        for support, stacks in _ends(ended)
    )
    if chosen and len(left) == len(chosen):
        raise InvalidInput(notes)
    return tuple(each for each in chosen if each not in left), notes


def _ends(images: Iterable[ImageTarget]) -> Iterator[tuple[Support, list[str]]]:
    """Yield each end of support with the stacks that it is for, the first one first."""
    found: dict[Support, dict[str, None]] = {}
    for each in images:
        if each.support:
            found.setdefault(each.support, {})[each.stack] = None
    for support in sorted(found, key=lambda each: (each.until, each.value, str(each.location))):
        yield support, list(found[support])


def _message(support: Support, stacks: list[str], today: date) -> str:
    named = enumerated(stacks[:SHOWN_NAMES]) + (
        f" and {len(stacks) - SHOWN_NAMES} more" if len(stacks) > SHOWN_NAMES else ""
    )
    state = "ended on" if support.until < today else "ends on"
    because = f", as that of {support.value}" if support.value else ""
    return f"support of {named} {state} {support.until}{because}"
