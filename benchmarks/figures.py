"""Write figures.md from the JSON in results/: ``python benchmarks/figures.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from report import Bar, Table, number

HERE = Path(__file__).resolve().parent
PROGRAMS = ("peers", "ratios", "text_to_str", "kernels")


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def section(program: str, measured: dict[str, Any]) -> list[str]:
    lines = [f"## `{program}.py`", "", "; ".join(measured["machine"]) + "."]
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
            [name, *(number(figures[subject]) if subject in figures else "" for subject in subjects)]
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
    lines = [
        "# Figures",
        "",
        "Made by `figures.py` from the JSON in `results/`; README.md says how to read them.",
        "",
    ]
    for program in PROGRAMS:
        path = HERE / "results" / f"{program}.json"
        if path.exists():
            lines += section(program, json.loads(path.read_text()))
    (HERE / "figures.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
