"""Streams that pass on all bytes, and tell of them: for the log at DEBUG, and for ``count_frames``.

A connection without them pays nothing. One with them reads and writes through the stream, and not the socket.
"""

from __future__ import annotations

from typing import Any

import trio

from ..codec import Role
from ..common.tracing import streams
from ..connection import Connection as Protocol
from ..session import FrameCounter
from ..typing import LoggerLike

__all__ = ["Lingering", "Meter", "bottom_of", "can_half_close", "traced"]


class Between(trio.abc.HalfCloseableStream):
    """Passes on each call to ``stream``."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: Any) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()  # type: ignore[attr-defined]

    async def aclose(self) -> None:
        await self.stream.aclose()


class Lingering(Between):
    """TCP below TLS: the end of TLS closes our half only, so that the peer's bytes cannot make the kernel drop ours."""

    async def aclose(self) -> None:
        await self.send_eof()


class Observed(Between):
    """Tells of the bytes that it passes on."""

    def note_received(self, data: bytes) -> None:
        """Called with received bytes; none at the end."""

    def note_sent(self, data: Any) -> None:
        """Called with the bytes that are to be sent; none at the end."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        self.note_received(bytes(data))
        return data

    async def send_all(self, data: Any) -> None:
        self.note_sent(data)
        await super().send_all(data)

    async def send_eof(self) -> None:
        self.note_sent(b"")
        await super().send_eof()


class _Traced(Observed):
    def __init__(self, stream: trio.abc.Stream, protocol: Protocol, logger: LoggerLike) -> None:
        super().__init__(stream)
        self._received, self._sent = streams(protocol, logger)

    def note_received(self, data: bytes) -> None:
        if data:
            self._received.take(data)
        else:
            self._received.tell("EOF")

    def note_sent(self, data: Any) -> None:
        if data:
            self._sent.take(bytes(data))
        else:
            self._sent.tell("EOF")

    async def aclose(self) -> None:
        self._received.tell("end of TCP")
        await super().aclose()


def traced(stream: trio.abc.Stream, protocol: Protocol, logger: LoggerLike) -> trio.abc.Stream:
    """Return a stream that tells ``logger`` all that goes through ``stream``."""
    return _Traced(stream, protocol, logger)


class Meter(Observed):
    """Counts the frames of both directions from the end of the opening handshake on. ``role`` is ours."""

    def __init__(self, stream: trio.abc.Stream, role: Role) -> None:
        super().__init__(stream)
        self.received = FrameCounter(Role.CLIENT if role is Role.SERVER else Role.SERVER)
        self.sent = FrameCounter(role)
        self._is_open = False
        self._n_before = 0  # bytes of the handshake that are not sent yet

    def open(self, trailing_data: bytes, n_before: int) -> None:
        """Begin; the data came right after the handshake, of which ``n_before`` bytes are to be sent."""
        self._is_open = True
        self._n_before = n_before
        self.received.feed(trailing_data)

    def note_received(self, data: bytes) -> None:
        if self._is_open:
            self.received.feed(data)

    def note_sent(self, data: Any) -> None:
        if self._is_open:
            self.sent.feed(data[self._n_before :])
            self._n_before = max(0, self._n_before - len(data))


def bottom_of(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """Return the socket below a stream, with or without TLS; None if there is none."""
    while isinstance(stream, trio.SSLStream | Between):
        stream = stream.stream if isinstance(stream, Between) else stream.transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


def can_half_close(stream: trio.abc.Stream) -> bool:
    """Tell whether one half of a stream can be closed: not with TLS."""
    while isinstance(stream, Between):
        stream = stream.stream
    return isinstance(stream, trio.abc.HalfCloseableStream)
