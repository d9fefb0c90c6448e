"""Rooms: a message to all members of a room, in this process and in others, over Redis or NATS.

``wsfast.rooms.redis`` and ``wsfast.rooms.nats`` have the buses; docs/rooms.md has examples.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .bus import Bus
from .publication import Publication
from .rooms import Rooms

__all__ = ["Bus", "Publication", "Rooms"]

if not TYPE_CHECKING:  # As a module with ``__getattr__`` has every name, for type checkers.

    def __getattr__(name):
        if name in ("nats", "redis"):  # when they are used, as they import a client
            try:
                return import_module(f".{name}", __name__)
            except ModuleNotFoundError as missing:
                raise AttributeError(f"{__name__}.{name} needs: pip install 'wsfast[{name}]'") from missing
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
