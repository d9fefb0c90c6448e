"""Counts the bytes of a connection on their way between it and its transport, where that was asked for.

So a connection that counts nothing pays nothing. One that counts has no buffer to receive in place.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..codec import Role
from ..session import FrameCounter
from .between import Between
from .buffered import Receiver

__all__ = ["Meter"]


class Meter(Between):
    """Stands between a transport and ``connection``, in both directions."""

    def __init__(self, connection: Receiver, transport: asyncio.Transport) -> None:
        super().__init__(connection)
        role = connection.protocol.role
        self.received = FrameCounter(Role.CLIENT if role is Role.SERVER else Role.SERVER)
        self.sent = FrameCounter(role)
        self.is_open = False
        self._transport = transport
        transport.set_protocol(self)

    # The transport's calls

    def data_received(self, data: bytes) -> None:
        if self.is_open:
            self.received.feed(data)
        self._connection.data_received(data)

    # The connection's calls

    def write(self, data: bytes) -> None:
        if self.is_open:
            self.sent.feed(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        if name == "_transport":  # not set yet
            raise AttributeError(name)
        return getattr(self._transport, name)
