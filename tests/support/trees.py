"""A small right project as a tree of texts, which a test breaks in one place."""

from __future__ import annotations

from collections.abc import Mapping

from buildsys.commands.plan import make_plan
from buildsys.config.catalog import load
from buildsys.config.model import Catalog
from buildsys.errors import InvalidInput
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget
from buildsys.resolve.nodes import resolve

_SYSTEM = """\
description: a system
kind: system
licence: free
provides: [os]
parent: {name: "linux-{release}", images: ["example.com/linux:{release}"]}
toolchain: {layer: tools, parameters: {release: "{release}"}}
parameters:
  release: {description: which one, default: 1, values: [1, 2], label: true}
packages: [{names: [zip, base-files]}]
environment: {set: {LANG: C.UTF-8}}
"""
_TOOLS = """\
description: what artifacts are built on
kind: toolchain
licence: free
parent: {name: "tools-{release}", images: ["example.com/tools:{release}"]}
parameters:
  release: {description: which one, default: 1, label: true}
"""
FAST = """\
description: an artifact
kind: artifact
licence: MIT
prefix: /opt/fast
requires: [os]
parameters:
  version: {description: release, default: 1.0, label: true}
  flags: {description: flags of configure, type: words, default: []}
environment: {prepend: {PATH: /opt/fast/bin}}
"""
ARTIFACT = """\
FROM toolchain AS build
ARG VERSION
ARG FLAGS
RUN make
FROM scratch
COPY --from=build /artifact /
"""
LOCK = 'version: 1\nparents: {linux-1: {reference: "example.com/linux:1", digest: "sha256:%s"}}\n' % ("1" * 64)


def tree(stacks: str = "stacks:\n  one: {layers: [system, fast]}\n", **layers: str) -> dict[str, str]:
    """Return the project with another stacks.yaml, and layers added or changed: `name=` its layer.yaml.

    A new artifact gets a Dockerfile that takes a version and flags, a new system layer none.
    """
    found = {
        "stacks.yaml": stacks,
        "buildsys.lock": LOCK,
        "layers/system/layer.yaml": _SYSTEM,
        "layers/system/Dockerfile": "FROM base\nARG PACKAGES\nRUN install $PACKAGES\n",
        "layers/tools/layer.yaml": _TOOLS,
        "layers/tools/Dockerfile": "FROM base\nRUN install compiler\n",
        "layers/fast/layer.yaml": FAST,
        "layers/fast/Dockerfile": ARTIFACT,
    }
    for name, text in layers.items():
        folder = f"layers/{name.replace('_', '-')}"
        found[f"{folder}/layer.yaml"] = text
        if "kind: artifact" in text:
            found[f"{folder}/Dockerfile"] = ARTIFACT
    built = [path.rpartition("/")[0] for path in found if path.endswith("/Dockerfile")]
    return {**found, **{f"{folder}/.dockerignore": "*\n" for folder in built}}


def on_two_platforms() -> dict[str, str]:
    """Return the project with a stack `one` for two platforms."""
    platforms = "platforms: [linux/amd64, linux/arm64]"
    found = tree(f"stacks:\n  one: {{layers: [system, fast], {platforms}}}\n")
    return {path: f"{text}{platforms}\n" if path.endswith("/layer.yaml") else text for path, text in found.items()}


def ladder(levels: int) -> dict[str, str]:
    """Return the project with two artifacts on each level, each needs both of the level below.

    The stack `one` has all of them, so that as many ways lead down as two to the number of levels; `two` has none.
    """
    layers = {}
    for level in range(levels):
        below = [f"left{level - 1}", f"right{level - 1}"] if level else []
        for name in (f"left{level}", f"right{level}"):
            own = FAST.replace("/opt/fast", f"/opt/{name}")
            layers[name] = own.replace("requires: [os]", f"requires: [{', '.join(['os', *below])}]")
    top = levels - 1
    stacks = f"stacks:\n  one: {{layers: [system, left{top}, right{top}]}}\n  two: {{layers: [system, fast]}}\n"
    found = tree(stacks, **layers)
    for level in range(1, levels):
        copies = f"COPY --from=left{level - 1} / /\nCOPY --from=right{level - 1} / /\nARG VERSION\n"
        for name in (f"left{level}", f"right{level}"):
            path = f"layers/{name}/Dockerfile"
            found[path] = found[path].replace("ARG VERSION\n", copies)
    return found


def planned(files: Mapping[str, str]) -> Plan:
    """Return the plan of a tree."""
    return make_plan(files)


def stack(plan: Plan, name: str = "one") -> ImageTarget:
    """Return a stack of a plan."""
    return next(each for each in plan.stacks if each.stack == name)


def order(files: Mapping[str, str], name: str = "one") -> list[str]:
    """Return the layers of a stack in their order."""
    return [each.name for each in stack(planned(files), name).layers]


def loaded(files: Mapping[str, str]) -> Catalog:
    """Return the catalog of a tree; every stack in it can be resolved."""
    catalog = load(files)
    resolve(catalog)
    return catalog


def diagnostics(files: Mapping[str, str]) -> list[tuple[str, str, str | None]]:
    """Return place, message and hint of everything that is wrong with a tree."""
    try:
        make_plan(files)
    except InvalidInput as error:
        return [(str(each.location), each.message, each.hint) for each in error.diagnostics()]
    return []
