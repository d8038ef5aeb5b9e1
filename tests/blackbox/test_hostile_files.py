"""What no person writes, but a merge, a script or an attacker: each file ends as one message with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, COMMAND, LOCK, Run, refused, run, small_project, write

# Of processor time; the slowest of these takes about three.
SECONDS = 30
CONF = "layers/conf/layer.yaml"
STACK = "stacks:\n  img: {layers: [dist, conf]}\n"

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def buildsys(folder: Path, *words: str) -> Run:
    """Run buildsys, which is ended by a signal where it takes too much processor time or memory."""
    limits = f'ulimit -t {SECONDS}; ulimit -v 2000000; exec "$@"'
    return run(folder, "sh", "-c", limits, "sh", *COMMAND, *words, seconds=1_200)


def with_parameter(pattern: str, value: str) -> str:
    return (
        f"{ARTIFACT}parameters: {{form: {{description: x, pattern: '{pattern}', default: '{value}', label: true}}}}\n"
    )


def chain(length: int, end: str = "default: a") -> str:
    """Return a layer whose parameters take their values from one another."""
    each = [f"p{n}: {{description: x, from: conf.p{n + 1}}}" for n in range(length)]
    used = ", ".join(f"V{n}: '{{p{n}}}'" for n in range(length + 1))
    head = f"{ARTIFACT}environment: {{set: {{{used}}}}}\nparameters:"
    return "\n  ".join([head, *each, f"p{length}: {{description: x, {end}}}\n"])


def matrix(*lengths: int) -> str:
    names = "abcdefgh"[: len(lengths)]
    row = ", ".join(f"{name}: [{', '.join(map(str, range(n)))}]" for name, n in zip(names, lengths, strict=True))
    shown = "-".join(f"{{{name}}}" for name in names)
    head = f'families:\n  f:\n    description: x\n    name: "i{shown}"\n    layers: [dist]\n'
    return f"{head}    matrix:\n      - {{{row}}}\n"


@pytest.mark.parametrize(
    ("file", "text", "place", "words"),
    [
        # Values, levels and aliases.
        ("stacks.yaml", BOMB + STACK, "stacks.yaml:5:", "20000 values"),
        (CONF, ARTIFACT + "labels: &x {a: {b: *x}}\n", f"{CONF}:6:", "the alias contains itself"),
        ("stacks.yaml", "a: *x\n" + STACK, "stacks.yaml:1:4", "the alias has no anchor"),
        ("stacks.yaml", "stacks: " + "[" * 900 + "]" * 900, "stacks.yaml:1:", "30 levels"),
        ("stacks.yaml", "stacks: " + "{a: " * 20_000, "stacks.yaml:1:", "30 levels"),
        ("buildsys.lock", "version: " + "- " * 5_000, "buildsys.lock:1:10", "not valid YAML"),
        ("stacks.yaml", "a: [" + "x," * 300_000 + "]\n" + STACK, "stacks.yaml:1:", "250000 values"),
        ("stacks.yaml", "base: &base {groups: [a]}\nstacks:\n  img: {<<: *base, layers: [dist]}\n", ":3:9", "merge"),
        # Characters.
        ("stacks.yaml", "stacks:\n  é\x00: 1\n", "stacks.yaml:2:4", "U+0000"),
        ("stacks.yaml", "stacks:\n  a\x85b: 1\n", "stacks.yaml:2:4", "U+0085"),
        ("stacks.yaml", "stacks:\n  a\u2028b: 1\n", "stacks.yaml:2:4", "U+2028"),
        ("stacks.yaml", "stacks:\r  img: {}\r", "stacks.yaml:1:8", "U+000D"),
        ("stacks.yaml", "\ufeffstacks:\n\ufeff  img: {}\n", "stacks.yaml:2:1", "U+FEFF"),
        (CONF, ARTIFACT + 'labels: {a: "\\ud800"}\n', f"{CONF}:6:", "an escape that YAML does not know"),
        # Syntax, in words that are not those of a parser.
        ("stacks.yaml", "stacks: {img: {layers: [dist, conf}\n", "stacks.yaml:1:35", "the list has no `,` or `]`"),
        ("stacks.yaml", "stacks:\n  img: {layers: [dist, conf]\n", "stacks.yaml:2:8", "the mapping has no `,` or `}`"),
        ("stacks.yaml", 'stacks:\n  img: {layers: ["dist]}\n', "stacks.yaml:2:18", "the quote has no end"),
        ("stacks.yaml", "stacks:\n  img: a: b\n", "stacks.yaml:2:9", "the `:` is not allowed here"),
        ("stacks.yaml", "stacks:\n  img:\n layers: x\n", "stacks.yaml:3:", "does not fit those beside it"),
        ("stacks.yaml", "stacks: @x\n", "stacks.yaml:1:9", "the character has a meaning in YAML"),
        # Patterns and numbers.
        (CONF, with_parameter("(a+)+$", "a" * 60 + "!"), CONF, "does not have the form"),
        (CONF, with_parameter("(a|aa)*b", "a" * 60), CONF, "does not have the form"),
        (CONF, with_parameter(r"\d*" * 30 + "x", "1" * 200), CONF, "does not have the form"),
        (CONF, with_parameter("(?P<a>.)(?P=a)", "aa"), f"{CONF}:6:", "back-references are not supported"),
        (CONF, with_parameter("a{99999999}", "a"), f"{CONF}:6:", "more than 1000 parts"),
        (CONF, with_parameter("(" * 900 + ")" * 900, ""), f"{CONF}:6:", "too many levels"),
        (CONF, with_parameter("[[:alpha:]]", "a"), f"{CONF}:6:", "nested set"),
        (CONF, f"{ARTIFACT}user: '{'9' * 5_000}'\n", f"{CONF}:6:7", "a name or a number"),
        (
            "layers/conf/Dockerfile",
            f"FROM scratch\nCOPY --from={'9' * 5_000} a /\n",
            "Dockerfile:2:",
            "is neither a stage",
        ),
        ("layers/conf/Dockerfile", "FROM scratch\nCOPY --from=١ a /\n", "Dockerfile:2:13", "is neither a stage"),
        ("layers/conf/Dockerfile", "FROM scratch\n" + "RUN true\n" * 30_000, "Dockerfile:2001:", "2000 instructions"),
        ("layers/conf/Dockerfile", "FROM scratch\n" + "".join(f"X{n} a\n" for n in range(1_900)), ":2:1", "X0"),
        ("layers/conf/Dockerfile", "FROM scratch\nCOPY " + "[" * 60_000 + "\n", "Dockerfile:2:", "an artifact"),
        (CONF, chain(1_200), "stacks.yaml:2:", "100 parameters that take their values"),
        (CONF, chain(2, "from: conf.p0"), "stacks.yaml:2:", "from each other: conf.p0 → conf.p1 → conf.p2 → conf.p0"),
        (
            CONF,
            f"{chain(0, 'default: 9')}checks: [{{needs: {{conf.p0: '>={'9' * 5_000}'}}}}]\n",
            "stacks.yaml",
            "needs",
        ),
        # A product of many lists.
        ("stacks.yaml", matrix(100, 100, 100, 100), "stacks.yaml:7:", "100000000 rows"),
        ("stacks.yaml", matrix(*[9] * 8), "stacks.yaml:7:", "43046721 rows"),
    ],
)
def test_hostile_file_is_refused_at_its_place(tmp_path: Path, file: str, text: str, place: str, words: str) -> None:
    project = small_project(tmp_path)
    (project / file).write_bytes(text.encode("utf-8", "surrogatepass"))
    done = buildsys(project, "plan")
    refused(done, place, words)
    assert "RecursionError" not in done.output
    assert len(done.stderr) < 200_000
    assert "did not find expected" not in done.output
    assert not (project / "docker-bake.hcl").exists()


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}\n", "registry: example.com/x\n"])
def test_file_without_stacks_is_refused_and_the_bake_file_stays(tmp_path: Path, text: str) -> None:
    project = small_project(tmp_path, {"stacks.yaml": text, "docker-bake.hcl": "# as it was\n"})
    done = buildsys(project, "plan")
    refused(done, "stacks.yaml:", "no stacks", "hint: ")
    assert (project / "docker-bake.hcl").read_text(encoding="utf-8") == "# as it was\n"


def test_empty_layer_file_names_everything_that_it_needs(tmp_path: Path) -> None:
    project = small_project(tmp_path, {CONF: ""})
    refused(buildsys(project, "plan"), "the layer `conf` is empty", "`description: …`, `kind: …` and `licence: …`")


@pytest.mark.parametrize("name", ["stacks.yaml", "buildsys.lock", CONF, "layers/conf/Dockerfile"])
def test_bytes_that_are_not_utf_8_are_refused_with_their_file(tmp_path: Path, name: str) -> None:
    project = small_project(tmp_path)
    (project / name).write_bytes(b"a: \xff\n")
    refused(buildsys(project, "plan"), name, "not UTF-8")


def test_many_stars_in_a_dockerignore_take_no_time(tmp_path: Path) -> None:
    stars = "***" * 40 + "x"
    project = small_project(tmp_path, {"layers/conf/.dockerignore": f"{stars}\nlayer.yaml\ntests\n"})
    done = buildsys(project, "plan")
    assert done.code == 0, done.output


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("[z-a]", "the reversed range `z-a`"),
        ("![[:alpha:]]", "in a set"),
        ("[", "a `[` that begins no set"),
        ("[a-]", "a `[` that begins no set"),
        ("[*]", "`*` in a set"),
        (r"\d", r"`\d`"),
        ("a\\", "ends with a `\\`"),
        ("!", "`!` alone"),
        ("x^*", "`^` outside of a set"),
        ("[" * 900 + "]" * 900, "in a set"),
    ],
)
def test_rule_that_buildkit_reads_in_another_way_is_refused_at_its_line(tmp_path: Path, rule: str, words: str) -> None:
    project = small_project(tmp_path, {"layers/conf/.dockerignore": f"layer.yaml\n  {rule}\n"})
    refused(buildsys(project, "plan"), "layers/conf/.dockerignore:2:3", words, "hint: ")


def test_rules_of_a_folder_that_a_parameter_names_are_checked(tmp_path: Path) -> None:
    parameters = "parameters: {data: {description: x, type: folder, default: data}}\n"
    dockerfile = (
        "FROM toolchain AS b\nRUN --mount=type=bind,from=data,target=/d true\nFROM scratch\nCOPY --from=b /a /\n"
    )
    project = small_project(tmp_path, {CONF: ARTIFACT + parameters, "layers/conf/Dockerfile": dockerfile})
    write(project, "data/file", "one\n")
    write(project, "data/.dockerignore", "[z-a]\n")
    refused(buildsys(project, "plan"), "data/.dockerignore:1:1", "reversed range")


@pytest.mark.parametrize(
    "settings",
    [
        f"ca: {'a' * 5_000}\n",
        f"apt: {{bookworm: '{'a' * 200_000}'}}\n",
        f"conda: {{channel_alias: 'http://{'/t/a' * 20_000}'}}\n",
        f"pip: {{index-url: 'https://x@y/{'?' * 100_000}'}}\n",
        f"proxy: {{http: '{'://a:b' * 20_000}@'}}\n",
    ],
)
def test_settings_with_long_values_end_in_time(tmp_path: Path, settings: str) -> None:
    project = small_project(tmp_path, {"buildsys.settings.yaml": settings})
    done = buildsys(project, "doctor")
    assert "Traceback" not in done.output


def test_errors_beyond_a_hundred_are_counted(tmp_path: Path) -> None:
    stacks = "".join(f"  img{n}: {{layers: [dist, nothing{n}]}}\n" for n in range(3_000))
    project = small_project(tmp_path, {"stacks.yaml": f"stacks:\n{stacks}"})
    done = buildsys(project, "plan")
    refused(done, "1000 errors: the first 100 are shown")
    assert len(re.findall("^error:", done.stderr, re.MULTILINE)) == 100


def test_each_error_of_a_lock_is_said_once(tmp_path: Path) -> None:
    project = small_project(tmp_path, {"buildsys.lock": LOCK.replace("sha256:", "sha256;")})
    done = buildsys(project, "plan")
    refused(done, "expected `sha256:` and 64 hexadecimal digits")
    places = re.findall(r"--> (\S+)", done.stderr)
    assert len(places) == len({*places}) == 2
