"""What a clean-up deletes from a real docker-registry: nothing that a tag or a bake beside it needs, at any moment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.faults.witness import Witness
from tests.support.command_line import buildsys, environment, on_real_parents, run, small_project, write
from tests.support.own_registry import OwnRegistry
from tests.support.pages import Page

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

STACKS = """\
stacks:
  composed: {layers: [dist, conf]}
  assembled: {layers: [dist, conf, home]}
"""
HOME = "description: a folder to work in\nkind: system\nlicence: none\nworkdir: /work\n"
SLOW = "description: takes a while\nkind: artifact\nlicence: none\nprefix: /opt/slow\nrequires: [os]\n"
SLOW_DOCKERFILE = """\
FROM toolchain AS build
RUN sleep 20 && mkdir -p /artifact/opt/slow && echo slow > /artifact/opt/slow/slow

FROM scratch
COPY --from=build /artifact /
"""
# As if the command ran some days ago: what it publishes has that time.
EARLIER = """\
import sys, time
now = time.time
time.time = lambda: now() - 3 * 86400
from buildsys.__main__ import main
sys.exit(main())
"""
# Of this time tags named nothing but what they name now.
LATELY = ("--days", "2")
# Ends without a word behind its first deletion.
KILLED = """\
import os, signal, sys
from buildsys.oci.client import Registry
delete = Registry.delete
def last(self, reference):
    delete(self, reference)
    os.kill(os.getpid(), signal.SIGKILL)
Registry.delete = last
from buildsys.__main__ import main
sys.exit(main())
"""
MOST_DELETIONS = 60


def started(script: str, project: Path, registry: OwnRegistry, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=project,
        env=environment({"BUILDSYS_REGISTRY": registry.prefix}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(script: str, project: Path, registry: OwnRegistry, *words: str) -> int:
    process = started(script, project, registry, *words)
    output, _ = process.communicate(timeout=600)
    assert process.returncode <= 0, output
    return process.returncode


def two_versions(folder: Path, registry: OwnRegistry) -> tuple[Path, Path]:
    """Publish two versions of a project some days ago, and return them; public tags are of the second."""
    first = small_project(folder / "first", {"stacks.yaml": STACKS, "layers/home/layer.yaml": HOME})
    on_real_parents(first)
    ended(EARLIER, first, registry, "bake", "--all", "--push")
    second = Path(shutil.copytree(first, folder / "second", ignore=shutil.ignore_patterns(".buildsys")))
    write(second, "layers/conf/conf", "two\n")
    ended(EARLIER, second, registry, "bake", "--all", "--push")
    return first, second


def names(witness: Witness) -> set[str]:
    return {f"{name}:{tag}" for name in witness.repositories("x") for tag in witness.tags(name)}


def assert_whole(registry: OwnRegistry) -> set[str]:
    """Fetch everything that a tag names and hash it; return the tags."""
    witness = Witness(registry.address)
    found = names(witness)
    lacking = [line for each in found for line in witness.lacking(*each.split(":"))]
    assert lacking == []
    return found


def assert_nothing_is_missing(registry: OwnRegistry) -> None:
    """Look up everything that a tag names: deletion takes manifests, and no bytes of a blob."""
    found = [Reference.parse(f"{registry.address}/{each}") for each in names(Witness(registry.address))]
    with Registry() as client:
        assert [lost for each in found for lost in client.verify(each)] == []


def gc(project: Path, registry: OwnRegistry, *words: str) -> str:
    done = buildsys(project, "gc", *words, BUILDSYS_REGISTRY=registry.prefix, seconds=300)
    assert done.code == 0, done.output
    return done.output


def test_bake_beside_a_clean_up_succeeds_and_all_tags_pull_after_the_registry_collected(
    tmp_path: Path, own_registry: OwnRegistry
) -> None:
    first, second = two_versions(tmp_path, own_registry)
    old = {each for each in assert_whole(own_registry) if ":key-" in each}
    # An older checkout moves its tags back to images that only exist under their keys, behind a long build.
    write(first, "layers/slow/layer.yaml", SLOW)
    write(first, "layers/slow/Dockerfile", SLOW_DOCKERFILE)
    write(first, "stacks.yaml", f"{STACKS}  slow: {{layers: [dist, slow]}}\n")
    script = "import sys\nfrom buildsys.__main__ import main\nsys.exit(main())\n"
    baking = started(script, first, own_registry, "bake", "--all", "--push")
    deleted = 0
    while baking.poll() is None:
        deleted += int((re.search(r"deleted: (\d+) ind", gc(second, own_registry, *LATELY, "--yes")) or [0, 0])[1])
    output = baking.communicate()[0]
    assert baking.returncode == 0, output
    assert deleted >= 2, output
    kept = assert_whole(own_registry)
    assert {f"x/{name}:latest" for name in ("composed", "assembled", "slow")} <= kept
    own_registry.stop()
    own_registry.collect()
    own_registry.start()
    assert assert_whole(own_registry) == kept
    done = buildsys(second, "bake", "--all", "--push", BUILDSYS_REGISTRY=own_registry.prefix, seconds=600)
    assert done.code == 0, done.output
    assert old & assert_whole(own_registry)
    for name in ("composed", "assembled", "slow"):
        image = f"{own_registry.prefix}/{name}"
        pulled = run(tmp_path, "docker", "run", "--rm", "--pull", "always", image, "true", seconds=300)
        assert pulled.code == 0, pulled.stderr


@pytest.mark.long
def test_clean_up_that_is_killed_after_each_deletion_leaves_all_images_whole(
    tmp_path: Path, own_registry: OwnRegistry
) -> None:
    _, second = two_versions(tmp_path, own_registry)
    for words in ("three\n", "four\n"):
        write(second, "layers/conf/conf", words)
        ended(EARLIER, second, own_registry, "bake", "--all", "--push")
    shown = gc(second, own_registry, *LATELY)
    # A node has an inventory and the time of its build.
    assert "unneeded: 6 indexes, 6 images, 3 nodes, 6 records" in shown, shown
    before = assert_whole(own_registry)
    kills = 0
    while ended(KILLED, second, own_registry, "gc", *LATELY, "--yes") < 0:
        kills += 1
        assert_nothing_is_missing(own_registry)
        assert kills < MOST_DELETIONS
    # The time of an image is recorded before its index goes, and that record goes too.
    assert kills == 27
    left = assert_whole(own_registry)
    assert left < before
    assert "unneeded: nothing" in gc(second, own_registry, *LATELY)
    own_registry.stop()
    own_registry.collect()
    own_registry.start()
    assert assert_whole(own_registry) == left


def test_image_that_tags_named_lately_stays_for_a_rollback(tmp_path: Path, own_registry: OwnRegistry) -> None:
    _, second = two_versions(tmp_path, own_registry)
    before = assert_whole(own_registry)
    assert "deleted: nothing" in gc(second, own_registry, "--yes")
    done = buildsys(second, "rollback", "composed", BUILDSYS_REGISTRY=own_registry.prefix, seconds=300)
    assert done.code == 0, done.output
    assert before <= assert_whole(own_registry)
    gc(second, own_registry, *LATELY, "--yes")
    gone = before - assert_whole(own_registry)
    assert any(each.startswith("x/assembled:key-") for each in gone)
    assert not any(each.startswith("x/composed:") for each in gone)


def test_environment_stays_while_it_is_used(tmp_path: Path, own_registry: OwnRegistry) -> None:
    _, second = two_versions(tmp_path, own_registry)
    write(second, "own/Dockerfile", "FROM base\nCOPY said /said\n")
    write(second, "own/said", "hello\n")
    words = ("environment", "own/Dockerfile", "--dockerfile", "--on", "composed", "--quiet")
    ended(EARLIER, second, own_registry, *words)
    assert "composed-custom" not in gc(second, own_registry)
    assert "composed-custom" in gc(second, own_registry, "--days", "2")
    used = buildsys(second, *words, BUILDSYS_REGISTRY=own_registry.prefix, seconds=600)
    assert used.code == 0, used.output
    assert "composed-custom" not in gc(second, own_registry, "--days", "2", "--yes")
    assert_whole(own_registry)


def test_caches_of_targets_that_no_longer_exist_are_deleted(tmp_path: Path, own_registry: OwnRegistry) -> None:
    first = small_project(tmp_path / "first", {"stacks.yaml": STACKS, "layers/home/layer.yaml": HOME})
    on_real_parents(first)
    write(first, "layers/slow/layer.yaml", SLOW)
    write(first, "layers/slow/Dockerfile", SLOW_DOCKERFILE.replace("sleep 20 && ", ""))
    write(first, "stacks.yaml", f"{STACKS}  slow: {{layers: [dist, slow]}}\n")
    cache = {"BUILDSYS_REGISTRY": own_registry.prefix, "BUILDSYS_CACHE": f"{own_registry.address}/caches"}
    done = buildsys(first, "bake", "--all", "--push", seconds=600, shell=cache)
    assert done.code == 0, done.output
    witness = Witness(own_registry.address)
    before = set(witness.tags("caches"))
    assert any(each.startswith("slow") for each in before), before
    write(first, "stacks.yaml", STACKS)
    # A cache has no time of its own: it counts from the first look.
    looked = subprocess.run(
        [sys.executable, "-c", EARLIER, "gc", "--yes"],
        cwd=first,
        env=environment(cache),
        capture_output=True,
        text=True,
        check=False,
    )
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert {each for each in witness.tags("caches") if not each.startswith("seen-")} == before
    again = buildsys(first, "gc", "--yes", seconds=300, shell=cache)
    assert again.code == 0, again.output
    gone = before - set(witness.tags("caches"))
    assert gone
    assert all(each.startswith("slow") for each in gone)


def test_registry_that_does_not_allow_deletion_loses_nothing(tmp_path: Path, own_registry: OwnRegistry) -> None:
    _, second = two_versions(tmp_path, own_registry)
    before = assert_whole(own_registry)
    own_registry.stop()
    own_registry.refuse_deletion()
    own_registry.start()
    done = buildsys(second, "gc", *LATELY, "--yes", BUILDSYS_REGISTRY=own_registry.prefix, seconds=300)
    assert done.code == 5, done.output
    assert "REGISTRY_STORAGE_DELETE_ENABLED" in done.stderr
    assert before <= assert_whole(own_registry)


def test_commands_of_the_page_clean_up(tmp_path: Path, own_registry: OwnRegistry) -> None:
    first, second = two_versions(tmp_path, own_registry)
    for words in (("init", "-q"), ("add", "--all"), ("commit", "-q", "-m", "second"), ("tag", "v1.2")):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        assert run(second, "git", *who, *words).code == 0
    del first
    given = Page("registry.md").of("Clean up")
    cleaning = [line for line in given if line.startswith("buildsys gc")]
    assert cleaning
    for line in cleaning:
        done = buildsys(second, *line.split()[1:], BUILDSYS_REGISTRY=own_registry.prefix, seconds=300)
        assert done.code == 0, done.output
    own_registry.stop()
    collecting = [line for line in given if line.startswith("registry ")]
    assert collecting == ["registry garbage-collect --delete-untagged config.yaml"]
    own_registry.collect()
    own_registry.start()
    assert assert_whole(own_registry)
