"""The names that commands take, and how a shell completes them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys.errors import BuildsysError

if TYPE_CHECKING:
    from buildsys.plan.plan import Plan


def _planned(context: typer.Context) -> "Plan | None":
    """Return the plan of the project that the command line names so far; None where it has none."""
    from buildsys.commands.plan import make_plan
    from buildsys.project.workspace import find_workspace

    directory = context.find_root().params.get("directory")
    try:
        return make_plan(find_workspace(directory).tree())
    except (BuildsysError, OSError):
        return None


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _targets(context: typer.Context, incomplete: str) -> list[str]:
    plan = _planned(context)
    return _beginning([*plan.indexes, *plan.groups, *(node.name for node in plan.nodes)], incomplete) if plan else []


def _stacks(context: typer.Context, incomplete: str) -> list[str]:
    plan = _planned(context)
    return _beginning(plan.indexes, incomplete) if plan else []


def _layers(context: typer.Context, incomplete: str) -> list[str]:
    plan = _planned(context)
    stack = context.params.get("stack")
    images = [each for each in plan.stacks if stack in (None, each.stack, each.name)] if plan else []
    return _beginning(sorted({layer.name for each in images for layer in each.layers}), incomplete)


Names = Annotated[list[str] | None, typer.Argument(help="Stacks, groups, nodes or patterns.", autocompletion=_targets)]
Target = Annotated[str, typer.Argument(help="A stack or node.", autocompletion=_targets)]
Stack = Annotated[str, typer.Argument(help="The name of a stack.", autocompletion=_stacks)]
Layer = Annotated[str, typer.Argument(help="A layer of the stack.", autocompletion=_layers)]
