"""One run from the command line: who listens, who stops it, what it says at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from buildsys.buildkit.docker import find_docker
from buildsys.buildkit.failure import Failure
from buildsys.buildkit.images import DockerSnapshot, pull_image
from buildsys.buildkit.interrupt import Stop
from buildsys.cli.screens import output
from buildsys.errors import BuildsysError
from buildsys.events.journal import Journal, open_journal
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.report.live import listener
from buildsys.report.summary import show_summary
from buildsys.run import local, publish
from buildsys.run.executor import exit_code
from buildsys.run.options import RunOptions
from buildsys.run.store import on_retry, open_store
from buildsys.run.variables import bake_environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """How a run is shown: `progress` is `auto`, `plain` or `docker`; `events` is a file that gets all events too."""

    quiet: bool = False
    verbose: bool = False
    progress: str = "auto"
    events: Path | None = None


def execute(
    workspace: Workspace,
    options: RunOptions,
    talk: Talk,
    made: Plan,
    targets: tuple[str, ...],
    *,
    asked: Callable[[], DockerSnapshot] | None = None,
    load: bool = False,
    tag: bool = True,
) -> int:
    """Run, write the summary and the page, and return the exit code; what goes wrong is raised after the summary.

    `asked` tells what docker answered, for a run into the engine's own store; without it, the run publishes.
    """
    environ = {**os.environ, "TERM": "dumb"} if talk.progress == "plain" else os.environ
    quiet = talk.quiet or talk.progress == "docker"
    shown = listener(sys.stderr, quiet=quiet, verbose=talk.verbose, environ=environ, clock=time.time)
    began = time.monotonic()
    code, broken = 0, None
    with open_journal(workspace, shown, talk.events) as journal, Stop().on_signals() as stop:
        try:
            if asked is None:
                complete, failures = _publish(workspace, options, made, targets, journal, stop, load=load, tag=tag)
            else:
                complete, failures = _bake(workspace, options, made, targets, asked, journal, stop)
            code = exit_code(complete, failures, stop.signal if stop.requested else None)
        except BuildsysError as error:
            broken, code = error, int(error.exit_code)
        journal.end(code, time.monotonic() - began, stop.signal or 0)
        is_shown = broken is None or any(each.ended for each in journal.model.targets.values())
        # Drawing a page takes longer than a run with nothing to do; `buildsys report` draws it on demand.
        page = _page(journal) if is_shown and (code or journal.model.work) else ""
    if is_shown:
        try:
            show_summary(journal.model, output(), report=page, command=options.command)
        except OSError:
            # The reader is gone or the disk is full: neither changes how the run ended, and Python would complain at
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


Ended = tuple[bool, tuple[Failure, ...]]


def _bake(
    workspace: Workspace,
    options: RunOptions,
    made: Plan,
    targets: tuple[str, ...],
    asked: Callable[[], DockerSnapshot],
    journal: Journal,
    stop: Stop,
) -> Ended:
    # What is refused is refused before docker is waited for.
    environment = bake_environment(made, workspace, os.environ)
    docker, images = asked()
    prepared = local.prepare(workspace, docker, made, targets, options, journal, stop, os.environ, environment, images)
    ran = local.bake(workspace, prepared, options, journal, stop)
    return ran.complete, tuple(ran.failures.values())


def _publish(
    workspace: Workspace,
    options: RunOptions,
    made: Plan,
    targets: tuple[str, ...],
    journal: Journal,
    stop: Stop,
    *,
    load: bool,
    tag: bool,
) -> Ended:
    # A stop ends the waits of the registry's client too.
    attempts = options.retries + 2
    with open_store(
        workspace, os.environ, attempts=attempts, outages=True, listener=on_retry(journal), sleep=stop.wait
    ) as store:
        result = publish.publish(
            workspace,
            store,
            made,
            targets,
            options,
            lambda: find_docker(options.builder),
            journal,
            stop,
            os.environ,
            tag=tag,
        )
    if load and result.complete and not stop.requested:
        docker = find_docker(options.builder)
        for name in sorted(name for names in result.decision.tags.values() for name in names):
            pull_image(docker, name)
    return result.complete, result.failures
