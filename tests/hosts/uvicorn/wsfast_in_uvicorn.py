"""A pytest plug-in: uvicorn's own tests, unmodified, with wsfast in the place of uvicorn's default class.

``pytest -p wsfast_in_uvicorn``, with this folder on the path. uvicorn's fixture finds the class by its name, and the
test module imports it; so it is enough to bind the name to ours before either looks. The run fails unless the class
was in use, with the codec that ``WSFAST_PURE`` asks for.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from uvicorn.protocols.websockets import websockets_sansio_impl

import wsfast.codec
import wsfast.uvicorn

n_connections = 0


class WebSocketProtocol(wsfast.uvicorn.WebSocketProtocol):
    """Ours, and counts. By its name it is none of those for which uvicorn's tests skip themselves."""

    def connection_made(self, transport: Any) -> None:
        global n_connections
        n_connections += 1
        super().connection_made(transport)


websockets_sansio_impl.WebSocketsSansIOProtocol = WebSocketProtocol


def pytest_sessionfinish(session: pytest.Session) -> None:
    wanted = "fallback" if os.environ.get("WSFAST_PURE", "") not in ("", "0") else "native"
    if n_connections == 0 or wanted != wsfast.codec.IMPLEMENTATION:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: Any) -> None:
    line = f"wsfast, {wsfast.codec.IMPLEMENTATION} codec: {n_connections} connections of uvicorn"
    terminalreporter.write_line(line)
