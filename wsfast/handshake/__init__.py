"""The opening handshake without I/O, for both roles (RFC 6455 4), over h11.

h11 reads and writes HTTP/1.1. This package adds the meaning: the checks of 4.1 and 4.2, the limits, the texts.

    ClientHandshake    data_to_send() -> bytes of the request; receive_data() until ``done``; then ``error``
                       is None, or the exception to raise
    ServerHandshake    receive_data() until there is a ``request`` or an ``error``; then accept() or reject(),
                       send_response(), data_to_send()

Two rules. A peer's fault is data (``error``); our caller's mistake is an exception at once and changes nothing. And
memory is bounded: heads, bodies and early bytes have limits, however the bytes are cut into chunks. Time limits
are the adapter's.
"""

from ..http import Request, Response
from .client import ClientHandshake
from .messages import (
    GUID,
    MAX_BODY_SIZE,
    MAX_EARLY_SIZE,
    MAX_HEAD_SIZE,
    MAX_HEADERS,
    SERVER,
    USER_AGENT,
    accept_value,
)
from .server import ServerHandshake

__all__ = [
    "GUID",
    "MAX_BODY_SIZE",
    "MAX_EARLY_SIZE",
    "MAX_HEADERS",
    "MAX_HEAD_SIZE",
    "SERVER",
    "USER_AGENT",
    "ClientHandshake",
    "Request",
    "Response",
    "ServerHandshake",
    "accept_value",
]
