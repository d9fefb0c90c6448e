"""What websockets costs per message, with its own frames and with ours: ``python benchmarks/hosts_websockets.py``.

Two measurements. The protocols by themselves, without I/O, take turns in this process (``race.py``): bytes of a frame
to an event, and a message to bytes. Then servers of their own processes echo, one with ``create_connection=`` of
wsfast, as in ``echo.py`` and with its client: the CPU clock of the process counts. No compression and no keepalive.
To be run by a Python with websockets and uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))  # wsfast, where it is not installed

from cases import KEY, KIB, Operation, check, frame, size_name, text_of
from echo import Case, EchoError, Sampler, Samples, Server, ratio
from machine import describe_machine
from race import Subject, race
from report import Table, add_options, finish

from wsfast import codec
from wsfast.patch.hosts import installed_version

SIZES = (125, 64 * KIB)
MAX_SIZE = 2**24
N_SERIES = 3
SUBJECTS = ("websockets", "wsfast")


def protocols(side: str) -> dict[str, Any]:
    """Return an open protocol of theirs and one of ours."""
    import websockets.client
    import websockets.server
    from websockets.protocol import State
    from websockets.uri import parse_uri

    import wsfast.websockets

    options = {"state": State.OPEN, "max_size": MAX_SIZE}
    if side == "server":
        classes = (websockets.server.ServerProtocol, wsfast.websockets.ServerProtocol)
        return {name: make(**options) for name, make in zip(SUBJECTS, classes, strict=True)}
    classes = (websockets.client.ClientProtocol, wsfast.websockets.ClientProtocol)
    uri = parse_uri("ws://host/")
    return {name: make(uri, **options) for name, make in zip(SUBJECTS, classes, strict=True)}


def receiving(protocol: Any, side: str, size: int) -> Operation:
    text = text_of("ASCII", size)
    data = frame(text, KEY if side == "server" else None)

    def operation() -> Any:
        protocol.receive_data(data)
        return protocol.events_received()

    (event,) = operation()
    check(bytes(event.data) == text.encode())
    return operation


def sending(protocol: Any, side: str, size: int) -> Operation:
    data = text_of("ASCII", size).encode()

    def operation() -> Any:
        protocol.send_text(data)
        return protocol.data_to_send()

    (sent,) = operation()
    check(len(sent) == len(frame(data, KEY if side == "client" else None)))
    return operation


def measure_protocols(seconds: float) -> Table:
    table = Table("websockets without I/O, one text message", "us; ratio: times as fast")
    makers: dict[str, Callable[[Any, str, int], Operation]] = {"receive": receiving, "send": sending}
    for side in ("server", "client"):
        for what, make in makers.items():
            for size in SIZES:
                subjects = {
                    name: Subject(make(protocol, side, size)) for name, protocol in protocols(side).items()
                }
                race(subjects.values(), seconds)
                theirs, ours = (subjects[name].ns / 1000 for name in SUBJECTS)
                row = f"{side}, {what}, {size_name(size)}"
                table.rows[row] = {"websockets": theirs, "wsfast": ours, "ratio": theirs / ours}
    return table


def measure_compression(seconds: float) -> Table:
    """Compressed by the extension of websockets, which both have, without context takeover: each frame is alike."""
    from websockets.extensions.permessage_deflate import PerMessageDeflate
    from websockets.frames import TEXT, Frame

    def compressing(protocol: Any) -> Any:
        protocol.extensions = [PerMessageDeflate(True, True, 12, 12, {"memLevel": 5})]
        return protocol

    text = json.dumps([{"id": 1000 + i, "name": f"user{i}", "ok": i % 3 == 0} for i in range(45)]).encode()
    (extension,) = compressing(protocols("server")["wsfast"]).extensions
    payload = extension.encode(Frame(TEXT, text)).data
    data = bytearray(frame(bytes(payload), KEY))
    data[0] = 0xC1  # FIN RSV1 text

    def receiving(protocol: Any) -> Operation:
        def operation() -> Any:
            protocol.receive_data(data)
            return protocol.events_received()

        (event,) = operation()
        check(bytes(event.data) == text)
        return operation

    def sending(protocol: Any) -> Operation:
        def operation() -> Any:
            protocol.send_text(text)
            return protocol.data_to_send()

        (sent,) = operation()
        check(sent.endswith(bytes(payload)))
        return operation

    table = Table(f"the same, {len(text)} B of JSON compressed", "us; ratio: times as fast")
    for what, make in {"receive": receiving, "send": sending}.items():
        subjects = {
            name: Subject(make(compressing(protocol))) for name, protocol in protocols("server").items()
        }
        race(subjects.values(), seconds)
        theirs, ours = (subjects[name].ns / 1000 for name in SUBJECTS)
        table.rows[f"server, {what}"] = {"websockets": theirs, "wsfast": ours, "ratio": theirs / ours}
    return table


class EchoServer(Server):
    """A server process of this file."""

    def __init__(self, name: str, loop: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--loop", loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.connections: list[socket.socket] = []
        self.clock = (~self.process.pid << 3) | 2


async def serve(name: str) -> None:
    from websockets.asyncio.server import serve

    from wsfast.websockets import ServerConnection

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # for all alike
    listening.bind(("127.0.0.1", 0))
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
    async with serve(
        echo,
        sock=listening,
        compression=None,
        ping_interval=None,
        max_size=MAX_SIZE,
        create_connection=ServerConnection if name == "wsfast" else None,
    ):
        print(listening.getsockname()[1], flush=True)
        gc.disable()
        await asyncio.get_running_loop().create_future()


def measure_servers(options: argparse.Namespace) -> Table:
    cases = [Case(size, n) for size in SIZES for n in (1, 16)]
    results = {case: {name: Samples() for name in SUBJECTS} for case in cases}
    deadline = time.monotonic() + options.server_seconds
    for _ in range(N_SERIES):
        with ExitStack() as stack:
            servers = [EchoServer(name, options.loop) for name in SUBJECTS]
            for server in servers:
                stack.callback(server.stop)
            ports = [server.port() for server in servers]
            samplers = [
                Sampler(server, port, case, results[case][server.name], options.sample)
                for case in cases
                for server, port in zip(servers, ports, strict=True)
            ]
            gc.collect()
            gc.disable()
            for _ in range(math.ceil(options.rounds / N_SERIES)):
                for sampler in samplers:
                    sampler.sample()
                if time.monotonic() > deadline:
                    break
            gc.enable()
    title = f"an echo server of websockets, {options.loop}, one message"
    table = Table(title, "us of its CPU, median; ratio: median of those in a round")
    for case, samples in results.items():
        medians = {name: statistics.median(each.server_us) for name, each in samples.items()}
        table.rows[case.name] = {**medians, "ratio": 1 / ratio(samples["wsfast"], samples["websockets"])}
    return table


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure websockets with its own frames and with those of wsfast."
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="for each protocol's row (default: 1)"
    )
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument(
        "--rounds", type=int, default=15, metavar="N", help="samples of each server (default: 15)"
    )
    parser.add_argument("--sample", type=float, default=0.15, metavar="S", help="seconds (default: 0.15)")
    parser.add_argument(
        "--server-seconds", type=float, default=60, metavar="S", help="stop sampling after (default: 60)"
    )
    parser.add_argument("--serve", metavar="NAME", help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args()
    if options.serve:
        if options.loop == "uvloop":
            import uvloop

            uvloop.run(serve(options.serve))
        else:
            asyncio.run(serve(options.serve))
        return 0
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # Linux; the servers inherit it
    versions = [f"{name} {installed_version(name)}" for name in ("websockets", "uvloop")]
    machine = [*describe_machine(), f"codec in use: {codec.IMPLEMENTATION}", ", ".join(versions)]
    print("\n".join(machine), flush=True)
    tables = [measure_protocols(options.seconds), measure_compression(options.seconds)]
    try:
        tables.append(measure_servers(options))
    except (EchoError, OSError) as error:
        print(f"a server failed while it was measured: {error}")
        return 1
    return finish(options, machine, tables, [])


if __name__ == "__main__":
    sys.exit(main())
