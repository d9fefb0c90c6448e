"""The cost of a compressed echo in wsfast's server and in its peers': ``python -m benchmarks.servers.deflate``.

JSON, each message different, compressed with context takeover in both directions. Servers are processes of
their own, on one core with the client, and the CPU clock of each counts. They take turns, sample by sample; a ratio
is the median of the ratios inside each round. The peers have their defaults. The bytes of a message are printed,
because a comparison says little without them. The same zlib with the same settings makes the same bytes.

Linux only. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import socket
import sys
import zlib
from typing import Any

from ..common.cases import KEY, masked
from ..common.client import Client
from ..common.machine import announce, use_one_core
from ..common.program import Program
from ..common.race import Sampled, median_ratio, race
from ..common.report import Table, add_options, finish
from ..common.server import Server, ServerError, available, running, usable_loop
from .programs import echo

MODULE = "benchmarks.servers.deflate"
N_MESSAGES = 400  # messages per sample, of 2 KiB or less; fewer of larger ones
TAIL = b"\x00\x00\xff\xff"

SMALL = {"server_max_window_bits": 12, "client_max_window_bits": 12, "mem_level": 5}
LARGE = {"server_max_window_bits": 15, "client_max_window_bits": 15, "mem_level": 8}
PAIRS = [
    ("wsfast, 12 bits", "websockets"),
    ("wsfast, 12 bits, zlib-ng", "websockets"),
    ("wsfast, 12 bits, isal", "websockets"),
    ("wsfast, 12 bits", "picows.websockets"),
    ("wsfast, 14 bits", "picows.websockets"),
    ("wsfast, 15 bits", "picows.websockets"),
    ("wsfast, 12 bits, zlib-ng 7", "picows.websockets"),
    ("wsfast, 15 bits, level 1", "aiohttp"),
]


async def serve_wsfast(settings: dict[str, Any], listening: socket.socket) -> object:
    from wsfast.asyncio import serve
    from wsfast.deflate import Deflate

    return await serve(echo, sock=listening, compression=Deflate(**settings), ping_interval=None)


async def serve_websockets(listening: socket.socket) -> object:
    from websockets.asyncio.server import serve

    return await serve(echo, sock=listening, ping_interval=None)


async def serve_picows(listening: socket.socket) -> object:
    from picows.websockets.asyncio.server import serve

    return await serve(echo, sock=listening, ping_interval=None)


async def serve_aiohttp(listening: socket.socket) -> object:
    from aiohttp import web

    async def handle(request: Any) -> Any:
        ws = web.WebSocketResponse(compress=True)
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.SockSite(runner, listening)
    await site.start()
    return site


def ours(needs: str | None = None, **settings: Any) -> Program:
    return Program(functools.partial(serve_wsfast, settings), needs, "native")


PROGRAMS = {
    "websockets": Program(serve_websockets, "websockets"),
    "wsfast, 12 bits": ours(**SMALL),
    "wsfast, 12 bits, zlib-ng": ours("zlib-ng", **SMALL, engine="zlib-ng"),
    "wsfast, 12 bits, isal": ours("isal", **SMALL, engine="isal"),
    "picows.websockets": Program(serve_picows, "picows"),
    "wsfast, 15 bits": ours(**LARGE),
    "wsfast, 14 bits": ours(**LARGE | {"server_max_window_bits": 14}),
    "wsfast, 12 bits, zlib-ng 7": ours("zlib-ng", **SMALL, engine="zlib-ng", level=7),
    "aiohttp": Program(serve_aiohttp, "aiohttp"),
    "wsfast, 15 bits, level 1": ours(**LARGE, level=1),
}


class DeflateSubject(Sampled):
    """Compressed echoes, one by one. ``samples``: CPU us of the server per message."""

    def __init__(self, server: Server, size: int) -> None:
        super().__init__()
        self.server = server
        self.size = size
        self.client = Client(server, extensions="permessage-deflate; client_max_window_bits")
        lines = self.client.head.decode().split("\r\n")
        self.extension = next(line.partition(":")[2].strip() for line in lines if "deflate" in line)
        self.deflater = zlib.compressobj(wbits=-12 if "client_max_window_bits=12" in self.extension else -15)
        self.inflater = zlib.decompressobj(wbits=-15)
        self.n_bytes = self.n_messages = self.n_samples = 0
        self.sample()  # to warm up
        self.samples.clear()

    def frame(self, message: bytes) -> bytes:
        payload = (self.deflater.compress(message) + self.deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        size = len(payload)
        head = bytes((0xC1, 0x80 | size)) if size < 126 else bytes((0xC1, 0xFE)) + size.to_bytes(2, "big")
        return head + KEY + masked(payload, KEY)

    def sample(self) -> None:
        n = max(50, min(N_MESSAGES, N_MESSAGES * 2048 // self.size))
        messages = documents(n, self.size, random.Random(self.n_samples))  # the same for all that take turns
        self.n_samples += 1
        frames = [self.frame(message) for message in messages]
        received = []
        before = self.server.cpu_ns()
        for frame in frames:
            self.client.socket.sendall(frame)
            received.append(self.client.receive_frame())
        spent = self.server.cpu_ns() - before
        for (first, payload), message in zip(received, messages, strict=True):
            if first != 0xC1 or self.inflater.decompress(payload + TAIL) != message:
                raise ServerError(f"{self.server.name}: sent a wrong echo")
            self.n_bytes += len(payload)
            self.n_messages += 1
        self.samples.append(spent / len(messages) / 1000)


def documents(n: int, size: int, choose: random.Random) -> list[bytes]:
    """JSON like that of services: the keys repeat, the values do not. Each has ``size`` bytes."""
    made = []
    for _ in range(n):
        rows = [
            {
                "id": choose.randrange(10**6),
                "user": choose.choice(["alice", "bob", "carol", "dave"]),
                "text": f"message {choose.randrange(1000)} from {choose.choice(['Berlin', 'Paris', 'Seoul'])}",
                "time": 1_700_000_000 + choose.randrange(10**6),
                "tags": choose.sample(["a", "news", "x1", "sport", "tech"], 3),
            }
            for _ in range(size // 100 + 1)
        ]
        made.append(json.dumps(rows).encode()[:size])
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure the CPU time that echo servers use per compressed message."
    )
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="samples of each (default: 15)")
    parser.add_argument("--size", type=int, default=2048, metavar="BYTES", help="(default: 2048)")
    add_options(parser)
    options = parser.parse_args()
    use_one_core()
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(MODULE, PROGRAMS)
    with running(Server(MODULE, name, loop) for name in names) as servers:
        subjects = {server.name: DeflateSubject(server, options.size) for server in servers}
        race(subjects.values(), 0, options.rounds, options.rounds)
    table = Table(
        f"{options.size} bytes of JSON, one message in flight, {loop}", "CPU us of the server; bytes sent"
    )
    notes = []
    for name, subject in subjects.items():
        table.rows[name] = {"us": min(subject.samples), "bytes": subject.n_bytes / subject.n_messages}
        notes.append(f"{name}: {subject.extension}")
    ratios = Table("the same, ratios", "x: median of those in a round")
    for own, theirs in PAIRS:
        if own in subjects and theirs in subjects:
            ratio = median_ratio(subjects[own].samples, subjects[theirs].samples)
            ratios.rows[f"{own} to {theirs}"] = {"ratio": ratio}
    return finish(options, [*machine, f"loop: {loop}"], [table, ratios], [], notes)


if __name__ == "__main__":
    sys.exit(main())
