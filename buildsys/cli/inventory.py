"""The command that shows what is in published nodes and images."""

import os
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.options import Json
from buildsys.errors import ExitCode, WrongUsage


def inventory(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Stacks, nodes, groups or patterns.")] = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Store the inventories that published nodes lack; without names for all.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is in published nodes and images: packages, sizes of folders, set-user-ID files.

    Example: `buildsys inventory debian12`

    Example: `buildsys inventory --fill`
    """
    from buildsys.cli.screens import output
    from buildsys.commands import inventory
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents
    from buildsys.report import inventory as report

    workspace, words = find_workspace(context.obj), tuple(names or ())
    if fill:
        screen = output()
        show = (lambda _: None) if json else (lambda each: report.show_filled(each, screen))
        filled = inventory.fill(workspace, os.environ, words, show)
        if json:
            typer.echo(documents.text({"filled": [report.filled_document(each) for each in filled]}))
        elif not filled:
            screen.line("no inventory is missing")
        if any(each.problem for each in filled):
            raise typer.Exit(ExitCode.FAILED)
        return
    if not words:
        raise WrongUsage("`inventory` lacks a name", hint="add a stack or a node, or `--fill`")
    found = inventory.contents_of_targets(workspace, os.environ, words)
    if json:
        typer.echo(documents.text({"targets": [report.contents_document(each) for each in found]}))
        return
    for each in found:
        report.show_contents(each, output())


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=usage.exit_codes(ExitCode.FAILED))(inventory)
