"""How many messages a peer may send in a second, on average.

A bucket holds the messages of one second. Each message takes one out; time puts them back. What is missing is a debt:
reading pauses until it is paid. So no message is lost, and the peer feels TCP's own back-pressure.
"""

from __future__ import annotations

__all__ = ["Rate"]


class Rate:
    """The bucket of one connection. ``per_second``: messages; ``now``: seconds of the session's clock."""

    __slots__ = ("_at", "_left", "_per_second")

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._left = max(1.0, per_second)
        self._at = now

    def spend(self, n_messages: int, now: float) -> float:
        """Note that messages came at ``now``; return the seconds until the debt is paid, 0 if there is none."""
        refilled = self._left + (now - self._at) * self._per_second
        self._at = now
        self._left = min(refilled, max(1.0, self._per_second)) - n_messages
        return max(0.0, -self._left / self._per_second)
