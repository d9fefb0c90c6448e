"""A pytest plug-in: the tests of wsproto, or of what stands on it, unmodified, with wsfast's frames.

``pytest -p wsfast_in_wsproto``, with this folder on the path. ``WSFAST_WSPROTO`` says how wsfast gets there:

    patch   wsfast.patch.wsproto(), and the name in wsproto.frame_protocol, which wsproto's tests use (default)
    names   `import wsproto` finds wsfast.wsproto, and each module of it ours

At the end the run fails unless our frames were in use, with the codec that ``WSFAST_PURE`` asks for.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import pytest
import wsproto.frame_protocol

import wsfast.codec
import wsfast.wsproto
from wsfast import patch

n_made = 0
n_received = 0


class FrameProtocol(wsfast.wsproto.FrameProtocol):
    """Ours, and counts."""

    def __init__(self, client: bool, extensions: Any) -> None:
        global n_made
        n_made += 1
        super().__init__(client, extensions)

    def receive_bytes(self, data: bytes) -> None:
        global n_received
        n_received += len(data)
        super().receive_bytes(data)


mode = os.environ.get("WSFAST_WSPROTO", "patch")
wsfast.wsproto.FrameProtocol = FrameProtocol
wsfast.wsproto.connection.FrameProtocol = FrameProtocol
wsfast.wsproto.frame_protocol.FrameProtocol = FrameProtocol
if mode == "patch":
    patch.wsproto(force=True)
    wsproto.frame_protocol.FrameProtocol = FrameProtocol
else:
    for name in [name for name in sys.modules if name.partition(".")[0] == "wsproto"]:
        sys.modules[name] = import_module(f"wsfast.{name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    wanted = "fallback" if os.environ.get("WSFAST_PURE", "") not in ("", "0") else "native"
    if not n_received or wanted != wsfast.codec.IMPLEMENTATION:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(
        f"wsfast ({wsfast.codec.IMPLEMENTATION} codec, by {mode}) made {n_made} frame protocols, "
        f"which received {n_received} bytes"
    )
