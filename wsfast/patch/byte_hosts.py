"""The hosts with replaced functions for bytes: masking (RFC 6455 5.3), and the validation of text (8.1).

Each function returns the places in its host. The replacements keep the arguments, results and exceptions of the
originals.
"""

from __future__ import annotations

from array import array
from importlib import import_module
from typing import Any

from ..codec import Utf8Validator, apply_mask, mask_inplace, utf8_valid
from .machine import Sites, patches

__all__ = ["autobahn", "gevent_websocket", "tornado", "websocket_client", "ws4py"]


@patches
def tornado() -> Sites:
    """tornado: masking, of both roles."""
    util = import_module("tornado.util")
    modules = (util, import_module("tornado.websocket"))
    return Sites(
        [(module, "_websocket_mask", _tornado_mask) for module in modules],
        has_c_of_its_own=util._websocket_mask is not util._websocket_mask_python,
    )


def _tornado_mask(mask: bytes, data: bytes) -> bytes:
    if len(mask) != 4:
        raise ValueError("mask must be 4 bytes")
    return apply_mask(data, mask)


@patches
def autobahn() -> Sites:
    """autobahn: masking, of both roles, and the validation of text."""
    from ..wsaccel.utf8validator import Utf8Validator

    protocol = import_module("autobahn.websocket.protocol")
    return Sites(
        [
            (protocol, "create_xor_masker", _create_xor_masker),
            (protocol, "Utf8Validator", Utf8Validator),
        ],
        has_c_of_its_own=getattr(import_module("autobahn.websocket"), "USES_NVX", False),
    )


def _create_xor_masker(mask: bytes, length: int | None = None) -> object:
    from ..wsaccel.xormask import XorMaskerSimple

    if len(mask) != 4:
        raise AssertionError("Mask must be exactly 4 bytes")
    return XorMaskerSimple(mask)


@patches
def ws4py() -> Sites:
    """ws4py: masking, of both roles, and the validation of text."""
    from ..wsaccel.utf8validator import Utf8Validator

    frame = import_module("ws4py.framing").Frame
    return Sites(
        [
            (frame, "mask", _ws4py_mask),
            (frame, "unmask", _ws4py_mask),
            (import_module("ws4py.streaming"), "Utf8Validator", Utf8Validator),
        ]
    )


def _ws4py_mask(self: Any, data: bytes) -> bytearray:
    """``ws4py.framing.Frame.mask``, and ``unmask``, which does the same."""
    masked = bytearray(data)
    if masked:
        mask_inplace(masked, self.masking_key[:4])
    return masked


@patches
def gevent_websocket() -> Sites:
    """gevent-websocket: unmasking, and the validation of text."""
    from ..wsaccel.utf8validator import Utf8Validator

    websocket = import_module("geventwebsocket.websocket")
    return Sites(
        [
            (websocket, "Utf8Validator", Utf8Validator),
            (import_module("geventwebsocket.utf8validator"), "Utf8Validator", Utf8Validator),
            (websocket.Header, "mask_payload", _gevent_mask),
            (websocket.Header, "unmask_payload", _gevent_mask),
        ]
    )


def _gevent_mask(self: Any, payload: bytes) -> bytearray:
    """``geventwebsocket.websocket.Header.mask_payload``, and ``unmask_payload``, which does the same."""
    masked = bytearray(payload)
    if len(masked) < self.length:
        raise IndexError("bytearray index out of range")
    if self.length:
        mask_inplace(memoryview(masked)[: self.length], bytearray(self.mask))
    return masked


@patches
def websocket_client() -> Sites:
    """websocket-client: masking, and the validation of text; with or without wsaccel, before or after its import."""
    return Sites(
        [
            (import_module("websocket._abnf"), "_mask", _websocket_client_mask),
            (import_module("websocket._utils"), "_validate_utf8", _websocket_client_validate_utf8),
        ]
    )


def _websocket_client_mask(mask_value: array[int], data_value: array[int]) -> bytes:
    return apply_mask(data_value, mask_value)


def _websocket_client_validate_utf8(utfbytes: bytes) -> bool:
    # Like the original: text that ends inside a character passes here, and fails when it is decoded.
    return utf8_valid(utfbytes) or Utf8Validator().feed(utfbytes)
