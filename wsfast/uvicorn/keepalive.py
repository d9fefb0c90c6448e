"""Keepalive as uvicorn has it: a Ping at each interval, an end for connections whose Pong is late (RFC 6455 5.5.2).

One timer at a time, no task. The protocol sends the Ping and ends the connection.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from ..connection import ReadyState

if TYPE_CHECKING:
    from .protocol import WebSocketProtocol


class Keepalive:
    """The keepalive of one connection. ``interval``, ``timeout``: seconds; no interval, no Pings."""

    def __init__(self, protocol: WebSocketProtocol, interval: float | None, timeout: float | None) -> None:
        # Weak, as it has us: a connection that is closed dies without the garbage collector.
        self._protocol = weakref.proxy(protocol)
        self._loop = protocol.loop
        self._interval = interval
        self._timeout = timeout
        self._pending: bytes | None = None  # the payload of the Ping whose Pong we wait for
        self._rtt = 0.0
        self.ping_sent_at = 0.0
        self.ping_timer: asyncio.TimerHandle | None = None
        """Runs until the next Ping is sent."""
        self.pong_timer: asyncio.TimerHandle | None = None
        """Runs until the Pong is late."""

    def start(self) -> None:
        """Send the next Ping when the interval is over; the last round trip was a part of it."""
        if self._interval is not None and self._interval > 0:
            self.ping_timer = self._loop.call_later(max(0.0, self._interval - self._rtt), self._ping)

    def stop(self) -> None:
        for timer in (self.ping_timer, self.pong_timer):
            if timer is not None:
                timer.cancel()
        self.ping_timer = self.pong_timer = self._pending = None

    def _ping(self) -> None:
        self.ping_timer = None
        if not self._is_open():
            return
        self._pending = os.urandom(4)
        self.ping_sent_at = self._loop.time()
        self._protocol.send_ping(self._pending)
        if self._timeout is None:
            self.start()
        else:
            self._wait_for_pong()

    def _wait_for_pong(self) -> None:
        assert self._timeout is not None
        self.pong_timer = self._loop.call_later(self._timeout, self._pong_is_late)

    def pong_received(self, payload: bytes) -> None:
        if payload != self._pending:
            return  # 5.5.3: one that nobody asked for
        self._pending = None
        self._rtt = self._loop.time() - self.ping_sent_at
        if self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = None
            self.start()

    def _pong_is_late(self) -> None:
        self.pong_timer = None
        if not self._is_open():
            return
        if self._protocol.read_paused:
            self._wait_for_pong()  # it is us who do not read: the Pong may well be there
        else:
            self._protocol.keepalive_timed_out()

    def _is_open(self) -> bool:
        protocol = self._protocol
        return protocol.protocol.ready_state is ReadyState.OPEN and not protocol.transport.is_closing()
