"""The asyncio API, receiving: messages, the end, back-pressure; and broadcast (RFC 6455 5.4 to 5.6, 7.1).

The transport is a fake, so that chunks, writes and turns of the loop are exact, and time is the loop's own.
Tests with real sockets are in ``test_asyncio_server`` and ``test_asyncio_client``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import (
    Gate,
    Received,
    all_done,
    both_roles,
    close,
    close_payload,
    in_loop,
    take_all,
    text,
    turns,
    uri_of,
    wire,
    without_io,
)
from helpers import BINARY, CLOSE, CONTINUATION, PING, TEXT

import wsfast
from wsfast.asyncio.connection import Connection
from wsfast.events import Close, Failure, Role
from wsfast.exceptions import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK

# Receiving (5.6)


@both_roles
@without_io
async def test_recv_returns_str_for_text_and_bytes_for_binary(
    role: Role, connection_codec: ModuleType
) -> None:
    """5.6."""
    wired = wire(role)
    wired.receive(wired.frame(TEXT, "한글"), wired.frame(BINARY, b"\xff\x00"), wired.frame(TEXT))
    assert [await wired.connection.recv() for _ in range(3)] == ["한글", b"\xff\x00", ""]


@without_io
async def test_decode_gives_the_type_that_is_asked_for(connection_codec: ModuleType) -> None:
    wired = wire(Role.SERVER)
    wired.receive_text("é", "é")
    wired.receive(wired.frame(BINARY, "é"), wired.frame(BINARY, "é"))
    assert await wired.connection.recv(decode=True) == "é"
    assert await wired.connection.recv(decode=False) == b"\xc3\xa9"
    assert await wired.connection.recv(decode=True) == "é"
    assert await wired.connection.recv(decode=False) == b"\xc3\xa9"


@in_loop
async def test_text_as_bytes(connection_codec: ModuleType) -> None:
    """5.6 and 8.1: both sides receive text as the bytes of its UTF-8, checked; ``decode=True`` is still there."""

    async def handler(connection: Connection) -> None:
        async for message in connection:
            assert type(message) is bytes
            await connection.send(message, text=True)

    async with (
        wsfast.serve(handler, "127.0.0.1", 0, text="bytes") as server,
        wsfast.connect(uri_of(server), text="bytes") as connection,
    ):
        await connection.send("한글")
        assert await connection.recv() == "한글".encode()
        await connection.send("한글")
        assert await connection.recv(decode=True) == "한글"
        connection.transport.write(bytes((0x81, 0x81, 0, 0, 0, 0, 0xFF)))
        with pytest.raises(ConnectionClosedError) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


@without_io
async def test_fragments_are_one_message(connection_codec: ModuleType) -> None:
    """5.4."""
    wired = wire(Role.SERVER)
    receiving = asyncio.create_task(wired.connection.recv())
    for part in (
        wired.frame(TEXT, b"\xed\x95", fin=False),
        wired.frame(PING),
        wired.frame(CONTINUATION, b"\x9c"),
    ):
        assert not receiving.done()
        wired.receive(part)
        await turns(2)
    assert await receiving == "한"


@pytest.mark.parametrize("n_turns", range(4))
@pytest.mark.parametrize("first", ["message", "cancel"])
@pytest.mark.parametrize("iterating", [False, True])
@without_io
async def test_cancelled_recv_loses_nothing(n_turns: int, first: str, iterating: bool) -> None:
    """The message and the cancellation come in the same turn of the loop, in either order."""
    wired = wire(Role.SERVER)
    connection = wired.connection
    receiving = asyncio.ensure_future(anext(connection) if iterating else connection.recv())
    await turns(n_turns)
    if first == "message":
        wired.receive_text("precious")
        receiving.cancel()
    else:
        receiving.cancel()
        wired.receive_text("precious")
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert await connection.recv() == "precious"


@pytest.mark.parametrize("n_turns", range(4))
@without_io
async def test_cancelled_after_the_message_came_loses_nothing(n_turns: int) -> None:
    """Wherever it is cancelled, the message is returned by this call or by the next."""
    wired = wire(Role.SERVER)
    receiving = asyncio.create_task(wired.connection.recv())
    await turns(1)
    wired.receive_text("one", "two")
    await turns(n_turns)
    receiving.cancel()
    [first] = await asyncio.gather(receiving, return_exceptions=True)
    if isinstance(first, asyncio.CancelledError):
        first = await wired.connection.recv()
    assert [first, await wired.connection.recv()] == ["one", "two"]


@without_io
async def test_recv_can_be_called_again_after_a_cancelled_one() -> None:
    wired = wire(Role.SERVER)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wired.connection.recv(), 1)
    receiving = asyncio.create_task(wired.connection.recv())
    await turns(1)
    wired.receive_text("x")
    assert await receiving == "x"


@without_io
async def test_second_recv_raises_concurrency_error() -> None:
    """Two tasks that wait would share the messages by chance."""
    wired = wire(Role.SERVER)
    first = asyncio.create_task(wired.connection.recv())
    await turns(1)
    with pytest.raises(ConcurrencyError, match="recv"):
        await wired.connection.recv()
    with pytest.raises(ConcurrencyError, match="recv"):
        await anext(wired.connection)
    wired.receive_text("x")
    assert await first == "x", "the first call is not disturbed"


@without_io
async def test_queued_message_needs_no_turn_of_the_loop() -> None:
    """A message that is already there costs no future: recv() returns before anything else runs."""
    wired = wire(Role.SERVER)
    wired.receive_text("x")
    receiving = wired.connection.recv()
    with pytest.raises(StopIteration) as returned:
        receiving.send(None)
    assert returned.value.value == "x"


# How it ends


def chunked(frames: list[bytes]) -> Iterator[list[bytes]]:
    """All in one chunk; each in its own; the last one alone."""
    yield [b"".join(frames)]
    yield frames
    yield [b"".join(frames[:-1]), frames[-1]]


@pytest.mark.parametrize("how", range(3))
@both_roles
@without_io
async def test_messages_before_close_are_delivered(
    role: Role, how: int, connection_codec: ModuleType
) -> None:
    """7.1.4, 5.5.1: then it is closed, in order."""
    wired = wire(role)
    frames = [wired.frame(TEXT, "1"), wired.frame(BINARY, b"2"), wired.close_frame(1000, "bye")]
    for chunk in list(chunked(frames))[how]:
        wired.receive(chunk)
    wired.transport.receive_eof()
    messages, closed = await take_all(wired.connection)
    assert messages == ["1", b"2"]
    assert isinstance(closed, ConnectionClosedOK)
    assert (closed.rcvd, closed.sent, closed.rcvd_then_sent) == (Close(1000, "bye"), Close(1000, "bye"), True)
    assert (wired.connection.close_code, wired.connection.close_reason) == (1000, "bye")


@pytest.mark.parametrize("how", range(3))
@both_roles
@without_io
async def test_messages_before_a_fault_are_delivered(
    role: Role, how: int, connection_codec: ModuleType
) -> None:
    """7.1.7: then the connection has failed, and the exception says which rule was broken."""
    wired = wire(role)
    frames = [wired.frame(TEXT, "1"), wired.frame(TEXT, "2"), wired.frame(TEXT, b"\xff")]
    for chunk in list(chunked(frames))[how]:
        wired.receive(chunk)
    wired.transport.receive_eof()
    messages, closed = await take_all(wired.connection)
    assert messages == ["1", "2"]
    assert isinstance(closed, ConnectionClosedError)
    failure = Failure(1007, "text message is not valid UTF-8", "8.1")
    assert (closed.rcvd, closed.sent, closed.failure) == (None, Close(1007, failure.reason), failure)
    assert "RFC 6455 8.1: text message is not valid UTF-8" in str(closed)
    assert wired.transport.take() == [close(1007, failure.reason)]


@both_roles
@without_io
async def test_messages_before_eof_are_delivered(role: Role, connection_codec: ModuleType) -> None:
    """7.1.5: an end without a Close frame is 1006."""
    wired = wire(role)
    wired.receive_text("1", "2")
    wired.transport.receive_eof()
    messages, closed = await take_all(wired.connection)
    assert messages == ["1", "2"]
    assert isinstance(closed, ConnectionClosedError)
    assert (closed.rcvd, closed.sent, closed.code) == (None, None, 1006)
    assert str(closed) == "no close frame received or sent"


@without_io
async def test_a_broken_connection_is_the_cause(connection_codec: ModuleType) -> None:
    wired = wire(Role.CLIENT)
    wired.receive_text("1")
    reset = ConnectionResetError("reset by peer")
    wired.transport.break_off(reset)
    messages, closed = await take_all(wired.connection)
    assert messages == ["1"]
    assert closed.__cause__ is reset


@pytest.mark.parametrize("code", [1000, 1001, None])
@without_io
async def test_iteration_ends_quietly_after_an_orderly_close(code: int | None) -> None:
    """1000, 1001 and no code (1005) are how things end (7.4.1)."""
    wired = wire(Role.SERVER)
    wired.receive(wired.frame(TEXT, "1"), wired.close_frame(code))
    wired.transport.receive_eof()
    assert [message async for message in wired.connection] == ["1"]
    assert wired.connection.close_code == (1005 if code is None else code)
    assert wired.transport.take() == [
        Received(CLOSE, b"" if code is None else close_payload(code)),
    ], "5.5.1: answered with its code, an empty one with an empty one"


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4999])
@without_io
async def test_iteration_raises_after_another_close(code: int) -> None:
    wired = wire(Role.SERVER)
    wired.receive(wired.frame(TEXT, "1"), wired.close_frame(code, "why"))
    wired.transport.receive_eof()
    iterator = aiter(wired.connection)
    assert await anext(iterator) == "1"
    with pytest.raises(ConnectionClosedError) as closed:
        await anext(iterator)
    assert (closed.value.code, closed.value.reason) == (code, "why")


@without_io
async def test_iteration_raises_when_the_connection_breaks() -> None:
    wired = wire(Role.SERVER)
    wired.transport.receive_eof()
    with pytest.raises(ConnectionClosedError):
        await anext(wired.connection)


# A slow reader stops the peer


@pytest.mark.parametrize(
    ("max_queue", "high", "low"), [(16, 16, 4), (1, 1, 0), (0, 0, 0), ((10, 9), 10, 9), ((10, None), 10, 2)]
)
@without_io
async def test_reading_pauses_above_max_queue_and_goes_on_below(max_queue: Any, high: int, low: int) -> None:
    wired = wire(Role.SERVER, max_queue=max_queue)
    transport = wired.transport
    wired.receive_numbers(high)
    assert transport.reading, "the limit is what may wait"
    wired.receive_text("last")
    assert not transport.reading
    for left in range(high, low, -1):
        assert not transport.reading
        await wired.connection.recv()
        assert transport.reading is (left <= low), left
    await wired.connection.recv()
    assert transport.reading


@pytest.mark.parametrize("max_queue", [None, (None, None)])
@without_io
async def test_max_queue_none_never_pauses(max_queue: Any) -> None:
    wired = wire(Role.SERVER, max_queue=max_queue)
    wired.receive_numbers(1000)
    assert wired.transport.n_pauses == 0
    assert [await wired.connection.recv() for _ in range(1000)] == [f"{number}" for number in range(1000)]


@pytest.mark.parametrize("max_queue", [-1, (4, 4), (4, 5), (4, -1)])
@without_io
async def test_wrong_max_queue_is_a_value_error(max_queue: Any) -> None:
    with pytest.raises(ValueError, match="max_queue"):
        wire(Role.SERVER, max_queue=max_queue)


@without_io
async def test_a_task_that_waits_is_given_a_large_chunk_without_a_pause() -> None:
    """Pausing for a reader that is about to take all of it would cost two system calls a chunk."""
    wired = wire(Role.SERVER, max_queue=4)
    receiving = asyncio.create_task(wired.connection.recv())
    await turns(1)
    wired.receive_text(*(f"{number}" for number in range(100)))
    assert await receiving == "0"
    assert wired.transport.n_pauses == 0
    assert [await wired.connection.recv() for _ in range(99)] == [f"{number}" for number in range(1, 100)]


@without_io
async def test_a_reader_that_stops_in_the_middle_of_a_chunk_pauses_at_the_next() -> None:
    wired = wire(Role.SERVER, max_queue=4)
    receiving = asyncio.create_task(wired.connection.recv())
    await turns(1)
    wired.receive_text(*(f"{number}" for number in range(100)))
    await receiving
    wired.receive_text("100")
    assert not wired.transport.reading


@without_io
async def test_a_cancelled_reader_does_not_hide_that_nobody_reads() -> None:
    wired = wire(Role.SERVER, max_queue=4)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wired.connection.recv(), 1)
    wired.receive_numbers(6)
    assert not wired.transport.reading


@without_io
async def test_a_peers_close_is_found_behind_a_full_queue() -> None:
    """It may come in the chunk that fills the queue: the end of TCP has to be seen all the same."""
    wired = wire(Role.SERVER, max_queue=4)
    frames = [wired.frame(TEXT, f"{number}") for number in range(6)]
    wired.receive(*frames, wired.close_frame())
    assert wired.transport.reading
    assert [await wired.connection.recv() for _ in range(6)] == [f"{number}" for number in range(6)]
    wired.transport.receive_eof()
    with pytest.raises(ConnectionClosedOK):
        await wired.connection.recv()


# Limits (10.4)


@both_roles
@without_io
async def test_max_size_fails_with_1009_at_the_header(role: Role, connection_codec: ModuleType) -> None:
    """10.4: before a byte of the payload is there."""
    wired = wire(role, max_message_size=1000)
    wired.receive(wired.frame(BINARY, b"x" * 1000))
    wired.receive(wired.frame(BINARY, b"", length=1001))
    assert await wired.connection.recv() == b"x" * 1000
    wired.transport.receive_eof()
    with pytest.raises(ConnectionClosedError) as closed:
        await wired.connection.recv()
    assert closed.value.sent == Close(1009, "message of 1001 bytes exceeds max_message_size 1000")


# What is known about a connection


@without_io
async def test_facts() -> None:
    wired = wire(Role.SERVER)
    one, other = wired.connection, wire(Role.SERVER).connection
    assert one.id == one.id != other.id
    assert (one.close_code, one.close_reason) == (None, None)
    assert one.subprotocol is None
    assert one.logger.logger is logging.getLogger("wsfast")


# broadcast


@without_io
async def test_broadcast_reaches_those_that_are_open(connection_codec: ModuleType) -> None:
    server, client, closing, lost = wire(Role.SERVER), wire(Role.CLIENT), wire(Role.SERVER), wire(Role.SERVER)
    ending = asyncio.create_task(closing.connection.close())
    await lost.finish()
    await turns(1)
    closing.transport.take()
    everyone = [wired.connection for wired in (server, client, closing, lost)]
    wsfast.broadcast(everyone, "모두")
    wsfast.broadcast(everyone, memoryview(b"all"))
    for wired in (server, client):
        assert wired.transport.take() == [text("모두"), Received(BINARY, b"all")]
    for wired in (closing, lost):
        assert wired.transport.writes == []
    await closing.finish()
    await ending


@without_io
async def test_broadcast_frames_once_for_all_servers_and_masks_for_each_client() -> None:
    """5.3: each client has a new masking key."""
    servers, clients = [wire(Role.SERVER) for _ in range(3)], [wire(Role.CLIENT) for _ in range(3)]
    wsfast.broadcast([wired.connection for wired in (*servers, *clients)], "x" * 100)
    assert len({wired.transport.writes[0] for wired in servers}) == 1
    assert len({wired.transport.writes[0] for wired in clients}) == 3


@without_io
async def test_broadcast_does_not_wait() -> None:
    wired = wire(Role.SERVER)
    wired.connection.pause_writing()
    wsfast.broadcast([wired.connection], "x")
    assert wired.transport.take() == [text("x")]


@pytest.mark.parametrize("message", [None, 1, ["a"], {"a": 1}])
@without_io
async def test_broadcast_of_another_type_is_a_type_error(message: Any) -> None:
    wired = wire(Role.SERVER)
    with pytest.raises(TypeError):
        wsfast.broadcast([wired.connection], message)
    assert wired.transport.writes == []


@without_io
async def test_broadcast_skips_a_connection_inside_a_message_of_fragments(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """5.4: another message cannot begin there."""
    busy, idle = wire(Role.SERVER), wire(Role.SERVER)
    gate = Gate()
    sending = asyncio.create_task(busy.connection.send(gate))
    await all_done()
    busy.transport.take()
    both = [busy.connection, idle.connection]
    wsfast.broadcast(both, "b")
    assert "skipped broadcast" in caplog.text
    with pytest.raises(ExceptionGroup) as group:
        wsfast.broadcast(both, "b", raise_exceptions=True)
    assert [type(one) for one in group.value.exceptions] == [ConcurrencyError]
    assert idle.transport.take() == [text("b"), text("b")]
    assert busy.transport.writes == []
    gate.open.set()
    await sending


# Many tasks at once


@pytest.mark.parametrize("seed", range(5))
@without_io
async def test_whatever_the_turns_every_message_comes_once(seed: int, connection_codec: ModuleType) -> None:
    """Receiving with cancellations at any moment, chunks of any size: nothing lost, nothing twice, in order."""
    rng = random.Random(seed)
    wired = wire(Role.SERVER, max_queue=3)
    numbers = itertools.count()
    expected: list[str] = []
    received: list[Any] = []

    async def receive() -> None:
        received.append(await wired.connection.recv())

    receiving: asyncio.Task[None] | None = None
    for _ in range(500):
        if rng.random() < 0.4 and wired.transport.reading:
            texts = [f"{next(numbers)}" for _ in range(rng.randrange(1, 6))]
            expected += texts
            wired.receive_text(*texts)
        if rng.random() < 0.3 and receiving is not None:
            receiving.cancel()
        if receiving is None or receiving.done():
            receiving = asyncio.create_task(receive())
        if rng.random() < 0.7:
            await turns(rng.randrange(3))
    if receiving is not None:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    wired.receive_close()
    await wired.finish()
    rest, _ = await take_all(wired.connection)
    assert received + rest == expected
