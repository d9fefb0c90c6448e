"""``Server.drain``: close a server so that its clients can go elsewhere, not all at once, and within a limit.

when                       what
-------------------------  ----------------------------------------------------------------------------
at once                    stop listening; answer handshakes with 503
within ``jitter``          close each connection, at a time of its own
until ``deadline``         wait for the closing handshakes and the handlers
at ``deadline``            cancel the handlers that still run, and cut their connections
``GRACE`` later            give up on handlers that do not end when they are cancelled
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..connection import ReadyState
from .connection import Connection

__all__ = ["GRACE", "DrainReport", "drain"]

# Seconds for a handler that was cancelled.
GRACE = 1.0


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How a server was drained. The numbers are of connections that were open when it began."""

    n_connections: int
    """All of them."""
    n_closed: int
    """Those that ended with a Close frame of the peer, in time."""
    n_lost: int
    """Those that ended without one, but in time."""
    n_cut: int
    """Those that were cut at the deadline, with their handlers."""
    n_stuck: int
    """Handlers among these that still run, because they do not end when they are cancelled."""
    seconds: float
    """The time that it took."""


async def drain(
    handlers: Mapping[Any, asyncio.Task[None]],
    deadline: float,
    code: int,
    reason: str,
    jitter: float,
    hurry: asyncio.Event,
) -> DrainReport:
    """Close the connections, wait for their handlers, and report. ``hurry`` ends the jitter."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    running: dict[Connection, asyncio.Task[None]] = dict(handlers)
    connections = [
        connection for connection in running if connection.ready_state is not ReadyState.CONNECTING
    ]
    for connection, task in running.items():
        if connection.ready_state is ReadyState.CONNECTING:
            task.cancel()
    telling = [
        loop.create_task(_close_later(connection, random.uniform(0, jitter), code, reason, hurry))
        for connection in connections
    ]
    pending = await _wait([*running.values(), *telling], start + deadline - loop.time())
    cut = [connection for connection in connections if running[connection] in pending]
    for task in pending:
        task.cancel()
    for connection in cut:
        connection.transport.abort()
    stuck = await _wait([*pending], GRACE)
    n_closed = sum(
        connection.protocol.close_received is not None
        for connection in connections
        if running[connection] not in pending
    )
    return DrainReport(
        n_connections=len(connections),
        n_closed=n_closed,
        n_lost=len(connections) - len(cut) - n_closed,
        n_cut=len(cut),
        n_stuck=sum(running[connection] in stuck for connection in cut),
        seconds=loop.time() - start,
    )


async def _wait(tasks: list[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
    """Wait for all tasks, but no longer than that; return those that are not done."""
    if not tasks:
        return set()
    _, pending = await asyncio.wait(tasks, timeout=max(0.0, seconds))
    return pending


async def _close_later(
    connection: Connection, seconds: float, code: int, reason: str, hurry: asyncio.Event
) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), seconds)
    await connection.close(code, reason)
