"""Paths that no artifact can own are refused where they are written (the part of fault H9 that a plan can know)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, buildsys, refused, small_project


def with_prefix(folder: Path, prefix: str) -> Path:
    text = ARTIFACT.replace("/opt/conf", prefix)
    copied = (
        f"FROM toolchain AS build\nCOPY conf /artifact{prefix}/conf\n\nFROM scratch\nCOPY --from=build /artifact /\n"
    )
    return small_project(folder, {"layers/conf/layer.yaml": text, "layers/conf/Dockerfile": copied})


@pytest.mark.parametrize(
    ("prefix", "reason", "hint"),
    [
        ("/lib/firmware/acme", "`/lib` is a symlink in most systems", "write `/usr/lib/firmware/acme`"),
        ("/bin/tool", "`/bin` is a symlink", "write `/usr/bin/tool`"),
        ("/sbin", "`/sbin` is a symlink", "`/opt/conf`"),
        ("/lib64", "`/lib64` is a symlink", "`/opt/conf`"),
        ("/var/run/tool", "`/var/run` is a symlink", "`/opt/conf`"),
        ("/usr/local/man/man1", "`/usr/local/man` is a symlink", "write `/usr/local/share/man/man1`"),
        ("/proc/x", "`/proc` is mounted over", "`/opt/conf`"),
        ("/sys", "`/sys` is mounted over", "`/opt/conf`"),
        ("/dev/shm/x", "`/dev` is mounted over", "`/opt/conf`"),
        ("/run/tool", "`/run` is mounted over", "`/opt/conf`"),
        ("/etc/hosts", "`/etc/hosts` is mounted over", "`/opt/conf`"),
        ("/opt/../etc", "has `.`, `..` or an empty part", "`/opt/conf`"),
        ("/opt/../srv/tool", "has `.`, `..` or an empty part", "write `/srv/tool`"),
        ("//opt/tool", "has `.`, `..` or an empty part", "write `/opt/tool`"),
        ("/opt/./x", "has `.`, `..` or an empty part", "write `/opt/x`"),
        ("/opt//x", "has `.`, `..` or an empty part", "write `/opt/x`"),
        ("/tmp", "`/tmp` is writable by everyone", "`/opt/conf`"),
        ("/var/tmp/x", "`/var/tmp` is writable by everyone", "`/opt/conf`"),
        ("/", "expected an absolute path", "`/opt/tool`"),
        ("/usr", "`/usr` is a folder of the system", "`/opt/conf`"),
        ("/etc", "`/etc` is a folder of the system", "`/opt/conf`"),
        ("/opt", "`/opt` is a folder of the system", "`/opt/conf`"),
        ("/usr/lib/x86_64-linux-gnu", "is a folder of the system", "`/opt/conf`"),
    ],
)
def test_path_that_no_artifact_can_own_is_refused_at_its_line(
    tmp_path: Path, prefix: str, reason: str, hint: str
) -> None:
    refused(buildsys(with_prefix(tmp_path, prefix), "plan"), reason, "layers/conf/layer.yaml:4:9", hint)


@pytest.mark.parametrize(
    "prefix",
    [
        *("/opt/x", "/usr/local/cuda", "/usr/local/bin", "/usr/lib/firmware/acme", "/srv/data", "/home/dev/x"),
        *("/library", "/etc/tool", "/opt/...", "/opt/lib", "/runtime/x", "/usr/lib/tool-1.0"),
    ],
)
def test_path_of_its_own_is_allowed(tmp_path: Path, prefix: str) -> None:
    done = buildsys(with_prefix(tmp_path, prefix), "plan")
    assert done.code == 0, done.output
