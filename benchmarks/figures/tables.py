"""Write figures.md from the JSON in results/: ``python -m benchmarks.figures.tables``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..common.report import Bar, Table, number

HERE = Path(__file__).resolve().parent
SOURCES = {
    "peers": "codec/peers.py",
    "ratios": "codec/ratios.py",
    "text_to_str": "kernels/text_to_str.py",
    "kernels": "kernels/kernels.py",
}
"""The program that wrote each file of results."""


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def section(program: str, measured: dict[str, Any]) -> list[str]:
    lines = [f"## `{program}`", "", "; ".join(measured["machine"]) + "."]
    for note in measured["notes"]:
        lines += ["", note[0].upper() + note[1:] + "."]
    if measured["bars"]:
        fields = Bar.__dataclass_fields__
        bars = [
            Bar(**{name: value for name, value in bar.items() if name in fields}) for bar in measured["bars"]
        ]
        lines += [
            "",
            *markdown_table(["bar", "promised", "aim", "measured", ""], [bar_cells(bar) for bar in bars]),
        ]
    for content in measured["tables"]:
        table = Table(**content)
        if not table.rows:
            continue
        subjects = table.subjects()
        rows = [
            [name, *(table.cell(figures, subject, missing="") for subject in subjects)]
            for name, figures in table.rows.items()
        ]
        lines += ["", f"### {table.title[0].upper()}{table.title[1:]}, {table.unit}", ""]
        lines += markdown_table(["", *subjects], rows)
    return [*lines, ""]


def bar_cells(bar: Bar) -> list[str]:
    promised = f"at {'least' if bar.at_least else 'most'} {bar.limit:g} {bar.unit}"
    aim = "" if bar.aim is None else f"{bar.aim:g}"
    if bar.measured is None:
        return [bar.what, promised, aim, "not measured", ""]
    return [bar.what, promised, aim, number(bar.measured), "met" if bar.met() else "**missed**"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the figures of all programs as a page.")
    parser.add_argument("--md", type=Path, default=HERE / "figures.md", metavar="FILE")
    options = parser.parse_args()
    lines = [
        "# Figures",
        "",
        "Made by `tables.py` from the JSON in `results/`; [README.md](../README.md) says how to read them.",
        "",
    ]
    for name, program in SOURCES.items():
        path = HERE / "results" / f"{name}.json"
        if path.exists():
            lines += section(program, json.loads(path.read_text()))
    options.md.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
