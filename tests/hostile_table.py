"""The machinery of the tables of hostile peers: a cell is a connection over a real socket, and they run side by side.

``test_hostile_peers.py`` has the cells of coroutines, ``test_hostile_peers_of_listeners.py`` those of callbacks.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import traceback
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import pytest
from asyncio_helpers import _LOOP_FACTORIES, client_tls, server_tls, transports_of, turns
from hostile_peers import BEHAVIOURS, LogOfAll, Peer, act, small_buffers

both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop", "aiofastnet", "aiofastnet-uvloop"])

LIMIT = 25.0
"""Seconds for a cell: 20 times what the limits above, four looks and a second ``close_timeout`` come to."""

N_AT_ONCE = 66
"""Cells that run at a time."""


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


# One cell


async def meet_server(cell: Cell, behaviour: str, port: int, with_tls: bool, ended: asyncio.Event) -> None:
    """Behave as a client of our server at ``port``, until our end has ``ended``."""
    with socket.socket() as sock:
        sock.setblocking(False)
        small_buffers(sock)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        peer = Peer(sock, is_client=True, tls=client_tls() if with_tls else None)
        await _act_until(cell, behaviour, peer, ended.wait())


async def meet_client(
    cell: Cell, behaviour: str, with_tls: bool, use_client: Callable[[int], Awaitable[None]]
) -> None:
    """Behave as the server of our client, which ``use_client(port)`` connects and waits for."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        small_buffers(listening)
        using = asyncio.ensure_future(use_client(listening.getsockname()[1]))
        sock, _ = await loop.sock_accept(listening)
        with sock:
            peer = Peer(sock, is_client=False, tls=server_tls() if with_tls else None)
            await _act_until(cell, behaviour, peer, using)


async def _act_until(cell: Cell, behaviour: str, peer: Peer, ended: Awaitable[object]) -> None:
    peer.settled = cell.ready.wait
    acting = asyncio.create_task(act(peer, BEHAVIOURS[behaviour]))
    try:
        await ended
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)


def check_gone(cell: Cell, alive: list[weakref.ref[object]], with_tls: bool) -> None:
    """Note a fault if there was no connection, or if it is still there."""
    if not alive:
        cell.faults.append("there was no connection")
    # asyncio's TLS keeps the frames of some of its errors for the collector.
    if not with_tls and any(ref() is not None for ref in alive):
        cell.faults.append("the connection is still there")


# All cells of an adapter and a loop at once


@dataclass
class Outcome:
    cells: dict[tuple[str, str], Cell]
    log: list[logging.LogRecord]
    n_tasks_left: int
    n_descriptors_left: int


def n_descriptors() -> int:
    """Number of descriptors that are open, where the system tells."""
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


def run_cells(
    loop: str,
    cells: Mapping[tuple[str, str], Cell],
    run_cell: Callable[[str, str, Cell], Awaitable[None]],
    n_at_once: int = N_AT_ONCE,
) -> Outcome:
    """Run ``run_cell(behaviour, application, cell)`` for each of them."""
    some_at_once = asyncio.Semaphore(n_at_once)

    async def run_one(behaviour: str, application: str, cell: Cell) -> None:
        try:
            async with some_at_once, asyncio.timeout(LIMIT):
                await run_cell(behaviour, application, cell)
        except Exception as exception:
            cell.faults.append("".join(traceback.format_exception(exception)))

    async def run_all() -> int:
        await asyncio.gather(*(run_one(*names, cell) for names, cell in cells.items()))
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
    return Outcome(dict(cells), log.records, n_tasks_left, n_descriptors() - n_before)
