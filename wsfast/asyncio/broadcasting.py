"""``broadcast``: one message to many connections, framed once, without waiting for any of them.

It is also compressed once for all server connections that compress each message without the ones before. What happens
if a peer reads too slowly is the session's: ``session/backlog.py`` has the table of the policies.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from ..codec import Role
from ..common.awaiting import AwaitableReport
from ..common.reports import Policy, delivery_of, log_skipped
from ..connection import ReadyState
from ..exceptions import ConcurrencyError
from ..session import Delivery, Outcome, Slow
from .connection import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BroadcastReport", "Outcome", "broadcast"]

_OPEN, _SERVER = ReadyState.OPEN, Role.SERVER


class BroadcastReport(AwaitableReport[Connection]):
    """The fate of a message on each connection, when ``broadcast`` returned. Made by ``broadcast``.

    The numbers are of connections, and their sum is ``len(report)``. ``await report`` waits until the peers that read
    slowly have taken the message, or are gone, and returns the report; its numbers stay.
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
    return deliver(connections, *delivery_of(message, text, slow, coalesce), raise_exceptions)


def deliver(
    connections: Iterable[Connection], delivery: Delivery, policy: Slow, raise_exceptions: bool = False
) -> BroadcastReport:
    """Send a message that was checked, as ``broadcast`` does."""
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
                log_skipped(connection)
        else:
            outcome = connection.deliver(delivery, policy)
        if outcome is not Outcome.SENT:
            others.append((outcome, connection))
    if exceptions:
        raise ExceptionGroup("skipped broadcast", exceptions)
    return BroadcastReport(len(targets), others)
