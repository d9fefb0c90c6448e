"""The codec where the project has promised a figure: ``python benchmarks/ratios.py``.

Native beside fallback, and beside a floor where there is one: for an encoder ``b"".join((header, payload))``, for 64
frames ``str.split`` of a text of 64 lines, which makes the same messages. Every loop that is timed takes each message
and drops it, as a program would. The subjects take turns (``race.py``), and each was checked first.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from types import ModuleType
from typing import Any

from cases import (
    CODECS,
    KEY,
    KIB,
    Operation,
    Payload,
    binary_of,
    check,
    frame,
    load,
    masked,
    payload_of,
    size_name,
)
from machine import describe_machine
from race import Subject, keep_memory, race
from report import Bar, Table, add_options, finish

from wsfast.events import Role

READ = 64 * KIB
N_CALLS = 100  # of the encoder, or of feed with one frame, for each call of an operation


@dataclass(frozen=True)
class Case:
    """``prepare(codec)`` checks and returns what to time; bars: of the native codec, with their aims."""

    name: str
    n_messages: int
    prepare: Callable[[ModuleType], Operation]
    floor: Operation | None = None
    max_ns: tuple[float, float] | None = None
    min_ratio: float | None = None  # to the fallback
    max_floor: tuple[float, float] | None = None  # as a multiple of the floor


def decode_case(name: str, kind: str, size: int, chunks: list[bytes], n_messages: int, **bars: Any) -> Case:
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

    return Case(f"decode masked {kind} {size_name(size)}, {name}", n_messages, prepare, **bars)


def feeds_case(kind: str, size: int, n_frames: int, **bars: Any) -> Case:
    payload = payload_of(kind, size)
    if n_frames == 1:
        return decode_case("1 frame a feed", kind, size, [frame(payload, KEY)] * N_CALLS, N_CALLS, **bars)
    lines = "\n".join([str(payload)] * n_frames)

    def split() -> None:
        for _line in lines.split("\n"):
            pass

    chunks = [frame(payload, KEY) * n_frames]
    return decode_case(f"{n_frames} frames a feed", kind, size, chunks, n_frames, floor=split, **bars)


def reads_case(kind: str, size: int, **bars: Any) -> Case:
    one = frame(payload_of(kind, size), KEY)
    n_messages = 4 * READ // len(one) + 1
    stream = one * n_messages
    chunks = [stream[start : start + READ] for start in range(0, len(stream), READ)]
    return decode_case("64 KiB reads", kind, size, chunks, n_messages, **bars)


def encode_case(kind: str, size: int, role: Role, **bars: Any) -> Case:
    payload = payload_of(kind, size)
    key = KEY if role is Role.CLIENT else None

    def prepare(codec: ModuleType) -> Operation:
        check(codec.FrameEncoder(role, random_bytes=lambda _: KEY).message(payload) == frame(payload, key))
        message = codec.FrameEncoder(role).message

        def run() -> None:
            for _ in repeat(None, N_CALLS):
                message(payload)

        return run

    return Case(f"encode {role.value} {kind} {size_name(size)}", N_CALLS, prepare, join(payload, key), **bars)


def join(payload: Payload, key: bytes | None) -> Operation:
    data = payload.encode() if isinstance(payload, str) else payload
    header = frame(payload, key)[: -len(data)]

    def run() -> None:
        for _ in repeat(None, N_CALLS):
            b"".join((header, data))

    return run


def mask_case(size: int, **bars: Any) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        data = binary_of(size)
        check(codec.apply_mask(data, KEY) == masked(data, KEY))
        return functools.partial(codec.apply_mask, data, KEY)

    return Case(f"apply_mask {size_name(size)}", 1, prepare, **bars)


CASES = (
    feeds_case("ASCII", 32, 64, max_ns=(35, 21), min_ratio=30),
    feeds_case("ASCII", 32, 1, max_ns=(100, 70)),
    reads_case("binary", 125, max_ns=(80, 55)),
    reads_case("binary", KIB, max_ns=(130, 90)),
    reads_case("binary", 16 * KIB, max_ns=(650, 450)),
    encode_case("binary", 125, Role.CLIENT, max_ns=(120, 90)),
    encode_case("binary", 16 * KIB, Role.CLIENT, max_ns=(500, 300)),
    *(encode_case("ASCII", size, Role.SERVER, max_floor=(1.1, 1.0)) for size in (8, 32, 125, 512, KIB)),
    mask_case(16 * KIB, min_ratio=30),
)


def bars_of(case: Case, figures: dict[str, float]) -> list[Bar]:
    native = figures["native"]
    bars = []
    if case.max_ns is not None:
        bars.append(Bar(case.name, native, case.max_ns[0], "ns", aim=case.max_ns[1]))
    if case.min_ratio is not None:
        bars.append(
            Bar(
                f"{case.name}, speed against the fallback",
                figures["fallback"] / native,
                case.min_ratio,
                at_least=True,
            )
        )
    if case.max_floor is not None:
        limit, aim = case.max_floor
        bars.append(Bar(f"{case.name}, time against join", native / figures["floor"], limit, aim=aim))
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the native codec against what was promised.")
    parser.add_argument(
        "--seconds", type=float, default=10, metavar="S", help="in all (default: %(default)s)"
    )
    add_options(parser)
    options = parser.parse_args()
    keep_memory()

    machine = describe_machine()
    print("\n".join(machine), flush=True)
    codecs = {name: load(name) for name in CODECS}
    if codecs["native"] is None:
        print("wsfast.native was not built: there is nothing to compare")
        return 1 if options.check or options.check_all else 0

    subjects: dict[str, dict[str, Subject]] = {}
    for case in CASES:
        subjects[case.name] = {
            name: Subject(case.prepare(codec), case.n_messages) for name, codec in codecs.items()
        }
        if case.floor is not None:
            subjects[case.name]["floor"] = Subject(case.floor, case.n_messages)
    race([subject for row in subjects.values() for subject in row.values()], options.seconds)

    table = Table("the codec from Python to Python", "ns a message")
    table.rows = {
        name: {subject: taken.ns for subject, taken in row.items()} for name, row in subjects.items()
    }
    bars = [bar for case in CASES for bar in bars_of(case, table.rows[case.name])]
    return finish(options, machine, [table], bars)


if __name__ == "__main__":
    sys.exit(main())
