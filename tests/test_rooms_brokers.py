"""Rooms over a real Redis, a Redis Cluster and NATS: three server processes, and a broker that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asyncio_helpers import in_loop, turns, wire
from rooms_helpers import Broker, NatsServer, RedisCluster, RedisServer
from rooms_worker import bus_of

import wsfast
from wsfast.events import Role
from wsfast.rooms import Rooms
from wsfast.rooms.envelope import HEAD_SIZE

SERVERS: dict[str, type[Broker]] = {
    "redis": RedisServer,
    "sharded": RedisServer,
    "cluster": RedisCluster,
    "nats": NatsServer,
}
ANY_NAMES = [
    "",
    " ",
    "a.b",
    "*",
    ">",
    "a b\r\nPING\r\n",
    "{tag}",
    "\0",
    "한국어 🙂",
    "%2E",
    "é" * 500,
    "x" * 1000,
]


@pytest.fixture(scope="module", params=list(SERVERS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def broker(kind: str) -> Iterator[Broker]:
    # Not in pytest's own folder, whose path may be too long for a socket.
    with tempfile.TemporaryDirectory() as folder, SERVERS[kind](Path(folder)) as server:
        yield server


@contextlib.asynccontextmanager
async def three_processes(kind: str, url: str) -> AsyncIterator[list[str]]:
    """Start three servers, and return their addresses."""
    worker = str(Path(__file__).with_name("rooms_worker.py"))
    environment = os.environ | {"PYTHONPATH": str(Path(wsfast.__file__).parents[1])}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, worker, kind, url, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        for _ in range(3)
    ]
    try:
        ports = [int(await process.stdout.readline()) for process in processes if process.stdout]
        yield [f"ws://127.0.0.1:{port}/" for port in ports]
    finally:
        for process in processes:
            process.stdin.close()  # type: ignore[union-attr]
        for process in processes:
            assert await process.wait() == 0


async def joined(uri: str) -> Any:
    client = await wsfast.connect(uri)
    assert await client.recv() == "ready"
    return client


async def take(client: Any, n: int) -> list[Any]:
    return [await client.recv() for _ in range(n)]


@in_loop
async def test_three_processes_and_a_broker_that_is_killed(kind: str, broker: Broker) -> None:
    """Every member gets every message, in order. A restart loses only what was published meanwhile, and is told.

    Redis has one order for all members; NATS keeps that of each process, and all members of one process share theirs.
    """
    async with three_processes(kind, broker.url) as uris:
        clients = [await joined(uri + quote("a room")) for uri in uris for _ in range(2)]
        stranger = await joined(uris[0] + "other")
        for n in range(100):
            for name, client in enumerate(clients):
                await client.send(f"{name} {n}")
        received = await asyncio.gather(*(take(client, 600) for client in clients))
        for pair in range(0, 6, 2):
            assert received[pair] == received[pair + 1]
        for messages in received:
            assert kind == "nats" or messages == received[0]
            for name in range(6):
                own = [message for message in messages if message.startswith(f"{name} ")]
                assert own == [f"{name} {n}" for n in range(100)]

        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(0.05)
        for n in range(10):
            await clients[0].send(f"meanwhile {n}")
        for client in clients[:2]:  # those of the same process
            assert await take(client, 10) == [f"meanwhile {n}" for n in range(10)]
        await asyncio.to_thread(broker.start)
        for client in clients:
            assert await client.recv() == "gap"
        assert await stranger.recv() == "gap"
        for client in (clients[0], clients[2], clients[5]):
            await client.send("again")
        for client in clients:
            messages: list[Any] = []
            while messages.count("again") < 3:
                messages.append(await client.recv())
            assert set(messages) <= {"again", "gap"}
        for client in [*clients, stranger]:
            await client.close()


@contextlib.asynccontextmanager
async def two_rooms(kind: str, url: str, **options: Any) -> AsyncIterator[tuple[Rooms, Rooms]]:
    async with Rooms(bus_of(kind, url), **options) as a, Rooms(bus_of(kind, url), **options) as b:
        assert a.is_connected
        assert b.is_connected
        yield a, b


@in_loop
async def test_a_name_with_any_character(kind: str, broker: Broker) -> None:
    member = wire(Role.SERVER)
    async with two_rooms(kind, broker.url) as (a, b):
        for name in ANY_NAMES:
            b.join(name, member.connection)
            await b.subscribed(name)
            publication = a.publish(name, name)
            await publication
            assert publication.is_on_bus
            while not member.transport.writes:
                await asyncio.sleep(0.001)
            assert [frame.payload.decode() for frame in member.transport.take()] == [name]
        for name in ANY_NAMES:
            b.leave(name, member.connection)
        b.join("last", member.connection)
        await b.subscribed("last")  # after the others were taken back
        for name in [*ANY_NAMES, "last"]:
            await a.publish(name, name)
        while not member.transport.writes:
            await asyncio.sleep(0.001)
        assert [frame.payload.decode() for frame in member.transport.take()] == ["last"]
    member.transport.abort()
    await turns(3)


@in_loop
async def test_a_large_message(kind: str, broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """NATS takes 1 MiB. More stays in the process, and is told as a gap."""
    gaps: list[str] = []
    here, there = wire(Role.SERVER), wire(Role.SERVER)
    limit = 2**20 - HEAD_SIZE
    async with two_rooms(kind, broker.url, on_gap=gaps.append, max_size=2**22) as (a, b):
        for rooms, member in ((a, here), (b, there)):
            rooms.join("red", member.connection)
            await rooms.subscribed("red")
        for size in (limit, limit + 1, 1):
            await a.publish("red", bytes(size))
        while not there.transport.writes or len(there.transport.writes[-1]) != 3:
            await asyncio.sleep(0.001)
        assert [len(frame.payload) for frame in here.transport.take()] == [limit, limit + 1, 1]
        sizes = [len(frame.payload) for frame in there.transport.take()]
        if kind == "nats":
            assert sizes == [limit, 1]
            while not gaps:  # a task tells it
                await asyncio.sleep(0.001)
            assert gaps == ["red"]
            assert "stays here" in caplog.text
        else:
            assert sizes == [limit, limit + 1, 1]
        assert a.is_connected
        assert b.is_connected
    for member in (here, there):
        member.transport.abort()
    await turns(3)


@in_loop
async def test_garbage_of_others(kind: str, broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    member = wire(Role.SERVER)
    async with two_rooms(kind, broker.url) as (a, b):
        b.join("red", member.connection)
        await b.subscribed("red")
        assert a._link is not None
        await a._link.bus.publish([("room:red", b"garbage"), ("room:red", b"")])
        await a.publish("red", "good")
        while not member.transport.writes:
            await asyncio.sleep(0.001)
        assert [frame.payload for frame in member.transport.take()] == [b"good"]
        assert caplog.text.count("not a message of wsfast.rooms") == 1
        assert b.is_connected
    member.transport.abort()
    await turns(3)


@in_loop
async def test_a_broker_that_stops_to_answer(kind: str, broker: Broker) -> None:
    """Its process is stopped, and its connections stay: only a time limit helps."""
    gaps: list[str] = []
    member = wire(Role.SERVER)
    async with two_rooms(kind, broker.url, on_gap=gaps.append, timeout=0.3, beat=0.3) as (a, b):
        b.join("red", member.connection)
        await b.subscribed("red")
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, broker.process.pid, os.WSTOPPED | os.WNOWAIT)  # all of its threads
        try:
            publication = b.publish("red", "x")
            assert (await publication).sent == 1
            assert publication.is_on_bus is False
            while a.is_connected or b.is_connected:
                await asyncio.sleep(0.01)
        finally:
            broker.process.send_signal(signal.SIGCONT)
        while "red" not in gaps or not a.is_connected:
            await asyncio.sleep(0.01)
        member.transport.take()
        await a.publish("red", "y")
        while not member.transport.writes:
            await asyncio.sleep(0.001)
        assert [frame.payload for frame in member.transport.take()] == [b"y"]
    member.transport.abort()
    await turns(3)


@pytest.mark.parametrize("scheme", ["redis", "nats"])
@in_loop
async def test_nobody_answers_where_the_broker_should_be(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections, and says nothing
        url = f"{scheme}://127.0.0.1:{mute.getsockname()[1]}"
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with Rooms(bus_of(scheme, url), timeout=0.2) as rooms:
            assert loop.time() - start < 2
            assert not rooms.is_connected
            assert (await rooms.publish("red", "x")).sent == 0
    assert "the bus is away" in caplog.text


@in_loop
async def test_prefixes_are_apart(kind: str, broker: Broker) -> None:
    member = wire(Role.SERVER)
    async with (
        Rooms(bus_of(kind, broker.url, prefix="one")) as one,
        Rooms(bus_of(kind, broker.url, prefix="two")) as two,
    ):
        one.join("red", member.connection)
        await one.subscribed("red")
        await two.publish("red", "of two")
        await one.publish("red", "of one")
        assert [frame.payload for frame in member.transport.take()] == [b"of one"]
    member.transport.abort()
    await turns(3)
