"""``create_connection=``: connections of ours and of websockets with each other, over loopback, both APIs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest
from websockets import exceptions
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.sync.client import connect as sync_connect
from websockets.sync.server import serve as sync_serve

import wsfast.websockets
import wsfast.websockets.sync
from wsfast.websockets.protocol import ClientProtocol, ServerProtocol

OURS = pytest.mark.parametrize("roles", [("client",), ("server",), ("client", "server")], ids="+".join)
COMPRESSION = pytest.mark.parametrize("compression", [None, "deflate"])
MESSAGES = ["", "text", "한국어 🙂", b"", b"bytes", b"x" * 126, "a" * 65536, b"b" * 300_000]


def finish(coroutine):
    """Run it, and no longer than a test may take that fails."""
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def echo(connection):
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def connected(roles, handler=echo, client_options=None, **options):
    """Yield a client and a list that its server's connection is put into."""
    connections = []
    options = {"ping_interval": None, **options}

    async def handle(connection):
        connections.append(connection)
        await handler(connection)

    server_class = wsfast.websockets.ServerConnection if "server" in roles else None
    client_class = wsfast.websockets.ClientConnection if "client" in roles else None
    async with serve(handle, "127.0.0.1", 0, create_connection=server_class, **options) as server:
        port = server.sockets[0].getsockname()[1]
        options = {**options, **(client_options or {})}
        async with connect(f"ws://127.0.0.1:{port}/", create_connection=client_class, **options) as client:
            yield client, connections


@OURS
@COMPRESSION
def test_messages_there_and_back(roles, compression):
    async def run():
        async with connected(roles, compression=compression) as (client, connections):
            for message in MESSAGES:
                await client.send(message)
                assert await client.recv() == message
            assert isinstance(client.protocol, ClientProtocol) == ("client" in roles)
            assert isinstance(connections[0].protocol, ServerProtocol) == ("server" in roles)
            assert bool(client.protocol.extensions) == (compression is not None)
        assert client.close_code == 1000

    finish(run())


@OURS
@COMPRESSION
def test_fragments_and_streams(roles, compression):
    """RFC 6455 5.4."""

    received = []

    async def stream(connection):
        for _ in range(3):
            fragments = [fragment async for fragment in connection.recv_streaming()]
            received.append(fragments)
            await connection.send(fragments)

    async def run():
        sent = [["one"], ["a", "", "c"], [b"x" * 1000, b"y" * 70000]]
        async with connected(roles, stream, compression=compression) as (client, _):
            for fragments in sent:
                await client.send(fragments)
                assert await client.recv() == type(fragments[0])().join(fragments)
        # websockets ends a message from an iterable with an empty fragment.
        assert received == [[*fragments, type(fragments[0])()] for fragments in sent]

    finish(run())


@OURS
def test_pings(roles):
    """RFC 6455 5.5.2."""

    async def run():
        async with connected(roles) as (client, connections):
            await (await client.ping(b"there"))
            await client.send("x")
            await client.recv()
            await (await connections[0].ping())

    finish(run())


@OURS
@COMPRESSION
@pytest.mark.parametrize("message", ["x" * 1001, ["x" * 600, "y" * 401]])
def test_a_message_that_is_too_big(roles, compression, message):
    """RFC 6455 10.4, 7.4.1: 1009, and what came before is delivered."""
    received = []

    async def collect(connection):
        with contextlib.suppress(exceptions.ConnectionClosed):
            async for each in connection:
                received.append(each)

    async def run():
        async with connected(roles, collect, compression=compression, max_size=1000) as (client, _):
            await client.send("x" * 1000)
            await client.send(message)
            with pytest.raises(exceptions.ConnectionClosedError) as caught:
                await client.recv()
        assert caught.value.rcvd.code == 1009
        assert received[0] == "x" * 1000

    finish(run())


@OURS
def test_text_that_is_none(roles):
    """RFC 6455 8.1: 1007."""

    async def run():
        async with connected(roles) as (client, _):
            await client.send(b"\xff", text=True)
            with pytest.raises(exceptions.ConnectionClosedError) as caught:
                await client.recv()
        assert caught.value.rcvd.code == 1007
        assert caught.value.rcvd.reason == "invalid start byte at position 0"

    finish(run())


@OURS
@pytest.mark.parametrize("closing", ["client", "server"])
def test_closing(roles, closing):
    """RFC 6455 7: code and reason of the other side."""

    async def close(connection):
        with contextlib.suppress(exceptions.ConnectionClosed):
            if await connection.recv() == "close":
                await connection.close(4001, "server")
            await connection.recv()

    async def run():
        async with connected(roles, close) as (client, connections):
            if closing == "server":
                await client.send("close")
                with pytest.raises(exceptions.ConnectionClosedError):
                    await client.recv()
            else:
                await client.send("wait")
                await client.close(4000, "client")
                await connections[0].wait_closed()
            peer = client if closing == "server" else connections[0]
            expected = (4001, "server") if closing == "server" else (4000, "client")
            assert (peer.close_code, peer.close_reason) == expected

    finish(run())


@OURS
def test_a_connection_that_is_lost(roles):
    async def run():
        async with connected(roles) as (client, connections):
            await client.send("x")
            await client.recv()
            connections[0].transport.abort()
            with pytest.raises(exceptions.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1006

    finish(run())


def test_frames_that_come_with_the_handshake():
    """A server may send its first frame at once."""

    async def greet(connection):
        await connection.send("hello")
        await connection.send("again")

    async def run():
        async with connected(("client", "server"), greet) as (client, _):
            assert [message async for message in client] == ["hello", "again"]

    finish(run())


def test_raw_octets_one_by_one():
    """A server of ours, and a peer that is no WebSocket library."""

    async def run():
        server_class = wsfast.websockets.ServerConnection
        async with serve(echo, "127.0.0.1", 0, create_connection=server_class, compression=None) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            for octet in b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58":  # RFC 6455 5.7
                writer.write(bytes([octet]))
                await writer.drain()
            assert await reader.readexactly(7) == b"\x81\x05Hello"
            writer.close()
            await writer.wait_closed()

    finish(run())


@contextlib.contextmanager
def sync_connected(roles, **options):
    connections = []

    def handle(connection):
        connections.append(connection)
        for message in connection:
            connection.send(message)

    server_class = wsfast.websockets.sync.ServerConnection if "server" in roles else None
    client_class = wsfast.websockets.sync.ClientConnection if "client" in roles else None
    with sync_serve(handle, "127.0.0.1", 0, create_connection=server_class, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.socket.getsockname()[1]
            with sync_connect(f"ws://127.0.0.1:{port}/", create_connection=client_class, **options) as client:
                yield client, connections
        finally:
            server.shutdown()
            thread.join()


@OURS
@COMPRESSION
def test_threads(roles, compression):
    with sync_connected(roles, compression=compression) as (client, connections):
        for message in MESSAGES:
            client.send(message)
            assert client.recv() == message
        client.send(["a", "b", "c"])
        assert client.recv() == "abc"
        client.ping().wait()
        assert isinstance(client.protocol, ClientProtocol) == ("client" in roles)
        assert isinstance(connections[0].protocol, ServerProtocol) == ("server" in roles)
    assert client.close_code == 1000


@OURS
def test_threads_and_a_message_that_is_too_big(roles):
    with sync_connected(roles, max_size=1000) as (client, _):
        client.send("x" * 1001)
        with pytest.raises(exceptions.ConnectionClosedError) as caught:
            client.recv()
        assert caught.value.rcvd.code == 1009


def test_threads_and_a_connection_that_is_lost():
    with sync_connected(("client", "server")) as (client, connections):
        client.send("x")
        client.recv()
        connections[0].socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(exceptions.ConnectionClosedError):
            client.recv()


# send(), which has a way of our own for whole messages


@OURS
@pytest.mark.parametrize(
    ("message", "text", "expected"),
    [
        ("x", None, "x"),
        ("x", True, "x"),
        ("x", False, b"x"),
        (b"x", None, b"x"),
        (b"x", True, "x"),
        (b"x", False, b"x"),
        (bytearray(b"x"), None, b"x"),
        (memoryview(b"x"), True, "x"),
        (type("Text", (str,), {})("x"), None, "x"),
    ],
)
def test_what_send_takes(roles, message, text, expected):
    async def run():
        async with connected(roles) as (client, _):
            await client.send(message, text=text)
            assert await client.recv() == expected

    finish(run())


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("message", [5, None, {"a": 1}, ["a", b"b"]])
def test_what_send_does_not_take(ours, message):
    async def run():
        async with connected(("client",) if ours else ()) as (client, _):
            with pytest.raises(TypeError):
                await client.send(message)

    finish(run())


def test_text_that_cannot_be_encoded():
    """It ends the connection, as theirs does (RFC 6455 8.1)."""

    async def run():
        async with connected(("client",)) as (client, _):
            with pytest.raises(exceptions.ConnectionClosedError):
                await client.send("\ud800")

    finish(run())


def test_messages_wait_for_a_fragmented_one():
    """RFC 6455 5.4: they are not interleaved."""

    async def run():
        async with connected(("client", "server")) as (client, _):
            gate = asyncio.Event()

            async def fragments():
                yield "a"
                await gate.wait()
                yield "b"

            fragmented = asyncio.create_task(client.send(fragments()))
            await asyncio.sleep(0)
            whole = asyncio.create_task(client.send("whole"))
            await asyncio.sleep(0)
            assert not whole.done()
            gate.set()
            await fragmented
            await whole
            assert [await client.recv(), await client.recv()] == ["ab", "whole"]

    finish(run())


@OURS
def test_send_waits_for_a_slow_reader(roles):
    """And goes on when the reader does."""

    async def run():
        reading = asyncio.Event()

        async def read_late(connection):
            await reading.wait()
            for _ in range(40):
                await connection.recv()
            await connection.send("done")

        async with connected(roles, read_late, compression=None, max_queue=1) as (client, _):
            sending = asyncio.create_task(send_all(client))
            while not client.paused:
                await asyncio.sleep(0)
            assert not sending.done()
            reading.set()
            await sending
            assert await client.recv() == "done"

    async def send_all(client):
        for _ in range(40):
            await client.send(b"x" * 1_000_000)

    finish(run())


@pytest.mark.parametrize("ours", [False, True])
def test_send_after_the_end(ours):
    async def run():
        async with connected(("client",) if ours else ()) as (client, _):
            await client.close()
            with pytest.raises(exceptions.ConnectionClosedOK):
                await client.send("x")

    finish(run())


@pytest.mark.parametrize("ours", [False, True])
def test_send_on_a_network_that_fails(ours):
    """The exception says that the connection is closed, and why."""

    async def run():
        async with connected(("client",) if ours else ()) as (client, _):

            def fail():
                raise OSError("no network")

            client.send_data = fail
            with pytest.raises(exceptions.ConnectionClosedError) as caught:
                await client.send("x")
            assert str(caught.value.__cause__) == "no network"
            if ours:  # theirs tells recv() since 17
                with pytest.raises(exceptions.ConnectionClosedError) as caught:
                    await client.recv()
                assert str(caught.value.__cause__) == "no network"
            assert client.close_code == 1006

    finish(run())
