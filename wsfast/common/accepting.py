"""Errors of ``accept``: those of the connection that was to be accepted, and those of a system that has no room.

After one of the latter accepting pauses for a second, and says so once a minute at most.
"""

from __future__ import annotations

import errno

from ..typing import LoggerLike

__all__ = ["EXHAUSTED", "OF_THE_NETWORK", "RETRY_DELAY", "Exhaustion"]

# Seconds.
RETRY_DELAY = 1.0
WARNING_INTERVAL = 60.0

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# accept(2): errors of the connection that was to be accepted. The next one may be fine.
OF_THE_NETWORK = {
    getattr(errno, name, None)
    for name in (
        "EPERM",
        "EPROTO",
        "ENOPROTOOPT",
        "ENETDOWN",
        "ENETUNREACH",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENONET",
        "EOPNOTSUPP",
    )
}


class Exhaustion:
    """The warnings of one server."""

    def __init__(self, logger: LoggerLike) -> None:
        self._logger = logger
        self._warned_at = float("-inf")

    def tell(self, error: OSError, now: float) -> None:
        """Tell the log, unless that was done within the last minute; ``now``: seconds of any clock."""
        if now - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = now
            self._logger.warning(
                "new connections have to wait, as the system has no room for them: %s (ulimit -n raises the limit)",
                error.strerror,
            )
