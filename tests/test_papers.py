"""Papers name the tests that hold a promise, and each of these tests exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEFINITION = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)
MENTION = re.compile(r"`(test_\w+(?:\.py)?)`")


@pytest.mark.parametrize("paper", ["SECURITY.md", "docs/architecture.md"])
def test_tests_that_a_paper_names_exist(paper: str) -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {path.name for path in files}
    for path in files:
        known |= set(DEFINITION.findall(path.read_text(encoding="utf-8")))
    named = MENTION.findall((ROOT / paper).read_text(encoding="utf-8"))
    assert len(named) > 5
    assert [name for name in named if name not in known] == []
