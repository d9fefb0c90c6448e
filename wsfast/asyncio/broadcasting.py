"""``broadcast``: one message to many connections, framed once, without waiting for any of them.

It is also compressed once for all server connections that compress each message without the ones before. What happens
if a peer reads too slowly is the session's: ``session/backlog.py`` has the table of the policies.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..codec import Role
from ..connection import ReadyState
from ..exceptions import ConcurrencyError
from ..session import Backlog, Delivery, Outcome, Slow
from .connection import Connection
from .sending import is_buffer

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BroadcastReport", "Outcome", "broadcast"]

Policy: TypeAlias = Literal["close", "wait", "drop_newest", "drop_oldest"]

_OPEN, _SERVER = ReadyState.OPEN, Role.SERVER
_WAITING = (Outcome.WAITING, Outcome.REPLACED, Outcome.DISPLACED)


class BroadcastReport:
    """The fate of a message on each connection, when ``broadcast`` returned. Made by ``broadcast``.

    The numbers are of connections, and their sum is ``len(report)``. ``await report`` waits until the peers that read
    slowly have taken the message, or are gone, and returns the report; its numbers stay.
    """

    __slots__ = ("_n", "_others", "_waiting")

    def __init__(
        self,
        n: int,
        others: list[tuple[Outcome, Connection]],
        waiting: list[tuple[Connection, Backlog, int]],
    ) -> None:
        self._n = n
        self._others = others  # all but those to which it was sent, which are usually none
        self._waiting = waiting

    def __len__(self) -> int:
        return self._n

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        counts = {"sent": self.sent} | {
            name: number
            for name in ("waiting", "dropped", "failed", "closed", "skipped")
            if (number := getattr(self, name))
        }
        return f"<BroadcastReport: {', '.join(f'{number} {name}' for name, number in counts.items())}>"

    def connections(self, outcome: Outcome) -> list[Connection]:
        """Return the connections with this outcome; for any but ``Outcome.SENT``.

        Raises:
            ValueError: ``Outcome.SENT``: the others are known, and those are not kept.
        """
        if outcome is Outcome.SENT:
            raise ValueError("a report keeps no list of the connections to which the message was sent")
        return [connection for each, connection in self._others if each is outcome]

    def _count(self, *outcomes: Outcome) -> int:
        return sum(each in outcomes for each, _ in self._others)

    @property
    def sent(self) -> int:
        """The message was written."""
        return self._n - len(self._others)

    @property
    def waiting(self) -> int:
        """The message waits until the peer reads; those of ``coalesced`` and ``displaced`` are among them."""
        return self._count(*_WAITING)

    @property
    def coalesced(self) -> int:
        """The message took the place of one with the same key, which waited."""
        return self._count(Outcome.REPLACED)

    @property
    def displaced(self) -> int:
        """Messages that waited longer were dropped for this one."""
        return self._count(Outcome.DISPLACED)

    @property
    def dropped(self) -> int:
        """The message was dropped."""
        return self._count(Outcome.DROPPED)

    @property
    def failed(self) -> int:
        """The connection was failed with 1008, because its peer reads too slowly."""
        return self._count(Outcome.FAILED)

    @property
    def closed(self) -> int:
        """The connection was not open."""
        return self._count(Outcome.CLOSED)

    @property
    def skipped(self) -> int:
        """The connection was inside a message of fragments."""
        return self._count(Outcome.SKIPPED)

    async def _wait(self) -> BroadcastReport:
        for connection, backlog, end in self._waiting:
            await connection.wait_taken(backlog, end)
        return self

    def __await__(self) -> Generator[Any, None, BroadcastReport]:
        return self._wait().__await__()


def broadcast(
    connections: Iterable[Connection],
    message: str | Buffer,
    raise_exceptions: bool = False,
    *,
    text: bool | None = None,
    slow: Policy = "close",
    coalesce: Hashable = None,
) -> BroadcastReport:
    """Send one message to many connections, without waiting for any of them, and report.

    Framing is done once for all server connections, and once for each client (RFC 6455 5.3: each has its own masking
    key). Compressing is done once for all server connections that agreed on the same without context takeover
    (``Deflate(server_no_context_takeover=True)``), and once for each of the others: with context takeover the bytes
    depend on the messages before, so that they cannot be shared. ``text`` is that of ``send``.

    A connection that is not open is skipped. A connection that is inside a fragmented message cannot take another
    message: it is skipped, with one warning for each connection.

    ``slow`` says what happens if a peer reads slower than we write. If a peer reads nothing, the keepalive ends its
    connection in any case.

    - ``"close"``: the message is written all the same. A connection with more than 16 MiB untaken fails with 1008.
    - ``"wait"``: the message waits, and ``await broadcast(...)`` waits for it. Above 16 MiB it is as with ``"close"``.
    - ``"drop_newest"``: the message waits, unless 1,024 messages, or 1 MiB, wait: then it is dropped.
    - ``"drop_oldest"``: the same, but the messages that wait longest are dropped for it.

    ``coalesce``: a key. The message takes the place of a message that waits with the same key, such as the price of the
    same share; the order of the others stays. ``send`` waits until the messages before it were taken.

    Raises:
        TypeError: a message of another type, or a key that cannot be hashed.
        ValueError: text that is not UTF-8, or ``slow`` is no policy.
        ExceptionGroup: with ``raise_exceptions``, at the end: the connections inside a fragmented message.
    """
    if not isinstance(message, str | bytes):
        if not is_buffer(message):
            raise TypeError(f"a message must be str or bytes-like, not {type(message).__name__}")
        message = bytes(message)  # it may have to wait, and the caller may change it
    try:
        policy = Slow(slow)
    except ValueError:
        names = ", ".join(each.value for each in Slow)
        raise ValueError(
            f"slow must be one of {names}, not {slow!r}; coalesce=key replaces a message"
        ) from None
    hash(coalesce)
    delivery = Delivery(message, text, coalesce)
    targets = list(connections)
    others: list[tuple[Outcome, Connection]] = []
    exceptions: list[Exception] = []
    plain: bytes | None = None  # the frame for a server's connection that does not compress
    for connection in targets:
        protocol = connection.protocol
        if not (connection.is_fragmenting or connection._blocked or connection._batch or connection._pauses):
            # The usual case: nothing stands before the message. Each call less is a part of a delivery (fanout).
            transport = connection.transport
            if protocol.ready_state is _OPEN and not transport.is_closing():
                if protocol.role is _SERVER and protocol.encoder.deflate is None:
                    if plain is None:
                        plain = delivery.frame_for(protocol)
                    transport.write(plain)
                else:
                    transport.write(delivery.frame_for(protocol))
                continue
        if protocol.ready_state is not _OPEN:
            outcome = Outcome.CLOSED
        elif connection.is_fragmenting:
            outcome = Outcome.SKIPPED
            if raise_exceptions:
                exceptions.append(ConcurrencyError("a message of fragments is being sent"))
            else:
                # The peer's pace decides how long a message of fragments takes: so one line a connection.
                level = logging.DEBUG if connection._has_skipped else logging.WARNING
                connection._has_skipped = True
                connection.logger.log(level, "skipped broadcast: a message of fragments is being sent")
        else:
            outcome = connection.deliver(delivery, policy)
        if outcome is not Outcome.SENT:
            others.append((outcome, connection))
    if exceptions:
        raise ExceptionGroup("skipped broadcast", exceptions)
    waiting = [
        (connection, backlog, backlog.end)
        for outcome, connection in others
        if outcome in _WAITING and (backlog := connection._backlog) is not None
    ]
    return BroadcastReport(len(targets), others, waiting)
