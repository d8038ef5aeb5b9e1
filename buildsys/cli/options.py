"""The options that several commands take, and what they mean on this machine."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from buildsys.cli import usage

if TYPE_CHECKING:
    from buildsys.plan.plan import Plan
    from buildsys.project.settings import Settings
    from buildsys.project.workspace import Workspace
    from buildsys.run.session import RunOptions

RETRIES, MIN_FREE_GB = 5, 2.0
MOST_JOBS, MOST_RETRIES, MOST_FREE_GB = 64, 100, 1e6
TAGS_ON, PROGRESS = ("all", "partial"), ("auto", "plain", "docker")


def jobs_option(what: str) -> Any:
    """Return the option `--jobs` for a number of such things at once."""
    parser = usage.whole("--jobs", 1, MOST_JOBS)
    return typer.Option("--jobs", "-j", parser=parser, metavar="N", help=f"Number of {what}, {MOST_JOBS} at most.")


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
All = Annotated[bool, typer.Option("--all", help="All images that are not deprecated and have support.")]
Builder = Annotated[str | None, typer.Option(help="The buildx builder; default is the current one.")]
Jobs = Annotated[int | None, jobs_option("concurrent bake processes")]
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
Affected = Annotated[
    str | None,
    typer.Option("--affected", metavar="REV", help="Only images that differ from those of this git revision."),
]
Emulate = Annotated[
    bool,
    typer.Option("--emulate", help="Let the builder emulate platforms that it does not run itself, which is slow."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print each RUN step and each reused target.")]


def run_options(**given: object) -> "RunOptions":
    """Return what is asked of a run."""
    from buildsys.run.session import RunOptions

    return RunOptions(command=command_line(), **given)  # type: ignore[arg-type]


def command_line() -> str:
    """Return what was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def chosen(
    workspace: "Workspace", names: Sequence[str], *, everything: bool, affected: str | None = None
) -> "tuple[Plan, tuple[str, ...]]":
    """Return the plan and the targets that names mean, of these only those that differ from a revision if it is given.

    Ends the command, as one that has done everything, if none does.
    """
    from buildsys.cli.screens import chosen_targets
    from buildsys.commands.plan import make_plan
    from buildsys.run.variables import check_names

    plan = make_plan(workspace.tree(), overlay=True)
    check_names(plan, os.environ)
    if affected is None:
        return plan, chosen_targets(plan, names, everything=everything)
    targets = affected_targets(workspace, plan, names, affected)
    if not targets:
        raise typer.Exit
    return plan, targets


def affected_targets(workspace: "Workspace", plan: "Plan", names: Sequence[str], revision: str) -> tuple[str, ...]:
    """Return the targets that differ from a revision, after writing how many they are."""
    from datetime import date

    from buildsys.cli.screens import diagnostics
    from buildsys.commands import affected
    from buildsys.report.tables import affected_line

    found = affected.affected(workspace, revision, os.environ, words=names, plan=plan, today=date.today())
    if found.note:
        diagnostics().line(f"warning: {found.note}")
    diagnostics().line(f"affected since {revision}: {affected_line(found, affected.estimate(workspace, found))}")
    return found.targets


def secret_variables(settings: "Settings", given: Sequence[str], plan: "Plan") -> dict[str, str]:
    """Return the variables of all secrets of a project that have a value on this machine."""
    from buildsys.project.secrets import check_known, parse_options, values

    options = parse_options(given, os.environ)
    check_known(options, {each.id for node in plan.nodes for each in node.build.secrets})
    return values(os.environ, settings.secrets, options)


def keeps_going(given: bool | None) -> bool:
    """Return whether a failure ends nothing but what needs it; in CI that is the default."""
    from buildsys.switches import in_ci

    return in_ci(os.environ) if given is None else given
