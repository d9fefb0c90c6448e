"""Where a figure was measured: without it, it means nothing."""

from __future__ import annotations

import platform
from pathlib import Path

from cases import CODECS, load


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def describe_machine() -> list[str]:
    """Lines for the top of a report: CPU, Python, system, and the kernels of each codec."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [f"{cpu_name()}, {python}, {platform.system()} {platform.machine()}"]
    for name in CODECS:
        codec = load(name)
        lines.append(f"wsfast.{name}: " + ("not built" if codec is None else f"kernels {codec.KERNEL}"))
    return lines
