"""Connections for ``create_connection=`` of ``websockets.sync``'s ``connect`` and ``serve``."""

from __future__ import annotations

from typing import Any

from websockets.sync.client import ClientConnection as _ClientConnection
from websockets.sync.server import ServerConnection as _ServerConnection

from .protocol import ClientProtocol, ServerProtocol, accelerate

__all__ = ["ClientConnection", "ServerConnection"]


class ClientConnection(_ClientConnection):
    """``websockets.sync.client.ClientConnection`` with the frames of wsfast."""

    protocol: ClientProtocol

    def __init__(self, socket: Any, protocol: Any, *arguments: Any, **options: Any) -> None:
        accelerate(protocol)
        super().__init__(socket, protocol, *arguments, **options)


class ServerConnection(_ServerConnection):
    """``websockets.sync.server.ServerConnection`` with the frames of wsfast."""

    protocol: ServerProtocol

    def __init__(self, socket: Any, protocol: Any, *arguments: Any, **options: Any) -> None:
        accelerate(protocol)
        super().__init__(socket, protocol, *arguments, **options)
