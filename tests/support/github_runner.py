"""A stand-in for GitHub's runners: the jobs of a workflow for an event, their conditions, outputs and `run:` steps.

It knows the expressions and the actions that examples/ci/github.yml has, and refuses any other. Each job begins with a
clone of its own, no deeper than its checkout asks for. Contexts are described on docs.github.com, "Contexts reference".
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|[A-Za-z_][\w-]*|==|!=|&&|\|\||[().\[\]]|\d+)")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_NOTHING = {"actions/setup-python"}


class Expression:
    """One expression, evaluated while it is read: `||`, `&&`, `==` and `!=`, properties, indexes, `fromJSON`."""

    def __init__(self, text: str, contexts: Mapping[str, Any]) -> None:
        self._tokens = _tokens(text)
        self._contexts = contexts

    def value(self) -> Any:
        """Return the value of all of it."""
        found = self._either()
        assert self._tokens == [], self._tokens
        return found

    def _either(self) -> Any:
        found = self._both()
        while self._next("||"):
            other = self._both()
            found = found or other
        return found

    def _both(self) -> Any:
        found = self._compared()
        while self._next("&&"):
            other = self._compared()
            found = found and other
        return found

    def _compared(self) -> Any:
        found = self._part()
        if self._next("=="):
            return found == self._part()
        if self._next("!="):
            return found != self._part()
        return found

    def _part(self) -> Any:
        token = self._tokens.pop(0)
        if token == "fromJSON":
            assert self._next("(")
            found = json.loads(self._either())
            assert self._next(")")
        elif token.startswith("'"):
            return token[1:-1].replace("''", "'")
        elif token == "null":
            return None
        else:
            found = self._contexts[token]
        while True:
            if self._next("."):
                name = self._tokens.pop(0)
                found = found.get(name) if isinstance(found, Mapping) else None
            elif self._next("["):
                index = int(self._tokens.pop(0))
                assert self._next("]")
                found = found[index] if isinstance(found, list) and index < len(found) else None
            else:
                return found

    def _next(self, token: str) -> bool:
        if self._tokens[:1] == [token]:
            self._tokens.pop(0)
            return True
        return False


def _tokens(text: str) -> list[str]:
    found, place, text = [], 0, text.strip()
    while place < len(text):
        token = _TOKEN.match(text, place)
        assert token, text[place:]
        found.append(token[1])
        place = token.end()
    return found


def filled(text: Any, contexts: Mapping[str, Any]) -> Any:
    """Return a value of a workflow with its expressions evaluated; one that is an expression alone keeps its type."""
    if not isinstance(text, str):
        return text
    if whole := re.fullmatch(r"\s*\$\{\{(.*)\}\}\s*", text):
        return Expression(whole[1], contexts).value()
    return _EXPRESSION.sub(lambda found: _text(Expression(found[1], contexts).value()), text)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(kw_only=True)
class Job:
    """How a job ended: `success`, `failure` or `skipped`; its output, job summary, outputs and logins to registries."""

    result: str = "success"
    log: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    logins: list[dict[str, str]] = field(default_factory=list)
    permissions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs workflows of a bare repository in folders below `folder`, with the variables of `environ`."""

    bare: Path
    folder: Path
    environ: Mapping[str, str]

    def run(self, text: str, event: Mapping[str, Any], commit: str, secrets: Mapping[str, str]) -> dict[str, Job]:
        """Run the jobs of a workflow for an event at a commit, and return how each ended; matrix jobs as one."""
        workflow = yaml.safe_load(text)
        done: dict[str, Job] = {}
        github = {"token": "of-the-job", "repository": "team/images", "ref": "refs/heads/main", **event}
        contexts = {"github": github, "secrets": secrets, "needs": {}}
        for name, job in _ordered(workflow["jobs"]):
            wanted = job.get("needs", [])
            needs = [wanted] if isinstance(wanted, str) else wanted
            contexts["needs"] = {each: {"outputs": done[each].outputs} for each in done}
            permissions = job.get("permissions", workflow["permissions"])
            found = done[name] = Job(permissions=permissions)
            if any(done[each].result != "success" for each in needs) or not self._is_wanted(job, contexts):
                found.result = "skipped"
                continue
            matrix = filled(job.get("strategy", {}).get("matrix", {"include": [{}]}), contexts)
            # GitHub refuses a matrix without a job, when the condition of the job was true.
            assert matrix["include"], name
            steps: dict[str, Any] = {}
            for number, each in enumerate(matrix["include"]):
                place = self.folder / f"{name}-{number}"
                environ = {**self.environ, **_variables(workflow, contexts), **_variables(job, contexts)}
                self._steps(job, {**contexts, "matrix": each, "steps": steps}, _Place(place, commit, environ), found)
            given = job.get("outputs", {}).items()
            found.outputs = {key: _text(filled(value, {**contexts, "steps": steps})) for key, value in given}
        return done

    def _is_wanted(self, part: Mapping[str, Any], contexts: Mapping[str, Any]) -> bool:
        return "if" not in part or bool(Expression(str(part["if"]), contexts).value())

    def _steps(self, job: Mapping[str, Any], contexts: dict[str, Any], place: _Place, found: Job) -> None:
        for step in job["steps"]:
            if found.result != "success" or not self._is_wanted(step, contexts):
                continue
            options = {key: _text(filled(value, contexts)) for key, value in step.get("with", {}).items()}
            action = step.get("uses", "").partition("@")[0]
            if action == "actions/checkout":
                assert options["persist-credentials"] == "false"
                self._check_out(place, int(options.get("fetch-depth", "1")))
            elif action == "docker/login-action":
                found.logins.append(options)
            elif action:
                assert action in _NOTHING, action
            else:
                self._execute(step, contexts, place, found)

    def _check_out(self, place: _Place, depth: int) -> None:
        place.folder.mkdir(parents=True)
        _git(place.folder, "init", "--quiet", ".")
        _git(place.folder, "remote", "add", "origin", self.bare.as_uri())
        deep = ["--depth", str(depth)] if depth else []
        _git(place.folder, "fetch", "--quiet", *deep, "origin", place.commit)
        _git(place.folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")

    def _execute(self, step: Mapping[str, Any], contexts: dict[str, Any], place: _Place, found: Job) -> None:
        temp = place.folder.with_name(f"{place.folder.name}-temp")
        temp.mkdir(exist_ok=True)
        files = {"GITHUB_OUTPUT": temp / "output", "GITHUB_STEP_SUMMARY": temp / "summary"}
        for path in files.values():
            path.write_text("", encoding="utf-8")
        (temp / "script.sh").write_text(step["run"], encoding="utf-8")
        # An expression in a script is replaced before a shell reads it, whatever is in its value.
        assert "${{" not in step["run"]
        done = subprocess.run(
            ["bash", "-e", str(temp / "script.sh")],
            cwd=place.folder,
            env={
                **place.environ,
                **_variables(step, contexts),
                **{name: str(path) for name, path in files.items()},
                **{"CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_TEMP": str(temp)},
                "GITHUB_WORKSPACE": str(place.folder),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
            stdin=subprocess.DEVNULL,
        )
        found.log += done.stdout
        found.summary += files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        if "id" in step:
            lines = files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines()
            contexts["steps"][step["id"]] = {"outputs": dict(line.split("=", 1) for line in lines)}
        if done.returncode:
            found.result = "failure"


@dataclass(frozen=True)
class _Place:
    folder: Path
    commit: str
    environ: Mapping[str, str]


def _variables(part: Mapping[str, Any], contexts: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(filled(value, contexts)) for name, value in part.get("env", {}).items()}


def _ordered(jobs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the jobs, each after those that it needs; the file has them in such an order."""
    seen: set[str] = set()
    for name, job in jobs.items():
        needs = job.get("needs", [])
        assert {needs} <= seen if isinstance(needs, str) else {*needs} <= seen
        seen.add(name)
        yield name, job


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=120)
