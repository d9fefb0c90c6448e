"""Frames go out in as few writes as possible, and a sender does not keep everybody else from running.

- Frames that are sent while received messages wait go out in one write: when the receiver is about to wait, at the
  next turn, or when 64 KiB are collected, whichever is first. That is 5 times as fast where messages are pipelined,
  and costs nothing elsewhere (benchmarks, echo with 64 in flight).
- Whatever else is written comes after the frames that were collected.
- Nobody waits in a broadcast. So what a peer leaves untaken has a bound; ``backlog.py`` has the policies.
- A send that has no reason to wait gives the others a turn now and then, and looks whether the peer is still there.
"""

from __future__ import annotations

from typing import Any

from ..codec import CloseCode
from ..connection import Connection as Protocol
from ..events import CloseCause
from .backlog import Backlog, Delivery, Outcome, Slow
from .base import Base

# Bytes of frames that are collected at most before they are written: more gains nothing, and delays the first.
MAX_BATCH_SIZE = 65_536

# Sends after which the sender lets others run, unless it has waited for something. A turn of the loop costs about as
# much as one send.
SENDS_PER_TURN = 64


class Writing(Base):
    """Batches, and what is owed to the peer."""

    __slots__ = ("_backlog", "_batch", "_batch_size", "_flush_scheduled", "_n_holds", "_sends_left")

    def __init__(self, protocol: Protocol, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._flush_scheduled = False
        self._n_holds = 0  # blocks of `batch()` that we are in
        self._sends_left = SENDS_PER_TURN
        self._backlog: Backlog | None = None  # of a peer that reads too slowly; never empty

    def _add_to_batch(self, frame: bytes) -> bool:
        """Collect a frame; return True if all was written, and the sender has had its turn."""
        self._batch.append(frame)
        self._batch_size += len(frame)
        return self._batch_grew()

    def _batch_grew(self) -> bool:
        """Write the batch if it is large enough, or have it written soon; return as ``_add_to_batch``."""
        if self._batch_size >= MAX_BATCH_SIZE:
            self._flush()
            self._sends_left = 0
            return True
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._flush_soon()
        return False

    def _flush_at_next_turn(self) -> None:
        self._flush_scheduled = False
        if not self._n_holds:
            self._flush()

    def hold_batch(self) -> None:
        """Collect frames from now on, until ``release_batch`` is called as often as this."""
        self._n_holds += 1
        if not self._batch:
            self._batch.append(b"")  # a batch that has begun is what senders look at

    def release_batch(self) -> None:
        """Write what was collected, if this is the last hold."""
        self._n_holds -= 1
        if not self._n_holds:
            self._flush()

    def _flush(self) -> None:
        batch = self._batch
        if batch:
            frames = batch[0] if len(batch) == 1 else b"".join(batch)
            batch.clear()
            self._batch_size = 0
            if self._n_holds:
                batch.append(b"")
            if frames:
                self._write(frames)

    def _send_owed(self) -> None:
        """Send what the protocol owes to the peer, after all that was sent before."""
        self._flush()
        owed = self.protocol.data_to_send()
        if owed:
            self._write(owed)

    def send_nowait(self, frame: bytes) -> bool:
        """Write the bytes of a frame that is encoded already, in its turn; for ``broadcast``.

        Return False if the peer has left ``max_unsent_size`` bytes untaken: then the connection is failed with 1008.
        Does nothing if TCP is closed.
        """
        if self._is_cut():
            return True
        if self._blocked and self._unsent_size() > self._limits.max_unsent_size:
            self._fail_as_slow()
            return False
        self._flush()
        self._write(frame)
        return True

    def deliver(self, delivery: Delivery, slow: Slow) -> Outcome:
        """Send a message of a broadcast, or do with it what the policy ``slow`` says.

        Raises:
            ValueError: text that is not UTF-8.
        """
        if self._is_cut():
            return Outcome.CLOSED
        backlog = self._backlog
        if backlog is None:
            if not self._blocked or (slow is Slow.CLOSE and delivery.key is None):
                return Outcome.SENT if self.send_nowait(delivery.frame_for(self.protocol)) else Outcome.FAILED
            backlog = Backlog()
        elif backlog.replace(delivery):
            return Outcome.REPLACED
        outcome = Outcome.WAITING
        if slow is Slow.CLOSE or slow is Slow.WAIT:
            if backlog.size + self._unsent_size() + delivery.size > self._limits.max_unsent_size:
                self._fail_as_slow()
                return Outcome.FAILED
        elif not backlog.has_room(delivery.size, self._limits):
            if slow is Slow.DROP_NEWEST:
                return Outcome.DROPPED
            while not backlog.has_room(delivery.size, self._limits):
                backlog.take()
            outcome = Outcome.DISPLACED
        backlog.add(delivery)
        self._backlog = backlog
        return outcome

    def _write_backlog(self, *, whole: bool = False) -> None:
        """Write what waits, while the peer takes it; ``whole``: all of it, as nothing can be written later.

        Inside a message of fragments nothing can be (RFC 6455 5.4): an adapter calls this again after it.
        """
        backlog = self._backlog
        if backlog is None:
            return
        self._flush()
        if self.protocol.encoder.in_message:
            if whole:
                self._backlog = None
            return
        while backlog and (whole or not self._blocked):
            self._write(backlog.take().frame_for(self.protocol))
        if not backlog:
            self._backlog = None

    def _fail_as_slow(self) -> None:
        self.protocol.note_cause(CloseCause.LIMIT)
        self.fail(CloseCode.POLICY_VIOLATION, "reads too slowly")

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7)."""
        raise NotImplementedError
