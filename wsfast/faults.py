"""Every way in which a peer can break the framing rules: its close code, its text, its section.

One table for both codecs, so that a failure reads the same whichever of them found it. *When* a fault is
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

from .events import CloseCode, Failure

_PROTOCOL_ERROR: Final = int(CloseCode.PROTOCOL_ERROR)
_INVALID_PAYLOAD: Final = int(CloseCode.INVALID_PAYLOAD_DATA)
_TOO_BIG: Final = int(CloseCode.MESSAGE_TOO_BIG)

# Faults without numbers in their text.
NOT_MASKED: Final = Failure(_PROTOCOL_ERROR, "frame from a client is not masked", "5.1")
MASKED: Final = Failure(_PROTOCOL_ERROR, "frame from a server is masked", "5.1")
LENGTH_TOP_BIT: Final = Failure(_PROTOCOL_ERROR, "64-bit payload length has its top bit set", "5.2")
CONTROL_FRAGMENTED: Final = Failure(_PROTOCOL_ERROR, "control frame is fragmented", "5.5")
CONTROL_TOO_LONG: Final = Failure(_PROTOCOL_ERROR, "control frame payload is longer than 125 bytes", "5.5")
NOTHING_TO_CONTINUE: Final = Failure(_PROTOCOL_ERROR, "continuation frame with no message to continue", "5.4")
MESSAGE_UNFINISHED: Final = Failure(
    _PROTOCOL_ERROR, "new data message before the fragmented one was finished", "5.4"
)
CLOSE_PAYLOAD_OF_ONE_BYTE: Final = Failure(_PROTOCOL_ERROR, "close frame payload of 1 byte", "5.5.1")
CLOSE_REASON_NOT_UTF8: Final = Failure(_INVALID_PAYLOAD, "close reason is not valid UTF-8", "5.5.1")
TEXT_NOT_UTF8: Final = Failure(_INVALID_PAYLOAD, "text message is not valid UTF-8", "8.1")
COMPRESSED_CONTINUATION: Final = Failure(_PROTOCOL_ERROR, "RSV1 set on a continuation frame", "RFC 7692 6.1")
INFLATE_FAILED: Final = Failure(_INVALID_PAYLOAD, "compressed message cannot be inflated", "RFC 7692 7.2.2")


class PeerFault(Exception):
    """The peer broke a rule; ``failure`` says which. It never comes out of ``feed``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def reserved_bits(bits: int) -> Failure:
    """``bits``: the offending bits of the RSV field, RSV1 as 4, RSV2 as 2, RSV3 as 1."""
    names = " and ".join(name for bit, name in ((4, "RSV1"), (2, "RSV2"), (1, "RSV3")) if bits & bit)
    return Failure(_PROTOCOL_ERROR, f"{names} set without an extension that defines it", "5.2")


def reserved_opcode(opcode: int) -> Failure:
    return Failure(_PROTOCOL_ERROR, f"reserved opcode 0x{opcode:X}", "5.2")


def length_not_minimal(length: int) -> Failure:
    return Failure(_PROTOCOL_ERROR, f"payload length {length} is not in its shortest form", "5.2")


def frame_too_big(size: int, limit: int) -> Failure:
    """``size``: the payload length that the header declares, in bytes."""
    return Failure(_TOO_BIG, f"frame payload of {size} bytes exceeds max_frame_size {limit}", "10.4")


def message_too_big(size: int, limit: int) -> Failure:
    """``size``: bytes received of the message before this frame plus the length this frame declares."""
    return Failure(_TOO_BIG, f"message of {size} bytes exceeds max_message_size {limit}", "10.4")


def compressed_message_too_big(size: int, limit: int) -> Failure:
    """``size`` as in ``message_too_big``. What deflates grows by an eighth at most, so ``limit`` is out of reach."""
    return Failure(
        _TOO_BIG, f"compressed message of {size} bytes cannot fit into max_message_size {limit}", "10.4"
    )


def inflated_too_big(limit: int) -> Failure:
    return Failure(_TOO_BIG, f"inflated message exceeds max_message_size {limit}", "10.4")


def ratio_too_high(limit: int) -> Failure:
    return Failure(_TOO_BIG, f"inflated message exceeds max_ratio {limit}", "10.4")


def too_many_fragments(limit: int) -> Failure:
    return Failure(_TOO_BIG, f"message of more than max_fragments {limit} frames", "10.4")


def invalid_close_code(code: int) -> Failure:
    return Failure(_PROTOCOL_ERROR, f"close code {code} must not be sent", "7.4")
