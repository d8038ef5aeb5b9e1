"""What only a run does at a registry, as functions for a fork: each ends as the command line would."""

from __future__ import annotations

import sys
from collections.abc import Callable

from buildsys.errors import BuildsysError
from buildsys.oci.client import Registry
from buildsys.oci.credentials import docker_credentials
from buildsys.oci.reference import OCI_MANIFEST, Reference
from buildsys.project.settings import docker_config_dir
from buildsys.run.store import Store
from tests.support.hostile_values import BLOB, IMAGE, digest

Operation = Callable[[Registry, Reference], object]


def _part(registry: Registry, image: Reference) -> object:
    prefix = image.name.rpartition("/")[0]
    return Store(registry=registry, prefix=prefix).part(f"{prefix}/nodes:1", "linux/amd64")


def _mount(registry: Registry, image: Reference) -> object:
    return registry.mount_blob(image, digest(BLOB), Reference.parse(f"{image.name.rpartition('/')[0]}/nodes:1"))


OPERATIONS: dict[str, Operation] = {
    "put": lambda registry, image: registry.put_manifest(image, IMAGE, OCI_MANIFEST),
    "blob": lambda registry, image: registry.put_blob(image, BLOB),
    "mount": _mount,
    "tag": lambda registry, image: registry.tag(image, "new"),
    "tags": lambda registry, image: registry.tags(image),
    "delete": lambda registry, image: registry.delete(image),
    "verify": lambda registry, image: registry.verify(image),
    "head": lambda registry, image: registry.head(image),
    "part": _part,
}


def operate() -> None:
    """Do one operation, as `sys.argv` names it, on an image; print what it returns or the error."""
    import os

    _, operation, name = sys.argv
    try:
        with Registry(environ=os.environ, credentials=docker_credentials(docker_config_dir(os.environ))) as registry:
            found = OPERATIONS[operation](registry, Reference.parse(name))
        print(f"{operation} of {name}: {str(found)[:300]}")
    except BuildsysError as error:
        print(f"error: {error.message}")
        sys.exit(int(error.exit_code))
