"""Plans beyond the limits of bake and BuildKit are reported before anything starts."""

from __future__ import annotations

from buildsys.plan.limits import MOST_LAYERS, Excess, excess
from tests.support.trees import FAST, planned, tree

SYSTEM = "description: d\nkind: system\nlicence: l\n"
NEEDS = "FROM base\n"


def rows(width: int, rows: int) -> dict[str, str]:
    """Return a project whose artifacts of each row need all of the row before: every path through it counts."""
    files = tree("")
    layers = []
    for row in range(rows):
        for column in range(width):
            name = f"a{row}x{column}"
            after = [f"a{row - 1}x{each}" for each in range(width)] if row else []
            files[f"layers/{name}/layer.yaml"] = (
                f"description: d\nkind: artifact\nlicence: l\nprefix: /opt/{name}\nafter: [{', '.join(after)}]\n"
            )
            copies = "".join(f"COPY --from={each} / /\n" for each in after)
            files[f"layers/{name}/Dockerfile"] = (
                f"FROM toolchain AS build\n{copies}RUN make\nFROM scratch\nCOPY --from=build /out /\n"
            )
            layers.append(name)
    files["stacks.yaml"] = f"stacks:\n  one: {{layers: [system, {', '.join(layers)}]}}\n"
    return files


def found(files: dict[str, str], *, linked: bool = True, existing: tuple[str, ...] = ()) -> Excess:
    plan = planned(files)
    targets = [*(node.name for node in plan.nodes), *(stack.name for stack in plan.stacks)]
    references = dict.fromkeys(existing, "r@sha256:1")
    return excess(plan, targets, references, files, linked=linked)


def test_small_project_exceeds_nothing() -> None:
    assert found(tree("stacks:\n  one: {layers: [system, fast]}\n")) == Excess()


def test_paths_of_a_diamond_are_counted_not_its_targets() -> None:
    files = rows(3, 13)
    # Each artifact links to its toolchain and to all of the row before; the image to all of them and to its system.
    ways = [1]
    while len(ways) < 13:
        ways.append(3 * ways[-1] + 1)
    [diagnostic] = found(files).diagnostics
    assert diagnostic.message.startswith(f"the links of `one` form {3 * sum(ways) + 1} paths")
    # What is taken by its digest is no link.
    assert found(files, linked=False).diagnostics == ()


def test_file_with_unknown_checksum_is_not_fetched() -> None:
    fast = FAST + 'downloads: {source: {url: "https://example.com/{version}", sha256: unknown, reason: unpublished}}\n'
    files = tree("stacks:\n  one: {layers: [system, fast]}\n", fast=fast)
    declared = "FROM scratch AS s\nARG SOURCE_URL\nARG SOURCE_SHA256\n"
    fetch = f"{declared}ADD --checksum=sha256:${{SOURCE_SHA256}} ${{SOURCE_URL}} /s\n"
    files["layers/fast/Dockerfile"] = fetch + files["layers/fast/Dockerfile"]
    [diagnostic] = found(files).diagnostics
    assert diagnostic.message.endswith("fetches `https://example.com/1.0`, whose checksum is unknown: unpublished")
    assert str(diagnostic.location).startswith("layers/fast/layer.yaml:")
    # What exists is not fetched again, the Dockerfile may look in another way, and the lock may know the checksum.
    name = next(node.name for node in planned(files).nodes if node.recipe.layer == "fast")
    plan = planned(files)
    others = [each.name for each in plan.nodes if each.name != name]
    assert excess(plan, others, {}, files, linked=True).diagnostics == ()
    other = fetch.replace("sha256:${SOURCE_SHA256}", "${SOURCE_SHA256:+sha256:$SOURCE_SHA256}")
    dockerfile = files["layers/fast/Dockerfile"].replace(fetch, other)
    assert found({**files, "layers/fast/Dockerfile": dockerfile}).diagnostics == ()
    locked = f'downloads: {{"https://example.com/1.0": {{sha256: {"a" * 64}, size: 1}}}}\n'
    assert found({**files, "buildsys.lock": files["buildsys.lock"] + locked}).diagnostics == ()


def test_depth_is_a_warning() -> None:
    deep = found(rows(1, 31))
    assert deep.diagnostics == ()
    assert len(deep.warnings) == 1
    assert "32 links deep" in deep.warnings[0]


def test_text_of_everything_linked_counts_once_on_a_diamond() -> None:
    files = rows(2, 3)
    # BuildKit reads no line of more than 64 KiB.
    long = "RUN make\n" + f"# {'x' * 60_000}\n" * 70
    for name in ("a0x0", "a0x1"):
        files[f"layers/{name}/Dockerfile"] = files[f"layers/{name}/Dockerfile"].replace("RUN make\n", long)
    [first, *_] = found(files).diagnostics
    assert "and of everything that it links to have 8 MB" in first.message
    assert found(files, linked=False).diagnostics == ()


def test_layers_of_an_image_are_counted() -> None:
    files = tree("stacks:\n  one: {layers: [system, fast]}\n")
    many = "FROM base\nARG RELEASE\n" + "RUN true\n" * MOST_LAYERS
    files["layers/system/Dockerfile"] = many
    assert f"`one` has {MOST_LAYERS + 1} layers in addition to its parent's" in found(files).diagnostics[0].message
    files["layers/system/Dockerfile"] = many.replace("RUN true\n" * MOST_LAYERS, "RUN true\n" * 100)
    assert found(files).diagnostics == ()
    assert "`one` has 101 layers" in found(files).warnings[0]
