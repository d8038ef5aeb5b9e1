"""Whose packages have gone stale by a given day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType

from buildsys.plan.plan import Plan

FRESH_DAYS: Mapping[str, int] = MappingProxyType({"week": 7, "month": 31})


def stale(plan: Plan, today: date) -> tuple[tuple[str, str], ...]:
    """Return layer and epoch of what is older than its layer says that its packages stay fresh."""
    freshness = {r.layer: r.freshness for n in plan.nodes for r in (n.recipe, n.build) if r.freshness}
    return tuple(
        (layer, day)
        for layer, day in plan.epochs.items()
        if date.fromisoformat(day) + timedelta(days=FRESH_DAYS[freshness[layer] or "month"]) <= today
    )
