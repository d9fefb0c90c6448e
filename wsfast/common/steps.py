"""A rule that asks functions of the application, for adapters that wait for their results and for those that do not.

It is a generator: it yields what a function returned, gets the result, and returns its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Steps", "result_of", "run", "run_awaiting"]

_Result = TypeVar("_Result")
Steps: TypeAlias = Generator[Any, Any, _Result]


def run(steps: Steps[_Result]) -> _Result:
    """Run the steps where functions return their results.

    Raises:
        TypeError: a function is a coroutine function: what it returns is true, whatever its result would be.
    """
    answer = None
    while True:
        try:
            answer = steps.send(answer)
        except StopIteration as end:
            result: _Result = end.value
            return result
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError("a function is async, and threads would not await it; it has to be def")


async def result_of(answer: Any) -> Any:
    """Return what a function or a coroutine function of the application returned."""
    return await answer if inspect.isawaitable(answer) else answer


async def run_awaiting(
    steps: Steps[_Result], result_of: Callable[[Any], Awaitable[Any]] = result_of
) -> _Result:
    """Run the steps where functions may be coroutine functions."""
    answer = None
    while True:
        try:
            answer = steps.send(answer)
        except StopIteration as end:
            result: _Result = end.value
            return result
        answer = await result_of(answer)
