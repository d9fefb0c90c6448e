"""The connection behind whatever an application calls one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..asyncio.transport import TransportSession
from ..connection import ReadyState

__all__ = ["connection_of", "is_open"]


def connection_of(member: Any) -> Any:
    """Return the connection of a member: itself, or the one behind an ASGI scope, or behind an object that has one.

    Raises:
        TypeError: there is no connection of ours.
    """
    if isinstance(member, TransportSession):
        return member
    scope = member if isinstance(member, Mapping) else getattr(member, "scope", None)
    if isinstance(scope, Mapping):
        extension = (scope.get("extensions") or {}).get("wsfast")
        if extension is not None:
            connection = extension["connection"]()
            if connection is not None:
                return connection
            raise TypeError("the connection of this scope is gone; keep the WebSocket, and not its scope")
        raise TypeError(
            "no connection of wsfast is behind this WebSocket: "
            "run uvicorn with --ws wsfast.uvicorn:WebSocketProtocol"
        )
    raise TypeError(
        f"a member must be a connection of wsfast, a WebSocket of Starlette or FastAPI, "
        f"or the scope of one, not {type(member).__name__}"
    )


def is_open(connection: Any) -> bool:
    """Tell whether it can get messages.

    Raises:
        RuntimeError: it is not open yet.
    """
    state = connection.protocol.ready_state
    if state is ReadyState.CONNECTING:
        raise RuntimeError("accept the WebSocket before it joins a room")
    return state is ReadyState.OPEN and not connection.transport.is_closing()
