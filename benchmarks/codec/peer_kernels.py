"""Masking and UTF-8 validation, as functions that packages offer to Python: for ``peers.py``.

``prepare`` checks the result of a function and returns the function with its arguments.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..common.cases import KEY, binary_of, check, masked, text_of

Call = tuple[Any, ...]  # a function and its arguments


@dataclass(frozen=True)
class Kernel:
    """``call(module, data)``: a function and its arguments; it returns its result, or masks ``data`` in place."""

    module: str
    call: Callable[[Any, Any], Call]
    in_place: bool = False

    def available(self) -> bool:
        try:
            importlib.import_module(self.module)
        except ImportError:
            return False
        return True


class Masker(Kernel):
    def prepare(self, size: int) -> Call:
        data = binary_of(size)
        buffer = bytearray(data)
        function, *arguments = self.call(
            importlib.import_module(self.module), buffer if self.in_place else data
        )
        result = function(*arguments)
        check((buffer if self.in_place else result) == masked(data, KEY))
        return function, *arguments


class Validator(Kernel):
    def prepare(self, kind: str, size: int) -> Call:
        data = text_of(kind, size).encode()
        module = importlib.import_module(self.module)
        for wrong in (data[:-1] + b"\xff", b"\xff" + data[1:]):
            function, *arguments = self.call(module, wrong)
            check(not is_valid(function, arguments))
        function, *arguments = self.call(module, data)
        check(is_valid(function, arguments))
        return function, *arguments


def is_valid(function: Callable[..., Any], arguments: list[Any]) -> bool:
    """A decoder raises; a validator returns False, or (False, ...) with the position."""
    try:
        result = function(*arguments)
    except UnicodeDecodeError:
        return False
    return bool(result[0] if isinstance(result, tuple) else result)


MASKERS = {
    "wsfast": Masker("wsfast.native", lambda module, data: (module.apply_mask, data, KEY)),
    "wsfast, in place": Masker(
        "wsfast.native", lambda module, data: (module.mask_inplace, data, KEY), in_place=True
    ),
    "wsfast fallback": Masker("wsfast.fallback", lambda module, data: (module.apply_mask, data, KEY)),
    "websockets": Masker("websockets.speedups", lambda module, data: (module.apply_mask, data, KEY)),
    "aiohttp, in place": Masker(
        "aiohttp._websocket.mask",
        lambda module, data: (module._websocket_mask_cython, KEY, data),
        in_place=True,
    ),
    "wsaccel": Masker("wsaccel.xormask", lambda module, data: (module.XorMaskerSimple(KEY).process, data)),
    "autobahn NVX": Masker(
        "autobahn.nvx._xormasker", lambda module, data: (module.create_xor_masker(KEY).process, data)
    ),
}
VALIDATORS = {
    "CPython, decode": Validator("builtins", lambda module, data: (data.decode,)),
    "wsfast": Validator("wsfast.native", lambda module, data: (module.utf8_valid, data)),
    "wsfast fallback": Validator("wsfast.fallback", lambda module, data: (module.utf8_valid, data)),
    "wsaccel": Validator(
        "wsaccel.utf8validator", lambda module, data: (module.Utf8Validator().validate, data)
    ),
    "autobahn NVX": Validator("autobahn.nvx", lambda module, data: (module.Utf8Validator().validate, data)),
}
