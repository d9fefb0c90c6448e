"""What ``ping`` returns: the time of its Pong, for those who wait for it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from ..exceptions import ConnectionClosed

__all__ = ["Answer"]


class Answer:
    """The Pong that a Ping waits for. It need not be awaited.

    ``await answer``, or ``await answer.wait()``, returns the round-trip time in seconds. It raises
    ``ConnectionClosed`` if the connection closes first; with ``ack_on_close`` it then returns 0.
    """

    __slots__ = ("__weakref__", "_ack_on_close", "_event", "_exception", "latency")

    def __init__(self, ack_on_close: bool = False) -> None:
        self._event = trio.Event()
        self._ack_on_close = ack_on_close
        self._exception: ConnectionClosed | None = None
        self.latency = 0.0
        """The round-trip time in seconds; 0 before the Pong."""

    def is_set(self) -> bool:
        """Tell whether the Pong came; with ``ack_on_close`` also whether the connection was closed."""
        return self._event.is_set() and (self._exception is None or self._ack_on_close)

    async def wait(self) -> float:
        """Wait for the Pong, and return the round-trip time in seconds.

        Raises:
            ConnectionClosed: the connection was closed first.
        """
        await self._event.wait()
        if self._exception is not None and not self._ack_on_close:
            raise self._exception
        return self.latency

    def __await__(self) -> Generator[Any, None, float]:
        return self.wait().__await__()

    def come(self, latency: float) -> None:
        """The Pong came; for the connection."""
        self.latency = latency
        self._event.set()

    def fail(self, exception: ConnectionClosed) -> None:
        """No Pong will come; for the connection."""
        self._exception = exception
        self._event.set()
