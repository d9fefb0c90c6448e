"""Accepting on asyncio's own loop: without descriptors it pauses, logs one line, and serves everybody afterwards."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Any

import pytest
from asyncio_helpers import in_loop, raw_client, without_io

from wsfast.asyncio import ServerConnection, serve
from wsfast.asyncio.accepting import Acceptor

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other loops accept for themselves")


class Listening:
    """A socket that always has a connection, and never room for it."""

    def __init__(self, error: int) -> None:
        self.readable, self.other = socket.socketpair()
        self.other.send(b"x")
        self.error = error
        self.n_accepts = 0

    def fileno(self) -> int:
        return self.readable.fileno()

    def accept(self) -> Any:
        self.n_accepts += 1
        raise OSError(self.error, os.strerror(self.error))

    def close(self) -> None:
        self.readable.close()
        self.other.close()


class NoServer:
    sockets = ()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def close(self) -> None:
        pass


async def connect_nobody(accepted: socket.socket) -> None:
    raise AssertionError("nothing was accepted")


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@without_io
async def test_without_descriptors_it_tries_once_a_second_and_warns_once_a_minute(
    error: int, caplog: pytest.LogCaptureFixture
) -> None:
    listening: Any = Listening(error)
    acceptor = Acceptor(
        NoServer(),  # type: ignore[arg-type]
        connect_nobody,
        backlog=1,
        logger=logging.getLogger("wsfast.server"),
    )
    acceptor._listening = [listening]
    acceptor._go_on()
    await asyncio.sleep(59.5)
    assert listening.n_accepts == 60
    assert len(caplog.records) == 1
    assert "ulimit -n" in caplog.text
    await asyncio.sleep(60)
    assert listening.n_accepts == 120
    assert len(caplog.records) == 2
    acceptor.close()
    await asyncio.sleep(10)
    assert listening.n_accepts == 120


@in_loop
async def test_sockets_do_not_wait() -> None:
    """What is ready may be gone when it is accepted, and the loop must not wait for the next."""
    server = await asyncio.get_running_loop().create_server(
        asyncio.Protocol, "127.0.0.1", 0, start_serving=False
    )
    acceptor = Acceptor(server, connect_nobody, backlog=1, logger=logging.getLogger("wsfast.server"))
    await acceptor.start_serving()
    assert [listening.getblocking() for listening in acceptor._listening] == [False]
    acceptor.close()


@pytest.mark.parametrize("error", [errno.EPROTO, errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH])
@without_io
async def test_an_error_of_the_connection_that_was_to_be_accepted_is_none_of_ours(
    error: int, caplog: pytest.LogCaptureFixture
) -> None:
    """accept(2): it reports what happened on the network, or to a firewall. Others are accepted as before."""
    listening: Any = Listening(error)
    acceptor = Acceptor(
        NoServer(),  # type: ignore[arg-type]
        connect_nobody,
        backlog=1,
        logger=logging.getLogger("wsfast.server"),
    )
    acceptor._listening = [listening]
    acceptor._go_on()
    while listening.n_accepts < 3:
        await asyncio.sleep(0)
    acceptor.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def hold(connection: ServerConnection) -> None:
    await connection.wait_closed()


@in_loop
async def test_many_at_once_are_all_served() -> None:
    async with serve(hold, "127.0.0.1", 0, backlog=200) as server, asyncio.TaskGroup() as group:

        async def visit() -> None:
            async with raw_client(server) as peer:
                await peer.close_handshake()

        for _ in range(150):
            group.create_task(visit())


@in_loop
async def test_a_server_that_is_closed_accepts_nothing() -> None:
    async with serve(hold, "127.0.0.1", 0, start_serving=False) as server:
        assert not server.is_serving()
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        [listening] = server.sockets
        address = listening.getsockname()
        async with raw_client(server) as peer:
            await peer.close_handshake()
    assert not server.is_serving()
    assert server.sockets == ()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection(*address)
