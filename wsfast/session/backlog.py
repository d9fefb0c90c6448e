"""Messages of broadcasts that wait for a peer which reads too slowly, and the policies about them.

    policy       a peer reads too slowly: the message             and there is no room for it
    -----------  -----------------------------------------------  -----------------------------------------
    close        is written all the same                          the connection fails with 1008
    wait         waits, and the caller may wait for it            the connection fails with 1008
    drop_newest  waits                                            it is dropped
    drop_oldest  waits                                            those that wait longest are dropped for it

- A message with a key takes the place of the one that waits with the same key, under each policy. So it takes no room.
- Room is ``max_backlog`` messages and ``max_backlog_size`` bytes where messages may be dropped, so that a peer gets
  news and no history; elsewhere it is ``max_unsent_size`` bytes. One message always has room.
- A message that waits is not compressed yet, unless its bytes are shared: dropping one must not leave a hole in a
  context (RFC 7692 7.2.3.2). It goes out before any message that is sent later, and before an orderly Close.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

from ..codec import Role
from ..deflate import Agreement, Deflater
from ..limits import Limits

if TYPE_CHECKING:
    from ..connection import Connection as Protocol

__all__ = ["Backlog", "Delivery", "Outcome", "Slow"]


class Slow(enum.Enum):
    """The policy for a peer that reads too slowly; the table above."""

    CLOSE = "close"
    WAIT = "wait"
    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"


class Outcome(enum.Enum):
    """The fate of a message that was broadcast, on one connection."""

    SENT = "it was written"
    WAITING = "it waits until the peer reads"
    REPLACED = "it waits, in the place of a message with the same key"
    DISPLACED = "it waits, and messages that waited longer were dropped for it"
    DROPPED = "it was dropped: the peer reads too slowly"
    FAILED = "the connection was failed with 1008: the peer reads too slowly"
    CLOSED = "the connection was not open"
    SKIPPED = "a message of fragments was being sent"


class Delivery:
    """One message for many connections: framed, and compressed, once for all that can share the bytes."""

    __slots__ = ("_framed", "_size", "key", "message", "text")

    def __init__(self, message: str | bytes, text: bool | None = None, key: Hashable = None) -> None:
        self.message = message
        self.text = text
        self.key = key
        self._framed: dict[Agreement | None, bytes] = {}  # by the shared agreement; None: not compressed
        self._size = -1

    @property
    def size(self) -> int:
        """Bytes of the message, not compressed.

        Raises:
            ValueError: text that is not UTF-8, so that nothing waits that cannot be sent.
        """
        if self._size < 0:
            message = self.message
            if isinstance(message, str):
                message = message.encode()
            elif self.text:
                message.decode()
            self._size = len(message)
        return self._size

    def frame_for(self, protocol: Protocol) -> bytes:
        """Return the bytes for a connection. They have to be written now, as its context goes on with them."""
        encoder = protocol.encoder
        deflate = cast("Deflater | None", encoder.deflate)
        agreement = None if deflate is None else deflate.shared_with
        # 5.3: each client has its own masking keys.
        if protocol.role is Role.CLIENT or (deflate is not None and agreement is None):
            return encoder.message(self.message, self.text)
        frame = self._framed.get(agreement)
        if frame is None:
            frame = self._framed[agreement] = encoder.message(self.message, self.text)
        return frame


class Backlog:
    """The messages that wait on one connection, each with a number."""

    __slots__ = ("_by_key", "_next", "_waiting", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes of all messages, not compressed."""
        self._waiting: OrderedDict[int, Delivery] = OrderedDict()
        self._by_key: dict[Hashable, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def end(self) -> int:
        """The number of the next message."""
        return self._next

    def holds_before(self, end: int) -> bool:
        """Tell whether a message with a smaller number, or one in its place, still waits."""
        return bool(self._waiting) and next(iter(self._waiting)) < end

    def has_room(self, size: int, limits: Limits) -> bool:
        """Tell whether a message of ``size`` bytes has room. One message always has."""
        n_waiting = len(self._waiting)
        return not n_waiting or (
            n_waiting < limits.max_backlog and self.size + size <= limits.max_backlog_size
        )

    def replace(self, delivery: Delivery) -> bool:
        """Let it take the place of the message with the same key; return False if there is none."""
        number = None if delivery.key is None else self._by_key.get(delivery.key)
        if number is None:
            return False
        self.size += delivery.size - self._waiting[number].size
        self._waiting[number] = delivery
        return True

    def add(self, delivery: Delivery) -> None:
        """Let it wait after all others."""
        self.size += delivery.size
        number, self._next = self._next, self._next + 1
        self._waiting[number] = delivery
        if delivery.key is not None:
            self._by_key[delivery.key] = number

    def take(self) -> Delivery:
        """Take the message that has waited longest."""
        _, delivery = self._waiting.popitem(last=False)
        self.size -= delivery.size
        if delivery.key is not None:
            del self._by_key[delivery.key]
        return delivery
