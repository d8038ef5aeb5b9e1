"""Inventories of real nodes: what the step on the builder prints is what other ways to look find in the image."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from buildsys.inventory.step import dockerfile, read_printed
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.command_line import buildsys, on_real_parents, run, small_project

# What a container has over its image.
_OF_A_CONTAINER = ("dev", "proc", "sys", ".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab")
SYSTEM = """\
FROM base
ARG PACKAGES
RUN useradd --uid 1234 --create-home someone && install -m 6755 -o 1234 -g 50 /bin/true /usr/bin/as-others && \\
    mkdir -p /opt/lib/x-1.0.dist-info /opt/c/conda-meta && ln /usr/bin/as-others /opt/second && \\
    printf 'Name: x\\nVersion: 1.0\\nLicense: MIT\\n\\ntext' >/opt/lib/x-1.0.dist-info/METADATA && \\
    echo '{"name": "y", "version": "2", "build": "0", "license": "BSD"}' >/opt/c/conda-meta/y-2-0.json && \\
    touch "/opt/$(printf 'new\\nline \\\\ \\377')" && mkfifo /opt/pipe && ln -s nowhere /opt/dangling
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return on_real_parents(small_project(tmp_path / "project", {"layers/dist/Dockerfile": SYSTEM}))


@pytest.fixture
def prefix(registry: str) -> str:
    return f"{registry}/inventory-{uuid4().hex[:12]}"


def shown(project: Path, prefix: str, name: str) -> dict[str, Any]:
    done = buildsys(project, "inventory", name, "--json", BUILDSYS_REGISTRY=prefix)
    assert done.code == 0, done.output
    (found,) = json.loads(done.stdout)["targets"]
    return dict(found)


def reference(project: Path, prefix: str, name: str) -> Reference:
    plan = json.loads(buildsys(project, "plan", "--json", BUILDSYS_REGISTRY=prefix).stdout)
    key = next(node["key"] for node in plan["nodes"] if node["name"] == name)
    return Reference.parse(f"{prefix}/nodes:{key}")


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parents
def test_inventory_of_a_system_is_what_its_own_tools_report_and_what_its_layers_hold(
    project: Path, prefix: str
) -> None:
    done = buildsys(project, "bake", "img", "--push", BUILDSYS_REGISTRY=prefix)
    assert done.code == 0, done.output
    found, image = shown(project, prefix, "dist"), reference(project, prefix, "dist")

    def inside(*words: str) -> str:
        done = run(project, "docker", "run", "--rm", "--network", "none", str(image), *words)
        assert done.code == 0, done.output
        return done.stdout

    listed = inside(
        "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package}\n"
    )
    assert {
        f"installed {each['name']} {each['version']} {each['architecture']} {each['source']}"
        for each in found["packages"]
        if each["type"] == "deb"
    } == {line for line in listed.splitlines() if line.startswith("installed ")}
    assert [
        (each["name"], each["version"], each["licence"]) for each in found["packages"] if each["type"] != "deb"
    ] == [
        ("y", "2", "BSD"),
        ("x", "1.0", "MIT"),
    ]
    raw = inside(
        "find", "/", "-xdev", "-mindepth", "1", "-not", "-name", "new?line*", "-printf", "%P %y %m %U %G %s %l\\n"
    )
    expected = {line for line in raw.splitlines() if not line.startswith(_OF_A_CONTAINER)}
    paths = {line.split(" ")[0] for line in expected}
    ours = {entry[0]: entry for entry in found["paths"] if not entry[0].startswith((*_OF_A_CONTAINER, "opt/new\n"))}
    assert {*ours} == paths
    for line in expected:
        path, kind, mode, user, group, size, target = line.split(" ", 6)
        last = [int(size)] if kind == "f" else [target] if kind == "l" else []
        assert ours[path] == [path, kind, mode, int(user), int(group), *last]
    assert "opt/new\nline \\\\ \\xff" in {entry[0] for entry in found["paths"]}
    assert {"usr/bin/as-others", "opt/second"} <= {*found["privileged"]}

    # Read once more out of the pushed layers, after what the step found was deleted.
    with Registry() as client:
        assert client.delete(image.with_tag(f"inventory-{image.tag}"))
    missing = buildsys(project, "inventory", "dist", BUILDSYS_REGISTRY=prefix)
    assert missing.code == 5
    assert "buildsys inventory --fill dist" in missing.stderr
    filled = buildsys(project, "inventory", "--fill", BUILDSYS_REGISTRY=prefix)
    assert filled.code == 0, filled.output
    assert filled.stdout.startswith("dist: stored, ")
    assert shown(project, prefix, "dist") == found
    assert "no inventory is missing" in buildsys(project, "inventory", "--fill", BUILDSYS_REGISTRY=prefix).stdout


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parents
def test_helper_of_the_lock_that_lists_nothing_leaves_the_pushed_layers(project: Path, prefix: str) -> None:
    digest = f"sha256:{'0' * 64}"
    overlay = project / "buildsys.lock.local"
    host = prefix.partition("/")[0]
    overlay.write_text(f"{overlay.read_text()}helper: {host}/missing/image@{digest}\n")
    done = buildsys(project, "bake", "img", "--push", "--progress", "plain", BUILDSYS_REGISTRY=prefix)
    assert done.code == 0, done.output
    assert done.stderr.count("no image can list what nodes hold") == 1
    assert ["opt/conf/conf", "f", "644", 0, 0, 4] in shown(project, prefix, "img")["paths"]


def test_script_prints_what_the_reader_reads(tmp_path: Path) -> None:
    """The command of the step is run here, on a folder in the place of `/node`."""
    node, result = tmp_path / "node", tmp_path / "inventory"
    (node / "var/lib/dpkg").mkdir(parents=True)
    (node / "var/lib/dpkg/status").write_text("Package: bash\nStatus: install ok installed\nVersion: 5.2-1\n")
    (node / "o/x-1.dist-info").mkdir(parents=True)
    # Longer than what is read of one.
    (node / "o/x-1.dist-info/METADATA").write_text("Name: x\nVersion: 1\n\n" + "long " * 20_000)
    (node / "odd\nname").write_text("x")
    (node / "link").symlink_to("o")
    line = next(line for line in dockerfile(timestamp=1_700_000_000).splitlines() if line.startswith("RUN"))
    script = json.loads(line[line.index("[") :])[2].replace("/node", str(node)).replace("/inventory", str(result))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    found = read_printed(result.read_bytes())
    assert {"odd\nname", "link", "o/x-1.dist-info/METADATA", "var/lib/dpkg/status"} < {*found.entries}
    names = [(each.type, each.name, each.version) for each in found.packages]
    assert names == [("deb", "bash", "5.2-1"), ("pypi", "x", "1")]
