"""The commands for images that are in use: fresh packages, what tags named, back to an earlier image, promotion."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.names import Json


def fresh(
    context: typer.Context,
    layers: Annotated[
        list[str],
        typer.Argument(help="Layers whose packages age: layer, layer/flavour, layer@release, or patterns."),
    ],
    json: Json = False,
) -> None:
    """Renew the packages of layers today: write a new epoch to buildsys.lock, and show what that rebuilds.

    The epoch is always new, also twice on one day. Bake then rebuilds the nodes that are listed, and nothing else.

    Example: `buildsys fresh debian-os`

    Example: `buildsys fresh debian-os@12`
    """
    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands import query
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, fleet

    found = query.fresh(
        find_workspace(context.obj),
        tuple(layers),
        os.environ,
        today=datetime.now(UTC).date(),
        on_wait=lambda: diagnostics().line(query.WAITING),
    )
    if json:
        typer.echo(documents.text(fleet.fresh_document(found)))
    else:
        fleet.show_fresh(found, output())


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog=usage.exit_codes())(fresh)
