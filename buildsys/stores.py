"""Opens the registry that a project publishes to, with docker's own credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from buildsys.commands import named_prefix
from buildsys.errors import Unavailable
from buildsys.registry import Registry
from buildsys.registry_credentials import docker_config_dir, docker_credentials
from buildsys.store import Store
from buildsys.workspace import Workspace


@contextlib.contextmanager
def open_store(workspace: Workspace, environ: Mapping[str, str]) -> Iterator[Store]:
    """Yield the store; raises `Unavailable` if neither the environment nor stacks.yaml names a registry."""
    prefix = named_prefix(workspace, environ)
    if prefix is None:
        raise Unavailable(
            "no registry is named to publish to",
            hint="set BUILDSYS_REGISTRY or `registry:` in stacks.yaml, such as `registry.example.com/ml`",
        )
    with Registry(credentials=docker_credentials(docker_config_dir())) as registry:
        yield Store(registry=registry, prefix=prefix)
