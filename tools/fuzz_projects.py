"""The projects that the fuzzer changes, each small enough to be planned in a few milliseconds, as paths to bytes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mutations import SETTINGS, Files

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ("flavours", "inheritance", "matrix", "one-stack", "error-environment", "error-unknown-names")
SHIPPED = ("debian-os", "toolchain-debian", "git", "miniconda")

_SETTINGS = """\
parents: {docker.io: mirror.example.com/docker.io}
downloads: {"https://example.com": "https://mirror.example.com/example"}
apt: {bookworm: ["deb http://mirror.example.com/debian bookworm main"], "*": "deb http://mirror.example.com/all ./"}
pip: {index-url: https://user:password@mirror.example.com/simple, trusted-host: [mirror.example.com]}
conda: {channel_alias: https://mirror.example.com/conda}
proxy: {http: "http://proxy.example.com:3128", no: "localhost,.example.com"}
registries: {insecure: ["registry.example.com:5000"]}
ca: mirrors/use
files: mirrors
"""
_IGNORED = """\
# not read
layer.yaml
tests
**/*.md
!keep/*.md
[a-c]?.txt
"""
_STACKS = """\
registry: registry.example.com/images
families:
  numbers:
    description: what a matrix gives
    name: "dist{release}[-tool{tool}][-{with}]"
    groups: [extra]
    layers:
      - dist: {release: "{release}"}
      - tool: {version: "{tool}", words: [one, "{{two}}"]}
        when: tool
      - extra: {flavour: fast}
        when: {with: [extra, more]}
    matrix:
      - {release: [1, 2.10], tool: [3.0, 3.10]}
      - {release: 2.10, with: [extra, more], groups: quick}
    exclude:
      - {release: 1, tool: 3.10}
    stacks:
      dist1-tool3.0: {description: the first, groups: [quick], deprecated: old}
stacks:
  alone:
    description: declared alone
    platforms: [linux/amd64]
    layers: [dist, {tool: 3.0}, {extra: }, {placed: {gid: 50}}, after]
"""
_LOCK = f"""\
version: 1
epochs: {{dist: "2026-11-23"}}
parents:
  dist-1:
    reference: docker.io/library/dist:1
    digest: sha256:{"1" * 64}
    platforms: {{linux/amd64: "sha256:{"2" * 64}"}}
  dist-2.10: {{reference: "docker.io/library/dist:2.10", digest: unknown, reason: "it is new", source: an archive}}
  compiler-1: {{images: ["docker.io/library/dist:1"], digest: "sha256:{"1" * 64}"}}
downloads:
  "https://example.com/data/3.10.tar": {{sha256: "{"3" * 64}", size: 12}}
"""
_DIST = """\
description: the system
kind: system
licence: various
provides: [os]
freshness: week
parent: {name: "dist-{release}", images: ["docker.io/library/dist:{release}", "example.com/dist:{release}"]}
toolchain: {layer: compiler, parameters: {release: "1"}}
parameters:
  release: {description: which, values: ["1", "2.10"], default: "2.10", label: true}
packages:
  - names: [base-files, tzdata=2024a-0+deb12u1]
  - names: ["extra-{release}"]
    when: {release: ["2.10"]}
environment: {set: {LANG: C.UTF-8}, prepend: {PATH: /opt/bin}}
labels: {org.example.release: "{release}"}
user: "1000:users"
workdir: /work
entrypoint: [/bin/sh, -c]
command: ["echo {release}"]
tests:
  - run: cat /etc/release
    expect: "{release}"
"""
_TOOL = """\
description: a tool
kind: artifact
licence: MIT
prefix: /opt/tool
requires: [os]
after: [extra]
order: 5
parameters:
  version: {description: which, type: string, pattern: '\\d+(\\.\\d+)*', default: "3.0", label: true}
  words: {description: several, type: words, default: [one, two]}
  count: {description: how many, type: integer, default: 4}
  fast: {description: whether, type: boolean, default: false}
  release: {description: that of the system, from: "dist.release|series"}
  with-docs: {description: of a folder, type: folder, default: data}
arguments:
  - lines: {OPTIONS: ["--fast={fast}", "--words={words}", "--count={count}"]}
    when: {fast: ["true", "false"]}
downloads:
  data:
    - {url: "https://example.com/data/{version}.tar", sha256: unknown, reason: changes, when: {version: "3.10"}}
    - {url: "https://example.com/data/{version|series}.tar", sha256: "%s"}
environment:
  - {set: {TOOL: "/opt/tool/{version}"}}
  - {append: {PATH: [/opt/tool/bin]}, when: {fast: "true"}}
checks:
  - needs: {dist.release: ">=1"}
    message: the tool needs a newer system
conflicts: []
ports: [80, "8000-8010/udp"]
healthcheck: {command: [/opt/tool/check], interval: 30s, timeout: 5s, retries: 3}
weight: {memory: 2 GB, disk: 1.5 GB, minutes: 3}
""" % ("4" * 64)
_TOOL_DOCKERFILE = """\
FROM toolchain AS build
ARG VERSION
ARG WORDS
ARG OPTIONS RELEASE=1
ARG TARGETARCH
ARG DATA_URL
ARG DATA_SHA256
ADD --checksum=sha256:${DATA_SHA256} ${DATA_URL} /src/data
# a comment
RUN --mount=type=bind,from=with-docs,target=/docs \\
    --mount=type=bind,from=mirrors,target=/run/mirrors \\
    . /run/mirrors/use && \\
    build "$WORDS" '${OPTIONS}'
COPY --link --chown=0:0 <<EOF /artifact/opt/tool/version
${VERSION} ${RELEASE}
EOF

FROM scratch
COPY --link --from=build /artifact /
"""
_COMPILER = """\
description: what artifacts are built on
kind: toolchain
licence: various
parent: {name: "compiler-{release}", images: ["docker.io/library/dist:{release}"]}
parameters: {release: {description: which, default: "1"}}
"""
_EXTRA = """\
description: a layer with flavours
licence: MIT
default_flavour: slow
flavours:
  slow: {kind: system, requires: [os], packages: [{names: [slow]}]}
  fast:
    kind: artifact
    prefix: /opt/extra
    dockerfile: fast.Dockerfile
    accelerator: gpu
    parameters: {level: {description: how fast, type: integer, default: 3}}
"""
_PLACED = """\
description: files
kind: artifact
licence: MIT
parameters:
  gid: {description: group, default: 100, pattern: "[0-9]+"}
files:
  /usr/local/bin/start: start
  /usr/local/bin/as-root: {from: start, mode: 4755}
  /etc/placed/: {from: conf/, owner: "0:{gid}", mode: 2775}
  /etc/placed/more: {from: conf/a, owner: 7}
  /var/lib/placed/: {}
"""
_AFTER = """\
description: commands after packages
kind: system
licence: MIT
requires: [os]
parameters:
  level: {description: how much, default: 3}
packages:
  - names: [after]
run:
  - set-level "$LEVEL" ${TARGETARCH}
  - |
    cat <<EOT >/etc/after
    EOT
"""


def projects() -> list[Files]:
    """Return all projects; one that is small comes up more often."""
    sys.path.append(str(ROOT))
    from tests.support.command_line import small_project

    with tempfile.TemporaryDirectory() as folder:
        small = _read(small_project(Path(folder)))
    rich = _rich()
    found = [small, rich, small, rich, rich, _shipped()]
    found += [_read(ROOT / "tests" / "golden" / name / "project") for name in GOLDEN]
    return [{SETTINGS: _SETTINGS.encode(), "mirrors/use": b":\n", **files} for files in found]


def _rich() -> Files:
    """Return a project that has every field."""
    texts = {
        "stacks.yaml": _STACKS,
        "buildsys.lock": _LOCK,
        "data/file": "one\n",
        "layers/dist/layer.yaml": _DIST,
        "layers/dist/Dockerfile": "FROM base\nARG PACKAGES\nARG EPOCH\nRUN install $PACKAGES\n",
        "layers/tool/layer.yaml": _TOOL,
        "layers/tool/Dockerfile": _TOOL_DOCKERFILE,
        "layers/tool/.dockerignore": _IGNORED,
        "layers/tool/keep/a.md": "kept\n",
        "layers/tool/ab.txt": "left out\n",
        "layers/compiler/layer.yaml": _COMPILER,
        "layers/compiler/Dockerfile": "FROM base\nRUN true\n",
        "layers/extra/layer.yaml": _EXTRA,
        "layers/extra/Dockerfile": "FROM base\nARG PACKAGES\nRUN install $PACKAGES\n",
        "layers/extra/fast.Dockerfile": "FROM toolchain AS b\nARG LEVEL\nRUN x\nFROM scratch\nCOPY --from=b /a /\n",
        "layers/extra/fast.Dockerfile.dockerignore": _IGNORED,
        "layers/placed/layer.yaml": _PLACED,
        "layers/placed/start": "start\n",
        "layers/placed/conf/a": "a = 1\n",
        "layers/after/layer.yaml": _AFTER,
    }
    return {path: text.encode() for path, text in texts.items()}


def _shipped() -> Files:
    """Return some layers of the shipped project under one stack."""
    stacks = "stacks:\n  img: {layers: [{debian-os: {release: 12}}, git, miniconda]}\n"
    found = {"stacks.yaml": stacks.encode(), "buildsys.lock": (ROOT / "buildsys.lock").read_bytes()}
    for name in SHIPPED:
        found |= {f"layers/{name}/{path}": data for path, data in _read(ROOT / "layers" / name).items()}
    return found


def _read(folder: Path) -> Files:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
