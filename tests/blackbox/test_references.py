"""What a build takes from elsewhere is fixed by the sources, and the lock loses no entry (M7, M8, M14)."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import (
    ARTIFACT,
    DOWNLOAD,
    answering,
    buildsys,
    http_answer,
    refused,
    start,
    with_download,
    write,
)

NOWHERE = "127.0.0.1:9/nothing"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SUM = "1" * 64


# --- M7: what ADD fetches.


def adding(project: Path, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    write(project, "layers/dist/Dockerfile", f"FROM base\nARG PACKAGES\n{text}")


@pytest.mark.parametrize(
    "source",
    [
        "http://example.com/file",
        "https://example.com/file.tar.gz",
        "HTTPS://example.com/file",
        '["https://example.com/file", "/there"]',
        "--chmod=755 https://example.com/file",
        "--checksum= https://example.com/file",
        "--checksum=sha256: https://example.com/file",
        f"--checksum=sha256:{SUM[1:]} https://example.com/file",
        "conf https://example.com/file",
    ],
)
def test_address_without_a_checksum_is_refused_at_its_line(project: Path, source: str) -> None:
    write(project, "layers/dist/conf", "x")
    adding(project, f"ADD {source}" if source.startswith("[") else f"ADD {source} /there/")
    refused(buildsys(project, "plan", "--offline"), "layers/dist/Dockerfile:3:", "has no checksum", "`downloads`")
    refused(buildsys(project, "bake", "--push", BUILDSYS_REGISTRY=NOWHERE), "layers/dist/Dockerfile:3:")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/a.git",
        "https://example.com/a.git#main",
        "https://example.com/a.git#v1:folder",
        f"https://example.com/a.git#{COMMIT[:12]}",
        "https://example.com/a.git?ref=main",
        "https://example.com/a.git?branch=main&subdir=x",
        "http://example.com/a.git#main",
        "git://example.com/a#main",
        "git@example.com:a/b.git#main",
        "git@example.com:a/b",
        "someone@example.com:a/b.git",
        "example.com:a/b.git#main",
        "ssh://git@example.com/a/b#main",
        f"--keep-git-dir=true https://example.com/a.git#refs/heads/{COMMIT}",
    ],
)
def test_repository_without_a_full_commit_is_refused_at_its_line(project: Path, address: str) -> None:
    adding(project, f"ADD {address} /there/")
    refused(buildsys(project, "plan", "--offline"), "layers/dist/Dockerfile:3:", "names no full commit")


@pytest.mark.parametrize(
    "lines",
    [
        ("ARG FROM_WHERE=https://example.com/file", "ADD $FROM_WHERE /there"),
        ("ARG HOST=example.com", "ADD https://${HOST}/file /there"),
        ("ENV FROM_WHERE=https://example.com/file", "ADD ${FROM_WHERE} /there"),
        ("ENV FROM_WHERE https://example.com/file", "ADD ${FROM_WHERE} /there"),
        ("ARG ONE=https://example.com", "ARG TWO=$ONE/file", "ADD $TWO /there"),
        ("ARG NONE=", "ADD ${NONE:-https://example.com/file} /there"),
        ("ARG SUM=", "ADD --checksum=${SUM:+sha256:$SUM} https://example.com/file /there"),
        ("ADD $OF_THE_BASE_IMAGE /there",),
        ("ADD ${OF_THE_BASE_IMAGE#x} /there",),
    ],
)
def test_variable_hides_no_address(project: Path, lines: tuple[str, ...]) -> None:
    adding(project, *lines)
    refused(buildsys(project, "plan", "--offline"), f"layers/dist/Dockerfile:{2 + len(lines)}:", "`ADD` of ")


def test_address_that_a_parameter_holds_is_refused(project: Path) -> None:
    path = project / "layers/dist/layer.yaml"
    path.write_text(f"{path.read_text('utf-8')}parameters: {{origin: {{description: x, default: 'https://a.b/c'}}}}\n")
    adding(project, "ARG ORIGIN", "ADD $ORIGIN /there")
    refused(buildsys(project, "plan", "--offline"), "layers/dist/Dockerfile:4:", "`https://a.b/c` has no checksum")


@pytest.mark.parametrize(
    "lines",
    [
        (f"ADD --checksum=sha256:{SUM} https://example.com/file /there",),
        (f"ARG SUM={SUM}", "ADD --checksum=sha256:$SUM https://example.com/file /there"),
        (f"ADD https://example.com/a.git#{COMMIT} /there",),
        (f"ADD https://example.com/a.git#{COMMIT}:folder /there",),
        (f"ADD https://example.com/a.git?commit={COMMIT} /there",),
        (f"ADD git@example.com:a/b.git#{COMMIT} /there",),
        (f"ADD --checksum={COMMIT} https://example.com/a.git#main /there",),
        ("ADD conf /there",),
        ("ADD ./conf https:/file /there/",),
        ("ARG NAME=conf", "ADD $NAME /there"),
        ("ADD ./$OF_THE_BASE_IMAGE /there",),
        ("ADD <<https://example.com /there", "text", "https://example.com"),
    ],
)
def test_what_can_give_one_content_only_is_no_error(project: Path, lines: tuple[str, ...]) -> None:
    write(project, "layers/dist/conf", "x")
    write(project, "layers/dist/https:/file", "x")
    adding(project, *lines)
    done = buildsys(project, "plan", "--offline")
    assert "`ADD` of" not in done.stderr
    assert done.code == 0 or "<<https" in lines[0], done.output


def test_declared_download_without_a_checksum_is_a_warning_as_before(project: Path) -> None:
    with_download(project, "https://example.com/file")
    text = DOWNLOAD.replace("sha256:${ARCHIVE_SHA256}", "${ARCHIVE_SHA256:+sha256:$ARCHIVE_SHA256}")
    write(project, "layers/conf/Dockerfile", text)
    done = buildsys(project, "plan", "--offline")
    assert (done.code, "warning: the checksum" in done.stderr) == (0, True), done.output


# --- M7: a Dockerfile of a user's own.


def own(project: Path, tmp_path: Path, text: str) -> str:
    file = write(tmp_path / "own", "Dockerfile", text)
    done = buildsys(project, "environment", file, "--dockerfile", "--on", "img", BUILDSYS_REGISTRY=NOWHERE)
    assert "Traceback" not in done.output
    # The registry that is asked next does not exist.
    assert done.code == (4 if "digest" in done.stderr or "`ADD`" in done.stderr else 5), done.output
    return done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM debian:12\nCOPY x /x\n", 1),
        ("FROM base\nCOPY --from=busybox /bin/sh /sh\n", 2),
        ("FROM base\nCOPY --from=busybox:1@sha256:12 /bin/sh /sh\n", 2),
        ("FROM base\nRUN --mount=type=bind,from=example.com/tools:1,target=/t cp /t/x /x\n", 2),
        ("FROM base\nRUN --mount=from=alpine cp /x /y\n", 2),
        ("ARG IMAGE=debian:12\nFROM $IMAGE\n", 2),
        ("FROM ${OF_THE_BUILD}\n", 1),
        ("FROM debian:12 AS one\nFROM base\nCOPY --from=one /x /x\n", 1),
        ("FROM base\nADD https://example.com/file /x\n", 2),
        ("FROM base\nADD git@example.com:a/b.git#main /x\n", 2),
        ("FROM base\nARG WHERE=https://example.com/x\nADD $WHERE /x\n", 3),
    ],
)
def test_own_dockerfile_names_nothing_that_moves(project: Path, tmp_path: Path, text: str, line: int) -> None:
    said = own(project, tmp_path, text)
    assert f"Dockerfile:{line}:" in said, said
    assert "has no digest" in said or "`ADD` of" in said


@pytest.mark.parametrize(
    "text",
    [
        "FROM base\n",
        "FROM base AS one\nFROM scratch\nCOPY --from=one / /\n",
        "FROM base AS one\nFROM base\nCOPY --from=0 /etc /x\nRUN --mount=from=one true\n",
        f"FROM debian:12@sha256:{SUM}\n",
        f"ARG IMAGE=debian@sha256:{SUM}\nFROM $IMAGE\n",
        f"FROM base\nCOPY --from=busybox@sha256:{SUM} / /\n",
        f"FROM base\nADD --checksum=sha256:{SUM} https://example.com/file /x\n",
    ],
)
def test_own_dockerfile_may_name_what_is_fixed(project: Path, tmp_path: Path, text: str) -> None:
    assert "has no digest" not in own(project, tmp_path, text)


def test_hint_names_the_digest_that_the_lock_has(project: Path, tmp_path: Path) -> None:
    said = own(project, tmp_path, "FROM debian:12-slim\n")
    assert f"hint: write `debian:12-slim@sha256:{SUM}`" in said
    assert "has no digest" not in own(project, tmp_path, f"FROM debian:12-slim@sha256:{SUM}\n")


# --- M8: checksums of other files.


def with_versions(project: Path, *entries: str) -> None:
    lines = "".join(f"    - {each}\n" for each in entries)
    write(
        project,
        "layers/conf/layer.yaml",
        f"{ARTIFACT}parameters:\n  version: {{description: x, default: 1.0, values: [1.0, 2.0]}}\n"
        f"downloads:\n  archive:\n{lines}",
    )
    write(project, "layers/conf/Dockerfile", DOWNLOAD.replace("ARG ARCHIVE_URL", "ARG VERSION\nARG ARCHIVE_URL"))


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            (
                f"{{when: {{version: 1.0}}, url: 'https://a.com/v1/x.tar', sha256: {SUM}}}",
                f"{{when: {{version: 2.0}}, url: 'https://a.com/v2/x.tar', sha256: {SUM}}}",
            ),
            11,
        ),
        (
            (
                f"{{when: {{version: 1.0}}, url: 'https://a.com/{{version}}/x.tar', sha256: {SUM}}}",
                f"{{when: {{version: 2.0}}, url: 'https://a.com/{{version}}/x.tar', sha256: {SUM}}}",
            ),
            11,
        ),
        ((f"{{url: 'https://a.com/{{version}}/x.tar', sha256: {SUM}}}",), 10),
        (
            (
                f"{{when: {{version: 1.0}}, url: 'https://a.com/v1/x.tar', sha256: {SUM}}}",
                f"{{url: 'https://b.com/v2/x.tar', sha256: {SUM}}}",
            ),
            11,
        ),
    ],
)
def test_one_checksum_for_two_files_is_refused_at_the_second(
    project: Path, entries: tuple[str, ...], line: int
) -> None:
    with_versions(project, *entries)
    refused(buildsys(project, "plan", "--offline"), f"layers/conf/layer.yaml:{line}:", "have one checksum")


def test_one_checksum_for_downloads_of_two_layers_is_refused(project: Path) -> None:
    with_download(project, "https://a.com/one.tar", sha256=SUM)
    write(project, "layers/more/layer.yaml", (project / "layers/conf/layer.yaml").read_text("utf-8"))
    write(project, "layers/more/Dockerfile", DOWNLOAD.replace("opt/conf", "opt/more"))
    text = (project / "layers/more/layer.yaml").read_text("utf-8")
    write(project, "layers/more/layer.yaml", text.replace("opt/conf", "opt/more").replace("one.tar", "two.tar"))
    done = buildsys(project, "plan", "--offline")
    refused(done, "layers/more/layer.yaml:", "`https://a.com/two.tar`", "`https://a.com/one.tar`", "have one checksum")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("https://a.com/v1/x.tar", "https://a.com/v1/x.tar"),
        ("https://a.com/v1/x.tar", "https://mirror.b.com/v1/x.tar"),
        ("https://a.com/v1/x.tar", "https://mirror.b.com/a.com/v1/x.tar"),
        ("https://cdn.a.com/x-1.tar", "https://a.com/releases/1/x-1.tar"),
    ],
)
def test_mirror_of_the_same_file_may_have_its_checksum(project: Path, one: str, two: str) -> None:
    with_versions(
        project,
        f"{{when: {{version: 1.0}}, url: '{one}', sha256: {SUM}}}",
        f"{{when: {{version: 2.0}}, url: '{two}', sha256: {SUM}}}",
    )
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output


def check(project: Path, body: bytes, sha256: str) -> tuple[int, str]:
    with answering(http_answer(body)) as server:
        with_download(project, f"{server.address}/file", sha256=sha256)
        write(project, "buildsys.lock", (project / "buildsys.lock").read_text("utf-8"))
        done = buildsys(project, "lock", "--check")
    return done.code, done.output


HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_check_of_the_lock_compares_what_addresses_give(project: Path) -> None:
    assert check(project, b"hello", HELLO) == (0, "")


def test_check_of_the_lock_names_an_address_that_gives_a_different_file(project: Path) -> None:
    code, said = check(project, b"hello", SUM)
    assert code == 3, said
    assert re.search(rf"^- http://\S+/file {SUM} \(layers/conf/layer.yaml:6:\d+\)$", said, re.MULTILINE), said
    assert re.search(rf"^\+ http://\S+/file {HELLO}$", said, re.MULTILINE), said


def test_check_of_the_lock_compares_the_checksums_that_only_the_lock_has(project: Path) -> None:
    with answering(http_answer(b"hello"), http_answer(b"other")) as server:
        with_download(project, f"{server.address}/file")
        assert buildsys(project, "lock", "--update", f"{server.address}/file").code in (0, 5)
        text = (project / "buildsys.lock").read_text("utf-8")
        assert HELLO in text, text
        done = buildsys(project, "lock", "--check")
    assert (done.code, "gives another file" in done.stderr) == (3, True), done.output


# --- M14: two `buildsys lock` at once.


FRESH = "kind: {kind}\nfreshness: week\n"


@pytest.fixture
def aging(project: Path) -> Path:
    """A project with two layers whose packages age, with old epochs in its lock."""
    for name, kind in (("dist", "system"), ("tool", "toolchain")):
        path = project / f"layers/{name}/layer.yaml"
        path.write_text(path.read_text("utf-8").replace(f"kind: {kind}\n", FRESH.format(kind=kind)), encoding="utf-8")
        write(
            project,
            f"layers/{name}/Dockerfile",
            "FROM base\nARG PACKAGES\nARG EPOCH\nRUN true\n".replace(
                "ARG PACKAGES\n", "ARG PACKAGES\n" if name == "dist" else ""
            ),
        )
    done = buildsys(project, "lock", "--offline")
    assert done.code == 0, done.output
    text = (project / "buildsys.lock").read_text("utf-8")
    old = re.sub(r"(dist|tool): \d{4}-\d\d-\d\d", r"\1: 2020-01-06", text)
    assert old != text
    write(project, "buildsys.lock", old)
    return project


def epochs(project: Path) -> dict[str, str]:
    text = (project / "buildsys.lock").read_text("utf-8")
    return dict(re.findall(r"^  (dist|tool): (\S+)$", text, re.MULTILINE))


class Waiting:
    """A registry that says nothing until it is released, and then that it has no image."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.recv(1 << 16)
                self.asked.set()
                self.released.wait(60)
                connection.sendall(http_answer(b"", status="404 Not Found"))


@pytest.fixture
def asking(aging: Path) -> Iterator[tuple[Waiting, subprocess.Popen[str]]]:
    """A `buildsys lock` that has read the lock, and waits for a registry."""
    registry = Waiting()
    write(aging, "buildsys.settings.yaml", f"parents: {{docker.io: {registry.host}/x}}\n")
    shutil.rmtree(aging / ".buildsys", ignore_errors=True)
    process = start(aging, "lock", "--update", "dist", "debian-12")
    try:
        assert registry.asked.wait(60)
        yield registry, process
    finally:
        registry.released.set()
        registry.socket.close()
        process.kill()
        process.communicate()


def test_two_locks_at_once_lose_no_epoch(aging: Path, asking: tuple[Waiting, subprocess.Popen[str]]) -> None:
    registry, first = asking
    second = start(aging, "lock", "--offline", "--update", "tool")
    assert second.stderr is not None
    # It waits and reports that, or it has ended.
    said = second.stderr.readline()
    registry.released.set()
    for process in (first, second):
        stdout, stderr = process.communicate(timeout=90)
        assert process.returncode == 0, stdout + stderr
    assert "2020-01-06" not in epochs(aging).values(), epochs(aging)
    assert "waiting for another `buildsys lock`" in said


def test_packages_that_a_bake_renews_are_not_lost_to_a_lock(
    aging: Path, asking: tuple[Waiting, subprocess.Popen[str]]
) -> None:
    registry, first = asking
    second = start(aging, "bake", "--fresh", "--push", "img", shell={"BUILDSYS_REGISTRY": NOWHERE})
    assert second.stderr is not None
    said = second.stderr.readline()
    registry.released.set()
    second.communicate(timeout=90)
    assert first.wait(timeout=90) == 0
    assert "2020-01-06" not in epochs(aging).values(), said


def test_lock_that_was_killed_holds_nothing(aging: Path, asking: tuple[Waiting, subprocess.Popen[str]]) -> None:
    _, first = asking
    assert second_waits(aging)
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=30)
    done = buildsys(aging, "lock", "--offline", "--update", "tool", seconds=60)
    assert (done.code, "waiting" in done.stderr) == (0, False), done.output
    assert epochs(aging)["tool"] != "2020-01-06"


def second_waits(project: Path) -> bool:
    second = start(project, "lock", "--offline", "--update", "tool")
    assert second.stderr is not None
    said = second.stderr.readline()
    second.kill()
    second.communicate()
    return "waiting for another `buildsys lock`" in said


def test_check_of_the_lock_waits_for_no_other(aging: Path, asking: tuple[Waiting, subprocess.Popen[str]]) -> None:
    del asking
    done = buildsys(aging, "lock", "--check", "--offline", seconds=60)
    assert (done.code, done.stderr) == (0, ""), done.output
