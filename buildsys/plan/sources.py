"""Whether what Dockerfiles copy, mount or add is what keys cover: files of their contexts, and fixed addresses."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from buildsys.addresses import credentials_in
from buildsys.config.model import Contents, File
from buildsys.dockerfile.remote import Fetch, is_git, moving
from buildsys.dockerfile.sources import ContextSource
from buildsys.errors import Diagnostic, Location, did_you_mean, enumerated
from buildsys.names import UNBUILT, download_arguments
from buildsys.plan.keys import layer_files, left_out, rules_of, way
from buildsys.plan.plan import Plan
from buildsys.resolve.node import Node
from buildsys.texts import excerpt


def source_problems(plan: Plan, contents: Contents) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each file that a build of a plan would not find, and each address that may change."""
    yield from _moving_sources(plan)
    yield from _named_by_addresses(plan)
    for node in plan.nodes:
        folders, arguments = dict(node.folders), dict(node.arguments)
        own = [each for each in node.build.sources if not each.context]
        files = contents.get(node.folder, {})
        if node.recipe.files:
            yield from _missing_files(node, files)
            continue
        built = layer_files(posixpath.basename(node.dockerfile), files)
        yield from missing(own, arguments, built, node.folder, node.dockerfile, unbuilt={*files} - {*built})
        for name, folder in folders.items():
            given = [each for each in node.build.sources if each.context == name]
            yield from missing(given, arguments, contents.get(folder, {}), folder, node.dockerfile, own=False)


def _missing_files(node: Node, files: Mapping[str, File]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each entry of `files` whose source does not exist, or is no folder where it must be."""
    built, recipe = layer_files("", files), node.recipe
    for entry in recipe.files.values():
        if entry.source is None:
            continue
        path, at = entry.source.rstrip("/"), entry.location
        source = ContextSource(
            keyword="files", path=path, context="", known=frozenset(), line=at.line, column=at.column
        )
        absent = list(missing([source], {}, built, node.folder, recipe.file, own=False, unbuilt={*files} - {*built}))
        yield from absent
        is_folder = any(each.startswith(f"{way(path, files)[-1]}/") for each in files)
        if not absent and is_folder != entry.is_folder:
            found, needed = ("folder", "file") if is_folder else ("file", "folder")
            message = f"`{node.folder}/{path}` is a {found}, and `{excerpt(entry.path)}` is a {needed}"
            better = f"{entry.place}/" if is_folder else entry.place
            yield Diagnostic(message=message, location=at, hint=f"write `{excerpt(better)}`")


def _moving_sources(plan: Plan) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each ADD of a plan that fetches what may change; no key covers what an address gives.

    A download without a checksum is declared, and warned of, where it is written.
    """
    seen = set()
    for node in plan.nodes:
        arguments = {**dict(node.arguments), **dict(_download_arguments(node))}
        accepted = {download.url for download in node.downloads if download.sha256 is None}
        for source in node.build.sources:
            found = (
                moving(source.path, source.checksum, source.definitions, arguments) if source.keyword == "ADD" else None
            )
            if found and found.address not in accepted:
                recipe = node.build.file
                hint = (
                    f"declare the address in `downloads` of `{recipe}`, and write `--checksum=sha256:${{NAME_SHA256}}`"
                )
                if found.is_git:
                    hint = "write the full commit behind `#`, 40 hexadecimal digits"
                elif found.address is None:
                    hint = f"declare an address in `downloads` of `{recipe}`; for a file of the layer, begin with `./`"
                each = moving_diagnostic(source, found, node.dockerfile, hint)
                if each not in seen:
                    seen.add(each)
                    yield each


def _named_by_addresses(plan: Plan) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each download that gets its file's name from its address, which is in no key."""
    seen = set()
    for node in plan.nodes:
        addresses = {download_arguments(each.name)[0]: each.url for each in node.downloads if each.sha256}
        for source in node.build.sources:
            address = addresses.get(source.path.strip("${}"), "") if source.folder else ""
            if not address or is_git(address) or (node.dockerfile, source.line) in seen:
                continue
            seen.add((node.dockerfile, source.line))
            message = (
                f"`{source.folder}` is a folder, and the file's name would be that in its address, which is in no key"
            )
            hint = (
                f"write the name too: `{source.folder.removesuffix('.')}{posixpath.basename(urlsplit(address).path)}`"
            )
            location = Location(file=node.dockerfile, line=source.line, column=source.column, length=len(source.path))
            yield Diagnostic(message=message, location=location, hint=hint)


def moving_diagnostic(source: ContextSource, found: Fetch, dockerfile: str, hint: str) -> Diagnostic:
    """Return what is wrong with an ADD of something that may change."""
    address = source.path if found.address is None else found.address
    shown = "an address" if any(credentials_in(address)) else f"`{excerpt(address)}`"
    location = Location(file=dockerfile, line=source.line, column=source.column, length=len(source.path))
    return Diagnostic(message=f"`ADD` of {shown} {found.problem}", location=location, hint=hint)


def _download_arguments(node: Node) -> Iterator[tuple[str, str]]:
    for download in node.downloads:
        address, checksum = download_arguments(download.name)
        yield address, download.url
        yield checksum, download.sha256 or ""


def missing(
    sources: Iterable[ContextSource],
    arguments: Mapping[str, str],
    files: Mapping[str, File],
    folder: str,
    dockerfile: str,
    *,
    own: bool = True,
    unbuilt: Collection[str] = (),
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each source that is not among the files of a folder, or that its rules exclude.

    `own` says that the folder is the Dockerfile's own context, whose rules may be in a file of its name. `unbuilt` are
    existing files that are in no build.
    """
    name = posixpath.basename(dockerfile) if own else ""
    is_left_out = left_out(name, files)
    for source in sources:
        filled = source.filled(arguments)
        path = posixpath.normpath(f"/{filled}").strip("/") if filled is not None else ""
        steps = way(path, files) if path else []
        inside = [each for each in files if steps and (each == steps[-1] or each.startswith(f"{steps[-1]}/"))]
        if not steps or steps[-1] == "" or any(not is_left_out(each) for each in inside):
            continue
        location = Location(file=dockerfile, line=source.line, column=source.column, length=len(source.path))
        where = f"{folder}/{path}".strip("/")
        if inside:
            rules = f"{folder}/{next(each for each in rules_of(name) if each in files)}".strip("/")
            message = f"`{source.keyword}` needs `{where}`, which `{rules}` excludes"
            yield Diagnostic(message=message, location=location, hint=f"add the line `!{path}` to `{rules}`")
        elif any(each == steps[-1] or each.startswith(f"{steps[-1]}/") for each in unbuilt):
            message = f"`{source.keyword}` needs `{where}`, and no build reads {enumerated(UNBUILT)} of a layer"
            hint = f"move what the build needs to another name, such as `{folder}/files`"
            yield Diagnostic(message=message, location=location, hint=hint)
        else:
            message = f"`{source.keyword}` needs `{where}`, which does not exist"
            otherwise = f"create `{where}`, or remove the line"
            yield Diagnostic(message=message, location=location, hint=did_you_mean(path, files, otherwise))
