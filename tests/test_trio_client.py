"""``wsfast.trio.connect``: handshakes, exceptions as they are, redirects, proxies, and connecting again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing
from asyncio_helpers import server_tls
from helpers import CLOSE, TEXT
from trio_helpers import Peer, echo, in_memory, serving_sockets, with_sockets

import wsfast.asyncio
from wsfast.events import Role
from wsfast.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
)
from wsfast.trio import ClientConnection, ServerConnection, connect, serve, unix_connect

URI = "ws://localhost/"

Script = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[trio.abc.Stream]:
    """A stream to a server that does what the script says, over memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script, Peer(theirs, Role.CLIENT))
        yield ours
        nursery.cancel_scope.cancel()


async def accept_and_answer_close(peer: Peer) -> None:
    await peer.accept()
    frame = await peer.receive()
    await peer.send(peer.frame(CLOSE, frame.payload))
    await peer.stream.aclose()


@in_memory
async def test_open_and_close(connection_codec: Any) -> None:
    async with scripted(accept_and_answer_close) as stream, connect(URI, stream=stream) as ws:
        assert isinstance(ws, ClientConnection)
        assert ws.request is not None
        assert ws.request.headers["Host"] == "localhost"
        assert ws.response is not None
        assert ws.response.status_code == 101
    assert ws.close_code == 1000


@in_memory
async def test_frames_after_the_response_are_kept() -> None:
    async def script(peer: Peer) -> None:
        send, data = peer.send, []

        async def keep(*parts: bytes) -> None:
            data.extend(parts)

        peer.send = keep  # type: ignore[method-assign]
        await peer.accept()
        peer.send = send  # type: ignore[method-assign]
        await peer.send(*data, peer.frame(TEXT, "early"))
        await peer.receive()
        await peer.stream.aclose()

    async with scripted(script) as stream, connect(URI, stream=stream) as ws:
        assert await ws.recv() == "early"


class Mine(Exception):
    pass


@in_memory
async def test_exceptions_of_the_block_come_out_as_they_are() -> None:
    """And the connection is closed with 1011."""
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        frame = await peer.receive()
        codes.append(int.from_bytes(frame.payload[:2], "big"))
        await peer.stream.aclose()

    async with scripted(script) as stream:
        with pytest.raises(Mine):
            async with connect(URI, stream=stream):
                raise Mine
    assert codes == [1011]


@in_memory
async def test_groups_of_the_block_come_out_as_they_are() -> None:
    async with scripted(accept_and_answer_close) as stream:
        with pytest.raises(ExceptionGroup) as group:
            async with connect(URI, stream=stream), trio.open_nursery():
                raise Mine
        assert group.group_contains(Mine, depth=1)


@in_memory
async def test_a_block_that_is_cancelled() -> None:
    """It does not wait for the peer."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async with scripted(script) as stream:
        with trio.move_on_after(5) as scope:
            async with connect(URI, stream=stream, close_timeout=100) as ws:
                await ws.recv()
        assert scope.cancelled_caught
        assert trio.current_time() == 5
        with pytest.raises(ConnectionClosed):
            await ws.recv()


@in_memory
async def test_connecting_that_is_cancelled() -> None:
    async with scripted(lambda peer: trio.sleep_forever()) as stream:
        with trio.move_on_after(5) as scope:
            async with connect(URI, stream=stream):
                raise AssertionError
        assert scope.cancelled_caught


@in_memory
async def test_open_timeout() -> None:
    async with scripted(lambda peer: trio.sleep_forever()) as stream:
        with pytest.raises(HandshakeTimeout, match="within 3 s"):
            async with connect(URI, stream=stream, open_timeout=3):
                pass
    assert trio.current_time() == 3


async def refuse(peer: Peer, head: str, body: bytes = b"") -> None:
    await peer.head()
    await peer.send(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    await trio.sleep_forever()


@in_memory
async def test_a_refusal_whose_body_does_not_end() -> None:
    async def script(peer: Peer) -> None:
        await refuse(peer, "HTTP/1.1 403 Forbidden\nContent-Length: 100", b"because")

    async with scripted(script) as stream:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(URI, stream=stream):
                pass
    assert refused.value.response.body == b"because"
    assert trio.current_time() == 2


@pytest.mark.parametrize(
    "answer", [b"\x15\x03\x01\x00\x02\x02\x16", b"SSH-2.0-x\r\n", b"HTTP/1.1 101 OK\r\n\r\n", b""]
)
@in_memory
async def test_wrong_answers(answer: bytes) -> None:
    """RFC 6455 4.1."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)
        await peer.stream.aclose()

    async with scripted(script) as stream:
        with pytest.raises(InvalidHandshake):
            async with connect(URI, stream=stream):
                pass


@in_memory
async def test_a_wrong_accept() -> None:
    async def script(peer: Peer) -> None:
        await refuse(
            peer,
            "HTTP/1.1 101 x\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: AAAA",
        )

    async with scripted(script) as stream:
        with pytest.raises(InvalidHandshake, match="Accept"):
            async with connect(URI, stream=stream):
                pass


@in_memory
async def test_redirects_are_not_followed_if_a_stream_is_given() -> None:
    async def script(peer: Peer) -> None:
        await refuse(peer, "HTTP/1.1 302 Found\nLocation: ws://elsewhere/\nContent-Length: 0")

    async with scripted(script) as stream:
        with pytest.raises(InvalidHandshake, match="stream said where"):
            async with connect(URI, stream=stream):
                pass


@pytest.mark.parametrize(
    ("uri", "options", "error", "match"),
    [
        ("http://x/", {}, InvalidURI, "ws"),
        (URI, {"sock": 1}, TypeError, "use stream"),
        (URI, {"wrong": 1}, TypeError, "no argument wrong"),
        (URI, {"extra_headers": {}}, TypeError, "additional_headers"),
        (URI, {"proxy": 3}, TypeError, "proxy"),
        (URI, {"ssl": True}, ValueError, "wss://"),
        (URI, {"max_queue": -1}, ValueError, "max_queue"),
        (URI, {"additional_headers": {"Upgrade": "x"}}, ValueError, "upgrade"),
    ],
)
@in_memory
async def test_mistakes(uri: str, options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        async with connect(uri, **options):
            pass


@in_memory
async def test_entered_twice() -> None:
    async with scripted(accept_and_answer_close) as stream:
        connecting = connect(URI, stream=stream)
        async with connecting:
            with pytest.raises(RuntimeError, match="entered already"):
                await connecting.__aenter__()


# Over sockets


@with_sockets
async def test_nobody_listens() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(ConnectionRefusedError, match="nothing listens"):
        async with connect(f"ws://127.0.0.1:{port}/", proxy=None):
            pass


@with_sockets
async def test_a_certificate_that_is_not_trusted() -> None:
    import ssl

    async with serving_sockets(echo, ssl=server_tls()) as (_, port):
        with pytest.raises(ssl.SSLCertVerificationError, match="not trusted"):
            async with connect(f"wss://localhost:{port}/", host="127.0.0.1", proxy=None):
                pass


@with_sockets
async def test_redirects() -> None:
    """RFC 9110 15.4; credentials stay with their origin."""
    seen: list[Any] = []

    def target(connection: ServerConnection, request: Any) -> None:
        seen.append(request.headers.get("Authorization"))

    async with serving_sockets(echo, process_request=target) as (_, port):

        def lead(connection: ServerConnection, request: Any) -> Any:
            response = connection.respond(302, "")
            response.headers["Location"] = f"ws://127.0.0.1:{port}/"
            return response

        async with (
            serving_sockets(echo, process_request=lead) as (_, first),
            connect(f"ws://user:secret@127.0.0.1:{first}/", proxy=None) as ws,
        ):
            await ws.send("x")
            assert await ws.recv() == "x"
    assert seen == [None]


@with_sockets
async def test_again_and_again() -> None:
    """A loop that ends with its server; what is temporary is tried again."""
    statuses = [503, 101, 500, 101]

    def process_request(connection: ServerConnection, request: Any) -> Any:
        status = statuses.pop(0) if statuses else 404
        return None if status == 101 else connection.respond(status, "")

    got: list[Any] = []
    async with serving_sockets(echo, process_request=process_request) as (_, port):
        with pytest.raises(InvalidStatus) as refused:
            await loop(f"ws://127.0.0.1:{port}/", got)
    assert refused.value.response.status_code == 404
    assert got == ["x", "x"]


async def loop(uri: str, got: list[Any]) -> None:
    async for ws in connect(uri, proxy=None, reconnect_delays=lambda: [0.0, 0.01]):
        await ws.send("x")
        got.append(await ws.recv())


@with_sockets
async def test_a_loop_is_left_early() -> None:
    async with serving_sockets(echo) as (_, port):
        async with contextlib.aclosing(aiter(connect(f"ws://127.0.0.1:{port}/", proxy=None))) as connections:
            async for ws in connections:
                await ws.send("x")
                assert await ws.recv() == "x"
                break
        assert ws.close_code == 1000


@contextlib.asynccontextmanager
async def http_proxy(seen: list[bytes], status: str = "200 OK") -> AsyncIterator[int]:
    """An HTTP proxy for CONNECT (RFC 9110 9.3.6)."""

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            peer = Peer(stream, Role.SERVER)
            head = await peer.head()
            seen.append(head)
            await stream.send_all(f"HTTP/1.1 {status}\r\n\r\n".encode())
            if not status.startswith("200"):
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as onward, trio.open_nursery() as nursery:
                nursery.start_soon(pump, stream, onward)
                await pump(onward, stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_tcp(handle, 0, host="127.0.0.1", task_status=task_status)
        )
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@with_sockets
async def test_through_an_http_proxy() -> None:
    seen: list[bytes] = []
    async with serving_sockets(echo) as (_, port), http_proxy(seen) as proxy_port:
        uri, proxy = f"ws://127.0.0.1:{port}/", f"http://user:pass@127.0.0.1:{proxy_port}"
        async with connect(uri, proxy=proxy) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
    assert seen[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % port)
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in seen[0]


@with_sockets
async def test_a_proxy_that_refuses() -> None:
    async with http_proxy([], "407 Proxy Authentication Required") as proxy_port:
        with pytest.raises(InvalidProxyStatus):
            async with connect("ws://example.com/", proxy=f"http://127.0.0.1:{proxy_port}"):
                pass


@with_sockets
async def test_through_a_socks_proxy() -> None:
    """RFC 1928."""
    pytest.importorskip("python_socks")

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(100)
            await stream.send_all(b"\x05\x00")
            request = await stream.receive_some(100)
            await stream.send_all(b"\x05\x00\x00\x01\0\0\0\0\0\0")
            port = int.from_bytes(request[-2:], "big")
            async with await trio.open_tcp_stream("127.0.0.1", port) as onward:
                with trio.move_on_after(0.5):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(copy, stream, onward)
                        nursery.start_soon(copy, onward, stream)

    async with serving_sockets(echo) as (_, port), trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_tcp(handle, 0, host="127.0.0.1", task_status=task_status)
        )
        proxy = f"socks5h://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with connect(f"ws://example.com:{port}/", proxy=proxy) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
        nursery.cancel_scope.cancel()


async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)


@pytest.mark.skipif(not hasattr(trio.socket, "AF_UNIX"), reason="needs Unix sockets")
@with_sockets
async def test_unix_sockets(tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(path)
    sock.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(echo, listeners=[trio.SocketListener(sock)]))
        async with unix_connect(path) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
        nursery.cancel_scope.cancel()


# With the other doors


@contextlib.contextmanager
def asyncio_server(**options: Any) -> Iterator[int]:
    """wsfast's server for asyncio, in a thread."""
    ready, ports = threading.Event(), []
    stop: Callable[[], None] = lambda: None  # noqa: E731

    async def main() -> None:
        nonlocal stop
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop = lambda: loop.call_soon_threadsafe(done.set)  # noqa: E731
        async with wsfast.asyncio.serve(echo, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        stop()
        thread.join(10)


@with_sockets
async def test_with_our_server_for_asyncio(connection_codec: Any) -> None:
    with asyncio_server(compression="deflate") as port:
        async with connect(f"ws://127.0.0.1:{port}/", compression="deflate", proxy=None) as ws:
            for message in ("한국어" * 500, b"\x00" * 200_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["a", "b"])
            assert [part async for part in ws.recv_streaming()] == ["ab"]


@with_sockets
async def test_our_server_with_a_client_for_asyncio() -> None:
    async def client(port: int) -> list[Any]:
        async with wsfast.asyncio.connect(f"ws://127.0.0.1:{port}/", compression="deflate", proxy=None) as ws:
            await ws.send("x" * 10_000)
            await ws.send(b"y")
            return [await ws.recv(), await ws.recv()]

    async with serving_sockets(echo, compression="deflate") as (_, port):
        assert await trio.to_thread.run_sync(lambda: asyncio.run(client(port))) == ["x" * 10_000, b"y"]


@with_sockets
async def test_with_websockets() -> None:
    """Both of their roles."""
    client = pytest.importorskip("websockets.trio.client")
    server = pytest.importorskip("websockets.trio.server")
    async with (
        serving_sockets(echo, compression="deflate") as (_, port),
        client.connect(f"ws://127.0.0.1:{port}/") as ws,
    ):
        await ws.send("x" * 5000)
        assert await ws.recv() == "x" * 5000
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: server.serve(echo, listeners=listeners))
        async with connect(f"ws://127.0.0.1:{port}/", compression="deflate", proxy=None) as ws:
            await ws.send("x" * 5000)
            assert await ws.recv() == "x" * 5000
        assert ws.close_code == 1000
        nursery.cancel_scope.cancel()


@in_memory
async def test_a_server_that_leaves_without_a_close() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.text("last")
        await peer.stream.aclose()

    async with scripted(script) as stream, connect(URI, stream=stream) as ws:
        assert await ws.recv() == "last"
        with pytest.raises(ConnectionClosedError):
            await ws.recv()
