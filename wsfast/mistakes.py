"""The texts of our own caller's mistakes: one table for both codecs and for deflate.

The call that contains the mistake raises it, and changes nothing. The type tells the kind: ``TypeError`` for an object
of the wrong type, ``ValueError`` for a value out of range, ``RuntimeError`` for a call out of order, ``BufferError``
for memory that cannot be used. The interpreter words the rest itself: missing arguments, numbers, str that is not
UTF-8. The peer's faults are in ``faults.py``.
"""

from __future__ import annotations

import sys
from typing import Final

# RuntimeError
DECODER_BUSY: Final = (
    "this decoder is busy: another call of it runs, or was ended by an exception inside a chunk"
)
BUFFER_USED: Final = "this buffer was used: get_buffer() gives the next one"
ENCODER_BUSY: Final = "this encoder is busy: another call of it has not returned"
NO_BUFFER: Final = "buffer_updated() without get_buffer() before it"
MESSAGE_UNFINISHED: Final = "a fragmented message is not finished"  # RFC 6455 5.4

# OverflowError
FRAME_TOO_LONG: Final = "byte string is too large"

# BufferError. CPython has the first text for a memoryview.
NOT_CONTIGUOUS: Final = "memoryview: underlying buffer is not C-contiguous"
NOT_WRITABLE: Final = "buffer must be writable and C-contiguous"

# ValueError
TEXT_NOT_UTF8: Final = "text is not valid UTF-8"  # RFC 6455 8.1
CONTROL_FRAGMENTED: Final = "a control frame must not be fragmented"  # RFC 6455 5.5
REASON_WITHOUT_CODE: Final = "a close reason needs a close code"  # RFC 6455 5.5.1


def negative_limit(name: str, limit: int) -> str:
    return f"{name} must not be negative, and is {limit}"


def no_bound(name: str) -> str:
    return f"{name} must be at least 1, and is 0"


def not_a_text_option(text: object) -> str:
    return f"text must be 'str' or 'bytes', not {text!r}"


def rsv_out_of_range(allowed_rsv: int) -> str:
    return f"allowed_rsv must be 0 to 7, not {allowed_rsv}"


def more_than_the_buffer(size: int, buffer_size: int) -> str:
    return f"{size} bytes cannot have come into a buffer of {buffer_size}"


def wrong_key_size(size: int) -> str:
    return f"masking key must have 4 bytes, not {size}"


def phase_out_of_range(phase: int) -> str:
    return f"phase must be 0 to 3, not {phase}"


def reserved_opcode(opcode: int) -> str:
    return f"opcode {opcode} is reserved"


def control_too_long(size: int) -> str:
    return f"control frame payload of {size} bytes is longer than 125"


def unsendable_close_code(code: int) -> str:
    return f"close code {code} must not be sent"


def close_reason_too_long(size: int) -> str:
    return f"close reason of {size} bytes is longer than 123"


HEADER_OF_A_CLIENT: Final = "a client masks each payload, so its header cannot be made alone"  # RFC 6455 5.3


def size_out_of_range(size: int) -> str:
    return f"size must be 0 to {sys.maxsize}, not {size}"


# TypeError
FRAGMENT_OF_OTHER_TYPE: Final = "all fragments of a message must be text, or all binary"  # RFC 6455 5.4


def not_a_limit(name: str, limit: object) -> str:
    return f"{name} must be an int or None, not {type(limit).__name__}"


def not_an_int(name: str, value: object) -> str:
    return f"{name} must be an int, not {type(value).__name__}"


def not_a_function(name: str, value: object) -> str:
    return f"{name} must be a function, not {type(value).__name__}"


def not_a_deflater(value: object) -> str:
    return f"deflate must be a Deflater, not {type(value).__name__}"


def not_a_reason(reason: object) -> str:
    return f"close reason must be a str, not {type(reason).__name__}"


def not_bytes_inflated(piece: object) -> str:
    return f"inflate has to yield bytes, not {type(piece).__name__}"


def not_bytes_deflated(payload: object) -> str:
    return f"deflate has to return bytes, not {type(payload).__name__}"
