"""A message on its way: when it was handed to the members here, and whether the broker has it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from ..asyncio.broadcasting import BroadcastReport
from ..session import Delivery, Slow

__all__ = ["Publication"]


class Publication:
    """A message that was published. Made by ``Rooms.publish``.

    ``await publication`` waits until the members of this process were served, and returns the report. With
    ``slow="wait"`` it waits for those that read slowly, too. Nobody has to await it.
    """

    __slots__ = ("_done", "_report", "delivery", "is_on_bus", "room", "slow")

    def __init__(self, room: str, delivery: Delivery, slow: Slow) -> None:
        self.room = room
        self.delivery = delivery
        self.slow = slow
        self.is_on_bus: bool | None = None
        """True: the broker has taken it. False: it has not, or nobody knows. None: without a bus, or not known yet."""
        self._report: BroadcastReport | None = None
        self._done: asyncio.Future[None] | None = None

    @property
    def report(self) -> BroadcastReport | None:
        """The report of ``broadcast`` for the members of this process; None while it is on its way."""
        return self._report

    def settle(self, report: BroadcastReport) -> None:
        self._report = report
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def __repr__(self) -> str:
        fate = "on its way" if self._report is None else repr(self._report)
        return f"<Publication to {self.room!r}: {fate}>"

    async def _wait(self) -> BroadcastReport:
        while self._report is None:
            if self._done is None:
                self._done = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._done)
        return await self._report if self.slow is Slow.WAIT else self._report

    def __await__(self) -> Generator[Any, None, BroadcastReport]:
        return self._wait().__await__()
