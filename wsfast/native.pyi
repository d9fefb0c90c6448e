"""The codec's interface, the same for ``wsfast.native`` and ``wsfast.fallback``, name for name.

Buffers: every argument called ``data``, ``chunk``, ``payload`` or ``buffer`` takes any C-contiguous
bytes-like object (``bytes``, ``bytearray``, ``memoryview``, ``array.array``, ``mmap``), read as raw bytes.
It is borrowed for the call only, and what comes back is always a new object.

Mistakes of the caller are exceptions, and change nothing: ``TypeError`` for an object that is not
bytes-like, ``BufferError`` for one that is not contiguous (or not writable, where that is needed),
``ValueError`` for a value out of range, ``RuntimeError`` for a call out of order.
A peer's mistake is data: see ``failure``.
"""

from collections.abc import Callable, Iterator
from typing import Final, Generic, Literal, Protocol, overload

from typing_extensions import Buffer, TypeVar

from .events import Event, Failure, Fragment, Frame, FrameHeader, Role

IMPLEMENTATION: Final[str]
KERNEL: Final[str]

def apply_mask(data: Buffer, masking_key: Buffer) -> bytes:
    """Mask or unmask ``data``: XOR with the 4-byte ``masking_key``, repeated (RFC 6455 5.3).

    Raises ``ValueError`` unless the key has 4 bytes.
    """

def mask_inplace(buffer: Buffer, masking_key: Buffer, phase: int = 0) -> int:
    """Mask or unmask a writable ``buffer`` in place, from ``phase`` in the key on (RFC 6455 5.3).

    ``phase`` (0 to 3) is the position in the key at which the buffer starts. Returns the phase at which
    the next piece of the same payload starts, so that pieces compose. Raises ``BufferError`` for a
    read-only buffer, ``ValueError`` for a key that has not 4 bytes or a phase out of range.
    """

def utf8_valid(data: Buffer) -> bool:
    """Tell whether ``data`` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)."""

class Utf8Validator:
    """Check UTF-8 as it arrives, in pieces cut anywhere (RFC 6455 8.1)."""

    def __init__(self) -> None: ...
    def feed(self, data: Buffer) -> bool:
        """Check the next piece. False from the first byte that no continuation could mend, and ever after."""

    @property
    def complete(self) -> bool:
        """True when all that was fed is valid and does not end inside a character."""

    def reset(self) -> None:
        """Start anew, as after construction."""

class MessageDecoder:
    """Bytes in, messages out (RFC 6455 5 and 8.1). Not for use by two threads at once.

    ``role`` is ours: a server requires masked frames, a client refuses them. Limits: ``max_message_size``
    and ``max_frame_size`` (of data frames; control frames have at most 125, 5.5) in bytes of payload,
    ``max_fragments`` in frames a message; None lifts one.
    A limit is checked at the frame's header, before any payload; memory follows what was received.

    Bounds of one ``feed``: it stops between two frames when it has completed ``max_feed_events`` messages and control
    frames, or ``max_feed_size`` bytes of their payloads, inflated ones included; at least 1, None is no bound. The
    rest of the chunk waits in the decoder then (``has_waiting``), and ``feed(b"")`` goes on with it. The message that
    reaches the bound is completed: one feed makes fewer than ``max_feed_size`` + ``max_message_size`` bytes. After
    ``max_feed_events`` fragments that complete nothing, but at least 1,024, a feed stops too.

    ``text="bytes"`` delivers text messages as the ``bytes`` of their UTF-8, checked as any text is (8.1): for
    parsers that take bytes, as those of JSON do. A text message then looks like a binary one.

    ``inflate``: None, or the function that inflates compressed messages (RFC 7692), which have RSV1 set. It is called
    with each piece of a message's payload as it arrives, unmasked, and with True for the last, which may be empty; it
    yields what comes out, in pieces of at least 1 byte. They count for ``max_message_size`` as they come; what was
    received of the message may have an eighth and 1024 bytes more. A peer's fault is a ``faults.PeerFault`` that it
    raises; anything else that it raises comes out of ``feed``. See ``wsfast.deflate.Inflater``.
    """

    def __init__(
        self,
        role: Role,
        *,
        max_message_size: int | None = 1_048_576,
        max_frame_size: int | None = None,
        max_fragments: int | None = 131_072,
        max_feed_events: int | None = None,
        max_feed_size: int | None = None,
        text: Literal["str", "bytes"] = "str",
        inflate: Callable[[bytes, bool], Iterator[bytes]] | None = None,
    ) -> None: ...
    def feed(self, chunk: Buffer) -> list[Event]:
        """Decode the next ``chunk``, of any size, and return what it completed, in order.

        A text message is a ``str``, a binary one a ``bytes``; Ping, Pong and Close frames are events of
        their own, in the place where they came. After a Close, and after a failure, bytes are ignored.

        ``RuntimeError`` for a call inside another one of this decoder (from ``inflate``, a finalizer, another thread),
        and after an exception that came out of ``inflate`` or for want of memory: the rest of that chunk is lost.
        """

    def stream_message(self, wanted: bool = True) -> Fragment | None:
        """Deliver the message in hand, or if there is none the next one, in parts: a ``Fragment`` for each frame.

        Returns the collected part of the message in hand, if there is one. The last part has ``fin``; then messages
        are whole again. A message of one frame, of which no part was delivered, is whole too. Limits count as ever.
        ``wanted=False`` takes it back, unless a part was delivered.
        """

    def get_buffer(self, sizehint: int = -1) -> memoryview | None:
        """Return a writable view to receive the next bytes into, or None when ``feed`` has to be used.

        There is one while at least 64 KiB of a data frame's payload are missing, unless it is compressed. It is memory
        of the message itself, no larger than what was received of it so far (but at least 64 KiB). Receive into its
        beginning, then call ``buffer_updated``. The next call of the decoder, whichever it is, releases the view.
        ``sizehint`` is ignored; the names are those of ``asyncio.BufferedProtocol``.
        """

    def buffer_updated(self, nbytes: int) -> list[Event]:
        """Decode ``nbytes`` bytes that were received into the buffer of the last ``get_buffer``; as ``feed``.

        ``RuntimeError`` when there is no such buffer, or ``feed`` was called since; ``ValueError`` for more bytes
        than it has.
        """

    @property
    def failure(self) -> Failure | None:
        """None, or what the peer did wrong. The messages before it were returned by ``feed``."""

    @property
    def has_control(self) -> bool:
        """True if the last ``feed`` met a Ping, a Pong, a Close, a failure or a ``Fragment``, or bytes wait.

        Else it returned messages alone.
        """

    @property
    def has_waiting(self) -> bool:
        """True while received bytes wait, as the last ``feed`` had completed as much as it may."""

    @property
    def role(self) -> Role: ...
    @property
    def text(self) -> Literal["str", "bytes"]: ...
    @property
    def max_message_size(self) -> int | None: ...
    @property
    def max_frame_size(self) -> int | None: ...
    @property
    def max_fragments(self) -> int | None: ...
    @property
    def max_feed_events(self) -> int | None: ...
    @property
    def max_feed_size(self) -> int | None: ...

_FrameEvent = TypeVar("_FrameEvent", Frame, Frame | FrameHeader, default=Frame)

class FrameDecoder(Generic[_FrameEvent]):
    """Bytes in, frames out: the same parser without message assembly (RFC 6455 5).

    For those who need fragments, or payloads before they are complete. Checks all of section 5 (with the
    body of Close frames, and the order of fragments), but not whether text is UTF-8: whoever joins it does.

    ``partial``: return the payload of a data frame in parts, as it arrives (an empty frame is one part).
    ``headers``: tell each header as a ``FrameHeader`` as soon as it is judged, before the frame; a Close frame whose
    body is a fault is returned then too, next to the ``failure``.
    ``allowed_rsv``: bits that an extension defines for data frames, RSV1 as 4, RSV2 as 2, RSV3 as 1.
    """

    @overload
    def __init__(
        self: FrameDecoder[Frame],
        role: Role,
        *,
        max_frame_size: int | None = 1_048_576,
        max_fragments: int | None = None,
        partial: bool = False,
        headers: Literal[False] = False,
        allowed_rsv: int = 0,
    ) -> None: ...
    @overload
    def __init__(
        self: FrameDecoder[Frame | FrameHeader],
        role: Role,
        *,
        max_frame_size: int | None = 1_048_576,
        max_fragments: int | None = None,
        partial: bool = False,
        headers: Literal[True],
        allowed_rsv: int = 0,
    ) -> None: ...
    def feed(self, chunk: Buffer) -> list[_FrameEvent]:
        """Decode the next ``chunk``. After a Close frame, and after a failure, bytes are ignored."""

    @property
    def unfinished_header(self) -> bytes:
        """The bytes received of a header that is not complete."""

    @property
    def missing_size(self) -> int:
        """Bytes of the payload of an unfinished frame that have not come yet."""

    @property
    def failure(self) -> Failure | None:
        """None, or what the peer did wrong. The frames before it were returned by ``feed``."""

    @property
    def role(self) -> Role: ...

class _Deflater(Protocol):
    """The part of ``wsfast.deflate.Deflater`` that an encoder uses."""

    threshold: int
    def deflate(self, payload: bytes, fin: bool, may_choose: bool) -> bytes | None:
        """Return the compressed payload of the next frame; None if a whole message should be sent as it is."""

    def forget(self) -> None:
        """Begin anew: the last payload is not sent."""

class FrameEncoder:
    """Messages and control frames in, the bytes of one frame out (RFC 6455 5.2).

    ``role`` is ours: a client masks every frame with a new key from ``random_bytes`` (called with a number
    of bytes; None: ``os.urandom``, in batches, which a fork throws away). A key function is for tests and
    is called once a frame, for 4 bytes: RFC 6455 5.3 wants keys that nobody can predict.

    ``deflate``: None, or the object that compresses messages (RFC 7692). See ``wsfast.deflate.Deflater``.
    """

    def __init__(
        self,
        role: Role,
        *,
        random_bytes: Callable[[int], bytes] | None = None,
        deflate: _Deflater | None = None,
    ) -> None: ...
    @property
    def role(self) -> Role: ...
    @property
    def deflate(self) -> _Deflater | None:
        """None, or the object that compresses messages (RFC 7692)."""

    @property
    def in_message(self) -> bool:
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""

    def message(self, data: str | Buffer, text: bool | None = None, compress: bool | None = None) -> bytes:
        """Encode a whole message as one frame (RFC 6455 5.6; RFC 7692 7.2.1).

        A ``str`` becomes text, a bytes-like object binary. ``text=True`` sends bytes as text: they have to
        be UTF-8, else ``ValueError``. ``text=False`` sends a ``str`` as binary. ``RuntimeError`` inside a
        fragmented message (5.4); ``UnicodeEncodeError`` for a lone surrogate (8.1).

        ``compress`` is ignored without ``deflate``. True compresses the message, False sends it as it is, None
        compresses a message that has at least ``deflate.threshold`` bytes. A mistake is found before the message is
        compressed. The returned frames must be sent, in this order.
        """

    def header(self, size: int) -> bytes:
        """Encode the header of a binary message of ``size`` bytes in one frame (RFC 6455 5.2).

        The caller sends exactly as many bytes after it, unchanged. So a large message is not copied into a frame.
        ``ValueError`` for a client, whose payloads are masked (5.3), and for a size below 0 or above ``sys.maxsize``;
        ``RuntimeError`` inside a fragmented message (5.4).
        """

    def fragment(
        self, data: str | Buffer, fin: bool = False, text: bool | None = None, compress: bool | None = None
    ) -> bytes:
        """Encode the next fragment of a message (RFC 6455 5.4; RFC 7692 6.1).

        The first decides the type, as in ``message``; a later one of the other type is a ``TypeError``. The first
        decides too whether the message is compressed; ``compress`` of a later one is ignored.
        Bytes sent as text are checked over the whole message, and may be cut anywhere.
        """

    def ping(self, payload: Buffer = b"") -> bytes:
        """Encode a Ping of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.2)."""

    def pong(self, payload: Buffer = b"") -> bytes:
        """Encode a Pong of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.3)."""

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        """Encode a Close frame (RFC 6455 5.5.1).

        None (or 1005, which says the same) makes an empty one. ``ValueError`` for a code that must not be
        sent (7.4), a reason of more than 123 bytes of UTF-8, or a reason without a code.
        """

    def frame(
        self,
        opcode: int,
        payload: Buffer = b"",
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> bytes:
        """Encode one frame as told, without regard to the frames before it (RFC 6455 5.2).

        For extensions and for those who keep the order themselves. ``ValueError`` for a reserved opcode, or
        for a control frame that is longer than 125 bytes or not final (5.5).
        """
