"""``stats()``, and ``batch()``: what is counted, and what goes out in one write."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import (
    Received,
    close,
    echo,
    in_both_loops,
    in_loop,
    raw_client,
    text,
    turns,
    uri_of,
    wire,
    without_io,
)
from helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

from wsfast.asyncio import connect, serve
from wsfast.codec import Opcode
from wsfast.events import Role
from wsfast.session import Delivery, FrameCounter, RoundTrips, Slow

HOST = "127.0.0.1"


# Statistics


@without_io
async def test_what_waits() -> None:
    wired = wire(Role.SERVER, max_queue=2)
    wired.receive_numbers(3)
    wired.connection.pause_writing()
    wired.connection.deliver(Delivery("안녕"), Slow.WAIT)
    stats = wired.connection.stats()
    assert (stats.n_queued, stats.is_reading_paused) == (3, True)
    assert (stats.n_backlog, stats.backlog_size, stats.is_writing_blocked) == (1, 6, True)
    assert stats.received is stats.sent is None, "counted only where it was asked for"
    assert stats.n_pings == 0
    assert stats.round_trips == RoundTrips(0, 0.0, 0.0, 0.0, 0.0)
    wired.transport.abort()
    await wired.connection.wait_closed()
    assert wired.connection.stats().unsent_size == 0


@without_io
async def test_round_trips() -> None:
    wired = wire(Role.SERVER)
    for seconds in (1, 3, 2):
        answered = await wired.connection.ping(b"x")
        assert wired.connection.stats().n_pings == 1
        await asyncio.sleep(seconds)
        wired.receive(wired.frame(PONG, b"x"))
        await answered
    assert wired.connection.stats().round_trips == RoundTrips(3, 2.0, 1.0, 3.0, 2.0)


@in_both_loops
async def test_frames_of_both_directions(connection_codec: ModuleType) -> None:
    stats: list[Any] = []

    async def handler(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)
        stats.append(ws.stats())

    async with serve(handler, HOST, 0, count_frames=True) as server:
        async with raw_client(server) as peer:
            peer.send(
                peer.frame(TEXT, "안녕"),
                peer.frame(BINARY, b"12", fin=False),
                peer.frame(PING, b"?"),
                peer.frame(CONTINUATION, b"345"),
            )
            assert [await peer.receive() for _ in range(3)] == [
                Received(PONG, b"?"),
                text("안녕"),
                Received(BINARY, b"12345"),
            ]
            await peer.close_handshake()
        while not stats:
            await asyncio.sleep(0.001)
    [of_server] = stats
    received, sent = of_server.received, of_server.sent
    assert received.frames == {TEXT: 1, BINARY: 1, CONTINUATION: 1, PING: 1, CLOSE: 1}
    assert received.payload == {TEXT: 6, BINARY: 2, CONTINUATION: 3, PING: 1, CLOSE: 2}
    assert received.n_messages == 2
    assert received.size == 5 * 6 + 6 + 2 + 3 + 1 + 2
    assert sent.frames == {TEXT: 1, BINARY: 1, PONG: 1, CLOSE: 1}
    assert sent.size == 4 * 2 + 6 + 5 + 1 + 2
    assert received.n_compressed == sent.n_compressed == sent.compressed_payload == 0


@in_both_loops
async def test_frames_that_are_compressed(connection_codec: ModuleType) -> None:
    """RFC 7692 6.1: RSV1 of the first frame counts for the whole message."""
    message = "much the same " * 100
    async with (
        serve(echo, HOST, 0, compression="deflate") as server,
        connect(uri_of(server), compression="deflate", count_frames=True) as ws,
    ):
        await ws.send([message, message])
        assert await ws.recv() == message * 2
        await ws.send("short")
        await ws.recv()
        stats = ws.stats()
        for traffic in (stats.sent, stats.received):
            assert traffic is not None
            assert traffic.n_messages == 2
            assert traffic.n_compressed == 1
            assert traffic.compressed_payload == sum(traffic.payload.values()) - len("short")
            assert traffic.compressed_payload < 200


@in_loop
async def test_frames_right_after_the_response_are_counted() -> None:
    async def greet(ws: Any) -> None:
        await ws.send("hello")
        await ws.recv()

    async with serve(greet, HOST, 0) as server, connect(uri_of(server), count_frames=True) as ws:
        await ws.recv()
        stats = ws.stats()
        assert stats.received is not None
        assert stats.received.frames == {Opcode.TEXT: 1}
        await ws.send("bye")


def test_a_counter_stops_at_a_fault(codec: ModuleType) -> None:
    counter = FrameCounter(Role.SERVER)
    counter.feed(b"\x81\x01a\x83\x00\x81\x01b")
    assert counter.traffic().frames == {Opcode.TEXT: 1}
    assert counter.traffic().size == 8


# Batches


@without_io
async def test_a_block_goes_out_in_one_write() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        await wired.connection.send("a")
        await wired.connection.send("b")
        await turns(3)
        assert wired.transport.writes == []
        assert wired.connection.stats().batch_size > 0
        await wired.connection.send(b"d")
    assert len(wired.transport.writes) == 1
    frames = wired.transport.take()
    assert [frame.payload for frame in frames] == [b"a", b"b", b"d"]
    await wired.connection.send("e")
    assert wired.transport.take() == [text("e")], "at once"


@without_io
async def test_fragments_go_out_as_they_come() -> None:
    """A block of another task may wait for the end of their message."""
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        await wired.connection.send("a")
        await wired.connection.send(["b", "c"])
        assert [frame.payload for frame in wired.transport.take()] == [b"a", b"b", b"c", b""]


@without_io
async def test_blocks_in_blocks() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        with wired.connection.batch():
            await wired.connection.send("a")
        assert wired.transport.writes == []
    assert wired.transport.take() == [text("a")]


@without_io
async def test_an_empty_block_writes_nothing() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        pass
    assert wired.transport.writes == []


@without_io
async def test_a_block_that_fails_sends_what_was_sent() -> None:
    wired = wire(Role.SERVER)

    async def fail() -> None:
        with wired.connection.batch():
            await wired.connection.send("a")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert wired.transport.take() == [text("a")]


@without_io
async def test_a_block_does_not_keep_much() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        for _ in range(5):
            await wired.connection.send(bytes(30_000))
        assert len(wired.transport.writes) == 1
        assert len(wired.transport.take()) == 3
    assert len(wired.transport.writes) == 1


@without_io
async def test_who_waits_for_an_answer_gets_it() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        await wired.connection.send("?")
        receiving = asyncio.create_task(wired.connection.recv())
        await turns(2)
        assert wired.transport.take() == [text("?")]
        await wired.connection.send("more")
        await wired.connection.ping(b"1")
        assert wired.transport.take() == [text("more"), Received(PING, b"1")], "in order"
        wired.receive_text("!")
        assert await receiving == "!"


@without_io
async def test_close_comes_after_the_block() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        await wired.connection.send("a")
        wired.connection.start_close()
    assert wired.transport.take() == [text("a"), close(1000)]
    wired.receive_close()
    await wired.finish()


@without_io
async def test_a_block_outlives_its_connection() -> None:
    wired = wire(Role.SERVER)
    with wired.connection.batch():
        await wired.connection.send("a")
        wired.transport.abort()
        await wired.connection.wait_closed()
    assert wired.transport.writes == []
