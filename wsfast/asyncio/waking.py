"""The awaitable of a task that waits for a message: when one comes, the task goes on inside the read.

With a future it would go on at the next turn of the loop, after another look at all sockets. A step at once saves one
system call of four, and a tenth of an echo on asyncio's own loop (benchmarks/servers/echo.py); on uvloop nothing.
The rules, and why:

- The step is the last act of a read: nothing of the session is half done then.
- There is one for a read. The task goes up to its next wait, as the callback of a protocol would; then the other
  sockets have their turn as before.
- There is none while a task runs, because asyncio allows no step inside a step.
- After a step the object serves again. After a cancellation it does not: its callback has still to be called.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import current_task
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Waiter"]


class Waiter:
    """The awaitable of one task. For asyncio it looks like a future (``_asyncio_future_blocking``)."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_cancelled",
        "_context",
        "_is_done",
        "_loop",
        "_resume",
        "may_serve_again",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop  # asyncio takes it from here: `get_loop` would be a call more
        self._asyncio_future_blocking = False
        self._is_done = False
        self._cancelled: asyncio.CancelledError | None = None
        self._resume: Callable[[Any], object] | None = None  # of the task: its next step
        self._context: contextvars.Context  # the task's
        self.may_serve_again = False
        """True after ``wake`` made the step. Set it to False to wait anew."""

    # What a session does

    def wake(self) -> None:
        """End the wait, and let the task go on inside this call. If a task is running, it goes on at the next turn."""
        resume = self._resume
        if resume is None or current_task(self._loop) is not None:
            self.set_result(None)
            return
        self._resume = None
        self.may_serve_again = True
        self._context.run(resume, self)

    def set_result(self, result: None) -> None:
        """End the wait; the task goes on at the next turn."""
        self._is_done = True
        self._resume_soon()

    def _resume_soon(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            self._loop.call_soon(resume, self, context=self._context)

    # What a task does

    def done(self) -> bool:
        return self._is_done

    def __await__(self) -> Generator[Any, None, None]:
        if self._is_done:
            return iter(())  # type: ignore[return-value]
        self._asyncio_future_blocking = True
        # A generator would do the same, at 0.2 us more for each message.
        return iter((self,))  # type: ignore[return-value]

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: contextvars.Context | None = None
    ) -> None:
        self._resume = callback
        self._context = contextvars.copy_context() if context is None else context

    def cancel(self, msg: Any = None) -> bool:
        if self._is_done:
            return False
        self._is_done = True
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._resume_soon()
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            cancelled, self._cancelled = self._cancelled, None
            try:
                raise cancelled
            finally:
                del (
                    cancelled
                )  # its traceback has this frame: a circle, which would keep all that the task had
