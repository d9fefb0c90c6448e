"""wsproto's API over our codec: the same names, the same events, faster frames.

    from wsfast.wsproto import ConnectionType, WSConnection         # in place of: from wsproto import ...
    from wsfast.wsproto.events import AcceptConnection, Request     # these are wsproto's own classes

Our own are ``FrameProtocol``, the frames, and the classes that use them: ``Connection``, ``H11Handshake`` and
``WSConnection``. All else is wsproto's (1.3, which must be installed): handshake, events, extensions, exceptions,
enums. So ``isinstance`` works across both packages, and each package takes the other's objects. Importing this package
changes nothing in wsproto.
"""

from __future__ import annotations

import wsproto
from wsproto.connection import ConnectionState, ConnectionType

from . import connection, events, extensions, frame_protocol, handshake, typing, utilities
from .connection import Connection
from .frame_protocol import FrameProtocol
from .opening import H11Handshake

__all__ = [
    "Connection",
    "ConnectionState",
    "ConnectionType",
    "FrameProtocol",
    "WSConnection",
    "connection",
    "events",
    "extensions",
    "frame_protocol",
    "handshake",
    "typing",
    "utilities",
]

__version__ = wsproto.__version__


class WSConnection(wsproto.WSConnection):
    """wsproto's ``WSConnection``: an opening handshake, and then our ``Connection``."""

    def __init__(self, connection_type: ConnectionType) -> None:
        super().__init__(connection_type)
        self.handshake = H11Handshake(connection_type)
