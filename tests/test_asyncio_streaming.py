"""``recv_streaming``: the parts of a message as they come, and what becomes of a message that is given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
import websockets.asyncio.client
from asyncio_helpers import Wired, both_roles, close, in_both_loops, turns, uri_of, wire, without_io
from helpers import BINARY, CONTINUATION, PING, TEXT

from wsfast import serve
from wsfast.asyncio.server import ServerConnection
from wsfast.codec import Role
from wsfast.connection import ReadyState
from wsfast.exceptions import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK


def parts(wired: Wired, *payloads: str | bytes, opcode: int = TEXT) -> list[bytes]:
    last = len(payloads) - 1
    return [
        wired.frame(opcode if n == 0 else CONTINUATION, payload, fin=n == last)
        for n, payload in enumerate(payloads)
    ]


async def finish(wired: Wired) -> None:
    wired.transport.abort()
    await wired.connection.wait_closed()


@both_roles
@without_io
async def test_parts_come_before_the_end_of_the_message(role: Role, connection_codec: ModuleType) -> None:
    """RFC 6455 5.4: an interactive peer waits for us between its fragments."""
    wired = wire(role)
    frames = parts(wired, "ab", "", "가", "d")
    wired.receive(frames[0])
    stream = wired.connection.recv_streaming()
    received = [await anext(stream)]
    for fragment in frames[1:]:
        waiting = asyncio.ensure_future(anext(stream))
        await turns(3)
        assert not waiting.done()
        wired.receive(wired.frame(PING, "p"), fragment)
        received.append(await waiting)
    assert received == ["ab", "", "가", "d"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    wired.receive(*parts(wired, "who", "le"), wired.frame(BINARY, b"next"))
    assert [await wired.connection.recv(), await wired.connection.recv()] == ["whole", b"next"]
    await finish(wired)


@without_io
async def test_a_message_of_one_frame_and_one_that_waits_are_one_part(connection_codec: ModuleType) -> None:
    wired = wire(Role.SERVER)
    wired.receive(*parts(wired, "a", "b"))
    assert [part async for part in wired.connection.recv_streaming()] == ["ab"]
    reading = asyncio.ensure_future(anext(wired.connection.recv_streaming()))
    await turns(2)
    wired.receive(wired.frame(BINARY, b"c"), *parts(wired, "d", "e"))
    assert await reading == b"c"
    assert await wired.connection.recv() == "de"
    await finish(wired)


@pytest.mark.parametrize(
    ("decode", "text", "binary"),
    [
        (None, ["가\x61", "나"], [b"\xff", b"b"]),
        (False, ["가a".encode(), "나".encode()], [b"\xff", b"b"]),
        (True, ["가\x61", "나"], None),
    ],
)
@without_io
async def test_decode(decode: bool | None, text: list[Any], binary: list[bytes] | None) -> None:
    """A binary message that is no text fails with 1007, as ``recv`` does."""
    wired = wire(Role.SERVER)
    stream = wired.connection.recv_streaming(decode)
    first = asyncio.ensure_future(anext(stream))
    await turns(2)
    wired.receive(*parts(wired, "가a", "나"))
    assert [await first, *[part async for part in stream]] == text
    stream = wired.connection.recv_streaming(decode)
    first = asyncio.ensure_future(anext(stream))
    await turns(2)
    wired.receive(*parts(wired, b"\xff", b"b", opcode=BINARY))
    if binary is None:
        await turns(3)
        [failed] = wired.transport.take()
        assert failed.payload[:2] == (1007).to_bytes(2, "big")
        wired.transport.abort()
        with pytest.raises(ConnectionClosedError):
            await first
    else:
        assert [await first, *[part async for part in stream]] == binary
        await finish(wired)


@without_io
async def test_a_character_may_be_cut_between_two_parts() -> None:
    wired = wire(Role.SERVER)
    stream = wired.connection.recv_streaming()
    first = asyncio.ensure_future(anext(stream))
    await turns(2)
    wired.receive(*parts(wired, "가".encode()[:1], "가".encode()[1:2], "가".encode()[2:] + b"x"))
    assert [await first, *[part async for part in stream]] == ["", "", "가x"]
    await finish(wired)


@pytest.mark.parametrize("n_taken", [0, 1])
@pytest.mark.parametrize("n_received", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["aclose", "forgotten"])
@without_io
async def test_a_message_that_is_given_up(
    n_taken: int, n_received: int, how: str, connection_codec: ModuleType
) -> None:
    """Whole if nothing was taken of it, else skipped; what comes after it is never lost."""
    if n_taken > n_received:
        return
    wired = wire(Role.SERVER)
    frames = parts(wired, "a", "b", "c")
    stream = wired.connection.recv_streaming()
    waiting = asyncio.ensure_future(anext(stream))
    await turns(2)
    if not n_taken:
        waiting.cancel()
        await turns(2)
    wired.receive(*frames[:n_received]) if n_received else None
    if n_taken:
        assert await waiting == "a"
    del waiting
    if how == "aclose":
        await stream.aclose()
        await stream.aclose()
    del stream
    wired.receive(*frames[n_received:], wired.frame(TEXT, "next"), *parts(wired, "d", "e"))
    expected = ["next", "de"] if n_taken else ["abc", "next", "de"]
    assert [await wired.connection.recv() for _ in expected] == expected
    await finish(wired)


@without_io
async def test_the_next_stream_waits_for_the_end_of_one_that_was_given_up() -> None:
    wired = wire(Role.SERVER)
    frames = parts(wired, "a", "b", "c")
    wired.receive(frames[0])
    async for part in wired.connection.recv_streaming():
        assert part == "a"
        break
    stream = wired.connection.recv_streaming()
    waiting = asyncio.ensure_future(anext(stream))
    await turns(2)
    wired.receive(frames[1])
    wired.receive(frames[2])
    await turns(3)
    assert not waiting.done()
    for fragment in parts(wired, "d", "e"):
        wired.receive(fragment)
    assert [await waiting, await anext(stream)] == ["d", "e"]
    await finish(wired)


@without_io
async def test_a_stream_goes_on_with_parts_that_nobody_took() -> None:
    wired = wire(Role.SERVER)
    frames = parts(wired, "a", "b")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(anext(wired.connection.recv_streaming()), 1)
    first = wired.connection.recv_streaming()
    waiting = asyncio.ensure_future(anext(first))
    await turns(2)
    waiting.cancel()
    await turns(2)
    wired.receive(frames[0])
    del waiting, first
    stream = wired.connection.recv_streaming()
    assert await anext(stream) == "a"
    wired.receive(frames[1])
    assert await anext(stream) == "b"
    await finish(wired)


@without_io
async def test_only_one_receives_at_a_time() -> None:
    wired = wire(Role.SERVER)
    stream = wired.connection.recv_streaming()
    wired.receive(parts(wired, "a", "b")[0])
    assert await anext(stream) == "a"
    with pytest.raises(ConcurrencyError, match="in parts"):
        await wired.connection.recv()
    with pytest.raises(ConcurrencyError):
        await anext(wired.connection.recv_streaming())
    waiting = asyncio.ensure_future(anext(stream))
    await turns(2)
    with pytest.raises(ConcurrencyError):
        await wired.connection.recv()
    wired.receive(parts(wired, "a", "b")[1])
    assert await waiting == "b"
    await finish(wired)


@without_io
async def test_reading_pauses_while_parts_wait(connection_codec: ModuleType) -> None:
    wired = wire(Role.SERVER, max_queue=4)
    stream = wired.connection.recv_streaming()
    waiting = asyncio.ensure_future(anext(stream))
    await turns(2)
    frames = parts(wired, *map(str, range(10)))
    for fragment in frames[:6]:
        wired.receive(fragment)
    assert not wired.transport.reading
    assert await waiting == "0"
    for n in range(1, 6):
        assert wired.transport.reading is (n > 4)
        assert await anext(stream) == f"{n}"
    assert wired.transport.reading
    for fragment in frames[6:]:
        wired.receive(fragment)
    assert [part async for part in stream] == ["6", "7", "8", "9"]
    await finish(wired)


@without_io
async def test_giving_up_lets_reading_go_on() -> None:
    wired = wire(Role.SERVER, max_queue=2)
    frames = parts(wired, *map(str, range(10)))
    wired.receive(frames[0])
    stream = wired.connection.recv_streaming()
    assert await anext(stream) == "0"
    wired.receive(*frames[1:5])
    assert not wired.transport.reading
    await stream.aclose()
    assert wired.transport.reading
    wired.receive(*frames[5:], wired.frame(TEXT, "next"))
    assert await wired.connection.recv() == "next"
    await finish(wired)


@pytest.mark.parametrize("code", [1000, 1011, None])
@without_io
async def test_the_end_of_the_connection_in_a_message(code: int | None) -> None:
    """What came is delivered first; the message has no end, so it is not as if it were complete."""
    wired = wire(Role.SERVER)
    stream = wired.connection.recv_streaming()
    wired.receive(parts(wired, "a", "b", "c")[0])
    assert await anext(stream) == "a"
    wired.receive(parts(wired, "a", "b", "c")[1])
    if code is None:
        wired.transport.break_off(ConnectionResetError())
    else:
        wired.receive_close(code)
        assert wired.transport.take() == [close(code)]
        wired.transport.receive_eof()
    assert await anext(stream) == "b"
    with pytest.raises(ConnectionClosedOK if code == 1000 else ConnectionClosedError):
        await anext(stream)
    await wired.connection.wait_closed()
    with pytest.raises(ConnectionClosedOK if code == 1000 else ConnectionClosedError):
        await anext(wired.connection.recv_streaming())


@without_io
async def test_a_fault_in_a_message(connection_codec: ModuleType) -> None:
    """RFC 6455 8.1: the parts before it are delivered."""
    wired = wire(Role.SERVER)
    stream = wired.connection.recv_streaming()
    waiting = asyncio.ensure_future(anext(stream))
    await turns(2)
    wired.receive(*parts(wired, "a", b"\xff", "c"))
    assert await waiting == "a"
    wired.transport.abort()
    with pytest.raises(ConnectionClosedError, match="1007"):
        await anext(stream)
    assert wired.connection.ready_state is ReadyState.CLOSED


@in_both_loops
async def test_both_ways_over_a_socket(connection_codec: ModuleType) -> None:
    """An echo of parts: what goes out as fragments comes as parts, with and without compression."""

    async def echo_parts(connection: ServerConnection) -> None:
        while True:
            stream = connection.recv_streaming()
            try:
                first = await anext(stream)
            except ConnectionClosedOK:
                return

            async def again(first: Any = first, stream: Any = stream) -> AsyncIterator[Any]:
                yield first
                async for part in stream:
                    yield part

            await connection.send(again())

    async with serve(echo_parts, "127.0.0.1", 0, compression="deflate") as server:
        for compression in (None, "deflate"):
            async with websockets.asyncio.client.connect(
                uri_of(server), proxy=None, compression=compression
            ) as ws:
                for pieces in (["a", "b"], ["가" * 50_000, "", "나"], [b"\xff" * 200_000, b"x"], ["one"]):
                    await ws.send(pieces)  # type: ignore[arg-type]
                    got = [part async for part in ws.recv_streaming()]
                    nothing: Any = pieces[0][:0]
                    assert nothing.join(got) == nothing.join(pieces)


@without_io
async def test_parts_next_to_a_task_in_recv_are_refused(connection_codec: ModuleType) -> None:
    """And take nothing from it: its message came in parts, which nobody waited for."""
    wired = wire(Role.CLIENT)
    receiving = asyncio.ensure_future(wired.connection.recv())
    await turns(1)
    second = wired.connection.recv_streaming()
    with pytest.raises(ConcurrencyError, match="already waiting"):
        await anext(second)
    wired.receive(*parts(wired, "a", "b"))
    assert await receiving == "ab"
    receiving = asyncio.ensure_future(wired.connection.recv())
    await turns(1)
    receiving.cancel()
    await turns(1)
    wired.receive(*parts(wired, "c", "d"))
    assert [part async for part in wired.connection.recv_streaming()] == ["cd"]
    await finish(wired)
