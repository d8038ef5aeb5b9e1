"""What a layer is on one platform: values, packages, downloads, checks, and the layers of a stack themselves."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.keyed import all_keys, keyed
from tests.support.trees import FAST, diagnostics, on_two_platforms, planned, tree

PLATFORMS = "platforms: [linux/amd64, linux/arm64]"
SUMS = {"amd64": "4" * 64, "arm64": "5" * 64}
DOWNLOADS = "downloads:\n  tool:\n" + "".join(
    f"    - when: {{platform: linux/{arch}}}\n      url: 'https://example.com/{{version}}/{{platform|machine}}'\n"
    f"      sha256: '{digest}'\n"
    for arch, digest in SUMS.items()
)
FAST_DOCKERFILE = """\
FROM scratch AS download
ARG TOOL_URL
ARG TOOL_SHA256
ADD --checksum=sha256:${TOOL_SHA256} ${TOOL_URL} /tool
FROM toolchain AS build
ARG VERSION
ARG FLAGS
RUN make
FROM scratch
COPY --from=build /artifact /
"""


def project(*, stacks: str = "", fast: str = "", system: str = "") -> dict[str, str]:
    """Return the project with a stack `one` for two platforms, texts added to two of its layers."""
    found = on_two_platforms()
    found["stacks.yaml"] = stacks or found["stacks.yaml"]
    found["layers/fast/layer.yaml"] += fast
    if "downloads" in fast:
        found["layers/fast/Dockerfile"] = FAST_DOCKERFILE
    found["layers/system/layer.yaml"] += system
    return found


def place(files: Mapping[str, str], text: str) -> str:
    """Return the place of the only diagnostic, whose message begins with a text."""
    [(at, message, _)] = diagnostics(files)
    assert message.startswith(text), message
    return at


def test_packages_and_arguments_are_those_of_the_platform() -> None:
    packages = "packages: [{names: ['kernel-{platform|arch}']}, {when: {platform: linux/arm64}, names: [numa]}]\n"
    files = project()
    files["layers/system/layer.yaml"] = files["layers/system/layer.yaml"].replace(
        "packages: [{names: [zip, base-files]}]\n", packages
    )
    nodes = {node.name: dict(node.arguments)["PACKAGES"] for node in planned(files).nodes if node.packages}
    assert nodes == {"system-1": "kernel-amd64", "system-1-arm64": "kernel-arm64 numa"}


def test_download_has_the_address_and_the_checksum_of_the_platform() -> None:
    nodes = planned(project(fast=DOWNLOADS)).nodes
    found = {each.platform: node for node in nodes for each in [node] if node.downloads}
    assert {platform: [(each.url, each.sha256) for each in node.downloads] for platform, node in found.items()} == {
        "linux/amd64": [("https://example.com/1.0/x86_64", SUMS["amd64"])],
        "linux/arm64": [("https://example.com/1.0/aarch64", SUMS["arm64"])],
    }


def test_default_of_a_platform_takes_the_place_of_the_default_and_of_no_value_of_a_stack() -> None:
    fast = FAST.replace("type: words, default: []", "default: base, platform_defaults: {linux/arm64: neon}")
    stacks = (
        f"stacks:\n  one: {{layers: [system, fast], {PLATFORMS}}}\n"
        f"  two: {{layers: [system, fast: {{flags: own}}], {PLATFORMS}}}\n"
    )
    files = project(stacks=stacks)
    files["layers/fast/layer.yaml"] = f"{fast}{PLATFORMS}\n"
    nodes = {node.name: dict(node.arguments)["FLAGS"] for node in planned(files).nodes if node.recipe.layer == "fast"}
    assert {name: flags for name, flags in nodes.items() if flags != "own"} == {
        "fast-1_0-tools-1": "base",
        "fast-1_0-tools-1-arm64": "neon",
    }
    assert sorted(nodes.values()) == ["base", "neon", "own", "own"]


def test_check_for_one_platform_leaves_the_others() -> None:
    check = "checks: [{when: {platform: linux/arm64}, needs: {fast.version: '>=2'}, message: m}]\n"
    assert place(project(fast=check), "layer `fast` 1.0 needs `fast` version >=2") == "stacks.yaml:2:26"
    amd64 = project(fast=check, stacks="stacks:\n  one: {layers: [system, fast]}\n")
    assert diagnostics(amd64) == []


def test_settings_of_the_image_are_those_of_the_platform() -> None:
    system = "labels: {machine: '{platform|machine}'}\n"
    images = planned(project(system=system)).stacks
    assert {each.platform: each.config.labels["machine"] for each in images} == {
        "linux/amd64": "x86_64",
        "linux/arm64": "aarch64",
    }


def test_stack_has_a_layer_on_one_platform_and_another_version_on_each() -> None:
    stacks = (
        f"stacks:\n  one:\n    {PLATFORMS}\n    layers:\n      - system\n"
        "      - fast: 2.0\n        when: {platform: linux/amd64}\n"
        "      - fast: 3.0\n        when: {platform: linux/arm64}\n"
        "      - more: {}\n        when: {platform: linux/amd64}\n"
    )
    files = project(stacks=stacks)
    more = tree(more=FAST.replace("/opt/fast", "/opt/more"))
    files |= {path: text for path, text in more.items() if path.startswith("layers/more/")}
    images = {each.platform: each for each in planned(files).stacks}
    assert {
        platform: [(layer.name, layer.parameters.get("version")) for layer in image.layers[1:]]
        for platform, image in images.items()
    } == {"linux/amd64": [("fast", "2.0"), ("more", "1.0")], "linux/arm64": [("fast", "3.0")]}


def test_layer_listed_for_all_platforms_and_for_one_is_listed_twice_there() -> None:
    stacks = (
        f"stacks:\n  one:\n    {PLATFORMS}\n    layers:\n      - system\n      - fast\n"
        "      - fast: 3.0\n        when: {platform: linux/arm64}\n"
    )
    assert place(project(stacks=stacks), "stack `one` lists layer `fast` twice") == "stacks.yaml:7:9"


def test_own_packages_and_variables_of_a_family_follow_the_platform() -> None:
    stacks = (
        f"families:\n  f:\n    description: d\n    name: 'f{{n}}'\n    {PLATFORMS}\n    layers: [system]\n"
        "    packages: [{when: {platform: linux/arm64, n: 1}, names: ['numa-{platform|arch}']}]\n"
        "    environment: [{when: {platform: linux/amd64}, set: {ONLY: amd64}}]\n    matrix: [{n: [1, 2]}]\n"
    )
    plan = planned(project(stacks=stacks))
    own = {node.platform: node.packages for node in plan.nodes if node.recipe.layer == "stack-packages"}
    assert own == {"linux/arm64": ("numa-arm64",)}
    variables = {each.name: [one.name for one in each.environment] for each in plan.stacks}
    assert variables["f1-amd64"] == ["LANG", "ONLY"]
    assert variables["f1-arm64"] == ["LANG"]


def test_own_commands_and_files_of_a_row_are_nodes_of_each_platform() -> None:
    stacks = (
        f"families:\n  f:\n    description: d\n    name: 'f{{n}}'\n    {PLATFORMS}\n    layers: [system]\n"
        "    matrix:\n      - n: 1\n        run: echo $TARGETARCH\n        files: {/srv/a: a}\n"
        "        environment: [{when: {platform: linux/arm64}, set: {ONLY: '{platform|arch}'}}]\n      - {n: 2}\n"
    )
    plan = planned({**project(stacks=stacks), "a": "a"})
    own = [(node.recipe.layer, node.platform) for node in plan.nodes if node.recipe.layer.startswith("stack-")]
    both = ("linux/amd64", "linux/arm64")
    assert sorted(own) == [(layer, each) for layer in ("stack-commands", "stack-files") for each in both]
    assert all("ARG TARGETARCH" in node.generated for node in plan.nodes if node.recipe.layer == "stack-commands")
    assert {each.name: [one.value for one in each.environment if one.name == "ONLY"] for each in plan.stacks} == {
        "f1-amd64": [],
        "f1-arm64": ["arm64"],
        "f2-amd64": [],
        "f2-arm64": [],
    }


def test_stack_that_extends_another_keeps_its_layers_by_platform() -> None:
    stacks = (
        "stacks:\n  first:\n    layers:\n      - system\n      - fast: 2.0\n        when: {platform: linux/amd64}\n"
        "      - fast: 3.0\n        when: {platform: linux/arm64}\n"
        f"  one: {{extends: first, {PLATFORMS}}}\n"
        f"  two:\n    extends: first\n    {PLATFORMS}\n    layers:\n      - fast: 4.0\n"
        "        when: {platform: linux/arm64}\n"
    )
    plan = planned(project(stacks=stacks))
    versions = {each.name: each.layers[1].parameters["version"] for each in plan.stacks}
    assert versions == {"first": "2.0", "one-amd64": "2.0", "one-arm64": "3.0", "two-amd64": "2.0", "two-arm64": "4.0"}


def test_added_platform_changes_no_key_of_the_others() -> None:
    packages = "tests: [{run: x, when: {platform: linux/arm64}}]\n"
    both = project(fast=DOWNLOADS, system=packages)
    before = both | {"stacks.yaml": "stacks:\n  one: {layers: [system, fast]}\n"}
    for path in ("layers/system/layer.yaml", "layers/tools/layer.yaml"):
        before[path] = before[path].replace(PLATFORMS, "platforms: [linux/amd64]").replace(packages, "")
    old, new = all_keys(keyed(before)[1]), all_keys(keyed(both)[1])
    nodes = [node.name for node in planned(before).nodes]
    assert {name: old[name] for name in nodes} == {name: new[name] for name in nodes}
    assert old["one"] == new["one-amd64"]


@pytest.mark.parametrize(
    ("fast", "message", "at"),
    [
        ("tests: [{run: x, when: {platform: linux/arm46}}]\n", "`linux/arm46` is never a value of `platform`", "35"),
        ("tests: [{run: x, when: {platform: arm64}}]\n", "`arm64` is never a value of `platform`", "35"),
        ("tests: [{run: x, expect: '{version|arch}'}]\n", "`arch` is a filter of `platform` alone", "36"),
        ("tests: [{run: x, expect: '{platform|bits}'}]\n", "`bits` is not a filter", "37"),
    ],
)
def test_platform_that_a_layer_does_not_have_is_reported_at_its_place(fast: str, message: str, at: str) -> None:
    assert place(project(fast=fast), message) == f"layers/fast/layer.yaml:11:{at}"


def test_parameter_and_variable_named_platform_are_refused() -> None:
    files = project()
    files["layers/fast/layer.yaml"] = files["layers/fast/layer.yaml"].replace("  flags:", "  platform:")
    found = {(at, message) for at, message, _ in diagnostics(files)}
    assert ("layers/fast/layer.yaml:8:3", "`platform` is reserved") in found
    stacks = (
        "families:\n  f:\n    description: d\n    name: 'f{platform}'\n    layers: [system]\n"
        "    matrix: [{platform: [a, b]}]\n"
    )
    assert place(project(stacks=stacks), "`platform` is reserved") == "stacks.yaml:6:15"


@pytest.mark.parametrize(
    ("stacks", "message", "at"),
    [
        (
            f"stacks:\n  one:\n    {PLATFORMS}\n    layers:\n      - system\n      - fast: 2.0\n"
            "        when: {platform: linux/riscv64}\n",
            "no stack with this layer is for `linux/riscv64`",
            "7:26",
        ),
        (
            f"stacks:\n  one:\n    {PLATFORMS}\n    layers:\n      - system\n      - fast: 2.0\n"
            "        when: {platform: [linux/arm64, arm]}\n",
            "`arm`: expected a platform",
            "7:40",
        ),
        (
            "stacks:\n  one:\n    layers: [system]\n    packages: [{when: {platform: linux/arm64}, names: [x]}]\n",
            "no stack with this is for `linux/arm64`",
            "4:34",
        ),
        (
            f"families:\n  f:\n    description: d\n    name: 'f{{n}}'\n    {PLATFORMS}\n    layers: [system]\n"
            "    matrix: [{n: 1, packages: [{when: {platform: linux/riscv64}, names: [x]}]}]\n",
            "no stack with this is for `linux/riscv64`",
            "7:50",
        ),
        (
            f"families:\n  f:\n    description: d\n    name: 'f{{n}}'\n    {PLATFORMS}\n    layers: [system]\n"
            "    packages: [{when: platform, names: [x]}]\n    matrix: [{n: 1}]\n",
            "no row of the matrix has the variable `platform`",
            "7:23",
        ),
    ],
)
def test_platform_that_no_stack_has_is_reported_at_its_place(stacks: str, message: str, at: str) -> None:
    assert place(project(stacks=stacks), message) == f"stacks.yaml:{at}"


def test_platform_without_a_download_is_reported_with_the_platform() -> None:
    one = DOWNLOADS.partition("    - when: {platform: linux/arm64}")[0]
    files = project(fast=one)
    found = place(files, "layer `fast` has no download `tool` for `platform: linux/arm64`")
    assert found == "layers/fast/layer.yaml:11:1"


def test_lock_must_have_the_checksum_of_each_platform() -> None:
    fast = "downloads:\n  tool: {url: 'https://example.com/{platform|arch}', sha256: locked}\n"
    files = project(fast=fast)
    missing = [f"`buildsys.lock` has no checksum of `https://example.com/{each}`" for each in SUMS]
    assert [message.partition(", the")[0] for _, message, _ in diagnostics(files)] == missing
    locked = "".join(f"  'https://example.com/{each}': {{sha256: '{SUMS[each]}', size: 3}}\n" for each in SUMS)
    files["buildsys.lock"] += f"downloads:\n{locked}"
    found = {node.platform: node.downloads[0].sha256 for node in planned(files).nodes if node.downloads}
    assert found == {"linux/amd64": SUMS["amd64"], "linux/arm64": SUMS["arm64"]}


def test_one_checksum_for_the_files_of_two_platforms_is_an_error() -> None:
    address = "https://example.com/{platform|arch}"
    one = f"downloads: {{tool: {{url: '{address}', sha256: '{SUMS['amd64']}'}}}}\n"
    assert "have one checksum" in diagnostics(project(fast=one))[0][1]


def test_toolchain_of_another_platform_is_an_error() -> None:
    files = project()
    files["layers/tools/layer.yaml"] = files["layers/tools/layer.yaml"].replace(", linux/arm64", "")
    message = "artifacts are built on the toolchain `tools`, which is not for `linux/arm64`"
    assert place(files, message) == "layers/tools/layer.yaml:7:13"


def test_default_for_a_platform_that_the_layer_does_not_have_is_an_error() -> None:
    files = project()
    files["layers/fast/layer.yaml"] = files["layers/fast/layer.yaml"].replace(
        "type: words, default: []", "platform_defaults: {linux/riscv64: x}, default: y"
    )
    assert place(files, "the layer is not for `linux/riscv64`") == "layers/fast/layer.yaml:8:64"
