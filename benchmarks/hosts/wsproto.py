"""The cost of a message in wsproto, with its own frames and with ours: ``python -m benchmarks.hosts.wsproto``.

Connections without I/O: bytes in and events out, or an event in and bytes out. They take turns (``race.py``), with the
codec in use (``WSFAST_PURE=1``: the fallback), and each is checked first.

    wsproto   wsproto's Connection
    frames    the same with our FrameProtocol
    patched   the same with our FrameProtocol and our methods, as after wsfast.patch.wsproto()
    wsfast    wsfast.wsproto.Connection
    floor     wsproto's Connection over ready-made frames: the time of its state, events and generators

It needs wsproto.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from typing import Any

import wsproto.connection
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import Frame, Opcode

import wsfast.wsproto
from wsfast import codec

from ..common.cases import KEY, KIB, Operation, check, frame, size_name, text_of
from ..common.machine import announce, named_versions
from ..common.race import Timed, race
from ..common.report import Bar, Table, add_options, finish

SIZES = (125, 64 * KIB)
PIECE = 16 * KIB

Make = Callable[..., Any]  # (connection_type, extensions) -> connection


class Patched(wsproto.connection.Connection):
    """wsproto's Connection with the methods that the patch replaces."""

    events = wsfast.wsproto.Connection.events
    receive_data = wsfast.wsproto.Connection.receive_data
    send = wsfast.wsproto.Connection.send


def with_frames(frame_protocol: Any, cls: Any = wsproto.connection.Connection) -> Make:
    """wsproto's Connection over another frame protocol."""

    def make(connection_type: ConnectionType, extensions: Any = None) -> Any:
        theirs = wsproto.connection.FrameProtocol
        wsproto.connection.FrameProtocol = frame_protocol
        try:
            return cls(connection_type, extensions)
        finally:
            wsproto.connection.FrameProtocol = theirs

    return make


class ReadyMade:
    """A frame protocol that does not look at received bytes, and returns one text for each chunk."""

    text = ""

    def __init__(self, client: bool, extensions: Any) -> None:
        self.frames: list[Frame] = []

    def receive_bytes(self, data: bytes) -> None:
        if data:
            self.frames = [Frame(Opcode.TEXT, self.text, True, True)]

    def received_frames(self) -> list[Frame]:
        frames, self.frames = self.frames, []
        return frames


MAKERS: dict[str, Make] = {
    "wsproto": wsproto.connection.Connection,
    "frames": with_frames(wsfast.wsproto.FrameProtocol),
    "patched": with_frames(wsfast.wsproto.FrameProtocol, Patched),
    "wsfast": wsfast.wsproto.Connection,
}


def enabled_deflate() -> list[PerMessageDeflate]:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    return [extension]


def receiving(text: str, chunks: list[bytes], n_messages: int = 1) -> Callable[[Make], Operation]:
    def prepare(make: Make) -> Operation:
        connection = make(ConnectionType.SERVER)

        def operation() -> int:
            n_events = 0
            for chunk in chunks:
                connection.receive_data(chunk)
                for _ in connection.events():
                    n_events += 1
            return n_events

        events = []
        for chunk in chunks:
            connection.receive_data(chunk)
            events += connection.events()
        check("".join(event.data for event in events) == text * n_messages)
        check(operation() == len(events))
        return operation

    return prepare


def receiving_compressed(text: str) -> Callable[[Make], Operation]:
    def prepare(make: Make) -> Operation:
        # Contexts are kept, so that each compressed message differs: both ends are timed.
        client = wsproto.connection.Connection(ConnectionType.CLIENT, enabled_deflate())
        server = make(ConnectionType.SERVER, enabled_deflate())
        message = TextMessage(text)

        def operation() -> Any:
            server.receive_data(client.send(message))
            return list(server.events())

        check(operation() == operation() == [message])
        return operation

    return prepare


def sending(connection_type: ConnectionType, event: Any) -> Callable[[Make], Operation]:
    def prepare(make: Make) -> Operation:
        connection = make(connection_type)
        peer = wsproto.connection.Connection(
            ConnectionType.SERVER if connection_type is ConnectionType.CLIENT else ConnectionType.CLIENT
        )
        peer.receive_data(connection.send(event))
        check(list(peer.events()) == [event])
        return lambda: connection.send(event)

    return prepare


def both_ways(make: Make) -> Operation:
    """wsproto's bench/connection.py: sizes around 125 KiB, binary in one direction and text in the other."""
    client, server = make(ConnectionType.CLIENT), make(ConnectionType.SERVER)
    chance = random.Random(0)
    sizes = [max(0, round(chance.gauss(125 * KIB, 75 * KIB))) for _ in range(20)]

    def operation() -> int:
        n_received = 0
        for size in sizes:
            server.receive_data(client.send(BytesMessage(b"0" * size)))
            for event in server.events():
                n_received += len(event.data)
            client.receive_data(server.send(TextMessage("0" * size)))
            for event in client.events():
                n_received += len(event.data)
        return n_received

    check(operation() == 2 * sum(sizes))
    return operation


def rows() -> dict[str, tuple[Callable[[Make], Operation], int]]:
    """The name of a row, its operation, and the messages that one call of it handles."""
    result: dict[str, tuple[Callable[[Make], Operation], int]] = {}
    for kind in ("ASCII", "Korean"):
        for size in SIZES:
            text = text_of(kind, size)
            name = f"receive {kind}, {size_name(size)}"
            result[name] = receiving(text, [frame(text, KEY)]), 1
    small, large = text_of("ASCII", 125), text_of("ASCII", 64 * KIB)
    result["receive ASCII, 16 of 125 B in one read"] = receiving(small, [frame(small, KEY) * 16], 16), 16
    data = frame(large, KEY)
    pieces = [data[pos : pos + PIECE] for pos in range(0, len(data), PIECE)]
    result["receive ASCII, 64 KiB in reads of 16 KiB"] = receiving(large, pieces), 1
    for size in SIZES:
        for role in (ConnectionType.SERVER, ConnectionType.CLIENT):
            event = TextMessage(text_of("ASCII", size))
            result[f"send ASCII, {size_name(size)}, {role.name.lower()}"] = sending(role, event), 1
    text = text_of("JSON+Korean", 2 * KIB)
    result["compressed, 2 KiB of JSON, wsproto's send and receive"] = receiving_compressed(text), 1
    result["wsproto's bench, a client and a server"] = both_ways, 40
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure wsproto with its own frames and with those of wsfast."
    )
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each row (default: 1)")
    add_options(parser)
    options = parser.parse_args()
    machine = announce(f"codec in use: {codec.IMPLEMENTATION}", named_versions("wsproto"))
    table = Table("wsproto, one message", "us; ratios: of wsproto's time")
    bars = []
    for name, (prepare, n_messages) in rows().items():
        subjects = {maker: Timed(prepare(make), n_messages) for maker, make in MAKERS.items()}
        if name == "receive ASCII, 125 B":
            ReadyMade.text = text_of("ASCII", 125)
            subjects["floor"] = Timed(prepare(with_frames(ReadyMade)))
        race(subjects.values(), options.seconds)
        us = {subject: each.ns / 1000 for subject, each in subjects.items()}
        ratios = {f"{subject}, x": us[subject] / us["wsproto"] for subject in us if subject != "wsproto"}
        table.rows[name] = {**us, **ratios}
        if "floor" in us and codec.IMPLEMENTATION == "native":
            bars = [
                Bar(f"receive 125 B: {subject} to wsproto", ratios[f"{subject}, x"], 0.2)
                for subject in ("patched", "wsfast")
            ]
    return finish(options, machine, [table], bars)


if __name__ == "__main__":
    sys.exit(main())
