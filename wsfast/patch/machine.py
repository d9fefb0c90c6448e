"""The machine of ``wsfast.patch``: it replaces names in a host's modules, remembers them, and puts them back.

Three rules. A patch is all or nothing: every name is looked up before the first is replaced. A patch is undone only if
each name still has our value. And the lock is not held during an import, which may wait for another thread's import.

This file knows no host. A host is a row in ``hosts.py``, and a function with ``@patches`` in ``byte_hosts.py`` (masking
and UTF-8) or ``frame_hosts.py`` (whole frames). That function returns the ``Sites`` to patch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Protocol

from .hosts import HOSTS, host_named, installed_version

__all__ = ["Patch", "PatchError", "Patched", "Sites", "patches", "status", "unpatch"]


class PatchError(RuntimeError):
    """A patch was refused, or cannot be undone. Nothing was changed."""


@dataclass(frozen=True)
class Patched:
    """An entry of ``status()``: the package's version when it was patched, and the replaced names."""

    version: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Sites:
    """The places to patch: owner (a module or a class), name, and the new value of each."""

    sites: list[tuple[Any, str, object]]
    has_c_of_its_own: bool = False
    """True if the host's own code there is faster than our fallback codec."""


class Patch(Protocol):
    """A function of ``wsfast.patch`` that patches one host. ``force``: patch any version, and patch over its C too."""

    def __call__(self, *, force: bool = False) -> None: ...


def patches(find_sites: Callable[[], Sites]) -> Patch:
    """Make the function that patches the host with the name of ``find_sites``; only a call of it imports the host."""

    def patch(*, force: bool = False) -> None:
        _apply(find_sites.__name__, force, find_sites)

    patch.__name__ = patch.__qualname__ = find_sites.__name__
    patch.__module__ = find_sites.__module__
    patch.__doc__ = find_sites.__doc__
    return patch


@dataclass(frozen=True)
class _Replacement:
    """``owner.name`` becomes ``new``. ``old``: its value before, in ``owner`` itself."""

    owner: Any
    name: str
    new: object
    old: object

    def __str__(self) -> str:
        if isinstance(self.owner, ModuleType):
            return f"{self.owner.__name__}.{self.name}"
        return f"{self.owner.__module__}.{self.owner.__qualname__}.{self.name}"

    @property
    def is_in_place(self) -> bool:
        return vars(self.owner).get(self.name, _MISSING) is self.new


_MISSING: Final = object()
_lock: Final = threading.RLock()
# By the name of the host: its version, and our replacements.
_patches: Final[dict[str, tuple[str, list[_Replacement]]]] = {}


def status() -> dict[str, Patched]:
    """Return the packages that are patched now, by the names of their functions."""
    with _lock:
        return {
            name: Patched(version, tuple(str(each) for each in replacements))
            for name, (version, replacements) in _patches.items()
        }


def unpatch(name: str) -> None:
    """Undo the patch of this name; a package's name works too, as in "websocket-client". Without a patch, do nothing.

    Raises:
        PatchError: somebody else has replaced one of the names after us. Their code may call ours, so undo theirs
            first. Nothing is undone.
        ValueError: no function here has this name.
    """
    host = host_named(name)
    if host is None or not host.patch:
        names = ", ".join(sorted(host.name for host in HOSTS if host.patch))
        raise ValueError(f"no patch has the name {name!r}; there are {names}")
    with _lock:
        if host.name not in _patches:
            return
        _, replacements = _patches[host.name]
        for each in replacements:
            if not each.is_in_place:
                raise PatchError(f"{each} was replaced by somebody else after wsfast: undo that first")
        for each in reversed(replacements):
            setattr(each.owner, each.name, each.old)
        del _patches[host.name]


def _apply(name: str, force: bool, find_sites: Callable[[], Sites]) -> None:
    with _lock:
        if name in _patches:
            return
    host = next(host for host in HOSTS if host.name == name)
    version = installed_version(host.distribution)
    if version is None:
        raise PatchError(f"{host.distribution} is not installed")
    if not force and not host.was_tested(version):
        raise PatchError(
            f"{host.distribution} {version} was not tested with this version of wsfast, {host.tested} was; "
            "force=True patches it all the same"
        )
    try:
        sites = find_sites()
    except (AttributeError, ImportError) as error:
        raise PatchError(f"{host.distribution} {version} is not as wsfast knows it: {error}") from error
    from .. import codec  # Here: ``status`` and ``wsfast doctor`` work with a codec that does not load.

    with _lock:
        if name in _patches:
            return  # Another thread has patched it. The sites that we found may be ours already.
        if sites.has_c_of_its_own and codec.IMPLEMENTATION != "native" and not force:
            raise PatchError(
                f"{host.distribution} {version} has C of its own, which is faster than the fallback codec that is in "
                "use here ('wsfast info' tells why); force=True patches it all the same"
            )
        replacements = []
        for owner, attribute, new in sites.sites:
            old = vars(owner).get(attribute, _MISSING)
            replacements.append(_Replacement(owner, attribute, new, old))
            if old is _MISSING:
                raise PatchError(
                    f"{host.distribution} {version} is not as wsfast knows it: there is no {replacements[-1]}"
                )
        for each in replacements:
            setattr(each.owner, each.name, each.new)
        _patches[name] = version, replacements
