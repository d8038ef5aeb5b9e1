"""A value that a layer does not list: `lock` fetches its file once, and the layer stays as it was copied."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.command_line import Run, answering, buildsys, http_answer, refused, small_project, write

LAYER = """\
description: a file
kind: artifact
licence: MIT
prefix: /opt/conf
requires: [os]
parameters:
  version:
    description: release
    default: 1.0
    values: [1.0, 1.1]
    pattern: "[0-9]+[.][0-9]+"
    label: true
downloads:
  archive:
    - {when: {version: 1.0}, url: "https://example.com/1.0.tar", sha256: "LISTED"}
    - {url: "https://example.com/{version|major}/conf-{version}.tar", sha256: locked}
""".replace("LISTED", "1" * 64)
DOCKERFILE = """\
FROM scratch AS download
ARG ARCHIVE_URL
ARG ARCHIVE_SHA256
ADD --checksum=sha256:${ARCHIVE_SHA256} ${ARCHIVE_URL} /archive
FROM toolchain AS build
ARG VERSION
RUN --mount=type=bind,from=download,target=/download cp /download/archive /out/opt/conf/$VERSION
FROM scratch
COPY --from=build /out /
"""
STACKS = """\
stacks:
  img:
    layers:
      - dist
      - conf:
          version: 2.5
"""
ADDRESS = "https://example.com/2/conf-2.5.tar"
CONTENT = b"release 2.5"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {"layers/conf/layer.yaml": LAYER, "layers/conf/Dockerfile": DOCKERFILE, "stacks.yaml": STACKS}
    return small_project(tmp_path / "project", files)


def lock(project: Path, mirror: str, *words: str) -> Run:
    write(project, "buildsys.settings.yaml", f"downloads: {{'https://example.com': '{mirror}'}}\n")
    return buildsys(project, "lock", *words)


def held(project: Path) -> str:
    return (project / "buildsys.lock").read_text(encoding="utf-8")


def with_stack(project: Path, version: str) -> None:
    write(project, "stacks.yaml", STACKS.replace("2.5", version))


def node(project: Path) -> dict[str, str]:
    done = buildsys(project, "explain", next(name for name in nodes(project) if "conf" in name), "--offline", "--json")
    assert done.code == 0, done.output
    found: dict[str, str] = json.loads(done.stdout)
    return found


def nodes(project: Path) -> list[str]:
    done = buildsys(project, "plan", "--json")
    assert done.code == 0, done.output
    return [each["name"] for each in json.loads(done.stdout)["nodes"]]


def test_plan_before_the_lock_names_the_value_and_what_to_run(project: Path) -> None:
    done = buildsys(project, "plan")
    refused(done, f"`buildsys.lock` has no checksum of `{ADDRESS}`", "stacks.yaml:6:20", "run `buildsys lock`")
    assert done.output.count("error:") == 1


def test_lock_fetches_the_address_of_the_template_through_the_mirror_once(project: Path) -> None:
    layer = (project / "layers/conf/layer.yaml").read_bytes()
    with answering(http_answer(CONTENT)) as server:
        done = lock(project, server.address)
        assert done.code == 0, done.output
        assert [each.split()[1] for each in server.asked] == [b"/2/conf-2.5.tar"]
        assert f'"{ADDRESS}":\n    sha256: {SHA256}\n    size: {len(CONTENT)}\n' in held(project)
        # What the lock has is not fetched again.
        assert lock(project, server.address).code == 0
        assert len(server.asked) == 1
    assert (project / "layers/conf/layer.yaml").read_bytes() == layer
    assert buildsys(project, "plan").code == 0
    assert SHA256 in (project / "docker-bake.hcl").read_text(encoding="utf-8")


def test_key_is_that_of_a_checksum_in_the_layer(project: Path) -> None:
    with answering(http_answer(CONTENT)) as server:
        assert lock(project, server.address).code == 0
    locked = node(project)
    listed = f'    - {{when: {{version: 2.5}}, url: "https://elsewhere.example.com/2.5.tar", sha256: "{SHA256}"}}\n'
    write(project, "layers/conf/layer.yaml", LAYER.replace("    - {url:", f"{listed}    - {{url:"))
    assert node(project)["key"] == locked["key"]
    other = listed.replace(SHA256, "2" * 64)
    write(project, "layers/conf/layer.yaml", LAYER.replace("    - {url:", f"{other}    - {{url:"))
    assert node(project)["key"] != locked["key"]


def test_file_that_changed_upstream_stays_in_the_lock_and_is_reported(project: Path) -> None:
    with answering(http_answer(CONTENT)) as server:
        assert lock(project, server.address).code == 0
    before = held(project)
    with answering(http_answer(b"other bytes")) as server:
        assert lock(project, server.address).code == 0
        assert held(project) == before
        done = lock(project, server.address, "--check")
        refused(done, "give another file than the checksum says", f"- {ADDRESS} {SHA256}", code=3)
        assert held(project) == before
        # Only who names the address gets another checksum, and sees both.
        done = lock(project, server.address, "--update", ADDRESS)
        assert done.code == 0, done.output
        assert SHA256[:8] in done.stdout
    assert hashlib.sha256(b"other bytes").hexdigest() in held(project)


def test_general_update_of_the_lock_keeps_the_checksum_of_a_version(project: Path) -> None:
    with answering(http_answer(CONTENT)) as server:
        assert lock(project, server.address).code == 0
    with answering(http_answer(b"other bytes")) as server:
        lock(project, server.address, "--update")
        assert server.asked == []
    assert SHA256 in held(project)


def test_version_that_does_not_exist_is_an_error_at_its_value(project: Path) -> None:
    with answering(http_answer(b"", status="404 Not Found")) as server:
        done = lock(project, server.address)
    refused(done, ADDRESS, "HTTP status 404 Not Found", code=5)
    assert ADDRESS not in held(project)


def test_offline_nothing_is_fetched_and_the_plan_still_says_what_is_missing(project: Path) -> None:
    with answering(http_answer(CONTENT)) as server:
        done = lock(project, server.address, "--offline")
        assert (done.code, server.asked) == (0, [])
    refused(buildsys(project, "plan"), ADDRESS, "run `buildsys lock`")
    done = buildsys(project, "lock", "--check", "--offline")
    refused(done, "lacks 1 entry", f"+ {ADDRESS}", code=3)


def test_value_of_another_form_is_refused_with_both_ways_to_write_one(project: Path) -> None:
    with_stack(project, "2.5rc1")
    done = buildsys(project, "plan")
    refused(done, "`2.5rc1` does not have the form `[0-9]+[.][0-9]+`", "`1.0`, `1.1`", "stacks.yaml:6:20")


def test_listed_value_without_a_checksum_is_taken_from_the_lock_too(project: Path) -> None:
    with_stack(project, "1.1")
    refused(buildsys(project, "plan"), "https://example.com/1/conf-1.1.tar", "run `buildsys lock`")


def test_entry_of_a_value_that_no_stack_has_any_more_is_dropped(project: Path) -> None:
    with answering(http_answer(CONTENT)) as server:
        assert lock(project, server.address).code == 0
    with_stack(project, "1.0")
    done = buildsys(project, "lock", "--offline")
    assert done.code == 0, done.output
    assert ADDRESS not in held(project)


def test_page_that_answers_for_every_version_is_refused_as_one_file_of_two(project: Path) -> None:
    write(project, "stacks.yaml", STACKS + STACKS.partition("\n")[2].replace("img", "other").replace("2.5", "2.6"))
    with answering(http_answer(b"a page for every address")) as server:
        assert lock(project, server.address).code == 0
    refused(buildsys(project, "plan"), "have one checksum", "stacks.yaml:")
