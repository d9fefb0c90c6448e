"""``Bus``: what rooms need of a broker. Three methods, and the two ends of a connection to it.

Everything else is above it, in ``link.py``: the queue, its limits, time limits, and connecting again. So a bus is
short, and all of them behave in the same way. A message comes by a callback, and not from an iterator: it is handed
over inside the read that brought it, without a task or a queue in between, whose size would need another limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Bus"]


class Bus(Protocol):
    """A broker that sends each payload of a channel to all who have subscribed to it.

    The payloads of one publisher come in order. Whether those of several do so too, for all, is the broker's affair.

    ``start`` and ``stop`` take turns; between them come calls of the others, one at a time. Any of them may raise
    anything, and may be cancelled: then the connection is given up with ``stop``, and made anew with ``start``. A
    channel is any text of at most 1 KiB in UTF-8, without lone surrogates.
    """

    async def start(
        self, receive: Callable[[str, bytes], bool], lost: Callable[[BaseException], object]
    ) -> int | None:
        """Connect, once, and return the most bytes that a payload may have; None if there is no limit.

        ``receive(channel, payload)`` has to be called for each payload, in order. If it returns True, other tasks have
        to get a turn before the next call. ``lost(exception)`` has to be called if messages may have been missed, as
        when the connection is lost. The bus must not connect again by itself.
        """
        ...

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Subscribe, and return when the broker has confirmed it."""
        ...

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Take subscriptions back."""
        ...

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish payloads, each to its channel, in order; return when the broker has taken them."""
        ...

    async def stop(self) -> None:
        """Close the connection, or what is left of it."""
        ...
