"""Accept connections on asyncio's own selector loop, and pause when the system has no descriptors left.

That loop goes on after such an error, with a traceback and a timer for each place of the backlog, again and again
(CPython 3.11 to 3.13). Here accepting pauses for a second, and says so once a minute at most. uvloop and Windows' loop
accept for themselves.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..common.accepting import EXHAUSTED, OF_THE_NETWORK, RETRY_DELAY, Exhaustion

if TYPE_CHECKING:
    from .connection import Logger

# Connections that are accepted in one turn at most.
_PER_TURN = 100


class Listening(Protocol):
    """The part of ``asyncio.Server`` that a server of ours uses."""

    @property
    def sockets(self) -> Sequence[Any]: ...
    def is_serving(self) -> bool: ...
    async def start_serving(self) -> None: ...
    def close(self) -> None: ...


def accepts_poorly(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether this is a loop whose way to accept has to be replaced."""
    return os.name == "posix" and isinstance(loop, asyncio.SelectorEventLoop)


class Acceptor:
    """Accepts for ``server``, which listens and must not accept; the interface is ``Listening``.

    ``connect`` makes a connection of an accepted socket.
    """

    def __init__(
        self,
        server: asyncio.Server,
        connect: Callable[[socket.socket], Awaitable[None]],
        *,
        backlog: int,
        logger: Logger,
    ) -> None:
        self._loop = server.get_loop()
        self._server = server
        self._make = connect
        self._backlog = backlog
        self._logger = logger
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._exhaustion = Exhaustion(logger)

    @property
    def sockets(self) -> Sequence[Any]:
        return self._server.sockets

    def is_serving(self) -> bool:
        return bool(self._listening)

    async def start_serving(self) -> None:
        if self._listening:
            return
        # Descriptors of our own for the same sockets: those of asyncio are its own.
        self._listening = [socket.socket(fileno=os.dup(sock.fileno())) for sock in self._server.sockets]
        for listening in self._listening:
            listening.setblocking(
                False
            )  # PyPy makes a socket of a descriptor wait, whatever the descriptor did before
            listening.listen(self._backlog)
        self._go_on()

    def close(self) -> None:
        self._pause()
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        for task in self._tasks:
            task.cancel()
        self._server.close()

    def _go_on(self) -> None:
        self._retry = None
        for listening in self._listening:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for listening in self._listening:
            self._loop.remove_reader(listening.fileno())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_PER_TURN):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in OF_THE_NETWORK:
                    return
                if error.errno not in EXHAUSTED:
                    raise
                self._exhausted(error)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._connect(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _exhausted(self, error: OSError) -> None:
        self._pause()
        self._retry = self._loop.call_later(RETRY_DELAY, self._go_on)
        self._exhaustion.tell(error, self._loop.time())

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._make(accepted)
        except asyncio.CancelledError:
            accepted.close()
            raise
        except Exception as error:  # of TLS: the peer's, and never more than that
            accepted.close()
            self._logger.debug("no connection could be made of a socket: %s", type(error).__name__)
