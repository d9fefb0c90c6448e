"""Requests and responses by the place where users of ``websockets`` look for them; ``wsfast.handshake`` has them.

Nothing is defined here.
"""

from __future__ import annotations

from .handshake import SERVER, USER_AGENT
from .http import Request, Response

__all__ = ["SERVER", "USER_AGENT", "Request", "Response"]
