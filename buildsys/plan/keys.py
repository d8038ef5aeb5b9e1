"""What the keys of nodes and images are: hashes of everything that can change the result, and of nothing else.

docs/keys.md gives the reason for each input, and for what is not one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from buildsys.config.lockfile import timestamp_text
from buildsys.config.model import LINK, Contents, File
from buildsys.dockerfile.ignore import ignored, rule_problems
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.names import MOST_SYMLINKS, UNBUILT
from buildsys.plan.plan import Plan, epoch_of
from buildsys.resolve.generated import run_step
from buildsys.resolve.image import Variable, healthcheck_text, words_json
from buildsys.resolve.node import ImageTarget, Node
from buildsys.values import dataclass

# A change of how keys are computed from inputs gets a new number, and so rebuilds everything.
DEFINITION = "2"
ABSENT = "none"
_JSON = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """A key of 64 hexadecimal digits, and its inputs by name."""

    key: str
    inputs: Mapping[str, str]

    @property
    def text(self) -> str:
        """The inputs as a JSON object: the key is the SHA-256 of these bytes."""
        return _JSON.encode(dict(self.inputs))


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """The keys of a plan: of nodes and of images, by target, and of what is published for a stack, by stack."""

    nodes: Mapping[str, Fingerprint]
    stacks: Mapping[str, Fingerprint]
    indexes: Mapping[str, Fingerprint]

    def of(self, target: str) -> Fingerprint:
        """Return the key of a node or image."""
        return self.nodes.get(target) or self.stacks[target]


def keys_of(plan: Plan, contents: Contents) -> Keys:
    """Return all keys; `contents` holds at least the folders that `folders_of` names.

    Raises `InvalidInput` for a parameter that names a folder without files.
    """
    if diagnostics := tuple(without_files(plan, contents)):
        raise InvalidInput(diagnostics)
    nodes: dict[str, Fingerprint] = {}
    seen: dict[tuple[str, str, str], dict[str, str]] = {}
    for node in plan.nodes:
        location = (node.folder, node.dockerfile, node.generated)
        if location not in seen:
            seen[location] = dict(_recipe_inputs(node, contents.get(node.folder, {})))
        inputs = {**seen[location], **dict(_node_inputs(plan, node, nodes, contents))}
        nodes[node.name] = keyed(inputs)
    stacks = {image.name: keyed(dict(_image_inputs(plan, image, nodes))) for image in plan.stacks}
    indexes = {
        stack: index_key(stack, {each.platform: stacks[each.name] for each in parts})
        for stack, parts in plan.indexes.items()
    }
    return Keys(nodes=MappingProxyType(nodes), stacks=MappingProxyType(stacks), indexes=MappingProxyType(indexes))


def index_key(name: str, platforms: Mapping[str, Fingerprint]) -> Fingerprint:
    """Return the key of an index of images, by platform."""
    return keyed({"name": name, **{f"image {platform}": each.key for platform, each in platforms.items()}})


def folders_of(plan: Plan) -> tuple[str, ...]:
    """Return the folders whose contents are inputs of keys, sorted."""
    found = {node.folder for node in plan.nodes if node.folder}
    found |= {path for node in plan.nodes for _, path in node.folders}
    return tuple(sorted(found))


def without_files(plan: Plan, contents: Contents) -> Iterator[Diagnostic]:
    """Yield what no build could use of the folders that parameters name: one without files, at the stack that sets it.

    Rules of such a folder that BuildKit does not read are located in their file.
    """
    wrong = {(node.recipe.layer, path) for node in plan.nodes for _, path in node.folders if not contents.get(path)}
    for layer, path in sorted(wrong):
        message = f"layer `{layer}`: the folder `{path}` does not exist or has no files"
        yield Diagnostic(message=message, location=_giver(plan, layer, path))
    for folder in sorted({path for node in plan.nodes for _, path in node.folders}):
        for name, file in contents.get(folder, {}).items():
            if name == ".dockerignore" and file.rules is not None:
                yield from rule_problems(file.rules, f"{folder}/{name}")


def at_their_stacks(plan: Plan, diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Yield diagnostics about folders; one that a parameter names is located at its stack."""
    given = {path: node.recipe.layer for node in plan.nodes for _, path in node.folders}
    for each in diagnostics:
        layer = given.get(each.location.file) if each.location else None
        if each.location is None or layer is None:
            yield each
        else:
            message = f"layer `{layer}`: the folder `{each.location.file}`: {each.message}"
            yield replace(each, message=message, location=_giver(plan, layer, each.location.file))


def _giver(plan: Plan, layer: str, path: str) -> Location | None:
    """Return where the first stack that sets a layer's parameter to a folder does it."""
    instances = (each for image in plan.stacks for each in image.layers if each.name == layer)
    return next((each.location for each in instances if path in each.parameters.values()), None)


def keyed(inputs: Mapping[str, str]) -> Fingerprint:
    """Return the key of inputs, to which the number of the definition is added."""
    ordered = dict(sorted({"definition": DEFINITION, **inputs}.items()))
    key = hashlib.sha256(_JSON.encode(ordered).encode()).hexdigest()
    return Fingerprint(key=key, inputs=MappingProxyType(ordered))


def _node_inputs(
    plan: Plan, node: Node, nodes: Mapping[str, Fingerprint], contents: Contents
) -> Iterator[tuple[str, str]]:
    yield "layer", node.recipe.layer
    yield "timestamp", timestamp_text(plan.timestamp)
    yield "platform", node.platform
    if node.base or node.parent:
        yield "base", nodes[node.base].key if node.base else _parent(plan, node.parent.name if node.parent else "")
    for context, need in node.needs:
        yield f"context {context}", nodes[need].key if need else ABSENT
    for name, value in node.arguments:
        yield f"argument {name}", value
    if (epoch := epoch_of(plan, node)) is not None:
        yield "epoch", epoch
    for download in node.downloads:
        # With a checksum the address is no input: a mirror serves the same bytes.
        yield f"download {download.name}", f"sha256:{download.sha256}" if download.sha256 else download.url
    for context, folder in node.folders:
        for path, file in _not_ignored("", contents.get(folder, {})):
            yield f"folder {context} {path}", _file(file)


def _recipe_inputs(node: Node, files: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Yield how a node is built, and the files of its context that its build can read."""
    if not node.generated:
        name = node.dockerfile.removeprefix(f"{node.folder}/")
        yield from readable_inputs(name, layer_files(name, files))
        return
    if node.recipe.files:
        yield "files", node.generated
    else:
        if node.installer is not None:
            yield "dockerfile", f"sha256:{hashlib.sha256(node.installer.text.encode()).hexdigest()}"
        yield "run", run_step(node.recipe)
    for path, file in build_files(node, files).items():
        yield f"file {path}", _file(file)


def build_files(node: Node, files: Mapping[str, File]) -> Mapping[str, File]:
    """Return what BuildKit reads of a node's context, by path: of a layer of files only those, of commands nothing."""
    name = node.dockerfile.rpartition("/")[2]
    if not node.generated:
        return dict(context_files(name, layer_files(name, files)))
    if node.installer is not None:
        return dict(_not_ignored(name, layer_files(name, files)))
    read: set[str] = set()
    for source in filter(None, (each.source for each in node.recipe.files.values())):
        steps = way(source.rstrip("/"), files)
        read |= {path for path in files if path in steps or path.startswith(f"{steps[-1]}/")}
    return {path: file for path, file in _not_ignored("", layer_files("", files)) if path in read}


def readable_inputs(name: str, files: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Yield the Dockerfile `name` of a context, and the files of the context that it can read, as inputs of a key."""
    yield "dockerfile", files.get(way(name, files)[-1], files[name]).content
    for path, file in _not_ignored(name, files):
        yield f"file {path}", _file(file)


def layer_files(dockerfile: str, files: Mapping[str, File]) -> Mapping[str, File]:
    """Return what a build may read of a layer's folder: not its description and its tests, whatever the rules say."""
    kept = way(dockerfile, files)
    return {path: file for path, file in files.items() if path.partition("/")[0] not in UNBUILT or path in kept}


def context_files(dockerfile: str, files: Mapping[str, File]) -> Iterator[tuple[str, File]]:
    """Yield, by path, what BuildKit reads of a context: what the rules do not exclude, the Dockerfile and the rules.

    Without a Dockerfile's name it is a context that a different one names.
    """
    is_left_out = left_out(dockerfile, files)
    names = {*rules_of(dockerfile), *way(dockerfile, files)}
    for path, file in sorted(files.items()):
        if path in names or not is_left_out(path):
            yield path, file


def rules_of(dockerfile: str) -> list[str]:
    """Return the names of the files that may hold the rules of a context; the first that exists counts."""
    return [f"{dockerfile}.dockerignore", ".dockerignore"] if dockerfile else [".dockerignore"]


def way(name: str, files: Mapping[str, File]) -> list[str]:
    """Return the symlinks that BuildKit follows from a name, of folders too, and last the file that it reads."""
    waiting, at, left = name.split("/"), list[str](), MOST_SYMLINKS
    links = []
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            del at[-1:]
        elif part not in ("", "."):
            at.append(part)
            found = files.get("/".join(at))
            if found is not None and found.content.startswith(LINK) and left:
                left -= 1
                links.append("/".join(at))
                to = found.content.removeprefix(LINK)
                at = [] if to.startswith("/") else at[:-1]
                waiting = [*to.split("/"), *waiting]
    return [*links, "/".join(at)]


def left_out(dockerfile: str, files: Mapping[str, File]) -> Callable[[str], bool]:
    """Return whether a path of a context is excluded from its builds, by the rules that BuildKit uses for a Dockerfile.

    Without a Dockerfile's name it is a context that a different one names.
    """
    return ignored(next((files[each].rules for each in rules_of(dockerfile) if each in files), None) or "")


def _not_ignored(dockerfile: str, files: Mapping[str, File]) -> Iterator[tuple[str, File]]:
    """Yield, sorted, the files that the rules do not exclude; the Dockerfile and the rules are subject to them too."""
    is_ignored = left_out(dockerfile, files)
    for path, file in sorted(files.items()):
        if not is_ignored(path):
            yield path, file


def _variable(variable: Variable) -> str:
    """Return the value for people, with each dollar in it doubled: only `$NAME` means the parent's value."""
    value = variable.value
    return replace(
        variable,
        value=None if value is None else _doubled(value),
        prepended=tuple(map(_doubled, variable.prepended)),
        appended=tuple(map(_doubled, variable.appended)),
    ).shown


def _doubled(text: str) -> str:
    return text.replace("$", "$$")


def _file(file: File) -> str:
    return f"{'755' if file.executable else '644'} {file.content}"


def _parent(plan: Plan, name: str) -> str:
    locked = plan.parent(name).locked
    return locked.digest or locked.reference


def _image_inputs(plan: Plan, image: ImageTarget, nodes: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    yield "name", image.stack
    yield "timestamp", timestamp_text(plan.timestamp)
    yield "platform", image.platform
    yield "base", nodes[image.base].key if image.base else _parent(plan, image.parent.name)
    yield "order of artifacts", " ".join(layer for layer, _ in image.artifacts)
    for layer, node in image.artifacts:
        yield f"artifact {layer}", nodes[node].key
    for variable in image.environment:
        yield f"variable {variable.name}", _variable(variable)
    config = image.config
    for label, value in config.labels.items():
        yield f"label {label}", value
    yield "ports", " ".join(sorted(config.ports))
    yield "user", config.user or ""
    yield "workdir", config.workdir or ""
    # What is not set is no input, so that keys from before these could be set stay the same.
    if config.entrypoint is not None:
        yield "entrypoint", words_json(config.entrypoint)
    if config.command is not None:
        yield "command", words_json(config.command)
    if config.healthcheck is not None:
        yield "healthcheck", healthcheck_text(config.healthcheck)
