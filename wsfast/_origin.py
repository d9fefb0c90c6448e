"""Where this wsfast comes from, and why it has no native codec. Read only when that codec was not found.

A fallback that nobody asked for is said once, by a line in the log. It is no warning, as those may be errors, and a
program is right with either codec. It was asked for by ``WSFAST_PURE``, by a wheel that was built with
``WSFAST_BUILD=python``, and by Pythons for which there is no native codec.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

__all__ = ["ADVICE", "ROOT", "say_fallback", "shadowed", "why_fallback"]

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that was on ``sys.path`` for this package."""

# pip would take a wheel again that it keeps from a time without a compiler, or the pure one of the index.
_PIP = "pip install --no-cache-dir --force-reinstall --no-binary wsfast wsfast"
ADVICE = f"set WSFAST_BUILD=native, then {_PIP}" if sys.platform == "win32" else f"WSFAST_BUILD=native {_PIP}"

silent = False
"""True: somebody else says it, as ``wsfast info`` does."""


def why_fallback() -> str:
    """Say in one line why there is no native codec, and what to do."""
    if sys.implementation.name != "cpython":
        return f"the native codec is made for CPython, not for {sys.implementation.name}"
    installed = shadowed()
    if installed is not None:
        return (
            f"the source tree {ROOT} shadows the wsfast with the native codec that is installed in {installed}; "
            "start from another folder, or with 'python -P'"
        )
    if os.path.exists(os.path.join(ROOT, "src", "native.pyx")):
        return f"the source tree {ROOT} has no compiled extension; try: python setup.py build_ext --inplace"
    built = _built()
    return f"{'the compiled extension was not built' if built is None else built.REASON}; try: {ADVICE}"


def shadowed() -> str | None:
    """Return the folder of an installed wsfast with a native codec, if a source tree without one is in its way."""
    if not os.path.exists(os.path.join(ROOT, "src", "native.pyx")) or _has_native(ROOT):
        return None
    for entry in sys.path:
        if _has_native(entry):
            return os.path.abspath(entry)
    return None


def _has_native(folder: str) -> bool:
    base = os.path.join(folder, "wsfast", "native")
    return any(os.path.isfile(base + suffix) for suffix in EXTENSION_SUFFIXES)


def _built() -> Any:
    """Return the record that setup.py left in a wheel without the native codec, or None."""
    try:
        return import_module("wsfast._built")
    except ModuleNotFoundError:
        return None


def say_fallback(reason: str | None = None) -> None:
    """Say once that the fallback is in use, unless somebody asked for it. Without ``reason`` it is looked for."""
    if silent or sys.implementation.name != "cpython" or sys.platform in ("emscripten", "wasi"):
        return
    built = _built()
    if built is not None and built.ON_PURPOSE:
        return
    import logging  # Here: the native codec does without it.

    logging.getLogger("wsfast.codec").warning(
        "wsfast runs on its pure-Python codec, the slow one: %s (WSFAST_PURE=1 says that this is meant)",
        why_fallback() if reason is None else reason,
    )
