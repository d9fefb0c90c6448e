"""Frames by the place where users of ``websockets`` look for them; they live in ``wsfast.codec``.

Nothing is defined here. ``Frame`` has ``payload`` for ``data``, and a codec of its own: ``FrameDecoder``.
"""

from __future__ import annotations

from .events import Close, CloseCode, Frame, Opcode

__all__ = ["Close", "CloseCode", "Frame", "Opcode"]
