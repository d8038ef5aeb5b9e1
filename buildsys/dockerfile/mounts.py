"""Which secrets the RUN steps of a Dockerfile mount, and whether its layer declares them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from buildsys.dockerfile.parser import Dockerfile, Read
from buildsys.errors import Diagnostic, Location, did_you_mean
from buildsys.names import MIRRORS_SECRET, SECRET_ID
from buildsys.texts import shown
from buildsys.values import dataclass

_FOLDER = "/run/secrets"
# As Go reads a boolean; a flag without a value is one.
_TRUE = frozenset({"", "1", "t", "T", "true", "TRUE", "True"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretMount:
    """A secret that a RUN mounts; `id` is not checked, `is_default` says that it is the file `/run/secrets/<id>`."""

    id: str
    required: bool
    is_default: bool
    location: Location


def secret_mounts(dockerfile: Dockerfile) -> tuple[SecretMount, ...]:
    """Return the secrets that RUN steps mount, in order."""
    return tuple(each for read in dockerfile.reads for each in _secrets(dockerfile, read))


def without_credentials(dockerfile: Dockerfile) -> tuple[Location, ...]:
    """Return where RUN steps mount the mirrors, and not the secret that has their credentials."""
    return tuple(
        _location(dockerfile, read, 0, read.instruction.keyword)
        for read in dockerfile.reads
        if any(fields.get("from", "").lower() == MIRRORS_SECRET for fields, _, _ in _mounts(read))
        and not any(each.id == MIRRORS_SECRET and each.is_default for each in _secrets(dockerfile, read))
    )


def secret_problems(dockerfile: Dockerfile, declared: Mapping[str, Location], file: str) -> Iterator[Diagnostic]:
    """Yield what is wrong with the mounts of secrets; `declared` are the ids of the layer of `file`."""
    for each in secret_mounts(dockerfile):
        if not re.fullmatch(SECRET_ID, each.id):
            message = f"`{shown(each.id)}` is not the id of a secret" if each.id else "the mount of a secret has no id"
            hint = "write `--mount=type=secret,id=<id>,required=true`, with an id of `secrets`"
            yield Diagnostic(message=message, location=each.location, hint=hint)
        elif each.id == MIRRORS_SECRET:
            continue
        elif each.id not in declared:
            message = f"this RUN mounts the secret `{each.id}`, which the layer does not declare"
            otherwise = f"declare the secret in `{file}`: `secrets: [{{id: {each.id}, description: …}}]`"
            near = did_you_mean(each.id, declared, otherwise)
            yield Diagnostic(message=message, location=each.location, hint=near)
        elif not each.required:
            message = f"the mount of the secret `{each.id}` is not `required`: the RUN would run without it too"
            yield Diagnostic(message=message, location=each.location, hint="add `,required=true` to the mount")


def _mounts(read: Read) -> Iterator[tuple[dict[str, str], str, int]]:
    """Yield the fields of each mount of a RUN, its text, and where that begins."""
    for flag, value, offset in read.values if read.instruction.keyword == "RUN" else ():
        if flag == "mount":
            parts = (part.partition("=") for part in value.split(","))
            yield {name.lower(): text for name, _, text in parts}, value, offset


def _secrets(dockerfile: Dockerfile, read: Read) -> Iterator[SecretMount]:
    for fields, value, offset in _mounts(read):
        if fields.get("type") != "secret":
            continue
        target = next((fields[name] for name in ("target", "dst", "destination") if fields.get(name)), "")
        # As in BuildKit: the source before the id, and without both the last part of the target.
        name = fields.get("source") or fields.get("src") or fields.get("id") or target.rpartition("/")[2]
        is_default = target in ("", f"{_FOLDER}/{name}") and not (fields.get("env") and not target)
        yield SecretMount(
            id=name,
            required=fields.get("required", "false") in _TRUE,
            is_default=is_default,
            location=_location(dockerfile, read, offset, value),
        )


def _location(dockerfile: Dockerfile, read: Read, offset: int, what: str) -> Location:
    line, column = read.source.at(offset)
    return Location(file=dockerfile.file, line=line, column=column, length=max(1, len(what)))
