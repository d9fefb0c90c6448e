"""``Rooms``: who is in which room, and a message to all of them.

- A room is there while it has a member. So nothing has to be made or removed, and only rooms with members are
  subscribed.
- A member that is closed leaves all rooms by itself.
- In a process a message is a ``broadcast``: framed once, compressed once for each agreement, with its policies.
- The way to other processes is ``link.py``'s.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..asyncio.broadcasting import deliver
from ..common.reports import Policy, delivery_of
from ..session import Delivery
from .bus import Bus
from .envelope import MAX_KEY_SIZE, Envelope, Kind
from .link import Link
from .members import connection_of, is_open
from .publication import Publication

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Rooms"]

_LOGGER = logging.getLogger("wsfast.rooms")

# Bytes of a room's name in UTF-8.
_MAX_NAME_SIZE = 1000


class Rooms:
    """Rooms of one event loop; with a bus, together with those of other processes.

    Without a bus it needs no start. With one, ``async with Rooms(bus) as rooms:``, or ``start`` and ``stop``.

    ``on_gap(room)``, a function or a coroutine function: members of the room may have missed messages of other
    processes, and will get the next ones. It may be called more than once for the same gap.

    ``max_size``: bytes of a message, in both directions. ``timeout``: seconds for each call of the bus, and for a
    message to come back from it. ``beat``: seconds between two looks at the bus. ``max_queue`` messages, or
    ``max_queue_size`` bytes, may be on their way to the bus.
    """

    def __init__(
        self,
        bus: Bus | None = None,
        *,
        on_gap: Callable[[str], object] | None = None,
        max_size: int = 2**20,
        timeout: float = 5.0,
        beat: float = 10.0,
        max_queue: int = 10_000,
        max_queue_size: int = 2**24,
        logger: logging.Logger | None = None,
    ) -> None:
        for name, value in {
            "max_size": max_size,
            "timeout": timeout,
            "beat": beat,
            "max_queue": max_queue,
            "max_queue_size": max_queue_size,
        }.items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        self._members: dict[str, dict[Any, Any]] = {}  # of each room: connections, and what they joined as
        self._rooms: dict[Any, dict[str, None]] = {}  # of each connection
        self._max_size = max_size
        self._on_gap = on_gap
        self._gaps: dict[str, None] = {}  # not told yet
        self._teller: asyncio.Task[None] | None = None
        self._logger = logger or _LOGGER
        self._state = "not started" if bus is not None else "started"
        self._link: Link | None = None
        if bus is not None:
            self._link = Link(
                bus,
                self._members,
                deliver=self._deliver,
                receive=self._received,
                gap=self._note_gaps,
                all_rooms=lambda: list(self._members),
                logger=self._logger,
                timeout=timeout,
                beat=beat,
                max_size=max_size,
                max_queue=max_queue,
                max_queue_size=max_queue_size,
            )

    # Start and stop

    async def start(self) -> None:
        """Connect to the bus. Returns after the first attempt; if it failed, others follow.

        Raises:
            RuntimeError: it was started before.
        """
        if self._link is not None:
            if self._state != "not started":
                raise RuntimeError(f"these rooms are {self._state} already")
            self._state = "started"
            try:
                await self._link.start()
            except BaseException:
                await self.stop()
                raise

    async def stop(self) -> None:
        """Publish what is on its way, for at most ``timeout``, and leave the bus. Does nothing the second time."""
        if self._state == "started":
            self._state = "stopped"
            if self._link is not None:
                await self._link.stop()
            if self._teller is not None:
                self._teller.cancel()
                await asyncio.wait([self._teller])
            for connection in list(self._rooms):
                self._ended(connection)
                connection.forget_at_end(self._ended)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def is_connected(self) -> bool:
        """True while messages go to other processes, and come from there."""
        return self._link is not None and self._link.is_up

    def _check_started(self) -> None:
        if self._state != "started":
            how = "" if self._state == "stopped" else ": use 'async with rooms:', or 'await rooms.start()'"
            raise RuntimeError(f"these rooms are {self._state}{how}")

    # Members

    def join(self, room: str, member: Any) -> bool:
        """Let a connection get the messages to a room, until it leaves or is closed. Does not wait.

        ``member`` is a connection of ``serve``, of a listener or of ``connect``; or a WebSocket of Starlette or
        FastAPI, or an ASGI scope, if uvicorn runs with ``--ws wsfast.uvicorn:WebSocketProtocol``. To join twice is the
        same as once. Returns False, and does nothing, if the connection is closed or closing.

        Raises:
            RuntimeError: the rooms are not started, or stopped; or the WebSocket is not accepted yet.
            TypeError: the member has no connection of ours, or the room is no ``str``.
            ValueError: the room is above 1,000 bytes in UTF-8, or has a lone surrogate.
        """
        self._check_started()
        _check_name(room)
        connection = connection_of(member)
        if not is_open(connection):
            return False
        members = self._members.get(room)
        if members is None:
            members = self._members[room] = {}
            if self._link is not None:
                self._link.room_changed(room)
        members.setdefault(connection, member)
        rooms = self._rooms.get(connection)
        if rooms is None:
            rooms = self._rooms[connection] = {}
            connection.call_at_end(self._ended)
        rooms[room] = None
        return True

    def leave(self, room: str, member: Any) -> bool:
        """Let a connection get no more messages to a room; return False if it was not in it."""
        connection = connection_of(member)
        rooms = self._rooms.get(connection, {})
        if room not in rooms:
            return False
        del rooms[room]
        if not rooms:
            del self._rooms[connection]
            connection.forget_at_end(self._ended)
        self._remove(room, connection)
        return True

    def _remove(self, room: str, connection: Any) -> None:
        members = self._members[room]
        del members[connection]
        if not members:
            del self._members[room]
            if self._link is not None:
                self._link.room_changed(room)

    def _ended(self, connection: Any) -> None:
        for room in self._rooms.pop(connection, ()):
            self._remove(room, connection)

    def rooms_of(self, member: Any) -> set[str]:
        """Return the rooms in which a connection is."""
        return set(self._rooms.get(connection_of(member), ()))

    def members(self, room: str) -> list[Any]:
        """Return the members of a room in this process, as they joined."""
        return list(self._members.get(room, {}).values())

    def __len__(self) -> int:
        """The number of rooms with members in this process."""
        return len(self._members)

    def __bool__(self) -> bool:
        return True

    async def subscribed(self, room: str) -> None:
        """Wait until messages of other processes come to a room, or it has no members here any more.

        Nobody has to wait for it. It takes as long as the bus is away. Without a bus it returns at once.
        """
        self._check_started()
        if self._link is not None:
            await self._link.wait_subscribed(room)

    # Messages

    def publish(
        self,
        room: str,
        message: str | Buffer,
        *,
        text: bool | None = None,
        slow: Policy = "close",
        coalesce: str | None = None,
    ) -> Publication:
        """Send a message to all members of a room, here and in other processes. Does not wait.

        ``text``, ``slow`` and ``coalesce`` are those of ``broadcast``, in each process; the key of ``coalesce`` is a
        ``str``, as it goes over the bus. Members get the messages of a publisher in order. With a bus the message
        comes back from it, so that all members of a room get all messages in the broker's order; while the bus is away,
        it goes to the members of this process at once.

        Returns an awaitable of the report of ``broadcast`` for this process. Await it where many are published, so that
        the bus can keep up.

        Raises:
            RuntimeError: the rooms are not started, or stopped.
            TypeError: a message, a key or a room of another type.
            ValueError: text that is not UTF-8; a message above ``max_size``; a key above 1 KiB; ``slow`` is no policy.
        """
        self._check_started()
        _check_name(room)
        if coalesce is not None and not isinstance(coalesce, str):
            raise TypeError(f"the key of coalesce must be str, not {type(coalesce).__name__}")
        delivery, policy = delivery_of(message, text, slow, coalesce)
        size = delivery.size
        if size > self._max_size:
            raise ValueError(f"message of {size} bytes exceeds max_size {self._max_size}")
        publication = Publication(room, delivery, policy)
        if self._link is None:
            self._deliver(publication)
            return publication
        message = delivery.message
        payload = message.encode() if isinstance(message, str) else message
        is_text = isinstance(message, str) if text is None else text
        key = None if coalesce is None else coalesce.encode()
        if key is not None and len(key) > MAX_KEY_SIZE:
            raise ValueError(f"key of coalesce of {len(key)} bytes is longer than {MAX_KEY_SIZE}")
        self._link.publish(publication, Kind.TEXT if is_text else Kind.BINARY, payload, key)
        return publication

    def _deliver(self, publication: Publication) -> int:
        """Serve the members here; return their number."""
        members = self._members.get(publication.room, ())
        publication.settle(deliver(members, publication.delivery, publication.slow))
        return len(members)

    def _received(self, room: str, envelope: Envelope) -> int:
        members = self._members.get(room, ())
        if members:
            deliver(members, Delivery(envelope.message, None, envelope.key), envelope.slow)
        return len(members)

    # Gaps

    def _note_gaps(self, rooms: Iterable[str]) -> None:
        if self._on_gap is None:
            return
        self._gaps.update(dict.fromkeys(room for room in rooms if room in self._members))
        if self._gaps and (self._teller is None or self._teller.done()):
            self._teller = asyncio.get_running_loop().create_task(self._tell_gaps(self._on_gap))

    async def _tell_gaps(self, on_gap: Callable[[str], object]) -> None:
        while self._gaps:
            room = next(iter(self._gaps))
            del self._gaps[room]
            try:
                result = on_gap(room)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                self._logger.exception("on_gap failed")
            await asyncio.sleep(0)


def _check_name(room: object) -> None:
    if not isinstance(room, str):
        raise TypeError(f"the name of a room must be str, not {type(room).__name__}")
    if len(room) > _MAX_NAME_SIZE or not room.isascii():  # else it is short enough in any case
        size = len(room.encode())  # UnicodeEncodeError, a ValueError, for a lone surrogate
        if size > _MAX_NAME_SIZE:
            raise ValueError(f"name of a room of {size} bytes is longer than {_MAX_NAME_SIZE}")
