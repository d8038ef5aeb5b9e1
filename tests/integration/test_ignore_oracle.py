"""BuildKit leaves out of a context exactly what the rules of its `.dockerignore` leave out here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.dockerfile.ignore import ignored, rule_problems

pytestmark = pytest.mark.engine

NAMES = (
    *("a", "b", "z", "-", "^x", "x1", "é", "d", "5", "conf", "a.md", "ab.txt", "a-b", "[", "]", "a]", "*", "a b", "\\"),
    *("!a", "!!a", "{a,b}", "a|b", ":", "k.c", "sub/a", "sub/b.c", "sub/deep/b.c", "xa/b", "5z", ".h", "[]", "a^", "U"),
)
RULES = (
    *("[^a]", "[!a]", "!!a", "**", "***", "/", "//", "..", "!..", r"\*", r"\[", r"[\]a]", "[a-c][a-c]", "^x", "{a,b}"),
    *(
        "a|b",
        "*{a,b}*",
        "*.md",
        "**/*.c",
        "**.c",
        "sub**",
        "su**/b.c",
        "**/deep/**",
        "*/*",
        "[é-ü]",
        "[:]",
        "[:alpha:]",
    ),
    *(
        "x*a/*",
        "]",
        "a]",
        "[/]",
        "sub[/]a",
        "?",
        "??",
        "[^/]",
        "#a",
        " #a",
        "!sub\nsub",
        "a b",
        "[a b]",
        "[.]",
        "[$-a]",
    ),
    *("***/b.c", "**/**/a", "*a*b*", r"[a\-c]", "*\n!sub/deep", "sub\n!sub/a", "**\n!**/*.c"),
)
INLINE = "FROM scratch\nCOPY . /\n"


def context(folder: Path, rule: str) -> Path:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    (folder / ".dockerignore").write_text(f"{rule}\n", encoding="utf-8")
    return folder


def test_each_rule_leaves_out_what_buildkit_leaves_out(docker: Docker, tmp_path: Path) -> None:
    targets = {
        f"rule{number}": {
            "context": str(context(tmp_path / "contexts" / str(number), rule)),
            "dockerfile-inline": INLINE,
            "output": [f"type=local,dest={tmp_path / 'found' / str(number)}"],
        }
        for number, rule in enumerate(RULES)
    }
    file = tmp_path / "bake.json"
    file.write_text(json.dumps({"group": {"default": {"targets": [*targets]}}, "target": targets}), encoding="utf-8")
    allowed = f"--allow=fs={tmp_path}"
    subprocess.run(["docker", "buildx", "bake", "-f", file, allowed], cwd=tmp_path, check=True, capture_output=True)
    for number, rule in enumerate(RULES):
        assert list(rule_problems(rule, "f")) == []
        found = tmp_path / "found" / str(number)
        kept = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()} - {".dockerignore"}
        is_ignored = ignored(rule)
        assert kept == {name for name in NAMES if not is_ignored(name)}, rule


@pytest.mark.parametrize("rule", ["[z-a]", "[", "[a-]", "[]a]", "a\\", "!", r"\é"])
def test_rule_that_buildkit_does_not_read_is_a_diagnostic(docker: Docker, tmp_path: Path, rule: str) -> None:
    assert len(list(rule_problems(rule, "f"))) == 1
    words = ["docker", "buildx", "build", "--file", "-", "--output", "type=cacheonly", str(context(tmp_path, rule))]
    done = subprocess.run(words, input=INLINE, text=True, capture_output=True, check=False)
    assert done.returncode
    assert "pattern" in done.stderr


@pytest.mark.parametrize("rule", ["[[:alpha:]]", r"\d", r"\w", "[*]", "[?a]", "a^*"])
def test_rule_that_buildkit_reads_in_another_way_is_a_diagnostic(rule: str) -> None:
    assert len(list(rule_problems(rule, "f"))) == 1
