"""The units of work and the stacks that they are assembled to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from buildsys.config.model import Parent, Recipe, Stack
from buildsys.errors import Location
from buildsys.resolve.stack import LayeredStack


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A download of a node; `sha256` is None where it is not known, `reason` says why, at `place`."""

    name: str
    url: str
    sha256: str | None
    reason: str | None
    location: Location = field(default=Location(file=""), compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One layer with its parameters fixed, in one place: built once however many stacks use it.

    `base` is the node that it stands on (system and toolchain: the one below; artifact: its toolchain), or
    None where that is `parent` itself. `needs` maps each further context to the node bound to it, None if the
    stack has none. `arguments` are those that the Dockerfile declares, downloads not among them. `folder` is
    the build context, `dockerfile` a path below the project root; `installer` is the recipe whose Dockerfile
    that is, where it is not its own.
    """

    name: str
    title: str
    recipe: Recipe
    parameters: Mapping[str, str]
    base: str | None
    parent: Parent | None
    needs: tuple[tuple[str, str | None], ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    packages: tuple[str, ...] = ()
    downloads: tuple[Fetched, ...] = ()
    dockerfile: str = ""
    folder: str = ""
    installer: Recipe | None = None
    platforms: tuple[str, ...] = ()

    @property
    def below(self) -> tuple[str, ...]:
        """The names of all nodes that it needs, its base first, then by name."""
        others = {node for _, node in self.needs if node is not None}
        return (*([self.base] if self.base else []), *sorted(others - {self.base}))

    @property
    def build(self) -> Recipe:
        """The recipe whose Dockerfile makes it: its own, or that of the layer that provides the system."""
        return self.installer or self.recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class NodedStack:
    """A stack with its nodes: `base` is the last system node, None where the stack stands on `parent` itself.

    `artifacts` are the layer and node of each artifact, in the order in which they are joined.
    """

    layered: LayeredStack
    parent: Parent
    base: str | None
    artifacts: tuple[tuple[str, str], ...]

    @property
    def stack(self) -> Stack:
        """The stack as declared."""
        return self.layered.stack

    @property
    def needs(self) -> tuple[str, ...]:
        """The nodes that it is assembled of."""
        return (*([self.base] if self.base else []), *(node for _, node in self.artifacts))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildGraph:
    """All nodes in an order in which they can be built, by name, and all stacks, sorted by name."""

    nodes: Mapping[str, Node]
    stacks: tuple[NodedStack, ...]
