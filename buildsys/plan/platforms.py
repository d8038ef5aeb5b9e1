"""Whether parents have the platforms of stacks, and which nodes run commands of a platform."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from buildsys.dockerfile.parser import Dockerfile
from buildsys.errors import Diagnostic
from buildsys.names import DEFAULT_PLATFORM
from buildsys.resolve.node import BuildGraph, ImageTarget, Node

_OF_BUILDER = ("$BUILDPLATFORM", "${BUILDPLATFORM}")


def foreign_parents(graph: BuildGraph, locked: Mapping[str, Collection[str]]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each platform of a stack that the lock does not list for a parent of it.

    `locked` has the platforms of each parent, none where the lock lists none.
    """
    for image in graph.images:
        for name in parents_of(graph.nodes, image):
            if not _fits(image.platform, locked[name]):
                message = f"`{image.stack}` is for `{image.platform}`, and its parent `{name}` is not"
                yield Diagnostic(message=message, location=image.location, hint=_use_one(locked[name]))


def foreign_bases(
    targets: Iterable[Node | ImageTarget], look: Callable[[str], Collection[str]]
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each target that starts from an image of another platform.

    `look` returns the platforms of a parent, none where they cannot be found out. Those of targets for the platform
    that most images have are not looked up.
    """
    looked: dict[str, Collection[str]] = {}
    for target in targets:
        if target.base is not None or target.parent is None or target.platform == DEFAULT_PLATFORM:
            continue
        parent = target.parent
        if parent.name not in looked:
            looked[parent.name] = look(parent.name)
        if not _fits(target.platform, looked[parent.name]):
            message = f"`{target.title}` is for `{target.platform}`, and its parent `{parent.name}` is not"
            yield Diagnostic(message=message, location=parent.location, hint=_use_one(looked[parent.name]))


def _fits(platform: str, known: Collection[str]) -> bool:
    return not known or any(is_platform(each, platform) for each in known)


def _use_one(known: Iterable[str]) -> str:
    return f"use a platform of the parent: {', '.join(f'`{each}`' for each in sorted(known))}"


def parents_of(nodes: Mapping[str, Node], image: ImageTarget) -> tuple[str, ...]:
    """Return the names of all parents that an image is built from, sorted."""
    waiting, seen = [*image.below], set[str]()
    used = {image.parent.name}
    while waiting:
        node = nodes[waiting.pop()]
        if node.name not in seen:
            seen.add(node.name)
            waiting += node.below
            used |= {node.parent.name} if node.parent else set()
    return tuple(sorted(used))


def is_platform(locked: str, wanted: str) -> bool:
    """Whether an image of one platform is one of another; 64-bit Arm is version 8 where none is named."""
    one, other = (text.removesuffix("/v8") if "/arm64" in text else text for text in (locked, wanted))
    return one == other or one.startswith(f"{other}/")


def running(nodes: Iterable[Node]) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the nodes whose Dockerfiles run commands of their platform, by platform."""
    found: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        if runs_commands(node.generated or node.build.text, node.dockerfile):
            found[node.platform] = (*found.get(node.platform, ()), node.name)
    return found


def runs_commands(text: str, file: str) -> bool:
    """Whether a Dockerfile has a RUN outside of the stages that are for the builder's own platform."""
    of_builder = False
    for each in Dockerfile.parse(text, file).instructions:
        if each.keyword == "FROM":
            of_builder = dict(each.flags).get("platform") in _OF_BUILDER
        elif each.keyword == "RUN" and not of_builder:
            return True
    return False
