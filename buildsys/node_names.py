"""What a node is called: as a bake target, and in a sentence."""

from __future__ import annotations

from buildsys.instance import Instance
from buildsys.model import Kind
from buildsys.names import short_hash, shortened, target_name
from buildsys.resolve import LayeredStack


def node_name(each: Instance, place: str, used: frozenset[str]) -> str:
    """Return the target name: layer, flavour, labels, place, and a hash of what none of these shows.

    `used` are the parameters that have a say in what is built. The name depends on nothing but the node
    itself, so that another stack never changes it.
    """
    words = [each.name, *_labels(each, used)]
    hidden = sorted(
        f"{name}={value}"
        for name, value in each.parameters.items()
        if name in used and _is_hidden(each, name, value, place)
    )
    if place:
        words.append(place)
    if hidden:
        words.append(short_hash("\n".join(hidden)))
    return shortened(target_name("-".join(words)))


def node_title(each: Instance, layered: LayeredStack | None) -> str:
    """Return the node in words, such as `openmpi 4.1.4 on debian 12`."""
    words = [each.name]
    flavour = each.parameters.get("flavour")
    words += [f"({flavour})"] if flavour else []
    words += [value for name, value in each.parameters.items() if _is_label(each, name)]
    os = layered.os if layered else None
    on_system = each.recipe.kind is Kind.SYSTEM or each.recipe.toolchain.layer is None
    if os and os.name != each.name and on_system:
        release = os.parameters.get("release", "")
        words += ["on", f"{os.name.removesuffix('-os')} {release}".strip()]
    return " ".join(words)


def _labels(each: Instance, used: frozenset[str]) -> list[str]:
    found = []
    flavour = each.parameters.get("flavour")
    if flavour:
        found.append(flavour)
    for name in each.recipe.parameters:
        if _is_label(each, name) and name in used and each.parameters.get(name):
            found.append("-".join(each.parameters[name].split()))
    return found


def _is_label(each: Instance, name: str) -> bool:
    parameter = each.recipe.parameters.get(name)
    return bool(parameter and parameter.label)


def _is_hidden(each: Instance, name: str, value: str, place: str) -> bool:
    parameter = each.recipe.parameters.get(name)
    if parameter is None or parameter.label or value == parameter.default:
        return False
    # What is taken from the system shows in the place, if the place shows the system.
    return not (place and each.origins.get(name, "").endswith(f"-os.{name}"))
