"""Let ``python -m pytest`` test the installed wsfast, as ``pytest`` does. conftest.py calls it first.

``python -m`` puts the current folder first on ``sys.path``. In a checkout that was not built in place, this is the
source tree without a compiled extension. Then every test of the native codec would be skipped.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def has_native(folder: Path) -> bool:
    return any(Path(folder, "wsfast", f"native{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def leave_out() -> None:
    """Take the source tree off ``sys.path``, if it has no native codec and an installed wsfast has one."""
    others = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
    if not has_native(ROOT) and any(has_native(Path(entry)) for entry in others):
        sys.path[:] = others
