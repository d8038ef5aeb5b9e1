"""Variables of several layers become one ENV each, and never an empty part of a search path."""

from __future__ import annotations

from buildsys.bake.assembly import environment_value
from buildsys.recipes.parameters import When
from buildsys.recipes.recipe import Environment
from buildsys.resolve.image import Variable, merge


def merged(*environments: tuple[str, Environment]) -> dict[str, Variable]:
    variables, conflicts = merge((name, [each], {"version": "2"}) for name, each in environments)
    assert not conflicts
    return {variable.name: variable for variable in variables}


def test_later_layers_prepend_in_front_and_append_behind() -> None:
    one = Environment(prepend={"PATH": ("/one",)}, append={"PATH": ("/one/late",)})
    two = Environment(prepend={"PATH": ("/two", "/two/more")}, append={"PATH": ("/two/late",)})
    assert merged(("one", one), ("two", two))["PATH"].shown == "/two:/two/more:/one:$PATH:/one/late:/two/late"


def test_value_of_the_parent_is_in_the_middle_only_if_there_is_one() -> None:
    variable = merged(("one", Environment(prepend={"LIBS": ("/a",)}, append={"LIBS": ("/b",)})))["LIBS"]
    assert environment_value(variable) == '"/a${LIBS:+:${LIBS}}:/b"'
    only_behind = merged(("one", Environment(append={"LIBS": ("/b",)})))["LIBS"]
    assert environment_value(only_behind) == '"${LIBS:+${LIBS}:}/b"'


def test_value_with_dollar_quote_and_backslash_stays_what_it_is() -> None:
    variable = merged(("one", Environment(set={"A": 'x"$HOME\\'})))["A"]
    assert environment_value(variable) == '"x\\"\\$HOME\\\\"'


def test_equal_values_of_two_layers_agree_and_different_ones_conflict() -> None:
    same = [Environment(set={"LANG": "C"}), Environment(set={"LANG": "C"})]
    variables, conflicts = merge([("one", same[:1], {}), ("two", same[1:], {})])
    assert (variables[0].value, conflicts) == ("C", ())
    _, conflicts = merge([("one", same[:1], {}), ("two", [Environment(set={"LANG": "de"})], {})])
    assert (conflicts[0].first, conflicts[0].second) == (("one", "C"), ("two", "de"))


def test_condition_and_parameters_are_put_in() -> None:
    always = Environment(set={"V": "{version}"})
    never = Environment(set={"W": "x"}, when=When(values=(("version", ("1",)),)))
    variables, _ = merge([("one", [always, never], {"version": "2"})])
    assert [(each.name, each.value) for each in variables] == [("V", "2")]
