"""Compression of messages: ``permessage-deflate`` (RFC 7692), for both roles and without I/O.

Three parts: ``Deflate`` says what our caller wants; ``offer``, ``accept`` and ``confirm`` make an ``Agreement`` of it
in the opening handshake; and the agreement works in two objects, of which a connection has one each:

    MessageDecoder(role, inflate=Inflater(role, agreement).inflate)     receives
    DeflatingEncoder(FrameEncoder(role), agreement)                     sends, with the methods of ``FrameEncoder``

A host that does its own handshake gives ``accept(...)`` the values of ``Sec-WebSocket-Extensions`` and the result to
``wsfast.connection.Connection(role, compression=agreement)``, which makes both.

Three rules. Memory is for what is used: a context is made for the first compressed message, and without context
takeover it is gone after each. What is inflated comes in pieces, so that whoever takes them can stop at a limit.
And compressing and framing is one call, so that no cancellation or error can come between.
"""

from .config import Compression, Deflate, load_engine, settings
from .messages import DeflatingEncoder, Inflater
from .negotiation import Agreement, accept, confirm, offer

__all__ = [
    "Agreement",
    "Compression",
    "Deflate",
    "DeflatingEncoder",
    "Inflater",
    "accept",
    "confirm",
    "load_engine",
    "offer",
    "settings",
]
