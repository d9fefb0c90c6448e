"""A peer that behaves badly in any way is gone within the limits, whatever the application does meanwhile.

The same table as ``tests/test_hostile_peers.py``, with its peers: behaviour x application x TLS or not x loop. All
cells of a loop run at once, on one server, when the first of their tests asks for them.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import logging
import socket
import ssl
import sys
import tempfile
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from serving import port_of, serving
from uvicorn.protocols.utils import ClientDisconnected

import wsfast.uvicorn
import wsfast.uvicorn.limited

sys.path.append(str(Path(__file__).parents[2]))

from hostile_peers import BEHAVIOURS, SOCKET_BUFFER, LogOfAll, Peer, act, small_buffers

OPTIONS: dict[str, Any] = {"ws_ping_interval": 0.25, "ws_ping_timeout": 0.1, "ws_max_size": 262_144}
CLOSE_TIMEOUT = 0.2
LIMIT = 25.0
LARGE = b"x" * 8192
MEMORY_LIMIT = 4 * 2**20
N_AT_ONCE = 66


@dataclass
class Cell:
    """One connection, and what came of it."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """The application does what it is to do."""
    blocked: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    protocol: weakref.ref[Any] | None = None
    memory: int = 0
    disconnected: int = 0
    """The code that ``receive`` told at the end."""
    faults: list[str] = field(default_factory=list)


cells: dict[str, Cell] = {}


class Watched(wsfast.uvicorn.WebSocketProtocol):
    """Tells its cell."""

    linger_after_fault = 0.1

    def _start_app(self, request: Any) -> None:
        self.cell = cells[request.path]
        self.cell.protocol = weakref.ref(self)
        super()._start_app(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        super().connection_made(transport)

    def take_events(self, events: Any) -> None:
        super().take_events(events)
        self.note_memory()

    def note_memory(self) -> None:
        size = 0 if self.cell.lost.is_set() else self.transport.get_write_buffer_size() + self._batch_size
        size += sum(map(sys.getsizeof, self._messages)) + sum(map(len, self._held or ()))
        self.cell.memory = max(self.cell.memory, size)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.cell.blocked.set()
        self.cell.ready.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.cell.lost.set()
        if self._timer is not None:
            self.cell.faults.append("a deadline is left")


# What the application does


async def receive_all(cell: Cell, receive: Any, send: Any) -> None:
    cell.ready.set()
    while (await receive())["type"] == "websocket.receive":
        pass


async def receive_slowly(cell: Cell, receive: Any, send: Any) -> None:
    cell.ready.set()
    for number in itertools.count():
        if (await receive())["type"] != "websocket.receive":
            break
        if number < 20:
            await asyncio.sleep(0.03)


async def echo(cell: Cell, receive: Any, send: Any) -> None:
    cell.ready.set()
    while (event := await receive())["type"] == "websocket.receive":
        await send(event | {"type": "websocket.send"})


async def send_for_ever(cell: Cell, receive: Any, send: Any) -> None:
    while True:
        await send({"type": "websocket.send", "bytes": LARGE})
        protocol = cell.protocol and cell.protocol()
        if protocol:
            protocol.note_memory()


async def sleep(cell: Cell, receive: Any, send: Any) -> None:
    cell.ready.set()
    await cell.lost.wait()


async def close(cell: Cell, receive: Any, send: Any) -> None:
    cell.ready.set()
    await send({"type": "websocket.close"})


async def close_while_blocked(cell: Cell, receive: Any, send: Any) -> None:
    sending = asyncio.create_task(send_for_ever(cell, receive, send))
    await cell.blocked.wait()
    await send({"type": "websocket.close"})
    await asyncio.wait([sending])
    assert isinstance(sending.exception(), ClientDisconnected | RuntimeError)


async def leave(cell: Cell, receive: Any, send: Any) -> None:
    cell.ready.set()


Application = Callable[[Cell, Any, Any], Awaitable[None]]
APPLICATIONS: dict[str, Application] = {
    application.__name__: application
    for application in (
        receive_all,
        receive_slowly,
        echo,
        send_for_ever,
        sleep,
        close,
        close_while_blocked,
        leave,
    )
}
WE_END = {"close", "close_while_blocked", "leave"}


async def app(scope: Any, receive: Any, send: Any) -> None:
    cell = cells[scope["path"]]
    try:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await APPLICATIONS[scope["path"].split("/")[2]](cell, receive, send)
    except ClientDisconnected:
        pass
    finally:
        await note_end(cell, scope["path"].endswith("leave"), receive)


async def note_end(cell: Cell, is_leaving: bool, receive: Any) -> None:
    if not is_leaving:
        while (event := await receive())["type"] != "websocket.disconnect":
            pass
        cell.disconnected = event["code"]
    cell.done.set()


async def run_cell(name: str, cell: Cell, port: int, tls: ssl.SSLContext | None) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        small_buffers(sock)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        peer = Peer(sock, is_client=True, tls=tls)
        peer.path = name.encode()
        peer.settled = cell.ready.wait
        acting = asyncio.create_task(act(peer, BEHAVIOURS[name.split("/")[1]]))
        try:
            async with asyncio.timeout(LIMIT):
                await cell.done.wait()
                await cell.lost.wait()
        except TimeoutError:
            cell.faults.append("it is still there")
        finally:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)
    for _ in range(10):
        await asyncio.sleep(0)
    # asyncio's TLS keeps the frames of some of its errors for the collector.
    if tls is None and cell.protocol is not None and cell.protocol() is not None:
        cell.faults.append("the connection is not gone without the collector")


@dataclass
class Outcome:
    cells: dict[str, Cell]
    log: list[logging.LogRecord]
    n_connections_left: int
    n_tasks_left: int


@functools.cache
def outcome(loop: str, with_tls: bool) -> Outcome:
    names = [f"/{behaviour}/{application}" for behaviour in BEHAVIOURS for application in APPLICATIONS]
    cells.clear()
    cells.update((name, Cell()) for name in names)
    log = LogOfAll()
    logging.getLogger().addHandler(log)

    async def run_all() -> tuple[int, int]:
        options, tls = dict(OPTIONS), None
        with tempfile.TemporaryDirectory() as folder:
            if with_tls:
                authority, key = trustme.CA(), Path(folder) / "key.pem"
                certificate = authority.issue_cert("localhost")
                certificate.private_key_and_cert_chain_pem.write_to_path(key)
                options |= {"ssl_certfile": key, "ssl_keyfile": key}
                tls = ssl.create_default_context()
                authority.configure_trust(tls)
            some_at_once = asyncio.Semaphore(N_AT_ONCE)

            async def run_some(name: str) -> None:
                async with some_at_once:
                    await run_cell(name, cells[name], port_of(server), tls)

            async with serving(app, ws=Watched, **options) as server:
                gc.collect()
                gc.disable()  # what is left has to go by itself
                try:
                    await asyncio.gather(*map(run_some, names))
                finally:
                    gc.enable()
                state = server.server_state
                return len(state.connections), len(state.tasks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wsfast.uvicorn.limited, "_CLOSE_TIMEOUT", CLOSE_TIMEOUT)
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                left = runner.run(run_all())
        finally:
            gc.collect()
            logging.getLogger().removeHandler(log)
    return Outcome(dict(cells), log.records, *left)


LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
TLS = pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])


def codes(behaviour: str, application: str) -> set[int]:
    """The codes that the application may be told."""
    if application in WE_END:
        return {0, 1000, 1005, 1006, 1002, 1009}
    told = {code for way in BEHAVIOURS[behaviour].ends.split("|") for code in way.split()[:2]}
    return {1005} | {int(code) for code in told if code != "-"}


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@TLS
@LOOPS
def test_the_peer_is_gone_within_the_limits(
    loop: str, with_tls: bool, behaviour: str, application: str
) -> None:
    cell = outcome(loop, with_tls).cells[f"/{behaviour}/{application}"]
    assert not cell.faults
    assert cell.disconnected in codes(behaviour, application)
    assert cell.memory <= MEMORY_LIMIT


@TLS
@LOOPS
def test_nothing_is_left_and_nothing_is_logged(loop: str, with_tls: bool) -> None:
    of_all = outcome(loop, with_tls)
    assert not [(record.name, record.getMessage(), record.exc_info) for record in of_all.log]
    assert of_all.n_connections_left == 0
    assert of_all.n_tasks_left == 0
