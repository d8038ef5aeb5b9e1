"""The command that deletes from a registry what nothing needs."""

import os
import time
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.options import Json

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
            help="Keep what tags named, and images of environments that were used, in the last N days.",
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
    from buildsys.fleet.needs import DAY
    from buildsys.fleet.roots import source_roots, with_history
    from buildsys.oci.client import Registry
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, fleet
    from buildsys.run.store import open_store
    from buildsys.run.warm import cache_references

    workspace = find_workspace(context.obj)
    revisions = tuple(keep_revision or ())
    roots, repositories = source_roots(workspace, revisions, os.environ, lambda tree: make_plan(tree, overlay=True))
    caches, uncleaned = cache_references(["any"], os.environ)
    with open_store(workspace, os.environ) as store:
        # That of a run neither lists nor deletes.
        assert isinstance(store.registry, Registry)
        registry, prefix, now = store.registry, store.prefix, time.time()
        result = Collector(
            registry=registry,
            prefix=prefix,
            roots=lambda: with_history(roots, registry, prefix, now - days * DAY),
            repositories=repositories,
            days=days,
            now=now,
            cache=caches.get("any"),
        ).run(delete=yes)
    if json:
        typer.echo(documents.text(fleet.gc_document(result)))
        return
    fleet.show_collected(result, output(), delete=yes)
    for line in fleet.gc_notes(result, uncleaned):
        diagnostics().line(line)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=usage.exit_codes())(gc)
