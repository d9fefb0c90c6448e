"""The cost of opening and closing a connection: ``python -m benchmarks.servers.handshakes``.

The client opens a connection and reads the response. Later it sends a Close, reads the server's, and closes TCP. It
opens all connections of a sample one after the other, and then closes them. The CPU clock of the server process counts,
per connection: of opening, and of both; "a second" is the number of connections that this allows on one core. All
servers and the client share one core and take turns, as in ``common/echoes.py``. The servers are those of ``echo.py``.
Linux only.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys

from ..common.client import CLOSE, Client
from ..common.machine import announce, use_one_core
from ..common.race import Sampled, median_ratio, race
from ..common.report import Table, add_options, finish
from ..common.server import Server, ServerError, available, running, usable_loop

MODULE = "benchmarks.servers.programs"
USUAL = "raw,picows,picows.websockets,wsfast,websockets,aiohttp,wsproto"
N_SERIES = 3


class HandshakeSubject(Sampled):
    """``samples``: CPU us of the server per connection; ``opening``: its first part."""

    def __init__(self, server: Server, n_connections: int) -> None:
        super().__init__()
        self.server = server
        self.n_connections = n_connections
        self.opening: list[float] = []
        for _ in range(20):  # The first connections import modules and fill caches.
            self.close(self.open())

    def open(self) -> Client:
        # The raw server takes the sizes of a frame and of its echo from the path.
        return Client(self.server, f"/{len(CLOSE)}/4", owned=False)

    def close(self, client: Client) -> None:
        with client.socket:
            client.socket.sendall(CLOSE)
            received = client.receive(4)
            if received[:1] != b"\x88" and self.server.name != "raw":
                raise ServerError(f"{self.server.name}: sent no Close: {received!r}")
            client.socket.shutdown(socket.SHUT_WR)
            if client.socket.recv(1):
                raise ServerError(f"{self.server.name}: sent more than a Close")

    def sample(self) -> None:
        start = self.server.cpu_ns()
        clients = [self.open() for _ in range(self.n_connections)]
        opened = self.server.cpu_ns()
        for client in clients:
            self.close(client)
        self.opening.append((opened - start) / self.n_connections / 1000)
        self.samples.append((self.server.cpu_ns() - start) / self.n_connections / 1000)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time of a server for each connection.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="asyncio")
    parser.add_argument("--programs", default=USUAL, help="of those of echo.py (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="samples of each (default: 15)")
    parser.add_argument("--connections", type=int, default=100, metavar="N", help="a sample (default: 100)")
    add_options(parser)
    options = parser.parse_args()
    use_one_core()
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(MODULE, options.programs.split(","))
    samples: dict[str, list[float]] = {}
    opening: dict[str, list[float]] = {}
    n_rounds = -(-options.rounds // N_SERIES)
    for _ in range(N_SERIES):
        with running(Server(MODULE, name, loop) for name in names) as servers:
            subjects = [HandshakeSubject(server, options.connections) for server in servers]
            race(subjects, 0, n_rounds, n_rounds)
            for subject in subjects:
                samples.setdefault(subject.server.name, []).extend(subject.samples)
                opening.setdefault(subject.server.name, []).extend(subject.opening)
    tables = [
        _table(f"opening a connection, {loop}", opening),
        _table(f"opening and closing a connection, {loop}", samples),
    ]
    return finish(options, [*machine, f"loop: {loop}"], tables, [])


def _table(title: str, samples: dict[str, list[float]]) -> Table:
    table = Table(title, "CPU us of the server; ratio: wsfast to this row")
    for name, own in samples.items():
        best = min(own)
        table.rows[name] = {"best": best, "median": statistics.median(own), "a second": 1e6 / best}
        if "wsfast" in samples and name != "wsfast":
            table.rows[name]["ratio"] = median_ratio(samples["wsfast"], own)
    return table


if __name__ == "__main__":
    sys.exit(main())
