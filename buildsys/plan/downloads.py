"""Which address has which checksum and which origin, and whether one checksum belongs to two files.

A builder that holds a file under a checksum takes that file and never asks the address (BuildKit 0.25), so version 2.0
with the checksum of 1.0 is 1.0 wherever 1.0 was built before, and a failure elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from buildsys.addresses import credentials_in
from buildsys.config.model import Catalog
from buildsys.errors import Diagnostic, Location
from buildsys.names import LOCK_FILE, PLATFORM, variable_name
from buildsys.recipes import template
from buildsys.recipes.fields import LOCKED
from buildsys.recipes.parameters import ParameterType
from buildsys.recipes.recipe import Download, Recipe
from buildsys.resolve.node import Node
from buildsys.values import dataclass

# Of one entry, for which a person writes one checksum.
_MOST_VALUES = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """An address with the checksum that a person wrote for it, and where."""

    address: str
    sha256: str
    location: Location | None


def checked_downloads(catalog: Catalog, nodes: Iterable[Node]) -> tuple[Checked, ...]:
    """Return each address that has a checksum in a layer, with all values that its parameters may have."""
    found: dict[tuple[str, str | None, Location | None], Checked] = {}

    def add(address: str, sha256: str | None, location: Location | None) -> None:
        if sha256 not in (None, LOCKED):
            checked = Checked(address=address, sha256=sha256, location=location)
            found.setdefault((address, sha256, location), checked)

    for recipe in (each for layer in catalog.layers.values() for each in layer.recipes.values()):
        for variants in recipe.downloads.values():
            for number, download in enumerate(variants):
                for address in _addresses(download, variants[:number], recipe):
                    add(address, download.sha256, download.location)
    for fetched in itertools.chain.from_iterable(node.downloads for node in nodes):
        if fetched.is_locked or not fetched.reason:
            add(fetched.url, fetched.sha256, fetched.location)
    return tuple(sorted(found.values(), key=_place))


def shared_checksums(downloads: Iterable[Checked]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each address whose checksum is written for another file too, at the later of the two."""
    first: dict[str, Checked] = {}
    reported = set()
    for each in downloads:
        if any(credentials_in(each.address)):
            continue
        other = first.setdefault(each.sha256, each)
        if _is_same_file(other.address, each.address) or (each.location, each.sha256) in reported:
            continue
        reported.add((each.location, each.sha256))
        message = f"`{each.address}` and `{other.address}` have one checksum, and builders would take one file for both"
        hint = "write the checksum of its own file, or one address for both"
        yield Diagnostic(message=message, location=each.location, hint=hint)


def _is_same_file(one: str, two: str) -> bool:
    """Whether two addresses are of one file: equal, or on two hosts where one's path is the end of the other's."""
    if one == two:
        return True
    parts = urlsplit(one), urlsplit(two)
    if parts[0].netloc == parts[1].netloc or parts[0].query != parts[1].query:
        return False
    short, long = sorted((each.path for each in parts), key=len)
    return long.endswith(f"/{short.lstrip('/')}")


def _place(each: Checked) -> tuple[str, int, int, str]:
    at = each.location
    return (at.file, at.line, at.column, each.address) if at else ("", 0, 0, each.address)


def _addresses(download: Download, before: Sequence[Download], recipe: Recipe) -> Iterator[str]:
    """Yield the addresses of an entry, one for each choice of values that no entry before it takes.

    A name whose values are not known stays.
    """
    when = dict(download.when.values)
    used = {name for each in (download, *before) for name, _ in each.when.values}
    names = sorted(template.names(download.url) | used)
    values = [when.get(name) or _values(recipe, name) or (f"{{{name}}}",) for name in names]
    for chosen in itertools.islice(itertools.product(*values), _MOST_VALUES):
        given = dict(zip(names, chosen, strict=True))
        if not any(each.when.holds(given) for each in before):
            yield template.fill(download.url, given)


def _values(recipe: Recipe, name: str) -> tuple[str, ...]:
    parameter = recipe.parameters.get(name)
    if name == "flavour":
        return (recipe.flavour,)
    if name == PLATFORM:
        return recipe.platforms
    if parameter is None or parameter.type is ParameterType.BOOLEAN:
        return ("true", "false") if parameter else ()
    return parameter.values or ((parameter.default,) if parameter.default is not None else ())


def unlocked(nodes: Iterable[Node]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each address without the checksum that the lock must have, at the value of the stack."""
    seen = set[str]()
    for node in nodes:
        for each in node.downloads:
            if each.is_locked and each.sha256 is None and each.url not in seen:
                seen.add(each.url)
                message = f"`{LOCK_FILE}` has no checksum of `{each.url}`, the download `{each.name}` of {node.title}"
                hint = "run `buildsys lock`, which fetches it once and adds its checksum"
                yield Diagnostic(message=message, location=each.location, hint=hint)


def origins_of(nodes: Iterable[Node], diagnostics: list[Diagnostic]) -> dict[str, str]:
    """Return the origins of downloads by variable; with two for one, requests for one would go to the other."""
    found: dict[str, str] = {}
    for download in (each for node in nodes for each in node.downloads):
        variable, origin = origin_variable(download.url), _origin(download.url)
        if (first := found.setdefault(variable, origin)) != origin:
            message = f"downloads of `{first}` and `{origin}` would both come from `{variable}`"
            diagnostics.append(Diagnostic(message=message, location=download.location))
    return found


def origin_variable(url: str) -> str:
    """Return the bake variable that holds the scheme and host of a download's address."""
    return variable_name("DOWNLOADS", urlsplit(url).netloc)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def can_be_locked(address: str) -> bool:
    """Whether `buildsys lock` can fetch an address for its checksum: a git repository is not a file."""
    return ".git#" not in address
