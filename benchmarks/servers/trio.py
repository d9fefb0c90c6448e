"""The cost of an echo on trio, in wsfast's server and in its peers': ``python -m benchmarks.servers.trio``.

Everything else is as in ``echo.py``. "raw" is an echo over trio's own stream, without WebSocket. Linux only.
"""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

import trio

from ..common.echoes import Load, loads_of, measure_echoes
from ..common.machine import announce, use_one_core
from ..common.program import Program
from ..common.report import Bar, add_options, finish
from ..common.server import Server, available
from .echo import tables_of
from .programs import echo
from .tls import server_context

MODULE = "benchmarks.servers.trio"
USUAL = "raw,wsfast,websockets,trio-websocket"
REFERENCES = ("websockets", "trio-websocket", "raw")

# The peer, and the largest cost of wsfast as a multiple of its, for 256 B, one in flight.
PROMISES = (("websockets", 0.5), ("trio-websocket", 0.4))


def listeners(listening: socket.socket) -> list[trio.SocketListener]:
    return [trio.SocketListener(trio.socket.from_stdlib_socket(listening))]


async def serve_raw(listening: socket.socket) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        request_size = n_received = 0
        response = b""
        async for data in stream:
            if not request_size:
                sizes = data.split()[1].strip(b"/").split(b"/")
                request_size, response = int(sizes[0]), bytes(int(sizes[1]))
                await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                continue
            n_frames, n_received = divmod(n_received + len(data), request_size)
            if n_frames:
                await stream.send_all(response * n_frames)

    await trio.serve_listeners(handle, listeners(listening))


async def serve_wsfast(listening: socket.socket, **options: Any) -> None:
    from wsfast.trio.server import serve

    await serve(echo, listeners=listeners(listening), compression=None, ping_interval=None, **options)


async def serve_wsfast_tls(listening: socket.socket) -> None:
    await serve_wsfast(listening, ssl=server_context())


async def serve_websockets(listening: socket.socket, **options: Any) -> None:
    from websockets.trio.server import serve

    await serve(echo, listeners=listeners(listening), compression=None, ping_interval=None, **options)


async def serve_websockets_tls(listening: socket.socket) -> None:
    await serve_websockets(listening, ssl=server_context())


async def serve_trio_websocket(listening: socket.socket) -> None:
    from trio_websocket import ConnectionClosed, WebSocketServer

    async def handle(request: Any) -> None:
        websocket = await request.accept()
        try:
            while True:
                await websocket.send_message(await websocket.get_message())
        except ConnectionClosed:
            pass

    await WebSocketServer(handle, listeners(listening)).run()


PROGRAMS = {
    "raw": Program(serve_raw, "trio"),
    "wsfast": Program(serve_wsfast, "trio", "native"),
    "wsfast-pure": Program(serve_wsfast, "trio", "fallback"),
    "wsfast-tls": Program(serve_wsfast_tls, "trio", "native", tls=True),
    "websockets": Program(serve_websockets, "websockets"),
    "websockets-tls": Program(serve_websockets_tls, "websockets", tls=True),
    "trio-websocket": Program(serve_trio_websocket, "trio-websocket"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time of echoes on trio.")
    parser.add_argument("--programs", default=USUAL, metavar="NAMES", help="(default: %(default)s)")
    parser.add_argument("--sizes", default="256,65536", metavar="BYTES", help="(default: %(default)s)")
    parser.add_argument("--in-flight", default="1", metavar="N", help="messages sent at once (default: 1)")
    parser.add_argument("--rounds", type=int, default=27, metavar="N", help="samples of each (default: 27)")
    parser.add_argument(
        "--sample", type=float, default=0.15, metavar="S", help="seconds a sample (default: 0.15)"
    )
    parser.add_argument("--seconds", type=float, default=75, metavar="S", help="stop after (default: 75)")
    parser.add_argument("--cpu", type=int, metavar="N", help="the core to use (default: the last one)")
    add_options(parser)
    options = parser.parse_args()

    use_one_core(options.cpu)
    machine = announce()
    names = available(MODULE, options.programs.split(","))
    results = measure_echoes(
        lambda: [Server(MODULE, name, "trio") for name in names],
        loads_of(options.sizes, options.in_flight),
        options.rounds,
        options.sample,
        options.seconds,
    )
    samples = results.get(Load(256, 1), {})
    bars = [
        Bar(
            f"wsfast to {peer}, 256 B, trio",
            samples["wsfast"].ratio(samples[peer]) if {"wsfast", peer} <= samples.keys() else None,
            limit,
        )
        for peer, limit in PROMISES
    ]
    return finish(options, [*machine, "loop: trio"], tables_of(results, "trio", REFERENCES), bars)


if __name__ == "__main__":
    sys.exit(main())
