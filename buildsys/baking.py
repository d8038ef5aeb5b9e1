"""One bake from the choice of targets to what became of each stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from buildsys.commands import bake_environment, chosen_targets, make_plan, write_runtime_plan
from buildsys.engine import Docker, local_image
from buildsys.engine_bake import BakeCall, BakeResult, print_bake, run_bake
from buildsys.engine_paths import check_paths
from buildsys.engine_stop import Stop
from buildsys.errors import InvalidInput
from buildsys.failure import Failure, FailureKind
from buildsys.key import KEY_LABEL, Keys, folders_of, keys_of
from buildsys.plan import Plan
from buildsys.progress import Status, Text
from buildsys.steps import Snapshot, TargetSteps, by_target, cache_problems, executed_runs
from buildsys.workspace import STATE_FOLDER, Workspace

LOG_FILE = f"{STATE_FOLDER}/logs/bake.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeOptions:
    """What the command line asks of a bake; `everything` is `--all`, `overrides` are values of `--set`."""

    words: tuple[str, ...] = ()
    everything: bool = False
    push: bool = False
    load: bool = False
    no_cache: bool = False
    builder: str | None = None
    overrides: tuple[str, ...] = ()
    progress: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedBake:
    """A bake that can be run: the plan, the targets, and the call with the definition that bake makes of it."""

    plan: Plan
    keys: Keys
    targets: tuple[str, ...]
    call: BakeCall
    definition: Mapping[str, Any]

    def tags(self, target: str) -> tuple[str, ...]:
        """Return the tags of a target, with all variables put in."""
        return tuple(self.definition["target"].get(target, {}).get("tags", ()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one target: `made`, `already there`, `failed` or `not reached`; `size` in bytes if known."""

    name: str
    word: str
    seconds: float = 0.0
    cached: float = 0.0
    size: int | None = None
    digest: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeReport:
    """How a bake ended; `runs` counts the RUN steps that were really executed, each once."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    runs: int
    failure: Failure | None
    cache_problems: tuple[str, ...]
    log: str
    context: str = ""


def prepare(workspace: Workspace, docker: Docker, options: BakeOptions) -> PreparedBake:
    """Plan, choose, and let bake itself resolve the definition; nothing is built.

    Raises `InvalidInput` for an unknown name, and for a definition that reads or writes outside of the project.
    """
    made = make_plan(workspace.tree(), overlay=True)
    targets = chosen_targets(made, options.words, everything=options.everything)
    keys = keys_of(made, workspace.contents(folders_of(made)))
    labels = {stack.name: {KEY_LABEL: keys.stacks[stack.name].key} for stack in made.stacks}
    file = write_runtime_plan(workspace, made, labels)
    call = BakeCall(
        root=workspace.root,
        files=(str(file.relative_to(workspace.root)),),
        targets=targets,
        overrides=options.overrides,
        environment=bake_environment(made, workspace),
        push=options.push,
        load=options.load,
        no_cache=options.no_cache,
        builder=options.builder,
    )
    definition = print_bake(docker, call)
    if mistakes := check_paths(definition, workspace.root):
        raise InvalidInput(mistakes)
    return PreparedBake(plan=made, keys=keys, targets=targets, call=call, definition=definition)


def bake(prepared: PreparedBake, docker: Docker, on_event: Callable[[Status | Text], None], stop: Stop) -> BakeReport:
    """Run a prepared bake and return what became of every target, also where it failed or was stopped."""
    log = prepared.call.root / LOG_FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    there = _already_there(prepared, docker)
    rest = tuple(target for target in prepared.targets if target not in there)
    if rest:
        result = run_bake(docker, replace(prepared.call, targets=rest), on_event, log=log, stop=stop)
    else:
        result = BakeResult(exit_code=0, seconds=0.0, steps=Snapshot())
    return _report(prepared, docker, result, log, there)


def _already_there(prepared: PreparedBake, docker: Docker) -> dict[str, Outcome]:
    """Return the stacks whose image in the engine's own store has their key: BuildKit has nothing to do for these."""
    call = prepared.call
    if docker.driver != "docker" or call.no_cache or call.overrides:
        return {}
    found = {}
    for name in prepared.targets:
        tags = prepared.tags(name)
        image = local_image(docker, tags[0]) if tags and name in prepared.keys.stacks else None
        if image is not None and image.labels.get(KEY_LABEL) == prepared.keys.stacks[name].key:
            found[name] = Outcome(
                name=name, word="already there", size=image.size, digest=image.identity, tags=tags, cached=1.0
            )
    return found


def _report(
    prepared: PreparedBake, docker: Docker, result: BakeResult, log: Path, there: Mapping[str, Outcome]
) -> BakeReport:
    steps = {each.target: each for each in by_target(result.steps)}
    if len(prepared.targets) == 1 and not steps:
        vertexes = result.steps.vertexes
        counted = [v for v in vertexes if v.completed is not None]
        steps = {prepared.targets[0]: TargetSteps(target=prepared.targets[0], steps=len(counted))}
    outcomes = tuple(
        there.get(name) or _outcome(prepared, docker, result, name, steps.get(name)) for name in prepared.targets
    )
    failure = result.failure
    node = next((n for n in prepared.plan.nodes if failure and n.name == failure.target), None)
    return BakeReport(
        outcomes=outcomes,
        seconds=result.seconds,
        runs=len(executed_runs(result.steps)),
        failure=failure,
        cache_problems=tuple(f"{v.name}: {v.error}" for v in cache_problems(result.steps)),
        log=str(log.relative_to(prepared.call.root)),
        context=node.folder if node else "",
    )


def _outcome(
    prepared: PreparedBake, docker: Docker, result: BakeResult, name: str, steps: TargetSteps | None
) -> Outcome:
    tags = prepared.tags(name)
    digest = result.digests.get(name)
    failed = result.failure
    if failed is not None and digest is None:
        word = "failed" if failed.target == name and failed.kind is not FailureKind.INTERRUPTED else "not reached"
        return Outcome(name=name, word=word, tags=tags)
    reused = steps is not None and steps.steps > 0 and steps.cached == steps.steps
    image = local_image(docker, tags[0]) if tags and docker.driver == "docker" else None
    return Outcome(
        name=name,
        word="already there" if reused else "made",
        seconds=steps.seconds if steps else result.seconds,
        cached=steps.cached_share if steps else 0.0,
        size=image.size if image else None,
        digest=digest,
        tags=tags,
    )
