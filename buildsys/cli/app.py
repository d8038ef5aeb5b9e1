"""Which commands exist other than queries, runs and machines: each is one call, one report and one exit code."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from buildsys import __version__
from buildsys.cli import bake, fleet, gc, inventory, machine, project, query, usage
from buildsys.cli.names import Names, Stack
from buildsys.cli.options import Affected, Json, affected_targets
from buildsys.errors import Diagnostic, ExitCode, WrongUsage

app = typer.Typer(
    name="buildsys",
    help="Composes container images from reusable layers, each unit of work built once and shared by every image.",
    epilog=usage.exit_codes(ExitCode.FAILED, ExitCode.DIFFERS),
    cls=usage.Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"buildsys {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option(
            "-C",
            "--directory",
            readable=False,
            help="The project root, by default the nearest one at or above this folder.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options of all commands."""
    del version
    from buildsys.project.variables import unknown

    _warn(unknown(os.environ))
    context.obj = directory


def _warn(warnings: Iterable[Diagnostic]) -> None:
    from buildsys.cli.screens import diagnostics
    from buildsys.report import console

    for warning in warnings:
        console.show_diagnostic(warning, {}, diagnostics(), word="warning")


@app.command(epilog=usage.exit_codes(ExitCode.DIFFERS))
def plan(
    context: typer.Context,
    names: Names = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 3 if docker-bake.hcl is not up to date.")
    ] = False,
    affected: Affected = None,
    offline: query.Offline = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Print every warning and every target on its own.")
    ] = False,
    json: Json = False,
) -> None:
    """Write docker-bake.hcl and show its targets; with a registry, also what a bake would do and why.

    With names or `--affected`, what a bake of these would do. The file always has all targets.

    Example: `buildsys plan`

    Example: `buildsys plan gpu 'debian*'`

    Example: `buildsys plan --affected origin/main`

    Example: `buildsys plan --check`
    """
    from datetime import date

    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands import plan, query
    from buildsys.names import secret_variable
    from buildsys.plan.plan import folded, stale
    from buildsys.plan.support import support_warnings
    from buildsys.project.settings import read_settings
    from buildsys.project.variables import misspelt
    from buildsys.project.workspace import find_workspace, named_prefix
    from buildsys.report import console, documents, tables

    workspace = find_workspace(context.obj)
    # What a bake would refuse is better found here.
    read_settings(workspace.root, os.environ)
    planned = plan.write_plan(workspace, os.environ, check=check)
    offline = offline or check
    # An engine or a registry is asked about what a bake on this machine would build, on its own base images.
    asked = planned.plan if offline else plan.make_plan(workspace.tree(), overlay=True)
    words = tuple(names) if names else None
    if affected is not None:
        words = affected_targets(workspace, asked, words or (), affected)
    found = query.look(workspace, os.environ, asked, names=words, contents=planned.contents, offline=offline)
    ends = tuple(support_warnings(planned.plan, date.today()))
    if json:
        typer.echo(documents.text(documents.plan_document(planned.plan, found.keys, found.actions, ends)))
        return
    talk = diagnostics()
    secrets = {secret_variable(each) for node in planned.plan.nodes for each in node.build.mounted}
    wrong = misspelt(os.environ, [*planned.plan.origins, *(each.variable for each in planned.plan.parents), *secrets])
    warnings = planned.plan.warnings if verbose else folded(planned.plan)
    for warning in (*warnings, *ends, *plan.files_beside(workspace), *wrong):
        console.show_diagnostic(warning, {}, talk, word="warning")
    for layer, day in stale(planned.plan, date.today()):
        talk.line(f"warning: the packages of `{layer}` are of {day}: `buildsys lock --update {layer}` refreshes them")
    state = "docker-bake.hcl is written." if planned.written else "docker-bake.hcl is up to date."
    named = named_prefix(workspace, os.environ) is not None
    if offline or not (named or any(action.reference for action in found.actions.values())):
        tables.show_plan(planned.plan, state=state, screen=output(), only=None if words is None else found.actions)
    else:
        tables.show_actions(
            found.plan, found.actions, output(), left=query.estimate(workspace, found), folds=not verbose
        )
        output().line(state)


@app.command(name="list", epilog=usage.exit_codes())
def list_stacks(
    context: typer.Context,
    names: Names = None,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="Only stacks with this layer; several are all of them.")
    ] = None,
    json: Json = False,
) -> None:
    """Show stacks and groups: all, or those of some names, groups or layers.

    Example: `buildsys list gpu`

    Example: `buildsys list --layer openmpi --layer nccl`
    """
    from buildsys.cli.screens import output
    from buildsys.commands.plan import make_plan
    from buildsys.plan.selection import listed
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    plan = make_plan(find_workspace(context.obj).tree())
    stacks = listed(plan, tuple(names or ()), tuple(layer or ()))
    if json:
        typer.echo(documents.text(documents.list_document(plan, stacks)))
    else:
        tables.show_list(plan, stacks, output())


@app.command(epilog=usage.exit_codes())
def show(
    context: typer.Context,
    stack: Stack,
    json: Json = False,
) -> None:
    """Show a stack: its layers with their parameters and what they bring, its environment and settings.

    Example: `buildsys show debian12`

    Example: `buildsys show debian12 --json`
    """
    from buildsys.bake.targets import defaults
    from buildsys.cli.screens import output
    from buildsys.commands.plan import single_stack
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    plan, target = single_stack(find_workspace(context.obj), stack)
    if json:
        found = next(each for each in plan.stacks if each.name == target)
        typer.echo(documents.text(documents.stack_document(plan, found, defaults(plan))))
    else:
        tables.show_stack(plan, target, output())


@app.command(epilog=usage.exit_codes())
def variables(
    context: typer.Context,
    credentials: Annotated[
        bool, typer.Option("--credentials", help="Print only the script with the credentials of mirrors.")
    ] = False,
) -> None:
    """Print shell exports that make plain `docker buildx bake` use this machine's mirrors and parents.

    Rerun it after the lock has moved a parent: `buildsys bake` refuses the old value. Credentials of mirrors are not
    printed: the shell that evaluates the exports asks for them.

    Example: `eval "$(buildsys variables)"`
    """
    import shlex
    import sys

    from buildsys.commands.plan import make_plan
    from buildsys.project.settings import read_settings
    from buildsys.project.workspace import find_workspace
    from buildsys.run.variables import MIRRORS_VARIABLE, bake_environment

    workspace = find_workspace(context.obj)
    plan = make_plan(workspace.tree(), overlay=True)
    # What the shell says of mirrors counts, but not what these lines set in it.
    read_settings(workspace.root, os.environ)
    ours = {"BUILDSYS_MIRRORS", *plan.origins, *(parent.variable for parent in plan.parents)}
    given = {name: value for name, value in os.environ.items() if name not in ours}
    found = bake_environment(plan, workspace, given)
    secret = found.pop(MIRRORS_VARIABLE)
    if credentials:
        typer.echo(secret, nl=False)
        return
    # What an earlier call exported would override the lock of today.
    for name in sorted(parent.variable for parent in plan.parents if parent.variable not in found):
        typer.echo(f"unset {name}")
    for name, value in found.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    if secret:
        own = [sys.argv[0]] if Path(sys.argv[0]).name == "buildsys" else [sys.executable, "-m", "buildsys"]
        ask = shlex.join([*own, "-C", str(workspace.root), "variables", "--credentials"])
        typer.echo(f'export {MIRRORS_VARIABLE}="$({ask})"')
    elif MIRRORS_VARIABLE in os.environ:
        typer.echo(f"unset {MIRRORS_VARIABLE}")


@app.command(epilog=usage.exit_codes(ExitCode.DIFFERS))
def schema(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(parser=usage.choice("name", ("layer", "stacks")), help="One of `layer` and `stacks`."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write both schemas to schemas/.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 3 if the files in schemas/ are not up to date.")] = False,
) -> None:
    """Print the JSON Schema of layer.yaml or stacks.yaml.

    Example: `buildsys schema layer`

    Example: `buildsys schema --check`
    """
    from buildsys.commands.plan import schemas
    from buildsys.project.workspace import find_workspace

    usage.exclusive(context, "--write", "--check", "name")
    if write or check:
        schemas(find_workspace(context.obj), check=check)
        return
    if name is None:
        raise WrongUsage("`schema` lacks `name`", hint="add `layer` or `stacks`, or `--write` for both")
    typer.echo(schemas(None, check=False)[f"{name}.schema.json"], nl=False)


query.register(app)
inventory.register(app)
bake.register(app)
fleet.register(app)
machine.register(app)
project.register(app)
gc.register(app)
