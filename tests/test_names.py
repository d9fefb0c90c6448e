"""The names of the package: if README, docs or ``wsfast doctor`` print one, it works after ``import wsfast``.

Type checkers know them too: see typed_names.py.
"""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest
from helpers import run_python

import wsfast
from wsfast.cli import doctor, info
from wsfast.patch.hosts import HOSTS

ROOT = Path(__file__).parent.parent

PRIVATE = {"__main__", "cli", "common", "mistakes", "printable"}
"""Submodules that are no part of the interface."""

NEED_A_HOST = {"uvicorn": "uvicorn", "wsproto": "wsproto"}
"""Submodules that import the package of a host; the tests in its folder below tests/hosts resolve their names."""


def printed_names() -> list[str]:
    """Find every dotted name of ours in what users read."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    findings = [doctor.Finding(host, host.newest, False) for host in HOSTS]
    texts += doctor.report(info.collect(), findings)
    # Not in file names and addresses: src/wsfast.c, wsfast.readthedocs.io, wsfast-0.1.0.tar.gz.
    found = {name for text in texts for name in re.findall(r"(?<![\w/.-])wsfast(?:[.:][A-Za-z_]\w*)+", text)}
    return sorted(name.replace(":", ".") for name in found)


def submodules() -> set[str]:
    return {each.name for each in pkgutil.iter_modules(wsfast.__path__) if not each.name.startswith("_")}


def is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@pytest.mark.parametrize("name", printed_names())
def test_printed_names_resolve(name: str) -> None:
    """In an interpreter that has done nothing before: which names are there must not depend on what was used."""
    submodule = name.split(".")[1]
    host = NEED_A_HOST.get(submodule)
    result = run_python(f"import wsfast; {name}")
    if host is not None and not is_there(host):
        assert f"wsfast.{submodule} cannot be imported: No module named '{host}'" in result.stderr
    else:
        assert result.stderr == ""


def test_enough_names_are_printed() -> None:
    """The search finds what is there."""
    assert {
        "wsfast.codec.IMPLEMENTATION",
        "wsfast.wsaccel.install",
        "wsfast.uvicorn.WebSocketProtocol",
    } <= set(printed_names())
    assert len(printed_names()) > 20


def test_every_submodule_is_lazy() -> None:
    """Nobody has to know which of them are packages, or which were imported before."""
    wanted = (submodules() - PRIVATE) | {"native"}  # Also if it was not built.
    result = run_python(f"import wsfast; print(*sorted(set(dir(wsfast)) & {submodules() | wanted!r}))")
    assert set(result.stdout.split()) == wanted, "a new one stands in wsfast._SUBMODULES, or in PRIVATE here"


def test_every_submodule_is_typed() -> None:
    """What ``__getattr__`` finds, type checkers find too: there is an import for them, under the same name."""
    source = inspect.getsource(wsfast)
    imported = set(re.findall(r"^    from \. import (\w+) as \1$", source, re.MULTILINE))
    assert imported == wsfast._SUBMODULES


def test_all_names_are_there() -> None:
    for name in wsfast.__all__:
        assert getattr(wsfast, name) is not None
        assert name in dir(wsfast)


def test_import_is_cheap() -> None:
    """``import wsfast`` loads none of our modules, and of the standard library what it takes to load one later."""
    code = """
import sys
before = set(sys.modules)
import wsfast
print(*sorted(set(sys.modules) - before))
"""
    allowed = {"__future__", "importlib", "importlib._bootstrap", "importlib._bootstrap_external", "warnings"}
    loaded = set(run_python(code).stdout.split())
    assert {name for name in loaded if name.startswith("wsfast")} == {"wsfast", "wsfast._version"}
    assert loaded <= allowed | {"wsfast", "wsfast._version"}


def test_codec_is_all_that_the_codec_loads() -> None:
    """By way of the lazy name as by the import of it (tests/test_codec_selection.py)."""
    code = """
import sys
import wsfast
wsfast.codec.MessageDecoder
print(*sorted(name for name in sys.modules if name.startswith("wsfast.") and name.count(".") == 1))
"""
    loaded = set(run_python(code).stdout.split())
    codec = {
        f"wsfast.{name}"
        for name in ("codec", "events", "faults", "mistakes", "native", "fallback", "_version")
    }
    assert loaded <= codec


def test_a_name_that_is_not_there() -> None:
    """And nothing is imported by the question."""
    with pytest.raises(AttributeError, match=r"^module 'wsfast' has no attribute 'conect'$"):
        wsfast.conect  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(wsfast, "cli2")
    assert not hasattr(wsfast.websockets, "nothing")


@pytest.mark.parametrize("name", sorted(NEED_A_HOST))
def test_submodule_without_its_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``hasattr`` says no, and tools that walk through ``dir()`` go on; the import says what is missing."""
    ours, its = f"wsfast.{name}.", f"{NEED_A_HOST[name]}."
    for module in [module for module in sys.modules if f"{module}.".startswith((ours, its))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(vars(wsfast), name, raising=False)  # delattr() would ask, and so import it
    monkeypatch.setitem(sys.modules, NEED_A_HOST[name], None)
    with pytest.raises(AttributeError, match=rf"wsfast\.{name} cannot be imported: .*{name}"):
        getattr(wsfast, name)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"wsfast.{name}")
    assert dict(inspect.getmembers(wsfast))["codec"] is wsfast.codec


def test_every_source_of_the_native_codec_is_described() -> None:
    """src/README.md has a row for each, and for no other."""
    folder = ROOT / "src"
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = "".join(line.partition(" | ")[0] for line in text.splitlines() if line.startswith("| `"))
    suffixes = {".c", ".h", ".pyx", ".pxi", ".pxd"}
    sources = {path.name for path in folder.rglob("*") if path.suffix in suffixes} - {"native.c"}
    assert set(re.findall(r"`([\w.]+)`", rows)) == sources
