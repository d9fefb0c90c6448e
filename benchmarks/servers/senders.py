"""What handlers that only send cost the other connections: ``python -m benchmarks.servers.senders``.

100 connections send a text each in turn, and wait for the echo. Meanwhile a handler of the same server sends 1 KiB
without end. The table has for each kind of its peer:

``p50``, ``p99``  of the time until an echo is there, in ms
``heard``         the longest time, in ms, from the loop's call of ``connection_lost`` until ``send`` raised

"goes" resets the connection after 50 ms, and another peer comes. Nothing is judged here. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..common.client import Client
from ..common.machine import announce
from ..common.program import Program
from ..common.report import Table, add_options, finish
from ..common.server import Server, running, usable_loop
from .programs import echo

MODULE = "benchmarks.servers.senders"
N_CONNECTIONS = 100
TEXT = "x" * 100
KIB = bytes(1024)

_longest = 0.0


def answer() -> str:
    global _longest
    longest, _longest = _longest, 0.0
    return json.dumps(longest * 1000)


async def serve_wsfast(listening: socket.socket) -> object:
    from wsfast import ConnectionClosed
    from wsfast.asyncio import ServerConnection, serve

    class Timed(ServerConnection):
        lost_at = 0.0

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost_at = time.perf_counter()
            super().connection_lost(exc)

    async def handle(websocket: Any) -> None:
        global _longest
        if websocket.request.path == "/":
            await echo(websocket)
            return
        try:
            while True:
                await websocket.send(KIB)
        except ConnectionClosed:
            _longest = max(_longest, time.perf_counter() - websocket.lost_at)

    return await serve(handle, sock=listening, compression=None, create_connection=Timed)


PROGRAMS = {"wsfast": Program(serve_wsfast, codec="native", answer=answer)}


def no_peer(server: Server, stop: threading.Event) -> None:
    pass


def peer_that_reads(server: Server, stop: threading.Event) -> None:
    client = Client(server, "/send", owned=False)
    with client.socket:
        while not stop.is_set():
            client.socket.recv(1 << 20)


def peer_that_reads_nothing(server: Server, stop: threading.Event) -> None:
    client = Client(server, "/send", owned=False)
    with client.socket:
        stop.wait()


def peer_that_goes(server: Server, stop: threading.Event) -> None:
    while not stop.is_set():
        client = Client(server, "/send", owned=False)
        with client.socket:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end = time.perf_counter() + 0.05
            while time.perf_counter() < end:
                client.socket.recv(1 << 20)


PEERS: dict[str, Callable[[Server, threading.Event], None]] = {
    "no sender": no_peer,
    "a peer that reads nothing": peer_that_reads_nothing,
    "a peer that goes": peer_that_goes,
    "a peer that reads": peer_that_reads,
}


@contextlib.contextmanager
def acting(peer: Callable[[Server, threading.Event], None], server: Server) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=peer, args=(server, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def measure(peer: Callable[[Server, threading.Event], None], loop: str, n_rounds: int) -> dict[str, float]:
    with running([Server(MODULE, "wsfast", loop)]) as [server]:
        clients = [Client(server) for _ in range(N_CONNECTIONS)]
        times = []
        with acting(peer, server):
            time.sleep(0.2)
            for _ in range(n_rounds):
                for client in clients:
                    start = time.perf_counter()
                    client.exchange(TEXT)
                    times.append(time.perf_counter() - start)
        heard = json.loads(server.ask())
    hundredths = statistics.quantiles(times, n=100)
    row = {"p50": hundredths[49] * 1000, "p99": hundredths[98] * 1000}
    return row | {"heard": heard} if heard else row


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what handlers that only send cost the others.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="asyncio")
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="echoes of each connection")
    add_options(parser)
    options = parser.parse_args()
    machine = announce()
    loop = usable_loop(options.loop)
    table = Table("Echoes of 100 connections next to a handler that only sends", "ms", decimals=3)
    for name, peer in PEERS.items():
        table.rows[name] = measure(peer, loop, options.rounds)
        print(name, file=sys.stderr, flush=True)
    return finish(options, [*machine, f"loop: {loop}"], [table], [])


if __name__ == "__main__":
    sys.exit(main())
