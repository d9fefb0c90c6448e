"""Pings that wait for their Pong, and the round-trip times they bring (RFC 6455 5.5.2, 5.5.3).

One rule: a Pong answers the Ping with its payload and all Pings before it (5.5.3: an endpoint may answer only
the most recent one). A Pong that answers nothing is no fault. This file sends nothing and starts no timer.
"""

from __future__ import annotations

import asyncio
import os

from ..exceptions import ConcurrencyError


class PendingPings:
    """The Pings of one connection that were not answered yet, in the order in which they were sent."""

    def __init__(self) -> None:
        self.latency = 0.0
        """Round-trip time of the last Ping that was answered, in seconds; 0 before the first."""
        self._pending: dict[bytes, tuple[asyncio.Future[float], float]] = {}

    def add(
        self, payload: bytes | None, loop: asyncio.AbstractEventLoop
    ) -> tuple[bytes, asyncio.Future[float]]:
        """Note a Ping that is about to be sent; None chooses a payload that is not pending.

        Returns the payload and the future of the latency in seconds.
        """
        if payload is None:
            payload = os.urandom(4)
            while payload in self._pending:
                payload = os.urandom(4)
        elif payload in self._pending:
            raise ConcurrencyError("a ping with the same payload is still waiting for its pong")
        answered: asyncio.Future[float] = loop.create_future()
        self._pending[payload] = answered, loop.time()
        return payload, answered

    def acknowledge(self, payload: bytes, now: float) -> None:
        """Note a Pong. ``now``: the loop's time, in seconds."""
        if payload not in self._pending:
            return
        for pending in list(self._pending):
            answered, sent_at = self._pending.pop(pending)
            if pending == payload:
                self.latency = now - sent_at
            if not answered.done():
                answered.set_result(now - sent_at)
            if pending == payload:
                break

    def abandon(self, exception: Exception) -> None:
        """Tell those who still wait that no Pong will come."""
        for answered, _ in self._pending.values():
            if not answered.done():
                answered.set_exception(exception)
                answered.exception()  # nobody may be waiting, which is no fault: mark it as retrieved
        self._pending.clear()
