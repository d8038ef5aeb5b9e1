"""Random projects: layers that need each other without a circle, and stacks over them, as a tree of texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from buildsys.bake.targets import plan_definition
from buildsys.commands.plan import make_plan
from buildsys.plan.plan import Plan
from tests.support.laws import examples

Fields = Mapping[str, Any]

SYSTEMS = ("bsd-os", "lin-os")
RELEASES = ("1", "2.10")
# Given in an order that is not the order of names, so that neither can be taken for the other.
NAMES = ("mid", "zeta", "alpha", "k-9", "beta", "y2", "core")
VERSIONS = ("1.0", "1.10", "2")
# The characters that HCL, a Dockerfile or a shell give a meaning come up often.
TRICKY = st.text(st.sampled_from(list("${}%\"\\'`#~ :=<>aé")), max_size=8)
WORD = st.text(st.sampled_from(list("${}%\"\\'`#~:=<>-aé")), min_size=1, max_size=6)

LAW = examples(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A project before it is text: `stacks` and `families` are entries of stacks.yaml in their order."""

    layers: Mapping[str, Fields]
    dockerfiles: Mapping[str, str]
    stacks: tuple[tuple[str, Fields], ...]
    families: tuple[tuple[str, Fields], ...] = ()

    def tree(self) -> dict[str, str]:
        """Return the files by path."""
        found = {"stacks.yaml": self.stacks_file(), "buildsys.lock": _LOCK}
        for name, fields in self.layers.items():
            found[f"layers/{name}/layer.yaml"] = _yaml(fields.items())
            if name in self.dockerfiles:
                found[f"layers/{name}/Dockerfile"] = self.dockerfiles[name]
        return found

    def stacks_file(self) -> str:
        """Return stacks.yaml, one entry a line."""
        return f"families:\n{_yaml(self.families, '  ')}stacks:\n{_yaml(self.stacks, '  ')}"

    def plan(self) -> Plan:
        """Return the plan of it."""
        return make_plan(self.tree())

    def bake_file(self) -> str:
        """Return the bake file's text."""
        return plan_definition(self.plan()).to_hcl()


_LOCK = 'version: 1\nepochs: {bsd-os: "2026-11-23", lin-os: "2026-11-23"}\n'

_SYSTEM_DOCKERFILE = """\
FROM base
ARG PACKAGES
ARG EPOCH
RUN --mount=type=bind,from=mirrors,target=/run/mirrors . /run/mirrors/use && install $PACKAGES
"""


def _yaml(entries: Iterable[tuple[str, Any]], indent: str = "") -> str:
    """Return a mapping as YAML, each value in one line: what JSON allows, YAML reads."""
    return "".join(f"{indent}{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in entries)


def _ground() -> tuple[dict[str, Fields], dict[str, str]]:
    """Return two operating systems that share a toolchain, and the toolchain."""
    release = {"description": "which", "values": list(RELEASES), "default": RELEASES[0], "label": "true"}
    layers: dict[str, Fields] = {
        name: {
            "description": name,
            "kind": "system",
            "licence": "free",
            "provides": ["os"],
            "parent": {"name": f"{name[:3]}-{{release}}", "images": [f"example.com/{name}:{{release}}"]},
            "toolchain": {"layer": "tools", "parameters": {"release": "{release}"}},
            "freshness": "week",
            "parameters": {"release": release},
            "packages": [{"names": ["base-files", f"{name}-extra"]}],
        }
        for name in SYSTEMS
    }
    layers["tools"] = {
        "description": "tools",
        "kind": "toolchain",
        "licence": "free",
        "parent": {"name": "tools-{release}", "images": ["example.com/tools:{release}"]},
        "parameters": {"release": release},
    }
    return layers, {**dict.fromkeys(SYSTEMS, _SYSTEM_DOCKERFILE), "tools": "FROM base\nRUN install compiler\n"}


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """Draw a project that is right in every way."""
    layers, dockerfiles = _ground()
    names = draw(st.permutations(NAMES))[: draw(st.integers(2, len(NAMES)))]
    for position, name in enumerate(names):
        fields, dockerfile = draw(_layer(name, {each: layers[each] for each in names[:position]}))
        layers[name] = fields
        if dockerfile is not None:
            dockerfiles[name] = dockerfile
    stacks = [(name, draw(_stack({each: layers[each] for each in names}))) for name in draw(_stack_names())]
    family = draw(_stack({each: layers[each] for each in names}))
    members = [line for line in family["layers"] if next(iter(line)) not in SYSTEMS]
    rows = draw(st.permutations([{"r": RELEASES[0]}, {"r": RELEASES[1], "x": "y"}]))
    matrix = {
        "description": "rows",
        "name": "fam{r}[-{x}]",
        "layers": [{"lin-os": {"release": "{r}"}}, *(_literal(line) for line in members)],
        "matrix": rows,
    }
    return Project(layers=layers, dockerfiles=dockerfiles, stacks=tuple(stacks), families=(("rows", matrix),))


def _literal(line: Mapping[str, Fields]) -> Mapping[str, Fields]:
    """Return a line of a stack as one of a family, whose texts are templates."""
    return {name: {key: _escaped(value) for key, value in parameters.items()} for name, parameters in line.items()}


def _escaped(value: Any) -> Any:
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return value.replace("{", "{{").replace("}", "}}")


@st.composite
def _layer(draw: st.DrawFn, name: str, earlier: Mapping[str, Fields]) -> tuple[Fields, str | None]:
    """Draw a layer over those drawn before it, and its Dockerfile."""
    kind = draw(st.sampled_from(["system", "artifact", "artifact"]))
    allowed = [each for each in earlier if kind == "artifact" or earlier[each]["kind"] == "system"]
    some = st.lists(st.sampled_from(allowed), unique=True, max_size=3) if allowed else st.just([])
    requires, after = draw(some), draw(some)
    word = name.upper().replace("-", "_")
    parts = draw(st.lists(st.sampled_from(["/opt/a", "/opt/b", f"/opt/{name}"]), unique=True, max_size=2))
    value = draw(TRICKY)
    fields: dict[str, Any] = {
        "description": name,
        "kind": kind,
        "licence": "free",
        "requires": ["os", *requires],
        "after": after,
        "order": str(draw(st.integers(-2, 2))),
        "environment": {
            "set": {f"SET_{word}": _escaped(value)},
            draw(st.sampled_from(["prepend", "append"])): {"SEARCH": parts} if parts else {},
        },
    }
    version = {"description": "which", "default": VERSIONS[0], "label": draw(st.sampled_from(["true", "false"]))}
    flags = {"description": "flags", "type": "words", "default": []}
    release = {"description": "of the system", "from": "os.release"}
    if kind == "system":
        fields["packages"] = [{"names": [name, draw(st.sampled_from(["zip", f"{name}-{{version}}"]))]}]
        fields["parameters"] = {"version": version}
        own = draw(st.booleans())
        text = "FROM base\nARG PACKAGES\nARG VERSION\nRUN install $PACKAGES\n" if own else None
        if not own and "{version}" not in fields["packages"][0]["names"][1]:
            fields["parameters"] = {}
        return fields, text
    fields["prefix"] = f"/opt/{name}"
    fields["parameters"] = {"version": version, "flags": flags, "release": release}
    if draw(st.booleans()):
        fields["toolchain"] = {"layer": "tools", "parameters": {"release": RELEASES[1]}}
    used = [each for each in dict.fromkeys([*requires, *after]) if earlier[each]["kind"] == "artifact"]
    used = [each for each in used if draw(st.booleans())]
    copies = "".join(f"COPY --from={each} / /\n" for each in used)
    arguments = "ARG VERSION\nARG FLAGS\n" + ("ARG RELEASE\n" if draw(st.booleans()) else "")
    if "RELEASE" not in arguments:
        del fields["parameters"]["release"]
    last = "FROM scratch\nCOPY --from=build /artifact /\n"
    return fields, f"FROM toolchain AS build\n{copies}{arguments}RUN make\n{last}"


@st.composite
def _stack(draw: st.DrawFn, layers: Mapping[str, Fields]) -> Fields:
    """Draw a stack: some of the layers, some of their parameters, one operating system."""
    chosen = draw(st.lists(st.sampled_from(sorted(layers)), unique=True, min_size=1))
    release = draw(st.sampled_from(RELEASES))
    lines: list[Mapping[str, Fields]] = [{draw(st.sampled_from(SYSTEMS)): {"release": release}}]
    for name in chosen:
        parameters: dict[str, Any] = {}
        declared = layers[name]["parameters"]
        if "version" in declared and draw(st.booleans()):
            parameters["version"] = draw(st.sampled_from(VERSIONS))
        if "flags" in declared and draw(st.booleans()):
            parameters["flags"] = draw(st.lists(WORD, max_size=2))
        if "release" in declared and draw(st.booleans()):
            parameters["release"] = release
        lines.append({name: parameters})
    return {"layers": draw(st.permutations(lines))}


def _stack_names() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(["one", "two-3.10", "two_4", "last.x"]), unique=True, min_size=1, max_size=3)


@st.composite
def other_stack(draw: st.DrawFn, project: Project) -> tuple[str, Fields]:
    """Draw one more stack for a project, which may come before or after all others by name."""
    names = {name: fields for name, fields in project.layers.items() if name in NAMES}
    return draw(st.sampled_from(["a-first", "zz-last"])), draw(_stack(names))


def with_stacks(project: Project, stacks: Iterable[tuple[str, Fields]]) -> Project:
    """Return the project with other single stacks."""
    return replace(project, stacks=tuple(stacks))
