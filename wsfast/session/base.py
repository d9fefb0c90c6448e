"""The state of a session, and the verbs that an adapter brings.

    verb               what it does                                  asyncio
    -----------------  --------------------------------------------  -------------------------------
    _write             write bytes after all that was written        transport.write
    _is_cut            tell whether the transport is closing         transport.is_closing
    _close_half        close our half of TCP, after what is unsent   transport.write_eof, or close
    _can_half_close    tell whether one half may stay open           not with TLS
    _abort             cut TCP at once                               transport.abort
    _stop_reading      stop to receive                               transport.pause_reading
    _start_reading     receive again                                 transport.resume_reading
    _unsent_size       bytes that the peer has not taken yet         write buffer, and the kernel's
    _now               the clock that all deadlines are in           loop.time
    _deadline_changed  ``deadline_reached`` is due at another time   loop.call_at
    _flush_soon        call ``_flush`` at the next turn              loop.call_soon
    _decode_soon       call ``_decode_at_next_turn`` then            loop.call_soon
    _look_at_rate_at   call ``_look_at_rate`` at that time           loop.call_at
    _wake              wake the one who waits for a message or end   future.set_result
    _pong_received     tell the one who waits for this Pong          future.set_result
    _pong_lost         tell them that no Pong will come              future.set_exception

A session has one deadline at a time: the stage that it is in knows which. All times are in seconds.
"""

from __future__ import annotations

import enum
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ..codec import Event, Failure
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import Agreement
from ..exceptions import ConnectionClosed
from ..limits import Limits, queue_limits
from .pings import PendingPings

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

__all__ = ["Base", "Data", "Deadline", "Stage", "queue_limits"]

Data: TypeAlias = str | bytes

_DEFAULTS = Limits()


class Stage(enum.Enum):
    """How far a session is. ``ending.py`` has the table of what leads from one to the next."""

    CONNECTING = "the opening handshake is not done"
    OPEN = "messages go both ways"
    PEER_ENDED = "the peer's Close, or its fault, waits in line after messages that were not taken"
    CLOSING = "we sent Close first"
    ANSWERED = "we answered the peer's Close, or its fault"
    LINGERING = "we closed our half of TCP"
    CLOSED = "TCP is closed"


class Deadline(enum.Enum):
    """What a session waits for, at most until its deadline."""

    PING = "the next Ping of the keepalive"
    PONG = "the Pong for it, or another sign of life"
    ANSWER = "somebody who takes the messages before the peer's Close"
    PEER_CLOSE = "the peer's Close, which answers ours"
    TCP_CLOSE = "the peer's end of TCP"


# The queue of a connection that has received nothing: a deque takes 760 bytes.
NO_MESSAGES: Final = cast("deque[Data]", ())


class Base:
    """State and facts. The verbs at the end are the adapter's."""

    # Slots in the whole line: an idle connection should own almost nothing.
    __slots__ = (
        "_blocked",
        "_cause",
        "_deadline",
        "_deadline_at",
        "_decoder",
        "_encode",
        "_feed",
        "_id",
        "_limits",
        "_messages",
        "_pings",
        "_stage",
        "_waiter",
        "close_timeout",
        "protocol",
    )

    _waiter: Any
    """Who waits for a message; None if nobody does. Only the adapter knows more about it."""

    def __init__(
        self, protocol: Protocol, *, close_timeout: float | None, limits: Limits | None = None
    ) -> None:
        self.protocol = protocol
        """The sans-I/O connection."""
        self.close_timeout = close_timeout
        """Seconds for the peer to answer our Close and to close TCP; None waits for ever."""
        self._limits = limits or _DEFAULTS  # one object for all connections of a server
        self._stage = Stage.CONNECTING if protocol.ready_state is ReadyState.CONNECTING else Stage.OPEN
        self._deadline: Deadline | None = None
        self._deadline_at = 0.0
        self._messages: deque[Data] = NO_MESSAGES
        self._pings = PendingPings()
        self._blocked = False  # the peer reads slower than we write
        self._cause: BaseException | None = None  # why the connection is lost, if it was not the peer's Close
        self._id: uuid.UUID | None = None
        self._waiter = None
        self._use_codec()

    def _use_codec(self) -> None:
        """Keep the methods that are called for each chunk and message."""
        self._decoder = self.protocol.decoder
        self._feed: Callable[[Buffer], list[Event]] = self._decoder.feed
        self._encode: Callable[..., bytes] = self.protocol.encoder.message

    # Facts

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
    def subprotocol(self) -> str | None:
        """The subprotocol that was chosen in the opening handshake (RFC 6455 1.9), or None."""
        handshake = self.protocol.handshake
        return None if handshake is None else handshake.subprotocol

    @property
    def compression(self) -> Agreement | None:
        """The compression that was agreed on in the opening handshake (RFC 7692), or None."""
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

    def _closed_exception(self) -> ConnectionClosed:
        exception = self.protocol.closed_exception()
        exception.__cause__ = self._cause
        return exception

    # Time

    def next_deadline(self) -> float | None:
        """Return the time at which ``deadline_reached`` is due, or None."""
        return None if self._deadline is None else self._deadline_at

    def _set_deadline(self, deadline: Deadline | None, at: float = 0.0) -> None:
        self._deadline = deadline
        self._deadline_at = at
        self._deadline_changed()

    # Verbs

    def _write(self, data: bytes) -> None:
        raise NotImplementedError

    def _is_cut(self) -> bool:
        raise NotImplementedError

    def _close_half(self) -> None:
        raise NotImplementedError

    def _can_half_close(self) -> bool:
        raise NotImplementedError

    def _abort(self) -> None:
        raise NotImplementedError

    def _stop_reading(self) -> None:
        raise NotImplementedError

    def _start_reading(self) -> None:
        raise NotImplementedError

    def _unsent_size(self) -> int:
        raise NotImplementedError

    def _now(self) -> float:
        raise NotImplementedError

    def _deadline_changed(self) -> None:
        raise NotImplementedError

    def _flush_soon(self) -> None:
        raise NotImplementedError

    def _decode_soon(self) -> None:
        raise NotImplementedError

    def _look_at_rate_at(self, at: float) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError

    def _pong_received(self, waiter: Any, latency: float) -> None:
        raise NotImplementedError

    def _pong_lost(self, waiter: Any, exception: ConnectionClosed) -> None:
        raise NotImplementedError

    # Calls between the rooms, in the order of the line

    def control_received(self, event: Event | Failure) -> None:
        raise NotImplementedError
