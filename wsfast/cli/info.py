"""``wsfast info``: the codec that runs here, the reason for it, and the versions around it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import TypedDict

from .. import _origin
from .._version import __version__
from .outcome import FAILURE, OK

__all__ = ["Info", "collect", "cpu_name", "run"]


class Info(TypedDict):
    """The output of ``wsfast info --json``. ``package``: its folder. ``fallback_reason``: None if native runs."""

    wsfast: str
    package: str
    codec: str
    kernel: str
    fallback_reason: str | None
    native_available: bool
    python: str
    free_threaded: bool
    gil_enabled: bool
    h11: str | None
    uvloop: str | None
    zlib: str
    zlib_ng: str | None
    isal: str | None
    platform: str
    cpu: str


def run(arguments: argparse.Namespace) -> int:
    info = collect()
    if arguments.json:
        print(json.dumps(info, indent=2))
    else:
        for name, value in _rows(info):
            print(f"{name:12} {value}")
    return FAILURE if info["codec"] == "broken" else OK


def collect() -> Info:
    """Return all facts, even if the compiled extension is broken."""
    _origin.silent = True  # The reason is one of the facts, so it is not logged.
    native_problem = _native_problem()
    reason: str | None = None
    try:
        from .. import codec
    except ImportError as error:
        implementation, kernel = "broken", "none"
        reason = f"the compiled extension does not load: {error}; WSFAST_PURE=1 does without it"
    else:
        implementation, kernel = codec.IMPLEMENTATION, codec.KERNEL
        if implementation == "fallback":
            reason = (
                native_problem or f"WSFAST_PURE={os.environ.get('WSFAST_PURE', '')} is in the environment"
            )
    return {
        "wsfast": __version__,
        "package": os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        "codec": implementation,
        "kernel": kernel,
        "fallback_reason": reason,
        "native_available": native_problem is None,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "gil_enabled": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "h11": _version("h11"),
        "uvloop": _version("uvloop"),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "zlib_ng": _version("zlib-ng"),
        "isal": _version("isal"),
        "platform": platform.platform(),
        "cpu": cpu_name(),
    }


def cpu_name() -> str:
    """Return the CPU's own name, or its architecture if it has no name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _native_problem() -> str | None:
    try:
        import wsfast.native  # noqa: F401
    except ModuleNotFoundError:
        return _origin.why_fallback()
    except ImportError as error:
        return f"the compiled extension does not load: {error}"
    return None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _rows(info: Info) -> list[tuple[str, str]]:
    threads = "no"
    if info["free_threaded"]:
        threads = "yes, but the GIL is on" if info["gil_enabled"] else "yes"
    rows = [
        ("wsfast", info["wsfast"]),
        ("package", info["package"]),
        ("codec", info["codec"]),
        ("kernels", info["kernel"]),
    ]
    if info["fallback_reason"] is not None:
        rows.append(("why", info["fallback_reason"]))
    return [
        *rows,
        ("Python", info["python"]),
        ("free threads", threads),
        ("h11", info["h11"] or "not installed; connections need it"),
        ("uvloop", info["uvloop"] or "not installed"),
        ("zlib", info["zlib"]),
        ("zlib-ng", info["zlib_ng"] or "not installed"),
        ("isal", info["isal"] or "not installed"),
        ("platform", info["platform"]),
        ("CPU", info["cpu"]),
    ]
