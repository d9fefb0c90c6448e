"""A peer that behaves badly in any way is gone within the limits, whatever the application does meanwhile.

A table: behaviours of the peer (``hostile_peers.py``) x what our application does x adapter and role x loop. A row or
a column is one line. Each cell is a connection of its own over a real socket, and a test of its own. All cells of an
adapter and a loop run at once, when the first of their tests asks for them: they mostly wait.

In each cell the application hears the typed cause, its task ends, nothing is left of the connection without a run of
the collector, memory had a bound, and the log says nothing at WARNING or above.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import logging
import os
import socket
import sys
import traceback
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from asyncio_helpers import _LOOP_FACTORIES, client_tls, port_of, server_tls, transports_of, turns
from hostile_peers import BEHAVIOURS, GONE, SOCKET_BUFFER, Peer, act, small_buffers

from wsfast.asyncio import ClientConnection, ServerConnection, broadcast, connect, serve
from wsfast.asyncio.connection import Connection
from wsfast.exceptions import ConnectionClosed

PING_INTERVAL = 0.25
PING_TIMEOUT = 0.1
CLOSE_TIMEOUT = 0.2
OPTIONS: dict[str, Any] = {
    "ping_interval": PING_INTERVAL,
    "ping_timeout": PING_TIMEOUT,
    "close_timeout": CLOSE_TIMEOUT,
    "max_size": 262_144,
    "max_queue": 4,
    "compression": None,
}

LARGE = b"x" * 8192

LIMIT = 25.0
"""Seconds for a cell: 20 times what the limits above, four looks and a second ``close_timeout`` come to."""

N_AT_ONCE = 66
"""Cells that run at a time."""

MEMORY_LIMIT = 4 * 2**20
"""Bytes that a connection may keep for its peer, with the options above and what the applications send."""


# What our application does


@dataclass
class Cell:
    """One connection, and what came of it."""

    name: str
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """The application does what it is to do."""
    blocked: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    memory: int = 0
    """The most that was kept, in bytes."""
    ended: str = "never"
    faults: list[str] = field(default_factory=list)
    log: list[logging.LogRecord] = field(default_factory=list)


async def receive(connection: Connection, cell: Cell) -> None:
    cell.ready.set()
    while True:
        await connection.recv()


async def receive_slowly(connection: Connection, cell: Cell) -> None:
    """Take some messages slowly, and the others at once."""
    cell.ready.set()
    for _ in range(20):
        await connection.recv()
        await asyncio.sleep(0.03)
    while True:
        await connection.recv()


async def echo(connection: Connection, cell: Cell) -> None:
    cell.ready.set()
    async for message in connection:
        await connection.send(message)


async def send(connection: Connection, cell: Cell) -> None:
    while True:
        await connection.send(LARGE)
        note_memory(connection, cell)


async def send_fragments(connection: Connection, cell: Cell) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield LARGE
            note_memory(connection, cell)

    await connection.send(endless())


async def ping(connection: Connection, cell: Cell) -> None:
    for number in itertools.count():
        await connection.ping(b"%0125d" % number)
        note_memory(connection, cell)


async def publish(connection: Connection, cell: Cell) -> None:
    """Broadcast, and receive nothing."""
    while not cell.lost.is_set():
        broadcast([connection], LARGE)
        note_memory(connection, cell)
        await asyncio.sleep(0.001)


async def wait(connection: Connection, cell: Cell) -> None:
    cell.ready.set()
    await connection.wait_closed()


async def sleep(connection: Connection, cell: Cell) -> None:
    cell.ready.set()
    await cell.lost.wait()


async def close(connection: Connection, cell: Cell) -> None:
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)  # our Close is sent, before the peer does anything
    cell.ready.set()
    await closing


async def close_while_blocked(connection: Connection, cell: Cell) -> None:
    sending = asyncio.create_task(send(connection, cell))
    blocked = asyncio.create_task(cell.blocked.wait())
    await asyncio.wait([sending, blocked], return_when=asyncio.FIRST_COMPLETED)
    await connection.close()
    await asyncio.wait([sending, blocked])
    assert isinstance(sending.exception(), ConnectionClosed)


Application = Callable[[Connection, Cell], Awaitable[None]]
APPLICATIONS: dict[str, Application] = {
    application.__name__: application
    for application in (
        receive,
        receive_slowly,
        echo,
        send,
        send_fragments,
        ping,
        publish,
        wait,
        sleep,
        close,
        close_while_blocked,
    )
}
WE_CLOSE = {"close", "close_while_blocked"}
BLOCKED = {"close_while_blocked", "echo", "send", "send_fragments", "ping", "publish"}
FULL = {"fin_after_many_messages", "close_after_many_messages"}
"""The peer's end is behind more messages than are read while nobody takes them."""


def note_memory(connection: Connection, cell: Cell) -> None:
    size = 0 if cell.lost.is_set() else connection.transport.get_write_buffer_size() + connection._batch_size
    size += sum(map(sys.getsizeof, connection._messages)) + sum(map(len, connection._held or ()))
    size += 200 * len(connection._pings._pending) + 200 * connection.protocol.n_owed_pongs
    cell.memory = max(cell.memory, size)


class Watched(Connection):
    """Tells its cell."""

    cell: Cell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        super().connection_made(transport)

    def take_events(self, events: Any) -> None:
        super().take_events(events)
        note_memory(self, self.cell)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.cell.blocked.set()
        self.cell.ready.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.cell.lost.set()


async def use(connection: Connection, application: Application, cell: Cell) -> None:
    """Run the application, and note how the connection ended."""
    try:
        await application(connection, cell)
    except ConnectionClosed:
        if not cell.lost.is_set():
            cell.faults.append("the application heard of the end before it was there")
    await cell.lost.wait()
    try:
        while True:  # what waits can be taken
            await connection.recv()
    except ConnectionClosed as closed:
        codes = [str(int(close.code)) if close else "-" for close in (closed.rcvd, closed.sent)]
        cause = closed.__cause__
        cell.ended = " ".join([*codes, type(cause).__name__ if cause else "None"])
    if connection.next_deadline() is not None or connection._timer is not None:
        cell.faults.append("a deadline is left")


# Adapters


async def with_our_server(cell: Cell, application: Application, behaviour: str, with_tls: bool) -> None:
    alive: list[weakref.ref[Connection]] = []

    class Accepted(Watched, ServerConnection):
        pass

    Accepted.cell = cell
    ended = asyncio.Event()

    async def handler(connection: Connection) -> None:
        alive.append(weakref.ref(connection))
        try:
            await use(connection, application, cell)
        finally:
            ended.set()

    logger = logging.getLogger(f"cell.{cell.name}")
    tls = server_tls() if with_tls else None
    async with serve(
        handler, "127.0.0.1", 0, create_connection=Accepted, logger=logger, ssl=tls, **OPTIONS
    ) as server:
        with socket.socket() as sock:
            sock.setblocking(False)
            small_buffers(sock)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port_of(server)))
            peer = Peer(sock, is_client=True, tls=client_tls() if with_tls else None)
            peer.settled = cell.ready.wait
            acting = asyncio.create_task(act(peer, BEHAVIOURS[behaviour]))
            try:
                await ended.wait()
            finally:
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)
    await check_gone(cell, alive, with_tls)


async def with_our_client(cell: Cell, application: Application, behaviour: str, with_tls: bool) -> None:
    alive: list[weakref.ref[Connection]] = []

    class Connected(Watched, ClientConnection):
        pass

    Connected.cell = cell

    async def use_client(port: int) -> None:
        scheme = "wss" if with_tls else "ws"
        options = {"ssl": client_tls()} if with_tls else {}
        connection = await connect(
            f"{scheme}://localhost:{port}/",
            host="127.0.0.1",
            create_connection=Connected,
            logger=logging.getLogger(f"cell.{cell.name}"),
            **OPTIONS,
            **options,
        )
        alive.append(weakref.ref(connection))
        await use(connection, application, cell)

    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        small_buffers(listening)
        using = asyncio.create_task(use_client(listening.getsockname()[1]))
        sock, _ = await loop.sock_accept(listening)
        with sock:
            peer = Peer(sock, is_client=False, tls=server_tls() if with_tls else None)
            peer.settled = cell.ready.wait
            acting = asyncio.create_task(act(peer, BEHAVIOURS[behaviour]))
            try:
                await using
            finally:
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)
    del using
    await check_gone(cell, alive, with_tls)


async def check_gone(cell: Cell, alive: list[weakref.ref[Connection]], with_tls: bool) -> None:
    await turns(10)
    if not alive:
        cell.faults.append("there was no connection")
    # asyncio's TLS keeps the frames of some of its errors for the collector.
    if not with_tls and any(ref() is not None for ref in alive):
        cell.faults.append("the connection is still there")


ADAPTERS: dict[str, Callable[[Cell, Application, str], Awaitable[None]]] = {
    "server": functools.partial(with_our_server, with_tls=False),
    "client": functools.partial(with_our_client, with_tls=False),
    "server-tls": functools.partial(with_our_server, with_tls=True),
    "client-tls": functools.partial(with_our_client, with_tls=True),
}


# All cells of an adapter and a loop at once


class LogOfAll(logging.Handler):
    """Keeps what is logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@dataclass
class Outcome:
    cells: dict[tuple[str, str], Cell]
    log: list[logging.LogRecord]
    n_tasks_left: int
    n_descriptors_left: int


def n_descriptors() -> int:
    """Number of descriptors that are open, where the system tells."""
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


@functools.cache
def outcome(adapter: str, loop: str) -> Outcome:
    cells = {
        (behaviour, application): Cell(f"{behaviour}.{application}")
        for behaviour in BEHAVIOURS
        for application in APPLICATIONS
    }

    some_at_once = asyncio.Semaphore(N_AT_ONCE)

    async def run_cell(cell: Cell, application: Application, behaviour: str) -> None:
        try:
            async with some_at_once, asyncio.timeout(LIMIT):
                await ADAPTERS[adapter](cell, application, behaviour)
        except Exception as exception:
            cell.faults.append("".join(traceback.format_exception(exception)))

    async def run_all() -> int:
        await asyncio.gather(
            *(
                run_cell(cell, APPLICATIONS[application], behaviour)
                for (behaviour, application), cell in cells.items()
            )
        )
        await turns(10)
        return len(asyncio.all_tasks()) - 1

    log = LogOfAll()
    logging.getLogger().addHandler(log)
    with asyncio.Runner(loop_factory=_LOOP_FACTORIES[loop]) as runner:
        runner.run(asyncio.sleep(0))  # uvloop keeps some descriptors of its first loop
    n_before = n_descriptors()
    gc.collect()
    gc.disable()  # what is left has to go by itself
    try:
        with transports_of(loop), asyncio.Runner(loop_factory=_LOOP_FACTORIES[loop]) as runner:
            n_tasks_left = runner.run(run_all())
    finally:
        gc.enable()
        gc.collect()  # "was never retrieved" is logged when a future dies
        logging.getLogger().removeHandler(log)
    return Outcome(cells, log.records, n_tasks_left, n_descriptors() - n_before)


def ends(behaviour: str, application: str) -> list[str]:
    """How a connection may end."""
    allowed = BEHAVIOURS[behaviour].ends.split("|")
    if application in WE_CLOSE:
        received = {"-"} | {way.split()[0] for way in allowed}
        causes = ("TimeoutError", "ConnectionResetError", "BrokenPipeError", "OSError", "SSLError", "None")
        ours = [f"{code} 1000 {cause}" for code in received for cause in causes]
        if application == "close":
            return ours
        allowed += ours
    if application in BLOCKED or behaviour in FULL:
        # The peer does not take what was written before: that may be noticed first.
        allowed += ["- 1011 TimeoutError", "1000 1011 TimeoutError"]
    if application in BLOCKED and behaviour == "close_and_reset":
        allowed += GONE  # a write hears of the reset before the Close is read
    return allowed


both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop", "aiofastnet", "aiofastnet-uvloop"])


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("adapter", ADAPTERS)
@both_loops
def test_the_peer_is_gone_within_the_limits(
    loop: str, adapter: str, behaviour: str, application: str
) -> None:
    cell = outcome(adapter, loop).cells[behaviour, application]
    assert not cell.faults, "\n".join(cell.faults)
    assert cell.ended in ends(behaviour, application)
    assert cell.memory <= MEMORY_LIMIT


@pytest.mark.parametrize("adapter", ADAPTERS)
@both_loops
def test_nothing_is_left_and_nothing_is_logged(loop: str, adapter: str) -> None:
    of_all = outcome(adapter, loop)
    assert not [(record.name, record.getMessage(), record.exc_info) for record in of_all.log]
    assert of_all.n_tasks_left == 0
    assert of_all.n_descriptors_left == 0
