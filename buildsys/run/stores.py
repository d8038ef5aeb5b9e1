"""Opens the registry that a project publishes to, with docker's own credentials."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from buildsys.errors import Unavailable
from buildsys.events.events import Retried
from buildsys.events.journal import Journal
from buildsys.oci.client import Registry
from buildsys.oci.credentials import docker_config_dir, docker_credentials
from buildsys.oci.http import Retries, RetryNotice
from buildsys.project.workspace import Workspace, named_prefix
from buildsys.run.store import Store


@contextlib.contextmanager
def open_store(
    workspace: Workspace,
    environ: Mapping[str, str],
    *,
    attempts: int = 5,
    outages: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    listener: Callable[[RetryNotice], None] = lambda _notice: None,
) -> Iterator[Store]:
    """Yield the store; raises `Unavailable` if neither the environment nor stacks.yaml names a registry.

    A request that fails in a way that may pass is made up to `attempts` times, with `outages` also where nothing takes
    the connection; `listener` hears of each, `sleep` waits before it.
    """
    prefix = named_prefix(workspace, environ)
    if prefix is None:
        raise Unavailable(
            "no registry is named to publish to",
            hint="set BUILDSYS_REGISTRY or `registry:` in stacks.yaml, such as `registry.example.com/ml`",
        )
    credentials = docker_credentials(docker_config_dir())
    retries = Retries(attempts=attempts, outages=outages)
    with Registry(credentials=credentials, retries=retries, listener=listener, sleep=sleep) as registry:
        yield Store(registry=registry, prefix=prefix)


def on_retry(journal: Journal) -> Callable[[RetryNotice], None]:
    """Return a listener that reports the retries of requests to a registry as events."""

    def emit(notice: RetryNotice) -> None:
        attempt, why = notice.attempt + 1, str(notice.problem)
        journal.emit(Retried(at=time.time(), target="", attempt=attempt, of=notice.attempts, wait=notice.wait, why=why))

    return emit
