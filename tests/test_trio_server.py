"""``wsfast.trio.serve``: handshakes, handlers, and the end of a server; over memory, where time jumps, and sockets."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import trio
import trio.testing
from asyncio_helpers import client_tls, close, server_tls, text
from helpers import CLOSE, TEXT
from trio_helpers import (
    REQUEST,
    MemoryListener,
    Peer,
    echo,
    in_memory,
    logs_an_error,
    serving,
    serving_sockets,
    with_sockets,
)

from wsfast.deflate import Deflate
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus, ProtocolError
from wsfast.http import Request, Response
from wsfast.limits import Limits
from wsfast.trio import Connection, ServerConnection, basic_auth, broadcast, connect, route, serve


def dial(listener: MemoryListener) -> Peer:
    return Peer(listener.dial(), Role.SERVER)


async def opened(listener: MemoryListener, request: bytes = REQUEST) -> Peer:
    peer = dial(listener)
    await peer.send(request)
    assert b" 101 " in await peer.head()
    return peer


async def status_of(listener: MemoryListener, request: bytes = REQUEST) -> int:
    peer = dial(listener)
    await peer.send(request)
    status = int((await peer.head()).split(b" ")[1])
    await peer.stream.aclose()
    return status


def with_header(*lines: str) -> bytes:
    return REQUEST[:-2] + "".join(line + "\r\n" for line in lines).encode() + b"\r\n"


@in_memory
async def test_echo(connection_codec: Any) -> None:
    async with serving(echo) as (server, listener):
        peer = await opened(listener)
        await peer.text("hello")
        assert await peer.receive() == text("hello")
        (connection,) = server.connections
        assert connection.request is not None
        assert connection.request.path == "/"
        await peer.close(1000)
        assert await peer.rest() == [close(1000)]


@in_memory
async def test_request_in_any_chunks() -> None:
    async with serving(echo) as (_, listener):
        peer = dial(listener)
        for octet in REQUEST:
            await peer.send(bytes([octet]))
        assert b" 101 " in await peer.head()
        await peer.stream.aclose()


@in_memory
async def test_frames_after_the_request_are_kept() -> None:
    async with serving(echo) as (_, listener):
        peer = dial(listener)
        await peer.send(REQUEST, peer.frame(TEXT, "early"))
        await peer.head()
        assert await peer.receive() == text("early")
        await peer.stream.aclose()


@in_memory
async def test_refusals() -> None:
    """RFC 6455 4.2.2, 10.2."""
    async with serving(echo, origins=["https://good", re.compile("https://.*[.]good")]) as (_, listener):
        assert await status_of(listener) == 403
        assert await status_of(listener, with_header("Origin: https://bad")) == 403
        assert await status_of(listener, with_header("Origin: https://a.good")) == 101
        assert await status_of(listener, b"POST / HTTP/1.1\r\nHost: x\r\n\r\n") == 405
        assert await status_of(listener, b"\x16\x03\r\n\r\n") == 400


@in_memory
async def test_process_request_and_response(caplog: pytest.LogCaptureFixture) -> None:
    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        await trio.sleep(1)
        return connection.respond(200, "health\n") if request.path == "/health" else None

    def process_response(connection: ServerConnection, request: Request, response: Response) -> None:
        response.headers["X-Mine"] = "1"

    async with serving(echo, process_request=process_request, process_response=process_response) as (
        _,
        listener,
    ):
        assert await status_of(listener, REQUEST.replace(b"GET / ", b"GET /health ")) == 200
        peer = dial(listener)
        await peer.send(REQUEST, peer.frame(TEXT, "early"))
        assert b"X-Mine: 1" in await peer.head()
        assert await peer.receive() == text("early")
        await peer.stream.aclose()


@in_memory
@logs_an_error
async def test_a_process_request_that_raises() -> None:
    def process_request(connection: ServerConnection, request: Request) -> None:
        raise RuntimeError("a mistake")

    async with serving(echo, process_request=process_request) as (_, listener):
        assert await status_of(listener) == 500


@in_memory
async def test_subprotocols() -> None:
    """RFC 6455 1.9."""

    def select(connection: ServerConnection, offers: Any) -> str | None:
        return offers[-1] if offers else None

    async with serving(echo, subprotocols=["a", "b"]) as (_, listener):
        peer = dial(listener)
        await peer.send(with_header("Sec-WebSocket-Protocol: c, b"))
        assert b"Sec-WebSocket-Protocol: b" in await peer.head()
        await peer.stream.aclose()
    async with serving(echo, subprotocols=["x"], select_subprotocol=select) as (_, listener):
        peer = dial(listener)
        await peer.send(with_header("Sec-WebSocket-Protocol: c, b"))
        assert b"Sec-WebSocket-Protocol: b" in await peer.head()
        await peer.stream.aclose()


@in_memory
async def test_a_client_that_asks_nothing() -> None:
    async with serving(echo, open_timeout=3) as (_, listener):
        peer = dial(listener)
        assert await peer.rest() == []
        assert trio.current_time() == 3


@in_memory
async def test_connections_of_a_server() -> None:
    async with serving(echo, limits=Limits(max_connections=1)) as (_, listener):
        first = await opened(listener)
        assert await status_of(listener) == 503
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await status_of(listener) == 101


@in_memory
@logs_an_error
async def test_a_handler_that_raises_closes_with_1011() -> None:
    async def handler(ws: ServerConnection) -> None:
        raise RuntimeError("a mistake")

    async with serving(handler) as (_, listener):
        peer = await opened(listener)
        assert await peer.receive() == close(1011)
        await peer.close(1011)
        await peer.stream.aclose()


@in_memory
async def test_a_peer_that_leaves_a_handler_with_a_nursery_is_no_error() -> None:
    """ConnectionClosed comes out of a nursery in a group."""

    async def handler(ws: ServerConnection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.recv)
            nursery.start_soon(receive_next, ws)

    async def receive_next(ws: ServerConnection) -> None:
        await ws.wait_closed()
        await ws.recv()

    async with serving(handler) as (_, listener):
        peer = await opened(listener)
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()


@in_memory
async def test_closing_a_server_that_is_cancelled_cuts() -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.wait_closed()

    async with serving(handler, close_timeout=100) as (server, listener):
        peer = await opened(listener)
        with pytest.raises(ProtocolError):
            await server.aclose(code=1005)
        with trio.move_on_after(1) as scope:
            await server.aclose()
        assert scope.cancelled_caught
        assert await peer.rest() == [close(1001)]
    assert trio.current_time() == 1


@in_memory
async def test_a_handler_that_returns_closes_with_1000() -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send("bye")

    async with serving(handler) as (_, listener):
        peer = await opened(listener)
        assert await peer.receive() == text("bye")
        assert await peer.receive() == close(1000)
        await peer.close(1000)
        assert await peer.rest() == []
        await peer.stream.aclose()


@in_memory
async def test_the_end_of_a_server() -> None:
    """Open connections: 1001. Handshakes: 503, if there is a request."""
    asked = trio.Event()

    async def process_request(connection: ServerConnection, request: Request) -> None:
        if request.path == "/slow":
            asked.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        async with serving(echo, process_request=process_request) as (server, listener):
            peer = await opened(listener)
            slow, silent = dial(listener), dial(listener)
            await slow.send(REQUEST.replace(b"GET / ", b"GET /slow "))
            await asked.wait()
            nursery.start_soon(expect_close, peer)
        assert b" 503 " in await slow.head()
        assert await silent.rest() == []
        assert server.connections == set()
        await server.aclose()


async def expect_close(peer: Peer) -> None:
    assert await peer.receive() == close(1001)
    await peer.close(1001)
    assert await peer.rest() == []
    await peer.stream.aclose()


@in_memory
async def test_a_server_that_waits_for_its_clients() -> None:
    async with trio.open_nursery() as nursery, serving(echo) as (server, listener):
        peer = await opened(listener)
        nursery.start_soon(server.aclose, False)
        await trio.testing.wait_all_tasks_blocked()
        await peer.text("still here")
        assert await peer.receive() == text("still here")
        await peer.close(1000)
        await peer.rest()
        await peer.stream.aclose()


@in_memory
async def test_a_server_that_is_cancelled_tells_its_peers() -> None:
    listener = MemoryListener()
    closed: list[ConnectionClosed] = []

    async def handler(ws: ServerConnection) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), pytest.raises(ConnectionClosed) as caught:
                await ws.recv()
            closed.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(handler, listeners=[listener]))
        await opened(listener)
        nursery.cancel_scope.cancel()
    assert closed[0].sent is not None
    assert closed[0].sent.code == 1001


@in_memory
async def test_broadcast() -> None:
    async with serving(echo) as (server, listener):
        peers = [await opened(listener) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        report = broadcast(server.connections, "news")
        assert (len(report), report.sent) == (3, 3)
        assert (await report).sent == 3
        for peer in peers:
            assert await peer.receive() == text("news")
            await peer.stream.aclose()


@in_memory
async def test_basic_auth() -> None:
    """RFC 7617."""
    names: list[str] = []

    async def handler(ws: ServerConnection) -> None:
        names.append(ws.username)

    auth = basic_auth("realm", credentials=("user", "pass"))
    async with serving(handler, process_request=auth) as (_, listener):
        assert await status_of(listener) == 401
        assert await status_of(listener, with_header("Authorization: Basic dXNlcjpwYXNz")) == 101
        await trio.testing.wait_all_tasks_blocked()
    assert names == ["user"]


@in_memory
async def test_routes() -> None:
    routing = pytest.importorskip("werkzeug.routing")
    numbers: list[int] = []

    async def channel(ws: ServerConnection, number: int) -> None:
        numbers.append(number)

    url_map = routing.Map([routing.Rule("/channel/<int:number>", endpoint=channel)])
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: route(url_map, listeners=[listener], task_status=task_status)
        )
        async with server:
            assert await status_of(listener) == 404
            assert await status_of(listener, REQUEST.replace(b"GET / ", b"GET /channel/7 ")) == 101
            await trio.testing.wait_all_tasks_blocked()
    assert numbers == [7]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sock": 1}, "no argument sock"),
        ({"extra_headers": {}}, "process_response"),
        ({"max_size": -1}, "max_message_size"),
        ({"limits": Limits(), "max_queue": 3}, "set max_queue in the limits"),
    ],
)
@in_memory
async def test_mistakes(options: dict[str, Any], match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        await serve(echo, 0, **options)


@in_memory
async def test_a_handler_that_is_none() -> None:
    with pytest.raises(TypeError, match="async def handler"):
        await serve(None, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="port"):
        await serve(echo)


# Over sockets


@with_sockets
async def test_our_client_and_our_server(connection_codec: Any) -> None:
    async with serving_sockets(echo, compression="deflate") as (server, port):
        async with connect(f"ws://127.0.0.1:{port}/", compression="deflate", proxy=None) as ws:
            assert ws.compression is not None
            for message in ("", "한국어" * 1000, b"\x00" * 300_000, "x" * 1_000_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["a", "b"])
            assert await ws.recv() == "ab"
            assert ws.remote_address == ("127.0.0.1", port)
            assert (await (await ws.ping())) > 0
        assert ws.close_code == 1000
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()
        assert server.connections == set()


@with_sockets
async def test_tls(connection_codec: Any) -> None:
    async with (
        serving_sockets(echo, ssl=server_tls()) as (_, port),
        connect(f"wss://localhost:{port}/", host="127.0.0.1", ssl=client_tls(), proxy=None) as ws,
    ):
        for message in ("hello", b"x" * 1_000_000):
            await ws.send(message)
            assert await ws.recv() == message
    assert ws.close_code == 1000


@with_sockets
async def test_a_client_without_tls_at_a_server_with_it() -> None:
    async with serving_sockets(echo, ssl=server_tls()) as (_, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(REQUEST)
        assert await Peer(stream, Role.SERVER).stream.receive_some(1) == b""
        await stream.aclose()


@with_sockets
async def test_large_messages_while_the_peer_reads_slowly() -> None:
    async def handler(ws: ServerConnection) -> None:
        for _ in range(10):
            await ws.send(b"x" * 1_000_000)

    async with (
        serving_sockets(handler, compression=Deflate()) as (_, port),
        connect(f"ws://127.0.0.1:{port}/", max_queue=1, proxy=None) as ws,
    ):
        assert [len(message) async for message in ws] == [1_000_000] * 10


async def send_on(ws: Connection) -> None:
    await ws.send("never taken")
    while True:
        await trio.sleep(0.01)
        await ws.send(b"x" * 1000)


async def receive_on(ws: Connection, got: list[Any]) -> None:
    while True:
        got.append(await ws.recv())


@with_sockets
async def test_messages_before_a_reset_are_received() -> None:
    """A write that fails ends nothing that can still be read."""
    got: list[Any] = []
    done = trio.Event()

    async def handler(ws: ServerConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await send_on(ws)
        with pytest.raises(ConnectionClosed):
            await receive_on(ws, got)
        done.set()

    async with serving_sockets(handler, max_queue=2) as (_, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        peer = Peer(stream, Role.SERVER)
        await peer.send(REQUEST)
        await peer.head()
        await peer.text(*map(str, range(20)))
        stream.socket.close()  # with bytes that were not read: a reset
        await done.wait()
    assert got == [str(number) for number in range(20)]


@with_sockets
async def test_statistics() -> None:
    async with (
        serving_sockets(echo, count_frames=True) as (server, port),
        connect(f"ws://127.0.0.1:{port}/", count_frames=True, proxy=None) as ws,
    ):
        await ws.send("abc")
        await ws.recv()
        (theirs,) = server.connections
        for stats in (ws.stats(), theirs.stats()):
            assert stats.sent is not None
            assert stats.received is not None
            assert stats.sent.payload == stats.received.payload == {TEXT: 3}
        assert ws.stats().sent.size == 9  # type: ignore[union-attr]
        assert theirs.stats().sent.size == 5  # type: ignore[union-attr]


@with_sockets
async def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsfast")
    async with (
        serving_sockets(echo) as (_, port),
        connect(f"ws://127.0.0.1:{port}/", additional_headers={"Cookie": "secret"}, proxy=None) as ws,
    ):
        await ws.send("hello")
        await ws.recv()
    lines = [(record.name, record.getMessage()) for record in caplog.records]
    assert ("wsfast.client", "> TEXT 'hello' [5 bytes]") in lines
    assert ("wsfast.server", "< TEXT 'hello' [5 bytes]") in lines
    assert ("wsfast.server", "connection open") in lines
    assert ("wsfast.client", "connection closed") in lines
    assert "secret" not in caplog.text


@with_sockets
async def test_a_server_cannot_be_opened_twice_on_a_port() -> None:
    async with serving_sockets(echo) as (_, port):
        with pytest.raises(OSError, match="in use"):
            await serve(echo, port, host="127.0.0.1")


@with_sockets
async def test_refusal_reaches_the_client() -> None:
    def process_request(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(418, "a teapot\n")

    async with serving_sockets(echo, process_request=process_request) as (_, port):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{port}/", proxy=None):
                pass
        assert refused.value.response.status_code == 418
        assert refused.value.response.body == b"a teapot\n"


@with_sockets
async def test_subclasses() -> None:
    class Mine(ServerConnection):
        async def shout(self, message: Any) -> None:
            await self.send(message.upper())

    async def handler(ws: Any) -> None:
        async for message in ws:
            await ws.shout(message)

    async with (
        serving_sockets(handler, create_connection=Mine) as (_, port),
        connect(f"ws://127.0.0.1:{port}/", proxy=None) as ws,
    ):
        await ws.send("hello")
        assert await ws.recv() == "HELLO"
    assert isinstance(ws, Connection)


@in_memory
async def test_close_frames_of_both_at_once() -> None:
    """RFC 6455 7.1.1."""

    async def handler(ws: ServerConnection) -> None:
        await ws.aclose(1001)

    async with serving(handler) as (_, listener):
        peer = dial(listener)
        await peer.send(REQUEST, peer.frame(CLOSE, b"\x03\xe8"))
        await peer.head()
        assert [each.opcode for each in await peer.rest()] == [CLOSE]
        await peer.stream.aclose()
