"""A fast and strict WebSocket codec (RFC 6455), and a connection API on top of it.

``wsfast.codec`` is the codec, ``wsfast.connection`` a connection without I/O, ``wsfast.asyncio`` the API for
programs.

Names and submodules are loaded when they are first used: after ``import wsfast`` all of ``wsfast.codec.Role``,
``wsfast.patch.tornado()`` and ``wsfast.connect`` work. So a program that embeds the codec alone imports nothing
else, and does without h11.
"""

from __future__ import annotations

from importlib import import_module

from ._version import __version__

TYPE_CHECKING = False  # As typing's, whose import would take most of the time of ours.
if TYPE_CHECKING:
    from . import asyncio as asyncio
    from . import codec as codec
    from . import connection as connection
    from . import deflate as deflate
    from . import events as events
    from . import exceptions as exceptions
    from . import fallback as fallback
    from . import faults as faults
    from . import handshake as handshake
    from . import headers as headers
    from . import http as http
    from . import limits as limits
    from . import native as native
    from . import patch as patch
    from . import session as session
    from . import testing as testing
    from . import uri as uri
    from . import uvicorn as uvicorn
    from . import websockets as websockets
    from . import wsaccel as wsaccel
    from . import wsproto as wsproto
    from .asyncio.broadcasting import broadcast
    from .asyncio.client import connect, unix_connect
    from .asyncio.server import serve, unix_serve
    from .connection import ReadyState
    from .deflate import Deflate
    from .events import CloseCause
    from .exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
    from .limits import Limits
    from .patch import unpatch

__all__ = [
    "CloseCause",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Deflate",
    "Limits",
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

_SUBMODULES = {
    "asyncio",
    "codec",
    "connection",
    "deflate",
    "events",
    "exceptions",
    "fallback",
    "faults",
    "handshake",
    "headers",
    "http",
    "limits",
    "native",
    "patch",
    "session",
    "testing",
    "uri",
    "uvicorn",
    "websockets",
    "wsaccel",
    "wsproto",
}

_HOMES = {
    "CloseCause": ".events",
    "ConnectionClosed": ".exceptions",
    "ConnectionClosedError": ".exceptions",
    "ConnectionClosedOK": ".exceptions",
    "Deflate": ".deflate",
    "Limits": ".limits",
    "ReadyState": ".connection",
    "broadcast": ".asyncio.broadcasting",
    "connect": ".asyncio.client",
    "serve": ".asyncio.server",
    "unix_connect": ".asyncio.client",
    "unix_serve": ".asyncio.server",
    "unpatch": ".patch",
}

if not TYPE_CHECKING:  # As a module with ``__getattr__`` has every name, for type checkers.

    def __getattr__(name):
        if name in _SUBMODULES:
            try:
                return import_module(f".{name}", __name__)
            except ModuleNotFoundError as missing:
                # Its host is not installed, or the extension was not built. Tools that walk through dir()
                # expect this class.
                raise AttributeError(f"{__name__}.{name} cannot be imported: {missing}") from missing
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(home, __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES} - {"TYPE_CHECKING", "annotations", "import_module"})
