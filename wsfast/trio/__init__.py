"""The trio API: ``connect``, ``serve``, ``broadcast``, with the names and habits of ``websockets.trio``.

Needs trio: ``pip install 'wsfast[trio]'``. Names are loaded when they are first used.
"""

from __future__ import annotations

from ..common.lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..common.awaiting import basic_auth
    from .broadcasting import BroadcastReport, Outcome, broadcast
    from .client import ClientConnection, connect, unix_connect
    from .connection import Connection
    from .pings import Answer
    from .router import Router, route
    from .server import Server, ServerConnection, serve

__all__ = [
    "Answer",
    "BroadcastReport",
    "ClientConnection",
    "Connection",
    "Outcome",
    "Router",
    "Server",
    "ServerConnection",
    "basic_auth",
    "broadcast",
    "connect",
    "route",
    "serve",
    "unix_connect",
]

_HOMES = {
    "Answer": ".pings",
    "BroadcastReport": ".broadcasting",
    "ClientConnection": ".client",
    "Connection": ".connection",
    "Outcome": ".broadcasting",
    "Router": ".router",
    "Server": ".server",
    "ServerConnection": ".server",
    "basic_auth": ".server",
    "broadcast": ".broadcasting",
    "connect": ".client",
    "route": ".router",
    "serve": ".server",
    "unix_connect": ".client",
}

if not TYPE_CHECKING:  # As a module with ``__getattr__`` has every name, for type checkers.
    __getattr__, __dir__ = lazy(__name__, globals(), _HOMES, {"client", "connection", "router", "server"})
