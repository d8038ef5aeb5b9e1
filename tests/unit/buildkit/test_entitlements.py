"""Which paths of a resolved bake definition lie outside of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildsys.buildkit.entitlements import check_paths


def told(root: Path, *allowed: Path, **target: Any) -> list[str]:
    return [each.message for each in check_paths({"target": {"x": target}}, root, allowed=allowed)]


@pytest.mark.parametrize(
    "target",
    [
        {"context": "layers/a"},
        {"context": ".", "dockerfile": "layers/a/Dockerfile"},
        {"contexts": {"base": "target:base", "b": "docker-image://debian", "c": "https://example.com/x.git", "d": "d"}},
        {"context": "https://example.com/x.git", "dockerfile": "../Dockerfile"},
        {"context": ".", "dockerfile-inline": "FROM scratch", "dockerfile": "../Dockerfile"},
        {"output": [{"type": "registry"}, {"type": "local", "dest": "out"}, "type=tar,dest=-"]},
        {"secret": [{"id": "t", "type": "env", "src": "/TOKEN"}]},
        {"cache-to": [{"type": "registry", "ref": "/x"}]},
    ],
)
def test_what_stays_inside_or_is_remote_is_fine(tmp_path: Path, target: dict[str, Any]) -> None:
    assert told(tmp_path, **target) == []


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ({"context": "..", "dockerfile-inline": "FROM scratch"}, "the context"),
        ({"context": ".", "dockerfile": "../Dockerfile"}, "the Dockerfile"),
        ({"context": ".", "dockerfile": "cwd://../Dockerfile"}, "the Dockerfile"),
        ({"contexts": {"m": "/etc"}}, "the context `m` in"),
        ({"contexts": {"m": "oci-layout:///srv/layout:tag"}}, "the context `m` in"),
        ({"secret": [{"id": "t", "src": "/etc/shadow"}]}, "the secret `t` in"),
        ({"secret": ["id=t,src=~/.netrc"]}, "the secret `t` in"),
        ({"ssh": [{"id": "k", "paths": ["/root/.ssh/id"]}]}, "the ssh key `k` in"),
        ({"output": ["type=local,dest=/srv"]}, "an output to"),
        ({"output": ["../out"]}, "an output to"),
        ({"cache-to": [{"type": "local", "dest": "/srv"}]}, "a cache written to"),
        ({"cache-from": ["type=local,src=/srv"]}, "a cache read from"),
    ],
)
def test_what_lies_outside_is_named_with_its_target(tmp_path: Path, target: dict[str, Any], what: str) -> None:
    (message,) = told(tmp_path, **target)
    assert message.startswith(f"target `x` has {what} `")
    assert message.endswith(f"which lies outside of `{tmp_path}`")


def test_link_that_leads_out_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "inside").symlink_to(tmp_path)
    assert len(told(root, context="inside", dockerfile="cwd://Dockerfile")) == 1
    assert told(root, tmp_path, context="inside") == []


def test_privileges_are_named(tmp_path: Path) -> None:
    assert told(tmp_path, entitlements=["security.insecure"], network="host") == [
        "target `x` asks for the privilege `network.host`",
        "target `x` asks for the privilege `security.insecure`",
    ]
