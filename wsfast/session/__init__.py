"""What an open connection does over time: queue, back-pressure, batches, keepalive, and the orderly end.

``Session`` is what an adapter inherits. Two rules hold in every room:

- No event loop, no thread, no socket, no clock. Time is an argument, a deadline comes out.
- Every wait has a name and a bound; ``ending.py`` and ``keepalive.py`` have the tables.
"""

from .base import Data, Deadline, Stage, queue_limits
from .receiving import HANDSHAKE, MAX_QUEUE_SIZE, QUEUE, TURN_BOUNDS
from .session import Session
from .writing import MAX_BATCH_SIZE, MAX_UNSENT_SIZE, SENDS_PER_TURN

__all__ = [
    "HANDSHAKE",
    "MAX_BATCH_SIZE",
    "MAX_QUEUE_SIZE",
    "MAX_UNSENT_SIZE",
    "QUEUE",
    "SENDS_PER_TURN",
    "TURN_BOUNDS",
    "Data",
    "Deadline",
    "Session",
    "Stage",
    "queue_limits",
]
