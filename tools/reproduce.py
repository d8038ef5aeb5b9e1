#!/usr/bin/env python3
"""Bakes the debian family on a cold engine of its own, records every published byte, and compares with another record.

Two runs show that images are reproducible: with other host names and umasks, and at least 70 minutes apart.

    python3 tools/reproduce.py --name one --hostname host-one --umask 022 --sources SRC --out 1.json
    python3 tools/reproduce.py --name two --hostname host-two --umask 077 --sources SRC --out 2.json --against 1.json

`--sources` has the source archives of Open MPI 4.1.4 and UCX 1.13.1 that Debian 12 has, from
`apt-get source --download-only openmpi ucx`; a stand-in replaces the Miniconda installer. The tool needs root, for the
engine and for its own host name. It keeps the engine; `private_engine.py wipe --name NAME` removes it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from engine_instance import say
from machine_apt import Failure
from machine_settings import write_settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.published_bytes import Published, Scan, differences, read_published  # noqa: E402

_MINICONDA = "miniconda/Miniconda3-py312_25.1.1-2-Linux-x86_64.sh"
# The family, and a stack for Open MPI that is compiled against UCX, which the project has on Ubuntu only.
_TARGETS = ("debian", "debian12-ucx")
_STACK = """\
stacks:
  debian12-ucx: {layers: [debian-os: {release: 12}, ucx: {version: 1.13.1}, openmpi: {version: 4.1.4}]}
"""
_SERVED = ("https://download.open-mpi.org", "https://github.com", "https://repo.anaconda.com")
_OPENMPI, _UCX = "openmpi_4.1.4.orig.tar.xz", "ucx-1.13.1.tar"
_LEAST_MINUTES, _ATTEMPTS = 70, 3


def stand_ins(sources: Path, site: Path) -> dict[str, str]:
    """Write what is served to `site`; return the checksum of each file by its layer."""
    from tests.integration.standins.miniconda import write_installer

    found = {"miniconda": write_installer(site / _MINICONDA)}
    shutil.copy(sources / _OPENMPI, site / _OPENMPI)
    # Debian has renamed a folder that UCX needs to be configured.
    with tarfile.open(sources / "ucx_1.13.1.orig.tar.xz") as old, tarfile.open(site / _UCX, "w") as new:
        for entry in old:
            entry.name = re.sub(r"^([^/]+)/debian\.upstream\b", r"\1/debian", entry.name)
            new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
    return found | {
        layer: hashlib.sha256((site / name).read_bytes()).hexdigest()
        for layer, name in (("openmpi", _OPENMPI), ("ucx", _UCX))
    }


def write_project(tree: Path, folder: Path, sources: Path, site: Path) -> None:
    """Copy the project of `tree` with layers that expect files of `site`."""
    site.mkdir()
    for name in ("environments", "files", "layers", "schemas"):
        shutil.copytree(tree / name, folder / name)
    for name in ("stacks.yaml", "buildsys.lock"):
        shutil.copy(tree / name, folder / name)
    sums = stand_ins(sources, site)

    def edit(layer: str, change: Any) -> None:
        file = folder / "layers" / layer / "layer.yaml"
        value = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
        change(value)
        file.write_text(yaml.safe_dump(value), encoding="utf-8")

    def openmpi(value: Any) -> None:
        for each in value["flavours"]["source"]["downloads"]["source"]:
            if each.get("when") == {"version": "4.1.4"}:
                each |= {"url": f"{_SERVED[0]}/{_OPENMPI}", "sha256": sums["openmpi"]}

    def ucx(value: Any) -> None:
        value["parameters"]["version"]["values"].append("1.13.1")
        url = f"{_SERVED[1]}/{_UCX}"
        value["downloads"]["source"].insert(0, {"when": {"version": "1.13.1"}, "url": url, "sha256": sums["ucx"]})

    def miniconda(value: Any) -> None:
        for each in value["downloads"]["installer"]:
            if each["url"].endswith(_MINICONDA):
                each["sha256"] = sums["miniconda"]

    edit("openmpi", openmpi)
    edit("ucx", ucx)
    edit("miniconda", miniconda)
    stacks = (folder / "stacks.yaml").read_text(encoding="utf-8")
    (folder / "stacks.yaml").write_text(stacks.replace("\nstacks:\n", f"\n{_STACK}", 1), encoding="utf-8")


def fetch_from(site: Path, folder: Path) -> None:
    """Write settings of a project that fetch from a server of `site` what layers download."""
    settings = folder / "buildsys.settings.yaml"
    settings.unlink(missing_ok=True)
    write_settings(folder)
    known = yaml.safe_load(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    known |= {"downloads": dict.fromkeys(_SERVED, serve(site))}
    settings.write_text(yaml.safe_dump(known), encoding="utf-8")


def serve(folder: Path) -> str:
    """Serve a folder over HTTP on loopback until the process ends; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def engine(name: str, overlay: Path, *, resume: bool) -> dict[str, str]:
    """Start an engine and registry with Debian's base images; return the environment that uses them.

    They are emptied unless a run is resumed.
    """
    tool = [sys.executable, str(Path(__file__).with_name("private_engine.py"))]
    for words in (
        [] if resume else ["wipe"],
        ["start"],
        ["bootstrap", "debian:12", "debian:13", "--overlay", str(overlay)],
    ):
        if words:
            subprocess.run([*tool, *words, "--name", name], check=True, stdout=sys.stderr)
    done = subprocess.run([*tool, "status", "--json", "--name", name], check=True, capture_output=True, text=True)
    status = json.loads(done.stdout)
    path = f"{Path(status['home']) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**status["settings"], "PATH": path, "HOME_OF_ENGINE": status["home"]}


def bake(project: Path, environment: dict[str, str]) -> None:
    """Publish all images of the project; raises `Failure` if one is missing."""
    command = [sys.executable, "-m", "buildsys", "-C", str(project), "bake", "--push", "--keep-going", *_TARGETS]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BUILDSYS_")}
    child = {**inherited, **environment, "PYTHONPATH": str(ROOT)}
    # Downloads of hundreds of megabytes fail now and then; what exists is not rebuilt.
    for _ in range(_ATTEMPTS):
        if not subprocess.run(command, env=child, check=False, stdout=sys.stderr).returncode:
            return
    raise Failure("not everything was baked", "the messages above have the reasons; `--resume` continues")


def needles(began: float, environment: dict[str, str], project: Path, hostname: str) -> dict[str, bytes]:
    """Return what no published byte may have: days of the run, names of the host, paths of the build."""
    days = {datetime.fromtimestamp(each, UTC) for each in (began, time.time())}
    forms = ("%Y-%m-%d", "%Y%m%d", "%b %e %Y", "%e %b %Y", "%a %b %e", "%d/%m/%Y", "%m/%d/%Y")
    found = {f"date {day.strftime(form)}": day.strftime(form).encode() for day in days for form in forms}
    for name in {hostname, socket.gethostname()}:
        found[f"host name {name}"] = name.encode()
    paths = (str(project), environment["HOME_OF_ENGINE"])
    return found | {f"path {path}": path.encode() for path in paths}


def main(words: Sequence[str]) -> int:
    """Run one bake and, with `--against`, the comparison; return the exit code."""
    arguments = parse(words)
    os.umask(int(arguments.umask, 8))
    if socket.gethostname() != arguments.hostname:
        return in_own_namespace(arguments.hostname, words)
    revision = ["git", "-C", str(arguments.tree), "describe", "--always", "--abbrev=40", "--dirty"]
    began, head = time.time(), subprocess.run(revision, capture_output=True, text=True, check=True).stdout.strip()
    folder = arguments.folder / f"reproduce-{arguments.name}"
    project, site = folder / "project", folder / "site"
    if not arguments.resume:
        shutil.rmtree(folder, ignore_errors=True)
        project.mkdir(parents=True)
        write_project(arguments.tree, project, arguments.sources, site)
    environment = engine(arguments.name, project / "buildsys.lock.local", resume=arguments.resume)
    fetch_from(site, project)
    bake(project, environment)
    baked = time.time()
    timestamp = yaml.load((project / "buildsys.lock").read_text(encoding="utf-8"), yaml.BaseLoader)["timestamp"]
    latest = datetime.fromisoformat(timestamp).timestamp()
    scan = Scan(
        needles=needles(began, environment, project, arguments.hostname),
        compiled={f"path {path}": path.encode() for path in ("/source/", "/artifact/", "/tmp/.tmp")},
        seconds=(began, baked),
        latest=latest,
    )
    host, _, prefix = environment["BUILDSYS_REGISTRY"].partition("/")
    published = read_published(host, scan, f"{prefix}/")
    record = {
        "revision": head,
        "began": began,
        "seconds": round(baked - began),
        "hostname": socket.gethostname(),
        "umask": arguments.umask,
        **published.to_json(),
    }
    arguments.out.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
    say(f"{len(published.manifests)} tags, {len(published.layers)} layers; baked in {baked - began:.0f} s")
    lines = [f"finding: {each}" for each in published.findings]
    if arguments.against:
        lines += compare(record, json.loads(arguments.against.read_text(encoding="utf-8")))
    print("\n".join(lines) or "nothing differs, and nothing was found")
    return 1 if lines else 0


def compare(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    """Yield what makes two records no proof, and what differs between them."""
    minutes = abs(new["began"] - old["began"]) / 60
    if minutes < _LEAST_MINUTES:
        yield f"the runs began {minutes:.0f} minutes apart, expected {_LEAST_MINUTES}"
    for what in ("hostname", "umask"):
        if new[what] == old[what]:
            yield f"both runs have the {what} {new[what]}"
    if new["revision"] != old["revision"]:
        yield f"the runs are of two revisions: {old['revision'][:12]} and {new['revision'][:12]}"
    yield from differences(Published.from_json(old), Published.from_json(new))


def in_own_namespace(hostname: str, words: Sequence[str]) -> int:
    """Run this program again where the host has another name."""
    script = 'hostname "$1" && shift && exec "$@"'
    program = [sys.executable, str(Path(__file__).resolve()), *words]
    return subprocess.run(["unshare", "--uts", "sh", "-c", script, "sh", hostname, *program], check=False).returncode


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--name", default="reproduce", help="the private engine; it is emptied before")
    parser.add_argument("--hostname", required=True)
    parser.add_argument("--umask", default="022", help="in octal digits")
    parser.add_argument("--sources", type=Path, required=True, help="the folder with the source archives")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="where the copy of the project is written")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout whose layers are baked")
    parser.add_argument("--resume", action="store_true", help="build what a run of this name did not finish")
    parser.add_argument("--out", type=Path, required=True, help="the record that is written")
    parser.add_argument("--against", type=Path, help="the record of another run to compare with")
    arguments = parser.parse_args(words)
    if not re.fullmatch(r"0?[0-7]{3}", arguments.umask):
        parser.error(f"`{arguments.umask}` is not a umask, expected three octal digits")
    return arguments


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(f"error: {failure}" + (f"\nhint: {failure.hint}" if failure.hint else ""))
        sys.exit(failure.exit_code)
