"""A command line, a variable or a setting that is wrong ends the command at once, with a hint that fixes it."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.support.command_line import Run, buildsys, git, refused, write

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent.sock"}
COMMANDS = (
    *("plan", "list", "show img", "variables", "schema --write", "explain img", "why img conf", "diff HEAD"),
    *("affected --since HEAD", "graph", "lock", "outdated", "bake", "warm", "report", "environment a.txt --on img"),
    "test",
)


def said(done: Run, code: int = 2) -> tuple[str, str]:
    """Return the one message and the hint of a command that was refused."""
    assert "Traceback" not in done.output, done.output
    assert done.code == code, done.output
    assert done.stdout == ""
    found = re.fullmatch(r"error: (.*)\n(?:  --> .*\n(?:.*\n)*)?hint: (.*)\n", done.stderr)
    assert found, done.stderr
    return found[1], found[2]


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("buildsys bake im", ["img"]),
        ("buildsys bake def", ["default"]),
        ("buildsys plan conf", ["conf-tool"]),
        ("buildsys why img ", ["conf", "dist"]),
        ("buildsys show none", []),
    ],
)
def test_shell_completes_stacks_groups_nodes_and_layers(project: Path, line: str, known: list[str]) -> None:
    number = len(line.split(" ")) - 1
    elsewhere = line.replace("buildsys", "buildsys -C /", 1)
    for words, index, expected in ((line, number, known), (elsewhere, number + 2, [])):
        done = buildsys(project, _BUILDSYS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(index))
        assert (done.code, done.stdout.split(), done.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("bkae", "`bkae` is not a command of buildsys", "did you mean `bake`?"),
        ("PLAN", "`PLAN` is not a command of buildsys", "did you mean `plan`?"),
        ("build", "`build` is not a command of buildsys", "did you mean `bake`?"),
        ("version", "`version` is not a command of buildsys", "did you mean `--version`?"),
        ("qqq", "`qqq` is not a command of buildsys", "run `buildsys --help`"),
        ("--verison", "`--verison` is not an option of `buildsys`", "did you mean `--version`?"),
        ("bake --jbos 3", "`--jbos` is not an option of `bake`", "did you mean `--jobs`?"),
        ("bake --Push", "`--Push` is not an option of `bake`", "did you mean `--push`?"),
        ("bake --qqqq", "`--qqqq` is not an option of `bake`", "run `buildsys bake --help` to list its options"),
        ("bake -x", "`-x` is not an option of `bake`", "run `buildsys bake --help` to list its options"),
        ("plan -C .", "`-C` is not an option of `plan`", "write it before the command: `buildsys -C … plan`"),
        ("explain img --push", "`--push` is not an option of `explain`", "remove it: it is an option of `bake`"),
        ("plan --verify", "`--verify` is not an option of `plan`", "remove it: it is an option of `bake`"),
        ("outdated extra", "`extra` is one argument too many for `outdated`", "remove it"),
        ("show img other", "`other` is one argument too many for `show`", "remove it"),
        ("-C .", "`buildsys` lacks a command", "run `buildsys --help`"),
        ("bake -j", "`-j` lacks its value", "add `--jobs` with its value: number of concurrent bake processes, 64 at"),
        ("-C", "`-C` lacks its value", "add `-C` with its value: the project root"),
        ("plan --json=yes", "`--json` takes no value", "write `--json` alone"),
        ("show", "`show` lacks `stack`", "add `stack`: the name of a stack"),
        ("affected", "`affected` lacks `--since`", "add `--since` with its value: a git revision"),
        ("schema", "`schema` lacks `name`", "add `layer` or `stacks`, or `--write` for both"),
        (
            "graph --format svg",
            "`svg` is not a value of `--format`, expected `tree`, `mermaid`",
            "use `tree`",
        ),
        ("graph --format mermiad", "`mermiad` is not a value of `--format`, expected", "did you mean `mermaid`?"),
        (
            "bake --progress fancy",
            "`fancy` is not a value of `--progress`, expected `auto`",
            "use `auto`",
        ),
        (
            "bake --push --tags-on al",
            "`al` is not a value of `--tags-on`, expected `all` or `partial`",
            "did you mean `all`?",
        ),
        ("schema layers", "`layers` is not a value of `name`, expected `layer` or `stacks`", "did you mean `layer`?"),
        ("environment . --on img", "`.` is a folder, expected a file for `file`", "name a file"),
        ("bake --push img --events=", "the name is empty, expected a file for `--events`", "name a file"),
        ("bake --events .", "`.` is a folder, expected a file for `--events`", "name a file"),
        ("report .", "`.` is a folder, expected a file for `events`", "name a file"),
    ],
)
def test_word_that_no_command_takes_is_answered_with_what_was_meant(
    project: Path, line: str, message: str, hint: str
) -> None:
    found = said(buildsys(project, *shlex.split(line), shell=NO_ENGINE))
    assert found[0].startswith(message)
    assert found[1].startswith(hint)


@pytest.mark.parametrize("value", ["0", "-1", "65", "x", "", "1.5", "99999999999999999999", "1e3", "٣", "nan"])
@pytest.mark.parametrize("option", ["--jobs", "--max-targets"])
def test_wrong_number_of_processes_is_refused_with_its_limits(project: Path, option: str, value: str) -> None:
    message, hint = said(buildsys(project, "bake", f"{option}={value}", shell=NO_ENGINE))
    assert message == f"`{value}` is not a value of `{option}`, expected a whole number from 1 to 64"
    assert hint == "use `4`"


@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf", "1e400", "", "-0.1", "1e7"])
def test_wrong_size_is_refused_with_its_limits(project: Path, value: str) -> None:
    message, _ = said(buildsys(project, "bake", f"--min-free={value}", shell=NO_ENGINE))
    assert message == f"`{value}` is not a value of `--min-free`, expected a number of GB from 0 to 1000000"


@pytest.mark.parametrize("value", ["x", "-1", "101"])
def test_number_of_retries_has_limits(project: Path, value: str) -> None:
    message, _ = said(buildsys(project, "bake", f"--retries={value}", shell=NO_ENGINE))
    assert message == f"`{value}` is not a value of `--retries`, expected a whole number from 0 to 100"


@pytest.mark.parametrize(
    ("line", "first", "second"),
    [
        ("bake --all img", "--all", "img"),
        ("bake img --all", "--all", "img"),
        ("bake --failed img", "--failed", "img"),
        ("bake --all --failed", "--all", "--failed"),
        ("bake --push --set img.tags=x", "--set", "--push"),
        ("bake --fresh --dry-run", "--fresh", "--dry-run"),
        ("bake --quiet --verbose", "--quiet", "--verbose"),
        ("bake --quiet --progress docker", "--quiet", "--progress"),
        ("warm --all img", "--all", "img"),
        ("warm --quiet --verbose", "--quiet", "--verbose"),
        ("warm --check --jobs 2", "--check", "--jobs"),
        ("warm --check --fail-fast", "--check", "--keep-going"),
        ("warm --check --events a.jsonl", "--check", "--events"),
        ("test --all img", "--all", "img"),
        ("lock --update --check", "--update", "--check"),
        ("lock --check --update img", "--update", "--check"),
        ("schema --write --check", "--write", "--check"),
        ("schema layer --write", "--write", "layer"),
        ("schema layer --check", "--check", "layer"),
    ],
)
def test_options_that_contradict_each_other_are_refused_and_nothing_is_written(
    project: Path, line: str, first: str, second: str
) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    message, _ = said(buildsys(project, *shlex.split(line), shell=NO_ENGINE))
    assert message == f"`{first}` and `{second}` exclude each other"
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("line", "option", "needed"),
    [
        ("bake --verify", "--verify", "--push"),
        ("bake --tags-on partial", "--tags-on", "--push"),
        ("bake --tags-on all", "--tags-on", "--push"),
        ("lock conf", "conf", "--update"),
    ],
)
def test_option_without_the_one_that_gives_it_a_meaning_is_refused(
    project: Path, line: str, option: str, needed: str
) -> None:
    done = buildsys(project, *line.split(), shell=NO_ENGINE)
    assert said(done) == (f"`{option}` needs `{needed}`", f"add `{needed}`")


def test_dry_run_refuses_the_environment_that_a_run_refuses(project: Path) -> None:
    other = {"BUILDSYS_PARENT_DEBIAN_12": "debian:13", "BUILDSYS_REGISTRY": "127.0.0.1:9/x"}
    done = buildsys(project, "bake", "--dry-run", "--push", "img", shell={**NO_ENGINE, **other})
    refused(done, "`BUILDSYS_PARENT_DEBIAN_12` is `debian:13`", "unset BUILDSYS_PARENT_DEBIAN_12")
    assert not (project / ".buildsys/mirrors").exists()


@pytest.mark.engine
@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("foo", "`--set` has `foo`, expected a target, an attribute and `=`", "write it as"),
        ("img.tags", "`--set` has `img.tags`, expected a target, an attribute and `=`", "write it as"),
        ("imgg.tags=secret", "`--set` has `imgg`, which is not a target", "did you mean `img`?"),
    ],
)
def test_value_of_set_that_is_of_no_target_is_refused(project: Path, value: str, message: str, hint: str) -> None:
    found = said(buildsys(project, "bake", "img", "--set", value))
    assert found[0] == message
    assert found[1].startswith(hint)


# Commands whose work can fail though their input is right.
FAILING = ("bake", "environment", "inventory", "promote", "rollback", "test", "warm")


def test_help_lists_the_version_and_the_exit_codes_of_each_command(project: Path) -> None:
    text = buildsys(project, "--help").stdout
    assert "--version" in text
    for name in re.findall(r"^  ([a-z]+)  ", text.partition("Commands:")[2], re.MULTILINE):
        own = " ".join(buildsys(project, name, "--help", COLUMNS="200").stdout.split())
        codes = set(re.findall(r"\b\d+\b", own.rpartition("Exit codes:")[2]))
        expected = {"0", "2", "4", "5", "70", "130", "143"}
        expected |= {"1"} if name in FAILING else set()
        expected |= {"3"} if ("--check" in own and name != "warm") or name == "add" else set()
        assert codes == expected, name


def test_version_is_printed_beside_other_words(project: Path) -> None:
    alone = buildsys(project, "--version")
    assert alone.code == 0
    assert buildsys(project, "--version", "plan").stdout == alone.stdout


def test_without_a_command_the_help_is_shown(project: Path) -> None:
    done = buildsys(project)
    assert done.code == 2
    assert "Commands:" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_folder_without_a_project_is_reported_with_a_way_to_one(tmp_path: Path, command: str) -> None:
    _, hint = said(buildsys(tmp_path, *command.split(), shell=NO_ENGINE), 4)
    assert "`buildsys -C DIR" in hint


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("show imgg", "no stack is named `imgg`", "did you mean `img`?"),
        ("show IMG", "no stack is named `IMG`", "did you mean `img`?"),
        ("show cpu", "`cpu` is a group, expected a stack", "name a stack of it, such as `img`"),
        ("why imgg conf", "no stack is named `imgg`", "did you mean `img`?"),
        ("why img cnof", "`cnof` is not a layer of stack `img`", "did you mean `conf`?"),
        ("why img zzz", "`zzz` is not a layer of stack `img`", "run `buildsys show img` to list its layers"),
        ("why --json img zzz", "`zzz` is not a layer of stack `img`", "run `buildsys show img` to list its layers"),
        ("explain imgg", "no stack, group or node is named `imgg`", "did you mean `img`?"),
        ("graph --stack imgg", "no stack, group or node is named `imgg`", "did you mean `img`?"),
        ("bake --push imgg", "no stack, group or node is named `imgg`", "did you mean `img`?"),
        ("warm imgg", "no stack, group or node is named `imgg`", "did you mean `img`?"),
        ("bake --push layers/imgg/", "no stack, group or node is named `layers/imgg/`", "did you mean `img`?"),
        ("bake --push img,dist", "`img,dist` is not one name", "give each name on its own: `img`, `dist`"),
        ("environment a.txt --on imgg", "no stack is named `imgg`", "did you mean `img`?"),
        ("environment b.txt --on img", "`b.txt` does not exist", "did you mean `a.txt`?"),
        ("environment a.md --on img", "`a.md` is not a supported kind", "give a conda YAML"),
        ("environment a.txt --on img --tag=", "`--tag`: `` is not a tag", "use a tag such as"),
        ("lock --update debian-21", "the lock has no entry `debian-21`", "did you mean `debian-12`?"),
        ("report nope.jsonl", "`nope.jsonl` does not exist", "check the path, which is relative to the current folder"),
        ("report stacks.yml", "`stacks.yml` does not exist", "did you mean `stacks.yaml`?"),
        ("report stacks.yaml", "`stacks.yaml` has no events of a run", "name a file that a run wrote, such as"),
        ("report", "there is no run to report", "run `buildsys bake` first"),
        ("diff nosuch", "git has no revision `nosuch`", "name a branch, tag or commit"),
    ],
)
def test_name_that_does_not_exist_is_answered_with_the_nearest_one(
    project: Path, line: str, message: str, hint: str
) -> None:
    write(project, "a.txt", "six==1.17.0\n")
    write(project, "a.md", "six\n")
    git(project, "init", "-q", ".")
    found = said(buildsys(project, *shlex.split(line), shell=NO_ENGINE), 4)
    assert found[0].startswith(message)
    assert found[1].startswith(hint)


@pytest.mark.parametrize("line", ["lock --update", "lock --update debian-12"])
def test_lock_is_not_written_if_no_registry_answers(project: Path, line: str) -> None:
    write(project, "buildsys.settings.yaml", "parents: {docker.io: '127.0.0.1:9/hub'}\n")
    before = (project / "buildsys.lock").read_bytes()
    message, _ = said(buildsys(project, *line.split()), 5)
    assert message.startswith("nothing answered for `debian-12`")
    assert (project / "buildsys.lock").read_bytes() == before


def test_outdated_lists_what_it_cannot_look_up_and_writes_nothing_if_no_registry_answers(project: Path) -> None:
    write(project, "buildsys.settings.yaml", "parents: {docker.io: '127.0.0.1:9/hub'}\n")
    before = (project / "buildsys.lock").read_bytes()
    done = buildsys(project, "outdated")
    assert done.code == 5, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["debian-12", "toolchain-debian-12"]
    assert "nothing answered for `debian-12`" in done.stderr
    assert (project / "buildsys.lock").read_bytes() == before


def test_lock_without_entries_is_not_written_if_no_registry_answers(project: Path) -> None:
    write(project, "buildsys.settings.yaml", "parents: {docker.io: '127.0.0.1:9/hub'}\n")
    (project / "buildsys.lock").unlink()
    message, _ = said(buildsys(project, "lock"), 5)
    assert "`debian-12`, `toolchain-debian-12`" in message
    assert not (project / "buildsys.lock").exists()
    assert buildsys(project, "lock", "--offline").code == 0


@pytest.mark.parametrize("line", ["plan", "variables", "lock", "bake --push img", "outdated"])
def test_wrong_settings_are_an_error_of_each_command_that_reads_them(project: Path, line: str) -> None:
    write(project, "buildsys.settings.yaml", "parnts: {}\n")
    done = buildsys(project, *line.split(), shell={**NO_ENGINE, "BUILDSYS_REGISTRY": "127.0.0.1:9/x"})
    refused(done, "unknown key `parnts`", "did you mean `parents`?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parnts: {}\n", ("unknown key `parnts`", ":1:1", "did you mean `parents`?")),
        ("parents: {docker.io: 'https://m.example.com'}\n", (":1:22", "without a scheme")),
        ("apt: {bookworm: [nonsense]}\n", ("`nonsense`", ":1:18", "sources.list")),
        ("pip: {index-url: 'http://a b'}\n", ("`http://a b`", ":1:18", "not an address")),
        ("pip: {index-url: 'ftp://a'}\n", ("`ftp://a`", ":1:18", "not an address")),
        ("pip: {index_url: 'ftp://a'}\n", ("unknown key `index_url`", ":1:7", "did you mean `index-url`?")),
        ("downloads: {'https://e.example.com': 'ftp://a'}\n", ("`ftp://a`", ":1:38", "not an address")),
        ("proxy: {http: 'socks://proxy'}\n", ("`proxy.http` is not the address of a proxy", ":1:15")),
        ("ca: nope.pem\n", ("`ca` names", "does not exist", ":1:5")),
        ("files: stacks.yaml\n", ("`files` names", "is a file, expected a folder", ":1:8")),
    ],
)
def test_wrong_settings_are_an_error_of_plan_at_their_place(
    project: Path, text: str, expected: tuple[str, ...]
) -> None:
    write(project, "buildsys.settings.yaml", text)
    done = buildsys(project, "plan", shell=NO_ENGINE)
    refused(done, "buildsys.settings.yaml", *expected)
    assert done.stderr.count("error:") == 1
    assert not (project / "docker-bake.hcl").exists()


@pytest.mark.parametrize("make", ["folder", "bytes", "pipe", "name"])
def test_settings_that_cannot_be_read_are_an_error_of_plan(project: Path, make: str) -> None:
    path, shell = project / "buildsys.settings.yaml", {}
    match make:
        case "folder":
            path.mkdir()
        case "bytes":
            path.write_bytes(b"\xff\xfe\x00")
        case "pipe":
            os.mkfifo(path)
        case "name":
            shell = {"BUILDSYS_SETTINGS": "nope.yaml"}
    refused(buildsys(project, "plan", "--offline", shell=shell), "error:", "nope.yaml" if shell else path.name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BUILDSYS_PARENTS", "docker.io", ("has `docker.io`, expected `registry=mirror`",)),
        ("BUILDSYS_PARENTS", "docker.io=https://m", ("`https://m`",)),
        ("BUILDSYS_CA", "nope.pem", ("names `", "nope.pem`, which does not exist")),
        ("BUILDSYS_FILES", "stacks.yaml", ("names `", "which is a file, expected a folder")),
        ("BUILDSYS_PIP_INDEX_URL", "nonsense", ("has `nonsense`, which is not an address",)),
        ("BUILDSYS_PROXY_HTTP", "proxy:3128", ("is not the address of a proxy", "http://host:port")),
        ("BUILDSYS_APT_BOOKWORM", "nonsense", ("has `nonsense`, which is not a line of a sources.list",)),
        ("BUILDSYS_DOWNLOADS_EXAMPLE_COM", "nonsense", ("is `nonsense`, which is not an address",)),
        ("BUILDSYS_DOWNLOADS_EXAMPLE_COM", "", ("is empty, expected an address", "unset")),
        ("BUILDSYS_REGISTRIES_INSECURE", "http://x", ("has `http://x`, which is not a registry",)),
        ("BUILDSYS_CACHE_WRITE", "false", ("`false` is not a value of", "expected `0` or `1`")),
        ("BUILDSYS_CACHE", "a b", ("is `a b`, expected a repository",)),
        ("BUILDSYS_SETTINGS", "nope.yaml", ("names `nope.yaml`, which does not exist", "unset BUILDSYS_SETTINGS")),
    ],
)
def test_value_that_a_variable_cannot_have_is_an_error_that_names_the_variable(
    project: Path, name: str, value: str, expected: tuple[str, ...]
) -> None:
    done = buildsys(project, "plan", shell={name: value})
    message, hint = said(done, 4)
    assert f"`{name}`" in message
    assert [word for word in expected if word not in f"{message}\n{hint}"] == []


@pytest.mark.parametrize("word", ["me:secret@proxy.example.com", "http://me:secret@", "http://me:sec ret@proxy:1"])
@pytest.mark.parametrize("name", ["BUILDSYS_PROXY_HTTP", "BUILDSYS_PIP_INDEX_URL", "BUILDSYS_APT", "BUILDSYS_CACHE"])
def test_password_in_a_wrong_value_is_not_in_the_message(project: Path, name: str, word: str) -> None:
    done = buildsys(project, "plan", shell={name: word})
    assert done.code in (0, 4), done.output
    assert "sec" not in done.output.replace("section", "")


def test_misspelt_variable_is_a_warning_of_every_command(project: Path) -> None:
    for words in (["plan"], ["list"], ["schema", "layer"]):
        done = buildsys(project, *words, BUILDSYS_REGISTY="registry.example.com/ml")
        assert done.code == 0, done.output
        assert "warning: `BUILDSYS_REGISTY` is set" in done.stderr
        assert "did you mean `BUILDSYS_REGISTRY`?" in done.stderr
        assert "warning" not in done.stdout


def test_empty_variables_that_count_as_unset_change_nothing(project: Path) -> None:
    names = ("BUILDSYS_REGISTRY", "BUILDSYS_CACHE", "BUILDSYS_CACHE_WRITE", "BUILDSYS_SETTINGS")
    usual = buildsys(project, "plan", shell=NO_ENGINE)
    done = buildsys(project, "plan", shell={**NO_ENGINE, **dict.fromkeys(names, "")})
    assert (done.code, done.stderr) == (0, usual.stderr)
