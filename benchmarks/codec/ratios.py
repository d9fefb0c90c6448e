"""The codec, for the figures that the project has promised: ``python -m benchmarks.codec.ratios``.

Native next to fallback, and next to a floor if there is one. For an encoder the floor is ``b"".join((header,
payload))``. For 64 frames it is ``str.split`` of a text of 64 lines, which makes the same messages. Every timed loop
takes each message and drops it, as a program would. The subjects take turns, and each is checked first.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import repeat
from types import ModuleType
from typing import Any

from wsfast.events import Role

from ..common.cases import (
    CODECS,
    KEY,
    KIB,
    Case,
    Operation,
    Payload,
    check,
    frame,
    load,
    mask_case,
    payload_of,
    size_name,
)
from ..common.machine import announce
from ..common.race import Timed, keep_memory, race
from ..common.report import Bar, Table, add_options, finish

READ = 64 * KIB
N_CALLS = 100  # calls of the encoder, or of feed with one frame, per call of an operation


@dataclass(frozen=True)
class Promise:
    """A case, and the figures that the native codec must reach; a pair is the limit and the aim."""

    case: Case
    floor: Operation | None = None
    max_ns: tuple[float, float] | None = None
    min_ratio: float | None = None  # to the fallback
    max_floor: tuple[float, float] | None = None  # as a multiple of the floor


def decoding(
    name: str, kind: str, size: int, chunks: list[bytes], n_messages: int, **figures: Any
) -> Promise:
    payload = payload_of(kind, size)

    def prepare(codec: ModuleType) -> Operation:
        feed = codec.MessageDecoder(Role.SERVER, max_message_size=None).feed
        for _ in range(2):
            messages = [message for chunk in chunks for message in feed(chunk)]
            check(messages == [payload] * n_messages and {*map(type, messages)} == {type(payload)})

        def run() -> None:
            for chunk in chunks:
                for _message in feed(chunk):
                    pass

        return run

    title = f"decode masked {kind} {size_name(size)}, {name}"
    return Promise(Case(title, n_messages, size, prepare), **figures)


def feeds(kind: str, size: int, n_frames: int, **figures: Any) -> Promise:
    payload = payload_of(kind, size)
    if n_frames == 1:
        return decoding("1 frame a feed", kind, size, [frame(payload, KEY)] * N_CALLS, N_CALLS, **figures)
    lines = "\n".join([str(payload)] * n_frames)

    def split() -> None:
        for _line in lines.split("\n"):
            pass

    chunks = [frame(payload, KEY) * n_frames]
    return decoding(f"{n_frames} frames a feed", kind, size, chunks, n_frames, floor=split, **figures)


def reads(kind: str, size: int, **figures: Any) -> Promise:
    one = frame(payload_of(kind, size), KEY)
    n_messages = 4 * READ // len(one) + 1
    stream = one * n_messages
    chunks = [stream[start : start + READ] for start in range(0, len(stream), READ)]
    return decoding("64 KiB reads", kind, size, chunks, n_messages, **figures)


def encoding(kind: str, size: int, role: Role, **figures: Any) -> Promise:
    payload = payload_of(kind, size)
    key = KEY if role is Role.CLIENT else None

    def prepare(codec: ModuleType) -> Operation:
        check(codec.FrameEncoder(role, random_bytes=lambda _: KEY).message(payload) == frame(payload, key))
        message = codec.FrameEncoder(role).message

        def run() -> None:
            for _ in repeat(None, N_CALLS):
                message(payload)

        return run

    case = Case(f"encode {role.value} {kind} {size_name(size)}", N_CALLS, size, prepare)
    return Promise(case, join(payload, key), **figures)


def join(payload: Payload, key: bytes | None) -> Operation:
    data = payload.encode() if isinstance(payload, str) else payload
    header = frame(payload, key)[: -len(data)]

    def run() -> None:
        for _ in repeat(None, N_CALLS):
            b"".join((header, data))

    return run


PROMISES = (
    feeds("ASCII", 32, 64, max_ns=(35, 21), min_ratio=30),
    feeds("ASCII", 32, 1, max_ns=(100, 70)),
    reads("binary", 125, max_ns=(80, 55)),
    reads("binary", KIB, max_ns=(130, 90)),
    reads("binary", 16 * KIB, max_ns=(650, 450)),
    encoding("binary", 125, Role.CLIENT, max_ns=(120, 90)),
    encoding("binary", 16 * KIB, Role.CLIENT, max_ns=(500, 300)),
    *(encoding("ASCII", size, Role.SERVER, max_floor=(1.1, 1.0)) for size in (8, 32, 125, 512, KIB)),
    Promise(mask_case(16 * KIB), min_ratio=30),
)


def bars_of(promise: Promise, figures: dict[str, float]) -> list[Bar]:
    name, native = promise.case.name, figures["native"]
    bars = []
    if promise.max_ns is not None:
        limit, aim = promise.max_ns
        bars.append(Bar(name, native, limit, "ns", aim=aim))
    if promise.min_ratio is not None:
        ratio = figures["fallback"] / native
        bars.append(Bar(f"{name}, speed against the fallback", ratio, promise.min_ratio, at_least=True))
    if promise.max_floor is not None:
        limit, aim = promise.max_floor
        bars.append(Bar(f"{name}, time against join", native / figures["floor"], limit, aim=aim))
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the native codec against what was promised.")
    parser.add_argument(
        "--seconds", type=float, default=10, metavar="S", help="in all (default: %(default)s)"
    )
    add_options(parser)
    options = parser.parse_args()
    keep_memory()

    machine = announce()
    codecs = {name: codec for name in CODECS if (codec := load(name)) is not None}
    if len(codecs) < len(CODECS):
        sys.exit("wsfast.native was not built: there is nothing to compare")

    timed: dict[str, dict[str, Timed]] = {}
    for promise in PROMISES:
        case = promise.case
        row = {name: Timed(case.prepare(codec), case.n_messages) for name, codec in codecs.items()}
        if promise.floor is not None:
            row["floor"] = Timed(promise.floor, case.n_messages)
        timed[case.name] = row
    race([each for row in timed.values() for each in row.values()], options.seconds)

    table = Table("the codec from Python to Python", "ns a message")
    table.rows = {name: {column: each.ns for column, each in row.items()} for name, row in timed.items()}
    bars = [bar for promise in PROMISES for bar in bars_of(promise, table.rows[promise.case.name])]
    return finish(options, machine, [table], bars)


if __name__ == "__main__":
    sys.exit(main())
