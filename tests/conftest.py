"""Fixtures: ``codec`` runs a test over both codecs in one process, ``peer`` over both roles.

``WSFAST_REQUIRE_NATIVE=1`` makes a missing native codec an error; without it its tests are skipped.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest
from helpers import Peer

import wsfast.connection
from wsfast.events import Role


def load(name: str) -> ModuleType:
    """Import ``wsfast.native`` or ``wsfast.fallback``; skip or fail if the former was not built."""
    try:
        return importlib.import_module(f"wsfast.{name}")
    except ModuleNotFoundError as missing:
        # An extension that is there and broken is never a skip.
        if name != "native" or missing.name != "wsfast.native":
            raise
        if os.environ.get("WSFAST_REQUIRE_NATIVE", "") not in ("", "0"):
            pytest.fail("wsfast.native was not built, and WSFAST_REQUIRE_NATIVE is set", pytrace=False)
        pytest.skip("wsfast.native was not built: pip install . with a C compiler builds it")


@pytest.fixture(params=["native", "fallback"])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    return load(request.param)


@pytest.fixture
def connection_codec(codec: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Connections are made with this codec."""
    monkeypatch.setattr(wsfast.connection, "MessageDecoder", codec.MessageDecoder)
    monkeypatch.setattr(wsfast.connection, "FrameEncoder", codec.FrameEncoder)
    return codec


@pytest.fixture
def codecs() -> tuple[ModuleType, ModuleType]:
    """Both at once, for tests that compare them."""
    return load("native"), load("fallback")


@pytest.fixture(params=[Role.SERVER, Role.CLIENT], ids=["server", "client"])
def peer(request: pytest.FixtureRequest) -> Peer:
    """The endpoint that sends to us, for either role of ours."""
    return Peer(request.param)
