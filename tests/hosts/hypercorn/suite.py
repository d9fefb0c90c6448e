"""hypercorn's own tests, from its sdist, unmodified, on wsfast's frames: ``python suite.py SDIST_FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "wsproto"))

import wsfast_in_wsproto

# These two fail without wsfast as well: h2 4.4 refuses the CONNECT request that they send (RFC 8441).
KNOWN = (
    "tests/asyncio/test_sanity.py::test_http2_websocket",
    "tests/trio/test_sanity.py::test_http2_websocket",
)

if __name__ == "__main__":
    sdist = sys.argv[1]
    options = [
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        sdist,
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=strict",
    ]
    options += [f"--deselect={test}" for test in KNOWN]
    tests = [f"{sdist}/tests/{folder}" for folder in ("protocol", "asyncio", "trio")]
    sys.exit(pytest.main([*tests, *options], plugins=[wsfast_in_wsproto]))
