"""``wsfast.patch.websockets()`` under sanic, which makes its protocols itself: an echo, by our frames."""

from __future__ import annotations

import asyncio
import socket

import pytest
from sanic import Sanic

import wsfast
from wsfast import patch, unpatch
from wsfast.websockets import ServerProtocol


@pytest.fixture(autouse=True)
def patched():
    patch.websockets(force=True)  # it has C of its own, and the tests are for the fallback codec too
    yield
    unpatch("websockets")


def test_an_echo():
    app = Sanic("echo", configure_logging=False)
    protocols = []

    @app.websocket("/")
    async def echo(request, connection):
        protocols.append(connection.ws_proto)
        async for message in connection:
            await connection.send(message)

    async def run():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
            server = await app.create_server(sock=listening, return_asyncio_server=True)
            await server.startup()
            async with wsfast.connect(url) as client:
                for message in ("text", "한국어" * 1000, "a" * 70000, b"", b"b" * 70001):
                    await client.send(message)
                    assert await client.recv() == message
            assert client.close_code == 1000
            server.close()
            await server.wait_closed()

    asyncio.run(run())
    assert [type(protocol) for protocol in protocols] == [ServerProtocol]
