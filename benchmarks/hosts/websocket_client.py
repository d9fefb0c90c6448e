"""The cost of a message in websocket-client: alone, with wsaccel, and with wsfast.

``python -m benchmarks.hosts.websocket_client``; it needs websocket-client and wsaccel. The codec is the one in use
(``WSFAST_PURE=1``: the fallback).

websocket-client looks for wsaccel once, when it is imported. So it is imported three times, and the three copies take
turns. There is no socket: messages are received from bytes in memory, and sent messages are dropped. Each copy is
checked first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import wsfast.wsaccel
from wsfast import codec

from ..common.cases import BINARY, KIB, TEXT, Operation, binary_of, check, frame, size_name, text_of
from ..common.machine import announce, named_versions
from ..common.race import Timed, race
from ..common.report import Bar, Table, add_options, finish

SIZES = (125, 64 * KIB)


def copies() -> dict[str, ModuleType]:
    """Import websocket-client without wsaccel, with it, and with wsfast."""
    found = {}
    for name in ("pure", "wsaccel", "wsfast"):
        for module in [each for each in sys.modules if each.partition(".")[0] in ("websocket", "wsaccel")]:
            del sys.modules[module]
        if name == "pure":
            sys.modules["wsaccel"] = None  # type: ignore[assignment]
        elif name == "wsfast":
            wsfast.wsaccel.install()
        found[name] = import_module("websocket")
        has = getattr(import_module("websocket._utils"), "Utf8Validator", None)
        check((has.__module__.partition(".")[0] if has else "pure") == name)
    return found


def receiving(payload: str | bytes) -> Callable[[ModuleType], Operation]:
    data = frame(payload, None)

    def prepare(websocket: ModuleType) -> Operation:
        pos = 0

        def recv(size: int) -> bytes:
            nonlocal pos
            chunk = data[pos : pos + size]
            pos = 0 if pos + size >= len(data) else pos + size
            return chunk

        connection = websocket.WebSocket()
        connection.connected = True
        connection.frame_buffer.recv = recv
        check(connection.recv() == payload)
        check(connection.recv() == payload)
        return connection.recv

    return prepare


def sending(payload: str | bytes) -> Callable[[ModuleType], Operation]:
    opcode = TEXT if isinstance(payload, str) else BINARY

    def prepare(websocket: ModuleType) -> Operation:
        create = websocket.ABNF.create_frame

        def operation() -> bytes:
            return create(payload, opcode).format()

        made = operation()
        decoder = codec.MessageDecoder(codec.Role.SERVER)
        check(decoder.feed(made) == [payload])
        return operation

    return prepare


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure websocket-client alone, with wsaccel, and with wsfast."
    )
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each row (default: 1)")
    add_options(parser)
    options = parser.parse_args()
    versions = named_versions("websocket-client", "wsaccel")
    machine = announce(f"codec in use: {codec.IMPLEMENTATION}", versions)
    modules = copies()
    table = Table("websocket-client, one message", "us; ratios: times as fast")
    bars = []
    for size in SIZES:
        for what, payload in (
            ("receive ASCII", text_of("ASCII", size)),
            ("receive Korean", text_of("Korean", size)),
            ("receive binary", binary_of(size)),
            ("send ASCII", text_of("ASCII", size)),
            ("send binary", binary_of(size)),
        ):
            prepare = (receiving if what.startswith("receive") else sending)(payload)
            subjects = {name: Timed(prepare(module)) for name, module in modules.items()}
            race(subjects.values(), options.seconds)
            us = {name: subject.ns / 1000 for name, subject in subjects.items()}
            ratios = {f"to {name}": us[name] / us["wsfast"] for name in ("pure", "wsaccel")}
            table.rows[f"{what}, {size_name(size)}"] = {**us, **ratios}
            if what == "receive ASCII" and size == 64 * KIB and codec.IMPLEMENTATION == "native":
                bars = [
                    Bar("receive 64 KiB of text: wsfast to pure", us["wsfast"] / us["pure"], 0.01),
                    Bar("receive 64 KiB of text: wsfast to wsaccel", us["wsfast"] / us["wsaccel"], 0.2),
                ]
    return finish(options, machine, [table], bars)


if __name__ == "__main__":
    sys.exit(main())
