"""The connection below a ``WebSocket``: it sends without waiting, and knows how much of that the system has taken."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..asyncio.client import ClientConnection, connect
from ..connection import ReadyState

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BrowserConnect", "BrowserConnection"]


class BrowserConnect(connect):
    """Follows no redirect (WHATWG WebSockets 2.2: they are dangerous if a stranger may name the URL)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class BrowserConnection(ClientConnection):
    """Counts the bytes of messages that the system has not taken, without frame headers."""

    __slots__ = (
        "_is_aborted",
        "_is_turn_noted",
        "_taken_end",
        "_untaken",
        "_untaken_size",
        "_written_end",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._written_end = 0  # number of bytes that were written, frame headers and control frames included
        self._taken_end = 0  # of these, number that the system had taken when we looked last
        self._is_aborted = False
        # Of each message that is not taken: where its payload begins and ends in what is written, and its size.
        self._untaken: deque[tuple[int, int, int]] = deque()
        self._untaken_size = 0
        self._is_turn_noted = False  # something was sent in this turn of the loop

    @property
    def has_waiting(self) -> bool:
        """True if ``recv`` would return at once."""
        return bool(self._messages)

    @property
    def untaken_size(self) -> int:
        """Bytes of messages that were sent, and not taken when this turn of the loop began."""
        if not self._is_turn_noted:
            self._look()
        return self._untaken_size

    def send_now(self, data: str | Buffer, size: int) -> bool:
        """Send a message, of ``size`` bytes; return False if that is not possible any more."""
        if self.protocol.ready_state is not ReadyState.OPEN or self._is_cut():
            return False
        if not self._is_turn_noted:
            self._look()
            self._is_turn_noted = True
            self._loop.call_soon(self._turn_is_over)
        before = self._written_end
        if not self.send_nowait(self._encode(data)):
            return False
        end = self._written_end
        # A compressed message has no byte of its own on the wire: it counts as a whole until the end of its frame.
        self._untaken.append((end - size if end - before > size else end, end, size))
        self._untaken_size += size
        return True

    def _turn_is_over(self) -> None:
        self._is_turn_noted = False
        self._look()

    def _look(self) -> None:
        if not self.transport.is_closing():  # else the transport may have dropped them
            self._taken_end = self._written_end - self.transport.get_write_buffer_size()
        while self._untaken:
            start, end, size = self._untaken[0]
            if self._taken_end < end:
                if self._taken_end > start:
                    self._untaken[0] = (self._taken_end, end, end - self._taken_end)
                    self._untaken_size -= self._taken_end - start
                break
            self._untaken.popleft()
            self._untaken_size -= size

    # The session's and the transport's calls

    def _write(self, data: bytes) -> None:
        self._written_end += len(data)
        super()._write(data)

    def _abort(self) -> None:
        self._look()
        self._is_aborted = True
        super()._abort()

    def resume_writing(self) -> None:
        self._look()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not self._is_aborted:
            self._taken_end = self._written_end  # a transport that is closed in order sends all before
        super().connection_lost(exc)
