"""The trio API: ``connect``, ``serve``, ``broadcast``, with the names and habits of ``websockets.trio``.

Needs trio: ``pip install 'wsfast[trio]'``. Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module

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

_SUBMODULES = {"client", "connection", "router", "server"}


def __getattr__(name: str) -> object:
    home = f".{name}" if name in _SUBMODULES else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(home, __name__)
    if name in _SUBMODULES:
        return module
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
