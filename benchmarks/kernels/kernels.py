"""The kernels at C level, next to the C library: ``python -m benchmarks.kernels.kernels``.

``kernels.c`` is compiled with the options of setup.py, and run. Its figures are put into tables and compared with their
bars. It needs a C compiler and a POSIX system, but not the built extension.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from ..common.compiling import KERNELS, LEVELS, compile_c, compiler_name, default_compiler
from ..common.machine import cpu_name
from ..common.report import Bar, Table, add_options, finish

SOURCE = Path(__file__).with_suffix(".c")
TITLES = {
    "unmask": "unmask (RFC 6455 5.3)",
    "validate": "validate UTF-8 (RFC 3629)",
    "measure": "validate and measure, the inner kernel alone",
    "transcode": "transcode to the units of a str, the inner kernel alone",
    "headers": "frame headers (RFC 6455 5.2)",
}


def measure(compiler: str, n_rounds: int) -> list[Table]:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "kernels")
        compile_c(compiler, SOURCE, program)
        done = subprocess.run([program, str(n_rounds), *LEVELS], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("kernels.c failed")
    tables = {name: Table(title, "ns a payload") for name, title in TITLES.items()}
    for line in done.stdout.splitlines():
        name, row, subject, size, ns = line.split("\t")
        tables[name].rows.setdefault(row, {})[subject] = float(ns)
        tables[name].sizes[row] = float(size)
    return list(tables.values())


def gigabytes(table: Table) -> Table:
    """The same table by throughput."""
    rows = {
        row: {name: table.sizes[row] / ns for name, ns in figures.items()}
        for row, figures in table.rows.items()
        if table.sizes[row] >= 1024
    }
    return Table(table.title, "GB/s", rows, table.sizes)


def bars_of(unmask: Table, validate: Table) -> list[Bar]:
    def throughput(table: Table, row: str, subject: str) -> float | None:
        ns = table.rows[row].get(subject)
        return None if ns is None else table.sizes[row] / ns

    short = unmask.rows["random 1-125 B"]
    memmove = min(ns for name, ns in short.items() if name.startswith("memmove"))
    bars = [
        Bar("unmask random 1-125 B in place, against memmove", short["in place"] / memmove, 1.0, aim=0.55),
        Bar("unmask 1 KiB in place", throughput(unmask, "1 KiB", "in place"), 40, "GB/s", True, 65),
        Bar("unmask 4 KiB in place", throughput(unmask, "4 KiB", "in place"), 50, "GB/s", True, 79),
    ]
    for size, limit, aim in (("64 KiB", 0.9, 1.2), ("1 MiB", 1.0, 1.8)):
        row = unmask.rows[size]
        ratio = row["memcpy elsewhere"] / row["in place"]
        bars.append(Bar(f"unmask {size} in place, speed against memcpy", ratio, limit, "x", True, aim))
    for row, figures in validate.rows.items():
        if row in ("ASCII 16 B", "ASCII 32 B", "ASCII 64 B", "ASCII 125 B"):
            slowest = max(ns for name, ns in figures.items() if name != "ASCII test")
            bars.append(Bar(f"validate {row}, slowest level", slowest, 4, "ns", aim=2.4))
    for level, limit, aim in (("avx2", 11, 14), ("avx512", 14, 17)):
        speed = throughput(validate, "Korean 16 KiB", level)
        bars.append(Bar(f"validate Korean 16 KiB, {level}", speed, limit, "GB/s", True, aim))
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the kernels without Python.")
    parser.add_argument(
        "--compiler", default=default_compiler(), metavar="COMMAND", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=60, metavar="N", help="turns of each (default: %(default)s)"
    )
    add_options(parser)
    options = parser.parse_args()

    machine = [cpu_name(), compiler_name(options.compiler)]
    print("\n".join([f"measuring the kernels of {KERNELS}", *machine]), flush=True)
    tables = measure(options.compiler, options.rounds)
    by_name = dict(zip(TITLES, tables, strict=True))
    bars = bars_of(by_name["unmask"], by_name["validate"])
    tables += [gigabytes(by_name[name]) for name in ("unmask", "validate", "measure", "transcode")]
    return finish(options, machine, tables, bars)


if __name__ == "__main__":
    sys.exit(main())
