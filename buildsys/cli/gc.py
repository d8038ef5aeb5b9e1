"""The command that deletes from a registry what nothing needs."""

import os
import time
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.names import Json

MOST_DAYS = 36500


def gc(
    context: typer.Context,
    keep_revision: Annotated[
        list[str] | None,
        typer.Option("--keep-revision", metavar="REV", help="Keep what the sources of this revision need, too."),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            "--days",
            parser=usage.whole("--days", 1, MOST_DAYS),
            metavar="N",
            help="Keep images of environments that were used in the last N days.",
        ),
    ] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; without this option it is only shown.")] = False,
    json: Json = False,
) -> None:
    """Show what nothing needs in the registry, and its size; with `--yes` delete it.

    Example: `buildsys gc`

    Example: `buildsys gc --keep-revision v1.2 --days 90 --yes`
    """
    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands.plan import make_plan
    from buildsys.fleet.gc import Collector
    from buildsys.fleet.roots import source_roots
    from buildsys.oci.client import Registry
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents
    from buildsys.report import gc as report
    from buildsys.run.store import open_store
    from buildsys.run.warm import cache_references

    workspace = find_workspace(context.obj)
    revisions = tuple(keep_revision or ())
    roots, repositories = source_roots(workspace, revisions, os.environ, lambda tree: make_plan(tree, overlay=True))
    caches, uncleaned = cache_references(["any"], os.environ)
    with open_store(workspace, os.environ) as store:
        # That of a run neither lists nor deletes.
        assert isinstance(store.registry, Registry)
        result = Collector(
            registry=store.registry,
            prefix=store.prefix,
            roots=lambda: roots,
            repositories=repositories,
            days=days,
            now=time.time(),
            cache=caches.get("any"),
        ).run(delete=yes)
    if json:
        typer.echo(documents.text(report.gc_document(result)))
        return
    report.show_collected(result, output(), delete=yes)
    for line in report.gc_notes(result, uncleaned):
        diagnostics().line(line)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=usage.exit_codes())(gc)
