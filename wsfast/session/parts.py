"""A message that is received in parts, as its frames come (RFC 6455 5.4).

The decoder tells parts instead of the message while somebody wants them. What is left of a message stays right:

    the iterator ends                the rest of the message
    ------------------------------   -----------------------------------------------
    after the last part              there is none
    before it has returned a part    is joined, and the next ``recv`` returns it whole
    in between                       is skipped, and the next ``recv`` returns the next message
"""

from __future__ import annotations

import codecs
from collections import deque
from typing import TYPE_CHECKING, Any

from ..codec import Event, Failure, Fragment
from .base import Data, Stage
from .receiving import QUEUE
from .session import Session

__all__ = ["InParts", "PartQueue", "PartsIterator"]


class PartQueue(deque[Fragment]):
    """Parts that were received, and the use of those that come."""

    is_wanted = True
    """An iterator takes them."""
    is_joined = False
    """Else: nobody took one, and they become a message."""

    def message(self, text: str) -> Data:
        payload = b"".join(part.payload for part in self)
        return payload.decode() if self[-1].is_text and text == "str" else payload


class PartsIterator:
    """What an iterator over the parts of a message knows. An adapter brings the iteration."""

    __slots__ = ("_connection", "_decode", "_decoder", "_is_done", "_n_taken", "_queue")

    def __init__(self, connection: Any, decode: bool | None) -> None:
        self._connection = connection
        self._decode = decode
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._queue: PartQueue | None = None  # once we have begun
        self._n_taken = 0
        self._is_done = False

    def _decoded(self, part: Fragment) -> Data:
        """Return the part as the caller wants it.

        Raises:
            UnicodeDecodeError: a binary message has to be text, and is none.
        """
        is_text = part.is_text and self._connection.protocol.decoder.text == "str"
        if not (is_text if self._decode is None else self._decode):
            return part.payload
        return self._decoder.decode(part.payload, part.fin)


class InParts(Session):
    """The session of an adapter that receives in parts, too. It has the slots ``_parts`` and ``_parts_size``."""

    # Both slots are the adapter's: two classes with slots of their own could not be its bases.
    if not TYPE_CHECKING:
        __slots__ = ()

    _parts: PartQueue | None
    """Parts of a message that came, while they are not messages. None if nothing is received in parts."""
    _parts_size: int

    def _begin_parts(self) -> PartQueue:
        """Have the next message told in parts."""
        queue = self._parts = PartQueue()
        part = self.protocol.decoder.stream_message()
        if part is not None:
            queue.append(part)
        return queue

    def control_received(self, event: Event | Failure) -> None:
        if type(event) is Fragment:
            self._part_received(event)
        else:
            super().control_received(event)

    def _part_received(self, part: Fragment) -> None:
        queue = self._parts
        if queue is None or self._dropping:
            return
        if queue.is_wanted or queue.is_joined:
            queue.append(part)
            self._parts_size += len(part.payload)
        if queue.is_wanted:
            if self._high is not None and (
                len(queue) > self._high or self._parts_size > self._limits.max_queue_size
            ):
                if self._stage is Stage.OPEN:
                    self._pause(QUEUE)
                elif self._stage is not Stage.PEER_ENDED:  # we read on for the peer's Close only
                    queue.pop()
                    self._dropping = True
        elif part.fin:
            self._parts = None
            if queue.is_joined:
                self._own_queue().append(queue.message(self.protocol.decoder.text))
        self._wake()

    def _part_taken(self, part: Fragment) -> None:
        self._parts_size -= len(part.payload)
        assert self._parts is not None
        if self._pauses and len(self._parts) <= self._low and len(self._messages) <= self._low:
            self._unpause(QUEUE)

    def _give_up_parts(self, queue: PartQueue, n_taken: int) -> None:
        """Nobody wants the rest of the message any more; the table at the top has the rules."""
        if self._parts is not queue:
            return
        has_end = bool(queue) and queue[-1].fin
        is_over = has_end or not (queue or n_taken)
        if is_over:
            self.protocol.decoder.stream_message(False)
            self._parts = None
        queue.is_wanted = False
        queue.is_joined = n_taken == 0
        self._parts_size = 0
        if not queue.is_joined:
            queue.clear()
        elif has_end:
            self._own_queue().appendleft(queue.message(self.protocol.decoder.text))
        if self._pauses and len(self._messages) <= self._low:
            self._unpause(QUEUE)
        self._wake()
