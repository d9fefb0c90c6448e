"""A peer that behaves badly in any way is gone within the limits, also on trio.

The table of ``test_hostile_peers.py``: behaviours of the peer (``hostile_peers.py``) x what our application does x
role, with TLS and without. The peers act on an asyncio loop, in which trio runs as a guest: so both have one thread,
and all cells of an adapter run side by side.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from asyncio_helpers import client_tls, server_tls
from hostile_peers import BEHAVIOURS, GONE, SOCKET_BUFFER
from hostile_table import Cell, Outcome, check_gone, meet_client, meet_server, run_cells

from wsfast.exceptions import ConnectionClosed
from wsfast.trio import ClientConnection, Connection, ServerConnection, broadcast, connect, serve
from wsfast.trio.observing import bottom_of

OPTIONS: dict[str, Any] = {
    "ping_interval": 0.25,
    "ping_timeout": 0.1,
    "close_timeout": 0.2,
    "max_size": 262_144,
    "max_queue": 4,
}

LARGE = b"x" * 8192

MEMORY_LIMIT = 4 * 2**20
"""Bytes that a connection may keep for its peer, with the options above and what the applications send."""


# What our application does


async def receive(connection: Watched, cell: Cell) -> None:
    cell.ready.set()
    while True:
        await connection.recv()


async def receive_slowly(connection: Watched, cell: Cell) -> None:
    """Take some messages slowly, and the others at once."""
    cell.ready.set()
    for _ in range(20):
        await connection.recv()
        await trio.sleep(0.03)
    while True:
        await connection.recv()


async def echo(connection: Watched, cell: Cell) -> None:
    cell.ready.set()
    async for message in connection:
        await connection.send(message)


async def send(connection: Watched, cell: Cell) -> None:
    while True:
        await connection.send(LARGE)
        note_memory(connection, cell)


async def send_fragments(connection: Watched, cell: Cell) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield LARGE
            note_memory(connection, cell)

    await connection.send(endless())


async def ping(connection: Watched, cell: Cell) -> None:
    for number in itertools.count():
        await connection.ping(b"%0125d" % number)
        note_memory(connection, cell)


async def publish(connection: Watched, cell: Cell) -> None:
    """Broadcast, and receive nothing."""
    while not connection.gone.is_set():
        broadcast([connection], LARGE)
        note_memory(connection, cell)
        await trio.sleep(0.001)


async def wait(connection: Watched, cell: Cell) -> None:
    cell.ready.set()
    await connection.wait_closed()


async def sleep(connection: Watched, cell: Cell) -> None:
    cell.ready.set()
    await connection.gone.wait()


async def close(connection: Watched, cell: Cell) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        await trio.sleep(0)  # our Close is sent, before the peer does anything
        cell.ready.set()


async def cancel(connection: Watched, cell: Cell) -> None:
    """Wait for a message a little, again and again: cancelling breaks nothing."""
    cell.ready.set()
    while True:
        with trio.move_on_after(0.01):
            await connection.recv()


Application = Callable[["Watched", Cell], Awaitable[None]]
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
        cancel,
    )
}
BLOCKED = {"echo", "send", "send_fragments", "ping", "publish"}
FULL = {"fin_after_many_messages", "close_after_many_messages"}
"""The peer's end is behind more messages than are read while nobody takes them."""


def note_memory(connection: Connection, cell: Cell) -> None:
    size = connection._unwritten_size + connection._batch_size
    size += sum(map(sys.getsizeof, connection._messages)) + sum(map(len, connection._held or ()))
    size += 200 * len(connection._pings._pending) + 200 * connection.protocol.n_owed_pongs
    cell.memory = max(cell.memory, size)


class Watched(Connection):
    """Tells its cell."""

    cell: Cell
    gone: trio.Event

    def _begin(self) -> None:
        self.gone = trio.Event()
        bottom = bottom_of(self.stream)
        assert bottom is not None
        bottom.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, SOCKET_BUFFER)
        super()._begin()

    def take_events(self, events: Any) -> None:
        super().take_events(events)
        note_memory(self, self.cell)

    def writing_blocked(self) -> None:
        super().writing_blocked()
        self.cell.ready.set()

    def lost(self, exception: BaseException | None) -> None:
        super().lost(exception)
        self.gone.set()


async def use(connection: Watched, application: Application, cell: Cell) -> None:
    """Run the application, and note how the connection ended."""
    try:
        await application(connection, cell)
    except ConnectionClosed:
        if not connection.gone.is_set():
            cell.faults.append("the application heard of the end before it was there")
    await connection.gone.wait()
    try:
        while True:  # what waits can be taken
            await connection.recv()
    except ConnectionClosed as closed:
        codes = [str(int(close.code)) if close else "-" for close in (closed.rcvd, closed.sent)]
        cause = closed.__cause__
        cell.ended = " ".join([*codes, type(cause).__name__ if cause else "None"])
    if connection.next_deadline() is not None:
        cell.faults.append("a deadline is left")


# Adapters


class Guest:
    """trio, as a guest in the asyncio loop that runs: ``await guest.run(call)`` from asyncio."""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[Any] = loop.create_future()
        ready: asyncio.Future[None] = loop.create_future()

        async def main() -> None:
            self._token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as self._nursery:
                ready.set_result(None)
                await trio.sleep_forever()

        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=self._done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        await ready

    async def run(self, call: Callable[[], Awaitable[None]]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed: list[BaseException] = []

        async def task() -> None:
            try:
                await call()
            except Exception as exception:
                failed.append(exception)
            finally:
                if not done.done():
                    done.set_result(None)

        self._token.run_sync_soon(lambda: self._nursery.start_soon(task))
        await done
        if failed:
            raise failed[0]

    async def stop(self) -> None:
        self._token.run_sync_soon(lambda: self._nursery.cancel_scope.cancel())
        (await self._done).unwrap()


async def with_our_server(
    guest: Guest, cell: Cell, application: Application, behaviour: str, with_tls: bool
) -> None:
    alive: list[weakref.ref[Connection]] = []
    loop = asyncio.get_running_loop()
    port: asyncio.Future[int] = loop.create_future()
    ended = asyncio.Event()

    class Accepted(Watched, ServerConnection):
        pass

    Accepted.cell = cell

    async def handler(connection: Any) -> None:
        alive.append(weakref.ref(connection))
        try:
            await use(connection, application, cell)
        finally:
            stop.set()

    stop = trio.Event()

    async def run_server() -> None:
        async with trio.open_nursery() as nursery:
            start = functools.partial(
                serve,
                handler,
                0,
                host="127.0.0.1",
                create_connection=Accepted,
                logger=logging.getLogger(f"cell.{cell.name}"),
                ssl=server_tls() if with_tls else None,
                **OPTIONS,
            )
            server = await nursery.start(start)
            port.set_result(server.listeners[0].socket.getsockname()[1])
            async with server:
                await stop.wait()
                ended.set()

    running = asyncio.ensure_future(guest.run(run_server))
    await meet_server(cell, behaviour, await port, with_tls, ended)
    await running
    check_gone(cell, alive, with_tls=False)


async def with_our_client(
    guest: Guest, cell: Cell, application: Application, behaviour: str, with_tls: bool
) -> None:
    alive: list[weakref.ref[Connection]] = []

    class Connected(Watched, ClientConnection):
        pass

    Connected.cell = cell

    async def run_client(port: int) -> None:
        scheme = "wss" if with_tls else "ws"
        options = {"ssl": client_tls()} if with_tls else {}
        async with connect(
            f"{scheme}://localhost:{port}/",
            host="127.0.0.1",
            proxy=None,
            create_connection=Connected,
            logger=logging.getLogger(f"cell.{cell.name}"),
            **OPTIONS,
            **options,
        ) as connection:
            alive.append(weakref.ref(connection))
            await use(connection, application, cell)  # type: ignore[arg-type]

    async def use_client(port: int) -> None:
        await guest.run(lambda: run_client(port))

    await meet_client(cell, behaviour, with_tls, use_client)
    check_gone(cell, alive, with_tls=False)


ADAPTERS: dict[str, Callable[[Guest, Cell, Application, str], Awaitable[None]]] = {
    "server": functools.partial(with_our_server, with_tls=False),
    "client": functools.partial(with_our_client, with_tls=False),
    "server-tls": functools.partial(with_our_server, with_tls=True),
    "client-tls": functools.partial(with_our_client, with_tls=True),
}


# The table


@functools.cache
def outcome(adapter: str) -> Outcome:
    cells = {
        (behaviour, application): Cell(f"{behaviour}.{application}")
        for behaviour in BEHAVIOURS
        for application in APPLICATIONS
    }
    guest = Guest()
    n_running = 0

    async def run_cell(behaviour: str, name: str, cell: Cell) -> None:
        nonlocal n_running
        n_running += 1
        if n_running == 1:
            started.append(asyncio.ensure_future(guest.start()))
        await asyncio.shield(started[0])
        try:
            await ADAPTERS[adapter](guest, cell, APPLICATIONS[name], behaviour)
        finally:
            left.discard((behaviour, name))
            if not left:
                await guest.stop()

    started: list[asyncio.Future[None]] = []
    left = set(cells)
    return run_cells("asyncio", cells, run_cell)


def ends(behaviour: str, application: str) -> list[str]:
    """How a connection may end."""
    allowed = BEHAVIOURS[behaviour].ends.split("|")
    if application == "close":
        received = {"-"} | {way.split()[0] for way in allowed}
        causes = ("TimeoutError", "ConnectionResetError", "BrokenPipeError", "OSError", "SSLError", "None")
        return [f"{code} 1000 {cause}" for code in received for cause in causes]
    if application in BLOCKED or behaviour in FULL:
        # The peer does not take what was written before: that may be noticed first.
        allowed += ["- 1011 TimeoutError", "1000 1011 TimeoutError"]
    if application in BLOCKED:
        # A write hears of a reset, and what the peer sent before it is read all the same.
        allowed += [*GONE, "1000 - ConnectionResetError", "1000 - BrokenPipeError"]
    return allowed


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("adapter", ADAPTERS)
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
    assert of_all.n_descriptors_left == 0
