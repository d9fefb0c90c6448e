"""The asyncio API: ``connect``, ``serve``, ``broadcast``, with the names and habits of ``websockets``.

Names are loaded when they are first used: a server that embeds a part of this package imports no client.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .broadcasting import BroadcastReport, Outcome, broadcast
    from .client import ClientConnection, ClientListenerConnection, connect, unix_connect
    from .connection import Connection
    from .draining import DrainReport
    from .listening import Listener, ListenerConnection
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
    "Server",
    "ServerConnection",
    "ServerListenerConnection",
    "broadcast",
    "connect",
    "serve",
    "unix_connect",
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
    "Server": ".server",
    "ServerConnection": ".server",
    "ServerListenerConnection": ".server",
    "broadcast": ".broadcasting",
    "connect": ".client",
    "serve": ".server",
    "unix_connect": ".client",
    "unix_serve": ".server",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_HOMES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
