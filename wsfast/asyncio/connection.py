"""A WebSocket connection on an asyncio transport: queue, back-pressure, keepalive, orderly end.

The rules, and why:

- A message that is already queued costs no future and no task: ``recv`` returns it at once.
- Frames sent while received messages still wait go out in one write, when ``recv`` is about to wait or at the
  loop's next turn, whichever is first.
- What ends the connection stands in line: the peer's Close, or its fault, is answered when the messages before it
  were taken, or after ``close_timeout``. So they can be answered, and none is lost.
- A slow reader stops the peer through TCP (``max_queue``), a slow peer stops ``send`` (``write_limit``).
- Frames and the closing handshake are the sans-I/O connection's; nothing here knows a byte of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import uuid
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from ..codec import CloseCode, Event, Failure, Pong
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import Agreement, DeflatingEncoder
from ..exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedOK
from ..handshake import Request, Response
from .buffered import BufferedReceiver, wants_buffer
from .keepalive import Keepalive
from .pings import PendingPings
from .writing import BatchWriter

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Connection", "Data"]

Data: TypeAlias = str | bytes
Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[Any]
_Encode: TypeAlias = "Callable[[str | Buffer, bool | None], bytes]"
_EncodeFragment: TypeAlias = "Callable[[str | Buffer, bool, bool | None], bytes]"

_CONNECTING, _OPEN, _CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED

# Seconds for which messages may delay the answer to the peer's Close where nobody receives, as in a server that
# only sends. Chromium waits for 2.
_MAX_DELAY = 1.0

# A tuple: `str | bytes` would be computed anew for each message.
_WHOLE = (str, bytes)


def queue_limits(max_queue: int | tuple[int | None, int | None] | None) -> tuple[int | None, int]:
    """The number of queued messages above which reading pauses, and the one at which it goes on."""
    high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, None)
    if high is None:
        return None, 0
    if low is None:
        low = high // 4
    if high < 1 or not 0 <= low < high:
        raise ValueError(f"max_queue must be at least 1, and its low mark below the high one: {max_queue}")
    return high, low


class Connection(BatchWriter, asyncio.Protocol):
    """The part that client and server connections share. Made by ``connect`` and ``serve``.

    One task may receive and any number may send at a time. ``recv``, ``send``, ``ping``, ``close`` belong to the
    connection's event loop and are not for other threads. Times are in seconds.
    """

    # Slots: an idle connection should own almost nothing. Subclasses of users get a __dict__ as usual.
    __slots__ = (
        "__weakref__",
        "_close_timeout",
        "_close_timer",
        "_closed",
        "_connecting",
        "_decoder",
        "_drained",
        "_dropping",
        "_encode",
        "_ending",
        "_feed",
        "_fragmenting",
        "_handshake_done",
        "_high",
        "_id",
        "_is_received",
        "_keepalive",
        "_lost_exception",
        "_low",
        "_messages",
        "_peer_sent_eof",
        "_pings",
        "_reading_paused",
        "_waiter",
        "_write_limit",
        "logger",
        "protocol",
        "request",
        "response",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        protocol: Protocol,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | tuple[int | None, int | None] | None = 16,
        write_limit: int | tuple[int, int | None] = 2**15,
        logger: Logger | None = None,
    ) -> None:
        self.protocol = protocol
        """The sans-I/O connection."""
        self.request: Request | None = None
        """The request of the opening handshake."""
        self.response: Response | None = None
        """The response of the opening handshake."""
        self.logger: Logger = logger or logging.getLogger("wsfast")
        self._close_timeout = close_timeout
        self._high, self._low = queue_limits(max_queue)
        self._write_limit = write_limit if isinstance(write_limit, tuple) else (write_limit, None)

        super().__init__(asyncio.get_running_loop())
        self._connecting = protocol.ready_state is _CONNECTING
        self._ending = False  # the peer's Close, its fault, or the end of TCP was seen
        self._use_codec()
        self._pings = PendingPings()
        self._messages: deque[Data] = deque()
        self._waiter: asyncio.Future[None] | None = None  # of the task that waits in recv()
        self._reading_paused = False
        self._dropping = False
        self._is_received = False  # somebody has waited in recv()
        self._drained: asyncio.Future[None] | None = None  # while the transport's buffer is full
        self._fragmenting: asyncio.Future[None] | None = None  # while send() is inside a message of fragments
        self._handshake_done: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._close_timer: asyncio.TimerHandle | None = None
        self._keepalive = Keepalive(self, ping_interval, ping_timeout)
        self._peer_sent_eof = False
        self._lost_exception: Exception | None = None
        self._id: uuid.UUID | None = None

    def _use_codec(self) -> None:
        """Keep what is called for each chunk and message."""
        self._decoder = self.protocol.decoder
        self._feed = self._decoder.feed
        self._encode = self.protocol.encoder.message

    # What is known about the connection

    @property
    def id(self) -> uuid.UUID:
        """A name of this connection for logs, made when it is first asked for."""
        if self._id is None:
            self._id = uuid.uuid4()
        return self._id

    @property
    def ready_state(self) -> ReadyState:
        """CONNECTING, OPEN, CLOSING or CLOSED, as in browsers."""
        return self.protocol.ready_state

    @property
    def state(self) -> ReadyState:
        """The same as ``ready_state``, by the name that users of ``websockets`` know."""
        return self.protocol.ready_state

    @property
    def local_address(self) -> Any:
        """The address of our end: ``(host, port)`` for IPv4, as ``socket.getsockname`` tells it."""
        return self.transport.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        """The address of the peer's end, as ``socket.getpeername`` tells it."""
        return self.transport.get_extra_info("peername")

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was chosen in the opening handshake (RFC 6455 1.9), or None."""
        handshake = self.protocol.handshake
        return None if handshake is None else handshake.subprotocol

    @property
    def compression(self) -> Agreement | None:
        """What was agreed on about compression in the opening handshake (RFC 7692), or None."""
        return self.protocol.compression

    @property
    def latency(self) -> float:
        """The last measured round-trip time, in seconds; 0 before the first Pong."""
        return self._pings.latency

    @property
    def close_code(self) -> int | None:
        """The peer's close code; 1006 if there was none; None while the connection is open (RFC 6455 7.1.5)."""
        return self.protocol.close_code

    @property
    def close_reason(self) -> str | None:
        """The peer's close reason; empty if there was none; None while the connection is open (7.1.6)."""
        return self.protocol.close_reason

    # Receiving

    @overload
    async def recv(self, decode: Literal[True]) -> str: ...
    @overload
    async def recv(self, decode: Literal[False]) -> bytes: ...
    @overload
    async def recv(self, decode: bool | None = None) -> Data: ...

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive the next message: ``str`` for text (``bytes`` with ``text="bytes"``), ``bytes`` for binary.

        ``decode=True`` returns a ``str`` and ``decode=False`` ``bytes`` whatever the message's type is.
        Cancelling loses nothing: the message stays for the next call. Raises ``ConnectionClosed`` when no message
        will come any more, ``ConcurrencyError`` when another task is waiting in ``recv``.
        """
        while not self._messages:
            await self._next_chunk()
        message = self._messages.popleft()
        if self._reading_paused and len(self._messages) <= self._low:
            self._resume_reading()
        if decode is None:
            return message
        if decode:
            return message if isinstance(message, str) else message.decode()
        return message.encode() if isinstance(message, str) else message

    def __aiter__(self) -> Self:
        """Iterate over messages until the connection is closed.

        Ends after an orderly close (1000, 1001 or no code), else raises ``ConnectionClosedError``.
        """
        return self

    async def __anext__(self) -> Data:
        try:
            while not self._messages:
                await self._next_chunk()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None
        message = self._messages.popleft()
        if self._reading_paused and len(self._messages) <= self._low:
            self._resume_reading()
        return message

    def _next_chunk(self) -> Awaitable[None]:
        """Get ready to wait: what is returned is done when there is something new, or raises."""
        # A plain function that returns a future: a coroutine of its own would cost every wait 0.3 us.
        if self._batch:
            self._flush()
        if self._ending:
            if self.protocol.ending is not None:
                self._answer()  # all before it was taken: it is its turn
            if self.protocol.receiving_done:
                return self._raise_closed()
        if self._waiter is not None and not self._waiter.done():
            raise ConcurrencyError("another task is already waiting in recv()")
        self._is_received = True
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _raise_closed(self) -> None:
        await self.wait_closed()
        raise self._closed_exception()

    def _closed_exception(self) -> ConnectionClosed:
        exception = self.protocol.closed_exception()
        exception.__cause__ = self._lost_exception
        return exception

    def data_received(self, data: Buffer) -> None:
        if self._connecting:
            self._handshake_received(data)
            return
        # Once we are OPEN straight to the decoder: Connection.receive_data between would be 0.1 us a chunk.
        self.take_events(self._feed(data))

    def take_events(self, events: list[Event]) -> None:
        """Take what the decoder made of the bytes that came last."""
        if self._decoder.has_control:
            self._receive_control(cast("list[Event | Failure]", events))
        else:
            self._queue(cast("list[Data]", events))

    def _queue(self, messages: list[Data]) -> None:
        """Queue messages, and wake the task that waits for one."""
        if self._dropping:
            return
        queue = self._messages
        queue.extend(messages)
        waiter = self._waiter
        if waiter is not None and messages:
            # This task takes all of it before the next chunk comes: to pause reading now and to resume it
            # then would be two system calls for each chunk of more than max_queue messages.
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
        elif self._high is not None and len(queue) > self._high:
            if self.protocol.ready_state is _OPEN:
                self._pause_reading()
            else:
                # We sent Close. Reading goes on, so that the peer's is found, and memory has a bound: what
                # nobody takes is dropped, and so is all that follows.
                self._dropping = True
                while len(queue) > self._high:
                    queue.pop()

    def _receive_control(self, events: list[Event | Failure]) -> None:
        """Take events with control frames among them: queue the messages, then act on the rest."""
        self.protocol.receive_control(events)
        for event in events:
            if not isinstance(event, str | bytes):
                self.control_received(event)
        if self._drained is None:
            self._send_owed()  # else resume_writing() does: Pongs do not pile up behind a peer that does not read
        self._queue([event for event in events if isinstance(event, str | bytes)])
        if self.protocol.ending is not None:
            self._ending = True
            self._resume_reading()  # what is left to find is the end of the stream
            if not self._messages:
                self._answer()
            elif self._is_received:
                self._start_close_timer(self._answer)
            else:
                self._start_close_timer(partial(self._answer_unless_taken, len(self._messages)), _MAX_DELAY)
        elif self.protocol.receiving_done:
            self._ending = True
            self._wake()
            self._close_transport_if_done()

    def control_received(self, event: Event | Failure) -> None:
        """Called for each Ping, Pong, Close and Failure as it comes; for subclasses that want to know.

        Pings are answered, and a Close or Failure takes effect, without this.
        """
        if type(event) is Pong:
            self._pings.acknowledge(event.payload, self._loop.time())

    def _answer_unless_taken(self, n_messages: int) -> None:
        """Answer, unless fewer than the ``n_messages`` of a second ago are left: then somebody receives after all."""
        self._close_timer = None
        if len(self._messages) < n_messages:
            self._start_close_timer(self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        """Let the peer's Close, or its fault, take effect."""
        self.protocol.answer()
        self._send_owed()
        self._wake()
        self._cancel_close_timer()
        self._start_close_timer(self.transport.abort)
        self._close_transport_if_done()

    @property
    def is_reading_paused(self) -> bool:
        """True while ``max_queue`` messages wait, and the peer has to."""
        return self._reading_paused

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # Sending

    @property
    def is_fragmenting(self) -> bool:
        """True while ``send`` is inside a message of fragments."""
        return self._fragmenting is not None

    async def send(
        self,
        message: str | Buffer | Iterable[str | Buffer] | AsyncIterable[str | Buffer],
        *,
        text: bool | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: ``str`` as text, bytes-like as binary (RFC 6455 5.6).

        ``text=True`` sends bytes as text (they have to be UTF-8), ``text=False`` a ``str`` as binary. An iterable,
        or asynchronous iterable, of ``str`` or of bytes-like objects is sent as one message of fragments, one
        item each. Other messages then wait until it is sent; when it fails in the middle, the connection is
        closed with 1011, as nothing else can be sent any more.

        Where compression was negotiated, messages from its ``threshold`` on are compressed; ``compress=True``
        compresses a smaller one too, ``compress=False`` sends a message as it is. Of fragments the first decides.

        Waits while the peer reads slower than we send (``write_limit``). Raises ``ConnectionClosed``,
        ``TypeError`` for a message of another type, ``ValueError`` for text that is not UTF-8.
        """
        if self._fragmenting is not None or self.protocol.ready_state is not _OPEN:
            await self._may_send()
        if not isinstance(message, _WHOLE) and not is_buffer(message):
            await self._send_fragments(cast("Iterable[str | Buffer]", message), text, compress)
            return
        # Compressing is part of this one call, with no await in it: what is compressed is sent.
        encode = self._encode if compress is None else self._encoder_with(compress)[0]
        frame = encode(cast("str | bytes", message), text)
        if self._messages or self._batch:
            self._add_to_batch(frame)
        else:
            self.transport.write(frame)
        if self._drained is not None:
            await self._drain()

    def _encoder_with(self, compress: bool | None) -> tuple[_Encode, _EncodeFragment]:
        """Return what encodes messages and fragments in this way, as far as it was negotiated."""
        encoder = self.protocol.encoder
        if isinstance(encoder, DeflatingEncoder):
            return partial(encoder.message, compress=compress), partial(encoder.fragment, compress=compress)
        return encoder.message, encoder.fragment

    async def _may_send(self) -> None:
        while self._fragmenting is not None:
            await asyncio.shield(self._fragmenting)
        if self.protocol.ready_state is _CONNECTING:
            raise self._closed_exception()
        if self.protocol.ready_state is not _OPEN:
            await self._raise_closed()

    async def _send_fragments(
        self,
        fragments: Iterable[str | Buffer] | AsyncIterable[str | Buffer],
        text: bool | None,
        compress: bool | None,
    ) -> None:
        if isinstance(fragments, Mapping):
            raise TypeError("a message cannot be a dict; send its keys() if you mean them")
        if not isinstance(fragments, Iterable | AsyncIterable):
            raise TypeError(
                f"a message must be str, bytes-like, or an iterable of those, not {type(fragments).__name__}"
            )
        self._fragmenting = self._loop.create_future()
        encode = self._encoder_with(compress)[1]
        last: str | bytes | None = None  # an empty fragment of the message's type, for the end
        try:
            if isinstance(fragments, AsyncIterable):
                async for fragment in fragments:
                    last = await self._send_fragment(encode(fragment, False, text), fragment)
            else:
                for fragment in fragments:
                    last = await self._send_fragment(encode(fragment, False, text), fragment)
            if last is not None:
                await self._send_fragment(encode(last, True, text), last)
        except BaseException:
            if self.protocol.encoder.in_message and self.protocol.ready_state is _OPEN:
                self.fail(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        finally:
            self._fragmenting.set_result(None)
            self._fragmenting = None

    async def _send_fragment(self, frame: bytes, fragment: str | Buffer) -> str | bytes:
        if self.protocol.ready_state is not _OPEN:
            await self._raise_closed()
        self._flush()
        self.transport.write(frame)
        if self._drained is not None:
            await self._drain()
        return "" if isinstance(fragment, str) else b""

    def send_nowait(self, frame: bytes) -> None:
        """Write the bytes of a frame that is encoded already, in its turn; for ``broadcast``."""
        self._flush()
        self.transport.write(frame)

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self.protocol.ready_state is _OPEN:
            self._send_owed()

    async def _drain(self) -> None:
        while self._drained is not None:
            await asyncio.shield(self._drained)
        if self.protocol.ready_state is _CLOSED:
            raise self._closed_exception()

    async def ping(self, data: str | Buffer | None = None) -> Awaitable[float]:
        """Send a Ping of at most 125 bytes; by default of 4 random ones (RFC 6455 5.5.2).

        Returns an awaitable of the round-trip time in seconds; it need not be awaited. It raises
        ``ConnectionClosed`` when the connection closes first. ``ConcurrencyError`` if a Ping with the same
        payload is still unanswered.
        """
        if self.protocol.ready_state is not _OPEN:
            await self._may_send()
        payload = (
            data.encode() if isinstance(data, str) else None if data is None else bytes(memoryview(data))
        )
        if payload is not None and len(payload) > 125:
            raise ValueError(f"ping payload of {len(payload)} bytes is longer than 125")
        answered = self.send_ping(payload)
        if self._drained is not None:
            await self._drain()
        return answered

    def send_ping(self, payload: bytes | None = None) -> asyncio.Future[float]:
        """Send a Ping at once; return the future of the round-trip time. For ``ping`` and the keepalive."""
        payload, answered = self._pings.add(payload, self._loop)
        self.protocol.ping(payload)
        self._send_owed()
        return answered

    async def pong(self, data: str | Buffer = b"") -> None:
        """Send an unsolicited Pong of at most 125 bytes (RFC 6455 5.5.3). Pings are answered without this."""
        if self.protocol.ready_state is not _OPEN:
            await self._may_send()
        self.protocol.pong(data.encode() if isinstance(data, str) else data)
        self._send_owed()

    # Closing

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection in an orderly way, and wait until it is closed (RFC 6455 7.1.2).

        ``reason`` is at most 123 bytes of UTF-8. After ``close_timeout`` without the peer's answer TCP is cut.
        Messages that were received can still be taken with ``recv``; of those that come after this call, at
        most ``max_queue``. A call on a connection that is closing or closed only waits. ``ValueError`` for a
        code that must not be sent.
        """
        if self.protocol.ready_state is not _CONNECTING:
            was_open = self.protocol.ready_state is _OPEN
            self.protocol.close(code, reason)
            if was_open:
                self._start_closing()
        else:
            self.transport.abort()
        await self.wait_closed()

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7)."""
        if self.protocol.ready_state is _OPEN:
            self.protocol.fail(code, reason)
            self._start_closing()

    def _start_closing(self) -> None:
        self._send_owed()
        self._resume_reading()  # the peer's Close comes behind what we did not read
        self._cancel_close_timer()
        self._start_close_timer(self.transport.abort)
        self._close_transport_if_done()

    def _close_transport_if_done(self) -> None:
        if self.protocol.wants_transport_closed and not self.transport.is_closing():
            self._close_transport()

    def _close_transport(self) -> None:
        """Close our half of TCP; the rest follows when the peer closes its own, or at a time limit.

        Closing both halves at once could make the kernel drop what we sent last, such as our Close frame, when
        there are bytes of the peer's that we have not read.
        """
        self._start_close_timer(self.transport.abort)
        if self._peer_sent_eof or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()

    def _start_close_timer(self, then: Callable[[], object], at_most: float = math.inf) -> None:
        delay = at_most if self._close_timeout is None else min(self._close_timeout, at_most)
        if delay != math.inf and self._close_timer is None:
            self._close_timer = self._loop.call_later(delay, then)

    def _cancel_close_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; whoever closes it."""
        await asyncio.shield(self._closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(*self._write_limit)
        if wants_buffer(transport):
            self.transport.set_protocol(BufferedReceiver(self, self._loop))
        connected = self.transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does not for sockets made with protocol number 0; small frames would wait for an ACK.
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _handshake_received(self, data: Buffer) -> None:
        raise NotImplementedError

    def _opened(self, trailing_data: bytes) -> None:
        """Begin to work as an open connection; the data is what came right behind the handshake."""
        self._connecting = False
        self._use_codec()
        self._keepalive.start()
        if trailing_data:
            self.data_received(trailing_data)

    def eof_received(self) -> bool:
        self._peer_sent_eof = True
        # True keeps our half open: what is queued before the peer's Close, or fault, can still be answered.
        # TLS cannot be half closed, and asyncio warns when it is asked to.
        return (
            self.protocol.ending is not None
            and bool(self._messages)
            and self.transport.get_extra_info("sslcontext") is None
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost_exception = exc
        self._ending = True
        self.protocol.receive_eof()
        self._batch.clear()
        self._cancel_close_timer()
        self._keepalive.stop()
        self._pings.abandon(self._closed_exception())
        self.resume_writing()
        self._wake()
        if not self._handshake_done.done():
            self._handshake_done.set_result(None)
        if not self._closed.done():
            self._closed.set_result(None)


def is_buffer(message: object) -> bool:
    if isinstance(message, bytearray | memoryview):
        return True
    try:
        memoryview(cast("bytes", message))
    except TypeError:
        return False
    return True
