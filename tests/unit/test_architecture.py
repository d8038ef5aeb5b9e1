"""The table of modules in docs/architecture.md is what the imports say."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "buildsys"
DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
OUTSIDE = {
    "os",
    "subprocess",
    "socket",
    "time",
    "random",
    "urllib.request",
    "http",
    "tempfile",
    "threading",
}
OWNERS = {
    "networkx": {"graph"},
    "yaml": {"source"},
    "pydantic": {"schema", "schema_mistakes"},
    "python_on_whales": {"engine_store"},
    "tenacity": {"registry_http", "making", "downloads"},
    "typer": {"cli", "cli_ask", "cli_bake", "cli_run"},
    "packaging": {"stack_checks"},
    "rich": {"live"},
}


def modules() -> dict[str, ast.Module]:
    return {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.glob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    """Return the full names that are imported anywhere in a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "buildsys":
                found |= {f"buildsys.{alias.name}" for alias in node.names}
    return found


def own(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("buildsys.")}


def table(title: str) -> set[str]:
    """Return the modules that the document lists below a heading of its table."""
    found: set[str] = set()
    inside = False
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("| **"):
            inside = line.startswith(f"| **{title}**")
        elif inside and line.startswith("| `"):
            found |= {name for name in line.split("|")[1].replace("`", "").replace(" ", "").split(",") if name}
    return found


def test_every_module_is_in_the_table_once() -> None:
    core, shell = table("core"), table("shell")
    assert not core & shell
    assert core | shell == modules().keys() - {"__init__", "__main__"}


def test_core_imports_only_core_and_nothing_of_the_outside() -> None:
    core = table("core")
    found = modules()
    wrong = {name: own(imported(found[name])) - core for name in core if own(imported(found[name])) - core}
    assert wrong == {}
    outside = {name: imported(found[name]) & OUTSIDE for name in core if imported(found[name]) & OUTSIDE}
    assert outside == {}


def test_each_library_has_one_owner() -> None:
    users: dict[str, set[str]] = {}
    for name, tree in modules().items():
        for library in {each.split(".")[0] for each in imported(tree)} & OWNERS.keys():
            users.setdefault(library, set()).add(name)
    assert {library: names for library, names in users.items() if not names <= OWNERS[library]} == {}


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    needs = {name: own(imported(tree)) - {name} for name, tree in modules().items()}
    waiting = dict(needs)
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


def test_no_module_nears_the_size_at_which_it_decides_two_things() -> None:
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.glob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
