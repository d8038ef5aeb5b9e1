"""What the layers of a stack say about its image: variables, labels, ports, and how a container starts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any

from buildsys.recipes import template
from buildsys.recipes.recipe import Environment, Healthcheck
from buildsys.resolve.instance import LayerInstance
from buildsys.texts import composed
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One variable of an image: `value` if a layer sets it, else the parent's, between what is prepended and appended.

    `layers` are those that change it, in order. `default` is in the place of the parent's value where that has none.
    """

    name: str
    value: str | None
    prepended: tuple[str, ...]
    appended: tuple[str, ...]
    layers: tuple[str, ...]
    separator: str = ":"
    default: str | None = None

    @property
    def shown(self) -> str:
        """The value as a person reads it; `$NAME` means the parent's."""
        parent = f"${self.name}" if self.default is None else f"${{{self.name}:-{self.default}}}"
        middle = parent if self.value is None else self.value
        return self.separator.join([*self.prepended, *([middle] if middle else []), *self.appended])


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Two layers that set one variable to different values."""

    variable: str
    first: tuple[str, str]
    second: tuple[str, str]


class _Merged:
    """Variables while layers are merged: their values, what is around these, and which layers change them."""

    def __init__(self) -> None:
        # By `NAME`, `default of NAME` and `separator of NAME`: the layer and the text.
        self.kept: dict[str, tuple[str, str]] = {}
        self.conflicts: dict[str, list[Conflict]] = {}
        self.before: dict[str, list[list[str]]] = {}
        self.behind: dict[str, list[str]] = {}
        # Whether a layer only gives a value, which a later one may replace.
        self.changed_by: dict[str, dict[str, bool]] = {}

    def keep(self, what: str, layer: str, text: str, *, overrides: bool) -> None:
        """Keep the text of a layer, or the conflict with that of an earlier one."""
        known = self.kept.setdefault(what, (layer, text))
        if overrides:
            self.kept[what] = (layer, text)
            self.conflicts.pop(what, None)
        elif known[1] != text:
            self.conflicts.setdefault(what, []).append(Conflict(variable=what, first=known, second=(layer, text)))

    def add(self, layer: str, environment: Environment, parameters: Mapping[str, str], *, is_own: bool) -> None:
        """Add what a layer says, later than all before; `is_own` of the stack itself, which overrides them."""
        separators = dict.fromkeys(sorted({*environment.prepend, *environment.append}), environment.separator or ":")
        for what, given in (("", environment.set), ("default of ", environment.default), ("separator of ", separators)):
            for name, text in given.items():
                self.keep(f"{what}{name}", layer, template.fill(text, parameters), overrides=is_own)
        for name in environment.set if is_own else ():
            changed = self.changed_by.get(name, {})
            self.changed_by[name] = {layer: is_value for layer, is_value in changed.items() if not is_value}
        for name in (*environment.set, *environment.default):
            self.changed_by.setdefault(name, {}).setdefault(layer, True)
        for name, texts in environment.prepend.items():
            self.before.setdefault(name, []).append([template.fill(text, parameters) for text in texts])
            self.changed_by.setdefault(name, {})[layer] = False
        for name, texts in environment.append.items():
            self.behind.setdefault(name, []).extend(template.fill(text, parameters) for text in texts)
            self.changed_by.setdefault(name, {})[layer] = False

    def variable(self, name: str) -> Variable:
        """Return a variable as all layers have it."""
        return Variable(
            name=name,
            value=self.kept.get(name, (None, None))[1],
            prepended=tuple(dict.fromkeys(part for parts in reversed(self.before.get(name, [])) for part in parts)),
            appended=tuple(dict.fromkeys(self.behind.get(name, ()))),
            layers=tuple(self.changed_by[name]),
            separator=self.kept.get(f"separator of {name}", ("", ":"))[1],
            default=self.kept.get(f"default of {name}", (None, None))[1],
        )


def merge(
    layers: Iterable[tuple[str, Iterable[Environment], Mapping[str, str]]],
    own: Collection[str] = (),
) -> tuple[tuple[Variable, ...], tuple[Conflict, ...]]:
    """Return the variables, sorted by name, and the conflicts.

    `layers` are the name, the environments and the parameters (with `flavour`) of each layer, in the stack's order. A
    later layer prepends before an earlier one; of equal parts only the first is kept. Those named in `own` are of the
    stack itself: what they set replaces what layers before them set, also where these conflict.
    """
    merged = _Merged()
    for layer, environments, parameters in layers:
        for environment in environments:
            if environment.when.holds(parameters):
                merged.add(layer, environment, parameters, is_own=layer in own)
    conflicts = tuple(each for several in merged.conflicts.values() for each in several)
    return tuple(merged.variable(name) for name in sorted(merged.changed_by)), conflicts


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """The config of an image; None keeps the parent's value, and an empty list of words is an empty list.

    A new `entrypoint` drops the parent's command, as it does in a Dockerfile. `sources` has the layer that each setting
    comes from, by the name of its field, of labels and ports by `label <key>` and `port <port>`.
    """

    labels: Mapping[str, str]
    ports: tuple[str, ...]
    user: str | None
    workdir: str | None
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    healthcheck: Healthcheck | None
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)


def config_of(instances: Iterable[LayerInstance]) -> tuple[ImageConfig, tuple[str, ...]]:
    """Return the config that layers in the stack's order give, and messages about conflicts, to follow its name.

    The last layer decides; labels and ports are joined. A label that two layers set to different values is a conflict,
    which the stack itself decides if it sets the label.
    """
    conflicts: dict[str, str] = {}
    labels: dict[str, str] = {}
    ports: dict[str, None] = {}
    found: dict[str, Any] = dict.fromkeys(("user", "workdir", "entrypoint", "command", "healthcheck"))
    sources: dict[str, str] = {}
    for each in instances:
        recipe, values = each.recipe, each.parameters
        for key, written in recipe.labels.items():
            value = template.fill(written, values)
            if each.is_own:
                labels.pop(key, None)
                sources.pop(f"label {key}", None)
                conflicts.pop(key, None)
            if labels.setdefault(key, value) != value:
                conflicts.setdefault(key, f"the layer `{each.name}` changes the label `{key}` of another layer")
            sources.setdefault(f"label {key}", each.name)
        for port in recipe.ports:
            ports.setdefault(port)
            sources.setdefault(f"port {port}", each.name)
        said: dict[str, Any] = {
            "user": template.fill(recipe.user or "", values) or None,
            "workdir": template.fill(recipe.workdir or "", values) or None,
            "entrypoint": _filled(recipe.entrypoint, values),
            "command": _filled(recipe.command, values),
            "healthcheck": _filled_healthcheck(recipe.healthcheck, values),
        }
        if recipe.entrypoint is not None:
            # A command belongs to the entry point that it was written for, and goes with it.
            found["command"] = None
            sources.pop("command", None)
        for name, setting in said.items():
            if setting is not None:
                found[name], sources[name] = setting, each.name
    config = ImageConfig(
        labels=MappingProxyType(dict(sorted(labels.items()))),
        ports=tuple(ports),
        sources=MappingProxyType(sources),
        **found,
    )
    return config, tuple(conflicts.values())


def _filled_healthcheck(healthcheck: Healthcheck | None, values: Mapping[str, str]) -> Healthcheck | None:
    return replace(healthcheck, command=_filled(healthcheck.command, values) or ()) if healthcheck else None


def _filled(words: tuple[str, ...] | None, values: Mapping[str, str]) -> tuple[str, ...] | None:
    return None if words is None else tuple(template.fill(word, values) for word in words)


def words_json(words: tuple[str, ...]) -> str:
    """Return words as a JSON list, the form that no shell and no variable changes."""
    text = json.dumps(words, ensure_ascii=False)
    # The `n` of an escaped line feed and an accent behind it would be one character in Unicode's normal form C.
    return text if composed(text) is None else json.dumps(words)


def healthcheck_text(healthcheck: Healthcheck) -> str:
    """Return a healthcheck as the arguments of the Dockerfile's instruction; equal ones give equal texts."""
    durations = {
        "interval": healthcheck.interval,
        "timeout": healthcheck.timeout,
        "start-period": healthcheck.start_period,
    }
    options = [f"--{name}={duration_text(value)}" for name, value in durations.items() if value is not None]
    options += [f"--retries={healthcheck.retries}"] if healthcheck.retries is not None else []
    return " ".join([*options, "CMD", words_json(healthcheck.command)])


def duration_text(milliseconds: int) -> str:
    """Return a duration in seconds if it is a whole number of them, else in milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else f"{seconds}s"
