"""An image for two platforms is baked and run where the kernel emulates one of them; without asking it is refused.

The engine is one of its own, in namespaces in which `tools/emulation.py` has prepared QEMU: the machine stays as it is.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import emulation
from machine_apt import Failure, check_machine
from private_engine import default_home
from tests.support.commands import BUILDSYS, PRIVATE_ENGINE, ROOT, run

pytestmark = pytest.mark.engine

NAME = "emulated"
PLATFORMS = "platforms: [linux/amd64, linux/arm64]"
# What the parent has is a shell; what a RUN writes shows which processor it ran on.
FILES = {
    "parent/Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH}/busybox /bin/busybox\n"
    'RUN ["/bin/busybox", "--install", "/bin"]\n',
    "project/stacks.yaml": f"stacks:\n  both:\n    {PLATFORMS}\n    layers:\n      - system\n      - tool\n"
    "      - fast: {}\n        when: {platform: linux/amd64}\n",
    "project/layers/system/layer.yaml": "description: a system\nkind: system\nlicence: none\nprovides: [os]\n"
    f"{PLATFORMS}\nparent: {{name: two, images: ['docker.io/library/two:1']}}\n"
    "packages: [{names: ['tool-{platform|arch}']}, {when: {platform: linux/arm64}, names: [numa]}]\n"
    "tests: [{run: 'uname -m', expect: '{platform|machine}'}]\n",
    "project/layers/system/Dockerfile": "FROM base\nARG PACKAGES\n"
    'RUN echo "$PACKAGES" >/packages && uname -m >/machine\n',
    "project/layers/tools/layer.yaml": f"description: tools\nkind: toolchain\nlicence: none\n{PLATFORMS}\n"
    "parent: {name: two, images: ['docker.io/library/two:1']}\n",
    "project/layers/tools/Dockerfile": "FROM base\nRUN echo tools >/tools\n",
    "project/layers/tool/layer.yaml": f"description: a tool\nkind: artifact\nlicence: none\n{PLATFORMS}\n"
    "prefix: /opt/tool\ntoolchain: {layer: tools}\nparameters:\n"
    "  tuning: {description: for which, default: v3, platform_defaults: {linux/arm64: neon}}\n",
    "project/layers/tool/Dockerfile": "FROM toolchain AS build\nARG TUNING\nRUN mkdir -p /out/opt/tool \\\n"
    ' && echo "$(uname -m) $TUNING" >/out/opt/tool/built\nFROM scratch\nCOPY --from=build /out /\n',
    "project/layers/fast/layer.yaml": "description: for one alone\nkind: system\nlicence: none\nrequires: [os]\n"
    "environment: {set: {FAST: 'yes'}}\n",
    "project/buildsys.lock": "version: 1\n",
    **{f"project/layers/{name}/.dockerignore": "*\n" for name in ("system", "tools", "tool")},
}
# Busybox would start `cat` as `/proc/self/exe`, which is QEMU's own file.
SCRIPT = """\
set -eu
started() {{
    code=0
    "$@" >"$out/$step.stdout" 2>"$out/$step.stderr" || code=$?
    echo $code >"$out/$step.code"
}}
out={out}
{engine} start --name {name} >&2
trap '{engine} wipe --name {name} >&2' EXIT
eval "$({engine} env --name {name})"
host=${{BUILDSYS_REGISTRY%%/*}}
export BUILDSYS_REGISTRY=$host/emulation
step=parent started docker buildx build --platform linux/amd64,linux/arm64 --provenance=false --push \\
    --tag "$host/two:1" --metadata-file {out}/parent.json {folder}/parent
digest=$(sed -n 's/.*"containerimage.digest": "\\(.*\\)".*/\\1/p' {out}/parent.json)
printf 'version: 1\\nparents:\\n  two: {{reference: "%s", digest: "%s"}}\\n' "$host/two" "$digest" >buildsys.lock.local
step=refused started {buildsys} bake both --push
step=baked started {buildsys} bake both --push --emulate
step=again started {buildsys} bake both --push
step=index started docker buildx imagetools inspect --raw "$BUILDSYS_REGISTRY/both:latest"
for arch in amd64 arm64; do
    step=run-$arch started docker run --rm --network none --platform linux/$arch "$BUILDSYS_REGISTRY/both:latest" \\
        sh -c '/bin/cat /machine /packages /opt/tool/built; uname -m; echo "fast ${{FAST-no}}"'
done
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the output and the exit code of each step."""
    folder = tmp_path_factory.mktemp("emulation")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    out = folder / "out"
    out.mkdir()
    try:
        check_machine()
        home = default_home().expanduser().resolve()
        emulation.emulator(home)
        for arch in ("amd64", "arm64"):
            root = emulation.unpacked("busybox-static", arch, home / "emulation")
            (folder / "parent" / arch).mkdir()
            shutil.copy(root / "bin/busybox", folder / "parent" / arch / "busybox")
    except Failure as error:
        pytest.skip(str(error))
    script = SCRIPT.format(
        out=out,
        folder=folder,
        name=NAME,
        engine=shlex.join([sys.executable, str(PRIVATE_ENGINE)]),
        buildsys=shlex.quote(str(BUILDSYS)),
    )
    words = (sys.executable, ROOT / "tools" / "emulation.py", "--", "sh", "-c", script)
    done = run(*words, cwd=folder / "project")
    if done.code == Failure.exit_code and not list(out.iterdir()):
        pytest.skip(done.stderr)
    assert done.code == 0, done.stderr
    return out


def output(results: Path, step: str, *, code: int = 0) -> str:
    """Return what a step printed, after a check of its exit code."""
    text = "".join((results / f"{step}.{name}").read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    assert (results / f"{step}.code").read_text(encoding="ascii").strip() == str(code), text
    return text


def test_emulation_that_was_not_asked_for_is_refused_before_anything_is_built(results: Path) -> None:
    output(results, "parent")
    text = output(results, "refused", code=5)
    assert "runs `linux/amd64`" in text
    assert "need `linux/arm64`" in text
    assert "--emulate" in text


def test_index_of_both_platforms_is_baked_and_reused(results: Path) -> None:
    output(results, "baked")
    index = json.loads((results / "index.stdout").read_text(encoding="utf-8"))
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert "nothing to do: 2 images up to date" in output(results, "again")


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("amd64", ["x86_64", "tool-amd64", "x86_64 v3", "x86_64", "fast yes"]),
        ("arm64", ["aarch64", "numa tool-arm64", "aarch64 neon", "aarch64", "fast no"]),
    ],
)
def test_image_holds_what_was_built_for_its_platform(results: Path, arch: str, said: list[str]) -> None:
    output(results, f"run-{arch}")
    assert (results / f"run-{arch}.stdout").read_text(encoding="utf-8").split("\n")[:-1] == said
