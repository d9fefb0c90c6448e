"""Other people's clients and servers: ``websockets`` and ``aiohttp``, each in both roles, over both codecs.

They check a fact that no section has: two independent readings of RFC 6455 agree.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import aiohttp
import aiohttp.web
import pytest
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions
from asyncio_helpers import in_both_loops, in_loop, port_of

from wsfast.asyncio.client import connect
from wsfast.asyncio.server import ServerConnection, serve
from wsfast.events import Close
from wsfast.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

HOST = "127.0.0.1"

MIXED = ("웹소켓으로 이야기해요 🚀👩🏽‍💻 " * 30_000).encode()[: 2**20].decode(errors="ignore")
"""1 MiB of Korean and emoji, but for the bytes of the character that was cut."""

MESSAGES = ["", b"", "안녕 🚀", b"\x00\xff", "x" * 125, "x" * 126, b"y" * 65_535, b"z" * 65_536, MIXED]

CODES = [(1000, ""), (1001, "bye"), (3000, "가" * 41), (4999, "x" * 123), (1011, "내부 오류")]

MAX_SIZE = 2**21

SUBPROTOCOLS = ("v12.stomp", "v11.stomp", "v10.stomp")


@pytest.fixture(autouse=True)
def over_both_codecs(connection_codec: ModuleType) -> None:
    pass


# Our server


@contextlib.asynccontextmanager
async def our_server(**options: Any) -> AsyncIterator[int]:
    """Echo; "close CODE REASON" closes; what closed each connection is checked by the client."""

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                await connection.close(int(code), reason)
            else:
                await connection.send(message)

    async with serve(handler, HOST, 0, max_size=MAX_SIZE, **options) as server:
        yield port_of(server)


@in_both_loops
async def test_websockets_client_echo() -> None:
    async with (
        our_server() as port,
        websockets.asyncio.client.connect(f"ws://{HOST}:{port}/", max_size=MAX_SIZE) as ws,
    ):
        assert ws.response is not None
        assert "Sec-WebSocket-Extensions" not in ws.response.headers, "it offered permessage-deflate"
        for message in MESSAGES:
            await ws.send(message)
            received = await ws.recv()
            assert received == message
            assert type(received) is type(message)
        await asyncio.wait_for(await ws.ping(b"payload"), 10)
        await ws.send(["한", "글", ""])
        assert await ws.recv() == "한글"
        await ws.send([b"a", b"b"])
        assert await ws.recv() == b"ab"


@pytest.mark.parametrize(("code", "reason"), CODES)
@in_loop
async def test_websockets_client_close(code: int, reason: str) -> None:
    """7.1.5, 7.1.6: both ways, whole."""
    async with our_server() as port:
        async with websockets.asyncio.client.connect(f"ws://{HOST}:{port}/") as ws:
            await ws.send("before")
            assert await ws.recv() == "before"
            await ws.close(code, reason)
        assert (ws.close_code, ws.close_reason) == (code, reason)
        async with websockets.asyncio.client.connect(f"ws://{HOST}:{port}/") as ws:
            await ws.send(f"close {code} {reason}")
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd == websockets.frames.Close(code, reason)
            assert closed.value.rcvd_then_sent is True


@in_loop
async def test_websockets_client_subprotocol_and_origin() -> None:
    async with our_server(subprotocols=SUBPROTOCOLS, origins=["https://own.test"]) as port:
        offers: Any = ["v10.stomp", "v11.stomp"]
        uri = f"ws://{HOST}:{port}/"
        connection = websockets.asyncio.client.connect(uri, subprotocols=offers, origin="https://own.test")  # type: ignore[arg-type]
        async with connection as ws:
            assert ws.subprotocol == "v10.stomp"
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await websockets.asyncio.client.connect(uri, origin="https://foreign.test")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


@in_both_loops
async def test_aiohttp_client_echo() -> None:
    async with (
        our_server() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://{HOST}:{port}/", max_msg_size=MAX_SIZE, compress=15, autoping=False
        ) as ws,
    ):
        for message in MESSAGES:
            await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
            received = await ws.receive()
            assert received.type is (
                aiohttp.WSMsgType.TEXT if isinstance(message, str) else aiohttp.WSMsgType.BINARY
            )
            assert received.data == message
        await ws.ping(b"payload")
        pong = await ws.receive()
        assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"payload")
        assert ws.compress == 0, "it offered permessage-deflate"


@pytest.mark.parametrize(("code", "reason"), CODES)
@in_loop
async def test_aiohttp_client_close(code: int, reason: str) -> None:
    async with our_server() as port, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://{HOST}:{port}/") as ws:
            await ws.close(code=code, message=reason.encode())
            assert ws.close_code == code
        async with session.ws_connect(f"http://{HOST}:{port}/") as ws:
            await ws.send_str(f"close {code} {reason}")
            received = await ws.receive()
            assert received.type is aiohttp.WSMsgType.CLOSE
            assert (received.data, received.extra) == (code, reason)


@in_loop
async def test_aiohttp_client_subprotocol() -> None:
    async with (
        our_server(subprotocols=["v11.stomp", "v10.stomp"]) as port,
        aiohttp.ClientSession() as session,
    ):
        offers = ("v10.stomp", "v11.stomp")
        async with session.ws_connect(f"http://{HOST}:{port}/", protocols=offers) as ws:
            assert ws.protocol == "v10.stomp"


# Our client

Ends = asyncio.Queue[tuple[int | None, str | None]]
OtherServer = Callable[[Ends], contextlib.AbstractAsyncContextManager[int]]


@contextlib.asynccontextmanager
async def websockets_server(ends: Ends) -> AsyncIterator[int]:
    async def handler(ws: websockets.asyncio.server.ServerConnection) -> None:
        try:
            async for message in ws:
                if isinstance(message, str) and message.startswith("close "):
                    _, code, reason = message.split(" ", 2)
                    await ws.close(int(code), reason)
                elif message == "fragments":
                    await ws.send(["한", "글", ""])
                elif message == "ping":
                    await asyncio.wait_for(await ws.ping(b"payload"), 10)
                    await ws.send("ponged")
                else:
                    await ws.send(message)
        except websockets.exceptions.ConnectionClosed:
            pass
        ends.put_nowait((ws.close_code, ws.close_reason))

    def select(ws: Any, offers: Any) -> Any:  # given a list it would refuse those who offer none of it
        return next((offer for offer in offers if offer in SUBPROTOCOLS), None)

    server = await websockets.asyncio.server.serve(
        handler,
        HOST,
        0,
        max_size=MAX_SIZE,
        select_subprotocol=select,
        origins=[None, "https://own.test"],  # type: ignore[list-item]
    )
    async with server:
        yield next(iter(server.sockets)).getsockname()[1]


@contextlib.asynccontextmanager
async def aiohttp_server(ends: Ends) -> AsyncIterator[int]:
    async def handler(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        if request.headers.get("Origin") not in (None, "https://own.test"):
            return aiohttp.web.Response(status=403)
        ws = aiohttp.web.WebSocketResponse(max_msg_size=MAX_SIZE, protocols=SUBPROTOCOLS)
        await ws.prepare(request)
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT and message.data.startswith("close "):
                _, code, text = message.data.split(" ", 2)
                await ws.close(code=int(code), message=text.encode())
            elif message.data == "ping":
                await ws.ping(b"payload")
                await ws.send_str("ponged")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        ends.put_nowait((ws.close_code, None))
        return ws

    application = aiohttp.web.Application()
    application.router.add_get("/", handler)
    runner = aiohttp.web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


both_servers = pytest.mark.parametrize(
    "other_server", [websockets_server, aiohttp_server], ids=["websockets", "aiohttp"]
)


@both_servers
@in_both_loops
async def test_client_echo(other_server: OtherServer) -> None:
    ends: Ends = asyncio.Queue()
    async with other_server(ends) as port:
        async with connect(f"ws://{HOST}:{port}/", max_size=MAX_SIZE) as ws:
            for message in MESSAGES:
                await ws.send(message)
                received = await ws.recv()
                assert received == message
                assert type(received) is type(message)
            await ws.send(["한", "글", ""])
            assert await ws.recv() == "한글"
            await ws.send([b"a", b"b"])
            assert await ws.recv() == b"ab"
            assert await (await ws.ping()) >= 0
            await ws.send("ping")
            assert await ws.recv() == "ponged"
        assert (await ends.get())[0] == 1000


@in_loop
async def test_client_receives_fragments() -> None:
    """5.4; aiohttp cannot send them."""
    async with websockets_server(asyncio.Queue()) as port, connect(f"ws://{HOST}:{port}/") as ws:
        await ws.send("fragments")
        assert await ws.recv() == "한글"


@both_servers
@pytest.mark.parametrize(("code", "reason"), CODES)
@in_loop
async def test_client_close(other_server: OtherServer, code: int, reason: str) -> None:
    ends: Ends = asyncio.Queue()
    async with other_server(ends) as port:
        ws = await connect(f"ws://{HOST}:{port}/")
        await ws.close(code, reason)
        end = await ends.get()
        if other_server is websockets_server:
            assert (ws.close_code, ws.close_reason) == end == (code, reason)
        else:  # it answers every Close with 1000, and does not keep reasons
            assert (ws.close_code, end[0]) == (1000, code)

        ws = await connect(f"ws://{HOST}:{port}/")
        await ws.send(f"close {code} {reason}")
        expected = ConnectionClosedOK if code in (1000, 1001) else ConnectionClosedError
        with pytest.raises(expected) as closed:
            await ws.recv()
        assert closed.value.rcvd == Close(code, reason)
        assert (ws.close_code, ws.close_reason) == (code, reason)


@both_servers
@in_loop
async def test_client_subprotocol_and_origin(other_server: OtherServer) -> None:
    async with other_server(asyncio.Queue()) as port:
        uri = f"ws://{HOST}:{port}/"
        async with connect(uri, subprotocols=["v10.stomp"], origin="https://own.test") as ws:
            assert ws.subprotocol == "v10.stomp"
        async with connect(uri, subprotocols=["v9.stomp"]) as ws:
            assert ws.subprotocol is None
        with pytest.raises(InvalidStatus) as refused:
            await connect(uri, origin="https://foreign.test")
        assert refused.value.response.status_code == 403


# Compression is neither offered nor accepted


@in_loop
async def test_a_server_that_compresses_finds_no_offer() -> None:
    """9.1: an extension is used only if the client offered it."""

    async def handler(ws: Any) -> None:
        await ws.send("x" * 10_000)

    server = await websockets.asyncio.server.serve(handler, HOST, 0, compression="deflate")
    async with server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://{HOST}:{port}/") as ws:
            assert ws.response is not None
            assert "Sec-WebSocket-Extensions" not in ws.response.headers
            assert await ws.recv() == "x" * 10_000
