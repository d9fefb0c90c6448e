"""uvicorn's own WebSocket tests, from its sdist, unmodified, with wsfast's class: ``python suite.py SDIST_FOLDER``.

Those that are for uvicorn's wsproto class are left out. With uvicorn's default class 216 pass and 9 skip themselves
by its name; with ours these run too, and have to pass.
"""

from __future__ import annotations

import sys

import pytest
import wsfast_in_uvicorn

if __name__ == "__main__":
    sdist = sys.argv[1]
    options = ["-q", "-c", f"{sdist}/pyproject.toml", "-o", "addopts=", "-p", "no:cacheprovider"]
    # Where these are installed, they claim the tests that are anyio's.
    options += ["-p", "no:asyncio", "-p", "no:trio", "-p", "no:aiohttp"]
    tests = f"{sdist}/tests/protocols/test_websocket.py"
    sys.exit(pytest.main([tests, *options, "-k", "not wsproto"], plugins=[wsfast_in_uvicorn]))
