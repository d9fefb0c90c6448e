"""The cost of an echo in a client: ``python -m benchmarks.servers.clients``.

Each client is a process of its own, written like the examples of its documentation, without compression and keepalive.
It sends a text, waits for the answer, and compares it. All clients talk to one server, which knows no WebSocket and
answers each frame with the same bytes. Clients and server share one core and take turns; the CPU clock of the client's
process counts. "floor" is a protocol of asyncio that sends and counts bytes. With ``--tls`` those with coroutines go
over TLS (needs trustme). Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .. import ROOT
from ..common.cases import KEY, frame, size_name, text_of
from ..common.client import REQUEST
from ..common.machine import announce, named_versions, use_one_core, version_of
from ..common.program import codec_in_use, loop_factory
from ..common.race import Sampled, median_ratio, race
from ..common.report import Table, add_options, finish
from ..common.server import Server, ServerError, read_line, running, usable_loop

TLS = "BENCHMARK_TLS"  # set in the environment of a client that uses TLS
WITH_TLS = ("picows.websockets", "wsfast", "websockets")
N_SERIES = 3
CHECK_TURNS = 50

Exchange = Callable[[int], Awaitable[None]]  # n times: send the text, and wait for the same text


class WrongEchoError(Exception):
    pass


def check(received: object, text: str) -> None:
    if received != text:
        raise WrongEchoError(f"{received!r:.80}")


# Clients


@asynccontextmanager
async def floor(port: int, text: str) -> AsyncIterator[Exchange]:
    request, size = frame(text, KEY), len(frame(text))

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.write(REQUEST.replace(b"GET /", f"GET /{len(text)}".encode(), 1))
            self.opened = self.done = asyncio.get_running_loop().create_future()
            self.n_missing = 0

        def data_received(self, data: bytes) -> None:
            if not self.n_missing:
                self.opened.set_result(None)
                return
            self.n_missing -= len(data)
            if not self.n_missing % size:
                if self.n_missing:
                    self.transport.write(request)
                else:
                    self.done.set_result(None)

        def connection_lost(self, exc: Exception | None) -> None:
            if not self.done.done():
                self.done.set_exception(WrongEchoError("the connection was closed"))

    _, protocol = await asyncio.get_running_loop().create_connection(Counting, "127.0.0.1", port)
    await protocol.opened

    async def exchange(n: int) -> None:
        protocol.n_missing, protocol.done = n * size, asyncio.get_running_loop().create_future()
        protocol.transport.write(request)
        await protocol.done

    yield exchange


@asynccontextmanager
async def picows_core(port: int, text: str) -> AsyncIterator[Exchange]:
    from picows import WSListener, WSMsgType, ws_connect

    data = text.encode()

    class Listener(WSListener):
        n_left = 0
        done: Any = None

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.get_payload_as_utf8_text() != text:
                self.done.set_exception(WrongEchoError("not the text that was sent"))
                return
            self.n_left -= 1
            if self.n_left:
                transport.send(WSMsgType.TEXT, data)
            else:
                self.done.set_result(None)

    transport, listener = await ws_connect(Listener, f"ws://127.0.0.1:{port}/{len(text)}")

    async def exchange(n: int) -> None:
        listener.n_left, listener.done = n, asyncio.get_running_loop().create_future()
        transport.send(WSMsgType.TEXT, data)
        await listener.done

    yield exchange


def coroutines(websocket: Any, text: str) -> Exchange:
    async def exchange(n: int) -> None:
        for _ in range(n):
            await websocket.send(text)
            check(await websocket.recv(), text)

    return exchange


@asynccontextmanager
async def by_connect(connect: Any, port: int, text: str) -> AsyncIterator[Exchange]:
    options: dict[str, Any] = {"compression": None, "ping_interval": None}
    scheme = "ws"
    if TLS in os.environ:
        scheme, context = "wss", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = (
            False,
            ssl.CERT_NONE,
        )  # the server made its certificate itself
        options["ssl"] = context
    yield coroutines(await connect(f"{scheme}://127.0.0.1:{port}/{len(text)}", **options), text)


def picows_websockets(port: int, text: str) -> AbstractAsyncContextManager[Exchange]:
    from picows.websockets.asyncio.client import connect

    return by_connect(connect, port, text)


def wsfast(port: int, text: str) -> AbstractAsyncContextManager[Exchange]:
    from wsfast.asyncio import connect

    return by_connect(connect, port, text)


def websockets(port: int, text: str) -> AbstractAsyncContextManager[Exchange]:
    from websockets.asyncio.client import connect

    return by_connect(connect, port, text)


@asynccontextmanager
async def websockets_sync(port: int, text: str) -> AsyncIterator[Exchange]:
    from websockets.sync.client import connect

    uri = f"ws://127.0.0.1:{port}/{len(text)}"
    with connect(uri, compression=None, ping_interval=None, close_timeout=0) as websocket:

        async def exchange(n: int) -> None:
            for _ in range(n):
                websocket.send(text)
                check(websocket.recv(), text)

        yield exchange


@asynccontextmanager
async def aiohttp(port: int, text: str) -> AsyncIterator[Exchange]:
    from aiohttp import ClientSession

    async with ClientSession() as session:
        websocket = await session.ws_connect(f"ws://127.0.0.1:{port}/{len(text)}")

        async def exchange(n: int) -> None:
            for _ in range(n):
                await websocket.send_str(text)
                check(await websocket.receive_str(), text)

        yield exchange


@asynccontextmanager
async def websocket_client(port: int, text: str) -> AsyncIterator[Exchange]:
    from websocket import create_connection

    option = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
    websocket = create_connection(f"ws://127.0.0.1:{port}/{len(text)}", sockopt=option)

    async def exchange(n: int) -> None:
        for _ in range(n):
            websocket.send(text)
            check(websocket.recv(), text)

    yield exchange


@asynccontextmanager
async def wsproto(port: int, text: str) -> AsyncIterator[Exchange]:
    """wsproto with a blocking socket, as in the examples of its documentation."""
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, Request, TextMessage

    connection = WSConnection(ConnectionType.CLIENT)
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(connection.send(Request(host="localhost", target=f"/{len(text)}")))
    connection.receive_data(sock.recv(4096))
    (accepted,) = connection.events()
    if not isinstance(accepted, AcceptConnection):
        raise WrongEchoError(f"{accepted!r:.80}")

    async def exchange(n: int) -> None:
        for _ in range(n):
            sock.sendall(connection.send(TextMessage(data=text)))
            parts: list[str] = []
            finished = False
            while not finished:
                connection.receive_data(sock.recv(65_536))
                for event in connection.events():
                    parts.append(event.data)
                    finished = event.message_finished
            check("".join(parts), text)

    yield exchange


@dataclass(frozen=True)
class ClientKind:
    """``open(port, text)`` connects. ``codec``: the codec of wsfast that it must use."""

    open: Callable[[int, str], AbstractAsyncContextManager[Exchange]]
    needs: str | None = None
    codec: str | None = None


KINDS = {
    "floor": ClientKind(floor),
    "picows": ClientKind(picows_core, "picows"),
    "picows.websockets": ClientKind(picows_websockets, "picows"),
    "wsfast": ClientKind(wsfast, codec="native"),
    "wsfast-pure": ClientKind(wsfast, codec="fallback"),
    "websockets": ClientKind(websockets, "websockets"),
    "websockets, threads": ClientKind(websockets_sync, "websockets"),
    "aiohttp": ClientKind(aiohttp, "aiohttp"),
    "websocket-client": ClientKind(websocket_client, "websocket-client"),
    "wsproto, socket": ClientKind(wsproto, "wsproto"),
}


async def serve_parent(name: str, port: int, size: int) -> None:
    """Again and again: read a number of echoes from standard input, make them, and write the CPU time in ns."""
    text = text_of("ASCII", size)
    async with KINDS[name].open(port, text) as exchange:
        await exchange(CHECK_TURNS)
        print(codec_in_use().split()[0], flush=True)
        while line := sys.stdin.readline():
            start = time.process_time_ns()
            await exchange(int(line))
            print(time.process_time_ns() - start, flush=True)
        os._exit(0)


def run_child(name: str, loop: str, port: str, size: str) -> None:
    gc.disable()
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(serve_parent(name, int(port), int(size)))


# Measuring


class ClientSubject(Sampled):
    """A client process. ``samples``: CPU us of it per echo."""

    def __init__(
        self,
        name: str,
        loop: str,
        port: int,
        size: int | str,
        sample_seconds: float,
        tls: bool = False,
        module: str = "benchmarks.servers.clients",
        codec: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        environment = {} if codec is None else {"WSFAST_PURE": "1" if codec == "fallback" else ""}
        if tls:
            environment[TLS] = "1"
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "child", name, loop, str(port), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | environment,
            start_new_session=True,
        )
        used = self._read().strip()
        if codec not in (None, used):
            raise ServerError(f"{name}: uses the codec {used}")
        self.n_turns = 100
        start = time.perf_counter()
        self.sample()
        seconds = time.perf_counter() - start
        self.n_turns = max(1, int(self.n_turns * sample_seconds / seconds))
        self.samples.clear()

    def _read(self) -> str:
        return read_line(self.process, f"the client {self.name}")

    def sample(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.n_turns}\n".encode())
        self.process.stdin.flush()
        self.samples.append(int(self._read()) / self.n_turns / 1000)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def measure(
    names: list[str], loop: str, size: int, rounds: int, sample_seconds: float, tls: bool = False
) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in names}
    n_rounds = -(-rounds // N_SERIES)
    for _ in range(N_SERIES):
        subjects: list[ClientSubject] = []
        module = "benchmarks.servers.tls" if tls else "benchmarks.servers.programs"
        with running([Server(module, "canned", loop)]) as (server,):
            try:
                for name in names:
                    codec = KINDS[name].codec
                    subjects.append(
                        ClientSubject(name, loop, server.port, size, sample_seconds, tls, codec=codec)
                    )
                race(subjects, 0, n_rounds, n_rounds)
            finally:
                for subject in subjects:
                    subject.stop()
        for subject in subjects:
            samples[subject.name] += subject.samples
    return samples


def main() -> int:
    if sys.argv[1:2] == ["child"]:
        run_child(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description="Measure the CPU time that clients use per echo.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--sizes", default="64", metavar="BYTES", help="such as 8,256,102400 (default: 64)")
    parser.add_argument("--rounds", type=int, default=18, metavar="N", help="samples of each (default: 18)")
    parser.add_argument("--sample", type=float, default=0.1, metavar="S", help="seconds (default: 0.1)")
    parser.add_argument("--tls", action="store_true", help="over TLS, those with coroutines")
    add_options(parser)
    options = parser.parse_args()
    use_one_core()
    packages = sorted({kind.needs for kind in KINDS.values() if kind.needs is not None})
    machine = announce(named_versions(*packages))
    loop = usable_loop(options.loop)
    names = [name for name, kind in KINDS.items() if kind.needs is None or version_of(kind.needs)]
    if options.tls:
        names = [name for name in names if name in WITH_TLS]
    tables = []
    for size in map(int, options.sizes.split(",")):
        samples = measure(names, loop, size, options.rounds, options.sample, options.tls)
        table = Table(
            f"clients, {size_name(size)} text, {loop}{', TLS' * options.tls}",
            "CPU us of the client; ratio: wsfast to this row",
        )
        for name, own in samples.items():
            table.rows[name] = {"best": min(own), "median": statistics.median(own)}
            if name != "wsfast":
                table.rows[name]["ratio"] = median_ratio(samples["wsfast"], own)
        tables.append(table)
    return finish(options, [*machine, f"loop: {loop}"], tables, [])


if __name__ == "__main__":
    sys.exit(main())
