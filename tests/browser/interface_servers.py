"""The servers of ``test_websocket_interface.py``: two of ours, and one that writes raw bytes, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

from asyncio_helpers import accept_of
from helpers import BINARY, CLOSE, CONTINUATION, KEY, PING, TEXT, frame, join

import wsfast
from wsfast.asyncio.server import ServerConnection

OK = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n"

REFUSALS = {
    "/403": "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "/200": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/302": "HTTP/1.1 302 Found\r\nLocation: /empty-close\r\nContent-Length: 0\r\n\r\n",
    "/no-http": "hello\r\n\r\n",
    "/wrong-accept": OK.format("A" * 27 + "=") + "\r\n",
    "/no-accept": OK.replace("Sec-WebSocket-Accept: {}\r\n", "") + "\r\n",
    "/no-upgrade": OK.replace("Upgrade: websocket\r\n", "") + "\r\n",
    "/hang-up": "",
}
"""Answers that open nothing. {} is the right value of Sec-WebSocket-Accept."""

HEADERS = {
    "/strange-extension": "Sec-WebSocket-Extensions: x-strange\r\n",
    "/strange-protocol": "Sec-WebSocket-Protocol: strange\r\n",
}

FRAMES = {
    "/empty-close": frame(CLOSE),
    "/early": join(frame(TEXT, "early"), frame(CLOSE, b"\x0b\xb8bye")),
    "/fragments": join(
        frame(TEXT, "one ", fin=False),
        frame(PING, "?"),
        frame(CONTINUATION, "message"),
        frame(CLOSE, b"\x03\xe8"),
    ),
    "/pings": join(frame(PING, "?"), frame(0xA, "!"), frame(CLOSE, b"\x03\xe8")),
    "/mixed": join(frame(TEXT, "a"), frame(BINARY, b"\x00\xff"), frame(TEXT, ""), frame(CLOSE, b"\x03\xe8")),
    "/reserved-bits": join(frame(TEXT, "before"), b"\xc1\x01x"),
    "/reserved-opcode": b"\x83\x00",
    "/masked": frame(TEXT, "masked", key=KEY),
    "/not-utf-8": frame(TEXT, b"\xff"),
    "/continuation": frame(CONTINUATION, "x"),
    "/close-1005": frame(CLOSE, b"\x03\xed"),
    "/close-1006": frame(CLOSE, b"\x03\xee"),
    "/close-1015": frame(CLOSE, b"\x03\xf7"),
    "/close-1001": frame(CLOSE, b"\x03\xe9"),
    "/close-1011": frame(CLOSE, b"\x03\xf3broken"),
    "/close-4999": frame(CLOSE, b"\x13\x87"),
    "/close-one-byte": frame(CLOSE, b"\x03"),
    "/close-not-utf-8": frame(CLOSE, b"\x03\xe8\xff"),
}
"""Written after the opening handshake; then the peer's answer is read, and TCP closed."""


async def serve_raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split()[1]
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        accept = accept_of(lines["Sec-WebSocket-Key"])
        if path == "/silent":
            await reader.read()
        elif path in REFUSALS:
            writer.write(REFUSALS[path].format(accept).encode())
        else:
            writer.write(
                (OK.format(accept) + HEADERS.get(path, "") + "\r\n").encode() + FRAMES.get(path, b"")
            )
            if path == "/reset":
                writer.transport.abort()
            elif path == "/mute":
                await reader.read()
            elif path != "/end":
                await reader.read(1)
    writer.close()


async def serve_one(connection: ServerConnection) -> None:
    """Do what the path says, and then echo."""
    assert connection.request is not None
    url = urlsplit(connection.request.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    if url.path == "/header":
        await connection.send(connection.request.headers.get(query["name"], "none"))
    elif url.path == "/path":
        await connection.send(connection.request.path)
    elif url.path == "/count":
        for number in range(int(query["n"])):
            await connection.send(str(number))
    elif url.path == "/close":
        await connection.close(int(query["code"]), query.get("reason", ""))
    elif url.path == "/last-words":
        await connection.send("last words")
        await connection.close(3000, "said")
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[dict[str, str]]:
    """Run the servers; yields their hosts by the names that the checks have for them."""

    def serve(compression: str | None) -> wsfast.asyncio.Server:
        return wsfast.serve(
            serve_one, "127.0.0.1", 0, compression=compression, subprotocols=["chat", "superchat"]
        )

    raw = await asyncio.start_server(serve_raw, "127.0.0.1", 0)
    async with serve(None) as plain, serve("deflate") as deflate:
        servers = {"PLAIN": plain, "DEFLATE": deflate, "RAW": raw}
        try:
            yield {
                name: f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for name, server in servers.items()
            }
        finally:
            raw.close()
