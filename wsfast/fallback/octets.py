"""Bytes in plain Python: masking (RFC 6455 5.3) and UTF-8 (8.1)."""

from __future__ import annotations

import io
import operator
import sys
from codecs import utf_8_decode
from typing import TYPE_CHECKING, Final

from .. import mistakes

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Utf8Validator", "apply_mask", "mask_inplace", "utf8_valid"]

_XOR_BLOCK_SIZE: Final = 4096

# When a payload of zeros is unmasked, the integer becomes 0. CPython 3.14 gives all of its memory to the next small
# integer, whoever keeps that: 4 KiB instead of 32 bytes. An octet before the payload prevents it.
_ZEROS_STAY: Final = sys.version_info >= (3, 14)
_ONE: Final = b"\x01"


def to_bytes(data: Buffer) -> bytes:
    """Return the raw bytes of any C-contiguous bytes-like object, whatever the type of its items."""
    if type(data) is bytes:
        return data
    with view_of(data) as view:
        if not view.c_contiguous:
            raise BufferError(mistakes.NOT_CONTIGUOUS)
        return view.tobytes()


def view_of(data: Buffer) -> memoryview:
    try:
        return memoryview(data)
    except TypeError as error:
        # The text is then the one that CPython has where no memoryview is involved.
        raise TypeError(str(error).removeprefix("memoryview: ")) from None


# Masking (5.3)

# The most significant byte comes first, as in lengths (5.2). The lookup is done once: XOR of 32 bytes is 1.5 times as
# fast then.
from_bytes: Final = int.from_bytes


def xor_by_integers(data: bytes, masking_key: bytes) -> bytes:
    """XOR with the repeated key, as one long integer; above 4 KiB, as one integer for each block of 4 KiB.

    Blocks are 1.9 times as fast as one integer at 64 KiB and 2.4 times at 1 MiB. Four ``bytes.translate``,
    one for each byte of the key, take the same time at 16 KiB and 4 times as long at 32 bytes (bench_mask, 3.11).
    """
    size = len(data)
    if size <= _XOR_BLOCK_SIZE:
        return (from_bytes(data) ^ from_bytes((masking_key * (size // 4 + 1))[:size])).to_bytes(size)
    # If zeros stay, no integer is 0, as the key stream has an octet more. On 3.11 that would take 1.08 of the time.
    n_more = 1 if _ZEROS_STAY else 0
    key_stream = from_bytes(_ONE[:n_more] + masking_key * (_XOR_BLOCK_SIZE // 4))
    whole = size - size % _XOR_BLOCK_SIZE
    blocks = [
        (from_bytes(data[pos : pos + _XOR_BLOCK_SIZE]) ^ key_stream).to_bytes(_XOR_BLOCK_SIZE + n_more)[
            n_more:
        ]
        for pos in range(0, whole, _XOR_BLOCK_SIZE)
    ]
    blocks.append(xor(data[whole:], masking_key))
    return b"".join(blocks)


def xor_where_zeros_stay(data: bytes, masking_key: bytes) -> bytes:
    """As ``xor_by_integers``. A function of its own: a test in that one would take 1 % of 32 bytes elsewhere."""
    if len(data) <= _XOR_BLOCK_SIZE and data.startswith(masking_key):
        return xor_by_integers(_ONE + data, masking_key[3:] + masking_key[:3])[1:]
    return xor_by_integers(data, masking_key)


def xor_by_octets(data: bytes, masking_key: bytes) -> bytes:
    """XOR with the repeated key, octet by octet, as section 5.3 has it.

    PyPy 7.3.19 compiles the loop: 1.2 us for 1 KiB where integers take 12, and 19 for 16 KiB where they take 157.
    """
    masked = bytearray(data)
    for pos in range(len(masked)):
        masked[pos] ^= masking_key[pos % 4]
    return bytes(masked)


xor: Final = (
    xor_by_octets
    if sys.implementation.name == "pypy"
    else xor_where_zeros_stay
    if _ZEROS_STAY
    else xor_by_integers
)


def checked_key(masking_key: Buffer) -> bytes:
    key = to_bytes(masking_key)
    if len(key) != 4:
        raise ValueError(mistakes.wrong_key_size(len(key)))
    return key


def apply_mask(data: Buffer, masking_key: Buffer) -> bytes:
    """Mask or unmask ``data``: XOR with the 4-byte ``masking_key``, repeated (RFC 6455 5.3)."""
    return xor(to_bytes(data), checked_key(masking_key))


def mask_inplace(buffer: Buffer, masking_key: Buffer, phase: int = 0) -> int:
    """Mask or unmask a writable ``buffer`` in place, from ``phase`` in the key on (RFC 6455 5.3)."""
    with memoryview(buffer) if type(buffer) is bytearray else view_of(buffer) as view:
        if view.readonly or not view.c_contiguous:
            raise BufferError(mistakes.NOT_WRITABLE)
        key = checked_key(masking_key)
        phase = operator.index(phase)
        if not 0 <= phase <= 3:
            raise ValueError(mistakes.phase_out_of_range(phase))
        masked = xor(view.tobytes(), key[phase:] + key[:phase] if phase else key)
        # readinto() writes raw bytes; a memoryview refuses to, for items of some formats.
        io.BytesIO(masked).readinto(view)
    return (phase + len(masked)) % 4


# UTF-8 (8.1)


def utf8_rest(data: bytes) -> bytes | None:
    """Return the unfinished character at the end of ``data`` (0 to 3 bytes), or None if it is not UTF-8."""
    if data.isascii():
        return b""  # 1.6 times as fast for 16 KiB of ASCII, 2.2 times for 1 KiB (bench_utf8, 3.11)
    try:
        _, valid_size = utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return None
    rest = data[valid_size:]
    # After ED A0 to ED BF, the start of a surrogate, CPython waits for a third byte that cannot mend it.
    # This is the only such prefix. All prefixes of up to 3 bytes, and the edges of 4, were compared with table 3-7 of
    # the Unicode standard.
    if rest[:1] == b"\xed" and rest[1:] >= b"\xa0":
        return None
    return rest


def utf8_valid(data: Buffer) -> bool:
    """Tell whether ``data`` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)."""
    return utf8_rest(to_bytes(data)) == b""


class Utf8Validator:
    """Check UTF-8 as it arrives, in pieces cut anywhere (RFC 6455 8.1)."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest: bytes | None = b""  # None: it was not UTF-8

    def feed(self, data: Buffer) -> bool:
        """Check the next piece. False from the first byte that no continuation could mend, and ever after."""
        piece = to_bytes(data)
        if self._rest is not None:
            self._rest = utf8_rest(self._rest + piece)
        return self._rest is not None

    @property
    def complete(self) -> bool:
        """True when all that was fed is valid and does not end inside a character."""
        return self._rest == b""

    def reset(self) -> None:
        """Start anew, as after construction."""
        self._rest = b""
