"""For programs that use ``websockets``: its connections and protocols, with the frames of wsfast.

    from websockets.asyncio.server import serve
    from wsfast.websockets import ServerConnection

    async with serve(handler, "127.0.0.1", 8765, create_connection=ServerConnection):
        ...

``ClientConnection`` is for ``websockets.asyncio.client.connect``; ``wsfast.websockets.sync`` has both for threads.
``ServerProtocol`` and ``ClientProtocol`` are for users of ``websockets`` without I/O. All else stays unchanged:
handshakes, extensions, keepalive, logs and exceptions are those of ``websockets``.

The first use of one of these names, or of ``sync``, imports ``websockets``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import sync as sync
    from .connections import ClientConnection, ServerConnection
    from .protocol import ClientProtocol, ServerProtocol

__all__ = ["ClientConnection", "ClientProtocol", "ServerConnection", "ServerProtocol"]

_HOMES = {
    "ClientConnection": ".connections",
    "ClientProtocol": ".protocol",
    "ServerConnection": ".connections",
    "ServerProtocol": ".protocol",
}


if not TYPE_CHECKING:  # A module with ``__getattr__`` has every name, for type checkers.

    def __getattr__(name: str) -> Any:
        if name == "sync":
            return import_module(".sync", __name__)
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(home, __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "sync"})
