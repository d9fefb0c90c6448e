"""A protocol between a transport and a connection: passes on each call of the transport.

``metering.py`` and ``tracing.py`` look at the bytes on the way. The rule: the connection does not notice.
"""

from __future__ import annotations

import asyncio

from .buffered import Receiver

__all__ = ["Between"]


class Between(asyncio.Protocol):
    """Passes on the calls. A subclass has ``data_received``."""

    def __init__(self, connection: Receiver) -> None:
        self._connection = connection

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        connection = self._connection
        del self._connection  # no cycle
        connection.connection_lost(exc)
