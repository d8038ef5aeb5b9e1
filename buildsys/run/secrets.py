"""Whether there is a value for each secret that RUN steps mount: what is missing is reported before the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.names import MIRRORS_SECRET, SETTINGS_FILE, secret_variable
from buildsys.resolve.node import Node
from buildsys.run.variables import MIRRORS_VARIABLE


def secret_values(nodes: Iterable[Node], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the secrets of nodes; `environ` has them, and the credentials of mirrors.

    Raises `InvalidInput` for each secret without a value, and each RUN that would not get the credentials of mirrors.
    """
    nodes = tuple(nodes)
    if diagnostics := [*_missing(nodes, environ), *_without_credentials(nodes, environ)]:
        raise InvalidInput(diagnostics)
    ids = {each for node in nodes for each in node.build.mounted}
    return {secret_variable(each): environ.get(secret_variable(each), "") for each in sorted(ids)}


def missing(secret: str, what: str) -> Diagnostic:
    """Return the error that a secret has no value; `what` mounts it."""
    message = f"{what} mounts the secret `{secret}`, which has no value"
    hint = (
        f"set `{secret_variable(secret)}`, name a file or variable under `secrets` in {SETTINGS_FILE}, or add "
        f"`--secret id={secret},src=<file>`"
    )
    return Diagnostic(message=message, hint=hint)


def _missing(nodes: Iterable[Node], environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    for node in nodes:
        for secret in node.build.secrets:
            if not environ.get(secret_variable(secret.id)):
                what = f"layer `{node.build.layer}` ({secret.description})"
                found = missing(secret.id, what)
                yield Diagnostic(message=found.message, location=secret.location, hint=found.hint)


def _without_credentials(nodes: Iterable[Node], environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    for node in nodes if environ.get(MIRRORS_VARIABLE) else ():
        for location in node.build.uncredentialed:
            message = "this RUN mounts the mirrors, and not the secret with their credentials, which the settings have"
            hint = f"add `--mount=type=secret,id={MIRRORS_SECRET}` to it"
            yield Diagnostic(message=message, location=location, hint=hint)
