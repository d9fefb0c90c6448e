"""Fixtures: ``codec`` runs a test over both codecs in one process, ``peer`` over both roles.

``WSFAST_REQUIRE_NATIVE=1`` makes a missing native codec an error; if it is not set, its tests are skipped.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest
import source_tree

source_tree.leave_out()  # Before the first import of wsfast.

from helpers import Peer, load_codec  # noqa: E402
from memory import Memory  # noqa: E402
from quick import QUICK  # noqa: E402

from wsfast.connection import Connection  # noqa: E402
from wsfast.events import Role  # noqa: E402


@pytest.fixture(params=["native", "fallback"])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    return load_codec(request.param)


@pytest.fixture
def connection_codec(codec: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Connections are made with this codec."""
    monkeypatch.setitem(Connection.__init__.__kwdefaults__, "codec", codec)  # type: ignore[arg-type]
    return codec


@pytest.fixture
def short_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that looks after connections of threads looks more often."""
    monkeypatch.setattr("wsfast.sync.keeper.TICK", 0.02)


@pytest.fixture
def codecs() -> tuple[ModuleType, ModuleType]:
    """Both at once, for tests that compare them."""
    return load_codec("native"), load_codec("fallback")


@pytest.fixture(params=[Role.SERVER, Role.CLIENT], ids=["server", "client"])
def peer(request: pytest.FixtureRequest) -> Peer:
    """The endpoint that sends to us, for either role of ours."""
    return Peer(request.param)


@pytest.fixture
def memory() -> Memory:
    """Memory that Python takes. A test that uses it is marked ``memory``, and runs before all others."""
    return Memory()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``-m quick`` does not even import the other modules."""
    is_module = collection_path.name.startswith("test_")
    quick_only = config.getoption("markexpr") == "quick"
    return True if quick_only and is_module and collection_path.stem not in QUICK else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "memory" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.memory)
        names = QUICK.get(item.path.stem)
        if names is not None and (not names or getattr(item, "originalname", "") in names):
            item.add_marker(pytest.mark.quick)
    items.sort(key=lambda item: item.get_closest_marker("memory") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Keep all tests and their reports from the collector: some tests run it often, and there are 17,000 of them."""
    yield
    if nextitem is None or item.path != nextitem.path:
        gc.collect()
        if hasattr(gc, "freeze"):  # PyPy has none
            gc.freeze()
