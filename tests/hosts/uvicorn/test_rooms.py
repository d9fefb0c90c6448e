"""``wsfast.rooms`` with uvicorn's connections: a member is a WebSocket of Starlette or FastAPI, or an ASGI scope."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from serving import TEXT, Wire, answer, example, frame, in_loop, port_of, serving
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import wsfast
from wsfast.rooms import Rooms

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@LOOPS
@in_loop
async def test_the_fastapi_example(loop: str) -> None:
    app = example("fastapi_rooms")
    [rooms] = [route.endpoint.__globals__["rooms"] for route in app.routes if route.name == "chat"]

    async def members(n: int) -> None:
        while len(rooms.members("red")) != n:
            await asyncio.sleep(0.001)

    async with serving(app, lifespan="on") as server:
        url = f"ws://127.0.0.1:{port_of(server)}/chat/"
        async with wsfast.connect(url + "red") as a, wsfast.connect(url + "blue") as stranger:
            async with wsfast.connect(url + "red") as b:
                await members(2)
                await a.send("from a")
                await b.send("from b")
                received = [await a.recv(), await a.recv()]
                assert sorted(received) == ["from a", "from b"]
                assert [await b.recv(), await b.recv()] == received
            await members(1)
            await a.send("alone")
            assert await a.recv() == "alone"
            await stranger.send("blue")
            assert await stranger.recv() == "blue"


@LOOPS
@in_loop
async def test_the_starlette_example(loop: str) -> None:
    async with (
        serving(example("starlette_rooms"), lifespan="on") as server,
        wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/prices?share=ABC") as client,
    ):
        for _ in range(2):
            assert (await client.recv()).startswith("ABC ")


class Application:
    """Each connection joins the room as its scope, and echoes."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        self.rooms.join("red", scope)
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})


@in_loop
async def test_a_scope_is_a_member_and_is_framed_once() -> None:
    rooms = Rooms()
    application = Application(rooms)
    a, b = [await Wire(application).opened() for _ in range(2)]
    assert rooms.members("red") == application.scopes
    assert rooms.rooms_of(application.scopes[0]) == {"red"}
    assert rooms.publish("red", "hello").report.sent == 2
    assert a.sent == b.sent == answer(TEXT, "hello")
    a.protocol.connection_lost(None)
    await a.finished()
    assert rooms.members("red") == application.scopes[1:]
    await rooms.stop()
    b.protocol.connection_lost(None)
    await b.finished()


@in_loop
async def test_a_member_that_reads_slowly() -> None:
    """What waits goes out before what the application sends later."""
    rooms = Rooms()
    wire = await Wire(Application(rooms)).opened()
    wire.protocol.pause_writing()
    for n in range(3):
        report = await rooms.publish("red", f"{n}", slow="drop_oldest", coalesce="key")
        assert report.waiting == 1
    waiting = asyncio.ensure_future(rooms.publish("red", "last", slow="wait")._wait())
    wire.feed(frame(TEXT, "echo"))
    await wire.settle()
    assert wire.sent == b""
    assert not waiting.done()
    wire.protocol.resume_writing()
    await wire.settle()
    assert waiting.done()
    assert wire.take() == answer(TEXT, "2") + answer(TEXT, "last") + answer(TEXT, "echo")
    wire.protocol.connection_lost(None)
    await wire.finished()


@in_loop
async def test_a_member_has_to_be_accepted_first() -> None:
    rooms = Rooms()
    errors: list[BaseException] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            rooms.join("red", scope)
        except RuntimeError as error:
            errors.append(error)
        await receive()
        await send({"type": "websocket.close"})

    wire = Wire(application)
    await wire.finished()
    assert str(errors[0]) == "accept the WebSocket before it joins a room"
    wire.protocol.connection_lost(None)


@in_loop
async def test_a_scope_whose_connection_is_gone() -> None:
    """It does not keep the connection."""
    application = Application(Rooms())
    wire = await Wire(application).opened()
    wire.protocol.connection_lost(None)
    await wire.finished()
    del wire
    gc.collect()
    with pytest.raises(TypeError, match="the connection of this scope is gone"):
        application.rooms.join("red", application.scopes[0])


@in_loop
async def test_another_websocket_class_is_refused_with_advice() -> None:
    rooms = Rooms()
    errors: list[str] = []

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            rooms.join("red", websocket)
        except TypeError as error:
            errors.append(str(error))
        await websocket.close()

    app = Starlette(routes=[WebSocketRoute("/", handler)])
    async with (
        serving(app, ws="websockets-sansio") as server,
        wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/") as client,
    ):
        assert [message async for message in client] == []
    assert errors == [
        "no connection of wsfast is behind this WebSocket: run uvicorn with --ws wsfast.uvicorn:WebSocketProtocol"
    ]
