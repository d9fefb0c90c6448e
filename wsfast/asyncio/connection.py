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
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from ..codec import CloseCode
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..exceptions import ConcurrencyError, ConnectionClosedOK
from ..handshake import Request, Response
from ..limits import Limits
from ..session import SENDS_PER_TURN, Data, Stage
from ..session.base import NO_MESSAGES
from .sending import Sending
from .tracing import traced
from .waking import Waiter

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from ..codec import Event


__all__ = ["Connection", "Data"]

Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[Any]

_CONNECTING, _OPEN, _CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED
_STAGE_OPEN, _STAGE_CLOSED = Stage.OPEN, Stage.CLOSED


class Connection(Sending):
    """The part that client and server connections share. Made by ``connect`` and ``serve``.

    One task may receive and any number may send at a time. ``recv``, ``send``, ``ping``, ``close`` belong to the
    connection's event loop and are not for other threads. Times are in seconds.
    """

    # Slots: an idle connection should own almost nothing. Subclasses of users get a __dict__ as usual.
    __slots__ = (
        "__weakref__",
        "_closed",
        "_counts_frames",
        "_handshake_done",
        "_has_skipped",
        "_is_in_read",
        "_last_waiter",
        "_logger",
        "_woken",
        "_write_limit",
        "request",
        "response",
    )

    _waiter: Waiter | None

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
        limits: Limits | None = None,
        count_frames: bool = False,
    ) -> None:
        super().__init__(
            protocol,
            asyncio.get_running_loop(),
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
            limits=limits,
        )
        self.request: Request | None = None
        """The request of the opening handshake."""
        self.response: Response | None = None
        """The response of the opening handshake."""
        self._logger: Logger = logger or logging.getLogger("wsfast")
        self._write_limit = write_limit if isinstance(write_limit, tuple) else (write_limit, None)
        self._gate = None
        self._parts = None
        self._parts_size = 0
        self.is_fragmenting = False
        self._counts_frames = count_frames
        self._last_waiter: Waiter | None = None
        self._is_in_read = False
        self._woken: Waiter | None = None  # goes on at the end of the read that we are in
        self._has_skipped = False  # a broadcast skipped it, and said so
        # Done when the opening handshake is answered, or will not be; None after somebody waited for that.
        self._handshake_done: Waiter | None = Waiter(self._loop)
        self._closed: asyncio.Future[None] | None = None  # of those who wait for the end

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

    def _next_chunk(self, in_parts: bool = False) -> Awaitable[None]:
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
        if self._parts is not None and not in_parts and self._parts.is_wanted:
            raise ConcurrencyError(
                "a message is being received in parts: take the rest of it, or call aclose()"
            )
        self._sends_left = SENDS_PER_TURN
        waiter = self._last_waiter
        if waiter is not None and waiter.may_serve_again:
            waiter.may_serve_again = False
        else:
            waiter = self._last_waiter = Waiter(self._loop)
        self._waiter = waiter
        return waiter

    def _is_receiving(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    async def _decode_rest(self) -> None:
        """Decode on: the connection was lost, but bytes of it are still here."""
        if not self._decode_on():
            await self._raise_closed()
        await asyncio.sleep(0)

    # Closing

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection in an orderly way, and wait until it is closed (RFC 6455 7.1.2).

        ``reason`` is at most 123 bytes of UTF-8. After ``close_timeout`` without the peer's answer TCP is cut.
        Messages that were received can still be taken with ``recv``; of those that come after this call, at
        most ``max_queue``. A call on a connection that is closing or closed only waits. While ``send`` is inside a
        message of fragments, the connection is closed with 1011 instead, as that message has no end.

        Raises:
            ProtocolError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        self._begin_close(code, reason)
        await self.wait_closed()

    async def _until_closed(self) -> None:
        """Wait until the connection is closed, while somebody else takes messages."""
        if not self._has_ended():
            if self._closed is None:
                self._closed = self._loop.create_future()
            await asyncio.shield(self._closed)

    def _has_ended(self) -> bool:
        return self._stage is _STAGE_CLOSED

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    def _close_half(self) -> None:
        if self._is_half_closed or not self.transport.can_write_eof():
            self.transport.close()
        else:
            try:
                self.transport.write_eof()
            except OSError:  # the peer's reset is there already
                self.transport.abort()

    def _end_handshake(self) -> bool:
        """Wake the one who waits for the opening handshake; return False if that was done."""
        if self._handshake_done is None or self._handshake_done.done():
            return False
        self._handshake_done.set_result(None)
        return True

    async def _handshake_ended(self) -> None:
        if self._handshake_done is not None:
            await self._handshake_done
            self._handshake_done = None

    # The transport's calls

    def data_received(self, data: Buffer) -> None:
        if self._connecting:
            self._handshake_received(data)
            return
        self._has_heard = True
        events: list[Any] = self._feed(data)
        waiter = self._waiter
        if waiter is None or self._decoder.has_control or self._rate is not None or self._dropping:
            self.heard(events)
        elif events:
            # The usual read: what _queue and _wake do, without a call in between.
            messages = self._messages
            if messages is NO_MESSAGES:
                messages = self._own_queue()
            messages.extend(events)
            self._waiter = None
            waiter.wake()

    def heard(self, events: list[Event]) -> None:
        self._is_in_read = True
        try:
            super().heard(events)
        finally:
            self._is_in_read = False
            woken, self._woken = self._woken, None
            if woken is not None:
                woken.wake()

    def _wake(self) -> None:
        if self._is_in_read and self._waiter is not None:
            self._woken, self._waiter = self._waiter, None
        else:
            super()._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            super().connection_made(traced(transport, self, self.logger))
        else:
            super().connection_made(transport)
            if not self._counts_frames:
                self.receive_in_place()
        self.transport.set_write_buffer_limits(*self._write_limit)
        if self._counts_frames:
            self.count_frames()

    def _opened(self, trailing_data: bytes) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection open")
        super()._opened(trailing_data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._connecting and self._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection closed")
        self._end_handshake()
        self._is_closed()
        self._open_gate()

    def _is_closed(self) -> None:
        """Wake those who wait for the end."""
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
