"""httpx-ws's own tests, from its sdist, unmodified, on wsfast's frames: ``python suite.py SDIST_FOLDER``.

The client is httpx-ws over wsproto, the servers are uvicorn's: over wsproto, and over websockets, which stays as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "wsproto"))

import wsfast_in_wsproto

if __name__ == "__main__":
    sdist = sys.argv[1]
    options = ["-q", "-c", os.devnull, "--rootdir", sdist, "-p", "no:cacheprovider"]
    sys.exit(pytest.main([f"{sdist}/tests", *options], plugins=[wsfast_in_wsproto]))
