"""A peer that is only slow is kept, with the default limits, however long it takes.

Over Unix sockets, whose bytes arrive at once, in a loop whose clock jumps when nothing else is to be done: so hours
take a moment. ``test_hostile_peers.py`` is the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncio_helpers import REQUEST, client_tls, server_tls, without_io
from helpers import BINARY, KEY, frame

from wsfast.asyncio import ClientConnection, ServerConnection, unix_connect, unix_serve

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets")

ways = pytest.mark.parametrize(
    ("with_tls", "compression"),
    [(False, None), (False, "deflate"), (True, None), (True, "deflate")],
    ids=["plain", "deflate", "tls", "tls-deflate"],
)


class Clock:
    """Seconds that have passed in the loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.start = self.loop.time()

    @property
    def seconds(self) -> float:
        return self.loop.time() - self.start


@contextlib.asynccontextmanager
async def two_ends(
    path: Path, handler: Any, with_tls: bool, compression: Any, **options: Any
) -> AsyncIterator[ClientConnection]:
    """A server, and a client that is connected to it, answers Pings as browsers do, and sends none."""
    address = str(path / "socket")
    ssl_of_server = {"ssl": server_tls()} if with_tls else {}
    ssl_of_client = {"ssl": client_tls(), "server_hostname": "localhost"} if with_tls else {}
    async with (
        unix_serve(handler, address, compression=compression, **ssl_of_server, **options),
        unix_connect(address, compression=compression, ping_interval=None, **ssl_of_client) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def raw_client(path: Path, handler: Any) -> AsyncIterator[socket.socket]:
    """A client that has done the opening handshake, and has read nothing after it. It answers no Ping."""
    address = str(path / "socket")
    loop = asyncio.get_running_loop()
    async with unix_serve(handler, address):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            await loop.sock_sendall(sock, REQUEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await loop.sock_recv(sock, 1)
            yield sock


async def read_all(sock: socket.socket) -> None:
    """Read without an answer to anything."""
    while await asyncio.get_running_loop().sock_recv(sock, 4096):
        pass


def message(number: int, size: int) -> bytes:
    return os.urandom(size // 2) + bytes(size // 2) + b"%d" % number


@without_io
async def test_a_slow_upload(tmp_path: Path) -> None:
    """A byte every 15 s, and no Pong: it cannot stand inside a frame (RFC 6455 5.5)."""
    clock = Clock()
    received: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def handler(connection: ServerConnection) -> None:
        received.set_result(await connection.recv())

    async with raw_client(tmp_path, handler) as sock:
        reading = asyncio.create_task(read_all(sock))
        for octet in frame(BINARY, bytes(300), key=KEY):
            await clock.loop.sock_sendall(sock, bytes([octet]))
            await asyncio.sleep(15)
        assert await received == bytes(300)
        assert clock.seconds > 4500
        await reading


@without_io
async def test_a_slow_download(tmp_path: Path) -> None:
    """4 MiB at 64 KiB every 15 s: our Pings wait after them."""
    clock = Clock()
    size = 4 * 2**20
    sent = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(bytes(size))
        sent.set()
        await connection.wait_closed()

    async with raw_client(tmp_path, handler) as sock:
        n_read = 0
        while n_read < size:
            received = await clock.loop.sock_recv(sock, 65_536)
            assert received
            n_read += len(received)
            await asyncio.sleep(15)
        assert sent.is_set()
        assert clock.seconds > 900


@ways
@without_io
async def test_a_handler_that_is_slow(tmp_path: Path, with_tls: bool, compression: Any) -> None:
    """The peer answers Pings; reading is paused, as a message is taken every 100 s."""
    clock = Clock()
    received: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        async for taken in connection:
            received.append(taken)
            await asyncio.sleep(100)

    async with two_ends(tmp_path, handler, with_tls, compression) as client:
        for number in range(50):
            await client.send(f"{number}")
        while len(received) < 50:
            await asyncio.sleep(50)
        assert received == [f"{number}" for number in range(50)]
        assert clock.seconds > 4800


@ways
@without_io
async def test_megabytes_on_their_way(tmp_path: Path, with_tls: bool, compression: Any) -> None:
    """A message is taken every 15 s; the peer's Pongs are after what it sent before."""
    clock = Clock()
    sent = [message(number, 200_000) for number in range(60)]
    received: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        async for taken in connection:
            received.append(taken)
            await asyncio.sleep(15)

    async with two_ends(tmp_path, handler, with_tls, compression, max_queue=2) as client:
        for each in sent:
            await client.send(each)
        while len(received) < len(sent):
            await asyncio.sleep(10)
        assert received == sent
        assert clock.seconds > 800


@ways
@without_io
async def test_large_messages_both_ways(tmp_path: Path, with_tls: bool, compression: Any) -> None:
    """Each end is slow, and pings the other."""
    clock = Clock()
    sent = [message(number, 900_000) for number in range(20)]

    async def handler(connection: ServerConnection) -> None:
        async for taken in connection:
            await asyncio.sleep(7)
            await connection.send(taken)

    async with two_ends(tmp_path, handler, with_tls, compression, ping_interval=5, ping_timeout=5) as client:

        async def send_all() -> None:
            for each in sent:
                await client.send(each)

        sending = asyncio.create_task(send_all())
        for each in sent:
            assert await client.recv() == each
            await asyncio.sleep(11)
        await sending
        assert clock.seconds > 220


@ways
@without_io
async def test_an_idle_day(tmp_path: Path, with_tls: bool, compression: Any) -> None:
    """Nothing but Pings and Pongs; then it still works."""

    async def handler(connection: ServerConnection) -> None:
        async for taken in connection:
            await connection.send(taken)

    async with two_ends(tmp_path, handler, with_tls, compression) as client:
        await asyncio.sleep(86_400)
        await client.send("hello")
        assert await client.recv() == "hello"
