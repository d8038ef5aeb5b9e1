"""How many examples a law of the property tests gets, and whether they are the same in every run.

`make check` repeats itself: the same examples, so that a commit fails for what it changed. `make laws` takes a seed
and many more of them.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

FIXED = "fixed"
RANDOM = "random"
RANDOM_FACTOR = 20


def register_profiles() -> None:
    """Register both profiles and load the fixed one; `--hypothesis-profile` may load the other one later."""
    fixed = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    settings.register_profile(FIXED, fixed)
    settings.register_profile(RANDOM, fixed, derandomize=False, print_blob=True)
    settings.load_profile(FIXED)


def examples(count: int) -> settings:
    """Return the settings of a law that `make check` tries on `count` examples."""
    factor = RANDOM_FACTOR if settings.get_current_profile_name() == RANDOM else 1
    return settings(max_examples=count * factor)
