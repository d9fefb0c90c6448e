"""The most that one read can cost a server: ``python -m benchmarks.servers.worst_read``.

One connection, default limits, compression on. Each input (``worst_reads.py``) fits into one read of 256 KiB. A new
server process receives it, and the table has for each input:

``MiB``     the growth of the process at its peak, above its memory before
``held``    the longest turn of the event loop, in ms of CPU, so that other work on the machine does not count
``total``   ms of CPU until the server was idle again
``closed``  the close code, if the server ended the connection

"reading": the handler takes each message. "waiting": it takes one, and no more. "echoing": it sends each one back, to a
client that reads nothing. The server sleeps while the client sends, so that one read gets everything. This program
judges nothing. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import select
import socket
import sys
import time
from typing import Any

from ..common.client import CLOSE_FOLLOWS, Client
from ..common.machine import announce
from ..common.program import Program
from ..common.report import Table, add_options, finish
from ..common.server import Server, ServerError, running, usable_loop
from .programs import echo
from .worst_reads import Make, reads

MODULE = "benchmarks.servers.worst_read"
READ_SIZE = 256 * 1024  # bytes: asyncio's
RECEIVE_BUFFER = 4 * READ_SIZE  # bytes of the kernel's buffer, so that a read is not cut short
ADDRESS_SPACE = 6 * 2**30  # bytes: a worse result must not take down the machine
TICK_SECONDS = 0.002  # uvloop counts in ms, and would not sleep for less than one
SLEEP_SECONDS = 0.2  # sleep of the server while the client sends


class Ticker:
    """Measures the largest CPU time of the loop from one tick to the next."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.at = time.thread_time()
        self.loop = asyncio.get_running_loop()
        self.tick()

    def tick(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self.at)
        self.at = now
        self.loop.call_later(TICK_SECONDS, self.tick)

    def answer(self) -> str:
        """Return the longest turn so far, in ms; then sleep, and start a new measurement."""
        longest = self.longest
        time.sleep(SLEEP_SECONDS)
        self.longest, self.at = 0.0, time.thread_time()
        return json.dumps(longest * 1000)


_ticker: Ticker | None = None


def answer() -> str:
    assert _ticker is not None
    return _ticker.answer()


def prepare(listening: socket.socket) -> None:
    global _ticker
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    _ticker = Ticker()


async def take_all(websocket: Any) -> None:
    async for _ in websocket:
        pass


async def take_one(websocket: Any) -> None:
    await websocket.recv()
    await asyncio.sleep(60)


async def serve_wsfast(handler: Any, listening: socket.socket) -> object:
    from wsfast.asyncio import serve

    prepare(listening)
    return await serve(handler, sock=listening, compression="deflate")


async def serve_reading(listening: socket.socket) -> object:
    return await serve_wsfast(take_all, listening)


async def serve_echoing(listening: socket.socket) -> object:
    return await serve_wsfast(echo, listening)


async def serve_waiting(listening: socket.socket) -> object:
    return await serve_wsfast(take_one, listening)


async def application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        if scope["path"] == "/waiting":
            await asyncio.sleep(60)


async def serve_uvicorn(listening: socket.socket) -> object:
    import uvicorn

    prepare(listening)
    config = uvicorn.Config(
        application, ws="wsfast.uvicorn:WebSocketProtocol", lifespan="off", log_level="critical"
    )
    serving = asyncio.create_task(uvicorn.Server(config).serve([listening]))
    await asyncio.sleep(0.2)  # Connections wait in the kernel until it serves.
    return serving


PROGRAMS = {
    "reading": Program(serve_reading, codec="native", answer=answer),
    "waiting": Program(serve_waiting, codec="native", answer=answer),
    "echoing": Program(serve_echoing, codec="native", answer=answer),
    "reading-pure": Program(serve_reading, codec="fallback", answer=answer),
    "waiting-pure": Program(serve_waiting, codec="fallback", answer=answer),
    "uvicorn-reading": Program(serve_uvicorn, "uvicorn", "native", answer),
    "uvicorn-waiting": Program(serve_uvicorn, "uvicorn", "native", answer),
}


def close_code(connection: socket.socket) -> int:
    """Return the code of the Close frame at the end of the server's bytes; 0 if there is none."""
    received = b""
    while select.select([connection], [], [], 0)[0]:
        try:
            part = connection.recv(1 << 20)
        except OSError:
            break
        if not part:
            break
        received += part
    while received:
        size, start = received[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(received[2:start], "big")
        if received[0] == CLOSE_FOLLOWS:
            return int.from_bytes(received[2:4], "big")
        received = received[start + size :]
    return 0


def wait_until_idle(server: Server) -> None:
    """Wait until the server uses no more CPU time than its ticks need."""
    for _ in range(200):
        before = server.cpu_ns()
        time.sleep(0.1)
        if server.cpu_ns() - before < 10_000_000:
            return
    raise ServerError(f"{server.name}: is not idle after 20 s")


def measure(server: Server, data: bytes) -> dict[str, float]:
    path = "/waiting" if server.name.endswith("waiting") else "/"
    client = Client(server, path, "permessage-deflate")
    server.forget_peak()
    memory, cpu = server.memory_in_use(), server.cpu_ns()
    server.tell()
    time.sleep(SLEEP_SECONDS / 4)
    client.socket.settimeout(10)
    try:
        client.socket.sendall(data)
    except OSError:
        pass  # The server has closed the connection.
    server.answer()
    wait_until_idle(server)
    peak, spent = server.peak_memory() - memory, server.cpu_ns() - cpu
    server.tell()
    held = json.loads(server.answer())
    return {
        "MiB": peak / 2**20,
        "held": held,
        "total": spent / 1e6,
        "closed": close_code(client.socket),
    }


def table_of(name: str, wanted: list[tuple[str, Make]], loop: str, size: int) -> Table:
    table = Table(
        f"one read of {size} bytes, {name}, {loop}",
        "MiB at the peak; ms of CPU: the longest turn of the loop, and in all; close code",
    )
    for what, make in wanted:
        with running([Server(MODULE, name, loop, garbage_collected=True)]) as servers:
            for server in servers:
                table.rows[what] = measure(server, make(size))
        print(f"{name}: {what}", file=sys.stderr, flush=True)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the memory and the time that one read can cost.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="asyncio")
    parser.add_argument(
        "--programs",
        default="reading,waiting",
        metavar="NAMES",
        help=f"of {', '.join(PROGRAMS)} (default: %(default)s)",
    )
    parser.add_argument("--inputs", default="", metavar="TEXT", help="only inputs whose name has this in it")
    parser.add_argument(
        "--bytes", type=int, default=READ_SIZE, metavar="N", help="of a read (default: 256 KiB)"
    )
    add_options(parser)
    options = parser.parse_args()
    machine = announce()
    loop = usable_loop(options.loop)
    wanted = [(name, make) for name, make in reads() if options.inputs in name]
    tables = [table_of(name, wanted, loop, options.bytes) for name in options.programs.split(",")]
    notes = []
    for table in tables:
        for figure in ("MiB", "held"):
            name, row = max(table.rows.items(), key=lambda item: item[1][figure])
            notes.append(f"{table.title}: most {figure}: {row[figure]:.1f}, {name}")
    return finish(options, [*machine, f"loop: {loop}"], tables, [], notes)


if __name__ == "__main__":
    sys.exit(main())
