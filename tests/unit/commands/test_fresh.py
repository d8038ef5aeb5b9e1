"""New epochs for what a fix is in: which entries of the lock move or begin, and what a bake rebuilds for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from buildsys.commands import query
from buildsys.commands.lock import resolved
from buildsys.config.lockfile import Lock, epoch_name, lock_text, parse_lock
from buildsys.errors import InvalidInput, WrongUsage
from buildsys.plan.epochs import fresh_epoch, renewed
from buildsys.plan.plan import epoch_of
from buildsys.project.settings import Settings
from tests.support.trees import LOCK, planned, tree
from tests.support.world import World

TODAY, OLD = date(2026, 11, 25), "2026-11-02"
STACKS = """\
stacks:
  one: {layers: [system, extra, fast]}
  two: {layers: [{system: {release: 2}}, extra, fast]}
"""
EXTRA = "description: more packages\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [more]}]\n"


def files(epochs: Mapping[str, str]) -> dict[str, str]:
    """Return a project with one layer whose packages age, in two releases, and a layer that it installs."""
    found = tree(STACKS, extra=EXTRA)
    found["layers/system/layer.yaml"] += "freshness: week\n"
    found["layers/system/Dockerfile"] = "FROM base\nARG EPOCH\nARG PACKAGES\nRUN install $PACKAGES\n"
    held = "".join(f"  {name}: {epoch}\n" for name, epoch in epochs.items())
    return {**found, "buildsys.lock": f"{LOCK}epochs:\n{held}"}


def renew(epochs: Mapping[str, str], *words: str) -> dict[str, str]:
    """Return the epochs of the lock after words were renewed."""
    plan = planned(files(epochs))
    found, _ = renewed(plan, Lock(epochs=epochs), words, TODAY)
    return dict(found.epochs)


def epochs_of_nodes(epochs: Mapping[str, str]) -> dict[str, str]:
    """Return the epoch of each node that has one."""
    plan = planned(files(epochs))
    return {node.name: epoch for node in plan.nodes if (epoch := epoch_of(plan, node)) is not None}


@pytest.mark.parametrize(
    ("held", "epoch"),
    [
        (None, "2026-11-25"),
        ("2026-11-23.4", "2026-11-25"),
        ("2026-11-25", "2026-11-25.2"),
        ("2026-11-25.9", "2026-11-25.10"),
        ("2026-12-01.2", "2026-12-01.3"),
    ],
)
def test_a_fresh_epoch_is_later_than_the_one_before(held: str | None, epoch: str) -> None:
    assert fresh_epoch(held, TODAY) == epoch
    assert parse_lock(f"version: 1\nepochs: {{a: {epoch}}}\n").epochs == {"a": epoch}


def test_a_layer_is_renewed_in_all_its_releases() -> None:
    assert renew({"system": OLD}, "system") == {"system": "2026-11-25"}
    both = renew({"system": OLD, "system@2": "2026-11-25.3"}, "system")
    assert both == {"system": "2026-11-25.4", "system@2": "2026-11-25.4"}


def test_one_release_gets_an_entry_of_its_own_and_the_others_keep_theirs() -> None:
    begun = renew({"system": OLD}, "system@2")
    assert begun == {"system": OLD, "system@2": "2026-11-25"}
    assert renew(begun, "system@2") == {"system": OLD, "system@2": "2026-11-25.2"}
    assert epochs_of_nodes(begun) == {
        "system-1": OLD,
        "extra-on-system-1": OLD,
        "system-2": "2026-11-25",
        "extra-on-system-2": "2026-11-25",
    }


def test_a_pattern_of_releases_renews_each() -> None:
    assert renew({"system": OLD}, "*@[12]") == {"system": "2026-11-25"}


def test_a_word_that_names_no_aging_layer_is_an_error_with_the_nearest() -> None:
    plan = planned(files({"system": OLD}))
    with pytest.raises(InvalidInput) as caught:
        renewed(plan, Lock(epochs={"system": OLD}), ["system@2", "fast", "system@3"], TODAY)
    assert [(each.message, each.hint) for each in caught.value.diagnostics()] == [
        ("`fast` is not a layer whose packages age", "name one of `system@1`, `system`, `system@2`"),
        ("`system@3` is not a layer whose packages age", "did you mean `system@2`?"),
    ]


def test_lock_keeps_an_entry_of_a_release_and_updates_it_by_its_name() -> None:
    epochs = {"system": OLD, "system@2": "2026-11-09.2"}
    plan, held = planned(files(epochs)), parse_lock(files(epochs)["buildsys.lock"])

    def update(*names: str) -> dict[str, str]:
        found, _ = resolved(plan, held, update=names or None, registry=None, settings=Settings(), today=TODAY)
        return dict(found.epochs)

    assert update() == epochs
    assert update("system@2") == {"system": OLD, "system@2": "2026-11-23"}
    assert update("system@1") == {"system@1": "2026-11-23", "system@2": "2026-11-09.2"}
    assert parse_lock(lock_text(Lock(epochs=epochs))).epochs == epochs


def test_the_entry_of_a_flavour_counts_before_that_of_a_release() -> None:
    recipe = planned(files({"system": OLD})).nodes[0].recipe
    names = {"system@1": "a", "system": "b"}
    assert [epoch_name(recipe, names, "1"), epoch_name(recipe, names, "2"), epoch_name(recipe, {}, "1")] == [
        *("system@1", "system"),
        recipe.layer,
    ]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, "one =\ntwo =\n")
    for path, text in files({"system": OLD}).items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return world


def fresh(world: World, *words: str) -> query.Freshened:
    found = query.fresh(world.workspace, words, {}, today=TODAY)
    world._selection = None
    return found


def test_a_fix_of_one_release_rebuilds_its_nodes_and_nothing_else(world: World) -> None:
    world.publish()
    first = sorted(name for names in world.builder.baked for name in names)
    assert first == [
        *("extra-on-system-1", "extra-on-system-2", "fast-1_0-tools-1", "fast-1_0-tools-2"),
        *("system-1", "system-2", "tools-1", "tools-2"),
    ]
    for epoch in ("2026-11-25", "2026-11-25.2"):
        found = fresh(world, "system@2")
        assert [(each.name, each.after) for each in found.entries] == [("system@2", epoch)]
        assert [each.target for each in found.changes] == ["system-2", "extra-on-system-2", "two"]
        world.publish()
        assert sorted(name for names in world.builder.baked for name in names) == ["extra-on-system-2", "system-2"]
        assert {world.target("two")} == {each.target for each in found.changes if each.kind == "image"}
    world.publish()
    assert world.builder.baked == []


def test_fresh_writes_the_bake_file_with_the_new_epoch(world: World) -> None:
    fresh(world, "system")
    assert '"2026-11-25"' in (world.root / "docker-bake.hcl").read_text(encoding="utf-8")


def test_no_cache_on_a_key_that_exists_is_refused_with_a_way_to_a_new_one(world: World) -> None:
    assert world.publish(no_cache=True).complete
    with pytest.raises(WrongUsage, match="`--no-cache` rebuilds nothing that is published: `one` and 1 more") as caught:
        world.publish(no_cache=True)
    assert (
        caught.value.hint
        == "`buildsys fresh system` gives the packages of a layer a new epoch, and what is on it new keys"
    )
    fresh(world, "system")
    assert world.publish(no_cache=True).complete
