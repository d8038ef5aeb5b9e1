"""The commands that run bakes: bake, warm."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.ci import Annotations, Summary, annotated, job
from buildsys.cli.names import Names
from buildsys.cli.options import (
    MIN_FREE_GB,
    PROGRESS,
    RETRIES,
    TAGS_ON,
    Affected,
    All,
    Builder,
    Emulate,
    EventsFile,
    Jobs,
    KeepGoing,
    MaxTargets,
    MinFree,
    Quiet,
    RetriesOption,
    Secrets,
    Verbose,
    chosen,
    keeps_going,
    run_options,
    secret_variables,
)
from buildsys.errors import Diagnostic, ExitCode, InvalidInput, WrongUsage, did_you_mean

if TYPE_CHECKING:
    from buildsys.buildkit.images import DockerSnapshot
    from buildsys.plan.plan import Plan
    from buildsys.project.workspace import Workspace
    from buildsys.run.session import RunOptions


def bake(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
    affected: Affected = None,
    failed: Annotated[bool, typer.Option("--failed", help="Targets that the last run did not build.")] = False,
    push: Annotated[
        bool, typer.Option("--push", help="Publish to the registry; images that exist there are not rebuilt.")
    ] = False,
    test: Annotated[bool, typer.Option("--test", help="With --push: test the images before public tags move.")] = False,
    load: Annotated[bool, typer.Option("--load", help="Load the images into the engine's store.")] = False,
    builder: Builder = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Execute every step of what is built, cached or not.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of a target, as `docker buildx bake --set` does."),
    ] = None,
    secret: Secrets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, without running it.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="With --push: check every blob of existing images.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Refresh packages first, by updating their epochs.")] = False,
    keep_going: KeepGoing = None,
    jobs: Jobs = None,
    max_targets: MaxTargets = None,
    retries: RetriesOption = RETRIES,
    min_free: MinFree = MIN_FREE_GB,
    emulate: Emulate = False,
    tags_on: Annotated[
        str,
        typer.Option(
            parser=usage.choice("--tags-on", TAGS_ON),
            metavar="|".join(TAGS_ON),
            help="With --push: `all` moves public tags if no image is missing, `partial` those of existing images.",
        ),
    ] = "all",
    progress: Annotated[
        str,
        typer.Option(
            parser=usage.choice("--progress", PROGRESS),
            metavar="|".join(PROGRESS),
            help="Progress display: `auto`, `plain`, or `docker` for that of BuildKit.",
        ),
    ] = "auto",
    events: EventsFile = None,
    annotations: Annotations = None,
    summary: Summary = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Build images in parallel, each unit of work once.

    Example: `buildsys bake --all --push --test`

    Example: `buildsys bake gpu --load --jobs 4`

    Example: `buildsys bake --failed --push --keep-going`

    Example: `buildsys bake debian12 --dry-run`

    Example: `buildsys bake --affected origin/main --annotations github --summary summary.md`
    """
    _check_bake(context)
    from buildsys.project.mirrors import refuse_cache
    from buildsys.project.settings import read_settings
    from buildsys.project.workspace import find_workspace

    with annotated(context, annotations):
        workspace = find_workspace(context.obj)
        settings = read_settings(workspace.root, os.environ)
        refuse_cache(settings, os.environ, overrides or ())
        options = run_options(
            no_cache=no_cache,
            load=load and not push,
            verify=verify,
            overrides=tuple(overrides or ()),
            keep_going=keeps_going(keep_going),
            jobs=jobs,
            max_targets=max_targets,
            retries=retries,
            min_free=int(min_free * 1e9),
            partial_tags=tags_on == "partial",
            docker_progress=progress == "docker",
            emulate=emulate,
        )
        if fresh:
            from buildsys.cli.run import make_fresh

            make_fresh(workspace)
        plan, targets = (
            _unfinished(workspace)
            if failed
            else chosen(workspace, tuple(names or ()), everything=everything, affected=affected)
        )
        _check_overrides(plan, overrides or ())
        secrets = secret_variables(settings, secret or (), plan)
        snapshot = None
        if not push:
            from buildsys.buildkit.images import ask_docker

            snapshot = ask_docker(builder, os.environ)
        # Imported while docker answers.
        from buildsys.cli.run import Talk, execute, find, local_run, publishing_run

        if dry_run:
            _dry_run(workspace, plan, targets, options, snapshot, secrets)
            return
        reports = job(workspace.root, {**os.environ, **secrets}, annotations, summary)
        talk = Talk(
            quiet=quiet,
            verbose=verbose,
            progress=progress,
            events=events,
            ended=lambda run: reports.report_run(run, plan),
        )
        if snapshot is None:
            run = publishing_run(plan, targets, load=load, test=test)
            code = execute(workspace, options, talk, run, lambda: find(builder), secrets=secrets)
        else:
            from buildsys.buildkit.invocation import DockerBuilder

            run = local_run(plan, targets, snapshot)
            found = snapshot
            code = execute(
                workspace,
                options,
                talk,
                run,
                lambda: DockerBuilder(docker=found()[0], environ=os.environ),
                secrets=secrets,
            )
    if code:
        raise typer.Exit(code)


def warm(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
    affected: Affected = None,
    stacks: Annotated[
        bool, typer.Option("--stacks", help="Also publish the images, without their public tags.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Build nothing; check whether everything exists.")] = False,
    builder: Builder = None,
    keep_going: KeepGoing = None,
    jobs: Jobs = None,
    max_targets: MaxTargets = None,
    retries: RetriesOption = RETRIES,
    min_free: MinFree = MIN_FREE_GB,
    emulate: Emulate = False,
    secret: Secrets = None,
    events: EventsFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Build and publish every shared node, then check that no selected image would be rebuilt.

    Example: `buildsys warm --all --stacks`

    Example: `buildsys warm gpu --check`

    Example: `buildsys warm --affected origin/main`
    """
    from buildsys.cli.run import Talk, execute, find, publishing_run
    from buildsys.cli.screens import output
    from buildsys.project.mirrors import refuse_cache
    from buildsys.project.settings import mask_of, read_settings
    from buildsys.project.workspace import find_workspace
    from buildsys.report.summary import show_warmth
    from buildsys.run import warm
    from buildsys.run.store import open_store

    _check_warm(context)
    workspace = find_workspace(context.obj)
    settings = read_settings(workspace.root, os.environ)
    if not check:
        refuse_cache(settings, os.environ)
    plan, images = chosen(workspace, tuple(names or ()), everything=everything, affected=affected)
    targets = warm.targets_of(plan, images, stacks=stacks)
    options = run_options(
        keep_going=keeps_going(keep_going),
        jobs=jobs,
        max_targets=max_targets,
        retries=retries,
        min_free=int(min_free * 1e9),
        linked=bool(os.environ.get(warm.CACHE)),
        emulate=emulate,
    )
    code, secrets = 0, dict[str, str]()
    if not check:
        secrets = secret_variables(settings, secret or (), plan)
        talk = Talk(quiet=quiet, verbose=verbose, events=events)
        run = publishing_run(plan, targets, tag=False)
        code = execute(workspace, options, talk, run, lambda: find(builder), secrets=secrets)
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        raise typer.Exit(code)
    with open_store(workspace, os.environ) as store:
        warmth = warm.look(workspace, store, plan, targets, os.environ)
    mask = mask_of(workspace.root, {**os.environ, **secrets})
    dead = {node: mask.text(why) for node, why in warmth.dead.items()}
    show_warmth(replace(warmth, dead=dead, unprobed=mask.text(warmth.unprobed)), output())
    if code or not warmth.complete:
        raise typer.Exit(code or int(ExitCode.FAILED))


def make_report(
    context: typer.Context,
    events: Annotated[
        Path | None,
        typer.Argument(parser=usage.file("events"), help="A file of events; default is that of the last run."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", parser=usage.file("--output"), metavar="FILE", help="Where to write the report."
        ),
    ] = None,
) -> None:
    """Write the HTML report of a run from its events.

    Example: `buildsys report`

    Example: `buildsys report .buildsys/runs/3/events.jsonl --output run-3.html`
    """
    from buildsys.project.workspace import find_workspace
    from buildsys.report.html.page import write_report

    typer.echo(write_report(find_workspace(context.obj), events, output))


def _check_bake(context: typer.Context) -> None:
    """Refuse options that contradict each other, and those that would have no effect."""
    usage.exclusive(context, "--all", "--failed", "names")
    usage.exclusive(context, "--affected", "--failed")
    usage.exclusive(context, "--set", "--push", hint="remove `--set`: what is published under a key must match the key")
    usage.exclusive(context, "--fresh", "--dry-run", hint="remove `--fresh`, which writes `buildsys.lock`")
    usage.exclusive(context, "--quiet", "--verbose")
    usage.exclusive(context, "--quiet", "--progress")
    usage.needs(context, "--verify", "--push")
    usage.needs(context, "--tags-on", "--push")
    usage.needs(context, "--test", "--push")


def _check_overrides(plan: "Plan", overrides: Sequence[str]) -> None:
    """Refuse a value of `--set` that is of no target; it may be a secret, and is not quoted."""
    for each in overrides:
        name, equals, _ = each.partition("=")
        target, _, attribute = name.partition(".")
        if not (equals and target and attribute):
            hint = "write it as `--set TARGET.args.NAME=VALUE`"
            raise WrongUsage(f"`--set` has `{name}`, expected a target, an attribute and `=`", hint=hint)
        if not any(fnmatchcase(known, target) for known in plan.targets):
            near = did_you_mean(target, plan.targets, "run `buildsys plan` to list all targets")
            raise WrongUsage(f"`--set` has `{target}`, which is not a target", hint=near)


def _check_warm(context: typer.Context) -> None:
    """Refuse options that contradict each other, and those of a run where nothing is built."""
    usage.exclusive(context, "--all", "names")
    usage.exclusive(context, "--quiet", "--verbose")
    for option in (
        *("--builder", "--keep-going", "--jobs", "--max-targets", "--retries"),
        *("--min-free", "--emulate", "--secret", "--events", "--quiet", "--verbose"),
    ):
        usage.exclusive(context, "--check", option, hint=f"remove `{option}`: `--check` builds nothing")


def _unfinished(workspace: "Workspace") -> "tuple[Plan, tuple[str, ...]]":
    """Return the plan and the targets that the last run did not finish."""
    from buildsys.commands.plan import make_plan
    from buildsys.events.journal import history_of
    from buildsys.run.variables import check_names

    plan = make_plan(workspace.tree(), overlay=True)
    check_names(plan, os.environ)
    undone = tuple(name for name in history_of(workspace).undone if name in plan.targets)
    if not undone:
        raise InvalidInput([Diagnostic(message="the last run has no missing targets", hint="name targets, or `--all`")])
    return plan, undone


def _dry_run(
    workspace: "Workspace",
    plan: "Plan",
    targets: tuple[str, ...],
    options: "RunOptions",
    snapshot: "Callable[[], DockerSnapshot] | None",
    secrets: "Mapping[str, str]",
) -> None:
    from buildsys.cli.screens import output
    from buildsys.report import tables
    from buildsys.run.decision import decide_published, refuse_no_cache, selection_of
    from buildsys.run.local import decision_for
    from buildsys.run.store import open_store
    from buildsys.run.variables import check_environment, secret_values

    variables = check_environment(plan, workspace, os.environ)
    if snapshot is None:
        with open_store(workspace, os.environ) as store:
            decision = decide_published(workspace, store, plan, targets, os.environ, verify=options.verify)
        if options.no_cache:
            refuse_no_cache(decision)
    else:
        docker, images = snapshot()
        loaded = images if docker.driver == "docker" else {}
        decision, _ = decision_for(workspace, selection_of(workspace, plan, targets), loaded, options, os.environ)
    nodes = [node for node in plan.nodes if node.name in decision.nodes_to_build]
    secret_values(nodes, {**os.environ, **secrets, **variables})
    tables.show_actions(decision.plan, decision.actions, output())


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog=usage.exit_codes(ExitCode.FAILED))(bake)
    app.command(epilog=usage.exit_codes(ExitCode.FAILED))(warm)
