"""Keys of a tree of texts, as a checkout of it would have them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from buildsys.commands.plan import make_plan
from buildsys.config.model import File
from buildsys.plan.keys import Keys, folders_of, keys_of
from buildsys.plan.plan import Plan

Files = dict[str, dict[str, File]]
"""For each folder that builds read its files, in mappings that a test may change."""


def file(text: str, *, executable: bool = False) -> File:
    """Return a file with these bytes; every one can be the rules of what is ignored."""
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return File(content=digest, executable=executable, rules=text)


def contents_of(tree: Mapping[str, str], plan: Plan) -> Files:
    """Return what the builds of a plan read."""
    return {
        folder: {
            path.removeprefix(f"{folder}/"): file(text) for path, text in tree.items() if path.startswith(f"{folder}/")
        }
        for folder in folders_of(plan)
    }


def keyed(tree: Mapping[str, str]) -> tuple[Plan, Keys]:
    """Return the plan of a tree and its keys."""
    made = make_plan(tree)
    return made, keys_of(made, contents_of(tree, made))


def all_keys(keys: Keys) -> dict[str, str]:
    """Return every key by target."""
    return {name: each.key for name, each in {**keys.nodes, **keys.stacks}.items()}
