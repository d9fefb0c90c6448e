"""``route``: handlers by path, with werkzeug's rules."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from asyncio_helpers import in_loop, raw_client, request_with, tcp_client, uri_of

import wsfast
from wsfast import connect, route, unix_connect, unix_route
from wsfast.asyncio.router import Router
from wsfast.asyncio.server import ServerConnection
from wsfast.exceptions import InvalidStatus
from wsfast.http import Request, Response

pytest.importorskip("werkzeug")

from werkzeug.routing import Map, Rule


async def tell(connection: ServerConnection, **arguments: Any) -> None:
    await connection.send(f"{connection.request.path if connection.request else ''} {arguments}")


def rules() -> Map:
    return Map(
        [
            Rule("/", endpoint=tell),
            Rule("/channel/<int:number>", endpoint=tell),
            Rule("/old", redirect_to="/channel/1", endpoint=tell),
            Rule("/folder/", endpoint=tell),
        ]
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "/ {}"),
        ("/?a=b", "/?a=b {}"),
        ("/channel/7", "/channel/7 {'number': 7}"),
        ("/old", "/channel/1 {'number': 1}"),
        ("/folder", "/folder/ {}"),
        ("/folder?a=b", "/folder/?a=b {}"),
    ],
)
@in_loop
async def test_a_path_has_its_handler(path: str, text: str) -> None:
    async with route(rules(), "127.0.0.1", 0) as server, connect(uri_of(server, path)) as ws:
        assert await ws.recv() == text


@pytest.mark.parametrize("path", ["/other", "/channel/x", "/channel/", "//evil.example/", "/%ff", "/\x7f"])
@in_loop
async def test_a_path_without_a_rule_is_404(path: str) -> None:
    request = request_with().replace(b"GET / ", f"GET {path} ".encode())
    async with route(rules(), "127.0.0.1", 0) as server, tcp_client(server) as peer:
        peer.send(request)
        assert (await peer.read_head()).split()[1] in ("404", "400")


@pytest.mark.parametrize("host", ["", "a b", "é", "x" * 3000, "[::1]:9", "a..b"])
@in_loop
async def test_no_host_header_is_an_error_in_the_log(host: str) -> None:
    """A peer chooses it; the test fails if anything is logged as an error."""
    request = request_with().replace(b"Host: localhost", f"Host: {host}".encode("latin-1"))
    for path in (b"/", b"/folder"):
        async with route(rules(), "127.0.0.1", 0) as server, tcp_client(server) as peer:
            peer.send(request.replace(b"GET / ", b"GET " + path + b" "))
            assert (await peer.read_head()).split()[1] in ("101", "302", "308", "400", "404")


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "ws://localhost/folder/"),
        ({"ssl": True}, "wss://localhost/folder/"),
        ({"server_name": "example.com", "ssl": True}, "wss://example.com/folder/"),
    ],
)
@in_loop
async def test_where_redirects_lead(options: dict[str, Any], place: str) -> None:
    async with route(rules(), "127.0.0.1", 0, **options) as server, tcp_client(server) as peer:
        peer.send(request_with().replace(b"GET / ", b"GET /folder "))
        await peer.read_head()
        assert peer.header("Location") == place


@pytest.mark.parametrize("is_async", [False, True])
@in_loop
async def test_process_request_is_asked_first(is_async: bool) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(403, "no\n") if request.path == "/channel/1" else None

    async def refuse_later(connection: ServerConnection, request: Request) -> Response | None:
        await asyncio.sleep(0)
        return refuse(connection, request)

    process_request = refuse_later if is_async else refuse
    async with route(rules(), "127.0.0.1", 0, process_request=process_request) as server:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(uri_of(server, "/channel/1"))
        async with connect(uri_of(server, "/channel/2")) as ws:
            assert await ws.recv() == "/channel/2 {'number': 2}"


@in_loop
async def test_a_router_of_ones_own() -> None:
    class Own(Router):
        def not_found(self, connection: ServerConnection) -> Response:
            return connection.respond(410, "gone\n")

    async with route(rules(), "127.0.0.1", 0, create_router=Own) as server:
        with pytest.raises(InvalidStatus, match="410"):
            await connect(uri_of(server, "/other"))
        async with raw_client(server) as peer:
            assert (await peer.receive()).payload == b"/ {}"


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
@in_loop
async def test_unix_route(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with unix_route(rules(), path), unix_connect(path, "ws://localhost/channel/3") as ws:
        assert await ws.recv() == "/channel/3 {'number': 3}"


def test_without_werkzeug_the_call_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if f"{name}.".startswith("werkzeug.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "werkzeug", None)
    with pytest.raises(ImportError, match=r"wsfast\[router\]"):
        wsfast.route(None)  # type: ignore[arg-type]
