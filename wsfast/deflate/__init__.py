"""Compression of messages: ``permessage-deflate`` (RFC 7692), for both roles and without I/O.

There are three parts. ``Deflate`` holds our caller's settings. In the opening handshake ``offer``, ``accept`` and
``confirm`` make an ``Agreement`` of them. A connection then has one object for each direction:

    MessageDecoder(role, inflate=Inflater(role, agreement).inflate)     receives
    FrameEncoder(role, deflate=Deflater(role, agreement))               sends

A host with its own handshake calls ``accept`` with the values of ``Sec-WebSocket-Extensions``. It passes the result
to ``wsfast.connection.Connection(role, compression=agreement)``, which makes both objects.

Three rules. Memory is taken on first use: the first compressed message makes a context, and without context takeover
each message drops it again. Inflated data comes in pieces, so that its consumer can stop at a limit. And one call both
compresses and frames, so that no cancellation or error can come between.
"""

from .config import Compression, Deflate, load_engine, settings
from .messages import Deflater, Inflater
from .negotiation import Agreement, accept, confirm, offer

__all__ = [
    "Agreement",
    "Compression",
    "Deflate",
    "Deflater",
    "Inflater",
    "accept",
    "confirm",
    "load_engine",
    "offer",
    "settings",
]
