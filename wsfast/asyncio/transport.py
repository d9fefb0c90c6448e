"""The verbs of a session over an asyncio transport: one call of the transport or of the loop each.

``asyncio/`` and ``uvicorn/`` share them. Nothing here decides; the one rule is that a transport that is closing is
asked for nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ..codec import Role
from ..common.kernel import unsent_size
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..exceptions import ConnectionClosed
from ..session import SENDS_PER_TURN, Backlog, Session, Traffic
from .buffered import receiver_class
from .metering import Meter

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..codec import Event

# Linux tells of the peer's FIN though bytes before it are not read; None where the system does not.
_PEER_FIN: int | None = getattr(select, "POLLRDHUP", None)

# Bytes from which a binary message is not copied into a frame. To send one object again and again then takes 0.77 of
# the CPU time at 256 KiB, and at 1 MiB 0.62 on asyncio, 0.71 on uvloop; at 64 KiB as much, and in an echo too.
LARGE_MESSAGE = 131_072

# Seconds by which a timer may come early: uvloop counts in whole milliseconds.
_RESOLUTION = 0.0015


class TransportSession(Session, asyncio.Protocol):
    """A session whose bytes come and go through ``transport``."""

    __slots__ = ("_at_end", "_connecting", "_drained", "_loop", "_meter", "_timer", "transport")

    transport: asyncio.Transport

    def __init__(self, protocol: Protocol, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._connecting = protocol.ready_state is ReadyState.CONNECTING
        self._meter: Meter | None = None
        self._at_end: dict[Callable[[Any], None], None] | None = None
        self._drained: asyncio.Future[None] | None = None  # of those who wait for the peer to read

    @property
    def local_address(self) -> Any:
        """The address of our end: ``(host, port)`` for IPv4, as ``socket.getsockname`` tells it."""
        return self.transport.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        """The address of the peer's end, as ``socket.getpeername`` tells it."""
        return self.transport.get_extra_info("peername")

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if type(transport).__module__ == "uvloop.loop":
            return  # it sets the option for every socket
        connected = transport.get_extra_info("socket")
        if (
            connected is not None
            and connected.proto != socket.IPPROTO_TCP
            and connected.family in (socket.AF_INET, socket.AF_INET6)
        ):
            # asyncio does it for sockets with this protocol number only; small frames would wait for an ACK.
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def count_frames(self) -> None:
        """Count the frames of both directions, from the opening handshake on; ``stats`` tells them."""
        self._meter = Meter(self, self.transport)
        self.transport = cast("asyncio.Transport", self._meter)

    def _traffic(self) -> tuple[Traffic | None, Traffic | None]:
        meter = self._meter
        return (None, None) if meter is None else (meter.received.traffic(), meter.sent.traffic())

    def receive_in_place(self) -> None:
        """Receive into a buffer that is shared, where the transport allows it."""
        receiver = receiver_class(self.transport)
        if receiver is not None:
            self.transport.set_protocol(receiver(self, self._loop))

    def data_received(self, data: Buffer) -> None:
        if self._connecting:
            self._handshake_received(data)
            return
        self._has_heard = True
        # Straight to the decoder: Connection.receive_data in between would be 0.1 us a chunk.
        self.take_events(self._feed(data))

    def _handshake_received(self, data: Buffer) -> None:
        raise NotImplementedError

    def _opened(self, trailing_data: bytes) -> None:
        """Begin to work as an open connection; the data is what came right after the handshake."""
        self._connecting = False
        if self._meter is not None:
            self._meter.is_open = True
            self._meter.received.feed(trailing_data)
        self.opened()
        if trailing_data:
            self.data_received(trailing_data)

    def heard(self, events: list[Event]) -> None:
        """Take events that were made of bytes which came another way than by ``data_received``."""
        self._has_heard = True
        self.take_events(events)

    def pause_writing(self) -> None:
        self.writing_blocked()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.writing_resumed()

    def eof_received(self) -> bool:
        self.half_closed()
        return self.keeps_half_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost(exc)
        self.resume_writing()  # the transport does not, and a sender that waits has to hear of it
        if self._at_end is not None:
            callbacks, self._at_end = self._at_end, None
            for callback in callbacks:
                callback(self)

    def call_at_end(self, callback: Callable[[Any], None]) -> None:
        """Call ``callback(connection)`` once TCP is closed. One that was given before is not called twice."""
        if self._at_end is None:
            self._at_end = {}
        self._at_end[callback] = None

    def forget_at_end(self, callback: Callable[[Any], None]) -> None:
        """Do not call it any more."""
        if self._at_end is not None:
            self._at_end.pop(callback, None)

    async def _wait_writable(self) -> None:
        """Wait while the peer reads slower than we write."""
        while self._blocked:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    async def wait_taken(self, backlog: Backlog, end: int) -> None:
        """Wait until no message of ``backlog`` before the number ``end`` waits, or the connection is closed."""
        while self._backlog is backlog and backlog.holds_before(end):
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    async def _let_others_run(self) -> None:
        """Give the loop a turn if it is time: it may have to tell us of a peer that is gone."""
        if self._sends_left <= 0:
            self._sends_left = SENDS_PER_TURN
            await asyncio.sleep(0)

    def _is_gone(self) -> bool:
        """Tell a sender whether TCP is closing. If it is, the next ones need not write to hear of it."""
        if not self.transport.is_closing():
            return False
        if self.protocol.ready_state is ReadyState.OPEN:
            self.protocol.ready_state = ReadyState.CLOSING
        return True

    # Verbs

    def _write(self, data: bytes) -> None:
        # asyncio warns in the log of writes that come too late.
        if not self.transport.is_closing() and not (
            (self._pauses or self._blocked) and self._has_unread_end()
        ):
            self.transport.write(data)

    def _header_of(self, message: bytes, text: bool | None, compress: bool | None) -> bytes | None:
        """Return the header of a binary message that may be written as it is; None if it needs a frame."""
        encoder = self.protocol.encoder
        if (
            text
            or self.protocol.role is Role.CLIENT  # 5.3: it has to be masked
            or (encoder.deflate is not None and (compress or compress is None))
        ):
            return None
        return encoder.header(len(message))

    def _write_uncopied(self, header: bytes, message: bytes) -> None:
        """Write a message and its header, after all that was sent; count it as a send."""
        self._flush()
        self._sends_left -= 1
        # Not by _write(): it may refuse the second one, and the next frame would be taken for the payload.
        if not self.transport.is_closing():
            self.transport.write(header)
            self.transport.write(message)

    def _has_unread_end(self) -> bool:
        """Tell whether the peer ended TLS, and we may not hear of it; then look for its end.

        asyncio's TLS reads on below a pause. It drops what is written after the end, and tells only who reads.
        uvloop's TLS tells nobody, before the peer has taken all that was written.
        """
        if _PEER_FIN is None or self._can_half_close():
            return False
        poll = select.poll()
        try:
            poll.register(self.transport.get_extra_info("socket").fileno(), _PEER_FIN)
            if not poll.poll(0):
                return False
        except (OSError, ValueError):
            return False
        self.look_for_end()
        return True

    def _is_cut(self) -> bool:
        return self.transport.is_closing()

    def _can_half_close(self) -> bool:
        # asyncio warns if TLS is kept half open.
        return self.transport.get_extra_info("sslcontext") is None

    def _abort(self) -> None:
        self.transport.abort()

    def _stop_reading(self) -> None:
        self.transport.pause_reading()

    def _start_reading(self) -> None:
        self.transport.resume_reading()

    def _unsent_size(self) -> int:
        size: int = getattr(self.transport, "get_write_buffer_size", int)()  # uvicorn's tests have none
        return size + unsent_size(self.transport.get_extra_info("socket"))

    def _now(self) -> float:
        return self._loop.time()

    def _deadline_changed(self) -> None:
        timer = self._timer
        if self._deadline is None:
            if timer is not None:
                timer.cancel()
                self._timer = None
        elif timer is None or self._deadline_at < timer.when():
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(self._deadline_at, self._timer_is_over)
        # A timer that is over too early finds nothing to do, and is set again: cheaper than to set it twice.

    def _timer_is_over(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._deadline is not None and now < self._deadline_at <= now + _RESOLUTION:
            now = self._deadline_at
        self.deadline_reached(now)
        self._deadline_changed()

    def _flush_soon(self) -> None:
        self._loop.call_soon(self._flush_at_next_turn)

    def _decode_soon(self) -> None:
        self._loop.call_soon(self._decode_at_next_turn)

    def _look_at_rate_at(self, at: float) -> None:
        self._loop.call_at(at, self._look_at_rate)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _pong_received(self, waiter: asyncio.Future[float] | None, latency: float) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(latency)

    def _pong_lost(self, waiter: asyncio.Future[float] | None, exception: ConnectionClosed) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_exception(exception)
            waiter.exception()  # nobody may be waiting, which is no fault: mark it as retrieved
