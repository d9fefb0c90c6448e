"""docs/compatibility.md, walked: each line has a word, a reason if it differs, and tests that exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import websockets.asyncio.client
import websockets.asyncio.server

ROOT = Path(__file__).resolve().parent.parent
PAPER = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "from-websockets.md").read_text("utf-8")

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAPER.splitlines()
    if line.startswith("| ") and not line.startswith(("| feature |", "| idiom |", "| module |"))
]

DEFINITION = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)

# Methods that a transport calls, and those that their documentation does not have.
INNER = {
    "acknowledge_pings",
    "close_exc",
    "connection_lost",
    "connection_made",
    "data_received",
    "drain",
    "eof_received",
    "handshake",
    "keepalive",
    "pause_writing",
    "process_event",
    "resume_writing",
    "send_context",
    "send_data",
    "set_connection_exc",
    "start_keepalive",
    "terminate_pending_pings",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_line(row: list[str]) -> None:
    assert len(row) == 4, row
    _, word, reason, tests = row
    assert re.match(r"(same|differs|not offered)(:|$)", word), word
    assert reason or word == "same"
    known = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in DEFINITION.findall(path.read_text("utf-8"))
    }
    named = re.findall(r"`(test_\w+)`", tests)
    assert named
    assert [name for name in named if name not in known] == []


def test_at_most_six_idioms_differ() -> None:
    section = PAPER.split("## Differences that a program can see")[1].split("## Client")[0]
    assert section.count("| differs: ") == 6


def mentioned(section: str) -> set[str]:
    text = PAPER.split(f"## {section}\n")[1].split("\n## ")[0]
    first_cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    return {
        word
        for cell in first_cells
        for code in re.findall("`([^`]+)`", cell)
        for word in re.findall(r"\w+", code)
    }


def test_every_argument_has_its_line() -> None:
    for call, section in (
        (websockets.asyncio.client.connect, "Client"),
        (websockets.asyncio.server.serve, "Server"),
    ):
        arguments = set(inspect.signature(call).parameters)
        assert arguments - mentioned(section) - mentioned("Connection") == set()


def test_every_method_has_its_line() -> None:
    known = mentioned("Client") | mentioned("Server") | mentioned("Connection")
    for kind in (
        websockets.asyncio.client.ClientConnection,
        websockets.asyncio.server.ServerConnection,
        websockets.asyncio.server.Server,
        websockets.asyncio.client.connect,
    ):
        assert {name for name in dir(kind) if not name.startswith("_")} - INNER - known == set()
    assert {"latency", "id", "logger", "request", "response", "username"} <= known


def test_every_module_has_its_line() -> None:
    folder = Path(websockets.__file__).parent
    modules = {
        path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    not_public = {"__init__", "__main__", "auth", "cli", "client", "connection", "http", "imports", "server"}
    not_public |= {"speedups", "streams", "utils", "version"}
    assert modules - not_public - mentioned("Modules") == set()


def test_what_the_short_page_imports_is_there() -> None:
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(block, "from-websockets.md", "exec"), {})
    exec(compile(block.replace("wsfast", "websockets"), "from-websockets.md", "exec"), {})
