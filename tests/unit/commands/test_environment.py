"""The image of a user's environment has names of its own, and none of those of its stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.commands import environment
from buildsys.commands.environment import Request, environment_image
from buildsys.plan.plan import Plan
from tests.support.world import World

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
