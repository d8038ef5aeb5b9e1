"""Settings of images from hostile texts, as fields of `layer.yaml`: all of them are right, and docker takes them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from buildsys import texts as rules
from tests.support.hostile_project import literal
from tests.support.hostile_text import texts, word

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
PARTED = ("PATH", "LD_LIBRARY_PATH", "ODD", "EMPTY", "NEW")
"""Variables of several parts; a hostile base has the first four of them."""


class Hostile:
    """Right texts for each field, from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        found = texts(self.chance, 3_000)
        self._values = [text for text in found if rules.one_line(text) is None and len(text) < 2_000]
        self._parts = [text for text in self._values if rules.part(text) is None and not text.startswith("-")]
        self._words = [text for text in found if _is_word(text) and len(text) < 2_000]
        self._defaults = [text for text in found if rules.composed(text) is None and rules.default(text) is None]

    def fields(self, layer: str) -> dict[str, Any]:
        """Return fields of a layer that only has settings; variables and labels that it sets are its own."""
        chance = self.chance
        found: dict[str, Any] = {"environment": [self._environment(f"{layer}_{number}") for number in range(2)]}
        found["labels"] = {f"{layer}.{self._name()}": self._value() for _ in range(3)}
        found["ports"] = sorted({self._port() for _ in range(chance.randint(0, 4))})
        if chance.random() < 0.5:
            user = chance.choice(("0", "1000", "nobody", "1000:users", "2147483647:2147483647", "a.b-c_d:e.f"))
            found["user"] = user
        for name in ("entrypoint", "command"):
            if chance.random() < 0.5:
                found[name] = self._some_words(0)
        if chance.random() < 0.6:
            found["healthcheck"] = self._healthcheck()
        return found

    def _environment(self, layer: str) -> dict[str, Any]:
        name = self.chance.choice(PARTED)
        found: dict[str, Any] = {"set": {f"{layer.upper()}_{self._name().upper()}": self._value() for _ in range(2)}}
        for way in ("prepend", "append"):
            if self.chance.random() < 0.6:
                found[way] = {name: self.chance.sample(self._parts, self.chance.randint(1, 3))}
        # Layers agree on what is between the parts of a variable, and on its default.
        if name == "NEW":
            found |= {"separator": ";", "default": {name: self._defaults[0]}}
        elif name == "EMPTY":
            found |= {"separator": " ", "default": {name: self._defaults[-1]}}
        return found

    def _healthcheck(self) -> dict[str, Any]:
        chance = self.chance
        found: dict[str, Any] = {"command": self._some_words(1)}
        for name in ("interval", "timeout", "start_period"):
            if chance.random() < 0.6:
                found[name] = chance.choice(("1ms", "999ms", "1500ms", "90s", "61m", "2562047h"))
        if chance.random() < 0.5:
            found["retries"] = str(chance.choice((1, 3, 2**31 - 1)))
        return found

    def _some_words(self, least: int) -> list[str]:
        return self.chance.sample(self._words, self.chance.randint(least, 4))

    def _port(self) -> str:
        first = self.chance.choice((1, 53, 80, 8000, 65530))
        last = self.chance.choice(("", f"-{first}", f"-{first + 5}"))
        return f"{first}{last}{self.chance.choice(('', '/tcp', '/UDP', '/udp', '/Sctp'))}"

    def _value(self) -> str:
        return str(self.chance.choice(self._values))

    def _name(self) -> str:
        return word(self.chance, _LETTERS, 8)


def _is_word(text: str) -> bool:
    return "\0" not in text and rules.composed(text) is None and rules.control(text, keep="\t\n") is None


def yaml(value: Any) -> str:
    """Return fields as YAML, each text as the template that becomes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(name)}: {yaml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, str):
        return literal(value)
    assert isinstance(value, Iterable)
    return "[" + ", ".join(map(yaml, value)) + "]"
