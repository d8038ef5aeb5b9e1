"""examples/docker-stacks: its images start servers as the user that was asked for."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import run_container
from tests.support.commands import ROOT, Command, Run, run

EXAMPLE = ROOT / "examples" / "docker-stacks"
STACKS = ("docker-stacks-foundation-debian", "base-notebook-debian", "minimal-notebook-debian")
SECONDS = 90


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with what this machine says of parents and mirrors."""
    folder = tmp_path_factory.mktemp("docker-stacks")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".buildsys", "*.local"))
    for name in ("buildsys.lock.local", "buildsys.settings.yaml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def images(docker: Docker, buildsys: Command, example: Path) -> dict[str, str]:
    """Bake foundation and base, and return their tags."""
    return _baked(buildsys, example, *STACKS[:2])


@pytest.fixture(scope="module")
def all_images(images: dict[str, str], buildsys: Command, example: Path) -> dict[str, str]:
    """Bake minimal too, whose TeX takes minutes to install."""
    return {**images, **_baked(buildsys, example, *STACKS[2:])}


def _baked(buildsys: Command, example: Path, *stacks: str) -> dict[str, str]:
    done = buildsys("-C", example, "bake", *stacks, seconds=1800)
    assert done.code == 0, done.stdout + done.stderr
    prefix = os.environ.get("BUILDSYS_REGISTRY", "docker-stacks")
    return {name: f"{prefix}/{name.removesuffix('-debian')}:debian" for name in stacks}


class Server(NamedTuple):
    """A container that runs the image's own command, and where its port 8888 is published."""

    container: str
    port: int

    def get(self, path: str, scheme: str = "http") -> tuple[int, str]:
        """Return the status and the text of what the server answers, as soon as it answers at all."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        last: object = None
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                with opener.open(f"{scheme}://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError as error:
                last = error
                time.sleep(0.3)
        log = run("docker", "logs", self.container)
        raise AssertionError(f"{last}\n{log.stdout}{log.stderr}")

    def execute(self, script: str) -> str:
        """Run a script beside the server, as the user that the image names."""
        done = run("docker", "exec", self.container, "sh", "-c", script)
        assert done.code == 0, done.stderr
        return done.stdout

    def becomes(self, health: str) -> bool:
        """Whether docker's healthcheck comes to say this in time."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            output = run("docker", "inspect", "--format", "{{.State.Health.Status}}", self.container).stdout.strip()
            if output == health:
                return True
            time.sleep(0.5)
        return False


@contextmanager
def server(image: str, *options: str) -> Iterator[Server]:
    done = run("docker", "run", "--detach", "--publish", "127.0.0.1::8888", *options, image)
    assert done.code == 0, done.stderr
    container = done.stdout.strip()
    try:
        port = run("docker", "port", container, "8888/tcp").stdout.rpartition(":")[2]
        yield Server(container=container, port=int(port))
    finally:
        run("docker", "rm", "--force", "--volumes", container)


# Who runs the server: the user ids of all processes whose command line names it, and not of this script itself.
WHO = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q 'jupyter-la[b]' && stat -c '%u:%g' $p; done; true"


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
@pytest.mark.parametrize("given", ["images", "all_images"])
def test_every_test_that_a_layer_declares_passes(
    given: str, request: pytest.FixtureRequest, buildsys: Command, example: Path
) -> None:
    done = buildsys("-C", example, "test", "--local", *request.getfixturevalue(given))
    assert done.code == 0, done.stdout
    assert "all passed" in done.stdout


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
@pytest.mark.parametrize("given", ["images", "all_images"])
def test_a_server_runs_as_jovyan_answers_on_its_port_and_keeps_others_out(
    given: str, request: pytest.FixtureRequest
) -> None:
    images: dict[str, str] = request.getfixturevalue(given)
    with server(images[list(images)[-1]], "--env", "JUPYTER_TOKEN=known") as started:
        status, text = started.get("/api")
        assert (status, set(json.loads(text))) == (200, {"version"})
        assert started.get("/api/contents")[0] == 403
        assert started.get("/api/contents?token=known")[0] == 200
        assert started.get("/lab?token=known")[0] == 200
        assert set(started.execute(WHO).split()) == {"1000:100"}
        assert started.becomes("healthy")


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_server_of_another_user_is_healthy_too(images: dict[str, str]) -> None:
    options = ("--user=root", "--env=NB_USER=fred", "--env=NB_UID=1010", "--env=NB_GID=1234", "--env=CHOWN_HOME=yes")
    with server(images["base-notebook-debian"], *options) as started:
        assert started.get("/api")[0] == 200
        assert set(started.execute(WHO).split()) == {"1010:1234"}
        assert started.becomes("healthy")


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_container_without_a_server_becomes_unhealthy(images: dict[str, str]) -> None:
    name = images["base-notebook-debian"]
    done = run("docker", "run", "--detach", name, "sleep", "120")
    started = Server(container=done.stdout.strip(), port=0)
    try:
        assert started.becomes("unhealthy")
    finally:
        run("docker", "rm", "--force", started.container)


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_self_signed_certificate_is_created_on_request(images: dict[str, str]) -> None:
    with server(images["base-notebook-debian"], "--env", "GEN_CERT=yes") as started:
        assert started.get("/api", scheme="https")[0] == 200
        assert started.execute("stat -c %a ~/.local/share/jupyter/notebook.pem").strip() == "600"
        assert started.becomes("healthy")


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_restartable_server_comes_back(images: dict[str, str]) -> None:
    with server(images["base-notebook-debian"], "--env", "RESTARTABLE=yes") as started:
        assert started.get("/api")[0] == 200
        found = WHO.replace("stat -c '%u:%g' $p", "echo ${p#/proc/}")
        first = started.execute(found).split()
        started.execute(f"kill -9 {' '.join(first)}")
        deadline = time.monotonic() + SECONDS
        while not (again := started.execute(found).split()):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert not set(again) & set(first)
        assert started.get("/api")[0] == 200


class Started(NamedTuple):
    """How a command ended behind the entry point."""

    code: int
    out: str
    log: str


def start(
    docker: Docker,
    image: str,
    script: str,
    *,
    user: str | None = None,
    mounts: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Started:
    answer = run_container(
        docker, image, ["bash", "-c", script], user=user, environment=environment, mounts=mounts, seconds=SECONDS
    )
    return Started(code=answer.exit_code, out=answer.stdout.strip(), log=answer.stderr)


@pytest.fixture(scope="module")
def foundation(images: dict[str, str]) -> str:
    return images["docker-stacks-foundation-debian"]


IDENTITY = 'echo "$(whoami 2>/dev/null || echo unnamed) $(id -u):$(id -g) $HOME $PWD"'


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
@pytest.mark.parametrize(
    ("user", "environment", "expected"),
    [
        (None, {}, "jovyan 1000:100 /home/jovyan /home/jovyan"),
        ("root", {}, "jovyan 1000:100 /home/jovyan /home/jovyan"),
        ("root", {"NB_UID": "1010"}, "jovyan 1010:100 /home/jovyan /home/jovyan"),
        ("root", {"NB_GID": "1234", "NB_GROUP": "team"}, "jovyan 1000:1234 /home/jovyan /home/jovyan"),
        ("root", {"NB_USER": "fred"}, "fred 1000:100 /home/fred /home/fred"),
        ("root", {"NB_USER": "root", "NB_UID": "0", "NB_GID": "0"}, "root 0:0 /home/root /home/root"),
        # Any user id, as a cluster gives: with group 0 it gets the name, with another it goes without.
        ("4321:0", {}, "jovyan 4321:0 /home/jovyan /home/jovyan"),
        ("4321:100", {}, "unnamed 4321:100 /home/jovyan /home/jovyan"),
    ],
    ids=str,
)
def test_the_command_runs_as_who_was_asked_for(
    user: str | None, environment: Mapping[str, str], expected: str, foundation: str, docker: Docker
) -> None:
    started = start(docker, foundation, IDENTITY, user=user, environment=environment)
    assert (started.code, started.out) == (0, expected)


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_container_that_starts_again_keeps_its_user_and_takes_no_other_name(foundation: str) -> None:
    options = ("--user=root", "--env=NB_USER=fred", "--env=NB_UID=1010")
    container = run("docker", "create", *options, foundation, "bash", "-c", f"{IDENTITY}; touch ~/kept").stdout.strip()
    try:
        first, second = (run("docker", "start", "--attach", container) for _ in range(2))
    finally:
        run("docker", "rm", "--force", container)
    assert (second.code, second.stdout.strip()) == (0, "fred 1010:100 /home/fred /home/fred"), second.stderr
    assert first.stdout == second.stdout


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_another_user_id_may_still_add_packages_and_owns_the_home_on_request(foundation: str, docker: Docker) -> None:
    script = "touch /opt/conda/lib/python3.13/site-packages/x && stat -c %u ~ && id -nG"
    ids = {"NB_UID": "1010", "NB_GID": "1234"}
    kept = start(docker, foundation, script, user="root", environment=ids)
    owned = start(docker, foundation, script, user="root", environment={**ids, "CHOWN_HOME": "1"})
    extra = start(
        docker, foundation, "stat -c %u /opt /srv", user="root", environment={**ids, "CHOWN_EXTRA": "/opt,/srv"}
    )
    assert kept.out.split() == ["1000", "jovyan", "users"]
    assert owned.out.split()[0] == "1010"
    assert extra.out.split() == ["1010", "1010"]


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
@pytest.mark.parametrize("name", ["jovyan", "fred"])
def test_only_who_was_granted_sudo_has_it(name: str, foundation: str, docker: Docker) -> None:
    script = "sudo -n sh -c 'id -u; command -v python'"
    granted = start(docker, foundation, script, user="root", environment={"GRANT_SUDO": "yes", "NB_USER": name})
    assert (granted.code, granted.out.split()) == (0, ["0", "/opt/conda/bin/python"])
    assert start(docker, foundation, script, user="root", environment={"NB_USER": name}).code != 0
    assert start(docker, foundation, script, environment={"GRANT_SUDO": "yes"}).code != 0


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_settings_that_need_root_are_reported(foundation: str, docker: Docker) -> None:
    wishes = {"GRANT_SUDO": "1", "NB_USER": "fred", "NB_UID": "5", "NB_GID": "6"}
    quiet = {"JUPYTER_DOCKER_STACKS_QUIET": "1"}
    output = start(docker, foundation, "true", environment={**quiet, **wishes}).log.splitlines()
    assert [re.split("[ =]", line)[1] for line in output] == list(wishes)
    assert start(docker, foundation, "true", environment=quiet).log == ""


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
@pytest.mark.parametrize("user", [None, "root"])
def test_hooks_run_in_order_and_one_that_fails_stops_nothing(
    user: str | None, foundation: str, docker: Docker, tmp_path: Path
) -> None:
    hooks = {
        "01-export.sh": ("export FROM_HOOK=$(id -u)", 0o644),
        "02-run": ("#!/bin/sh\necho ran with $FROM_HOOK >&2\n", 0o755),
        "03-fails": ("#!/bin/sh\nexit 3\n", 0o755),
        "04-errexit.sh": ("set -e; export ERREXIT=set", 0o644),
        "05-fails.sh": ("false", 0o644),
        "06-left-out": ("#!/bin/sh\necho left out >&2\n", 0o644),
        "07-secret.sh": ("export SEEN=$SECRET PATH=/from/hook:$PATH", 0o644),
    }
    for name, (text, mode) in hooks.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(mode)
    tmp_path.chmod(0o755)
    started = start(
        docker,
        foundation,
        'echo "$FROM_HOOK $ERREXIT $SEEN [${SECRET-}] ${PATH%%:*} $(id -u)"',
        user=user,
        mounts=(f"type=bind,source={tmp_path},target=/usr/local/bin/before-notebook.d,readonly",),
        environment={"SECRET": "word", "JUPYTER_ENV_VARS_TO_UNSET": "OTHER,SECRET"},
    )
    runner = "0" if user == "root" else "1000"
    assert started.out == f"{runner} set word [] /from/hook 1000"
    assert f"ran with {runner}" in started.log
    assert "03-fails ended with 3, going on" in started.log
    assert "05-fails.sh ended with 1, going on" in started.log
    assert "leaving out /usr/local/bin/before-notebook.d/06-left-out" in started.log
    assert "\nleft out" not in started.log


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_hooks_of_the_start_run_before_the_user_changes(foundation: str, docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "user.sh").write_text("NB_UID=$(id -u jovyan)9\n", encoding="utf-8")
    tmp_path.chmod(0o755)
    mounts = (f"type=bind,source={tmp_path},target=/usr/local/bin/start-notebook.d,readonly",)
    assert start(docker, foundation, "id -u", user="root", mounts=mounts).out == "10009"


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_jupyterhub_gets_its_own_server(images: dict[str, str], docker: Docker) -> None:
    script = "printf '#!/bin/sh\\necho hub \"$@\"' >/tmp/jupyterhub-singleuser; chmod +x /tmp/jupyterhub-singleuser; "
    script += "PATH=/tmp:$PATH start-notebook.py --one"
    name = images["base-notebook-debian"]
    started = start(docker, name, script, environment={"JUPYTERHUB_API_TOKEN": "word", "NOTEBOOK_ARGS": "--two 'a b'"})
    assert started.out.splitlines()[-1] == "hub --two a b --one"


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_levels_of_the_environment_are_the_same_blobs_in_every_image(all_images: dict[str, str]) -> None:
    blobs = {}
    for name, tag in all_images.items():
        output: Run = run("docker", "inspect", "--format", "{{json .RootFS.Layers}}", tag)
        blobs[name] = json.loads(output.stdout)
    foundation, base, minimal = (blobs[name] for name in STACKS)
    # WORKDIR makes the last one. Before it, Python comes last in the foundation, and the others add Jupyter to it.
    assert foundation[-2:-1] == base[-3:-2] == minimal[-3:-2]
    assert base[-2:] == minimal[-2:]
    assert base[:-3] != minimal[:-3]


MICROMAMBA = """#!/bin/sh
echo new >/opt/conda/lib/python3.13/site-packages/added.py
mkdir -p /opt/conda/lib/python3.13/site-packages/__pycache__ && touch "$_/added.pyc"
echo '# changed' >>/opt/conda/pyvenv.cfg
"""


def add(docker: Docker, image: str, folder: Path, micromamba: str) -> Started:
    """Add a level to the environment of an image, by a stand-in for what fetches packages."""
    (folder / "packages.txt").write_text("some\n", encoding="utf-8")
    (folder / "micromamba").write_text(micromamba, encoding="utf-8")
    (folder / "micromamba").chmod(0o755)
    script = "sh /scripts/add && cd /artifact && find . -printf '%p %m %U:%G\\n' | sort"
    answer = run_container(
        docker,
        image,
        ["-c", f"PATH=/packages:$PATH; {script}"],
        entrypoint="sh",
        user="root",
        mounts=[
            f"type=bind,source={EXAMPLE / 'environments' / 'scripts'},target=/scripts,readonly",
            f"type=bind,source={folder},target=/packages,readonly",
        ],
        environment={"NB_UID": "1000", "NB_GID": "100"},
        seconds=SECONDS,
    )
    return Started(code=answer.exit_code, out=answer.stdout.strip(), log=answer.stderr)


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_level_holds_what_is_new_in_the_environment_and_no_more(
    foundation: str, docker: Docker, tmp_path: Path
) -> None:
    found = add(docker, foundation, tmp_path, MICROMAMBA)
    assert found.code == 0, found.log
    assert found.out.splitlines() == [
        ". 755 0:0",
        "./opt 755 0:0",
        "./opt/conda 2775 1000:100",
        "./opt/conda/lib 2775 1000:100",
        "./opt/conda/lib/python3.13 2775 1000:100",
        "./opt/conda/lib/python3.13/site-packages 2775 1000:100",
        "./opt/conda/lib/python3.13/site-packages/added.py 664 1000:100",
        "./opt/conda/pyvenv.cfg 664 1000:100",
    ]


@pytest.mark.engine
@pytest.mark.parents
@pytest.mark.long
def test_a_level_that_takes_a_file_away_is_refused(foundation: str, docker: Docker, tmp_path: Path) -> None:
    found = add(docker, foundation, tmp_path, MICROMAMBA + "rm /opt/conda/bin/pip3\n")
    assert found.code == 1
    assert found.log.splitlines()[-1] == "/opt/conda/bin/pip3"
