"""What programs for ``websockets`` do every day, and what they see: the same as there."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from asyncio_helpers import close, echo, in_loop, uri_of, wire, without_io
from helpers import BINARY, TEXT

from wsfast import broadcast, connect, serve
from wsfast.codec import Role
from wsfast.connection import ReadyState
from wsfast.exceptions import ConnectionClosedError, ProtocolError


@without_io
async def test_an_iterator_can_be_closed_and_the_connection_goes_on() -> None:
    wired = wire(Role.CLIENT)
    wired.receive_text("a", "b", "c", "d")
    async with contextlib.aclosing(aiter(wired.connection)) as messages:
        assert await anext(messages) == "a"
    async for message in wired.connection:
        assert message == "b"
        break
    assert [await anext(wired.connection), await wired.connection.recv()] == ["c", "d"]
    assert wired.connection.ready_state is ReadyState.OPEN
    wired.transport.abort()


@without_io
async def test_an_iterator_ends_as_the_connection_does() -> None:
    for code in (1000, 1011):
        wired = wire(Role.SERVER)
        wired.receive_text("a")
        wired.receive_close(code)
        received: list[Any] = []
        with contextlib.nullcontext() if code == 1000 else pytest.raises(ConnectionClosedError):
            received += [message async for message in wired.connection]
        assert received == (["a"] if code == 1000 else [])
        await wired.finish()


@pytest.mark.parametrize(
    ("message", "text", "opcode"),
    [("é", None, TEXT), ("é", False, BINARY), ("é".encode(), True, TEXT), ("é".encode(), None, BINARY)],
)
@without_io
async def test_broadcast_of_bytes_as_text(message: Any, text: bool | None, opcode: int) -> None:
    """RFC 6455 5.6."""
    wired = [wire(role) for role in (Role.SERVER, Role.SERVER, Role.CLIENT)]
    broadcast([each.connection for each in wired], message, text=text)
    for each in wired:
        assert each.transport.take() == [(opcode, "é".encode(), True)]
        each.transport.abort()


@without_io
async def test_broadcast_of_bytes_that_are_no_text() -> None:
    wired = wire(Role.SERVER)
    with pytest.raises(ValueError, match="UTF-8"):
        broadcast([wired.connection], b"\xff", text=True)
    assert wired.transport.take() == []
    wired.transport.abort()


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, ""), (1006, ""), (999, ""), (1004, ""), (5000, ""), (1000, "x" * 124)]
)
@without_io
async def test_a_close_that_cannot_be_sent_is_a_protocol_error(code: int, reason: str) -> None:
    """RFC 6455 7.4, 5.5: in each state the same; and the connection goes on."""
    wired = wire(Role.SERVER)
    with pytest.raises(ProtocolError) as mistake:
        await wired.connection.close(code, reason)
    assert isinstance(mistake.value, ValueError)
    assert wired.transport.take() == []
    assert wired.connection.ready_state is ReadyState.OPEN
    wired.receive_close(1000)
    assert wired.transport.take() == [close(1000)]
    await wired.finish()
    with pytest.raises(ProtocolError):
        await wired.connection.close(code, reason)


@in_loop
async def test_max_queue_0_lets_one_message_wait() -> None:
    async with (
        serve(echo, "127.0.0.1", 0, max_queue=0) as server,
        connect(uri_of(server), max_queue=0) as ws,
    ):
        for n in range(20):
            await ws.send(f"{n}")
        assert [await ws.recv() for n in range(20)] == [f"{n}" for n in range(20)]
