"""Messages, help, docstrings, comments and pages use plain technical English: no private jargon of this project.

A rule names the words to avoid and what to write instead.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Words to avoid, as a regular expression, and what to write instead."""

    words: str
    instead: str


RULES = (
    Rule(words=r"tell|tells|telling|told", instead="report, log, print, distinguish"),
    Rule(words=r"made", instead="built, written, created, generated"),
    Rule(words=r"(make|makes|making)( \w+){0,3} again", instead="rebuild, rewrite, recreate"),
    Rule(words=r"(build|builds|built|building) again", instead="rebuild, rebuilt"),
    Rule(words=r"anew", instead="rebuild, rewrite, recreate"),
    Rule(words=r"(try|tries|tried|trying) again", instead="retry, retries, retried"),
    Rule(words=r"(may|might) pass|pass(es)? by itself", instead="transient"),
    Rule(words=r"not there", instead="missing"),
    Rule(words=r"(what|that|which|it|one|file|folder) (is|are|was|were) there", instead="existing, exists"),
    Rule(words=r"(is|are|was|were) gone", instead="is missing, no longer exists, was removed"),
    Rule(words=r"(stands?|standing|stood)(?!-(in|ins|alone)\b)", instead="is, is based on; base image; replaces"),
    Rule(words=r"honest|honestly", instead="leave it out"),
    Rule(words=r"bears?|bore|borne|bearing", instead="has, supports"),
    Rule(words=r"another one", instead="a different one; base changed: old → new"),
    Rule(words=r"(the )?whole of", instead="all of, the complete"),
    Rule(words=r"nobody|somebody", instead="no user, another user; use the active voice"),
    Rule(words=r"whoever", instead="a caller that, anyone who"),
    Rule(words=r"of (which|whom)", instead="two sentences"),
    Rule(words=r"(go|goes|went|gone) on", instead="continue, resume, keep running"),
    Rule(words=r"(say|says|said) so", instead="report it"),
    Rule(words=r"besides", instead="also, in addition to, other than"),
    Rule(words=r"be had", instead="is available"),
    Rule(words=r"(left|leave|leaves) alone|leave it alone", instead="not changed"),
    Rule(words=r"(held|holds|hold) to", instead="checked against, validated"),
    Rule(words=r"(end|ends|ended|ending) well", instead="succeed"),
    Rule(words=r"for ever", instead="permanently, without limit"),
    Rule(words=r"(own|last) words", instead="output, message"),
    Rule(words=r"mend|mends|mended", instead="fix"),
    Rule(words=r"all that", instead="everything that"),
    Rule(words=r"mistakes?", instead="error, diagnostic"),
    Rule(words=r"(that|what|which) is no|is no (value|kind)", instead="is not a"),
    Rule(words=r"(keep|keeps) to itself", instead="private files of"),
    Rule(words=r"leads? (out of|to itself)", instead="points outside, points to itself"),
    Rule(words=r"(make|makes|making) (fresh|nothing)", instead="refresh; build nothing"),
    Rule(words=r"left undone|leaves undone", instead="did not finish"),
    Rule(words=r"in (its|their) words", instead="with its message"),
    Rule(words=r"(has|have|had) a say", instead="affects"),
    Rule(words=r"our|ours|we", instead="name the thing: this project, buildsys"),
)
# A capital only at the start of a sentence: "Of no image it is known …".
_PATTERNS = [(re.compile(rf"\b(?:{rule.words})\b", re.IGNORECASE), rule) for rule in RULES]
_PATTERNS.append((re.compile(r"\bOf (no|all|each)\b"), Rule(words="Of no …", instead="begin with the subject")))
# Most texts have none of these words, which one search shows.
_ANY = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _PATTERNS), re.IGNORECASE)

# Programs and pages outside of the package; a folder stands for all files in it.
PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "RELEASING.md", "SECURITY.md", "Makefile", "pyproject.toml"),
    *(".github", ".pre-commit-config.yaml", ".editorconfig", ".gitattributes", "docs", "tools", "bench"),
    *("examples/docker-stacks/README.md", "examples/python/README.md", "examples/ci"),
    *(f"tests/{name}" for name in ("blackbox", "conformance", "faults", "integration", "project", "properties")),
    *("tests/support", "tests/tools"),
)
# Written from the code, whose texts are checked themselves.
GENERATED = ("docs/cli.md", "docs/layer-yaml.md")
# Texts of layers take part in keys.
LAYERS = "bench/compare/project/"
KINDS = {".py", ".md", ".yml", ".yaml", ".toml", ""}
# In docker-bake.hcl, whose text is a golden of its own, and the name of a folder.
KEPT = ("It stands alone:", "tells builds which mirrors to use", "golden/mistakes")

# Messages that readers stumbled over, and what replaced them.
REPLACED = {
    "is the name of a layer's way": "`flavour` is reserved",
    "stands twice": "lists layer `{}` twice",
    "is another one:": "changed: {} → {}",
    "tries again": "1 retry",
    "what is made stays": "interrupted; finished targets are kept. Run the same command{}",
    "nothing says that it was pushed": "bake succeeded but reported no pushed digest for this target",
    "is damaged and made again": "rebuilding `{}`: {} is missing from the registry",
    "by default what the builder's driver bears": "default depends on the builder's driver",
    "it is known which blobs": "Layer sizes are not available",
}


def prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment, string of several words and name of a test."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, _without_code(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")


def prose_of_page(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line, without code in it."""
    for number, line in enumerate(text.splitlines(), 1):
        yield number, _without_code(line)


def offences(name: str, text: str) -> list[str]:
    """Return each use of a word to avoid in a file, with its line and what to write instead."""
    # Parsing takes most of the time, and a file without such words needs none.
    if not _ANY.search(text.replace("_", " ")):
        return []
    found = prose_of_python(text) if name.endswith(".py") else prose_of_page(text)
    return [
        f"{name}:{line}: `{match[0]}`: write {rule.instead}"
        for line, prose in found
        if _ANY.search(prose)
        for pattern, rule in _PATTERNS
        for match in pattern.finditer(prose)
    ]


def _without_code(text: str) -> str:
    # What is between backticks is a name, such as the outcome `made` of a target.
    for kept in KEPT:
        text = text.replace(kept, "")
    return re.sub(r"`[^`\n]*`", "`…`", text)


def _packages() -> dict[str, list[Path]]:
    """Return the files of each package of buildsys and of its unit tests; modules without one are together."""
    found: dict[str, list[Path]] = {}
    for top in ("buildsys", "tests/unit"):
        for path in sorted((ROOT / top).rglob("*.py")):
            # This file has the words themselves.
            if path != Path(__file__):
                package = path.relative_to(ROOT / top).parts[:-1][:1]
                found.setdefault("/".join((top, *package)), []).append(path)
    return found


def _pages() -> list[Path]:
    found = []
    for name in PAGES:
        path = ROOT / name
        found += [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.suffix in KINDS]
    names = {path: path.relative_to(ROOT).as_posix() for path in found if path.is_file()}
    return [path for path, name in names.items() if name not in GENERATED and not name.startswith(LAYERS)]


def _offences_of(paths: list[Path]) -> list[str]:
    return [
        each for path in paths for each in offences(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("package", _packages())
def test_package_uses_plain_english(package: str) -> None:
    found = _offences_of(_packages()[package])
    assert not found, "\n".join(found)


def test_pages_tools_and_tests_use_plain_english() -> None:
    found = _offences_of(_pages())
    assert not found, "\n".join(found)


def _texts() -> str:
    """Return the texts of the code and of its templates, one a line; what is filled in is `{}`."""
    found: list[str] = []
    for path in sorted((ROOT / "buildsys").rglob("*")):
        if path.suffix in (".j2", ".js"):
            found.append(path.read_text(encoding="utf-8"))
        elif path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_unclear_messages_stay_replaced() -> None:
    texts = _texts()
    assert [old for old in REPLACED if old in texts] == []
    assert [new for new in REPLACED.values() if new not in texts] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"""The base is told to the user."""', ["told"]),
        ("x = 1  # What it stands on is made again.", ["stands", "made"]),
        ('raise ValueError(f"{name} is another one, try again")', ["try again", "another one"]),
        ("def test_error_is_told() -> None: ...", ["told"]),
        ('x = "told"', []),
        ('"""A stand-in is used in a standard way; `made` is an outcome, run `make again`."""', []),
        ("# Nothing to say: the target is rebuilt, retried or missing.", []),
    ],
)
def test_words_to_avoid_are_found_in_comments_docstrings_messages_and_names(text: str, words: list[str]) -> None:
    found = Counter(re.findall(r"`([^`]*)`", "\n".join(offences("module.py", f"{text}\n"))))
    assert found == Counter(words)


def test_pages_are_read_without_code() -> None:
    assert offences("page.md", "run `make again`\nIt is not there.") == ["page.md:2: `not there`: write missing"]
