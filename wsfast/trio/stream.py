"""The verbs of a session over a trio stream, and the tasks of a connection. Nothing here decides.

    task     runs                        what it does
    -------  --------------------------  -------------------------------------------------------
    run      until TCP is closed         reads; its nursery has the others
    writer   if something is unsent      writes it, and then closes our half of TCP, or all of it
    timer    from the first deadline on  calls ``deadline_reached``

A frame is written at once, or the writer finishes it: so nobody who is cancelled leaves half a frame. A TCP socket is
read and written without the stream in between; other streams, as those of TLS, are read by ``run`` and written by the
writer. Errors of writing end nothing: what the peer sent before them is read first.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from ..codec import CloseCode
from ..common.awaiting import Awaited
from ..common.kernel import unsent_size
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..session import Stage
from .observing import Lingering, bottom_of, can_half_close

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..exceptions import ConnectionClosed
    from .pings import Answer

__all__ = ["StreamSession"]

# Bytes that are read, and written, at a time at most. What is unsent falls while a large message goes out.
_READ_SIZE: Final = 262_144
_WRITE_SIZE: Final = 65_536

# How much of TCP is closed after what is unsent.
_NOTHING, _OUR_HALF, _ALL = range(3)

# The codec copies the bytes that it keeps, so that one buffer serves all connections of a run.
_buffer: trio.lowlevel.RunVar[memoryview | None] = trio.lowlevel.RunVar("wsfast_buffer", None)

# The socket does not end the run of ours: a stream that is broken, or closed by somebody else.
_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


def _cause_of(error: BaseException) -> BaseException | None:
    """Return the error of the system, or of TLS, that trio has put into one of its own."""
    return error if isinstance(error, OSError) else error.__cause__


class StreamSession(Awaited):
    """A session whose bytes come and go through ``stream``. ``write_limit``: bytes, or ``(high, low)``."""

    __slots__ = (
        *(
            "_closed_part",
            "_connecting",
            "_direct",
            "_fault",
            "_idle_writer",
            "_is_cutting",
            "_is_reading",
            "_is_writing",
        ),
        *("_news", "_part_to_close", "_parts", "_parts_size", "_tasks", "_timer", "_unwritten"),
        *("_unwritten_size", "_write_marks", "stream"),
    )

    _waiter: trio.lowlevel.Task | None

    def __init__(
        self,
        protocol: Protocol,
        stream: trio.abc.Stream,
        write_limit: int | tuple[int, int | None],
        **options: Any,
    ) -> None:
        super().__init__(protocol, **options)
        self.stream = stream
        """The stream below: TCP, or TLS, or another one of trio's."""
        self._connecting = protocol.ready_state is ReadyState.CONNECTING
        self._direct: socket.socket | None = None  # of TCP, if there is nothing in between
        self._tasks: trio.Nursery | None = None
        self._timer: trio.CancelScope | None = None
        self._news = trio.lowlevel.ParkingLot()  # all who wait for a change of this connection
        self._parts = None
        self._parts_size = 0
        high, low = write_limit if isinstance(write_limit, tuple) else (write_limit, None)
        self._write_marks = high, high // 4 if low is None else low
        self._unwritten: list[bytes | memoryview] = []
        self._unwritten_size = 0
        self._is_writing = False
        self._idle_writer: trio.lowlevel.Task | None = None
        self._is_reading = True
        self._is_cutting = False  # nothing can be written any more
        self._part_to_close = self._closed_part = _NOTHING
        self._fault: BaseException | None = None

    @property
    def local_address(self) -> Any:
        """The address of our end: ``(host, port)`` for IPv4, as ``socket.getsockname`` tells it; None without one."""
        return self._address("getsockname")

    @property
    def remote_address(self) -> Any:
        """The address of the peer's end, as ``socket.getpeername`` tells it; None without one."""
        return self._address("getpeername")

    def _address(self, name: str) -> Any:
        try:
            return getattr(bottom_of(self.stream), name)()
        except (AttributeError, OSError):
            return None

    # The tasks

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read, write and keep time until TCP is closed. If this is cancelled, the peer is told 1001, and cut."""
        bottom = bottom_of(self.stream)
        async with trio.open_nursery() as self._tasks:
            try:
                if bottom is not None and isinstance(self.stream, trio.SocketStream):
                    self._direct = socket.socket(bottom.family, bottom.type, bottom.proto, bottom.fileno())
                if not self._is_cutting:
                    self._begin()
                    await self._receive_all()
            except trio.Cancelled:
                if not self._is_cutting and self._stage is Stage.OPEN:
                    self.start_close(CloseCode.GOING_AWAY)
                raise
            except _ENDED as error:
                if not self._is_cutting:
                    self._fault = _cause_of(error)
            finally:
                self._cut()
                if self._direct is not None:
                    self._direct.detach()  # the descriptor is the stream's
                    self._direct = None
                if bottom is not None:
                    bottom.close()
                self.lost(self._fault)
                self.writing_resumed()  # a sender that waits has to hear of it
                self._tasks.cancel_scope.cancel()
                if bottom is None:
                    await trio.aclose_forcefully(self.stream)

    def _begin(self) -> None:
        """Send the first bytes, if there are any."""

    async def _receive_all(self) -> None:
        direct = self._direct
        buffer = _buffer.get()
        if buffer is None:
            buffer = memoryview(bytearray(_READ_SIZE))
            _buffer.set(buffer)
        data: Buffer = b"-"
        while data:
            if direct is None:
                data = await self._receive_some()
            else:
                await trio.lowlevel.wait_readable(direct)
            if not self._is_reading:
                while not self._is_reading:
                    await self._news.park()
                if direct is not None:
                    continue
            if direct is not None:
                place = None if self._connecting else self.place_to_receive()
                try:
                    size = direct.recv_into(buffer if place is None else place)
                except BlockingIOError:
                    continue
                if place is not None and size:
                    self._has_heard = True
                    self.take_events(self._decoder.buffer_updated(size))
                    continue
                data = buffer[:size]
            if data:
                self.data_received(data)
        self.eof_received()
        if not self.keeps_half_open:
            self._close_half()
        while not self._is_cutting:  # the writer, or a deadline, ends it
            await self._news.park()

    async def _receive_some(self) -> bytes | bytearray:
        try:
            return await self.stream.receive_some(_READ_SIZE)
        except trio.ClosedResourceError:
            if self._closed_part != _OUR_HALF or not isinstance(self.stream, trio.SSLStream):
                raise
        while await self.stream.transport_stream.receive_some(_READ_SIZE):  # TLS is over, and TCP is not
            pass
        return b""

    def data_received(self, data: Buffer) -> None:
        if self._connecting:
            self._handshake_received(data)
        else:
            self._has_heard = True
            self.take_events(self._feed(data))

    def _handshake_received(self, data: Buffer) -> None:
        raise NotImplementedError

    def eof_received(self) -> None:
        self.half_closed()

    @trio.lowlevel.enable_ki_protection
    async def _write_all(self) -> None:
        try:
            while True:
                while self._unwritten or self._closed_part != self._part_to_close:
                    await self._write_some()
                if self._direct is not None:
                    return  # a socket rarely has something unsent
                self._idle_writer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._writer_is_cancelled)
        except _ENDED as error:
            self._cannot_write(_cause_of(error))
        finally:
            self._is_writing = False

    def _writer_is_cancelled(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._idle_writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _write_some(self) -> None:
        data = memoryview(b"".join(self._unwritten))
        self._unwritten.clear()
        for start in range(0, len(data), _WRITE_SIZE):
            part = data[start : start + _WRITE_SIZE]
            await self.stream.send_all(part)
            self._unwritten_size -= len(part)
            if self._blocked and self._unwritten_size <= self._write_marks[1]:
                self.writing_resumed()
        if not self._unwritten and self._closed_part != self._part_to_close:
            self._closed_part = self._part_to_close
            if self._closed_part == _ALL:
                self._is_cutting = True
                try:
                    await self.stream.aclose()
                finally:
                    self._abort()
            elif self._can_half_close():
                await self.stream.send_eof()  # type: ignore[attr-defined]
            else:
                await self.stream.aclose()

    def writing_resumed(self) -> None:
        super().writing_resumed()
        self._news.unpark_all()

    def _cannot_write(self, error: BaseException | None) -> None:
        """Read to the end of TCP, pauses or not: the peer is gone, and the rest of its bytes is here."""
        if not self._is_cutting:
            self._fault = error
            self._cut()
            self._start_reading()

    def _cut(self) -> None:
        self._is_cutting = True
        self._unwritten.clear()
        self._unwritten_size = 0
        if self.protocol.ready_state is ReadyState.OPEN:
            self.protocol.ready_state = ReadyState.CLOSING
        self._news.unpark_all()

    @trio.lowlevel.enable_ki_protection
    async def _keep_time(self) -> None:
        while self._timer is not None:
            with self._timer:
                await trio.sleep_forever()
            self._timer = trio.CancelScope()
            self.deadline_reached(trio.current_time())
            self._deadline_changed()

    # Verbs

    def _write(self, data: bytes) -> None:
        if self._is_cutting or self._part_to_close:
            return
        size = 0
        if self._direct is not None and not self._unwritten_size:
            try:
                size = self._direct.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                self._cannot_write(error)
                return
            if size == len(data):
                return
        self._unwritten.append(memoryview(data)[size:] if size else data)
        self._unwritten_size += len(data) - size
        self._write_later()
        if self._unwritten_size > self._write_marks[0] and not self._blocked:
            self.writing_blocked()

    def _write_later(self) -> None:
        writer, self._idle_writer = self._idle_writer, None
        if writer is not None:
            trio.lowlevel.reschedule(writer)
        elif not self._is_writing and self._tasks is not None:
            self._is_writing = True
            self._tasks.start_soon(self._write_all)

    def _is_cut(self) -> bool:
        return self._is_cutting

    def _close_half(self) -> None:
        below = getattr(self.stream, "transport_stream", None)
        lingers = not self._is_half_closed and (self._can_half_close() or isinstance(below, Lingering))
        self._part_to_close = _OUR_HALF if lingers else _ALL
        self._write_later()

    def _can_half_close(self) -> bool:
        return can_half_close(self.stream)

    def _abort(self) -> None:
        self._cut()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    def _stop_reading(self) -> None:
        self._is_reading = False

    def _start_reading(self) -> None:
        self._is_reading = True
        self._news.unpark_all()

    def _unsent_size(self) -> int:
        return self._unwritten_size + unsent_size(bottom_of(self.stream))

    def _now(self) -> float:
        return trio.current_time()

    def _deadline_changed(self) -> None:
        at = math.inf if self._deadline is None else self._deadline_at
        if self._timer is not None:
            self._timer.deadline = at
        elif at < math.inf and self._tasks is not None:
            self._timer = trio.CancelScope(deadline=at)
            self._tasks.start_soon(self._keep_time)

    def _flush_soon(self) -> None:
        """Do nothing: only a block of ``batch()`` collects frames, and it writes them."""

    def _decode_soon(self) -> None:
        self._call_at(-math.inf, self._decode_at_next_turn)

    def _look_at_rate_at(self, at: float) -> None:
        self._call_at(at, self._look_at_rate)

    def _soon(self, call: Any, *arguments: Any) -> None:
        self._call_at(-math.inf, call, *arguments)

    def _call_at(self, at: float, call: Callable[..., object], *arguments: Any) -> None:
        async def wait() -> None:
            await trio.sleep_until(at)
            call(*arguments)

        if self._tasks is not None and self._stage is not Stage.CLOSED:
            self._tasks.start_soon(wait)

    def _wake(self) -> None:
        task, self._waiter = self._waiter, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _pong_received(self, waiter: Answer | None, latency: float) -> None:
        if waiter is not None:
            waiter.come(latency)

    def _pong_lost(self, waiter: Answer | None, exception: ConnectionClosed) -> None:
        if waiter is not None:
            waiter.fail(exception)
