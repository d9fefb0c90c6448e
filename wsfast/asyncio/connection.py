"""A WebSocket connection on an asyncio transport, for coroutines.

What it does over time is the session's: queue, keepalive, batches, the orderly end. Here are the calls of the
application, and what they wait for. The rules, and why:

- A message that is already queued costs no future and no task: ``recv`` returns it at once.
- Cancelling a call loses no message and breaks none.
- Frames and the closing handshake are the sans-I/O connection's; nothing here knows a byte of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from ..codec import CloseCode
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import DeflatingEncoder
from ..exceptions import ConcurrencyError, ConnectionClosedOK
from ..handshake import Request, Response
from ..session import SENDS_PER_TURN, Data, Stage
from .transport import TransportSession

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Connection", "Data"]

Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[Any]
_Encode: TypeAlias = "Callable[[str | Buffer, bool | None], bytes]"
_EncodeFragment: TypeAlias = "Callable[[str | Buffer, bool, bool | None], bytes]"

_CONNECTING, _OPEN, _CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED
_STAGE_OPEN, _STAGE_CLOSED = Stage.OPEN, Stage.CLOSED

# A tuple: `str | bytes` would be computed anew for each message.
_WHOLE = (str, bytes)


class Connection(TransportSession):
    """The part that client and server connections share. Made by ``connect`` and ``serve``.

    One task may receive and any number may send at a time. ``recv``, ``send``, ``ping``, ``close`` belong to the
    connection's event loop and are not for other threads. Times are in seconds.
    """

    # Slots: an idle connection should own almost nothing. Subclasses of users get a __dict__ as usual.
    __slots__ = (
        "__weakref__",
        "_closed",
        "_connecting",
        "_drained",
        "_fragmenting",
        "_handshake_done",
        "_peer_sent_eof",
        "_write_limit",
        "logger",
        "request",
        "response",
    )

    _waiter: asyncio.Future[None] | None

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
        super().__init__(
            protocol,
            asyncio.get_running_loop(),
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )
        self.request: Request | None = None
        """The request of the opening handshake."""
        self.response: Response | None = None
        """The response of the opening handshake."""
        self.logger: Logger = logger or logging.getLogger("wsfast")
        self._write_limit = write_limit if isinstance(write_limit, tuple) else (write_limit, None)
        self._connecting = protocol.ready_state is _CONNECTING
        self._drained: asyncio.Future[None] | None = None  # of those who wait for the peer to read
        self._fragmenting: asyncio.Future[None] | None = None  # while send() is inside a message of fragments
        self._handshake_done: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._peer_sent_eof = False

    @property
    def local_address(self) -> Any:
        """The address of our end: ``(host, port)`` for IPv4, as ``socket.getsockname`` tells it."""
        return self.transport.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        """The address of the peer's end, as ``socket.getpeername`` tells it."""
        return self.transport.get_extra_info("peername")

    # Receiving

    @overload
    async def recv(self, decode: Literal[True]) -> str: ...
    @overload
    async def recv(self, decode: Literal[False]) -> bytes: ...
    @overload
    async def recv(self, decode: bool | None = None) -> Data: ...

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive the next message: ``str`` for text (``bytes`` with ``text="bytes"``), ``bytes`` for binary.

        ``decode=True`` returns a ``str`` and ``decode=False`` ``bytes``, whatever the message's type is. A binary
        message that is not UTF-8 then closes the connection with 1007. Cancelling loses nothing: the message stays
        for the next call.

        Raises:
            ConnectionClosed: no message will come any more.
            ConcurrencyError: another task is waiting in ``recv``.
        """
        while not self._messages:
            await self._next_chunk()
        message = self._messages.popleft()
        if self._pauses:
            self._message_taken()
        if decode is None:
            return message
        if not decode:
            return message.encode() if isinstance(message, str) else message
        if isinstance(message, str):
            return message
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            text = f"{error.reason} at position {error.start}"
        self.fail(CloseCode.INVALID_PAYLOAD_DATA, text)
        await self.wait_closed()
        raise self._closed_exception()

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
        if self._pauses:
            self._message_taken()
        return message

    def _next_chunk(self) -> Awaitable[None]:
        """Get ready to wait: the awaitable is done when there is something new, or raises."""
        # A plain function that returns a future: a coroutine of its own would cost every wait 0.3 us.
        if self._batch:
            self._flush()
        if self._stage is not _STAGE_OPEN:
            if self._stage is _STAGE_CLOSED and self._pauses:
                return self._decode_rest()
            if self.protocol.ending is not None:
                self._answer()  # all before it was taken: it is its turn
            if self.protocol.receiving_done:
                return self._raise_closed()
        if self._waiter is not None and not self._waiter.done():
            raise ConcurrencyError("another task is already waiting in recv()")
        self._sends_left = SENDS_PER_TURN
        self._waiter = self._loop.create_future()
        return self._waiter

    async def _decode_rest(self) -> None:
        """Decode on: the connection was lost, but bytes of it are still here."""
        if not self._decode_on():
            await self._raise_closed()
        await asyncio.sleep(0)

    async def _raise_closed(self) -> None:
        await self.wait_closed()
        raise self._closed_exception()

    def data_received(self, data: Buffer) -> None:
        if self._connecting:
            self._handshake_received(data)
            return
        self._has_heard = True
        # Once we are OPEN straight to the decoder: Connection.receive_data in between would be 0.1 us a chunk.
        self.take_events(self._feed(data))

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

        Waits while the peer reads slower than we send (``write_limit``), and lets other tasks run now and then.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            TypeError: a message of another type.
            ValueError: text that is not UTF-8.
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
        self._sends_left -= 1
        if self._blocked:
            await self._drain()
        elif not self._sends_left & 3:
            await self._give_way()

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
            raise TypeError(
                "a message cannot be a dict; json.dumps(...) makes text of it; send its keys() if you mean them"
            )
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
        await self._after_sending()
        return "" if isinstance(fragment, str) else b""

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.writing_resumed()

    async def _after_sending(self) -> None:
        self._sends_left -= 1
        await (self._drain() if self._blocked else self._give_way())

    async def _drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        while self._blocked:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)
        if self.protocol.ready_state is _CLOSED:
            raise self._closed_exception()

    async def _give_way(self) -> None:
        await self._let_others_run()
        if self.transport.is_closing():
            await self._raise_closed()

    async def ping(self, data: str | Buffer | None = None) -> Awaitable[float]:
        """Send a Ping of at most 125 bytes; by default of 4 random ones (RFC 6455 5.5.2).

        Returns an awaitable of the round-trip time in seconds; it need not be awaited. It raises
        ``ConnectionClosed`` when the connection closes first.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ConcurrencyError: a Ping with the same payload is still unanswered.
            ValueError: more than 125 bytes.
        """
        if self.protocol.ready_state is not _OPEN:
            await self._may_send()
        payload = (
            data.encode() if isinstance(data, str) else None if data is None else bytes(memoryview(data))
        )
        if payload is not None and len(payload) > 125:
            raise ValueError(f"ping payload of {len(payload)} bytes is longer than 125")
        answered: asyncio.Future[float] = self._loop.create_future()
        self.send_ping(payload, answered)
        await self._after_sending()
        return answered

    async def pong(self, data: str | Buffer = b"") -> None:
        """Send an unsolicited Pong of at most 125 bytes (RFC 6455 5.5.3). Pings are answered without this.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ValueError: more than 125 bytes.
        """
        if self.protocol.ready_state is not _OPEN:
            await self._may_send()
        self.protocol.pong(data.encode() if isinstance(data, str) else data)
        self._send_owed()
        await self._after_sending()

    # Closing

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection in an orderly way, and wait until it is closed (RFC 6455 7.1.2).

        ``reason`` is at most 123 bytes of UTF-8. After ``close_timeout`` without the peer's answer TCP is cut.
        Messages that were received can still be taken with ``recv``; of those that come after this call, at
        most ``max_queue``. A call on a connection that is closing or closed only waits. While ``send`` is inside a
        message of fragments, the connection is closed with 1011 instead, as that message has no end.

        Raises:
            ValueError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        if self.protocol.ready_state is _CONNECTING:
            self.transport.abort()
        elif self.protocol.encoder.in_message and self.protocol.ready_state is _OPEN:
            self.protocol.encoder.close(code, reason)  # a mistake is one here too
            self.fail(CloseCode.INTERNAL_ERROR, "close during fragmented message")
        else:
            self.start_close(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; whoever closes it.

        The peer's Close is then answered without regard to messages that wait. They can be received afterwards.
        """
        self._n_waiting_for_end += 1
        try:
            self._wait_for_end()
            await asyncio.shield(self._closed)
        finally:
            self._n_waiting_for_end -= 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    def _close_half(self) -> None:
        if self._peer_sent_eof or not self.transport.can_write_eof():
            self.transport.close()
        else:
            try:
                self.transport.write_eof()
            except OSError:  # the peer's reset is there already
                self.transport.abort()

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(*self._write_limit)
        self.receive_in_place()

    def _handshake_received(self, data: Buffer) -> None:
        raise NotImplementedError

    def _opened(self, trailing_data: bytes) -> None:
        """Begin to work as an open connection; the data is what came right after the handshake."""
        self._connecting = False
        self.opened()
        if trailing_data:
            self.data_received(trailing_data)

    def eof_received(self) -> bool:
        self._peer_sent_eof = True
        # True keeps our half open. TLS cannot be half closed, and asyncio warns when it is asked to.
        return self.keeps_half_open and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost(exc)
        self.resume_writing()
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
