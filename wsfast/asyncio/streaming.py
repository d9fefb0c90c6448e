"""``recv_streaming``: the parts of a message as its frames come (RFC 6455 5.4).

``session/parts.py`` has the rules about what is left of a message, ``common/awaiting.py`` the iterator.
"""

from __future__ import annotations

from typing import Any

from ..common.awaiting import Awaited, Parts
from .sending import Sending

__all__ = ["Parts", "Streaming"]


class Streaming(Sending, Awaited):
    """The call."""

    __slots__ = ("_parts", "_parts_size")

    def recv_streaming(self, decode: bool | None = None) -> Parts:
        """Receive the next message in parts: iterate over them with ``async for``.

        There is one part for each frame, as soon as it is there: ``str`` for text (``bytes`` with ``text="bytes"``),
        ``bytes`` for binary, or what ``decode`` says, as in ``recv``. Frames that came before the call are one part.
        ``max_size`` is for the whole message, and ``max_queue`` for parts that wait, too.

        To leave the loop early gives the rest of the message up. Cancelling a wait for a part loses nothing.

        Raises:
            ConnectionClosed: the connection was closed before the end of the message.
            ConcurrencyError: another task is receiving.
        """
        return Parts(self, decode)

    def _soon(self, call: Any, *arguments: Any) -> None:
        self._loop.call_soon(call, *arguments)
