"""The commands that use an engine besides a run of it: environment, test, doctor."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from buildsys.errors import ExitCode

Names = Annotated[list[str] | None, typer.Argument(help="Stacks, groups, nodes or patterns.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
All = Annotated[bool, typer.Option("--all", help="All images that are not deprecated.")]


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
    from buildsys.journal import open_journal
    from buildsys.live import listener
    from buildsys.mirrors import refuse_cache
    from buildsys.report_summary import failure_lines
    from buildsys.settings import read_settings
    from buildsys.stores import open_store
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    refuse_cache(read_settings(workspace.root))
    talk = report.Screen(typer.get_text_stream("stderr"))
    shown = listener(talk.stream, quiet=quiet, verbose=False, environ=os.environ, clock=time.time)
    make = custom.dockerfile_image if dockerfile else custom.environment_image
    request = custom.Request(file=file, stack=on, tag=tag)
    with (
        open_store(workspace, os.environ) as store,
        open_journal(workspace, shown) as journal,
        Stop().on_signals() as stop,
    ):
        result = make(workspace, store, request, lambda: find_docker(builder), journal, stop, os.environ)
    if result.reference is None:
        for line in (line for failure in result.failures for line in failure_lines(failure)):
            talk.line(line)
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
    from buildsys import commands, report
    from buildsys.deciding import public_tags
    from buildsys.engine import find_docker
    from buildsys.testing import declared_tests, run_tests
    from buildsys.workspace import find_workspace

    workspace = find_workspace(context.obj)
    made = commands.make_plan(workspace.tree(), overlay=True)
    docker = find_docker(builder)
    targets = commands.chosen_targets(made, tuple(names or ()), everything=everything)
    tests = declared_tests(made, targets)
    images = {target: tags[0] for target, tags in public_tags(made, targets, os.environ).items() if tags}
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
    from buildsys.settings import mask_near

    checks = judge(look(registry=registry, builder=builder, directory=context.obj))
    checks = mask_near(context.obj).value(checks, keep=("name",))
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
    app.command()(environment)
    app.command()(doctor)
    app.command(name="test")(run_image_tests)
