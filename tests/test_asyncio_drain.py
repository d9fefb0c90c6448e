"""``Server.drain``: connections are closed at times of their own, handlers have until the deadline, and all is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncio_helpers import close, echo, in_both_loops, in_loop, raw_client, tcp_client, uri_of

from wsfast.asyncio import DrainReport, connect, draining, serve
from wsfast.exceptions import ConnectionClosedError

HOST = "127.0.0.1"


async def connections_of(server: Any, n: int) -> None:
    while len(server.connections) < n:
        await asyncio.sleep(0.001)


@in_both_loops
async def test_all_are_told_and_leave() -> None:
    async with serve(echo, HOST, 0) as server:
        clients = [await connect(uri_of(server)) for _ in range(5)]
        await connections_of(server, 5)
        report = await server.drain(5, jitter=0.05, reason="new version")
        assert (report.n_connections, report.n_closed) == (5, 5)
        assert report.n_lost == report.n_cut == report.n_stuck == 0
        assert report.seconds < 1
        assert not server.is_serving()
        for client in clients:
            with pytest.raises(ConnectionClosedError) as caught:
                await client.recv()
            assert (caught.value.code, caught.value.reason) == (1012, "new version")
        await server.wait_closed()


@in_loop
async def test_they_are_told_at_different_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all clients would come back at once."""
    delays = iter([0.0, 0.1, 0.2])
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return next(delays)

    monkeypatch.setattr(draining.random, "uniform", uniform)
    loop = asyncio.get_running_loop()
    async with serve(echo, HOST, 0) as server:
        clients = [await connect(uri_of(server)) for _ in range(3)]
        await connections_of(server, 3)
        start = loop.time()

        async def end_of(client: Any) -> float:
            await client.wait_closed()
            return loop.time() - start

        ends = [asyncio.create_task(end_of(client)) for client in clients]
        await server.drain(10)
        times = sorted([await end for end in ends])
        assert times[0] < 0.09 < times[1] < 0.19 < times[2]
        assert asked == [(0, 5.0)] * 3, "half of the deadline"


@in_loop
async def test_no_new_connections() -> None:
    async with serve(echo, HOST, 0) as server:
        uri = uri_of(server)
        async with connect(uri), tcp_client(server) as half:
            half.writer.write(b"GET / HTTP/1.1\r\n")
            await connections_of(server, 1)
            while len(server._tasks) < 2:
                await asyncio.sleep(0.001)
            report = await server.drain(5, jitter=0)
            assert report.n_connections == report.n_closed == 1
            with pytest.raises(OSError, match=r"."):
                await connect(uri)


@in_loop
async def test_handlers_end_their_work() -> None:
    done = []

    async def handler(ws: Any) -> None:
        await ws.wait_closed()
        await asyncio.sleep(0.1)
        done.append(ws)

    async with serve(handler, HOST, 0) as server, connect(uri_of(server)):
        await connections_of(server, 1)
        report = await server.drain(5, jitter=0)
        assert len(done) == 1
        assert report.n_closed == 1
        assert report.seconds > 0.09


@in_both_loops
async def test_the_deadline_cuts() -> None:
    """Both: a handler that does not end, and a peer that does not answer."""
    cancelled = []

    async def handler(ws: Any) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.append(ws)
            raise

    async with serve(handler, HOST, 0) as server, raw_client(server) as peer, connect(uri_of(server)) as ws:
        await connections_of(server, 2)
        report = await server.drain(0.1, code=1001, jitter=0)
        assert (report.n_connections, report.n_cut, report.n_closed, report.n_stuck) == (2, 2, 0, 0)
        assert len(cancelled) == 2
        assert 0.09 < report.seconds < 1
        assert await peer.receive() == close(1001)
        await ws.wait_closed()


@in_loop
async def test_a_handler_that_does_not_end_when_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "GRACE", 0.05)
    may_end = asyncio.Event()

    async def handler(ws: Any) -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                pass

    async with serve(handler, HOST, 0) as server, connect(uri_of(server)):
        await connections_of(server, 1)
        report = await server.drain(0.05)
        assert (report.n_cut, report.n_stuck) == (1, 1)
        may_end.set()


@in_loop
async def test_a_peer_that_breaks_off() -> None:
    async with serve(echo, HOST, 0) as server, raw_client(server) as peer:
        await connections_of(server, 1)
        draining = asyncio.create_task(server.drain(5, jitter=0))
        assert await peer.receive() == close(1012)
        peer.abort()
        report = await draining
        assert (report.n_closed, report.n_lost) == (0, 1)


@in_loop
async def test_close_ends_the_jitter() -> None:
    async with serve(echo, HOST, 0) as server:
        ws = await connect(uri_of(server))
        await connections_of(server, 1)
        draining = asyncio.create_task(server.drain(1000, jitter=1000))
        await asyncio.sleep(0.01)
        server.close()
        assert (await draining).n_closed == 1
        await ws.wait_closed()
        assert ws.close_code == 1012


@in_loop
async def test_cancelling_the_call_does_not_stop_it() -> None:
    async with serve(echo, HOST, 0) as server:
        ws = await connect(uri_of(server))
        await connections_of(server, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.drain(5, jitter=0.1), 0.001)
        await server.wait_closed()
        assert ws.close_code in (None, 1012)
        await ws.wait_closed()


@in_loop
async def test_a_server_without_connections() -> None:
    async with serve(echo, HOST, 0) as server:
        report = await server.drain()
        assert isinstance(report, DrainReport)
        assert report.n_connections == 0
        assert report.seconds < 1


@in_loop
async def test_mistakes() -> None:
    server = serve(echo, HOST, 0)
    with pytest.raises(RuntimeError, match="not started"):
        await server.drain()
    async with server:
        for options in ({"deadline": -1}, {"deadline": 1, "jitter": 2}, {"jitter": -1}):
            with pytest.raises(ValueError, match="jitter must be from 0 to the deadline"):
                await server.drain(**options)
        with pytest.raises(ValueError, match="1006"):
            await server.drain(code=1006)
        assert server.is_serving(), "a mistake changes nothing"
        server.close()
        with pytest.raises(RuntimeError, match="closing already"):
            await server.drain()
