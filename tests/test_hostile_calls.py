"""Attacks on the calls of a connection, on a fake transport: each was a way to take memory, or to wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from asyncio_helpers import all_done, both_roles, wire, without_io
from helpers import PONG

from wsfast.events import Role
from wsfast.exceptions import ConnectionClosedError
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
    while True:
        await ping()
        await asyncio.sleep(0.1)


@without_io
async def test_pings_that_were_given_up_do_not_stop_others() -> None:
    wired = wire(Role.SERVER)
    for _ in range(3 * MAX_PENDING):
        (await wired.connection.ping()).cancel()  # type: ignore[attr-defined]
    assert len(wired.transport.take()) == 3 * MAX_PENDING
    assert len(wired.connection._pings._pending) <= MAX_PENDING
