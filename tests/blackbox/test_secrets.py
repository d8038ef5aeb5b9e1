"""Secrets reach the RUN steps that mount them, and stay nowhere: in no image, cache, history, log, event or output."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Run, buildsys, refused, run, write
from tests.support.traces import holds, in_folder, in_registry, watched_docker

TOKEN = "not-a-real-token-5c1f"
KEY = "-----BEGIN KEY-----\nbm90LWEtcmVhbC1rZXktOGQz\nbW9yZS1vZi1ub3QtYS1yZWFsLWtleQ\n-----END KEY-----\n"
PASSWORD = "NOT-A-REAL-SECRET"
SETTINGS = "buildsys.settings.yaml"
BAKE = "docker-bake.hcl"
MOUNTS = "--mount=type=bind,from=mirrors,target=/run/mirrors --mount=type=secret,id=mirrors"
DECLARED = "secrets: [{id: token, description: the licence of a compiler}]\n"
# It prints its secret in several forms; of the value only a hash is kept.
USE = "cat /run/secrets/token; base64 /run/secrets/token; env; sha256sum </run/secrets/token >"
MOUNT = "--mount=type=secret,id=token,required=true"
# The engine has no such step in its cache.
UNIQUE = f": {uuid.uuid4().hex};"
SECRET_RUN = f"RUN {MOUNT} {MOUNT},env=TOKEN {UNIQUE} {USE}"


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def with_secret(project: Path, *, artifact: bool = False) -> Path:
    """Let a layer of the small project mount the secret `token`, and write its hash to an image."""
    layer = project / "layers" / ("conf" if artifact else "dist")
    file = layer / "layer.yaml"
    file.write_text(file.read_text(encoding="utf-8") + DECLARED, encoding="utf-8")
    dockerfile = f"FROM base\nARG PACKAGES\n{SECRET_RUN} /etc/hash\n"
    if artifact:
        dockerfile = (
            f"FROM toolchain AS build\nRUN mkdir -p /artifact/opt/conf\n{SECRET_RUN} /artifact/opt/conf/hash\n"
            "FROM scratch\nCOPY --from=build /artifact /\n"
        )
    write(layer, "Dockerfile", dockerfile)
    return project


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """A project, a registry of its own, and a docker that keeps what it is given."""

    project: Path
    registry: str
    path: str
    given: Path

    def run(self, *words: str | Path, **shell: str) -> Run:
        """Run buildsys, which must succeed."""
        found = {"PATH": self.path, "BUILDSYS_REGISTRY": self.registry, **shell}
        done = buildsys(self.project, *words, seconds=300, shell=found)
        assert done.code == 0, done.output
        return done

    def traces(self, text: str, *outputs: Run, own: tuple[Path, ...] = ()) -> list[str]:
        """Return where a text is: `own` are the files that the caller wrote it to."""
        printed = [f"output {done.output}" for done in outputs if holds(done.output.encode(), text)]
        kept = in_folder(self.project, text, without=own) + in_folder(self.given, text)
        return [*printed, *kept, *in_registry(self.registry, text)]

    def inside(self, image: str, file: str) -> str:
        """Return the text of a file in an image."""
        done = run(self.project, "docker", "run", "--rm", "--pull", "always", f"{self.registry}/{image}", "cat", file)
        assert done.code == 0, done.output
        return done.stdout.split()[0]


@pytest.fixture
def watched(real_project: Path, registry: str) -> Watched:
    folder, given = watched_docker(real_project.parent)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return Watched(project=real_project, registry=registry, path=path, given=given)


def documents(watched: Watched, image: str, **shell: str) -> list[Run]:
    """Return what the commands that describe a project print, and the history of an image."""
    words = (("plan", "--json"), ("show", image, "--json"), ("explain", image), ("graph", "--offline"), ("why", "dist"))
    found = [buildsys(watched.project, *each, shell={"BUILDSYS_REGISTRY": watched.registry, **shell}) for each in words]
    name = f"{watched.registry}/{image}"
    found.append(run(watched.project, "docker", "history", "--no-trunc", "--format", "{{json .}}", name))
    found.append(run(watched.project, "docker", "image", "inspect", name))
    return found


# --- H14: secrets of layers.


@pytest.mark.engine
@pytest.mark.registry
def test_secret_of_the_environment_reaches_its_run_and_stays_nowhere(watched: Watched) -> None:
    with_secret(watched.project)
    shell = {"BUILDSYS_SECRET_TOKEN": TOKEN, "BUILDSYS_CACHE": f"{watched.registry}/cache"}
    done = watched.run("bake", "img", "--push", "--events", "events.jsonl", "--progress", "docker", **shell)
    assert "***" in done.output
    assert watched.inside("img", "/etc/hash") == digest(TOKEN)
    assert watched.traces(TOKEN, done, *documents(watched, "img", **shell)) == []
    assert any("id=token,env=BUILDSYS_SECRET_TOKEN" in each.read_text() for each in watched.given.glob("*.bake"))


@pytest.mark.engine
@pytest.mark.registry
def test_secret_of_several_lines_from_a_file_of_the_settings_stays_nowhere(watched: Watched, tmp_path: Path) -> None:
    with_secret(watched.project, artifact=True)
    write(tmp_path, "key.pem", KEY)
    write(watched.project, SETTINGS, f"secrets: {{token: {{file: {tmp_path / 'key.pem'}}}}}\n")
    done = watched.run("warm", "img", "--stacks", "--events", "events.jsonl", "--verbose")
    done = watched.run("bake", "img", "--push", "--verbose")
    assert watched.inside("img", "/opt/conf/hash") == digest(KEY)
    for line in KEY.splitlines()[1:3]:
        assert watched.traces(line, done, *documents(watched, "img")) == []


@pytest.mark.engine
@pytest.mark.registry
def test_secret_of_an_option_reaches_the_dockerfile_of_a_user_and_stays_nowhere(
    watched: Watched, tmp_path: Path
) -> None:
    write(tmp_path / "own", "Dockerfile", f"FROM base\n{SECRET_RUN} /hash\n")
    write(tmp_path, "token", TOKEN)
    words = ("environment", tmp_path / "own" / "Dockerfile", "--dockerfile", "--on", "img", "--tag", "own")
    shell = {"BUILDSYS_REGISTRY": watched.registry}
    refused(buildsys(watched.project, *words, shell=shell), "`token`", "BUILDSYS_SECRET_TOKEN", "--secret")
    done = watched.run(*words, "--secret", f"id=token,src={tmp_path / 'token'}")
    assert watched.inside("img-custom:own", "/hash") == digest(TOKEN)
    assert watched.traces(TOKEN, done) == []


@pytest.mark.engine
def test_secret_reaches_a_node_that_others_link_to_in_a_local_bake(watched: Watched) -> None:
    with_secret(watched.project)
    with_secret(watched.project, artifact=True)
    write(watched.project, "stacks.yaml", "stacks:\n  img: {layers: [dist, conf]}\n  two: {layers: [dist]}\n")
    shell = {"MY_TOKEN": TOKEN}
    done = watched.run("bake", "--all", "--no-cache", "--secret", "id=token,env=MY_TOKEN", "--verbose", **shell)
    for file in ("/etc/hash", "/opt/conf/hash"):
        found = run(watched.project, "docker", "run", "--rm", f"{watched.registry}/img", "cat", file)
        assert found.stdout.split()[:1] == [digest(TOKEN)], found.output
    assert not holds(done.output.encode(), TOKEN)
    assert in_folder(watched.project, TOKEN) + in_folder(watched.given, TOKEN) == []


@pytest.mark.engine
def test_secret_of_the_environment_reaches_plain_bake_of_the_committed_file(watched: Watched) -> None:
    with_secret(watched.project)
    watched.run("plan", "--offline")
    assert TOKEN not in (watched.project / BAKE).read_text(encoding="utf-8")
    shell = {"BUILDSYS_REGISTRY": watched.registry, "BUILDSYS_SECRET_TOKEN": TOKEN}
    shell |= dict(each.removeprefix("export ").split("=", 1) for each in exports(watched.project))
    done = run(watched.project, "docker", "buildx", "bake", "-f", BAKE, "img", "--load", seconds=300, shell=shell)
    assert done.code == 0, done.output
    found = run(watched.project, "docker", "run", "--rm", f"{watched.registry}/img", "cat", "/etc/hash")
    assert found.stdout.split()[:1] == [digest(TOKEN)], found.output


def exports(project: Path, **shell: str) -> list[str]:
    done = buildsys(project, "variables", shell=shell)
    assert done.code == 0, done.output
    return [line for line in done.stdout.splitlines() if line.startswith("export ")]


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parametrize(
    "words",
    [
        ("bake", "img"),
        ("bake", "img", "--push"),
        ("bake", "img", "--push", "--dry-run"),
        ("bake", "img", "--dry-run"),
        ("warm", "img"),
        ("environment", "requirements.txt", "--on", "img"),
    ],
)
def test_secret_without_a_value_is_reported_before_the_start(real_project: Path, registry: str, words: Any) -> None:
    with_secret(real_project)
    write(real_project, "requirements.txt", "six==1.17.0\n")
    write(real_project, "layers/python-environment/layer.yaml", PYTHON)
    write(real_project, "layers/python-environment/Dockerfile", PYTHON_DOCKERFILE)
    given = {"BUILDSYS_REGISTRY": registry, "BUILDSYS_SECRET_TOKEN": ""}
    done = buildsys(real_project, *words, shell=given)
    ways = ("BUILDSYS_SECRET_TOKEN", "`secrets` in buildsys.settings.yaml", "--secret id=token,src=")
    refused(done, "`dist`", "`token`", "the licence of a compiler", "layers/dist/layer.yaml:7:", *ways)


PYTHON = """\
description: packages
kind: artifact
licence: various
prefix: /opt/python-environment
requires: [os]
parameters: {folder: {description: the files, type: folder, default: environments/x}}
"""
PYTHON_DOCKERFILE = """\
FROM toolchain AS build
RUN --mount=type=bind,from=folder,target=/f mkdir -p /artifact/opt/python-environment
FROM scratch
COPY --from=build /artifact /
"""


# Without an engine: what is refused.


@pytest.mark.parametrize(
    ("mount", "declared", "words"),
    [
        ("type=secret,id=token,required=true", "", ("`token`", "layers/dist/layer.yaml", "layers/dist/Dockerfile:3:")),
        ("type=secret,target=/run/token,required", "", ("`token`", "does not declare", "layers/dist/Dockerfile:3:")),
        ("type=secret,id=tokn,required=true", DECLARED, ("`tokn`", "did you mean `token`?")),
        ("type=tmpfs,target=/tmp", DECLARED, ("no RUN mounts the secret `token`", "layers/dist/layer.yaml:7:")),
        ("type=secret,id=token", DECLARED, ("not `required`", "layers/dist/Dockerfile:3:")),
        ("type=secret,required=true", "", ("no id", "layers/dist/Dockerfile:3:")),
        ("type=secret,id=mirrors", "secrets: [{id: mirrors, description: x}]\n", ("`mirrors` is reserved", "yaml:7:")),
    ],
)
def test_mount_and_declaration_that_differ_are_refused_at_their_line(
    project: Path, mount: str, declared: str, words: tuple[str, ...]
) -> None:
    file = project / "layers/dist/layer.yaml"
    file.write_text(file.read_text(encoding="utf-8") + declared, encoding="utf-8")
    write(project, "layers/dist/Dockerfile", f"FROM base\nARG PACKAGES\nRUN --mount={mount} true\n")
    refused(buildsys(project, "plan", "--offline"), *words)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (f"id=token,value={TOKEN}", ("`value`",)),
        (f"id=token,src=/nowhere/{TOKEN[:3]}", ()),
        (TOKEN, ("--secret",)),
        ("id=tokn,env=X", ("`tokn`", "did you mean `token`?")),
        ("id=mirrors,env=HOME", ("reserved",)),
        ("id=token,env=NOT_SET", ("NOT_SET",)),
        ("src=/etc/hostname", ("no id",)),
    ],
)
def test_option_that_names_no_secret_is_refused_without_its_value(
    project: Path, option: str, words: tuple[str, ...]
) -> None:
    with_secret(project)
    done = buildsys(project, "bake", "img", "--secret", option, PATH="/nonexistent")
    assert done.code in (2, 4), done.output
    assert all(word in done.stderr for word in words), done.output
    assert TOKEN not in done.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (f"secrets: {{token: {TOKEN}}}\n", ("`token`",)),
        (f"secrets: {{token: {{value: {TOKEN}}}}}\n", ("`value`",)),
        ("secrets: {token: {file: nowhere}}\n", ("nowhere", "does not exist")),
        ("secrets: {token: {file: /etc/hostname, env: HOME}}\n", ("both",)),
        ("secrets: {token: {}}\n", ("neither",)),
        (f"secrets: {{token: {{env: {TOKEN}}}}}\n", ("secrets.token.env", "name the variable")),
        ("secrets: {mirrors: {env: HOME}}\n", ("reserved",)),
    ],
)
def test_settings_that_name_no_value_are_refused_without_showing_it(
    project: Path, settings: str, words: tuple[str, ...]
) -> None:
    write(project, SETTINGS, settings)
    done = buildsys(project, "variables")
    refused(done, f"{SETTINGS}:1:", *words)
    assert TOKEN not in done.output


@pytest.mark.parametrize("source", ["env: HOME", "file: /etc/hostname"])
def test_committed_settings_give_no_secret_of_the_machine(project: Path, source: str) -> None:
    write(project, SETTINGS, f"secrets: {{token: {{{source}}}}}\n")
    assert buildsys(project, "variables").code == 0
    for words in (("init", "-q"), ("add", "-A")):
        assert run(project, "git", *words).code == 0
    refused(buildsys(project, "variables"), "committed to git", "BUILDSYS_SECRET_TOKEN")


def test_secret_changes_no_key_and_no_bake_file(project: Path) -> None:
    with_secret(project)
    texts = set()
    for value in ("", "one-secret", "two-secret"):
        shell = {"BUILDSYS_SECRET_TOKEN": value}
        document = buildsys(project, "plan", "--offline", "--json", shell=shell)
        assert document.code == 0, document.output
        texts.add(document.stdout)
        texts.add((project / BAKE).read_text(encoding="utf-8"))
    assert len(texts) == 2
    assert json.loads(document.stdout)["nodes"]


def test_variable_of_a_secret_that_is_misspelt_is_reported(project: Path) -> None:
    with_secret(project)
    done = buildsys(project, "plan", "--offline", BUILDSYS_SECRET_TOKEM="x")
    assert "did you mean `BUILDSYS_SECRET_TOKEN`?" in done.stderr


# --- H13: credentials of mirrors, proxies and private indexes.


def on_mirrors(project: Path, command: str) -> Path:
    """Let the system layer of the small project use the mirrors in a RUN, the last of its image."""
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist]}\n")
    dockerfile = f"FROM base\nARG PACKAGES\nRUN {MOUNTS} {UNIQUE} . /run/mirrors/use && {command}\n"
    write(project, "layers/dist/Dockerfile", dockerfile)
    return project / SETTINGS


INDEX = f"https://robot:{PASSWORD}@pypi.example.com/simple"
CREDENTIALS = {
    "a proxy and an index of pip": (
        f'pip: {{index-url: "{INDEX}"}}\nproxy: {{no: "*", http: "http://robot:{PASSWORD}@127.0.0.1:9"}}\n',
        'cat "$PIP_CONFIG_FILE"; env; printf %s "$UV_DEFAULT_INDEX" | sha256sum >/etc/hash',
        digest(INDEX),
    ),
    "a source of apt": (
        f"apt: {{'*': 'deb https://robot:{PASSWORD}@deb.example.com/debian x main'}}\n",
        'env; file=$(sed -n \'s/.*SourceList "\\(.*\\)";/\\1/p\' "$APT_CONFIG"); cat "$file"; '
        'sha256sum <"$file" >/etc/hash',
        digest(f"deb https://robot:{PASSWORD}@deb.example.com/debian x main\n"),
    ),
    "a token of conda": (
        f'conda: {{channel_alias: "https://conda.example.com/t/{PASSWORD}/main"}}\n',
        'env; printf %s "$CONDA_CHANNEL_ALIAS" | sha256sum >/etc/hash',
        digest(f"https://conda.example.com/t/{PASSWORD}/main"),
    ),
}


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_of_mirrors_reach_a_run_and_stay_in_no_cache_image_or_file(watched: Watched, kind: str) -> None:
    settings, command, expected = CREDENTIALS[kind]
    file = on_mirrors(watched.project, command)
    write(watched.project, SETTINGS, settings)
    shell = {"BUILDSYS_CACHE": f"{watched.registry}/cache"}
    done = watched.run("bake", "img", "--push", "--events", "events.jsonl", "--progress", "docker", **shell)
    assert watched.inside("img", "/etc/hash") == expected
    assert watched.traces(PASSWORD, done, *documents(watched, "img"), own=(file,)) == []


@pytest.mark.engine
@pytest.mark.registry
def test_credentials_of_mirrors_are_in_no_local_cache(watched: Watched) -> None:
    settings, command, _ = CREDENTIALS["a token of conda"]
    file = on_mirrors(watched.project, command)
    write(watched.project, SETTINGS, settings)
    watched.run("bake", "img", BUILDSYS_CACHE=f"type=local,{watched.project / 'cache'}")
    assert (watched.project / "cache" / "dist" / "index.json").is_file()
    assert in_folder(watched.project, PASSWORD, without=(file,)) == []


@pytest.mark.engine
@pytest.mark.registry
def test_password_of_a_mirror_that_changes_rebuilds_nothing(watched: Watched) -> None:
    on_mirrors(watched.project, "date +%N >/etc/built")
    for password in (PASSWORD, "A-DIFFERENT-SECRET"):
        write(watched.project, SETTINGS, f'proxy: {{no: "*", http: "http://robot:{password}@127.0.0.1:9"}}\n')
        done = watched.run("bake", "img")
        found = run(watched.project, "docker", "image", "rm", f"{watched.registry}/img:latest")
        assert found.code == 0, found.output
    assert "100 % of the steps from cache" in done.output


@pytest.mark.engine
@pytest.mark.registry
def test_plain_bake_gets_credentials_of_mirrors_from_the_shell_that_evaluates_the_variables(watched: Watched) -> None:
    settings, command, expected = CREDENTIALS["a token of conda"]
    file = on_mirrors(watched.project, command)
    write(watched.project, SETTINGS, settings)
    watched.run("plan", "--offline")
    lines = exports(watched.project)
    assert not any(PASSWORD in line for line in lines)
    script = "\n".join([*lines, f"exec docker buildx bake -f {BAKE} img --load"])
    shell = {"BUILDSYS_REGISTRY": watched.registry}
    done = run(watched.project, "sh", "-ec", script, seconds=300, shell=shell)
    assert done.code == 0, done.output
    found = run(watched.project, "docker", "run", "--rm", f"{watched.registry}/img", "cat", "/etc/hash")
    assert found.stdout.split()[:1] == [expected], found.output
    assert in_folder(watched.project, PASSWORD, without=(file,)) == []


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parametrize("mount", ["", "--mount=type=secret,id=mirrors,target=/elsewhere"])
def test_run_that_would_not_get_the_credentials_is_refused_at_its_line(
    real_project: Path, registry: str, mount: str
) -> None:
    settings, command, _ = CREDENTIALS["a token of conda"]
    on_mirrors(real_project, command)
    path = real_project / "layers/dist/Dockerfile"
    path.write_text(path.read_text(encoding="utf-8").replace("--mount=type=secret,id=mirrors", mount), encoding="utf-8")
    write(real_project, SETTINGS, settings)
    done = buildsys(real_project, "bake", "img", BUILDSYS_REGISTRY=registry)
    refused(done, "layers/dist/Dockerfile:3:", "--mount=type=secret,id=mirrors")
    assert PASSWORD not in done.output
    # Without credentials nothing is wrong with it.
    write(real_project, SETTINGS, "conda: {channel_alias: 'https://conda.example.com'}\n")
    assert buildsys(real_project, "bake", "img", BUILDSYS_REGISTRY=registry).code == 0
