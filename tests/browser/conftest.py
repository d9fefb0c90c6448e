"""Fixtures: a headless Chromium, and the demo server as a process, with either codec.

Linux only. Without a browser the tests are skipped; with ``CI`` in the environment that is a failure.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from browsers import Chromium, Demo, running_demo
from helpers import load_codec


def missing(what: str) -> None:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") and sys.platform == "linux":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    try:
        import playwright.async_api  # noqa: F401
    except ImportError:
        missing("playwright is not installed: pip install '.[test]'")
    chromium = Chromium()
    try:
        try:
            chromium.run(chromium.start())
        except Exception as error:
            missing(f"Chromium cannot be started (on Debian: apt-get install chromium): {error}")
        yield chromium
    finally:
        chromium.run(chromium.stop())
        chromium.end_thread()


@pytest.fixture(scope="session", params=["native", "fallback"])
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    """A demo server with either codec, for all tests."""
    if request.param == "native":
        load_codec("native")
    with running_demo(request.param) as demo:
        yield demo
