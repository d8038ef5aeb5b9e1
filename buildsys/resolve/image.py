"""What the layers of a stack say of its image beside variables: labels, ports, and how a container starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from buildsys.config import template
from buildsys.config.model import Healthcheck
from buildsys.resolve.instance import LayerInstance


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """What goes to an image's config; None is unsaid, so that the parent's stands, and no words are none at all.

    Where `entrypoint` is said, a command of the parent is gone, as it is in a Dockerfile.
    """

    labels: Mapping[str, str]
    ports: tuple[str, ...]
    user: str | None
    workdir: str | None
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    healthcheck: Healthcheck | None


def config_of(instances: Iterable[LayerInstance]) -> tuple[ImageConfig, tuple[str, ...]]:
    """Return what layers in order come to, the last one deciding, and what is wrong with it, to follow a stack's name.

    Labels and ports are joined; a label that two layers set to different values is wrong.
    """
    wrong: list[str] = []
    labels: dict[str, str] = {}
    ports: dict[str, None] = {}
    user: str | None = None
    workdir: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    for each in instances:
        recipe, values = each.recipe, each.parameters
        for key, written in recipe.labels.items():
            value = template.fill(written, values)
            if labels.setdefault(key, value) != value:
                wrong.append(f"the layer `{each.name}` sets the label `{key}` anew")
        ports.update(dict.fromkeys(recipe.ports))
        user = template.fill(recipe.user or "", values) or user
        workdir = template.fill(recipe.workdir or "", values) or workdir
        if recipe.entrypoint is not None:
            # A command is written for the entry point that it is given to, so that of another does not stay.
            entrypoint, command = _filled(recipe.entrypoint, values), None
        if recipe.command is not None:
            command = _filled(recipe.command, values)
        if recipe.healthcheck is not None:
            healthcheck = replace(recipe.healthcheck, command=_filled(recipe.healthcheck.command, values))
    config = ImageConfig(
        labels=MappingProxyType(dict(sorted(labels.items()))),
        ports=tuple(ports),
        user=user,
        workdir=workdir,
        entrypoint=entrypoint,
        command=command,
        healthcheck=healthcheck,
    )
    return config, tuple(wrong)


def _filled(words: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(template.fill(word, values) for word in words)


def words_text(words: tuple[str, ...]) -> str:
    """Return words as a JSON list, the form in which no shell and no variable has a part."""
    return json.dumps(words, ensure_ascii=False)


def healthcheck_text(healthcheck: Healthcheck) -> str:
    """Return a healthcheck as a Dockerfile's instruction has it; equal ones give equal texts."""
    durations = {
        "interval": healthcheck.interval,
        "timeout": healthcheck.timeout,
        "start-period": healthcheck.start_period,
    }
    options = [f"--{name}={duration_text(value)}" for name, value in durations.items() if value is not None]
    options += [f"--retries={healthcheck.retries}"] if healthcheck.retries is not None else []
    return " ".join([*options, "CMD", words_text(healthcheck.command)])


def duration_text(milliseconds: int) -> str:
    """Return a duration in whole seconds if it is one."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else f"{seconds}s"
