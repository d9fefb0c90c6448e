"""The buffers that wsaccel takes: of unsigned bytes, in one dimension, contiguous or not."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["unsigned_bytes"]

# The formats of an unsigned byte, of the struct module, with and without the byte order that ctypes puts first.
_UNSIGNED = frozenset(order + kind for order in ("", "@", "=", "<", ">", "!") for kind in ("B", "c", "?"))


def unsigned_bytes(data: Buffer) -> bytes | memoryview | array[int]:
    """Return ``data``, a view or a copy of it: an object that the codec takes.

    Raises ``ValueError`` for items other than unsigned bytes or more than one dimension, ``TypeError`` for an
    object that is no buffer.
    """
    if type(data) is bytes or (type(data) is array and data.typecode == "B"):
        return data
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None
    if view.format not in _UNSIGNED:
        raise ValueError(
            f"Buffer dtype mismatch, expected 'const unsigned char' but got format '{view.format}'"
        )
    if view.ndim != 1:
        raise ValueError(f"Buffer has wrong number of dimensions (expected 1, got {view.ndim})")
    return view if view.c_contiguous else view.tobytes()
