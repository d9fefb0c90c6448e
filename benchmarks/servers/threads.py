"""The cost of an echo in programs with threads: ``python -m benchmarks.servers.threads``.

Clients send a text and wait for the answer; "received" is a short text for a long one. The first answers are compared
whole, and of the others the length. They talk to one server that knows no WebSocket, as in ``clients.py``. Servers are
asked over one connection, and over 50 in turns. All share one core and take turns; the CPU clock of the process that is
measured counts, with all its threads. "socket" is the same with bare blocking sockets. No compression and
no keepalive. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ..common.cases import KEY, KIB, frame, text_of
from ..common.client import REQUEST, Client
from ..common.machine import announce, named_versions, use_one_core, version_of
from ..common.program import Program, codec_in_use
from ..common.race import Sampled, median_ratio, race
from ..common.report import Bar, Table, add_options, finish
from ..common.server import Server, available, running
from .clients import CHECK_TURNS, ClientSubject, WrongEchoError, check

MODULE = "benchmarks.servers.threads"
N_SERIES = 3

# Clients: ``open(port, request, text)`` returns the function that sends the request and returns the answer.


def by_socket(port: int, request: str, text: str) -> Callable[[], Any]:
    data, size = frame(request, KEY), len(frame(text))
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(REQUEST.replace(b"GET /", f"GET /{len(request)}/{len(text)}".encode(), 1))
    sock.recv(4096)

    def exchange() -> str:
        sock.sendall(data)
        left = size
        while left:
            left -= len(sock.recv(65_536))
        return text

    return exchange


def by_connect(connect: Any, port: int, request: str, text: str) -> Callable[[], Any]:
    uri = f"ws://127.0.0.1:{port}/{len(request)}/{len(text)}"
    websocket = connect(uri, compression=None, ping_interval=None)

    def exchange() -> Any:
        websocket.send(request)
        return websocket.recv()

    return exchange


def by_wsfast(port: int, request: str, text: str) -> Callable[[], Any]:
    from wsfast.sync import connect

    return by_connect(connect, port, request, text)


def by_websockets(port: int, request: str, text: str) -> Callable[[], Any]:
    from websockets.sync.client import connect

    return by_connect(connect, port, request, text)


def by_websocket_client(port: int, request: str, text: str) -> Callable[[], Any]:
    from websocket import create_connection

    option = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
    websocket = create_connection(f"ws://127.0.0.1:{port}/{len(request)}/{len(text)}", sockopt=option)

    def exchange() -> Any:
        websocket.send(request)
        return websocket.recv()

    return exchange


CLIENTS = {
    "socket": by_socket,
    "wsfast": by_wsfast,
    "websockets": by_websockets,
    "websocket-client": by_websocket_client,
}


def run_client(name: str, port: int, sizes: str) -> None:
    """The process of a client: as ``clients.serve_parent``."""
    gc.disable()
    request, text = (text_of("ASCII", int(size)) for size in sizes.split("/"))
    exchange = CLIENTS[name](port, request, text)
    for _ in range(CHECK_TURNS):
        check(exchange(), text)
    print(codec_in_use().split()[0], flush=True)
    while line := sys.stdin.readline():
        start = time.process_time_ns()
        for _ in range(int(line)):
            if len(exchange()) != len(text):
                raise WrongEchoError("not the text that was sent")
        print(time.process_time_ns() - start, flush=True)
    os._exit(0)


# Servers


def echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


async def serve_sockets(listening: socket.socket) -> object:
    """No WebSocket: send as many bytes back as an echo has."""

    def serve(sock: socket.socket) -> None:
        request_size, response_size = map(int, sock.recv(4096).split()[1].strip(b"/").split(b"/"))
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        response, n_received = bytes(response_size), 0
        while data := sock.recv(65_536):
            n_frames, n_received = divmod(n_received + len(data), request_size)
            if n_frames:
                sock.sendall(response * n_frames)

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=listening.accept()[:1], daemon=True).start()

    return threading.Thread(target=accept, daemon=True).start()


async def serve_wsfast(listening: socket.socket) -> object:
    from wsfast.sync import serve

    server = serve(echo, sock=listening, ping_interval=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def serve_websockets(listening: socket.socket) -> object:
    from websockets.sync.server import serve

    server = serve(echo, sock=listening, compression=None, ping_interval=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


PROGRAMS = {
    "socket": Program(serve_sockets),
    "wsfast": Program(serve_wsfast, codec="native"),
    "websockets": Program(serve_websockets, "websockets"),
}


class Connections(Sampled):
    """Echoes over some connections: a request on each, and then the answers. ``samples``: CPU us of the server each."""

    def __init__(self, server: Server, size: int, n_connections: int, sample_seconds: float) -> None:
        super().__init__()
        self.server = server
        self.request = frame(text_of("ASCII", size), KEY)
        self.size = len(frame(text_of("ASCII", size)))
        self.clients = [Client(server, f"/{len(self.request)}/{self.size}") for _ in range(n_connections)]
        self.n_turns = 20
        start = time.perf_counter()
        self.sample()
        seconds = time.perf_counter() - start
        self.n_turns = max(1, int(self.n_turns * sample_seconds / seconds))
        self.samples.clear()

    def sample(self) -> None:
        start = self.server.cpu_ns()
        for _ in range(self.n_turns):
            for client in self.clients:
                client.socket.sendall(self.request)
            for client in self.clients:
                client.receive(self.size)
        n_messages = self.n_turns * len(self.clients)
        self.samples.append((self.server.cpu_ns() - start) / n_messages / 1000)


# Measuring


def measure_clients(
    names: list[str], sizes: str, rounds: int, sample_seconds: float
) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(N_SERIES):
        subjects: list[ClientSubject] = []
        with running([Server("benchmarks.servers.programs", "canned", "asyncio")]) as (server,):
            try:
                for name in names:
                    codec = "native" if name == "wsfast" else None
                    subjects.append(
                        ClientSubject(
                            name, "-", server.port, sizes, sample_seconds, module=MODULE, codec=codec
                        )
                    )
                race(subjects, 0, rounds // N_SERIES, rounds // N_SERIES)
            finally:
                for subject in subjects:
                    subject.stop()
        for subject in subjects:
            samples[subject.name] += subject.samples
    return samples


def measure_servers(
    names: list[str], size: int, n_connections: int, rounds: int, sample_seconds: float
) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(N_SERIES):
        with running([Server(MODULE, name, "asyncio") for name in names]) as servers:
            subjects = [Connections(server, size, n_connections, sample_seconds) for server in servers]
            race(subjects, 0, rounds // N_SERIES, rounds // N_SERIES)
            for subject in subjects:
                samples[subject.server.name] += subject.samples
    return samples


def table_of(title: str, samples: dict[str, list[float]]) -> Table:
    table = Table(title, "CPU us of the process; ratio: wsfast to this row")
    for name, own in samples.items():
        if own:
            table.rows[name] = {"best": min(own), "median": statistics.median(own)}
            if name != "wsfast":
                table.rows[name]["ratio"] = median_ratio(samples["wsfast"], own)
    return table


# Title, what is measured, and the largest cost of ours as a multiple of a peer's.
PROMISES: tuple[tuple[str, tuple[Any, ...], dict[str, float]], ...] = (
    ("client, echo of 256 B", ("256/256",), {"websockets": 0.4, "websocket-client": 0.3}),
    ("client, 64 KiB received", (f"1/{64 * KIB}",), {"websockets": 0.3, "websocket-client": 0.01}),
    ("server, echo of 256 B, 1 connection", (256, 1), {"websockets": 0.4}),
    ("server, echo of 256 B, 50 connections", (256, 50), {"websockets": 0.4}),
)


def main() -> int:
    if sys.argv[1:2] == ["child"]:
        run_client(sys.argv[2], int(sys.argv[4]), sys.argv[5])
        return 0
    parser = argparse.ArgumentParser(
        description="Measure the CPU time that programs with threads use per echo."
    )
    parser.add_argument("--rounds", type=int, default=18, metavar="N", help="samples of each (default: 18)")
    parser.add_argument("--sample", type=float, default=0.1, metavar="S", help="seconds (default: 0.1)")
    parser.add_argument("--cpu", type=int, metavar="N", help="the core to use (default: the last one)")
    add_options(parser)
    options = parser.parse_args()
    use_one_core(options.cpu)
    machine = announce(named_versions("websockets", "websocket-client"))
    servers = available(MODULE, PROGRAMS)
    clients = [name for name in CLIENTS if name in ("socket", "wsfast") or version_of(name) is not None]
    tables, bars = [], []
    for title, load, limits in PROMISES:
        if title.startswith("client"):
            samples = measure_clients(clients, *load, options.rounds, options.sample)
        else:
            samples = measure_servers(servers, *load, options.rounds, options.sample)
        tables.append(table_of(title, samples))
        for peer, limit in limits.items():
            measured = median_ratio(samples["wsfast"], samples[peer]) if samples.get(peer) else None
            bars.append(Bar(f"wsfast to {peer}, {title}", measured, limit))
    return finish(options, machine, tables, bars)


if __name__ == "__main__":
    sys.exit(main())
