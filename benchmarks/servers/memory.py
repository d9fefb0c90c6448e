"""The memory of an idle connection in the server: ``python -m benchmarks.servers.memory``.

The memory that belongs to the server process alone is read twice: with some open connections, and with many more. Each
time the server collects garbage first. The difference is divided by the number of new connections. "after a message":
each connection has had one text echoed. Memory of the kernel's sockets is not included. The servers are those of
``echo.py``, and with compression those of ``deflate.py``. Linux only.
"""

from __future__ import annotations

import argparse
import sys

from ..common.client import Client
from ..common.machine import announce
from ..common.race import Sampled
from ..common.report import Table, add_options, finish
from ..common.server import Server, available, running, usable_loop
from . import deflate
from .fanout import allow_descriptors

PLAIN = "benchmarks.servers.programs"
N_FIRST = 200  # The first connections also fill pools, caches and modules.
COMPRESSED = {
    "picows.websockets": "picows.websockets",
    "wsfast": "wsfast, 12 bits",
    "websockets": "websockets",
    "aiohttp": "aiohttp",
}
USUAL = "raw,picows,picows.websockets,wsfast,websockets,aiohttp,wsproto"
TEXT = "x" * 240


class MemorySubject(Sampled):
    """``samples``: KiB per connection; each sample opens ``n`` connections, which stay open."""

    def __init__(self, server: Server, n: int, with_message: bool, extensions: str = "") -> None:
        super().__init__()
        self.server = server
        self.n = n
        self.with_message = with_message
        self.extensions = extensions
        self.open_some(N_FIRST)

    def open_some(self, n_more: int) -> None:
        # The raw server takes the sizes of a frame and of its echo from the path.
        path = "/14/10" if self.server.name == "raw" else "/"
        for _ in range(n_more):
            client = Client(self.server, path, self.extensions)
            if self.with_message:
                client.exchange(TEXT)

    def sample(self) -> None:
        self.server.ask()
        before = self.server.memory()
        self.open_some(self.n)
        self.server.ask()
        self.samples.append((self.server.memory() - before) / self.n / 1024)


def kib_per_connection(server: Server, n: int, with_message: bool, extensions: str = "") -> float:
    subject = MemorySubject(server, n, with_message, extensions)
    subject.sample()
    return subject.samples[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the memory of idle connections.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="asyncio")
    parser.add_argument("--programs", default=USUAL, help="of those of echo.py (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=2000, metavar="N", help="(default: 2000)")
    add_options(parser)
    options = parser.parse_args()
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(PLAIN, options.programs.split(","))
    allow_descriptors(options.connections + N_FIRST)
    table = Table(f"{options.connections} idle connections, {loop}", "KiB a connection")
    for name in names:
        row: dict[str, float] = {}
        for what, with_message in (("idle", False), ("after a message", True)):
            if name == "raw" and with_message:
                continue
            with running([Server(PLAIN, name, loop, garbage_collected=True)]) as servers:
                for server in servers:
                    row[what] = kib_per_connection(server, options.connections, with_message)
        table.rows[name] = row
    compressed = Table(f"the same with compression, {loop}", "KiB a connection")
    for name in (name for name in names if name in COMPRESSED):
        row = {}
        for what, with_message in (("idle", False), ("after a message", True)):
            program = COMPRESSED[name]
            with running([Server(deflate.MODULE, program, loop, garbage_collected=True)]) as servers:
                for server in servers:
                    offer = "permessage-deflate; client_max_window_bits"
                    row[what] = kib_per_connection(server, options.connections, with_message, offer)
        compressed.rows[name] = row
    return finish(options, [*machine, f"loop: {loop}"], [table, compressed], [])


if __name__ == "__main__":
    sys.exit(main())
