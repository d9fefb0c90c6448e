"""A message of ``broadcast``, checked, and the report of its fate on each connection."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from ..session import Delivery, Outcome, Session, Slow
from .messages import is_buffer

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Policy", "Report", "delivery_of", "log_skipped"]

Policy: TypeAlias = Literal["close", "wait", "drop_newest", "drop_oldest"]

_Connection = TypeVar("_Connection", bound=Session)
_WAITING = (Outcome.WAITING, Outcome.REPLACED, Outcome.DISPLACED)


class _Skipped(Protocol):
    _has_skipped: bool

    @property
    def logger(self) -> logging.LoggerAdapter[Any]: ...


def delivery_of(
    message: str | Buffer, text: bool | None, slow: str, coalesce: Hashable
) -> tuple[Delivery, Slow]:
    """Return the message and the policy of a call of ``broadcast``.

    Raises:
        TypeError: a message of another type, or a key that cannot be hashed.
        ValueError: ``slow`` is no policy.
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
    return Delivery(message, text, coalesce), policy


def log_skipped(connection: _Skipped) -> None:
    """Tell the log that a message of fragments was being sent, so that there was no place for a broadcast."""
    # The peer's pace decides how long a message of fragments takes: so one line a connection.
    level = logging.DEBUG if connection._has_skipped else logging.WARNING
    connection._has_skipped = True
    connection.logger.log(level, "skipped broadcast: a message of fragments is being sent")


class Report(Generic[_Connection]):
    """The fate of a message on each connection. The numbers are of connections; their sum is ``len(report)``."""

    __slots__ = ("_n", "_others", "_waiting")

    def __init__(self, n: int, others: list[tuple[Outcome, _Connection]]) -> None:
        self._n = n
        self._others = others  # all but those to which it was sent, which are usually none
        self._waiting = [
            (connection, backlog, backlog.end)
            for outcome, connection in others
            if outcome in _WAITING and (backlog := connection._backlog) is not None
        ]

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

    def connections(self, outcome: Outcome) -> list[_Connection]:
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
