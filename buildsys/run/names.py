"""Whether images can be published under the names that the environment and the project give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.names import tag_problem
from buildsys.oci.reference import LONGEST_REPOSITORY, prefix_problem
from buildsys.plan.plan import Plan
from buildsys.texts import shown

_NODES = "nodes"


def check_names(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raise `InvalidInput` for every variable that gives images names which no registry takes."""
    if diagnostics := [*_registry(plan, environ), *_tag(environ)]:
        raise InvalidInput(diagnostics)


def check_tag(environ: Mapping[str, str]) -> None:
    """Raise `InvalidInput` for a `BUILDSYS_TAG` that no image can have, or that buildsys moves itself."""
    if diagnostics := [*_tag(environ)]:
        raise InvalidInput(diagnostics)


def _registry(plan: Plan, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    variable = "BUILDSYS_REGISTRY"
    prefix = environ.get(variable)
    if prefix and (problem := prefix_problem(prefix)):
        yield Diagnostic(message=_of(variable, prefix, problem[0]), hint=problem[1])
        return
    used = prefix or plan.registry
    longest = max((_NODES, *(stack.stack for stack in plan.stacks)), key=len)
    if (size := len(f"{used}/{longest}")) > LONGEST_REPOSITORY:
        where = f"`{variable}`" if prefix else "`registry`"
        message = f"with {where} the name `…/{longest}` has {size} characters, expected at most {LONGEST_REPOSITORY}"
        location = next((stack.location for stack in plan.stacks if stack.stack == longest), None)
        yield Diagnostic(message=message, location=location, hint="shorten the path of the registry, or the name")


def _tag(environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    given = environ.get("BUILDSYS_TAG")
    if given is None or not (problem := tag_problem(given)):
        return
    near = re.sub(r"[^A-Za-z0-9_.-]+", "-", given).strip(".-")[:128]
    hint = f"set it to `{near}`" if near and not tag_problem(near) else "set it to a tag such as `v1`"
    yield Diagnostic(message=f"`BUILDSYS_TAG`: {problem}", hint=hint)


def _of(variable: str, value: str, problem: str) -> str:
    """Return the message about a variable; a value with `@` may hold a password and is not quoted."""
    if "@" in value or len(value) > LONGEST_REPOSITORY:
        return f"`{variable}` {problem}"
    return f"`{variable}` is `{shown(value)}` and {problem}"
