"""What holds for every config that docker can read: it is read, and what is composed over it can be read too."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from buildsys.oci.config import Config
from buildsys.oci.reference import Descriptor, digest_of
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import Part, compose, value_of
from tests.support.hostile_settings import PARTED, Hostile, yaml
from tests.support.projects import LAW
from tests.support.trees import planned, tree

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NAME = TEXT.filter(lambda text: text and "=" not in text)
WORDS = st.lists(TEXT, max_size=4)
PORT = st.builds(
    lambda port, more, protocol: f"{port}{f'-{min(port + more, 65535)}' if more else ''}{protocol}",
    st.integers(0, 65535),
    st.sampled_from([0, 0, 1, 5]),
    st.sampled_from(["", "/tcp", "/UDP", "/udp", "/sctp"]),
)
# Docker takes none between 0 and a millisecond.
DURATION = st.just(0) | st.integers(10**6, 2**63 - 1)
HEALTHCHECK = st.fixed_dictionaries(
    {},
    optional={
        "Test": st.just(["NONE"]) | st.builds(lambda words: ["CMD", *words], WORDS),
        **dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval"), DURATION),
        "Retries": st.integers(0, 2**31 - 1),
    },
)
SETTINGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("User", "WorkingDir", "StopSignal"), TEXT),
        **dict.fromkeys(("Entrypoint", "Cmd", "Shell"), st.none() | WORDS),
        "ExposedPorts": st.none() | st.dictionaries(PORT, st.just({}), max_size=4),
        "Env": st.dictionaries(NAME | st.sampled_from(PARTED), TEXT, max_size=5).map(
            lambda found: [f"{name}={value}" for name, value in found.items()]
        ),
        "Labels": st.none() | st.dictionaries(TEXT, TEXT, max_size=4),
        "Volumes": st.none() | st.dictionaries(NAME, st.just({}), max_size=3),
        "ArgsEscaped": st.booleans(),
        "Healthcheck": st.none() | HEALTHCHECK,
    },
)


def document(settings: dict[str, Any], layers: int) -> bytes:
    digests = [digest_of(str(number).encode()) for number in range(layers)]
    rootfs = {"type": "layers", "diff_ids": digests}
    found = {"os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05Z", "config": settings}
    return json.dumps({**found, "history": [{"created_by": "x"}] * layers, "rootfs": rootfs}).encode()


def part(config: Config) -> Part:
    layer = Descriptor(media_type="x", digest=digest_of(b"x"), size=1)
    return Part(layers=(layer,) * len(config.diff_ids), config=config)


@cache
def image(seed: int) -> ImageTarget:
    """Return an image of two layers with hostile settings."""
    hostile = Hostile(seed)
    head = "description: d\nkind: system\nlicence: MIT\n"
    layers = {
        name: head + "".join(f"{field}: {yaml(value)}\n" for field, value in hostile.fields(name).items())
        for name in ("first", "second")
    }
    files = tree("stacks:\n  one: {layers: [system, first, fast, second]}\n", **layers)
    return planned(files).stacks[0]


@LAW
@given(settings=SETTINGS, layers=st.integers(0, 3))
def test_config_that_is_read_is_written_the_same(settings: dict[str, Any], layers: int) -> None:
    config = Config.parse(document(settings, layers))
    assert Config.parse(config.to_json()) == config


@LAW
@given(settings=SETTINGS, layers=st.integers(0, 3), seed=st.integers(1, 12))
def test_composing_over_a_config_gives_one_that_is_read(settings: dict[str, Any], layers: int, seed: int) -> None:
    base, artifact = Config.parse(document(settings, layers)), Config.parse(document({}, 1))
    stack = image(seed)
    composed = compose(stack, part(base), [part(artifact)], {})
    found = Config.parse(composed.config)
    assert found.diff_ids == (*base.diff_ids, *artifact.diff_ids)
    for name, value in base.settings.environment.items():
        variable = next((each for each in stack.environment if each.name == name), None)
        assert found.settings.environment[name] == (value_of(variable, value) if variable else value)
    assert found.settings.labels.items() >= stack.config.labels.items()
    assert found.settings.ports >= base.settings.ports
    for name in ("volumes", "stop_signal", "shell", "workdir"):
        assert getattr(found.settings, name) == getattr(base.settings, name)
