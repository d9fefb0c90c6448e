"""For tests of programs that use ``wsfast``: connections without sockets, a peer that does what it is told, and time.

- ``pair()``: two ends that are connected. ``connect_to(handler)``: a client of a handler.
- ``ScriptedPeer``: one end, and a peer that sends any frame, or any bytes, and sees every frame.
- ``run(main)``: like ``asyncio.run``, but time jumps to the next timer when there is nothing else to do.

Without sockets the order of everything is the same each time. docs/testing.md has examples.
"""

from __future__ import annotations

from .clock import JumpingLoop, run
from .memory import MemoryTransport
from .pairs import Pair, connect_to, pair
from .scripted import ScriptedPeer

__all__ = ["JumpingLoop", "MemoryTransport", "Pair", "ScriptedPeer", "connect_to", "pair", "run"]
