"""What is read out of a machine's apt sources, in both of their forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine_apt import CommandFailed, DebianSource, MachineUnfit, parse_deb822, parse_one_line, read_debian_source
from machine_apt import tried_again as again

DEB822 = """\
Types: deb deb-src
# a comment inside
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example.com/debian-security/
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example.com/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example.com/tool
Suites: bookworm
Components: stable
"""


@pytest.fixture
def on_bookworm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "platform.freedesktop_os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm", "VERSION_ID": "12"}
    )


def test_stanzas_are_read_each_suite_for_itself_and_disabled_ones_left_out() -> None:
    found = [(each.uri, each.suite) for each in parse_deb822(DEB822)]
    assert found == [
        ("http://mirror.example.com/debian", "bookworm"),
        ("http://mirror.example.com/debian", "bookworm-updates"),
        ("http://mirror.example.com/debian-security/", "bookworm-security"),
    ]


def test_lines_are_read_with_their_options_and_without_sources_and_comments() -> None:
    text = (
        "# deb http://old.example.com/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example.com/debian bookworm main # kept\n"
        "deb-src http://mirror.example.com/debian bookworm main\n"
        "deb http://mirror.example.com/debian bookworm contrib\n"
    )
    assert list(parse_one_line(text)) == [
        DebianSource(uri="http://mirror.example.com/debian", suite="bookworm", signed_by="/k.gpg")
    ]


@pytest.mark.usefixtures("on_bookworm")
def test_machine_has_its_main_and_its_security_archive(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822, encoding="utf-8")
    (tmp_path / "sources.list").write_text("deb http://tool.example.com/x bookworm main\n", encoding="utf-8")
    found = read_debian_source(tmp_path)
    assert (found.uri, found.security_uri) == (
        "http://mirror.example.com/debian",
        "http://mirror.example.com/debian-security",
    )
    assert found.sources_list("trixie") == (
        "deb http://mirror.example.com/debian trixie main\n"
        "deb http://mirror.example.com/debian trixie-updates main\n"
        "deb http://mirror.example.com/debian-security trixie-security main\n"
    )


@pytest.mark.usefixtures("on_bookworm")
def test_machine_without_a_security_archive_gives_the_image_none(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://mirror.example.com/debian bookworm main\n", encoding="utf-8")
    assert "security" not in read_debian_source(tmp_path).sources_list("bookworm")


@pytest.mark.usefixtures("on_bookworm")
def test_list_of_mirrors_gives_its_first_address(tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text("# mirrors\nhttp://first.example.com/debian/\thttp\nhttp://second.example.com/debian\n", "utf-8")
    (tmp_path / "sources.list").write_text(f"deb mirror+file:{mirrors} bookworm main\n", encoding="utf-8")
    assert read_debian_source(tmp_path).uri == "http://first.example.com/debian"


@pytest.mark.usefixtures("on_bookworm")
def test_machine_that_names_no_archive_is_unfit(tmp_path: Path) -> None:
    with pytest.raises(MachineUnfit):
        read_debian_source(tmp_path)


def failing(times: int) -> tuple[list[int], Callable[[], None]]:
    done: list[int] = []

    def work() -> None:
        done.append(1)
        if len(done) <= times:
            raise CommandFailed(["x"], 1, "")

    return done, work


def test_failing_command_is_retried_once_for_each_wait() -> None:
    done, work = failing(2)
    again(work, waits=(0, 0))
    assert len(done) == 3
    done, work = failing(3)
    with pytest.raises(CommandFailed):
        again(work, waits=(0, 0))
    assert len(done) == 3


def test_last_output_of_a_failed_command_is_in_its_message() -> None:
    failure = CommandFailed(["apt-get", "update"], 100, "one\n" * 20 + "E: no\n")
    assert str(failure).startswith("`apt-get update` ended with 100\n")
    assert str(failure).endswith("  | E: no")
    assert str(failure).count("\n") == 8
