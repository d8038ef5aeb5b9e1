"""Whatever the file system gives or refuses ends as a message with the path and an exit code, and nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, SYSTEM, answering, git, http_answer, small_project
from tests.support.file_faults import (
    DISK,
    Fault,
    Place,
    add,
    file,
    filled,
    folder,
    full,
    full_of_files,
    hard_link,
    link,
    listening,
    look,
    mode,
    owner,
    pipe,
    sparse,
)
from tests.support.prepared import Conditions, Prepared

DONE, USAGE, DIFFERS, INVALID, UNAVAILABLE = 0, 2, 3, 4, 5
MEGABYTES = 200
GIGABYTES = 1 << 30
EVENT = '{"event": "run", "at": 1.0, "version": 1, "command": "x"}\n'
ON = "--on img"
EXTRA = {
    "requirements.txt": "numpy==2.0\n",
    "layers/python-environment/layer.yaml": ARTIFACT.replace("/opt/conf", "/opt/env")
    + "parameters:\n  folder: {description: the files, type: folder}\n",
    "layers/python-environment/Dockerfile": ARTIFACT_DOCKERFILE.replace(
        "COPY conf /artifact/opt/conf/conf", "COPY --from=folder . /artifact/opt/env/"
    ),
    "layers/python-environment/.dockerignore": "layer.yaml\n",
    ".gitignore": ".buildsys/\n",
}
PLAIN_USER = Conditions(rights=False)
# With a setting that reaches builds `.buildsys/mirrors` is written.
PROXY = {"BUILDSYS_PROXY_HTTP": "http://127.0.0.1:9"}
DRY = "bake img --dry-run --push"
PUSH = "bake img --push --retries 0"
# What a file is called while it is written.
PARTIAL = re.compile(r"(^|/)\.[^/]+\.[0-9a-z_]{8}$")


def fault(name: str, words: str, code: int, says: str | tuple[str, ...], *steps, **given) -> Fault:  # type: ignore[no-untyped-def]
    return Fault(
        name=name, words=words, code=code, says=(says,) if isinstance(says, str) else says, steps=steps, **given
    )


def env(**given: str) -> Conditions:
    return Conditions(environ=given)


A_PIPE, A_FOLDER, A_SOCKET, NO_RIGHTS, OUTSIDE = (
    "a named pipe",
    "a folder",
    "a socket",
    "Permission denied",
    "outside the project",
)
SPECIAL = [
    fault("stacks.yaml is a pipe", "list", INVALID, ("`stacks.yaml`", A_PIPE), pipe("stacks.yaml")),
    fault("stacks.yaml is a folder", "list", INVALID, ("`stacks.yaml`", A_FOLDER), folder("stacks.yaml")),
    fault("stacks.yaml is a socket", "show img", INVALID, ("`stacks.yaml`", A_SOCKET), listening("stacks.yaml")),
    fault(
        "layer.yaml is a pipe",
        "plan --check",
        INVALID,
        ("`layers/conf/layer.yaml`", A_PIPE),
        pipe("layers/conf/layer.yaml"),
    ),
    fault("layer.yaml is a folder", "list", INVALID, ("layers/conf/layer.yaml",), folder("layers/conf/layer.yaml")),
    fault(
        "Dockerfile is a pipe", "list", INVALID, ("`layers/conf/Dockerfile`", A_PIPE), pipe("layers/conf/Dockerfile")
    ),
    fault("Dockerfile is a folder", "list", INVALID, ("layers/conf/Dockerfile",), folder("layers/conf/Dockerfile")),
    fault(
        ".dockerignore is a pipe",
        "why img conf",
        INVALID,
        ("`layers/conf/.dockerignore`", A_PIPE),
        pipe("layers/conf/.dockerignore"),
    ),
    fault(
        ".dockerignore is a folder",
        "plan --offline",
        INVALID,
        ("layers/conf/.dockerignore",),
        folder("layers/conf/.dockerignore"),
    ),
    fault("context has a pipe", "explain img --offline", INVALID, ("`layers/conf/p`", A_PIPE), pipe("layers/conf/p")),
    fault(
        "context has a socket",
        "explain img --offline",
        INVALID,
        ("`layers/conf/a/s`", A_SOCKET),
        listening("layers/conf/a/s"),
    ),
    fault("layers is a pipe", "list", INVALID, ("layers",), pipe("layers")),
    fault("layers is a file", "list", INVALID, ("layers",), file("layers")),
    fault("a layer is a file", "list", INVALID, ("conf",), file("layers/conf")),
    fault("lock is a pipe", "plan --offline", INVALID, ("`buildsys.lock`", A_PIPE), pipe("buildsys.lock")),
    fault("lock is a folder", "lock --offline", INVALID, ("`buildsys.lock`", A_FOLDER), folder("buildsys.lock")),
    fault("overlay is a pipe", "variables", INVALID, ("`buildsys.lock.local`", A_PIPE), pipe("buildsys.lock.local")),
    fault("overlay is a folder", DRY, INVALID, ("`buildsys.lock.local`", A_FOLDER), folder("buildsys.lock.local")),
    fault(
        "settings are a pipe",
        "variables",
        INVALID,
        ("`buildsys.settings.yaml`", A_PIPE),
        pipe("buildsys.settings.yaml"),
    ),
    fault(
        "settings are a folder",
        "variables",
        INVALID,
        ("`buildsys.settings.yaml`", A_FOLDER),
        folder("buildsys.settings.yaml"),
    ),
    fault(
        "named settings are a pipe",
        "variables",
        INVALID,
        ("{beside}/s.yaml", A_PIPE),
        pipe("{beside}/s.yaml"),
        conditions=env(BUILDSYS_SETTINGS="{beside}/s.yaml"),
    ),
    fault(
        "named settings are a device",
        "variables",
        INVALID,
        ("/dev/zero", "a device"),
        conditions=env(BUILDSYS_SETTINGS="/dev/zero"),
    ),
    fault(
        "named settings are a folder",
        "variables",
        INVALID,
        ("{beside}", A_FOLDER),
        conditions=env(BUILDSYS_SETTINGS="{beside}"),
    ),
    fault(
        "named settings are missing",
        "variables",
        INVALID,
        ("{beside}/none", "does not exist"),
        conditions=env(BUILDSYS_SETTINGS="{beside}/none"),
    ),
    fault(
        "ca is a pipe",
        "variables",
        INVALID,
        ("{beside}/ca", A_PIPE),
        pipe("{beside}/ca"),
        conditions=env(BUILDSYS_CA="{beside}/ca"),
    ),
    fault("ca is a device", "variables", INVALID, ("/dev/zero", "a device"), conditions=env(BUILDSYS_CA="/dev/zero")),
    fault("ca is a folder", "variables", INVALID, ("{beside}", A_FOLDER), conditions=env(BUILDSYS_CA="{beside}")),
    fault(
        "ca is huge",
        "variables",
        INVALID,
        ("{beside}/ca", "4 MiB"),
        sparse("{beside}/ca", 10 * GIGABYTES),
        conditions=env(BUILDSYS_CA="{beside}/ca"),
    ),
    fault(
        "files are a pipe",
        "variables",
        INVALID,
        ("{beside}/f", A_PIPE),
        pipe("{beside}/f"),
        conditions=env(BUILDSYS_FILES="{beside}/f"),
    ),
    fault(
        "files hold a pipe",
        "variables",
        INVALID,
        ("{beside}/f/p", A_PIPE),
        pipe("{beside}/f/p"),
        conditions=env(BUILDSYS_FILES="{beside}/f"),
    ),
    fault("bake file is a pipe", "plan --offline", INVALID, ("`docker-bake.hcl`", A_PIPE), pipe("docker-bake.hcl")),
    fault(
        "bake file is a folder", "plan --offline", INVALID, ("`docker-bake.hcl`", A_FOLDER), folder("docker-bake.hcl")
    ),
    fault(
        "bake file to check is a pipe", "plan --check", INVALID, ("`docker-bake.hcl`", A_PIPE), pipe("docker-bake.hcl")
    ),
    fault("schemas is a file", "schema --write", UNAVAILABLE, ("schemas",), file("schemas")),
    fault("schemas is a pipe", "schema --check", DIFFERS, ("schemas",), pipe("schemas")),
    fault(
        "a schema is a pipe",
        "schema --write",
        INVALID,
        ("`schemas/layer.schema.json`", A_PIPE),
        pipe("schemas/layer.schema.json"),
    ),
    fault(
        "a schema is a folder",
        "schema --write",
        INVALID,
        ("`schemas/layer.schema.json`", A_FOLDER),
        folder("schemas/layer.schema.json"),
    ),
    fault(
        "requirements are a pipe",
        f"environment requirements.txt {ON}",
        INVALID,
        ("requirements.txt", A_PIPE),
        pipe("requirements.txt"),
    ),
    fault(
        "requirements are a folder",
        f"environment requirements.txt {ON}",
        USAGE,
        ("requirements.txt", A_FOLDER),
        folder("requirements.txt"),
    ),
    fault("requirements are missing", f"environment none.txt {ON}", INVALID, ("none.txt", "does not exist")),
    fault(
        "requirements are huge",
        f"environment requirements.txt {ON}",
        INVALID,
        ("requirements.txt", "64 MiB"),
        sparse("requirements.txt", 10 * GIGABYTES),
    ),
    fault("requirements are a device", f"environment /dev/zero {ON}", INVALID, ("/dev/zero", "a device")),
    fault(
        "requirements are binary",
        f"environment requirements.txt {ON}",
        INVALID,
        ("requirements.txt", "UTF-8"),
        file("requirements.txt", b"\x7fELF\x00\xff\xfe"),
    ),
    fault(
        "requirements are UTF-16",
        f"environment requirements.txt {ON}",
        INVALID,
        ("requirements.txt", "UTF-8"),
        file("requirements.txt", "numpy\n".encode("utf-16")),
    ),
    fault(
        "conda file is binary",
        f"environment e.yml {ON}",
        INVALID,
        ("e.yml", "UTF-8"),
        file("e.yml", b"dependencies: [\xff]\n"),
    ),
    fault(
        "Dockerfile of a user is a pipe",
        f"environment {{beside}}/d/Dockerfile --dockerfile {ON}",
        INVALID,
        ("{beside}/d/Dockerfile", A_PIPE),
        pipe("{beside}/d/Dockerfile"),
    ),
    fault(
        "Dockerfile of a user is binary",
        f"environment {{beside}}/d/Dockerfile --dockerfile {ON}",
        INVALID,
        ("{beside}/d/Dockerfile", "UTF-8"),
        file("{beside}/d/Dockerfile", b"FROM base\n\xff\n"),
    ),
    fault(
        "requirements are on a path through a file",
        f"environment stacks.yaml/r.txt {ON}",
        INVALID,
        ("stacks.yaml/r.txt", "Not a directory"),
    ),
    fault("events to report are a pipe", "report {beside}/e", INVALID, ("{beside}/e", A_PIPE), pipe("{beside}/e")),
    fault("events to report are a device", "report /dev/zero", INVALID, ("/dev/zero", "a device")),
    fault("events to report are missing", "report {beside}/none", INVALID, ("{beside}/none",)),
    fault(
        "events to report are binary",
        "report {beside}/e",
        INVALID,
        ("{beside}/e",),
        file("{beside}/e", bytes(range(256)) * 64),
    ),
    fault(
        "events to report are huge",
        "report {beside}/e",
        INVALID,
        ("{beside}/e", "256 MiB"),
        sparse("{beside}/e", 10 * GIGABYTES),
    ),
    fault(
        "report goes to a folder",
        "report --output {beside}",
        USAGE,
        ("{beside}", A_FOLDER),
        file(".buildsys/events.jsonl", EVENT),
    ),
    fault(
        "report goes to a pipe",
        "report --output {beside}/p",
        INVALID,
        ("{beside}/p", A_PIPE),
        file(".buildsys/events.jsonl", EVENT),
        pipe("{beside}/p"),
    ),
    fault(
        "report goes through a file",
        "report --output stacks.yaml/r.html",
        UNAVAILABLE,
        ("stacks.yaml",),
        file(".buildsys/events.jsonl", EVENT),
    ),
    fault(
        "events of a run go to a pipe without a reader",
        PUSH + " --events {beside}/p",
        UNAVAILABLE,
        ("{beside}/p",),
        pipe("{beside}/p"),
    ),
    fault(
        "events of a run go through a file",
        PUSH + " --events stacks.yaml/e",
        UNAVAILABLE,
        ("stacks.yaml/e", "Not a directory"),
    ),
    fault("own events are a pipe", "report", INVALID, ("`.buildsys/events.jsonl`",), pipe(".buildsys/events.jsonl")),
    fault(
        "own events are huge",
        "report",
        INVALID,
        ("`.buildsys/events.jsonl`", "256 MiB"),
        sparse(".buildsys/events.jsonl", 10 * GIGABYTES),
    ),
    fault(
        "own page is a folder",
        "report",
        INVALID,
        ("`.buildsys/report.html`",),
        file(".buildsys/events.jsonl", EVENT),
        folder(".buildsys/report.html"),
    ),
    fault(
        "history is a pipe",
        "bake --failed --push",
        INVALID,
        ("`.buildsys/history.json`",),
        pipe(".buildsys/history.json"),
    ),
    fault(
        "history is huge",
        "bake --failed --push",
        INVALID,
        ("`.buildsys/history.json`", "64 MiB"),
        sparse(".buildsys/history.json", 10 * GIGABYTES),
    ),
    fault(
        "docker settings are a pipe",
        DRY,
        UNAVAILABLE,
        ("{beside}/docker",),
        pipe("{beside}/docker/config.json"),
        conditions=env(BUILDSYS_REGISTRY="{asking}", DOCKER_CONFIG="{beside}/docker"),
    ),
    fault(
        "docker settings are a file where a folder belongs",
        DRY,
        UNAVAILABLE,
        ("127.0.0.1",),
        file("{beside}/docker"),
        conditions=env(BUILDSYS_REGISTRY="{asking}", DOCKER_CONFIG="{beside}/docker"),
    ),
    fault(
        "docker settings are binary",
        DRY,
        UNAVAILABLE,
        ("{beside}/docker/config.json",),
        file("{beside}/docker/config.json", b"\xff\xfe\x00"),
        conditions=env(BUILDSYS_REGISTRY="{asking}", DOCKER_CONFIG="{beside}/docker"),
    ),
    fault(
        "docker settings are huge",
        DRY,
        UNAVAILABLE,
        ("{beside}/docker/config.json",),
        sparse("{beside}/docker/config.json", 10 * GIGABYTES),
        conditions=env(BUILDSYS_REGISTRY="{asking}", DOCKER_CONFIG="{beside}/docker"),
    ),
]
LINKS = [
    fault("stacks.yaml dangles", "list", INVALID, ("stacks.yaml",), link("stacks.yaml", "none")),
    fault("stacks.yaml loops", "list", INVALID, ("`stacks.yaml`", "itself"), link("stacks.yaml", "stacks.yaml")),
    fault(
        "lock leads to /dev/zero",
        "plan --offline",
        INVALID,
        ("`buildsys.lock`", OUTSIDE),
        link("buildsys.lock", "/dev/zero"),
    ),
    fault(
        "lock leads to a terminal",
        "lock --offline",
        INVALID,
        ("`buildsys.lock`", OUTSIDE),
        link("buildsys.lock", "/dev/tty"),
    ),
    fault(
        "context leads out",
        "explain img --offline",
        INVALID,
        ("`layers/conf/x`", OUTSIDE),
        link("layers/conf/x", "{beside}"),
    ),
    fault(
        "context leads to .git",
        "explain img --offline",
        INVALID,
        ("`layers/conf/x`", "private"),
        link("layers/conf/x", "../../.git/config"),
    ),
    fault(
        "chain of symlinks leads out",
        "explain img --offline",
        INVALID,
        ("`layers/conf/a`", "`layers/conf/b`", OUTSIDE),
        link("layers/conf/a", "b"),
        link("layers/conf/b", "{beside}"),
    ),
    fault("a layer loops", "list", INVALID, ("`layers/loop`", "itself"), link("layers/loop", "loop")),
    fault(
        "bake file leads out",
        "plan --offline",
        INVALID,
        ("`docker-bake.hcl`", OUTSIDE),
        link("docker-bake.hcl", "{beside}/f"),
    ),
    fault(
        "bake file leads to a folder",
        "plan --offline",
        INVALID,
        ("`docker-bake.hcl`",),
        link("docker-bake.hcl", "layers"),
    ),
    fault(
        "bake file leads to /dev/full",
        "plan --offline",
        INVALID,
        ("`docker-bake.hcl`", OUTSIDE),
        link("docker-bake.hcl", "/dev/full"),
    ),
    fault("schemas lead out", "schema --write", INVALID, ("`schemas`", OUTSIDE), link("schemas", "{beside}")),
    fault("settings dangle", "variables", INVALID, ("buildsys.settings.yaml",), link("buildsys.settings.yaml", "none")),
    fault(
        "state is a symlink",
        "variables",
        INVALID,
        ("`.buildsys` is a symlink",),
        link(".buildsys", "{beside}"),
        conditions=env(**PROXY),
    ),
    fault(
        "state dangles",
        "variables",
        INVALID,
        ("`.buildsys` is a symlink",),
        link(".buildsys", "none"),
        conditions=env(**PROXY),
    ),
    fault(
        "a run folder is a symlink",
        PUSH,
        INVALID,
        ("`.buildsys/runs` is a symlink",),
        link(".buildsys/runs", "{beside}"),
    ),
    fault("a layer is a symlink inside", "list", DONE, (), link("layers/again", "conf")),
    fault(
        "excluded pipe",
        "explain img --offline",
        DONE,
        (),
        pipe("layers/conf/tmp/p"),
        add("layers/conf/.dockerignore", "tmp\n"),
    ),
    fault(
        "excluded symlink",
        "explain img --offline",
        DONE,
        (),
        link("layers/conf/tmp/p", "/etc/passwd"),
        add("layers/conf/.dockerignore", "tmp\n"),
    ),
    fault(
        "excluded folder without rights",
        "explain img --offline",
        DONE,
        (),
        file("layers/conf/tmp/p"),
        mode("layers/conf/tmp", 0),
        add("layers/conf/.dockerignore", "tmp\n"),
        conditions=PLAIN_USER,
    ),
]
RIGHTS = [
    fault(
        "stacks.yaml is unreadable",
        "list",
        INVALID,
        ("`stacks.yaml`", NO_RIGHTS),
        mode("stacks.yaml", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "layer.yaml is unreadable",
        "list",
        INVALID,
        ("`layers/conf/layer.yaml`", NO_RIGHTS),
        mode("layers/conf/layer.yaml", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "Dockerfile is unreadable",
        "list",
        INVALID,
        ("`layers/conf/Dockerfile`", NO_RIGHTS),
        mode("layers/conf/Dockerfile", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "context is unreadable",
        "explain img --offline",
        INVALID,
        ("`layers/conf/conf`", NO_RIGHTS),
        mode("layers/conf/conf", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "folder in a context is unreadable",
        "explain img --offline",
        INVALID,
        ("`layers/conf/a`", NO_RIGHTS),
        file("layers/conf/a/b"),
        mode("layers/conf/a", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "folder in a context cannot be entered",
        "explain img --offline",
        INVALID,
        ("`layers/conf/a", NO_RIGHTS),
        file("layers/conf/a/b"),
        mode("layers/conf/a", 0o600),
        conditions=PLAIN_USER,
    ),
    fault(
        "a layer is unreadable",
        "list",
        INVALID,
        ("`layers/conf`", NO_RIGHTS),
        mode("layers/conf", 0),
        conditions=PLAIN_USER,
    ),
    fault("layers are unreadable", "list", INVALID, ("`layers`", NO_RIGHTS), mode("layers", 0), conditions=PLAIN_USER),
    fault(
        "layers cannot be entered",
        "list",
        INVALID,
        ("`layers", NO_RIGHTS),
        mode("layers", 0o600),
        conditions=PLAIN_USER,
    ),
    fault(
        "project is unreadable",
        "-C {project} list",
        INVALID,
        ("{project}", NO_RIGHTS),
        mode(".", 0),
        folder="{beside}",
        conditions=PLAIN_USER,
    ),
    fault(
        "project cannot be written",
        "plan --offline",
        UNAVAILABLE,
        ("docker-bake.hcl", NO_RIGHTS),
        file("docker-bake.hcl"),
        mode(".", 0o555),
        conditions=PLAIN_USER,
    ),
    fault(
        "lock is unreadable",
        "lock --offline",
        INVALID,
        ("`buildsys.lock`", NO_RIGHTS),
        mode("buildsys.lock", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "settings are unreadable",
        "variables",
        INVALID,
        ("`buildsys.settings.yaml`", NO_RIGHTS),
        file("buildsys.settings.yaml", "{}\n"),
        mode("buildsys.settings.yaml", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "schemas cannot be written",
        "schema --write",
        UNAVAILABLE,
        ("schemas/", NO_RIGHTS),
        folder("schemas"),
        mode("schemas", 0o555),
        conditions=PLAIN_USER,
    ),
    fault(
        "bake file is unreadable",
        "plan --offline",
        INVALID,
        ("`docker-bake.hcl`", NO_RIGHTS),
        file("docker-bake.hcl"),
        mode("docker-bake.hcl", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "state cannot be written",
        "variables",
        UNAVAILABLE,
        (".buildsys", NO_RIGHTS),
        folder(".buildsys"),
        mode(".buildsys", 0o555),
        conditions=replace(PLAIN_USER, environ=PROXY),
    ),
    fault(
        "state is unreadable",
        PUSH,
        UNAVAILABLE,
        (".buildsys", NO_RIGHTS),
        file(".buildsys/x"),
        mode(".buildsys", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "mirrors of the state cannot be written",
        "variables",
        UNAVAILABLE,
        (".buildsys/mirrors", "Operation not permitted"),
        folder(".buildsys/mirrors"),
        owner(".buildsys/mirrors"),
        conditions=PLAIN_USER,
    ),
    fault(
        "written mirrors are unreadable",
        "variables",
        DONE,
        (),
        file(".buildsys/mirrors/use", b"x" * 10),
        owner(".buildsys/mirrors/use"),
        mode(".buildsys/mirrors/use", 0o600),
        conditions=PLAIN_USER,
    ),
    fault(
        "environments of the state cannot be written",
        f"environment requirements.txt {ON}",
        UNAVAILABLE,
        (".buildsys/environments", NO_RIGHTS),
        folder(".buildsys/environments"),
        mode(".buildsys/environments", 0o555),
        conditions=PLAIN_USER,
    ),
    fault(
        "runs of the state are unreadable",
        PUSH,
        UNAVAILABLE,
        (".buildsys/runs", NO_RIGHTS),
        folder(".buildsys/runs"),
        mode(".buildsys/runs", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "lock of the state is unreadable",
        PUSH,
        UNAVAILABLE,
        (".buildsys/lock", NO_RIGHTS),
        file(".buildsys/lock"),
        mode(".buildsys/lock", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "own events are unreadable",
        "report",
        INVALID,
        ("`.buildsys/events.jsonl`", NO_RIGHTS),
        file(".buildsys/events.jsonl", EVENT),
        mode(".buildsys/events.jsonl", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "events to report are unreadable",
        "report {beside}/e",
        INVALID,
        ("{beside}/e", NO_RIGHTS),
        file("{beside}/e", EVENT),
        mode("../e", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "ca is unreadable",
        "variables",
        INVALID,
        ("{beside}/d/ca", NO_RIGHTS),
        file("{beside}/d/ca"),
        mode("../d/ca", 0),
        conditions=Conditions(rights=False, environ={"BUILDSYS_CA": "{beside}/d/ca"}),
    ),
    fault(
        "ca is in an unreadable folder",
        "variables",
        INVALID,
        ("{beside}/d/ca", NO_RIGHTS),
        file("{beside}/d/ca"),
        mode("../d", 0),
        conditions=Conditions(rights=False, environ={"BUILDSYS_CA": "{beside}/d/ca"}),
    ),
    fault(
        "files are unreadable",
        "variables",
        INVALID,
        ("{beside}/d", NO_RIGHTS),
        file("{beside}/d/f"),
        mode("../d", 0),
        conditions=Conditions(rights=False, environ={"BUILDSYS_FILES": "{beside}/d"}),
    ),
    fault(
        "files are in an unreadable folder",
        "variables",
        INVALID,
        ("{beside}/d/f", NO_RIGHTS),
        file("{beside}/d/f/x"),
        mode("../d", 0),
        conditions=Conditions(rights=False, environ={"BUILDSYS_FILES": "{beside}/d/f"}),
    ),
    fault(
        "named settings are in an unreadable folder",
        "variables",
        INVALID,
        ("{beside}/d/s", NO_RIGHTS),
        file("{beside}/d/s"),
        mode("../d", 0),
        conditions=Conditions(rights=False, environ={"BUILDSYS_SETTINGS": "{beside}/d/s"}),
    ),
    fault(
        "home is unreadable",
        DRY,
        UNAVAILABLE,
        ("{beside}/home/.docker/config.json", NO_RIGHTS),
        file("{beside}/home/.docker/config.json", "{}"),
        mode("../home", 0),
        conditions=Conditions(
            rights=False, environ={"HOME": "{beside}/home", "DOCKER_CONFIG": "", "BUILDSYS_REGISTRY": "{asking}"}
        ),
    ),
    fault(
        "requirements are unreadable",
        f"environment requirements.txt {ON}",
        INVALID,
        ("requirements.txt", NO_RIGHTS),
        mode("requirements.txt", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "requirements are in an unreadable folder",
        f"environment {{beside}}/d/r.txt {ON}",
        INVALID,
        ("{beside}/d/r.txt", NO_RIGHTS),
        file("{beside}/d/r.txt"),
        mode("../d", 0),
        conditions=PLAIN_USER,
    ),
    fault(
        "events of a run cannot be written",
        PUSH + " --events {beside}/d/e",
        UNAVAILABLE,
        ("{beside}/d/e", NO_RIGHTS),
        folder("{beside}/d"),
        mode("../d", 0o555),
        conditions=PLAIN_USER,
    ),
    fault(
        "git may not read its folder",
        "affected --since HEAD",
        UNAVAILABLE,
        ("`git` cannot be started in `{project}/.git`", NO_RIGHTS),
        mode(".git", 0),
        conditions=PLAIN_USER,
    ),
]
FULL = [
    fault(
        "disk is full for the bake file",
        "plan --offline",
        UNAVAILABLE,
        ("docker-bake.hcl", "No space left"),
        file("docker-bake.hcl", "before\n"),
        full(),
        disk=DISK,
    ),
    fault(
        "disk is full for the lock",
        "lock",
        UNAVAILABLE,
        ("buildsys.lock", "No space left"),
        file("layers/dist/layer.yaml", f"{SYSTEM}freshness: week\n"),
        file("layers/dist/Dockerfile", "FROM base\nARG PACKAGES\nARG EPOCH\nRUN true\n"),
        full(),
        disk=DISK,
    ),
    fault("disk is full for schemas", "schema --write", UNAVAILABLE, ("schemas", "No space left"), full(), disk=DISK),
    fault(
        "disk is full for mirrors",
        "variables",
        UNAVAILABLE,
        (".buildsys", "No space left"),
        full(),
        disk=DISK,
        conditions=env(**PROXY),
    ),
    fault(
        "disk is full for a page",
        "report",
        UNAVAILABLE,
        (".buildsys/report.html", "No space left"),
        file(".buildsys/events.jsonl", EVENT),
        full(),
        disk=DISK,
    ),
    fault(
        "disk is full for a run",
        PUSH,
        UNAVAILABLE,
        (".buildsys", "No space left"),
        full(),
        disk=DISK,
        conditions=env(**PROXY),
    ),
    fault(
        "disk is full for an environment",
        f"environment requirements.txt {ON}",
        UNAVAILABLE,
        (".buildsys", "No space left"),
        full(),
        disk=DISK,
    ),
    fault(
        "disk takes no files",
        "plan --offline",
        UNAVAILABLE,
        ("docker-bake.hcl", "No space left"),
        full_of_files(),
        disk=DISK,
    ),
    fault(
        "disk is read-only for the bake file",
        "plan --offline",
        UNAVAILABLE,
        ("docker-bake.hcl", "Read-only"),
        disk=DISK,
        read_only=True,
    ),
    fault(
        "disk is read-only for mirrors",
        "variables",
        UNAVAILABLE,
        (".buildsys", "Read-only"),
        disk=DISK,
        read_only=True,
        conditions=env(**PROXY),
    ),
    fault("disk is read-only for a run", PUSH, UNAVAILABLE, (".buildsys", "Read-only"), disk=DISK, read_only=True),
    fault(
        "disk is read-only for a page",
        "report",
        UNAVAILABLE,
        (".buildsys", "Read-only"),
        file(".buildsys/events.jsonl", EVENT),
        disk=DISK,
        read_only=True,
    ),
    fault(
        "disk is read-only and a plan is only checked",
        "plan --check",
        DIFFERS,
        ("docker-bake.hcl",),
        disk=DISK,
        read_only=True,
    ),
    fault(
        "files may have a few bytes",
        "plan --offline",
        UNAVAILABLE,
        ("docker-bake.hcl", "File too large"),
        file("docker-bake.hcl", "b\n"),
        conditions=Conditions(limits={"RLIMIT_FSIZE": 100}),
    ),
    fault(
        "schemas may have a few bytes",
        "schema --write",
        UNAVAILABLE,
        ("schemas/", "File too large"),
        conditions=Conditions(limits={"RLIMIT_FSIZE": 100}),
    ),
    fault(
        "page may have a few bytes",
        "report",
        UNAVAILABLE,
        (".buildsys/report.html", "File too large"),
        file(".buildsys/events.jsonl", EVENT),
        conditions=Conditions(limits={"RLIMIT_FSIZE": 1000}),
    ),
    fault(
        "no file may have a byte",
        "variables",
        UNAVAILABLE,
        (".buildsys", "File too large"),
        conditions=Conditions(environ=PROXY, limits={"RLIMIT_FSIZE": 0}),
    ),
    fault(
        "no temporary file may have a byte",
        "affected --since HEAD",
        UNAVAILABLE,
        ("temporary",),
        conditions=Conditions(limits={"RLIMIT_FSIZE": 0}),
    ),
]
ODD = [
    fault("file name of 255 bytes", "explain img --offline", DONE, (), file("layers/conf/" + "n" * 255)),
    fault("file name with a line end", "explain img --offline", DONE, (), file("layers/conf/a\nb")),
    fault(
        "file name of bytes that are no text",
        "explain img --offline --json",
        INVALID,
        ("the name `layers/conf/a", "is not UTF-8"),
        file("layers/conf/" + os.fsdecode(b"a\xffb")),
    ),
    fault(
        "pipe whose name is no text",
        "explain img --offline",
        INVALID,
        (A_PIPE,),
        pipe("layers/conf/" + os.fsdecode(b"a\xffb")),
    ),
    fault(
        "pipe whose name acts on a terminal", "explain img --offline", INVALID, (A_PIPE,), pipe("layers/conf/a\x1b[2Jb")
    ),
    fault(
        "pipe whose name is a command of a workflow",
        "explain img --offline",
        INVALID,
        (A_PIPE,),
        pipe("layers/conf/a\n::error::b"),
    ),
    fault(
        "layer whose name is no text",
        "list",
        INVALID,
        ("layers/",),
        file("layers/" + os.fsdecode(b"\xff") + "/layer.yaml"),
    ),
    fault("layer whose name has a line end", "list", INVALID, ("layers/",), file("layers/a\nb/layer.yaml")),
    fault(
        "names differ in case only",
        "explain img --offline",
        DONE,
        (),
        file("layers/conf/Conf"),
        file("layers/conf/CONF"),
    ),
    fault(
        "layers differ in case only",
        "list",
        INVALID,
        ("layers/Conf",),
        file("layers/Conf/layer.yaml", ARTIFACT),
        file("layers/Conf/Dockerfile", ARTIFACT_DOCKERFILE),
        file("layers/Conf/.dockerignore", "layer.yaml\ntests\n"),
        file("layers/Conf/conf"),
    ),
    fault("context has a file of 10 GB", "list", DONE, (), sparse("layers/conf/big", 10 * GIGABYTES)),
    fault(
        "lock is huge", "plan --offline", INVALID, ("`buildsys.lock`", "4 MiB"), sparse("buildsys.lock", 10 * GIGABYTES)
    ),
    fault("stacks.yaml is huge", "list", INVALID, ("`stacks.yaml`", "4 MiB"), sparse("stacks.yaml", 10 * GIGABYTES)),
    fault(
        "settings are huge",
        "variables",
        INVALID,
        ("`buildsys.settings.yaml`", "4 MiB"),
        sparse("buildsys.settings.yaml", 10 * GIGABYTES),
    ),
    fault(
        "bake file is huge", "plan --check", DIFFERS, ("docker-bake.hcl",), sparse("docker-bake.hcl", 10 * GIGABYTES)
    ),
    fault(
        "stacks.yaml is not UTF-8", "list", INVALID, ("UTF-8", "stacks.yaml"), file("stacks.yaml", b"stacks: \xff\n")
    ),
    fault("stacks.yaml has a null byte", "list", INVALID, ("stacks.yaml:1",), file("stacks.yaml", b"stacks: \0\n")),
    fault(
        "stacks.yaml is UTF-16",
        "list",
        INVALID,
        ("UTF-8", "stacks.yaml"),
        file("stacks.yaml", "stacks: {}\n".encode("utf-16")),
    ),
    fault("lock has a null byte", "plan --offline", INVALID, ("buildsys.lock",), add("buildsys.lock", "\0")),
    fault(
        "lock is not UTF-8",
        "lock --offline",
        INVALID,
        ("UTF-8", "buildsys.lock"),
        file("buildsys.lock", b"version: 1 # \xff\n"),
    ),
    fault(
        "Dockerfile is UTF-16",
        "list",
        INVALID,
        ("UTF-8", "layers/conf/Dockerfile"),
        file("layers/conf/Dockerfile", "FROM base\n".encode("utf-16")),
    ),
    fault(
        "layer.yaml is UTF-16",
        "list",
        INVALID,
        ("UTF-8", "layers/conf/layer.yaml"),
        file("layers/conf/layer.yaml", "kind: artifact\n".encode("utf-16")),
    ),
    fault(
        "settings are not UTF-8",
        "variables",
        INVALID,
        ("UTF-8", "buildsys.settings.yaml"),
        file("buildsys.settings.yaml", b"ca: \xff\n"),
    ),
    fault(
        "bake file to check is not UTF-8",
        "plan --check",
        DIFFERS,
        ("docker-bake.hcl",),
        file("docker-bake.hcl", b"\xff\0\n"),
    ),
    fault(
        "files with carriage returns",
        "list",
        DONE,
        (),
        file("stacks.yaml", "stacks:\r\n  img: {layers: [dist, conf]}\r\n"),
    ),
    fault(
        "hard links in a context", "explain img --offline", DONE, (), hard_link("layers/conf/again", "layers/conf/conf")
    ),
    fault(
        "bake file is a hard link to a source",
        "plan --offline",
        DONE,
        (),
        hard_link("docker-bake.hcl", "stacks.yaml"),
        changes=("docker-bake.hcl",),
    ),
    fault(
        "folder of the project is deleted",
        "list",
        INVALID,
        ("the current folder", "no longer exists"),
        folder("{beside}/gone"),
        folder="{beside}/gone",
        conditions=Conditions(removed=("{beside}/gone",)),
    ),
    fault("folder below the project", "list", DONE, (), folder="{project}/layers/conf"),
    fault("folder without a project", "list", INVALID, ("stacks.yaml",), folder="{beside}"),
    fault("-C names a file", "-C {project}/stacks.yaml list", INVALID, ("{project}/stacks.yaml", "expected a folder")),
    fault("-C names a pipe", "-C {beside}/p list", INVALID, ("{beside}/p", A_PIPE), pipe("{beside}/p")),
    fault("-C names nothing", "-C {beside}/none list", INVALID, ("{beside}/none",)),
    fault("-C names a device", "-C /dev/zero list", INVALID, ("/dev/zero", "a device")),
    fault(
        "-C names a symlink to itself",
        "-C {beside}/loop list",
        INVALID,
        ("{beside}/loop",),
        link("{beside}/loop", "loop"),
    ),
    fault("-C names too long a path", f"-C {'n' * 5000} list", INVALID, ("nnn",)),
    fault(
        "-C names an unreadable folder",
        "-C {beside}/d/e list",
        INVALID,
        ("{beside}/d/e",),
        file("{beside}/d/e/stacks.yaml"),
        mode("../d", 0),
        conditions=PLAIN_USER,
    ),
    fault("-C is no text", "", INVALID, ("does not exist",), bytes_of_words=b"-C\0a\xffb\0list"),
    fault("-C is empty", "", DONE, (), bytes_of_words=b"-C\0\0list"),
    fault("no home", "list", DONE, (), conditions=env(HOME="unset")),
    fault("home without settings of docker", DRY, UNAVAILABLE, ("127.0.0.1:9",), conditions=env(HOME="{beside}/none")),
    fault(
        "folder of temporary files is missing",
        "affected --since HEAD",
        DONE,
        (),
        conditions=env(TMPDIR="{beside}/none"),
    ),
    fault(".git is empty", "affected --since HEAD", UNAVAILABLE, ("git: ",), folder(".git")),
    fault(".git is a file of nothing", "affected --since HEAD", UNAVAILABLE, ("git: ",), file(".git", "")),
    fault(".git leads nowhere", "affected --since HEAD", UNAVAILABLE, ("git: ",), file(".git", "gitdir: /nowhere\n")),
    fault(".git is a pipe", "affected --since HEAD", UNAVAILABLE, ("git: ",), pipe(".git")),
    fault(".git is broken", "affected --since HEAD", UNAVAILABLE, ("git: ",), file(".git/HEAD", b"\xff\n")),
    fault(
        "HEAD of git leads nowhere",
        "affected --since HEAD",
        INVALID,
        ("`HEAD`",),
        file(".git/HEAD", "ref: refs/heads/none\n"),
    ),
    fault("object of git is missing", "affected --since HEAD", UNAVAILABLE, ("git",), folder(".git/objects")),
    fault(
        "state is a file",
        "variables",
        INVALID,
        ("`.buildsys` is not a folder",),
        file(".buildsys"),
        conditions=env(**PROXY),
    ),
    fault("state is a pipe", PUSH, INVALID, ("`.buildsys` is not a folder",), pipe(".buildsys")),
    fault("a run folder is a file", PUSH, UNAVAILABLE, (), file(".buildsys/runs/7")),
    fault("runs are a file", PUSH, INVALID, ("`.buildsys/runs` is not a folder",), file(".buildsys/runs")),
    fault("a run has the highest number", PUSH, UNAVAILABLE, (), folder(".buildsys/runs/999999999")),
]
STREAMS = [
    fault("output has no reader", "list", DONE, (), conditions=Conditions(streams=("", "gone", ""))),
    fault("no stream has a reader", "list", DONE, (), conditions=Conditions(streams=("", "gone", "gone"))),
    fault("errors have no reader", "show none", INVALID, (), conditions=Conditions(streams=("", "", "gone"))),
    fault(
        "output is full",
        "list",
        UNAVAILABLE,
        ("the output cannot be written", "No space left"),
        conditions=Conditions(streams=("", "/dev/full", "")),
    ),
    fault(
        "output of JSON is full",
        "plan --offline --json",
        UNAVAILABLE,
        ("the output cannot be written",),
        conditions=Conditions(streams=("", "/dev/full", "")),
        changes=("docker-bake.hcl",),
    ),
    fault("all streams are closed", "list", DONE, (), conditions=Conditions(streams=("closed", "closed", "closed"))),
    fault("errors are closed", "show none", INVALID, (), conditions=Conditions(streams=("", "", "closed"))),
    fault(
        "input is closed",
        "plan --offline",
        DONE,
        (),
        conditions=Conditions(streams=("closed", "", "")),
        changes=("docker-bake.hcl",),
    ),
]
FAULTS = [*SPECIAL, *LINKS, *RIGHTS, *FULL, *ODD, *STREAMS]


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    """The process that all commands are forked from."""
    found = Prepared(mounts=True)
    yield found
    found.close()


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in git, which is copied for each fault."""
    project = small_project(tmp_path_factory.mktemp("sources") / "project", EXTRA)
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "one")
    return project


@pytest.fixture(scope="session")
def asking() -> Iterator[str]:
    """A repository prefix in a registry that asks for credentials."""
    challenge = 'WWW-Authenticate: Bearer realm="http://127.0.0.1:9/token"'
    with answering(http_answer(b"{}", challenge, status="401 Unauthorized")) as server:
        yield f"127.0.0.1:{server.port}/x"


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A folder that can be removed whatever modes are in it."""
    yield tmp_path
    for above, folders, _ in os.walk(tmp_path):
        for name in folders:
            path = Path(above, name)
            if not path.is_symlink():
                path.chmod(0o700)


def test_there_are_enough_faults_and_each_has_a_name_of_its_own() -> None:
    assert len(FAULTS) >= 65
    assert len({each.name for each in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name.replace(" ", "-"))
def test_fault_of_a_file_is_a_message_with_its_path_and_loses_nothing(
    prepared: Prepared, sources: Path, beside: Path, asking: str, fault: Fault
) -> None:
    place = Place(project=beside / "project", beside=beside, asking=asking)
    if fault.disk and not prepared.has_mounts:
        pytest.skip("this system mounts no disk for a test")
    seen = place
    if fault.disk:
        place.project.mkdir()
        seen = replace(place, project=prepared.mount(place.project, fault.disk))
    shutil.copytree(sources, seen.project, symlinks=True, dirs_exist_ok=True)
    try:
        for step in fault.steps:
            step(seen)
        if fault.read_only:
            prepared.make_read_only(place.project)
        before = look(seen.project)
        words = words_of(fault, place)
        given = {
            "PATH": "/usr/bin:/bin",
            "BUILDSYS_REGISTRY": "127.0.0.1:9/x",
            "BUILDSYS_PARENTS": "docker.io=127.0.0.1:9",
            "HOME": str(beside / "home"),
        }
        done = prepared.run(Path(filled(fault.folder, place)), words, fault.conditions_at(place, given))
        after = look(seen.project)
    finally:
        if fault.disk:
            prepared.unmount(place.project)
    assert "Traceback" not in done.output, done.output
    assert done.code == fault.code, f"{done}"
    missing = [word for each in fault.says if (word := filled(each, place)) not in done.stderr]
    assert not missing, f"{missing} not in: {done}"
    assert done.memory < MEGABYTES << 20
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    unexpected = {
        name for name in changed if name.split("/")[0] not in {".buildsys", "schemas"} and name not in fault.changes
    }
    assert not unexpected, unexpected
    assert not [name for name in after if name not in before and PARTIAL.search(name)]


def words_of(fault: Fault, place: Place) -> list[str | bytes]:
    """Return the words of a command; where they are bytes, a null byte separates them."""
    if b"\0" in fault.bytes_of_words:
        return [*fault.bytes_of_words.split(b"\0")]
    return [*filled(fault.words, place).split()]
