"""websocket-client's own tests, from its sdist, unmodified, with ``wsfast.wsaccel``: ``python suite.py SDIST_FOLDER``.

Without wsfast, 195 pass as well, and the 26 that want the Internet skip themselves.
"""

from __future__ import annotations

import os
import sys

import pytest
import wsfast_in_websocket_client

if __name__ == "__main__":
    sdist = sys.argv[1]
    options = ["-q", "-c", os.devnull, "--rootdir", sdist, "-p", "no:cacheprovider"]
    sys.exit(pytest.main([f"{sdist}/websocket/tests", *options], plugins=[wsfast_in_websocket_client]))
