#!/usr/bin/env python3
"""How long commands that have next to nothing to do take, as ratios to importing the libraries they are written with.

All commands are run in turn, round after round, so that a slow moment of the machine meets each of them. Processor
time decides; time on the clock is beside it. No engine is needed: `bake --all --push` asks a small registry on
loopback which answers that everything has been published. With `--against` another revision runs in the same rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from compare.about import write_section

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "start-up.json"
PROJECT = ("stacks.yaml", "buildsys.lock", "docker-bake.hcl", "layers", "files", "environments")
ROUNDS = 15
EMPTY, LIBRARIES = "empty Python", "import typer, yaml, networkx"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEBIBYTE = 1024  # in the kibibytes that the kernel counts

# Peak memory of a process includes that of the one it was forked from, so this small process starts each command.
LAUNCHER = """
import json, os, sys, time
began = time.monotonic()
sink = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=sink)
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss,
                  os.waitstatus_to_exitcode(status)]))
"""

# The inputs of every key, in a process of its own so that this one stays small.
PUBLISHED = """
import json, os, sys
from pathlib import Path
from buildsys.commands.plan import make_plan
from buildsys.commands.query import look
from buildsys.project.workspace import Workspace

workspace = Workspace(root=Path(sys.argv[1]))
found = look(workspace, os.environ, make_plan(workspace.tree(), overlay=True), offline=True)
keys = {node.name: ("nodes", found.keys.nodes[node.name]) for node in found.plan.nodes}
keys |= {stack.name: (stack.stack, found.keys.stacks[stack.name]) for stack in found.plan.stacks}
print(json.dumps([[repository, keyed.key, keyed.text] for repository, keyed in keys.values()]))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A command; `reference` is what its time is divided by, `limit` what that ratio may be, `codes` its good ends."""

    name: str
    words: tuple[str, ...]
    reference: str = LIBRARIES
    limit: float | None = None
    codes: tuple[int, ...] = (0,)


CASES = (
    Case(name="bake", words=("bake", "--all", "--push"), limit=2.5),
    Case(name="plan", words=("plan", "--offline", "--check"), limit=2.0),
    Case(name="--version", words=("--version",), reference=EMPTY, limit=2.0),
    Case(name="--help", words=("--help",)),
    # No docker is on PATH, so this is the time of buildsys alone; it ends as for an engine that does not answer.
    Case(name="doctor", words=("doctor",), codes=(0, 5)),
    Case(name="report", words=("report",)),
)
PLAN_MEMORY = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one run took: seconds on the clock and of the processor, peak memory in MiB."""

    wall: float
    processor: float
    memory: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where commands run: a copy of the project, and an environment in which every tree is compiled apart."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, words: Sequence[str], tree: Path, codes: tuple[int, ...] = (0,)) -> Sample:
        """Run Python with some words on a tree's buildsys; an ending that is not expected ends this program."""
        environment = {**self.environment, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, sys.executable, *words]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True)
        wall, processor, memory, code = json.loads(done.stdout)
        if code not in codes:
            again = subprocess.run(
                [sys.executable, *words], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
            )
            sys.exit(f"{' '.join(words)} ended with {code}\n{again.stdout[-1000:]}{again.stderr[-2000:]}")
        return Sample(wall=wall, processor=processor, memory=memory / MEBIBYTE)


class Registry(ThreadingHTTPServer):
    """Answers for each tag with the manifest of its key, and for each public tag with the one of its stack."""

    daemon_threads = True

    def __init__(self, published: Sequence[tuple[str, str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.manifests: dict[tuple[str, str], bytes] = {}
        for repository, key, inputs in published:
            text = manifest(key, inputs)
            tag = key if repository == "nodes" else f"key-{key}"
            self.manifests[repository, tag] = self.manifests[repository, ""] = text

    def manifest(self, path: str) -> bytes | None:
        """Return the manifest that a path of the distribution API names."""
        found = re.fullmatch(r"/v2/start-up/(.+)/manifests/(.+)", path)
        if not found:
            return None
        known = self.manifests.get((found[1], found[2]))
        public = found[1] != "nodes" and not found[2].startswith("key-")
        return known or (self.manifests.get((found[1], "")) if public else None)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Registry

    def do_GET(self) -> None:
        body = b"{}" if self.path == "/v2/" else self.server.manifest(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", MANIFEST)
        self.send_header("Content-Length", str(len(body or b"")))
        if body:
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def manifest(key: str, inputs: str) -> bytes:
    """Return an image's manifest that carries a key and its inputs, as buildsys publishes them."""
    blob = {"digest": f"sha256:{'0' * 64}", "size": 2}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **blob}],
        "annotations": {"dev.buildsys.inputs": inputs, "dev.buildsys.key": key},
    }
    return json.dumps(document).encode()


@contextlib.contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    """Yield the project's copy with a registry that has all of it."""
    project = folder / "project"
    project.mkdir()
    for name in PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, symlinks=True)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, project / name)
    programs = folder / "bin"
    programs.mkdir()
    if git := shutil.which("git"):
        (programs / "git").symlink_to(git)
    environment = {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PATH": str(programs),
        "DOCKER_CONFIG": str(folder / "docker"),
        # Compiled files are kept here, whatever the caller's environment says of them.
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
    }
    found = subprocess.run(
        [sys.executable, "-c", PUBLISHED, str(project)],
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    with Registry(json.loads(found.stdout)) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        environment["BUILDSYS_REGISTRY"] = f"127.0.0.1:{registry.server_address[1]}/start-up"
        yield Bench(folder=project, environment=environment)
        registry.shutdown()


@contextlib.contextmanager
def tree_of(revision: str, folder: Path) -> Iterator[Path]:
    """Yield a worktree of a revision."""
    tree, git = folder / "revision", ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False, capture_output=True)


def module(case: Case) -> tuple[str, ...]:
    """Return the words after Python with which a case runs."""
    return ("-P", "-m", "buildsys", *case.words)


def measure(bench: Bench, trees: Mapping[str, Path], rounds: int) -> dict[str, dict[str, list[Sample]]]:
    """Run everything in turn for some rounds, after one that compiles and is not counted; samples by tree and name."""
    samples: dict[str, dict[str, list[Sample]]] = {tree: defaultdict(list) for tree in ("", *trees)}
    for number in range(rounds + 1):
        taken = [("", EMPTY, bench.run(["-c", "pass"], ROOT)), ("", LIBRARIES, bench.run(["-c", LIBRARIES], ROOT))]
        for name, tree in trees.items():
            taken += [(name, case.name, bench.run(module(case), tree, case.codes)) for case in CASES]
        for name, case_name, sample in taken if number else ():
            samples[name][case_name].append(sample)
    return samples


def medians(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure."""
    return Sample(
        wall=statistics.median(sample.wall for sample in samples),
        processor=statistics.median(sample.processor for sample in samples),
        memory=statistics.median(sample.memory for sample in samples),
    )


def figures(samples: Mapping[str, Mapping[str, Sequence[Sample]]]) -> dict[str, Any]:
    """Return medians and ratios as a document: the references, and each command of each tree."""
    references = {name: medians(taken) for name, taken in samples[""].items()}
    commands = []
    for tree, cases in samples.items():
        for case in CASES if tree else ():
            middle, reference = medians(cases[case.name]), references[case.reference]
            commands.append(
                {
                    "tree": tree,
                    "command": case.name,
                    "reference": case.reference,
                    **_plain(middle),
                    "ratio": round(middle.processor / reference.processor, 3),
                    "wall_ratio": round(middle.wall / reference.wall, 3),
                    "limit": case.limit,
                }
            )
    return {"references": {name: _plain(each) for name, each in references.items()}, "commands": commands}


def _plain(sample: Sample) -> dict[str, float]:
    return {
        "wall": round(sample.wall, 4),
        "processor": round(sample.processor, 4),
        "memory": round(sample.memory, 1),
    }


def table(document: Mapping[str, Any]) -> str:
    """Return the figures as lines for a person."""
    lines = [f"{'tree':10} {'command':30} {'cpu s':>7} {'wall s':>7} {'MiB':>6} {'ratio':>6} {'limit':>6}"]
    for name, each in document["references"].items():
        lines.append(f"{'':10} {name:30} {each['processor']:7.3f} {each['wall']:7.3f} {each['memory']:6.1f}")
    for each in document["commands"]:
        limit = "" if each["limit"] is None else f"{each['limit']:.1f}"
        over = " over" if each["limit"] is not None and each["ratio"] > each["limit"] else ""
        over += " memory over" if each["command"] == "plan" and each["memory"] > PLAN_MEMORY else ""
        lines.append(
            f"{each['tree'][:10]:10} {each['command']:30} {each['processor']:7.3f} {each['wall']:7.3f} "
            f"{each['memory']:6.1f} {each['ratio']:6.2f} {limit:>6}{over}"
        )
    return "\n".join(lines)


def section(document: Mapping[str, Any]) -> str:
    """Return the section of the page; pure."""
    machine, references = document["machine"], document["references"]
    trees = list(dict.fromkeys(each["tree"] for each in document["commands"]))
    others = [tree for tree in trees if tree != "this"]
    lines = [
        "## Start-up",
        "",
        f"Measured on {document['date'][:10]} at commit {document['commit'][:12]} by `{document['command']}` on "
        f"{machine['cores']} cores (load {machine['load']}), Python {document['python']}: medians of "
        f"{document['rounds']} rounds in which all commands run in turn. Processor time, children included; the ratio "
        "is to the reference that is named beside it.",
        "",
        "| Command | Seconds | Ratio | Goal | Compared with | MiB |"
        + "".join(f" Ratio at {tree} |" for tree in others),
        "|---|---:|---:|---:|---|---:|" + "---:|" * len(others),
    ]
    for each in (each for each in document["commands"] if each["tree"] == "this"):
        same = [other for other in document["commands"] if other["command"] == each["command"] and other is not each]
        goal = "" if each["limit"] is None else f"{each['limit']:.1f}"
        goal += " **not met**" if each["limit"] is not None and each["ratio"] > each["limit"] else ""
        lines.append(
            f"| `{each['command']}` | {each['processor']:.2f} | {each['ratio']:.2f} | {goal} | {each['reference']} | "
            f"{each['memory']:.0f} |" + "".join(f" {other['ratio']:.2f} |" for other in same)
        )
    lines += ["", f"Goal for the memory of `plan`: at most {PLAN_MEMORY} MiB."]
    lines += [f"`{name}` takes {each['processor']:.3f} s." for name, each in references.items()]
    return "\n".join(lines)


def imports(text: str) -> tuple[dict[str, tuple[int, float]], list[tuple[float, str]]]:
    """Read what `-X importtime` printed: modules and own milliseconds by library, and each module with its own."""
    libraries: dict[str, tuple[int, float]] = {}
    modules = []
    for found in re.finditer(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", text, re.MULTILINE):
        own, name = int(found[1]) / 1000, found[2]
        library = name.partition(".")[0]
        library = "standard library" if library in sys.stdlib_module_names or library == "site" else library
        count, total = libraries.get(library, (0, 0.0))
        libraries[library] = (count + 1, total + own)
        modules.append((own, name))
    return libraries, sorted(modules, reverse=True)


def show_imports(bench: Bench, words: Sequence[str]) -> None:
    """Print by library what one command imports, and the heaviest modules; the second run of two, which is compiled."""
    environment = {**bench.environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-X", "importtime", "-m", "buildsys", *words]
    for _ in range(2):
        done = subprocess.run(command, cwd=bench.folder, env=environment, capture_output=True, text=True, check=False)
    libraries, modules = imports(done.stderr)
    print(f"imports of `buildsys {' '.join(words)}`")
    for library, (count, total) in sorted(libraries.items(), key=lambda each: -each[1][1]):
        print(f"{total:8.1f} ms {count:4} modules  {library}")
    print("the heaviest modules")
    for own, name in modules[:25]:
        print(f"{own:8.1f} ms  {name}")


def about() -> dict[str, Any]:
    """Return when, of what and where this was measured."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "version": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "command": f"bench/start_up.py {' '.join(sys.argv[1:])}".strip(),
        "machine": {"cores": os.cpu_count(), "memory": pages, "load": round(os.getloadavg()[0], 2)},
        "python": sys.version.split()[0],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--against", metavar="REV", help="run this revision in the same rounds")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--json", action="store_true", help="print the document, no table")
    parser.add_argument("--imports", metavar="COMMAND", help="only print what a command imports")
    arguments = parser.parse_args()
    head = about()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="buildsys-start-up-")))
        bench = stack.enter_context(bench_in(folder))
        if arguments.imports is not None:
            show_imports(bench, arguments.imports.split())
            return
        trees = {"this": ROOT}
        if arguments.against:
            trees[arguments.against] = stack.enter_context(tree_of(arguments.against, folder))
        document = {**head, "rounds": arguments.rounds, **figures(measure(bench, trees, arguments.rounds))}
    if arguments.write:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        write_section("start-up", "start_up.py", section(document))
    print(json.dumps(document, indent=1) if arguments.json else table(document))


if __name__ == "__main__":
    main()
