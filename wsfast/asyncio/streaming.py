"""``recv_streaming``: the parts of a message as its frames come (RFC 6455 5.4).

``session/parts.py`` has the rules about what is left of a message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING

from ..codec import CloseCode
from ..exceptions import ConcurrencyError, ConnectionClosed
from ..session import Data
from ..session.parts import InParts, PartsIterator
from .sending import Sending

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Parts", "Streaming"]


class Parts(PartsIterator, AsyncIterator[Data]):
    """The parts of the next message. ``aclose``, or its last reference, gives the message up: see the table above."""

    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Data:
        if self._is_done:
            raise StopAsyncIteration
        connection = self._connection
        if self._queue is None:
            await self._begin()
        queue = self._queue
        if queue is None:  # a whole message waits
            return await self._whole()
        while not queue:
            if connection._messages and not self._n_taken:  # it came in one frame
                connection._parts = None
                return await self._whole()
            try:
                await connection._next_chunk(True)
            except ConnectionClosed:
                self._is_done = True
                connection._parts = None
                raise
        part = queue.popleft()
        self._n_taken += 1
        connection._part_taken(part)
        if part.fin:
            self._is_done = True
            connection._parts = None
        try:
            return self._decoded(part)
        except UnicodeDecodeError as error:  # of a binary message
            reason = error.reason
        self._is_done = True
        connection._parts = None
        connection.fail(CloseCode.INVALID_PAYLOAD_DATA, f"{reason} in a message that has to be text")
        await connection.wait_closed()
        raise connection._closed_exception()

    async def _begin(self) -> None:
        connection = self._connection
        while connection._parts is not None:
            if connection._parts.is_wanted:
                raise ConcurrencyError("another message is being received in parts")
            if connection._parts.is_joined:
                self._queue = connection._parts
                self._queue.is_wanted = True
                return
            await connection._next_chunk(True)  # the rest of the last one is skipped
        if connection._messages:
            return
        self._queue = connection._begin_parts()

    async def _whole(self) -> Data:
        self._is_done = True
        whole: Data = await self._connection.recv(self._decode)
        return whole

    async def aclose(self) -> None:
        """Give up the message. The connection goes on."""
        self._give_up()

    def _give_up(self) -> None:
        if not self._is_done:
            self._is_done = True
            if self._queue is not None:
                self._connection._give_up_parts(self._queue, self._n_taken)

    def __del__(self) -> None:
        if not self._is_done and self._queue is not None:
            connection, queue, n_taken = self._connection, self._queue, self._n_taken
            try:
                connection._give_up_parts(queue, n_taken)
            except RuntimeError:  # the garbage collector called us inside a call of the decoder
                connection._loop.call_soon(connection._give_up_parts, queue, n_taken)


class Streaming(Sending, InParts):
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

    async def recv(self, decode: bool | None = None) -> Data:
        raise NotImplementedError

    def _next_chunk(self, in_parts: bool = False) -> Awaitable[None]:
        raise NotImplementedError

    async def wait_closed(self) -> None:
        raise NotImplementedError
