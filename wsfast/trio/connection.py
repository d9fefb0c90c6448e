"""A WebSocket connection on a trio stream: the calls of the application, and what they wait for.

- Each call is a checkpoint, whether it waits or not: others run, and a cancellation that is due comes.
- A call that is cancelled has done nothing: ``recv`` has taken no message, and ``send`` has sent no byte of one. It
  waits for room before it writes, and never after it.
- Two calls cannot keep this. ``send`` of fragments may be cancelled in the middle of a message: that fails the
  connection with 1011. ``aclose`` cuts TCP then, as trio asks of it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, overload

import trio

from ..codec import CloseCode
from ..common.messages import check_fragments, is_buffer, ping_payload
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedOK
from ..handshake import Request, Response
from ..session import Backlog, Data, Stage, Traffic
from ..typing import LoggerLike
from .observing import Meter, traced
from .pings import Answer
from .stream import StreamSession

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Connection", "Data"]

_CONNECTING, _OPEN = ReadyState.CONNECTING, ReadyState.OPEN
_STAGE_OPEN, _STAGE_CLOSED = Stage.OPEN, Stage.CLOSED
_WHOLE = (str, bytes)  # a tuple: `str | bytes` would be computed anew for each message


class Connection(StreamSession, trio.abc.AsyncResource):
    """The part that client and server connections share. Made by ``connect`` and ``serve``.

    One task may receive and any number may send at a time. Times are in seconds.
    """

    __slots__ = ("__weakref__", "_has_skipped", "_logger", "_meter", "is_fragmenting", "request", "response")

    def __init__(
        self,
        protocol: Protocol,
        stream: trio.abc.Stream,
        *,
        write_limit: int | tuple[int, int | None] = 2**15,
        logger: LoggerLike | None = None,
        count_frames: bool = False,
        **options: Any,
    ) -> None:
        self._logger: LoggerLike = logger or logging.getLogger("wsfast")
        if self._logger.isEnabledFor(logging.DEBUG):
            stream = traced(stream, protocol, self.logger)
        self._meter = Meter(stream, protocol.role) if count_frames else None
        defaults = {"ping_interval": 20, "ping_timeout": 20, "close_timeout": 10, "max_queue": 16}
        super().__init__(protocol, self._meter or stream, write_limit, **(defaults | options))
        self.request: Request | None = None
        """The request of the opening handshake."""
        self.response: Response | None = None
        """The response of the opening handshake."""
        self.is_fragmenting = False
        """True while ``send`` is inside a message of fragments."""
        self._has_skipped = False  # a broadcast skipped it, and said so

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
        message = await self._next_message()
        if decode is None or isinstance(message, str) is decode:
            return message
        if isinstance(message, str):
            return message.encode()
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            text = f"{error.reason} at position {error.start}"
        self.fail(CloseCode.INVALID_PAYLOAD_DATA, text)
        await self._raise_closed()

    async def __anext__(self) -> Data:
        try:
            return await self._next_message()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None

    async def _next_message(self) -> Data:
        if self._messages:
            await trio.lowlevel.checkpoint()
        while not self._messages:
            await self._next_chunk()
        message = self._messages.popleft()
        if self._pauses:
            self._message_taken()
        return message

    async def _next_chunk(self, in_parts: bool = False) -> None:
        """Wait until there is something new."""
        if self._batch:
            self._flush()
        if self._stage is not _STAGE_OPEN:
            if self._stage is _STAGE_CLOSED and self._decode_on():
                await trio.lowlevel.checkpoint()
                return
            if self.protocol.ending is not None:
                self._answer()  # all before it was taken: it is its turn
            if self.protocol.receiving_done:
                await self._raise_closed()
        if self._waiter is not None:
            raise ConcurrencyError("another task is already waiting in recv()")
        if self._parts is not None and not in_parts and self._parts.is_wanted:
            raise ConcurrencyError(
                "a message is being received in parts: take the rest of it, or call aclose()"
            )
        self._waiter = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _is_receiving(self) -> bool:
        return self._waiter is not None

    def _stop_waiting(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    # Sending

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

        Waits first while the peer reads slower than we send (``write_limit``). If it is cancelled then, nothing of the
        message is sent.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            TypeError: a message of another type.
            ValueError: text that is not UTF-8.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._must_wait() or self.protocol.ready_state is not _OPEN:
            await self._may_send()
        if not isinstance(message, _WHOLE) and not is_buffer(message):
            await self._send_fragments(message, text, compress)  # type: ignore[arg-type]
            return
        # Compressing is part of this one call, with no await in it: what is compressed is sent.
        frame = self._encode(cast("str | bytes", message), text, compress)
        if self._batch:
            self._add_to_batch(frame)
        else:
            self._write(frame)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _must_wait(self, is_control: bool = False) -> bool:
        """Tell whether a sender has to wait. Control frames may stand between fragments (RFC 6455 5.4)."""
        return self._blocked or (not is_control and (self.is_fragmenting or self._backlog is not None))

    async def _may_send(self, is_control: bool = False) -> None:
        """Wait for a turn to send; raise if none will come."""
        while self.protocol.ready_state is _OPEN:
            if not self._must_wait(is_control):
                return
            await self._news.park()
        if self.protocol.ready_state is _CONNECTING:
            raise self._closed_exception()
        await self._raise_closed()

    async def _send_fragments(
        self,
        fragments: Iterable[str | Buffer] | AsyncIterable[str | Buffer],
        text: bool | None,
        compress: bool | None,
    ) -> None:
        check_fragments(fragments, Iterable | AsyncIterable)
        last: str | bytes | None = None  # an empty fragment of the message's type, for the end
        self.is_fragmenting = True
        try:
            async with contextlib.aclosing(_each(fragments)) as each:
                async for fragment in each:
                    await self._send_fragment(fragment, False, text, compress)
                    last = "" if isinstance(fragment, str) else b""
            if last is not None:
                await self._send_fragment(last, True, text, compress)
        except BaseException:
            if self.protocol.encoder.in_message and self.protocol.ready_state is _OPEN:
                self.fail(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        finally:
            self.is_fragmenting = False
            self._write_backlog()
            self._news.unpark_all()

    async def _send_fragment(
        self, fragment: str | Buffer, fin: bool, text: bool | None, compress: bool | None
    ) -> None:
        await self._may_send(is_control=True)
        # Not into a batch: an iterable has its own pace, and a block of another task may wait for its end.
        self._flush()
        self._write(self.protocol.encoder.fragment(fragment, fin, text, compress))
        await trio.lowlevel.checkpoint()

    async def ping(self, data: str | Buffer | None = None, *, ack_on_close: bool = False) -> Answer:
        """Send a Ping of at most 125 bytes; by default of 4 random ones (RFC 6455 5.5.2).

        Returns an ``Answer``: ``await answer.wait()``, or ``await answer``, waits for the Pong and returns the
        round-trip time in seconds. It need not be awaited. If the connection closes first, this raises
        ``ConnectionClosed``, or with ``ack_on_close`` returns. Waits while the peer reads slowly, or leaves 1024 Pings
        unanswered whose answers are still kept.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ConcurrencyError: a Ping with the same payload is still unanswered.
            ValueError: more than 125 bytes.
        """
        payload = ping_payload(data)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._may_send(is_control=True)
        while (first := self._pings.forget_unwanted()) is not None:
            with contextlib.suppress(ConnectionClosed):
                await first.wait()
            del first
            await self._may_send(is_control=True)
        answer = Answer(ack_on_close)
        self.send_ping(payload, answer)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return answer

    async def pong(self, data: str | Buffer = b"") -> None:
        """Send an unsolicited Pong of at most 125 bytes (RFC 6455 5.5.3). Pings are answered without this.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ValueError: more than 125 bytes.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._may_send(is_control=True)
        self.protocol.pong(data.encode() if isinstance(data, str) else data)
        self._send_owed()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_taken(self, backlog: Backlog, end: int) -> None:
        """Wait until no message of ``backlog`` before the number ``end`` waits, or the connection is closed."""
        await trio.lowlevel.checkpoint()
        while self._backlog is backlog and backlog.holds_before(end):
            await self._news.park()

    # Closing

    async def aclose(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection in an orderly way, and wait until it is closed (RFC 6455 7.1.2).

        ``reason`` is at most 123 bytes of UTF-8. After ``close_timeout`` without the peer's answer TCP is cut, and if
        this is cancelled, at once. Messages that were received can still be taken with ``recv``; of those that come
        after this call, at most ``max_queue``. A call on a connection that is closing or closed only waits. While
        ``send`` is inside a message of fragments, the connection is closed with 1011 instead, as that message has no
        end.

        Raises:
            ProtocolError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        self._begin_close(code, reason)
        try:
            await self.wait_closed()
        except BaseException:
            self._abort()
            raise

    close = aclose

    async def _until_closed(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._stage is not _STAGE_CLOSED:
            await self._news.park()

    async def _raise_closed(self) -> NoReturn:
        await self.wait_closed()
        raise self._closed_exception()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # The session's news

    def _opened(self, trailing_data: bytes) -> None:
        """Begin to work as an open connection; the data is what came right after the handshake."""
        self._connecting = False
        if self._meter is not None:
            self._meter.open(trailing_data, self._unwritten_size)
        if self._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection open")
        self.opened()
        if trailing_data:
            self.data_received(trailing_data)

    def lost(self, exception: BaseException | None) -> None:
        super().lost(exception)
        if not self._connecting and self._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection closed")

    def _traffic(self) -> tuple[Traffic | None, Traffic | None]:
        meter = self._meter
        return (None, None) if meter is None else (meter.received.traffic(), meter.sent.traffic())


async def _each(
    fragments: Iterable[str | Buffer] | AsyncIterable[str | Buffer],
) -> AsyncGenerator[str | Buffer, None]:
    if isinstance(fragments, AsyncIterable):
        iterator = aiter(fragments)
        try:
            async for fragment in iterator:
                yield fragment
        finally:
            # Nobody else can close a generator that stops in the middle, and trio asks for it.
            if (close := getattr(iterator, "aclose", None)) is not None:
                await close()
    else:
        for fragment in fragments:
            yield fragment
