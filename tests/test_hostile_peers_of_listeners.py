"""A peer that behaves badly in any way is gone within the limits, whatever our listener does meanwhile.

The table of ``test_hostile_peers.py`` for callbacks: behaviours of the peer x what our listener does x adapter and role
x loop. ``on_close`` comes once, with the typed cause, and nothing is left of the connection.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import socket
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asyncio_helpers import client_tls, port_of, server_tls, turns
from hostile_peers import BEHAVIOURS, GONE, SOCKET_BUFFER
from hostile_table import Cell, Outcome, both_loops, check_gone, meet_client, meet_server, run_cells
from test_hostile_peers import LARGE, MEMORY_LIMIT, OPTIONS, note_memory

from wsfast.asyncio import Listener, ListenerConnection, connect, serve
from wsfast.asyncio.client import ClientListenerConnection
from wsfast.asyncio.server import ServerListenerConnection
from wsfast.exceptions import ConnectionClosed

# What our listener does


class Taking(Listener):
    """Takes messages, and notes the end."""

    ends = ""
    """How a connection may end, if it is another way than the peer's behaviour says."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.n_ends = 0

    def on_open(self, connection: ListenerConnection) -> None:
        self.cell.ready.set()

    def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
        codes = [str(int(close.code)) if close else "-" for close in (closed.rcvd, closed.sent)]
        cause = closed.__cause__
        self.cell.ended = " ".join([*codes, type(cause).__name__ if cause else "None"])
        self.n_ends += 1
        if self.n_ends != 1:
            self.cell.faults.append("on_close came again")
        if connection.next_deadline() is not None or connection._timer is not None:
            self.cell.faults.append("a deadline is left")


class Echoing(Taking):
    ends = "- 1011 TimeoutError"  # the peer does not take what was written before

    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        connection.send(message)


class Pausing(Taking):
    """Takes nothing, ever."""

    # The peer's end is behind what is not read, and uvloop's TLS forgets what is not read at a FIN.
    ends = "- 1011 TimeoutError|- - None"

    def on_open(self, connection: ListenerConnection) -> None:
        super().on_open(connection)
        connection.pause_reading()


class TakingSlowly(Taking):
    """Takes some messages slowly, and the others at once."""

    ends = "- 1011 TimeoutError"

    def on_open(self, connection: ListenerConnection) -> None:
        super().on_open(connection)
        self.n_slow = 20

    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        if self.n_slow:
            self.n_slow -= 1
            connection.pause_reading()
            asyncio.get_running_loop().call_later(0.03, connection.resume_reading)


class Sending(Taking):
    """Sends as much as the peer takes."""

    ends = "- 1011 TimeoutError|1000 1011 TimeoutError"

    def on_open(self, connection: ListenerConnection) -> None:
        super().on_open(connection)
        self.is_blocked = False
        self.send(connection)

    def send(self, connection: ListenerConnection) -> None:
        try:
            while not self.is_blocked:
                connection.send(LARGE)
        except ConnectionClosed:
            pass

    def on_pause_writing(self, connection: ListenerConnection) -> None:
        self.is_blocked = True

    def on_resume_writing(self, connection: ListenerConnection) -> None:
        self.is_blocked = False
        self.send(connection)


class SendingOn(Sending):
    """Sends without regard to what the peer takes."""

    ends = "|".join(
        f"{code} 1008 {cause}"
        for code in ("-", "1000")
        for cause in ("None", "TimeoutError", "ConnectionResetError", "BrokenPipeError")
    )

    def on_pause_writing(self, connection: ListenerConnection) -> None:
        pass


class Pinging(Taking):
    ends = "- 1011 TimeoutError|1000 1011 TimeoutError"

    def on_open(self, connection: ListenerConnection) -> None:
        super().on_open(connection)
        self.ping(weakref.ref(connection))

    def ping(self, alive: weakref.ref[ListenerConnection]) -> None:
        connection = alive()
        if connection is not None and not self.n_ends:
            try:
                for _ in range(3):  # asyncio's TLS logs the fifth write after the peer's end in one turn
                    connection.ping()
            except ConnectionClosed:
                return
            asyncio.get_running_loop().call_later(0.0005, self.ping, alive)


class Closing(Taking):
    ends = "close"

    def on_open(self, connection: ListenerConnection) -> None:
        super().on_open(connection)
        connection.close()


LISTENERS: dict[str, type[Taking]] = {
    listener.__name__: listener
    for listener in (Taking, Echoing, Pausing, TakingSlowly, Sending, SendingOn, Pinging, Closing)
}


class Watched(ListenerConnection):
    """Tells its cell."""

    cell: Cell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        super().connection_made(transport)

    def data_received(self, data: Any) -> None:
        super().data_received(data)
        note_memory(self, self.cell)

    def _write(self, data: bytes) -> None:
        super()._write(data)
        note_memory(self, self.cell)

    def connection_lost(self, exc: Exception | None) -> None:
        self.cell.lost.set()
        super().connection_lost(exc)


# Adapters


async def with_our_server(cell: Cell, listener: type[Taking], behaviour: str, with_tls: bool) -> None:
    alive: list[weakref.ref[ListenerConnection]] = []
    ended = asyncio.Event()

    class Accepted(Watched, ServerListenerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            alive.append(weakref.ref(self))
            super().connection_made(transport)

        def _is_closed(self) -> None:
            super()._is_closed()
            if self._closed.done():
                ended.set()

    Accepted.cell = cell
    async with serve(
        listener=functools.partial(listener, cell),
        host="127.0.0.1",
        port=0,
        create_connection=Accepted,
        logger=logging.getLogger(f"cell.{cell.name}"),
        ssl=server_tls() if with_tls else None,
        **OPTIONS,
    ) as server:
        await meet_server(cell, behaviour, port_of(server), with_tls, ended)
    await asyncio.sleep(0.05)  # timers of the listener
    await turns(10)
    check_gone(cell, alive, with_tls)


async def with_our_client(cell: Cell, listener: type[Taking], behaviour: str, with_tls: bool) -> None:
    alive: list[weakref.ref[ListenerConnection]] = []

    class Connected(Watched, ClientListenerConnection):
        pass

    Connected.cell = cell

    async def use_client(port: int) -> None:
        scheme = "wss" if with_tls else "ws"
        options: dict[str, Any] = {"ssl": client_tls()} if with_tls else {}
        connection = await connect(
            f"{scheme}://localhost:{port}/",
            listener=functools.partial(listener, cell),
            host="127.0.0.1",
            create_connection=Connected,
            logger=logging.getLogger(f"cell.{cell.name}"),
            **OPTIONS,
            **options,
        )
        assert isinstance(connection, ListenerConnection)
        alive.append(weakref.ref(connection))
        await connection.wait_closed()

    await meet_client(cell, behaviour, with_tls, use_client)
    await asyncio.sleep(0.05)  # timers of the listener
    await turns(10)
    check_gone(cell, alive, with_tls)


ADAPTERS: dict[str, Callable[[Cell, type[Taking], str], Awaitable[None]]] = {
    "server": functools.partial(with_our_server, with_tls=False),
    "client": functools.partial(with_our_client, with_tls=False),
    "server-tls": functools.partial(with_our_server, with_tls=True),
}

# To encrypt 16 MiB in each of these cells would starve all others.
LEFT_OUT = ("server-tls", "SendingOn")


# The table


@functools.cache
def outcome(adapter: str, loop: str) -> Outcome:
    cells = {
        (behaviour, listener): Cell(f"{behaviour}.{listener}")
        for behaviour in BEHAVIOURS
        for listener in LISTENERS
        if (adapter, listener) != LEFT_OUT
    }
    return run_cells(
        loop, cells, lambda behaviour, name, cell: ADAPTERS[adapter](cell, LISTENERS[name], behaviour)
    )


def ends(behaviour: str, listener: str) -> list[str]:
    """How a connection may end."""
    allowed = BEHAVIOURS[behaviour].ends.split("|")
    if listener == "Closing":
        received = {"-"} | {way.split()[0] for way in allowed}
        causes = ("TimeoutError", "ConnectionResetError", "BrokenPipeError", "OSError", "SSLError", "None")
        return [f"{code} 1000 {cause}" for code in received for cause in causes]
    if behaviour == "close_and_reset" and listener in ("Pausing", "Sending", "SendingOn", "Pinging"):
        allowed += GONE  # a write, or the keepalive's, hears of the reset before the Close is read
    return allowed + LISTENERS[listener].ends.split("|")


@pytest.mark.parametrize(
    ("adapter", "listener"), [pair for pair in itertools.product(ADAPTERS, LISTENERS) if pair != LEFT_OUT]
)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@both_loops
def test_the_peer_is_gone_within_the_limits(loop: str, adapter: str, behaviour: str, listener: str) -> None:
    cell = outcome(adapter, loop).cells[behaviour, listener]
    assert not cell.faults, "\n".join(cell.faults)
    assert cell.ended in ends(behaviour, listener)
    # A listener that sends on has the bound of a broadcast, 16 MiB, and the message that reaches it.
    assert cell.memory <= (17 * 2**20 if listener == "SendingOn" else MEMORY_LIMIT)


@pytest.mark.parametrize("adapter", ADAPTERS)
@both_loops
def test_nothing_is_left_and_nothing_is_logged(loop: str, adapter: str) -> None:
    of_all = outcome(adapter, loop)
    assert not [(record.name, record.getMessage(), record.exc_info) for record in of_all.log]
    assert of_all.n_tasks_left == 0
    assert of_all.n_descriptors_left == 0
