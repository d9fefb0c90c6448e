"""autobahn's own WebSocket tests, which its wheel has, with the patch in place."""

from __future__ import annotations

import os
import sys

import pytest

from wsfast import patch
from wsfast.patch import byte_hosts

calls = 0
create = byte_hosts._create_xor_masker


def counted(mask, length=None):
    global calls
    calls += 1
    return create(mask, length)


if __name__ == "__main__":
    os.environ["USE_TWISTED"] = "1"  # most of them ask for it, and skip or fail without
    byte_hosts._create_xor_masker = counted
    patch.autobahn(force=True)  # it has C of its own, and the tests are for the fallback codec too
    options = ["-q", "-c", "/dev/null", "--rootdir", sys.argv[1], "-p", "no:cacheprovider"]
    code = pytest.main(["--pyargs", "autobahn.websocket.test", *options])
    print(f"made {calls} maskers by wsfast")
    sys.exit(code or not calls)
