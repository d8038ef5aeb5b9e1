"""The commands that write a project: its beginning, layers that are copied into it, new layers and stacks."""

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.errors import ExitCode, WrongUsage

SYSTEMS = ("debian", "ubuntu")
KINDS = ("artifact", "system", "toolchain")


def _today() -> date:
    return datetime.now(UTC).date()


def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="Its folder, by default the current one.")] = None,
    system: Annotated[
        str,
        typer.Option(
            "--os", parser=usage.choice("--os", SYSTEMS), metavar="|".join(SYSTEMS), help="What the image is based on."
        ),
    ] = "debian",
) -> None:
    """Write a project with one image, which can be planned without a network; nothing is overwritten.

    Example: `buildsys init --os ubuntu images`
    """
    from buildsys.cli.screens import output
    from buildsys.commands.skeleton import init

    if context.obj is not None:
        raise WrongUsage("`-C` names a project, and `init` writes a new one", hint="name its folder after `init`")
    written = init((folder or Path()).absolute(), system, os.environ, _today())
    output().line(f"created {', '.join(written)}")


def add(
    context: typer.Context,
    layers: Annotated[
        list[str] | None, typer.Argument(help="Layers to copy; with --update copied ones, by default all.")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A folder with layers/, or a git repository with @REVISION; by default what comes with buildsys.",
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Replace copied layers by what their origin has now; show the difference."),
    ] = False,
) -> None:
    """Copy layers and everything that they require into the project; the lock records their origin and checksum.

    Example: `buildsys add openmpi cuda-runtime`

    Example: `buildsys add --from https://example.com/layers.git@v2 ucx`

    An update that would lose a change of the project is refused, and nothing is written.
    """
    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands import query, vendor
    from buildsys.project.origins import Origin, parse_origin
    from buildsys.project.workspace import find_workspace
    from buildsys.report.tables import show_copied

    if not layers and (origin is not None or not update):
        missing = "`add --update --from`" if update else "`add`"
        raise WrongUsage(f"{missing} lacks `layers`", hint="name the layers, such as `buildsys add openmpi`")
    workspace = find_workspace(context.obj)
    place = parse_origin(origin, workspace.root) if origin is not None else None

    def wait() -> None:
        diagnostics().line(query.WAITING)

    if update:
        copied = vendor.update(workspace, os.environ, tuple(layers or ()), place, today=_today(), on_wait=wait)
    else:
        copied = vendor.add(workspace, os.environ, tuple(layers or ()), place or Origin(), today=_today(), on_wait=wait)
    show_copied(copied, output(), update=update)


def new(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(parser=usage.choice("what", ("layer", "stack")), help="One of `layer` and `stack`."),
    ],
    name: Annotated[str, typer.Argument(help="Its name.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", parser=usage.choice("--kind", KINDS), metavar="|".join(KINDS), help="The kind of a layer."
        ),
    ] = "artifact",
    layers: Annotated[
        str,
        typer.Option(
            help="The layers of a stack with commas between, each with an optional =VERSION; default is the system."
        ),
    ] = "",
) -> None:
    """Write a new layer to layers/, or add a stack to stacks.yaml, whose other lines stay as they are.

    Example: `buildsys new layer my-tool --kind artifact`

    Example: `buildsys new stack my-image --layers debian-os,openmpi=5.0.8`
    """
    from buildsys.cli.screens import output
    from buildsys.commands import skeleton
    from buildsys.project.workspace import find_workspace
    from buildsys.recipes.recipe import Kind

    usage.exclusive(context, "--kind", "--layers", hint="`--kind` is for a layer, `--layers` for a stack")
    if (what == "stack" and usage.given(context, "--kind")) or (what == "layer" and layers):
        wrong = "--kind" if what == "stack" else "--layers"
        raise WrongUsage(f"`{wrong}` is not for a new {what}", hint=f"remove `{wrong}`")
    workspace = find_workspace(context.obj)
    if what == "layer":
        output().line(f"created {', '.join(skeleton.new_layer(workspace, name, Kind(kind)))}")
        return
    chosen = [each.strip() for each in layers.split(",") if each.strip()]
    added = skeleton.new_stack(workspace, name, chosen)
    output().line(f"added to stacks.yaml:\n{added.rstrip()}")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog=usage.exit_codes())(init)
    app.command(epilog=usage.exit_codes(ExitCode.DIFFERS))(add)
    app.command(epilog=usage.exit_codes())(new)
