"""The cost of an echo in uvicorn, for each of its WebSocket classes: ``python -m benchmarks.hosts.uvicorn``.

``common/echoes.py`` describes the measurement. All classes have uvicorn's HTTP parser, no keepalive and no compression.
The application echoes each message and does nothing else. "raw" is neither WebSocket nor uvicorn: it is the cost of the
kernel and the loop alone. The program needs uvicorn, websockets, wsproto, httptools and uvloop
(tests/hosts/uvicorn/constraints.txt).
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import socket
import statistics
import sys
from typing import Any

from ..common.echoes import Results, loads_of, measure_echoes
from ..common.machine import announce, use_one_core
from ..common.program import Program
from ..common.report import Bar, Table, add_options, finish
from ..common.server import Server, available, usable_loop
from ..servers.programs import serve_raw

MODULE = "benchmarks.hosts.uvicorn"
OWN, RAW = "wsfast", "raw"
USUAL = "raw,websockets-sansio,wsproto,wsfast"
LIMITS = {"websockets-sansio": 0.6, "wsproto": 0.3}
"""Largest cost of a message with our class, as a multiple of uvicorn's own classes, on uvloop."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def serve_uvicorn(ws: str, listening: socket.socket) -> object:
    """Serve with one WebSocket class, by its name in ``uvicorn --ws``."""
    import uvicorn

    started = asyncio.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    config = uvicorn.Config(
        echo, ws=ws, lifespan="off", log_level="error", ws_ping_interval=None, ws_per_message_deflate=False
    )
    serving = asyncio.create_task(Announcing(config).serve([listening]))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    return serving


def by_class(ws: str, codec: str | None = None, needs: str = "uvicorn") -> Program:
    return Program(functools.partial(serve_uvicorn, ws), needs, codec)


PROGRAMS = {
    RAW: Program(serve_raw),
    "websockets-sansio": by_class("websockets-sansio"),
    "wsproto": by_class("wsproto", needs="wsproto"),
    OWN: by_class("wsfast.uvicorn:WebSocketProtocol", "native"),
    "wsfast-pure": by_class("wsfast.uvicorn:WebSocketProtocol", "fallback"),
}


def report(results: Results, loop: str) -> tuple[list[Table], list[Bar]]:
    tables, bars = [], []
    for load, samples in results.items():
        table = Table(
            f"{load.name}, {loop}: CPU of the server per message",
            "us; ours: times the cost of this row, and of that above raw",
        )
        own = samples.get(OWN)
        for name, theirs in samples.items():
            figures = {"best": theirs.best, "median": statistics.median(theirs.server_us)}
            if own is not None and theirs is not own:
                figures["ours"] = own.ratio(theirs)
                if RAW in samples and name != RAW and loop == "uvloop":  # asyncio's receives into new memory
                    raw = samples[RAW].best
                    figures["above raw"] = (own.best - raw) / (theirs.best - raw)
                if name in LIMITS and loop == "uvloop":
                    bars.append(Bar(f"wsfast to {name}, {load.name}", figures["ours"], LIMITS[name]))
            table.rows[name] = figures
            table.sizes[name] = load.size
        tables.append(table)
    return tables, bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time that uvicorn uses per message.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--programs", default=USUAL, help=f"of {', '.join(PROGRAMS)} (default: %(default)s)")
    parser.add_argument("--sizes", default="125,65536", help="bytes (default: %(default)s)")
    parser.add_argument("--in-flight", default="1", metavar="N", help="messages sent at once (default: 1)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="samples of each (default: 15)")
    parser.add_argument("--sample", type=float, default=0.15, metavar="S", help="seconds (default: 0.15)")
    parser.add_argument(
        "--seconds", type=float, default=75, metavar="S", help="stop sampling after (default: 75)"
    )
    add_options(parser)
    options = parser.parse_args()
    if unknown := set(options.programs.split(",")) - set(PROGRAMS):
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    use_one_core()
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(MODULE, options.programs.split(","))
    results = measure_echoes(
        lambda: [Server(MODULE, name, loop) for name in names],
        loads_of(options.sizes, options.in_flight),
        options.rounds,
        options.sample,
        options.seconds,
    )
    tables, bars = report(results, loop)
    return finish(options, [*machine, f"loop: {loop}"], tables, bars)


if __name__ == "__main__":
    sys.exit(main())
