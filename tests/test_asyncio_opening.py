"""RFC 6455 4.1, 4.2 on asyncio: refusals, redirects, time limits and arguments of ``connect`` and ``serve``."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncio_helpers import (
    RawPeer,
    client_tls,
    errors_logged,
    in_both_loops,
    in_loop,
    raw_client,
    server_tls,
    tcp_client,
    tcp_server,
)
from helpers import run_python

import wsfast.asyncio.client
from wsfast import connect, serve
from wsfast.asyncio import fastnet
from wsfast.asyncio.server import Server, ServerConnection
from wsfast.exceptions import (
    ConnectionClosedError,
    HandshakeTimeout,
    InvalidMessage,
    InvalidStatus,
    SecurityError,
)
from wsfast.http import Headers, Request, Response

HOST = "127.0.0.1"


def port_of(server: Server | asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def uri_of(server: Server | asyncio.Server, path: str = "/") -> str:
    return f"ws://{HOST}:{port_of(server)}{path}"


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def connected_again(*arguments: Any, **options: Any) -> None:
    """Connect again and again, until that raises."""
    async for _ in connect(*arguments, **options):
        raise AssertionError("connected")


def stalling(head: bytes) -> Any:
    """A server that answers with ``head``, and then neither sends nor closes."""

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(head)
        await peer.reader.read()

    return tcp_server(script)


# Refusals whose body does not end

REFUSALS = [
    (b"HTTP/1.1 403 Forbidden\r\nConnection: keep-alive\r\n\r\n", 403, b""),
    (b"HTTP/1.1 401 Unauthorized\r\n\r\ntoken missing\n", 401, b"token missing\n"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n", 200, b"data:"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nda", 200, b"da"),
    (b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nshort", 503, b"short"),
    (b"HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\n", 302, b""),
]


@pytest.mark.parametrize(("head", "status", "body"), REFUSALS)
@pytest.mark.parametrize("open_timeout", [None, 60])
@in_both_loops
async def test_refusal_whose_body_does_not_end(
    head: bytes, status: int, body: bytes, open_timeout: float | None
) -> None:
    """4.1; RFC 9112 6.3: the head says all that is needed, and what came of the body is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wsfast.asyncio.client, "BODY_TIMEOUT", 0.05)
        async with stalling(head) as server:
            with pytest.raises(InvalidStatus) as caught:
                await connect(uri_of(server), open_timeout=open_timeout)
    assert caught.value.response.status_code == status
    assert caught.value.response.body == body


@pytest.mark.parametrize(("head", "status", "body"), REFUSALS)
@in_both_loops
async def test_refusal_is_told_when_the_time_is_over(head: bytes, status: int, body: bytes) -> None:
    """And not that there was no answer: what to try again depends on it."""
    async with stalling(head) as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(uri_of(server), open_timeout=0.2)
    assert caught.value.response.status_code == status
    assert caught.value.response.body == body
    assert isinstance(caught.value.__cause__, TimeoutError)


@in_both_loops
async def test_redirect_whose_body_does_not_end_is_followed() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(f"HTTP/1.1 302 Found\r\nLocation: {uri_of(other)}there\r\n\r\n".encode())
        await peer.reader.read()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wsfast.asyncio.client, "BODY_TIMEOUT", 0.05)
        async with serve(echo, HOST, 0) as other, tcp_server(script) as server, connect(uri_of(server)) as ws:
            assert ws.request is not None
            assert ws.request.path == "/there"


@in_both_loops
async def test_refusal_with_too_long_a_body() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n" + b"x" * 100_000)
        await peer.reader.read()

    async with tcp_server(script) as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(uri_of(server), open_timeout=None)
    assert caught.value.response.body == b"x" * 65_536


@in_loop
async def test_connection_that_is_reset_inside_the_body_of_a_refusal() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nwhy")
        await peer.writer.drain()
        seen.set()
        await cut.wait()
        peer.abort()

    seen, cut = asyncio.Event(), asyncio.Event()
    async with tcp_server(script) as server:
        connecting = asyncio.ensure_future(connect(uri_of(server)).__aenter__())
        await seen.wait()
        cut.set()
        with pytest.raises(InvalidStatus, match="403"):
            await connecting


# Causes


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 101 Swi"])
@in_both_loops
async def test_server_that_closes_without_an_answer_is_tried_again(reply: bytes) -> None:
    """The cause tells: a balancer, or a server that starts, closes like that."""
    n_attempts = 0

    async def script(peer: RawPeer) -> None:
        nonlocal n_attempts
        n_attempts += 1
        await peer.read_head()
        peer.send(reply)

    async with tcp_server(script) as server:
        with pytest.raises(InvalidMessage) as caught:
            await connected_again(uri_of(server), reconnect_delays=lambda: [0, 0])
    assert isinstance(caught.value.__cause__, EOFError)
    assert n_attempts == 3


# Redirects


@in_both_loops
async def test_redirect_drops_what_belongs_to_one_origin() -> None:
    """RFC 6454: credentials of the URI and of the headers, and Host."""
    seen: list[Request] = []

    def target(connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    def first(connection: ServerConnection, request: Request) -> Response:
        return Response(307, "", Headers({"Location": uri_of(other)}))

    headers = {
        "Authorization": "secret",
        "Proxy-Authorization": "secret",
        "Cookie": "secret",
        "Host": "secret.example",
        "X-Other": "kept",
    }
    async with (
        serve(echo, HOST, 0, process_request=target) as other,
        serve(echo, HOST, 0, process_request=first) as server,
        connect(f"ws://user:secret@{HOST}:{port_of(server)}/", additional_headers=headers),
    ):
        host = f"{HOST}:{port_of(other)}"
    (request,) = seen
    assert "secret" not in str(request.headers)
    assert request.headers["X-Other"] == "kept"
    assert request.headers["Host"] == host


@in_both_loops
async def test_redirect_on_the_same_origin_keeps_the_credentials_of_the_uri() -> None:
    seen: list[Request] = []

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        seen.append(request)
        if request.path != "/":
            return None
        # Absolute, and without them.
        location = f"http://{HOST}:{connection.local_address[1]}/there"
        return Response(302, "", Headers({"Location": location}))

    async with (
        serve(echo, HOST, 0, process_request=process_request) as server,
        connect(f"ws://user:secret@{HOST}:{port_of(server)}/"),
    ):
        pass
    assert [request.headers["Authorization"] for request in seen] == ["Basic dXNlcjpzZWNyZXQ="] * 2


@pytest.mark.parametrize("location", ["/there", "ws://other.example/"])
@in_both_loops
async def test_redirect_with_sock_is_refused_with_words(location: str) -> None:
    """The socket has served its connection, and is closed with it."""

    def process_request(connection: ServerConnection, request: Request) -> Response:
        return Response(302, "", Headers({"Location": location}))

    async with serve(echo, HOST, 0, process_request=process_request) as server:
        sock = socket.create_connection((HOST, port_of(server)))
        with pytest.raises(ValueError, match="sock said where to connect") as caught:
            await connected_again(uri_of(server), sock=sock)
        assert isinstance(caught.value, SecurityError)


@in_both_loops
async def test_sock_serves_one_attempt() -> None:
    """To try again with a socket that is closed would fail for ever."""
    async with stalling(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as server:
        sock = socket.create_connection((HOST, port_of(server)))
        with pytest.raises(ValueError, match="sock is closed"):
            await connected_again(uri_of(server), sock=sock, reconnect_delays=lambda: [0] * 5)


@pytest.mark.parametrize("option", ["host", "port"])
@in_loop
async def test_redirect_elsewhere_with_a_place_that_was_given_is_a_value_error_too(option: str) -> None:
    def process_request(connection: ServerConnection, request: Request) -> Response:
        return Response(302, "", Headers({"Location": "ws://other.example/"}))

    async with serve(echo, HOST, 0, process_request=process_request) as server:
        place = {"host": HOST, "port": port_of(server)}
        with pytest.raises(ValueError, match=f"{option} said where to connect"):
            await connect(uri_of(server), **{option: place[option]})


@in_loop
async def test_none_for_a_place_is_that_of_the_uri() -> None:
    async with serve(echo, HOST, 0) as server, connect(uri_of(server), host=None, port=None, sock=None) as ws:
        await ws.send("x")
        assert await ws.recv() == "x"


# TLS


@in_both_loops
async def test_tls_name_of_a_host_with_a_dot_at_its_end() -> None:
    """RFC 6066 3: without the dot, which is for the resolver; RFC 9110 7.2: Host has it."""
    async with serve(echo, HOST, 0, ssl=server_tls()) as server:
        uri = f"wss://localhost.:{port_of(server)}/"
        async with connect(uri, ssl=client_tls(), host=HOST) as ws:
            assert ws.request is not None
            assert ws.request.headers["Host"] == f"localhost.:{port_of(server)}"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a part"])
@in_both_loops
async def test_open_timeout_of_a_server_covers_tls(said: bytes) -> None:
    """4.2: a client that does not finish the TLS handshake is cut off, too."""
    async with serve(echo, HOST, 0, ssl=server_tls(), open_timeout=0.1) as server, tcp_client(server) as peer:
        peer.send(said)
        assert await peer.reader.read() == b""


@in_both_loops
async def test_open_timeout_of_a_server_counts_from_the_accepted_connection() -> None:
    """The TLS handshake and ours have one limit together."""

    class SlowInTls(ServerConnection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._accepted_at -= 3600

    options: dict[str, Any] = {"open_timeout": 60, "create_connection": SlowInTls}
    async with serve(echo, HOST, 0, **options) as server, tcp_client(server) as peer:
        assert await peer.reader.read() == b""


@in_both_loops
async def test_open_timeout_of_a_client_covers_tls() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.reader.read()

    async with tcp_server(script) as server:
        with pytest.raises(HandshakeTimeout, match=r"within 0\.1 s"):
            await connect(f"wss://localhost:{port_of(server)}/", host=HOST, open_timeout=0.1)


@in_both_loops
async def test_open_timeout_of_a_client_may_be_longer_than_that_of_asyncio() -> None:
    seen: dict[str, Any] = {}
    loop = asyncio.get_running_loop()

    async def create_connection(self: Any, factory: Any, **options: Any) -> Any:
        seen.update(options)
        raise ConnectionAbortedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(loop), "create_connection", create_connection)
        if fastnet._package() is not None:
            patch.setattr(fastnet._package(), "create_connection", create_connection)
        with pytest.raises(ConnectionAbortedError):
            await connect("wss://localhost/", open_timeout=300)
    assert seen["ssl_handshake_timeout"] == 300


@in_both_loops
async def test_certificate_that_is_not_trusted_is_told_with_a_remedy() -> None:
    async with serve(echo, HOST, 0, ssl=server_tls()) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            await connect(uri, host=HOST)
    assert f"cannot connect to {uri}: its certificate is not trusted" in str(caught.value)
    assert "give ssl= a context" in str(caught.value)
    assert caught.value.verify_code
    assert caught.value.verify_message in str(caught.value)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@in_both_loops
async def test_server_without_tls_is_told_with_a_guess() -> None:
    async with serve(echo, HOST, 0) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        with pytest.raises(
            ssl.SSLError, match=f"no TLS connection to {uri} .*is it a ws:// server?"
        ) as caught:
            await connect(uri, host=HOST)
    assert caught.value.reason
    assert caught.value.reason in str(caught.value)


# What a peer sends is not logged raw

EVIL = b"\x9b31m\x85\xe2\x80\xae" + b"x" * 5000


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"\x9b" + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + EVIL + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: " + EVIL + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: " + EVIL + b"\r\n\r\n",
        b"\x16\x03\x01" + EVIL,
        b"\x1b[31m" + EVIL + b"\r\n\r\n",
    ],
)
@in_loop
async def test_server_logs_nothing_raw(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(echo, HOST, 0) as server, tcp_client(server) as peer:
        peer.send(request_)
        answer = await peer.reader.read()
    assert "opening handshake failed: " in caplog.text
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 1100
        assert record.levelno < logging.WARNING
    assert answer.startswith(b"HTTP/1.1 4")
    assert answer.partition(b"\r\n\r\n")[2].decode().replace("\n", "").isprintable()


# Arguments


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"extra_headers": {}}, "use additional_headers"),
        ({"timeout": 1}, "use open_timeout"),
        ({"klass": object}, "use create_connection"),
        ({"create_protocol": object}, "use create_connection"),
        ({"loop": None}, "the running event loop is used"),
        ({"read_limit": 1}, "max_queue"),
        ({"extensions": []}, "compression"),
    ],
)
def test_old_names_of_arguments_are_told_at_the_call(option: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=rf"connect\(\) has no argument {next(iter(option))}: .*{text}"):
        connect("ws://h/", **option)
    if "extra_headers" in option:
        text = "use process_response"
    with pytest.raises(TypeError, match=rf"serve\(\) has no argument {next(iter(option))}: .*{text}"):
        serve(echo, HOST, 0, **option)


@in_loop
async def test_none_for_a_proxy_or_extensions_is_what_we_do() -> None:
    """Programs for websockets 15 and later say it to switch them off."""
    off: dict[str, Any] = {"proxy": None, "extensions": None}
    async with serve(echo, HOST, 0, extensions=None) as server, connect(uri_of(server), **off) as ws:
        await ws.send("x")
        assert await ws.recv() == "x"


async def with_path(ws: ServerConnection, path: str) -> None: ...


async def without_arguments() -> None: ...


async def generator(ws: ServerConnection) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (with_path, "the path is connection.request.path"),
        (without_arguments, r"wsfast calls handler\(connection\)"),
        (generator, "yield"),
        (echo(None), "is a coroutine"),  # type: ignore[arg-type]
        (None, "is a NoneType"),
    ],
)
def test_handler_that_cannot_be_called_is_told_at_the_call(handler: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        serve(handler, HOST, 0)
    if asyncio.iscoroutine(handler):
        handler.close()


@in_loop
async def test_handler_that_is_not_async_is_told() -> None:
    """A plain function may return an awaitable, so that only its call tells."""
    with errors_logged() as errors:
        async with serve(lambda ws: None, HOST, 0) as server, raw_client(server) as peer:  # type: ignore[arg-type, return-value]
            assert (await peer.receive()).payload[:2] == (1011).to_bytes(2, "big")
            await peer.close()
    assert "the handler returned a NoneType; it has to be async def" in str(errors[0].exc_info)
    async with serve(lambda ws: echo(ws), HOST, 0) as server, connect(uri_of(server)) as ws:
        await ws.send("x")
        assert await ws.recv() == "x"


@pytest.mark.parametrize("name", ["process_request", "process_response"])
@pytest.mark.parametrize("value", [(403, [], b"no"), 403, "no", b"no", {}])
@in_loop
async def test_answer_of_the_application_that_is_no_response(name: str, value: Any) -> None:
    """The client gets a 500, and the log says what is wanted."""

    async def function(*_: Any) -> Any:
        return value

    with errors_logged() as errors:
        async with serve(echo, HOST, 0, **{name: function}) as server:  # type: ignore[arg-type]
            with pytest.raises(InvalidStatus, match="500"):
                await connect(uri_of(server))
    text = f"{name} returned a {type(value).__name__}, not None or a Response; connection.respond() makes one"
    assert text in str(errors[0].exc_info)


@in_both_loops
async def test_client_that_leaves_while_the_application_decides() -> None:
    """Nothing is wrong with the server: no error is logged."""
    done = asyncio.Event()

    async def process_request(connection: ServerConnection, request: Request) -> None:
        connection.transport.abort()
        await connection.wait_closed()
        done.set()

    async with serve(echo, HOST, 0, process_request=process_request) as server:
        with pytest.raises(InvalidMessage):
            await connect(uri_of(server))
        await done.wait()


@in_both_loops
async def test_our_limit_is_told_by_the_argument_of_the_caller() -> None:
    """RFC 6455 10.4: a peer that exceeds it breaks no rule."""

    async def big(ws: ServerConnection) -> None:
        await ws.send("x" * 2000)
        await ws.wait_closed()

    async with serve(big, HOST, 0) as server, connect(uri_of(server), max_size=1000) as ws:
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.recv()
    assert "; a limit of ours: message of 2000 bytes exceeds max_size 1000" in str(caught.value)
    assert "broke" not in str(caught.value)
    assert "max_message_size" not in str(caught.value)


# The end of a server


@in_loop
async def test_serve_forever_that_is_cancelled_at_once_closes() -> None:
    server = serve(echo, HOST, 0, start_serving=False)
    await server
    task = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.is_serving()
    assert not server.sockets


CANCELLED_WHILE_CLOSING = """
import asyncio
from wsfast import connect, serve

async def echo(ws):
    async for message in ws:
        await ws.send(message)

async def main():
    server = await serve(echo, "127.0.0.1", 0)
    forever = asyncio.ensure_future(server.serve_forever())
    client = await connect("ws://127.0.0.1:%d/" % server.sockets[0].getsockname()[1])
    await client.send("x")
    await client.recv()
    server.close()
    await asyncio.sleep(0)
    assert not forever.done()

asyncio.run(main())
"""


def test_all_tasks_cancelled_while_the_server_closes() -> None:
    """As asyncio.run() does at the end of a program: serve_forever() ends too."""
    ended = run_python(CANCELLED_WHILE_CLOSING)
    assert (ended.returncode, ended.stderr) == (0, "")
