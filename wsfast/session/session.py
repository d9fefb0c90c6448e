"""``Session``: received events go to the queue, the keepalive, and the table of the end."""

from __future__ import annotations

from ..codec import Event, Failure, Pong
from ..connection import MAX_PONGS, ReadyState
from .base import Deadline, Stage
from .ending import Ending
from .receiving import PONGS
from .stats import Stats, Traffic

__all__ = ["Session"]


class Session(Ending):
    """An open connection over time. An adapter inherits it, and brings the verbs of ``base.py``."""

    __slots__ = ()

    def opened(self) -> None:
        """Begin to work as an open connection: the opening handshake succeeded."""
        self._stage = Stage.OPEN
        self._use_codec()
        self._start_keepalive()

    # Bytes

    def take_events(self, events: list[Event]) -> None:
        if self._decoder.has_control:
            self._take_control(events)  # type: ignore[arg-type]  # a cast() is a call, for each chunk
        else:
            self._queue(events)  # type: ignore[arg-type]

    def _take_control(self, events: list[Event | Failure]) -> None:
        """Take events with control frames among them, a failure, or bytes that are not decoded yet."""
        protocol = self.protocol
        messages = protocol.receive_control(events, self._note_control)
        if not self._blocked:
            self._send_owed()
        elif protocol.n_owed_pongs == MAX_PONGS:
            # Or a peer that sends Pings and reads nothing is read at full speed. For fewer we read on: such a peer may
            # be one that waits for us to read, and stops to read when we do.
            self._pause(PONGS)
        if protocol.ending is not None and self._stage is Stage.OPEN:
            self._stage = Stage.PEER_ENDED
            self._queue(messages)
            self._peer_ended()
            return
        self._queue(messages)
        if protocol.receiving_done:
            if self._stage is Stage.CLOSING:  # it was our Close that was answered, or will not be any more
                self._answered()
            self._wake()
        elif self._decoder.has_waiting:
            self._chunk_waits()

    def _note_control(self, event: Event | Failure) -> None:
        if not self._blocked and self.protocol.n_owed_pongs == MAX_PONGS:
            # All are answered while the peer reads: so a flood of Pings fills its own way back, and then pauses.
            self._send_owed()
        self.control_received(event)

    def control_received(self, event: Event | Failure) -> None:
        """Called for each Ping, Pong, Close and Failure as it comes; for subclasses that want to know.

        Pings are answered, and a Close or Failure takes effect, without this.
        """
        if type(event) is Pong:
            self._acknowledge(event.payload)

    # Facts

    def stats(self) -> Stats:
        """Return what the connection has done, and what waits. Frames are counted with ``count_frames=True`` only."""
        backlog = self._backlog
        received, sent = self._traffic()
        return Stats(
            received=received,
            sent=sent,
            n_queued=len(self._messages),
            is_reading_paused=self.is_reading_paused,
            n_backlog=0 if backlog is None else len(backlog),
            backlog_size=0 if backlog is None else backlog.size,
            batch_size=self._batch_size,
            unsent_size=0 if self._stage is Stage.CLOSED else self._unsent_size(),
            is_writing_blocked=self._blocked,
            n_pings=self._pings.n_pending,
            round_trips=self._pings.round_trips,
        )

    def _traffic(self) -> tuple[Traffic | None, Traffic | None]:
        """Return what was received and sent, if an adapter counts it."""
        return None, None

    # Writing

    def writing_blocked(self) -> None:
        """The peer reads slower than we write: so much waits that senders have to."""
        self._blocked = True

    def writing_resumed(self) -> None:
        """The peer has taken enough of it."""
        self._blocked = False
        self._has_sent = True
        if self.protocol.ready_state is ReadyState.OPEN:
            self._send_owed()
            self._write_backlog()
            self._unpause(PONGS)

    # Time

    def deadline_reached(self, now: float) -> None:
        """Do what is due at ``now``, in seconds of the session's clock. Too early a call does nothing."""
        deadline, late = self._deadline, now - self._deadline_at
        if deadline is None or late < 0:
            return
        self._deadline = None
        if deadline is Deadline.PING:
            self._ping_due(now)
        elif deadline is Deadline.PONG:
            self._pong_is_late(now, late)
        elif deadline is Deadline.ANSWER:
            self._answer_is_due(now)
        else:
            self._close_is_late(now, deadline)
