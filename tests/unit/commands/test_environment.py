"""What `environment` refuses, and what it does about tags and about what is under the key of an image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildsys.buildkit.invocation import BakeCall, BakeResult
from buildsys.commands import environment
from buildsys.commands.environment import TARGET, CustomImage, Request, dockerfile_image, environment_image
from buildsys.errors import InvalidInput
from buildsys.oci.http import UnreadableManifest
from buildsys.oci.reference import Manifest, Reference
from buildsys.plan.plan import Plan
from buildsys.run.index import TagMoved
from tests.support.world import PREFIX, World

NAME = f"{PREFIX}/one-custom"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world with a user's own Dockerfile, and a builder that can build it."""
    world = World(tmp_path, "a:\none = a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/Dockerfile").write_text("FROM base\nRUN true\n", encoding="utf-8")
    bake = world.builder.bake

    def built(call: BakeCall, *words: Any, **named: Any) -> BakeResult:
        result = bake(call, *words, **named)
        if call.targets != (TARGET,):
            return result
        said = json.loads(world.builder.texts[-1])["target"][TARGET]
        pairs = (each.removeprefix("manifest:").partition("=") for each in said["annotations"])
        digest = world.registry.push(Reference.parse(said["tags"][0]), "mine", {name: text for name, _, text in pairs})
        return replace(result, digests={TARGET: digest})

    world.builder.bake = built  # type: ignore[method-assign]
    return world


def image(world: World, tag: str | None = "mine") -> CustomImage:
    request = Request(file=world.root / "mine/Dockerfile", stack="one", tag=tag)
    return dockerfile_image(world.session(), world.store, request)


def digest_of(world: World, tag: str) -> str | None:
    found = world.registry.manifest(Reference.parse(f"{NAME}:{tag}"))
    return found.descriptor.digest if found else None


def test_tag_moves_to_the_image_and_is_not_changed_where_it_is_right(world: World) -> None:
    first = image(world)
    assert (first.built, first.moved) == (True, (f"{NAME}:mine",))
    assert first.reference == f"{NAME}@{digest_of(world, 'mine')}"
    world.registry.written.clear()
    again = image(world)
    assert (again.built, again.moved, again.reference) == (False, (), first.reference)
    assert world.registry.written == []


def test_tag_that_a_different_run_moved_meanwhile_stays(world: World) -> None:
    image(world)
    theirs = world.registry.push(Reference.parse(f"{NAME}:theirs"), "theirs", {})
    (world.root / "mine/Dockerfile").write_text("FROM base\nRUN false\n", encoding="utf-8")
    bake = world.builder.bake

    def meanwhile(call: BakeCall, *words: Any, **named: Any) -> BakeResult:
        world.registry.tag(Reference.parse(f"{NAME}:theirs"), "mine")
        return bake(call, *words, **named)

    world.builder.bake = meanwhile  # type: ignore[method-assign]
    with pytest.raises(TagMoved, match="was moved to"):
        image(world)
    assert digest_of(world, "mine") == theirs


def test_index_that_cannot_be_read_is_built_once_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    image(world)
    (key,) = [tag for name, tag in world.registry.manifests_by_name if name == NAME and tag.startswith("key-")]
    manifest, damaged = world.registry.manifest, b"damaged"
    world.registry.manifests_by_name[NAME, key] = damaged

    def hostile(reference: Reference) -> Manifest | None:
        if world.registry.manifests_by_name.get((reference.name, reference.target)) == damaged:
            raise UnreadableManifest(f"`{reference}` is damaged", host=reference.host)
        return manifest(reference)

    monkeypatch.setattr(world.registry, "manifest", hostile)
    found = image(world)
    assert found.built
    assert any("rebuilding custom" in note and "is damaged" in note for note in world.notes)
    assert found.reference == f"{NAME}@{digest_of(world, key)}"


PIP = "name: x\ndependencies:\n  - python\n  - pip:\n    - --index-url https://me:s3cret@example.com/simple\n"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("requirements.txt", "six\n--extra-index-url https://me:s3cret@example.com/simple\n", 2),
        ("requirements.txt", "--index-url=https://s3cret@example.com/simple\n", 1),
        ("requirements.txt", "--index-url https://me:${TOKEN}@example.com/simple\n", 1),
        ("requirements.txt", "one @ HTTPS://me:s3cret@example.com/one.whl\n", 1),
        ("pylock.toml", 'lock-version = "1.0"\nindex = "https://me:s3cret@example.com/simple"\n', 2),
        ("environment.yml", PIP, 5),
        ("environment.yml", "channels:\n- https://me:s3cret@example.com/main\ndependencies: [python]\n", 2),
        ("environment.yml", "dependencies: [python]\nchannels: [https://example.com/t/s3cret/main]\n", 2),
    ],
)
def test_credentials_of_an_index_are_refused_and_not_shown(world: World, name: str, text: str, line: int) -> None:
    file = world.root / "mine" / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        environment_image(world.session(), world.store, Request(file=file, stack="one"))
    (found,) = caught.value.diagnostics()
    assert "has credentials" in found.message
    assert "s3cret" not in f"{found.message} {found.hint}"
    assert "buildsys.settings.yaml" in str(found.hint)
    assert found.location is not None
    assert found.location.line == line


FINE = """\
one @ git+ssh://git@example.com/team/one
two @ https://example.com/a@b/two.whl
tqdm @ https://example.com/packages/source/t/tqdm/tqdm-1.0.tar.gz
"""


def test_user_of_ssh_and_folder_t_of_an_index_are_no_credentials(world: World) -> None:
    file = world.root / "mine/requirements.txt"
    file.write_text(FINE, encoding="utf-8")
    with pytest.raises(InvalidInput, match="the project has no layer `python-environment`"):
        environment_image(world.session(), world.store, Request(file=file, stack="one"))


LAYER = """\
description: an environment
kind: artifact
licence: free
prefix: /opt/environment
toolchain: {layer: tools}
parameters:
  folder: {description: where the file is, type: folder}
"""
DOCKERFILE = "FROM toolchain AS build\nCOPY --from=folder / /\nRUN true\nFROM scratch\nCOPY --from=build /artifact /\n"


def test_environment_on_a_stack_with_tags_moves_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, "a:\none = a\n")
    world.declare("one", "repository: lang, tags: [latest]")
    folder = tmp_path / "layers" / "python-environment"
    folder.mkdir()
    (folder / "layer.yaml").write_text(LAYER, encoding="utf-8")
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (tmp_path / "requirements.txt").write_text("numpy==2.3.0\n", encoding="utf-8")
    plans: list[Plan] = []

    class Published(Exception):
        pass

    def publish(_session: object, _store: object, plan: Plan, _targets: object) -> None:
        plans.append(plan)
        raise Published

    monkeypatch.setattr(environment, "publish", publish)
    with pytest.raises(Published):
        environment_image(world.session(), world.store, Request(file=tmp_path / "requirements.txt", stack="one"))
    (image,) = plans[0].stacks
    assert image.stack.startswith("one-")
    assert (image.repository, image.tags) == (image.stack, ())
