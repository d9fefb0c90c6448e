"""Receive into one buffer for each event loop, on asyncio's own transports.

They allocate 256 KiB for every read otherwise, and pay up to 20 us for it, by luck of the heap
(benchmarks/servers/echo.py on the stock loop). Parsing is synchronous and copies what it keeps. So one buffer serves
all connections of a loop, and an idle one owns none. The rest of a large payload is received where its message will
lie: 4 MiB take 0.8 of the time, 100 KiB the same. uvloop has a buffer of its own, and is 5 % faster without this.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..codec import Event
    from ..connection import Connection

RECEIVE_BUFFER_SIZE = 262_144  # bytes: what asyncio reads at most at a time anyway

_buffers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = weakref.WeakKeyDictionary()


def _buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = _buffers.get(loop)
    if buffer is None:
        buffer = _buffers[loop] = memoryview(bytearray(RECEIVE_BUFFER_SIZE))
    return buffer


class Receiver(Protocol):
    """The methods of a connection that its transport calls."""

    protocol: Connection

    def data_received(self, data: Buffer) -> None: ...
    def heard(self, events: list[Event]) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class BufferedReceiver(asyncio.BufferedProtocol):
    """Stands between a transport and a receiver, which remains an ``asyncio.Protocol``."""

    __slots__ = ("_buffer", "_is_in_place", "_receiver")

    def __init__(self, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        self._buffer = _buffer_of(loop)
        self._receiver = receiver
        self._is_in_place = False

    def get_buffer(self, sizehint: int) -> memoryview:
        # A decoder that has not begun yet has no buffer.
        place = self._receiver.protocol.decoder.get_buffer()
        self._is_in_place = place is not None
        return self._buffer if place is None else place

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_in_place:
            self._receiver.heard(self._receiver.protocol.decoder.buffer_updated(nbytes))
        else:
            self._receiver.data_received(self._buffer[:nbytes])

    def eof_received(self) -> bool | None:
        return self._receiver.eof_received()

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        receiver = self._receiver
        # A transport of Windows' loop keeps us, and we would keep the connection, which has the transport.
        del self._receiver
        receiver.connection_lost(exc)


def wants_buffer(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the transport is asyncio's own."""
    return type(transport).__module__.startswith("asyncio.")
