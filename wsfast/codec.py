"""The codec in use: the compiled one where it was built, else the pure-Python one.

``IMPLEMENTATION`` tells which (``"native"`` or ``"fallback"``), ``KERNEL`` which instruction set its
kernels use. ``WSFAST_PURE=1`` in the environment, read at import, forces the fallback. A fallback that nobody
asked for is logged once, whatever its reason. Both codecs stay importable next to each other, as ``wsfast.native`` and
``wsfast.fallback``.

This module must not import anything but the codec: it is what other servers embed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .events import Close, CloseCode, Event, Failure, Fragment, Frame, FrameHeader, Opcode, Ping, Pong, Role

__all__ = [
    "IMPLEMENTATION",
    "KERNEL",
    "Close",
    "CloseCode",
    "Event",
    "Failure",
    "Fragment",
    "Frame",
    "FrameDecoder",
    "FrameEncoder",
    "FrameHeader",
    "MessageDecoder",
    "Opcode",
    "Ping",
    "Pong",
    "Role",
    "Utf8Validator",
    "apply_mask",
    "mask_inplace",
    "utf8_valid",
]


_pure = os.environ.get("WSFAST_PURE", "") not in ("", "0")

if TYPE_CHECKING:
    from . import native as _codec
elif _pure:
    from . import fallback as _codec
else:
    try:
        # The ImportError of `from . import` does not tell a missing module from a broken one.
        import wsfast.native as _codec
    except ModuleNotFoundError as missing:
        # If the extension exists but does not load, raise: only "it was not built" falls back ...
        if missing.name != "wsfast.native":
            raise
        from . import _origin
        from . import fallback as _codec

        _origin.say_fallback()
    except ImportError as error:
        # ... and "it is loaded in another interpreter of this process", which CPython or Cython says.
        if "interpreter" not in str(error):
            raise
        from . import _origin
        from . import fallback as _codec

        _origin.say_fallback("wsfast.native works in one interpreter of a process, and this is another one")

IMPLEMENTATION = _codec.IMPLEMENTATION
KERNEL = _codec.KERNEL
FrameDecoder = _codec.FrameDecoder
FrameEncoder = _codec.FrameEncoder
MessageDecoder = _codec.MessageDecoder
Utf8Validator = _codec.Utf8Validator
apply_mask = _codec.apply_mask
mask_inplace = _codec.mask_inplace
utf8_valid = _codec.utf8_valid
