"""What is measured, in which order, how often and which ways take part; as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compare.workload import World

WAYS = {
    "a": "one Dockerfile per image, `docker build` one after the other",
    "b": "the same Dockerfiles in one plain `docker buildx bake`",
    "c": "plain `docker buildx bake` of the generated `docker-bake.hcl`",
    "d": "`buildsys bake --all --push`",
}
# Before a measurement: nothing is touched, the engine is emptied, or the registry too.
KEEP, EMPTY_ENGINE, EMPTY_ALL = "keep", "empty engine", "empty all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One situation: `changes` are applied to the world of each way before it, `moved` moves the parent of Debian 12.

    With `unpack` the ways push by plain `--push`, see `words_of`. With `half` the run is stopped at half of what the
    way took for the scenario `cold` of the same part, and what is measured is the run after it.
    """

    name: str
    title: str
    ways: str = "abcd"
    rounds: int = 1
    before: str = KEEP
    changes: tuple[tuple[str, bool | int], ...] = ()
    moved: bool = False
    half: bool = False
    unpack: bool = False

    def world(self, now: World) -> World:
        """Return the world after its changes."""
        return replace(now, **dict(self.changes))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Scenarios on one workload, each from where the one before left off; `title` says which."""

    name: str
    title: str
    world: World
    scenarios: tuple[Scenario, ...]


COLD = Scenario(name="cold", title="cold", before=EMPTY_ALL)
WARM = Scenario(name="warm", title="nothing changed, warm engine", rounds=5)
FIX = Scenario(name="fix", title="one package fixed in one release", changes=(("fixed", True),))
BUMP = Scenario(name="bump", title="Miniconda's stand-in updated", changes=(("prefix", 2),))
MOVED = Scenario(name="moved", title="base image of one release moved", moved=True)
EMPTIED = Scenario(name="emptied", title="nothing changed, empty engine, full registry", rounds=5, before=EMPTY_ENGINE)
UNPACKED = replace(
    EMPTIED, name="unpacked", title="the same, pushed by plain `--push`, which also unpacks", rounds=1, unpack=True
)
ADDED = Scenario(name="added", title="one stack added", changes=(("added", True),))
RESUME = Scenario(name="resume", title="stopped at half, resumed", ways="bd", before=EMPTY_ALL, half=True)

COMPILED, BARE, WHOLE = "compiled", "bare", "whole"


def full() -> tuple[Part, ...]:
    """Return what `make bench` does; in long scenarios only the ways that a goal compares."""
    compiled = (COLD, WARM, _only(FIX, "bcd"), _only(BUMP, "bd"), EMPTIED, UNPACKED, ADDED)
    bare = (COLD, _only(FIX, "bcd"), _only(MOVED, "bcd"), RESUME)
    return (
        Part(name=COMPILED, title="every image compiles its MPI", world=World(mpi="ucx"), scenarios=compiled),
        Part(name=BARE, title="nothing is compiled", world=World(mpi="none"), scenarios=bare),
    )


def quick() -> tuple[Part, ...]:
    """Return what `make bench-quick` does: Debian 12 alone, nothing compiled, only the ways b and d, each once."""
    world = World(mpi="none", releases=(12,))
    chosen = (COLD, replace(WARM, rounds=1), FIX, BUMP, replace(EMPTIED, rounds=1), UNPACKED)
    scenarios = tuple(_only(each, "bd") for each in chosen)
    return (Part(name="quick", title="Debian 12 alone, nothing is compiled", world=world, scenarios=scenarios),)


def long() -> tuple[Part, ...]:
    """Return the long run: the complete Open MPI in the four images of Debian 12, cold and after a fixed package."""
    scenarios = (_only(COLD, "bd"), _only(FIX, "bd"))
    return (
        Part(
            name=WHOLE,
            title="every image compiles the complete Open MPI",
            world=World(mpi="openmpi", releases=(12,)),
            scenarios=scenarios,
        ),
    )


def chosen(parts: Sequence[Part], names: Sequence[str], ways: str, rounds: int | None) -> tuple[Part, ...]:
    """Return the parts with only some scenarios, given as `scenario` or `part/scenario`, and only some ways."""
    found = []
    for part in parts:
        kept = [
            replace(each, ways="".join(way for way in each.ways if way in ways), rounds=rounds or each.rounds)
            for each in part.scenarios
            if not names or each.name in names or f"{part.name}/{each.name}" in names
        ]
        kept = [each for each in kept if each.ways]
        if kept:
            found.append(replace(part, scenarios=tuple(kept)))
    return tuple(found)


def _only(scenario: Scenario, ways: str) -> Scenario:
    return replace(scenario, ways=ways)
