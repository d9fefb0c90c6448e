"""The Pythons that pyproject.toml names: each place says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))


def test_there_is_a_wheel_for_each_python() -> None:
    """From a version without one, pip takes the wheel for every platform, which is slow, and says nothing."""
    classifiers = [re.fullmatch(r".* :: 3\.(\d+)", line) for line in PROJECT["project"]["classifiers"]]
    named = {int(match[1]) for match in classifiers if match}
    built = PROJECT["tool"]["cibuildwheel"]["build"]
    wanted = {f"cp3{minor}-*" for minor in named} | {f"cp3{minor}t-*" for minor in named if minor >= 14}
    assert set(built) == wanted
    assert PROJECT["project"]["requires-python"] == f">=3.{min(named)}"
