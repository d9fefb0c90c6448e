"""``broadcast``: one message to many connections, framed once, without waiting for any of them.

It is also compressed once for all server connections that compress each message without the ones before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from ..codec import Role
from ..connection import ReadyState
from ..deflate import Agreement, Deflater
from ..exceptions import ConcurrencyError
from .connection import Connection
from .sending import is_buffer

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["broadcast"]


def broadcast(
    connections: Iterable[Connection],
    message: str | Buffer,
    raise_exceptions: bool = False,
    *,
    text: bool | None = None,
) -> None:
    """Send one message to many connections, without waiting for any of them.

    Framing is done once for all server connections, and once for each client (RFC 6455 5.3: each has its own masking
    key). Compressing is done once for all server connections that agreed on the same without context takeover
    (``Deflate(server_no_context_takeover=True)``), and once for each of the others.

    ``text`` is that of ``Connection.send``: True sends bytes as text, False a ``str`` as binary.

    A connection that is not open is skipped. A connection that is inside a fragmented message cannot take another
    message: it is skipped, with one warning for each connection. There is no back-pressure: bytes that a slow peer does
    not read stay in memory. A connection with more than 16 MiB of them gets no message, but fails with 1008. If a
    peer reads nothing, the keepalive ends its connection.

    Raises:
        TypeError: a message of another type.
        ValueError: text that is not UTF-8.
        ExceptionGroup: with ``raise_exceptions``, at the end: the connections inside a fragmented message.
    """
    if not isinstance(message, str | bytes) and not is_buffer(message):
        raise TypeError(f"a message must be str or bytes-like, not {type(message).__name__}")
    framed: dict[Agreement | None, bytes] = {}  # by the shared agreement; None: not compressed
    exceptions: list[Exception] = []
    for connection in connections:
        protocol = connection.protocol
        if protocol.ready_state is not ReadyState.OPEN:
            continue
        if connection.is_fragmenting:
            if raise_exceptions:
                exceptions.append(ConcurrencyError("a message of fragments is being sent"))
            else:
                # The peer's pace decides how long a message of fragments takes: so one line a connection.
                level = logging.DEBUG if connection._has_skipped else logging.WARNING
                connection._has_skipped = True
                connection.logger.log(level, "skipped broadcast: a message of fragments is being sent")
            continue
        encoder = protocol.encoder
        deflate = cast("Deflater | None", encoder.deflate)
        agreement = None if deflate is None else deflate.shared_with
        shares = protocol.role is Role.SERVER and (deflate is None or agreement is not None)
        frame = framed.get(agreement) if shares else None
        if frame is None:
            frame = encoder.message(message, text)
            if shares:
                framed[agreement] = frame
        connection.send_nowait(frame)
    if exceptions:
        raise ExceptionGroup("skipped broadcast", exceptions)
