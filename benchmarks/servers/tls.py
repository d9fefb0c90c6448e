"""The cost of an echo over TLS, in wsfast's server and in its peers': ``python -m benchmarks.servers.tls``.

Everything else is as in ``echo.py``. picows brings aiofastnet, and takes its transports; wsfast takes them where they
are installed ("wsfast"), or the loop's own ("wsfast-own"). "raw" is a protocol of the loop that knows no WebSocket.
Needs trustme, for the certificate. Linux only.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
from typing import Any

from ..common.echoes import Load, loads_of, measure_echoes
from ..common.machine import announce, use_one_core
from ..common.program import Program
from ..common.report import Bar, add_options, finish
from ..common.server import Server, available, usable_loop
from . import programs
from .echo import tables_of
from .programs import echo

MODULE = "benchmarks.servers.tls"
USUAL = "raw,picows.websockets,wsfast,wsfast-own,websockets"

# The load, and the largest cost of wsfast as a multiple of that of picows.websockets.
PROMISES = ((Load(256, 1), 1.0), (Load(65536, 1), 0.9))


def server_context() -> ssl.SSLContext:
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


async def serve_raw(listening: socket.socket) -> object:
    return await programs.serve_raw(listening, ssl=server_context())


async def serve_canned(listening: socket.socket) -> object:
    """For the clients of ``clients.py``."""
    return await programs.serve_canned(listening, ssl=server_context())


async def serve_picows_websockets(listening: socket.socket) -> object:
    from picows.websockets.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None, ssl=server_context())


async def _serve_wsfast(listening: socket.socket, **options: Any) -> object:
    from wsfast.asyncio.server import serve

    return await serve(
        echo, sock=listening, compression=None, ping_interval=None, ssl=server_context(), **options
    )


async def serve_wsfast(listening: socket.socket) -> object:
    return await _serve_wsfast(listening, aiofastnet=True)


async def serve_wsfast_own(listening: socket.socket) -> object:
    return await _serve_wsfast(listening, aiofastnet=False)


async def serve_websockets(listening: socket.socket) -> object:
    from websockets.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None, ssl=server_context())


PROGRAMS = {
    "canned": Program(serve_canned, tls=True),
    "raw": Program(serve_raw, tls=True),
    "picows.websockets": Program(serve_picows_websockets, "picows", tls=True),
    "wsfast": Program(serve_wsfast, "aiofastnet", "native", tls=True),
    "wsfast-own": Program(serve_wsfast_own, codec="native", tls=True),
    "websockets": Program(serve_websockets, "websockets", tls=True),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time of echoes over TLS.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--programs", default=USUAL, metavar="NAMES", help="(default: %(default)s)")
    parser.add_argument("--sizes", default="256,65536", metavar="BYTES", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=27, metavar="N", help="samples of each (default: 27)")
    parser.add_argument("--seconds", type=float, default=75, metavar="S", help="stop after (default: 75)")
    parser.add_argument("--cpu", type=int, metavar="N", help="the core to use (default: the last one)")
    add_options(parser)
    options = parser.parse_args()

    use_one_core(options.cpu)
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(MODULE, options.programs.split(","))
    results = measure_echoes(
        lambda: [Server(MODULE, name, loop) for name in names],
        loads_of(options.sizes, "1"),
        options.rounds,
        0.15,
        options.seconds,
    )
    bars = []
    for load, limit in PROMISES:
        samples = results.get(load, {})
        measured = None
        if "wsfast" in samples and "picows.websockets" in samples:
            measured = samples["wsfast"].ratio(samples["picows.websockets"])
        bars.append(Bar(f"wsfast to picows.websockets, TLS, {load.name}, {loop}", measured, limit))
    return finish(options, [*machine, f"loop: {loop}"], tables_of(results, f"{loop}, TLS"), bars)


if __name__ == "__main__":
    sys.exit(main())
