"""What our own caller can do wrong: the texts of the exceptions, one table for both codecs and for deflate.

A mistake is raised by the call that made it, and changes nothing. Its type says the kind: ``TypeError`` for an object
of another type, ``ValueError`` for a value out of range, ``RuntimeError`` for a call out of order. Faults of the peer
are in ``faults.py``.
"""

from __future__ import annotations

from typing import Final

# RuntimeError
DECODER_BUSY: Final = (
    "this decoder is busy: another call of it runs, or was ended by an exception inside a chunk"
)
BUFFER_USED: Final = "this buffer was used: get_buffer() gives the next one"
ENCODER_BUSY: Final = "this encoder is busy: another call of it has not returned"
NO_BUFFER: Final = "buffer_updated() without get_buffer() before it"

# OverflowError
FRAME_TOO_LONG: Final = "byte string is too large"


# ValueError
def no_bound(name: str) -> str:
    return f"{name} must be at least 1, and is 0"


def more_than_the_buffer(size: int, buffer_size: int) -> str:
    return f"{size} bytes cannot have come into a buffer of {buffer_size}"


# TypeError
def not_bytes_inflated(piece: object) -> str:
    return f"inflate has to yield bytes, not {type(piece).__name__}"
