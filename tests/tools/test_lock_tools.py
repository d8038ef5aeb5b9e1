"""The pins of the development environment fit pyproject.toml, have hashes, and name no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lock_tools import FILE, PYTHON, uv_environment

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / FILE).read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, list[Requirement]]:
    """Return each package with its pins; it has several where they differ by version of Python."""
    found: dict[str, list[Requirement]] = {}
    for line in re.findall(r"^[^\s#].*", TEXT, re.MULTILINE):
        pin = Requirement(line.rstrip("\\ "))
        found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def test_every_declared_requirement_has_a_pin_that_it_allows() -> None:
    wanted = [Requirement(each) for each in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
    known = pins()
    for requirement in wanted:
        versions = [str(pin.specifier).removeprefix("==") for pin in known[canonicalize_name(requirement.name)]]
        assert versions
        assert [each for each in versions if not requirement.specifier.contains(each, prereleases=True)] == []


def test_every_pin_is_one_version_with_hashes() -> None:
    blocks = re.split(r"^(?=[^\s#])", TEXT, flags=re.MULTILINE)[1:]
    assert len(blocks) > 40
    assert [
        block for block in blocks if not re.match(r"[\w.\[\]-]+==[\w.]+ ", block) or "--hash=sha256:" not in block
    ] == []


def test_file_names_no_index_and_no_folder() -> None:
    assert (
        re.findall(r"^.*(?:://|--(?:extra-)?index|--find-links|/(?:opt|tmp|home|root|work)\b).*", TEXT, re.MULTILINE)
        == []
    )


def test_pins_are_for_the_oldest_python_and_newer() -> None:
    assert PROJECT["requires-python"] == f">={PYTHON}"


def test_uv_gets_the_index_of_pip_but_not_folders_of_this_machine() -> None:
    pip = {
        "index-url": "https://a.example.com/simple",
        "extra-index-url": "file:///opt/simple https://b.example.com/simple",
        "cert": "/etc/ca.crt",
        "find-links": "/opt/wheels",
    }
    assert uv_environment(pip) == {
        "UV_DEFAULT_INDEX": "https://a.example.com/simple",
        "UV_INDEX": "https://b.example.com/simple",
        "SSL_CERT_FILE": "/etc/ca.crt",
    }
    assert uv_environment({}) == {}
