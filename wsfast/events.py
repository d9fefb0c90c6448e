"""The words both codecs speak: roles, opcodes, close codes, and what ``feed`` returns.

Two rules. A data message is no class of ours: a text message is a ``str``, a binary one a ``bytes``.
Everything else that a decoder returns is one of the small classes below, to be read and not written, and the
two codecs share them, so that their output can be compared with ``==``.

This file knows nothing of parsing, sockets or handshakes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "Close",
    "CloseCause",
    "CloseCode",
    "Event",
    "Failure",
    "FailureKind",
    "Fragment",
    "Frame",
    "FrameHeader",
    "Opcode",
    "Ping",
    "Pong",
    "Role",
    "is_sendable_close_code",
]


class Role(enum.Enum):
    """Which endpoint *we* are. A client masks what it sends, a server requires it (RFC 6455 5.1)."""

    CLIENT = "client"
    SERVER = "server"


class Opcode(enum.IntEnum):
    """The opcodes in use (RFC 6455 5.2); 3 to 7 and 11 to 15 are reserved."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
    CONT = CONTINUATION  # the name that ``websockets`` has


class CloseCause(enum.Enum):
    """The cause of a connection's end: the first of these that happened."""

    PEER = "peer"
    """The peer sent a Close frame."""
    LOCAL = "local"
    """We sent one: somebody called ``close``, a handler ended, or the server is closing."""
    KEEPALIVE = "keepalive"
    """The peer showed no sign of life within ``ping_timeout``."""
    PROTOCOL = "protocol"
    """The peer broke a rule of RFC 6455 or 7692; ``failure`` says which."""
    LIMIT = "limit"
    """The peer exceeded a limit of ours (RFC 6455 10.4), or it reads too slowly."""
    TRANSPORT = "transport"
    """TCP or TLS was closed, or broke, without a Close frame."""


class CloseCode(enum.IntEnum):
    """The close codes of RFC 6455 7.4.1 and of IANA's registry."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    NO_STATUS_RCVD = NO_STATUS_RECEIVED  # this name and the next are those of ``websockets``
    INVALID_DATA = INVALID_PAYLOAD_DATA


def is_sendable_close_code(code: int) -> bool:
    """Tell whether ``code`` may stand in a Close frame.

    1004 is reserved, 1005, 1006 and 1015 are never sent (RFC 6455 7.4.1); 1016 to 2999 are unassigned,
    3000 to 4999 belong to libraries and applications (7.4.2).
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


@dataclass(frozen=True, slots=True)
class Ping:
    """A Ping frame (RFC 6455 5.5.2). ``payload``: at most 125 bytes."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Pong:
    """A Pong frame (RFC 6455 5.5.3). ``payload``: at most 125 bytes."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Close:
    """A Close frame (RFC 6455 5.5.1). An empty one has the code 1005, which is never on the wire (7.1.5)."""

    code: int = CloseCode.NO_STATUS_RECEIVED
    reason: str = ""


FailureKind: TypeAlias = Literal[
    "RESERVED_BITS",
    "RESERVED_OPCODE",
    "NOT_MASKED",
    "MASKED",
    "CONTROL_FRAGMENTED",
    "CONTROL_TOO_LONG",
    "NOTHING_TO_CONTINUE",
    "MESSAGE_UNFINISHED",
    "TOO_MANY_FRAGMENTS",
    "LENGTH_TOP_BIT",
    "LENGTH_NOT_MINIMAL",
    "FRAME_TOO_BIG",
    "MESSAGE_TOO_BIG",
    "COMPRESSED_CONTINUATION",
    "DEFLATED_TOO_BIG",
    "INFLATED_TOO_BIG",
    "RATIO_TOO_HIGH",
    "INFLATE_FAILED",
    "TEXT_NOT_UTF8",
    "CLOSE_PAYLOAD_OF_ONE_BYTE",
    "INVALID_CLOSE_CODE",
    "CLOSE_REASON_NOT_UTF8",
]
"""Which rule the peer broke: the names of ``wsfast_verdict`` in C, and those of ``faults`` for payloads."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the peer did wrong, as data: the connection has to be failed with ``code`` (RFC 6455 7.1.7).

    ``reason`` fits into a Close frame (at most 123 bytes of ASCII). ``section`` is the part of RFC 6455 that was
    violated, such as ``"5.2"``; that of another RFC begins with its name, as in ``"RFC 7692 6.1"``. ``kind`` names the
    rule for programs, and ``numbers`` are those in the text, in their order, such as a size and its limit. Failures
    with the same text are equal.
    """

    code: int
    reason: str
    section: str
    kind: FailureKind | Literal[""] = field(default="", compare=False)
    numbers: tuple[int, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.code}: {self.reason} ({self.reference})"

    @property
    def reference(self) -> str:
        """The section with the name of its RFC."""
        return self.section if self.section.startswith("RFC") else f"RFC 6455 {self.section}"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of a message, after ``MessageDecoder.stream_message`` (RFC 6455 5.4).

    ``payload`` is unmasked and inflated. Text is checked, but a part of it may end inside a character; the last one,
    with ``fin``, does not.
    """

    payload: bytes
    is_text: bool = False
    fin: bool = False


# Not frozen: a decoder makes one for each frame, and freezing makes that five times as slow (0.9 us for 0.2).
@dataclass(slots=True, unsafe_hash=True)
class Frame:
    """One frame, or with ``partial=True`` one received part of a data frame (RFC 6455 5.2).

    ``payload`` is unmasked; ``offset`` is its position in the frame's payload, in bytes: above 0 for the
    second and later parts. ``frame_finished`` is False while more of this frame's payload is to come.
    """

    opcode: Opcode
    payload: bytes
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False
    offset: int = 0
    frame_finished: bool = True


@dataclass(slots=True, unsafe_hash=True)
class FrameHeader:
    """The header of a frame (RFC 6455 5.2). A ``FrameDecoder`` with ``headers=True`` tells it once it is judged.

    ``payload_length`` is in bytes. The payload follows, in one ``Frame`` or in parts.
    """

    opcode: Opcode
    payload_length: int
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False


Event: TypeAlias = str | bytes | Ping | Pong | Close | Fragment
