"""From masked bytes to a str, against CPython's own decoder: ``python -m benchmarks.kernels.text_to_str``.

``text_to_str.c`` is compiled around src/text_to_str.h with the options of setup.py; its loops make each str and free
it. Every level of the kernels that this CPU has takes turns with "CPython" (SSE2 or NEON unmask into an existing
buffer, then PyUnicode_DecodeUTF8) and "copy" (a new str of the right kind, and memcpy). It needs a C compiler and a
POSIX system, but not the built extension.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import random
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

from ..common.cases import KEY, KIB, TEXTS, check, masked, repeated, size_name, text_of
from ..common.compiling import KERNELS, LEVELS, compile_c, compiler_name, default_compiler
from ..common.machine import cpu_name
from ..common.race import Timed, keep_memory, race
from ..common.report import Bar, Table, add_options, finish

SOURCE = Path(__file__).with_suffix(".c")
HEADER = bytes(6)  # before each payload; text_to_str.c skips as many bytes
SAMPLE_SECONDS = 20e-6
SIZES = (16, 64, 125, KIB, 16 * KIB, KIB * KIB)

Row = list[bytes]  # payloads, not masked; one pass handles all of them


def usual_rows() -> dict[str, Row]:
    return {f"{kind} {size_name(size)}": [text_of(kind, size).encode()] for kind in TEXTS for size in SIZES}


def worst_rows() -> dict[str, Row]:
    """Texts on which a decoder expects ASCII, or valid text, in vain; and texts that change their kind all the time."""
    rows = {}
    for size in SIZES[:-1]:
        name = size_name(size)
        for kind in ("ASCII", "Korean"):
            for what, end in (("Latin-1", "é"), ("Korean", "한"), ("emoji", "🎶")):
                if kind != what:
                    text = text_of(kind, size - len(end.encode())) + end
                    rows[f"{kind}, {what} at its end, {name}"] = [text.encode()]
            rows[f"{kind}, invalid at its end, {name}"] = [text_of(kind, size - 1).encode() + b"\xff"]
        if size > 16:
            text = text_of("ASCII", 16) + text_of("Korean", size - 16)
            rows[f"ASCII, Korean after 16 B, {name}"] = [text.encode()]
        for what, unit in (
            ("a letter, a syllable", "a한"),
            ("16 letters, 5 syllables", "The quick brown 다람쥐헌쳇"),
        ):
            rows[f"{what}, {name}"] = [repeated(unit, size).encode()]
        rows[f"ASCII and Korean in turn, {name}"] = [
            text_of(kind, size).encode() for kind in ("ASCII", "Korean")
        ]
    return rows


def chat_rows() -> dict[str, Row]:
    """256 texts of random lengths: more branches than a predictor can learn from repeated texts."""
    generator = random.Random(4)
    lengths = [generator.randint(1, 200) for _ in range(256)]
    rows = {
        f"{kind}, random 1-200 B": [text_of(kind, length).encode() for length in lengths] for kind in TEXTS
    }
    rows["any, random 1-200 B"] = [
        text_of(generator.choice(list(TEXTS)), length).encode() for length in lengths
    ]
    return rows


def compile_module(compiler: str, folder: str) -> ModuleType:
    path = Path(folder, "text_to_str" + importlib.machinery.EXTENSION_SUFFIXES[0])
    compile_c(compiler, SOURCE, path, "-shared", f"-I{sysconfig.get_path('include')}")
    spec = importlib.util.spec_from_file_location("text_to_str", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Passes(Timed):
    """A way to make the texts of a row, in a loop in C: one call makes each text once."""

    def __init__(self, module: ModuleType, name: str, items: list[str | bytes]) -> None:
        self.module = module
        self.name = name
        self.items = items
        super().__init__(self.once, len(items), SAMPLE_SECONDS, turn_seconds=0)

    def once(self) -> float:
        return self.time(1)

    def time(self, n_calls: int) -> float:
        ns: float = self.module.time(self.name, self.items, n_calls)
        return ns * n_calls / 1e9


def subjects_of(module: ModuleType, names: list[str], row: Row) -> list[Passes]:
    """Check every way of making the texts, and return those that can be timed."""
    texts: list[str | None] = []
    for payload in row:
        try:
            texts.append(payload.decode())
        except UnicodeDecodeError:
            texts.append(None)
    chunks = [HEADER + masked(payload, KEY) for payload in row]
    subjects = []
    for name in names:
        if name != "copy":
            check([module.decode(name, chunk) for chunk in chunks] == texts)
            subjects.append(Passes(module, name, list(chunks)))
        elif None not in texts:
            check([module.decode(name, text) for text in texts] == texts)
            subjects.append(Passes(module, name, list(texts)))
    return subjects


def measure(module: ModuleType, title: str, rows: dict[str, Row], names: list[str], n_rounds: int) -> Table:
    subjects = {name: subjects_of(module, names, row) for name, row in rows.items()}
    race([subject for row in subjects.values() for subject in row], 0, n_rounds, n_rounds)
    table = Table(title, "ns a str")
    for name, row in rows.items():
        table.sizes[name] = sum(map(len, row)) / len(row)
        table.rows[name] = {subject.name: subject.ns for subject in subjects[name]}
    return table


def speedups(table: Table) -> Table:
    rows = {
        name: {
            subject: figures["CPython"] / ns
            for subject, ns in figures.items()
            if subject not in ("CPython", "copy")
        }
        for name, figures in table.rows.items()
    }
    return Table(f"{table.title}: how much faster than CPython", "x", rows, table.sizes)


def bars_of(usual: Table, others: list[Table], levels: list[str]) -> list[Bar]:
    """The slowest row of each promise."""

    def slowest(kind: str, sizes: tuple[int, ...], level: str) -> float | None:
        rows = [usual.rows[f"{kind} {size_name(size)}"] for size in sizes]
        return min(row["CPython"] / row[level] for row in rows) if level in levels else None

    bars = []
    for level in levels:
        for sizes, limit, aim in (((16, 64, 125), 1.4, 2), ((KIB,), 1.5, 2), ((16 * KIB,), 2.2, 4)):
            what = " to ".join(dict.fromkeys((size_name(sizes[0]), size_name(sizes[-1]))))
            bars.append(Bar(f"ASCII {what}, {level}", slowest("ASCII", sizes, level), limit, "x", True, aim))
    for kind, limits in (
        ("Korean", (("avx2", 1.7, 2.5), ("avx512", 3, 4.5))),
        ("JSON+Korean", (("avx2", 1.5, 2.4), ("avx512", 2, 3.5))),
    ):
        for level, limit, aim in limits:
            bars.append(
                Bar(f"{kind} from 64 B, {level}", slowest(kind, SIZES[1:], level), limit, "x", True, aim)
            )
    for level in levels:
        ratio, row = max(
            (figures[level] / figures["CPython"], name)
            for table in (usual, *others)
            for name, figures in table.rows.items()
        )
        bars.append(Bar(f"time against CPython, worst row ({row}), {level}", ratio, 1.15, aim=1.0))
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the making of a str from masked bytes.")
    parser.add_argument(
        "--compiler", default=default_compiler(), metavar="COMMAND", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=300, metavar="N", help="turns of each (default: %(default)s)"
    )
    add_options(parser)
    options = parser.parse_args()
    keep_memory()

    python = f"CPython {sys.version.split()[0]}"
    machine = [cpu_name(), python, compiler_name(options.compiler)]
    print("\n".join([f"measuring the kernels of {KERNELS}", *machine]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        module = compile_module(options.compiler, folder)
        levels = ["baseline"]
        for level in LEVELS:
            try:
                module.decode(level, HEADER)
            except LookupError:
                continue
            levels.append(level)
        names = ["copy", "CPython", *levels]
        usual, worst, chat = (
            measure(module, title, rows, names, options.rounds)
            for title, rows in (
                ("one text again and again", usual_rows()),
                ("worst cases", worst_rows()),
                ("many texts", chat_rows()),
            )
        )
    tables = [
        table for pair in ((table, speedups(table)) for table in (usual, worst, chat)) for table in pair
    ]
    return finish(options, machine, tables, bars_of(usual, [worst, chat], levels))


if __name__ == "__main__":
    sys.exit(main())
