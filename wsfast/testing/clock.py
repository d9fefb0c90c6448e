"""An event loop whose time passes only when there is nothing else to do, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["JumpingLoop", "run"]

_T = TypeVar("_T")


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would wait for a timer, its clock jumps instead."""

    loop: JumpingLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("everything waits, and nothing is left that could happen")
        self.loop.now += timeout
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop for tests without sockets and threads: an hour takes as long as what happens in it.

    ``now`` is its time, in seconds. If everything waits and there is no timer, ``RuntimeError`` is raised: it would
    wait for ever.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end in a ``JumpingLoop``, and return its result.

    Raises:
        RuntimeError: everything waits, and nothing is left that could happen.
    """
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)
