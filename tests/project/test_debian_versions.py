"""Versions of the scheme `debian` are in the order of dpkg itself."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.recipes.versions import Scheme, key_of, version_problem
from tests.project.conftest import Run, missing
from tests.support.laws import examples

PART = st.text("019aZr.+~", min_size=1, max_size=6)
VERSION = st.builds(
    lambda epoch, upstream, revision: f"{epoch}{upstream}{revision}",
    st.sampled_from(["", "", "0:", "1:"]),
    st.builds(lambda first, rest: first + rest, st.sampled_from(["0", "1", "2", "10", "r"]), PART | st.just("")),
    st.sampled_from(["", "-0", "-1", "-1~bpo12", "-1+b1"]) | PART.map(lambda part: f"-{part}"),
)
# Most pairs of texts differ at once; an ending decides where one is added.
PAIR = st.tuples(VERSION, VERSION) | st.builds(
    lambda version, end: (version, version + end), VERSION, st.sampled_from(["", "0", "~", "a", ".0", "-0", "+b1", "."])
)


@pytest.fixture
def dpkg(request: pytest.FixtureRequest) -> str:
    found = shutil.which("dpkg")
    if found is None:
        missing(request, "no `dpkg`, which compares versions")
    return str(found)


@examples(150)
@given(pair=PAIR)
def test_order_is_that_of_dpkg(dpkg: str, run: Run, pair: tuple[str, str]) -> None:
    one, other = pair
    assert version_problem(one, Scheme.DEBIAN) is None
    ours = {"lt": key_of(one, Scheme.DEBIAN) < key_of(other, Scheme.DEBIAN)}
    ours["eq"] = key_of(one, Scheme.DEBIAN) == key_of(other, Scheme.DEBIAN)
    for word, holds in ours.items():
        assert (run(dpkg, "--compare-versions", one, word, other).returncode == 0) is holds, (one, word, other)
