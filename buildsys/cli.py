"""Options and wiring: each command is one call, one report and one exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys import cli_ask
from buildsys.errors import ExitCode

if TYPE_CHECKING:
    from buildsys.workspace import Workspace

app = typer.Typer(
    name="buildsys",
    help="Composes container images from reusable layers, each unit of work made once and shared by every image.",
    epilog=(
        "Exit codes: 0 done, 1 a build or test failed, 2 wrong usage, 3 a committed file differs, "
        "4 invalid input, 5 engine, registry or tool unavailable, 130 and 143 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Names = Annotated[list[str] | None, typer.Argument(help="Stacks, groups, nodes or patterns.")]
All = Annotated[bool, typer.Option("--all", help="All images that are not deprecated.")]


@app.callback()
def main_options(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Option("-C", "--directory", help="Another project root than the nearest one.")
    ] = None,
) -> None:
    """Take the options of all commands."""
    context.obj = directory


@app.command()
def plan(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 3 if it is not up to date.")] = False,
    offline: cli_ask.Offline = False,
    json: Json = False,
) -> None:
    """Write docker-bake.hcl and show what is in it; where a registry is named, what a bake to it would do and why."""
    from datetime import date

    from buildsys import asking, commands, documents, locking, report
    from buildsys.stores import named_prefix
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    planned = commands.write_plan(workspace, check=check)
    offline = offline or check or named_prefix(workspace, os.environ) is None
    found = asking.look(workspace, os.environ, offline=offline, overlay=not offline)
    if json:
        typer.echo(documents.text(documents.plan_document(planned.plan, found.keys, found.actions)))
        return
    talk = report.Screen(typer.get_text_stream("stderr"))
    for warning in planned.plan.warnings:
        report.show_mistake(warning, {}, talk, word="warning")
    for layer, day in locking.stale(planned.plan, date.today()):
        talk.line(f"warning: the packages of `{layer}` are of {day}: `buildsys lock --update {layer}` makes them fresh")
    state = "docker-bake.hcl is written." if planned.written else "docker-bake.hcl is up to date."
    if offline:
        report.show_plan(planned.plan, state=state, screen=report.Screen())
    else:
        report.show_actions(found.plan, found.actions, report.Screen())
        report.Screen().line(state)


@app.command(name="list")
def list_stacks(context: typer.Context, json: Json = False) -> None:
    """Show all stacks and groups."""
    from buildsys import commands, documents, report
    from buildsys.workspace import find_workspace

    made = commands.make_plan(find_workspace(context.obj).tree())
    if json:
        typer.echo(documents.text(documents.list_document(made)))
    else:
        report.show_list(made, report.Screen())


@app.command()
def show(
    context: typer.Context,
    stack: Annotated[str, typer.Argument(help="The name of a stack.")],
    json: Json = False,
) -> None:
    """Show a stack: its layers, parameters and where each comes from, its environment."""
    from buildsys import commands, documents, report
    from buildsys.workspace import find_workspace

    made, target = commands.single_stack(find_workspace(context.obj), stack)
    if json:
        found = next(each for each in made.stacks if each.name == target)
        typer.echo(documents.text(documents.stack_document(made, found, documents.defaults(made))))
    else:
        report.show_stack(made, target, report.Screen())


@app.command()
def bake(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
    push: Annotated[
        bool, typer.Option("--push", help="Publish to the registry: what exists there is not made again.")
    ] = False,
    load: Annotated[bool, typer.Option("--load", help="Load the images into the engine's store.")] = False,
    builder: Annotated[str | None, typer.Option(help="Another buildx builder than the current one.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Execute every step again.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value, as bake's own --set does.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and run nothing.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="With --push: look at all blobs of what exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the summary.")] = False,
) -> None:
    """Build images with docker buildx."""
    from buildsys import baking, report
    from buildsys.engine import find_docker
    from buildsys.engine_stop import Stop
    from buildsys.progress_lines import Lines
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    options = baking.BakeOptions(
        words=tuple(names or ()),
        everything=everything,
        push=push,
        load=load,
        builder=builder,
        no_cache=no_cache,
        overrides=tuple(overrides or ()),
    )
    if push:
        _publish(workspace, tuple(names or ()), everything, verify, no_cache, builder, dry_run, quiet)
        return
    docker = find_docker(builder)
    prepared = baking.prepare(workspace, docker, options)
    if dry_run:
        typer.echo(prepared.call.shown(docker))
        return
    talk = report.Screen(typer.get_text_stream("stderr"))
    lines = Lines((lambda _: None) if quiet else talk.line)
    with Stop().on_signals() as stop:
        result = baking.bake(prepared, docker, lines.take, stop)
    report.show_bake(result, report.Screen())
    if stop.requested:
        raise typer.Exit(128 + (stop.signal or 2))
    if result.failure is not None:
        raise typer.Exit(int(ExitCode.FAILED))


def _publish(
    workspace: Workspace,
    names: tuple[str, ...],
    everything: bool,
    verify: bool,
    no_cache: bool,
    builder: str | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    from buildsys import building, publishing, report
    from buildsys.engine import find_docker
    from buildsys.engine_stop import Stop
    from buildsys.progress_lines import Lines
    from buildsys.stores import open_store

    options = building.PublishOptions(
        words=names, everything=everything, verify=verify, no_cache=no_cache, builder=builder
    )
    talk = report.Screen(typer.get_text_stream("stderr"))
    with open_store(workspace, os.environ) as store:
        if dry_run:
            decision, _ = publishing.decide_run(workspace, store, options, os.environ)
            report.show_actions(decision.plan, decision.actions, report.Screen())
            return
        lines = Lines((lambda _: None) if quiet else talk.line)
        with Stop().on_signals() as stop:
            result = publishing.publish(
                workspace, store, options, lambda: find_docker(builder), lines.take, stop, os.environ
            )
    report.show_published(result, report.Screen())
    if stop.requested:
        raise typer.Exit(128 + (stop.signal or 2))
    if result.failures or result.blocked:
        raise typer.Exit(int(ExitCode.FAILED))


@app.command(name="test")
def run_image_tests(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
    builder: Annotated[str | None, typer.Option(help="Another buildx builder than the current one.")] = None,
) -> None:
    """Run the tests that layers declare in the images that have them."""
    from buildsys import baking, report
    from buildsys.engine import find_docker
    from buildsys.testing import declared_tests, run_tests
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    docker = find_docker(builder)
    options = baking.BakeOptions(words=tuple(names or ()), everything=everything, builder=builder)
    prepared = baking.prepare(workspace, docker, options)
    tests = declared_tests(prepared.plan, prepared.targets)
    images = {target: prepared.tags(target)[0] for target in prepared.targets if prepared.tags(target)}
    screen = report.Screen()
    good = run_tests(docker, workspace, tests, images, lambda result: report.show_test(result, screen))
    screen.line(f"{len(tests)} tests of {len(images)} images, {'all passed' if good else 'not all passed'}")
    if not good:
        raise typer.Exit(int(ExitCode.FAILED))


@app.command()
def doctor(
    context: typer.Context,
    registry: Annotated[
        str, typer.Option(envvar="BUILDSYS_REGISTRY", help="Where images are pushed, as the bake file has it.")
    ] = "",
    builder: Annotated[str | None, typer.Option(help="Another buildx builder than the current one.")] = None,
    json: Json = False,
) -> None:
    """Check whether this machine can bake, and say what to do where it cannot."""
    from buildsys import documents, report
    from buildsys.doctor import exit_code, judge
    from buildsys.doctor_facts import look

    checks = judge(look(registry=registry, builder=builder, directory=context.obj))
    if json:
        fields = [{"name": c.name, "state": str(c.state), "found": c.found, "fix": c.fix} for c in checks]
        typer.echo(documents.text({"checks": fields}))
    else:
        screen = report.Screen()
        styles = {"ok": "good", "warning": "bold", "error": "error"}
        for check in checks:
            screen.line(f"{screen.styled(f'{check.state:<8}', styles[check.state])} {check.name:<12} {check.found}")
            if check.fix:
                screen.line(f"{'fix:':>21}  {check.fix}")
    if code := exit_code(checks):
        raise typer.Exit(int(code))


@app.command()
def variables(context: typer.Context) -> None:
    """Print export lines with which plain `docker buildx bake` uses this machine's mirrors and parents."""
    import shlex

    from buildsys import commands
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    made = commands.make_plan(workspace.tree(), overlay=True)
    for name, value in commands.bake_environment(made, workspace, {}).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def schema(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="`layer` or `stacks`.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write them to schemas/.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 3 if those in schemas/ are not up to date.")] = False,
) -> None:
    """Print the JSON Schema of layer.yaml or stacks.yaml."""
    from buildsys import commands
    from buildsys.workspace import find_workspace

    if write or check:
        commands.schemas(find_workspace(context.obj), check=check)
        return
    found = commands.schemas(None, check=False)
    if f"{name}.schema.json" not in found:
        raise typer.BadParameter("name one of `layer` and `stacks`")
    typer.echo(found[f"{name}.schema.json"], nl=False)


cli_ask.register(app)
