"""Every claim of docs/security.md names an existing test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROTECTED = TEXT.partition("## What is protected")[2].partition("## What is not protected")[0]
CLAIMS = [line for line in PROTECTED.splitlines() if line.startswith("| ") and not line.startswith("| Claim | Test")]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim[2:60].strip())
def test_claim_names_tests_that_exist(claim: str) -> None:
    names = re.findall(r"`([\w/…]+(?:\.py)?(?:::\w+)?)`", claim.rpartition(" | ")[2])
    assert names
    file = ""
    for name in names:
        path, _, test = name.partition("::")
        file = file if path == "…" else path
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {test}(" in text if test else "\ndef test_" in text, name


def test_there_are_claims_about_every_kind_of_attacker() -> None:
    assert len(CLAIMS) >= 25
    assert "@@" not in TEXT
