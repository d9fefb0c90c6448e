"""Sending on an asyncio transport, for coroutines: messages, fragments, Pings, and when a sender has to wait.

- A message is one frame, one encoder call, and usually one write.
- Inside a message of fragments no other message is sent; control frames are (RFC 6455 5.4).
- A sender waits while the peer reads slower than it sends, and gives others a turn now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import TYPE_CHECKING, Any

from ..codec import CloseCode
from ..common.awaiting import Awaited
from ..common.messages import check_fragments, is_buffer, ping_payload
from ..connection import ReadyState
from ..session import MAX_BATCH_SIZE, Delivery, Outcome, Slow
from .transport import LARGE_MESSAGE, TransportSession

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CONNECTING, _OPEN, _CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED

# A tuple: `str | bytes` would be computed anew for each message.
_WHOLE = (str, bytes)


class Sending(TransportSession, Awaited):
    """The calls that send."""

    __slots__ = ("_gate", "_parts", "_parts_size", "is_fragmenting")

    is_fragmenting: bool
    """True while ``send`` is inside a message of fragments."""

    _gate: asyncio.Future[None] | None
    """Senders wait for it first: for the end of a message of fragments, or until the peer takes some of 16 MiB, or
    the messages of broadcasts that wait."""

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
        if self._gate is not None or self.protocol.ready_state is not _OPEN:
            await self._may_send()
        if not isinstance(message, _WHOLE) and not is_buffer(message):
            await self._send_fragments(message, text, compress)  # type: ignore[arg-type]  # a cast() is a call
            return
        if type(message) is bytes and len(message) >= LARGE_MESSAGE:
            header = self._header_of(message, text, compress)
            if header is not None:
                self._write_uncopied(header, message)
                await self._give_way()
                if self._blocked:
                    await self._drain()
                return
        # Compressing is part of this one call, with no await in it: what is compressed is sent.
        frame = self._encode(message, text, compress)
        if self._messages or self._batch:
            # The first lines of _add_to_batch(): a call would be 6 % of an echo with 64 in flight (compare, echo).
            self._batch.append(frame)
            self._batch_size += len(frame)
            if (self._batch_size >= MAX_BATCH_SIZE or not self._flush_scheduled) and self._batch_grew():
                await self._give_way()
        else:
            self.transport.write(frame)
            self._sends_left = n_left = self._sends_left - 1
            if not n_left & 3:
                await self._give_way()
        if self._blocked:
            await self._drain()

    async def _may_send(self, *, is_control: bool = False) -> None:
        """Wait for a turn to send; raise if none will come. Control frames may stand between fragments (5.4)."""
        while self.protocol.ready_state is _OPEN:
            if self._gate is None or (is_control and self.is_fragmenting):
                return
            await asyncio.shield(self._gate)
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
        self._gate = self._loop.create_future()
        self.is_fragmenting = True
        encode = self.protocol.encoder.fragment
        last: str | bytes | None = None  # an empty fragment of the message's type, for the end
        try:
            if isinstance(fragments, AsyncIterable):
                async for fragment in fragments:
                    last = await self._send_fragment(encode(fragment, False, text, compress), fragment)
            else:
                for fragment in fragments:
                    last = await self._send_fragment(encode(fragment, False, text, compress), fragment)
            if last is not None:
                await self._send_fragment(encode(last, True, text, compress), last)
        except BaseException:
            if self.protocol.encoder.in_message and self.protocol.ready_state is _OPEN:
                self.fail(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        finally:
            self._open_gate()
            self._gate = None
            self.is_fragmenting = False

    def _open_gate(self) -> None:
        """Wake those who wait until the message of fragments is sent, or will never be."""
        if self._gate is not None and not self._gate.done():
            self._gate.set_result(None)

    def resume_writing(self) -> None:
        if not self.is_fragmenting:
            self._gate = None  # done below, as it is `_drained`
        super().resume_writing()
        if self._backlog is not None:
            self._hold_senders()

    def deliver(self, delivery: Delivery, slow: Slow) -> Outcome:
        outcome = super().deliver(delivery, slow)
        if self._backlog is not None:
            self._hold_senders()
        return outcome

    def _hold_senders(self) -> None:
        """Let senders wait before they write, until the peer has taken some."""
        if self._gate is None:
            self._gate = self._drained = self._drained or self._loop.create_future()

    async def _send_fragment(self, frame: bytes, fragment: str | Buffer) -> str | bytes:
        if self.protocol.ready_state is not _OPEN:
            await self._raise_closed()
        # Not into a batch: an iterable has its own pace, and a block of another task may wait for its end.
        self._flush()
        self._write(frame)
        await self._after_sending()
        return "" if isinstance(fragment, str) else b""

    async def _after_sending(self) -> None:
        self._sends_left -= 1
        await (self._drain() if self._blocked else self._give_way())

    async def _drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        if self._blocked and self._gate is None and self._unsent_size() > self._limits.max_unsent_size:
            # There are senders that do not wait for each other, or give up: each has written before it waited.
            self._hold_senders()
        await self._wait_writable()
        if self.protocol.ready_state is _CLOSED:
            raise self._closed_exception()

    async def _give_way(self) -> None:
        await self._let_others_run()
        if self._is_gone():
            await self._raise_closed()

    async def ping(self, data: str | Buffer | None = None) -> Awaitable[float]:
        """Send a Ping of at most 125 bytes; by default of 4 random ones (RFC 6455 5.5.2).

        Returns an awaitable of the round-trip time in seconds; it need not be awaited. It raises
        ``ConnectionClosed`` when the connection closes first. Waits while the peer reads slowly, or leaves 1024 Pings
        unanswered whose awaitables are still kept and not cancelled.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ConcurrencyError: a Ping with the same payload is still unanswered.
            ValueError: more than 125 bytes.
        """
        if self._gate is not None or self.protocol.ready_state is not _OPEN:
            await self._may_send(is_control=True)
        payload = ping_payload(data)
        while (first := self._pings.forget_unwanted(asyncio.Future.done)) is not None:
            await asyncio.wait([first])
            await self._may_send(is_control=True)
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
        if self._gate is not None or self.protocol.ready_state is not _OPEN:
            await self._may_send(is_control=True)
        self.protocol.pong(data.encode() if isinstance(data, str) else data)
        self._send_owed()
        await self._after_sending()

    async def _raise_closed(self) -> None:
        await self.wait_closed()
        raise self._closed_exception()

    def _soon(self, call: Any, *arguments: Any) -> None:
        self._loop.call_soon(call, *arguments)
