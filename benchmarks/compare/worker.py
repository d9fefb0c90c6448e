"""The codec of one version, timed in a process of its own interpreter: ``python -m benchmarks.compare.worker``.

It reads one command per line and answers with one line of JSON. ``prepare SUITE``: the names of the cells.
``sample NUMBER``: ns per message of the cell with this number, the best of one turn.

The places of payloads, chunks and results in memory change some cells by a tenth. So each sample makes its cell anew,
next to blocks of random sizes that come and go.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

import wsfast
from wsfast.events import Role

from ..codec.peer_codecs import OWN_CODECS, PeerCodec
from ..codec.peers import Row, decode_rows, encode_rows
from ..common.cases import (
    CODECS,
    KIB,
    Case,
    decode_case,
    decode_pieces_case,
    encode_case,
    load,
    mask_case,
    mask_inplace_case,
    utf8_case,
)
from ..common.machine import fallback_unawares, measured_package
from ..common.race import Ballast, Timed, keep_memory

SIZES = (32, 125, KIB, 16 * KIB)
TURN_SECONDS = 0.006

Make = Callable[[], Timed]  # a cell, made anew


def codec_cases() -> Iterator[Case]:
    for role in Role:
        for kind in ("ASCII", "binary", "Korean"):
            for size in SIZES:
                yield decode_case(kind, size, 1, role)
                yield decode_case(kind, size, 64, role)
                yield encode_case(kind, size, role)
    for kind in ("ASCII", "binary", "Korean"):
        yield decode_pieces_case(kind, KIB * KIB, 64 * KIB)
    for size in (125, 16 * KIB):
        yield mask_case(size)
        yield mask_inplace_case(size)
        for kind in ("ASCII", "Korean"):
            yield utf8_case(kind, size)


def timed(case: Case, codec: ModuleType) -> Timed:
    return Timed(case.prepare(codec), case.n_messages, turn_seconds=TURN_SECONDS)


def ratios() -> Iterator[tuple[str, Make]]:
    """Both codecs: decoding, encoding, masks and validation, in the important sizes and roles."""
    for case in codec_cases():
        for name in CODECS:
            codec = load(name)
            if codec is not None:
                yield f"{case.name}: {name}", functools.partial(timed, case, codec)


def peers() -> Iterator[tuple[str, Make]]:
    """The rows of ``peers.py``, for wsfast only."""
    for table, rows in (("decode", decode_rows), ("encode", encode_rows)):
        for row in rows():
            for name, codec in OWN_CODECS.items():
                if codec.available() and row.make({name: codec}).keys() - {"floor"}:
                    yield f"{table} {row.name}: {name}", functools.partial(only, row, name, codec)


def only(row: Row, name: str, codec: PeerCodec) -> Timed:
    return row.make({name: codec})[name]


SUITES = {"ratios": ratios, "peers": peers}


class Cells:
    def __init__(self, made: Iterable[tuple[str, Make]]) -> None:
        self.cells = list(made)
        self.ballast = Ballast(os.environ.get("BENCHMARK_LUCK", ""))

    def sample(self, number: int) -> float:
        self.ballast.shift()
        subject = self.cells[number][1]()
        subject.turn()
        return subject.ns


def main() -> None:
    keep_memory()
    cells = Cells([])
    folder = Path(wsfast.__file__).resolve().parent
    hello = {
        "package": measured_package(),
        "folder": str(folder),
        "problem": fallback_unawares(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        command, argument = line.split()
        if command == "prepare":
            cells = Cells(SUITES[argument]())
            gc.collect()
            gc.disable()
            print(json.dumps([name for name, _ in cells.cells]), flush=True)
        else:
            print(json.dumps(cells.sample(int(argument))), flush=True)


if __name__ == "__main__":
    main()
