"""Is head slower than base? ``python -m benchmarks.compare --base DIR --head DIR [SUITE ...]``.

DIR is a Python interpreter, a virtual environment, or a checkout with one in ``.venv``; its wsfast is installed there.
This checkout's benchmarks drive both, through names that both have. All run on one core, in turns: base, base again,
head. ``judging.py`` describes the ratio and its noise. Cells that look slower are measured once more, and only the
second result counts: of a hundred cells a few are unlucky, but not twice.
The exit status is 1 if a cell is slower than 1.02 times base by more than its noise. Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from ..common.machine import cpu_name, use_one_core
from ..common.race import Subject, race
from ..common.report import Table, add_options, finish
from ..common.server import ServerError
from .judging import LIMIT, Cell
from .suites import SUITES, Entry, MismatchError, Suite, Version, version_at


def interpreter(place: str) -> str:
    path = Path(place)
    if path.is_dir():
        for inside in ("bin/python", ".venv/bin/python"):
            if (path / inside).exists():
                return os.path.abspath(path / inside)
        raise MismatchError(f"there is no bin/python and no .venv/bin/python in {place}")
    if not path.exists():
        raise MismatchError(f"there is no {place}")
    return os.path.abspath(path)  # Its links are not followed: they lead out of a virtual environment.


def in_turns(entries: list[Entry], n_rounds: int) -> None:
    """Sample cell by cell; in each round another party begins."""
    for first in range(n_rounds):
        turns: list[Subject] = []
        for entry in entries:
            order = entry.subjects[first % 3 :] + entry.subjects[: first % 3]
            turns += order
        race(turns, 0, 1, 1)


def measure(
    cells: dict[str, Cell],
    suite: Suite,
    base: Version,
    head: Version,
    series: range,
    only: set[str] | None = None,
) -> None:
    """Add a number of series to the cells of a suite; ``only``: the cells to measure."""
    for number in series:
        for entries in suite.groups([base, base, head], number):
            wanted = [entry for entry in entries if only is None or entry.name in only]
            in_turns(wanted, suite.n_rounds)
            for entry in wanted:
                cell = cells.setdefault(entry.name, Cell(entry.name, entry.unit))
                cell.add_series(*(subject.samples for subject in entry.subjects))


def tables_of(cells: dict[str, Cell]) -> list[Table]:
    tables: dict[str, Table] = {}
    for cell in cells.values():
        suite, _, name = cell.name.partition(": ")
        table = tables.setdefault(
            suite, Table(suite, f"{cell.unit}, the best; ratio: head to base", decimals=3)
        )
        table.rows[name] = {
            "base": min(cell.base),
            "head": min(cell.head),
            "ratio": cell.ratio,
            "noise +-": cell.noise,
            "base to itself": cell.itself,
        }
    return list(tables.values())


def judge(cells: dict[str, Cell]) -> list[str]:
    notes = []
    for cell in sorted(cells.values(), key=lambda cell: -cell.ratio):
        if cell.verdict:
            notes.append(f"{cell.verdict}: {cell.name}: {cell.ratio:.3f}x, noise {cell.noise:.3f}")
    n_slower = sum(cell.is_slower for cell in cells.values())
    noises = sorted(cell.noise for cell in cells.values())
    ratios = sorted(cell.ratio for cell in cells.values())
    notes.append(
        f"{len(cells)} cells, {n_slower} slower than {LIMIT}x by more than their noise; "
        f"ratio {ratios[0]:.3f} to {ratios[-1]:.3f}, median {ratios[len(ratios) // 2]:.3f}; "
        f"noise {noises[0]:.3f} to {noises[-1]:.3f}, median {noises[len(noises) // 2]:.3f}"
    )
    return notes


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure two installed versions of wsfast in turns, and say which cells are slower.",
        epilog="suites: " + "; ".join(f"{name}: {suite.what}" for name, suite in SUITES.items()),
    )
    parser.add_argument("--base", required=True, metavar="DIR", help="interpreter, environment or checkout")
    parser.add_argument("--head", required=True, metavar="DIR", help="the same, of the version to judge")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="(default: all)")
    parser.add_argument("--series", type=int, default=5, metavar="N", help="new processes each (default: 5)")
    parser.add_argument(
        "--again", type=int, default=8, metavar="N", help="for cells that look slower (default: 8)"
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="the core to use (default: the last one)")
    add_options(parser)
    options = parser.parse_args()
    names = options.suites or list(SUITES)
    if unknown := set(names) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    use_one_core(options.cpu)
    try:
        base, head = (version_at(interpreter(place)) for place in (options.base, options.head))
        if base.folder == head.folder and base.python != head.python:
            raise MismatchError(
                f"both interpreters import {base.folder}: one of them has no wsfast of its own"
            )
        machine = [cpu_name(), f"base: {base.package}", f"head: {head.package}"]
        print("\n".join(machine), flush=True)
        cells: dict[str, Cell] = {}
        for name in names:
            start = time.monotonic()
            measure(cells, SUITES[name], base, head, range(options.series))
            suspects = {
                cell.name for cell in cells.values() if cell.verdict and cell.name.startswith(name + ": ")
            }
            if suspects and options.again:
                print(f"{name}: once more: {len(suspects)} cells", file=sys.stderr, flush=True)
                further = range(options.series, options.series + options.again)
                for suspect in suspects:
                    print(f"  {suspect}: {cells.pop(suspect).ratio:.3f}x", file=sys.stderr)
                measure(cells, SUITES[name], base, head, further, suspects)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    except (MismatchError, ServerError) as error:
        sys.exit(f"not measured: {error}")
    status = finish(options, machine, tables_of(cells), [], judge(cells))
    return status or int(any(cell.is_slower for cell in cells.values()))


if __name__ == "__main__":
    sys.exit(main())
