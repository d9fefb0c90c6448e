"""The cost of a message in websockets, with its own frames and with ours: ``python -m benchmarks.hosts.websockets``.

There are two measurements. First the protocols alone, without I/O, take turns in this process: bytes of a frame to an
event, and a message to bytes. Then servers in processes of their own echo messages, one with ``create_connection=`` of
wsfast; ``common/echoes.py`` measures them. No compression, no keepalive. It needs websockets, and uvloop for its loop.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
from collections.abc import Callable
from typing import Any

from wsfast import codec

from ..common.cases import KEY, KIB, Operation, check, frame, size_name, text_of
from ..common.echoes import Load, measure_echoes
from ..common.machine import announce, named_versions, use_one_core
from ..common.program import Program
from ..common.race import Timed, race
from ..common.report import Table, add_options, finish
from ..common.server import Server, usable_loop
from ..servers.programs import echo

MODULE = "benchmarks.hosts.websockets"
SIZES = (125, 64 * KIB)
MAX_SIZE = 2**24
OWNERS = ("websockets", "wsfast")


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
        return {name: make(**options) for name, make in zip(OWNERS, classes, strict=True)}
    classes = (websockets.client.ClientProtocol, wsfast.websockets.ClientProtocol)
    uri = parse_uri("ws://host/")
    return {name: make(uri, **options) for name, make in zip(OWNERS, classes, strict=True)}


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
                    name: Timed(make(protocol, side, size)) for name, protocol in protocols(side).items()
                }
                race(subjects.values(), seconds)
                theirs, ours = (subjects[name].ns / 1000 for name in OWNERS)
                row = f"{side}, {what}, {size_name(size)}"
                table.rows[row] = {"websockets": theirs, "wsfast": ours, "ratio": theirs / ours}
    return table


def measure_compression(seconds: float) -> Table:
    """Measure websockets' compression, which both have, without context takeover: each frame is the same."""
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
            name: Timed(make(compressing(protocol))) for name, protocol in protocols("server").items()
        }
        race(subjects.values(), seconds)
        theirs, ours = (subjects[name].ns / 1000 for name in OWNERS)
        table.rows[f"server, {what}"] = {"websockets": theirs, "wsfast": ours, "ratio": theirs / ours}
    return table


async def serve_theirs(listening: socket.socket) -> object:
    return await serve(listening, None)


async def serve_ours(listening: socket.socket) -> object:
    from wsfast.websockets import ServerConnection

    return await serve(listening, ServerConnection)


async def serve(listening: socket.socket, create_connection: Any) -> object:
    from websockets.asyncio.server import serve

    return await serve(
        echo,
        sock=listening,
        compression=None,
        ping_interval=None,
        max_size=MAX_SIZE,
        create_connection=create_connection,
    )


PROGRAMS = {"websockets": Program(serve_theirs, "websockets"), "wsfast": Program(serve_ours, "websockets")}


def measure_servers(options: argparse.Namespace) -> Table:
    loop = usable_loop(options.loop)
    loads = [Load(size, n) for size in SIZES for n in (1, 16)]
    results = measure_echoes(
        lambda: [Server(MODULE, name, loop) for name in OWNERS],
        loads,
        options.rounds,
        options.sample,
        options.server_seconds,
    )
    table = Table(
        f"an echo server of websockets, {loop}, one message",
        "us of its CPU, median; ratio: median of those in a round",
    )
    for load, samples in results.items():
        if len(samples) == len(OWNERS):
            medians = {name: statistics.median(each.server_us) for name, each in samples.items()}
            table.rows[load.name] = {**medians, "ratio": samples["websockets"].ratio(samples["wsfast"])}
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
    add_options(parser)
    options = parser.parse_args()
    use_one_core()
    machine = announce(f"codec in use: {codec.IMPLEMENTATION}", named_versions("websockets", "uvloop"))
    tables = [measure_protocols(options.seconds), measure_compression(options.seconds)]
    tables.append(measure_servers(options))
    return finish(options, machine, tables, [])


if __name__ == "__main__":
    sys.exit(main())
