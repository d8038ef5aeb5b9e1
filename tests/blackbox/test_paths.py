"""Nothing outside of a project gets into an image, a key or an output, whatever symlinks a commit brings along."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.command_line import (
    ARTIFACT,
    ARTIFACT_DOCKERFILE,
    COMMAND,
    Run,
    buildsys,
    git,
    refused,
    run,
    small_project,
    write,
)

WORD = "hunter2-of-a-home"
# Nothing listens there, so a request before the refusal would end differently.
NOWHERE = "127.0.0.1:9/x"
COPY = "COPY --from=files . /artifact/opt/"
FOLDERS = {
    "stacks.yaml": "stacks:\n  img:\n    layers:\n      - dist\n      - conf: {files: environments/keys}\n",
    "layers/conf/layer.yaml": ARTIFACT + "parameters:\n  files: {description: the files, type: folder}\n",
    "layers/conf/Dockerfile": ARTIFACT_DOCKERFILE.replace("COPY conf /artifact/opt/conf/conf", f"{COPY}conf/"),
}
ENVIRONMENT = {
    "layers/python-environment/layer.yaml": (
        ARTIFACT.replace("/opt/conf", "/opt/env") + "parameters:\n  folder: {description: the files, type: folder}\n"
    ),
    "layers/python-environment/Dockerfile": ARTIFACT_DOCKERFILE.replace(
        "COPY conf /artifact/opt/conf/conf", "COPY --from=folder . /artifact/opt/env/"
    ),
    "layers/python-environment/.dockerignore": "layer.yaml\n",
}
COMMANDS = {
    "bake --push": ("bake", "--push", "--retries", "0", "img"),
    "bake --dry-run": ("bake", "--push", "--dry-run", "img"),
    "warm": ("warm", "--retries", "0", "img"),
    "warm --check": ("warm", "--check", "img"),
    "environment": ("environment", "requirements.txt", "--on", "img"),
    "plan": ("plan", "--offline"),
    "plan --check": ("plan", "--check"),
    "explain": ("explain", "img", "--offline"),
    "graph": ("graph", "--offline"),
    "diff": ("diff", "HEAD"),
    "affected": ("affected", "--since", "HEAD"),
}

SOME = [COMMANDS["bake --push"], COMMANDS["environment"], COMMANDS["plan"], COMMANDS["diff"]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder beside the project, with a key."""
    write(tmp_path, "home/.ssh/id_ed25519", f"{WORD}\n")
    return tmp_path / "home"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A project with a parameter that names a folder, in git as it should be."""
    project = small_project(tmp_path / "project", {**FOLDERS, **ENVIRONMENT, "environments/keys/a": "a\n"})
    write(project, "requirements.txt", "numpy==2.0\n")
    commit(project)
    return project


def commit(project: Path) -> None:
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "one")


def link(path: Path, to: Path | str) -> Path:
    """Put a symlink where something else was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.rename(path.parent.parent / f"{path.name}-before")
    path.symlink_to(to)
    return path


def bounded(folder: Path, *words: str) -> Run:
    """Run buildsys with 1 GB of memory and 60 s, which no answer here needs."""
    limits = ("timeout", "-s", "KILL", "60", "sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh")
    return run(folder, *limits, *COMMAND, *words, BUILDSYS_REGISTRY=NOWHERE)


def of_nobody(done: Run, *words: str) -> None:
    """Assert that a command was refused, and that it shows nothing of the home."""
    refused(done, *words)
    assert WORD not in done.output


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_folder_that_is_a_symlink_to_a_home_is_refused_by_every_command_that_reads_it(
    folders: Path, home: Path, words: tuple[str, ...]
) -> None:
    link(folders / "environments/keys", home / ".ssh")
    done = buildsys(folders, *words, BUILDSYS_REGISTRY=NOWHERE)
    of_nobody(done, "environments/keys", "outside the project", "stacks.yaml:5")


@pytest.mark.parametrize("words", SOME)
def test_symlink_among_the_folders_above_is_refused_by_every_command(
    folders: Path, home: Path, words: tuple[str, ...]
) -> None:
    write(home, "keys/id", WORD)
    link(folders / "environments", "../home")
    done = buildsys(folders, *words, BUILDSYS_REGISTRY=NOWHERE)
    of_nobody(done, "symlink `environments`", "environments/keys")


@pytest.mark.parametrize("words", SOME)
def test_symlink_inside_a_folder_that_a_parameter_names_is_refused_by_every_command(
    folders: Path, home: Path, words: tuple[str, ...]
) -> None:
    link(folders / "environments/keys/deep/er", home / ".ssh/id_ed25519")
    done = buildsys(folders, *words, BUILDSYS_REGISTRY=NOWHERE)
    of_nobody(done, "--> environments/keys/deep/er", "RUN ln -s")


@pytest.mark.parametrize("words", [*SOME, ("test", "img"), ("list",), ("lock", "--offline")])
def test_symlink_inside_the_context_of_a_layer_is_refused_by_every_command(
    folders: Path, home: Path, words: tuple[str, ...]
) -> None:
    link(folders / "layers/conf/id", "../../../home/.ssh/id_ed25519")
    done = buildsys(folders, *words, BUILDSYS_REGISTRY=NOWHERE)
    of_nobody(done, "--> layers/conf/id", "RUN ln -s")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("layers/conf/id", "/etc/passwd"),
        ("layers/conf/tests/id", "/nothing/is/here"),
        ("layers/tool/a/b/c", "../../../nothing"),
        ("layers/conf/id", "../../.."),
        ("layers/conf/tests/id", "files/../../../../home"),
        ("layers/conf/id", "x/../../../../home"),
    ],
)
def test_symlink_out_of_the_project_is_refused_unless_no_build_can_read_it(
    project: Path, home: Path, name: str, target: str
) -> None:
    if not target.startswith("/"):
        target = "../" * (name.count("/") - 2) + target
    write(project, "layers/conf/files/x", "x")
    link(project / name, target)
    rules = project / Path(*Path(name).parts[:3]).parent / ".dockerignore"
    inside = "/".join(Path(name).parts[2:])
    for text in ("layer.yaml\n", f"layer.yaml\n{inside}\n!{inside}\n"):
        rules.write_text(text, encoding="utf-8")
        of_nobody(buildsys(project, "plan", "--offline"), f"--> {name}", "outside the project")
    rules.write_text(f"layer.yaml\ntests\n{inside}\n", encoding="utf-8")
    done = buildsys(project, "explain", "img", "--offline", "--json")
    assert (done.code, done.stderr) == (0, "")
    assert (WORD in done.stdout, inside in done.stdout) == (False, False)


def test_excluded_symlink_is_refused_where_another_dockerfile_of_the_layer_reads_it(project: Path, home: Path) -> None:
    link(project / "layers/conf/id", home)
    write(project, "layers/conf/.dockerignore", "layer.yaml\ntests\nid\n")
    assert buildsys(project, "plan", "--offline").code == 0
    write(project, "layers/conf/other.dockerignore", "layer.yaml\n")
    of_nobody(buildsys(project, "plan", "--offline"), "--> layers/conf/id", "outside the project")


@pytest.mark.parametrize("name", ["layer.yaml", "Dockerfile", ".dockerignore"])
def test_file_that_every_plan_reads_is_refused_though_it_is_excluded(project: Path, home: Path, name: str) -> None:
    write(home, name, WORD)
    write(project, "layers/conf/.dockerignore", "*\n!conf\n")
    link(project / "layers/conf" / name, home / name)
    of_nobody(buildsys(project, "plan", "--offline"), f"--> layers/conf/{name}", "outside the project")


def test_hidden_folder_and_symlinks_to_symlinks_are_no_way_out(project: Path, home: Path) -> None:
    link(project / "layers/conf/.cache/one", "two")
    link(project / "layers/conf/.cache/two", "three")
    link(project / "layers/conf/.cache/three", home)
    done = buildsys(project, "plan", "--offline")
    of_nobody(done, "--> layers/conf/.cache/one", "--> layers/conf/.cache/two", "--> layers/conf/.cache/three")


@pytest.mark.parametrize("name", ["layers", "layers/conf"])
def test_folder_that_buildsys_itself_names_is_refused_as_a_symlink_out_of_the_project(
    project: Path, home: Path, name: str
) -> None:
    write(home, "use", WORD)
    write(home, "layer.yaml", WORD)
    link(project / name, home)
    of_nobody(buildsys(project, "plan", "--offline"), f"the symlink `{name}`", "outside the project")


@pytest.mark.parametrize("to", [".git", ".buildsys/mirrors", "", "../project", "layers/../.git"])
def test_folder_may_not_point_to_private_files_of_the_project(folders: Path, to: str) -> None:
    write(folders, ".buildsys/mirrors/pip.conf", WORD)
    write(folders, ".git/config-of-ci", WORD)
    link(folders / "environments/keys", f"../{to}")
    of_nobody(buildsys(folders, "plan", "--offline"), "environments/keys")
    of_nobody(buildsys(folders, "bake", "--push", BUILDSYS_REGISTRY=NOWHERE), "environments/keys")


@pytest.mark.parametrize("secret", [".git/config", "buildsys.settings.yaml", ".buildsys/mirrors/use"])
def test_dockerfile_of_the_user_reads_no_private_file_of_a_checkout(project: Path, secret: str) -> None:
    write(project, secret, "pip: {}\n" if secret.endswith("yaml") else f"# {WORD}\n")
    write(project, "Dockerfile", "FROM base\nCOPY . /all\n")
    name = secret.partition("/")[0]
    words = ("environment", "Dockerfile", "--dockerfile", "--on", "img")
    done = buildsys(project, *words, BUILDSYS_REGISTRY=NOWHERE)
    refused(done, f"could copy `{name}`", f"add the line `{name}` to `")
    write(project, ".dockerignore", ".git\n.buildsys\nbuildsys.settings.yaml\n")
    assert "could copy" not in buildsys(project, *words, BUILDSYS_REGISTRY=NOWHERE).stderr


@pytest.mark.engine
@pytest.mark.registry
def test_name_of_a_folder_of_tests_mounts_no_other_folder(real_project: Path, registry: str, home: Path) -> None:
    odd = f"x,source={home}"
    write(real_project, f"{odd}/README", "mine\n")
    (real_project / "layers/conf/tests").symlink_to(f"../../{odd}")
    write(home, "README", WORD)
    tests = 'tests:\n  - {run: "cat /tests/README", expect: mine}\n'
    with (real_project / "layers/conf/layer.yaml").open("a", encoding="utf-8") as file:
        file.write(tests)
    assert buildsys(real_project, "bake", "img", BUILDSYS_REGISTRY=registry).code == 0
    done = buildsys(real_project, "test", "--local", "img", BUILDSYS_REGISTRY=registry)
    assert WORD not in done.output
    assert done.code == 0, done.output


@pytest.mark.parametrize("secret", [".git/config", "buildsys.settings.yaml"])
def test_dockerfile_may_not_point_to_private_files_of_the_project(project: Path, secret: str) -> None:
    commit(project)
    write(project, secret, f"{WORD}\n")
    link(project / "layers/conf/Dockerfile", f"../../{secret}")
    of_nobody(buildsys(project, "explain", "conf", "--offline"), "layers/conf/Dockerfile", secret)


@pytest.mark.parametrize(
    "value",
    [
        *("''", ".", "./", "././/", '"a\\nb"', '"a\\tb"'),
        *(".git", "./.git", ".GIT/x", ".buildsys", ".buildsys/mirrors", ".buildsys/run/x"),
        *(".buildsys/environments", ".buildsys/environments/", ".buildsys/environments/a"),
        *("docker-image://x", "target:mirrors", "https://example.com/x", "git@example.com:x", "github.com/a/b"),
    ],
)
def test_folder_is_refused_at_its_location_if_it_is_not_in_the_sources(folders: Path, value: str) -> None:
    for name in ("docker-image:/x", "target:mirrors", "https:/example.com/x", "git@example.com:x", "github.com/a/b"):
        write(folders, f"{name}/file", "x")
    for name in (
        ".buildsys/mirrors/x",
        ".buildsys/run/x/y",
        ".buildsys/environments/a/b",
        ".GIT/x/y",
        "a\nb/x",
        "a\tb/x",
        "\x1b[2J/x",
        "a/x",
    ):
        write(folders, name, "x")
    stacks = f"stacks:\n  img:\n    layers:\n      - dist\n      - conf:\n          files: {value}\n"
    write(folders, "stacks.yaml", stacks)
    done = buildsys(folders, "plan", "--offline")
    refused(done, "--> stacks.yaml:6:18", "inside the project")
    assert "\x1b[2J" not in done.output


@pytest.mark.parametrize("value", ["..", "a/../..", "../x", "/etc", "/"])
def test_folder_is_refused_at_its_location_if_its_path_leaves_the_project(folders: Path, value: str) -> None:
    write(folders, "stacks.yaml", FOLDERS["stacks.yaml"].replace("environments/keys", value))
    refused(buildsys(folders, "plan", "--offline"), "--> stacks.yaml:5:", f"inside the project, not `{value}`")


def test_folder_in_a_matrix_is_refused_in_the_row_that_names_it(folders: Path, home: Path) -> None:
    link(folders / "environments/keys", home / ".ssh")
    text = (
        "families:\n  many:\n    description: many\n    name: img-{folder}\n    layers:\n      - dist\n"
        "      - conf: {files: environments/{folder}}\n    matrix:\n      - folder: [good, keys]\n"
    )
    write(folders, "environments/good/a", "a\n")
    write(folders, "stacks.yaml", text.replace("environments/{folder}}", '"environments/{folder}"}'))
    of_nobody(buildsys(folders, "plan", "--offline"), "stacks.yaml:", "environments/keys", "outside the project")


def test_default_of_a_folder_is_refused_where_the_layer_says_it(folders: Path) -> None:
    text = FOLDERS["layers/conf/layer.yaml"].replace("type: folder", "type: folder, default: .buildsys/mirrors")
    write(folders, "layers/conf/layer.yaml", text)
    refused(buildsys(folders, "plan", "--offline"), "layers/conf/layer.yaml:7", "`.buildsys/mirrors`")


@pytest.mark.parametrize("value", ["../tool/Dockerfile", "tests/Dockerfile", "./Dockerfile", "/etc/passwd", "'..'"])
def test_dockerfile_is_the_plain_name_of_a_file_in_the_folder_of_its_layer(project: Path, value: str) -> None:
    write(project, "layers/conf/tests/Dockerfile", "FROM toolchain\n")
    text = f"{ARTIFACT}flavours:\n  one: {{dockerfile: {value}}}\n"
    write(project, "layers/conf/layer.yaml", text)
    done = buildsys(project, "plan", "--offline")
    refused(done, "--> layers/conf/layer.yaml:7:21", "is not the name of a file in `layers/conf`")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("layers/conf/Dockerfile", ("plan", "--offline")),
        ("layers/tool/Dockerfile", ("show", "img")),
        ("layers/conf/layer.yaml", ("plan", "--offline")),
        ("layers/conf/.dockerignore", ("plan", "--offline")),
        ("layers/conf/notes.txt", ("list",)),
        ("stacks.yaml", ("list",)),
        ("buildsys.lock", ("plan", "--offline")),
        ("buildsys.lock.local", ("variables",)),
        ("buildsys.settings.yaml", ("variables",)),
        ("docker-bake.hcl", ("plan", "--check")),
        ("docker-bake.hcl", ("plan", "--offline")),
        ("schemas/layer.schema.json", ("schema", "--check")),
        ("schemas/layer.schema.json", ("schema", "--write")),
        ("buildsys.lock", ("lock", "--offline")),
    ],
)
def test_file_outside_is_shown_in_no_output_and_stays_unchanged(
    project: Path, home: Path, name: str, words: tuple[str, ...]
) -> None:
    text = f"a: {WORD}: b\n"
    outside = write(home, "secret", text)
    link(project / name, outside)
    of_nobody(bounded(project, *words), name)
    assert outside.read_text(encoding="utf-8") == text
    assert (project / name).is_symlink()


def test_generated_file_is_not_written_into_a_folder_outside(project: Path, home: Path) -> None:
    link(project / "schemas", home)
    refused(buildsys(project, "schema", "--write"), "schemas")
    assert [each.name for each in home.iterdir()] == [".ssh"]


@pytest.mark.parametrize("name", ["layers/conf/layer.yaml", "layers/conf/Dockerfile", "layers/conf/conf"])
@pytest.mark.parametrize("to", ["/dev/zero", "/dev/stdin", "/proc/self/mem"])
def test_symlink_to_a_device_ends_at_once(project: Path, name: str, to: str) -> None:
    link(project / name, to)
    refused(bounded(project, "plan", "--offline"), f"--> {name}", "outside the project")


@pytest.mark.parametrize("name", ["stacks.yaml", "buildsys.lock", "docker-bake.hcl"])
def test_symlink_to_a_device_among_the_files_of_the_root_is_named(project: Path, name: str) -> None:
    link(project / name, "/dev/zero")
    refused(bounded(project, "plan", "--offline"), f"--> {name}", "outside the project")


@pytest.mark.parametrize("name", ["layers/conf/pipe", "layers/conf/deep/pipe", "environments/keys/pipe"])
@pytest.mark.parametrize("kind", ["a named pipe", "a socket"])
def test_path_that_is_not_a_file_is_refused_with_its_path(
    folders: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    if kind == "a socket":
        # Its address may have a hundred characters.
        monkeypatch.chdir((folders / name).parent if (folders / name).parent.is_dir() else folders)
        (folders / name).parent.mkdir(exist_ok=True)
        monkeypatch.chdir((folders / name).parent)
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(Path(name).name)
    else:
        (folders / name).parent.mkdir(exist_ok=True)
        os.mkfifo(folders / name)
    refused(bounded(folders, "plan", "--offline"), f"--> {name}", kind)


@pytest.mark.parametrize("name", ["stacks.yaml", "buildsys.lock", "docker-bake.hcl", "layers/conf/layer.yaml"])
def test_named_pipe_in_the_place_of_a_file_that_is_read_is_refused(project: Path, name: str) -> None:
    (project / name).unlink(missing_ok=True)
    os.mkfifo(project / name)
    refused(bounded(project, "plan", "--offline"), name, "a named pipe, expected a file")


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("layers/conf/loop", "loop"),
        ("layers/conf/one", "two"),
        ("layers/conf/Dockerfile", "Dockerfile"),
        ("layers/loop", "loop"),
        ("environments/keys", "keys"),
        ("environments/keys", "../environments/keys/x"),
        ("buildsys.lock", "buildsys.lock"),
        ("docker-bake.hcl", "./docker-bake.hcl"),
    ],
)
def test_symlink_that_points_to_itself_is_an_error_at_its_location(folders: Path, name: str, to: str) -> None:
    if to == "two":
        link(folders / "layers/conf/two", "one")
    link(folders / name, to)
    refused(bounded(folders, "plan", "--offline"), name, "points to itself")


@pytest.mark.parametrize(
    "name",
    ["stacks.yaml", "buildsys.lock", "layers/conf/layer.yaml", "layers/conf/Dockerfile", "layers/conf/.dockerignore"],
)
def test_file_of_excessive_size_is_refused(project: Path, name: str) -> None:
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("\n" + "# a line of a comment\n" * 250_000)
    refused(bounded(project, "plan", "--offline"), f"--> {name}", "is larger than 4 MiB")


def test_settings_that_no_person_wrote_are_refused_by_their_size(project: Path) -> None:
    with (project / "buildsys.settings.yaml").open("wb") as file:
        file.truncate(5 << 28)
    write(project, "stacks.yaml", "stakcs: {}\n")
    refused(bounded(project, "plan", "--offline"), "`buildsys.settings.yaml` is larger than 4 MiB")
    refused(bounded(project, "variables"), "--> stacks.yaml:1:1")


def test_sparse_file_does_not_take_its_size_in_memory(folders: Path) -> None:
    for name in ("layers/conf/big", "environments/keys/big"):
        with (folders / name).open("wb") as file:
            file.truncate(5 << 28)
    done = bounded(folders, "explain", "img", "--offline")
    assert (done.code, "Traceback" in done.output) == (0, False), done.output


@pytest.mark.parametrize(
    "name",
    [
        *("layers/conf/conf", "layers/conf/deep", "layers/conf", "layers", "layers/conf/layer.yaml"),
        *("environments/keys/a", "environments/keys", "environments", "stacks.yaml", "buildsys.lock"),
    ],
)
def test_unreadable_file_is_an_error_and_not_omitted(folders: Path, name: str) -> None:
    write(folders, "layers/conf/deep/x", "x")
    write(folders, "docker-bake.hcl", "")
    (folders / name).chmod(0)
    # Without its capabilities, modes apply to root too.
    held = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    if held and shutil.which("setpriv") is None:
        pytest.skip("root reads everything")
    try:
        done = run(folders, *held, *COMMAND, "plan", "--offline")
    finally:
        (folders / name).chmod(0o755)
    refused(done, name, "cannot be read: Permission denied")


def test_environment_file_of_a_project_must_not_point_outside(folders: Path, home: Path) -> None:
    link(folders / "requirements.txt", home / ".ssh/id_ed25519")
    done = buildsys(folders, "environment", "requirements.txt", "--on", "img", BUILDSYS_REGISTRY=NOWHERE)
    of_nobody(done, "requirements.txt", "outside the project")
    link(folders / "users", home)
    write(home, "requirements.txt", "numpy\n")
    done = buildsys(folders, "environment", "users/requirements.txt", "--on", "img", BUILDSYS_REGISTRY=NOWHERE)
    of_nobody(done, "the symlink `users`", "outside the project")
    assert not (folders / ".buildsys/environments").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../home/.ssh/id_ed25519", "../project/stacks.yaml", "self"])
def test_folder_of_a_dockerfile_of_the_user_is_not_left_by_symlinks(
    folders: Path, home: Path, tmp_path: Path, target: str
) -> None:
    file = write(tmp_path, "own/my.Dockerfile", "FROM base\nCOPY . /x\n")
    link(tmp_path / "own/self", target)
    words = ("environment", "--dockerfile", str(file), "--on", "img")
    of_nobody(bounded(folders, *words), "own/self")


def test_named_pipe_beside_a_dockerfile_of_the_user_is_refused(folders: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "own/Dockerfile", "FROM base\nCOPY . /x\n")
    os.mkfifo(tmp_path / "own/pipe")
    words = ("environment", "--dockerfile", str(file), "--on", "img")
    refused(bounded(folders, *words), "own/pipe", "a named pipe")


@pytest.mark.parametrize("setting", ["files: {home}/.ssh", "ca: {home}/.ssh/id_ed25519", "files: ../home/.ssh"])
@pytest.mark.parametrize("words", [("variables",), ("lock", "--offline")])
def test_settings_that_are_committed_give_builds_nothing_of_the_machine(
    project: Path, home: Path, setting: str, words: tuple[str, ...]
) -> None:
    write(project, "buildsys.settings.yaml", setting.format(home=home) + "\n")
    commit(project)
    done = buildsys(project, *words)
    of_nobody(done, "--> buildsys.settings.yaml:1:", "committed", "BUILDSYS_")
    found = {path.relative_to(project).as_posix(): path.stat().st_size for path in project.glob(".buildsys/*")}
    # The file that keeps two `lock` apart has nothing in it.
    assert found == ({".buildsys/locking": 0} if words[0] == "lock" else {})
    assert (project / ".buildsys").exists() == bool(found)


def test_committed_settings_of_another_name_or_behind_a_symlink_are_the_same(project: Path, home: Path) -> None:
    write(project, "ci/settings.yaml", f"files: {home}/.ssh\n")
    commit(project)
    done = buildsys(project, "lock", "--offline", BUILDSYS_SETTINGS="ci/settings.yaml")
    of_nobody(done, "--> ci/settings.yaml", "committed")
    link(project / "buildsys.settings.yaml", "ci/settings.yaml")
    of_nobody(buildsys(project, "variables"), "committed")


def test_committed_settings_of_a_project_in_a_folder_of_its_repository_are_the_same(
    project: Path, home: Path, tmp_path: Path
) -> None:
    write(project, "buildsys.settings.yaml", f"files: {home}/.ssh\n")
    commit(tmp_path)
    # What makes git take the folder for a repository of its own must not make it forget.
    for name in ("HEAD", "objects/x", "refs/x"):
        write(project, name, "ref: refs/heads/main\n")
    of_nobody(buildsys(project, "variables"))
    assert not (project / ".buildsys").exists()


@pytest.mark.parametrize(
    "setting", ["files: data", "files: .git", "files: .", "files: data/..", "ca: .git/config", "files: up/.ssh"]
)
def test_settings_point_outside_or_to_private_files_by_no_detour(project: Path, home: Path, setting: str) -> None:
    commit(project)
    link(project / "data", home / ".ssh")
    link(project / "up", home)
    write(project, "buildsys.settings.yaml", f"{setting}\n")
    of_nobody(buildsys(project, "variables"), "--> buildsys.settings.yaml:1:")
    assert not (project / ".buildsys").exists()


def key_of(project: Path, *names: str) -> list[str]:
    found = []
    for name in names or ("img",):
        done = buildsys(project, "explain", name, "--offline", "--json")
        assert done.code == 0, done.output
        found.append(json.loads(done.stdout)["key"])
    return found


def test_dockerfile_behind_a_symlink_takes_part_in_the_key_though_it_is_ignored(project: Path) -> None:
    text = (project / "layers/conf/Dockerfile").read_text(encoding="utf-8")
    write(project, "layers/conf/real/file", text)
    link(project / "layers/conf/Dockerfile", "linked/file")
    link(project / "layers/conf/linked", "real")
    write(project, "layers/conf/.dockerignore", "*\n!conf\n")
    before = key_of(project)
    write(project, "layers/conf/real/file", text.replace("COPY conf", "RUN true\nCOPY conf"))
    assert key_of(project) != before


def test_dockerfile_that_buildkit_could_not_read_is_refused(project: Path) -> None:
    write(project, "common/Dockerfile", (project / "layers/conf/Dockerfile").read_text(encoding="utf-8"))
    link(project / "layers/conf/Dockerfile", "../../common/Dockerfile")
    refused(buildsys(project, "plan", "--offline"), "--> layers/conf/Dockerfile", "BuildKit")


def test_layer_may_be_a_symlink_to_a_folder_of_the_project(project: Path) -> None:
    before = key_of(project)
    (project / "shared").mkdir()
    (project / "layers/conf").rename(project / "shared/of-all")
    link(project / "layers/conf", "../shared/of-all")
    assert key_of(project) == before
    write(project, "layers/conf/conf", "two\n")
    assert key_of(project) != before


def test_all_layers_may_be_a_symlink_to_a_folder_of_the_project(project: Path) -> None:
    before = key_of(project)
    (project / "layers").rename(project / "elsewhere")
    link(project / "layers", "elsewhere")
    assert key_of(project) == before


@pytest.mark.parametrize("to", ["conf", "../tool/Dockerfile", "missing", "../../missing/../x", ".", "../.."])
def test_symlink_inside_the_project_is_allowed_in_a_context(project: Path, to: str) -> None:
    before = key_of(project)
    link(project / "layers/conf/link", to)
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output
    assert key_of(project) != before


def test_folder_of_a_parameter_may_be_a_symlink_inside_the_project(folders: Path) -> None:
    before = key_of(folders)
    (folders / "environments/keys").rename(folders / "files")
    link(folders / "environments/keys", "../files")
    assert key_of(folders) == before


def test_settings_of_this_machine_alone_may_name_what_is_outside(project: Path, home: Path) -> None:
    write(project, ".gitignore", "buildsys.settings.yaml\n")
    commit(project)
    write(project, "buildsys.settings.yaml", f"files: {home}/.ssh\nca: ../home/.ssh/id_ed25519\n")
    done = buildsys(project, "variables")
    assert done.code == 0, done.output
    assert (project / ".buildsys/mirrors/ca.crt").read_text(encoding="utf-8") == f"{WORD}\n"


def test_committed_settings_may_name_files_of_the_project_and_leave_the_rest_to_the_environment(
    project: Path, home: Path
) -> None:
    write(project, "certificates/ca.crt", "bundle\n")
    write(project, "buildsys.settings.yaml", f"ca: certificates/ca.crt\nfiles: {home}\n")
    commit(project)
    done = buildsys(project, "lock", "--offline", BUILDSYS_FILES=str(home))
    assert done.code == 0, done.output


def test_environment_file_outside_of_the_project_is_the_business_of_who_names_it(
    folders: Path, home: Path, tmp_path: Path
) -> None:
    write(home, "real.txt", "numpy\n")
    link(tmp_path / "requirements.txt", home / "real.txt")
    words = ("environment", str(tmp_path / "requirements.txt"), "--on", "img")
    done = buildsys(folders, *words, BUILDSYS_REGISTRY=NOWHERE)
    # It gets as far as the registry.
    assert done.code == 5, done.output
