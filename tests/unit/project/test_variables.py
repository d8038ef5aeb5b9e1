"""Which variables of the environment are known, and what is said of others."""

from __future__ import annotations

import pytest

from buildsys.bake.targets import defaults
from buildsys.errors import Diagnostic
from buildsys.project import settings
from buildsys.project.settings_checks import variable_of
from buildsys.project.variables import VARIABLES, misspelt, unknown
from tests.support.trees import planned, tree

PARENTS = ("BUILDSYS_PARENT_DEBIAN_12", "BUILDSYS_DOWNLOADS_GITHUB_COM")


def said(warnings: object) -> list[tuple[str, str | None]]:
    assert isinstance(warnings, list)
    assert all(isinstance(each, Diagnostic) for each in warnings)
    return [(each.message, each.hint) for each in warnings]


def test_variable_of_each_setting_is_listed() -> None:
    keys = [*(("pip", key) for key in settings._PIP), *(("proxy", key) for key in settings._PROXY)]
    keys += [*(("registries", key) for key in settings._REGISTRIES), ("parents", "docker.io"), ("apt", "*")]
    assert {variable_of(*each) for each in keys} <= set(VARIABLES)


def test_variable_of_the_bake_file_is_listed() -> None:
    families = [name.partition("<")[0] for name in VARIABLES if "<" in name]
    lacking = [name for name in defaults(planned(tree())) if name not in VARIABLES]
    assert [name for name in lacking if not name.startswith(tuple(families))] == []


@pytest.mark.parametrize("name", [*VARIABLES, "BUILDSYS_OVERLAY", "PATH", "BUILDSYSTEM", "NOT_BUILDSYS_X"])
def test_variable_that_is_read_or_of_another_program_is_no_warning(name: str) -> None:
    assert said(list(unknown({name.replace("<", "").replace(">", ""): "x"}))) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BUILDSYS_REGISTY", "BUILDSYS_REGISTRY"),
        ("BUILDSYS_TAGS", "BUILDSYS_TAG"),
        ("BUILDSYS_CACHE_WRITES", "BUILDSYS_CACHE_WRITE"),
        ("BUILDSYS_PIP_INDEX", "BUILDSYS_PIP_INDEX_URL"),
        ("BUILDSYS_SETTING", "BUILDSYS_SETTINGS"),
        ("BUILDSYS_registry", "BUILDSYS_REGISTRY"),
    ],
)
def test_misspelt_variable_is_a_warning_with_the_nearest_one(name: str, meant: str) -> None:
    assert said(list(unknown({name: "secret"}))) == [
        (f"`{name}` is set, and buildsys reads no such variable", f"did you mean `{meant}`?")
    ]


def test_variable_that_resembles_none_is_a_warning_with_a_way_to_end_it() -> None:
    assert said(list(unknown({"BUILDSYS_JOBS": "4"})))[0][1] == "run `unset BUILDSYS_JOBS`"


def test_variable_that_is_nearly_one_of_the_plan_is_a_warning() -> None:
    environ = {"BUILDSYS_PARENT_DEBIAN_21": "x", "BUILDSYS_DOWNLOADS_GITHUB": "x", PARENTS[0]: "x"}
    assert [hint for _, hint in said(list(misspelt(environ, PARENTS)))] == [
        f"did you mean `{PARENTS[1]}`?",
        f"did you mean `{PARENTS[0]}`?",
    ]


def test_variable_of_another_project_is_no_warning() -> None:
    assert said(list(misspelt({"BUILDSYS_PARENT_FEDORA_41": "x"}, PARENTS))) == []
