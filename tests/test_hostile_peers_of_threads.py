"""A peer that behaves badly in any way is gone within the limits, whatever a thread of ours does meanwhile.

The table of ``test_hostile_peers.py`` for ``wsfast.sync``: the peers are the same, and the application of each cell is
a thread. All cells of an adapter run at once, when the first of their tests asks for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import socket
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asyncio_helpers import client_tls, server_tls
from hostile_peers import BEHAVIOURS, GONE, SOCKET_BUFFER
from hostile_table import Cell, Outcome, check_gone, meet_client, meet_server, run_cells

from wsfast.exceptions import ConnectionClosed
from wsfast.sync import ClientConnection, Connection, ServerConnection, broadcast, connect, serve
from wsfast.sync.stream import Stream

PING_INTERVAL = 0.3
PING_TIMEOUT = 0.25  # threads share one core with all other cells
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


class ThreadCell:
    """The cell as a thread sees it."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.loop = asyncio.get_running_loop()
        self.lost = threading.Event()
        self.blocked = threading.Event()

    def ready(self) -> None:
        self.loop.call_soon_threadsafe(self.cell.ready.set)


# What our application does


def receive(connection: Connection, cell: ThreadCell) -> None:
    cell.ready()
    while True:
        connection.recv()


def receive_with_timeouts(connection: Connection, cell: ThreadCell) -> None:
    cell.ready()
    while True:
        with contextlib.suppress(TimeoutError):
            connection.recv(timeout=0.02)


def receive_slowly(connection: Connection, cell: ThreadCell) -> None:
    """Take some messages slowly, and the others at once."""
    cell.ready()
    for _ in range(20):
        connection.recv()
        time.sleep(0.03)
    while True:
        connection.recv()


def echo(connection: Connection, cell: ThreadCell) -> None:
    cell.ready()
    for message in connection:
        connection.send(message)


def send(connection: Connection, cell: ThreadCell) -> None:
    while True:
        connection.send(LARGE)
        note_memory(connection, cell)


def send_fragments(connection: Connection, cell: ThreadCell) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield LARGE
            note_memory(connection, cell)

    connection.send(endless())


def ping(connection: Connection, cell: ThreadCell) -> None:
    for number in itertools.count():
        connection.ping(b"%0125d" % number)
        note_memory(connection, cell)


def publish(connection: Connection, cell: ThreadCell) -> None:
    """Broadcast, and receive nothing."""
    while not cell.lost.is_set():
        broadcast([connection], LARGE)
        note_memory(connection, cell)
        time.sleep(0.003)


def wait(connection: Connection, cell: ThreadCell) -> None:
    cell.ready()
    connection.wait_closed()


def sleep(connection: Connection, cell: ThreadCell) -> None:
    cell.ready()
    assert cell.lost.wait(20)


def close(connection: Connection, cell: ThreadCell) -> None:
    connection.begin_close()
    cell.ready()
    connection.close()


def close_while_blocked(connection: Connection, cell: ThreadCell) -> None:
    heard: list[type[BaseException]] = []

    def send_on() -> None:
        try:
            send(connection, cell)
        except Exception as exception:
            heard.append(type(exception))
        cell.blocked.set()

    sending = threading.Thread(target=send_on, daemon=True)
    sending.start()
    assert cell.blocked.wait(20)
    connection.close()
    sending.join()
    assert issubclass(heard[0], ConnectionClosed)


def close_while_receiving(connection: Connection, cell: ThreadCell) -> None:
    heard: list[type[BaseException]] = []

    def receive_on() -> None:
        try:
            receive(connection, cell)
        except Exception as exception:
            heard.append(type(exception))

    receiving = threading.Thread(target=receive_on, daemon=True)
    receiving.start()
    time.sleep(0.02)
    connection.close()
    receiving.join()
    assert issubclass(heard[0], ConnectionClosed)


Application = Callable[[Connection, ThreadCell], None]
APPLICATIONS: dict[str, Application] = {
    application.__name__: application
    for application in (
        receive,
        receive_with_timeouts,
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
        close_while_receiving,
    )
}
WE_CLOSE = {"close", "close_while_blocked", "close_while_receiving"}
BLOCKED = {"close_while_blocked", "echo", "send", "send_fragments", "ping", "publish"}
FULL = {"fin_after_many_messages", "close_after_many_messages"}
"""The peer's end is behind more messages than are read while nobody takes them."""


def note_memory(connection: Connection, cell: ThreadCell) -> None:
    with connection._lock:
        size = len(connection._untaken) + connection._batch_size
        size += sum(map(sys.getsizeof, connection._messages)) + sum(map(len, connection._held or ()))
        size += 200 * len(connection._pings._pending) + 200 * connection.protocol.n_owed_pongs
    cell.cell.memory = max(cell.cell.memory, size)


class Watched(Connection):
    """Tells its cell."""

    cell: ThreadCell

    def __init__(self, protocol: Any, stream: Stream, *more: Any, **options: Any) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        super().__init__(protocol, stream, *more, **options)

    def take_events(self, events: Any) -> None:
        super().take_events(events)
        note_memory(self, self.cell)

    def writing_blocked(self) -> None:
        super().writing_blocked()
        self.cell.blocked.set()
        self.cell.ready()

    def lost(self, exception: BaseException | None) -> None:
        super().lost(exception)
        self.cell.lost.set()


def use(connection: Connection, application: Application, cell: ThreadCell) -> None:
    """Run the application, and note how the connection ended."""
    faults = cell.cell.faults
    try:
        application(connection, cell)
    except ConnectionClosed:
        if not cell.lost.is_set():
            faults.append("the application heard of the end before it was there")
    assert cell.lost.wait(20)
    try:
        while True:  # what waits can be taken
            connection.recv(timeout=0)
    except ConnectionClosed as closed:
        codes = [str(int(close.code)) if close else "-" for close in (closed.rcvd, closed.sent)]
        cause = closed.__cause__
        cell.cell.ended = " ".join([*codes, type(cause).__name__ if cause else "None"])
    if connection.next_deadline() is not None:
        faults.append("a deadline is left")


# Adapters

N_AT_ONCE = 120
POOL = ThreadPoolExecutor(2 * N_AT_ONCE)


async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(POOL, call, *arguments)


async def gone(cell: Cell, alive: list[weakref.ref[Connection]], with_tls: bool) -> None:
    for _ in range(1000):  # the thread that looks after connections lets go of it a little later
        if all(ref() is None for ref in alive):
            break
        await asyncio.sleep(0.01)
    check_gone(cell, alive, with_tls)


async def with_our_server(cell: Cell, application: Application, behaviour: str, with_tls: bool) -> None:
    alive: list[weakref.ref[Connection]] = []
    of_thread = ThreadCell(cell)
    ended = asyncio.Event()

    class Accepted(Watched, ServerConnection):
        pass

    Accepted.cell = of_thread

    def handler(connection: Connection) -> None:
        alive.append(weakref.ref(connection))
        try:
            use(connection, application, of_thread)
        except Exception as exception:
            cell.faults.append(repr(exception))
        finally:
            of_thread.loop.call_soon_threadsafe(ended.set)

    server = serve(
        handler,
        "127.0.0.1",
        0,
        create_connection=Accepted,
        logger=logging.getLogger(f"cell.{cell.name}"),
        ssl=server_tls() if with_tls else None,
        **OPTIONS,
    )
    serving = in_thread(server.serve_forever)
    task = asyncio.ensure_future(serving)
    try:
        await meet_server(cell, behaviour, server.sockets[0].getsockname()[1], with_tls, ended)
    finally:
        await in_thread(server.shutdown)
        await task
    await gone(cell, alive, with_tls)


async def with_our_client(cell: Cell, application: Application, behaviour: str, with_tls: bool) -> None:
    alive: list[weakref.ref[Connection]] = []
    of_thread = ThreadCell(cell)

    class Connected(Watched, ClientConnection):
        pass

    Connected.cell = of_thread

    def connect_and_use(port: int) -> None:
        connection = connect(
            f"{'wss' if with_tls else 'ws'}://localhost:{port}/",
            host="127.0.0.1",
            ssl=client_tls() if with_tls else None,
            create_connection=Connected,
            logger=logging.getLogger(f"cell.{cell.name}"),
            **OPTIONS,
        )
        alive.append(weakref.ref(connection))
        use(connection, application, of_thread)

    await meet_client(cell, behaviour, with_tls, functools.partial(in_thread, connect_and_use))
    await gone(cell, alive, with_tls)


ADAPTERS: dict[str, Callable[[Cell, Application, str], Awaitable[None]]] = {
    "server": functools.partial(with_our_server, with_tls=False),
    "client": functools.partial(with_our_client, with_tls=False),
    "server-tls": functools.partial(with_our_server, with_tls=True),
    "client-tls": functools.partial(with_our_client, with_tls=True),
}


# The table

USED = {
    "server": tuple(APPLICATIONS),
    "client": ("receive", "receive_slowly", "echo", "send", "sleep", "close_while_receiving"),
    "server-tls": ("receive", "send", "sleep"),
    "client-tls": ("echo", "send", "close_while_blocked"),
}
"""The roles differ in who closes TCP first, and TLS in the bytes below a connection: the rest has the same lines."""

COLUMNS = [(adapter, application) for adapter, applications in USED.items() for application in applications]


@functools.cache
def outcome(adapter: str) -> Outcome:
    cells = {
        (behaviour, application): Cell(f"{behaviour}.{application}")
        for behaviour in BEHAVIOURS
        for of_adapter, application in COLUMNS
        if of_adapter == adapter
    }
    return run_cells(
        "asyncio",
        cells,
        lambda behaviour, name, cell: ADAPTERS[adapter](cell, APPLICATIONS[name], behaviour),
        N_AT_ONCE,
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


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize(("adapter", "application"), COLUMNS)
def test_the_peer_is_gone_within_the_limits(adapter: str, behaviour: str, application: str) -> None:
    cell = outcome(adapter).cells[behaviour, application]
    assert not cell.faults, "\n".join(cell.faults)
    assert cell.ended in ends(behaviour, application)
    assert cell.memory <= MEMORY_LIMIT


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_nothing_is_left_and_nothing_is_logged(adapter: str) -> None:
    of_all = outcome(adapter)
    assert not [(record.name, record.getMessage(), record.exc_info) for record in of_all.log]
    assert of_all.n_tasks_left == 0
    assert of_all.n_descriptors_left <= 4  # those of the one thread for all connections
