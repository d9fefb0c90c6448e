"""Attacks on the calls of a connection, on a fake transport: each was a way to take memory, or to wait for ever."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from asyncio_helpers import (
    REQUEST,
    Gate,
    RawPeer,
    all_done,
    both_roles,
    client_tls,
    in_both_loops,
    port_of,
    server_tls,
    tcp_client,
    text,
    wire,
    without_io,
)
from helpers import PONG

from wsfast.asyncio import ServerConnection, broadcast, serve
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosedError
from wsfast.session import SENDS_PER_TURN
from wsfast.session.pings import MAX_PENDING

# Pings (RFC 6455 5.5.2)


@both_roles
@without_io
async def test_pings_that_are_never_answered_have_a_bound(role: Role) -> None:
    """The peer goes on in all else, so that the keepalive is content with it."""
    wired = wire(role)
    pings = asyncio.create_task(ping_for_ever(wired.connection.ping))
    await all_done()
    await asyncio.sleep(1000)
    sent = wired.transport.take()
    assert len(sent) == MAX_PENDING
    wired.receive(wired.frame(PONG, sent[0].payload))
    await all_done()
    assert len(wired.transport.take()) == 1
    await wired.finish()
    with pytest.raises(ConnectionClosedError):
        await pings


async def ping_for_ever(ping: Callable[[], Awaitable[object]]) -> None:
    kept = []
    while True:
        kept.append(await ping())
        await asyncio.sleep(0.1)


@both_roles
@without_io
async def test_pings_whose_answer_nobody_waits_for_have_no_end_and_take_no_memory(role: Role) -> None:
    """The peer reads and answers none. As with ``send``, it may leave, and ``ping`` goes on until then."""
    wired = wire(role)
    kept = [await wired.connection.ping() for _ in range(3)]
    for _ in range(3 * MAX_PENDING):
        await wired.connection.ping()
        assert len(wired.connection._pings._pending) <= MAX_PENDING
    sent = wired.transport.take()
    assert len(sent) == 3 + 3 * MAX_PENDING
    wired.receive(wired.frame(PONG, sent[0].payload))
    await all_done()
    assert [one.done() for one in kept] == [True, False, False]
    wired.receive(wired.frame(PONG, sent[-1].payload))
    await all_done()
    assert all(one.done() for one in kept)
    await wired.finish()


@without_io
async def test_pings_that_were_given_up_do_not_stop_others() -> None:
    wired = wire(Role.SERVER)
    for _ in range(3 * MAX_PENDING):
        (await wired.connection.ping()).cancel()  # type: ignore[attr-defined]
    assert len(wired.transport.take()) == 3 * MAX_PENDING
    assert len(wired.connection._pings._pending) <= MAX_PENDING


# Senders (5.4, 7.1.7)


@both_roles
@without_io
async def test_who_waits_for_fragments_hears_that_the_connection_is_lost(role: Role) -> None:
    """The message of fragments waits for the application's next one, which may never come."""
    wired = wire(role)
    gate = Gate()
    fragments = asyncio.create_task(wired.connection.send(gate))
    await all_done()
    others = [
        asyncio.create_task(call)
        for call in (wired.connection.send("other"), wired.connection.send(["other", "fragments"]))
    ]
    await all_done()
    wired.transport.break_off(ConnectionResetError("reset"))
    for other in others:
        with pytest.raises(ConnectionClosedError):
            await other
    gate.open.set()
    with pytest.raises(ConnectionClosedError):
        await fragments


@both_roles
@without_io
async def test_senders_that_do_not_wait_for_each_other_wait_above_a_bound(role: Role) -> None:
    """As in ``wait_for(send(x), 1)``, or with a task for each message; the bound is that of a broadcast."""
    wired = wire(role)
    size = 0
    wired.transport.get_write_buffer_size = lambda: size  # type: ignore[method-assign]
    wired.connection.pause_writing()
    for _ in range(40):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wired.connection.send(bytes(2**20)), 1)
        size = sum(map(len, wired.transport.writes))
    assert size < 18 * 2**20
    later = [asyncio.create_task(wired.connection.send(f"{number}")) for number in range(5)]
    await all_done()
    wired.transport.take()
    size = 0
    wired.connection.resume_writing()
    await asyncio.gather(*later)
    assert wired.transport.take() == [text(f"{number}") for number in range(5)]


@in_both_loops
async def test_many_senders_on_a_connection_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    """Each hears of it, and the loop has no reason to warn of writes without end."""
    results: list[BaseException | None] = []

    async def handler(connection: ServerConnection) -> None:
        peers[0].abort()
        calls = [connection.send("x") for _ in range(100)]
        calls += [connection.pong() for _ in range(100)]
        calls += [connection.ping() for _ in range(100)]
        results.extend(await asyncio.gather(*calls, return_exceptions=True))
        heard_all.set()

    heard_all = asyncio.Event()
    peers: list[RawPeer] = []
    async with serve(handler, "127.0.0.1", 0) as server, tcp_client(server) as peer:
        peers.append(peer)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.send(REQUEST)
        await heard_all.wait()
    heard = [result for result in results if isinstance(result, ConnectionClosedError)]
    assert len(heard) >= 290
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", ["send", "ping", "pong", "fragments"])
@in_both_loops
async def test_a_sender_without_end_lets_others_run_and_hears_of_the_loss(kind: str) -> None:
    """Counted, not timed: so many calls at most between two turns of the loop, and after the connection was lost."""
    calls: list[str] = []
    heard = asyncio.Event()

    class Watched(ServerConnection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            calls.append("lost")

    async def endless() -> AsyncIterator[str]:
        while True:
            calls.append("send")
            yield "x"

    async def handler(connection: ServerConnection) -> None:
        try:
            if kind == "fragments":
                await connection.send(endless())
            while True:
                calls.append("send")
                if kind == "send":
                    await connection.send("x")
                elif kind == "ping":
                    (await connection.ping()).cancel()  # type: ignore[attr-defined]
                else:
                    await connection.pong()
        finally:
            heard.set()

    async def other() -> None:
        while not heard.is_set():
            calls.append("turn")
            await asyncio.sleep(0)

    async with (
        serve(handler, "127.0.0.1", 0, create_connection=Watched) as server,
        tcp_client(server) as peer,
    ):
        peer.send(REQUEST)
        turning = asyncio.create_task(other())
        while calls.count("send") < 1000:
            await peer.reader.read(65_536)
        peer.abort()
        await heard.wait()
        await turning
    longest = max(len(list(group)) for call, group in itertools.groupby(calls) if call == "send")
    assert longest <= SENDS_PER_TURN + 4
    assert calls[calls.index("lost") :].count("send") <= 4


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="the system does not tell of an unread FIN")
@in_both_loops
async def test_a_sender_hears_of_the_end_of_tls_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio drops what is written after it, with a warning each time, and tells only who reads."""
    n_sent = 0
    heard = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        nonlocal n_sent
        try:
            while True:
                await connection.send(bytes(2000))
                n_sent += 1
        finally:
            heard.set()

    async def drain(peer: RawPeer) -> None:
        while await peer.reader.read(65536):
            pass

    async with serve(
        handler, "127.0.0.1", 0, ssl=server_tls(), ping_interval=None, close_timeout=1
    ) as server:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port_of(server), ssl=client_tls(), server_hostname="localhost"
        )
        peer = RawPeer(reader, writer, Role.CLIENT)
        peer.send(REQUEST)
        peer.send_text(*"x" * 100)
        draining = asyncio.create_task(drain(peer))
        while n_sent < 1000:
            await asyncio.sleep(0)
        with socket.socket(fileno=os.dup(peer.socket.fileno())) as raw:
            raw.shutdown(socket.SHUT_WR)
        await heard.wait()
        await draining
        await peer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@without_io
async def test_broadcasts_that_skip_a_slow_connection_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that reads slowly makes a message of fragments last."""
    wired = wire(Role.SERVER)
    gate = Gate()
    fragments = asyncio.create_task(wired.connection.send(gate))
    await all_done()
    for _ in range(10):
        broadcast([wired.connection], "x")
    gate.open.set()
    await fragments
    assert [record.levelname for record in caplog.records if "skipped" in record.message] == ["WARNING"]
