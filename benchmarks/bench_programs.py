"""The programs of this folder, once each: what they measure has to be right before anybody reads their figures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compiling import default_compiler

HERE = Path(__file__).resolve().parent


def run(program: str, *options: str) -> str:
    command = [sys.executable, str(HERE / program), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs_compiler() -> None:
    if sys.platform == "win32" or shutil.which(default_compiler().split()[0]) is None:
        pytest.skip("needs a C compiler and a POSIX system")


def test_kernels():
    needs_compiler()
    assert "unmask random 1-125 B" in run("kernels.py", "--rounds", "1")


def test_text_to_str():
    needs_compiler()
    assert "ASCII 16 KiB" in run("text_to_str.py", "--rounds", "1")


def test_ratios():
    assert "64 frames a feed" in run("ratios.py", "--seconds", "0")


@pytest.mark.parametrize("rows", ["125 B", "16 KiB"])
def test_peers(rows, tmp_path):
    figures = tmp_path / "peers.json"
    assert rows in run("peers.py", "--seconds", "0", "--rows", rows, "--json", str(figures))


def test_chart(tmp_path):
    picture = tmp_path / "chart.svg"
    run("chart.py", "--svg", str(picture))
    assert picture.read_text() == (HERE / "chart.svg").read_text()
