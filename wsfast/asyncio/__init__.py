"""The asyncio API: ``connect``, ``serve``, ``broadcast``, with the names and habits of ``websockets``."""

from .broadcast import broadcast
from .client import ClientConnection, connect, unix_connect
from .connection import Connection
from .server import Server, ServerConnection, serve, unix_serve

__all__ = [
    "ClientConnection",
    "Connection",
    "Server",
    "ServerConnection",
    "broadcast",
    "connect",
    "serve",
    "unix_connect",
    "unix_serve",
]
