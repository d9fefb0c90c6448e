"""``wsfast.rooms`` without a bus: who is a member, and what members get."""

from __future__ import annotations

import asyncio
import gc
import sys
import types
import weakref
from typing import Any

import pytest
from asyncio_helpers import in_loop, text, turns, uri_of, wire, without_io
from helpers import BINARY

import wsfast
import wsfast.rooms
from wsfast.asyncio import BroadcastReport, Listener, serve
from wsfast.events import Role
from wsfast.rooms import Rooms
from wsfast.testing import pair


@without_io
async def test_a_message_goes_to_the_members_of_the_room() -> None:
    rooms = Rooms()
    a, b, c = (wire(Role.SERVER) for _ in range(3))
    assert rooms.join("red", a.connection)
    assert rooms.join("red", b.connection)
    assert rooms.join("blue", b.connection)
    publication = rooms.publish("red", "hello")
    assert isinstance(publication.report, BroadcastReport)
    assert await publication is publication.report
    assert publication.report.sent == 2
    assert publication.is_on_bus is None
    rooms.publish("blue", b"\x00")
    assert a.transport.take() == [text("hello")]
    assert [frame.opcode for frame in b.transport.take()] == [1, BINARY]
    assert c.transport.take() == []
    assert not rooms.is_connected
    await rooms.subscribed("red")


@without_io
async def test_who_is_where() -> None:
    rooms = Rooms()
    a, b = (wire(Role.SERVER).connection for _ in range(2))
    for room in ("red", "blue", "red"):
        rooms.join(room, a)
    rooms.join("red", b)
    assert rooms.members("red") == [a, b]
    assert rooms.members("green") == []
    assert rooms.rooms_of(a) == {"red", "blue"}
    assert len(rooms) == 2
    assert rooms.leave("blue", a)
    assert not rooms.leave("blue", a)
    assert not rooms.leave("green", b)
    assert rooms.rooms_of(a) == {"red"}
    assert len(rooms) == 1
    assert rooms, "it is true, though a room may be empty"
    assert rooms.publish("green", "nobody").report is not None


@without_io
async def test_a_member_that_is_closed_leaves_by_itself() -> None:
    rooms = Rooms()
    a, b = wire(Role.SERVER), wire(Role.SERVER)
    for room in ("red", "blue"):
        rooms.join(room, a.connection)
    rooms.join("red", b.connection)
    a.transport.abort()
    await turns(3)
    assert rooms.members("red") == [b.connection]
    assert len(rooms) == 1
    assert rooms.rooms_of(a.connection) == set()
    assert rooms.join("red", a.connection) is False
    assert rooms.publish("red", "x").report.sent == 1


@without_io
async def test_a_closing_connection_does_not_join() -> None:
    rooms = Rooms()
    wired = wire(Role.SERVER)
    wired.receive_close()
    assert rooms.join("red", wired.connection) is False
    assert len(rooms) == 0
    await wired.finish()


@without_io
async def test_a_member_that_left_is_free() -> None:
    """Neither rooms nor connection keep each other: what has left is collected without the collector."""
    rooms = Rooms()
    wired = wire(Role.SERVER)
    rooms.join("red", wired.connection)
    rooms.leave("red", wired.connection)
    reference = weakref.ref(rooms)
    del rooms
    gc.collect()
    assert reference() is None
    wired.transport.abort()
    await turns(3)


@without_io
async def test_the_policies_of_broadcast() -> None:
    rooms = Rooms()
    reading, slow = wire(Role.SERVER), wire(Role.SERVER)
    slow.connection.pause_writing()
    for wired in (reading, slow):
        rooms.join("prices", wired.connection)
    for price in range(3):
        report = await rooms.publish("prices", f"A {price}", slow="drop_oldest", coalesce="A")
    assert (report.sent, report.coalesced) == (1, 1)
    waiting = asyncio.ensure_future(rooms.publish("prices", "last", slow="wait")._wait())
    await turns(3)
    assert not waiting.done()
    slow.connection.resume_writing()
    assert (await waiting).waiting == 1
    assert slow.transport.take() == [text("A 2"), text("last")]
    assert reading.transport.take() == [text("A 0"), text("A 1"), text("A 2"), text("last")]


@without_io
async def test_text_may_be_bytes() -> None:
    rooms = Rooms()
    wired = wire(Role.SERVER)
    rooms.join("", wired.connection)
    rooms.publish("", "é".encode(), text=True)
    rooms.publish("", "é", text=False)
    one, two = wired.transport.take()
    assert one == text("é")
    assert (two.opcode, two.payload) == (BINARY, "é".encode())


@without_io
async def test_mistakes_of_the_caller() -> None:
    rooms = Rooms(max_size=10)
    connection = wire(Role.SERVER).connection
    with pytest.raises(TypeError, match="name of a room must be str, not bytes"):
        rooms.join(b"red", connection)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="surrogates"):
        rooms.join("\ud800", connection)
    with pytest.raises(ValueError, match="name of a room of 1002 bytes"):
        rooms.join("é" * 501, connection)
    with pytest.raises(TypeError, match=r"a member must be a connection of wsfast.* not int"):
        rooms.join("red", 1)
    with pytest.raises(TypeError, match=r"--ws wsfast\.uvicorn:WebSocketProtocol"):
        rooms.join("red", types.SimpleNamespace(scope={"type": "websocket"}))
    with pytest.raises(TypeError, match="must be str or bytes-like, not dict"):
        rooms.publish("red", {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="message of 11 bytes exceeds max_size 10"):
        rooms.publish("red", "x" * 11)
    with pytest.raises(ValueError, match="utf-8"):
        rooms.publish("red", b"\xff", text=True)
    with pytest.raises(ValueError, match="slow must be one of"):
        rooms.publish("red", "x", slow="drop")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key of coalesce must be str, not int"):
        rooms.publish("red", "x", coalesce=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be above 0"):
        Rooms(timeout=0)
    assert len(rooms) == 0


@without_io
async def test_a_name_of_1000_bytes_and_any_character() -> None:
    rooms = Rooms()
    wired = wire(Role.SERVER)
    names = ["", "é" * 500, "x" * 1000, "a b.*>\n\0", "🙂"]
    for name in names:
        rooms.join(name, wired.connection)
        rooms.publish(name, name)
    assert [frame.payload.decode() for frame in wired.transport.take()] == names


@without_io
async def test_after_stop() -> None:
    rooms = Rooms()
    wired = wire(Role.SERVER)
    rooms.join("red", wired.connection)
    await rooms.stop()
    await rooms.stop()
    assert rooms.members("red") == []
    with pytest.raises(RuntimeError, match="these rooms are stopped"):
        rooms.publish("red", "x")
    with pytest.raises(RuntimeError, match="stopped"):
        rooms.join("red", wired.connection)
    assert not rooms.leave("red", wired.connection)
    wired.transport.abort()
    await turns(3)


@without_io
async def test_a_client_may_be_a_member() -> None:
    rooms = Rooms()
    async with pair() as ends:
        rooms.join("red", ends.client)
        rooms.join("red", ends.server)
        rooms.publish("red", "x")
        assert await ends.client.recv() == await ends.server.recv() == "x"


@in_loop
async def test_with_a_handler_and_a_listener() -> None:
    """Over sockets: one is joined by a coroutine, the other by a callback."""
    rooms = Rooms()

    async def handler(ws: Any) -> None:
        rooms.join("chat", ws)
        async for message in ws:
            rooms.publish("chat", message)

    class Member(Listener):
        def on_open(self, connection: Any) -> None:
            rooms.join("chat", connection)

        def on_message(self, connection: Any, message: str | bytes) -> None:
            rooms.publish("chat", message)

        def on_close(self, connection: Any, closed: Any) -> None:
            assert rooms.rooms_of(connection) == set(), "it has left before anybody hears of its end"

    async with (
        serve(handler, "127.0.0.1", 0) as one,
        serve(listener=Member, host="127.0.0.1", port=0) as two,
        wsfast.connect(uri_of(one)) as a,
    ):
        async with wsfast.connect(uri_of(two)) as b:
            while len(rooms.members("chat")) < 2:
                await asyncio.sleep(0)
            await a.send("a")
            assert await a.recv() == await b.recv() == "a"
            await b.send("b")
            assert await a.recv() == await b.recv() == "b"
        while len(rooms.members("chat")) > 1:
            await asyncio.sleep(0.001)
        await a.send("alone")
        assert await a.recv() == "alone"


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("redis", "nats"):
        monkeypatch.delattr(wsfast.rooms, name)  # which imports it
        monkeypatch.delitem(sys.modules, f"wsfast.rooms.{name}")
        for module in [each for each in sys.modules if each.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(AttributeError, match=rf"needs: pip install 'wsfast\[{name}\]'"):
            getattr(wsfast.rooms, name)
    with pytest.raises(AttributeError, match="no attribute 'kafka'"):
        wsfast.rooms.kafka  # noqa: B018
