"""The cost of one message to many connections: ``python -m benchmarks.servers.fanout``.

One client sends a text, and the server broadcasts it to all connections, the sender's included. The CPU clock of the
server process counts, per delivered message. All servers and the client share one core and take turns, as in
``common/echoes.py``. Packages without a function for it send to each connection in a loop. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import statistics
import sys
from typing import Any

from ..common.cases import KEY, frame, size_name, text_of
from ..common.client import Client
from ..common.machine import announce, use_one_core
from ..common.program import Program
from ..common.race import Sampled, median_ratio, race
from ..common.report import Table, add_options, finish
from ..common.server import Server, ServerError, available, running, usable_loop

MODULE = "benchmarks.servers.fanout"
N_SERIES = 3


async def serve_raw(listening: socket.socket) -> object:
    """No WebSocket: send as many bytes to each as a frame has. The request's path gives the sizes of both frames."""
    connections: set[Any] = set()

    class Raw(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.request_size = self.n_received = 0
            self.response = b""

        def data_received(self, data: bytes) -> None:
            if not self.request_size:
                request_size, response_size = data.split()[1].strip(b"/").split(b"/")
                self.request_size, self.response = int(request_size), bytes(int(response_size))
                self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                connections.add(self.transport)
                return
            self.n_received += len(data)
            while self.n_received >= self.request_size:
                self.n_received -= self.request_size
                for transport in connections:
                    transport.write(self.response)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self.transport)

    return await asyncio.get_running_loop().create_server(Raw, sock=listening)


def hub(broadcast: Any) -> Any:
    """A handler that broadcasts each message to all connections."""
    connections: set[Any] = set()

    async def handle(websocket: Any) -> None:
        connections.add(websocket)
        try:
            async for message in websocket:
                broadcast(connections, message)
        finally:
            connections.discard(websocket)

    return handle


async def serve_wsfast(listening: socket.socket) -> object:
    from wsfast.asyncio import broadcast, serve

    return await serve(hub(broadcast), sock=listening, compression=None, ping_interval=None)


async def serve_websockets(listening: socket.socket) -> object:
    from websockets.asyncio.server import broadcast, serve

    return await serve(hub(broadcast), sock=listening, compression=None, ping_interval=None)


async def serve_picows_websockets(listening: socket.socket) -> object:
    from picows.websockets.asyncio.server import broadcast, serve

    return await serve(hub(broadcast), sock=listening, compression=None, ping_interval=None)


async def serve_picows(listening: socket.socket) -> object:
    from picows import WSListener, WSMsgType, ws_create_server

    connections: set[Any] = set()

    class Hub(WSListener):
        def on_ws_connected(self, transport: Any) -> None:
            connections.add(transport)

        def on_ws_disconnected(self, transport: Any) -> None:
            connections.discard(transport)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            opcode = frame.msg_type
            if opcode == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
                return
            payload = frame.get_payload_as_bytes()
            for each in connections:
                each.send(opcode, payload)

    return await ws_create_server(lambda request: Hub(), sock=listening)


async def serve_aiohttp(listening: socket.socket) -> object:
    from aiohttp import web

    connections: set[web.WebSocketResponse] = set()

    async def hub(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        connections.add(websocket)
        try:
            async for message in websocket:
                for each in list(connections):
                    await each.send_str(message.data)
        finally:
            connections.discard(websocket)
        return websocket

    application = web.Application()
    application.router.add_get("/{path:.*}", hub)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.SockSite(runner, listening)
    await site.start()
    return site


PROGRAMS = {
    "raw": Program(serve_raw),
    "picows": Program(serve_picows, "picows"),
    "picows.websockets": Program(serve_picows_websockets, "picows"),
    "wsfast": Program(serve_wsfast, codec="native"),
    "wsfast-pure": Program(serve_wsfast, codec="fallback"),
    "websockets": Program(serve_websockets, "websockets"),
    "aiohttp": Program(serve_aiohttp, "aiohttp"),
}
USUAL = "raw,picows,picows.websockets,wsfast,websockets,aiohttp"


class FanoutSubject(Sampled):
    """``samples``: CPU us of the server per delivered message."""

    def __init__(self, server: Server, n_connections: int, size: int, n_broadcasts: int) -> None:
        super().__init__()
        self.server = server
        self.n_broadcasts = n_broadcasts
        message = text_of("ASCII", size)
        self.request, self.expected = frame(message, KEY), frame(message)
        path = f"/{len(self.request)}/{len(self.expected)}"
        self.clients: list[Client] = []
        for _ in range(n_connections):
            self.clients.append(Client(server, path))
            # A handler may begin after the response. A connection that got its own message is in the hub.
            if set(self.run()) != {self.expected} and server.name != "raw":
                raise ServerError(f"{server.name}: sent a wrong message")

    def run(self) -> list[bytes]:
        """Let the server broadcast a message of the last connection, and receive it on each connection."""
        self.clients[-1].socket.sendall(self.request)
        size = len(self.expected)
        return [client.socket.recv(size, socket.MSG_WAITALL) for client in self.clients]

    def sample(self) -> None:
        start = self.server.cpu_ns()
        for _ in range(self.n_broadcasts):
            self.run()
        spent = self.server.cpu_ns() - start
        self.samples.append(spent / self.n_broadcasts / len(self.clients) / 1000)


def allow_descriptors(n: int) -> None:
    """Raise our limit of descriptors, and the limit of servers that we start, if n sockets need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n + 200:
        wanted = n + 200 if hard == resource.RLIM_INFINITY else min(n + 200, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time of a broadcast per delivered message.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="asyncio")
    parser.add_argument("--programs", default=USUAL, help=f"of {', '.join(PROGRAMS)} (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=200, metavar="N", help="(default: 200)")
    parser.add_argument("--sizes", default="64", metavar="BYTES", help="such as 64,16384 (default: 64)")
    parser.add_argument("--rounds", type=int, default=12, metavar="N", help="samples of each (default: 12)")
    parser.add_argument("--broadcasts", type=int, default=20, metavar="N", help="a sample (default: 20)")
    add_options(parser)
    options = parser.parse_args()
    use_one_core()
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(MODULE, options.programs.split(","))
    sizes = [int(size) for size in options.sizes.split(",")]
    allow_descriptors(options.connections * len(names) * len(sizes))
    samples: dict[int, dict[str, list[float]]] = {size: {} for size in sizes}
    for size in sizes:
        for _ in range(N_SERIES):
            with running(Server(MODULE, name, loop) for name in names) as servers:
                subjects = [
                    FanoutSubject(server, options.connections, size, options.broadcasts) for server in servers
                ]
                n_rounds = -(-options.rounds // N_SERIES)
                race(subjects, 0, n_rounds, n_rounds)
                for subject in subjects:
                    samples[size].setdefault(subject.server.name, []).extend(subject.samples)
    tables = []
    for size, by_name in samples.items():
        title = f"{size_name(size)} text to {options.connections} connections, {loop}"
        table = Table(title, "CPU us of the server per delivered message; ratio: wsfast to this row")
        for name, own in by_name.items():
            table.rows[name] = {"best": min(own), "median": statistics.median(own)}
            if "wsfast" in by_name and name != "wsfast":
                table.rows[name]["ratio"] = median_ratio(by_name["wsfast"], own)
        tables.append(table)
    return finish(options, [*machine, f"loop: {loop}"], tables, [])


if __name__ == "__main__":
    sys.exit(main())
