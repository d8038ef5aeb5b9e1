"""No text of a layer or stack becomes an instruction, a word of a shell or a part of the bake file: it is refused.

Every value of a list is a separate error at its own location, so one plan refuses all of them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, SYSTEM, TOOL, Run, buildsys, refused, run, write

CONF = "layers/conf/layer.yaml"
DIST = "layers/dist/layer.yaml"
BAKE = "docker-bake.hcl"
INJECTED = "touch /injected"


def refused_at(project: Path, locations: Iterable[str], *words: str) -> Run:
    """Assert that the plan is refused at each place, and that what would be injected reaches no bake file."""
    done = buildsys(project, "plan", "--offline")
    refused(done, *(f"--> {location}:" for location in locations), *words)
    bake = project / BAKE
    assert not bake.exists() or INJECTED not in bake.read_text(encoding="utf-8")
    return done


def listed(project: Path, file: str, head: str, entries: Iterable[str]) -> list[str]:
    """Write a file of `head` and a line for each entry, and return the places of these lines."""
    written = list(entries)
    write(project, file, head + "".join(f"{entry}\n" for entry in written))
    return [f"{file}:{head.count(chr(10)) + number}" for number in range(1, len(written) + 1)]


def flavours(project: Path, field: str, values: Iterable[str]) -> list[str]:
    """Give the artifact a flavour for each value of a field, and return the places of these."""
    return listed(
        project, CONF, f"{ARTIFACT}flavours:\n", (f"  f{n}: {{{field}: {value}}}" for n, value in enumerate(values))
    )


def test_port_that_is_not_a_number_or_range_is_refused(project: Path) -> None:
    ports = [
        *(f"80\\nRUN {INJECTED}", "80\\tRUN", "80\\n", "80 443", "$PORT", "${PORT:-80}", "", "٨٠", "é"),
        *("0", "65536", "99999", "3-1", "1-70000", "0-5", "1-2-3", "-1", "1-", "080", "1e3", "80,443"),
        *("80/http", "80/UDPX", "80/T cp", "80/", "80/tcp/udp", "tcp/80", "127.0.0.1:80:80"),
    ]
    locations = listed(project, CONF, f"{ARTIFACT}ports:\n", (f'  - "{port}"' for port in ports))
    refused_at(project, locations, f"{len(ports)} errors", "a number from 1 to 65535")


def test_port_that_becomes_an_instruction_is_refused(project: Path) -> None:
    write(project, CONF, f'{ARTIFACT}ports: [22, "80\\nRUN {INJECTED}"]\n')
    refused_at(project, [f"{CONF}:6"], "expected a number from 1 to 65535")


@pytest.mark.parametrize("escape", ["\\0", "\\r", "\\N"])
def test_control_character_is_refused_everywhere(project: Path, escape: str) -> None:
    text = f'"x{escape}RUN {INJECTED}"'
    fields = [
        *(f"labels: {{a: {text}}}", f"environment: {{set: {{A: {text}}}}}", f"command: [{text}]"),
        *(f"entrypoint: [{text}]", f"healthcheck: {{command: [{text}]}}", f"user: {text}", f"workdir: {text}"),
        *(f"ports: [{text}]", f"accelerator: {text}", f"tests: [{{run: {text}}}]", f"platforms: [{text}]"),
        f"arguments: [{{lines: {{A: {text}}}}}]",
    ]
    locations = listed(project, CONF, ARTIFACT, fields)
    done = refused_at(project, locations, f"{len(fields)} errors", "control character")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.output)


def test_control_character_in_a_key_is_refused(project: Path) -> None:
    refused_at(project, listed(project, CONF, f"{ARTIFACT}labels:\n", [r'  "a\0b": x', r'  "a\eb": x']), "character")


def test_control_character_in_a_description_is_refused_and_not_printed(project: Path) -> None:
    write(project, "stacks.yaml", 'stacks:\n  img: {layers: [dist, conf], description: "\\e]0;owned\\a"}\n')
    done = refused_at(project, ["stacks.yaml:2"], "control character")
    assert "\x1b" not in done.output


def test_label_key_that_is_invalid_or_reserved_is_refused(project: Path) -> None:
    keys = [
        *("", "a b", "a=b", 'a\\"b', "$a", "-a", ".a", f"a\\nRUN {INJECTED}", "ä", "a\\\\b", "a'b", "a\\tb"),
        *("dev.buildsys.key", "dev.buildsys.inputs", "dev.buildsys.anything", "dev.buildsys", "DEV.buildsys.key"),
    ]
    locations = listed(project, CONF, f"{ARTIFACT}labels:\n  ok: x\n", (f'  "{key}": x' for key in keys))
    refused_at(project, locations, f"{len(keys)} errors", "`dev.buildsys.` is reserved")


def test_user_that_is_not_a_name_or_number_is_refused(project: Path) -> None:
    users = [
        *(f"a\\nRUN {INJECTED}", "a b", "$USER", "a:b:c", ":a", "a:", "-a", "a/b", 'a\\"b', "a'b", "a\\\\"),
        *("99999999999", "0:99999999999", "é", " a", "a ", "a\\tb", "١"),
    ]
    refused_at(project, flavours(project, "user", (f'"{user}"' for user in users)), f"{len(users)} errors")


def test_workdir_that_is_not_absolute_and_normal_is_refused(project: Path) -> None:
    folders = [
        f"/a\\nRUN {INJECTED}",
        "a",
        "a/b",
        "/a/../b",
        "/a/./b",
        "//a",
        "/a//b",
        "/a/",
        "/a\\tb",
        "/a ",
        "$HOME",
        "",
    ]
    refused_at(project, flavours(project, "workdir", (f'"{each}"' for each in folders)), f"{len(folders)} errors")


def test_package_with_shell_syntax_is_refused(project: Path) -> None:
    packages = [
        *(f"$({INJECTED})", f"; {INJECTED}", f"a;{INJECTED}", "`id`", "a|b", "a&b", "a>b", "a b", "a\\nb", "a\\tb"),
        *("-o APT::Update::Pre-Invoke::=id", "-oA=b", "--allow-unauthenticated", "a*", "a?", "[ab]", "~n", "$A"),
        *("./a.deb", "/a.deb", "'a'", '\\"a\\"', "a-", "a\\\\", "", "ä", "#a", "a(b)", "{{a,b}}", "!a"),
    ]
    head = f"{TOOL}packages:\n- names:\n"
    locations = listed(project, "layers/tool/layer.yaml", head, (f'  - "{package}"' for package in packages))
    refused_at(project, locations, f"{len(packages)} errors", "package")


def test_address_that_a_shell_takes_for_more_is_refused(project: Path) -> None:
    write(
        project,
        "layers/conf/Dockerfile",
        ARTIFACT_DOCKERFILE.replace("COPY conf", "ARG S_URL\nARG S_SHA256\nCOPY conf"),
    )
    rests = [
        "e.com/$(id)",
        "e.com/`id`",
        "e.com/a'b",
        'e.com/a\\"b',
        "e.com/a\\\\b",
        "e$x.com/a",
        "e'x.com/a",
        "e.com/ä",
    ]
    entries = [f'{{s: {{url: "https://{rest}", sha256: {"1" * 64}}}}}' for rest in [*rests, "e.com/<a>", "e.com/a|b"]]
    refused_at(project, flavours(project, "downloads", entries), f"{len(entries)} errors", "`url`")


def test_parent_that_is_not_a_name_or_reference_is_refused(project: Path) -> None:
    images = [
        "debian:12\\nRUN x",
        "debian 12",
        "debian:$TAG",
        "https://e.com/x",
        "a b/x",
        "a:b:c",
        "a@sha256:1",
        "",
        "a/",
    ]
    names = ["debian 12", "", "-", 'a\\"b', "a\\nb", "a/b", "$a", "ä"]
    parents = [f'{{name: d, images: ["debian:12", "{image}"]}}' for image in images]
    parents += [f'{{name: "{name}", images: ["debian:12"]}}' for name in names]
    text = re.sub("parent: .*\n", "", TOOL)
    entries = (f"  f{number}: {{parent: {parent}}}" for number, parent in enumerate(parents))
    locations = listed(project, "layers/tool/layer.yaml", f"{text}flavours:\n", entries)
    refused_at(project, locations, f"{len(parents)} errors")


def test_invalid_platform_is_refused(project: Path) -> None:
    platforms = [
        "linux",
        "linux/amd64,linux/arm64",
        "linux/",
        "linux/a b",
        "Linux/AMD64",
        "l$/a",
        "linux/a\\nb",
        "a/b/c/d",
    ]
    written = [f'"{platform}"' for platform in platforms]
    in_layer = flavours(project, "platforms", (f"[{each}]" for each in written))
    heads = (f"  s{number}: {{layers: [dist, conf], platforms: [{each}]}}" for number, each in enumerate(written))
    refused_at(project, [*in_layer, *listed(project, "stacks.yaml", "stacks:\n", heads)], f"{2 * len(written)} errors")


def test_dockerfile_of_another_folder_is_refused(project: Path) -> None:
    """The bake file names the last part alone: one file would be checked and a different one built."""
    names = ["sub/Dockerfile", "../dist/Dockerfile", "./Dockerfile", "a b", "-f"]
    for name in names:
        written = (project / "layers/conf" / name).resolve()
        write(written.parent, written.name, ARTIFACT_DOCKERFILE)
    said = "is not the name of a file in `layers/conf`"
    refused_at(project, flavours(project, "dockerfile", (f'"{each}"' for each in names)), said)


FETCHED = [
    "docker-image://evil/x",
    "target:other",
    "github.com/a/b",
    "https://e.com/x.git",
    "cwd://x",
    "oci-layout://x",
]


def test_folder_that_bake_takes_for_something_to_fetch_is_refused(project: Path) -> None:
    write(project, CONF, f"{ARTIFACT}parameters:\n  given: {{description: x, type: folder}}\n")
    write(project, "layers/conf/Dockerfile", ARTIFACT_DOCKERFILE.replace("COPY conf", "COPY --from=given file"))
    for folder in FETCHED:
        write(project, f"{folder}/file", "x\n")
    entries = (f'  s{n}: {{layers: [dist, conf: {{given: "{folder}"}}]}}' for n, folder in enumerate(FETCHED))
    locations = listed(project, "stacks.yaml", "stacks:\n", entries)
    refused_at(project, locations, f"{len(FETCHED)} errors", "folder inside the project")


BECOMES = [
    ('user: "{given}"', f"root\\nRUN {INJECTED}"),
    ('user: "a{given}"', " b"),
    ('user: "a{given}"', "$B"),
    ('workdir: "{given}"', f"/a\\nRUN {INJECTED}"),
    ('workdir: "/a/{given}"', "../b"),
    ('workdir: "{given}"', "a"),
    ('labels: {a: "{given}"}', f"x\\nRUN {INJECTED}"),
    ('environment: {set: {A: "x{given}"}}', f"x\\nRUN {INJECTED}"),
    ('environment: {prepend: {A: "x{given}"}}', f"x\\nRUN {INJECTED}"),
    ('parent: {name: "d-{given}", images: [debian]}', "a\\nb"),
    ('parent: {name: "d-{given}", images: [debian]}', "a b"),
    ('parent: {name: d, images: ["debian:{given}"]}', "12\\nRUN x"),
    ('parent: {name: d, images: ["debian:{given}"]}', "$X"),
    ('packages: [{names: ["x={given}"]}]', f"1;{INJECTED}"),
    ('packages: [{names: ["{given}"]}]', f"$({INJECTED})"),
    ('packages: [{names: ["{given}"]}]', "a -o X"),
]


def test_value_of_a_parameter_is_validated_for_its_use(project: Path) -> None:
    """Each flavour of the system has one field that takes the value in, and each stack gives one value."""
    text = re.sub("parent: .*\n", "", SYSTEM) + "parameters:\n  given: {description: x}\nflavours:\n"
    given = "parent: {name: p, images: [debian]}, "
    for number, (field, _) in enumerate(BECOMES):
        text += f"  f{number}: {{{'' if field.startswith('parent') else given}{field}}}\n"
    write(project, DIST, text)
    entries = (
        f'  s{number}: {{layers: [dist: {{flavour: f{number}, given: "{value}"}}, conf]}}'
        for number, (_, value) in enumerate(BECOMES)
    )
    refused_at(project, listed(project, "stacks.yaml", "stacks:\n", entries), f"{len(BECOMES)} errors")


def test_value_of_a_parameter_is_validated_for_its_use_in_a_toolchain(project: Path) -> None:
    given = "parameters:\n  given: {description: x}\n"
    write(project, "layers/tool/layer.yaml", f'{TOOL}{given}packages: [{{names: ["x={{given}}"]}}]\n')
    write(project, "layers/tool/Dockerfile", "FROM base\nARG PACKAGES\nRUN true\n")
    write(project, DIST, SYSTEM.replace("{layer: tool}", f'{{layer: tool, parameters: {{given: "1;{INJECTED}"}}}}'))
    refused_at(project, [DIST], "package")


@pytest.mark.parametrize("other", ["http://a.example.com/b", "https://a-example.com/b", "https://a.example.com.:/b"])
def test_two_origins_of_downloads_have_one_variable_each(project: Path, other: str) -> None:
    """The variable consists of letters and digits: another host, or http, would take the requests of the first."""
    arguments = "ARG A_URL\nARG A_SHA256\nARG B_URL\nARG B_SHA256\n"
    write(project, "layers/conf/Dockerfile", ARTIFACT_DOCKERFILE.replace("COPY conf", f"{arguments}COPY conf"))
    one = f'a: {{url: "https://a.example.com/a", sha256: {"1" * 64}}}'
    two = f'b: {{url: "{other}", sha256: {"1" * 64}}}'
    write(project, CONF, f"{ARTIFACT}downloads:\n  {one}\n  {two}\n")
    refused_at(project, [CONF], "BUILDSYS_DOWNLOADS_A_EXAMPLE_COM")


def test_comment_of_the_bake_file_holds_every_line_of_a_text(project: Path) -> None:
    said = '"gone\\ntarget \\"x\\" {}\\n\\u2028variable"'
    write(project, "stacks.yaml", f"stacks:\n  img: {{layers: [dist, conf], deprecated: {said}}}\n")
    assert buildsys(project, "plan", "--offline").code == 0
    lines = (project / BAKE).read_text(encoding="utf-8").split("\n")
    assert not [line for line in lines if re.match(r"\s*(target \"x\"|variable\b(?! \"BUILDSYS_))", line)]


LEGAL = r"""
labels:
  com.example/Label_1: "a \"quoted\" $HOME ${HOME} \\ %{x} 'single' \u2028 é \U0001F600\ttab"
environment:
  set: {GIVEN: "a \"quoted\" $HOME ${HOME} \\ %{x} 'single' # é"}
ports: [22, "8000-8010/udp", "53/tcp", "9/sctp", "65535"]
user: "1000:a.b-c_d"
workdir: "/srv/a b/$x\\"
entrypoint: ["a\nb", "\"", "$X", "\\"]
command: ["<<EOF", "# no comment", "%{x}"]
healthcheck: {command: ["[", "\"a\"", "]"], interval: 1500ms}
""".replace("${HOME}", "${{HOME}}").replace("%{x}", "%{{x}}")
"""Texts that look dangerous and are right."""


def test_text_that_only_looks_dangerous_is_planned(project: Path) -> None:
    write(project, CONF, ARTIFACT + LEGAL)
    done = buildsys(project, "plan", "--offline", "--json")
    assert done.code == 0, done.output
    (image,) = json.loads(done.stdout)["stacks"]
    keywords = [line.split(" ")[0] for line in image["dockerfile"].removesuffix("\n").split("\n")]
    settings = ["WORKDIR", "USER", "ENTRYPOINT", "CMD", "HEALTHCHECK"]
    assert keywords == ["#", "FROM", "COPY", "ENV", "LABEL", *["EXPOSE"] * 5, *settings]


def test_package_of_a_distribution_is_planned(project: Path) -> None:
    packages = ["curl", "g++", "libc6:amd64", "a=1:2.3~rc1-4+b5", "vim/stable", "libX11-devel", "python3=3.11*"]
    write(project, DIST, f"{SYSTEM}packages: [{{names: {json.dumps(packages)}}}]\n")
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output


@pytest.mark.buildx
def test_bake_reads_the_assembly_that_was_planned(project: Path) -> None:
    if shutil.which("docker") is None or run(project, "docker", "buildx", "version").code:
        pytest.skip("docker buildx is not installed")
    write(project, CONF, ARTIFACT + LEGAL)
    (image,) = json.loads(buildsys(project, "plan", "--offline", "--json").stdout)["stacks"]
    assert buildsys(project, "plan", "--offline").code == 0
    printed = run(project, "docker", "buildx", "bake", "-f", BAKE, "--print", "img")
    assert printed.code == 0, printed.output
    found = json.loads(printed.stdout)["target"]["img"]["dockerfile-inline"]
    assert found.replace("$${", "${").replace("%%{", "%{") == image["dockerfile"]


CHANGED = [
    ('labels: {a: "e\\u0301"}', "U+0065 U+0301"),
    ('environment: {set: {A: "\\u212b"}}', "U+212B"),
    ('command: ["\\u1100\\u1161"]', "U+1100 U+1161"),
    ('description: "a\\u0307\\u0323"', "U+0061 U+0307 U+0323"),
]


def test_text_that_bake_would_change_is_refused(project: Path) -> None:
    """HCL has texts in Unicode's normal form C; one in another form would be a different text in the image."""
    locations = flavours_of(project, [field for field, _ in CHANGED])
    refused_at(project, locations, f"{len(CHANGED)} errors", *(said for _, said in CHANGED))


def flavours_of(project: Path, fields: Iterable[str]) -> list[str]:
    """Give the artifact a flavour for each of the fields, and return their places."""
    return listed(project, CONF, f"{ARTIFACT}flavours:\n", (f"  f{n}: {{{field}}}" for n, field in enumerate(fields)))


REFUSED_BY_DOCKER = [
    f"labels: {{a: {'x' * 65_536}}}",
    f"environment: {{set: {{A: {'x' * 65_536}}}}}",
    "healthcheck: {command: [a], retries: 2147483648}",
    "healthcheck: {command: [a], interval: 9999999h}",
    'environment: {prepend: {A: ""}}',
    'environment: {append: {A: [a, ""]}}',
]


@pytest.mark.parametrize("number", range(len(REFUSED_BY_DOCKER)))
def test_setting_that_docker_cannot_read_is_refused(project: Path, number: int) -> None:
    done = refused_at(project, flavours_of(project, REFUSED_BY_DOCKER[number : number + 1]))
    # A hint does not turn hours into seconds.
    assert "9999999s" not in done.output


def test_instruction_of_many_words_that_is_longer_than_a_line_is_refused(project: Path) -> None:
    write(project, CONF, f"{ARTIFACT}command: {json.dumps(['x' * 1_000] * 66)}\n")
    refused_at(project, ["stacks.yaml"], "`CMD` of `img` has 66", "65535")


def test_address_with_half_a_bracket_is_refused(project: Path) -> None:
    write(project, "layers/conf/Dockerfile", ARTIFACT_DOCKERFILE.replace("COPY", "ARG S_URL\nARG S_SHA256\nCOPY"))
    write(project, CONF, f'{ARTIFACT}downloads: {{s: {{url: "https://e]x.com/a", sha256: {"1" * 64}}}}}\n')
    refused_at(project, [CONF], "`url`")


def test_accent_behind_a_line_feed_stays_a_word_of_its_command(project: Path) -> None:
    """The `n` of its escape and the accent would be one character in bake, and the list no list of words."""
    write(project, CONF, f'{ARTIFACT}command: ["\\n\\u0301"]\n')
    done = buildsys(project, "plan", "--offline", "--json")
    assert done.code == 0, done.output
    (image,) = json.loads(done.stdout)["stacks"]
    assert 'CMD ["\\n\\u0301"]' in image["dockerfile"]
