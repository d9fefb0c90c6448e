"""The API for threads: ``connect``, ``serve``, ``broadcast``, with the names and habits of ``websockets.sync``.

Names are loaded when they are first used.
"""

from __future__ import annotations

from ..common.lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .authentication import basic_auth
    from .broadcasting import BroadcastReport, broadcast
    from .client import ClientConnection, connect, reconnect, unix_connect, unix_reconnect
    from .connection import Connection
    from .router import Router, route, unix_route
    from .server import Server, ServerConnection, serve, unix_serve

__all__ = [
    "BroadcastReport",
    "ClientConnection",
    "Connection",
    "Router",
    "Server",
    "ServerConnection",
    "basic_auth",
    "broadcast",
    "connect",
    "reconnect",
    "route",
    "serve",
    "unix_connect",
    "unix_reconnect",
    "unix_route",
    "unix_serve",
]

_HOMES = {
    "BroadcastReport": ".broadcasting",
    "ClientConnection": ".client",
    "Connection": ".connection",
    "Router": ".router",
    "Server": ".server",
    "ServerConnection": ".server",
    "basic_auth": ".authentication",
    "broadcast": ".broadcasting",
    "connect": ".client",
    "reconnect": ".client",
    "route": ".router",
    "serve": ".server",
    "unix_connect": ".client",
    "unix_reconnect": ".client",
    "unix_route": ".router",
    "unix_serve": ".server",
}

if not TYPE_CHECKING:  # As a module with ``__getattr__`` has every name, for type checkers.
    __getattr__, __dir__ = lazy(__name__, globals(), _HOMES, {"client", "connection", "router", "server"})
