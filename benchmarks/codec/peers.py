"""Our codec next to those of other packages, without sockets: ``python -m benchmarks.codec.peers``.

Each row is one kind of message. All installed codecs take turns on it (``peer_codecs.py`` says how each is used), and
each is checked first. "floor" is the same work without WebSocket and masking: a copy of the payload, its ``str`` made
by CPython, or ``b"".join((header, payload))``, for text with ``payload.encode()``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from wsfast.events import Role

from ..common.cases import KEY, KIB, Operation, Payload, check, frame, payload_of, size_name
from ..common.machine import announce, named_versions
from ..common.race import Timed, keep_memory, race
from ..common.report import Bar, Table, add_options, finish
from .peer_codecs import N_ENCODED, OWN_CODECS, PeerCodec
from .peer_kernels import MASKERS, VALIDATORS, Masker, Validator
from .peer_packages import PEER_CODECS

READ = 64 * KIB
MIB = KIB * KIB

DECODED = (
    (Role.SERVER, "ASCII", (8, 32, 125, KIB, 16 * KIB, MIB)),
    (Role.SERVER, "Korean", (32, 125, KIB, 16 * KIB, MIB)),
    (Role.SERVER, "JSON+Korean", (125, KIB, 16 * KIB, MIB)),
    (Role.SERVER, "binary", (8, 32, 125, KIB, 16 * KIB, MIB)),
    (Role.CLIENT, "ASCII", (32, 125, KIB, 16 * KIB)),
    (Role.CLIENT, "binary", (125, KIB, 16 * KIB, MIB)),
)
ENCODED = (
    (Role.SERVER, "ASCII", (8, 32, 125, KIB, 16 * KIB)),
    (Role.SERVER, "Korean", (125, KIB, 16 * KIB)),
    (Role.SERVER, "binary", (125, 16 * KIB)),
    (Role.CLIENT, "ASCII", (32, 125)),
    (Role.CLIENT, "binary", (8, 32, 125, KIB, 16 * KIB, MIB)),
)
MASKED = (8, 125, KIB, 16 * KIB, MIB)
VALIDATED = (("ASCII", 32), ("ASCII", 125), ("ASCII", 16 * KIB), ("Korean", 125), ("Korean", 16 * KIB))
N_CALLS = 100  # calls of a mask or a check, per call of an operation

CODECS: dict[str, PeerCodec] = OWN_CODECS | PEER_CODECS


@dataclass(frozen=True)
class Row:
    """A kind of message, with ``size`` bytes of payload. ``make`` checks the given codecs on it, and makes subjects."""

    name: str
    size: int
    make: Callable[[dict[str, Any]], dict[str, Timed]]


def message_name(kind: str, size: int) -> str:
    return f"{'text' if kind == 'ASCII' else kind} {size_name(size)}"


def decode_rows() -> Iterator[Row]:
    for role, kind, sizes in DECODED:
        for size in sizes:
            name = f"{'masked' if role is Role.SERVER else 'unmasked'} {message_name(kind, size)}"
            yield Row(name, size, functools.partial(decoders, role, kind, size))


def decoders(role: Role, kind: str, size: int, codecs: dict[str, PeerCodec]) -> dict[str, Timed]:
    payload = payload_of(kind, size)
    one = frame(payload, KEY if role is Role.SERVER else None)
    # More bytes than one read, so that its end cuts a frame; with 1 MiB one frame is enough.
    n_messages = 1 if size >= MIB else 16 if size >= 16 * KIB else READ // len(one) + 1
    stream = one * n_messages
    chunks = [stream[start : start + READ] for start in range(0, len(stream), READ)]
    subjects = {"floor": Timed(copying(payload, n_messages), n_messages)}
    for name, codec in codecs.items():
        if not codec.available():
            continue
        pair = codec.decode(role, isinstance(payload, str), chunks, n_messages)
        if pair is None:
            continue
        run, check_run = pair
        for _ in range(2):  # the second time with a decoder that was used before
            messages = check_run()
            check(messages == [payload] * n_messages and {*map(type, messages)} == {type(payload)})
        subjects[name] = Timed(run, n_messages)
    return subjects


def copying(payload: Payload, n_messages: int) -> Operation:
    if isinstance(payload, str):
        data = payload.encode()

        def decode() -> None:
            for _ in repeat(None, n_messages):
                data.decode()

        return decode
    longer, part = payload + b"?", slice(len(payload))

    def copy() -> None:
        for _ in repeat(None, n_messages):
            longer[part]

    return copy


def encode_rows() -> Iterator[Row]:
    for role, kind, sizes in ENCODED:
        for size in sizes:
            name = f"{role.value} {message_name(kind, size)}"
            yield Row(name, size, functools.partial(encoders, role, kind, size))


def encoders(role: Role, kind: str, size: int, codecs: dict[str, PeerCodec]) -> dict[str, Timed]:
    payload = payload_of(kind, size)
    header = frame(payload, KEY if role is Role.CLIENT else None)[:-size]
    subjects = {"floor": Timed(joining(header, payload), N_ENCODED)}
    for name, codec in codecs.items():
        pair = codec.encode(role, payload) if codec.available() else None
        if pair is None:
            continue
        run, check_run = pair
        for _ in range(2):
            encoded = check_run()
            key = encoded[-size - 4 : -size] if role is Role.CLIENT else None  # each frame has a new one
            check(encoded == frame(payload, key))
        subjects[name] = Timed(run, N_ENCODED)
    return subjects


def joining(header: bytes, payload: Payload) -> Operation:
    def encode() -> None:
        for _ in repeat(None, N_ENCODED):
            b"".join((header, payload.encode()))

    def join() -> None:
        for _ in repeat(None, N_ENCODED):
            b"".join((header, payload))

    return encode if isinstance(payload, str) else join


def repeated(function: Callable[..., object], *arguments: object) -> Timed:
    def run() -> None:
        for _ in repeat(None, N_CALLS):
            function(*arguments)

    return Timed(run, N_CALLS)


def maskers(size: int, codecs: dict[str, Masker]) -> dict[str, Timed]:
    subjects = {"floor": repeated(bytes, memoryview(bytes(size)))}
    for name, masker in codecs.items():
        if masker.available():
            subjects[name] = repeated(*masker.prepare(size))
    return subjects


def mask_rows() -> Iterator[Row]:
    for size in MASKED:
        yield Row(size_name(size), size, functools.partial(maskers, size))


def validators(kind: str, size: int, codecs: dict[str, Validator]) -> dict[str, Timed]:
    return {
        name: repeated(*validator.prepare(kind, size))
        for name, validator in codecs.items()
        if validator.available()
    }


def utf8_rows() -> Iterator[Row]:
    for kind, size in VALIDATED:
        yield Row(message_name(kind, size), size, functools.partial(validators, kind, size))


TABLES: dict[str, tuple[str, Callable[[], Iterator[Row]], dict[str, Any]]] = {
    "decode": ("decode frames in reads of 64 KiB", decode_rows, CODECS),
    "encode": ("encode a message as a frame", encode_rows, CODECS),
    "mask": ("mask alone, called from Python", mask_rows, MASKERS),
    "utf8": ("UTF-8 validation alone, called from Python", utf8_rows, VALIDATORS),
}


def measure(title: str, rows: Iterable[Row], codecs: dict[str, Any], seconds: float) -> Table:
    """Measure one row after the other: its codecs work in the same second, on data in the caches."""
    table = Table(title, "ns a message")
    for row in rows:
        print(f"{title}: {row.name}", file=sys.stderr, flush=True)
        subjects = row.make(codecs)
        race(subjects.values(), seconds)
        table.rows[row.name] = {name: subject.ns for name, subject in subjects.items()}
        table.sizes[row.name] = row.size
    return table


def against_best_peer(table: Table) -> Table:
    """The time of wsfast as a multiple of the fastest other package's time; that package names the column."""
    rows = {}
    for row, figures in table.rows.items():
        peers = {
            name: ns for name, ns in figures.items() if not name.startswith(("wsfast", "floor", "CPython"))
        }
        if peers and "wsfast" in figures:
            ours = min(ns for name, ns in figures.items() if name in ("wsfast", "wsfast, in place"))
            best = min(peers, key=lambda name: peers[name])
            rows[row] = {best: ours / peers[best]}
    return Table(f"{table.title}: wsfast against the best peer", "x", rows, table.sizes)


def bars_of(ratios: dict[str, Table]) -> list[Bar]:
    row = "masked text 1 MiB"
    return [
        Bar(f"decode {row}, time against {peer}", ratio, 0.6, aim=0.35)
        for peer, ratio in ratios.get("decode", Table("", "")).rows.get(row, {}).items()
    ]


def notes(ratios: dict[str, Table]) -> list[str]:
    packages = sorted({codec.needs for codec in CODECS.values() if codec.needs} | {"wsaccel"})
    lines = ["peers: " + named_versions(*packages)]
    lines += dict.fromkeys(codec.note for codec in CODECS.values() if codec.note and codec.available())
    lines.append(
        "picows and aiohttp hand header and payload of a large message over as they are, for writelines()"
    )
    slower = [
        f"{name} {row}: {ratio:.2f}x of {peer}"
        for name, table in ratios.items()
        for row, figures in table.rows.items()
        for peer, ratio in figures.items()
        if ratio > 1
    ]
    return [*lines, "wsfast is not the fastest in: " + ("; ".join(slower) or "no row")]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the codecs of WebSocket packages next to ours.")
    parser.add_argument("--tables", default=",".join(TABLES), metavar="NAMES", help="(default: %(default)s)")
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose name has this in it")
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="for each row (default: %(default)s)"
    )
    add_options(parser)
    options = parser.parse_args()
    keep_memory()

    machine = announce()
    tables, ratios = [], {}
    for name in options.tables.split(","):
        title, rows, codecs = TABLES[name]
        wanted = [row for row in rows() if options.rows in row.name]
        table = measure(title, wanted, codecs, options.seconds)
        tables.append(table)
        ratios[name] = against_best_peer(table)
    return finish(options, machine, [*tables, *ratios.values()], bars_of(ratios), notes(ratios))


if __name__ == "__main__":
    sys.exit(main())
