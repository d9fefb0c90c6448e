"""The programs of this folder, once each and as short as can be: a figure has to be right before anybody reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from . import ROOT
from .common.compiling import default_compiler

FIGURES = ROOT / "benchmarks" / "figures"


def run(module: str, *options: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs_compiler() -> None:
    if sys.platform == "win32" or shutil.which(default_compiler().split()[0]) is None:
        pytest.skip("needs a C compiler and a POSIX system")


def test_kernels():
    needs_compiler()
    assert "unmask random 1-125 B" in run("kernels.kernels", "--rounds", "1")


def test_text_to_str():
    needs_compiler()
    assert "ASCII 16 KiB" in run("kernels.text_to_str", "--rounds", "1")


def test_ratios():
    assert "64 frames a feed" in run("codec.ratios", "--seconds", "0")


@pytest.mark.parametrize("rows", ["125 B", "16 KiB"])
def test_peers(rows, tmp_path):
    figures = tmp_path / "peers.json"
    assert rows in run("codec.peers", "--seconds", "0", "--rows", rows, "--json", str(figures))
    assert json.loads(figures.read_text())["tables"]


def test_chart(tmp_path):
    picture = tmp_path / "chart.svg"
    run("figures.chart", "--svg", str(picture))
    assert picture.read_text() == (FIGURES / "chart.svg").read_text()


def test_tables(tmp_path):
    page = tmp_path / "figures.md"
    run("figures.tables", "--md", str(page))
    assert page.read_text() == (FIGURES / "figures.md").read_text()
