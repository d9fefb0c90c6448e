"""``broadcast``: one message to many connections, framed once, without waiting for any of them.

``session/backlog.py`` has the table of what happens if a peer reads too slowly.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

from ..common.reports import Policy, Report, delivery_of, log_skipped
from ..connection import ReadyState
from ..exceptions import ConcurrencyError
from ..session import Outcome
from .connection import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BroadcastReport", "broadcast"]


class BroadcastReport(Report[Connection]):
    """The fate of a message on each connection, when ``broadcast`` returned. Made by ``broadcast``."""

    __slots__ = ()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the peers that read slowly have taken the message, or are gone; return False if time is over."""
        until = None if timeout is None else time.monotonic() + timeout
        return all(connection.wait_taken(backlog, end, until) for connection, backlog, end in self._waiting)


def broadcast(
    connections: Iterable[Connection],
    message: str | Buffer,
    *,
    raise_exceptions: bool = False,
    text: bool | None = None,
    slow: Policy = "close",
    coalesce: Hashable = None,
    **kwargs: Any,
) -> BroadcastReport:
    """Send one message to many connections, without waiting for any of them, and report.

    The arguments and the rules are those of ``wsfast.asyncio.broadcast``. There is no thread for each connection: what
    a peer does not take at once is written by the thread that looks after connections. So arguments for a pool of
    threads (``max_workers``, ...) are taken, and change nothing.

    Raises:
        TypeError: a message of another type, or a key that cannot be hashed.
        ValueError: text that is not UTF-8, or ``slow`` is no policy.
        ExceptionGroup: with ``raise_exceptions``, at the end: the connections inside a fragmented message.
    """
    delivery, policy = delivery_of(message, text, slow, coalesce)
    targets = list(connections)
    others: list[tuple[Outcome, Connection]] = []
    exceptions: list[Exception] = []
    for connection in targets:
        with connection._lock:
            if connection.protocol.ready_state is not ReadyState.OPEN:
                outcome = Outcome.CLOSED
            elif connection.is_fragmenting:
                outcome = Outcome.SKIPPED
                if raise_exceptions:
                    exceptions.append(ConcurrencyError("a message of fragments is being sent"))
                else:
                    log_skipped(connection)
            else:
                outcome = connection.deliver(delivery, policy)
                connection._settle()
        if outcome is not Outcome.SENT:
            others.append((outcome, connection))
    if exceptions:
        raise ExceptionGroup("skipped broadcast", exceptions)
    return BroadcastReport(len(targets), others)
