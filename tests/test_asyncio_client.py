"""``connect`` over real sockets: its forms, its request (RFC 6455 4.1), and servers that are no WebSocket servers.

If the bytes matter, the servers are raw ones, which see and send bytes; if not, they are ours. Each failure must have
its own kind of exception, and a text that tells the user how to mend it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import logging
import socket
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import (
    LIMIT,
    RawPeer,
    Received,
    accept,
    accept_of,
    answer_close,
    client_tls,
    close,
    echo,
    in_both_loops,
    in_loop,
    port_of,
    raw_server,
    server_tls,
    take_all,
    tcp_server,
    turns,
    uri_of,
)
from helpers import BINARY, CLOSE, CONTINUATION, KEY, TEXT, frame

import wsfast
from wsfast.asyncio.buffered import BufferedReceiver
from wsfast.asyncio.client import ClientConnection, backoff, connect, process_exception, unix_connect
from wsfast.asyncio.server import ServerConnection, serve, unix_serve
from wsfast.connection import ReadyState
from wsfast.events import Close
from wsfast.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    SecurityError,
)
from wsfast.handshake import Request, Response
from wsfast.headers import Headers

HOST = "127.0.0.1"


def echo_server(**options: Any) -> Any:
    return serve(echo, HOST, 0, **options)


async def silent(peer: RawPeer) -> None:
    """A server that takes what comes and says nothing."""
    await peer.reader.read()


# The ways to use it


@in_both_loops
async def test_async_with(connection_codec: ModuleType) -> None:
    async with echo_server() as server:
        async with connect(uri_of(server)) as ws:
            assert ws.ready_state is ReadyState.OPEN
            for message in ("안녕 🚀", b"\xff" * 100_000, "", b""):
                await ws.send(message)
                assert await ws.recv() == message
        assert ws.ready_state is ReadyState.CLOSED
        assert (ws.close_code, ws.close_reason) == (1000, "")


@in_both_loops
async def test_await() -> None:
    async with echo_server() as server:
        ws = await connect(uri_of(server))
        await ws.send("x")
        assert await ws.recv() == "x"
        await ws.close(1001)
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()


@in_loop
async def test_names_of_the_package() -> None:
    """``import wsfast`` is enough."""
    async with wsfast.serve(echo, HOST, 0) as server, wsfast.connect(uri_of(server)) as ws:
        await ws.send("x")
        assert await ws.recv() == "x"
        with pytest.raises(wsfast.ConnectionClosed):
            await asyncio.gather(ws.close(), ws.recv())
        assert ws.state is wsfast.ReadyState.CLOSED


@in_loop
async def test_an_exception_in_async_with_closes_with_1011() -> None:
    ends: asyncio.Queue[Received] = asyncio.Queue()

    async def script(peer: RawPeer) -> None:
        ends.put_nowait(await answer_close(peer))

    async with raw_server(script) as server:
        with pytest.raises(LookupError):
            async with connect(uri_of(server)):
                raise LookupError
        assert (await ends.get()).payload[:2] == (1011).to_bytes(2, "big")


@in_loop
async def test_connect_is_entered_once_at_a_time() -> None:
    async with echo_server() as server:
        connecting = connect(uri_of(server))
        async with connecting:
            with pytest.raises(RuntimeError):
                await connecting.__aenter__()
        async with connecting as ws:
            assert ws.ready_state is ReadyState.OPEN


@in_both_loops
async def test_async_for_connects_again() -> None:
    """Also when the server closes, and when the body leaves with ``continue``."""
    n_served = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal n_served
        n_served += 1
        await connection.send(f"{n_served}")

    seen = []
    async with serve(handler, HOST, 0) as server:
        async for ws in connect(uri_of(server)):
            try:
                seen.append(await ws.recv())
                if len(seen) == 3:
                    break
                await ws.recv()
            except ConnectionClosed:
                continue
        await ws.close()
    assert seen == ["1", "2", "3"]


@in_loop
async def test_async_for_waits_between_failed_attempts() -> None:
    """The delays start again after each success."""
    asked = []

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        asked.append(request)
        return None if len(asked) in (3, 5) else connection.respond(503, "busy\n")

    delays_asked = []

    def delays() -> Any:
        for number in range(1, 10):
            delays_asked.append(number)
            yield 0.001

    n_open = 0
    async with echo_server(process_request=process_request) as server:
        async for ws in connect(uri_of(server), reconnect_delays=delays):
            n_open += 1
            if n_open == 2:
                await ws.close()
                break
    assert len(asked) == 5
    assert delays_asked == [1, 2, 1]


@in_loop
async def test_async_for_raises_when_the_delays_are_used_up() -> None:
    async with tcp_server(silent) as server:
        uri = uri_of(server)
    with pytest.raises(OSError, match="cannot connect"):
        await anext(aiter(connect(uri, reconnect_delays=lambda: [0.001, 0.001])))


@pytest.mark.parametrize("how", ["same", "another", "none"])
@in_loop
async def test_process_exception_decides_what_is_tried_again(how: str) -> None:
    seen: list[Exception] = []

    def process(exception: Exception) -> Exception | None:
        seen.append(exception)
        if how == "another":
            return LookupError("instead")
        return exception if how == "same" or len(seen) == 3 else None

    async with echo_server(process_request=lambda connection, _: connection.respond(404, "no\n")) as server:
        connections = connect(uri_of(server), process_exception=process, reconnect_delays=lambda: [0] * 9)
        with pytest.raises(LookupError if how == "another" else InvalidStatus) as raised:
            await anext(aiter(connections))
    assert len(seen) == (3 if how == "none" else 1)
    if how == "another":
        assert raised.value.__cause__ is seen[0]


def refused_with(status: int) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers(), b""))


def caused_by(exception: Exception, cause: BaseException) -> Exception:
    exception.__cause__ = cause
    return exception


@pytest.mark.parametrize(
    ("exception", "again"),
    [
        *((refused_with(status), True) for status in (500, 502, 503, 504)),
        *((refused_with(status), False) for status in (301, 400, 401, 403, 404, 426, 501)),
        (ConnectionRefusedError(), True),
        (socket.gaierror(), True),
        (TimeoutError(), True),
        (HandshakeTimeout(), True),
        (caused_by(InvalidMessage("closed early"), EOFError()), True),
        (InvalidMessage("no HTTP"), False),
        (ssl.SSLCertVerificationError(), False),
        (NegotiationError(), False),
        (ValueError(), False),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else str(value),
)
def test_what_is_tried_again_by_default(exception: Exception, again: bool) -> None:
    """What may go away by itself."""
    assert process_exception(exception) is (None if again else exception)


def test_backoff_grows_up_to_a_limit() -> None:
    delays = backoff()
    first, *rest = [next(delays) for _ in range(20)]
    assert 0 <= first <= 5
    assert rest[0] == 3
    assert rest == sorted(rest)
    assert rest[-1] == 90


@in_loop
async def test_leaving_async_for_closes_the_connection() -> None:
    closed: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed.put_nowait(connection.close_code)

    async with serve(handler, HOST, 0) as server:
        async with contextlib.aclosing(aiter(connect(uri_of(server)))) as connections:
            async for ws in connections:
                assert ws.ready_state is ReadyState.OPEN
                break
        assert await closed.get() == 1000


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
@in_both_loops
async def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with unix_serve(echo, path):
        async with unix_connect(path) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
            assert ws.request is not None
            assert ws.request.headers["Host"] == "localhost"
        async with unix_connect(path, "ws://example.com/chat") as ws:
            assert ws.request is not None
            assert (ws.request.headers["Host"], ws.request.path) == ("example.com", "/chat")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
@in_loop
async def test_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await unix_connect(str(tmp_path / "nothing"))


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
@in_both_loops
async def test_ipv6() -> None:
    async with serve(echo, "::1", 0) as server:
        port = port_of(server)
        async with connect(f"ws://[::1]:{port}/") as ws:
            assert ws.request is not None
            assert ws.request.headers["Host"] == f"[::1]:{port}"
            assert ws.remote_address[0] == "::1"
            await ws.send("x")
            assert await ws.recv() == "x"


@in_loop
async def test_sock_host_and_port_say_where_to_connect() -> None:
    """The URI then says what to ask for."""
    async with echo_server() as server:
        port = port_of(server)
        async with connect("ws://example.com/a", host=HOST, port=port) as ws:
            assert ws.request is not None
            assert ws.request.headers["Host"] == "example.com"
        connected = socket.create_connection((HOST, port))
        connected.setblocking(False)
        async with connect("ws://example.com/b", sock=connected) as ws:
            assert ws.local_address == connected.getsockname()


# TLS


@in_both_loops
async def test_wss(connection_codec: ModuleType) -> None:
    async with echo_server(ssl=server_tls()) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        async with connect(uri, ssl=client_tls(), host=HOST) as ws:
            for message in ("안녕", b"\x00" * 300_000, ["a", "b"]):
                await ws.send(message)
                assert await ws.recv() == ("ab" if message == ["a", "b"] else message)
        assert (ws.close_code, ws.close_reason) == (1000, "")
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()


LARGE = {
    "binary": bytes(range(256)) * 12_000,
    "ASCII": "plain text, " * 250_000,
    "Korean": "안녕하세요 " * 200_000,
    "Korean at the end": "plain text, " * 250_000 + "끝",
}


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@in_loop
async def test_large_messages_are_received_in_place(
    tls: bool, connection_codec: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6455 5.6: with control frames and small messages between them, on asyncio's own transports."""
    n_in_place = 0
    buffer_updated = BufferedReceiver.buffer_updated

    def counted(receiver: BufferedReceiver, nbytes: int) -> None:
        nonlocal n_in_place
        n_in_place += receiver._is_in_place
        buffer_updated(receiver, nbytes)

    monkeypatch.setattr(BufferedReceiver, "buffer_updated", counted)
    async with serve(echo, HOST, 0, max_size=None, ssl=server_tls() if tls else None) as server:
        uri = f"{'wss' if tls else 'ws'}://localhost:{port_of(server)}/"
        async with connect(uri, ssl=client_tls() if tls else None, host=HOST, max_size=None) as connection:
            for message in LARGE.values():
                sending = asyncio.create_task(connection.send(message))
                assert await connection.recv() == message
                await sending
                await (await connection.ping())
                await connection.send("small")
                assert await connection.recv() == "small"
    assert n_in_place > 0


@in_both_loops
async def test_wss_close_by_the_server() -> None:
    """TLS cannot be half closed; the Close frames go both ways all the same."""

    async def handler(connection: ServerConnection) -> None:
        await connection.send("last words")
        await connection.close(3000, "이제 그만")

    async with serve(handler, HOST, 0, ssl=server_tls()) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        async with connect(uri, ssl=client_tls(), host=HOST) as ws:
            messages, closed = await take_all(ws)
            assert messages == ["last words"]
            assert (closed.rcvd, closed.sent) == (Close(3000, "이제 그만"), Close(3000, "이제 그만"))


@in_both_loops
async def test_wss_with_a_certificate_that_nobody_vouches_for() -> None:
    async with echo_server(ssl=server_tls()) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            await connect(f"wss://localhost:{port_of(server)}/", host=HOST)


@in_both_loops
async def test_wss_with_a_certificate_for_another_host() -> None:
    async with echo_server(ssl=server_tls()) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
            await connect(f"wss://example.com:{port_of(server)}/", ssl=client_tls(), host=HOST)


@in_both_loops
async def test_wss_to_a_server_without_tls() -> None:
    async with echo_server() as server:
        with pytest.raises(ssl.SSLError):
            await connect(f"wss://localhost:{port_of(server)}/", ssl=client_tls(), host=HOST)


@in_both_loops
async def test_ws_to_a_server_with_tls() -> None:
    """It answers with an alert, or hangs up without a word; either way the hint is the same."""
    async with echo_server(ssl=server_tls()) as server:
        with pytest.raises(InvalidMessage, match="wss://"):
            await connect(f"ws://localhost:{port_of(server)}/", host=HOST)


@pytest.mark.parametrize(
    ("uri", "options"),
    [("wss://localhost/", {"ssl": None}), ("ws://localhost/", {"ssl": True})],
)
@in_loop
async def test_ssl_that_contradicts_the_uri_is_a_value_error(uri: str, options: Any) -> None:
    with pytest.raises(ValueError, match="ssl"):
        await connect(uri, **options)


# The request (4.1)


async def request_of(uri_path: str = "/", user: str = "", **options: Any) -> RawPeer:
    """Connect to a raw server; return what it saw of the request."""
    peers: list[RawPeer] = []

    async def script(peer: RawPeer) -> None:
        peers.append(peer)
        await accept(peer)
        await answer_close(peer)

    async with (
        tcp_server(script) as server,
        connect(f"ws://{user}{HOST}:{port_of(server)}{uri_path}", **options),
    ):
        pass
    return peers[0]


@in_both_loops
async def test_request() -> None:
    """4.1, items 1 to 9."""
    peer = await request_of("/chat?room=1", origin="https://example.com", subprotocols=["a", "b"])
    assert peer.head.startswith("GET /chat?room=1 HTTP/1.1\r\n")
    assert (peer.header("Host") or "").startswith(f"{HOST}:")
    assert peer.header("Upgrade") == "websocket"
    assert peer.header("Connection") == "Upgrade"
    assert len(base64.b64decode(peer.header("Sec-WebSocket-Key") or "")) == 16
    assert peer.header("Sec-WebSocket-Version") == "13"
    assert peer.header("Origin") == "https://example.com"
    assert peer.headers("Sec-WebSocket-Protocol") == ["a, b"]
    assert peer.header("Sec-WebSocket-Extensions") is None
    assert (peer.header("User-Agent") or "").startswith("Python/3.")


@in_loop
async def test_keys_are_new_for_each_connection() -> None:
    """4.1: randomly selected for each connection."""
    assert len({(await request_of()).header("Sec-WebSocket-Key") for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "headers", [{"X-One": "1", "Cookie": "a=b"}, [("X-One", "1"), ("Cookie", "a=b")], Headers(X_One="1")]
)
@in_loop
async def test_additional_headers(headers: Any) -> None:
    peer = await request_of(additional_headers=headers)
    for name, value in headers.items() if isinstance(headers, dict | Headers) else headers:
        assert peer.headers(name) == [value]


@pytest.mark.parametrize(("value", "expected"), [(None, []), ("mine/1.0", ["mine/1.0"])])
@in_loop
async def test_user_agent_header(value: str | None, expected: list[str]) -> None:
    assert (await request_of(user_agent_header=value)).headers("User-Agent") == expected


@in_loop
async def test_additional_headers_take_the_place_of_ours() -> None:
    peer = await request_of(additional_headers={"User-Agent": "x", "Host": "example.com", "Origin": "null"})
    assert [peer.headers(name) for name in ("User-Agent", "Host", "Origin")] == [
        ["x"],
        ["example.com"],
        ["null"],
    ]


@in_loop
async def test_basic_authentication_from_the_uri() -> None:
    """RFC 7617 2."""
    peer = await request_of(user="m%C3%BCller:p%40ss@")
    encoded = base64.b64encode("müller:p@ss".encode()).decode()
    assert peer.headers("Authorization") == [f"Basic {encoded}"]
    assert "@" not in (peer.header("Host") or "")


@pytest.mark.parametrize(
    ("options", "exception"),
    [
        ({"additional_headers": {"X": "a\r\nEvil: 1"}}, ValueError),
        ({"additional_headers": {"Upgrade": "h2c"}}, ValueError),
        ({"additional_headers": {"Sec-WebSocket-Key": "x"}}, ValueError),
        ({"origin": "https://a\r\nb"}, ValueError),
        ({"user_agent_header": "a\nb"}, ValueError),
        ({"subprotocols": "chat"}, TypeError),
        ({"subprotocols": ["no token"]}, ValueError),
        ({"subprotocols": ["a", "a"]}, ValueError),
        ({"compression": "gzip"}, ValueError),
        ({"max_queue": -1}, ValueError),
        ({"max_size": -1}, ValueError),
        ({"text": "utf-8"}, ValueError),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@in_loop
async def test_wrong_options_raise_and_nothing_is_connected(options: Any, exception: type[Exception]) -> None:
    async def fail(peer: RawPeer) -> None:
        assert await peer.reader.read() == b""

    async with tcp_server(fail) as server:
        with pytest.raises(exception):
            await connect(uri_of(server), **options)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("http://localhost/", "ws://"),
        ("localhost:8765", "ws://"),
        ("", "empty string"),
        ("ws://", "host is missing"),
        ("ws://localhost/#top", "%23"),
        ("ws://localhost:99999/", "65535"),
        ("ws://local host/", "%20"),
    ],
)
@in_loop
async def test_invalid_uri_says_how_to_write_it(uri: str, text: str) -> None:
    """3."""
    with pytest.raises(InvalidURI, match="is not a WebSocket URI") as raised:
        await connect(uri)
    assert text in str(raised.value)


# Subprotocols (1.9, 4.1)


@pytest.mark.parametrize(
    ("offers", "chosen"), [(["v10.stomp", "v11.stomp"], "v10.stomp"), (["v9"], None), (None, None)]
)
@in_both_loops
async def test_subprotocol(offers: list[str] | None, chosen: str | None) -> None:
    async with (
        echo_server(subprotocols=["v11.stomp", "v10.stomp"]) as server,
        connect(uri_of(server), subprotocols=offers) as ws,
    ):
        assert ws.subprotocol == chosen


@pytest.mark.parametrize("chosen", ["b", "A", "a, b"])
@in_loop
async def test_a_subprotocol_that_was_not_offered_is_an_error(chosen: str) -> None:
    """4.1, item 6 of the checks."""

    async def script(peer: RawPeer) -> None:
        await accept(peer, f"Sec-WebSocket-Protocol: {chosen}")
        await peer.reader.read()

    async with tcp_server(script) as server:
        with pytest.raises(InvalidHandshake):
            await connect(uri_of(server), subprotocols=["a"])


# Redirects


def redirecting(location: Callable[[int], str], status: int = 302) -> Any:
    """A server that redirects "/" and echoes elsewhere; ``location`` is made from its port."""

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        if request.path != "/":
            return None
        headers = Headers({"Location": location(connection.local_address[1])})
        return Response(status, "Moved", headers, b"")

    return echo_server(process_request=process_request)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        lambda port: "/there",
        lambda port: f"ws://{HOST}:{port}/there",
        lambda port: f"http://{HOST}:{port}/there",
    ],
)
@in_loop
async def test_redirects_are_followed(location: Any, status: int) -> None:
    async with redirecting(location, status) as server, connect(uri_of(server)) as ws:
        assert ws.request is not None
        assert ws.request.path == "/there"


@pytest.mark.parametrize("cross_origin", [False, True])
@in_loop
async def test_redirect_to_another_origin_gets_no_credentials(cross_origin: bool) -> None:
    """Neither those of the URI nor those of the headers."""
    seen: list[Request] = []

    def target(connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    def first(connection: ServerConnection, request: Request) -> Response | None:
        seen.append(request)
        if request.path != "/":
            return None
        location = f"{uri_of(other)}there" if cross_origin else "/there"
        return Response(302, "Found", Headers({"Location": location}), b"")

    headers = {"Cookie": "secret", "X-Other": "kept"}
    async with echo_server(process_request=target) as other, echo_server(process_request=first) as server:
        ws = await connect(f"ws://user:secret@{HOST}:{port_of(server)}/", additional_headers=headers)
        await ws.close()
    before, after = seen
    assert "Authorization" in before.headers
    assert "Cookie" in before.headers
    assert after.headers["X-Other"] == "kept"
    assert ("Cookie" in after.headers) is not cross_origin
    if cross_origin:
        assert "Authorization" not in after.headers


@in_loop
async def test_redirect_drops_an_authorization_header_for_another_origin() -> None:
    seen: list[Request] = []

    def target(connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    async with (
        echo_server(process_request=target) as other,
        redirecting(lambda port: uri_of(other, "/there")) as server,
        connect(uri_of(server), additional_headers={"Authorization": "Bearer secret"}),
    ):
        pass
    assert "Authorization" not in seen[0].headers


@in_loop
async def test_redirect_from_wss_to_ws_is_refused() -> None:
    """What was meant to be encrypted stays encrypted."""
    plain = echo_server()
    async with plain as other:

        def process_request(connection: ServerConnection, request: Request) -> Response:
            return Response(302, "Found", Headers({"Location": uri_of(other)}), b"")

        async with echo_server(ssl=server_tls(), process_request=process_request) as server:
            with pytest.raises(SecurityError, match="not encrypted"):
                await connect(f"wss://localhost:{port_of(server)}/", ssl=client_tls(), host=HOST)


@in_loop
async def test_too_many_redirects() -> None:
    async with redirecting(lambda port: "/") as server:
        with pytest.raises(SecurityError, match="more than 10 times"):
            await connect(uri_of(server))


@in_loop
async def test_redirect_to_another_origin_is_refused_when_it_was_told_where_to_connect() -> None:
    async with redirecting(lambda port: "ws://example.com/there") as server:
        with pytest.raises(SecurityError, match="refused to follow"):
            await connect("ws://localhost/", host=HOST, port=port_of(server))


@in_loop
async def test_redirect_without_location_is_a_refusal() -> None:
    async with echo_server(process_request=lambda connection, _: connection.respond(302, "")) as server:
        with pytest.raises(InvalidStatus, match="302"):
            await connect(uri_of(server))


@pytest.mark.parametrize("location", ["gopher://localhost/", "ws://local host/", "//[", "http://"])
@in_loop
async def test_redirect_to_what_is_no_websocket_uri(location: str) -> None:
    async with redirecting(lambda port: location) as server:
        with pytest.raises((InvalidURI, InvalidHandshake)):
            await connect(uri_of(server))


# Servers that are none


@in_both_loops
async def test_connection_refused() -> None:
    """Nothing listens there."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))  # bound, but not listening: nobody else gets the port meanwhile
        uri = f"ws://{HOST}:{sock.getsockname()[1]}/"
        with pytest.raises(ConnectionRefusedError, match=r"is the server running") as raised:
            await connect(uri)
        assert uri in str(raised.value)


@in_loop
async def test_connection_refused_at_every_address_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """As "localhost" is where it has addresses of both kinds."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]

        async def two_addresses(*_: Any, **__: Any) -> list[Any]:
            tcp = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            addresses = ((HOST, port), ("127.0.0.2", port))
            return [(socket.AF_INET, *tcp, address) for address in addresses]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two_addresses)
        uri = f"ws://localhost:{port}/"
        with pytest.raises(ConnectionRefusedError, match=r"is the server running") as raised:
            await connect(uri)
        assert uri in str(raised.value)


@in_loop
async def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_address(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_address)
    with pytest.raises(socket.gaierror, match=r"host\.invalid.*is it spelled right"):
        await connect("ws://host.invalid/")


async def answers(reply: bytes, *, then_eof: bool = True, **options: Any) -> Exception:
    """Connect to a server that sends ``reply``, whatever is asked; return what connect() raises."""

    async def script(peer: RawPeer) -> None:
        if reply:
            peer.send(reply)
        if then_eof:
            await peer.read_head()
        else:
            await peer.reader.read()

    async with tcp_server(script) as server:
        try:
            await connect(uri_of(server), **options)
        except Exception as exception:
            return exception
    raise AssertionError("connect() did not raise")


PAGE = b"<!doctype html><title>Welcome</title>"


@pytest.mark.parametrize(
    ("reply", "exception", "texts"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n" + PAGE,
            InvalidStatus,
            ["200", "is the path right?"],
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nno such chat\n",
            InvalidStatus,
            ["404", "is the path right?", "no such chat"],
        ),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", InvalidStatus, ["401", "credentials"]),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", InvalidStatus, ["403", "origin"]),
        (b"SSH-2.0-OpenSSH_9.2\r\n", InvalidMessage, ["SSH server", "is the port right?"]),
        (b"220 mail.example.com ESMTP\r\n", InvalidMessage, ["mail or FTP", "is the port right?"]),
        (b"\x15\x03\x01\x00\x02\x02\x0a", InvalidMessage, ["TLS", "wss://"]),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", InvalidMessage, ["HTTP/1.1"]),
        (b"\xde\xad\xbe\xef" * 10, InvalidMessage, ["does not speak HTTP", "is the port right?"]),
        (b"", InvalidMessage, ["closed the connection", "is it a WebSocket server?", "wss://"]),
        (b"HTTP/1.1 101 Swi", InvalidMessage, ["before its response was complete"]),
        (b"HTTP/1.1 banana\r\n\r\n", InvalidMessage, ["not valid HTTP"]),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", InvalidUpgrade, ["Upgrade", "proxy"]),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            InvalidHeaderValue,
            ["Sec-WebSocket-Accept"],
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, SecurityError, ["larger than"]),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
@in_both_loops
async def test_not_a_websocket_server(reply: bytes, exception: type[Exception], texts: list[str]) -> None:
    """4.1: each has its own kind, and a text that says what to do."""
    raised = await answers(reply)
    assert type(raised) is exception, repr(raised)
    for text_ in texts:
        assert text_ in str(raised)


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 101 Switching", b"HT"], ids=["silence", "half a response", "two bytes"]
)
@in_both_loops
async def test_handshake_timeout(reply: bytes) -> None:
    raised = await answers(reply, then_eof=False, open_timeout=0.05)
    assert type(raised) is HandshakeTimeout
    assert isinstance(raised, TimeoutError)
    for part in ("ws://127.0.0.1:", "0.05 s", "is it a WebSocket server?", "open_timeout"):
        assert part in str(raised)


@in_loop
async def test_open_timeout_is_for_all_redirects_together() -> None:
    """A server that always sends us on in time does not keep us for ever."""

    async def process_request(connection: ServerConnection, request: Request) -> Response:
        await asyncio.sleep(0.03)
        return Response(302, "Found", Headers({"Location": "/"}), b"")

    async with echo_server(process_request=process_request) as server:
        with pytest.raises(HandshakeTimeout):
            await connect(uri_of(server), open_timeout=0.1)


@in_loop
async def test_open_timeout_ends_inside_the_body_of_a_redirect() -> None:
    """The redirect would have been followed: it is no refusal."""

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.writer.write(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 5\r\n\r\nhell")
        await peer.reader.read()

    async with tcp_server(script) as server:
        with pytest.raises(HandshakeTimeout):
            await connect(uri_of(server), open_timeout=0.1)


@in_loop
async def test_open_timeout_none_waits() -> None:
    async with echo_server() as server, connect(uri_of(server), open_timeout=None) as ws:
        await ws.send("x")
        assert await ws.recv() == "x"


@in_both_loops
async def test_cancelled_connect_leaves_no_connection() -> None:
    gone = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        asked.set()
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()
        gone.set()

    asked = asyncio.Event()
    async with tcp_server(script) as server:
        connecting = asyncio.ensure_future(connect(uri_of(server)).__aenter__())
        await asked.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await gone.wait()


@in_loop
async def test_passwords_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        uri = f"ws://user:secret@{HOST}:{sock.getsockname()[1]}/"
        with pytest.raises(ConnectionRefusedError) as refused:
            await anext(aiter(connect(uri, reconnect_delays=lambda: [0])))
    async with tcp_server(silent) as server:
        with pytest.raises(HandshakeTimeout) as timeout:
            await connect(f"ws://user:secret@{HOST}:{port_of(server)}/", open_timeout=0.05)
    for shown in (str(refused.value), str(timeout.value), caplog.text):
        assert "secret" not in shown


# After the handshake


@in_both_loops
async def test_frames_right_behind_the_response_are_received(connection_codec: ModuleType) -> None:
    """In the same chunk: nothing of it is lost, and the Close in it is answered."""
    ends: asyncio.Queue[Received] = asyncio.Queue()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        key = peer.header("Sec-WebSocket-Key")
        assert key is not None
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_of(key)}\r\n\r\n"
        )
        peer.send(head.encode(), peer.frame(TEXT, "1"), peer.frame(TEXT, "2"), peer.close_frame(3000, "bye"))
        ends.put_nowait(await peer.receive())

    async with tcp_server(script) as server, connect(uri_of(server)) as ws:
        messages, closed = await take_all(ws)
    assert messages == ["1", "2"]
    assert closed.rcvd == Close(3000, "bye")
    assert await ends.get() == close(3000, "bye")


@in_both_loops
async def test_client_masks_with_a_new_key_each(connection_codec: ModuleType) -> None:
    """5.1, 5.3."""
    received: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        received.append(await peer.reader.readexactly(2 * 10))
        await peer.close()

    async with raw_server(script) as server:
        ws = await connect(uri_of(server))
        await ws.send("same")
        await ws.send("same")
        await ws.wait_closed()
    one, two = received[0][:10], received[0][10:]
    assert one[:2] == two[:2] == b"\x81\x84"
    assert one[2:6] != two[2:6]


@in_both_loops
async def test_close_waits_for_the_server_to_close_tcp(connection_codec: ModuleType) -> None:
    """7.1.1: a client waits, so that TIME_WAIT is the server's; up to close_timeout."""
    answered, finish = asyncio.Event(), asyncio.Event()

    async def script(peer: RawPeer) -> None:
        assert (await answer_close(peer)) == close(4999, "끝")
        answered.set()
        await finish.wait()

    async with raw_server(script) as server:
        ws = await connect(uri_of(server))
        closing = asyncio.create_task(ws.close(4999, "끝"))
        await answered.wait()
        await turns(10)
        assert not closing.done()
        assert ws.ready_state is ReadyState.CLOSING
        finish.set()
        await closing
        assert (ws.close_code, ws.close_reason) == (4999, "")
        assert ws.ready_state is ReadyState.CLOSED


@pytest.mark.parametrize("answers_close", [False, True])
@in_both_loops
async def test_close_timeout_cuts_off_a_server_that_does_not_close(answers_close: bool) -> None:
    async def script(peer: RawPeer) -> None:
        while (await peer.receive()).opcode != CLOSE:
            pass
        if answers_close:
            peer.send(peer.close_frame())
        with contextlib.suppress(ConnectionError):
            assert await peer.reader.read() == b""

    async with raw_server(script) as server:
        async with connect(uri_of(server), close_timeout=0.05) as ws:
            pass
        assert ws.close_code == (1000 if answers_close else 1006)


@in_both_loops
async def test_close_while_the_server_floods(connection_codec: ModuleType) -> None:
    """The server's Close is behind what it still sends: that is read, and thrown away."""

    async def script(peer: RawPeer) -> None:
        flood = peer.frame(BINARY, bytes(60_000)) * 50
        peer.send(flood)
        while (await peer.receive()).opcode != CLOSE:
            pass
        peer.send(flood, peer.close_frame())
        await peer.writer.drain()

    async with raw_server(script) as server:
        ws = await connect(uri_of(server), max_queue=2, close_timeout=LIMIT)
        await ws.recv()
        await ws.close()
        assert ws.close_code == 1000


@in_both_loops
async def test_a_fault_of_the_server_fails_the_connection(connection_codec: ModuleType) -> None:
    """5.1: a client MUST close a connection on which it gets a masked frame; what came before is delivered."""
    ends: asyncio.Queue[Received] = asyncio.Queue()

    async def script(peer: RawPeer) -> None:
        peer.send(peer.frame(TEXT, "good"), frame(TEXT, "masked", key=KEY))
        ends.put_nowait(await peer.receive())

    async with raw_server(script) as server, connect(uri_of(server)) as ws:
        messages, closed = await take_all(ws)
    assert messages == ["good"]
    assert isinstance(closed, ConnectionClosedError)
    assert closed.failure is not None
    assert closed.failure.section == "5.1"
    assert await ends.get() == close(1002, "frame from a server is masked")


@in_both_loops
async def test_a_lost_connection(connection_codec: ModuleType) -> None:
    async def script(peer: RawPeer) -> None:
        peer.send_text("last words")
        await peer.receive()

    async with raw_server(script) as server, connect(uri_of(server)) as ws:
        answered = await ws.ping()
        messages, closed = await take_all(ws)
        assert messages == ["last words"]
        assert isinstance(closed, ConnectionClosedError)
        assert closed.code == 1006
        with pytest.raises(ConnectionClosedError):
            await answered
        with pytest.raises(ConnectionClosedError):
            await ws.send("x")


@in_both_loops
async def test_too_large_a_message_is_told_to_its_sender(connection_codec: ModuleType) -> None:
    """10.4, 7.4.1: the server fails with 1009 while we are still sending; send() and recv() say so."""
    async with echo_server(max_size=1000) as server, connect(uri_of(server)) as ws:

        async def send_on() -> None:
            while True:
                await ws.send(bytes(1_000_000))

        with pytest.raises(ConnectionClosedError) as closed:
            await send_on()
        assert closed.value.rcvd == Close(1009, "message of 1000000 bytes exceeds max_size 1000")


@in_both_loops
async def test_ping_and_pong_over_a_socket() -> None:
    async with echo_server() as server, connect(uri_of(server)) as ws:
        assert await (await ws.ping()) >= 0
        assert ws.latency >= 0
        first, second = await ws.ping("1"), await ws.ping("2")
        await asyncio.gather(first, second)
        await ws.pong("unsolicited")
        await ws.send("x")
        assert await ws.recv() == "x"


@in_both_loops
async def test_recv_that_is_cancelled_at_any_moment_loses_nothing(connection_codec: ModuleType) -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(300):
            await connection.send(f"{number}")
            if number % 7 == 0:
                await asyncio.sleep(0)

    received = []
    async with serve(handler, HOST, 0) as server, connect(uri_of(server)) as ws:
        n_turns = 0
        while len(received) < 300:
            receiving = asyncio.create_task(ws.recv())
            n_turns = (n_turns + 1) % 4
            await turns(n_turns)
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                received.append(await receiving)
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()
    assert received == [f"{number}" for number in range(300)]


@in_both_loops
async def test_fragments_over_a_socket(connection_codec: ModuleType) -> None:
    """5.4: one frame an item."""
    seen: list[Received] = []

    async def script(peer: RawPeer) -> None:
        while (received := await peer.receive()).opcode != CLOSE:
            seen.append(received)
        peer.send(peer.close_frame())

    async def parts() -> Any:
        for part in (b"\xed", b"\x95\x9c"):
            await asyncio.sleep(0)
            yield part

    async with raw_server(script) as server, connect(uri_of(server)) as ws:
        await ws.send(["a", "b"])
        await ws.send(parts(), text=True)
    assert [received.opcode for received in seen if received.payload] == [TEXT, CONTINUATION] * 2
    assert b"".join(received.payload for received in seen) == b"ab\xed\x95\x9c"


@in_loop
async def test_create_connection() -> None:
    class Mine(ClientConnection):
        extra = "kept"

    async with echo_server() as server, connect(uri_of(server), create_connection=Mine) as ws:
        assert isinstance(ws, Mine)
        ws.anything = "subclasses have a __dict__"  # type: ignore[attr-defined]


@in_loop
async def test_what_is_known_after_the_handshake() -> None:
    async with echo_server() as server, connect(uri_of(server, "/a?b=c")) as ws:
        assert ws.request is not None
        assert ws.response is not None
        assert ws.request.path == "/a?b=c"
        assert ws.response.status_code == 101
        assert ws.response.headers["Upgrade"] == "websocket"
        assert ws.remote_address == (HOST, port_of(server))


@in_loop
async def test_the_response_of_a_refusal_is_in_the_exception() -> None:
    async with echo_server(process_request=lambda connection, _: connection.respond(402, "pay\n")) as server:
        with pytest.raises(InvalidStatus) as raised:
            await connect(uri_of(server))
    response = raised.value.response
    assert (response.status_code, response.body) == (402, b"pay\n")
    assert response.headers["Content-Type"].startswith("text/plain")


# broadcast


@in_both_loops
async def test_broadcast_reaches_every_client(connection_codec: ModuleType) -> None:
    arrived = asyncio.Queue[ServerConnection]()

    async def handler(connection: ServerConnection) -> None:
        arrived.put_nowait(connection)
        messages.append([message async for message in connection])

    messages: list[list[str | bytes]] = []
    async with serve(handler, HOST, 0) as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(uri_of(server))) for _ in range(10)]
        for _ in clients:
            await arrived.get()
        wsfast.broadcast(server.connections, "모두에게")
        wsfast.broadcast(server.connections, b"\xff")
        for client in clients:
            assert [await client.recv(), await client.recv()] == ["모두에게", b"\xff"]
        wsfast.broadcast(clients, "from many")
    assert messages == [["from many"]] * 10


# Many connections


@pytest.mark.parametrize("uri_path", ["/", "/refused"])
@in_both_loops
async def test_closed_connections_leave_nothing_behind(uri_path: str) -> None:
    """Connections die with their last reference: no cycle waits for the garbage collector."""
    alive: weakref.WeakSet[ClientConnection] = weakref.WeakSet()

    class Counted(ClientConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            alive.add(self)

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(404, "") if request.path == "/refused" else None

    async with echo_server(process_request=process_request) as server:

        async def visit() -> None:
            try:
                async with connect(uri_of(server, uri_path), create_connection=Counted) as ws:
                    await ws.send("x")
                    await ws.recv()
            except InvalidStatus:
                pass

        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await asyncio.gather(*(visit() for _ in range(20)))
            await turns(5)
            assert len(alive) == 0
        finally:
            gc.enable()


@in_both_loops
async def test_a_connection_that_is_refused_leaves_no_cycle() -> None:
    """The error with our hint dies with its last reference, and so do the frames in the tracebacks of its cause."""

    async def visit() -> weakref.ref[connect]:
        dialled = connect("ws://127.0.0.1:1/", proxy=None)
        with contextlib.suppress(ConnectionRefusedError):
            await dialled
        return weakref.ref(dialled)

    gc.collect()
    gc.disable()
    try:
        dialled = await visit()
        await turns(5)
        assert dialled() is None
    finally:
        gc.enable()
