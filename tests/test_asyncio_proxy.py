"""``connect`` through proxies: HTTP CONNECT (RFC 9110 9.3.6), over TLS too, SOCKS (RFC 1928), and the environment."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asyncio_helpers import (
    RawPeer,
    client_tls,
    echo,
    in_both_loops,
    in_loop,
    port_of,
    server_tls,
    tcp_server,
    uri_of,
)

from wsfast import connect, serve, unix_connect, unix_serve
from wsfast.exceptions import (
    HandshakeTimeout,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
)
from wsfast.proxy import ConnectHandshake, Proxy, get_proxy, parse_proxy
from wsfast.uri import parse_uri


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()


async def tunnel(peer: RawPeer, port: int) -> None:
    """Pass bytes on between the client and a server of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))
    writer.close()


class HTTPProxy:
    """A proxy that connects whoever asks rightly to a port of this machine, and notes the requests."""

    def __init__(self, credentials: str | None = None, reply: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self.requests: list[str] = []
        self.credentials = credentials
        self.reply = reply

    async def __call__(self, peer: RawPeer) -> None:
        self.requests.append(await peer.read_head())
        method, target, _ = peer.head.split("\r\n")[0].split(" ")
        assert method == "CONNECT"
        if self.credentials is not None:
            expected = "Basic " + base64.b64encode(self.credentials.encode()).decode()
            if peer.headers("Proxy-Authorization") != [expected]:
                peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n\r\nnever")
                return
        peer.send(self.reply)
        await tunnel(peer, int(target.rpartition(":")[2]))


@contextlib.asynccontextmanager
async def running(
    script: Callable[[RawPeer], Awaitable[None]], scheme: str = "http", user: str = "", **options: Any
) -> AsyncIterator[str]:
    """Run a proxy; yield its address."""
    async with tcp_server(script, **options) as server:
        yield f"{scheme}://{user}127.0.0.1:{port_of(server)}"


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 Connection established\r\n\r\n"]
)
@in_both_loops
async def test_ws_through_an_http_proxy(reply: bytes) -> None:
    proxy = HTTPProxy("us er:p:w", reply)
    async with (
        serve(echo, "127.0.0.1", 0) as server,
        running(proxy, user="us%20er:p%3Aw@") as address,
        connect(uri_of(server), proxy=address) as ws,
    ):
        for message in ("a", "b" * 300_000):
            await ws.send(message)
            assert await ws.recv() == message
        assert ws.request is not None
        assert "Proxy-Authorization" not in ws.request.headers
        target = f"127.0.0.1:{port_of(server)}"
    [request] = proxy.requests
    assert request.startswith(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: Python/")


@pytest.mark.parametrize("scheme", ["http", "https"])
@in_both_loops
async def test_wss_through_a_proxy(scheme: str) -> None:
    """Over https:// it is TLS within TLS, each with the name of its server."""
    options: dict[str, Any] = {"ssl": client_tls()}
    if scheme == "https":
        options |= {"proxy_ssl": client_tls(), "proxy_server_hostname": "proxy.example"}
    tls = {"ssl": server_tls("proxy.example")} if scheme == "https" else {}
    proxy = HTTPProxy()
    async with (
        serve(echo, "127.0.0.1", 0, ssl=server_tls()) as server,
        running(proxy, scheme, **tls) as address,
        connect(f"wss://localhost:{port_of(server)}/", proxy=address, **options) as ws,
    ):
        for message in ("a", "b" * 300_000):
            await ws.send(message)
            assert await ws.recv() == message
    assert len(proxy.requests) == 1


@in_both_loops
async def test_ws_through_an_https_proxy() -> None:
    async with (
        serve(echo, "127.0.0.1", 0) as server,
        running(HTTPProxy(), "https", ssl=server_tls()) as address,
        connect(
            uri_of(server), proxy=address, proxy_ssl=client_tls(), proxy_server_hostname="localhost"
        ) as ws,
    ):
        await ws.send("a")
        assert await ws.recv() == "a"


@in_loop
async def test_host_and_port_say_where_the_proxy_connects() -> None:
    proxy = HTTPProxy()
    async with (
        serve(echo, "127.0.0.1", 0) as server,
        running(proxy) as address,
        connect("ws://name.example/", proxy=address, host="there", port=port_of(server)) as ws,
    ):
        assert ws.request is not None
        assert ws.request.headers["Host"] == "name.example"
        assert proxy.requests[0].startswith(f"CONNECT there:{port_of(server)} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (b"HTTP/1.1 403 No\x9b\r\n\r\n", InvalidProxyStatus, r"HTTP 403 No\\x9b"),
        (b"HTTP/1.1 403 No Way\r\n\r\n", InvalidProxyStatus, "HTTP 403 No Way"),
        (b"HTTP/1.1 407 X\r\nContent-Length: 9\r\n\r\n", InvalidProxyStatus, "user:password@"),
        (b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", ProxyError, "HTTP|closed"),
        (b"SSH-2.0-x\r\n\r\n", InvalidProxyMessage, "not valid HTTP"),
        (b"", InvalidProxyMessage, "closed the connection"),
        (b"HTTP/1.1 200", InvalidProxyMessage, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, InvalidProxyMessage, "larger than 16384"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", InvalidProxyMessage, "headers"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 ...", InvalidProxyMessage, "before the request"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad\r\n\r\n", InvalidProxyStatus, "502"),
    ],
)
@in_both_loops
async def test_what_a_proxy_may_answer_instead(reply: bytes, kind: type[Exception], text: str) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(reply)

    async with running(script, user="user:hunter2@") as address:
        with pytest.raises(kind, match=text) as failed:
            await connect("ws://server.example/", proxy=address)
    assert "hunter2" not in "".join(traceback.format_exception(failed.value))
    if isinstance(failed.value, InvalidProxyStatus):
        assert failed.value.response.status_code >= 400


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@in_both_loops
async def test_open_timeout_is_for_the_proxy_too(reply: bytes, scheme: str) -> None:
    """Whether the proxy, the server's TLS or the server is silent."""
    is_gone = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(reply)
        with contextlib.suppress(OSError):
            while await peer.reader.read(65536):
                pass
        is_gone.set()

    async with running(script) as address:
        with pytest.raises(TimeoutError) as late:
            await connect(f"{scheme}://server.example/", proxy=address, open_timeout=0.2)
        assert isinstance(late.value, HandshakeTimeout)
        await is_gone.wait()


@in_both_loops
async def test_a_proxy_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for scheme in ("http", "https", "socks5h", "socks4"):
            with pytest.raises(OSError, match=f"proxy {scheme}://127.0.0.1:{port}") as refused:
                await connect("ws://127.0.0.1/", proxy=f"{scheme}://user:hunter2@127.0.0.1:{port}")
            assert "hunter2" not in str(refused.value)


@in_loop
async def test_a_server_with_another_certificate_is_named_in_the_text() -> None:
    async with (
        serve(echo, "127.0.0.1", 0, ssl=server_tls()) as server,
        running(HTTPProxy()) as address,
    ):
        uri = f"wss://127.0.0.1:{port_of(server)}/"
        with pytest.raises(OSError, match=f"cannot connect to {uri}: its certificate"):
            await connect(uri, proxy=address, ssl=client_tls())


@in_loop
async def test_a_refusal_of_the_server_comes_through() -> None:
    async with (
        serve(echo, "127.0.0.1", 0, process_request=lambda ws, request: ws.respond(404, "")) as server,
        running(HTTPProxy()) as address,
    ):
        with pytest.raises(InvalidStatus, match="404"):
            await connect(uri_of(server), proxy=address)


# SOCKS


async def socks5(peer: RawPeer, port: int, asked: list[Any], user: str | None = None) -> None:
    """RFC 1928, and RFC 1929 for user name and password."""
    _, n_methods = await peer.reader.readexactly(2)
    methods = await peer.reader.readexactly(n_methods)
    if user is None:
        assert 0 in methods
        peer.send(b"\x05\x00")
    else:
        assert 2 in methods
        peer.send(b"\x05\x02")
        _, size = await peer.reader.readexactly(2)
        name = await peer.reader.readexactly(size)
        [size] = await peer.reader.readexactly(1)
        is_right = f"{name.decode()}:{(await peer.reader.readexactly(size)).decode()}" == user
        peer.send(b"\x01\x00" if is_right else b"\x01\x01")
        if not is_right:
            return
    _, _, _, kind = await peer.reader.readexactly(4)
    if kind == 3:
        [size] = await peer.reader.readexactly(1)
        host = (await peer.reader.readexactly(size)).decode()
    else:
        host = socket.inet_ntop(
            socket.AF_INET if kind == 1 else socket.AF_INET6,
            await peer.reader.readexactly(4 if kind == 1 else 16),
        )
    asked.append((host, int.from_bytes(await peer.reader.readexactly(2), "big")))
    peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
    await tunnel(peer, port)


async def socks4(peer: RawPeer, port: int, asked: list[Any]) -> None:
    await peer.reader.readexactly(2)
    their_port = int.from_bytes(await peer.reader.readexactly(2), "big")
    address = await peer.reader.readexactly(4)
    await peer.reader.readuntil(b"\0")
    host = socket.inet_ntop(socket.AF_INET, address)
    if host.startswith("0.0.0."):
        host = (await peer.reader.readuntil(b"\0"))[:-1].decode()
    asked.append((host, their_port))
    peer.send(b"\x00\x5a" + bytes(6))
    await tunnel(peer, port)


@pytest.mark.parametrize(
    ("scheme", "asked_for"),
    [("socks5h", "localhost"), ("socks5", None), ("socks4a", "localhost"), ("socks4", "127.0.0.1")],
)
@pytest.mark.parametrize("is_secure", [False, True])
@in_both_loops
async def test_socks(scheme: str, asked_for: str | None, is_secure: bool) -> None:
    """With "a" and "h" the proxy is told the name, else an address."""
    pytest.importorskip("python_socks")
    asked: list[Any] = []
    async with serve(echo, "127.0.0.1", 0, ssl=server_tls() if is_secure else None) as server:
        port = port_of(server)

        async def script(peer: RawPeer) -> None:
            await (socks4 if scheme.startswith("socks4") else socks5)(peer, port, asked)

        uri = f"{'wss' if is_secure else 'ws'}://localhost:{port}/"
        options = {"ssl": client_tls()} if is_secure else {}
        async with running(script, scheme) as address, connect(uri, proxy=address, **options) as ws:
            await ws.send("a")
            assert await ws.recv() == "a"
    [(host, its_port)] = asked
    assert its_port == port
    assert host == asked_for if asked_for else host in ("127.0.0.1", "::1")


@pytest.mark.parametrize(("user", "is_right"), [("user:hunter2@", True), ("user:hunter3@", False)])
@in_loop
async def test_socks_with_a_password(user: str, is_right: bool) -> None:
    pytest.importorskip("python_socks")
    async with serve(echo, "127.0.0.1", 0) as server:

        async def script(peer: RawPeer) -> None:
            await socks5(peer, port_of(server), [], "user:hunter2")

        async with running(script, "socks5h", user) as address:
            if is_right:
                async with connect(uri_of(server), proxy=address) as ws:
                    await ws.send("a")
                    assert await ws.recv() == "a"
            else:
                with pytest.raises(ProxyError, match="socks5h://127") as refused:
                    await connect(uri_of(server), proxy=address)
                assert "hunter" not in str(refused.value)


@pytest.mark.parametrize("reply", [b"", b"\x05", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\xff"])
@in_loop
async def test_what_is_no_socks_proxy(reply: bytes) -> None:
    pytest.importorskip("python_socks")

    async def script(peer: RawPeer) -> None:
        await peer.reader.read(1)
        peer.send(reply)
        peer.send_eof()
        with contextlib.suppress(OSError):
            await peer.reader.read()

    async with running(script, "socks5h") as address:
        with pytest.raises((ProxyError, OSError)):
            await connect("ws://server.example/", proxy=address)


@in_loop
async def test_without_python_socks_the_text_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if f"{name}.".startswith("python_socks.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ImportError, match=r"wsfast\[socks\]"):
        await connect("ws://127.0.0.1:9/", proxy="socks5://127.0.0.1:9")


# The environment


@pytest.mark.parametrize(
    ("environment", "uri", "proxy"),
    [
        ({}, "ws://h/", None),
        ({"http_proxy": "http://p:1"}, "ws://h/", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "wss://h/", None),
        ({"https_proxy": "http://p:2", "http_proxy": "http://p:1"}, "ws://h/", "http://p:2"),
        ({"HTTPS_PROXY": "http://p:2"}, "wss://h/", "http://p:2"),
        ({"socks_proxy": "http://p:3", "https_proxy": "http://p:2"}, "wss://h/", "socks5h://p:3"),
        ({"socks_proxy": "socks4://p:3"}, "ws://h/", "socks4://p:3"),
        ({"ws_proxy": "http://p:4", "socks_proxy": "http://p:3"}, "ws://h/", "http://p:4"),
        ({"wss_proxy": "http://p:4", "socks_proxy": "http://p:3"}, "wss://h/", "http://p:4"),
        ({"https_proxy": "http://p:2", "no_proxy": "h"}, "wss://h/", None),
        ({"https_proxy": "http://p:2", "no_proxy": "h:444"}, "wss://h/", "http://p:2"),
        ({"https_proxy": "http://p:2", "no_proxy": "example.com,h"}, "wss://a.example.com/", None),
        ({"https_proxy": "http://p:2", "no_proxy": "*"}, "wss://h/", None),
        ({"https_proxy": ""}, "wss://h/", None),
    ],
)
def test_the_environment_is_read_as_websockets_reads_it(
    environment: dict[str, str], uri: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import websockets.proxy
    import websockets.uri

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert get_proxy(parse_uri(uri)) == proxy
    if sys.platform == "linux":
        assert websockets.proxy.get_proxy(websockets.uri.parse_uri(uri)) == proxy


@in_loop
async def test_the_proxy_of_the_environment_is_used_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = HTTPProxy()
    async with serve(echo, "127.0.0.1", 0) as server, running(proxy) as address:
        monkeypatch.setenv("http_proxy", address)
        for options, used in (({}, 1), ({"proxy": True}, 1), ({"proxy": None}, 0), ({"proxy": address}, 1)):
            async with connect(uri_of(server), **options) as ws:  # type: ignore[arg-type]
                await ws.send("a")
                assert await ws.recv() == "a"
            assert len(proxy.requests) == used, options
            proxy.requests.clear()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with connect(uri_of(server)):
            pass
        monkeypatch.delenv("no_proxy")
        # The caller's socket is used as it is.
        sock = socket.create_connection(server.sockets[0].getsockname())
        async with connect(uri_of(server), sock=sock):
            pass
        assert proxy.requests == []
        monkeypatch.setenv("http_proxy", "ftp://user:hunter2@h/")
        with pytest.raises(InvalidProxy) as wrong:
            await connect(uri_of(server))
        assert "hunter2" not in str(wrong.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
@in_loop
async def test_a_unix_socket_needs_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    path = str(tmp_path / "socket")
    async with unix_serve(echo, path), unix_connect(path) as ws:
        await ws.send("a")
        assert await ws.recv() == "a"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("proxy:3128", "http://proxy:3128"),
        ("ftp://h", "http, https"),
        ("", "an empty string"),
        ("http://", "host is missing"),
        ("http://h/path", "after its host"),
        ("http://h?q", "after its host"),
        ("http://h#f", "after its host"),
        ("http://h:x", "[Pp]ort"),
        ("http://h:70000", "[Pp]ort"),
        ("http://user@h", "user:password@"),
        ("http://u:%ff@h", "cannot be encoded"),
        ("http://h\n", "control character"),
        ("http://[::1", "IPv6"),
    ],
)
def test_an_address_that_is_none_is_told_at_the_call(address: str, text: str) -> None:
    with pytest.raises(InvalidProxy, match=text):
        connect("ws://h/", proxy=address)


def test_addresses() -> None:
    assert parse_proxy("http://Proxy.Example") == Proxy("http", "proxy.example", 80)
    assert parse_proxy("https://h/") == Proxy("https", "h", 443)
    assert parse_proxy("socks5h://u:p%40@[::1]:9") == Proxy("socks5h", "::1", 9, "u", "p@")
    assert parse_proxy("socks4://h").port == 1080
    assert parse_proxy("http://bücher.example").host == "xn--bcher-kva.example"
    assert str(parse_proxy("http://u:hunter2@[::1]")) == "http://[::1]:80"
    assert "hunter2" not in repr(parse_proxy("http://u:hunter2@h"))


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"proxy": False}, TypeError),
        ({"proxy": 5}, TypeError),
        ({"proxy": b"http://h"}, TypeError),
        ({"proxy": "https://h", "proxy_ssl": None}, ValueError),
        ({"proxy": "http://h", "proxy_ssl": True}, ValueError),
    ],
)
def test_wrong_arguments_are_told_at_the_call(options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match="proxy"):
        connect("ws://h/", **options)


def test_a_server_has_no_proxy() -> None:
    with pytest.raises(TypeError, match=r"serve\(\) has no argument proxy: a server has none"):
        serve(echo, "127.0.0.1", 0, proxy="http://h")


@pytest.mark.parametrize(
    ("uri", "target", "host"),
    [
        ("ws://server.example/path", "server.example:80", "server.example"),
        ("wss://server.example", "server.example:443", "server.example"),
        ("ws://[::1]:9/", "[::1]:9", "[::1]:9"),
    ],
)
def test_connect_requests(uri: str, target: str, host: str) -> None:
    """RFC 9110 9.3.6: the target has a port, and no path."""
    parsed = parse_uri(uri)
    handshake = ConnectHandshake(parse_proxy("http://p"), parsed, parsed.host, parsed.port, None)
    assert handshake.data_to_send() == f"CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for octet in b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n":
        assert not handshake.done
        handshake.receive_data(bytes([octet]))
    assert handshake.done
    assert handshake.error is None
    handshake.receive_data(b"x")
    assert isinstance(handshake.error, InvalidProxyMessage)
