"""A transport whose other end is another one: bytes go through memory, a turn of the loop later, in order.

It behaves as asyncio's own: it writes while the other end reads, asks to pause above its limit, sends what it has
before it closes, and one half can be closed. ``abort`` is a reset: the other end gets ``ConnectionResetError``.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["MemoryTransport", "join"]


class MemoryTransport(asyncio.Transport):
    """One end. ``join`` makes two."""

    other: MemoryTransport

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, port: int, chunk_size: int | None
    ) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: Any = protocol
        self._port = port
        self._chunk_size = chunk_size
        self._buffer = bytearray()  # written, and not received
        self._high, self._low = 65_536, 16_384
        self._is_blocked = False
        self._is_reading = True
        self._has_ended = False  # nothing more is written
        self._is_closing = False
        self._is_lost = False
        self._is_scheduled = False

    # Reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self.other._deliver_soon()

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    # Writing

    def write(self, data: Any) -> None:
        if self._has_ended and not self._is_closing:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_closing:
            return
        self._buffer += data
        self._deliver_soon()
        if len(self._buffer) > self._high and not self._is_blocked:
            self._is_blocked = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._deliver_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 65_536 if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def _deliver_soon(self) -> None:
        if not self._is_scheduled and not self._is_lost:
            self._is_scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """Pass the next chunk on, and then the end."""
        self._is_scheduled = False
        other = self.other
        if self._is_lost or other._is_lost or other._is_closing:
            self._buffer.clear()
        elif not other._is_reading:
            return
        size = len(self._buffer) if self._chunk_size is None else self._chunk_size
        chunk = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self._is_blocked and len(self._buffer) <= self._low:
            self._is_blocked = False
            self._protocol.resume_writing()
        if chunk:
            other._protocol.data_received(chunk)
        if self._buffer:
            self._deliver_soon()
        elif self._has_ended and not self._is_scheduled:
            self._has_ended_for_other()

    def _has_ended_for_other(self) -> None:
        other = self.other
        if not (other._is_lost or other._is_closing) and not other._protocol.eof_received():
            other.close()
        if self._is_closing:
            self._lose(None)

    # The end

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = self._has_ended = True
            self._deliver_soon()
            self.other._deliver_soon()  # what it has not delivered is dropped

    def abort(self) -> None:
        self._is_closing = self._has_ended = True
        self._buffer.clear()
        self._lose(None)
        other = self.other
        if not other._is_lost:
            other._is_closing = other._has_ended = True
            other._buffer.clear()
            other._lose(ConnectionResetError("the other end aborted the connection"))

    def _lose(self, exception: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._loop.call_soon(self._protocol.connection_lost, exception)

    # Facts

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        names = {"sockname": ("127.0.0.1", self._port), "peername": ("127.0.0.1", self.other._port)}
        return names.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol


def join(client: asyncio.Protocol, server: asyncio.Protocol, chunk_size: int | None = None) -> None:
    """Connect two protocols. ``chunk_size``: bytes that are received at once at most; None is no limit."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    loop = asyncio.get_running_loop()
    ends = MemoryTransport(loop, client, 50_000, chunk_size), MemoryTransport(loop, server, 80, chunk_size)
    ends[0].other, ends[1].other = ends[1], ends[0]
    server.connection_made(ends[1])
    client.connection_made(ends[0])
