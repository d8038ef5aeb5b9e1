"""The benchmark's pure parts: what it builds, what it counts, and what it says came out."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import family
import many_stacks
import overhead
from bootstrap_debian import Layer
from buildsys.commands.plan import make_plan
from buildsys.events.events import StepEnded, line_of
from compare.about import heading, replaced
from compare.measure import read_stat, ticks_below
from compare.page import section, summary
from compare.parent import CHANGED, changed_layer
from compare.results import Run, goals, ratio
from compare.scenarios import BARE, COMPILED, chosen, full, quick
from compare.ways import SHIPPED, executed_events, executed_raw, words_of
from compare.wheels import pins, sources
from compare.workload import COMPILE_MARK, FIXED_PACKAGE, World, fragment, project_files, rival_files, rival_script

DIGEST = f"sha256:{'a' * 64}"
OVERLAY = "version: 1\nparents:\n" + "".join(
    f"  {name}:\n    reference: 127.0.0.1:1/debian\n    digest: {DIGEST[:-2]}{name[-2:]}\n"
    for name in ("debian-12", "debian-13", "toolchain-debian-12", "toolchain-debian-13")
)
LATER = "2026-01-01T00:00:10Z"
RUN = Run(
    part=COMPILED,
    scenario="cold",
    way="d",
    round=1,
    seconds=100.0,
    engine=150.0,
    client=3.0,
    pulled=0,
    pushed=10,
    requests=5,
    disk=1000,
    runs=8,
    distinct=8,
    compiles=2,
    sum=1000,
    unique=350,
    registry=500,
)


def rivals(world: World) -> dict[str, str]:
    shipped = {
        path.relative_to(SHIPPED).as_posix(): path.read_text(encoding="utf-8")
        for path in SHIPPED.rglob("*")
        if path.is_file()
    }
    files = project_files(shipped, world)
    plan = make_plan({**files, "buildsys.lock.local": OVERLAY}, overlay=True)
    return dict(rival_files(plan, files, "127.0.0.1:1/bench", "127.0.0.1:1/mirrors", "http://10.0.0.1:1/"))


def changed(before: World, after: World) -> set[str]:
    """Return the images whose Dockerfile differs between two worlds, or is new."""
    old, new = rivals(before), rivals(after)
    return {name.removesuffix(".Dockerfile") for name in new if name.endswith("file") and new[name] != old.get(name)}


def test_there_are_eight_images_and_each_compiles() -> None:
    files = rivals(World())
    names = sorted(name.removesuffix(".Dockerfile") for name in files if name.endswith(".Dockerfile"))
    plain = [f"debian{release}{more}" for release in (12, 13) for more in ("", "-develop")]
    assert names == sorted([*plain, *(f"debian{r}-cuda12.9{more}" for r in (12, 13) for more in ("", "-develop"))])
    assert all(files[f"{name}.Dockerfile"].count(f"<<END\n{COMPILE_MARK}\n") == 1 for name in names)
    assert not any(COMPILE_MARK in text for text in rivals(World(mpi="none")).values())


def test_fix_changes_four_dockerfiles_and_only_their_packages() -> None:
    assert changed(World(), World(fixed=True)) == {
        f"debian12{gpu}{more}" for gpu in ("", "-cuda12.9") for more in ("", "-develop")
    }
    before, after = (rivals(World(fixed=fixed))["debian12.Dockerfile"].splitlines() for fixed in (False, True))
    different = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(different) == 1
    assert set(different[0][1].split()) - set(different[0][0].split()) == {FIXED_PACKAGE}


def test_bump_changes_all_images_and_an_added_stack_none() -> None:
    assert len(changed(World(), World(prefix=2))) == 8
    assert changed(World(), World(added=True)) == {"added"}


def test_stage_of_cuda_is_the_same_in_all_images_that_have_it() -> None:
    files = rivals(World())
    stages = {text.split("\n\n")[2] for name, text in files.items() if "cuda" in name}
    assert len(stages) == 1
    assert "destination=/artifact" in stages.pop()


def test_rival_installs_to_the_final_place_and_keeps_what_its_caches_hold() -> None:
    text = "FROM a\nRUN --mount=type=bind <<END\nset -eu\ndestination=/artifact\npip download --no-cache-dir x\nEND\n"
    script = rival_script(fragment(text), {"WORD": "a b"})
    assert script == ("set -eu", "WORD='a b'", "destination=", "pip download x")
    assert rival_script(fragment(text), {}, apart=True)[1] == "destination=/artifact"
    apt = ("set -eu", "apt-get update", "apt-get clean", "rm -rf /var/lib/apt/lists/* /var/cache/apt/*")
    assert rival_script(apt, {}) == ("set -eu", "apt-get update")


def test_layer_with_two_scripts_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 2"):
        fragment("RUN <<END\nEND\nRUN <<END\nEND\n")


def test_every_rival_image_has_a_cache_of_its_own() -> None:
    targets = json.loads(rivals(World())["docker-bake.json"])["target"]
    written = [each["cache-to"][0].partition(",mode=max")[0] for each in targets.values()]
    assert len(set(written)) == len(targets) == 8
    assert [each["cache-from"][0] for each in targets.values()] == written
    call = words_of("a", {"debian12": "debian12"}, "127.0.0.1:1/bench")[0]
    assert targets["debian12"]["cache-to"][0] in call
    assert targets["debian12"]["cache-from"][0] in call


def test_everything_that_is_fetched_has_a_checksum() -> None:
    text = (SHIPPED / "layers" / "mpi" / "layer.yaml").read_text(encoding="utf-8")
    assert [path.rpartition("/")[2] for path, _ in sources(text)] == [
        "ucx_1.13.1.orig.tar.xz",
        "openmpi_4.1.4.orig.tar.xz",
    ]
    assert text.count("url:") == len(sources(text))
    named = [name for layer in sorted(SHIPPED.glob("layers/*/layer.yaml")) for name, _ in pins(layer.read_text())]
    assert named == ["nvidia-cuda-runtime-cu12", "nvidia-nccl-cu12", "numpy", "scipy", "numpy", "scipy"]
    image = rivals(World())["debian12.Dockerfile"]
    assert f"ADD --checksum=sha256:{sources(text)[0][1]} http://10.0.0.1:1/{sources(text)[0][0]} /source.tar" in image


def test_ticks_are_those_of_the_daemons_and_all_below_each_once() -> None:
    stat = "12 (a (b) c) S 7 1 1 0 -1 4194560 5 6 7 8 100 20 3 4 20 0 1 0 99"
    assert read_stat(stat) == (7, 127)
    processes = {1: (0, 5), 10: (1, 100), 11: (10, 10), 12: (11, 1), 20: (1, 1000)}
    assert ticks_below([10], processes) == 111
    assert ticks_below([10, 12, 99], processes) == 111


def test_step_is_counted_if_it_ran_to_its_good_end() -> None:
    def line(digest: str, name: str, **more: object) -> str:
        return json.dumps({"vertexes": [{"digest": digest, "name": name, **more}]})

    times = {"started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:09Z"}
    raw = "\n".join(
        [
            line("sha256:1", f"[debian12 2/4] RUN --mount=x <<END ({COMPILE_MARK}...)", **times),
            line("sha256:2", "[debian12 3/4] RUN true", **times, cached=True),
            line("sha256:3", "[debian12 4/4] RUN false", **times, error="exit code: 1"),
            line("sha256:4", "[debian12 1/4] RUN apt-get", **times),
            line("sha256:5", "[debian12] exporting to image", **times),
            # Found in a cache, and shown again while it is pulled.
            line("sha256:6", "[debian12 5/5] RUN late", **{**times, "completed": times["started"]}, cached=True),
            line("sha256:6", "[debian12 5/5] RUN late", **times),
            # Executed, and found by another target after that.
            line("sha256:7", "[debian13 2/2] RUN shared", **times),
            line("sha256:7", "[debian14 2/2] RUN shared", started=times["completed"], completed=LATER, cached=True),
        ]
    )
    assert [(step.digest, step.compiles) for step in executed_raw(raw)] == [
        ("sha256:1", True),
        ("sha256:4", False),
        ("sha256:7", False),
    ]
    step = StepEnded(at=1, target="mpi-ucx-12", digest="1", name="n", kind="run", started=0, completed=1)
    events = [step, replace(step, cached=True), replace(step, kind="file"), replace(step, error="exit code: 1"), step]
    assert [(each.digest, each.compiles) for each in executed_events("\n".join(map(line_of, events)))] == [
        ("1", True),
        ("1", True),
    ]


def test_ratio_is_of_rounds_with_their_like() -> None:
    ours = [replace(RUN, scenario="warm", round=n, seconds=1.0) for n in (1, 2, 3)]
    plain = [replace(RUN, scenario="warm", way="b", round=n, seconds=float(n * 10)) for n in (1, 2, 3)]
    assert ratio([*ours, *plain], COMPILED, "warm", "b", "d") == 20.0
    assert ratio(ours, COMPILED, "warm", "b", "d") is None


def test_goal_has_its_result_and_whether_it_was_met() -> None:
    runs = [
        RUN,
        replace(RUN, way="a", seconds=349.0),
        replace(RUN, way="b", seconds=250.0),
        replace(RUN, scenario="bump", runs=2),
        replace(RUN, part=BARE, scenario="resume", again=0),
    ]
    found = {goal.words: (goal.found, goal.met) for goal in goals(runs, COMPILED, BARE)}
    assert found["cold: d against a"] == ("3.5 times", False)
    assert found["cold: d against b"] == ("2.5 times", True)
    assert found["Miniconda's stand-in updated: RUN steps of d"] == ("2", False)
    assert found["resumed: RUN steps that d executed twice"] == ("0", True)
    assert found["cold: stored / sum of the images, d"] == ("0.35", True)
    assert found["one package fixed: compiles of d"] == (None, False)


DOCUMENT = {
    "kind": "full",
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "c" * 40,
    "command": "bench/images.py",
    "machine": {"cores": 2, "memory": 2**34, "system": "Debian", "load": 0.0},
    "versions": {"Docker": "28", "buildx": "0.29"},
    "seconds": 4000.0,
}


def test_page_has_every_measurement_and_every_goal() -> None:
    runs = [RUN, replace(RUN, way="b", seconds=250.0, failed=1, pulled=2_000_000)]
    document = {**DOCUMENT, "runs": [{name: getattr(run, name) for name in Run.__slots__} for run in runs]}
    text = section(document, full(), "Images")
    assert "on 2 cores and 16 GiB (Debian, load before 0.0); Docker 28, buildx 0.29. It took 67 minutes." in text
    assert "| cold (failed 1 times before) | b | 250 | 2.5 | 150 | 8 (2) | 2 MB | < 1 MB | < 1 MB |" in text
    assert "| cold: d against b | at least 2.5 times | 2.5 times | met |" in text
    assert "| cold: d against a | at least 3.5 times | – | not measured |" in text
    assert text == section(document, full(), "Images")


def test_summary_for_readme_has_what_both_ways_measured() -> None:
    runs = [
        RUN,
        replace(RUN, way="a", seconds=1000.0, compiles=8),
        replace(RUN, way="b", seconds=250.0, compiles=8),
        *(replace(RUN, scenario="warm", round=turn, seconds=seconds) for turn, seconds in ((1, 1.25), (2, 0.5))),
        *(replace(RUN, scenario="warm", way="b", round=turn, seconds=seconds) for turn, seconds in ((1, 5), (2, 4))),
        replace(RUN, scenario="fix"),
    ]
    document = {**DOCUMENT, "runs": [{name: getattr(run, name) for name in Run.__slots__} for run in runs]}
    output = summary(document, full()[0])
    assert "on 2026-01-02 at commit cccccccccccc on 2 cores and 16 GiB by `make bench`" in output
    assert output.splitlines()[4:] == [
        "| cold | 1000 | 250 | 100 | 2.5 times |",
        "| nothing changed, warm engine | – | 4.50 | 0.88 | 6.0 times |",
        "| compiles of a cold build | 8 | 8 | 2 | |",
    ]


def test_section_takes_the_place_of_the_one_before_and_nothing_else() -> None:
    page = "# Benchmarks\n\nkept\n"
    first = replaced(page, "one", "one.py", "## One\n\nold \\1")
    both = replaced(first, "two", "two.py", "## Two")
    again = replaced(both, "one", "one.py", "## One\n\nnew \\1")
    assert again == both.replace("old", "new")
    assert again.startswith(page)
    assert again.count("written by bench/one.py") == 1


def test_scenarios_are_chosen_by_name_part_and_way() -> None:
    names = [
        (part.name, each.name, each.ways)
        for part in chosen(full(), ["bare/fix", "warm"], "bd", 2)
        for each in part.scenarios
    ]
    assert names == [(COMPILED, "warm", "bd"), (BARE, "fix", "bd")]
    assert chosen(full(), [], "x", None) == ()
    assert all(set(each.ways) <= {"b", "d"} for part in quick() for each in part.scenarios)


def test_moved_parent_is_one_layer_with_one_more_file(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("./etc"), io.BytesIO())
    source = tmp_path / "layer.tar.gz"
    source.write_bytes(gzip.compress(plain.getvalue()))
    moved = changed_layer(Layer(path=source, digest="", uncompressed_digest=""), tmp_path / "moved.tar.gz")
    with tarfile.open(moved.path) as tar:
        assert tar.getnames() == ["./etc", CHANGED]
    assert (
        changed_layer(Layer(path=source, digest="", uncompressed_digest=""), tmp_path / "again.tar.gz").digest
        == moved.digest
    )


def test_project_of_the_overhead_has_sixty_targets_and_a_toolchain() -> None:
    plan = make_plan(dict(overhead.project("127.0.0.1:1/debian", DIGEST)), overlay=True)
    assert len(plan.nodes) == overhead.SYSTEMS + overhead.ARTIFACTS + 1
    assert len(plan.stacks) == overhead.STACKS
    text = overhead.section({**DOCUMENT, "pairs": [[11.0, 10.0], [13.0, 10.0], [11.4, 10.0]]})
    assert "| ratio | 1.14 (1.10 to 1.30) |" in text
    assert "at most 1.15: met" in text


def test_result_of_a_bake_of_many_stacks_is_a_text() -> None:
    assert many_stacks.ended({"code": 0}) == "done"
    assert many_stacks.ended({"code": None}) == "stopped after 10 minutes"
    assert many_stacks.ended({"code": 1, "words": "ERROR: a|b"}) == "failed with 1: `ERROR: a\\|b`"
    found = {"code": 0, "seconds": 61.0, "images": 400, "words": ""}
    text = many_stacks.section({**DOCUMENT, "stacks": 400, "found": {"ours": found, "plain": {**found, "code": None}}})
    assert "| `buildsys bake --all` | 61 | 400 | done |" in text
    assert next(iter(heading(DOCUMENT))) in text


def test_longest_path_is_by_seconds_and_not_by_steps() -> None:
    needs = {"a": (), "b": ("a",), "c": ("b",), "d": ("elsewhere",), "e": ("d", "c")}
    assert family.longest_path(needs, {"a": 1, "b": 1, "c": 1, "d": 9, "e": 2}) == (11, ("elsewhere", "d", "e"))
    assert family.longest_path({}, {}) == (0.0, ())
