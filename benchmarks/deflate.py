"""What an echo server costs per compressed message, for wsfast and its peers: ``python benchmarks/deflate.py``.

2 KiB of JSON, each message another, compressed with context takeover in both directions. Servers are processes of
their own, on one core with the client; what counts is their CPU clock, as in ``echo.py``. They take turns, sample by
sample; a ratio is the median of the ratios inside each round. The peers have their defaults; the bytes of a message
are printed, as a comparison says little without. The same zlib with the same settings makes the same bytes.

Linux only. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))  # wsfast, where it is not installed

from machine import describe_machine

SIZE = 2048
N_MESSAGES = 400  # a sample
TAIL = b"\x00\x00\xff\xff"
KEY = bytes((0x37, 0xFA, 0x21, 0x3D))

SMALL = {"server_max_window_bits": 12, "client_max_window_bits": 12, "mem_level": 5}
LARGE = {"server_max_window_bits": 15, "client_max_window_bits": 15, "mem_level": 8}
SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "websockets": ("websockets", {}),
    "wsfast, 12 bits": ("wsfast", SMALL),
    "wsfast, 12 bits, zlib-ng": ("zlib_ng", {**SMALL, "engine": "zlib-ng"}),
    "wsfast, 12 bits, isal": ("isal", {**SMALL, "engine": "isal"}),
    "picows.websockets": ("picows", {}),
    "wsfast, 15 bits": ("wsfast", LARGE),
    "wsfast, 14 bits": ("wsfast", {**LARGE, "server_max_window_bits": 14}),
    "wsfast, 12 bits, zlib-ng 7": ("zlib_ng", {**SMALL, "engine": "zlib-ng", "level": 7}),
    "aiohttp": ("aiohttp", {}),
    "wsfast, 15 bits, level 1": ("wsfast", {**LARGE, "level": 1}),
}
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


async def serve(name: str) -> None:
    async def echo(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    listening = socket.create_server(("127.0.0.1", 0))
    module, settings = SUBJECTS[name]
    server: Any
    if name.startswith("wsfast"):
        import wsfast
        from wsfast.deflate import Deflate

        server = await wsfast.serve(echo, sock=listening, compression=Deflate(**settings), ping_interval=None)
    elif module == "websockets":
        import websockets.asyncio.server

        server = await websockets.asyncio.server.serve(echo, sock=listening, ping_interval=None)
    elif module == "picows":
        import picows.websockets.asyncio.server

        server = await picows.websockets.asyncio.server.serve(echo, sock=listening, ping_interval=None)
    else:
        from aiohttp import web

        async def handle(request: Any) -> Any:
            ws = web.WebSocketResponse(compress=True)
            await ws.prepare(request)
            async for message in ws:
                await ws.send_str(message.data)
            return ws

        app = web.Application()
        app.router.add_get("/", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        server = web.SockSite(runner, listening)
        await server.start()
    gc.freeze()
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


class Server:
    """A server of its own process, and a client of it."""

    def __init__(self, name: str, loop: str) -> None:
        command = [sys.executable, __file__, "--serve", name, "--loop", loop]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            "GET / HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        self.extension = next(
            line.partition(":")[2].strip() for line in head.decode().split("\r\n") if "deflate" in line
        )
        self.deflater = zlib.compressobj(
            wbits=-15 if "client_max_window_bits=12" not in self.extension else -12
        )
        self.inflater = zlib.decompressobj(wbits=-15)
        self.n_bytes = self.n_messages = 0

    def frame(self, message: bytes) -> bytes:
        payload = (self.deflater.compress(message) + self.deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        masked = bytes(octet ^ KEY[pos & 3] for pos, octet in enumerate(payload))
        size = len(payload)
        head = bytes((0xC1, 0x80 | size)) if size < 126 else bytes((0xC1, 0xFE)) + size.to_bytes(2, "big")
        return head + KEY + masked

    def receive(self) -> bytes:
        """Return the payload of one frame."""
        data = b""
        while True:
            if len(data) >= 4:
                size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
                if len(data) == start + size:
                    assert data[0] == 0xC1, data[:2]
                    return data[start:]
                assert len(data) < start + size
            data += self.socket.recv(65_536)

    def sample(self, messages: list[bytes]) -> float:
        """Return the server's CPU time for one message, in us; messages go one by one."""
        frames = [self.frame(message) for message in messages]
        payloads: list[bytes] = []
        before = self.cpu()
        for frame in frames:
            self.socket.sendall(frame)
            payloads.append(self.receive())
        after = self.cpu()
        for payload, message in zip(payloads, messages, strict=True):
            assert self.inflater.decompress(payload + TAIL) == message
            self.n_bytes += len(payload)
            self.n_messages += 1
        return (after - before) / len(messages) / 1000

    def cpu(self) -> int:
        """Nanoseconds that the process had a core; it is idle now."""
        while select.select([self.socket], [], [], 0)[0]:
            raise AssertionError("more than one answer")
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def documents(n: int, choose: random.Random) -> list[bytes]:
    """JSON as services send it: the keys repeat, the values do not. Each has ``SIZE`` bytes."""
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
            for _ in range(20)
        ]
        made.append(json.dumps(rows).encode()[:SIZE])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.serve:
        factory = None
        if options.loop == "uvloop":
            from uvloop import new_event_loop as factory
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(options.serve))
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    names = [name for name, (module, _) in SUBJECTS.items() if importlib.util.find_spec(module) is not None]
    servers = {name: Server(name, options.loop) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    gc.disable()
    try:
        for number in range(-1, options.rounds):
            messages = documents(N_MESSAGES, random.Random(number))
            for name, server in servers.items():
                spent = server.sample(messages)
                if number >= 0:  # the first warms up
                    samples[name].append(spent)
    finally:
        for server in servers.values():
            server.close()
    print(*describe_machine(), f"{options.loop}; {SIZE} bytes of JSON, one message in flight", sep="\n")
    for name, server in servers.items():
        size = server.n_bytes / server.n_messages
        print(f"{name:26} {min(samples[name]):7.1f} us, {size:6.1f} bytes   {server.extension}")
    for ours, theirs in PAIRS:
        if ours in servers and theirs in servers:
            ratios = [a / b for a, b in zip(samples[ours], samples[theirs], strict=True)]
            print(f"{ours} to {theirs}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
