"""The content identity of nodes and stacks: a hash of everything that can change the result, and of nothing else.

docs/keys.md says of each input why it counts, and of what does not count why not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from buildsys.config.model import LINK, Contents, File
from buildsys.dockerfile.ignore import ignored
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.plan.plan import Plan, StackTarget, epoch_of
from buildsys.resolve.environment import Variable
from buildsys.resolve.image import healthcheck_text, words_text
from buildsys.resolve.node import Node

# A change of how keys are made from inputs gets a new number, and so makes everything anew.
DEFINITION = "1"
ABSENT = "none"
# As many symlinks as Linux follows.
_LINKS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """A key of 64 hexadecimal digits with the inputs that it is made of, by name."""

    key: str
    inputs: Mapping[str, str]

    @property
    def text(self) -> str:
        """The inputs as a JSON object: the key is the SHA-256 of these bytes."""
        return json.dumps(dict(self.inputs), ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """The keys of a plan: of nodes and of stacks, by target."""

    nodes: Mapping[str, Fingerprint]
    stacks: Mapping[str, Fingerprint]

    def of(self, target: str) -> Fingerprint:
        """Return the key of a node or stack."""
        return self.nodes.get(target) or self.stacks[target]


def keys_of(plan: Plan, contents: Contents) -> Keys:
    """Return all keys; `contents` holds at least the folders that `folders_of` names.

    Raises `InvalidInput` for a parameter that names a folder without files.
    """
    if diagnostics := tuple(without_files(plan, contents)):
        raise InvalidInput(diagnostics)
    nodes: dict[str, Fingerprint] = {}
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for node in plan.nodes:
        location = (node.folder, node.dockerfile)
        if location not in seen:
            name = node.dockerfile.removeprefix(f"{node.folder}/")
            seen[location] = dict(readable_inputs(name, contents.get(node.folder, {})))
        inputs = {**seen[location], **dict(_node_inputs(plan, node, nodes, contents))}
        nodes[node.name] = keyed(inputs)
    stacks = {stack.name: keyed(dict(_stack_inputs(plan, stack, nodes))) for stack in plan.stacks}
    return Keys(nodes=MappingProxyType(nodes), stacks=MappingProxyType(stacks))


def folders_of(plan: Plan) -> tuple[str, ...]:
    """Return the folders whose contents keys are made of, sorted."""
    found = {node.folder for node in plan.nodes}
    found |= {path for node in plan.nodes for _, path in node.folders}
    return tuple(sorted(found))


def without_files(plan: Plan, contents: Contents) -> Iterator[Diagnostic]:
    """Yield a mistake for each parameter that names a folder without files, at the stack that gives it."""
    wrong = {(node.recipe.layer, path) for node in plan.nodes for _, path in node.folders if not contents.get(path)}
    for layer, path in sorted(wrong):
        message = f"layer `{layer}`: the folder `{path}` does not exist or has no files"
        yield Diagnostic(message=message, location=_giver(plan, layer, path))


def at_their_stacks(plan: Plan, diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Yield mistakes about folders, those of a folder that a parameter names at the stack that gives it."""
    given = {path: node.recipe.layer for node in plan.nodes for _, path in node.folders}
    for each in diagnostics:
        layer = given.get(each.location.file) if each.location else None
        if each.location is None or layer is None:
            yield each
        else:
            message = f"layer `{layer}`: the folder `{each.location.file}`: {each.message}"
            yield replace(each, message=message, location=_giver(plan, layer, each.location.file))


def _giver(plan: Plan, layer: str, path: str) -> Location | None:
    """Return where the first stack that gives a folder to a layer says so."""
    instances = (each for stack in plan.stacks for each in stack.noded.layered.instances if each.name == layer)
    return next((each.location for each in instances if path in each.parameters.values()), None)


def keyed(inputs: Mapping[str, str]) -> Fingerprint:
    """Return the key that inputs give, the number of the definition among them."""
    ordered = dict(sorted({"definition": DEFINITION, **inputs}.items()))
    found = Fingerprint(key="", inputs=MappingProxyType(ordered))
    return replace(found, key=hashlib.sha256(found.text.encode()).hexdigest())


def _node_inputs(
    plan: Plan, node: Node, nodes: Mapping[str, Fingerprint], contents: Contents
) -> Iterator[tuple[str, str]]:
    yield "layer", node.recipe.layer
    yield "platforms", " ".join(node.platforms)
    yield "base", nodes[node.base].key if node.base else _parent(plan, node.parent.name if node.parent else "")
    for context, need in node.needs:
        yield f"context {context}", nodes[need].key if need else ABSENT
    for name, value in node.arguments:
        yield f"argument {name}", value
    if (epoch := epoch_of(plan, node)) is not None:
        yield "epoch", epoch
    for download in node.downloads:
        # An address is no input where a checksum says what comes from it: a mirror gives the same bytes.
        yield f"download {download.name}", f"sha256:{download.sha256}" if download.sha256 else download.url
    for context, folder in node.folders:
        for path, file in _not_ignored("", contents.get(folder, {})):
            yield f"folder {context} {path}", _file(file)


def readable_inputs(name: str, files: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Yield the Dockerfile `name` of a context, and the files of the context that it can read, as inputs of a key."""
    yield "dockerfile", files.get(_way(name, files)[-1], files[name]).content
    for path, file in _not_ignored(name, files):
        yield f"file {path}", _file(file)


def context_files(dockerfile: str, files: Mapping[str, File]) -> Iterator[tuple[str, File]]:
    """Yield, by path, what BuildKit reads of a context: what the rules let through, the Dockerfile and the rules.

    Without a Dockerfile's name it is a context that another one names.
    """
    is_left_out = left_out(dockerfile, files)
    names = {*_rules(dockerfile), *_way(dockerfile, files)}
    for path, file in sorted(files.items()):
        if path in names or not is_left_out(path):
            yield path, file


def _rules(dockerfile: str) -> list[str]:
    """Return the names of the files that may have the rules of a context, the first that is there counts."""
    return [f"{dockerfile}.dockerignore", ".dockerignore"] if dockerfile else [".dockerignore"]


def _way(name: str, files: Mapping[str, File]) -> list[str]:
    """Return the symlinks that BuildKit follows from a name, of folders too, and last the file that it reads."""
    waiting, at, left = name.split("/"), list[str](), _LINKS
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
    """Return whether a path of a context is kept from its builds, by the rules that BuildKit takes for a Dockerfile.

    Without a Dockerfile's name it is a context that another one names.
    """
    return ignored(next((files[each].rules for each in _rules(dockerfile) if each in files), None) or "")


def _not_ignored(dockerfile: str, files: Mapping[str, File]) -> Iterator[tuple[str, File]]:
    """Yield, sorted, what the rules let through: the Dockerfile and the rules too, if they do."""
    is_ignored = left_out(dockerfile, files)
    for path, file in sorted(files.items()):
        if not is_ignored(path):
            yield path, file


def _variable(variable: Variable) -> str:
    """Return the value as a person reads it, a dollar in it doubled: `$NAME` stands for the parent's value alone."""
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


def _stack_inputs(plan: Plan, stack: StackTarget, nodes: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    yield "name", stack.stack
    yield "platforms", " ".join(stack.noded.stack.platforms)
    base = stack.noded.base
    yield "base", nodes[base].key if base else _parent(plan, stack.noded.parent.name)
    yield "order of artifacts", " ".join(layer for layer, _ in stack.noded.artifacts)
    for layer, node in stack.noded.artifacts:
        yield f"artifact {layer}", nodes[node].key
    for variable in stack.environment:
        yield f"variable {variable.name}", _variable(variable)
    config = stack.config
    for label, value in config.labels.items():
        yield f"label {label}", value
    yield "ports", " ".join(sorted(config.ports))
    yield "user", config.user or ""
    yield "workdir", config.workdir or ""
    # Where nothing is said there is no input, so the keys from before these could be said are what they were.
    if config.entrypoint is not None:
        yield "entrypoint", words_text(config.entrypoint)
    if config.command is not None:
        yield "command", words_text(config.command)
    if config.healthcheck is not None:
        yield "healthcheck", healthcheck_text(config.healthcheck)
