"""The commands for images that are in use: fresh packages, what tags named, back to an earlier image, promotion."""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys.cli import usage
from buildsys.cli.options import All, Json
from buildsys.errors import ExitCode, Unavailable, WrongUsage
from buildsys.names import STACKS_FILE
from buildsys.texts import shown

if TYPE_CHECKING:
    from buildsys.fleet.history import Archive

Name = Annotated[str, typer.Argument(metavar="STACK", help="The name of a stack; it need not exist in this checkout.")]
Registry = Annotated[
    str | None,
    typer.Option("--registry", metavar="PREFIX", help="Registry and path of the images, in place of the project's."),
]


def fresh(
    context: typer.Context,
    layers: Annotated[
        list[str],
        typer.Argument(help="Layers whose packages age: layer, layer/flavour, layer@release, or patterns."),
    ],
    json: Json = False,
) -> None:
    """Renew the packages of layers today: write a new epoch to buildsys.lock, and show what that rebuilds.

    The epoch is always new, also twice on one day. Bake then rebuilds the nodes that are listed, and nothing else.

    Example: `buildsys fresh debian-os`

    Example: `buildsys fresh debian-os@12`
    """
    from buildsys.cli.screens import diagnostics, output
    from buildsys.commands import query
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, fleet

    found = query.fresh(
        find_workspace(context.obj),
        tuple(layers),
        os.environ,
        today=datetime.now(UTC).date(),
        on_wait=lambda: diagnostics().line(query.WAITING),
    )
    if json:
        typer.echo(documents.text(fleet.fresh_document(found)))
    else:
        fleet.show_fresh(found, output())


def history(context: typer.Context, stack: Name, registry: Registry = None, json: Json = False) -> None:
    """List what the tags of a stack named: number, time, image, key, tags, reason and commit; the newest first.

    Example: `buildsys history debian12`

    Example: `buildsys history debian12 --registry registry.example.com/ml`
    """
    from buildsys.cli.screens import output
    from buildsys.fleet.rollback import history_of
    from buildsys.report import documents, fleet

    with _archive(context.obj, registry) as (archive, _):
        found = history_of(archive, stack)
    if json:
        typer.echo(documents.text(fleet.history_document(found)))
    else:
        fleet.show_history(found, output())


def rollback(
    context: typer.Context,
    stack: Name,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="NUMBER|KEY|DIGEST", help="The image to go back to; default is the one before."),
    ] = None,
    release: Annotated[
        bool, typer.Option("--release", help="Move nothing: let the next `bake --push` move the tags again.")
    ] = False,
    registry: Registry = None,
    json: Json = False,
) -> None:
    """Move the tags of a stack back to an image that they named, by digest, and hold them there.

    Later bakes do not move tags that are held, until they publish an image with a new key. No project is needed.

    Example: `buildsys rollback debian12`

    Example: `buildsys rollback debian12 --to 3`

    Example: `buildsys rollback debian12 --release`
    """
    from buildsys.cli.screens import diagnostics, output
    from buildsys.fleet.rollback import follow, history_of, roll_back
    from buildsys.fleet.rollback import release as release_hold
    from buildsys.report import documents, fleet

    usage.exclusive(context, "--to", "--release")
    with _archive(context.obj, registry) as (archive, copies):
        if release:
            released = release_hold(archive, stack)
            if json:
                typer.echo(documents.text({"stack": stack, "released": released}))
            else:
                output().line(f"{stack}: {'released' if released else 'nothing was held'}")
            return
        back = roll_back(archive, stack, to, clock=time.time)
        repository = history_of(archive, stack).repository
        problems = {each: why for each in copies if (why := follow(archive, back, repository, each))}
    if json:
        typer.echo(documents.text(fleet.back_document(back, problems)))
    else:
        fleet.show_back(back, output())
        for each, why in problems.items():
            diagnostics().line(f"error: the tags of `{stack}` at `{each}` did not move: {why}")
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def promote(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="PREFIX", help="Registry and path that get the images.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Stacks, groups, nodes or patterns; or images that no stack has, as repository:tag."),
    ] = None,
    everything: All = False,
    json: Json = False,
) -> None:
    """Copy published images to another registry by digest, with their nodes and inventories, and move their tags there.

    Nothing is built, there or here, and what exists there is not copied again.

    Example: `buildsys promote gpu --to registry.example.com/prod`

    Example: `buildsys promote --all --to registry.example.com/prod`
    """
    from buildsys.buildkit.interrupt import Stop
    from buildsys.cli.screens import chosen_targets, output
    from buildsys.commands.plan import make_plan
    from buildsys.fleet.promote import Request, Results, not_held
    from buildsys.fleet.promote import promote as copy
    from buildsys.oci.reference import registry_prefix
    from buildsys.project.workspace import find_workspace
    from buildsys.report import documents, fleet
    from buildsys.run.decision import selection_of
    from buildsys.run.store import Store, open_store
    from buildsys.run.variables import check_names

    usage.exclusive(context, "--all", "names")
    if not names and not everything:
        raise WrongUsage("`promote` lacks `names`", hint="name images, or add `--all`")
    prefix = registry_prefix(to)
    if prefix is None:
        raise WrongUsage(f"`{shown(to)}` is not a registry and a path", hint="write it as `registry.example.com/ml`")
    workspace = find_workspace(context.obj)
    plan = make_plan(workspace.tree(), overlay=True)
    check_names(plan, os.environ)
    words = tuple(each for each in names or () if ":" not in each)
    others = tuple(each for each in names or () if ":" in each)
    targets = chosen_targets(plan, words, everything=everything) if words or everything else ()
    request = Request(plan=plan, keys=selection_of(workspace, plan, targets).keys, targets=targets, others=others)
    with open_store(workspace, os.environ, outages=True) as source, Stop().on_signals() as stop:
        if source.prefix == prefix:
            raise WrongUsage(f"`{prefix}` is the registry that images are in", hint="name a different one with `--to`")
        results = Results(workspace=workspace, source=source, plan=plan)
        done = copy(
            source,
            Store(registry=source.registry, prefix=prefix),
            request,
            os.environ,
            clock=time.time,
            gates=(not_held(source), results.not_green),
            beside=results.results,
            stopped=lambda: stop.requested,
        )
    if json:
        typer.echo(documents.text(fleet.promoted_document(done, prefix)))
    else:
        fleet.show_promoted(done, prefix, output())
    if stop.requested:
        raise typer.Exit(128 + (stop.signal or 0))
    if done.lacking or done.notes:
        raise typer.Exit(ExitCode.FAILED)


@contextlib.contextmanager
def _archive(directory: Path | None, prefix: str | None) -> "Iterator[tuple[Archive, tuple[str, ...]]]":
    """Yield the histories at a prefix, by default that of the project or the environment, and the prefixes of copies.

    Raises `Unavailable` where none is named, and `WrongUsage` for a prefix that is not one.
    """
    from buildsys.fleet.history import Archive
    from buildsys.oci.reference import registry_prefix
    from buildsys.project.settings import read_settings
    from buildsys.project.workspace import copy_prefixes, find_workspace, named_prefix
    from buildsys.run.store import registry_of

    root, copies, named = directory or Path.cwd(), tuple[str, ...](), prefix or os.environ.get("BUILDSYS_REGISTRY")
    if named is None or (directory is None and (root / STACKS_FILE).is_file()):
        workspace = find_workspace(directory)
        root, copies = workspace.root, copy_prefixes(workspace, os.environ) if prefix is None else ()
        named = prefix or named_prefix(workspace, os.environ)
    found = registry_prefix(named) if named else None
    if found is None and prefix is not None:
        message = f"`{shown(prefix)}` is not a registry and a path"
        raise WrongUsage(message, hint="write it as `registry.example.com/ml`")
    if found is None:
        hint = "add `--registry`, or set BUILDSYS_REGISTRY or `registry:` in stacks.yaml"
        raise Unavailable("no registry is named", hint=hint)
    with registry_of(read_settings(root, os.environ), os.environ) as registry:
        yield Archive(registry=registry, prefix=found), copies


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog=usage.exit_codes())(fresh)
    app.command(epilog=usage.exit_codes())(history)
    app.command(epilog=usage.exit_codes(ExitCode.FAILED))(rollback)
    app.command(epilog=usage.exit_codes(ExitCode.FAILED))(promote)
