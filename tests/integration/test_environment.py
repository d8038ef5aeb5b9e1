"""Images of a user: built once, found by their content on any machine, by the reference alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Command, run

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]


@pytest.fixture
def environment(registry: str) -> dict[str, str]:
    """What points the command at a repository of these tests' own."""
    return {"BUILDSYS_REGISTRY": f"{registry}-environment"}


def test_requirements_become_an_image_once_and_are_found_from_a_clone_without_an_engine(
    project: Path, tmp_path_factory: pytest.TempPathFactory, buildsys: Command, environment: dict[str, str]
) -> None:
    file = tmp_path_factory.mktemp("mine") / "requirements.txt"
    file.write_text("six==1.17.0\n", encoding="utf-8")
    words = ("environment", file, "--on", "debian12", "--tag", "mine")
    first = buildsys("-C", project, *words, environment=environment)
    assert first.code == 0, first.stderr
    reference = first.stdout.strip()
    output = run("docker", "run", "--rm", reference, "python", "-c", "import six; print(six.__version__, six.__file__)")
    assert output.stdout.startswith("1.17.0 /opt/python-environment/")
    nowhere = {**environment, "DOCKER_HOST": "unix:///nonexistent.sock"}
    again = buildsys("-C", project, *words, environment=nowhere)
    assert (again.code, again.stdout.strip()) == (0, reference)
    assert "reused: it already exists" in again.stderr
    tagged = run("docker", "buildx", "imagetools", "inspect", f"{reference.partition('@')[0]}:mine")
    assert reference.partition("@")[2] in tagged.stdout


def test_own_dockerfile_uses_a_stack_as_base_and_its_context_counts(
    project: Path, tmp_path_factory: pytest.TempPathFactory, buildsys: Command, environment: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "Dockerfile").write_text(
        "FROM base\nCOPY said /said\nRUN mpirun --version | head -1 >>/said\n", encoding="utf-8"
    )
    (folder / "said").write_text("hello\n", encoding="utf-8")
    words = ("environment", folder / "Dockerfile", "--dockerfile", "--on", "debian12")
    first = buildsys("-C", project, *words, environment=environment)
    assert first.code == 0, first.stderr
    assert run("docker", "run", "--rm", first.stdout.strip(), "cat", "/said").stdout.startswith(
        "hello\nmpirun (Open MPI)"
    )
    assert buildsys("-C", project, *words, environment=environment).stdout == first.stdout
    (folder / "said").write_text("good bye\n", encoding="utf-8")
    other = buildsys("-C", project, *words, environment=environment)
    assert other.code == 0, other.stderr
    assert other.stdout != first.stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("environment.yml", "channels: [x]\n", "has no `dependencies`"),
        ("setup.py", "", "is not a supported kind of environment"),
    ],
)
def test_file_that_is_not_an_environment_is_refused(
    tmp_path: Path, buildsys: Command, environment: dict[str, str], name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = buildsys("environment", tmp_path / name, "--on", "debian12", environment=environment)
    assert done.code == 4
    assert said in done.stderr


def test_unknown_stack_is_reported_with_the_nearest_name(
    tmp_path: Path, buildsys: Command, environment: dict[str, str]
) -> None:
    (tmp_path / "requirements.txt").write_text("six\n", encoding="utf-8")
    done = buildsys("environment", tmp_path / "requirements.txt", "--on", "debain12", environment=environment)
    assert done.code == 4
    assert "did you mean `debian12`?" in done.stderr
