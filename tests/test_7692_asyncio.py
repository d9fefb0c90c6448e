"""RFC 7692 in the asyncio API, over both codecs: ``connect``, ``serve``, ``send``, ``broadcast``; and with other
people's clients and servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import aiohttp
import aiohttp.web
import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from asyncio_helpers import FakeTransport, in_both_loops, in_loop, port_of, turns, uri_of, without_io
from helpers import BINARY, TEXT, frame
from test_7692_messages import NO_TAKEOVER, RSV1, TAKEOVER, Compressor, Reader, agree
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

import wsfast
import wsfast.exceptions
from wsfast.asyncio.client import connect
from wsfast.asyncio.connection import Connection
from wsfast.asyncio.server import ServerConnection, serve
from wsfast.connection import Connection as Protocol
from wsfast.deflate import Agreement, Deflate
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosedError

HOST = "127.0.0.1"
EXTENSIONS = "Sec-WebSocket-Extensions"
MAX_SIZE = 2**21
MESSAGES: list[Any] = [
    "",
    b"",
    "안녕 🚀",
    "안녕 🚀" * 100,
    b"\x00\xff" * 100,
    random.Random(1).randbytes(70_000),
    b"z" * 500_000,
    "안녕하세요 " * 30_000,
]


@pytest.fixture(autouse=True)
def over_both_codecs(connection_codec: ModuleType) -> None:
    pass


def compressing(role: Role = Role.SERVER, agreement: Agreement | None = None) -> Connection:
    """A connection that is open and has an agreement, without a socket."""
    connection = Connection(Protocol(role, compression=agreement or agree()), ping_interval=None)
    connection.connection_made(FakeTransport(connection, role))
    return connection


def written(connection: Connection) -> list[bytes]:
    transport = connection.transport
    assert isinstance(transport, FakeTransport)
    writes = list(transport.writes)
    transport.writes.clear()
    return writes


# Sending


@without_io
async def test_send_compresses_from_the_threshold_on_unless_told() -> None:
    """RFC 7692 6."""
    connection, reader = compressing(), Reader(Role.SERVER)
    for data, compress, expected in [
        ("m" * 127, None, False),
        ("m" * 128, None, True),
        ("m", True, True),
        ("m" * 1000, False, False),
        (["m" * 128, "m"], None, True),
        (["m", "m" * 128], None, False),
        (["m", "m"], True, True),
        (["m" * 128, "m"], False, False),
    ]:
        options: dict[str, Any] = {} if compress is None else {"compress": compress}
        await connection.send(data, **options)
        assert reader.read(*written(connection)) == (TEXT, "".join(data).encode(), expected)
    await connection.send("text" * 50, text=False, compress=True)
    assert reader.read(*written(connection)) == (BINARY, b"text" * 50, True)


@without_io
async def test_without_an_agreement_compress_has_no_effect() -> None:
    """RFC 6455 5.2."""
    connection = Connection(Protocol(Role.SERVER), ping_interval=None)
    connection.connection_made(FakeTransport(connection, Role.SERVER))
    assert connection.compression is None
    for message in ("m" * 1000, ["m" * 500, "m" * 500]):
        await connection.send(message, compress=True)
        assert Reader(Role.SERVER).read(*written(connection)) == (TEXT, b"m" * 1000, False)


@without_io
async def test_cancelling_send_loses_nothing_of_the_stream() -> None:
    """RFC 7692 7.2.1: what was compressed is written before anything is waited for."""
    connection, reader = compressing(), Reader(Role.SERVER)
    connection.pause_writing()
    data = random.Random(1).randbytes(300)
    for message in (data, [data, data], data):
        sending = asyncio.create_task(connection.send(message))
        await turns(3)
        assert not sending.done()
        sending.cancel()
        await turns(2)
        assert sending.cancelled()
        if message is data:
            assert reader.read(*written(connection)) == (BINARY, data, True)
        else:
            break  # a message of fragments cannot be left unfinished
    assert connection.protocol.close_sent is not None
    assert connection.protocol.close_sent.code == 1011
    connection.transport.abort()
    await connection.wait_closed()


@without_io
async def test_a_mistake_in_the_middle_of_sending_changes_nothing() -> None:
    """RFC 7692 7.2.1."""
    connection, reader = compressing(), Reader(Role.SERVER)
    with pytest.raises(UnicodeEncodeError):
        await connection.send("m" * 500 + "\ud800")
    with pytest.raises(ValueError, match="UTF-8"):
        await connection.send(b"m" * 500 + b"\xff", text=True)
    assert written(connection) == []
    await connection.send("m" * 500)
    assert reader.read(*written(connection)) == (TEXT, b"m" * 500, True)


class CountingEngine:
    """zlib, which counts the messages that are compressed."""

    error = zlib.error
    decompressobj = staticmethod(zlib.decompressobj)

    def __init__(self) -> None:
        self.n_messages = 0

    def compressobj(self, *args: Any, **options: Any) -> Any:
        context, engine = zlib.compressobj(*args, **options), self

        class Context:
            flush = staticmethod(context.flush)

            def compress(self, data: bytes) -> bytes:
                engine.n_messages += 1
                return context.compress(data)

        return Context()


@without_io
async def test_broadcast_compresses_once_where_it_can() -> None:
    """RFC 7692 7.1.1: without context takeover messages are the same for all; a client masks its own."""
    engine = CountingEngine()
    shared, own = agree(NO_TAKEOVER, engine=engine), agree(TAKEOVER, engine=engine)
    other = agree(NO_TAKEOVER, engine=engine, level=1)
    plain = Connection(Protocol(Role.SERVER), ping_interval=None)
    plain.connection_made(FakeTransport(plain, Role.SERVER))
    groups = [
        *((compressing(agreement=shared), Reader(Role.SERVER, takeover=False), True) for _ in range(5)),
        *((compressing(agreement=other), Reader(Role.SERVER, takeover=False), True) for _ in range(2)),
        *((compressing(agreement=own), Reader(Role.SERVER), True) for _ in range(3)),
        *((compressing(Role.CLIENT, shared), Reader(Role.CLIENT, takeover=False), True) for _ in range(2)),
        (plain, Reader(Role.SERVER), False),
    ]
    for message in ("m" * 1000, "n" * 1000, "m" * 1000):
        engine.n_messages = 0
        wsfast.broadcast([connection for connection, _, _ in groups], message)
        for connection, reader, is_compressed in groups:
            assert reader.read(*written(connection)) == (TEXT, message.encode(), is_compressed)
        assert engine.n_messages == 1 + 1 + 3 + 2
    wsfast.broadcast([connection for connection, _, _ in groups], "small")
    for connection, reader, _ in groups:
        assert reader.read(*written(connection)) == (TEXT, b"small", False)


@without_io
async def test_broadcast_and_send_share_a_context() -> None:
    """RFC 7692 7.2.1: in the order in which they are written."""
    connection, reader = compressing(), Reader(Role.SERVER)
    data = random.Random(1).randbytes(300)
    await connection.send(data)
    wsfast.broadcast([connection], data)
    await connection.send(data)
    frames = written(connection)
    assert [reader.read(one) for one in frames] == [(BINARY, data, True)] * 3
    assert all(len(one) < 50 for one in frames[1:])


# Receiving


@without_io
async def test_a_bomb_ends_the_connection_behind_the_messages_before_it() -> None:
    """RFC 6455 10.4, 7.4.1."""
    connection = compressing()
    compressor = Compressor()
    key = b"\x01\x02\x03\x04"
    good = frame(TEXT, compressor.payload("good"), rsv=RSV1, key=key)
    connection.data_received(good + frame(TEXT, compressor.payload(bytes(2**22)), rsv=RSV1, key=key))
    assert await connection.recv() == "good"
    receiving = asyncio.create_task(connection.recv())
    await turns(3)
    assert connection.protocol.close_sent is not None
    assert connection.protocol.close_sent.code == 1009
    connection.transport.abort()
    with pytest.raises(ConnectionClosedError, match="1009"):
        await receiving


# Both ends ours


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


SETTINGS: list[Any] = [
    "deflate",
    Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
    Deflate(server_max_window_bits=9, client_max_window_bits=9, threshold=0, level=1),
    Deflate(server_max_window_bits=15, client_max_window_bits=15, mem_level=9),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@in_both_loops
async def test_connect_and_serve(settings: Any) -> None:
    """RFC 7692 5.1, 6."""
    async with (
        serve(echo, HOST, 0, compression=settings, max_size=MAX_SIZE) as server,
        connect(uri_of(server), compression=settings, max_size=MAX_SIZE) as ws,
    ):
        assert ws.compression is not None
        assert ws.response is not None
        assert ws.response.headers[EXTENSIONS] == ws.compression.response
        for message in MESSAGES:
            for compress in (None, True, False):
                await ws.send(message, compress=compress)
                received = await ws.recv()
                assert received == message
                assert type(received) is type(message)
        await ws.send(["가" * 100, "나", ""])
        assert await ws.recv() == "가" * 100 + "나"


HONEST: list[Any] = [
    pytest.param(b"pattern!" * 524_288, id="a pattern"),
    pytest.param(b"\xff" * (1920 * 1080 * 4), id="a white canvas"),
    pytest.param("one line of a log\n" * 120_000, id="a repeated line"),
    pytest.param("[null, null, null, null],\n" * 100_000, id="rows of nulls"),
]


@pytest.mark.parametrize("message", HONEST)
@in_loop
async def test_honest_messages_that_deflate_well_pass(message: Any, connection_codec: ModuleType) -> None:
    """10.4: a size is limited, a ratio is not: these have 300 to 1,000 times of what is received of them."""
    async with (
        serve(echo, HOST, 0, compression="deflate", max_size=2**24) as server,
        connect(uri_of(server), compression="deflate", max_size=2**24) as ws,
    ):
        await ws.send(message, compress=True)
        assert await ws.recv() == message


@in_loop
async def test_one_end_without_compression() -> None:
    """RFC 7692 5.1: then there is none."""
    for ours, theirs in (("deflate", None), (None, "deflate")):
        async with (
            serve(echo, HOST, 0, compression=ours) as server,
            connect(uri_of(server), compression=theirs) as ws,
        ):
            assert ws.compression is None
            assert ws.response is not None
            assert EXTENSIONS not in ws.response.headers
            await ws.send("m" * 1000, compress=True)
            assert await ws.recv() == "m" * 1000


@in_loop
async def test_process_response_can_decline() -> None:
    """RFC 7692 5.1: by leaving the header out."""

    def decline(connection: Any, request: Any, response: Any) -> None:
        del response.headers[EXTENSIONS]

    async with (
        serve(echo, HOST, 0, compression="deflate", process_response=decline) as server,
        connect(uri_of(server), compression="deflate") as ws,
    ):
        assert ws.compression is None
        await ws.send("m" * 1000)
        assert await ws.recv() == "m" * 1000


def test_wrong_settings_are_heard_at_once() -> None:
    """And not from each connection."""
    with pytest.raises(ValueError, match="compression is"):
        serve(echo, HOST, 0, compression="gzip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="compression is"):
        connect("ws://localhost/", compression="gzip")  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", range(8, 16))
@in_both_loops
async def test_every_window_in_both_directions(connection_codec: ModuleType, bits: int) -> None:
    """RFC 7692 7.1.2: 8 to 15."""
    config = Deflate(server_max_window_bits=bits, client_max_window_bits=bits)
    async with (
        serve(echo, HOST, 0, compression=config) as server,
        connect(uri_of(server), compression=config) as ws,
    ):
        assert ws.compression is not None
        assert ws.compression.server_max_window_bits == ws.compression.client_max_window_bits == bits
        text = "".join(f"{number:03}" for number in range(1000)) * 3
        for _ in range(3):
            await ws.send(text)
            assert await ws.recv() == text


# Other people's


@contextlib.asynccontextmanager
async def our_server(compression: Any = "deflate") -> AsyncIterator[int]:
    async def handler(connection: ServerConnection) -> None:
        assert connection.compression is not None, "the client's offer was not accepted"
        await echo(connection)

    async with serve(handler, HOST, 0, compression=compression, max_size=MAX_SIZE) as server:
        yield port_of(server)


FACTORIES: list[dict[str, Any]] = [
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 9, "client_max_window_bits": 9},
    {"server_max_window_bits": 15},
]


@pytest.mark.parametrize("factory", FACTORIES, ids=str)
@in_loop
async def test_websockets_client(factory: dict[str, Any]) -> None:
    """RFC 7692 7: it checks our response strictly."""
    extensions = [ClientPerMessageDeflateFactory(**{"client_max_window_bits": True, **factory})]
    async with (
        our_server() as port,
        websockets.asyncio.client.connect(
            f"ws://{HOST}:{port}/", compression=None, extensions=extensions, max_size=MAX_SIZE, proxy=None
        ) as ws,
    ):
        assert ws.protocol.extensions
        for message in MESSAGES * 2:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["가" * 100, "나", ""])
        assert await ws.recv() == "가" * 100 + "나"


@pytest.mark.parametrize("factory", FACTORIES, ids=str)
@pytest.mark.parametrize("settings", [*SETTINGS[:3], Deflate(server_max_window_bits=10)], ids=str)
@in_loop
async def test_websockets_server(factory: dict[str, Any], settings: Any) -> None:
    """RFC 7692 7: we check its response strictly."""

    async def handler(ws: Any) -> None:
        assert ws.protocol.extensions
        async for message in ws:
            await ws.send(message)
            await ws.send([message, message])

    server = await websockets.asyncio.server.serve(
        handler,
        HOST,
        0,
        compression=None,
        extensions=[ServerPerMessageDeflateFactory(**factory)],
        max_size=MAX_SIZE,
    )
    async with server:
        port = next(iter(server.sockets)).getsockname()[1]
        uri = f"ws://{HOST}:{port}/"
        async with connect(uri, compression=settings, max_size=MAX_SIZE) as ws:
            assert ws.compression is not None
            for message in MESSAGES * 2:
                await ws.send(message)
                assert await ws.recv() == message
                assert await ws.recv() == message * 2


@in_loop
async def test_a_server_whose_response_does_not_fit() -> None:
    """RFC 7692 7.1.2.2: a server that answers for another offer is not believed."""

    def change(connection: Any, request: Any, response: Any) -> None:
        del response.headers[EXTENSIONS]
        response.headers[EXTENSIONS] = "permessage-deflate; client_max_window_bits=7"

    async def handler(ws: Any) -> None:
        await ws.wait_closed()

    server = await websockets.asyncio.server.serve(handler, HOST, 0, process_response=change)
    async with server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(wsfast.exceptions.NegotiationError, match="is not a number from 8 to 15"):
            await connect(f"ws://{HOST}:{port}/", compression="deflate")


@pytest.mark.parametrize("compress", [15, 9])
@in_loop
async def test_aiohttp_client(compress: int) -> None:
    async with (
        our_server() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{HOST}:{port}/", max_msg_size=MAX_SIZE, compress=compress) as ws,
    ):
        assert ws.compress
        for message in MESSAGES * 2:
            await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
            assert (await ws.receive()).data == message


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@in_loop
async def test_aiohttp_server(settings: Any) -> None:
    async def handler(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        ws = aiohttp.web.WebSocketResponse(compress=True, max_msg_size=MAX_SIZE)
        await ws.prepare(request)
        assert ws.compress
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                await ws.send_str(message.data)
            else:
                await ws.send_bytes(message.data)
        return ws

    app = aiohttp.web.Application()
    app.router.add_get("/", handler)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    try:
        site = aiohttp.web.TCPSite(runner, HOST, 0)
        await site.start()
        port = runner.addresses[0][1]
        async with connect(f"ws://{HOST}:{port}/", compression=settings, max_size=MAX_SIZE) as ws:
            assert ws.compression is not None
            for message in MESSAGES * 2:
                await ws.send(message)
                assert await ws.recv() == message
    finally:
        await runner.cleanup()
