"""Packages import only what lies below them, and what lies outside has its owners: both are read from the imports."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "buildsys"
ROOT = "root"
# What a package may import in addition to itself and the modules at the root, which import nothing but each other.
BELOW: dict[str, set[str]] = {
    "oci": set(),
    "dockerfile": set(),
    "inventory": {"oci"},
    "buildkit": set(),
    "records": set(),
    "recipes": {"records", "dockerfile"},
    "config": {"records", "dockerfile", "oci", "recipes"},
    "project": {"records", "dockerfile", "recipes", "config", "oci"},
    "resolve": {"recipes", "config"},
    "plan": {"dockerfile", "recipes", "config", "resolve"},
    "bake": {"inventory", "recipes", "config", "resolve", "plan"},
    "events": {"buildkit", "project"},
    "run": {
        "oci",
        "dockerfile",
        "inventory",
        "buildkit",
        "records",
        "recipes",
        "config",
        "project",
        "resolve",
        "plan",
        "bake",
        "events",
    },
}
BELOW["image_tests"] = BELOW["run"] | {"run"}
BELOW["fleet"] = BELOW["image_tests"] | {"image_tests"}
BELOW["commands"] = BELOW["fleet"] | {"fleet"}
BELOW["report"] = BELOW["commands"] - {"oci", "dockerfile"} | {"commands"}
BELOW["report.html"] = BELOW["report"] | {"report"}
BELOW["cli"] = {*BELOW}
# Of a registry's client these may know how a reference is written, and no more.
REFERENCES_ONLY = {("config", "oci"), ("project", "oci")}
OWNERS: dict[str, set[str]] = {
    "jinja2": {"report.html.page"},
    "networkx": {"resolve.graph"},
    "yaml": {"records.source"},
    "python_on_whales": {"buildkit.images"},
    "tenacity": {"oci.http", "run.worker"},
    "urllib3": {"oci.bounds", "oci.connections"},
    "packaging": {"recipes.versions"},
    "rich": {"report.live"},
}
MODULES_IN_A_PACKAGE = 15
LINES_IN_A_MODULE = 400


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
PACKAGES = {name_of(path) for path in PACKAGE.rglob("__init__.py")} - {"__init__"}


def package_of(module: str) -> str:
    if module in PACKAGES:
        return module
    return module.rpartition(".")[0] or ROOT


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full names of modules that are imported anywhere in a module, for types only too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            own = node.module.removeprefix("buildsys").removeprefix(".")
            if node.module.split(".")[0] == "buildsys" and (not own or own in PACKAGES):
                yield from (f"buildsys.{own}.{alias.name}".replace("..", ".") for alias in node.names)
            else:
                yield node.module


def own(tree: ast.AST) -> set[str]:
    """Return the modules of buildsys that a module imports."""
    names = {name.removeprefix("buildsys.") for name in imported(tree) if name.startswith("buildsys.")}
    return {name for name in names if not name.startswith("__")}


def outside(tree: ast.AST) -> set[str]:
    return {name for name in imported(tree) if name.split(".")[0] != "buildsys"}


def users(*libraries: str) -> set[str]:
    """Return the modules that import one of some libraries."""
    return {
        name
        for name, tree in MODULES.items()
        if any(each == library or each.startswith(f"{library}.") for each in outside(tree) for library in libraries)
    }


def uses(tree: ast.AST, library: str, *names: str) -> bool:
    """Whether a module uses an attribute of a library, such as `os.environ`."""
    return any(
        (
            (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name))
            and (node.value.id == library and node.attr in names)
        )
        or (isinstance(node, ast.ImportFrom) and node.module == library and {a.name for a in node.names} & {*names})
        for node in ast.walk(tree)
    )


def test_a_package_imports_only_what_lies_below_it() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, tree in MODULES.items()
        if name != "__main__" and package_of(name) != ROOT
        for other in sorted(own(tree))
        if package_of(other) not in {ROOT, package_of(name), *BELOW[package_of(name)]}
    ]
    assert wrong == []


def test_every_package_has_its_rule() -> None:
    assert {*BELOW} == PACKAGES


def test_modules_at_the_root_import_only_each_other() -> None:
    wrong = {
        name: own(tree)
        for name, tree in MODULES.items()
        if package_of(name) == ROOT and name != "__main__" and any(package_of(other) != ROOT for other in own(tree))
    }
    assert wrong == {}


def test_configuration_knows_references_of_images_and_nothing_else_of_registries() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, tree in MODULES.items()
        for other in sorted(own(tree))
        if (package_of(name), package_of(other)) in REFERENCES_ONLY and other != "oci.reference"
    ]
    assert wrong == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    waiting = {name: own(tree) - {name} for name, tree in MODULES.items()}
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_each_library_has_its_owners(library: str) -> None:
    assert users(library) == OWNERS[library]


def test_the_page_is_loaded_only_where_it_is_written() -> None:
    early = {
        name
        for name, tree in MODULES.items()
        for statement in tree.body
        if package_of(name) != "report.html" and isinstance(statement, ast.Import | ast.ImportFrom)
        if any(package_of(other) == "report.html" for other in own(statement))
    }
    assert early == set()


def test_every_dataclass_is_defined_by_the_module_that_defines_them_fast() -> None:
    assert [name for name, tree in MODULES.items() if name != "values" and uses(tree, "dataclasses", "dataclass")] == []


def loaded(*modules: str) -> set[str]:
    """Return what is loaded with some modules, libraries too; what functions import is not."""
    found: set[str] = set()
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            statements = [each for each in MODULES[name].body if isinstance(each, ast.Import | ast.ImportFrom)]
            waiting += [other for each in statements for other in own(each) if other in MODULES]
            found |= {other.split(".")[0] for each in statements for other in outside(each)}
    return found


# What builds, draws pages and explains failures. Planning alone needs networkx.
ONLY_FOR_BUILDING = {
    "buildkit.diagnosis",
    "buildkit.invocation",
    "jinja2",
    "python_on_whales",
    "report.html.page",
    "rich",
    "run.local",
    "run.step_events",
    "run.worker",
}


def test_a_run_with_nothing_to_do_loads_nothing_that_builds() -> None:
    run = loaded("cli.bake", "cli.run", "commands.plan", "run.publish", "run.store", "events.journal")
    assert {"networkx", "urllib3"} <= run
    assert not run & ONLY_FOR_BUILDING


def test_a_plan_loads_neither_a_registry_nor_a_run() -> None:
    plan = loaded("cli.app", "commands.plan", "commands.query", "report.tables", "report.documents", "report.console")
    assert not plan & {*ONLY_FOR_BUILDING, "urllib3", "tenacity", "events.events", "run.store"}


@pytest.mark.parametrize("entry", ["cli.app", "cli.boundary", "report.html.page", "commands.doctor", "commands.probe"])
def test_who_does_not_plan_does_not_load_networkx(entry: str) -> None:
    assert "networkx" not in loaded(entry)


def test_typer_is_known_to_the_command_line_alone() -> None:
    assert {package_of(name) for name in users("typer", "click")} == {"cli"}


def test_only_the_command_line_reads_the_environment_and_the_arguments() -> None:
    found = {
        name for name, tree in MODULES.items() if uses(tree, "os", "environ", "getenv") or uses(tree, "sys", "argv")
    }
    assert {name for name in found if package_of(name) != "cli"} <= {"__main__"}


def test_only_buildkit_git_and_credential_helpers_start_processes() -> None:
    found = users("subprocess") - {"project.git", "oci.credentials"}
    assert {package_of(name) for name in found} == {"buildkit"}


def test_only_the_registry_client_opens_connections() -> None:
    assert {package_of(name) for name in users("socket", "http", "urllib.request", "urllib3")} == {"oci"}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_has_no_more_modules_than_a_reader_can_keep_in_mind(package: str) -> None:
    members = [name for name in MODULES if package_of(name) == package and name != package]
    assert len(members) <= MODULES_IN_A_PACKAGE


def test_no_module_is_named_by_an_activity() -> None:
    assert [name for name in MODULES if name.endswith("ing")] == []


def test_no_module_nears_the_size_at_which_it_decides_two_things() -> None:
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > LINES_IN_A_MODULE} == {}


def test_every_module_says_in_its_first_line_what_it_answers() -> None:
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


MEMBERS = {
    f"{name}.{node.name}"
    for name, tree in MODULES.items()
    for node in tree.body
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
}


def test_the_guided_tour_names_modules_that_exist() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([a-z_]+\.[A-Za-z_.]+)`", text) if name.split(".")[0] in PACKAGES}
    known = {*MODULES, *PACKAGES}
    missing = {name for name in named if name not in known and name not in MEMBERS}
    assert len(named) > 40
    assert missing == set()


def test_a_name_that_others_know_is_written_down_once() -> None:
    # Files of a project, labels and annotations, media types.
    known = re.compile(
        r"buildsys\.[a-z.]+|(layer|stacks)\.yaml|\.buildsys|(dev|org)\.[a-z]+\.[a-z.]+|application/vnd\..+"
    )
    places = [
        (node.value, name)
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and known.fullmatch(node.value)
    ]
    assert len(places) > 10
    assert [text for text, count in Counter(text for text, _ in set(places)).items() if count > 1] == []


def test_no_constant_has_the_name_and_the_value_of_another() -> None:
    found = Counter(
        (target.id, ast.dump(statement.value))
        for tree in MODULES.values()
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name)
    )
    assert [name for name, count in found.items() if count > 1] == []


def test_annotations_of_the_command_line_are_no_texts() -> None:
    """Typer evaluates each text, of all commands, before any command runs: 13 ms of its 20."""
    found = {name for name, tree in MODULES.items() if package_of(name) == "cli" and "__future__" in outside(tree)}
    assert found <= {"cli.boundary", "cli.run", "cli.screens"}
