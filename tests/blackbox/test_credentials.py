"""Credentials of mirrors and proxies stay on this machine: in no cache, history, log, event, page or message."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import (
    COMMAND,
    answering,
    buildsys,
    http_answer,
    program,
    refused,
    run,
    with_download,
    write,
)

SECRET = "NOT-A-REAL-SECRET"
BASIC = base64.b64encode(f"robot:{SECRET}".encode()).decode()
MIRROR = f"https://robot:{SECRET}@pypi.example.com/simple"
PROXY = f"http://robot:{SECRET}@proxy.example.com:3128"
CACHE = "registry.example.com/cache"
SETTINGS = "buildsys.settings.yaml"
# Where credentials are.
PLACES = (
    f'pip: {{index-url: "{MIRROR}"}}\n',
    f'pip: {{extra-index-url: [https://a.example.com/s, "{MIRROR}"]}}\n',
    f'proxy: {{https: "{PROXY}"}}\n',
    f'apt: {{bookworm: "deb https://robot:{SECRET}@deb.example.com/debian bookworm main"}}\n',
    f'conda: {{channel_alias: "https://robot:{SECRET}@conda.example.com"}}\n',
    f'conda: {{channel_alias: "https://conda.example.com/t/{SECRET}/main"}}\n',
    f'pip: {{index-url: "https://{SECRET}@pypi.example.com/simple"}}\n',
    f'pip: {{index-url: "https://pypi.example.com/simple?private_token={SECRET}"}}\n',
    f'conda: {{repodata_token: "{SECRET}"}}\n',
)
# A machine without docker: what is refused is refused before anything starts.
NOWHERE: dict[str, Any] = {"PATH": "/nonexistent"}


def hidden(text: str) -> None:
    """Assert that a text has the secret in no form."""
    assert SECRET not in text, text
    assert BASIC.rstrip("=") not in text, text


# The cache.


@pytest.mark.parametrize("settings", PLACES)
def test_credentials_are_in_no_file_that_a_cache_could_hold(project: Path, settings: str) -> None:
    mirrors = project / ".buildsys" / "mirrors"
    # Files of an earlier version may exist.
    for name in ("use", "pip.conf", "apt/bookworm.list"):
        write(mirrors, name, SECRET).chmod(0o600)
    write(project, SETTINGS, settings)
    done = buildsys(project, "variables", BUILDSYS_CACHE=CACHE)
    assert done.code == 0, done.output
    hidden(done.output)
    assert [name for name, text in kept(project / ".buildsys").items() if SECRET in text] == []
    script = buildsys(project, "variables", "--credentials")
    assert SECRET in script.stdout
    assert f'export BUILDSYS_SECRET_MIRRORS="$({shlex.quote(sys.executable)} -m buildsys' in done.stdout


def test_without_credentials_the_shell_is_asked_for_none(project: Path) -> None:
    write(project, SETTINGS, 'proxy: {http: "http://proxy.example.com:3128"}\n')
    assert "BUILDSYS_SECRET_MIRRORS" not in buildsys(project, "variables").stdout
    done = buildsys(project, "variables", BUILDSYS_SECRET_MIRRORS="export http_proxy=x")
    assert "unset BUILDSYS_SECRET_MIRRORS" in done.stdout
    assert buildsys(project, "variables", "--credentials").stdout == ""


def private_files(project: Path) -> None:
    """Let the settings give builds a folder with a private file."""
    write(project, "mine/netrc", f"machine a login robot password {SECRET}\n")
    write(project, SETTINGS, "files: mine\n")


@pytest.mark.parametrize(
    ("name", "mode"), [("netrc", 0o644), (".netrc", 0o644), ("key", 0o600), ("apt/auth.conf", 0o644)]
)
def test_cache_beside_private_files_is_refused(project: Path, name: str, mode: int) -> None:
    write(project, f"mine/{name}", SECRET).chmod(mode)
    write(project, SETTINGS, "files: mine\n")
    refused(buildsys(project, "variables", BUILDSYS_CACHE=CACHE), "BUILDSYS_CACHE", "`files`")
    assert buildsys(project, "variables").code == 0
    assert (project / ".buildsys/mirrors/files" / name).stat().st_mode & 0o777 == mode


def test_cache_beside_public_files_is_allowed(project: Path) -> None:
    write(project, "mine/repo/Packages", "x")
    write(project, SETTINGS, "files: mine\n")
    assert buildsys(project, "variables", BUILDSYS_CACHE=CACHE).code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("bake", "img"),
        ("bake", "--push", "img"),
        ("bake", "--fresh", "img"),
        ("warm", "img"),
        ("environment", "requirements.txt", "--on", "img"),
        ("environment", "Dockerfile", "--on", "img", "--dockerfile"),
    ],
)
def test_no_command_that_bakes_begins_with_a_cache_beside_private_files(project: Path, words: tuple[str, ...]) -> None:
    private_files(project)
    write(project, "requirements.txt", "six==1.17.0\n")
    write(project, "Dockerfile", "FROM base\n")
    done = buildsys(project, *words, BUILDSYS_CACHE=CACHE, BUILDSYS_REGISTRY="127.0.0.1:1/x", **NOWHERE)
    refused(done, "BUILDSYS_CACHE", "`files`", "BUILDSYS_CACHE_WRITE=0")
    hidden(done.output)
    assert not (project / ".buildsys").exists()


@pytest.mark.parametrize(
    ("cache", "write_it"), [("type=local,/tmp/cache", ""), ("type=gha", "1"), ("127.0.0.1:5000/cache", "false")]
)
def test_every_kind_of_cache_that_is_written_is_refused(project: Path, cache: str, write_it: str) -> None:
    private_files(project)
    given: dict[str, Any] = {"BUILDSYS_CACHE_WRITE": write_it} if write_it else {}
    refused(buildsys(project, "variables", BUILDSYS_CACHE=cache, **given), "BUILDSYS_CACHE")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUILDSYS_PROXY_HTTP", PROXY),
        ("BUILDSYS_PIP_FIND_LINKS", f"https://a.example.com {MIRROR}"),
        ("BUILDSYS_APT", f"deb https://a.example.com x main;deb https://robot:{SECRET}@b.example.com x main"),
        ("BUILDSYS_APT_TRIXIE", f"deb https://robot:{SECRET}@b.example.com trixie main"),
    ],
)
def test_credentials_in_the_environment_are_in_no_file_either(project: Path, name: str, value: str) -> None:
    given: dict[str, Any] = {name: value}
    done = buildsys(project, "variables", BUILDSYS_CACHE=CACHE, **given)
    assert done.code == 0, done.output
    hidden(done.output)
    assert [file for file, text in kept(project / ".buildsys").items() if SECRET in text] == []
    assert SECRET in buildsys(project, "variables", "--credentials", **given).stdout


def test_private_files_named_by_the_environment_are_refused_beside_a_cache_by_its_variable(project: Path) -> None:
    private_files(project)
    done = buildsys(project, "variables", BUILDSYS_CACHE=CACHE, BUILDSYS_FILES="mine")
    refused(done, "BUILDSYS_CACHE", "BUILDSYS_FILES")


def test_cache_given_by_an_override_is_refused_beside_private_files(project: Path) -> None:
    private_files(project)
    override = "*.cache-to=type=registry,ref=registry.example.com/cache,mode=max"
    done = buildsys(project, "bake", "img", "--set", override, **NOWHERE)
    refused(done, "--set", "`files`")
    hidden(done.output)


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (f'proxy: {{http: "{PROXY}"}}\n', {"BUILDSYS_CACHE": CACHE, "BUILDSYS_CACHE_WRITE": "0"}),
        (f'proxy: {{http: "{PROXY}"}}\n', {}),
        ('proxy: {http: "http://proxy.example.com:3128"}\n', {"BUILDSYS_CACHE": CACHE}),
        ('pip: {find-links: "https://pypi.example.com/t/x/@scope"}\n', {"BUILDSYS_CACHE": CACHE}),
    ],
)
def test_cache_that_is_only_read_and_settings_without_credentials_are_allowed(
    project: Path, settings: str, given: dict[str, Any]
) -> None:
    write(project, SETTINGS, settings)
    done = buildsys(project, "variables", **given)
    assert done.code == 0, done.output
    assert "export BUILDSYS_MIRRORS=.buildsys/mirrors" in done.stdout


# What can never have credentials.


@pytest.mark.parametrize(
    "settings",
    [
        f'downloads: {{"https://example.com": "https://robot:{SECRET}@mirror.example.com"}}\n',
        f'downloads: {{"https://robot:{SECRET}@example.com": "https://mirror.example.com"}}\n',
        f'downloads: {{"https://example.com": "https://{SECRET}@mirror.example.com"}}\n',
        f'parents: {{docker.io: "robot:{SECRET}@mirror.example.com/hub"}}\n',
        f'parents: {{"robot:{SECRET}@docker.io": "mirror.example.com/hub"}}\n',
        f'parents: {{docker.io: "https://robot:{SECRET}@mirror.example.com/hub"}}\n',
    ],
)
def test_credentials_of_downloads_and_parents_are_refused_without_being_shown(project: Path, settings: str) -> None:
    write(project, SETTINGS, settings)
    done = buildsys(project, "variables")
    refused(done, f"{SETTINGS}:1:")
    hidden(done.output)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUILDSYS_DOWNLOADS_EXAMPLE_COM", f"https://robot:{SECRET}@mirror.example.com"),
        ("BUILDSYS_DOWNLOADS_EXAMPLE_COM", f"https://{SECRET}@mirror.example.com"),
        ("BUILDSYS_PARENTS", f"docker.io=robot:{SECRET}@mirror.example.com/hub"),
        ("BUILDSYS_PARENTS", f"robot:{SECRET}@mirror.example.com"),
    ],
)
def test_credentials_of_downloads_and_parents_in_the_environment_are_refused(
    project: Path, name: str, value: str
) -> None:
    given: dict[str, Any] = {name: value}
    done = buildsys(project, "variables", **given)
    refused(done, name)
    hidden(done.output)


def test_credentials_in_the_address_of_a_layers_download_are_refused_and_its_line_is_masked(project: Path) -> None:
    with_download(project, f"https://robot:{SECRET}@example.com/archive")
    done = buildsys(project, "plan", "--offline")
    refused(done, "layers/conf/layer.yaml:", "credentials", "***@example.com")
    hidden(done.output)


def test_credentials_that_a_parameter_brings_into_an_address_are_refused(project: Path) -> None:
    rest = f"parameters: {{where: {{description: the host, default: 'robot:{SECRET}@example.com'}}}}\n"
    with_download(project, "https://{where}/archive", rest)
    done = buildsys(project, "plan", "--offline")
    refused(done, "credentials", "archive")
    hidden(done.output)


# Names and values.


@pytest.mark.parametrize(
    "settings",
    [
        'apt: {"../../outside": "deb https://a.example.com x main"}\n',
        'apt: {"/tmp/outside": "deb https://a.example.com x main"}\n',
        'apt: {"Bookworm": "deb https://a.example.com x main"}\n',
        'apt: {"": "deb https://a.example.com x main"}\n',
        'apt: {bookworm: "deb https://a.example.com x main\\ndeb https://b.example.com x main"}\n',
        'conda: {"x=1; touch outside; export y": a}\n',
        'conda: {"x\\ny": a}\n',
        'conda: {channel_alias: "https://a.example.com\\nx"}\n',
        'pip: {index-url: "https://a.example.com/simple\\nextra-index-url = https://evil.example.com"}\n',
        'pip: {trusted-host: "a.example.com\\r\\nno-index = true"}\n',
        'proxy: {http: "http://proxy.example.com:3128 x"}\n',
        'proxy: {http: "http://proxy.example.com:3128\\u001b[31m"}\n',
        'proxy: {http: "http://proxy.example.com:port"}\n',
        'proxy: {http: "proxy"}\n',
        'proxy: {"no": "a.example.com\\nb"}\n',
        'parents: {"https://docker.io": "mirror.example.com"}\n',
        'parents: {docker.io: "mirror"}\n',
        'parents: {docker.io: "mirror.example.com/UPPER"}\n',
        'parents: {docker.io: "mirror.example.com/a b"}\n',
        'downloads: {"https://example.com": "https://mirror.example.com/a b"}\n',
    ],
)
def test_name_or_value_that_cannot_be_one_is_refused_at_its_place(project: Path, settings: str) -> None:
    write(project, SETTINGS, settings)
    before = {path.name for path in project.parent.rglob("*")}
    refused(buildsys(project, "variables"), f"--> {SETTINGS}:1:")
    assert {path.name for path in project.parent.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUILDSYS_APT_../../OUTSIDE", "deb https://a.example.com x main"),
        ("BUILDSYS_APT_A_B", "deb https://a.example.com x main"),
        ("BUILDSYS_PIP_INDEX_URL", "https://a.example.com/\x1b[31m"),
        ("BUILDSYS_PROXY_HTTPS", "http://proxy.example.com:3128\nx"),
        ("BUILDSYS_PARENTS", "docker.io=https://mirror.example.com"),
    ],
)
def test_name_or_value_of_the_environment_is_refused_by_its_variable(project: Path, name: str, value: str) -> None:
    given: dict[str, Any] = {name: value}
    refused(buildsys(project, "variables", **given), name)
    assert not (project.parent / "outside.list").exists()


def test_usual_settings_are_taken(project: Path) -> None:
    text = (
        "apt: {bookworm-backports: [deb\thttps://a.example.com x main], '*': 'deb [trusted=yes] file:/r ./'}\n"
        "pip: {find-links: /srv/wheels, trusted-host: 'localhost:3141', index-url: 'https://a.example.com/simple'}\n"
        "conda: {channel_alias: 'https://conda.example.com', ssl_verify: 'false'}\n"
        "proxy: {https: 'socks5h://127.0.0.1:1080', no: 'localhost, 10.0.0.0/8'}\n"
        "parents: {docker.io: 'localhost:5000/hub/', quay.io: '[::1]:5000'}\n"
        "downloads: {'https://example.com': 'http://127.0.0.1:8080/a'}\n"
    )
    write(project, SETTINGS, text)
    done = buildsys(project, "variables")
    assert done.code == 0, done.output


@pytest.mark.parametrize(
    "text",
    [
        f"proxy: {{http: http://robot:{SECRET}: x}}\n",
        f"proxy: {{http: *{SECRET}}}\n",
        f'proxy: {{http: "http://robot:x/{SECRET}@proxy.example.com"}}\n',
        f'pip: {{index-url: "https://robot:x/{SECRET}@pypi.example.com"}}\n',
        f'pip: {{"robot:{SECRET}@pypi": a, "robot:{SECRET}@pypi": b}}\n',
        f'proxies: "http://robot:{SECRET}@proxy.example.com"\n',
        f'proxy: {{"http://robot:{SECRET}@proxy.example.com": x}}\n',
        f'proxy: "http://robot:{SECRET}@proxy.example.com"\n',
        f'downloads: {{"https://example.com": "robot:{SECRET}@mirror.example.com"}}\n',
    ],
)
def test_line_of_settings_that_is_wrong_is_named_and_not_shown(project: Path, text: str) -> None:
    write(project, SETTINGS, text)
    done = buildsys(project, "variables")
    refused(done, f"--> {SETTINGS}:")
    hidden(done.output)


@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--json")])
def test_doctor_quotes_no_credentials(project: Path, words: tuple[str, ...]) -> None:
    write(project, SETTINGS, f'proxy: {{"http://robot:{SECRET}@proxy.example.com": x}}\n')
    host = f"ssh://robot:{SECRET}@engine.example.com"
    script = f"import sys\nsys.exit('cannot connect to {host}')\n"
    program(project.parent / "bin", "docker", script)
    done = buildsys(project, *words, DOCKER_HOST=host, PATH=str(project.parent / "bin"))
    assert "Traceback" not in done.output
    assert f"{SETTINGS}:" in done.output
    hidden(done.output)


def test_settings_that_are_not_text_are_a_message(project: Path) -> None:
    (project / SETTINGS).write_bytes(b"proxy: {http: '\xff" + SECRET.encode() + b"'}\n")
    done = buildsys(project, "variables")
    refused(done, "UTF-8", SETTINGS)
    hidden(done.output)


# Files.


def test_files_of_mirrors_can_be_read_by_all_users_of_a_run_and_have_no_credentials(project: Path) -> None:
    write(project, SETTINGS, f'pip: {{index-url: "{MIRROR}"}}\napt: {{bookworm: deb https://a.example.com x main}}\n')
    assert buildsys(project, "variables").code == 0
    files = [path for path in (project / ".buildsys" / "mirrors").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"use", "bookworm.conf", "bookworm.list"}
    # apt reads its configuration as a user of its own.
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}


# What a bake prints. This docker fails as one does whose RUN prints its proxy, in pieces.

DOCKER = f"""
import base64, json, sys
words = sys.argv[1:]
secret, basic = {SECRET!r}, {BASIC!r}

def out(**fields):
    print(json.dumps(fields), file=sys.stderr, flush=True)

def log(text, stream=1):
    data = base64.b64encode(text.encode()).decode()
    out(logs=[{{"vertex": "sha256:" + "a" * 64, "stream": stream, "data": data, "timestamp": "2026-01-01T00:00:01Z"}}])

if "info" in words:
    print(json.dumps({{"ServerVersion": "28.5.2", "DriverStatus": [["x", "io.containerd.snapshotter.v1"]]}}))
elif "version" in words:
    print("github.com/docker/buildx v0.29.1 x")
elif "inspect" in words:
    print("Name: default\\nDriver: docker")
elif "--help" in words:
    print("      --allow stringArray")
elif "--print" in words:
    print(json.dumps({{"target": {{words[-1]: {{}}}}}}))
elif "bake" in words and "rawjson" in words:
    name = "[2/2] RUN env # http://robot:" + secret + "@proxy.example.com"
    vertex = {{"digest": "sha256:" + "a" * 64, "name": name, "started": "2026-01-01T00:00:00Z"}}
    out(vertexes=[vertex])
    log("http_proxy=http://robot:" + secret[:5])
    log("stderr of the same step\\n", 2)
    log(secret[5:9])
    log(secret[9:] + "@proxy.example.com:3128\\nAuthorization: Basic " + basic[:7])
    log(basic[7:] + "\\nand no secret: " + secret[:6])
    log("\\nlast output " + secret[:3])
    error = 'process "/bin/sh -c env" did not complete successfully: exit code: 7: http://robot:' + secret + "@x"
    out(warnings=[{{"vertex": vertex["digest"], "level": 1, "short": base64.b64encode(secret.encode()).decode()}}])
    out(vertexes=[{{**vertex, "completed": "2026-01-01T00:00:02Z", "error": error}}])
    print("ERROR: target " + words[-1] + ": failed to solve: " + error, file=sys.stderr)
    sys.exit(1)
"""


def kept(folder: Path) -> dict[str, str]:
    """Return the text of every file below a folder, with all base64 in it decoded."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            codes = re.findall(r'"(?:data|short)":"([^"]+)"', text.replace('": "', '":"'))
            found[path.name] = text + "".join(map(decoded, codes))
    return found


def decoded(code: str) -> str:
    try:
        return base64.b64decode(code, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return code


@pytest.fixture
def printing(project: Path) -> Path:
    """A project whose settings have credentials, with a docker whose RUN prints them beside it."""
    write(project, SETTINGS, f'proxy: {{http: "{PROXY}"}}\n')
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist]}\n")
    program(project.parent / "bin", "docker", DOCKER)
    return project


def bake(printing: Path, *words: str, **given: Any) -> str:
    done = buildsys(printing, "bake", "img", "--retries", "0", *words, PATH=str(printing.parent / "bin"), **given)
    assert "Traceback" not in done.output, done.output
    assert done.code == 1, done.output
    return done.output


def test_what_a_run_prints_of_credentials_is_in_no_output_and_in_no_file(printing: Path) -> None:
    output = bake(printing, "--events", "events.jsonl", "--verbose")
    hidden(output)
    files = kept(printing / ".buildsys") | kept(printing.parent / "project")
    assert {"bake.jsonl", "events.jsonl", "report.html", "history.json"} <= files.keys()
    assert [name for name, text in files.items() if name != SETTINGS and SECRET in text] == []
    assert [name for name, text in files.items() if BASIC.rstrip("=") in text] == []


def test_all_else_that_a_run_prints_is_kept_as_it_was(printing: Path) -> None:
    bake(printing)
    files = kept(printing / ".buildsys")
    log = next(text for name, text in files.items() if name.endswith(".log"))
    for words in ("http_proxy=http://", "\n***@proxy.example.com:3128\n", "Basic ***", "and no secret: NOT-A-\n"):
        assert words in log
    assert "stderr of the same step\n" in log
    assert "last output NOT" in log


def test_docker_progress_and_the_summary_show_no_credentials(printing: Path) -> None:
    output = bake(printing, "--progress", "docker")
    hidden(output)
    assert "***@proxy.example.com:3128" in output
    assert "exit code: 7: http://***@x" in output


def test_definition_that_bake_refuses_is_quoted_without_credentials(printing: Path) -> None:
    words = f'import sys\nif "--print" in sys.argv:\n    sys.exit("ERROR: {PROXY} in the file")\n'
    program(printing.parent / "bin", "docker", words + DOCKER)
    done = buildsys(printing, "bake", "img", PATH=str(printing.parent / "bin"))
    refused(done, "bake does not accept the definition", "***@proxy.example.com")
    hidden(done.output)


def test_proxy_of_dockers_own_settings_is_masked_too(printing: Path) -> None:
    write(printing, SETTINGS, "proxy: {no: localhost}\n")
    proxies = {"default": {"httpProxy": PROXY}}
    write(printing.parent / "docker", "config.json", json.dumps({"proxies": proxies}))
    output = bake(printing, "--progress", "docker", DOCKER_CONFIG=str(printing.parent / "docker"))
    hidden(output)
    assert [name for name, text in kept(printing / ".buildsys").items() if SECRET in text] == []


def test_weak_password_that_is_a_part_of_names_and_digests_breaks_no_run(printing: Path) -> None:
    write(printing, SETTINGS, 'proxy: {http: "http://robot:dist@proxy.example.com:3128"}\n')
    bake(printing)
    history = json.loads((printing / ".buildsys" / "history.json").read_text(encoding="utf-8"))
    assert any(name.startswith("dist") for name in history["undone"])


# Proxies of this process.


@pytest.mark.parametrize("proxy", [f"http://robot:x/{SECRET}@127.0.0.1:1", f"robot:x/{SECRET}@127.0.0.1:1"])
def test_proxy_that_cannot_be_read_is_a_message_without_its_password(project: Path, proxy: str) -> None:
    write(project, "buildsys.lock", "version: 1\n")
    done = buildsys(project, "lock", HTTPS_PROXY=proxy, NO_PROXY="", no_proxy="")
    assert "Traceback" not in done.output, done.output
    assert "proxy" in done.output
    hidden(done.output)


def test_proxy_that_wants_tls_gets_no_password_in_the_clear(project: Path) -> None:
    write(project, "buildsys.lock", "version: 1\n")
    with answering(http_answer(b"", status="407 Proxy Authentication Required")) as server:
        proxy = server.address.replace("http://", f"https://robot:{SECRET}@")
        done = buildsys(project, "lock", HTTPS_PROXY=proxy, NO_PROXY="", no_proxy="")
    assert BASIC.encode() not in b"".join(server.asked)
    hidden(done.output)


def test_proxy_gets_its_password_and_the_server_behind_a_redirect_does_not(project: Path) -> None:
    with_download(project, "https://example.com/archive")
    write(project, SETTINGS, "downloads: {'https://example.com': 'http://mirror.invalid'}\n")
    with answering(http_answer(b"abc")) as behind:
        location = f"Location: http://localhost:{behind.port}/archive"
        with answering(http_answer(b"", location, status="302 Found")) as proxy:
            address = f"http://robot:{SECRET}@127.0.0.1:{proxy.port}"
            done = buildsys(project, "lock", http_proxy=address, no_proxy="localhost")
    assert done.code == 0, done.output
    assert BASIC.encode() in proxy.asked[0]
    assert b"GET /archive" in behind.asked[0]
    assert BASIC.encode() not in behind.asked[0]


# An engine.


@pytest.mark.engine
@pytest.mark.registry
def test_real_run_that_prints_its_proxy_leaves_the_password_nowhere(real_project: Path, registry: str) -> None:
    dockerfile = (
        "FROM base\nARG PACKAGES\n"
        "RUN --mount=type=bind,from=mirrors,target=/run/mirrors --mount=type=secret,id=mirrors "
        ". /run/mirrors/use && env && ls -ln /run/mirrors/ "
        '&& printf %s "${http_proxy%SECRET*}" && sleep 0.3 && echo "${http_proxy#*REAL-}" '
        f"&& echo {BASIC} && head -c 3000 /dev/zero | tr '\\\\0' x && exit 7\n"
    )
    write(real_project, "layers/dist/Dockerfile", dockerfile)
    write(real_project, "stacks.yaml", "stacks:\n  img: {layers: [dist]}\n")
    write(real_project, SETTINGS, f'proxy: {{http: "{PROXY}", no: "*"}}\n')
    words = ("bake", "img", "--events", "events.jsonl", "--progress", "docker")
    done = run(real_project, *COMMAND, *words, seconds=300, BUILDSYS_REGISTRY=registry)
    assert done.code == 1, done.output
    assert "http_proxy=http://***@proxy.example.com:3128" in done.output
    hidden(done.output)
    files = kept(real_project)
    # The command itself is a part of the project.
    names = {"Dockerfile", SETTINGS}
    assert [name for name, text in files.items() if name not in names and SECRET in text] == []
