"""States and roles by the place and the names that users of ``websockets`` know.

Nothing is defined here: ``State`` is ``wsfast.connection.ReadyState``, ``Side`` is ``wsfast.codec.Role``. There is no
``Protocol``: ``wsfast.connection.Connection`` is the connection without I/O, with other methods.
"""

from __future__ import annotations

from .connection import ReadyState as State
from .events import Role as Side

__all__ = ["Side", "State"]
