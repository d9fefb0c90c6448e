"""wsaccel.utf8validator over our codec: UTF-8 as it arrives, and the byte at which it is none (RFC 6455 8.1).

Valid text goes through the codec's kernel once, and a second time if it ends inside a character. Only if it is invalid
we look for the byte. The numbers of the states are wsaccel's:

    0  between characters          2, 3   1 or 2 continuation bytes are due         7  3 are due
    1  not UTF-8, until reset()    4, 5   2 are due, the first of them in a range that E0 or ED leaves
                                   6, 8   3 are due, the first of them in a range that F0 or F4 leaves
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from ..codec import utf8_valid
from .buffers import unsigned_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Utf8Validator"]

_ACCEPT = 0
_REJECT = 1

# Table 3-7 of the Unicode standard, as transitions. Each state has the ranges of bytes that it takes; each range has
# the state after it, and the bits that it gives to the code point.
_TRANSITIONS = {
    0: (
        (0x00, 0x7F, 0, 0x7F),
        (0xC2, 0xDF, 2, 0x1F),
        (0xE0, 0xE0, 4, 0x0F),
        (0xE1, 0xEC, 3, 0x0F),
        (0xED, 0xED, 5, 0x0F),  # its second byte stops at 9F: no surrogates
        (0xEE, 0xEF, 3, 0x0F),
        (0xF0, 0xF0, 6, 0x07),
        (0xF1, 0xF3, 7, 0x07),
        (0xF4, 0xF4, 8, 0x07),
    ),
    1: (),
    2: ((0x80, 0xBF, 0, 0x3F),),
    3: ((0x80, 0xBF, 2, 0x3F),),
    4: ((0xA0, 0xBF, 2, 0x3F),),
    5: ((0x80, 0x9F, 2, 0x3F),),
    6: ((0x90, 0xBF, 3, 0x3F),),
    7: ((0x80, 0xBF, 3, 0x3F),),
    8: ((0x80, 0x8F, 3, 0x3F),),
}


def _step(state: int, byte: int) -> tuple[int, int]:
    """Return the state after ``byte``, and the bits that it gives to the code point."""
    ranges = _TRANSITIONS.get(state)
    if ranges is None:
        raise ValueError(f"state is {state}, not 0 to 8")
    for first, last, following, bits in ranges:
        if first <= byte <= last:
            return following, byte & bits
    return _REJECT, 0


def _run(data: bytes, state: int) -> tuple[int, int]:
    """Return the state after ``data``, and the index of the byte that was rejected, or the size of ``data``."""
    for index, byte in enumerate(data):
        state, _ = _step(state, byte)
        if state == _REJECT:
            return state, index
    return state, len(data)


class Utf8Validator:
    """Check UTF-8 in pieces that are cut anywhere, and find the byte at which it is none.

    ``i`` is the number of bytes that were accepted, ``state`` one of the states above, ``codepoint`` the character
    that ``decode`` has decoded, or has begun to decode.
    """

    UTF8_ACCEPT = _ACCEPT
    UTF8_REJECT = _REJECT

    # On the class, as websocket-client makes an object for each message.
    i = 0
    state = _ACCEPT
    codepoint = 0

    def reset(self) -> None:
        """Start anew, as after construction."""
        self.i = 0
        self.state = _ACCEPT
        self.codepoint = 0

    def decode(self, b: int) -> int:
        """Take one byte. Return the state: ``UTF8_ACCEPT`` at the end of a character, which is in ``codepoint``."""
        byte = operator.index(b)
        if not 0 <= byte <= 255:
            raise ValueError(f"byte is {byte}, not 0 to 255")
        started = self.state != _ACCEPT
        self.state, bits = _step(self.state, byte)
        self.codepoint = bits if self.state == _REJECT or not started else self.codepoint << 6 | bits
        return self.state

    def validate(self, buf: Buffer) -> tuple[bool, bool, int, int]:
        """Check the next piece. Return whether it is valid so far, whether it ends between two characters, and
        how many bytes were accepted, of this piece and in all.

        If a piece is invalid, the third is the index of the first byte that no continuation could mend. After that
        every piece that is not empty is invalid, until ``reset()``.
        """
        data = buf if type(buf) is bytes else unsigned_bytes(buf)
        if self.state == _ACCEPT and utf8_valid(data):
            size = len(data)
            self.i = total = self.i + size
            return True, True, size, total
        return self._validate_bytes(bytes(data))

    def _validate_bytes(self, data: bytes) -> tuple[bool, bool, int, int]:
        """``validate`` for a piece that begins or ends inside a character, or is not UTF-8."""
        size = len(data)
        # To the end of the character that we are in.
        state = self.state
        pos = 0
        while pos < size and state > _REJECT:
            state, _ = _step(state, data[pos])
            pos += state != _REJECT
        if pos < size and state == _ACCEPT:
            pos, state = _validate_from(data, pos)
        elif pos < size:
            # The states 2 to 8 end above, so this is UTF8_REJECT, or no state at all.
            state, _ = _step(state, data[pos])
        self.state = state
        self.i = total = self.i + pos
        if state == _REJECT and pos < size:
            return False, False, pos, total
        return True, state == _ACCEPT, size, total


def _validate_from(data: bytes, pos: int) -> tuple[int, int]:
    """Return the end of the UTF-8 in ``data`` from ``pos``, a boundary of characters, and the state there."""
    size = len(data)
    # Where the last character starts: it has at most 4 bytes, of which the later ones are 10xxxxxx.
    last = max(size - 1, pos)
    while last > max(size - 4, pos) and data[last] & 0xC0 == 0x80:
        last -= 1
    if not utf8_valid(memoryview(data)[pos:last]):
        try:
            str(memoryview(data)[pos:], "utf-8")
        except UnicodeDecodeError as error:
            last = pos + error.start
    state, n_accepted = _run(data[last : last + 4], _ACCEPT)
    return last + n_accepted, state
