"""``serve`` over real sockets: whom it accepts (RFC 6455 4.2), how it treats slow and rude clients, how it stops.

If the bytes matter, the clients are raw ones, which send and see bytes; if not, they are ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import re
import socket
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import (
    LIMIT,
    REQUEST,
    SAMPLE_ACCEPT,
    FakeTransport,
    RawPeer,
    close,
    echo,
    errors_logged,
    in_both_loops,
    in_loop,
    parse_frames,
    port_of,
    raw_client,
    request_with,
    tcp_client,
    text,
    turns,
    uri_of,
)
from helpers import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, frame

from wsfast.asyncio.client import connect
from wsfast.asyncio.server import Server, ServerConnection, serve, unix_serve
from wsfast.connection import ReadyState
from wsfast.events import Close, Role
from wsfast.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, NegotiationError
from wsfast.handshake import Request, Response
from wsfast.headers import Headers

HOST = "127.0.0.1"


def echo_server(**options: Any) -> Server:
    return serve(echo, HOST, 0, **options)


async def status_of(server: Server, request: bytes = REQUEST) -> tuple[int, RawPeer, str]:
    """Send a request that is refused; return the status, the peer (for its head), and the body."""
    async with tcp_client(server) as peer:
        peer.send(request)
        await peer.read_head()
        body = await peer.reader.read()
        length = peer.header("Content-Length")
        assert length is not None
        assert len(body) == int(length)
        return int(peer.head.split()[1]), peer, body.decode()


class Recorder:
    """A handler that shows its connection to the test, and does nothing until it is closed."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()


# Serving


@in_both_loops
async def test_echo(connection_codec: ModuleType) -> None:
    """4.2.2, 5.6: all of it once, on the wire."""
    async with echo_server() as server, raw_client(server) as peer:
        assert peer.header("Sec-WebSocket-Accept") == SAMPLE_ACCEPT
        assert peer.headers("Sec-WebSocket-Extensions") == []
        peer.send(peer.frame(TEXT, "안녕"), peer.frame(BINARY, b"\xff" * 70_000), peer.frame(PING, "?"))
        received = [await peer.receive() for _ in range(3)]
        assert sorted(received) == sorted(
            [text("안녕"), (BINARY, b"\xff" * 70_000, True), (PONG, b"?", True)]
        )
        assert received.index(text("안녕")) < received.index((BINARY, b"\xff" * 70_000, True))
        peer.send(peer.close_frame(3000, "bye"))
        assert await peer.receive() == close(3000, "bye")
        await peer.eof()


@in_both_loops
async def test_await_serve_and_close() -> None:
    server = await echo_server()
    assert server.is_serving()
    assert server.get_loop() is asyncio.get_running_loop()
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert not server.is_serving()
    assert tuple(server.sockets) == ()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
    server.close()
    await server.wait_closed()


@in_loop
async def test_async_with_a_server_that_is_started() -> None:
    server = await echo_server()
    port = port_of(server)
    async with server as same:
        assert same is server
        assert port_of(server) == port, "it is not started twice"
    assert not server.is_serving()


@in_loop
async def test_start_serving_false() -> None:
    async with echo_server(start_serving=False) as server:
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        async with raw_client(server):
            pass


@in_both_loops
async def test_serve_forever_until_it_is_cancelled() -> None:
    """Everything is closed in order before the cancellation goes on."""
    server = echo_server()
    serving = asyncio.create_task(server.serve_forever())
    while not server.is_serving():
        await asyncio.sleep(0)
    async with raw_client(server) as peer:
        serving.cancel()
        assert await peer.receive() == close(1001)
        peer.send(peer.close_frame(1001))
        await peer.eof()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert not server.is_serving()


@in_loop
async def test_serve_forever_ends_with_close() -> None:
    async with echo_server() as server:
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        await serving


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
@in_both_loops
async def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with unix_serve(echo, path):
        reader, writer = await asyncio.open_unix_connection(path)
        peer = RawPeer(reader, writer, Role.CLIENT)
        peer.send(REQUEST)
        assert (await peer.read_head()).startswith("HTTP/1.1 101 ")
        peer.send_text("hello")
        assert await peer.receive() == text("hello")
        await peer.close_handshake()
        await peer.close()


@in_both_loops
async def test_connections_are_those_that_are_open() -> None:
    recorder = Recorder()
    async with serve(recorder, HOST, 0) as server:
        assert server.connections == set()
        async with raw_client(server) as one, raw_client(server) as two, tcp_client(server) as handshaking:
            handshaking.send(REQUEST[:20])
            connections = {await recorder.connections.get() for _ in range(2)}
            assert server.connections == connections
            for peer in (one, two):
                await peer.close_handshake()
            await asyncio.gather(*(connection.wait_closed() for connection in connections))
            assert server.connections == set()


@in_both_loops
async def test_ready_state_goes_from_0_to_3() -> None:
    states = []

    def process_request(connection: ServerConnection, request: Request) -> None:
        states.append(connection.ready_state)

    async def handler(connection: ServerConnection) -> None:
        states.append(connection.ready_state)
        closing = asyncio.create_task(connection.close())
        await asyncio.sleep(0)
        states.append(connection.ready_state)
        await closing
        states.append(connection.ready_state)

    async with serve(handler, HOST, 0, process_request=process_request) as server, raw_client(server) as peer:
        assert await peer.receive() == close(1000)
        peer.send(peer.close_frame())
        await peer.eof()
    assert [int(state) for state in states] == [0, 1, 2, 3]


@in_loop
async def test_what_the_handler_knows() -> None:
    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.response is not None
        assert connection.request.path == "/chat?room=1"
        assert connection.request.headers["Host"] == "localhost"
        assert connection.response.status_code == 101
        assert connection.server is server
        assert connection.local_address[1] == port_of(server)
        await connection.send(str(connection.remote_address[1]))

    request = REQUEST.replace(b"GET / ", b"GET /chat?room=1 ")
    async with serve(handler, HOST, 0) as server, raw_client(server, request) as peer:
        received = await peer.receive()
        assert received == text(str(peer.writer.get_extra_info("sockname")[1]))
        assert await peer.receive() == close(1000), "the handler returned"
        peer.send(peer.close_frame())
        await peer.eof()


# The opening handshake


@in_both_loops
async def test_plain_http_is_answered_with_426() -> None:
    """4.2.1; RFC 9110 15.5.22."""
    async with echo_server() as server:
        status, peer, body = await status_of(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status == 426
        assert "WebSocket client" in body
        assert peer.header("Upgrade") == "websocket"


@in_loop
async def test_wrong_version_is_answered_with_426_and_13() -> None:
    """4.4."""
    async with echo_server() as server:
        status, peer, _ = await status_of(server, REQUEST.replace(b"Version: 13", b"Version: 8"))
        assert status == 426
        assert peer.header("Sec-WebSocket-Version") == "13"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://example.com", 101),
        ("https://a.example.org", 101),
        ("https://example.com:444", 403),
        ("https://example.com.evil.test", 403),
        ("https://a.example.org.evil.test", 403),
        ("null", 403),
        (None, 403),
    ],
)
@in_loop
async def test_origins(origin: str | None, status: int) -> None:
    """4.2.2, 10.2: the value as a whole."""
    request = REQUEST if origin is None else request_with(f"Origin: {origin}")
    origins = ["https://example.com", re.compile(r"https://\w+\.example\.org")]
    async with echo_server(origins=origins) as server, tcp_client(server) as peer:
        peer.send(request)
        assert (await peer.read_head()).split()[1] == str(status)


@in_loop
async def test_origins_with_none_accept_requests_without_one() -> None:
    """10.2: a client that is no browser sends none."""
    async with echo_server(origins=[None, "https://example.com"]) as server:
        async with raw_client(server), raw_client(server, request_with("Origin: https://example.com")):
            pass
        assert (await status_of(server, request_with("Origin: https://evil.test")))[0] == 403


@in_loop
async def test_without_origins_all_are_accepted() -> None:
    async with echo_server() as server, raw_client(server, request_with("Origin: https://any.test")):
        pass


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        (["v10.stomp, v11.stomp"], "v10.stomp"),
        (["v11.stomp, v10.stomp"], "v11.stomp"),
        (["v9, v11.stomp", "v10.stomp"], "v11.stomp"),
        (["V10.STOMP, v11.stomp"], "v11.stomp"),
        (["v9"], None),
        ([], None),
    ],
)
@in_loop
async def test_subprotocol_is_chosen_in_the_clients_order(offers: list[str], chosen: str | None) -> None:
    """4.2.2: the first of the client's that is supported; none is no reason to refuse."""
    recorder = Recorder()
    request = request_with(*(f"Sec-WebSocket-Protocol: {offer}" for offer in offers))
    supported = ["v12.stomp", "v11.stomp", "v10.stomp"]
    async with (
        serve(recorder, HOST, 0, subprotocols=supported) as server,
        raw_client(server, request) as peer,
    ):
        assert peer.headers("Sec-WebSocket-Protocol") == ([] if chosen is None else [chosen])
        assert (await recorder.connections.get()).subprotocol == chosen


@in_loop
async def test_select_subprotocol() -> None:
    asked: list[tuple[type, list[str]]] = []

    def select(connection: ServerConnection, offers: Any) -> str | None:
        asked.append((type(connection), list(offers)))
        return offers[-1] if offers else None

    async with echo_server(select_subprotocol=select) as server:
        async with raw_client(server, request_with("Sec-WebSocket-Protocol: a, b")) as peer:
            assert peer.header("Sec-WebSocket-Protocol") == "b"
        async with raw_client(server) as peer:
            assert peer.header("Sec-WebSocket-Protocol") is None
    assert asked == [(ServerConnection, ["a", "b"]), (ServerConnection, [])]


@in_loop
async def test_select_subprotocol_may_refuse() -> None:
    def select(connection: ServerConnection, offers: Any) -> str | None:
        raise NegotiationError("a subprotocol is required")

    async with echo_server(select_subprotocol=select) as server:
        status, _, body = await status_of(server)
        assert status == 400
        assert "a subprotocol is required" in body


@pytest.mark.parametrize("mistake", ["not offered", "raises"])
@in_loop
async def test_select_subprotocol_that_fails_is_answered_with_500(mistake: str) -> None:
    """4.2.2: what was not offered must not be chosen; that it was is the application's mistake, and is logged."""

    def select(connection: ServerConnection, offers: Any) -> str | None:
        if mistake == "raises":
            raise LookupError("secret detail")
        return "c"

    async with echo_server(select_subprotocol=select) as server:
        with errors_logged() as errors:
            status, _, body = await status_of(server, request_with("Sec-WebSocket-Protocol: a, b"))
        assert status == 500
        assert "secret" not in body
        assert len(errors) == 1
        assert errors[0].exc_info is not None


@pytest.mark.parametrize("asynchronous", [False, True])
@in_both_loops
async def test_process_request_answers_http(asynchronous: bool) -> None:
    """A health check beside the WebSocket."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/health":
            return connection.respond(200, "OK\n")
        if request.path == "/bytes":
            return Response(418, "I'm a teapot", Headers({"X-Tea": "green"}), b"\xff\x00")
        return None

    async def answer_later(connection: ServerConnection, request: Request) -> Response | None:
        await asyncio.sleep(0)
        return answer(connection, request)

    async with echo_server(process_request=answer_later if asynchronous else answer) as server:
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        status, peer, body = await status_of(server, request)
        assert (status, body) == (200, "OK\n")
        assert peer.header("Connection") == "close"
        assert peer.header("Date") is not None
        async with tcp_client(server) as peer:
            peer.send(request.replace(b"/health", b"/bytes"))
            assert (await peer.read_head()).startswith("HTTP/1.1 418 I'm a teapot\r\n")
            assert peer.header("X-Tea") == "green"
            assert await peer.reader.read() == b"\xff\x00"
        async with raw_client(server) as peer:
            peer.send_text("x")
            assert await peer.receive() == text("x")


@pytest.mark.parametrize("asynchronous", [False, True])
@in_loop
async def test_process_request_that_raises_is_answered_with_500(asynchronous: bool) -> None:
    def process_request(connection: ServerConnection, request: Request) -> None:
        raise LookupError("secret detail")

    async def later(connection: ServerConnection, request: Request) -> None:
        raise LookupError("secret detail")

    async with echo_server(process_request=later if asynchronous else process_request) as server:
        with errors_logged() as errors:
            status, _, body = await status_of(server)
        assert status == 500
        assert "secret" not in body
        assert [str(record.exc_info[1]) for record in errors if record.exc_info] == ["secret detail"]


@pytest.mark.parametrize("asynchronous", [False, True])
@in_loop
async def test_process_response_may_change_the_response(asynchronous: bool) -> None:
    def mark(connection: ServerConnection, request: Request, response: Response) -> Response | None:
        if request.path == "/gone":
            return connection.respond(410, "gone\n")
        response.headers["X-Marked"] = str(response.status_code)
        return None

    async def mark_later(
        connection: ServerConnection, request: Request, response: Response
    ) -> Response | None:
        await asyncio.sleep(0)
        return mark(connection, request, response)

    async with echo_server(process_response=mark_later if asynchronous else mark) as server:
        async with raw_client(server) as peer:
            assert peer.header("X-Marked") == "101"
        _, peer, _ = await status_of(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert peer.header("X-Marked") == "426", "also those that refuse"
        assert (await status_of(server, REQUEST.replace(b"GET / ", b"GET /gone ")))[0] == 410


@in_loop
async def test_process_response_that_raises_is_answered_with_500() -> None:
    def process_response(connection: ServerConnection, request: Request, response: Response) -> None:
        raise LookupError("secret detail")

    async with echo_server(process_response=process_response) as server:
        with errors_logged() as errors:
            status, _, body = await status_of(server)
        assert status == 500
        assert "secret" not in body
        assert len(errors) == 1


@in_loop
async def test_process_request_that_answers_what_cannot_be_sent_is_answered_with_500() -> None:
    """The mistake is the application's: the log says which, and the client is not left without an answer."""

    def process_request(connection: ServerConnection, request: Request) -> Response:
        return Response(200, "bad\r\nphrase", Headers(), b"")

    async with echo_server(process_request=process_request) as server:
        with errors_logged() as errors:
            status, _, _ = await status_of(server)
        assert status == 500
        assert len(errors) == 1


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("mine/1.0", "mine/1.0")])
@in_loop
async def test_server_header(value: str | None, expected: str | None) -> None:
    async with echo_server(server_header=value) as server:
        async with raw_client(server) as peer:
            assert peer.header("Server") == expected
        _, peer, _ = await status_of(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert peer.header("Server") == expected


@in_loop
async def test_server_header_by_default() -> None:
    async with echo_server() as server, raw_client(server) as peer:
        assert re.fullmatch(r"Python/3\.\d+ wsfast/\S+", peer.header("Server") or "")


@pytest.mark.parametrize(
    ("options", "exception"),
    [
        ({"subprotocols": "chat"}, TypeError),
        ({"origins": "https://example.com"}, TypeError),
        ({"compression": "gzip"}, ValueError),
        ({"max_queue": -1}, ValueError),
        ({"max_size": -1}, ValueError),
        ({"text": "utf-8"}, ValueError),
        ({"subprotocols": ["no token"]}, ValueError),
        ({"server_header": "a\r\nb"}, ValueError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@in_loop
async def test_wrong_options_raise_before_anything_listens(options: Any, exception: type[Exception]) -> None:
    """At the call that made the mistake, and not for each client."""
    with pytest.raises(exception):
        await echo_server(**options)


@in_both_loops
async def test_a_request_byte_by_byte() -> None:
    async with echo_server() as server, tcp_client(server) as peer:
        # Each byte is a chunk of its own: the server has to take it before the next one is sent.
        received = asyncio.Queue[int]()

        class Counting(ServerConnection):
            def data_received(self, data: Any) -> None:
                super().data_received(data)
                received.put_nowait(len(data))

        async with echo_server(create_connection=Counting) as counting, tcp_client(counting) as peer:
            for pos in range(len(REQUEST)):
                peer.send(REQUEST[pos : pos + 1])
                assert await received.get() == 1
            assert (await peer.read_head()).startswith("HTTP/1.1 101 ")


@in_both_loops
async def test_frames_right_behind_the_request_are_received(connection_codec: ModuleType) -> None:
    """They are early (4.1 lets a client wait for the response), but they are there."""
    async with echo_server() as server, tcp_client(server) as peer:
        peer.send(REQUEST, peer.frame(TEXT, "early"), peer.frame(TEXT, "bird"), peer.close_frame())
        await peer.read_head()
        assert await peer.receive_until_eof() == [text("early"), text("bird"), close(1000)]


@in_loop
async def test_a_request_that_is_too_large_is_answered_with_431() -> None:
    """10.4; RFC 6585 5: the client can read it although it is still sending."""
    async with echo_server() as server, tcp_client(server) as peer:
        peer.send(REQUEST[:-2], b"X-Padding: ", b"x" * 1_000_000)
        assert (await peer.read_head()).startswith("HTTP/1.1 431 ")


@in_loop
async def test_too_many_headers_are_answered_with_431() -> None:
    async with echo_server() as server:
        status, _, _ = await status_of(server, request_with(*(f"X-{number}: x" for number in range(200))))
        assert status == 431


@pytest.mark.parametrize("sent", [0, 1, 40], ids=["silent", "one byte", "half a request"])
@in_both_loops
async def test_open_timeout_drops_slow_clients(sent: int) -> None:
    async with echo_server(open_timeout=0.05) as server, tcp_client(server) as peer:
        peer.send(REQUEST[:sent])
        with contextlib.suppress(ConnectionResetError):
            await peer.eof()


@in_loop
async def test_open_timeout_is_for_all_of_the_handshake() -> None:
    """A client that sends a byte now and then gains no time by it."""
    async with echo_server(open_timeout=0.1) as server, tcp_client(server) as peer:
        with contextlib.suppress(ConnectionError):
            for byte in itertools.cycle(b"x"):
                peer.send(bytes((byte,)))
                await peer.writer.drain()
                if peer.reader.at_eof():
                    break
                await asyncio.sleep(0.001)


@in_both_loops
async def test_open_timeout_covers_process_request() -> None:
    cancelled = asyncio.Event()

    async def process_request(connection: ServerConnection, request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with echo_server(open_timeout=0.05, process_request=process_request) as server:
        async with tcp_client(server) as peer:
            peer.send(REQUEST)
            with contextlib.suppress(ConnectionResetError):
                await peer.eof()
        await cancelled.wait()


@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize("sent", [0, 40, len(REQUEST) + 10])
@in_both_loops
async def test_clients_that_leave_during_the_handshake_are_no_error(sent: int, how: str) -> None:
    """Port scanners and health checks do that all day: nothing in the log above "info"."""
    async with echo_server() as server:
        async with tcp_client(server) as peer:
            peer.send((REQUEST + bytes(10))[:sent])
            if how == "eof":
                peer.send_eof()
                await peer.reader.read()
            else:
                peer.abort()
        async with raw_client(server):
            pass


@pytest.mark.parametrize("how", ["eof", "reset"])
@in_both_loops
async def test_a_client_that_leaves_during_process_request_is_no_error(how: str) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    handled = []

    async def process_request(connection: ServerConnection, request: Request) -> None:
        asked.set()
        await answer.wait()

    async def handler(connection: ServerConnection) -> None:
        handled.append(connection)
        async for _ in connection:
            pass

    async with serve(handler, HOST, 0, process_request=process_request) as server:
        async with tcp_client(server) as peer:
            peer.send(REQUEST)
            await asked.wait()
            if how == "reset":
                peer.abort()
        answer.set()
    # Whether the handler ran or not: it is over, and nothing was logged as an error.
    assert all(connection.ready_state is ReadyState.CLOSED for connection in handled)


@in_loop
async def test_failed_handshakes_are_logged_for_those_who_want_to_know(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with echo_server(origins=["https://example.com"]) as server:
        await status_of(server, request_with("Origin: https://evil.test"))
    messages = [record.getMessage() for record in caplog.records if record.name == "wsfast.server"]
    assert any("https://evil.test" in message for message in messages)
    assert any(str(HOST) in message for message in messages), "server listening on ..."


@in_loop
async def test_own_logger_is_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with echo_server(logger=logging.getLogger("mine")) as server:
        await status_of(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert {record.name for record in caplog.records} - {"asyncio"} == {"mine"}


# Sockets


def is_nodelay(transport: asyncio.BaseTransport) -> bool:
    connected = transport.get_extra_info("socket")
    if hasattr(connected, "getsockopt"):
        return bool(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    with socket.socket(fileno=os.dup(connected.fileno())) as same:  # uvloop's stand-in for a socket has none
        return same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@pytest.mark.parametrize("proto", [0, socket.IPPROTO_TCP])
@in_both_loops
async def test_nodelay_is_set_on_both_ends(proto: int) -> None:
    """Also on sockets made with protocol number 0, as socket.socket() does: asyncio leaves those alone."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto)
    listening.bind((HOST, 0))
    recorder = Recorder()
    async with serve(recorder, sock=listening) as server:
        connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto)
        connecting.connect((HOST, port_of(server)))
        connecting.setblocking(False)
        async with connect(uri_of(server), sock=connecting) as client:
            connection = await recorder.connections.get()
            assert is_nodelay(client.transport)
            assert is_nodelay(connection.transport)


@in_both_loops
async def test_nodelay_is_set_on_sockets_that_we_made() -> None:
    recorder = Recorder()
    async with serve(recorder, HOST, 0) as server, connect(uri_of(server)) as client:
        connection = await recorder.connections.get()
        assert is_nodelay(client.transport)
        assert is_nodelay(connection.transport)


# Back-pressure


BUFFER_SIZE = 262_144
"""What the kernel buffers at each end, so that a few megabytes fill all there is."""


def small_buffers() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_SIZE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_SIZE)
    return sock


def serve_with_small_buffers(handler: Any, **options: Any) -> Server:
    listening = small_buffers()
    listening.bind((HOST, 0))
    return serve(handler, sock=listening, ping_interval=None, **options)


@contextlib.asynccontextmanager
async def blocking_client(server: Server) -> AsyncIterator[socket.socket]:
    """A client whose sends and receives are seen to block: a socket after its opening handshake."""
    loop = asyncio.get_running_loop()
    client = small_buffers()
    client.setblocking(False)
    with client:
        await loop.sock_connect(client, (HOST, port_of(server)))
        await loop.sock_sendall(client, REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(client, 1)
        yield client


@in_both_loops
async def test_a_slow_reader_stops_the_peer_through_tcp(connection_codec: ModuleType) -> None:
    """What is not read stays with the peer: its socket takes no more. When we read, it goes on."""
    recorder = Recorder()
    stream = frame(BINARY, bytes(16_000), key=KEY) * 500
    async with serve_with_small_buffers(recorder) as server, blocking_client(server) as client:
        connection = await recorder.connections.get()
        n_sent = 0
        while True:
            try:
                n_sent += client.send(stream[n_sent : n_sent + 65_536])
            except BlockingIOError:
                if not connection.transport.is_reading():
                    break  # nothing but recv() makes room now
            await asyncio.sleep(0)
            assert n_sent < len(stream) // 2, "nothing stops the peer"
        await turns(10)
        with pytest.raises(BlockingIOError):
            client.send(b"x")
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(client, stream[n_sent:]))
        for _ in range(500):
            assert len(await connection.recv()) == 16_000
        await sending
        assert connection.transport.is_reading()


@in_both_loops
async def test_a_slow_peer_stops_send(connection_codec: ModuleType) -> None:
    """send() waits once write_limit bytes wait to be written; what it has sent arrives when the peer reads."""
    stopped = asyncio.Event()
    n_sent = 0

    class Noticing(ServerConnection):
        def pause_writing(self) -> None:
            super().pause_writing()
            stopped.set()

    async def handler(connection: ServerConnection) -> None:
        nonlocal n_sent
        for _ in range(500):
            await connection.send(bytes(16_000))
            n_sent += 1
            assert connection.transport.get_write_buffer_size() <= 32_768

    async with (
        serve_with_small_buffers(handler, create_connection=Noticing) as server,
        blocking_client(server) as client,
    ):
        await stopped.wait()
        await turns(10)
        assert n_sent < 250
        loop = asyncio.get_running_loop()
        received = bytearray()
        while len(received) < 500 * 16_004 + 4:
            received += await loop.sock_recv(client, 262_144)
        frames = parse_frames(bytes(received), Role.SERVER)
        assert frames == [*[(BINARY, bytes(16_000), True)] * 500, close(1000)]


@in_loop
async def test_cancelling_a_send_that_waits_keeps_the_stream_whole() -> None:
    """What it had written goes out whole: the next message is read as such."""
    recorder = Recorder()
    async with serve(recorder, HOST, 0) as server, raw_client(server) as peer:
        connection = await recorder.connections.get()
        sending = asyncio.create_task(connection.send(b"x" * 8_000_000))
        await turns(3)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert sending.cancelled()
        following = asyncio.create_task(connection.send("next"))
        assert await peer.receive() == (BINARY, b"x" * 8_000_000, True)
        assert await peer.receive() == text("next")
        await following


# Batching


@in_both_loops
async def test_64_messages_at_once_are_echoed_in_order_and_few_writes(connection_codec: ModuleType) -> None:
    writes = []

    class Spy:
        def __init__(self, transport: asyncio.Transport) -> None:
            self._transport = transport

        def write(self, data: Any) -> None:
            writes.append(len(data))
            self._transport.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

    async def handler(connection: ServerConnection) -> None:
        connection.transport = Spy(connection.transport)  # type: ignore[assignment]
        await echo(connection)

    texts = [f"{number}" for number in range(64)]
    async with serve(handler, HOST, 0) as server, raw_client(server) as peer:
        peer.send_text(*texts)
        assert [await peer.receive() for _ in texts] == [text(one) for one in texts]
        assert len(writes) <= 2, "one write for each chunk that was received"
        await peer.close_handshake()


# Limits (10.4)


@pytest.mark.parametrize("max_size", [1000, (1000, None), (None, 1000), (2000, 1000)])
@in_both_loops
async def test_1009_can_be_read_although_the_client_is_still_sending(
    max_size: Any, connection_codec: ModuleType
) -> None:
    """10.4, 7.4.1: closing TCP at once would reset it, and lose the Close frame."""
    async with echo_server(max_size=max_size) as server, raw_client(server) as peer:
        peer.send(peer.frame(BINARY, bytes(1000)))
        assert await peer.receive() == (BINARY, bytes(1000), True)
        peer.send(peer.frame(BINARY, bytes(8_000_000)))
        received = await peer.receive()
        assert received.opcode == CLOSE
        assert received.payload[:2] == (1009).to_bytes(2, "big")
        assert b"exceeds" in received.payload
        await peer.writer.drain()


@in_loop
async def test_max_size_counts_fragments_together(connection_codec: ModuleType) -> None:
    async with echo_server(max_size=1000) as server, raw_client(server) as peer:
        peer.send(peer.frame(BINARY, bytes(600), fin=False), peer.frame(CONTINUATION, bytes(401)))
        assert (await peer.receive()).payload[:2] == (1009).to_bytes(2, "big")


@in_loop
async def test_max_size_none_has_no_limit(connection_codec: ModuleType) -> None:
    async with echo_server(max_size=None) as server, raw_client(server) as peer:
        peer.send(peer.frame(BINARY, bytes(3_000_000)))
        assert (await peer.receive()).payload == bytes(3_000_000)
        await peer.close_handshake()


# How connections end


@in_both_loops
async def test_a_handler_that_returns_closes_with_1000() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("bye")

    async with serve(handler, HOST, 0) as server, raw_client(server) as peer:
        assert await peer.receive() == text("bye")
        assert await peer.receive() == close(1000)
        peer.send(peer.close_frame())
        await peer.eof()


@in_both_loops
async def test_a_handler_that_raises_closes_with_1011_and_is_logged() -> None:
    """7.4.1; what went wrong is for the log, and not for the client."""

    async def handler(connection: ServerConnection) -> None:
        raise LookupError("secret detail")

    async with serve(handler, HOST, 0) as server:
        with errors_logged() as errors:
            async with raw_client(server) as peer:
                received = await peer.receive()
                assert received.opcode == CLOSE
                assert received.payload[:2] == (1011).to_bytes(2, "big")
                assert b"secret" not in received.payload
                peer.send(peer.close_frame(1011))
                await peer.eof()
        assert [record.name for record in errors] == ["wsfast.server"]
        assert errors[0].exc_info is not None
        assert isinstance(errors[0].exc_info[1], LookupError)


@pytest.mark.parametrize("how", ["close", "eof", "reset", "fault"])
@in_both_loops
async def test_a_client_that_leaves_is_no_error(how: str) -> None:
    """recv() raises in a handler that does not expect it: nothing that an operator could mend."""
    ended: asyncio.Queue[ConnectionClosed] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        try:
            while True:
                await connection.recv()
        except ConnectionClosed as closed:
            ended.put_nowait(closed)
            raise

    async with serve(handler, HOST, 0) as server, raw_client(server) as peer:
        if how == "close":
            peer.send(peer.close_frame(3000, "away"))
        elif how == "eof":
            peer.send_eof()
        elif how == "reset":
            peer.abort()
        else:
            peer.send(b"\xff\xff")
        if how != "reset":
            await peer.receive_until_eof()
            await peer.close()
        closed = await ended.get()
        assert isinstance(closed, ConnectionClosedError)
        assert closed.code == (3000 if how == "close" else 1006)
        assert (closed.sent is not None) is (how in ("close", "fault"))


@in_both_loops
async def test_messages_before_close_are_answered_on_the_wire(connection_codec: ModuleType) -> None:
    """5.5.1: [m1, m2, Close] in one chunk: both answers, then our Close, then the end of TCP."""
    async with echo_server() as server, raw_client(server) as peer:
        peer.send(peer.frame(TEXT, "1"), peer.frame(TEXT, "2"), peer.close_frame(1001))
        peer.send_eof()
        assert await peer.receive_until_eof() == [text("1"), text("2"), close(1001)]


@in_both_loops
async def test_messages_before_a_fault_are_answered_on_the_wire(connection_codec: ModuleType) -> None:
    """7.1.7: [m1, unmasked frame] in one chunk: the answer, then Close with 1002, then the end of TCP."""
    async with echo_server() as server, raw_client(server) as peer:
        peer.send(peer.frame(TEXT, "1"), frame(TEXT, "2"), peer.frame(TEXT, "3"))
        received = await peer.receive_until_eof()
        assert received == [text("1"), close(1002, "frame from a client is not masked")]


@in_both_loops
async def test_a_handler_that_never_receives_still_gets_the_close_answered() -> None:
    recorder = Recorder()
    async with serve(recorder, HOST, 0, close_timeout=0.05) as server:
        async with raw_client(server) as peer:
            peer.send(peer.close_frame(3000))
            assert await peer.receive() == close(3000), "at once: nothing is queued"
            await peer.eof()
        async with raw_client(server) as peer:
            peer.send(peer.frame(TEXT, "never taken"), peer.close_frame(3000))
            assert await peer.receive() == close(3000), "after close_timeout"
            await peer.eof()


@in_both_loops
async def test_a_flooding_client_can_read_our_close() -> None:
    """7.1.1: TCP is half closed first, so that what the client still sends does not reset it."""

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(4000, "enough")

    async with serve(handler, HOST, 0, close_timeout=LIMIT) as server, raw_client(server) as peer:
        flood = peer.frame(BINARY, bytes(60_000)) * 100
        peer.send(flood)
        assert await peer.receive() == close(4000, "enough")
        peer.send(flood, peer.close_frame(4000))
        await peer.writer.drain()
        await peer.eof()


@in_both_loops
async def test_close_timeout_cuts_off_a_client_that_does_not_answer() -> None:
    ended = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.close()
        assert connection.close_code == 1006
        ended.set()

    async with serve(handler, HOST, 0, close_timeout=0.05) as server, raw_client(server) as peer:
        assert await peer.receive() == close(1000)
        await ended.wait()
        with contextlib.suppress(ConnectionResetError):
            await peer.eof()


@in_loop
async def test_keepalive_ends_a_connection_whose_peer_is_gone(connection_codec: ModuleType) -> None:
    """5.5.2: a peer that answers nothing any more."""
    ended: asyncio.Queue[ConnectionClosed] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except ConnectionClosed as closed:
            ended.put_nowait(closed)

    options = {"ping_interval": 0.02, "ping_timeout": 0.05, "close_timeout": 0.05}
    async with serve(handler, HOST, 0, **options) as server, raw_client(server) as peer:
        assert (await peer.receive()).opcode == PING
        assert await peer.receive() == close(1011, "keepalive ping timeout")
        assert (await ended.get()).sent == Close(1011, "keepalive ping timeout")


@in_loop
async def test_keepalive_goes_on_with_a_peer_that_answers() -> None:
    async with echo_server(ping_interval=0.01, ping_timeout=LIMIT) as server, raw_client(server) as peer:
        payloads = set()
        for _ in range(4):
            ping = await peer.receive()
            assert ping.opcode == PING
            payloads.add(ping.payload)
            peer.send(peer.frame(PONG, ping.payload))
        assert len(payloads) == 4
        peer.send(peer.close_frame())
        while (received := await peer.receive()).opcode == PING:
            pass
        assert received == close(1000)


# Stopping a server


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, close(1001)), ({"code": 1012, "reason": "restart"}, close(1012, "restart"))],
)
@in_both_loops
async def test_close_ends_open_connections(arguments: Any, expected: Any) -> None:
    """7.4.1: 1001 is "going away"."""
    async with echo_server() as server, raw_client(server) as one, raw_client(server) as two:
        server.close(**arguments)
        for peer in (one, two):
            assert await peer.receive() == expected
            peer.send(peer.close_frame(1001))
            await peer.eof()
        await server.wait_closed()


@in_both_loops
async def test_close_waits_for_handlers_and_their_last_words() -> None:
    done = asyncio.Event()
    cleaned_up = []

    async def handler(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosedOK):
            await connection.recv()
        await done.wait()
        cleaned_up.append(True)

    async with serve(handler, HOST, 0) as server, raw_client(server) as peer:
        server.close()
        waiting = asyncio.create_task(server.wait_closed())
        assert await peer.receive() == close(1001)
        peer.send(peer.close_frame(1001))
        await peer.eof()
        await turns(10)
        assert not waiting.done()
        done.set()
        await waiting
        assert cleaned_up == [True]


@in_both_loops
async def test_close_answers_handshakes_with_503() -> None:
    """Those that wait for process_request; one without a request has nothing to answer, and is only closed."""
    asked = asyncio.Event()

    async def process_request(connection: ServerConnection, request: Request) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with (
        echo_server(process_request=process_request) as server,
        tcp_client(server) as silent,
        tcp_client(server) as half,
        tcp_client(server) as peer,
    ):
        half.send(REQUEST[:40])
        peer.send(REQUEST)
        await asked.wait()
        server.close()
        assert (await peer.read_head()).startswith("HTTP/1.1 503 ")
        assert b"shutting down" in await peer.reader.read()
        for other in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                await other.eof()
        await server.wait_closed()


@in_both_loops
async def test_close_connections_false_lets_them_go_on() -> None:
    async with echo_server() as server, raw_client(server) as peer:
        server.close(close_connections=False)
        waiting = asyncio.create_task(server.wait_closed())
        peer.send_text("still")
        assert await peer.receive() == text("still")
        assert not waiting.done()
        await peer.close_handshake()
        await waiting


@in_both_loops
async def test_close_cuts_off_clients_that_do_not_answer() -> None:
    async with echo_server(close_timeout=0.05) as server, raw_client(server) as peer:
        server.close()
        await server.wait_closed()
        assert await peer.receive() == close(1001)


@in_loop
async def test_a_connection_that_was_accepted_just_before_close_is_dropped() -> None:
    """The loop may make its transport after close(); it is not kept waiting for a server that is gone."""
    handled = []

    async def handler(connection: ServerConnection) -> None:
        handled.append(connection)

    async with serve(handler, HOST, 0) as server:
        server.close()
        connection = server._new_connection(server)
        transport = FakeTransport(connection, Role.SERVER)
        connection.connection_made(transport)
        assert transport.aborted
        await connection.wait_closed()
        await server.wait_closed()
    assert handled == []


@in_both_loops
async def test_a_handler_may_close_its_server() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.server.close()
        async for _ in connection:
            pass

    async with serve(handler, HOST, 0) as server, raw_client(server) as peer:
        assert await peer.receive() == close(1001)
        peer.send(peer.close_frame(1001))
        await peer.eof()
        await server.wait_closed()


# Many connections


@pytest.mark.parametrize(("n_connections", "with_subprotocol"), [(2000, False), (100, True)])
@in_both_loops
async def test_closed_connections_leave_nothing_behind(n_connections: int, with_subprotocol: bool) -> None:
    """Connections die with their last reference: no cycle waits for the garbage collector."""
    alive: weakref.WeakSet[ServerConnection] = weakref.WeakSet()
    n_handled = 0

    class Counted(ServerConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            alive.add(self)

    async def handler(connection: ServerConnection) -> None:
        nonlocal n_handled
        n_handled += 1
        await echo(connection)

    options: dict[str, Any] = {}
    if with_subprotocol:
        options["select_subprotocol"] = lambda connection, offers: None
    gc.collect()
    gc.disable()
    try:
        async with serve(handler, HOST, 0, create_connection=Counted, **options) as server:

            async def visit(number: int) -> None:
                async with raw_client(server) as peer:
                    peer.send_text("x")
                    await peer.receive()
                    if number % 3 == 0:
                        await peer.close_handshake()
                    elif number % 3 == 1:
                        peer.send_eof()
                        await peer.receive_until_eof()
                    else:
                        peer.send(b"\xff")
                        peer.abort()

            for batch in range(n_connections // 25):
                await asyncio.gather(*(visit(batch * 25 + number) for number in range(25)))
            server.close(close_connections=False)
            await server.wait_closed()
            await turns(5)
            assert n_handled == n_connections
            assert len(alive) == 0
    finally:
        gc.enable()


@in_both_loops
async def test_failed_handshakes_leave_nothing_behind() -> None:
    alive: weakref.WeakSet[ServerConnection] = weakref.WeakSet()

    class Counted(ServerConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            alive.add(self)

    gc.collect()
    gc.disable()
    try:
        async with echo_server(create_connection=Counted) as server:
            for number in range(60):
                async with tcp_client(server) as peer:
                    peer.send(
                        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"garbage\r\n\r\n", b"")[number % 3]
                    )
                    if number % 3 == 2:
                        peer.abort()
                    else:
                        await peer.reader.read()
            server.close()
            await server.wait_closed()
            await turns(5)
            assert len(alive) == 0
    finally:
        gc.enable()
