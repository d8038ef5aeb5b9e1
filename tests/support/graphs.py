"""A graph in a few lines of text: `a: b c` is a task or layer that needs two others, `one = a b` an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from buildsys.run.scheduler import Task

_SYSTEM = """\
description: a system
kind: %s
licence: free
parent: {name: %s, images: ["example.com/linux:1"]}
"""
_ARTIFACT = """\
description: an artifact
kind: artifact
licence: free
prefix: /opt/%s
toolchain: {layer: tools}
requires: [%s]
"""
_LOCK = '  %s: {reference: "example.com/linux:1", digest: "sha256:%s"}\n'


def lines(graph: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, sign and needs of each line."""
    for line in graph.strip().splitlines():
        sign = "=" if "=" in line else ":"
        name, _, needs = line.partition(sign)
        yield name.strip(), sign, tuple(needs.split())


def tasks(graph: str, *, light: str = "", seconds: float = 1.0) -> list[Task]:
    """Return the tasks of a graph; `light` names those that may share a bake."""
    return [
        Task(name=name, kind="node", needs=needs, seconds=seconds, light=name in light.split())
        for name, _, needs in lines(graph)
    ]


def write_project(root: Path, graph: str) -> None:
    """Write a project whose layers are artifacts, all on a node `tools`; each image has a node `system` as base."""
    files = {
        "layers/system/layer.yaml": _SYSTEM % ("system", "linux"),
        "layers/system/Dockerfile": "FROM base\nRUN true\n",
        "layers/tools/layer.yaml": _SYSTEM % ("toolchain", "tools"),
        "layers/tools/Dockerfile": "FROM base\nRUN true\n",
        "buildsys.lock": "version: 1\nparents:\n" + "".join(_LOCK % (name, "1" * 64) for name in ("linux", "tools")),
    }
    stacks = ["registry: r.example.com/ml\nstacks:\n"]
    for name, sign, needs in lines(graph):
        if sign == "=":
            stacks.append(f"  {name}: {{description: an image, layers: [{', '.join(('system', *needs))}]}}\n")
            continue
        copies = "".join(f"COPY --from={need} / /\n" for need in needs)
        files[f"layers/{name}/layer.yaml"] = _ARTIFACT % (name, ", ".join(needs))
        files[f"layers/{name}/Dockerfile"] = (
            f"FROM toolchain AS build\n{copies}RUN make {name}\nFROM scratch\nCOPY --from=build /artifact /\n"
        )
    files["stacks.yaml"] = "".join(stacks)
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
