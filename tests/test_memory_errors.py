"""No memory, at any place: ``MemoryError`` for our caller, never a crash, never a peer's fault (RFC 6455 10.4)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers import load_codec

HERE = Path(__file__).parent / "allocations"


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the module that makes allocations fail."""
    compiler = shutil.which("cc")
    if os.name != "posix" or compiler is None:
        if os.environ.get("CI") and os.name == "posix":
            pytest.fail("cc is not installed", pytrace=False)
        pytest.skip("there is no cc")
    folder = tmp_path_factory.mktemp("failing")
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra"]
    if sys.platform == "darwin":
        options += ["-undefined", "dynamic_lookup"]
    subprocess.run(
        [
            compiler,
            *options,
            f"-I{sysconfig.get_path('include')}",
            HERE / "failing.c",
            "-o",
            folder / "failing.so",
        ],
        check=True,
    )
    return folder


@pytest.mark.parametrize("name", ["native", "fallback"])
def test_each_allocation_fails_in_turn(failing: Path, name: str) -> None:
    """Alone, and with all that come after it."""
    load_codec(name)
    done = subprocess.run(
        [sys.executable, HERE / "sweep.py", name, failing], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    assert int(done.stdout.split()[0]) > 1000
