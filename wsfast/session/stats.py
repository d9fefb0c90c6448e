"""What a connection has done, in numbers.

What is counted already costs nothing, and is always there. Frames are counted only where it was asked for: there, all
bytes go through a second ``FrameDecoder``, so that the way of a message stays as it is for all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..codec import FrameDecoder, FrameHeader, Opcode, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

__all__ = ["FrameCounter", "RoundTrips", "Stats", "Traffic"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Frames of one direction. Sizes are in bytes."""

    frames: Mapping[Opcode, int]
    """Number of frames of each kind; only of the kinds that came."""
    payload: Mapping[Opcode, int]
    """Payload of the frames of each kind, as it is on the wire: compressed, if the message is."""
    n_messages: int
    """Messages that began."""
    n_compressed: int
    """Those that are compressed (RFC 7692)."""
    compressed_payload: int
    """Payload of the compressed messages, as it is on the wire."""
    size: int
    """All bytes after the opening handshake, with the headers of the frames, and without TLS."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Times between a Ping and its Pong, in seconds. All are 0 before the first Pong."""

    n: int
    last: float
    shortest: float
    longest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Stats:
    """A connection at one moment. Made by ``connection.stats()``. Sizes are in bytes."""

    received: Traffic | None
    """None, unless the connection was made with ``count_frames=True``."""
    sent: Traffic | None
    """The same, of our frames."""
    n_queued: int
    """Received messages that wait to be taken."""
    is_reading_paused: bool
    """True while the peer has to wait."""
    n_backlog: int
    """Messages of broadcasts that wait until the peer reads."""
    backlog_size: int
    """Their bytes, not compressed."""
    batch_size: int
    """Frames that go out at the end of a batch, or at the loop's next turn."""
    unsent_size: int
    """What was written and the peer has not taken: in the transport, and in the kernel if it tells (Linux)."""
    is_writing_blocked: bool
    """True while ``send`` has to wait, as the peer reads slower than we write."""
    n_pings: int
    """Pings that wait for their Pong."""
    round_trips: RoundTrips


class FrameCounter:
    """Counts the frames in the bytes that ``sender`` sends. It stops to count at the first fault."""

    __slots__ = (
        "_compressed_payload",
        "_decoder",
        "_frames",
        "_is_compressed",
        "_n_compressed",
        "_payload",
        "_size",
    )

    def __init__(self, sender: Role) -> None:
        reader = Role.CLIENT if sender is Role.SERVER else Role.SERVER
        self._decoder: Any = FrameDecoder(
            reader, max_frame_size=None, partial=True, headers=True, allowed_rsv=4
        )
        self._frames: dict[Opcode, int] = {}
        self._payload: dict[Opcode, int] = {}
        self._n_compressed = self._compressed_payload = self._size = 0
        self._is_compressed = False

    def feed(self, data: Buffer) -> None:
        """Count the next bytes."""
        self._size += memoryview(data).nbytes
        for event in self._decoder.feed(data):
            if type(event) is not FrameHeader:
                continue
            opcode, size = event.opcode, event.payload_length
            self._frames[opcode] = self._frames.get(opcode, 0) + 1
            self._payload[opcode] = self._payload.get(opcode, 0) + size
            if opcode in (Opcode.TEXT, Opcode.BINARY):
                # RFC 7692 6.1: the first frame says whether the message is compressed.
                self._is_compressed = event.rsv1
                self._n_compressed += event.rsv1
            if self._is_compressed and not opcode & 0x8:
                self._compressed_payload += size

    def traffic(self) -> Traffic:
        return Traffic(
            frames=dict(self._frames),
            payload=dict(self._payload),
            n_messages=self._frames.get(Opcode.TEXT, 0) + self._frames.get(Opcode.BINARY, 0),
            n_compressed=self._n_compressed,
            compressed_payload=self._compressed_payload,
            size=self._size,
        )
