"""How things are called in bake and in a registry."""

from __future__ import annotations

import pytest

from buildsys.names import LONGEST_TARGET, reference_problem, shortened, target_name, variable_name


def test_target_has_nothing_but_what_bake_takes() -> None:
    assert target_name("openmpi4.1.0-cuda11.1/x:y é") == "openmpi4_1_0-cuda11_1_x_y__"


def test_two_names_may_become_one_target() -> None:
    assert target_name("a.b") == target_name("a_b")


@pytest.mark.parametrize("name", ["a", "debian12-cuda13.0", "a__b", "a---b", "0"])
def test_name_that_a_registry_takes_is_no_problem(name: str) -> None:
    assert reference_problem(name) is None


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a..b", "a_.b", "a___b", "a/b", "a:b", "é"])
def test_name_that_a_registry_refuses_is_a_problem(name: str) -> None:
    expected = f"`{name}` cannot be an image's name: lower-case letters, digits, single `.` `_` `-` between"
    assert reference_problem(name) == expected


def test_variable_is_in_capitals_with_single_underscores() -> None:
    assert variable_name("PARENT", "cuda-11.0.3--x.") == "BUILDSYS_PARENT_CUDA_11_0_3_X"


def test_long_name_is_cut_and_two_long_names_stay_apart() -> None:
    name = "x" * LONGEST_TARGET
    assert shortened(name) == name
    one, two = shortened(f"{name}1"), shortened(f"{name}2")
    assert len(one) == LONGEST_TARGET
    assert one != two
    assert one.startswith("x" * (LONGEST_TARGET - 9) + "-")
