"""Which of a machine's own settings are handed on to builds."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from buildsys.project.settings import parse_settings
from machine_settings import read_pip_list, settings_text


def test_environment_goes_before_a_command_and_that_before_all_commands() -> None:
    output = (
        ":env:.index-url='https://c.example.com/simple'\n"
        "global.cert='/etc/ca.crt'\n"
        "global.index-url='https://a.example.com/simple'\n"
        "install.cert='/etc/other.crt'\n"
        "install.index-url='https://b.example.com/simple'\n"
    )
    assert read_pip_list(output) == {"cert": "/etc/other.crt", "index-url": "https://c.example.com/simple"}


def test_value_of_several_lines_is_read_whole() -> None:
    output = "global.extra-index-url='\\nhttps://a.example.com/s\\nhttps://b.example.com/s'\n"
    assert read_pip_list(output) == {"extra-index-url": "https://a.example.com/s https://b.example.com/s"}


def test_machine_without_settings_gets_no_file() -> None:
    assert settings_text({}, {}) == ""


def test_what_a_container_cannot_reach_is_left_out() -> None:
    pip = {
        "extra-index-url": "file:///srv/simple http://localhost:3141/simple http://127.0.0.1:1/s https://m.example.com/s",
        "find-links": "/srv/wheels",
    }
    text = settings_text(pip, {"http_proxy": "http://127.0.0.1:3128", "no_proxy": "localhost"})
    found = parse_settings(text, "buildsys.settings.yaml", Path("/"))
    assert dict(found.pip) == {"extra-index-url": ("https://m.example.com/s",)}
    assert dict(found.proxy) == {}


def test_certificates_are_the_first_bundle_that_exists(tmp_path: Path) -> None:
    bundle = tmp_path / "a bundle.crt"
    bundle.touch()
    environment = {"PIP_CERT": "/nowhere/ca.crt", "SSL_CERT_FILE": str(bundle)}
    assert parse_settings(settings_text({}, environment), "x", Path("/")).ca == bundle
    assert parse_settings(settings_text({"cert": str(bundle)}, {}), "x", Path("/")).ca == bundle
    assert settings_text({"cert": "/nowhere/ca.crt"}, {}) == ""


def test_proxies_are_handed_on_with_their_exceptions() -> None:
    environment = {"HTTPS_PROXY": "http://proxy.example.com:3128", "NO_PROXY": "localhost,.example.com"}
    found = parse_settings(settings_text({}, environment), "x", Path("/"))
    assert dict(found.proxy) == {"https": "http://proxy.example.com:3128", "no": "localhost,.example.com"}


def test_help_writes_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(__file__).parents[2] / "tools" / "machine_settings.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    assert list(tmp_path.iterdir()) == []
