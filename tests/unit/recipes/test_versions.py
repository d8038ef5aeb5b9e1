"""Versions compare by their scheme, and constraints are read by the scheme of what they constrain."""

from __future__ import annotations

import itertools

import pytest

from buildsys.recipes.versions import Scheme, expected, is_prerelease, key_of, satisfies, version_problem
from tests.support.trees import FAST, diagnostics, tree

ASCENDING = {
    Scheme.PEP440: ("3.9", "3.10", "3.14.0rc1", "3.14", "3.14.7", "1!1.0"),
    Scheme.DEBIAN: ("~", "r35.4", "r36.2", "r36.10"),
    Scheme.SEMVER: (
        *("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
        *("1.0.0-rc.1", "1.0.0", "v1.9.0", "1.10.0"),
    ),
}
DEBIAN = (
    "1.0~rc1-1",
    "1.0-1~bpo12+1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-2",
    "1.0a",
    "1.0+dfsg-1",
    "1.0.1",
    "24.9-py3",
    "24.10-py3",
    "1:2.3-1",
)


@pytest.mark.parametrize("scheme", Scheme)
def test_versions_are_in_the_order_of_their_scheme(scheme: Scheme) -> None:
    keys = [key_of(each, scheme) for each in ASCENDING[scheme]]
    assert all(one < other for one, other in itertools.pairwise(keys))


def test_versions_of_debian_are_in_the_order_of_dpkg() -> None:
    keys = [key_of(each, Scheme.DEBIAN) for each in DEBIAN]
    assert all(one < other for one, other in itertools.pairwise(keys))


@pytest.mark.parametrize(
    ("one", "other", "scheme"),
    [
        ("3.1", "3.1.0", Scheme.PEP440),
        ("1.0", "1.0-0", Scheme.DEBIAN),
        ("0:1.", "1.0", Scheme.DEBIAN),
        ("1.2.3+a", "v1.2.3", Scheme.SEMVER),
    ],
)
def test_equal_versions_have_equal_keys(one: str, other: str, scheme: Scheme) -> None:
    assert key_of(one, scheme) == key_of(other, scheme)


@pytest.mark.parametrize(
    ("version", "scheme", "before"),
    [
        ("3.15.0rc1", Scheme.PEP440, True),
        ("3.15.0.post1", Scheme.PEP440, False),
        ("2.0~rc1-1", Scheme.DEBIAN, True),
        ("2.0-1~bpo12+1", Scheme.DEBIAN, False),
        ("1.4.0-rc.1", Scheme.SEMVER, True),
        ("1.4.0+build-7", Scheme.SEMVER, False),
    ],
)
def test_prereleases_are_known_by_scheme(version: str, scheme: Scheme, *, before: bool) -> None:
    assert is_prerelease(version, scheme) is before


@pytest.mark.parametrize(
    ("text", "scheme"),
    [("r36.2", Scheme.PEP440), ("1:2:3", Scheme.DEBIAN), ("a b", Scheme.DEBIAN), ("1.4", Scheme.SEMVER)],
)
def test_other_text_is_refused_with_an_example(text: str, scheme: Scheme) -> None:
    problem = version_problem(text, scheme)
    assert problem
    assert problem[0] == f"is no version of the scheme `{scheme}`"
    assert "write it like" in problem[1]


@pytest.mark.parametrize(
    ("value", "constraint", "scheme", "holds"),
    [
        ("24.10-py3", ">=24.9-py3,<25", Scheme.DEBIAN, True),
        ("24.8-py3", ">=24.9-py3", Scheme.DEBIAN, False),
        ("2.0~rc1", "2.0~rc1", Scheme.DEBIAN, True),
        ("2.0~rc1", ">=2.0", Scheme.DEBIAN, False),
        ("1:1.0", ">2.0", Scheme.DEBIAN, True),
        ("1.4.0-rc.1", ">=1.4.0", Scheme.SEMVER, False),
        ("1.10.0", ">1.9.0,!=1.11.0", Scheme.SEMVER, True),
        ("3.10", ">=3.9", Scheme.PEP440, True),
    ],
)
def test_constraint_is_met_by_scheme(value: str, constraint: str, scheme: Scheme, *, holds: bool) -> None:
    assert satisfies(value, constraint, scheme) is holds


def test_constraint_is_refused_that_no_scheme_can_read() -> None:
    assert expected(">=11 <13") is not None
    assert expected("~=1") is not None
    assert expected(">=24.9-py3") is None
    assert expected(">=24.9-py3", Scheme.PEP440) is not None
    assert expected("2.0~rc1", Scheme.DEBIAN) is None


def stacks_with(value: str, needs: str, versions: str) -> dict[str, str]:
    fast = FAST.replace("default: 1.0,", f"default: {value}, versions: {versions},")
    other = FAST.replace("/opt/fast", "/opt/other") + f"checks: [{{needs: {{fast.version: '{needs}'}}}}]\n"
    return tree("stacks:\n  one: {layers: [system, fast, other]}\n", fast=fast, other=other)


def test_check_of_a_layer_compares_by_the_scheme_of_the_parameter() -> None:
    assert diagnostics(stacks_with("24.10-py3", ">=24.9-py3", "debian")) == []
    (found,) = diagnostics(stacks_with("24.10-py3", ">=24.11-py3", "debian"))
    assert found[1] == "layer `other` 1.0 needs `fast` version >=24.11-py3, `one` has 24.10-py3"


def test_constraint_of_another_scheme_is_refused_where_it_is_written() -> None:
    (found,) = diagnostics(stacks_with("1.4.0", ">=24.9-py3", "semver"))
    assert found[0].startswith("layers/other/layer.yaml:10:")
    assert found[1].startswith("the constraint is `>=24.9-py3`, expected a range of versions")


def test_value_that_a_stack_sets_must_be_a_version_of_the_scheme() -> None:
    fast = FAST.replace("default: 1.0,", "default: 1.0.0, versions: semver,")
    (found,) = diagnostics(tree("stacks:\n  one:\n    layers:\n      - system\n      - fast: 1.4\n", fast=fast))
    assert found[:2] == (
        "stacks.yaml:5:15",
        "layer `fast`: `1.4` is no version of the scheme `semver`, by which `version` is compared",
    )
