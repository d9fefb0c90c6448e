"""``wsfast.sync.connect`` through proxies: HTTP CONNECT, over TLS too, and SOCKS; the proxies are those of asyncio."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from asyncio_helpers import RawPeer, client_tls, echo, in_loop, port_of, server_tls, uri_of
from test_asyncio_proxy import HTTPProxy, running, socks4, socks5

from wsfast import serve
from wsfast.exceptions import HandshakeTimeout, InvalidProxyMessage, InvalidProxyStatus, ProxyError
from wsfast.sync import connect


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def exchange(uri: str, **options: Any) -> None:
    with connect(uri, **options) as ws:
        for message in ("a", "b" * 300_000):
            ws.send(message)
            assert ws.recv(timeout=20) == message


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_secure", [False, True])
@in_loop
async def test_an_http_proxy(scheme: str, is_secure: bool) -> None:
    """Over https:// wss:// is TLS within TLS, each with the name of its server."""
    options: dict[str, Any] = {"ssl": client_tls()} if is_secure else {}
    if scheme == "https":
        options |= {"proxy_ssl": client_tls(), "proxy_server_hostname": "proxy.example"}
    tls = {"ssl": server_tls("proxy.example")} if scheme == "https" else {}
    proxy = HTTPProxy("us er:p:w")
    async with (
        serve(echo, "127.0.0.1", 0, ssl=server_tls() if is_secure else None) as server,
        running(proxy, scheme, user="us%20er:p%3Aw@", **tls) as address,
    ):
        uri = f"wss://localhost:{port_of(server)}/" if is_secure else uri_of(server)
        await asyncio.to_thread(exchange, uri, proxy=address, **options)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("scheme", ["socks5h", "socks5", "socks4a", "socks4"])
@in_loop
async def test_a_socks_proxy(scheme: str) -> None:
    pytest.importorskip("python_socks")
    asked: list[Any] = []
    async with serve(echo, "127.0.0.1", 0) as server:
        port = port_of(server)

        async def script(peer: RawPeer) -> None:
            await (socks4 if scheme.startswith("socks4") else socks5)(peer, port, asked)

        async with running(script, scheme) as address:
            await asyncio.to_thread(exchange, f"ws://localhost:{port}/", proxy=address)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"HTTP/1.1 403 No Way\r\n\r\n", InvalidProxyStatus),
        (b"SSH-2.0-x\r\n\r\n", InvalidProxyMessage),
        (b"", InvalidProxyMessage),
    ],
)
@in_loop
async def test_a_proxy_that_does_not_connect(reply: bytes, kind: type[ProxyError]) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.send(reply)

    async with running(script) as address:
        with pytest.raises(kind):
            await asyncio.to_thread(connect, "ws://localhost:9/", proxy=address)


@in_loop
async def test_open_timeout_is_for_the_proxy_too() -> None:
    done = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await done.wait()

    async with running(script) as address:
        for proxy in (address, address.replace("http:", "socks5:")):
            if proxy.startswith("socks"):
                pytest.importorskip("python_socks")
            with pytest.raises(HandshakeTimeout):
                await asyncio.to_thread(connect, "ws://localhost:9/", proxy=proxy, open_timeout=0.1)
        done.set()
