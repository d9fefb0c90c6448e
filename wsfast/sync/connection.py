"""A WebSocket connection on a socket, for threads.

The session does what happens over time, and ``transport.py`` brings its verbs. Here are the calls of the application:

- Any number of threads may send; one at a time receives.
- A message costs no other thread: the one that calls ``recv`` reads, decodes and returns it.
- ``timeout`` is in seconds. A call whose time is over has lost nothing: what it waited for stays for the next one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, overload

from ..codec import CloseCode, Role
from ..common.messages import check_close, check_fragments, is_buffer, ping_payload
from ..common.tracing import streams
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..events import CloseCause
from ..exceptions import ConcurrencyError, ConnectionClosedOK
from ..http import Request, Response
from ..limits import Limits
from ..session import Backlog, Data, FrameCounter, Stage, Stats, Traffic
from ..session.parts import PartQueue
from .keeper import keeper
from .stream import Stream
from .streaming import Parts
from .transport import PongEvent, SocketSession

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from ..typing import LoggerLike

__all__ = ["Connection"]

_CONNECTING, _OPEN, _CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED
_WHOLE = (str, bytes)


class Connection(SocketSession):
    """The part that client and server connections share. Made by ``connect`` and ``serve``.

    One thread may receive and any number may send at a time; all other methods may be called by any thread.
    """

    __slots__ = ("_counters", "_fragmenting", "_given_up", "_has_skipped", "_logger", "request", "response")

    def __init__(
        self,
        protocol: Protocol,
        stream: Stream,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | tuple[int | None, int | None] | None = 16,
        logger: LoggerLike | None = None,
        limits: Limits | None = None,
        count_frames: bool = False,
    ) -> None:
        super().__init__(
            protocol,
            stream,
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
        self._logger: LoggerLike = logger or logging.getLogger("wsfast")
        self._fragmenting: int | None = None  # the thread that sends a message of fragments
        self._has_skipped = False  # a broadcast skipped it, and said so
        self._counters: tuple[FrameCounter, FrameCounter] | None = None
        if count_frames:
            role = protocol.role
            peer = Role.CLIENT if role is Role.SERVER else Role.SERVER
            self._counters = FrameCounter(peer), FrameCounter(role)
        self._given_up: list[tuple[PartQueue, int]] = []  # parts of messages that nobody wants any more
        if self._logger.isEnabledFor(logging.DEBUG):
            received, sent = streams(protocol, self.logger)
            self._taps.append((received.take, sent.take))

    @property
    def logger(self) -> logging.LoggerAdapter[Any]:
        """A logger whose records have the connection as ``websocket``.

        INFO tells that the connection was opened and closed. DEBUG, if it is on when the connection is made, tells
        the heads of the handshake and the frames.
        """
        return logging.LoggerAdapter(self._logger, {"websocket": weakref.proxy(self)})

    # Receiving

    @overload
    def recv(self, timeout: float | None = None, *, decode: Literal[True]) -> str: ...
    @overload
    def recv(self, timeout: float | None = None, *, decode: Literal[False]) -> bytes: ...
    @overload
    def recv(self, timeout: float | None = None, decode: bool | None = None) -> Data: ...

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> Data:
        """Receive the next message: ``str`` for text (``bytes`` with ``text="bytes"``), ``bytes`` for binary.

        ``timeout=0`` only looks what has come. ``decode=True`` returns a ``str`` and ``decode=False`` ``bytes``,
        whatever the message's type is. A binary message that is not UTF-8 then closes the connection with 1007.

        Raises:
            ConnectionClosed: no message will come any more.
            TimeoutError: there is none within ``timeout``. It is not lost, and stays for the next call.
            ConcurrencyError: another thread is waiting in ``recv``.
        """
        with self._lock:
            if self._parts is not None:
                self._forget_given_up()
            if not self._messages:
                self._receive(None if timeout is None else time.monotonic() + timeout)
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
        self._fail_text(text)

    def __iter__(self) -> Iterator[Data]:
        """Iterate over messages until the connection is closed.

        Ends after an orderly close (1000, 1001 or no code), else raises ``ConnectionClosedError``.
        """
        try:
            while True:
                yield self.recv()
        except ConnectionClosedOK:
            return

    def recv_streaming(self, decode: bool | None = None) -> Parts:
        """Receive the next message in parts: iterate over them.

        There is one part for each frame, as soon as it is there: ``str`` for text (``bytes`` with ``text="bytes"``),
        ``bytes`` for binary, or what ``decode`` says, as in ``recv``. Frames that came before the call are one part.
        ``max_size`` is for the whole message, and ``max_queue`` for parts that wait, too.

        To leave the loop early gives the rest of the message up.

        Raises:
            ConnectionClosed: the connection was closed before the end of the message.
            ConcurrencyError: another thread is receiving.
        """
        return Parts(self, decode)

    def _receive(self, until: float | None, parts: PartQueue | None = None) -> None:
        """Wait for a message; or for a part, or the end, of the message of ``parts``."""
        if self._waiter is not None:
            raise ConcurrencyError("another thread is already waiting in recv()")
        if self._parts is not None and parts is None and self._parts.is_wanted:
            raise ConcurrencyError(
                "a message is being received in parts: take the rest of it, or call close() of the iterator"
            )
        if self._batch:
            self._flush()
        self._waiter = True
        try:
            while not self._messages and not (parts or (parts is not None and self._parts is not parts)):
                if self._stage is not Stage.OPEN:
                    if self._stage is Stage.CLOSED and self._pauses and self._decode_on():
                        continue
                    if self.protocol.ending is not None:
                        self._answer()  # all before it was taken: it is its turn
                        self._settle()
                    if self.protocol.receiving_done:
                        self._raise_closed(until)
                self._advance(until)
        finally:
            self._waiter = None

    def _forget_given_up(self) -> None:
        while self._given_up:
            self._give_up_parts(*self._given_up.pop(0))

    def _fail_text(self, reason: str) -> NoReturn:
        """Fail the connection: a message that has to be text is none."""
        with self._lock:
            self.fail(CloseCode.INVALID_PAYLOAD_DATA, reason)
            self._settle()
            self._raise_closed(None)

    # Sending

    def send(
        self,
        message: str | Buffer | Iterable[str | Buffer],
        *,
        text: bool | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send a message: ``str`` as text, bytes-like as binary (RFC 6455 5.6).

        ``text=True`` sends bytes as text (they have to be UTF-8), ``text=False`` a ``str`` as binary. An iterable of
        ``str`` or of bytes-like objects is sent as one message of fragments, one item each. Messages of other threads
        then wait until it is sent; when it fails in the middle, the connection is closed with 1011, as nothing else
        can be sent any more.

        Where compression was negotiated, messages from its ``threshold`` on are compressed; ``compress=True``
        compresses a smaller one too, ``compress=False`` sends a message as it is. Of fragments the first decides.

        Waits while the peer reads slower than we send. If that takes longer than ``timeout``, the message stays in
        line, or has not been begun: ``TimeoutError.args`` do not tell, so close the connection then. The keepalive
        ends a connection whose peer takes nothing.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ConcurrencyError: this thread is inside a message of fragments.
            TimeoutError: ``timeout`` is over.
            TypeError: a message of another type.
            ValueError: text that is not UTF-8.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if not isinstance(message, _WHOLE) and not is_buffer(message):
            self._send_fragments(cast("Iterable[str | Buffer]", message), text, compress, until)
            return
        with self._lock:
            if self._blocked or self._fragmenting is not None or self.protocol.ready_state is not _OPEN:
                self._may_send(until)
            # Compressing is part of this one call, under the lock: what is compressed is sent.
            try:
                frame = self._encode(cast("str | bytes", message), text, compress)
                if self._batch:
                    self._add_to_batch(frame)
                elif self._is_plain:
                    self._send(frame)  # the rest of `_write` is for what is not OPEN
                else:
                    self._write(frame)
            except BaseException as exception:
                self._is_torn_by(exception)
                raise
            if self._blocked or self._broken is not None:
                self._after_sending(until)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Send the frames of a block in one write: ``with ws.batch(): ws.send(...); ws.send(...)``.

        They go out at the end of the block, whether it fails or not. They go out earlier if 64 KiB are collected, when
        ``recv`` has to wait, and before a Ping, a Pong, a Close or a fragment. What other threads send on this
        connection meanwhile is held, too.
        """
        with self._lock:
            self.hold_batch()
        try:
            yield
        finally:
            with self._lock:
                self.release_batch()
                self._after_sending(None)

    def _may_send(self, until: float | None, *, is_control: bool = False) -> None:
        """Wait for a turn to send; raise if none will come. Control frames may stand between fragments (5.4)."""
        while self.protocol.ready_state is _OPEN:
            if self._blocked:
                self._wait_sent(until)
            elif self._fragmenting is None or is_control:
                return
            elif self._fragmenting == threading.get_ident():
                raise ConcurrencyError("this thread is sending a message of fragments")
            else:
                self._wait_for_change(until)
        if self.protocol.ready_state is _CONNECTING:
            raise self._closed_exception()
        self._raise_closed(until)

    def _after_sending(self, until: float | None) -> None:
        """Wait until the peer has taken enough; raise if it is gone."""
        self._settle()
        if self._blocked:
            self._wait_sent(until)
        if self._broken is not None or self.protocol.ready_state is _CLOSED:
            self._raise_closed(until)

    @property
    def is_fragmenting(self) -> bool:
        """True while ``send`` is inside a message of fragments."""
        return self._fragmenting is not None

    def wait_taken(self, backlog: Backlog, end: int, until: float | None) -> bool:
        """Wait until no message of ``backlog`` before the number ``end`` waits; return False at the time ``until``."""
        with self._lock, contextlib.suppress(TimeoutError):
            while self._backlog is backlog and backlog.holds_before(end):
                self._wait_for_change(until)
            return True
        return False

    def _send_fragments(
        self, fragments: Iterable[str | Buffer], text: bool | None, compress: bool | None, until: float | None
    ) -> None:
        check_fragments(fragments, Iterable)
        with self._lock:
            self._may_send(until)
            self._fragmenting = threading.get_ident()
        last: str | bytes | None = None  # an empty fragment of the message's type, for the end
        try:
            for fragment in fragments:
                self._send_fragment(fragment, False, text, compress, until)
                last = "" if isinstance(fragment, str) else b""
            if last is not None:
                self._send_fragment(last, True, text, compress, until)
        except BaseException:
            with self._lock:
                if self.protocol.encoder.in_message and self.protocol.ready_state is _OPEN:
                    self.fail(CloseCode.INTERNAL_ERROR, "error in fragmented message")
                    self._settle()
            raise
        finally:
            with self._lock:
                self._fragmenting = None
                self._notify()
                if not self._blocked and self.protocol.ready_state is _OPEN:
                    self._write_backlog()

    def _send_fragment(
        self,
        fragment: str | Buffer,
        fin: bool,
        text: bool | None,
        compress: bool | None,
        until: float | None,
    ) -> None:
        with self._lock:
            frame = self.protocol.encoder.fragment(fragment, fin, text, compress)
            if self.protocol.ready_state is not _OPEN:
                self._raise_closed(until)
            self._flush()  # an iterable has its own pace
            self._write(frame)
            self._after_sending(until)

    def ping(self, data: str | Buffer | None = None, *, ack_on_close: bool = False) -> PongEvent:
        """Send a Ping of at most 125 bytes; by default of 4 random ones (RFC 6455 5.5.2).

        Returns an event that is set when the Pong has come; its ``latency`` is the round-trip time in seconds. With
        ``ack_on_close`` it is set at the end of the connection, too. A caller of ``recv`` reads the Pong, or the
        thread that looks after connections nobody reads.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ConcurrencyError: a Ping with the same payload is still unanswered.
            ValueError: more than 125 bytes.
        """
        payload = ping_payload(data)
        event = PongEvent()
        event.ack_on_close = ack_on_close
        with self._lock:
            self._may_send(None, is_control=True)
            while self._pings.forget_unwanted(threading.Event.is_set) is not None:
                self._wait_for_change(None)
                self._may_send(None, is_control=True)
            self.send_ping(payload, event)
            self._after_sending(None)
            self._have_it_read()
        return event

    def pong(self, data: str | Buffer = b"") -> None:
        """Send an unsolicited Pong of at most 125 bytes (RFC 6455 5.5.3). Pings are answered without this.

        Raises:
            ConnectionClosed: the connection is closing or closed.
            ValueError: more than 125 bytes.
        """
        with self._lock:
            self._may_send(None, is_control=True)
            self.protocol.pong(data.encode() if isinstance(data, str) else data)
            self._send_owed()
            self._after_sending(None)

    # Closing

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection in an orderly way, and wait until it is closed (RFC 6455 7.1.2).

        ``reason`` is at most 123 bytes of UTF-8. After ``close_timeout`` without the peer's answer TCP is cut.
        Messages that were received can still be taken with ``recv``; of those that come after this call, at
        most ``max_queue``. A call on a connection that is closing or closed only waits. While ``send`` is inside a
        message of fragments, the connection is closed with 1011 instead, as that message has no end. Threads that
        wait in ``recv`` or ``send`` hear of it.

        Raises:
            ProtocolError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        with self._lock:
            self.begin_close(code, reason)
            self._until_ended(None)

    def begin_close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection as ``close``, and do not wait for its end.

        Raises:
            ProtocolError: as ``close``.
        """
        with self._lock:
            check_close(self.protocol.encoder, code, reason)
            if self.protocol.ready_state is _CONNECTING:
                self.protocol.note_cause(CloseCause.LOCAL)
                self._abort()
            elif self.protocol.encoder.in_message and self.protocol.ready_state is _OPEN:
                self.fail(CloseCode.INTERNAL_ERROR, "close during fragmented message")
            else:
                self.start_close(code, reason)
            self._settle()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection is closed, whoever closes it; return False if ``timeout`` is over first.

        The peer's Close is then answered without regard to messages that wait. They can be received afterwards.
        """
        with self._lock, contextlib.suppress(TimeoutError):
            self._until_ended(None if timeout is None else time.monotonic() + timeout)
            return True
        return False

    def _until_ended(self, until: float | None) -> None:
        self._n_waiting_for_end += 1
        try:
            self._wait_for_end()
            self._settle()
            while not self._is_ended():
                self._advance(until)
        finally:
            self._n_waiting_for_end -= 1

    def _raise_closed(self, until: float | None) -> NoReturn:
        self._until_ended(until)
        raise self._closed_exception()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # The opening handshake, and facts

    def _send_head(self, stream: Stream, head: bytes) -> None:
        for _, sent in self._taps:
            sent(head)
        stream.send(head)

    def _receive_head(self, stream: Stream) -> None:
        """Receive a part of the peer's opening handshake, or its end."""
        data = stream.receive()
        for received, _ in self._taps:
            received(data)
        if data:
            self.protocol.receive_data(data)
        else:
            assert self.protocol.handshake is not None
            self.protocol.handshake.receive_eof()

    def _opened(self) -> None:
        """Begin to work as an open connection."""
        if self._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection open")
        with self._lock:
            trailing_data = self.protocol.open()
            self._connecting = False
            keeper().add(self)
            self.opened()
            if self._counters is not None:
                self._counters[0].feed(trailing_data)
            if trailing_data:
                self.take_events(self._feed(trailing_data))  # the log has had it
            if self._counters is not None:
                self._taps.append((self._counters[0].feed, self._counters[1].feed))
            self._is_plain = self._tls is None and not self._taps
            more = b"" if self._tls is None else self._tls.taken()
            if more:
                self._received(more)
            self._settle()

    def lost(self, exception: BaseException | None) -> None:
        super().lost(exception)
        if not self._connecting and self._logger.isEnabledFor(logging.INFO):
            self.logger.info("connection closed")

    def stats(self) -> Stats:
        with self._lock:
            return super().stats()

    def _traffic(self) -> tuple[Traffic | None, Traffic | None]:
        counters = self._counters
        return (None, None) if counters is None else (counters[0].traffic(), counters[1].traffic())
