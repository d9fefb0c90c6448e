"""``broadcast``: one message to many connections, framed once, without waiting for any of them.

What happens if a peer reads too slowly is the session's: ``session/backlog.py`` has the table of the policies.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from ..common.awaiting import AwaitableReport
from ..common.reports import Policy, delivery_of, log_skipped
from ..connection import ReadyState
from ..exceptions import ConcurrencyError
from ..session import Outcome
from .connection import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BroadcastReport", "Outcome", "broadcast"]


class BroadcastReport(AwaitableReport[Connection]):
    """The fate of a message on each connection, when ``broadcast`` returned. Made by ``broadcast``.

    ``await report`` waits until the peers that read slowly have taken the message, or are gone.
    """

    __slots__ = ()


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

    All is as in ``wsfast.asyncio.broadcast``: what is shared, the policies of ``slow``, ``coalesce``, and the report.

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
        if connection.protocol.ready_state is not ReadyState.OPEN:
            others.append((Outcome.CLOSED, connection))
        elif connection.is_fragmenting:
            others.append((Outcome.SKIPPED, connection))
            if raise_exceptions:
                exceptions.append(ConcurrencyError("a message of fragments is being sent"))
            else:
                log_skipped(connection)
        elif (outcome := connection.deliver(delivery, policy)) is not Outcome.SENT:
            others.append((outcome, connection))
    if exceptions:
        raise ExceptionGroup("skipped broadcast", exceptions)
    return BroadcastReport(len(targets), others)
