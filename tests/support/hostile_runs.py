"""Runs the command of each case of the table against the hostile servers, and judges how it ended."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.command_line import LOCK, SYSTEM, TOOL, small_project, with_download, write
from tests.support.docker_stub import put_docker
from tests.support.forked import Ended, Job, run_all
from tests.support.hostile_answers import Case
from tests.support.hostile_server import Asked, Host, Reply, answer, hosting

SECONDS, MEMORY = 60.0, 200_000_000
CODES = range(6)
SECRETS = ("hostile-user:hostile-password", "hostile-password", "s3cr3t")
# What a terminal or the runner of GitHub's workflows would act on.
_ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]|^\s*::", re.MULTILINE)
# What is retried or given up after some seconds.
_WAITS = re.compile(
    r"slow|garble|another-port|status-103|chunk-by|10000$|index-of|many$|early|wait|stall|drip|byte|failing|refused"
    r"|reset|length-long|endless|end$|bomb|status-[459]"
)
AT_WORK, AT_REST = 3, 32
_FEW = 20
_HOST = re.compile(r"(?:127\.0\.0\.1|localhost):\d+")
_OPERATIONS = ("put", "blob", "mount", "tag", "tags", "delete", "verify", "head", "part")
_WORDS = {
    "outdated": ("outdated",),
    "lock": ("lock", "--update"),
    "bake": ("bake", "--push", "--dry-run"),
    "push": ("bake", "--push", "--retries", "0"),
    "warm": ("warm", "--check"),
    "doctor": ("doctor",),
}
_DEBIAN = "docker.io/library/debian:12-slim"


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """The registry, and a host that it refers to."""

    home: Host
    other: Host


@contextlib.contextmanager
def serving(cases: Sequence[Case]) -> Iterator[Servers]:
    """Serve the cases, each under the repositories `c<number>/…`."""
    by_name = {f"c{number}": each for number, each in enumerate(cases)}
    names = ["", ""]

    def script(asked: Asked) -> Reply:
        found = by_name.get(asked.case)
        return found.script(asked) if found else answer(status="404 x")

    def known() -> tuple[str, str]:
        return names[0], names[1]

    with hosting("127.0.0.1", script, known) as home, hosting("127.0.0.2", script, known) as other:
        names[:] = home.address, other.address
        yield Servers(home=home, other=other)


def job(number: int, case: Case, servers: Servers, scratch: Path) -> Job:
    """Return the command of a case."""
    home, name = servers.home.address, f"c{number}"
    if case.anonymous:
        home = home.replace("127.0.0.1", "localhost")
    folder, given = scratch / "project", {"DOCKER_CONFIG": str(scratch / "docker")}
    if case.command in _OPERATIONS:
        words: tuple[str, ...] = (case.command, f"{home}/{name}/img:1")
        return Job(
            words=words, folder=folder, environment=given, call="tests.support.hostile_calls:operate", patch=case.patch
        )
    if case.command == "plan" and not case.trusting:
        return Job(words=("plan",), folder=folder, environment={**given, "BUILDSYS_REGISTRY": f"{home}/{name}"})
    own = scratch / name
    shutil.copytree(folder, own)
    if case.trusting:
        write(own, "buildsys.settings.yaml", f"registries: {{insecure: ['{servers.other.address}']}}\n")
        return Job(words=("plan",), folder=own, environment={**given, "BUILDSYS_REGISTRY": f"{home}/{name}"})
    if case.command == "download":
        with_download(own, f"http://{home}/download/{name}/x.tar")
        return Job(words=("lock",), folder=own, environment=given, patch=case.patch)
    for layer, text in (("dist", SYSTEM), ("tool", TOOL)):
        write(own, f"layers/{layer}/layer.yaml", text.replace(_DEBIAN, f"{home}/{name}/debian:12"))
    write(own, "buildsys.lock", LOCK.replace(_DEBIAN, f"{home}/{name}/debian:12"))
    given |= {"PATH": str(scratch / "bin") + ":/usr/bin:/bin", "BUILDSYS_REGISTRY": f"{home}/{name}"}
    return Job(words=_WORDS[case.command], folder=own, environment=given)


def run(cases: Sequence[Case], servers: Servers, scratch: Path) -> list[Ended]:
    """Run the commands of all cases, and return how each ended."""
    small_project(scratch / "project")
    put_docker(scratch)
    secret = base64.b64encode(SECRETS[0].encode()).decode()
    auths = {servers.home.address: {"auth": secret}}
    write(scratch, "docker/config.json", json.dumps({"auths": auths}))
    jobs = [job(number, each, servers, scratch) for number, each in enumerate(cases)]
    waits = [number for number, each in enumerate(cases) if _WAITS.search(each.name)]
    works = sorted({*range(len(jobs))} - {*waits})
    with ThreadPoolExecutor(max_workers=2) as pool:
        rest = pool.submit(_run, jobs, waits, scratch / "rest", AT_REST)
        ended = _run(jobs, works, scratch / "work", AT_WORK) | rest.result()
    # On a machine with other work an answer may come too late: the few that end wrong for it have a second run.
    wrong = [number for number, each in enumerate(cases) if [*faults(each, ended[number], servers)]]
    if len(wrong) < _FEW:
        ended |= _run(jobs, wrong, scratch / "again", 1)
    return [ended[number] for number in range(len(jobs))]


def _run(jobs: Sequence[Job], chosen: Sequence[int], scratch: Path, at_once: int) -> dict[int, Ended]:
    scratch.mkdir()
    return dict(zip(chosen, run_all([jobs[number] for number in chosen], scratch, at_once), strict=True))


def faults(case: Case, ended: Ended, servers: Servers) -> Iterator[str]:
    """Yield what is wrong with an end."""
    if ended.code not in CODES:
        yield f"ended with {ended.code}, which is not a documented exit code"
    elif ended.code != case.code:
        yield f"ended with {ended.code}, expected {case.code}"
    if "Traceback" in ended.output:
        yield "a traceback"
    host = servers.home.address
    if not case.silent and not {host, host.replace("127.0.0.1", "localhost")} & {*_HOST.findall(ended.output)}:
        yield "the host is not named"
    if found := _ACTIVE.search(ended.output):
        yield f"the output has {found[0]!r}"
    if any(secret in ended.output for secret in SECRETS):
        yield "the output has a secret"
    if ended.cpu_seconds > SECONDS:
        yield f"{ended.cpu_seconds:.0f} seconds of CPU"
    if ended.memory > MEMORY:
        yield f"{ended.memory / 1e6:.0f} MB"


def leaks(asked: Sequence[Asked]) -> list[str]:
    """Return the requests that hold what proves who asks, in any form."""
    forms = [*SECRETS, *(base64.b64encode(each.encode()).decode() for each in SECRETS)]
    return [
        f"{each.method} {each.path}"
        for each in asked
        if any(name in ("authorization", "cookie", "proxy-authorization") for name, _ in each.headers)
        or any(form in f"{each.path}{each.headers}{each.body.decode('latin-1')}" for form in forms)
    ]
