"""What the page shows of one target when it is chosen: values for its script, all numbers written already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from buildsys.events.events import ImageLayer, TargetEnded
from buildsys.events.model import RunModel, Target
from buildsys.report.html.timeline import mark, outcome_class, step_class
from buildsys.report.outcomes import failure_lines, failure_place, outcome_word
from buildsys.report.text import format_count, format_difference, format_moment, format_seconds, format_size
from buildsys.texts import shown


def details(run: RunModel, before: Mapping[str, Target]) -> dict[str, Any]:
    """Return the details of all targets by name; `before` are those of the previous run."""
    users: dict[str, list[str]] = {}
    shared: Counter[str] = Counter()
    for target in run.targets.values():
        for need in dict.fromkeys(target.plan.needs):
            users.setdefault(need, []).append(target.name)
        if target.is_image and target.ended:
            shared.update({blob.digest for blob in target.ended.layers})
    return {
        name: _compact(_of(each, run, users.get(name, []), shared, before.get(name)))
        for name, each in run.targets.items()
    }


def _compact(value: Any) -> Any:
    """Leave out what is empty; write characters that no page may hold as escapes."""
    if isinstance(value, str):
        return shown(value, keep="\n\r\t")
    if isinstance(value, dict):
        return {key: _compact(each) for key, each in value.items() if each not in ("", [], None)}
    return [_compact(each) for each in value] if isinstance(value, list) else value


def _of(
    target: Target, run: RunModel, users: Sequence[str], shared: Mapping[str, int], before: Target | None
) -> dict[str, Any]:
    ended = target.ended
    return {
        "title": target.title,
        "outcome": outcome_word(target.outcome),
        "mark": mark(target.outcome),
        "class": outcome_class(target.outcome),
        "facts": [[name, text] for name, text in _facts(target, run, before) if text],
        "blocked": ended.blocked_by if ended else "",
        "needs": list(dict.fromkeys(target.plan.needs)),
        "users": list(users),
        "attempts": _attempts(target) if len(target.attempts) > 1 else [],
        "steps": _steps(target),
        "failure": _failure(ended) if ended else None,
        "alone": ended.alone if ended else "",
        "log": ended.log if ended else "",
        "layers": [_blob(each, shared) for each in ended.layers] if ended else [],
        "tags": list(ended.tags) if ended else [],
    }


def _facts(target: Target, run: RunModel, before: Target | None) -> list[tuple[str, str]]:
    ended, plan = target.ended, target.plan
    started = target.attempts[0].started if target.attempts else None
    return [
        ("Name for bake", target.name if target.name != target.title else ""),
        ("Kind", plan.kind),
        ("Layer", plan.layer),
        ("Action", plan.action),
        ("Reason", plan.reason),
        ("Started", f"{format_moment(started)}, {format_seconds(started - run.began)} into the run" if started else ""),
        ("Took", format_seconds(target.seconds) if target.seconds else ""),
        ("Estimated", format_seconds(plan.estimate) if plan.estimate is not None else ""),
        ("Previous run", _before(target, before)),
        ("Steps", f"{ended.steps}, {ended.cached} from a cache" if ended and ended.steps else ""),
        ("Size", format_size(ended.size) if ended and ended.size is not None else ""),
        ("Reference", ended.reference if ended else ""),
    ]


def _before(target: Target, before: Target | None) -> str:
    if before is None:
        return ""
    outcome = outcome_word(before.outcome)
    if not before.seconds:
        return outcome
    difference = f" ({format_difference(target.seconds - before.seconds)})" if target.seconds else ""
    return f"{outcome}, {format_seconds(before.seconds)}{difference}"


def _attempts(target: Target) -> list[list[str]]:
    # A retry belongs to the attempt that it ended.
    waits = {retry.at: retry for retry in target.retries}
    rows = []
    for attempt in target.attempts:
        retry = waits.get(attempt.ended)
        wait = f"retried after {format_seconds(retry.wait)}" if retry else ""
        rows.append(
            [str(attempt.number), format_seconds(attempt.seconds), "; ".join(filter(None, [attempt.why, wait]))]
        )
    return rows


def _steps(target: Target) -> list[list[Any]]:
    """Return rows of name, class, seconds as text, share of the longest, and a remark."""
    longest = max((step.seconds for step in target.steps if not step.cached), default=0.0)
    rows: list[list[Any]] = []
    for step in target.steps:
        remark = "cached" if step.cached else "did not end" if step.open else "failed" if step.error else ""
        share = 0 if step.cached or not longest else round(100 * step.seconds / longest)
        rows.append([step.name, step_class(step), "" if step.cached else format_seconds(step.seconds), share, remark])
    return rows


def _failure(ended: TargetEnded) -> dict[str, Any] | None:
    failure = ended.failure
    if failure is None:
        return None
    return {
        "kind": failure.kind.value,
        "place": failure_place(ended),
        "source": "\n".join(failure.source),
        "message": failure.message,
        "lines": "\n".join(failure_lines(failure)),
    }


def _blob(blob: ImageLayer, shared: Mapping[str, int]) -> list[str]:
    users = shared.get(blob.digest, 0)
    return [
        format_size(blob.size),
        blob.layer,
        blob.digest.partition(":")[2][:12] or blob.digest[:12],
        f"in {format_count(users, 'image')}" if users > 1 else "",
    ]
