"""The names of ``wsfast.wsproto`` that README and docs print, after ``import wsfast``: see tests/test_names.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", ROOT / "docs" / "drop-in.md")


def test_printed_names_resolve() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = {name.replace(":", ".") for name in re.findall(r"(?<![\w/.-])wsfast\.wsproto(?:[.:]\w+)*", text)}
    assert names
    for name in names:
        subprocess.run([sys.executable, "-W", "error", "-c", f"import wsfast; {name}"], check=True)
