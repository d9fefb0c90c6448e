"""No module of wsfast imports itself by way of others: annotations and imports inside functions count too."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import wsfast

ROOT = Path(wsfast.__file__).parent


def modules() -> dict[str, Path]:
    """All modules of the package by their names; a package is named as its folder."""
    found = {}
    for path in (*ROOT.rglob("*.py"), *ROOT.rglob("*.pyi")):
        parts = ("wsfast", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that ``name`` imports, wherever in the file."""
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{origin}.{alias.name}"
                found.add(submodule if submodule in known else origin)
    return (found & known.keys()) - {name}


def test_imports_make_no_circle() -> None:
    known = modules()
    assert len(known) > 50
    graph = {name: imports(name, path, known) for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_http_imports_nothing_of_ours() -> None:
    known = modules()
    assert imports("wsfast.http", known["wsfast.http"], known) == set()
