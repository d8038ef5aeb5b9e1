"""What one run is from the command line: who listens, who stops it, what is shown at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from buildsys.buildkit.failure import Failure
from buildsys.buildkit.interrupt import Stop
from buildsys.cli.screens import output
from buildsys.errors import BuildsysError, unforeseen
from buildsys.events.journal import Journal, open_journal
from buildsys.events.model import RunModel
from buildsys.plan.plan import Plan
from buildsys.project.revision import origin_of
from buildsys.project.settings import mask_of
from buildsys.project.workspace import Workspace, copy_prefixes
from buildsys.report.live import listener
from buildsys.report.summary import show_summary
from buildsys.run.executor import exit_code
from buildsys.run.session import RunContext, RunOptions, Session
from buildsys.run.store import on_retry, open_store
from buildsys.values import dataclass

if TYPE_CHECKING:
    # A run decides whether it needs docker at all.
    from buildsys.buildkit.images import DockerSnapshot
    from buildsys.buildkit.invocation import Builder

# Whether everything that was asked for exists, and what failed.
Ended = tuple[bool, tuple[Failure, ...]]
Run = Callable[[Session], Ended]


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """How a run is shown: `progress` is `auto`, `plain` or `docker`; `events` is a file that gets all events too.

    `ended` is called with the run after its summary.
    """

    quiet: bool = False
    verbose: bool = False
    progress: str = "auto"
    events: Path | None = None
    ended: Callable[[RunModel], None] = lambda _run: None


def execute(
    workspace: Workspace,
    options: RunOptions,
    talk: Talk,
    run: Run,
    find_builder: Callable[[], Builder],
    *,
    secrets: Mapping[str, str],
) -> int:
    """Do a run, write summary and page, and return the exit code; an error is raised after the summary.

    `secrets` are variables with values of secrets, which count as a part of the environment.
    """
    context = RunContext(environ={**os.environ, **secrets}, origin=origin_of, progress=sys.stderr)
    environ = {**os.environ, "TERM": "dumb"} if talk.progress == "plain" else os.environ
    quiet = talk.quiet or talk.progress == "docker"
    shown = listener(sys.stderr, quiet=quiet, verbose=talk.verbose, environ=environ, clock=context.clock)
    began = time.monotonic()
    code = 0
    broken: Exception | None = None
    mask = mask_of(workspace.root, context.environ)
    with open_journal(workspace, shown, mask, talk.events) as journal, Stop().on_signals() as stop:
        session = Session(
            workspace=workspace,
            context=context,
            options=options,
            journal=journal,
            stop=stop,
            find_builder=find_builder,
        )
        try:
            complete, failures = run(session)
            code = exit_code(complete, failures, stop.signal if stop.requested else None)
        except Exception as error:
            # It is raised after what the run came to is shown.
            broken, code = error, int(unforeseen(error).exit_code)
        journal.end(code, time.monotonic() - began, stop.signal or 0)
        is_shown = broken is None or any(each.ended for each in journal.model.targets.values())
        # Drawing a page takes longer than a run with nothing to do; `buildsys report` draws it on demand.
        page = _page(journal) if is_shown and (code or journal.model.work) else ""
    if is_shown:
        try:
            show_summary(journal.model, output(), report=page, command=options.command)
            talk.ended(journal.model)
        except OSError:
            # The reader has left or the disk is full: neither changes how the run ended, and Python would complain at
            # its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if broken is not None:
        raise broken
    return code


def _page(journal: Journal) -> str:
    """Write the page of a run, and return where it is, or why it was not written."""
    # Late: only the end of a run needs the page.
    from buildsys.report.html.page import write_page

    try:
        return write_page(journal.run, journal.model)
    except BuildsysError as error:
        return f"not written: {error.message}"


def find(builder: str | None) -> Builder:
    """Return a builder by its name, the current one if none is named; raises `Unavailable`."""
    from buildsys.buildkit.docker import find_docker
    from buildsys.buildkit.invocation import DockerBuilder

    return DockerBuilder(docker=find_docker(builder, os.environ), environ=os.environ)


def local_run(plan: Plan, targets: tuple[str, ...], snapshot: Callable[[], DockerSnapshot]) -> Run:
    """Return the run that builds into the engine's own store; `snapshot` waits for what docker answered."""
    from buildsys.run.local import bake_locally

    def run(session: Session) -> Ended:
        outcome = bake_locally(session, plan, targets, lambda: snapshot()[1])
        return outcome.complete, tuple(outcome.failures.values())

    return run


def publishing_run(
    plan: Plan, targets: tuple[str, ...], *, load: bool = False, tag: bool = True, test: bool = False
) -> Run:
    """Return the run that publishes to the registry, and copies what gets tags to the further ones.

    With `load` the engine's own store gets the images too. With `test` an image that fails its tests gets no tag.
    """
    from buildsys.commands import copies
    from buildsys.fleet.durations import keep
    from buildsys.fleet.history import record_of
    from buildsys.run.publish import publish

    def run(session: Session) -> Ended:
        # A stop ends the waits of the registry's client too.
        with open_store(
            session.workspace,
            session.environ,
            attempts=session.options.retries + 2,
            outages=True,
            listener=on_retry(session.journal),
            sleep=session.stop.wait,
        ) as store:
            prefixes = copy_prefixes(session.workspace, session.environ) if tag else ()
            registries = copies.look(store, prefixes, plan, targets, session.environ)
            check = None
            if test:
                from buildsys.image_tests.container import Containers
                from buildsys.image_tests.gate import tested

                def engine() -> Containers:
                    return Containers(docker=session.find_builder().docker, workspace=session.workspace)

                check = partial(tested, session, store, engine)
            try:
                result = publish(session, store, plan, targets, tag=tag, record=record_of(session, store), check=check)
            finally:
                # What is built is built, however the run ends.
                keep(store, session.journal.model, lambda text: session.note("history", text))
            complete = copies.copy(session, result, registries) and result.complete
            if load and result.complete and not session.stop.requested:
                from buildsys.run.local import load_published

                load_published(session.find_builder().docker, store, result.decision, session.environ)
        return complete, result.failures

    return run


def make_fresh(workspace: Workspace) -> None:
    """Move the epochs of all layers whose packages age."""
    from buildsys.cli.screens import diagnostics
    from buildsys.commands import plan, query
    from buildsys.report import tables

    layers = tuple(plan.make_plan(workspace.tree()).epochs)
    changes = query.lock(
        workspace,
        os.environ,
        update=layers,
        offline=True,
        check=False,
        today=date.today(),
        # A new timestamp would rebuild everything, not only packages.
        adds_timestamp=False,
        on_wait=lambda: diagnostics().line(query.WAITING),
    )
    moved = [change for change in changes if change.name in layers]
    tables.show_lock(moved, diagnostics(), nothing="no epoch moved")
