"""One thread for all connections of the process: their deadlines, and their reading while no caller reads.

    a connection is   when                               the keeper
    ----------------  ---------------------------------  ------------------------------------------------------
    ACTIVE            callers read now and then          looks every ``TICK`` whether they still do
    RESTING           a caller is blocked in a read      does nothing: that caller tells when it goes on
    WATCHED           nobody has read for one ``TICK``   reads it, and writes the rest of what was not taken

So a message costs no call of it, and a process whose connections are quiet sleeps. It never waits for a connection:
their locks are held for steps that do not block. Only its own thread touches the selector.
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from typing import Any, Final

__all__ = ["ACTIVE", "RESTING", "TICK", "WATCHED", "Keeper", "keeper"]

ACTIVE, RESTING, WATCHED = range(3)

# Seconds after which a connection that nobody has read is watched.
TICK: Final = 0.2

# Timers from which on those of connections that are gone are dropped: they may be far ahead, as ``ping_interval`` is.
MANY_TIMERS: Final = 256


class Keeper:
    """Started by the first open connection. A connection is any ``SocketSession``."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        """Those that are open."""
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._waking, self._woken = socket.socketpair()
        self._waking.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._posted: collections.deque[Any] = collections.deque()
        self._timers: list[tuple[float, int, weakref.ref[Any]]] = []
        self._too_many_timers = MANY_TIMERS
        self._numbers = itertools.count()
        self._wakes_at = 0.0  # by itself; 0 while it runs, and will look at everything
        self._active: set[Any] = set()
        self._thread = threading.Thread(target=self._run, name="wsfast keeper", daemon=True)
        self._thread.start()

    # Calls of any thread

    def add(self, connection: Any) -> None:
        """Look after a connection from now on."""
        with self._lock:
            self.connections.add(connection)
        self.post(connection)

    def forget(self, connection: Any) -> None:
        """Look after it no more. What is registered of it ends with its last ``post``."""
        with self._lock:
            self.connections.discard(connection)

    def post(self, connection: Any) -> None:
        """Look at a connection soon."""
        with self._lock:
            self._posted.append(connection)
            self._wake(0.0)

    def call_at(self, at: float, connection: Any) -> None:
        """Call ``time_is_over`` of a connection at that time, unless it is gone."""
        with self._lock:
            if len(self._timers) >= self._too_many_timers:
                self._timers = [timer for timer in self._timers if timer[2]() is not None]
                heapq.heapify(self._timers)
                self._too_many_timers = max(MANY_TIMERS, 2 * len(self._timers))
            heapq.heappush(self._timers, (at, next(self._numbers), weakref.ref(connection)))
            self._wake(at)

    def _wake(self, at: float) -> None:
        if at < self._wakes_at:
            self._wakes_at = 0.0
            self._waking.send(b"\0")

    # Its own thread

    def _run(self) -> None:
        looks_at = 0.0
        while True:
            now = time.monotonic()
            with self._lock:
                wakes_at = now + 3600.0
                if self._posted:
                    wakes_at = now
                if self._active:
                    wakes_at = min(wakes_at, looks_at)
                if self._timers:
                    wakes_at = min(wakes_at, self._timers[0][0])
                self._wakes_at = wakes_at
            events = self._selector.select(max(0.0, wakes_at - now))
            now = time.monotonic()
            with self._lock:
                self._wakes_at = 0.0
                posted, self._posted = self._posted, collections.deque()
                due = []
                while self._timers and self._timers[0][0] <= now:
                    due.append(heapq.heappop(self._timers)[2]())
            for connection in [key.data for key, _ in events]:
                if connection is None:
                    self._woken.recv(4096)
                else:
                    self._look(connection)
            for connection in due:
                if connection is not None:
                    self._do(connection, connection.time_is_over, now)
            for connection in posted:
                self._look(connection)
            if self._active and now >= looks_at:
                for connection in list(self._active):
                    self._look(connection, is_tick=True)
                looks_at = now + TICK
            # Or the last connections would be kept until the next event.
            del events, posted, due
            connection = None

    def _do(self, connection: Any, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception:  # of a subclass, or of a handler of logs: the others are to go on
            logging.getLogger("wsfast").exception("a connection failed in the thread that looks after all")
            with contextlib.suppress(Exception):
                connection.cut()

    def _look(self, connection: Any, is_tick: bool = False) -> None:
        """Let a connection do its work, and wait for the events that it wants."""
        self._do(connection, connection.attend, self._arrange, is_tick)
        if connection.kept == ACTIVE and connection in self.connections:
            self._active.add(connection)
        else:
            self._active.discard(connection)

    def _arrange(self, connection: Any, events: int) -> None:
        """Wait for these events of a socket, and no others. Its lock is held, so that nobody closes it."""
        if not connection.registered:
            self._selector.register(connection.socket, events, connection)
        elif events:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.unregister(connection.socket)

    # After a fork

    def close_in_child(self) -> None:
        """Let go of the parent's connections, without a system call that it could feel."""
        for connection in list(self.connections):
            with contextlib.suppress(Exception):  # of a subclass, or of a handler of logs
                connection.let_go()
        self._selector.close()
        self._waking.close()
        self._woken.close()


_keeper: Keeper | None = None
_making = threading.Lock()


def keeper() -> Keeper:
    """Return the keeper of this process, and start it if there is none."""
    global _keeper
    if _keeper is None:
        with _making:
            if _keeper is None:
                _keeper = Keeper()
    return _keeper


def _forked() -> None:
    global _keeper, _making
    _making = threading.Lock()
    old, _keeper = _keeper, None
    if old is not None:
        old.close_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
