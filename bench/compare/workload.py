"""The images that every way builds, and what changes about them: files of a project, Dockerfiles, bake files; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from buildsys.bake.assembly import environment_value
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget, Node

# What the rivals keep between builds: packages and wheels, as Docker's own guide to cache mounts has it.
APT_CACHES = (
    "--mount=type=cache,id=apt-{release},target=/var/cache/apt,sharing=locked",
    "--mount=type=cache,id=lists-{release},target=/var/lib/apt/lists,sharing=locked",
)
PIP_CACHE = "--mount=type=cache,id=pip,target=/root/.cache/pip"
MIRRORS = "--mount=type=bind,from=mirrors,target=/run/mirrors"
DOWNLOAD = "--mount=type=bind,from=download,target=/download"
PREPARING = ("ca-certificates", "python3", "python3-pip", "unzip")
# BuildKit shows the first line of a script: by this one the step that compiles is known.
COMPILE_MARK = "# compile"
FIXED_PACKAGE = "libgnutls30"


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """The state of a project: which compile every image has (`none`, `ucx` or `openmpi`), and what has been changed.

    `releases` are of Debian; `fixed`: a package was fixed in Debian 12; `prefix`: the version of the stand-in for
    Miniconda; `added`: there is one more stack.
    """

    mpi: str = "ucx"
    releases: tuple[int, ...] = (12, 13)
    fixed: bool = False
    prefix: int = 1
    added: bool = False


def stacks_yaml(world: World) -> str:
    """Return `stacks.yaml`: CPU and GPU, each with two sets of packages, on each release."""
    releases = f"[{', '.join(map(str, world.releases))}]"
    mpi = [] if world.mpi == "none" else [f"      - mpi: {{build: {world.mpi}}}"]
    rows = ("", ", cuda: 12.9", ", set: develop", ", cuda: 12.9, set: develop")
    lines = [
        "registry: buildsys",
        "families:",
        "  debian:",
        "    description: CPU and GPU on Debian, each with two sets of packages",
        '    name: "debian{debian}[-cuda{cuda}][-{set}]"',
        "    layers:",
        '      - system: {release: "{debian}"}',
        "      - develop:",
        "        when: set",
        '      - cuda: {version: "{cuda}"}',
        "        when: cuda",
        "      - nccl:",
        "        when: cuda",
        f"      - prefix: {{version: {world.prefix}}}",
        *mpi,
        "    matrix:",
        *(f"      - {{debian: {releases}{row}}}" for row in rows),
    ]
    if world.added:
        known = "" if world.mpi == "none" else f", mpi: {{build: {world.mpi}}}"
        first = world.releases[0]
        lines += [
            "stacks:",
            "  added:",
            "    description: one more image, of what the others have",
            f"    layers: [system: {{release: {first}}}, develop, cuda, nccl{known}]",
        ]
    return "\n".join(lines) + "\n"


def project_files(shipped: Mapping[str, str], world: World) -> Mapping[str, str]:
    """Return the files of the project in this world, of the shipped ones by path."""
    files = {**shipped, "stacks.yaml": stacks_yaml(world)}
    if world.fixed:
        files["layers/system/layer.yaml"] += f"  - {{when: {{release: 12}}, names: [{FIXED_PACKAGE}]}}\n"
    return files


def fragment(dockerfile: str) -> tuple[str, ...]:
    """Return the lines of the one script that a layer's Dockerfile runs."""
    found = re.findall(r"^RUN [^\n]*<<END\n(.*?)^END$", dockerfile, flags=re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"one RUN with a script was expected, there are {len(found)}")
    return tuple(found[0].splitlines())


def rival_script(lines: Sequence[str], arguments: Mapping[str, str], *, apart: bool = False) -> tuple[str, ...]:
    """Return a layer's script as a Dockerfile of one image has it.

    It installs to the final place unless it runs `apart`, in a stage of its own, and leaves to cache mounts what they
    hold.
    """
    kept = [line for line in lines if line not in ("apt-get clean", "rm -rf /var/lib/apt/lists/* /var/cache/apt/*")]
    body = [line.replace(" --no-cache-dir", "") for line in kept]
    if not apart:
        body = ["destination=" if line == "destination=/artifact" else line for line in body]
    values = [f"{name}='{value}'" for name, value in sorted(arguments.items())]
    return ("set -eu", *values, *body[1:])


def _run(mounts: Sequence[str], script: Sequence[str]) -> Iterator[str]:
    yield "RUN " + " \\\n    ".join([*mounts, "<<END"])
    yield from script
    yield "END"


def dockerfile(plan: Plan, stack: ImageTarget, scripts: Mapping[str, str], mirrors: str, server: str) -> str:
    """Return the one Dockerfile of an image with the content of a stack; `scripts` maps path to Dockerfiles of layers.

    Downloads come from `server`. `mirrors` is an image, since steps that read a folder of the context are not always
    found in a cache of the registry where several targets read the same one (seen with BuildKit 0.25: 7 of 9 steps ran
    again). The order is that of the public Azure ML images: packages, Miniconda, MPI, all in one stage. CUDA, which is
    in their parent image and so neither built nor fetched again, is in a stage of its own, in the same words in all.
    """
    nodes = {node.name: node for node in plan.nodes}
    system = _chain(nodes, stack.base)
    release = system[0].parameters["release"]
    packages = sorted({package for node in system for package in node.packages})
    artifacts = [nodes[name] for _, name in stack.artifacts]
    apart = [node for node in artifacts if node.recipe.layer in ("cuda", "nccl")]
    install = fragment(scripts[system[0].dockerfile])
    lines = [f"FROM {mirrors} AS mirrors", ""]
    for download in (each for node in artifacts for each in node.downloads):
        address = server.rstrip("/") + urlsplit(download.url).path
        lines += ["FROM scratch AS download", f"ADD --checksum=sha256:{download.sha256} {address} /source.tar", ""]
    if apart:
        toolchain = nodes[apart[0].base or ""]
        number = toolchain.parameters["release"]
        lines.append(f"FROM {_parent(plan, toolchain)} AS cuda")
        lines += _apt(number, install, PREPARING)
        for node in apart:
            script = rival_script(fragment(scripts[node.dockerfile]), dict(node.arguments), apart=True)
            lines += _run((MIRRORS, PIP_CACHE), script)
        lines.append("")
    lines.append(f"FROM {_parent(plan, system[0])}")
    lines += _apt(release, install, packages)
    if apart:
        lines.append("COPY --link --from=cuda /artifact /")
    for node in artifacts:
        if node not in apart:
            script = rival_script(fragment(scripts[node.dockerfile]), dict(node.arguments))
            if node.recipe.layer == "mpi":
                lines += _run((DOWNLOAD,), (COMPILE_MARK, *script))
            else:
                lines += _run((MIRRORS, PIP_CACHE), script)
    lines += [f"ENV {each.name}={environment_value(each)}" for each in stack.environment]
    lines.append(f'LABEL org.opencontainers.image.title="{stack.stack}"')
    return "\n".join(lines) + "\n"


def _apt(release: str, install: Sequence[str], packages: Sequence[str]) -> Iterator[str]:
    mounts = [mount.format(release=release) for mount in APT_CACHES]
    return _run((MIRRORS, *mounts), rival_script(install, {"PACKAGES": " ".join(packages)}))


def _chain(nodes: Mapping[str, Node], name: str | None) -> list[Node]:
    """Return a system node and all below it, the lowest first."""
    found: list[Node] = []
    while name:
        found.insert(0, nodes[name])
        name = nodes[name].base
    return found


def _parent(plan: Plan, node: Node) -> str:
    if node.parent is None:
        raise ValueError(f"`{node.name}` has no parent image")
    return plan.parent(node.parent.name).reference


def rival_files(plan: Plan, layers: Mapping[str, str], registry: str, mirrors: str, server: str) -> Mapping[str, str]:
    """Return the files of the ways without layers: a Dockerfile for each image, and a bake file of them all."""
    files = {f"{each.stack}.Dockerfile": dockerfile(plan, each, layers, mirrors, server) for each in plan.stacks}
    targets = {
        each.name: {
            "context": ".",
            "dockerfile": f"{each.stack}.Dockerfile",
            "tags": [f"{registry}/{each.stack}:latest"],
            "cache-from": [cache_from(registry, each.stack)],
            "cache-to": [cache_to(registry, each.stack)],
            "attest": ["type=provenance,disabled=true"],
        }
        for each in plan.stacks
    }
    group = {"default": {"targets": sorted(targets)}}
    files["docker-bake.json"] = json.dumps({"group": group, "target": targets}, indent=2) + "\n"
    files[".dockerignore"] = "*\n"
    return files


def cache_from(registry: str, name: str) -> str:
    """Return where the cache of an image is read."""
    return f"type=registry,ref={registry}/cache:{name}"


def cache_to(registry: str, name: str) -> str:
    """Return where the whole cache of an image is written: a reference of its own, every stage."""
    return f"{cache_from(registry, name)},mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true"
