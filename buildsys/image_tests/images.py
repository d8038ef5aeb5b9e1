"""Which image is tested: what is published under its key, or what the engine's own store has with this key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import LocalImage, local_image
from buildsys.errors import Unavailable, enumerated
from buildsys.names import KEY_LABEL
from buildsys.oci.client import in_threads
from buildsys.oci.reference import Descriptor, Reference
from buildsys.plan.keys import Keys
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget
from buildsys.run.decision import Selection, public_tags
from buildsys.run.store import Store
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TestedImage:
    """An image for one platform, by the digest of its manifest.

    `reference` is what docker runs: of a published image its repository and digest, of a local one its identity in the
    engine's store. `subject` describes the manifest of a published one.
    """

    __test__ = False
    target: str
    stack: str
    platform: str
    reference: str
    digest: str
    subject: Descriptor | None = None


def present_images(store: Store, selection: Selection) -> Mapping[str, TestedImage]:
    """Return the published images of a selection's keys, by target; raises `Unavailable` for those that are missing.

    Also raises `RegistryProblem`.
    """
    plan, targets = selection.plan, _images(selection.plan, selection.targets)
    found = store.existing(plan, selection.keys, targets)
    missing = [name for name in targets if name not in found.references]
    if missing:
        why = next((f": {found.foreign[name]}" for name in missing if name in found.foreign), "")
        stacks = dict.fromkeys(targets[name].stack for name in missing)
        message = f"{_nothing(missing, 'published')}{why}"
        raise Unavailable(message, hint=_bake(stacks, " --push", ", or test local images with `--local`"))
    return images_of(store, plan, {name: found.references[name] for name in targets})


def images_of(store: Store, plan: Plan, references: Mapping[str, str]) -> Mapping[str, TestedImage]:
    """Return published images by target; `references` are those of their indexes, or of the images themselves.

    Raises `RegistryProblem`, and `Unavailable` for what is missing by now.
    """
    targets = _images(plan, references)

    def find(name: str) -> TestedImage:
        target, reference = targets[name], Reference.parse(references[name])
        manifest = store.registry.manifest(reference)
        children = manifest.manifests if manifest else ()
        own = [each for each in children if each.platform == target.platform] if children else []
        descriptor = own[0] if own else None if manifest is None or children else manifest.descriptor
        if descriptor is None:
            raise Unavailable(
                f"`{reference}` has no image for {target.platform}", hint=_bake([target.stack], " --push")
            )
        return TestedImage(
            target=name,
            stack=target.stack,
            platform=target.platform,
            reference=str(reference.with_digest(descriptor.digest)),
            digest=descriptor.digest,
            subject=descriptor,
        )

    return dict(zip(targets, in_threads(find, targets), strict=True))


def local_images(
    docker: Docker, selection: Selection, environ: Mapping[str, str], known: Callable[[], Mapping[str, tuple[str, ...]]]
) -> Mapping[str, TestedImage]:
    """Return the images of the engine's own store that carry a selection's keys, by target.

    `known` returns the names of all images by their keys. Raises `Unavailable` for those that are missing.
    """
    plan, keys = selection.plan, selection.keys
    targets, names = _images(plan, selection.targets), public_tags(plan, selection.targets, environ)
    images = {name: _local(docker, keys, name, names.get(name, ())) for name in targets}
    if not all(images.values()):
        # A name that moved to another image: the image may have other names.
        others = known()
        images = {
            name: found or _local(docker, keys, name, others.get(keys.of(name).key, ()))
            for name, found in images.items()
        }
    missing = [name for name, found in images.items() if found is None]
    if missing:
        stale = next((each for name in missing for each in names.get(name, ()) if local_image(docker, each)), None)
        why = f": `{stale}` is of other sources" if stale else ""
        more = "" if docker.driver == "docker" else " --load"
        message = f"{_nothing(missing, 'in the store of the engine')}{why}"
        raise Unavailable(message, hint=_bake(dict.fromkeys(targets[name].stack for name in missing), more))
    return {
        name: TestedImage(
            target=name,
            stack=targets[name].stack,
            platform=targets[name].platform,
            reference=found.identity,
            digest=found.identity,
        )
        for name, found in images.items()
        if found
    }


def _local(docker: Docker, keys: Keys, target: str, names: tuple[str, ...]) -> LocalImage | None:
    found = (local_image(docker, each) for each in names)
    return next((each for each in found if each and each.labels.get(KEY_LABEL) == keys.of(target).key), None)


def _images(plan: Plan, targets: Collection[str]) -> dict[str, ImageTarget]:
    return {each.name: each for each in plan.stacks if each.name in targets}


def _nothing(missing: list[str], where: str) -> str:
    what = "the present key of" if len(missing) == 1 else "the present keys of"
    return f"no image with {what} {enumerated(missing)} is {where}"


def _bake(stacks: Iterable[str], option: str, otherwise: str = "") -> str:
    return f"run `buildsys bake {' '.join(stacks)}{option}` first{otherwise}"
