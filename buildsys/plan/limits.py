"""Whether a run stays within what bake and BuildKit bear: text, paths of links, their depth, layers, checksums.

The limits were measured on buildx 0.36 and BuildKit 0.32, and hold for what is older. gRPC carries messages of 16
MiB, and a target's bake sends the text of all that it links to. bake walks every path of links: half a minute for a
diamond of 52 targets. Chains of 200 take two minutes. Docker's older image store and CRI-O refuse images of about 127
layers (moby/buildkit#6097, docker/buildx `loadLinks`, moby/buildkit#3067).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from buildsys.dockerfile.lint import layer_count
from buildsys.errors import Diagnostic, Location
from buildsys.plan.plan import Plan

MOST_TEXT = 8 * 2**20
MOST_PATHS = 10**6
DEEP = 30
MANY_LAYERS, MOST_LAYERS = 100, 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Excess:
    """What is too much for any bake (`mistakes`), and what is slow or risky (`warnings`)."""

    diagnostics: tuple[Diagnostic, ...] = ()
    warnings: tuple[str, ...] = ()


def excess(
    plan: Plan, targets: Collection[str], references: Mapping[str, str], texts: Mapping[str, str], *, linked: bool
) -> Excess:
    """Return what of a run of `targets` exceeds a limit.

    `references` are nodes that are taken by their digest; without `linked` all are. `texts` holds Dockerfiles by path.
    Layers are those that nodes add: what a parent has is not known here.
    """
    diagnostics, warnings = [], []
    paths, depth, under = dict[str, int](), dict[str, int](), dict[str, frozenset[str]]()
    own = {node.name: len(texts.get(node.dockerfile, "").encode()) for node in plan.nodes}
    layers = dict[str, int]()
    for node in plan.nodes:
        below = [need for need in node.below if linked and need not in references]
        text = texts.get(node.dockerfile, "")
        under[node.name] = frozenset({node.name}).union(*(under[need] for need in below))
        paths[node.name] = sum(paths[need] for need in below) or 1
        depth[node.name] = 1 + max((depth[need] for need in below), default=0)
        grown = layers.get(node.base or "", 0) if not node.recipe.prefix else 0
        layers[node.name] = grown + (1 if node.recipe.prefix else layer_count(text))
        if node.name not in targets:
            continue
        for each in node.downloads:
            # A Dockerfile may do without, as by `${NAME_SHA256:+sha256:$NAME_SHA256}`, where it looks in another way.
            word = each.name.upper().replace("-", "_")
            if each.sha256 is None and re.search(rf"=sha256:\$\{{?{word}_SHA256\b", text):
                message = f"`{node.title}` fetches `{each.url}`, of which no checksum is known: {each.reason}"
                hint = "`buildsys lock` fetches it and writes its checksum to `buildsys.lock`"
                diagnostics.append(Diagnostic(message=message, location=each.location, hint=hint))
        size = sum(own[each] for each in under[node.name])
        if size > MOST_TEXT:
            message = f"the Dockerfiles of `{node.title}` and of all that it links to have {size / 1e6:.0f} MB"
            hint = "move what is long into files beside them, and copy it; bake carries 16 MiB at most"
            diagnostics.append(Diagnostic(message=message, location=Location(file=node.dockerfile), hint=hint))
    deepest = max((name for name in targets if name in depth), key=depth.__getitem__, default="")
    if deepest and depth[deepest] > DEEP:
        warnings.append(f"`{deepest}` is {depth[deepest]} links deep, which bake is slow at: --push links none")
    walked = {name: paths[name] for name in targets if name in paths}
    for stack in plan.stacks:
        if stack.name not in targets:
            continue
        needs = [need for need in stack.noded.needs if linked and need not in references]
        walked[stack.name] = sum(paths[need] for need in needs) or 1
        count = layers.get(stack.noded.base or "", 0) + len(stack.noded.artifacts)
        if count > MOST_LAYERS:
            message = f"`{stack.stack}` has {count} layers besides its parent's, more than {MOST_LAYERS}"
            hint = "join layers: docker and CRI-O refuse images of about 127"
            diagnostics.append(Diagnostic(message=message, location=stack.noded.stack.location, hint=hint))
        elif count > MANY_LAYERS:
            warnings.append(f"`{stack.stack}` has {count} layers besides its parent's: about 127 are refused")
    most = max(walked, key=walked.__getitem__, default="")
    if walked and walked[most] > MOST_PATHS:
        message = f"the links of `{most}` make {walked[most]} paths, and bake walks all of them"
        diagnostics.append(Diagnostic(message=message, hint="bake with --push, which links nothing"))
    return Excess(diagnostics=tuple(diagnostics), warnings=tuple(warnings))
