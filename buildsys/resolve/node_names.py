"""What a node is called: as a bake target, and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from buildsys.names import short_hash, shortened, target_name
from buildsys.resolve.instance import LayerInstance


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """What the place in a node's name says of the system below: in words, and parameters with their values.

    A parameter that has the value shown there needs no hash to tell two nodes apart.
    """

    words: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)


def base_image_words(below: LayerInstance) -> str:
    """Return a system or toolchain in words, such as `debian 12`."""
    system = below.name.removesuffix("-os").removeprefix("toolchain-")
    return f"{system} {below.parameters.get('release', '')}".strip()


def node_name(each: LayerInstance, location: str, used: frozenset[str], ground: BaseImage) -> str:
    """Return the target name: layer, flavour, labels, place, and a hash of what none of these shows.

    `used` are the parameters that have a say in what is built. The name depends on nothing but the node
    itself, so that another stack never changes it.
    """
    words = [each.name, *_labels(each, used)]
    hidden = sorted(
        f"{name}={value}"
        for name, value in each.parameters.items()
        if name in used and ground.shown.get(name) != value and _is_hidden(each, name, value)
    )
    if location:
        words.append(location)
    if hidden:
        # The place may end in the hash of another node: with it, no hash of this one's can be the same.
        words.append(short_hash("\n".join([location, *hidden])))
    return shortened(target_name("-".join(words)))


def node_title(each: LayerInstance, ground: BaseImage) -> str:
    """Return the node in words, such as `openmpi 4.1.4 on debian 12`."""
    words = [each.name]
    flavour = each.parameters.get("flavour")
    words += [f"({flavour})"] if flavour else []
    words += [value for name, value in each.parameters.items() if _is_label(each, name)]
    words += ["on", ground.words] if ground.words else []
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
    return parameter is not None and not parameter.label and value != parameter.default
