"""A connection that hands messages over as they come, and whose calls do not wait: the half below the listener.

    the next message        is handed over
    ----------------------  ------------------------------------------------------------------
    usually                 inside the read that brought it
    while there is a hold   later, in order: at the turn after the last hold is gone, or at the end of TCP
    after a hold is gone    at the next turn, and those that waited before it
    after fail() or abort() never

Whoever takes messages may call anything. A call that stops the delivery empties the iterator that is being delivered.
So nothing has to be asked for after each message.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ..codec import CloseCode, Event, Failure, Ping, Pong
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..exceptions import ConnectionClosed
from ..printable import shown
from ..session import MAX_BATCH_SIZE, Data, Stage
from ..session.receiving import QUEUE
from .connection import Connection
from .transport import LARGE_MESSAGE

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BLOCKED", "NOT_OPEN", "OVER", "Delivering", "ignore"]

_OPEN = ReadyState.OPEN

# Bits of `_holds`, the reasons for which messages are not handed over: the application's; a peer that reads slowly;
# those that waited come first, at the next turn; the connection is not open yet; the application has failed or cut it.
_PAUSED, BLOCKED, _RESUMING, NOT_OPEN, OVER = 1, 2, 4, 8, 16

_TOLD: Final = (str, bytes, Ping, Pong)


class Delivering(Connection):
    """Calls ``_on_message`` for each message, and ``_tell`` if Pings and Pongs are among them."""

    __slots__ = ("_delivering", "_hears_control", "_holds", "_on_message", "_with_control")

    def __init__(self, protocol: Protocol, *args: Any, **options: Any) -> None:
        super().__init__(protocol, *args, **options)
        self._on_message: Callable[[Any, Data], object] = ignore
        self._holds = NOT_OPEN
        self._delivering: Iterator[Data] | None = (
            None  # over the messages of this read, inside a callback; else None
        )
        self._hears_control = False  # Pings and Pongs are handed over too
        self._with_control: list[Any] | None = None  # the events of this read, Pings and Pongs among them

    # Sending

    def send(  # type: ignore[override]  # here, and below: no coroutine, as the class says
        self, message: str | Buffer, *, text: bool | None = None, compress: bool | None = None
    ) -> None:
        """Send a message: ``str`` as text, bytes-like as binary (RFC 6455 5.6). Does not wait.

        ``text`` and ``compress`` are those of ``Connection.send``. Inside a callback, messages are collected and
        written when it, and the rest of the read, is done, or when there are 64 KiB.

        Raises:
            ConnectionClosed: the connection is closing or closed; or the peer has left 16 MiB untaken, and the
                connection fails with 1008 for that.
            RuntimeError: a message of fragments is not finished (RFC 6455 5.4).
            TypeError: a message of another type.
            ValueError: text that is not UTF-8.
        """
        if self.protocol.ready_state is not _OPEN:
            raise self._closed_exception()
        if type(message) is bytes and len(message) >= LARGE_MESSAGE:
            header = self._header_of(message, text, compress)
            if header is not None:
                self._send_uncopied(header, message)
                return
        frame = self._encode(message, text, compress)
        if self._blocked:
            self._write_backlog(whole=True)  # broadcasts that wait stand before it
        if self._delivering is not None or self._batch:
            self._batch.append(frame)
            self._batch_size += len(frame)
            if self._batch_size >= MAX_BATCH_SIZE:
                self._write_now(b"")
        else:
            self._write_now(frame)
        if self._blocked:
            self._check_unsent()

    def _send_uncopied(self, header: bytes, message: bytes) -> None:
        if self._blocked:
            self._write_backlog(whole=True)
        if self._is_gone():
            raise self._closed_exception()
        self._write_uncopied(header, message)
        if self._blocked:
            self._check_unsent()

    def send_fragment(
        self, data: str | Buffer, fin: bool = False, *, text: bool | None = None, compress: bool | None = None
    ) -> None:
        """Send the next fragment of a message, the last one with ``fin`` (RFC 6455 5.4).

        The first decides the message's type, and whether it is compressed. Until the last one is sent no other
        message can be; Pings and Pongs can. Raises as ``send``.
        """
        self._require_open()
        frame = self.protocol.encoder.fragment(data, fin, text, compress)
        if not self.is_fragmenting:
            self._write_backlog(whole=True)
        self._put(frame)
        self.is_fragmenting = self.protocol.encoder.in_message
        if not self.is_fragmenting:
            self._write_backlog()

    def ping(self, data: str | Buffer | None = None) -> bytes:  # type: ignore[override]
        """Send a Ping of at most 125 bytes, by default of 4 random ones, and return them (RFC 6455 5.5.2).

        Its Pong comes to ``on_pong``, and sets ``latency``. A Pong may stand for the Pings before it too.

        Raises:
            ConnectionClosed: as ``send``.
            ConcurrencyError: a Ping with the same payload is still unanswered.
            ValueError: more than 125 bytes.
        """
        self._require_open()
        payload = (
            data.encode() if isinstance(data, str) else None if data is None else bytes(memoryview(data))
        )
        if payload is not None and len(payload) > 125:
            raise ValueError(f"ping payload of {len(payload)} bytes is longer than 125")
        self._pings.forget_unwanted()
        payload = self._pings.add(payload, None, self._now())
        self.protocol.ping(payload)
        self._put(self.protocol.data_to_send())
        return payload

    def pong(self, data: str | Buffer = b"") -> None:  # type: ignore[override]
        """Send an unsolicited Pong of at most 125 bytes (RFC 6455 5.5.3). Pings are answered without this.

        Raises:
            ConnectionClosed: as ``send``.
            ValueError: more than 125 bytes.
        """
        self._require_open()
        self.protocol.pong(data.encode() if isinstance(data, str) else data)
        self._put(self.protocol.data_to_send())

    def _require_open(self) -> None:
        if self.protocol.ready_state is not _OPEN:
            raise self._closed_exception()

    def _put(self, frame: bytes) -> None:
        """Write a frame, or collect it inside a callback."""
        if self._delivering is None and not self._batch:
            self._write_now(frame)
        else:
            self._batch.append(frame)
            self._batch_size += len(frame)
            if self._batch_size >= MAX_BATCH_SIZE:
                self._write_now(b"")
        if self._blocked:
            self._check_unsent()

    def _write_now(self, frame: bytes) -> None:
        """Write the batch, and the frame; raise if TCP is closing: the sender may be a loop."""
        if self._is_gone():
            raise self._closed_exception()
        self._flush()
        if frame:
            self._write(frame)

    def _check_unsent(self) -> None:
        """The peer reads slowly, and the application sends on: that has a bound."""
        if self._unsent_size() + self._batch_size > self._limits.max_unsent_size:
            self._fail_as_slow()
            raise self._closed_exception()

    # Ending

    def close(  # type: ignore[override]
        self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = ""
    ) -> Awaitable[None]:
        """Start the closing handshake (RFC 6455 7.1.2). Does nothing if that was done.

        Messages that the peer sent before it heard of this still come. Returns an awaitable of the end, as
        ``wait_closed``; it need not be awaited. Rules and mistakes are those of ``Connection.close``.
        """
        self._begin_close(code, reason)
        return _End(self)

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7): the peer's Close is not waited for, and no message comes any more.

        Raises:
            ValueError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        super().fail(code, reason)
        if self._cause is None:  # else the keepalive does it, and what came before is delivered
            self._drop_rest()

    def abort(self) -> None:
        """Cut TCP at once. No message comes any more, only ``on_close``."""
        self._drop_rest()
        self.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, and ``on_close`` was called."""
        # Not as Connection.wait_closed(): who waits here does not stop the listener from taking messages.
        await self._until_closed()

    # Flow control

    def pause_reading(self) -> None:
        """Let the peer wait: no message is delivered until ``resume_reading``, not even of the current read.

        The keepalive goes on: a peer that is gone, and one that closes, ends the connection all the same. Then the
        messages that waited are delivered first. Does nothing if it was called already.
        """
        self._hold_back(_PAUSED)

    def resume_reading(self) -> None:
        """Deliver messages again, those that waited from the next turn of the loop on."""
        self._let_go(_PAUSED)

    def _hold_back(self, reason: int) -> None:
        if self._stage is Stage.CLOSED or self._holds & reason:
            return
        self._holds |= reason
        if self._delivering is not None:
            rest = list(self._delivering)  # this ends the loop that delivers
            if rest:
                self._messages = deque((*rest, *self._messages))
                self._queue_size = sum(map(sys.getsizeof, self._messages))
        if self._stage is Stage.OPEN:
            self._pause(QUEUE)

    def _let_go(self, reason: int) -> None:
        if self._holds & reason:
            self._holds &= ~reason
            if not self._holds:
                self._go_on_soon()

    def _go_on_soon(self) -> None:
        self._holds = _RESUMING
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._holds &= ~_RESUMING
        if self._stage is Stage.CLOSED:
            return
        self._deliver_waiting()
        if not self._holds:
            if self._dropping:  # there was no room for all: the messages that come have no hole
                self._holds = OVER
            self._unpause(QUEUE)
            if self._stage is Stage.PEER_ENDED:
                self._answer()

    def _drop_rest(self) -> None:
        self._holds |= OVER
        if self._delivering is not None:
            for _ in self._delivering:
                pass
        if self._messages:
            self._messages.clear()

    # Delivering

    def data_received(self, data: Buffer) -> None:
        if self._holds or self._delivering is not None or self._rate is not None:
            super().data_received(data)
            return
        # The usual read: what TransportSession.data_received and _deliver do, without a call in between.
        self._has_heard = True
        events: list[Any] = self._feed(data)
        if self._decoder.has_control:
            self._take_control(events)
            return
        on_message = self._on_message
        self._delivering = iterator = iter(events)
        try:
            for message in iterator:
                on_message(self, message)
        except BaseException as exception:
            self._listener_failed(exception)
        finally:
            self._delivering = None
            batch = self._batch
            if len(batch) == 1 and not (self._blocked or self._pauses):
                self._batch_size = 0
                self.transport.write(batch.pop())
            elif batch:
                self._flush()
        if self._messages and not self._holds:
            self._go_on_soon()

    def _queue(self, messages: list[Data]) -> None:
        on_message, n_messages = self._on_message, len(messages)
        if self._with_control is not None:
            messages = [cast("Data", event) for event in self._with_control if isinstance(event, _TOLD)]
            self._with_control = None
            on_message = type(self)._tell
        if not self._holds and self._delivering is None:
            if self._rate is not None:
                self._look_at_rate(n_messages)
            self._deliver(messages, on_message)
        elif not self._holds & OVER:
            super()._queue(messages)

    def _deliver(self, messages: Iterable[Data], on_message: Callable[[Delivering, Data], object]) -> None:
        self._delivering = iterator = iter(messages)
        try:
            for message in iterator:
                on_message(self, message)
        except BaseException as exception:
            self._listener_failed(exception)
        self._callback_done()

    def _callback_done(self) -> None:
        self._delivering = None
        if self._batch:
            self._flush()
        if self._messages and not self._holds:
            self._go_on_soon()  # a transport without a socket may have brought them meanwhile

    def _deliver_waiting(self) -> None:
        if self._messages and not self._holds:
            self._deliver(self._take_waiting(), type(self)._tell)

    def _take_waiting(self) -> Iterator[Data]:
        while self._messages and not self._holds:
            self._n_taken += 1
            yield self._messages.popleft()

    def _take_control(self, events: list[Event | Failure]) -> None:
        # Pings and Pongs are told in their place among the messages, and not before those are delivered.
        if self._hears_control:
            self._with_control = cast("list[Any]", events)
        super()._take_control(events)

    def _peer_ended(self) -> None:
        if self._stage is Stage.PEER_ENDED:  # else a callback has closed the connection before us
            super()._peer_ended()

    # Calling

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call the listener; all that it sends goes out in one write."""
        if self._delivering is not None:  # inside another callback
            try:
                callback(self, *arguments)
            except BaseException as exception:
                self._listener_failed(exception)
            return
        self._delivering = iter(())
        try:
            callback(self, *arguments)
        except BaseException as exception:
            self._listener_failed(exception)
        self._callback_done()

    def _listener_failed(self, exception: BaseException) -> None:
        if isinstance(exception, SystemExit | KeyboardInterrupt):
            self._delivering = None
            raise exception
        if isinstance(exception, ConnectionClosed):
            # The peer left, and the listener did not catch it: an operator can mend nothing.
            self.logger.debug("listener ended: %s", shown(str(exception), 1000))
        else:
            self.logger.error("listener failed", exc_info=exception)
        self._drop_rest()
        if self.protocol.ready_state is _OPEN:
            self._begin_close(CloseCode.INTERNAL_ERROR, "")

    def _tell(self, event: Data | Ping | Pong) -> None:
        """Hand over a message, a Ping or a Pong."""
        raise NotImplementedError

    # What coroutines do

    async def recv(self, decode: bool | None = None) -> NoReturn:
        """Do nothing but say that messages go to the listener."""
        raise _no_recv("recv()")

    def recv_streaming(self, decode: bool | None = None) -> NoReturn:
        """Do nothing but say that messages go to the listener."""
        raise _no_recv("recv_streaming()")

    def __aiter__(self) -> NoReturn:
        raise _no_recv("iteration")


class _End:
    """An awaitable of the end of a connection, that costs nothing if nobody awaits it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Delivering) -> None:
        self._connection = connection

    def __await__(self) -> Generator[Any, None, None]:
        return self._connection.wait_closed().__await__()


def ignore(connection: Delivering, message: Data) -> None:
    """Take a message for which there is no listener: it could not be made."""


def _no_recv(call: str) -> TypeError:
    return TypeError(f"there is no {call} on this connection: its messages go to on_message of its listener")
