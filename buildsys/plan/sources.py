"""Whether the files that Dockerfiles copy or mount by name are in the contexts of their builds."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from buildsys.config.model import Contents, File
from buildsys.dockerfile.sources import ContextSource
from buildsys.errors import Diagnostic, Location, did_you_mean
from buildsys.plan.keys import left_out, rules_of, way
from buildsys.plan.plan import Plan


def missing_sources(plan: Plan, contents: Contents) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each file that a build of a plan would not find."""
    for node in plan.nodes:
        folders, arguments = dict(node.folders), dict(node.arguments)
        own = [each for each in node.build.sources if not each.context]
        yield from missing(own, arguments, contents.get(node.folder, {}), node.folder, node.dockerfile)
        for name, folder in folders.items():
            given = [each for each in node.build.sources if each.context == name]
            yield from missing(given, arguments, contents.get(folder, {}), folder, node.dockerfile, own=False)


def missing(
    sources: Iterable[ContextSource],
    arguments: Mapping[str, str],
    files: Mapping[str, File],
    folder: str,
    dockerfile: str,
    *,
    own: bool = True,
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each source that is not among the files of a folder, or that its rules exclude.

    `own` says that the folder is the Dockerfile's own context, whose rules may be in a file of its name.
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
        else:
            message = f"`{source.keyword}` needs `{where}`, which does not exist"
            yield Diagnostic(message=message, location=location, hint=did_you_mean(path, files))
