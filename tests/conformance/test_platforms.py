"""examples/platforms and the shipped layers: packages, downloads and wheels for linux/arm64 are chosen by the plan."""

from __future__ import annotations

from pathlib import Path

from buildsys.bake.targets import BAKE_FILE, plan_definition
from buildsys.commands.plan import make_plan
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.node import Node

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "platforms"
BOTH = "platforms: [linux/amd64, linux/arm64]"
GPU = f"stacks:\n  learning: {{layers: [debian-os, git, cuda-runtime: {{nvcc: true}}], {BOTH}}}\n"


def by_platform(plan: Plan, layer: str) -> dict[str, Node]:
    return {node.platform: node for node in plan.nodes if node.recipe.layer == layer}


def test_the_bake_file_of_the_example_is_what_the_plan_says() -> None:
    plan = make_plan(Workspace(root=EXAMPLE).tree())
    assert (EXAMPLE / BAKE_FILE).read_text(encoding="utf-8") == plan_definition(plan).to_hcl()


def test_example_differs_by_platform_in_packages_and_downloads() -> None:
    plan = make_plan(Workspace(root=EXAMPLE).tree())
    assert {name: node.packages for name, node in by_platform(plan, "debian").items()} == {
        "linux/amd64": ("ca-certificates", "cpuid", "numactl"),
        "linux/arm64": ("ca-certificates", "numactl"),
    }
    files = {name: node.downloads[0] for name, node in by_platform(plan, "uv").items()}
    assert files["linux/amd64"].url.endswith("x86_64.whl")
    assert files["linux/arm64"].url.endswith("aarch64.whl")
    assert files["linux/amd64"].sha256 != files["linux/arm64"].sha256
    assert plan.groups["uv"] == ("uv-amd64", "uv-arm64")


def test_wheels_of_the_shipped_cuda_runtime_are_those_of_the_platform() -> None:
    tree = {**Workspace(root=ROOT).tree(), "stacks.yaml": GPU}
    nodes = by_platform(make_plan(tree), "cuda-runtime")
    wheels = {name: dict(node.arguments)["REQUIREMENTS"].split("\n") for name, node in nodes.items()}
    names = {name: sorted(line.partition(" ")[0] for line in lines) for name, lines in wheels.items()}
    assert names["linux/amd64"] == names["linux/arm64"]
    assert len(names["linux/arm64"]) == 6
    # Each wheel has a checksum of its own.
    assert {*wheels["linux/amd64"]}.isdisjoint(wheels["linux/arm64"])


def test_second_platform_changes_no_name_and_no_argument_of_the_shipped_nodes() -> None:
    tree = Workspace(root=ROOT).tree()
    both = make_plan({**tree, "stacks.yaml": GPU})
    one = make_plan({**tree, "stacks.yaml": GPU.replace(", linux/arm64", "")})
    old = {node.name: node for node in one.nodes}
    assert {name: node.arguments for name, node in old.items()} == {
        node.name: node.arguments for node in both.nodes if node.platform == "linux/amd64"
    }
