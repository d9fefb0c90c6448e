"""A fast and strict WebSocket codec (RFC 6455), and a connection API on top of it.

``wsfast.codec`` is the codec, ``wsfast.connection`` a connection without I/O, ``wsfast.asyncio`` the API for
programs. The names below are loaded when they are first used, so that whoever embeds the codec alone imports
nothing else, and needs h11 for nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import patch
    from .asyncio.broadcasting import broadcast
    from .asyncio.client import connect, unix_connect
    from .asyncio.server import serve, unix_serve
    from .connection import ReadyState
    from .deflate import Deflate
    from .exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
    from .patch import unpatch

__all__ = [
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Deflate",
    "ReadyState",
    "__version__",
    "broadcast",
    "connect",
    "patch",
    "serve",
    "unix_connect",
    "unix_serve",
    "unpatch",
]

_HOMES = {
    "ConnectionClosed": ".exceptions",
    "ConnectionClosedError": ".exceptions",
    "ConnectionClosedOK": ".exceptions",
    "Deflate": ".deflate",
    "ReadyState": ".connection",
    "broadcast": ".asyncio.broadcasting",
    "connect": ".asyncio.client",
    "serve": ".asyncio.server",
    "unix_connect": ".asyncio.client",
    "unix_serve": ".asyncio.server",
    "unpatch": ".patch",
}


def __getattr__(name: str) -> Any:
    if name == "patch":
        return import_module(".patch", __name__)
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
