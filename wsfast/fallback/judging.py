"""Limits, and the body of a Close frame: the small steps that the decoders share.

A limit is judged here once, when a decoder is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import faults, mistakes
from ..events import (
    Close,
    is_sendable_close_code,
)
from ..faults import PeerFault
from .octets import from_bytes

if TYPE_CHECKING:
    pass


def checked_int(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, not an int")
    if value < 0:
        raise ValueError(f"{name} is {value}, below 0")
    return value


def checked_limit(name: str, limit: int | None) -> int | None:
    return None if limit is None else checked_int(name, limit)


def checked_bound(name: str, bound: int | None) -> int | None:
    if checked_limit(name, bound) == 0:
        raise ValueError(mistakes.no_bound(name))
    return bound


def parse_close(payload: bytes) -> Close:
    """Read the body of a Close frame (5.5.1): nothing, or a code (7.4) and a reason in UTF-8."""
    if not payload:
        return Close()  # 7.1.5: no code was sent, which is called 1005.
    if len(payload) == 1:
        raise PeerFault(faults.CLOSE_PAYLOAD_OF_ONE_BYTE)
    code = from_bytes(payload[:2])
    if not is_sendable_close_code(code):
        raise PeerFault(faults.invalid_close_code(code))
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise PeerFault(faults.CLOSE_REASON_NOT_UTF8) from None
