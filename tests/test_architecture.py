"""The rules of docs/architecture.md that can be checked: floors, circles, the size of a file, and forbidden imports.

Each import counts, even one for an annotation, or one inside a function.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import wsfast

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(wsfast.__file__).parent

# From the ground up. A module imports from its own floor and from those below.
FLOORS = (
    {"codec", "native", "fallback", "events", "faults", "mistakes", "limits", "_origin", "_version"},
    {
        "session",
        "connection",
        "handshake",
        "deflate",
        "headers",
        "uri",
        "http",
        "printable",
        "exceptions",
        "proxy",
    }
    | {"frames", "datastructures", "http11", "protocol", "typing"},  # other names of what is there
    {"common"},
    {"asyncio", "browser", "rooms", "sync", "trio", "testing"},
    {"uvicorn", "websockets", "wsproto", "wsaccel"},
    {"patch"},
    {"cli"},
    {"wsfast", "__main__"},
)
CODEC, MANNERS, DROP_INS = FLOORS[0], FLOORS[1], FLOORS[4]

# The two lowest floors have no loop, no thread, no socket and no clock.
OUTSIDE = {"asyncio", "select", "selectors", "socket", "ssl", "threading", "time", "uvloop"}

MAX_LINES = 600
# Files with a budget of their own: the adapters over the session.
BUDGETS = {
    "wsfast/asyncio/connection.py": 420,
    "wsfast/uvicorn/protocol.py": 420,
    "wsfast/trio/connection.py": 420,
    "wsfast/trio/stream.py": 420,
}
# Files above their budget. An entry goes when its file has shrunk; none is added.
TOO_LONG: set[str] = set()
GENERATED = {"src/native.c"}


def modules() -> dict[str, Path]:
    """All modules of the package by their names; a package is named as its folder."""
    found = {}
    for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")):
        parts = ("wsfast", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path) -> set[str]:
    """All that ``name`` imports, wherever in the file, by absolute names; of ``from a import b`` it is ``a.b``."""
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


KNOWN = modules()


def ours(name: str) -> set[str]:
    """The modules of ours that ``name`` imports."""
    found = set()
    for other in imported(name, KNOWN[name]):
        while other not in KNOWN and "." in other:
            other = other.rpartition(".")[0]
        found.add(other)
    return (found & KNOWN.keys()) - {name}


def room(name: str) -> str:
    """The folder, or the module, directly in the package that a module belongs to."""
    return name.split(".")[1] if "." in name else name


def floor(name: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(name) in rooms)


def test_each_module_has_one_floor() -> None:
    assert len(KNOWN) > 50
    for name in KNOWN:
        assert sum(room(name) in rooms for rooms in FLOORS) == 1, name


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_imports_go_down_only(name: str) -> None:
    assert {other for other in ours(name) if floor(other) > floor(name)} == set()


def test_imports_make_no_circle() -> None:
    try:
        TopologicalSorter({name: ours(name) for name in KNOWN}).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_a_drop_in_imports_no_other() -> None:
    for name in KNOWN:
        if room(name) in DROP_INS:
            assert {room(other) for other in ours(name)} & DROP_INS <= {room(name)}, name


def test_http_imports_nothing_of_ours() -> None:
    assert ours("wsfast.http") == set()


def test_codec_and_manners_know_no_loop_thread_socket_or_clock() -> None:
    for name, path in KNOWN.items():
        # The exception has the date of a response, and no rule.
        if room(name) in CODEC | MANNERS and name != "wsfast.handshake.date":
            assert {other.split(".")[0] for other in imported(name, path)} & OUTSIDE == set(), name


def sources() -> list[Path]:
    """The sources of a checkout, or of an sdist; the package as it is installed has only a part of them."""
    kinds = {".py", ".pyi", ".pyx", ".pxi", ".pxd", ".c", ".h"}
    return [
        path for folder in ("src", "wsfast") for path in (ROOT / folder).rglob("*") if path.suffix in kinds
    ]


def test_no_file_is_too_long() -> None:
    seen = set()
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        n_lines = path.read_text(encoding="utf-8").count("\n")
        if name not in GENERATED and n_lines > BUDGETS.get(name, MAX_LINES):
            seen.add(name)
    assert seen == TOO_LONG


def test_no_body_stands_in_two_rooms() -> None:
    """A function of three statements or more that two rooms have belongs into a third, below them."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, path in KNOWN.items():
        if path.suffix == ".pyi":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                if len(body) > 2:
                    found["\n".join(map(ast.dump, body))].add(f"{name}.{node.name}")
    assert [places for places in found.values() if len({room(place) for place in places}) > 1] == []
