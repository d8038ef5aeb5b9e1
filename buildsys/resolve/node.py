"""The values of resolution: nodes, images and the graph of both; and how a node is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from buildsys.config.model import Budget
from buildsys.errors import Location
from buildsys.names import DEFAULT_PLATFORM, PLATFORM, architecture, short_hash, shortened, target_name
from buildsys.recipes.recipe import Parent, Recipe
from buildsys.resolve.generated import whole
from buildsys.resolve.image import ImageConfig, Variable
from buildsys.resolve.instance import LayerInstance
from buildsys.resolve.support import Support
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A download of a node; `sha256` is None where it is unknown, and `reason` says why.

    `is_locked` where the lock must have the checksum; then `location` is that of the value in the stack.
    """

    name: str
    url: str
    sha256: str | None
    reason: str | None
    is_locked: bool = False
    location: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One layer with its parameters fixed, in one place, for one platform: built once however many stacks use it.

    `base` is the node it starts from (system and toolchain: the one below; artifact: its toolchain), or None where
    that is `parent` itself. `needs` maps each further context to the node bound to it, None if the stack has none.
    `arguments` are those that the Dockerfile declares, without downloads. `folder` is the build context, `dockerfile`
    a path below the project root; `installer` is the recipe whose Dockerfile that is, where it is not its own. Where
    the layer has none, `generated` is its text, and `dockerfile` the file that it is generated from.
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
    generated: str = ""
    platform: str = DEFAULT_PLATFORM

    @property
    def below(self) -> tuple[str, ...]:
        """The names of all nodes that it needs, its base first, then by name."""
        others = {node for _, node in self.needs if node is not None}
        return (*([self.base] if self.base else []), *sorted(others - {self.base}))

    @property
    def added_layers(self) -> int:
        """How many layers it adds to what it is built on; an artifact is one."""
        commands = self.installer is not None and bool(self.recipe.run)
        return 1 if self.recipe.prefix else self.build.added_layers + commands

    def place(self, line: int) -> Location:
        """Return where a line of a generated Dockerfile comes from."""
        if self.installer is not None and line <= whole(self.installer.text).count("\n") + 1:
            return Location(file=self.dockerfile, line=line)
        return self.recipe.place("run" if self.recipe.run else "prefix")

    @property
    def build(self) -> Recipe:
        """The recipe whose Dockerfile builds it: its own, or that of the layer that provides the system."""
        return self.installer or self.recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTarget:
    """The image of a stack for one platform: an assembly of nodes with the image's settings.

    `name` is its target: the stack, and the architecture too where the image is one of several (`is_part`) that are
    published as the index of `stack`. `base` is the last system node, None where the image starts from `parent` itself.
    `artifacts` are the layer and node of each artifact, in the order in which they are joined. `groups` holds the
    implied ones too. `repository` is below the registry; without `tags` the tag is BUILDSYS_TAG.
    """

    name: str
    stack: str
    description: str
    family: str | None
    groups: tuple[str, ...]
    platform: str
    is_part: bool
    deprecated: str | None
    location: Location
    layers: tuple[LayerInstance, ...]
    parent: Parent
    base: str | None
    artifacts: tuple[tuple[str, str], ...]
    environment: tuple[Variable, ...]
    config: ImageConfig
    repository: str
    tags: tuple[str, ...] = ()
    support: Support | None = None
    budget: Budget | None = None

    @property
    def title(self) -> str:
        """The image in words: its stack, and its architecture where that has several."""
        return f"{self.stack} for {architecture(self.platform)}" if self.is_part else self.stack

    @property
    def below(self) -> tuple[str, ...]:
        """The names of all nodes that it is assembled from, its base first."""
        return (*([self.base] if self.base else []), *(node for _, node in self.artifacts))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildGraph:
    """All nodes by name, each after what it needs, and all images, in the order of their stacks."""

    nodes: Mapping[str, Node]
    images: tuple[ImageTarget, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """What a node's name says about the system below it: in words, and the parameters with their values.

    A parameter with the value shown there needs no hash to distinguish two nodes.
    """

    words: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)


NO_BASE_IMAGE = BaseImage()
# How many packages or files of a stack itself a title has.
_MOST_IN_TITLE = 3


def base_image_words(below: LayerInstance) -> str:
    """Return a system or toolchain in words, such as `debian 12`."""
    system = below.name.removesuffix("-os").removeprefix("toolchain-")
    return f"{system} {below.parameters.get('release', '')}".strip()


def node_name(
    each: LayerInstance, location: str, used: frozenset[str], base_image: BaseImage, platform: str = DEFAULT_PLATFORM
) -> str:
    """Return the target name: layer, flavour, labels, location, a hash of what none of these shows, the architecture.

    `used` are the parameters that affect what is built. The name depends only on the node itself, so that another
    stack never changes it; so the architecture that most images have is left out.
    """
    words = [each.name, *_labels(each, used)]
    hidden = sorted(
        f"{name}={value}"
        for name, value in each.parameters.items()
        if name in used and base_image.shown.get(name) != value and _is_hidden(each, name, value)
    )
    if location:
        words.append(location)
    if each.contents:
        words.append(each.contents)
    if hidden:
        # The location may end in the hash of another node; hashed too, it keeps this node's hash distinct.
        words.append(short_hash("\n".join([location, *hidden])))
    if platform != DEFAULT_PLATFORM:
        words.append(architecture(platform))
    return shortened(target_name("-".join(words)))


def without_architecture(name: str, platform: str) -> str:
    """Return a node's name without the architecture at its end."""
    return name if platform == DEFAULT_PLATFORM else name.removesuffix(f"-{architecture(platform)}")


def node_title(each: LayerInstance, base_image: BaseImage, platform: str = DEFAULT_PLATFORM) -> str:
    """Return the node in words, such as `openmpi 4.1.4 on debian 12`."""
    words = [each.name]
    flavour = each.parameters.get("flavour")
    words += [f"({flavour})"] if flavour else []
    words += [value for name, value in each.parameters.items() if _is_label(each, name)]
    if each.is_own:
        names = [name for packages in each.recipe.packages for name in packages.names] or [*each.recipe.files]
        words += [
            *names[:_MOST_IN_TITLE],
            *([f"and {len(names) - _MOST_IN_TITLE} more"] if len(names) > _MOST_IN_TITLE else []),
            *([each.contents] if each.contents else []),
        ]
    words += ["on", base_image.words] if base_image.words else []
    words += [f"for {architecture(platform)}"] if platform != DEFAULT_PLATFORM else []
    return " ".join(words)


def _labels(each: LayerInstance, used: frozenset[str]) -> list[str]:
    found = []
    flavour = each.parameters.get("flavour")
    if flavour:
        found.append(flavour)
    for name in each.recipe.parameters:
        if _is_label(each, name) and name in used and each.parameters.get(name):
            found.append("-".join(each.parameters[name].split()))
    return found


def _is_label(each: LayerInstance, name: str) -> bool:
    parameter = each.recipe.parameters.get(name)
    return bool(parameter and parameter.label)


def _is_hidden(each: LayerInstance, name: str, value: str) -> bool:
    parameter = each.recipe.parameters.get(name)
    default = parameter and parameter.default_on(each.parameters.get(PLATFORM, DEFAULT_PLATFORM))
    return parameter is not None and not parameter.label and value != default
