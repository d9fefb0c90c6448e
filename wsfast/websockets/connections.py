"""Connections for ``create_connection=`` of ``websockets.asyncio``'s ``connect`` and ``serve``.

They have our frames, and a shorter path for the usual ``send``: a whole message while the connection is open. The path
of ``websockets`` enters an asynchronous context manager for each message.
"""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.asyncio.client import ClientConnection as _ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection as _ServerConnection
from websockets.protocol import OPEN

from .protocol import ClientProtocol, ServerProtocol, accelerate

__all__ = ["ClientConnection", "ServerConnection"]


class _Sending(Connection):
    """A class between ``websockets``' class for a role and its ``Connection``."""

    async def send(self, message: Any, *, text: bool | None = None) -> None:
        protocol = self.protocol
        is_str = type(message) is str
        if (
            self.send_in_progress is not None  # a fragmented message, which must end first (RFC 6455 5.4)
            or protocol.state is not OPEN
            or not (is_str or type(message) is bytes)
        ):
            return await super().send(message, text=text)
        try:
            data = message.encode() if is_str else message
        except UnicodeEncodeError:
            return await super().send(message, text=text)
        if is_str if text is None else text:
            protocol.send_text(data)
        else:
            protocol.send_binary(data)
        try:
            self.send_data()
            if self.paused or self.transport.is_closing():
                await self.drain()
        except Exception as error:
            # An error of the network. The next lines do the same as their context manager.
            getattr(self, _SET_EXC)(error)
            self.transport.abort()
            await asyncio.shield(self.connection_lost_waiter)
            raise self.protocol.close_exc from error


# The method had another name before websockets 17.
_SET_EXC = "set_connection_exc" if hasattr(Connection, "set_connection_exc") else "set_recv_exc"


class ClientConnection(_ClientConnection, _Sending):
    """``websockets.asyncio.client.ClientConnection`` with the frames of wsfast."""

    protocol: ClientProtocol

    def __init__(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        accelerate(protocol)
        super().__init__(protocol, *arguments, **options)


class ServerConnection(_ServerConnection, _Sending):
    """``websockets.asyncio.server.ServerConnection`` with the frames of wsfast."""

    protocol: ServerProtocol

    def __init__(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        accelerate(protocol)
        super().__init__(protocol, *arguments, **options)
