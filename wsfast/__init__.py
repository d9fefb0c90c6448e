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
    from . import browser as browser
    from . import codec as codec
    from . import connection as connection
    from . import datastructures as datastructures
    from . import deflate as deflate
    from . import events as events
    from . import exceptions as exceptions
    from . import fallback as fallback
    from . import faults as faults
    from . import frames as frames
    from . import handshake as handshake
    from . import headers as headers
    from . import http as http
    from . import http11 as http11
    from . import limits as limits
    from . import native as native
    from . import patch as patch
    from . import protocol as protocol
    from . import proxy as proxy
    from . import rooms as rooms
    from . import session as session
    from . import sync as sync
    from . import testing as testing
    from . import trio as trio
    from . import typing as typing
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

if TYPE_CHECKING:  # The names that programs import from the top of ``websockets``.
    from .asyncio.authentication import basic_auth as basic_auth
    from .asyncio.client import ClientConnection as ClientConnection
    from .asyncio.router import Router as Router
    from .asyncio.router import route as route
    from .asyncio.router import unix_route as unix_route
    from .asyncio.server import Server as Server
    from .asyncio.server import ServerConnection as ServerConnection
    from .events import Close as Close
    from .events import CloseCode as CloseCode
    from .events import Frame as Frame
    from .events import Opcode as Opcode
    from .exceptions import ConcurrencyError as ConcurrencyError
    from .exceptions import DuplicateParameter as DuplicateParameter
    from .exceptions import HeaderLineTooLong as HeaderLineTooLong
    from .exceptions import InvalidHandshake as InvalidHandshake
    from .exceptions import InvalidHeader as InvalidHeader
    from .exceptions import InvalidHeaderFormat as InvalidHeaderFormat
    from .exceptions import InvalidHeaderValue as InvalidHeaderValue
    from .exceptions import InvalidMessage as InvalidMessage
    from .exceptions import InvalidMethod as InvalidMethod
    from .exceptions import InvalidOrigin as InvalidOrigin
    from .exceptions import InvalidParameterName as InvalidParameterName
    from .exceptions import InvalidParameterValue as InvalidParameterValue
    from .exceptions import InvalidProtocol as InvalidProtocol
    from .exceptions import InvalidProxy as InvalidProxy
    from .exceptions import InvalidProxyMessage as InvalidProxyMessage
    from .exceptions import InvalidProxyStatus as InvalidProxyStatus
    from .exceptions import InvalidState as InvalidState
    from .exceptions import InvalidStatus as InvalidStatus
    from .exceptions import InvalidUpgrade as InvalidUpgrade
    from .exceptions import InvalidURI as InvalidURI
    from .exceptions import NegotiationError as NegotiationError
    from .exceptions import PayloadTooBig as PayloadTooBig
    from .exceptions import ProtocolError as ProtocolError
    from .exceptions import ProxyError as ProxyError
    from .exceptions import RequestLineTooLong as RequestLineTooLong
    from .exceptions import SecurityError as SecurityError
    from .exceptions import StatusLineTooLong as StatusLineTooLong
    from .exceptions import TooManyFragments as TooManyFragments
    from .exceptions import TooManyHeaders as TooManyHeaders
    from .exceptions import WebSocketException as WebSocketException
    from .http import Headers as Headers
    from .http import HeadersLike as HeadersLike
    from .http import MultipleValuesError as MultipleValuesError
    from .http import Request as Request
    from .http import Response as Response
    from .protocol import Side as Side
    from .protocol import State as State
    from .typing import Data as Data
    from .typing import ExtensionName as ExtensionName
    from .typing import ExtensionParameter as ExtensionParameter
    from .typing import LoggerLike as LoggerLike
    from .typing import Origin as Origin
    from .typing import StatusLike as StatusLike
    from .typing import Subprotocol as Subprotocol

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
    "browser",
    "codec",
    "connection",
    "datastructures",
    "deflate",
    "events",
    "exceptions",
    "fallback",
    "faults",
    "frames",
    "handshake",
    "headers",
    "http",
    "limits",
    "http11",
    "native",
    "patch",
    "protocol",
    "proxy",
    "rooms",
    "session",
    "sync",
    "testing",
    "trio",
    "typing",
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

# Names that programs import from the top of ``websockets``. The documented places are the modules.
_NAMES_OF_WEBSOCKETS = {
    ".asyncio.authentication": "basic_auth",
    ".asyncio.client": "ClientConnection",
    ".asyncio.router": "Router route unix_route",
    ".asyncio.server": "Server ServerConnection",
    ".events": "Close CloseCode Frame Opcode",
    ".exceptions": (
        "ConcurrencyError DuplicateParameter HeaderLineTooLong InvalidHandshake InvalidHeader "
        "InvalidHeaderFormat InvalidHeaderValue InvalidMessage InvalidMethod InvalidOrigin "
        "InvalidParameterName InvalidParameterValue InvalidProtocol InvalidProxy "
        "InvalidProxyMessage InvalidProxyStatus InvalidState InvalidStatus InvalidURI "
        "InvalidUpgrade NegotiationError PayloadTooBig ProtocolError ProxyError RequestLineTooLong "
        "SecurityError StatusLineTooLong TooManyFragments TooManyHeaders WebSocketException"
    ),
    ".http": "Headers HeadersLike MultipleValuesError Request Response",
    ".protocol": "Side State",
    ".typing": "Data ExtensionName ExtensionParameter LoggerLike Origin StatusLike Subprotocol",
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
        home = _HOMES.get(name) or next(
            (home for home, names in _NAMES_OF_WEBSOCKETS.items() if name in names.split()), None
        )
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(home, __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES} - {"TYPE_CHECKING", "annotations", "import_module"})
