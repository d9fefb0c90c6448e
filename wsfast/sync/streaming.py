"""``recv_streaming``: the parts of a message as its frames come (RFC 6455 5.4).

``session/parts.py`` has the rules about what is left of a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from ..exceptions import ConcurrencyError, ConnectionClosed
from ..session import Data
from ..session.parts import PartsIterator

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Parts"]


class Parts(PartsIterator, Iterator[Data]):
    """The parts of the next message. ``close``, or its last reference, gives the message up."""

    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Data:
        if self._is_done:
            raise StopIteration
        connection = self._connection
        with connection._lock:
            if self._queue is None:
                self._begin()
            queue = self._queue
            while queue is not None and not queue and not (connection._messages and not self._n_taken):
                try:
                    connection._receive(None, queue)
                except ConnectionClosed:
                    self._end()
                    raise
            if queue:
                part = queue.popleft()
                self._n_taken += 1
                connection._part_taken(part)
                connection._settle()
                if part.fin:
                    self._end()
            else:  # it came in one frame
                self._end()
                part = None
        if part is None:
            whole: Data = connection.recv(decode=self._decode)
            return whole
        try:
            return self._decoded(part)
        except UnicodeDecodeError as error:  # of a binary message
            reason = error.reason
        with connection._lock:
            self._end()
        failure: NoReturn = connection._fail_text(f"{reason} in a message that has to be text")
        return failure

    def _begin(self) -> None:
        connection = self._connection
        if connection._waiter is not None:  # its message would come in parts, which it does not wait for
            raise ConcurrencyError("another thread is already waiting in recv()")
        connection._forget_given_up()
        while connection._parts is not None:
            if connection._parts.is_wanted:
                raise ConcurrencyError("another message is being received in parts")
            if connection._parts.is_joined:
                self._queue = connection._parts
                self._queue.is_wanted = True
                return
            connection._receive(None, connection._parts)  # the rest of the last one is skipped
        if not connection._messages:
            self._queue = connection._begin_parts()

    def _end(self) -> None:
        self._is_done = True
        if self._queue is not None and self._connection._parts is self._queue:
            self._connection._parts = None

    def close(self) -> None:
        """Give up the message. The connection goes on.

        Raises:
            ConcurrencyError: another thread waits for a part of it.
        """
        connection = self._connection
        with connection._lock:
            if (
                connection._waiter is not None
                and self._queue is not None
                and connection._parts is self._queue
            ):
                raise ConcurrencyError("another thread is waiting for a part of this message")
            self.__del__()
            connection._forget_given_up()
            connection._settle()

    def __del__(self) -> None:
        # The garbage collector calls this in any place, under any lock: so it only leaves a note.
        if not self._is_done and self._queue is not None:
            self._is_done = True
            self._connection._given_up.append((self._queue, self._n_taken))
