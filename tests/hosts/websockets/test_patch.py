"""``wsfast.patch.websockets()`` with websockets: on, off, and connections that live through either."""

from __future__ import annotations

import asyncio
import threading

import pytest
import websockets.client
import websockets.server
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.protocol import State
from websockets.sync.client import connect as sync_connect
from websockets.sync.server import serve as sync_serve
from websockets.uri import parse_uri

from wsfast import codec, patch, unpatch
from wsfast.patch import PatchError
from wsfast.websockets import ClientProtocol, ServerProtocol

THEIRS = (websockets.client.ClientProtocol.__init__, websockets.server.ServerProtocol.__init__)


@pytest.fixture(autouse=True)
def unpatched():
    yield
    unpatch("websockets")
    assert (websockets.client.ClientProtocol.__init__, websockets.server.ServerProtocol.__init__) == THEIRS


def make_server(**options):
    return websockets.server.ServerProtocol(**options)


def test_on_off_and_on_again():
    for _ in range(2):
        patch.websockets(force=True)
        patch.websockets(force=True)
        assert type(make_server()) is ServerProtocol
        assert type(websockets.client.ClientProtocol(parse_uri("ws://x/"))) is ClientProtocol
        assert type(ServerProtocol()) is ServerProtocol
        unpatch("websockets")
        assert type(make_server()) is websockets.server.ServerProtocol


def test_the_fallback_codec_is_refused(monkeypatch):
    monkeypatch.setattr(codec, "IMPLEMENTATION", "fallback")
    with pytest.raises(PatchError, match="C of its own"):
        patch.websockets()


def test_a_protocol_that_is_open_at_once():
    patch.websockets(force=True)
    server = make_server(state=State.OPEN)
    server.receive_data(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")  # RFC 6455 5.7
    assert [event.data for event in server.events_received()] == [b"Hello"]
    assert server._decoder is not None


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def test_connections_live_on():
    """Those from before a patch stay what they are, and so do those from before it is undone."""

    async def exchange(client, expected):
        for message in ("text", b"bytes" * 30000):
            await client.send(message)
            assert await client.recv() == message
        assert type(client.protocol) is expected

    async def run():
        theirs = websockets.client.ClientProtocol
        async with serve(echo, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with connect(url) as before:
                await exchange(before, theirs)
                patch.websockets(force=True)
                await exchange(before, theirs)
                async with connect(url) as between:
                    await exchange(between, ClientProtocol)
                    unpatch("websockets")
                    await exchange(between, ClientProtocol)
                    async with connect(url) as after:
                        await exchange(after, theirs)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_threads():
    patch.websockets(force=True)

    def handle(connection):
        for message in connection:
            connection.send(message)

    with sync_serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with sync_connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/") as client:
                assert type(client.protocol) is ClientProtocol
                client.send("text")
                assert client.recv() == "text"
        finally:
            server.shutdown()
            thread.join()
