"""Keepalive: a Ping at each interval, and an end for connections that show no sign of life (RFC 6455 5.5.2).

    deadline  is over                          then
    --------  -------------------------------  ------------------------------------------------------------
    PING      ``ping_interval`` after the      Ping; wait for its PONG, at most ``ping_timeout``
              last Ping
    PONG      and bytes came, or left          wait once more: a Pong cannot stand inside a frame, and our Ping
                                               waits after what was written before it
              and reading is paused            read one chunk more, at most ``MAX_LOOKS`` times in a row without
                                               a Pong or a message that was taken, and wait once more
              and nothing left for two turns   fail with 1011: the peer reads nothing
              and we looked late ourselves     wait once more: its Pong may be there, and nobody has read it
              else                             fail with 1011

So a peer that only waits for us is kept, as its Pong is found, and one that is gone is not, though we read nothing.
"""

from __future__ import annotations

from typing import Any

from ..codec import CloseCode
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..events import CloseCause
from .base import Deadline
from .receiving import CHUNK, QUEUE, RATE, Receiving

# Seconds after a deadline from which on our own event loop counts as blocked.
BLOCKED = 0.5

# Chunks that are read in a row though nobody takes messages.
MAX_LOOKS = 4


class Keepalive(Receiving):
    """Pings in time. ``ping_interval``, ``ping_timeout``: seconds; None switches either off."""

    __slots__ = (
        "_has_heard",
        "_has_sent",
        "_n_looks",
        "_n_stalls",
        "_overslept",
        "_ping_interval",
        "_ping_payload",
        "_ping_timeout",
        "_unsent",
        "ping_sent_at",
    )

    def __init__(
        self, protocol: Protocol, *, ping_interval: float | None, ping_timeout: float | None, **options: Any
    ) -> None:
        super().__init__(protocol, **options)
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self.ping_sent_at = 0.0
        """When the keepalive sent its last Ping, by the clock of the session; 0 before the first."""
        self._ping_payload: bytes | None = None  # of the Ping whose Pong we wait for
        self._has_heard = False  # bytes came since we began to wait
        self._has_sent = False  # bytes left since then, so many that writing went on
        self._unsent = 0  # bytes that the peer had not taken when we began to wait
        self._n_stalls = 0
        self._n_looks = 0
        self._overslept = 0.0  # seconds by which we looked for the Pong too late

    def _start_keepalive(self) -> None:
        if self._ping_interval:
            self._set_deadline(Deadline.PING, self._now() + self._ping_interval)

    def send_ping(self, payload: bytes | None = None, waiter: Any = None) -> bytes:
        """Send a Ping at once, and return its payload; ``waiter`` is told of its Pong.

        Raises:
            ConcurrencyError: a Ping with this payload is still unanswered.
        """
        payload = self._pings.add(payload, waiter, self._now())
        self.protocol.ping(payload)
        self._send_owed()
        return payload

    def _acknowledge(self, payload: bytes) -> None:
        """A Pong came."""
        now = self._now()
        for waiter, latency in self._pings.acknowledge(payload, now):
            self._pong_received(waiter, latency)
        if self._ping_payload is not None and self._ping_payload not in self._pings:
            self._ping_payload = None
            self._n_looks = 0
            if self._deadline is Deadline.PONG:
                assert self._ping_interval is not None
                self._set_deadline(Deadline.PING, max(now, self.ping_sent_at + self._ping_interval))

    def _ping_due(self, now: float) -> None:
        if self.protocol.ready_state is not ReadyState.OPEN or self._is_cut():
            return
        assert self._ping_interval is not None
        self.ping_sent_at = now
        self._pings.forget_unwanted()
        self._ping_payload = self.send_ping()
        if self._ping_timeout is None:
            self._set_deadline(Deadline.PING, now + self._ping_interval)
        else:
            self._n_stalls = 0
            self._overslept = 0.0
            self._wait_for_pong(now, self._ping_timeout)

    def _wait_for_pong(self, now: float, timeout: float) -> None:
        self._has_heard = self._has_sent = False
        self._unsent = self._unsent_size()
        self._set_deadline(Deadline.PONG, now + timeout)

    def _pong_is_late(self, now: float, overslept: float) -> None:
        if self.protocol.ready_state is not ReadyState.OPEN or self._is_cut():
            return
        assert self._ping_timeout is not None
        unsent = self._unsent_size()
        takes = self._has_sent or unsent < self._unsent
        self._n_stalls = self._n_stalls + 1 if unsent and not takes else 0
        is_unread = self._pauses & (QUEUE | CHUNK | RATE) and not self._is_looking  # its Pong may be there
        lives = self._has_heard or takes or (is_unread and self._may_look())
        if lives and self._n_stalls < 2:
            self._wait_for_pong(now, self._ping_timeout)
        elif overslept >= BLOCKED and not self._overslept:
            self._overslept = overslept
            self._wait_for_pong(now, self._ping_timeout)
        else:
            text = f"no Pong, and no other sign of life, within {self._ping_timeout} s"
            overslept = max(overslept, self._overslept)
            if overslept >= BLOCKED:
                text += f"; but our own event loop was blocked for {overslept:.1f} s, which may be the reason"
            self._cause = TimeoutError(text)
            self.protocol.note_cause(CloseCause.KEEPALIVE)
            self.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def look_for_end(self) -> None:
        """Read one chunk more at once: the peer's end may be there."""
        if self._pauses & (QUEUE | CHUNK | RATE) and not self._is_looking:
            self._read_a_chunk()

    def _may_look(self) -> bool:
        """Read one chunk more, unless that was done too often; return False if the peer counts as gone."""
        if self._n_taken:
            self._n_taken = self._n_looks = 0  # somebody takes messages: the peer is right to wait for us
        if self._n_looks == MAX_LOOKS:
            return False
        self._n_looks += 1
        self._read_a_chunk()
        return True
