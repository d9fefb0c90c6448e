"""Limits, and the body of a Close frame: the small steps that the decoders share.

A limit is checked here once, when a decoder is made.
"""

from __future__ import annotations

from .. import faults, mistakes
from ..events import (
    Close,
    is_sendable_close_code,
)
from ..faults import PeerFault
from .octets import from_bytes


def checked_rsv(allowed_rsv: int) -> int:
    if not isinstance(allowed_rsv, int) or isinstance(allowed_rsv, bool):
        raise TypeError(mistakes.not_an_int("allowed_rsv", allowed_rsv))
    if not 0 <= allowed_rsv <= 7:
        raise ValueError(mistakes.rsv_out_of_range(allowed_rsv))
    return allowed_rsv


def checked_limit(name: str, limit: int | None) -> int | None:
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(mistakes.not_a_limit(name, limit))
    if limit < 0:
        raise ValueError(mistakes.negative_limit(name, limit))
    return limit


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
