"""What the page tells of one target when it is chosen: values for its script, all numbers written already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildsys.buildkit.failure import Failure
from buildsys.events.events import ImageLayer
from buildsys.report.html.markup import cleaned, moment_text, more_text, seconds_text
from buildsys.report.html.run import Run, Target
from buildsys.report.html.timeline import mark, outcome_class, step_class
from buildsys.report.text import format_count, format_size


def details(run: Run, before: Mapping[str, Target]) -> dict[str, Any]:
    """Return the details of all targets by name; `before` are those of the run before."""
    users: dict[str, list[str]] = {}
    shared: dict[str, int] = {}
    for target in run.targets:
        for need in dict.fromkeys(target.plan.needs):
            users.setdefault(need, []).append(target.name)
        if target.plan.kind == "image" and target.ended:
            for digest in {blob.digest for blob in target.ended.layers}:
                shared[digest] = shared.get(digest, 0) + 1
    return {
        each.name: _plain(_of(each, run, users.get(each.name, []), shared, before.get(each.name)))
        for each in run.targets
    }


def place_of(target: Target) -> str:
    """Where a failure is, as `layers/ucx/Dockerfile:14`, or nothing."""
    failure = target.ended.failure if target.ended else None
    file = (target.ended.file if target.ended else "") or (failure.file if failure else "")
    return f"{file}:{failure.line}" if file and failure and failure.line else file


def _plain(value: Any) -> Any:
    """Texts without what cannot be shown; what is empty is left out."""
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each not in ("", [], None)}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _of(
    target: Target, run: Run, users: Sequence[str], shared: Mapping[str, int], before: Target | None
) -> dict[str, Any]:
    ended = target.ended
    return {
        "title": target.title,
        "outcome": target.outcome,
        "mark": mark(target.outcome),
        "class": outcome_class(target.outcome),
        "facts": [[name, text] for name, text in _facts(target, run, before) if text],
        "blocked": ended.blocked_by if ended else "",
        "needs": list(dict.fromkeys(target.plan.needs)),
        "users": list(users),
        "attempts": _attempts(target) if len(target.attempts) > 1 else [],
        "steps": _steps(target),
        "failure": _failure(target, ended.failure) if ended and ended.failure else None,
        "alone": ended.alone if ended else "",
        "log": ended.log if ended else "",
        "layers": [_blob(each, shared) for each in ended.layers] if ended else [],
        "tags": list(ended.tags) if ended else [],
    }


def _facts(target: Target, run: Run, before: Target | None) -> list[tuple[str, str]]:
    ended, plan = target.ended, target.plan
    started = target.attempts[0].started if target.attempts else None
    return [
        ("Name for bake", target.name if target.name != target.title else ""),
        ("Kind", plan.kind),
        ("Layer", plan.layer),
        ("Action", plan.action),
        ("Reason", plan.reason),
        ("Began", f"{moment_text(started)}, {seconds_text(started - run.began)} into the run" if started else ""),
        ("Took", seconds_text(target.seconds) if target.seconds else ""),
        ("Estimated", seconds_text(plan.estimate) if plan.estimate is not None else ""),
        ("Run before", _before(target, before)),
        ("Steps", f"{ended.steps}, {ended.cached} from a cache" if ended and ended.steps else ""),
        ("Size", format_size(ended.size) if ended and ended.size is not None else ""),
        ("Reference", ended.reference if ended else ""),
    ]


def _before(target: Target, before: Target | None) -> str:
    if before is None:
        return ""
    if not before.seconds:
        return before.outcome
    difference = f" ({more_text(target.seconds - before.seconds)})" if target.seconds else ""
    return f"{before.outcome}, {seconds_text(before.seconds)}{difference}"


def _attempts(target: Target) -> list[list[str]]:
    # A retry belongs to the attempt that it ended.
    waits = {retry.at: retry for retry in target.retries}
    rows = []
    for attempt in target.attempts:
        retry = waits.get(attempt.ended)
        wait = f"again in {seconds_text(retry.wait)}" if retry else ""
        rows.append([str(attempt.number), seconds_text(attempt.seconds), "; ".join(filter(None, [attempt.why, wait]))])
    return rows


def _steps(target: Target) -> list[list[Any]]:
    """Rows of name, class, seconds as text, share of the longest, and what is to be said besides."""
    longest = max((step.seconds for step in target.steps if not step.cached), default=0.0)
    rows: list[list[Any]] = []
    for step in target.steps:
        said = "cached" if step.cached else "did not end" if step.open else "failed" if step.error else ""
        share = 0 if step.cached or not longest else round(100 * step.seconds / longest)
        rows.append([step.name, step_class(step), "" if step.cached else seconds_text(step.seconds), share, said])
    return rows


def _failure(target: Target, failure: Failure) -> dict[str, Any]:
    checksum = failure.checksum
    return {
        "kind": failure.kind.value,
        "message": failure.message,
        "place": place_of(target),
        "source": "\n".join(failure.source),
        "command": failure.command,
        "status": f"exit code {failure.status}" if failure.status is not None else "",
        "words": "\n".join(failure.last_words),
        "checksum": [checksum.url, f"expected {checksum.expected}", f"found {checksum.found}"] if checksum else [],
    }


def _blob(blob: ImageLayer, shared: Mapping[str, int]) -> list[str]:
    users = shared.get(blob.digest, 0)
    return [
        format_size(blob.size),
        blob.layer,
        blob.digest.partition(":")[2][:12] or blob.digest[:12],
        f"in {format_count(users, 'image')}" if users > 1 else "",
    ]
