"""Every way in which a peer can break the framing rules: its close code, its text, its section.

One table for both codecs, so that a failure reads the same whichever of them found it. ``kind`` is the name here, or in
``wsfast_verdict`` (kernels/frame_header.h). *When* a fault is
found is each codec's own work. The checks of one frame come in this order, as soon as the bytes they need
are there, whatever the chunks:

    first two bytes     RSV bits, opcode, mask bit, control frame rules (FIN, then length),
                        fragmentation rules, number of fragments
    whole length        top bit, shortest form; of data frames max_frame_size, max_message_size
    payload, as it comes    of a compressed message inflating, its ratio, and max_message_size of each piece;
                        UTF-8 of a text message
    end of a control frame  Close: length 1, code, reason
"""

from __future__ import annotations

from typing import Final

from .events import CloseCode, Failure, FailureKind

_PROTOCOL_ERROR: Final = int(CloseCode.PROTOCOL_ERROR)
_INVALID_PAYLOAD: Final = int(CloseCode.INVALID_PAYLOAD_DATA)
_TOO_BIG: Final = int(CloseCode.MESSAGE_TOO_BIG)


def _fault(code: int, kind: FailureKind, section: str, reason: str, *numbers: int) -> Failure:
    return Failure(code, reason, section, kind, numbers)


# Faults without numbers in their text.
NOT_MASKED: Final = _fault(_PROTOCOL_ERROR, "NOT_MASKED", "5.1", "frame from a client is not masked")
MASKED: Final = _fault(_PROTOCOL_ERROR, "MASKED", "5.1", "frame from a server is masked")
LENGTH_TOP_BIT: Final = _fault(
    _PROTOCOL_ERROR, "LENGTH_TOP_BIT", "5.2", "64-bit payload length has its top bit set"
)
CONTROL_FRAGMENTED: Final = _fault(
    _PROTOCOL_ERROR, "CONTROL_FRAGMENTED", "5.5", "control frame is fragmented"
)
CONTROL_TOO_LONG: Final = _fault(
    _PROTOCOL_ERROR, "CONTROL_TOO_LONG", "5.5", "control frame payload is longer than 125 bytes"
)
NOTHING_TO_CONTINUE: Final = _fault(
    _PROTOCOL_ERROR, "NOTHING_TO_CONTINUE", "5.4", "continuation frame with no message to continue"
)
MESSAGE_UNFINISHED: Final = _fault(
    _PROTOCOL_ERROR, "MESSAGE_UNFINISHED", "5.4", "new data message before the fragmented one was finished"
)
CLOSE_PAYLOAD_OF_ONE_BYTE: Final = _fault(
    _PROTOCOL_ERROR, "CLOSE_PAYLOAD_OF_ONE_BYTE", "5.5.1", "close frame payload of 1 byte"
)
CLOSE_REASON_NOT_UTF8: Final = _fault(
    _INVALID_PAYLOAD, "CLOSE_REASON_NOT_UTF8", "5.5.1", "close reason is not valid UTF-8"
)
TEXT_NOT_UTF8: Final = _fault(_INVALID_PAYLOAD, "TEXT_NOT_UTF8", "8.1", "text message is not valid UTF-8")
COMPRESSED_CONTINUATION: Final = _fault(
    _PROTOCOL_ERROR, "COMPRESSED_CONTINUATION", "RFC 7692 6.1", "RSV1 set on a continuation frame"
)
INFLATE_FAILED: Final = _fault(
    _INVALID_PAYLOAD, "INFLATE_FAILED", "RFC 7692 7.2.2", "compressed message cannot be inflated"
)


class PeerFault(Exception):
    """The peer broke a rule; ``failure`` says which. It never comes out of ``feed``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def reserved_bits(bits: int) -> Failure:
    """``bits``: the offending bits of the RSV field, RSV1 as 4, RSV2 as 2, RSV3 as 1."""
    # A list: CPython 3.12.1 crashes when it has no memory for a function, and a generator expression is one.
    names = " and ".join([name for bit, name in ((4, "RSV1"), (2, "RSV2"), (1, "RSV3")) if bits & bit])
    return _fault(
        _PROTOCOL_ERROR, "RESERVED_BITS", "5.2", f"{names} set without an extension that defines it", bits
    )


def reserved_opcode(opcode: int) -> Failure:
    return _fault(_PROTOCOL_ERROR, "RESERVED_OPCODE", "5.2", f"reserved opcode 0x{opcode:X}", opcode)


def length_not_minimal(length: int) -> Failure:
    return _fault(
        _PROTOCOL_ERROR,
        "LENGTH_NOT_MINIMAL",
        "5.2",
        f"payload length {length} is not in its shortest form",
        length,
    )


def frame_too_big(size: int, limit: int) -> Failure:
    """``size``: the payload length that the header declares, in bytes."""
    return _fault(
        _TOO_BIG,
        "FRAME_TOO_BIG",
        "10.4",
        f"frame payload of {size} bytes exceeds max_frame_size {limit}",
        size,
        limit,
    )


def message_too_big(size: int, limit: int) -> Failure:
    """``size``: bytes received of the message before this frame plus the length this frame declares."""
    return _fault(
        _TOO_BIG,
        "MESSAGE_TOO_BIG",
        "10.4",
        f"message of {size} bytes exceeds max_message_size {limit}",
        size,
        limit,
    )


def compressed_message_too_big(size: int, limit: int) -> Failure:
    """``size`` as in ``message_too_big``. What deflates grows by an eighth at most, so ``limit`` is out of reach."""
    return _fault(
        _TOO_BIG,
        "DEFLATED_TOO_BIG",
        "10.4",
        f"compressed message of {size} bytes cannot fit into max_message_size {limit}",
        size,
        limit,
    )


def inflated_too_big(limit: int) -> Failure:
    return _fault(
        _TOO_BIG, "INFLATED_TOO_BIG", "10.4", f"inflated message exceeds max_message_size {limit}", limit
    )


def ratio_too_high(limit: int) -> Failure:
    return _fault(_TOO_BIG, "RATIO_TOO_HIGH", "10.4", f"inflated message exceeds max_ratio {limit}", limit)


def too_many_fragments(limit: int) -> Failure:
    return _fault(
        _TOO_BIG, "TOO_MANY_FRAGMENTS", "10.4", f"message of more than max_fragments {limit} frames", limit
    )


def invalid_close_code(code: int) -> Failure:
    return _fault(_PROTOCOL_ERROR, "INVALID_CLOSE_CODE", "7.4", f"close code {code} must not be sent", code)
