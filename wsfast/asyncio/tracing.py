"""The log of a connection at DEBUG: the heads of its handshake and its frames, ``<`` received and ``>`` sent.

It stands between the transport and the connection, and only where DEBUG was on when the connection was made. So it
costs nothing elsewhere. It parses the bytes a second time and changes none. Credentials are not told, a compressed
payload is not inflated, and of each line all that is not printable is escaped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from ..common.tracing import Stream, streams
from .between import Between

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..typing import LoggerLike
    from .transport import TransportSession

__all__ = ["traced"]


def traced(
    transport: asyncio.BaseTransport, connection: TransportSession, logger: LoggerLike
) -> asyncio.BaseTransport:
    """Return a transport that tells ``logger`` all that ``connection`` receives and sends."""
    received, sent = streams(connection.protocol, logger)
    try:
        cast("asyncio.Transport", transport).set_protocol(_Protocol(connection, received))
    except NotImplementedError:  # a transport of an application's own
        pass
    return cast("asyncio.BaseTransport", _Transport(cast("asyncio.Transport", transport), sent))


class _Protocol(Between):
    """The bytes that come, between the transport and the connection."""

    def __init__(self, connection: TransportSession, stream: Stream) -> None:
        super().__init__(connection)
        self._stream = stream

    def data_received(self, data: Buffer) -> None:
        self._stream.take(bytes(data))
        self._connection.data_received(data)

    def eof_received(self) -> bool | None:
        self._stream.tell("EOF")
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.tell("end of TCP" if exc is None else f"TCP is lost: {exc}")
        super().connection_lost(exc)


class _Transport:
    """The bytes that go, between the connection and the transport."""

    def __init__(self, transport: asyncio.Transport, stream: Stream) -> None:
        self._transport = transport
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._stream.take(bytes(data))
        self._transport.write(data)

    def writelines(self, parts: list[bytes]) -> None:
        self._stream.take(b"".join(parts))
        self._transport.writelines(parts)

    def write_eof(self) -> None:
        self._stream.tell("EOF")
        self._transport.write_eof()
