"""How a session ends: stages, and the deadline of each (RFC 6455 5.5.1, 7.1).

    in stage    the peer's Close, or fault      close(), fail()   deadline    when that is over
    ----------  ------------------------------  ----------------  ----------  ------------------------------
    OPEN        messages wait: PEER_ENDED,      CLOSING           PING, PONG  see ``keepalive.py``
                else answer it: ANSWERED
    PEER_ENDED  (none comes)                    ANSWERED          ANSWER      answer it: ANSWERED
    CLOSING     ANSWERED                        nothing           PEER_CLOSE  abort
    ANSWERED    (none comes)                    nothing           TCP_CLOSE   abort
    LINGERING   (none comes)                    nothing           TCP_CLOSE   abort
    CLOSED      (none comes)                    nothing

``lost()``, the end of TCP, leads from each of them to CLOSED. From ANSWERED a server goes on to LINGERING at once:
it closes its half of TCP, as it is its turn (7.1.1), and reads on until the peer closes the other half. To close both
at once could make the kernel drop our Close frame, if there are bytes of the peer's that nobody read. A client goes on
to it if the peer has closed its half already.

``half_closed()``, the end of the peer's half, sets the deadline TCP_CLOSE in each stage: our half is closed after what
is unsent, and a peer may never take that.

- A Close stands in line: the messages before it can be answered (5.5.1 allows the delay). It is answered as soon as
  nobody takes messages: after ``ANSWER_DELAY`` without one taken, or when somebody waits for the end. A message that
  waits can be received afterwards too.
- ``close_timeout`` is for PEER_CLOSE and TCP_CLOSE together. It begins anew while the peer takes what was written
  before, a sixteenth of it and 1 KiB each time: so at most 16 times, and a slow transfer is not cut.
"""

from __future__ import annotations

import math
from typing import Any

from ..codec import CloseCode
from ..connection import Connection as Protocol
from ..connection import ReadyState
from .base import Deadline, Stage
from .keepalive import Keepalive
from .receiving import PONGS, QUEUE, RATE

# Seconds without a message taken, after which the peer's Close is answered.
ANSWER_DELAY = 0.25

# Seconds until the messages are counted first: the one who takes them is often about to run.
_FIRST_LOOK = 0.01

_MAX_EXTENSIONS = 16

# Bytes that a peer has to take at least to be waited for again. A Close frame alone, of 131 bytes, is no slow transfer:
# that it was not acknowledged at once would else double ``close_timeout``.
_LEAST_SHARE = 1024


class Ending(Keepalive):
    """The table above. ``close_timeout``: seconds; None waits for ever."""

    __slots__ = ("_answer_by", "_fair_share", "_is_half_closed", "_n_unread", "_n_waiting_for_end")

    linger_after_fault: float | None = None
    """Seconds in LINGERING after the peer's fault; None: ``close_timeout``. For an adapter that cannot half-close."""

    def __init__(self, protocol: Protocol, **options: Any) -> None:
        super().__init__(protocol, **options)
        self._n_waiting_for_end = 0  # those who wait for the end, and take no messages
        self._n_unread = 0
        self._answer_by = 0.0
        self._fair_share = 0  # bytes that a peer has to take to be waited for again
        self._is_half_closed = False  # by the peer

    # The peer ends it

    def _peer_ended(self) -> None:
        """The peer's Close, or its fault, is there and not answered, and all before it is queued."""
        self._ping_payload = None
        self._unpause(QUEUE | PONGS | RATE)  # only the end of TCP is left to be read
        if not self._messages or self._n_waiting_for_end:
            self._answer()
        else:
            now = self._now()
            timeout = math.inf if self.close_timeout is None else self.close_timeout
            self._answer_by = now + timeout
            self._n_unread = -1  # not counted yet
            self._set_deadline(Deadline.ANSWER, now + min(_FIRST_LOOK, timeout))

    def _answer_is_due(self, now: float) -> None:
        if (len(self._messages) < self._n_unread or self._n_unread < 0) and now < self._answer_by:
            delay = ANSWER_DELAY if self._n_unread >= 0 else ANSWER_DELAY - _FIRST_LOOK
            self._n_unread = len(self._messages)
            self._set_deadline(Deadline.ANSWER, min(now + delay, self._answer_by))
        else:
            self._answer()

    def _answer(self) -> None:
        """Let the peer's Close, or its fault, take effect."""
        self._write_backlog(whole=True)
        self.protocol.answer()
        self._send_owed()
        self._wake()
        self._answered()

    def _wait_for_end(self) -> None:
        """Somebody waits for the end: so nobody takes messages."""
        if self._stage is Stage.PEER_ENDED:
            self._answer()

    # We end it

    def start_close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Send Close, or answer the peer's that waits in line. Does nothing if that was done.

        Raises:
            ValueError: a code that must not be sent, or a reason that is too long or no text (RFC 6455 7.4, 5.5).
        """
        was_open = self.protocol.ready_state is ReadyState.OPEN
        self.protocol.close(code, reason)
        if was_open:
            self._write_backlog(whole=True)  # the Close comes after it
            self._close_sent()

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7): the peer's Close is not waited for."""
        if self.protocol.ready_state is ReadyState.OPEN:
            self.protocol.fail(code, reason)
            self._backlog = None
            self._close_sent()

    def _close_sent(self) -> None:
        self._send_owed()
        if self.protocol.closing_done:
            self._answered()
        else:
            self._stage = Stage.CLOSING
            self._set_close_deadline(Deadline.PEER_CLOSE)
        self._unpause(QUEUE | PONGS | RATE)  # the peer's Close comes after what we did not read

    # Close went both ways, or is not waited for

    def _answered(self) -> None:
        self._stage = Stage.ANSWERED
        self._set_close_deadline(Deadline.TCP_CLOSE)
        if self.protocol.wants_transport_closed or self._is_half_closed:
            self._linger()

    def _linger(self) -> None:
        """Close our half of TCP, unless TCP is closed already."""
        if self._stage is Stage.CLOSED or self._is_cut():
            return
        self._stage = Stage.LINGERING
        self._flush()
        self._set_close_deadline(Deadline.TCP_CLOSE)
        if self.linger_after_fault is not None and self.protocol.failure is not None:
            self._set_deadline(Deadline.TCP_CLOSE, self._now() + self.linger_after_fault)
        self._close_half()

    def _set_close_deadline(self, deadline: Deadline) -> None:
        if self._deadline in (Deadline.PEER_CLOSE, Deadline.TCP_CLOSE):
            self._deadline = deadline  # ``close_timeout`` is for both
        elif self.close_timeout is None:
            self._set_deadline(None)
        else:
            self._unsent = self._unsent_size()
            self._fair_share = max(_LEAST_SHARE, self._unsent // _MAX_EXTENSIONS)
            self._set_deadline(deadline, self._now() + self.close_timeout)

    def _close_is_late(self, now: float, deadline: Deadline) -> None:
        assert self.close_timeout is not None
        unsent = self._unsent_size()
        if self._unsent - unsent >= self._fair_share:
            self._unsent = unsent
            self._set_deadline(deadline, now + self.close_timeout)
        else:
            if self._cause is None:
                self._cause = TimeoutError(
                    f"the peer did not close within close_timeout, {self.close_timeout} s"
                )
            self._abort()

    # The end

    def half_closed(self) -> None:
        """The peer closed its half of TCP: nothing more comes.

        The adapter closes the other half, after what is unsent, unless ``keeps_half_open``.
        """
        self._is_half_closed = True
        if self._stage is Stage.PEER_ENDED and not (self.keeps_half_open and self._can_half_close()):
            self._answer()  # now, or never
        if not self.keeps_half_open:
            if self.protocol.ready_state is ReadyState.OPEN:
                self._write_backlog(whole=True)
                self.protocol.ready_state = ReadyState.CLOSING  # nothing can be sent any more
            self._set_close_deadline(Deadline.TCP_CLOSE)

    def lost(self, exception: BaseException | None) -> None:
        """TCP is closed; ``exception`` says why, if it was not closed in an orderly way."""
        if exception is not None and self._cause is None:
            # Its traceback may hold our frames, as of a write that failed, and so ourselves.
            self._cause = exception.with_traceback(None)
        self._stage = Stage.CLOSED
        self._set_deadline(None)
        self.protocol.receive_eof()
        self._batch.clear()
        self._backlog = None
        self._feed = self._decoder.feed  # `_hold` would hold us
        waiters = self._pings.abandon()
        if waiters:
            closed = self._closed_exception()
            for waiter in waiters:
                self._pong_lost(waiter, closed)
        self._wake()

    @property
    def keeps_half_open(self) -> bool:
        """True if our half of TCP is needed though the peer closed its own: messages can still be answered."""
        return self._stage is Stage.PEER_ENDED and bool(self._messages)
