"""The commands that run bakes: bake, warm, report."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.names import All, Builder, Names
from buildsys.errors import Diagnostic, ExitCode, InvalidInput, WrongUsage, did_you_mean

if TYPE_CHECKING:
    from buildsys.buildkit.images import DockerSnapshot
    from buildsys.plan.plan import Plan
    from buildsys.project.settings import Settings
    from buildsys.project.workspace import Workspace
    from buildsys.run.session import RunOptions

RETRIES, MIN_FREE_GB = 5, 2.0
MOST_JOBS, MOST_RETRIES, MOST_FREE_GB = 64, 100, 1e6
TAGS_ON, PROGRESS = ("all", "partial"), ("auto", "plain", "docker")
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        parser=usage.whole("--jobs", 1, MOST_JOBS),
        metavar="N",
        help=f"Number of concurrent bake processes, {MOST_JOBS} at most.",
    ),
]
MaxTargets = Annotated[
    int | None,
    typer.Option(
        parser=usage.whole("--max-targets", 1, MOST_JOBS),
        metavar="N",
        help=f"Targets at once, {MOST_JOBS} at most; default depends on the builder's driver.",
    ),
]
KeepGoing = Annotated[
    bool | None,
    typer.Option(
        "--keep-going/--fail-fast", "-k/", help="After a failure, build the targets that do not need it; default in CI."
    ),
]
RetriesOption = Annotated[
    int,
    typer.Option(
        "--retries",
        parser=usage.whole("--retries", 0, MOST_RETRIES),
        metavar="N",
        help="Retries of transient failures per target.",
    ),
]
MinFree = Annotated[
    float,
    typer.Option(
        parser=usage.gigabytes("--min-free", MOST_FREE_GB), metavar="GB", help="GB to keep free on the builder's disk."
    ),
]
EventsFile = Annotated[
    Path | None,
    typer.Option(
        "--events",
        parser=usage.file("--events"),
        metavar="FILE",
        help="Also write all events to this file, as JSON lines.",
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", metavar="id=ID,src=FILE", help="The value of a secret: `id=ID,src=FILE` or `id=ID,env=NAME`."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print each RUN step and each reused target.")]


def bake(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
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
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Build images in parallel, each unit of work once.

    Example: `buildsys bake --all --push --test`

    Example: `buildsys bake gpu --load --jobs 4`

    Example: `buildsys bake --failed --push --keep-going`

    Example: `buildsys bake debian12 --dry-run`
    """
    _check_bake(context)
    from buildsys.project.mirrors import refuse_cache
    from buildsys.project.settings import read_settings
    from buildsys.project.workspace import find_workspace

    workspace = find_workspace(context.obj)
    settings = read_settings(workspace.root, os.environ)
    refuse_cache(settings, os.environ, overrides or ())
    options = _options(
        no_cache=no_cache,
        load=load and not push,
        verify=verify,
        overrides=tuple(overrides or ()),
        keep_going=_keep_going(keep_going),
        jobs=jobs,
        max_targets=max_targets,
        retries=retries,
        min_free=int(min_free * 1e9),
        partial_tags=tags_on == "partial",
        docker_progress=progress == "docker",
    )
    if fresh:
        from buildsys.cli.run import make_fresh

        make_fresh(workspace)
    plan, targets = _chosen(workspace, tuple(names or ()), everything=everything, failed=failed)
    _check_overrides(plan, overrides or ())
    secrets = _secrets(settings, secret or (), plan)
    snapshot = None
    if not push:
        from buildsys.buildkit.images import ask_docker

        snapshot = ask_docker(builder, os.environ)
    # Imported while docker answers.
    from buildsys.cli.run import Talk, execute, find, local_run, publishing_run

    if dry_run:
        _dry_run(workspace, plan, targets, options, snapshot, secrets)
        return
    talk = Talk(quiet=quiet, verbose=verbose, progress=progress, events=events)
    if snapshot is None:
        run = publishing_run(plan, targets, load=load, test=test)
        code = execute(workspace, options, talk, run, lambda: find(builder), secrets=secrets)
    else:
        from buildsys.buildkit.invocation import DockerBuilder

        run = local_run(plan, targets, snapshot)
        found = snapshot
        code = execute(
            workspace, options, talk, run, lambda: DockerBuilder(docker=found()[0], environ=os.environ), secrets=secrets
        )
    if code:
        raise typer.Exit(code)


def warm(
    context: typer.Context,
    names: Names = None,
    everything: All = False,
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
    secret: Secrets = None,
    events: EventsFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Build and publish every shared node, then check that no selected image would be rebuilt.

    Example: `buildsys warm --all --stacks`

    Example: `buildsys warm gpu --check`
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
    plan, chosen = _chosen(workspace, tuple(names or ()), everything=everything, failed=False)
    targets = warm.targets_of(plan, chosen, stacks=stacks)
    options = _options(
        keep_going=_keep_going(keep_going),
        jobs=jobs,
        max_targets=max_targets,
        retries=retries,
        min_free=int(min_free * 1e9),
        linked=bool(os.environ.get(warm.CACHE)),
    )
    code, secrets = 0, dict[str, str]()
    if not check:
        secrets = _secrets(settings, secret or (), plan)
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


def _options(**given: object) -> "RunOptions":
    from buildsys.run.session import RunOptions

    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return RunOptions(command=shlex.join(words), **given)  # type: ignore[arg-type]


def _secrets(settings: "Settings", given: Sequence[str], plan: "Plan") -> dict[str, str]:
    """Return the variables of all secrets of a project that have a value on this machine."""
    from buildsys.project.secrets import check_known, parse_options, values

    options = parse_options(given, os.environ)
    check_known(options, {each.id for node in plan.nodes for each in node.build.secrets})
    return values(os.environ, settings.secrets, options)


def _keep_going(given: bool | None) -> bool:
    from buildsys.switches import in_ci

    return in_ci(os.environ) if given is None else given


def _check_bake(context: typer.Context) -> None:
    """Refuse options that contradict each other, and those that would have no effect."""
    usage.exclusive(context, "--all", "--failed", "names")
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
        *("--min-free", "--secret", "--events", "--quiet", "--verbose"),
    ):
        usage.exclusive(context, "--check", option, hint=f"remove `{option}`: `--check` builds nothing")


def _chosen(
    workspace: "Workspace", names: tuple[str, ...], *, everything: bool, failed: bool
) -> "tuple[Plan, tuple[str, ...]]":
    """Return the plan and the targets meant."""
    from buildsys.cli.screens import chosen_targets
    from buildsys.commands.plan import make_plan
    from buildsys.events.journal import history_of
    from buildsys.run.variables import check_names

    plan = make_plan(workspace.tree(), overlay=True)
    check_names(plan, os.environ)
    if not failed:
        return plan, chosen_targets(plan, names, everything=everything)
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
    from buildsys.run.decision import decide_published, selection_of
    from buildsys.run.local import decision_for
    from buildsys.run.store import open_store
    from buildsys.run.variables import check_environment, secret_values

    variables = check_environment(plan, workspace, os.environ)
    if snapshot is None:
        with open_store(workspace, os.environ) as store:
            decision = decide_published(workspace, store, plan, targets, os.environ, verify=options.verify)
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
    app.command(name="report", epilog=usage.exit_codes())(make_report)
