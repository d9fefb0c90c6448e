"""tornado's own WebSocket tests, which its wheel has, with the patch in place."""

from __future__ import annotations

import sys

from wsfast import patch
from wsfast.patch import byte_hosts

calls = 0
mask = byte_hosts._tornado_mask


def counted(key: bytes, data: bytes) -> bytes:
    global calls
    calls += 1
    return mask(key, data)


byte_hosts._tornado_mask = counted
patch.tornado(force=True)  # it has C of its own, and the tests are for the fallback codec too

from tornado.test import runtests  # noqa: E402

sys.argv = ["runtests", "tornado.test.websocket_test"]
try:
    runtests.main()
finally:
    print(f"masked {calls} payloads by wsfast")
    if not calls:
        sys.exit("the patch was not in use")
