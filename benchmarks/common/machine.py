"""The machine and the wsfast of a figure: without both, the figure means nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from .cases import CODECS, load


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


def measured_package() -> str:
    """One line: version, folder and codec of the wsfast that this process imports."""
    import wsfast
    from wsfast import codec

    folder = Path(wsfast.__file__).resolve().parent
    return f"wsfast {wsfast.__version__} of {folder}, codec {codec.IMPLEMENTATION} ({codec.KERNEL})"


def fallback_unawares() -> str | None:
    """Return the reason to measure nothing, if the fallback is in use and nobody asked for it; else None."""
    from wsfast import codec

    if codec.IMPLEMENTATION == "native" or os.environ.get("WSFAST_PURE", "") not in ("", "0"):
        return None
    return (
        f"refused to measure {measured_package()}: the compiled codec is missing there.\n"
        f"Build it (CONTRIBUTING.md), or set WSFAST_PURE=1 to measure the fallback."
    )


def announce(*further: str) -> list[str]:
    """Print the measured package and the machine; return these lines. Exit for a fallback that nobody asked for."""
    problem = fallback_unawares()
    if problem is not None:
        sys.exit(problem)
    machine = [*describe_machine(), *further]
    print("\n".join([f"measuring {measured_package()}", *machine]), flush=True)
    return machine


def version_of(package: str) -> str | None:
    """Return the version of an installed package from its metadata; import nothing of it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def named_versions(*packages: str) -> str:
    return ", ".join(f"{name} {version_of(name) or 'not installed'}" for name in packages)


def use_one_core(cpu: int | None = None) -> None:
    """Stay on one core, by default the last one; processes that are started later stay there too.

    In a virtual machine, waking a second, halted core costs more than a whole echo. It would hide the servers.
    """
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("needs Linux: CPU affinity, and the clock of another process")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if cpu is None else cpu})
