"""What is logged of a connection: its beginning and end at INFO; handshakes and frames at DEBUG, made fit to print."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import websockets.asyncio.client
from asyncio_helpers import (
    RawPeer,
    echo,
    in_both_loops,
    in_loop,
    raw_client,
    raw_server,
    request_with,
    tcp_client,
    uri_of,
    wire,
    without_io,
)
from helpers import BINARY, CLOSE, PING, TEXT

from wsfast import connect, serve
from wsfast.asyncio.connection import Connection
from wsfast.asyncio.server import ServerConnection
from wsfast.asyncio.tracing import _Transport
from wsfast.codec import Role
from wsfast.exceptions import InvalidStatus


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


@in_both_loops
async def test_info_tells_that_a_connection_was_opened_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    """In the words of websockets; and why one was not opened."""
    caplog.set_level(logging.INFO, "wsfast")
    async with serve(
        echo,
        "127.0.0.1",
        0,
        process_request=lambda ws, request: None if request.path == "/" else ws.respond(404, ""),
    ) as server:
        async with connect(uri_of(server)) as ws:
            await ws.send("not told")
            await ws.recv()
        with pytest.raises(InvalidStatus):
            await connect(uri_of(server, "/other"))
    assert lines(caplog, "wsfast.client") == ["connection open", "connection closed"]
    told = [line for line in lines(caplog, "wsfast.server") if not line.startswith("server ")]
    assert sorted(told) == ["connection closed", "connection open", "connection rejected (404 Not Found)"]
    assert {record.levelname for record in caplog.records if record.name.startswith("wsfast")} == {"INFO"}


@in_both_loops
async def test_debug_tells_handshakes_and_frames(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send(await ws.recv())
        await ws.send(["가", "나"])
        await ws.close(4000, "끝")

    caplog.set_level(logging.DEBUG, "wsfast")
    async with serve(handler, "127.0.0.1", 0) as server:
        headers = {"Authorization": "Basic hunter2", "Cookie": "hunter2", "X-Other": "told"}
        async with connect(uri_of(server, "/path?a=b"), additional_headers=headers) as ws:
            await ws.send("x" * 1000)
            await ws.recv()
            await ws.send(bytes(100))
            await ws.wait_closed()
    client, told = lines(caplog, "wsfast.client"), lines(caplog, "wsfast.server")
    assert client[0] == "> GET /path?a=b HTTP/1.1"
    assert "> X-Other: told" in client
    assert "> Authorization: ***" in client
    assert "< HTTP/1.1 101 Switching Protocols" in client
    assert "> TEXT '" + "x" * 75 + "...' [1000 bytes]" in client
    assert "> BINARY " + "00 " * 25 + "... [100 bytes]" in client
    assert "< TEXT '가' [3 bytes, continued]" in client
    assert "< CONT '나' [3 bytes, continued]" in client
    assert "< CLOSE 4000 끝 [5 bytes]" in client
    assert "> CLOSE 4000 끝 [5 bytes]" in client
    assert client[-2:] in (["< end of TCP", "connection closed"], ["< EOF", "connection closed"])
    assert "< GET /path?a=b HTTP/1.1" in told
    assert "> CLOSE 4000 끝 [5 bytes]" in told
    assert "hunter2" not in "\n".join(client + told)


@in_loop
async def test_debug_does_not_change_what_is_received(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsfast")
    messages = ["", "a", "é" * 70_000, b"", b"\xff" * 300_000, "b" * 500_000]
    async with (
        serve(echo, "127.0.0.1", 0, compression="deflate") as server,
        websockets.asyncio.client.connect(uri_of(server), proxy=None) as theirs,
        connect(uri_of(server)) as ws,
    ):
        for each in (theirs, ws):
            for message in messages:
                await each.send(message)
                assert await each.recv() == message
    assert any("compressed" in line for line in lines(caplog, "wsfast.server"))
    assert max(map(len, lines(caplog, "wsfast.server"))) < 500


EVIL = "\x1b[31m\x9b\u202e\u2028\x00"


@in_loop
async def test_nothing_of_a_peer_is_logged_raw(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsfast")

    async def script(peer: RawPeer) -> None:
        peer.send(
            peer.frame(TEXT, EVIL),
            peer.frame(PING, "\x1b[0m"),
            peer.frame(BINARY, EVIL),
            peer.close_frame(4000, EVIL),
        )
        while (await peer.receive()).opcode != CLOSE:
            pass

    async with raw_server(script) as server, connect(uri_of(server)) as ws:
        await ws.wait_closed()
    async with serve(echo, "127.0.0.1", 0) as ours:
        for junk in (
            request_with("X: \x9b"),
            b"GET /\x1b[31m HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x00\x1b" * 9 + b"\r\n\r\n",
            b"\x1b" * 20_000,
        ):
            async with tcp_client(ours) as peer:
                peer.send(junk)
                peer.send_eof()
                await peer.reader.read()
    assert len(caplog.records) > 30
    for record in caplog.records:
        if record.name.startswith("wsfast"):
            assert record.getMessage().isprintable()
            assert len(record.getMessage()) < 1200


@in_loop
async def test_records_have_the_connection_as_websocket(caplog: pytest.LogCaptureFixture) -> None:
    """So an adapter of the application can add what it knows of the connection."""

    class WithId(logging.LoggerAdapter[Any]):
        def process(self, msg: str, kwargs: Any) -> Any:
            connection = kwargs.get("extra", {}).get("websocket")
            return (msg if connection is None else f"{connection.id} {msg}"), kwargs

    caplog.set_level(logging.INFO, "mine")
    ids: list[str] = []

    async def handler(ws: ServerConnection) -> None:
        ids.append(str(ws.id))
        ws.logger.info("of the application")
        await ws.close()

    adapter = WithId(logging.getLogger("mine"), None)
    async with serve(handler, "127.0.0.1", 0, logger=adapter) as server, connect(uri_of(server)) as ws:
        await ws.wait_closed()
    told = [line for line in lines(caplog, "mine") if "server" not in line]
    assert told == [
        f"{ids[0]} {text}" for text in ("connection open", "of the application", "connection closed")
    ]


@in_loop
async def test_nothing_stands_between_if_debug_is_off(caplog: pytest.LogCaptureFixture) -> None:
    found: list[type] = []

    async def handler(ws: Connection) -> None:
        found.append(type(ws.transport))

    for level in (logging.INFO, logging.DEBUG):
        caplog.set_level(level, "wsfast")
        async with serve(handler, "127.0.0.1", 0) as server, raw_client(server) as peer:
            await peer.close_handshake()
    assert [each is _Transport for each in found] == [False, True]


@without_io
async def test_a_transport_of_ones_own_that_has_no_set_protocol(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsfast")
    wired = wire(Role.SERVER)
    wired.receive_text("a")
    assert await wired.connection.recv() == "a"
    await wired.connection.send("b")
    assert lines(caplog, "wsfast") == ["> TEXT 'b' [1 byte]"]
    wired.transport.abort()
