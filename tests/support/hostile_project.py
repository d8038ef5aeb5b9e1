"""Projects that have many texts in every field that reaches the bake file, and what bake says that each text is."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from buildsys.commands.plan import make_plan
from buildsys.dockerfile.parser import Dockerfile
from buildsys.errors import InvalidInput
from buildsys.names import TITLE_LABEL, variable_name
from buildsys.plan.plan import Plan
from buildsys.texts import package
from tests.support.bake_text import bare, environment, label
from tests.support.hostile_text import near, texts, word

Entry: TypeAlias = tuple[str, int]
"""A field, and the number of a text in it."""
Printed: TypeAlias = Mapping[str, Any]
"""What bake printed."""
Example: TypeAlias = Callable[[random.Random], str]

VALUES = ("argument", "default", "lines")
INPUTS = (*VALUES, "packages", "url", "folder")
"""What reaches the Dockerfile of a node."""
SETTINGS = ("label", "label key", "set", "variable", "prepend", "append", "port")
"""What an image has many of."""
WORDS = ("entrypoint", "command", "healthcheck")
STACKS = ("description", "title", "deprecated", "stack", "group")
IMAGES = ("user", "workdir", "parent", "image", "platform")
"""What an image has one of: each stack has one text of each field."""
FREE = frozenset({"argument", "default", "lines", "label", "set", "prepend", "append", *WORDS, "description", "title"})
"""Fields whose only rule is that of all texts, or that they are one line."""
_KEYS = frozenset({"label key", "variable", "stack"})
_LONGEST_KEY = 100
_SYSTEM = ("kind: system", "licence: free", "description: x")
_PARENT = "parent: {name: p, images: [p]}"
_MOST_WORDS, _MOST_CHARACTERS = 80, 6_000
_LOWER, _MIXED = string.ascii_lowercase + string.digits, string.ascii_letters + string.digits


def quoted(text: str) -> str:
    """Return a text as YAML writes it in double quotes; what is printed is not escaped."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


def literal(text: str) -> str:
    """Return the template that becomes a text, as YAML writes it."""
    return quoted(text.replace("{", "{{").replace("}", "}}"))


def _lower(chance: random.Random) -> str:
    return word(chance, _LOWER, 14)


def _mixed(chance: random.Random) -> str:
    return word(chance, _MIXED + "._-", 14)


_EXAMPLES: Mapping[str, Example] = {
    "packages": lambda chance: f"{_lower(chance)}{chance.choice(['', '=1:2.3~rc1', ':amd64', '=3.*', '+'])}",
    "url": lambda chance: f"https://e.com/{word(chance, _MIXED + '/._-?=&%', 20)}",
    "folder": lambda chance: f"{_mixed(chance)}/{_mixed(chance)}",
    "label key": lambda chance: f"x{_mixed(chance)}/{_lower(chance)}",
    "variable": lambda chance: f"X{word(chance, _MIXED + '_')}",
    "port": lambda chance: f"{chance.randrange(70_000)}{chance.choice(['', '/tcp', '/udp'])}",
    "user": lambda chance: chance.choice([_mixed(chance), f"{chance.randrange(9**9)}:{_mixed(chance)}"]),
    "workdir": lambda chance: f"/{word(chance, _MIXED + ' $`#=<', 20)}",
    "stack": lambda chance: f"{_lower(chance)}.{_lower(chance)}",
    "group": lambda chance: f"g-{_lower(chance)}",
    "image": lambda chance: f"e.com/{_lower(chance)}:{_mixed(chance)}",
    "parent": lambda chance: f"{_lower(chance)}-{_lower(chance)}",
    "platform": lambda chance: f"linux/{_lower(chance)}",
}
"""Right texts of the fields that have a rule."""


def hostile_texts(name: str, seed: int, count: int) -> list[str]:
    """Return the texts of a field; those of a field with a rule often keep it."""
    chance = random.Random(f"{name} {seed}")
    found = near(chance, count, _EXAMPLES[name]) if name in _EXAMPLES else texts(chance, count)
    if name == "parent":
        # Two names of one variable are refused, and which one of them is not of interest here.
        found = [*{variable_name("PARENT", text): text for text in found}.values()]
    if name == "title":
        # What a target's name cannot have becomes `_` there, and two nodes of one name are refused.
        found = [f"{number}{text}" for number, text in enumerate(found)]
    if name == "packages":
        # Two versions of one package are refused, and which one of them is not of interest here.
        found = [text if package(text) else f"p{number}{text}" for number, text in enumerate(found)]
    return [text[:_LONGEST_KEY] for text in found] if name in _KEYS else found


def projects(fields: tuple[str, ...], seed: int, count: int, size: int) -> Iterator[HostileProject]:
    """Yield projects that together have `count` texts in each of the fields, at most `size` of them in one."""
    found = {name: hostile_texts(name, seed, count) for name in fields}
    for start in range(0, count, size):
        yield HostileProject({name: [*dict.fromkeys(each[start : start + size])] for name, each in found.items()})


@dataclass
class _File:
    lines: list[str] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)

    def add(self, line: str, entry: Entry | None = None) -> None:
        self.lines.append(line)
        if entry:
            self.entries[len(self.lines)] = entry


def _joined(form: str, words: Iterable[str]) -> list[str]:
    """Return instructions that have many words each: a Dockerfile may have 2,000 instructions."""
    listed = list(words)
    return [form.format(" ".join(listed[start : start + 50])) for start in range(0, len(listed), 50)]


class HostileProject:
    """The project: `texts` by field, and `refused` with the message for each text that the plan did not accept."""

    def __init__(self, texts: Mapping[str, list[str]]) -> None:
        self.texts = texts
        self.refused: dict[Entry, str] = {}
        self._files: dict[str, _File] = {}
        self._stacks: dict[str, int] = {}

    def accepted(self, name: str) -> dict[int, str]:
        """Return the texts of a field that have not been refused, by number."""
        return {n: text for n, text in enumerate(self.texts.get(name, ())) if (name, n) not in self.refused}

    def _accepted(self, name: str, number: int) -> str | None:
        known = number < len(self.texts[name]) and (name, number) not in self.refused
        return self.texts[name][number] if known else None

    def plan(self) -> Plan:
        """Return the plan without the texts that are refused; each refusal has the line of one of the texts."""
        while True:
            before = len(self.refused)
            try:
                return make_plan(self.tree())
            except InvalidInput as error:
                found = error.diagnostics()
            for each in found:
                assert each.location, each.message
                entry = self._files[each.location.file].entries.get(each.location.line or 0)
                assert entry, f"{each.location}: {each.message}"
                self.refused[entry] = each.message
            assert len(self.refused) > before

    def tree(self) -> dict[str, str]:
        """Return the files of the project with the texts that are not refused."""
        self._files, self._stacks = {}, {}
        self._file("stacks.yaml").add("stacks:")
        for name in self.texts:
            if name in INPUTS:
                self._input(name)
            elif name in SETTINGS:
                self._setting(name)
            elif name in WORDS:
                self._words(name)
        if "stack" in self.texts:
            self._named_stacks()
        if "image" in self.texts:
            self._images()
        return {name: "\n".join(file.lines) + "\n" for name, file in self._files.items()}

    def _file(self, name: str) -> _File:
        return self._files.setdefault(name, _File())

    def _layer(self, name: str, *head: str) -> _File:
        file = self._file(f"layers/{_layer_name(name)}/layer.yaml")
        for line in (*_SYSTEM, *head):
            file.add(line)
        return file

    def _mapping(self, name: str, head: str, form: str) -> None:
        file = self._layer(name, _PARENT, *head.split("\n"))
        for number, text in self.accepted(name).items():
            file.add(form.format(n=number, text=literal(text), plain=quoted(text)), (name, number))

    def _input(self, name: str) -> None:
        stacks, numbers = self._file("stacks.yaml"), self.accepted(name)
        declared = {
            "packages": ["ARG PACKAGES"],
            "url": _joined("ARG {}", (f"P{n}_URL P{n}_SHA256" for n in numbers)),
            "folder": _joined("RUN {} true", (f"--mount=from=p{n}" for n in numbers)),
        }.get(name, _joined("ARG {}", (f"P{n}" for n in numbers)))
        self._file(f"layers/{_layer_name(name)}/Dockerfile").lines.extend(["FROM base", *declared, "RUN true"])
        if name in ("argument", "folder"):
            file = self._layer(name, _PARENT, "parameters:")
            stacks.add(f"  the-{name}:")
            stacks.add(f"    layers: [{{{_layer_name(name)}: {{")
            for number, text in numbers.items():
                file.add(f"  p{number}: {{description: x, type: {'folder' if name == 'folder' else 'string'}}}")
                stacks.add(f"      p{number}: {quoted(text)},", (name, number))
            stacks.add("    }}]")
            return
        head, form = {
            "default": ("parameters:", "  p{n}: {{description: x, default: {plain}}}"),
            "lines": ("arguments:\n- lines:", "    P{n}: {text}"),
            "packages": ("packages:\n- names:", "  - {text}"),
            # One checksum for two addresses is refused.
            "url": ("downloads:", "  p{n}: {{url: {text}, sha256: '{n:064x}'}}"),
        }[name]
        self._mapping(name, head, form)
        stacks.add(f"  the-{name}: {{layers: [{_layer_name(name)}]}}")

    def _setting(self, name: str) -> None:
        head, form = {
            "label": ("labels:", "  k{n}: {text}"),
            "label key": ("labels:", "  {text}: v{n}"),
            "variable": ("environment:\n  set:", "    {text}: v{n}"),
            "port": ("ports:", "- {text}"),
        }.get(name, (f"environment:\n  {name}:", "    V{n}: {text}"))
        self._mapping(name, head, form)
        self._file("stacks.yaml").add(f"  the-{name.replace(' ', '-')}: {{layers: [{_layer_name(name)}]}}")

    def _words(self, name: str) -> None:
        file, stacks = self._layer(name, _PARENT, "flavours:"), self._file("stacks.yaml")
        for index, part in enumerate(self._parts(name)):
            file.add(f"  f{index}:")
            file.add(f"    {name}: {'{command: ' if name == 'healthcheck' else ''}[")
            for number, text in part.items():
                file.add(f"      {literal(text)},", (name, number))
            file.add(f"    ]{'}' if name == 'healthcheck' else ''}")
            stacks.add(f"  the-{name}-{index}: {{layers: [{_layer_name(name)}: {{flavour: f{index}}}]}}")

    def _parts(self, name: str) -> list[dict[int, str]]:
        """Return the words of a field in parts that one instruction can hold."""
        found: list[dict[int, str]] = [{}]
        for number, text in self.accepted(name).items():
            size = sum(map(len, found[-1].values()))
            if len(found[-1]) == _MOST_WORDS or (found[-1] and size + len(text) > _MOST_CHARACTERS):
                found.append({})
            found[-1][number] = text
        return found

    def _named_stacks(self) -> None:
        """Add a stack for each text of a name, with one text each for what else is said of a stack."""
        self._layer("many", _PARENT, "parameters: {word: {description: x, label: true}}")
        self._file(f"layers/{_layer_name('many')}/Dockerfile").lines.extend(["FROM base", "ARG WORD", "RUN true"])
        file = self._file("stacks.yaml")
        for number in range(max(map(len, self.texts.values()))):
            stack = self._add(file, "stack", number, "  {text}:", f"s{number}")
            self._stacks[stack] = number
            for name in ("description", "deprecated"):
                self._add(file, name, number, f"    {name}: {{text}}")
            self._add(file, "group", number, "    groups: [{text}]")
            file.add("    layers:")
            file.add(f"    - {_layer_name('many')}:")
            self._add(file, "title", number, "        word: {text}", "x")

    def _images(self) -> None:
        """Add a flavour for each text of a parent image, and a stack that has it."""
        file, stacks = self._layer("image", "flavours:"), self._file("stacks.yaml")
        for number in range(max(map(len, self.texts.values()))):
            file.add(f"  f{number}:")
            for name in ("user", "workdir"):
                self._add(file, name, number, f"    {name}: {{text}}", write=literal)
            file.add("    parent:")
            self._add(file, "parent", number, "      name: {text}", f"own-{number}", write=literal)
            self._add(file, "image", number, "      images: [{text}]", "p", write=literal)
            self._add(file, "platform", number, "    platforms: [{text}]", "linux/amd64")
            self._stacks[f"s{number}"] = number
            stacks.add(f"  s{number}:")
            self._add(stacks, "platform", number, "    platforms: [{text}]", "linux/amd64")
            stacks.add(f"    layers: [{{{_layer_name('image')}: {{flavour: f{number}}}}}]")

    def _add(
        self, file: _File, name: str, number: int, form: str, other: str = "", write: Callable[[str], str] = quoted
    ) -> str:
        """Add a line with a text, or with the other one where that is refused, and return which."""
        text = self._accepted(name, number)
        if text is not None or other:
            file.add(form.format(text=write(other if text is None else text)), None if text is None else (name, number))
        return other if text is None else text

    def read(self, plan: Plan, printed: Printed) -> dict[Entry, Any]:
        """Return what bake says that each accepted text is."""
        found: dict[Entry, Any] = {}
        for name in self.texts:
            if name in INPUTS:
                found |= self._read_input(name, plan, printed["target"])
            elif name in SETTINGS:
                found |= self._read_setting(name, printed["target"][f"the-{name.replace(' ', '-')}"])
            elif name in WORDS:
                found |= self._read_words(name, printed["target"])
        found |= {entry: text for entry, text in self._read_stacks(plan, printed) if entry not in self.refused}
        return found

    def _read_input(self, name: str, plan: Plan, targets: Printed) -> dict[Entry, Any]:
        (node,) = (each.name for each in plan.nodes if each.recipe.layer == _layer_name(name))
        numbers, target = self.accepted(name), targets[node]
        if name == "packages":
            words = target["args"]["PACKAGES"].split(" ")
            return {(name, n): text if text in words else None for n, text in numbers.items()}
        if name == "folder":
            return {(name, n): target["contexts"].get(f"p{n}") for n in numbers}
        return {(name, n): target["args"].get(f"P{n}{'_URL' if name == 'url' else ''}") for n in numbers}

    def _read_setting(self, name: str, target: Printed) -> dict[Entry, Any]:
        numbers, text = self.accepted(name), target["dockerfile-inline"]
        if name == "port":
            ports = _said(text, "EXPOSE")
            return {(name, n): port if port in ports else None for n, port in numbers.items()}
        pairs = dict(map(label, _said(text, "LABEL"))) if name.startswith("label") else environment(text, {})
        if name in ("label key", "variable"):
            keys = {value: key for key, value in pairs.items()}
            return {(name, n): keys.get(f"v{n}") for n in numbers}
        if name == "append":
            # A part behind the value of a parent that has none.
            return {(name, n): pairs[f"V{n}"] for n in numbers}
        return {(name, n): pairs.get(f"{'k' if name == 'label' else 'V'}{n}") for n in numbers}

    def _read_words(self, name: str, targets: Printed) -> dict[Entry, Any]:
        found: dict[Entry, Any] = {}
        keyword = {"entrypoint": "ENTRYPOINT", "command": "CMD", "healthcheck": "HEALTHCHECK"}[name]
        for index, part in enumerate(self._parts(name)):
            (said,) = _said(targets[f"the-{name}-{index}"]["dockerfile-inline"], keyword)
            words = json.loads(said.removeprefix("CMD "))
            found |= {(name, n): text for n, text in zip(part, words, strict=True)}
        return found

    def _read_stacks(self, plan: Plan, printed: Printed) -> Iterator[tuple[Entry, Any]]:
        nodes = {node.name: node for node in plan.nodes}
        for stack in plan.stacks:
            if stack.stack not in self._stacks:
                continue
            number, target = self._stacks[stack.stack], printed["target"][stack.name]
            if "image" in self.texts:
                text = target["dockerfile-inline"]
                yield ("user", number), next(iter(_said(text, "USER")), None)
                yield ("workdir", number), next(map(bare, _said(text, "WORKDIR")), None)
                yield ("platform", number), ",".join(target["platforms"])
                yield ("image", number), target["contexts"]["base"].removeprefix("docker-image://")
                continue
            node = nodes[stack.below[0]]
            below = printed["target"][node.name]
            assert below["description"] == node.title or ("title", number) in self.refused
            yield ("title", number), below["args"]["WORD"]
            # An empty one is none.
            described = self._accepted("description", number) != ""
            yield ("description", number), target["description"] if described else ""
            yield ("stack", number), target["labels"][TITLE_LABEL]
            group = self._accepted("group", number)
            yield (
                ("group", number),
                group if stack.name in printed["group"].get(group, {"targets": ()})["targets"] else None,
            )


def _layer_name(field: str) -> str:
    return f"of-{field.replace(' ', '-')}"


def _said(text: str, keyword: str) -> list[str]:
    # An instruction is one line, and 2,000 instructions are read of a file.
    lines = text.split("\n")
    files = ("\n".join(lines[start : start + 1_000]) for start in range(0, len(lines), 1_000))
    found = (each for file in files for each in Dockerfile.parse(file, "x").instructions)
    return [each.arguments for each in found if each.keyword == keyword]
