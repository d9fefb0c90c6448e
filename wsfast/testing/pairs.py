"""``pair`` and ``connect_to``: the client and the server of ``wsfast.asyncio``, with memory between them.

The opening handshake is the real one, and so are all options: those of ``connect`` and of ``serve``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..asyncio.client import ClientConnection, connect
from ..asyncio.server import Server, ServerConnection, serve
from .memory import join

__all__ = ["Pair", "connect_to", "pair"]

Handler = Callable[[ServerConnection], Awaitable[None]]
URI = "ws://testing/"


class Pair(NamedTuple):
    """Two ends of one connection; both are open."""

    client: ClientConnection
    server: ServerConnection


class _Listening:
    """Stands in for the sockets of a server."""

    sockets: Sequence[Any] = ()
    accepts = True

    def is_serving(self) -> bool:
        return self.accepts

    async def start_serving(self) -> None:
        self.accepts = True

    def close(self) -> None:
        self.accepts = False


class _Connect(connect):
    """Connects to ``server`` through memory."""

    server: Server
    chunk_size: int | None

    async def _open_tcp(self, factory: Callable[[], ClientConnection], attempt: Any) -> ClientConnection:
        if not self.server.is_serving():
            raise ConnectionRefusedError("the server is closed")
        client = factory()
        join(client, self.server._new_connection(self.server), self.chunk_size)
        return client


def listen(handler: Handler | None, options: Mapping[str, Any] | None) -> Server:
    """Make a server without sockets. No handler: the options have something in its place."""
    server = serve(cast("Handler", handler), **(options or {}))

    async def create_server(factory: object) -> _Listening:
        return _Listening()

    server._create_server = create_server
    return server


def dial(server: Server, uri: str, options: Mapping[str, Any] | None, chunk_size: int | None) -> connect:
    """Make a ``connect`` that leads to ``server``."""
    dialled = _Connect(uri, **(options or {}))
    dialled.server, dialled.chunk_size = server, chunk_size
    return dialled


@contextlib.asynccontextmanager
async def connect_to(
    handler: Handler | None,
    *,
    uri: str = URI,
    client: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    chunk_size: int | None = None,
) -> AsyncIterator[ClientConnection]:
    """Connect a client to a handler, without sockets: ``async with connect_to(handler) as ws``.

    ``client`` and ``server``: options of ``connect`` and of ``serve``. ``chunk_size``: bytes that either end receives
    at once, at most. At the end the client closes, and the handler is waited for.
    """
    async with listen(handler, server) as host, dial(host, uri, client, chunk_size) as ws:
        yield ws


@contextlib.asynccontextmanager
async def pair(
    *,
    uri: str = URI,
    client: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    chunk_size: int | None = None,
) -> AsyncIterator[Pair]:
    """Make two connected ends, without sockets: ``async with pair() as (client, server)``.

    The arguments are those of ``connect_to``. At the end both are cut, if they are not closed.
    """
    accepted: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def handler(ws: ServerConnection) -> None:
        accepted.set_result(ws)
        await done.wait()

    async with listen(handler, server) as host:
        ws = await dial(host, uri, client, chunk_size)
        try:
            yield Pair(ws, await accepted)
        finally:
            if not ws.transport.is_closing():
                ws.transport.abort()
            await ws.wait_closed()
            done.set()
