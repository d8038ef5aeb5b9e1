"""Where inventories are in a registry: beside the nodes that they list, and once for each parent image."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from buildsys.inventory import document
from buildsys.inventory.layers import read_layers
from buildsys.inventory.model import Inventory, UnreadableInventory
from buildsys.oci.artifacts import ArtifactType, dated, find_artifact, pieces, put_artifact
from buildsys.oci.client import ImageRegistry
from buildsys.oci.http import UnreadableManifest
from buildsys.oci.reference import Descriptor, Reference
from buildsys.values import dataclass

INVENTORY = ArtifactType(
    manifest="application/vnd.buildsys.inventory.v1", blob="application/vnd.buildsys.inventory.v1+gzip"
)
_TAG = "inventory-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelf:
    """The repository of nodes in a registry, where inventories are beside them, each with the time of its node."""

    registry: ImageRegistry
    nodes: Reference
    clock: Callable[[], float] = time.time

    def location(self, key: str) -> Reference:
        """Return where the inventory of the node with this key is."""
        return self.nodes.with_tag(f"{_TAG}{key}")

    def put(self, key: str, inventory: Inventory, subject: Descriptor) -> None:
        """Store the inventory of the node with this key; raises RegistryProblem."""
        data, written = document.write(inventory), dated(self.clock())
        put_artifact(self.registry, self.location(key), INVENTORY, data, subject, annotations=written)

    def find(self, key: str, digest: str) -> Inventory | None:
        """Return the inventory of a node, None where it is missing, of another format or of another digest."""
        raw = find_artifact(self.registry, self.location(key), INVENTORY, digest)
        try:
            return None if raw is None else document.read(raw)
        except UnreadableInventory:
            return None

    def read_pushed(self, image: Reference) -> tuple[Inventory, Descriptor]:
        """Return the inventory of a pushed image, by its layers, and the descriptor of its manifest.

        Raises UnreadableInventory, RegistryProblem.
        """
        manifest = self.registry.manifest(image)
        if manifest is None or manifest.config is None:
            raise UnreadableManifest(f"`{image}` is not an image of one platform", host=image.host)
        layers = (pieces(self.registry, image, layer) for layer in manifest.layers)
        return read_layers(layers), manifest.descriptor


def parent_key(digest: str, platform: str) -> str:
    """Return what replaces a key in the tag of a parent's inventory: a hash of its digest and a platform."""
    return hashlib.sha256(f"{digest} {platform}".encode()).hexdigest()
