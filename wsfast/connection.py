"""One WebSocket connection without I/O: both roles, one class (RFC 6455 5.5, 7).

Bytes go in through ``receive_data``, events come out; calls go in, bytes come out of ``data_to_send``. The closing
handshake is this table. Closing TCP is the adapter's work (it reads ``wants_transport_closed``):

    ready_state   close() / fail()        peer's Close, failure       receive_eof()
    ------------  ----------------------  --------------------------  ---------------------
    CONNECTING    InvalidState            (the handshake's errors)    CLOSED
    OPEN          sends Close: CLOSING    an event; answer() sends    CLOSED, abnormal 1006
                                          Close: CLOSING
    CLOSING       nothing                 an event, nothing owed      CLOSED
    CLOSED        nothing                 nothing                     nothing

Two rules. The end of a connection waits its turn: a Close or a Failure is the last event, after the messages that came
before it. It takes effect with ``answer()``, so that those messages can still be answered (RFC 6455 5.5.1 allows the
delay). And while we may send, each Ping is answered at once, by one Pong.

This module knows no event loop, no socket and no HTTP beyond the handshake object that it is given.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from .codec import Close, CloseCode, Event, Failure, FrameEncoder, MessageDecoder, Ping, Role
from .deflate import Agreement, Deflater, Inflater
from .events import CloseCause
from .exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidState,
    cause_of_failure,
)

if TYPE_CHECKING:
    from types import ModuleType

    from typing_extensions import Buffer

    from .handshake import ClientHandshake, ServerHandshake

__all__ = ["Connection", "ReadyState"]

# 7.4.1: the codes of an orderly end; 1005 is an empty Close frame.
_ORDERLY = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED})

# A tuple: `str | bytes` would be computed anew for each event.
_MESSAGE = (str, bytes)

# Largest number of Pings that wait for their Pong; if there are more, the oldest one gets none.
MAX_PONGS = 64

Ending: TypeAlias = Close | Failure


class ReadyState(enum.IntEnum):
    """The state of a connection, with the numbers that browsers give it (WHATWG WebSockets, readyState)."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Connection:
    """A WebSocket connection without I/O.

    ``role`` is ours. With a ``handshake`` (of ``wsfast.handshake``) the connection starts CONNECTING and passes its
    bytes on, until ``open()`` is called. Without one it starts OPEN, for a host that has done the handshake. Limits and
    ``text`` are those of ``MessageDecoder``; ``random_bytes`` is that of ``FrameEncoder``.

    ``compression`` is the result of ``deflate.accept`` or ``deflate.confirm``, for a host that has done the handshake.
    With ``handshake`` the attribute holds the result of its negotiation.

    ``limit_names``: other names for our limits, if the user gave them under other names. They stand in the texts
    about a peer that exceeds a limit.

    ``codec``: a module whose ``MessageDecoder`` and ``FrameEncoder`` are used, as ``wsfast.fallback``. None means
    ``wsfast.codec``.

    ``decoder`` and ``encoder`` are the codec's. An adapter that uses them saves a call per message. It must check
    ``ready_state`` first, and read both again after ``open()``.

    Raises:
        TypeError: both ``handshake`` and ``compression`` are given.
        ValueError: a limit is out of range, or ``text`` is unknown.
    """

    # Slots, as there may be very many connections; a subclass may add attributes as usual.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_failed",
        "_limit_names",
        "_pongs",
        "_random_bytes",
        "_to_send",
        "cause",
        "close_received",
        "close_sent",
        "compression",
        "decoder",
        "encoder",
        "ending",
        "handshake",
        "peer_closed_first",
        "ready_state",
        "role",
    )

    def __init__(
        self,
        role: Role,
        *,
        handshake: ClientHandshake | ServerHandshake | None = None,
        compression: Agreement | None = None,
        max_message_size: int | None = 1_048_576,
        max_frame_size: int | None = None,
        max_fragments: int | None = 131_072,
        max_feed_events: int | None = None,
        max_feed_size: int | None = None,
        text: Literal["str", "bytes"] = "str",
        random_bytes: Callable[[int], bytes] | None = None,
        limit_names: Mapping[str, str] | None = None,
        codec: ModuleType | None = None,
    ) -> None:
        if handshake is not None and compression is not None:
            raise TypeError("compression is negotiated by the handshake: give it to that")
        self.role = role
        self.handshake = handshake
        self.ready_state = ReadyState.OPEN if handshake is None else ReadyState.CONNECTING
        new_decoder, new_encoder = (
            (MessageDecoder, FrameEncoder) if codec is None else (codec.MessageDecoder, codec.FrameEncoder)
        )
        self.decoder: MessageDecoder = new_decoder(
            role,
            max_message_size=max_message_size,
            max_frame_size=max_frame_size,
            max_fragments=max_fragments,
            max_feed_events=max_feed_events,
            max_feed_size=max_feed_size,
            text=text,
        )
        self.encoder: FrameEncoder = new_encoder(role, random_bytes=random_bytes)
        self.compression: Agreement | None = None
        """The agreement about compressed messages (RFC 7692), or None."""
        self.close_sent: Close | None = None
        self.close_received: Close | None = None
        self.peer_closed_first: bool | None = None
        """True when the peer's Close came before ours went out; None while there is neither."""
        self.ending: Ending | None = None
        """The peer's Close or fault that was returned as an event and is not answered yet."""
        self.cause: CloseCause | None = None
        """The cause of the end, which has come or is about to; None before."""
        self._failed = False
        self._random_bytes = random_bytes
        self._limit_names = limit_names or {}
        # Payloads of Pings to answer. 5.5.3 allows to answer the most recent ones only. So a peer that sends Pings and
        # reads nothing cannot fill our memory.
        self._pongs: deque[bytes] | None = (
            None  # a deque takes 700 bytes, and many connections never get a Ping
        )
        self._to_send: list[bytes] = []
        if compression is not None:
            self._compress(compression)

    def _compress(self, agreement: Agreement) -> None:
        """Replace the codec by one that inflates and deflates."""
        decoder, encoder = self.decoder, self.encoder
        self.compression = agreement
        self.decoder = type(decoder)(
            self.role,
            max_message_size=decoder.max_message_size,
            max_frame_size=decoder.max_frame_size,
            max_fragments=decoder.max_fragments,
            max_feed_events=decoder.max_feed_events,
            max_feed_size=decoder.max_feed_size,
            text=decoder.text,
            inflate=Inflater(self.role, agreement).inflate,
        )
        self.encoder = type(encoder)(
            self.role, random_bytes=self._random_bytes, deflate=Deflater(self.role, agreement)
        )

    # Receiving

    def receive_data(self, chunk: Buffer) -> list[Event | Failure]:
        """Take received bytes, in chunks of any size; return the completed events, in order.

        Messages, Pings and Pongs are for information. A ``Close`` or a ``Failure`` is always the last event; answer it
        with ``answer()``. Later bytes are ignored.
        """
        if self.ready_state is ReadyState.CONNECTING:
            assert self.handshake is not None
            self.handshake.receive_data(chunk)
            return []
        events: list[Event | Failure] = self.decoder.feed(chunk)  # type: ignore[assignment]
        if self.decoder.has_control:
            self.receive_control(events)
        return events

    def open(self) -> bytes:
        """Pass from CONNECTING to OPEN, after a handshake that succeeded.

        Returns the bytes after the handshake, for ``receive_data``: they are the first frames.

        Raises:
            InvalidState: the connection is not CONNECTING.
        """
        if self.handshake is None or self.ready_state is not ReadyState.CONNECTING:
            raise InvalidState(f"cannot open a connection that is {self.ready_state.name}")
        self.ready_state = ReadyState.OPEN
        if self.handshake.compression is not None:
            self._compress(self.handshake.compression)
        return self.handshake.take_trailing_data()

    def receive_control(
        self, events: list[Event | Failure], tell: Callable[[Event | Failure], None] | None = None
    ) -> list[str | bytes]:
        """Act on the control frames in ``events``, append the failure if there is one, and return the messages.

        ``tell`` is called for each event that is no message. An adapter that calls ``decoder.feed`` itself while we are
        OPEN calls this if ``decoder.has_control``.
        """
        may_send = self.ready_state is ReadyState.OPEN
        messages: list[str | bytes] = []
        failure = self.decoder.failure
        if failure is not None:
            events.append(failure)
            self.ending = failure
            self.note_cause(cause_of_failure(failure))
        for event in events:
            if isinstance(event, _MESSAGE):
                messages.append(event)
                continue
            if type(event) is Ping:
                if may_send:  # 5.5.2, 5.5.3
                    if self._pongs is None:
                        self._pongs = deque(maxlen=MAX_PONGS)
                    self._pongs.append(event.payload)
            elif type(event) is Close:
                self.close_received = self.ending = event
                self.note_cause(CloseCause.PEER)
                if self.peer_closed_first is None:
                    self.peer_closed_first = True
            if tell is not None:
                tell(event)
        if not may_send:
            self.ending = None  # we have sent our Close already, so nothing is owed
        return messages

    def answer(self) -> None:
        """Act on the peer's Close or fault: send the Close frame that is owed for it.

        A Close is answered with its own code and reason (5.5.1; an empty one with an empty one). A fault fails the
        connection (7.1.7). Does nothing when nothing is owed.
        """
        ending, self.ending = self.ending, None
        if self.ready_state is not ReadyState.OPEN:
            return
        if isinstance(ending, Close):
            # With the reason: browsers show the page the received reason, and not the one given to close().
            self._start_closing(ending)
        elif isinstance(ending, Failure):
            self._start_closing(Close(ending.code, self._told(ending).reason))

    def _told(self, failure: Failure) -> Failure:
        """Return ``failure`` with our user's names of the limits (RFC 6455 10.4)."""
        reason = failure.reason
        for name, known in self._limit_names.items():
            reason = reason.replace(name, known)
        return dataclasses.replace(failure, reason=reason)

    def receive_eof(self) -> None:
        """Note that TCP is closed: nothing more can be received or sent."""
        if self.ready_state is ReadyState.CONNECTING:
            assert self.handshake is not None
            self.handshake.receive_eof()
        self.ready_state = ReadyState.CLOSED
        self.note_cause(CloseCause.TRANSPORT)
        self.ending = None
        self._pongs = None
        self._to_send.clear()

    # Sending

    def send(self, data: str | Buffer, text: bool | None = None, compress: bool | None = None) -> None:
        """Send a message: ``str`` as text, bytes-like as binary.

        ``text`` and ``compress`` are those of ``FrameEncoder.message``. If compression was not negotiated, nothing is
        compressed.

        Raises:
            InvalidState: the connection is not OPEN.
            RuntimeError: a fragmented message is not finished (RFC 6455 5.4).
            TypeError: ``data`` has another type.
            ValueError: text that is not UTF-8.
        """
        self._require_open("send")
        self._to_send.append(self.encoder.message(data, text, compress))

    def send_fragment(
        self, data: str | Buffer, fin: bool = False, text: bool | None = None, compress: bool | None = None
    ) -> None:
        """Send the next fragment of a message, the last one with ``fin`` (RFC 6455 5.4).

        Otherwise like ``send``; the first fragment decides whether the message is compressed.

        Raises:
            InvalidState: the connection is not OPEN.
            TypeError: ``data`` has another type, or the message mixes text and binary.
            ValueError: text that is not UTF-8.
        """
        self._require_open("send_fragment")
        self._to_send.append(self.encoder.fragment(data, fin, text, compress))

    def ping(self, payload: Buffer = b"") -> None:
        """Send a Ping of at most 125 bytes (RFC 6455 5.5.2).

        Raises:
            InvalidState: the connection is not OPEN.
            ValueError: more than 125 bytes.
        """
        self._require_open("ping")
        self._to_send.append(self.encoder.ping(payload))

    def pong(self, payload: Buffer = b"") -> None:
        """Send an unsolicited Pong of at most 125 bytes (RFC 6455 5.5.3).

        Raises:
            InvalidState: the connection is not OPEN.
            ValueError: more than 125 bytes.
        """
        self._require_open("pong")
        self._to_send.append(self.encoder.pong(payload))

    def close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Start the closing handshake (RFC 6455 7.1.2). Does nothing when it has started already.

        ``code`` and ``reason`` as in ``FrameEncoder.close``. If the peer's Close is here and not answered, this
        answers it, with our code.

        Raises:
            InvalidState: the connection is CONNECTING.
            ValueError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        if self.ready_state is ReadyState.CONNECTING:
            raise InvalidState("cannot close before the opening handshake is done")
        # Checked in every state, so that a wrong code fails each time, and not by chance of timing.
        self.encoder.close(code, reason)
        if self.ready_state is ReadyState.OPEN:
            self.ending = None
            self.note_cause(CloseCause.LOCAL)
            self._start_closing(Close(CloseCode.NO_STATUS_RECEIVED if code is None else code, reason))

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7): like ``close``, and do not wait for the peer's Close.

        Raises:
            InvalidState: the connection is CONNECTING.
            ValueError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        self.close(code, reason)
        self._failed = True

    def note_cause(self, cause: CloseCause) -> None:
        """Note what ends the connection; only the first call counts. For an adapter that knows more than we do."""
        if self.cause is None:
            self.cause = cause

    def _start_closing(self, close: Close) -> None:
        self._to_send.append(self.encoder.close(close.code, close.reason))
        self.close_sent = close
        if self.peer_closed_first is None:
            self.peer_closed_first = False
        self.ready_state = ReadyState.CLOSING

    def data_to_send(self) -> bytes:
        """Return the bytes that are owed to the peer, once."""
        if self._pongs:
            self._to_send[:0] = [self.encoder.pong(payload) for payload in self._pongs]
            self._pongs = None
        if not self._to_send:
            return b""
        data = self._to_send[0] if len(self._to_send) == 1 else b"".join(self._to_send)
        self._to_send.clear()
        return data

    @property
    def n_owed_pongs(self) -> int:
        """Number of received Pings whose Pongs ``data_to_send`` has not returned; 64 at most."""
        return 0 if self._pongs is None else len(self._pongs)

    def _require_open(self, call: str) -> None:
        if self.ready_state is not ReadyState.OPEN:
            raise InvalidState(f"cannot {call}: the connection is {self.ready_state.name}")

    # How it ended

    @property
    def failure(self) -> Failure | None:
        """The peer's fault, or None."""
        return self.decoder.failure

    @property
    def receiving_done(self) -> bool:
        """True when no more events can come: after the peer's Close, its fault, or the end of TCP."""
        return (
            self.close_received is not None
            or self.decoder.failure is not None
            or self.ready_state is ReadyState.CLOSED
        )

    @property
    def closing_done(self) -> bool:
        """True when both Close frames went out and in, or when a failure leaves none to wait for after ours."""
        return self.close_sent is not None and (
            self.close_received is not None or self.decoder.failure is not None or self._failed
        )

    @property
    def wants_transport_closed(self) -> bool:
        """True when it is our turn to close TCP: a server's turn when the closing handshake is done (7.1.1)."""
        return self.closing_done and self.role is Role.SERVER

    @property
    def close_code(self) -> int | None:
        """The code of the peer's Close; 1006 if TCP closed without one; None before either (7.1.5)."""
        if self.close_received is not None:
            return self.close_received.code
        return CloseCode.ABNORMAL_CLOSURE if self.ready_state is ReadyState.CLOSED else None

    @property
    def close_reason(self) -> str | None:
        """The reason in the peer's Close; empty if TCP closed without one; None before either (7.1.6)."""
        if self.close_received is not None:
            return self.close_received.reason
        return "" if self.ready_state is ReadyState.CLOSED else None

    def closed_exception(self) -> ConnectionClosed:
        """Return the exception that tells how the connection ended, or is about to end."""
        received, sent = self.close_received, self.close_sent
        orderly = (
            received is not None and sent is not None and received.code in _ORDERLY and sent.code in _ORDERLY
        )
        order = self.peer_closed_first if received is not None and sent is not None else None
        exception: ConnectionClosed
        if orderly:
            exception = ConnectionClosedOK(received, sent, order)
        else:
            failure = self.decoder.failure
            exception = ConnectionClosedError(
                received, sent, order, failure=None if failure is None else self._told(failure)
            )
        exception.cause = self.cause or exception.cause
        return exception
