"""The names of a package that are loaded when they are first used: who embeds a part of it imports no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy"]


def lazy(
    package: str, namespace: dict[str, Any], homes: Mapping[str, str], submodules: set[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a package: ``homes`` has the module of each name."""

    def load(name: str) -> Any:
        if name in submodules:
            return import_module(f".{name}", package)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = value = getattr(import_module(homes[name], package), name)
        return value

    return load, lambda: sorted({*namespace, *homes, *submodules})
