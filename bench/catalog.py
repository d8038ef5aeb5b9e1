"""A generated but realistic project: layers, and as many stacks as asked for, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Mapping

PER_STACK = 6


def project(
    stacks: int, *, releases: int = 6, artifacts: int = 24, versions: int = 40, seed: int = 1
) -> Mapping[str, str]:
    """Return the files of a project by path: six layers to a stack, each RUN real and trivial.

    With the defaults a thousand stacks have about three thousand nodes; fewer releases, artifacts and versions make
    stacks that share more.
    """
    chosen = random.Random(seed)
    known = ", ".join(str(number) for number in range(1, releases + 1))
    tree = {
        "layers/system/layer.yaml": (
            "description: a system\nkind: system\nlicence: free\nprovides: [os]\nfreshness: week\n"
            'parent: {name: "linux-{release}", images: ["example.com/linux:{release}"]}\n'
            'toolchain: {layer: tools, parameters: {release: "{release}"}}\n'
            f"parameters: {{release: {{description: which, default: 1, values: [{known}], label: true}}}}\n"
            "packages: [{names: [base, zip]}, {names: [new], when: {release: 2}}]\n"
            "environment: {set: {LANG: C.UTF-8}}\n"
        ),
        "layers/system/Dockerfile": "FROM base\nARG PACKAGES\nARG EPOCH\nRUN echo $PACKAGES $EPOCH >>/etc/system\n",
        "layers/system/.dockerignore": "*\n",
        "layers/tools/layer.yaml": (
            "description: tools\nkind: toolchain\nlicence: free\n"
            'parent: {name: "tools-{release}", images: ["example.com/linux:{release}"]}\n'
            "parameters: {release: {description: which, default: 1, label: true}}\npackages: [{names: [compiler]}]\n"
        ),
        "layers/tools/Dockerfile": "FROM base\nARG PACKAGES\nRUN echo $PACKAGES >/etc/tools\n",
        "layers/tools/.dockerignore": "*\n",
        "layers/more/layer.yaml": (
            "description: more\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [git]}]\n"
        ),
    }
    for number in range(artifacts):
        name = f"tool{number}"
        after = f"after: [tool{number - 1}]\n" if number % 3 == 1 else ""
        copy = f"COPY --from=tool{number - 1} / /\n" if after else ""
        tree[f"layers/{name}/layer.yaml"] = (
            f"description: a tool\nkind: artifact\nlicence: free\nprefix: /opt/{name}\nrequires: [os]\n{after}"
            "parameters: {version: {description: release, default: 1, label: true}}\n"
            f"environment: {{prepend: {{PATH: /opt/{name}/bin}}}}\n"
        )
        tree[f"layers/{name}/Dockerfile"] = (
            f"FROM toolchain AS build\n{copy}ARG VERSION\n"
            f"RUN mkdir -p /artifact/opt/{name}/bin && echo $VERSION >/artifact/opt/{name}/bin/version\n"
            "FROM scratch\nCOPY --from=build /artifact /\n"
        )
        tree[f"layers/{name}/.dockerignore"] = "*\n"
    lines = ["registry: registry.example.com/scale", "stacks:"]
    for number in range(stacks):
        tools = chosen.sample(range(artifacts), PER_STACK - 2)
        layers = [f"system: {{release: {chosen.randint(1, releases)}}}", "more"]
        layers += [f"tool{tool}: {{version: {chosen.randint(1, versions)}}}" for tool in sorted(tools)]
        lines.append(f"  image{number}: {{description: image {number}, layers: [{', '.join(layers)}]}}")
    tree["stacks.yaml"] = "\n".join(lines) + "\n"
    tree["buildsys.lock"] = "version: 1\nepochs: {system: 2026-11-23}\n"
    tree["mirrors/use"] = ":\n"
    return tree
