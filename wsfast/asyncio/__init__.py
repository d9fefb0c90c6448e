"""The asyncio API: ``connect``, ``serve``, ``broadcast``, with the names and habits of ``websockets``.

Names are loaded when they are first used: a server that embeds a part of this package imports no client.
"""

from __future__ import annotations

from ..common.lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .authentication import basic_auth
    from .broadcasting import BroadcastReport, Outcome, broadcast
    from .client import ClientConnection, ClientListenerConnection, connect, unix_connect
    from .connection import Connection
    from .draining import DrainReport
    from .listening import Listener, ListenerConnection
    from .router import Router, route, unix_route
    from .server import Server, ServerConnection, ServerListenerConnection, serve, unix_serve

__all__ = [
    "BroadcastReport",
    "ClientConnection",
    "ClientListenerConnection",
    "Connection",
    "DrainReport",
    "Listener",
    "ListenerConnection",
    "Outcome",
    "Router",
    "Server",
    "ServerConnection",
    "ServerListenerConnection",
    "basic_auth",
    "broadcast",
    "connect",
    "route",
    "serve",
    "unix_connect",
    "unix_route",
    "unix_serve",
]

_HOMES = {
    "BroadcastReport": ".broadcasting",
    "ClientConnection": ".client",
    "ClientListenerConnection": ".client",
    "Connection": ".connection",
    "DrainReport": ".draining",
    "Listener": ".listening",
    "ListenerConnection": ".listening",
    "Outcome": ".broadcasting",
    "Router": ".router",
    "Server": ".server",
    "ServerConnection": ".server",
    "ServerListenerConnection": ".server",
    "basic_auth": ".authentication",
    "broadcast": ".broadcasting",
    "connect": ".client",
    "route": ".router",
    "serve": ".server",
    "unix_connect": ".client",
    "unix_route": ".router",
    "unix_serve": ".server",
}

if not TYPE_CHECKING:  # As a module with ``__getattr__`` has every name, for type checkers.
    __getattr__, __dir__ = lazy(__name__, globals(), _HOMES, {"client", "connection", "router", "server"})
