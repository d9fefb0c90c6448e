"""Tables and bars, for readers, for judging, and as JSON.

A bar is a figure that the project promises. Ratios are compared on any machine (``--check``), with slack, because other
work disturbs them. Nanoseconds and GB/s belong to one kind of machine (``--check-all``, without slack).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

SLACK = 1.5  # factor for ratios, under --check


@dataclass
class Table:
    """Figures of subjects (columns) in rows.

    ``sizes``: bytes of payload, for the rows that have a size. ``decimals``: of a figure below 10.
    """

    title: str
    unit: str
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    decimals: int = 2

    def subjects(self) -> list[str]:
        by_length = sorted(self.rows.values(), key=len, reverse=True)  # the longest row gives the order
        return list(dict.fromkeys(name for row in by_length for name in row))

    def lines(self) -> list[str]:
        subjects = self.subjects()
        width = max(map(len, self.rows), default=0)
        widths = [max(len(name), 9) for name in subjects]
        lines = [f"{self.title}, {self.unit}", " " * width]
        for name, column in zip(subjects, widths, strict=True):
            lines[1] += f"  {name:>{column}}"
        for row, figures in self.rows.items():
            line = f"{row:{width}}"
            for name, column in zip(subjects, widths, strict=True):
                line += f"  {self.cell(figures, name):>{column}}"
            lines.append(line)
        return lines

    def cell(self, figures: dict[str, float], name: str, missing: str = "-") -> str:
        return number(figures[name], self.decimals) if name in figures else missing


@dataclass
class Bar:
    """A promised figure. ``measured`` None: not measured here."""

    what: str
    measured: float | None
    limit: float
    unit: str = "x"
    at_least: bool = False
    aim: float | None = None

    def met(self, slack: float = 1.0) -> bool:
        if self.measured is None:
            return True  # It is no failure if this CPU lacks a level.
        if self.at_least:
            return self.measured * slack >= self.limit
        return self.measured <= self.limit * slack

    def line(self) -> str:
        bound = f"at {'least' if self.at_least else 'most'} {self.limit:g} {self.unit}"
        if self.aim is not None:
            bound += f" (aim {self.aim:g})"
        if self.measured is None:
            return f"{self.what}: not measured; {bound}"
        return (
            f"{self.what}: {number(self.measured)} {self.unit}, {bound}: {'met' if self.met() else 'MISSED'}"
        )


def number(value: float, decimals: int = 2) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.{decimals}f}"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"exit with 1 if a ratio misses its bar, with a slack of {SLACK:g}",
    )
    parser.add_argument("--check-all", action="store_true", help="exit with 1 if any bar is missed")


def finish(
    options: argparse.Namespace,
    machine: list[str],
    tables: list[Table],
    bars: list[Bar],
    notes: list[str] | None = None,
) -> int:
    """Print the figures, write them, and return the exit status."""
    tables = [table for table in tables if table.rows]
    for table in tables:
        print()
        print("\n".join(table.lines()))
    if bars:
        print()
        print("\n".join(bar.line() for bar in bars))
    if notes:
        print()
        print("\n".join(notes))
    if options.json is not None:
        content = {
            "machine": machine,
            "notes": notes or [],
            "tables": [dataclasses.asdict(table) for table in tables],
            "bars": [dataclasses.asdict(bar) | {"met": bar.met()} for bar in bars],
        }
        options.json.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    if options.check_all:
        return 0 if all(bar.met() for bar in bars) else 1
    if options.check:
        return 0 if all(bar.met(SLACK) for bar in bars if bar.unit == "x") else 1
    return 0
