"""Put wsfast's codec into packages that have no place for it: ``wsfast.patch.tornado()`` and so on.

    import wsfast
    wsfast.patch.tornado()      # from here on; before or after tornado is imported
    wsfast.unpatch("tornado")   # as it was

Nothing happens before one of these functions is called, and then only that package is imported. Each function replaces
a few names of its package; arguments, results and exceptions stay the same. A second call does nothing. ``status()``
lists the patched packages.

``PatchError`` says why a patch is refused. The package is not installed, or its version was not tested (``force=True``
patches it anyway), or the patch would make it slower. An undo is refused if somebody else has replaced the same name
after us.

Existing objects keep the code that they were made with; a patch is for objects that are made later.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .hosts import HOSTS, UNSUITABLE, canonical, host_named
from .machine import Patched, PatchError, status, unpatch

if TYPE_CHECKING:
    from .byte_hosts import *  # noqa: F403
    from .frame_hosts import *  # noqa: F403

_HOMES = {host.name: host.patch for host in HOSTS if host.patch}

__all__ = ["PatchError", "Patched", "status", "unpatch", *_HOMES]


if not TYPE_CHECKING:  # A module with ``__getattr__`` has every name, for type checkers.

    def __getattr__(name: str) -> Any:
        if home := _HOMES.get(name):
            value = getattr(import_module(home, __name__), name)
            globals()[name] = value
            return value
        advice = None if name.startswith("_") else _advice(name)
        if advice is not None:
            raise AttributeError(f"there is no {__name__}.{name}(): {advice}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _advice(name: str) -> str | None:
    """Say how a package without a patch of its own gets wsfast. None: we do not know the package."""
    host = host_named(name)
    if host is None:
        return UNSUITABLE.get(canonical(name))
    return f"type {host.use}".replace("\n", " or ")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
