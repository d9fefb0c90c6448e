"""Receive into one buffer for each event loop, on the transports of asyncio and of aiofastnet.

Without it, they allocate 256 KiB for every read and pay up to 20 us for it, depending on the heap
(benchmarks/servers/echo.py on the stock loop). Parsing is synchronous and copies the bytes that it keeps. So one buffer
serves all connections of a loop, and an idle connection owns none. The rest of a large payload is received directly
into its message: 4 MiB take 0.8 of the time, 100 KiB the same. uvloop has a buffer of its own; this one would make it
5 % slower. But its TLS allocates as asyncio does: with this buffer an echo of 64 KiB takes 0.46 of the time
(benchmarks/servers/tls.py).
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..codec import Event
    from ..connection import Connection

RECEIVE_BUFFER_SIZE = 262_144  # bytes: asyncio reads at most that many at a time

_buffers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = weakref.WeakKeyDictionary()


def _buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = _buffers.get(loop)
    if buffer is None:
        buffer = _buffers[loop] = memoryview(bytearray(RECEIVE_BUFFER_SIZE))
    return buffer


class Receiver(Protocol):
    """The methods of a connection that its transport calls."""

    protocol: Connection

    def place_to_receive(self) -> memoryview | None: ...
    def data_received(self, data: Buffer) -> None: ...
    def heard(self, events: list[Event]) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class BufferedReceiver(asyncio.BufferedProtocol):
    """Adapts a receiver, which stays an ``asyncio.Protocol``, to a transport that reads into a buffer."""

    __slots__ = ("_buffer", "_is_in_place", "_receiver")

    def __init__(self, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        self._buffer = _buffer_of(loop)
        self._receiver = receiver
        self._is_in_place = False

    def get_buffer(self, sizehint: int) -> memoryview:
        # There is a place only inside a large payload.
        place = self._receiver.place_to_receive()
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


class CopyingReceiver(BufferedReceiver):
    """The same without receiving in place, for the TLS of aiofastnet and uvloop.

    If paused, aiofastnet keeps what did not fit into a buffer, and goes on only with the peer's next bytes (1.2).
    The shared buffer takes all that it has read.
    """

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._receiver.data_received(self._buffer[:nbytes])


def receiver_class(transport: asyncio.BaseTransport) -> type[BufferedReceiver] | None:
    """Return the class that receives best from this transport; None if there is no better one than the connection."""
    package = type(transport).__module__.partition(".")[0]
    if package in ("aiofastnet", "uvloop") and transport.get_extra_info("sslcontext") is not None:
        return CopyingReceiver
    return BufferedReceiver if package in ("asyncio", "aiofastnet") else None
