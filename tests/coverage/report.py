"""The table of ``run.sh``: ``report.py TREE PYTHON_JSON [--missing]``. Fails if a file of the tree is not in it."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

# Declarations only, or for another machine.
NO_CODE = {
    "src/c_api.pxd",
    "src/kernels/text.h",
    "src/kernels/text_neon.c",
    "src/kernels/text_sse4.c",  # a table: its functions are those of to_units.h and from_units.h
    "src/kernels/vector.h",
}


@dataclass
class File:
    """``lines``: whether each line with code was run. ``branches``: how many there are, and how many were taken."""

    lines: dict[int, bool] = field(default_factory=dict)
    branches: tuple[int, int] | None = None

    @property
    def missing(self) -> list[int]:
        return sorted(number for number, was_run in self.lines.items() if not was_run)


def python_files(report: Path, tree: Path) -> dict[str, File]:
    """Lines and branches by coverage.py."""
    found = {}
    for name, data in json.loads(report.read_text())["files"].items():
        file = File()
        file.lines = dict.fromkeys(data["executed_lines"], True)
        file.lines |= dict.fromkeys(data["missing_lines"], False)
        summary = data["summary"]
        file.branches = (summary["num_branches"], summary["covered_branches"])
        found[Path(tree, name).resolve().relative_to(tree).as_posix()] = file
    return found


def native_files(tree: Path) -> dict[str, File]:
    """Lines of Cython and C by gcov, which knows them from the counters and notes next to the objects."""
    found: dict[str, File] = defaultdict(File)
    with tempfile.TemporaryDirectory() as folder:
        counters = [str(path) for path in sorted(tree.glob("build/temp*/**/*.gcda"))]
        if not counters:
            sys.exit("the native codec left no counters")
        command = ["gcov", "--json-format", "--preserve-paths", *counters]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for path in sorted(Path(folder).glob("*.gcov.json.gz")):
            with gzip.open(path) as stream:
                unit = json.load(stream)
            for source in unit["files"]:
                name = Path(tree, source["file"]).resolve()
                if not name.is_relative_to(tree / "src") or name.name == "native.c":
                    continue
                lines = found[name.relative_to(tree).as_posix()].lines
                for line in source["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, False) or line["count"] > 0
    return dict(found)


def ranges(numbers: Iterable[int]) -> str:
    """3 4 5 9 as "3-5, 9"."""
    groups = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def print_table(files: dict[str, File], show_missing: bool) -> None:
    print(f"{'file':36} {'lines':>6} {'not run':>7} {'%':>5} {'branches':>8} {'not taken':>9}")
    for name, file in sorted(files.items()):
        n_lines, n_missing = len(file.lines), len(file.missing)
        share = 100 * (n_lines - n_missing) / n_lines if n_lines else 100
        branches = (
            "" if file.branches is None else f"{file.branches[0]:8} {file.branches[0] - file.branches[1]:9}"
        )
        print(f"{name:36} {n_lines:6} {n_missing:7} {share:5.1f} {branches}")
        if show_missing and n_missing:
            print(f"    {ranges(file.missing)}")


def main(arguments: list[str]) -> int:
    tree = Path(arguments[0]).resolve()
    files = python_files(Path(arguments[1]), tree) | native_files(tree)
    print_table(files, "--missing" in arguments)
    expected = {path.relative_to(tree).as_posix() for path in (tree / "wsfast").rglob("*.py")}
    for kind in ("pyx", "pxi", "pxd", "h", "c"):
        expected |= {path.relative_to(tree).as_posix() for path in (tree / "src").rglob(f"*.{kind}")}
    absent = sorted(expected - files.keys() - NO_CODE - {"src/native.c"})
    never = sorted(
        name for name, file in files.items() if file.lines and len(file.missing) == len(file.lines)
    )
    for name in absent:
        print(f"{name} is not in the table")
    for name in never:
        print(f"{name} was not run at all")
    return 1 if absent or never else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
