"""Which files a node downloads, by the values that a stack gives to its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from buildsys.addresses import IN_HISTORY, NO_CREDENTIALS, credentials_in
from buildsys.config.model import Stack
from buildsys.errors import Location
from buildsys.recipes import template
from buildsys.recipes.fields import LOCKED
from buildsys.resolve.instance import LayerInstance
from buildsys.resolve.node import Fetched


def fetched_by(each: LayerInstance, stack: Stack, report: Callable[[str, Location, str], None]) -> Iterator[Fetched]:
    """Yield the downloads of a layer, by name, and report each that its values leave without an address."""
    for name, variants in sorted(each.recipe.downloads.items()):
        chosen = next((one for one in variants if one.when.holds(each.parameters)), None)
        if chosen is None:
            asked = sorted({key for one in variants for key, _ in one.when.values} & each.parameters.keys())
            shown = ", ".join(f"`{key}: {each.parameters[key]}`" for key in asked)
            message = f"layer `{each.name}` has no download `{name}` for {shown}"
            hint = "add an entry for it, or one without `when` after the others"
            report(message, each.recipe.place("downloads"), hint)
            continue
        url = template.fill(chosen.url, each.parameters)
        if any(credentials_in(url)):
            message = f"with these parameters the download `{name}` of layer `{each.name}` {IN_HISTORY}"
            report(message, each.location, NO_CREDENTIALS)
        is_locked = chosen.sha256 == LOCKED
        yield Fetched(
            name=name,
            url=url,
            sha256=None if is_locked else chosen.sha256,
            reason=chosen.reason,
            is_locked=is_locked,
            location=_value_place(each, stack, chosen.url) if is_locked else chosen.location,
        )


def _value_place(each: LayerInstance, stack: Stack, url: str) -> Location:
    """Return where a stack sets the first value that is in an address, else where it has the layer."""
    set_at = next((use.locations for use in stack.layers if use.layer == each.name), {})
    return next((set_at[name] for name in sorted(template.names(url)) if name in set_at), each.location)
