"""The parser of the decoders in plain Python (RFC 6455 5 and 8.1).

``feed`` goes through this table. ``FrameParser`` is its code, and the rules of a step are in the method named in it:

    state          waits for         then                                            next state
    START          2 bytes           _judge_start: RSV, opcode, MASK, FIN, length    LENGTH
    LENGTH         0, 2 or 8 bytes   _judge_length: whole length, limits             MASKING_KEY
    MASKING_KEY    0 or 4 bytes      keep the key                                    PAYLOAD
    PAYLOAD        payload length    data: unmask and use each part as it comes      START
                                     control: unmask and judge the whole             START, Close: IGNORING
    IGNORING       -                 all that follows a Close frame or a fault       IGNORING

"In a message" (5.4) is ``_message``: None, TEXT or BINARY. Control frames come between, and leave it alone:

    _message          TEXT, BINARY frame      CONTINUATION frame      after a frame with FIN
    None              becomes the opcode      NOTHING_TO_CONTINUE
    TEXT, BINARY      MESSAGE_UNFINISHED      stays                   None

A step has the name that it has in src/parsing.pxi, after an underscore:

    parse                 goes through a chunk, from header to header
    judge_start           checks the first two bytes of a header (5.2, 5.4, 5.5)
    judge_length          checks the whole payload length (5.2, 10.4)
    take_header           tells a header that was judged
    take_payload          takes the next bytes of a data frame (5.4)
    take_control          takes a control frame that is whole (5.5)
    take_whole_messages   a shorter way through messages of one frame
    judge_close           checks the body of a Close frame (5.5.1, 7.4)
    collect               adds to the unfinished message; text is checked (8.1)
    inflate_piece         inflates a part of a compressed message (RFC 7692 6)
    drop                  forgets the unfinished message

So has a field: ``held`` (received, not used yet), ``n_missing`` (payload bytes still to come), ``message``,
``n_fragments``, ``message_size``, ``compressed``, ``collected``, ``control_seen``, ``fed_size``. Here ``held`` is one
buffer; there, header, control payload and the rest of a chunk have one each.

If ``inflate`` is given, a message whose first frame has RSV1 is compressed (RFC 7692 6): its payload is inflated before
it is checked and collected. Limits of frames hold for the bytes received, limits of messages for the inflated ones.

A peer's fault is ``PeerFault`` inside and ``failure`` outside, never an exception out of ``feed``. Memory follows the
bytes received, never the length that a header announces. This file knows bytes, frames and messages, and nothing of
sockets or handshakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from .. import faults, mistakes
from ..events import (
    Close,
    Failure,
    Opcode,
    Role,
)
from ..faults import PeerFault
from .judging import checked_limit, parse_close
from .layout import (
    CLOSE,
    CONTINUATION,
    CONTROL,
    FIN,
    LENGTH_SIZES,
    MASK,
    MAX_CONTROL_SIZE,
    OPCODES,
    SHORTEST,
)
from .octets import from_bytes, to_bytes, xor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

__all__ = ["FrameParser"]

# The states of the table.
START: Final = "START"
LENGTH: Final = "LENGTH"
MASKING_KEY: Final = "MASKING_KEY"
PAYLOAD: Final = "PAYLOAD"
IGNORING: Final = "IGNORING"

RSV1: Final = 4  # as ``FrameParser._rsv`` has it

# Bits of `_hindrance`.
BUSY: Final = 1  # in a call, which can come back: from inflate(), a finalizer, a signal handler
VIEW: Final = 2  # get_buffer() gave a view, which ends with the next call
WAITING: Final = 4  # the last feed had completed as much as it may
ENDED: Final = 8  # a Close or a fault came

# Fragments that complete nothing, after which a feed stops, unless as many or more events are allowed.
LEAST_FRAGMENTS_OF_A_FEED: Final = 1024

# Bytes that are inflated at once: a bomb takes little memory next to its message.
_DEFLATED_BLOCK_SIZE: Final = 2048

_Result = TypeVar("_Result")


class FrameParser(Generic[_Result]):
    """The table at the top. A decoder adds the use of a payload: ``_take_payload``, ``_take_control``."""

    def __init__(
        self,
        role: Role,
        max_message_size: int | None,
        max_frame_size: int | None,
        max_fragments: int | None,
        allowed_rsv: int,
    ) -> None:
        self._role = Role(role)
        self._max_message_size = checked_limit("max_message_size", max_message_size)
        self._max_frame_size = checked_limit("max_frame_size", max_frame_size)
        self._max_fragments = checked_limit("max_fragments", max_fragments)
        self._allowed_rsv = allowed_rsv
        self._inflate: Callable[[bytes, bool], Iterator[bytes]] | None = None
        self._is_masked = self._role is Role.SERVER  # 5.1: a client masks every frame, a server none.
        self._failure: Failure | None = None
        self._control_seen = False
        self._hindrance = 0  # reasons why a feed cannot begin at once: bits of the four below
        self._state = START
        self._max_feed_events: int | None = None  # completed by one feed; then the rest of the chunk waits
        self._max_feed_size: int | None = None  # the same in bytes of payload
        self._is_bounded = False  # one of these two is given
        self._fed_size = 0
        self._n_fed_fragments = 0
        self._held = (
            b""  # received, and not used: not enough for the state, or more than one feed may complete
        )
        self._held_pos = 0  # of the second kind: where it begins
        self._has_waiting = False  # it is of the second kind
        self._tells_headers = False  # _header and _take_header are needed
        # The frame in hand.
        self._header = b""  # its header, as far as it is judged
        self._fin = False
        self._rsv = 0  # RSV1 as 4, RSV2 as 2, RSV3 as 1
        self._opcode = CONTINUATION
        self._payload_length = 0  # in bytes; in the state LENGTH, the 7 bits of the second byte
        self._masking_key = b""
        self._n_missing = 0  # bytes of payload still to come
        # The message in hand.
        self._message: Opcode | None = None
        self._n_fragments = 0
        self._message_size = 0  # payload of its frames, the one in hand included
        self._compressed = False
        self._inflated_size = 0  # bytes inflated of it so far
        self._collected = bytearray()  # payload of the unfinished frame or message
        self._blocks: list[bytes] = []  # inflated bytes before those

    @property
    def failure(self) -> Failure | None:
        """The peer's fault, or None. ``feed`` has returned the messages before it."""
        return self._failure

    @property
    def role(self) -> Role:
        return self._role

    def feed(self, chunk: Buffer) -> list[_Result]:
        """Decode the next ``chunk``, of any size, and return what it completed, in order."""
        received = to_bytes(chunk)
        pos = 0
        if self._hindrance:
            received, pos = self._begin_hindered(received)
        elif self._held:
            received = self._held + received
        results: list[_Result] = []
        if self._hindrance == ENDED:
            return results
        self._hindrance = BUSY
        self._control_seen = False
        self._fed_size = self._n_fed_fragments = 0
        try:
            pos = self._parse(received, pos, results)
        except PeerFault as fault:
            # 7.1.7: the bytes after the fault are ignored.
            self._failure = fault.failure
            self._control_seen = True
            self._state = IGNORING
        self._hindrance = 0
        if self._control_seen and self._state == IGNORING:
            self._hindrance = ENDED
            self._drop()
        elif self._has_waiting:
            self._hindrance = WAITING
            self._held, self._held_pos = received, pos
        elif pos < len(received):
            self._held = received[pos:]
        elif self._held:
            self._held = b""
        return results

    def _begin_hindered(self, received: bytes) -> tuple[bytes, int]:
        """Begin a feed that something hinders. Return the bytes to parse, and where they begin."""
        self._refuse_inner_call()
        self._close_view()
        self._control_seen = False
        if self._has_waiting:
            self._has_waiting = False
            held, pos = self._held, self._held_pos
            self._held = b""
            return (held[pos:] + received, 0) if received else (held, pos)
        return (self._held + received, 0) if self._held else (received, 0)

    def _refuse_inner_call(self) -> None:
        """An exception inside a call leaves ``BUSY``, as the rest of a chunk is lost then."""
        if self._hindrance & BUSY:
            raise RuntimeError(mistakes.DECODER_BUSY)

    def _close_view(self) -> None:
        """Let nobody write any more to a view of ours."""

    def _drop(self) -> None:
        self._held = b""
        self._has_waiting = False
        self._collected = bytearray()
        self._blocks = []

    def _is_full(self, results: list[_Result]) -> bool:
        """Tell whether one feed has completed as much as it may."""
        events, size = self._max_feed_events, self._max_feed_size
        if events is not None and (
            len(results) >= events or self._n_fed_fragments >= max(events, LEAST_FRAGMENTS_OF_A_FEED)
        ):
            return True
        return size is not None and self._fed_size >= size

    def _take_whole_messages(self, chunk: bytes, pos: int, results: list[_Result]) -> int:
        """Take a shorter way through the chunk from ``pos`` on, if there is one; return where it ends."""
        return pos

    def _take_payload(self, part: bytes, results: list[_Result]) -> None:
        """Take the next bytes of a data frame, unmasked; ``_n_missing`` of it are still to come."""
        raise NotImplementedError

    def _take_control(self, payload: bytes, close: Close | None, results: list[_Result]) -> None:
        """Take a control frame; ``close`` is the event of a Close frame."""
        raise NotImplementedError

    def _take_header(self, results: list[_Result]) -> None:
        """Take a header that was judged; its payload follows."""

    def _judge_close(self, payload: bytes, results: list[_Result]) -> Close:
        """Return the event of a Close frame, or raise its fault."""
        return parse_close(payload)

    def _parse(self, chunk: bytes, pos: int, results: list[_Result]) -> int:
        """Go through the table, and return where the bytes begin that the last state could not use yet."""
        size = len(chunk)
        while True:
            if self._state == START:
                if self._message is None:
                    pos = self._take_whole_messages(chunk, pos, results)
                if self._is_bounded and pos < size and self._is_full(results):
                    self._has_waiting = True
                    return pos
                if size - pos < 2:
                    return pos
                self._judge_start(chunk[pos], chunk[pos + 1])
                if self._tells_headers:
                    self._header = chunk[pos : pos + 2]
                pos += 2
                self._state = LENGTH

            if self._state == LENGTH:
                # 5.2: 126 and 127 stand for a length in the next 2 or 8 bytes, in network byte order.
                end = pos + LENGTH_SIZES.get(self._payload_length, 0)
                if end > size:
                    return pos
                self._judge_length(from_bytes(chunk[pos:end]) if end > pos else self._payload_length)
                if self._tells_headers:
                    self._header += chunk[pos:end]
                pos = end
                self._state = MASKING_KEY

            if self._state == MASKING_KEY:
                end = pos + 4 if self._is_masked else pos
                if end > size:
                    return pos
                self._masking_key = chunk[pos:end]
                self._n_missing = self._payload_length
                pos = end
                self._state = PAYLOAD
                if self._tells_headers:
                    self._take_header(results)

            # The state is PAYLOAD. Data is used as it comes; a control frame is small and waits to be whole.
            is_control = self._opcode & CONTROL
            part_size = min(self._n_missing, size - pos)
            if part_size < self._n_missing and (is_control or not part_size):
                return pos
            if self._compressed and not is_control:
                part_size = min(part_size, _DEFLATED_BLOCK_SIZE)
            part = chunk[pos : pos + part_size]
            pos += part_size
            if self._is_masked:
                # 5.3: the key goes on where the part before it ended.
                phase = (self._payload_length - self._n_missing) % 4
                part = xor(part, self._masking_key[phase:] + self._masking_key[:phase])
            self._n_missing -= part_size
            if is_control:
                self._control_seen = True
                close = self._judge_close(part, results) if self._opcode is CLOSE else None
                self._fed_size += part_size
                self._take_control(part, close, results)
                if close is not None:
                    self._state = IGNORING  # 5.5.1: no frame comes after a Close frame.
                    return size
            else:
                self._take_payload(part, results)
                if self._n_missing:
                    continue
                if self._fin:
                    self._message = None
                    self._n_fragments = self._message_size = 0
                else:
                    self._n_fed_fragments += 1
            self._state = START

    def _judge_start(self, first: int, second: int) -> None:
        """Check the first two bytes of a frame."""
        rsv = first >> 4 & 0b111
        # 5.2: a reserved bit is 0 unless an extension defines it; for control frames none does.
        if bits := rsv & ~(0 if first & CONTROL else self._allowed_rsv):
            raise PeerFault(faults.reserved_bits(bits))
        opcode = OPCODES.get(first & 0x0F)
        if opcode is None:
            raise PeerFault(faults.reserved_opcode(first & 0x0F))
        # RFC 7692 6.1: the first frame of a message says whether it is compressed.
        compressed = self._inflate is not None and bool(rsv & RSV1)
        if compressed and opcode is CONTINUATION:
            raise PeerFault(faults.COMPRESSED_CONTINUATION)
        # 5.1: a server accepts masked frames only, a client unmasked ones only.
        if bool(second & MASK) is not self._is_masked:
            raise PeerFault(faults.NOT_MASKED if self._is_masked else faults.MASKED)
        length = second & 0x7F
        fin = bool(first & FIN)

        if opcode & CONTROL:
            # 5.5: control frames MUST NOT be fragmented, and have at most 125 bytes of payload.
            if not fin:
                raise PeerFault(faults.CONTROL_FRAGMENTED)
            if length > MAX_CONTROL_SIZE:
                raise PeerFault(faults.CONTROL_TOO_LONG)
        else:
            # 5.4: a message is one TEXT or BINARY frame, then CONTINUATION frames up to the one with FIN.
            if opcode is CONTINUATION:
                if self._message is None:
                    raise PeerFault(faults.NOTHING_TO_CONTINUE)
            elif self._message is not None:
                raise PeerFault(faults.MESSAGE_UNFINISHED)
            else:
                self._message = opcode
                self._compressed = compressed
            # 10.4: a peer may not make us keep a message that never ends.
            self._n_fragments += 1
            if self._max_fragments is not None and self._n_fragments > self._max_fragments:
                raise PeerFault(faults.too_many_fragments(self._max_fragments))
        self._fin, self._rsv, self._opcode, self._payload_length = fin, rsv, opcode, length

    def _judge_length(self, length: int) -> None:
        """Check the whole payload length; ``_payload_length`` still has the 7 bits it began with."""
        # 5.2: the top bit of 64 is 0, and the shortest of the three forms MUST be used.
        if length >> 63:
            raise PeerFault(faults.LENGTH_TOP_BIT)
        if length < SHORTEST.get(self._payload_length, 0):
            raise PeerFault(faults.length_not_minimal(length))
        # 10.4: limits hold before there is any payload. They are for data: 5.5 has limited control frames.
        if not self._opcode & CONTROL:
            self._message_size += length
            if self._max_frame_size is not None and length > self._max_frame_size:
                raise PeerFault(faults.frame_too_big(length, self._max_frame_size))
            size, limit = self._message_size, self._max_message_size
            if limit is not None and size > limit:
                if not self._compressed:
                    raise PeerFault(faults.message_too_big(size, limit))
                # Data that does not shrink grows by an eighth at most. Empty blocks need an end too.
                if size > limit + limit // 8 + 1024:
                    raise PeerFault(faults.compressed_message_too_big(size, limit))
        self._payload_length = length
