"""The commands that ask: why something is built, what changed since, what the graph looks like; and the lock."""

import os
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.names import Json, Layer, Stack, Target
from buildsys.errors import ExitCode, WrongUsage

FORMATS = ("tree", "mermaid", "dot", "json")
Offline = Annotated[bool, typer.Option("--offline", help="Do not query the registry; count every target as missing.")]


def explain(
    context: typer.Context,
    name: Target,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Show the inputs of a stack or node, who uses it, and why it is built or reused.

    Example: `buildsys explain debian12`

    Example: `buildsys explain --offline openmpi-wheels-4_1_8`
    """
    from buildsys.cli.screens import output
    from buildsys.commands import query
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    found = query.explain(query.look(find_workspace(context.obj), os.environ, offline=offline), name)
    if json:
        typer.echo(documents.text(documents.explanation_document(found)))
    else:
        tables.show_explanation(found, output())


def why(
    context: typer.Context,
    stack: Stack,
    layer: Layer,
    json: Json = False,
) -> None:
    """Show how a layer comes into a stack.

    Example: `buildsys why debian12-cuda13.0 cuda-runtime`
    """
    from buildsys.cli.screens import output
    from buildsys.commands.plan import single_stack
    from buildsys.plan.diff import why_path
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    plan, target = single_stack(find_workspace(context.obj), stack)
    path = why_path(plan, target, layer)
    if json:
        steps = [{"layer": name, "why": reason} for name, reason in path]
        typer.echo(documents.text({"stack": stack, "layer": layer, "path": steps}))
    else:
        tables.show_why(path, output())


def diff(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="A git revision, such as origin/main.")],
    json: Json = False,
) -> None:
    """Compare the plan with that of a git revision: which nodes and images differ, and by which input.

    Example: `buildsys diff origin/main`
    """
    from buildsys.cli.screens import output
    from buildsys.commands import query
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    plan, changes = query.differences(find_workspace(context.obj), revision, os.environ)
    if json:
        typer.echo(documents.text({"revision": revision, "changes": documents.changes_document(changes)}))
    else:
        tables.show_changes(plan, changes, output())


def affected(
    context: typer.Context,
    since: Annotated[str, typer.Option("--since", help="A git revision, such as origin/main.")],
    why: Annotated[bool, typer.Option("--why", help="Report the input of each node that differs.")] = False,
    json: Json = False,
) -> None:
    """List the images whose key differs from that at a git revision.

    Example: `buildsys affected --since origin/main --why`
    """
    from buildsys.cli.screens import output
    from buildsys.commands import query
    from buildsys.commands.plan import make_plan
    from buildsys.project.revision import ShallowClone
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    workspace = find_workspace(context.obj)
    note = None
    try:
        plan, changes = query.differences(workspace, since, os.environ)
        stacks = [each for each in changes if each.kind == "image" and each.change != "removed"]
    except ShallowClone as error:
        plan = make_plan(workspace.tree())
        stacks = query.everything(plan)
        note = f"everything counts as affected: {error.message}. {error.hint}"
    if json:
        document = {"since": since, "note": note, "images": documents.changes_document(stacks)}
        typer.echo(documents.text(document))
        return
    if note:
        typer.echo(f"warning: {note}", err=True)
    tables.show_affected(plan, stacks, output(), why=why)


def graph(
    context: typer.Context,
    form: Annotated[
        str,
        typer.Option(
            "--format", parser=usage.choice("--format", FORMATS), metavar="|".join(FORMATS), help="Output format."
        ),
    ] = "tree",
    stack: Annotated[list[str] | None, typer.Option("--stack", help="Only these stacks, groups or patterns.")] = None,
    affected: Annotated[
        str | None, typer.Option("--affected", help="Only targets that changed since this git revision.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Draw the dependency graph of nodes and images.

    Example: `buildsys graph --stack debian12`

    Example: `buildsys graph --format mermaid --affected origin/main`
    """
    from buildsys.commands import query
    from buildsys.plan.actions import ActionKind
    from buildsys.plan.selection import select
    from buildsys.project.workspace import find_workspace
    from buildsys.report import diagram

    workspace = find_workspace(context.obj)
    if affected is not None:
        plan, changes = query.differences(workspace, affected, os.environ)
        words: dict[str, str] = {each.target: each.change for each in changes if each.change != "removed"}
        only = set(words)
    else:
        found = query.look(workspace, os.environ, offline=offline)
        plan, only = found.plan, None
        words = {name: action.word for name, action in found.actions.items() if action.word is not ActionKind.SKIP}
    if stack:
        chosen = set(select(plan, stack))
        only = chosen if only is None else only & chosen
    typer.echo(diagram.drawn(diagram.view(plan, words, only), form))


def lock(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="With --update: parents, layers, layer/flavour, or patterns. With --timestamp alone: the time."
        ),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Update entries; toolchains only if named.")] = False,
    timestamp: Annotated[
        bool, typer.Option("--timestamp", help="Move the timestamp of all images to today, or to the time given.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit 3 if an entry is missing, or a checksum is not that of its file."
        ),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Keep existing entries, use no network; --check then compares no files.")
    ] = False,
    json: Json = False,
) -> None:
    """Pin mutable inputs in buildsys.lock: parent images, unknown checksums, epochs of packages, the timestamp.

    Example: `buildsys lock`

    Example: `buildsys lock --update debian-os 'openmpi/*'`

    Example: `buildsys lock --timestamp 2026-11-23T00:00:00Z`

    Example: `buildsys lock --check --offline`
    """
    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands import query
    from buildsys.commands.lock import next_timestamp
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    if not timestamp:
        usage.needs(context, "names", "--update")
    elif not update and len(names or ()) > 1:
        hint = "give one time, such as `buildsys lock --timestamp 2026-11-23T00:00:00Z`"
        raise WrongUsage(f"`--timestamp` takes one time, found {len(names or ())}", hint=hint)
    for option in ("--update", "--timestamp"):
        usage.exclusive(context, option, "--check")
    # East of Greenwich, the local day may begin hours before that of the timestamp.
    chosen, today = tuple(names or ()) if update else None, datetime.now(UTC).date()
    time = names[0] if names and not update else None
    workspace = find_workspace(context.obj)
    changes = query.lock(
        workspace,
        os.environ,
        update=chosen,
        offline=offline,
        check=check,
        today=today,
        timestamp=next_timestamp(time, today) if timestamp else None,
        on_wait=lambda: diagnostics().line(query.WAITING),
    )
    if json:
        typer.echo(documents.text({"entries": documents.lock_document(changes)}))
    elif changes or not check:
        tables.show_lock(changes, output(), nothing="no other checksum differs" if check else "nothing moved")


def outdated(context: typer.Context, json: Json = False) -> None:
    """List locked references and copied layers that changed upstream, and layers with stale packages.

    Example: `buildsys outdated --json`
    """
    from buildsys.cli.screens import output
    from buildsys.commands import query, vendor
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, tables

    workspace = find_workspace(context.obj)
    moved, problem = query.moved_upstream(workspace, os.environ, date.today())
    changes = (*moved, *vendor.outdated(workspace, os.environ))
    if json:
        typer.echo(documents.text({"entries": documents.lock_document(changes)}))
    elif changes or not problem:
        tables.show_lock(changes, output(), nothing="nothing has moved")
    if problem:
        raise problem


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (explain, why, diff, affected, graph, lock, outdated):
        codes = (ExitCode.DIFFERS,) if command is lock else ()
        app.command(epilog=usage.exit_codes(*codes))(command)
