"""The programs of this folder, each run once and very short: a figure must be right before anybody reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

import wsfast.codec

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


# Servers: processes, pinned to a core, with the clock of another process

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
# These programs measure the native codec only.
native = pytest.mark.skipif(wsfast.codec.IMPLEMENTATION != "native", reason="measures the native codec")
SHORT = ("--rounds", "1", "--sample", "0.01", "--loop", "asyncio")


@on_linux
def test_echo():
    own = "wsfast" if wsfast.codec.IMPLEMENTATION == "native" else "wsfast-pure"
    printed = run("servers.echo", *SHORT, "--programs", f"raw,{own}", "--sizes", "64,65536")
    assert "64 KiB text, 1 in flight, asyncio" in printed
    assert "left out" not in printed


@on_linux
@native
def test_clients():
    assert "clients, 64 B text, asyncio" in run("servers.clients", *SHORT)


@on_linux
@native
def test_trio():
    printed = run("servers.trio", "--rounds", "1", "--sample", "0.01", "--programs", "raw,wsfast")
    assert "256 B text, 1 in flight, trio" in printed
    assert "left out" not in printed


@on_linux
@native
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("fanout", ["--rounds", "1", "--connections", "3", "--broadcasts", "2"]),
        ("handshakes", ["--rounds", "1", "--connections", "3"]),
        ("memory", ["--connections", "20", "--programs", "raw,wsfast"]),
        ("deflate", ["--rounds", "1"]),
    ],
)
def test_servers(program, options):
    printed = run(f"servers.{program}", *options, "--loop", "asyncio")
    assert "wsfast" in printed.partition("KiB a connection")[2] or "CPU us of the server" in printed


@on_linux
@native
def test_rooms():
    printed = run("servers.rooms", "--members", "20", "--rounds", "2")
    assert "rooms to the bare loop: " in printed


@on_linux
@native
def test_rooms_over_redis():
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    printed = run("servers.rooms", "--redis", "--members", "6", "--rate", "20", "--seconds", "0.5")
    assert "deliveries a second: " in printed


@on_linux
@native
def test_worst_read():
    printed = run("servers.worst_read", "--programs", "waiting", "--inputs", "bombs of 1 KiB, emoji")
    assert "most held" in printed


@on_linux
@native
def test_senders():
    assert "a peer that goes" in run("servers.senders", "--rounds", "1")


@on_linux
@native
def test_threads():
    printed = run("servers.threads", "--rounds", "3", "--sample", "0.01")
    assert "server, echo of 256 B, 50 connections" in printed


@on_linux
@native
def test_compare():
    options = ("--base", sys.executable, "--head", sys.executable, "--series", "1", "--again", "0")
    printed = run("compare", *options, "handshakes")
    assert "2 cells, 0 slower" in printed


@on_linux
def test_fallback_that_nobody_asked_for_is_refused(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['wsfast.native'] = None\n")
    environment = {name: value for name, value in os.environ.items() if name != "WSFAST_PURE"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec.ratios", "--seconds", "0"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "refused to measure" in done.stderr
