"""The queue of received messages, and when reading pauses.

Reading pauses for a reason, and goes on when no reason is left:

    reason     begins when                                      ends when
    ---------  -----------------------------------------------  ---------------------------------------------
    QUEUE      nobody waits, and more than ``max_queue``        messages were taken, down to the low mark
               messages, or ``max_queue_size`` bytes, wait
    CHUNK      a read holds more than one turn may decode       all of it is decoded
    PONGS      64 Pongs are owed, and the peer reads nothing    the peer reads again
    HANDSHAKE  a request came, and is not answered yet          it is answered
    RATE       more than ``max_messages_per_second`` came       the average is right again

- A message goes straight to a receiver that waits, and pauses nothing: to pause and to resume would be two system
  calls for each chunk.
- What is not decoded yet stays bytes: one read cannot become more than a turn's share of messages.
- Once we sent Close, reading goes on to find the peer's. What nobody takes is dropped then, and all that follows it.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ..connection import Connection as Protocol
from .base import NO_MESSAGES, Data, Stage, queue_limits
from .rate import Rate
from .writing import Writing

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..codec import Event

# Bits of `_pauses`.
QUEUE, CHUNK, PONGS, HANDSHAKE, RATE = 1, 2, 4, 8, 16

# Seconds by which a debt may be unpaid: timers come a little early.
_RATE_TOLERANCE = 0.002

# Seconds after which a debt is looked at again. The timer keeps a connection that has ended for so long.
_RATE_LOOK = 1.0

# Events and bytes of messages that one turn of the loop decodes. So 256 KiB of anything that a peer could send hold it
# for some milliseconds (benchmarks, worst_read), and the usual read is not divided.
TURN_BOUNDS: Final[dict[str, Any]] = {"max_feed_events": 2048, "max_feed_size": 2 * 2**20}

# Bytes of chunks that are kept as they came, because there is no room for their messages.
_MAX_HELD_SIZE = 2**20

# Stages in which we sent Close, and read on for the peer's, or for the end of TCP.
_DROPPING = (Stage.CLOSING, Stage.ANSWERED, Stage.LINGERING)


class Receiving(Writing):
    """The queue, its marks, and the reasons for a pause."""

    __slots__ = (
        "_decoding_scheduled",
        "_dropping",
        "_held",
        "_high",
        "_is_looking",
        "_low",
        "_n_taken",
        "_pauses",
        "_queue_size",
        "_rate",
    )

    def __init__(
        self, protocol: Protocol, *, max_queue: int | tuple[int | None, int | None] | None, **options: Any
    ) -> None:
        super().__init__(protocol, **options)
        self._high, self._low = queue_limits(max_queue)
        self._queue_size = 0  # bytes of memory: at least what the queue takes, once somebody is slow
        self._pauses = 0
        per_second = self._limits.max_messages_per_second
        self._rate = None if per_second is None else Rate(per_second, 0.0)
        self._decoding_scheduled = False
        self._dropping = False
        self._held: list[bytes] | None = None  # chunks that came while there was no room to decode them
        self._n_taken = 0  # messages that were taken while reading was paused
        self._is_looking = False  # a chunk is read, though there are reasons for a pause

    @property
    def is_reading_paused(self) -> bool:
        """True while the peer has to wait, as the table in ``session/receiving.py`` says."""
        return self._pauses != 0 and not self._is_looking

    def _queue(self, messages: list[Data]) -> None:
        """Queue messages, and wake the one who waits."""
        if self._dropping:
            return
        if self._rate is not None and self._stage is Stage.OPEN:
            self._look_at_rate(len(messages))
        queue = self._messages
        if queue is NO_MESSAGES:
            queue = self._own_queue()
        queue.extend(messages)
        if self._waiter is not None:
            if messages:
                self._wake()
        elif self._high is not None:
            if len(queue) == len(messages):
                self._queue_size = 0
            self._queue_size += sum(map(sys.getsizeof, messages))
            if len(queue) > self._high or self._is_too_large():
                self._queue_is_full(len(messages))

    def _own_queue(self) -> deque[Data]:
        """Return the queue to add to it."""
        if self._messages is NO_MESSAGES:
            self._messages = deque()
        return self._messages

    def _is_too_large(self) -> bool:
        if self._queue_size <= self._limits.max_queue_size:
            return False
        self._queue_size = sum(map(sys.getsizeof, self._messages))  # without what was taken meanwhile
        return self._queue_size > self._limits.max_queue_size

    def _queue_is_full(self, n_new: int) -> None:
        if self._stage is Stage.OPEN:
            self._pause(QUEUE)
        elif self._stage in _DROPPING:
            # The first that has no room is dropped, and all after it: what is received has no hole.
            self._dropping = True
            assert self._high is not None
            for _ in range(n_new):
                if len(self._messages) <= self._high and not self._is_too_large():
                    break
                self._messages.pop()

    def _message_taken(self) -> None:
        """Let reading go on, if there is room again. Called for each message that is taken while it is paused."""
        self._n_taken += 1
        if len(self._messages) <= self._low and self._pauses & (QUEUE | CHUNK):
            self._unpause(QUEUE)

    def _look_at_rate(self, n_messages: int = 0) -> None:
        """Let the peer wait while it has sent too many messages, and then go on."""
        assert self._rate is not None
        if self._stage is not Stage.OPEN:
            return
        now = self._now()
        seconds = self._rate.spend(n_messages, now)
        if n_messages:
            if seconds <= _RATE_TOLERANCE:
                return
            has_timer = self._pauses & RATE
            self._pause(RATE)
            if has_timer:
                return
        elif seconds <= _RATE_TOLERANCE:
            self._unpause(RATE)
            return
        self._look_at_rate_at(now + min(seconds, _RATE_LOOK))

    # Pauses

    def _pause(self, reason: int) -> None:
        if (not self._pauses or self._is_looking) and not self._is_cut():
            self._stop_reading()
        self._is_looking = False
        self._pauses |= reason

    def _unpause(self, reasons: int) -> None:
        paused, self._pauses = self._pauses, self._pauses & ~reasons
        if self._pauses & CHUNK:
            self._decode_later()
        elif paused and not self._pauses:
            if not self._is_looking and not self._is_cut():
                self._start_reading()
            self._is_looking = False

    # Bytes that wait to be decoded

    def _read_a_chunk(self) -> bool:
        """Read once more though nobody takes messages; return False if there is no room for a chunk.

        The chunk may hold a Pong, a Close, or the end of TCP. It stops reading again; the reasons for the pause stay.
        """
        is_full = self._high is not None and (
            len(self._messages) > 2 * self._high + 64 or self._is_too_large()
        )
        if self._pauses & CHUNK or is_full:
            if self._held is None:
                self._held = []
            if sum(map(len, self._held)) > _MAX_HELD_SIZE:
                return False
            self._feed = self._hold
        self._is_looking = True
        if not self._is_cut():
            self._start_reading()
        return True

    def place_to_receive(self) -> memoryview | None:
        """Return a view to receive the rest of a large frame into, or None if the next bytes have to be fed.

        Bytes that wait stand before those that come.
        """
        return None if self._held else self._decoder.get_buffer()

    def _hold(self, chunk: Buffer) -> list[Event]:
        assert self._held is not None
        self._held.append(bytes(chunk))
        if len(self._messages) > self._low:
            self._pause(QUEUE | CHUNK)
        else:
            self._chunk_waits()
        return []

    def _chunk_waits(self) -> None:
        """Decode the rest of the chunk at the next turn, so that others run before it, or when there is room."""
        self._pause(CHUNK)
        self._decode_later()

    def _decode_later(self) -> None:
        """Decode on at the next turn, if there is room; else that begins when there is."""
        if self._stage is not Stage.CLOSED and not self._pauses & QUEUE and not self._decoding_scheduled:
            self._decoding_scheduled = True
            self._decode_soon()

    def _decode_at_next_turn(self) -> None:
        self._decoding_scheduled = False
        if self._stage is not Stage.CLOSED:
            self._decode_on()

    def _decode_on(self) -> bool:
        """Decode a turn's share of the bytes that wait; return True if there were any and there was room."""
        if not self._pauses & CHUNK or (
            self._pauses & (QUEUE | PONGS | RATE) and self._stage is not Stage.CLOSED
        ):
            return False
        chunk = self._held.pop(0) if self._held and not self._decoder.has_waiting else b""
        events = self._decoder.feed(chunk)
        if not self._held:
            self._held = None
            self._feed = self._decoder.feed
        self.take_events(events)
        if not self._decoder.has_waiting and self._held is None:
            self._unpause(CHUNK)
        else:
            self._decode_later()
        return True

    def take_events(self, events: list[Event]) -> None:
        """Take the events that the decoder made of the bytes that came last."""
        raise NotImplementedError
