"""Checks of the messages and codes that a caller sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..codec import CloseCode, FrameEncoder
from ..exceptions import ProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["check_close", "check_fragments", "is_buffer", "ping_payload"]


def is_buffer(message: object) -> bool:
    """Tell whether a message is bytes-like."""
    if isinstance(message, bytearray | memoryview):
        return True
    try:
        memoryview(cast("bytes", message))
    except TypeError:
        return False
    return True


def check_fragments(fragments: object, kinds: Any) -> None:
    """Check that a message that is not whole is one of fragments: an iterable of one of the ``kinds``.

    Raises:
        TypeError: it is none, or a dict, which is a mistake.
    """
    if isinstance(fragments, Mapping):
        raise TypeError(
            "a message cannot be a dict; json.dumps(...) makes text of it; send its keys() if you mean them"
        )
    if not isinstance(fragments, kinds):
        raise TypeError(
            f"a message must be str, bytes-like, or an iterable of those, not {type(fragments).__name__}"
        )


def ping_payload(data: str | Buffer | None) -> bytes | None:
    """Return the payload of a Ping; None lets the session choose one (RFC 6455 5.5).

    Raises:
        ValueError: more than 125 bytes.
    """
    payload = data.encode() if isinstance(data, str) else None if data is None else bytes(memoryview(data))
    if payload is not None and len(payload) > 125:
        raise ValueError(f"ping payload of {len(payload)} bytes is longer than 125")
    return payload


def check_close(encoder: FrameEncoder, code: int, reason: str) -> None:
    """Check the arguments of ``close``.

    Raises:
        ProtocolError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
    """
    if code == CloseCode.NO_STATUS_RECEIVED:
        raise ProtocolError("close code 1005 means that there was none, and must not be sent")  # 7.4.1
    try:
        encoder.close(code, reason)
    except ValueError as mistake:
        raise ProtocolError(str(mistake)) from None
