"""Dataclasses of `values` behave as those of the standard library do, but for being frozen at run time."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any

import pytest

from buildsys import values


@values.dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    user: str
    password: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)


@values.dataclass(frozen=True, slots=True)
class Alone:
    text: str


@values.dataclass(frozen=True, slots=True)
class Empty:
    pass


@values.dataclass(frozen=True, kw_only=True, slots=True)
class Named(Login):
    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


@values.dataclass(kw_only=True, slots=True)
class Counter:
    count: int = 0


def twin(kind: type[Any]) -> type[Any]:
    """Return the class as the standard library defines it."""
    fields: list[Any] = []
    for each in dataclasses.fields(kind):
        given = field(default=each.default, compare=each.compare, repr=each.repr)
        fields.append((each.name, each.type, given))
    return dataclasses.make_dataclass(kind.__name__, fields, frozen=True, kw_only=kind is Login, slots=True)


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        (Login, [({"user": "a"}, {"user": "a"}), ({"user": "a"}, {"user": "b"})]),
        (Login, [({"user": "a", "seen": 1}, {"user": "a", "seen": 2})]),
        (Login, [({"user": "a", "password": "secret"}, {"user": "a"})]),
        (Alone, [({"text": "a"}, {"text": "a"}), ({"text": "a"}, {"text": "b"})]),
        (Empty, [({}, {})]),
    ],
)
def test_values_compare_hash_and_print_as_those_of_the_standard_library(
    kind: type[Any], pairs: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    other = twin(kind)
    for first, second in pairs:
        equal = kind(**first) == kind(**second)
        assert equal == (other(**first) == other(**second))
        assert equal == (hash(kind(**first)) == hash(kind(**second)))
        assert repr(kind(**first)).endswith(repr(other(**first)))


def test_values_of_two_classes_are_never_equal() -> None:
    values: list[object] = [Login(user="a"), Named(user="a", name="b"), Alone("a"), "a", Empty(), Counter()]
    assert all(one is other or one != other for one in values for other in values)


def test_a_secret_is_not_printed() -> None:
    assert "secret" not in repr(Login(user="a", password="secret"))


def test_a_method_of_the_class_itself_stays() -> None:
    assert repr(Named(user="a", name="b")) == "<b>"


def test_what_may_change_has_no_hash() -> None:
    assert Counter() == Counter()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Counter())


def test_values_have_slots_keywords_and_copies() -> None:
    login = Login(user="a", password="b", seen=3)
    with pytest.raises(TypeError):
        Login("a")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        login.other = 1  # type: ignore[attr-defined]
    for twin_of_it in (copy.copy(login), copy.deepcopy(login), pickle.loads(pickle.dumps(login))):
        assert dataclasses.asdict(twin_of_it) == dataclasses.asdict(login)
    assert dataclasses.replace(login, user="b") == Login(user="b", password="b")
