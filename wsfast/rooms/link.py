"""The link to a broker over time: what is published and subscribed, and what happens while the broker is away.

    the link is   a message that is published here              a message of another process
    ------------  --------------------------------------------  ---------------------------------
    up            goes to the broker, and comes back from it    comes from the broker
    lost          those on their way are delivered here         is missed
    away          is delivered here, and nowhere else           is missed
    up again      as above                                      as above, and the gap is told

- While the link is up, the broker's order is the order for all members, here and elsewhere. While it is away, each
  process has an order of its own. A message of ours is delivered here once in any case: by its number.
- A link that is too slow is lost: a call that takes longer than ``timeout``, a message that does not come back in this
  time, or more on its way than ``max_queue`` messages or ``max_queue_size`` bytes. So there is one way out.
- Nothing is sent twice: if nobody knows whether the broker has a message, its room has a gap.
- A gap is told on both sides. Here, for all rooms, when the link is up again. Elsewhere, by a message to each room to
  which something could not be published.
- Every ``beat`` seconds a message to ourselves looks whether the broker still brings any.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable
from itertools import islice
from typing import TypeVar

from ..printable import shown
from .bus import Bus
from .envelope import HEAD_SIZE, MAX_KEY_SIZE, Envelope, Kind, pack, unpack
from .publication import Publication

__all__ = ["Link", "Seldom"]

_T = TypeVar("_T")

_ROOM = "room:"

# Seconds before another attempt to connect: doubled after each, and a random part of it, so that not all come at once.
_FIRST_DELAY, _MAX_DELAY = 0.2, 10.0

# Channels, or messages, of one call of the bus.
_MAX_CHANNELS, _MAX_MESSAGES, _MAX_BYTES = 1000, 256, 2**20

# What is done in one turn of the loop: messages, each counted with a quarter of its members.
_TURN = 64

# Rooms whose gap is told to others later.
_MAX_MISSED = 100_000


def _named(error: BaseException) -> str:
    return (
        f"{type(error).__name__}: {error}"  # some of it is the broker's: through shown() before it is logged
    )


class Seldom:
    """Tells the log of something that may happen often: at most once in ``every`` seconds, with a count."""

    def __init__(self, logger: logging.Logger, every: float = 60.0) -> None:
        self._logger = logger
        self._every = every
        self._next = 0.0
        self._n_untold = 0

    def warn(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._next:
            self._n_untold += 1
            return
        if self._n_untold:
            text += f" (and {self._n_untold} more before)"
        self._next, self._n_untold = now + self._every, 0
        self._logger.warning("%s", shown(text, 1000))


class _Entry:
    """Something on its way to the broker."""

    __slots__ = ("channel", "deadline", "number", "payload", "publication", "room")

    def __init__(
        self, number: int, room: str | None, payload: bytes, publication: Publication | None
    ) -> None:
        self.number = number
        self.room = room  # None: our own channel
        self.payload = payload
        self.publication = publication  # None: the message of a gap, or for ourselves
        self.deadline: float | None = None  # to come back; None while it has not to


class Link:
    """The way to a broker and back. ``deliver`` and ``receive`` serve the members here, and return their number."""

    def __init__(
        self,
        bus: Bus,
        rooms: Container[str],
        *,
        deliver: Callable[[Publication], int],
        receive: Callable[[str, Envelope], int],
        gap: Callable[[Iterable[str]], None],
        all_rooms: Callable[[], Iterable[str]],
        logger: logging.Logger,
        timeout: float,
        beat: float,
        max_size: int,
        max_queue: int,
        max_queue_size: int,
    ) -> None:
        self.bus = bus
        self.is_up = False
        self._rooms, self._all_rooms = rooms, all_rooms  # those with members here
        self._deliver, self._hand_over, self._tell_gap = deliver, receive, gap
        self._logger = logger
        self._timeout, self._beat = timeout, beat
        self._max_size, self._max_queue, self._max_queue_size = max_size, max_queue, max_queue_size
        self._limit: int | None = None  # bytes of a payload, for the broker
        self._origin = os.urandom(8)
        self._own_channel = f"beat:{self._origin.hex()}"
        self._number = 0
        self._queue: deque[_Entry] = deque()  # not handed to the bus yet
        self._under_way: dict[int, _Entry] = {}  # those, and those that are to come back
        self._size = 0  # bytes of them
        self._changed: dict[str, None] = {}  # rooms that got their first member, or lost their last
        self._subscribed: set[str] = set()
        self._late: deque[Publication] = deque()  # to be delivered here, in turns, as the broker is away
        self._left = _TURN
        self._missed: dict[str, None] = {}  # rooms whose gap others do not know of yet
        self._wake = asyncio.Event()
        self._news = asyncio.Event()  # something was subscribed, or has arrived
        self._task: asyncio.Task[None] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._was_up = False  # in this attempt
        self._garbage = Seldom(logger)
        self._too_large = Seldom(logger)

    # Called by the rooms

    async def start(self) -> None:
        """Connect; return after the first attempt, whether it succeeded or not."""
        first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(first))
        await first

    async def stop(self) -> None:
        """Publish the rest, for at most the time limit, and disconnect."""
        assert self._task is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                while self.is_up and self._under_way:
                    self._news.clear()
                    await self._news.wait()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._stop_bus()
        while self._late:
            await asyncio.sleep(0)
        self._news.set()

    def room_changed(self, room: str) -> None:
        """The room has its first member, or none any more."""
        if self.is_up:
            self._changed[room] = None
            self._wake.set()

    async def wait_subscribed(self, room: str) -> None:
        while room in self._rooms and room not in self._subscribed and not self._is_stopped():
            self._news.clear()
            await self._news.wait()

    def _is_stopped(self) -> bool:
        return self._task is None or self._task.done()

    def publish(self, publication: Publication, kind: Kind, payload: bytes, key: bytes | None) -> None:
        """Publish, or deliver here if the broker is away, or takes less."""
        number = self._next_number()
        data = pack(kind, self._origin, number, payload, publication.slow, key)
        if self._limit is not None and len(data) > self._limit:
            self._too_large.warn(f"a message of {len(data)} bytes stays here: the broker takes {self._limit}")
            # The others are told of a gap in its place. It comes back to us, so that it is delivered in its turn.
            publication.is_on_bus = False
            data = pack(Kind.GAP, self._origin, number, b"")
        if self.is_up:
            self._add(_Entry(number, publication.room, data, publication))
        else:
            publication.is_on_bus = False
            self._note_missed(publication.room)
            self._late.append(publication)
            if len(self._late) == 1 or len(self._late) > self._max_queue:
                self._deliver(self._late.popleft())

    def _note_missed(self, room: str) -> None:
        if len(self._missed) < _MAX_MISSED:
            self._missed[room] = None

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _add_signal(self, kind: Kind, room: str | None) -> None:
        number = self._next_number()
        self._add(_Entry(number, room, pack(kind, self._origin, number, b""), None))

    def _add(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._under_way[entry.number] = entry
        self._size += len(entry.payload)
        self._wake.set()
        if len(self._under_way) > self._max_queue or self._size > self._max_queue_size:
            self._lose(
                OverflowError(f"{len(self._under_way)} messages, {self._size} bytes wait for the broker")
            )

    # Called by the bus

    def _receive(self, channel: str, data: bytes) -> bool:
        self._left -= 1
        try:
            if len(data) > self._max_size + HEAD_SIZE + MAX_KEY_SIZE:
                raise ValueError(f"{len(data)} bytes, more than max_size")
            envelope = unpack(data)
        except ValueError as error:
            self._garbage.warn(f"dropped a message of the bus for {channel}: {error}")
        else:
            self._take(channel, envelope)
        if self._left > 0:
            return False
        self._left = _TURN
        return True

    def _take(self, channel: str, envelope: Envelope) -> None:
        if envelope.origin == self._origin:
            entry = self._under_way.get(envelope.number)
            if entry is not None:  # else it was delivered when the link was lost
                self._arrived(entry)
        elif channel.startswith(_ROOM):
            room = channel.removeprefix(_ROOM)
            if envelope.kind is Kind.GAP:
                self._tell_gap([room])
            elif envelope.kind is not Kind.BEAT:
                self._left -= self._hand_over(room, envelope) // 4

    def _arrived(self, entry: _Entry) -> None:
        self._forget(entry)
        publication = entry.publication
        if publication is not None:
            if publication.is_on_bus is None:
                publication.is_on_bus = True
            self._left -= self._deliver(publication) // 4

    def _forget(self, entry: _Entry) -> None:
        del self._under_way[entry.number]
        self._size -= len(entry.payload)
        if not self._under_way:
            self._news.set()

    def _lose(self, error: BaseException) -> None:
        """Give up the connection: something may have been missed."""
        if self._error is None:
            self._error = error
            self._give_up()
            if self._worker is not None:
                self._worker.cancel()

    def _give_up(self) -> None:
        self.is_up = False
        self._queue.clear()
        self._changed.clear()
        self._subscribed.clear()
        for entry in list(self._under_way.values()):
            self._forget(entry)
            publication = entry.publication
            if publication is not None:
                publication.is_on_bus = bool(publication.is_on_bus)
                self._late.append(publication)
            if entry.room is not None and (publication is None or not publication.is_on_bus):
                self._note_missed(entry.room)
        self._news.set()
        self._deliver_late()

    def _deliver_late(self) -> None:
        left = _TURN
        while self._late and left > 0:
            left -= 1 + self._deliver(self._late.popleft()) // 4
        if self._late:
            asyncio.get_running_loop().call_soon(self._deliver_late)

    # Over time

    async def _run(self, first: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        n_failed = 0
        away_since: float | None = None
        while True:
            self._error = None
            up_since = loop.time()
            self._worker = loop.create_task(self._work(first, away_since))
            try:
                await asyncio.wait([self._worker])
            finally:
                self._worker.cancel()
                await asyncio.wait([self._worker])
                if self._error is None and not self._worker.cancelled():
                    self._error = self._worker.exception()
                self._error = self._error or ConnectionError("stopped")
                self._give_up()
            now = loop.time()
            if self._was_up and now - up_since > _MAX_DELAY:
                n_failed = 0
            if self._was_up or not first.done():
                self._logger.warning(
                    "the bus is away, messages stay in this process: %s", shown(_named(self._error), 1000)
                )
                away_since = now
            else:
                self._logger.debug("the bus is still away: %s", shown(_named(self._error), 1000))
            if not first.done():
                first.set_result(None)
            await self._stop_bus()
            delay = min(_MAX_DELAY, _FIRST_DELAY * 2**n_failed)
            n_failed = min(n_failed + 1, 10)
            await asyncio.sleep(random.uniform(delay / 2, delay))

    async def _stop_bus(self) -> None:
        try:
            await self._bounded(self.bus.stop())
        except Exception as error:
            self._logger.debug("stopping the bus failed: %s", shown(_named(error), 1000))

    async def _bounded(self, call: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                return await call
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(f"the broker did not answer within {self._timeout} s") from error

    async def _work(self, first: asyncio.Future[None], away_since: float | None) -> None:
        """Connect, and serve the link until it is lost."""
        loop = asyncio.get_running_loop()
        self._was_up = False
        self._limit = await self._bounded(self.bus.start(self._receive, self._lose))
        await self._bounded(self.bus.subscribe([self._own_channel]))
        while self._late:
            await asyncio.sleep(0)  # they come before whatever comes from the bus
        self.is_up = self._was_up = True
        self._changed.update(dict.fromkeys(self._all_rooms()))
        await self._subscribe()
        if away_since is not None:
            self._logger.info("the bus is back after %s", shown(f"{loop.time() - away_since:.1f} s"))
            self._tell_gap(list(self._subscribed))
        if not first.done():
            first.set_result(None)
        next_beat = loop.time() + self._beat
        while True:
            if self._changed:
                await self._subscribe()
            if self._missed and not self._queue:
                for room in list(islice(self._missed, _MAX_MESSAGES)):
                    del self._missed[room]
                    self._add_signal(Kind.GAP, room)
            if self._queue:
                await self._publish_some()
                continue
            due = next_beat
            waiting = next(iter(self._under_way.values()), None)
            if waiting is not None and waiting.deadline is not None:
                due = min(due, waiting.deadline)
            if not self._wake.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._wake.wait()
            self._wake.clear()
            now = loop.time()
            waiting = next(iter(self._under_way.values()), None)
            if waiting is not None and waiting.deadline is not None and now >= waiting.deadline:
                if now - waiting.deadline < self._timeout / 2:
                    raise TimeoutError(
                        f"a message did not come back from the broker within {self._timeout} s"
                    )
                waiting.deadline = now + self._timeout  # our own loop was blocked: the message may be here
            if now >= next_beat:
                next_beat = now + self._beat
                self._add_signal(Kind.BEAT, None)

    async def _subscribe(self) -> None:
        changed, self._changed = self._changed, {}
        lost = [room for room in changed if room not in self._rooms and room in self._subscribed]
        new = [room for room in changed if room in self._rooms and room not in self._subscribed]
        if lost:
            self._subscribed.difference_update(lost)
            gone = set(lost)
            for entry in list(self._under_way.values()):
                if entry.deadline is not None and entry.room in gone:
                    self._arrived(entry)
        for start in range(0, len(lost), _MAX_CHANNELS):
            some = lost[start : start + _MAX_CHANNELS]
            await self._bounded(self.bus.unsubscribe([_ROOM + room for room in some]))
        for start in range(0, len(new), _MAX_CHANNELS):
            some = new[start : start + _MAX_CHANNELS]
            await self._bounded(self.bus.subscribe([_ROOM + room for room in some]))
            self._subscribed.update(some)
        self._news.set()

    async def _publish_some(self) -> None:
        batch: list[_Entry] = []
        size = 0
        queue = self._queue
        deadline = asyncio.get_running_loop().time() + self._timeout
        while (
            queue and len(batch) < _MAX_MESSAGES and (not batch or size + len(queue[0].payload) <= _MAX_BYTES)
        ):
            entry = queue.popleft()
            size += len(entry.payload)
            comes_back = (
                entry.room in self._subscribed if entry.publication is not None else entry.room is None
            )
            if comes_back:
                entry.deadline = deadline
            batch.append(entry)
        await self._bounded(
            self.bus.publish(
                [
                    (self._own_channel if entry.room is None else _ROOM + entry.room, entry.payload)
                    for entry in batch
                ]
            )
        )
        for entry in batch:
            if entry.number not in self._under_way:
                continue
            if entry.deadline is None:
                self._arrived(entry)
            elif entry.publication is not None and entry.publication.is_on_bus is None:
                entry.publication.is_on_bus = True
