"""``Limits``: everything a peer may take, in one object, for each adapter and for the codec (RFC 6455 10.4).

A limit that is reached has one of four ends: the connection fails with a close code, the handshake is refused with a
HTTP status, the peer has to wait, or a message of a broadcast is dropped. ``docs/limits.md`` has the table.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TypedDict, cast

__all__ = ["Limits", "check_seconds", "queue_limits"]


class CodecOptions(TypedDict):
    """The limits that the codec keeps, as arguments of ``MessageDecoder`` and of ``wsfast.connection.Connection``."""

    max_message_size: int | None
    max_frame_size: int | None
    max_fragments: int | None


def queue_limits(max_queue: int | tuple[int | None, int | None] | None) -> tuple[int | None, int]:
    """Return the number of queued messages above which reading pauses, and the one at which it goes on.

    Raises:
        ValueError: a mark is out of range, or the low one is not below the high one.
    """
    high, low = max_queue if isinstance(max_queue, tuple) else (max_queue, None)
    if high is None:
        return None, 0
    if low is None:
        low = high // 4
    if high < 0 or not 0 <= low <= high or (low == high > 0):
        raise ValueError(f"max_queue must be at least 0, and its low mark below the high one: {max_queue}")
    return high, low


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The shares of one peer, and of all together. The defaults are those of ``connect`` and ``serve``.

    Received messages:

    - ``max_message_size``: bytes of a message, inflated; more fails with 1009. None is no limit.
    - ``max_frame_size``: bytes of a frame; more fails with 1009. None is no limit.
    - ``max_fragments``: frames of a message; more fails with 1009. None is no limit.
    - ``max_ratio``: as that of ``Deflate``, which counts if it is set there, too: more fails with 1009.
    - ``max_queue``: messages that may wait before reading pauses, or ``(high, low)``. None is no limit.
    - ``max_queue_size``: bytes of memory that they may take before reading pauses.
    - ``max_messages_per_second``: messages of a connection; at more, reading pauses until the average is right. As many
      as in one second may come at once. None is no limit.

    Sent messages, if the peer reads slowly:

    - ``max_unsent_size``: bytes that it may leave untaken where nobody waits for it: a broadcast fails with 1008.
    - ``max_backlog``, ``max_backlog_size``: messages, and their bytes, that wait of broadcasts which may drop some.

    Connections, and their opening handshake:

    - ``max_connections``: of a server; one more is refused with 503. None is no limit.
    - ``max_connections_per_address``: of one IPv4 address, or of one IPv6 network of 64 bits; one more is refused with
      429. Behind a proxy all have the proxy's address. None is no limit.
    - ``max_head_size``: bytes of the peer's request or response, without its body. A request is refused with 431.
    - ``open_timeout``: seconds for the opening handshake, then TCP is cut. None is no limit.

    Raises:
        TypeError: a limit is no number.
        ValueError: a limit is out of range.
    """

    max_message_size: int | None = 2**20
    max_frame_size: int | None = None
    max_fragments: int | None = 131_072
    max_ratio: int | None = None
    max_queue: int | tuple[int | None, int | None] | None = 16
    max_queue_size: int = 16 * 2**20
    max_messages_per_second: float | None = None
    max_unsent_size: int = 16 * 2**20
    max_backlog: int = 1024
    max_backlog_size: int = 2**20
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_head_size: int = 16_384
    open_timeout: float | None = 10

    def __post_init__(self) -> None:
        for name, least, may_be_none in _INTEGERS:
            value = getattr(self, name)
            if value is None and may_be_none:
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an int{' or None' if may_be_none else ''}, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        check_seconds("open_timeout", self.open_timeout)
        queue_limits(self.max_queue)
        rate = self.max_messages_per_second
        if rate is not None and not rate > 0:
            raise ValueError(f"max_messages_per_second must be above 0, not {rate}")

    def codec_options(self) -> CodecOptions:
        """Return the limits of the codec: ``MessageDecoder(role, **limits.codec_options())``."""
        return {
            "max_message_size": self.max_message_size,
            "max_frame_size": self.max_frame_size,
            "max_fragments": self.max_fragments,
        }


# Name, smallest value, and whether None is allowed.
_INTEGERS = (
    ("max_message_size", 0, True),
    ("max_frame_size", 0, True),
    ("max_fragments", 1, True),
    ("max_ratio", 1, True),
    ("max_queue_size", 1, False),
    ("max_unsent_size", 1, False),
    ("max_backlog", 1, False),
    ("max_backlog_size", 1, False),
    ("max_connections", 0, True),
    ("max_connections_per_address", 0, True),
    ("max_head_size", 256, False),
)


def check_seconds(name: str, value: object) -> None:
    """Check a time limit: a number of seconds, or None.

    Raises:
        TypeError: it is another thing.
        ValueError: it is negative, or not a number.
    """
    if value is None:
        return
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if not cast("float", value) >= 0:
        raise ValueError(f"{name} must be at least 0 seconds, not {value}")
