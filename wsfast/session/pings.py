"""Pings that wait for their Pong, and the round-trip times they bring (RFC 6455 5.5.2, 5.5.3).

One rule: a Pong answers the Ping with its payload and all Pings before it (5.5.3: an endpoint may answer only
the most recent one). A Pong that answers nothing is no fault. Who waits is opaque: a future, an event, or None.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from ..exceptions import ConcurrencyError
from .stats import RoundTrips

# Pings that wait for their Pong at most. A peer may answer none, and go on in all else.
MAX_PENDING = 1024


class PendingPings:
    """The Pings of one connection that were not answered yet, in the order in which they were sent."""

    __slots__ = ("_pending", "_times", "latency")

    def __init__(self) -> None:
        self.latency = 0.0
        """Round-trip time of the last Ping that was answered, in seconds; 0 before the first."""
        # Of Pings that were answered: their number, the shortest and the longest time, and the sum of all.
        self._times: tuple[int, float, float, float] | None = None
        self._pending: dict[bytes, tuple[Any, float]] = {}

    def __contains__(self, payload: bytes) -> bool:
        return payload in self._pending

    def forget_unwanted(self, gave_up: Callable[[Any], bool] = lambda waiter: False) -> Any:
        """Forget Pings for which nobody waits, if there are ``MAX_PENDING``. Return the first waiter if as many stay.

        Nobody waits if the waiter is None, ``gave_up``, or is kept by nobody else. PyPy cannot know the latter.
        """
        if len(self._pending) < MAX_PENDING:
            return None
        pings, self._pending = self._pending, {}
        for payload in list(pings):
            waiter, sent_at = pings.pop(payload)
            if waiter is None:
                continue
            remembered = weakref.ref(waiter)
            del waiter
            waiter = remembered()
            if waiter is not None and not gave_up(waiter):
                self._pending[payload] = waiter, sent_at
        return None if len(self._pending) < MAX_PENDING else next(iter(self._pending.values()))[0]

    def add(self, payload: bytes | None, waiter: Any, now: float) -> bytes:
        """Note a Ping that is about to be sent, and return its payload; None chooses one that is not pending.

        Raises:
            ConcurrencyError: a Ping with this payload is still unanswered.
        """
        if payload is None:
            payload = os.urandom(4)
            while payload in self._pending:
                payload = os.urandom(4)
        elif payload in self._pending:
            raise ConcurrencyError("a ping with the same payload is still waiting for its pong")
        self._pending[payload] = waiter, now
        return payload

    def acknowledge(self, payload: bytes, now: float) -> list[tuple[Any, float]]:
        """Note a Pong; return who waited for it, each with the round-trip time in seconds."""
        if payload not in self._pending:
            return []
        answered: list[tuple[Any, float]] = []
        pending = None
        while pending != payload:
            pending = next(iter(self._pending))
            waiter, sent_at = self._pending.pop(pending)
            answered.append((waiter, now - sent_at))
        self.latency = latency = answered[-1][1]
        n, shortest, longest, total = self._times or (0, latency, latency, 0.0)
        self._times = n + 1, min(shortest, latency), max(longest, latency), total + latency
        return answered

    @property
    def n_pending(self) -> int:
        """Pings that wait for their Pong."""
        return len(self._pending)

    @property
    def round_trips(self) -> RoundTrips:
        """The times of the Pings whose own Pong came."""
        if self._times is None:
            return RoundTrips(0, 0.0, 0.0, 0.0, 0.0)
        n, shortest, longest, total = self._times
        return RoundTrips(n, self.latency, shortest, longest, total / n)

    def abandon(self) -> list[Any]:
        """Forget all; return who still waits."""
        waiters = [waiter for waiter, _ in self._pending.values()]
        self._pending.clear()
        return waiters
