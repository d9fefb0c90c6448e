"""Put wsfast's codec into packages that have no place for it: ``wsfast.patch.tornado()`` and so on.

    import wsfast
    wsfast.patch.tornado()      # from here on; before or after tornado is imported
    wsfast.unpatch("tornado")   # as it was

Nothing happens before one of these functions is called, and nothing is imported but that package. Each replaces a
few names of the package, by others with the same arguments, results and exceptions. A second call does nothing.
``status()`` tells what is patched. ``PatchError`` says why something is not done: the package is not installed, its
version is none of those that were tested (``force=True`` patches all the same), it would become slower, or, when
undoing, somebody else has replaced the same name after us.

Objects that exist keep what they have been made with; a patch is for those that are made afterwards.
"""

from __future__ import annotations

import functools
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from . import codec
from .codec import Utf8Validator, apply_mask, mask_inplace, utf8_valid
from .hosts import HOSTS, installed_version

__all__ = [
    "PatchError",
    "Patched",
    "autobahn",
    "gevent_websocket",
    "status",
    "tornado",
    "unpatch",
    "websocket_client",
    "websockets",
    "ws4py",
    "wsproto",
]


class PatchError(RuntimeError):
    """A patch was refused, or cannot be undone. Nothing was changed."""


@dataclass(frozen=True)
class Patched:
    """What ``status()`` tells of a package: its version when it was patched, and the names that were replaced."""

    version: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class _Replacement:
    """``owner.name`` becomes ``new``. ``owner`` is a module or a class; ``old`` is what it had, by itself."""

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


_Site = tuple[Any, str, object]  # owner, name, new

_MISSING: Final = object()
_HOSTS: Final = {host.name: host for host in HOSTS if host.patch}
_lock: Final = threading.RLock()
_patches: Final[
    dict[str, tuple[str, list[_Replacement]]]
] = {}  # By name of the host: its version, what we did.


def status() -> dict[str, Patched]:
    """Return what is patched at the moment, by the names of the functions here."""
    with _lock:
        return {
            name: Patched(version, tuple(str(each) for each in replacements))
            for name, (version, replacements) in _patches.items()
        }


def unpatch(name: str) -> None:
    """Undo the patch of this name. Does nothing when there is none.

    Raises ``PatchError``, and undoes nothing, when somebody else has replaced one of its names since: what they
    put there may rest on ours, and has to go first. ``ValueError`` for a name that no function here has.
    """
    if name not in _HOSTS:
        raise ValueError(f"no patch has the name {name!r}; there are {', '.join(sorted(_HOSTS))}")
    with _lock:
        if name not in _patches:
            return
        _, replacements = _patches[name]
        for each in replacements:
            if not each.is_in_place:
                raise PatchError(f"{each} was replaced by somebody else after wsfast: undo that first")
        for each in reversed(replacements):
            setattr(each.owner, each.name, each.old)
        del _patches[name]


def _apply(name: str, force: bool, find_sites: Callable[[], _Sites]) -> None:
    """Patch a host at the sites that ``find_sites()`` returns, which imports it."""
    with _lock:
        if name in _patches:
            return
    host = _HOSTS[name]
    version = installed_version(host.distribution)
    if version is None:
        raise PatchError(f"{host.distribution} is not installed")
    if not force and not host.was_tested(version):
        raise PatchError(
            f"{host.distribution} {version} was not tested with this version of wsfast, {host.tested} was; "
            "force=True patches it all the same"
        )
    try:
        sites = find_sites()  # Not under the lock: an import may wait for another thread's.
    except (AttributeError, ImportError) as error:
        raise PatchError(f"{host.distribution} {version} is not as wsfast knows it: {error}") from error
    with _lock:
        if name in _patches:
            return  # by another thread; what we found may be ours already
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


@dataclass(frozen=True)
class _Sites:
    """Where to patch. ``has_c_of_its_own``: what is there now is faster than our fallback codec."""

    sites: list[_Site]
    has_c_of_its_own: bool = False


# The hosts


def tornado(*, force: bool = False) -> None:
    """tornado: masking, of both roles."""

    def find_sites() -> _Sites:
        util = import_module("tornado.util")
        sites: list[_Site] = [
            (module, "_websocket_mask", _tornado_mask)
            for module in (util, import_module("tornado.websocket"))
        ]
        return _Sites(sites, util._websocket_mask is not util._websocket_mask_python)

    _apply("tornado", force, find_sites)


def _tornado_mask(mask: bytes, data: bytes) -> bytes:
    if len(mask) != 4:
        raise ValueError("mask must be 4 bytes")
    return apply_mask(data, mask)


def autobahn(*, force: bool = False) -> None:
    """autobahn: masking, of both roles, and the validation of text."""

    def find_sites() -> _Sites:
        from .wsaccel.utf8validator import Utf8Validator

        protocol = import_module("autobahn.websocket.protocol")
        native = getattr(import_module("autobahn.websocket"), "USES_NVX", False)
        return _Sites(
            [
                (protocol, "create_xor_masker", _create_xor_masker),
                (protocol, "Utf8Validator", Utf8Validator),
            ],
            native,
        )

    _apply("autobahn", force, find_sites)


def _create_xor_masker(mask: bytes, length: int | None = None) -> object:
    from .wsaccel.xormask import XorMaskerSimple

    if len(mask) != 4:
        raise AssertionError("Mask must be exactly 4 bytes")
    return XorMaskerSimple(mask)


def ws4py(*, force: bool = False) -> None:
    """ws4py: masking, of both roles, and the validation of text."""

    def find_sites() -> _Sites:
        from .wsaccel.utf8validator import Utf8Validator

        frame = import_module("ws4py.framing").Frame
        return _Sites(
            [
                (frame, "mask", _ws4py_mask),
                (frame, "unmask", _ws4py_mask),
                (import_module("ws4py.streaming"), "Utf8Validator", Utf8Validator),
            ]
        )

    _apply("ws4py", force, find_sites)


def _ws4py_mask(self: Any, data: bytes) -> bytearray:
    """``ws4py.framing.Frame.mask``, and ``unmask``, which is the same."""
    masked = bytearray(data)
    if masked:
        mask_inplace(masked, self.masking_key[:4])
    return masked


def gevent_websocket(*, force: bool = False) -> None:
    """gevent-websocket: unmasking, and the validation of text."""

    def find_sites() -> _Sites:
        from .wsaccel.utf8validator import Utf8Validator

        websocket = import_module("geventwebsocket.websocket")
        return _Sites(
            [
                (websocket, "Utf8Validator", Utf8Validator),
                (import_module("geventwebsocket.utf8validator"), "Utf8Validator", Utf8Validator),
                (websocket.Header, "mask_payload", _gevent_mask),
                (websocket.Header, "unmask_payload", _gevent_mask),
            ]
        )

    _apply("gevent_websocket", force, find_sites)


def _gevent_mask(self: Any, payload: bytes) -> bytearray:
    """``geventwebsocket.websocket.Header.mask_payload``, and ``unmask_payload``, which is the same."""
    masked = bytearray(payload)
    if len(masked) < self.length:
        raise IndexError("bytearray index out of range")
    if self.length:
        mask_inplace(memoryview(masked)[: self.length], bytearray(self.mask))
    return masked


def websocket_client(*, force: bool = False) -> None:
    """websocket-client: masking, and the validation of text. With wsaccel or without, before or after its import."""

    def find_sites() -> _Sites:
        return _Sites(
            [
                (import_module("websocket._abnf"), "_mask", _websocket_client_mask),
                (import_module("websocket._utils"), "_validate_utf8", _websocket_client_validate_utf8),
            ]
        )

    _apply("websocket_client", force, find_sites)


def _websocket_client_mask(mask_value: array[int], data_value: array[int]) -> bytes:
    return apply_mask(data_value, mask_value)


def _websocket_client_validate_utf8(utfbytes: bytes) -> bool:
    # As theirs: text that ends inside a character passes here, and fails when it is decoded.
    return utf8_valid(utfbytes) or Utf8Validator().feed(utfbytes)


def wsproto(*, force: bool = False) -> None:
    """wsproto, and what stands on it (hypercorn, httpx-ws, trio-websocket, simple-websocket): all of the framing."""

    def find_sites() -> _Sites:
        connection = import_module("wsproto.connection")
        ours = import_module(".wsproto", __package__)
        # The methods too: of 125 bytes, wsproto's own take nearly as long as all the rest (hosts_wsproto).
        methods = ("events", "receive_data", "send")
        sites: list[_Site] = [(connection, "FrameProtocol", ours.FrameProtocol)]
        sites += [(connection.Connection, name, vars(ours.Connection)[name]) for name in methods]
        return _Sites(sites)

    _apply("wsproto", force, find_sites)


def websockets(*, force: bool = False) -> None:
    """websockets, and what stands on it (sanic, uvicorn's default): all of the framing, of all its APIs but legacy.

    Where a program calls ``connect`` or ``serve`` itself, ``create_connection=`` with the classes of
    ``wsfast.websockets`` does the same without a patch.
    """

    def find_sites() -> _Sites:
        accelerate = import_module(".websockets.protocol", __package__).accelerate
        roles = (
            import_module("websockets.client").ClientProtocol,
            import_module("websockets.server").ServerProtocol,
        )
        return _Sites([(role, "__init__", _then(vars(role)["__init__"], accelerate)) for role in roles], True)

    _apply("websockets", force, find_sites)


def _then(init: Callable[..., None], do: Callable[[Any], None]) -> Callable[..., None]:
    """Return an ``__init__`` that calls another, and then ``do(self)``."""

    @functools.wraps(init)
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        do(self)

    return __init__
