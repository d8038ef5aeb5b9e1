"""What a new project, a new layer and a new stack begin with."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date

from buildsys.commands.offer import IGNORE_FILE, IGNORED, Offer
from buildsys.commands.plan import make_plan, schemas
from buildsys.config.catalog import layers_of
from buildsys.config.lockfile import Lock, lock_text
from buildsys.errors import Diagnostic, InvalidInput, Location, enumerated, which_one
from buildsys.names import (
    LAYER_FILE,
    LOCK_FILE,
    OVERLAY_FILE,
    SETTINGS_FILE,
    STACKS_FILE,
    STATE_FOLDER,
    layer_problem,
    stack_problem,
)
from buildsys.project.files import is_there
from buildsys.project.origins import Origin, opened, shipped
from buildsys.project.placement import Files, NewFile, place
from buildsys.project.workspace import Workspace
from buildsys.recipes.recipe import OS, Kind, Layer
from buildsys.records.source import Path, Source, read

SYSTEMS = ("debian", "ubuntu")
_FIRST_LAYER = "hello"
_OTHER_NAME = "choose a different name"
_STACKS = """\
# yaml-language-server: $schema=schemas/stacks.schema.json
# The images of this project. Editors check and complete this file by the schema above.
stacks:
  hello:
    description: a first image
    layers:
      - {os}-os
      - hello
"""
_GIT_IGNORE = f"""\
# What buildsys keeps on this machine.
{STATE_FOLDER}/
{OVERLAY_FILE}
{SETTINGS_FILE}
"""
_DOCKER_IGNORE = """\
# No build reads this folder: builds read those of layers, which have rules of their own.
*
"""
_SCHEMA = "# yaml-language-server: $schema=../../schemas/layer.schema.json\n"
_ARTIFACT = """\
description: a program of this project
kind: artifact
licence: the licence of the program
prefix: /opt/{name}
requires: [os]
parameters:
  version:
    description: what the program prints
    default: 1.0
environment:
  prepend: {{PATH: /opt/{name}/bin}}
tests:
  - {{run: {name}, expect: "{name} {{version}}"}}
"""
_ARTIFACT_DOCKERFILE = """\
# The toolchain has compilers; nothing of it gets into the image.
FROM toolchain AS build
ARG VERSION
COPY {name}.sh /source/
RUN <<END
set -eu
mkdir -p /artifact/opt/{name}/bin
sed "s/@VERSION@/$VERSION/" /source/{name}.sh >/artifact/opt/{name}/bin/{name}
chmod 755 /artifact/opt/{name}/bin/{name}
END

# An artifact ends with nothing but the files below its prefix.
FROM scratch
COPY --from=build /artifact /
"""
_ARTIFACT_SOURCE = """\
#!/bin/sh
echo "{name} @VERSION@"
"""
_SYSTEM = """\
description: packages of this project
kind: system
licence: various free licences, see /usr/share/doc/*/copyright
requires: [os]
packages:
  - names: [less]
tests:
  - {{run: less --version, expect: less}}
"""
_TOOLCHAIN = """\
description: what artifacts of this project are built on
kind: toolchain
licence: various free licences, see /usr/share/doc/*/copyright
parent:
  name: "{name}-{{release}}"
  images: ["docker.io/library/debian:{{release}}-slim"]
parameters:
  release:
    description: Debian release
    default: 12
    label: true
packages:
  - names: [g++, gcc, libc6-dev, make]
"""


def init(folder: pathlib.Path, system: str, environ: Mapping[str, str], today: date) -> tuple[str, ...]:
    """Write a project of one image into a folder, which need not exist, and return what was written, sorted.

    The layers and the lock are those that come with buildsys, so it can be planned without a network. Raises
    `InvalidInput`, and writes nothing, if any of it exists.
    """
    with opened(Origin(), folder, environ) as origin:
        offer = Offer(origin)
        names = (f"{system}-os", *offer.required([f"{system}-os"], (), ()))
        folders = {f"layers/{name}": offer.files(name) for name in names}
        lock = offer.added_to(Lock(), names, today)
    folders[f"layers/{_FIRST_LAYER}"] = _layer(_FIRST_LAYER, Kind.ARTIFACT)
    texts = {f"schemas/{name}": text for name, text in schemas(None, check=False).items()}
    texts |= {".gitignore": _GIT_IGNORE, ".dockerignore": _DOCKER_IGNORE, LOCK_FILE: lock_text(lock)}
    # Last: it is what makes a folder a project.
    texts[STACKS_FILE] = _STACKS.replace("{os}", system)
    if existing := [name for name in (*folders, *texts) if is_there(folder / name)]:
        message = f"`init` overwrites nothing, and `{folder}` has {enumerated(existing)}"
        hint = "rename them, or name a new folder: `buildsys init FOLDER`"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    place(folder, folders, {name: NewFile(data=text.encode()) for name, text in texts.items()})
    return tuple(sorted((*folders, *texts)))


def new_layer(workspace: Workspace, name: str, kind: Kind) -> tuple[str, ...]:
    """Write a layer that can be planned, and return its files. Raises `InvalidInput` for a name that it cannot have."""
    tree = workspace.tree()
    folder = f"layers/{name}"
    if problem := layer_problem(name):
        raise InvalidInput([Diagnostic(message=problem, hint=_OTHER_NAME)])
    if is_there(workspace.root / folder):
        message = f"`{folder}` exists, and `new` overwrites nothing"
        raise InvalidInput([Diagnostic(message=message, location=Location(file=folder), hint=_OTHER_NAME)])
    layers, _ = layers_of(tree)
    if kind is not Kind.TOOLCHAIN and not _systems(layers):
        message = f"no layer of this project provides `{OS}`, which a layer of kind `{kind}` requires"
        raise InvalidInput(
            [Diagnostic(message=message, hint="run `buildsys add debian-os` or `buildsys add ubuntu-os`")]
        )
    workspace.home.find(folder)
    files = _layer(name, kind, is_described=is_there(workspace.root / "schemas" / "layer.schema.json"))
    place(workspace.root, {folder: files}, {})
    return tuple(f"{folder}/{path}" for path in sorted(files))


def _layer(name: str, kind: Kind, *, is_described: bool = True) -> Files:
    """Return the files of a new layer; `is_described` where the project has its JSON Schema."""
    texts = {Kind.ARTIFACT: _ARTIFACT, Kind.SYSTEM: _SYSTEM, Kind.TOOLCHAIN: _TOOLCHAIN}
    files = {LAYER_FILE: f"{_SCHEMA if is_described else ''}{texts[kind].format(name=name)}"}
    if kind is Kind.ARTIFACT:
        files["Dockerfile"] = _ARTIFACT_DOCKERFILE.format(name=name)
        files[f"{name}.sh"] = _ARTIFACT_SOURCE.format(name=name)
    elif kind is Kind.TOOLCHAIN:
        files["Dockerfile"] = (shipped() / "layers" / "toolchain-debian" / "Dockerfile").read_text(encoding="utf-8")
    if "Dockerfile" in files:
        files[IGNORE_FILE] = IGNORED
    return {path: NewFile(data=text.encode()) for path, text in files.items()}


def _systems(layers: Mapping[str, Layer]) -> list[str]:
    return sorted(name for name, layer in layers.items() if OS in layer.provides)


def new_stack(workspace: Workspace, name: str, layers: Sequence[str]) -> str:
    """Add a stack to `stacks.yaml`, whose other lines stay as they are, and return the lines that were added.

    Without `layers` it has the only one that provides `os`. Raises `InvalidInput`, and writes nothing, for a name that
    it cannot have, for layers that do not exist and for a stack that cannot be planned.
    """
    tree = workspace.tree()
    plan = make_plan(tree)
    if problem := stack_problem(name):
        raise InvalidInput([Diagnostic(message=problem, hint=_OTHER_NAME)])
    if taken := next((each for each in plan.stacks if each.stack == name), None):
        message = f"the stack `{name}` exists"
        raise InvalidInput([Diagnostic(message=message, location=taken.location, hint=_OTHER_NAME)])
    known, _ = layers_of(tree)
    chosen = layers or _only_system(known)
    _check_layers(chosen, known)
    added = "".join(f"      - {each.replace('=', ': ', 1)}\n" for each in chosen)
    entry = f"  {name}:\n    layers:\n{added}"
    text = with_stack(tree[STACKS_FILE], name, entry)
    try:
        make_plan({**tree, STACKS_FILE: text})
    except InvalidInput as error:
        # What is wrong is in lines that are not written.
        raise InvalidInput(replace(each, location=None) for each in error.diagnostics()) from None
    workspace.write(STACKS_FILE, text)
    return entry


def _only_system(layers: Mapping[str, Layer]) -> list[str]:
    found = _systems(layers)
    if len(found) == 1:
        return found
    message = f"{len(found)} layers of this project provide `{OS}`, so a new stack needs its layers"
    hint = f"add `--layers {found[0]}`" if found else "run `buildsys add debian-os`"
    raise InvalidInput([Diagnostic(message=message, hint=hint)])


def _check_layers(names: Sequence[str], known: Collection[str]) -> None:
    wrong = []
    for name in (each.partition("=")[0] for each in names):
        if name not in known:
            is_shipped = (shipped() / "layers" / name / LAYER_FILE).is_file()
            hint = f"run `buildsys add {name}` first" if is_shipped else which_one(name, sorted(known))
            wrong.append(Diagnostic(message=f"`--layers` names `{name}`, which this project does not have", hint=hint))
    if wrong:
        raise InvalidInput(wrong)


def with_stack(text: str, name: str, entry: str) -> str:
    """Return the text of `stacks.yaml` with the lines of a stack at the end of its `stacks:`, and nothing else changed.

    Raises `InvalidInput` where `stacks` is not written as a block.
    """
    source = read(text, STACKS_FILE)
    key = source.keys.get(("stacks",))
    found = f"{text.rstrip()}\n\nstacks:\n{entry}" if key is None else _inserted(text, source, key.line, entry)
    try:
        keys = _outer(read(found, STACKS_FILE))
    except InvalidInput:
        keys = {}
    if keys.keys() != {*_outer(source), ("stacks",), ("stacks", name)}:
        message = f"`stacks` is not written with each stack on lines of its own, so `{name}` cannot be added to it"
        location = key or Location(file=STACKS_FILE)
        raise InvalidInput([Diagnostic(message=message, location=location, hint=f"add it by hand:\n{entry.rstrip()}")])
    return found


def _outer(source: Source) -> Mapping[Path, Location]:
    """Return the places of the keys of a file, and of those one level below them."""
    return {path: place for path, place in source.keys.items() if len(path) < 3}


def _inserted(text: str, source: Source, first: int, entry: str) -> str:
    """Return a text with an entry at the end of the block that begins on the line `first`, with its indentation."""
    lines = text.splitlines(keepends=True)
    # Up to the next key that begins a line; comments and empty lines before that belong to it.
    following = [number for number in range(first, len(lines)) if re.match(r"[^\s#]", lines[number])]
    last = following[0] if following else len(lines)
    while last > first and (not lines[last - 1].strip() or lines[last - 1].startswith("#")):
        last -= 1
    if not lines[last - 1].endswith("\n"):
        lines[last - 1] += "\n"
    columns = [place.column for path, place in _outer(source).items() if len(path) == 2 and path[0] == "stacks"]
    indent = " " * (min(columns, default=3) - 1)
    lines.insert(last, "".join(f"{indent}{each[2:]}" for each in entry.splitlines(keepends=True)))
    return "".join(lines)
