"""The codec in plain Python: the same names and the same behaviour as ``native``, and the reference for both.

Written to be read beside RFC 6455, sections 5 and 8.1: ``parsing`` begins with the table that ``feed``
follows; ``decoding`` has the two decoders; ``encoding`` writes frames, whose ``layout`` all share;
``octets`` is masking and UTF-8. The rooms of ``native`` in src/ have the same names.
"""

from typing import Final

from .decoding import FrameDecoder, MessageDecoder
from .encoding import FrameEncoder
from .octets import Utf8Validator, apply_mask, mask_inplace, utf8_valid

__all__ = [
    "IMPLEMENTATION",
    "KERNEL",
    "FrameDecoder",
    "FrameEncoder",
    "MessageDecoder",
    "Utf8Validator",
    "apply_mask",
    "mask_inplace",
    "utf8_valid",
]

IMPLEMENTATION: Final = "fallback"
KERNEL: Final = "python"
