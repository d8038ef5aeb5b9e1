"""The commands that use an engine without a run: environment, test, doctor."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.ci import Annotations, Summary, annotated, job
from buildsys.cli.names import Names
from buildsys.cli.options import MIN_FREE_GB, RETRIES, Affected, All, Builder, Json, Secrets, chosen, jobs_option
from buildsys.errors import ExitCode


def environment(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            parser=usage.file("file"), help="A conda YAML, requirements or lock file; with --dockerfile a Dockerfile."
        ),
    ],
    on: Annotated[str, typer.Option("--on", help="The stack to build on.")],
    tag: Annotated[
        str | None, typer.Option("--tag", help="A tag for the image, in addition to that of its content.")
    ] = None,
    dockerfile: Annotated[bool, typer.Option("--dockerfile", help="FILE is a Dockerfile with `FROM base`.")] = False,
    builder: Builder = None,
    secret: Secrets = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the reference.")] = False,
) -> None:
    """Print the image of an environment on a stack; build it if it does not exist.

    Example: `buildsys environment environment.yaml --on debian12`

    Example: `buildsys environment Dockerfile --dockerfile --on debian12 --tag r.example.com/team/own:1`
    """
    from buildsys.buildkit.interrupt import Stop
    from buildsys.cli.run import find
    from buildsys.cli.screens import diagnostics
    from buildsys.commands import environment
    from buildsys.events.journal import open_journal
    from buildsys.fleet.use import in_use
    from buildsys.project import secrets
    from buildsys.project.mirrors import refuse_cache
    from buildsys.project.revision import origin_of
    from buildsys.project.settings import mask_of, read_settings
    from buildsys.project.workspace import find_workspace
    from buildsys.report.live import listener
    from buildsys.report.outcomes import failure_lines
    from buildsys.run.session import RunContext, RunOptions, Session
    from buildsys.run.store import open_store

    workspace = find_workspace(context.obj)
    settings = read_settings(workspace.root, os.environ)
    refuse_cache(settings, os.environ)
    given = secrets.parse_options(secret or (), os.environ)
    environ = {**os.environ, **secrets.values(os.environ, settings.secrets, given)}
    request = environment.Request(file=file, stack=on, tag=tag)
    secrets.check_known(given, environment.check(workspace, request, dockerfile=dockerfile))
    talk = diagnostics()
    shown = listener(talk.stream, quiet=quiet, verbose=False, environ=os.environ, clock=time.time)
    image_of = environment.dockerfile_image if dockerfile else environment.environment_image
    with (
        open_store(workspace, os.environ) as store,
        open_journal(workspace, shown, mask_of(workspace.root, environ)) as journal,
        Stop().on_signals() as stop,
    ):
        session = Session(
            workspace=workspace,
            context=RunContext(origin=origin_of, environ=environ),
            options=RunOptions(retries=RETRIES, min_free=int(MIN_FREE_GB * 1e9)),
            journal=journal,
            stop=stop,
            find_builder=lambda: find(builder),
        )
        result = in_use(
            store.registry, lambda: image_of(session, store, request), lambda found: found.reference, time.time()
        )
    if result.reference is None:
        for line in (line for failure in result.failures for line in failure_lines(failure)):
            talk.line(line)
        raise typer.Exit(128 + (stop.signal or 2) if stop.requested else int(ExitCode.FAILED))
    if not quiet:
        talk.line("built" if result.built else "reused: it already exists")
    typer.echo(result.reference)


def run_image_tests(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
    affected: Affected = None,
    local: Annotated[
        bool, typer.Option("--local", help="Test the images in the engine's store, not those in the registry.")
    ] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Also run tests that passed before on the same image.")
    ] = False,
    fail_skipped: Annotated[
        bool, typer.Option("--fail-skipped", help="Exit with 1 also if a test was skipped.")
    ] = False,
    jobs: Annotated[int | None, jobs_option("tests at once")] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit", parser=usage.file("--junit"), metavar="FILE", help="Also write the results as JUnit XML."
        ),
    ] = None,
    builder: Builder = None,
    json: Json = False,
    annotations: Annotations = None,
    summary: Summary = None,
) -> None:
    """Run the tests that layers declare, in the published images of the present keys.

    Without a registry, or with --local, the local images of these keys are tested.

    Example: `buildsys test debian12`

    Example: `buildsys test --all --junit results.xml`

    Example: `buildsys test --affected origin/main --annotations github --summary summary.md`
    """
    from buildsys.buildkit.interrupt import Stop
    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands.image_tests import TestOptions, run_tests
    from buildsys.events.events import TestState
    from buildsys.project.settings import read_settings
    from buildsys.project.state import written
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tested

    usage.exclusive(context, "--all", "names")
    usage.exclusive(context, "--annotations", "--json")
    with annotated(context, annotations):
        workspace = find_workspace(context.obj)
        read_settings(workspace.root, os.environ)
        plan, targets = chosen(workspace, tuple(names or ()), everything=everything, affected=affected)
        options = TestOptions(local=local, rerun=rerun, jobs=jobs, builder=builder)
        results = []
        with Stop().on_signals() as stop:
            note = diagnostics().line
            for result in run_tests(workspace, plan, targets, options, os.environ, stop=stop, note=note):
                results.append(result)
                if not json:
                    tested.show_result(result, output())
        if stop.requested:
            raise typer.Exit(128 + (stop.signal or 2))
        if junit is not None:
            with written(junit):
                junit.write_text(tested.junit(results), encoding="utf-8")
        if json:
            typer.echo(documents.text(tested.document(results)))
        else:
            output().line(tested.summary_line(results))
        job(workspace.root, os.environ, annotations, summary).report_tests(results)
    bad = {TestState.FAILED, *((TestState.SKIPPED,) if fail_skipped else ())}
    if any(each.state in bad for result in results for each in result.results):
        raise typer.Exit(int(ExitCode.FAILED))


def doctor(
    context: typer.Context,
    registry: Annotated[
        str, typer.Option(envvar="BUILDSYS_REGISTRY", help="The registry and prefix that images are pushed to.")
    ] = "",
    builder: Builder = None,
    json: Json = False,
) -> None:
    """Check whether this machine can bake, and show how to fix what is missing.

    Example: `buildsys doctor`

    Example: `buildsys doctor --registry r.example.com/ml --json`
    """
    from buildsys.cli.screens import output
    from buildsys.commands.doctor import exit_code, judge
    from buildsys.commands.probe import look
    from buildsys.project.settings import mask_near
    from buildsys.report import documents

    checks = judge(look(os.environ, registry=registry, builder=builder, directory=context.obj))
    checks = mask_near(context.obj, os.environ).value(checks, keep=("name",))
    if json:
        fields = [{"name": c.name, "state": str(c.state), "found": c.found, "fix": c.fix} for c in checks]
        typer.echo(documents.text({"checks": fields}))
    else:
        screen = output()
        styles = {"ok": "good", "warning": "bold", "error": "error"}
        for check in checks:
            screen.line(f"{screen.styled(f'{check.state:<8}', styles[check.state])} {check.name:<12} {check.found}")
            if check.fix:
                screen.line(f"{'fix:':>21}  {check.fix}")
    if code := exit_code(checks):
        raise typer.Exit(int(code))


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog=usage.exit_codes(ExitCode.FAILED))(environment)
    app.command(epilog=usage.exit_codes())(doctor)
    app.command(name="test", epilog=usage.exit_codes(ExitCode.FAILED))(run_image_tests)
