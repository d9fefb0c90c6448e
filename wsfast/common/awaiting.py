"""What all connections for coroutines have in one form: iterators, ``batch``, ``wait_closed``, reports, ``basic_auth``.

No loop is named here: all await what their connection awaits. ``session/parts.py`` has the rules about what is left of
a message.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..codec import CloseCode
from ..connection import ReadyState
from ..events import CloseCause
from ..exceptions import ConcurrencyError, ConnectionClosed
from ..http import Request, Response
from ..session import Backlog, Data
from ..session.parts import InParts, PartsIterator
from ..typing import LoggerLike
from .authentication import BasicAuth
from .messages import check_close
from .reports import Report
from .steps import run_awaiting

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AwaitableReport", "Awaited", "Messages", "Parts", "basic_auth"]

Check: TypeAlias = "Callable[[str, str], Awaitable[bool] | bool]"


class Awaited(InParts):
    """A session that coroutines wait for: the calls that are needed here, and that an adapter brings."""

    # As in session/parts.py.
    if not TYPE_CHECKING:
        __slots__ = ()

    _logger: LoggerLike

    async def recv(self, decode: bool | None = None) -> Data:
        raise NotImplementedError

    def _next_chunk(self, in_parts: bool = False) -> Awaitable[None]:
        raise NotImplementedError

    async def _until_closed(self) -> None:
        raise NotImplementedError

    async def wait_taken(self, backlog: Backlog, end: int) -> None:
        raise NotImplementedError

    def _soon(self, call: Any, *arguments: Any) -> None:
        """Call it at the next turn."""
        raise NotImplementedError

    # What has no other form with another loop

    @property
    def logger(self) -> logging.LoggerAdapter[Any]:
        """A logger whose records have the connection as ``websocket``.

        INFO tells that the connection was opened and closed. DEBUG, if it is on when the connection is made, tells
        the heads of the handshake and the frames.
        """
        return logging.LoggerAdapter(self._logger, {"websocket": weakref.proxy(self)})

    def __aiter__(self) -> Messages:
        """Iterate over messages until the connection is closed.

        Ends after an orderly close (1000, 1001 or no code), else raises ``ConnectionClosedError``. ``aclose`` of the
        iterator closes nothing.
        """
        return Messages(self)

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

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Send the frames of a block in one write: ``with ws.batch(): await ws.send(...); await ws.send(...)``.

        They go out at the end of the block, whether it fails or not. They go out earlier if 64 KiB are collected, when
        ``recv`` has to wait, and before a Ping, a Pong, a Close or a fragment. Do not wait for anything else in the
        block: what other tasks send on this connection is held, too.
        """
        self.hold_batch()
        try:
            yield
        finally:
            self.release_batch()

    def _begin_close(self, code: int, reason: str) -> None:
        check_close(self.protocol.encoder, code, reason)
        if self.protocol.ready_state is ReadyState.CONNECTING:
            self.protocol.note_cause(CloseCause.LOCAL)
            self._abort()
        elif self.protocol.encoder.in_message and self.protocol.ready_state is ReadyState.OPEN:
            self.fail(CloseCode.INTERNAL_ERROR, "close during fragmented message")
        else:
            self.start_close(code, reason)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; whoever closes it.

        The peer's Close is then answered without regard to messages that wait. They can be received afterwards.
        """
        self._n_waiting_for_end += 1
        try:
            self._wait_for_end()
            await self._until_closed()
        finally:
            self._n_waiting_for_end -= 1


class Messages(AsyncIterator[Data]):
    """The iterator over a connection's messages. ``aclose`` ends nothing: it is there for ``contextlib.aclosing``."""

    # A slot in place of a method: the interpreter finds the connection's own, so that a message costs no call more.
    __slots__ = ("__anext__",)

    if TYPE_CHECKING:

        async def __anext__(self) -> Data: ...

    def __init__(self, connection: Any) -> None:
        self.__anext__ = connection.__anext__  # type: ignore[method-assign]

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Leave the connection as it is: the next iteration goes on with the next message."""


class Parts(PartsIterator, AsyncIterator[Data]):
    """The parts of the next message. ``aclose``, or its last reference, gives the message up."""

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
        if connection._is_receiving():  # its message would come in parts, which it does not wait for
            raise ConcurrencyError("another task is already waiting in recv()")
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
                connection._soon(connection._give_up_parts, queue, n_taken)


_Connection = TypeVar("_Connection", bound=Awaited)


class AwaitableReport(Report[_Connection]):
    """A report that can be awaited: until the peers that read slowly have taken the message, or are gone."""

    __slots__ = ()

    async def _wait(self) -> Self:
        for connection, backlog, end in self._waiting:
            await connection.wait_taken(backlog, end)
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._wait().__await__()


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Check | None = None,
) -> Callable[[Any, Request], Awaitable[Response | None]]:
    """Make a ``process_request`` for ``serve`` that lets users in by name and password (RFC 7617).

    ``credentials`` is one pair of user name and password, or several. Or ``check_credentials(username, password)``, a
    function or a coroutine function, tells whether they are right. ``realm`` names the protected space, in ASCII.

    A request without the right credentials is answered with 401. Else ``connection.username`` is the user's name. Send
    passwords over TLS only.

    Raises:
        TypeError: ``credentials`` are no pairs of ``str``, ``check_credentials`` cannot be called, or ``realm`` is no
            ``str``.
        ValueError: both or none of ``credentials`` and ``check_credentials`` are given, or ``realm`` has a character
            that cannot be sent.
    """
    rules = BasicAuth(realm, credentials, check_credentials)

    async def process_request(connection: Any, request: Request) -> Response | None:
        return await run_awaiting(rules.process_request(connection, request))

    return process_request
