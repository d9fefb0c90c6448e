"""Keepalive: a Ping at each interval, and an end for connections whose Pong does not come (RFC 6455 5.5.2).

One timer a connection, no task. The connection decides how a Ping is sent and how it is failed.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from ..codec import CloseCode
from ..connection import ReadyState

if TYPE_CHECKING:
    from .connection import Connection


class Keepalive:
    """The keepalive of one connection. ``interval``, ``timeout``: seconds; None switches either off."""

    __slots__ = ("_connection", "_interval", "_timeout", "_timer")

    def __init__(self, connection: Connection, interval: float | None, timeout: float | None) -> None:
        # Weak, as it has us: a connection that is closed dies without the garbage collector.
        self._connection = weakref.proxy(connection)
        self._interval = interval
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send the next Ping when the interval is over."""
        if self._interval is not None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._ping)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ping(self) -> None:
        if not self._is_open():
            return
        answered = self._connection.send_ping()
        if self._timeout is None:
            self.start()
            return
        self._wait(answered)
        answered.add_done_callback(self._answered)

    def _wait(self, answered: asyncio.Future[float]) -> None:
        assert self._timeout is not None
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self._check, answered)

    def _answered(self, answered: asyncio.Future[float]) -> None:
        if self._timer is not None and answered.exception() is None:
            self.stop()
            self.start()

    def _check(self, answered: asyncio.Future[float]) -> None:
        if answered.done() or not self._is_open():
            return
        if self._connection.is_reading_paused:
            self._wait(answered)  # it is us who do not read: the Pong may well be there
        else:
            self._connection.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def _is_open(self) -> bool:
        connection = self._connection
        return connection.protocol.ready_state is ReadyState.OPEN and not connection.transport.is_closing()
