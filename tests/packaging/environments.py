"""Small virtual environments, and commands run in them, for the tests that build the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")

LEFTOVERS = (".*", "build", "dist", "wheelhouse", "*.egg-info", "__pycache__", "*.so", "*.pyd", "native.c")

# A compiler that is not there. MSVC is searched for by other means than CC; told that the SDK is set up, it is
# expected on the PATH, and not found.
NO_COMPILER = {"CC": "/nonexistent/cc", "DISTUTILS_USE_SDK": "1", "MSSDK": "1"}


def run(
    *command: str | Path, check: bool = True, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with an environment that holds nothing of ours but ``variables``."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WSFAST_", "PYTHON", "PYTEST_", "COV_"))
        and name not in ("CC", "CFLAGS", "LDSHARED")
    }
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONNOUSERSITE": "1", **variables}
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        cwd=cwd,
    )
    if check and result.returncode != 0:
        pytest.fail(
            f"{command} exited with {result.returncode}\n{result.stdout}{result.stderr}", pytrace=False
        )
    return result


class Environment:
    """A fresh virtual environment without pip; the running interpreter's pip fills it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def pip(
        self, *arguments: str | Path, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return run(sys.executable, "-m", "pip", "--python", self.python, *arguments, check=check, **variables)

    def build(
        self, *arguments: str | Path, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m build`` with the tools of this environment, not with tools fetched for this call."""
        options = ("--no-isolation", "--skip-dependency-check")
        return run(self.python, "-m", "build", *options, *arguments, check=check, **variables)

    def run_python(self, code: str) -> str:
        """Run a piece of Python here and return what it prints; warnings are errors."""
        return run(self.python, "-P", "-W", "error", "-c", code).stdout

    def smoke(self, implementation: str) -> str:
        """Check the codec that is installed here; warnings are errors, and no tree is in the way."""
        return run(self.python, "-P", "-W", "error", SMOKE, implementation).stdout


def copy_tree(folder: Path) -> Path:
    """Copy the tree as a clean checkout would have it, without what was built or installed in it."""
    by_name = shutil.ignore_patterns(*LEFTOVERS)

    def leave_out(parent: str, children: list[str]) -> set[str]:
        environments = {child for child in children if Path(parent, child, "pyvenv.cfg").exists()}
        return environments | by_name(parent, children)

    return shutil.copytree(ROOT, folder, ignore=leave_out)


def only(paths: Iterable[Path]) -> Path:
    [path] = paths
    return path
