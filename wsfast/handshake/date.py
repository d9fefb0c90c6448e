"""The header ``Date`` of a response (RFC 9110 6.6.1): the one place in the manners that reads a clock."""

from __future__ import annotations

import email.utils
import time

__all__ = ["date_now"]

_last = (0, "")


def date_now() -> str:
    """Return the value of ``Date``, an IMF-fixdate (RFC 9110 5.6.7).

    It is made once a second: made anew it would be a twentieth of a handshake (benchmarks/servers/handshakes.py).
    """
    global _last
    second, text = _last
    now = int(time.time())
    if now != second:
        text = email.utils.formatdate(now, usegmt=True)
        _last = (now, text)
    return text
