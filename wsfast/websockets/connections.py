"""Connections for ``create_connection=`` of ``websockets.asyncio``'s ``connect`` and ``serve``."""

from __future__ import annotations

from typing import Any

from websockets.asyncio.client import ClientConnection as _ClientConnection
from websockets.asyncio.server import ServerConnection as _ServerConnection

from .protocol import ClientProtocol, ServerProtocol, accelerate

__all__ = ["ClientConnection", "ServerConnection"]


class ClientConnection(_ClientConnection):
    """``websockets.asyncio.client.ClientConnection`` with the frames of wsfast."""

    protocol: ClientProtocol

    def __init__(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        accelerate(protocol)
        super().__init__(protocol, *arguments, **options)


class ServerConnection(_ServerConnection):
    """``websockets.asyncio.server.ServerConnection`` with the frames of wsfast."""

    protocol: ServerProtocol

    def __init__(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        accelerate(protocol)
        super().__init__(protocol, *arguments, **options)
