"""What the kernel tells of a socket."""

from __future__ import annotations

import struct
from typing import Any

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]

__all__ = ["unsent_size"]


def unsent_size(connected: Any) -> int:
    """Return the bytes of a socket that the peer has not acknowledged, megabytes at times; 0 if nobody can tell."""
    if connected is None or ioctl is None:
        return 0
    try:
        return int(struct.unpack("i", ioctl(connected.fileno(), TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):
        return 0
