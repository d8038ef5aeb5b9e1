"""The commands that use an engine: bake, environment, test, doctor."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys.errors import ExitCode

if TYPE_CHECKING:
    from buildsys.workspace import Workspace

Names = Annotated[list[str] | None, typer.Argument(help="Stacks, groups, nodes or patterns.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
All = Annotated[bool, typer.Option("--all", help="All images that are not deprecated.")]


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
    fresh: Annotated[bool, typer.Option("--fresh", help="Make packages fresh first: moves their epochs.")] = False,
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
    if fresh:
        _make_fresh(workspace)
    if push:
        _publish(workspace, tuple(names or ()), everything, verify, no_cache, load, builder, dry_run, quiet)
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


def _make_fresh(workspace: Workspace) -> None:
    """Move the epochs of all layers whose packages age."""
    from buildsys import asking, commands, report_asked
    from buildsys.report import Screen

    layers = tuple(commands.make_plan(workspace.tree()).epochs)
    changes = asking.lock(workspace, update=layers, offline=True, check=False, today=date.today())
    moved = [change for change in changes if change.name in layers]
    report_asked.show_lock(moved, Screen(typer.get_text_stream("stderr")), nothing="all packages are fresh")


def _publish(
    workspace: Workspace,
    names: tuple[str, ...],
    everything: bool,
    verify: bool,
    no_cache: bool,
    load: bool,
    builder: str | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    from buildsys import building, commands, publishing, report
    from buildsys.engine import find_docker, pull_image
    from buildsys.engine_stop import Stop
    from buildsys.progress_lines import Lines
    from buildsys.stores import open_store

    options = building.PublishOptions(verify=verify, no_cache=no_cache, builder=builder)
    made = commands.make_plan(workspace.tree(), overlay=True)
    targets = commands.chosen_targets(made, names, everything=everything)
    talk = report.Screen(typer.get_text_stream("stderr"))
    with open_store(workspace, os.environ) as store:
        if dry_run:
            decision, _ = publishing.decide_run(workspace, store, made, targets, os.environ, verify=verify)
            report.show_actions(decision.plan, decision.actions, report.Screen())
            return
        lines = Lines((lambda _: None) if quiet else talk.line)
        with Stop().on_signals() as stop:
            result = publishing.publish(
                workspace, store, made, targets, options, lambda: find_docker(builder), lines.take, stop, os.environ
            )
    report.show_published(result, report.Screen())
    if load and result.complete:
        for tag in sorted(tag for tags in result.decision.tags.values() for tag in tags):
            pull_image(find_docker(builder), tag)
    if stop.requested:
        raise typer.Exit(128 + (stop.signal or 2))
    if result.failures or result.blocked:
        raise typer.Exit(int(ExitCode.FAILED))


def environment(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A conda YAML, requirements or lock file; with --dockerfile a Dockerfile.")
    ],
    on: Annotated[str, typer.Option("--on", help="The stack that it stands on.")],
    tag: Annotated[str | None, typer.Option("--tag", help="A tag for the image, besides that of its content.")] = None,
    dockerfile: Annotated[
        bool, typer.Option("--dockerfile", help="FILE is a Dockerfile that says `FROM base`.")
    ] = False,
    builder: Annotated[str | None, typer.Option(help="Another buildx builder than the current one.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the reference.")] = False,
) -> None:
    """Answer with the image of an environment on a stack; it is built only where nobody has yet."""
    from buildsys import custom, report
    from buildsys.engine import find_docker
    from buildsys.engine_stop import Stop
    from buildsys.progress_lines import Lines
    from buildsys.stores import open_store
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    talk = report.Screen(typer.get_text_stream("stderr"))
    lines = Lines((lambda _: None) if quiet else talk.line)
    make = custom.dockerfile_image if dockerfile else custom.environment_image
    request = custom.Request(file=file, stack=on, tag=tag)
    with open_store(workspace, os.environ) as store, Stop().on_signals() as stop:
        result = make(workspace, store, request, lambda: find_docker(builder), lines.take, stop, os.environ)
    if result.reference is None:
        report.show_failures(result.failures, talk)
        raise typer.Exit(128 + (stop.signal or 2) if stop.requested else int(ExitCode.FAILED))
    if not quiet:
        talk.line("made" if result.made else "found: somebody made it before")
    typer.echo(result.reference)


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


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(bake)
    app.command()(environment)
    app.command()(doctor)
    app.command(name="test")(run_image_tests)
