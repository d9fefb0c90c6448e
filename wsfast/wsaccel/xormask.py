"""wsaccel.xormask over our codec: masking (RFC 6455 5.3) by objects that remember their position in the key."""

from __future__ import annotations

from array import array
from collections.abc import Sized
from typing import TYPE_CHECKING, TypeVar

from ..codec import apply_mask
from .buffers import unsigned_bytes

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["XorMaskerNull", "XorMaskerSimple", "createXorMasker"]

_Data = TypeVar("_Data", bound=Sized)


class XorMaskerNull:
    """No masking: ``process`` returns its argument, and counts the bytes."""

    __slots__ = ("_n_masked",)

    def __init__(self, mask: object = None) -> None:
        self._n_masked = 0

    def pointer(self) -> int:
        """Return the number of bytes that were processed since the start, or since ``reset()``."""
        return self._n_masked

    def reset(self) -> None:
        """Start anew, at the beginning of the key."""
        self._n_masked = 0

    def process(self, data: _Data) -> _Data:
        self._n_masked += len(data)
        return data


class XorMaskerSimple:
    """Mask or unmask a payload in pieces. ``mask`` is the masking key.

    Raises ``ValueError`` unless the key has 4 bytes.
    """

    # On the class, as websocket-client makes an object for each frame, of two arrays.
    _n_masked = 0

    def __init__(self, mask: Buffer) -> None:
        if type(mask) is array and mask.typecode == "B":
            key = mask.tobytes()
        else:
            # wsaccel takes None as an empty buffer, here and in process().
            key = b"" if mask is None else bytes(unsigned_bytes(mask))
        if len(key) != 4:
            raise ValueError("mask should be 4byte.")
        self._key = key

    def pointer(self) -> int:
        """Return the number of bytes that were processed since the start, or since ``reset()``."""
        return self._n_masked

    def reset(self) -> None:
        """Start anew, at the beginning of the key."""
        self._n_masked = 0

    def process(self, data: Buffer) -> bytes:
        """Return the next piece of the payload, masked or unmasked, as a new object."""
        n_masked = self._n_masked
        key = self._key
        phase = n_masked & 3
        if phase:
            key = key[phase:] + key[:phase]
        if type(data) is array and data.typecode == "B":
            masked = apply_mask(data, key)
        else:
            masked = b"" if data is None else apply_mask(unsigned_bytes(data), key)
        self._n_masked = n_masked + len(masked)
        return masked


def createXorMasker(mask: Buffer, len: int | None = None) -> XorMaskerSimple:
    """Return a masker for the masking key ``mask``; ``len``, the size of the payload, makes no difference."""
    return XorMaskerSimple(mask)
