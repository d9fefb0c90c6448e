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
import itertools
import logging
import socket
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asyncio_helpers import client_tls, port_of, server_tls, turns
from hostile_peers import BEHAVIOURS, GONE, SOCKET_BUFFER
from hostile_table import Cell, Outcome, both_loops, check_gone, meet_client, meet_server, run_cells

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

MEMORY_LIMIT = 4 * 2**20
"""Bytes that a connection may keep for its peer, with the options above and what the applications send."""


# What our application does


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
        await meet_server(cell, behaviour, port_of(server), with_tls, ended)
    await turns(10)
    check_gone(cell, alive, with_tls)


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

    await meet_client(cell, behaviour, with_tls, use_client)
    await turns(10)
    check_gone(cell, alive, with_tls)


ADAPTERS: dict[str, Callable[[Cell, Application, str], Awaitable[None]]] = {
    "server": functools.partial(with_our_server, with_tls=False),
    "client": functools.partial(with_our_client, with_tls=False),
    "server-tls": functools.partial(with_our_server, with_tls=True),
    "client-tls": functools.partial(with_our_client, with_tls=True),
}


# The table


@functools.cache
def outcome(adapter: str, loop: str) -> Outcome:
    cells = {
        (behaviour, application): Cell(f"{behaviour}.{application}")
        for behaviour in BEHAVIOURS
        for application in APPLICATIONS
    }
    return run_cells(
        loop,
        cells,
        lambda behaviour, name, cell: ADAPTERS[adapter](cell, APPLICATIONS[name], behaviour),
    )


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
