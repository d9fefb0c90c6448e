"""The codec in plain Python: the same names and the same behaviour as ``native``, and the reference for both.

Written to be read beside RFC 6455, sections 5 and 8.1. What ``feed`` does is this table; ``_FrameParser``
is its code, and the rules of each step stand in the method named in it:

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

A message whose first frame has RSV1 is compressed (RFC 7692 6) where ``inflate`` is given: its payload goes
through that before it is checked and kept. Limits of frames hold for what was received, that of messages for
what comes out.

A peer's fault is ``PeerFault`` inside and ``failure`` outside, never an exception out of ``feed``. Memory
is for what was received, never for what a header announces. This file knows bytes, frames and messages,
and nothing of sockets, handshakes or what to do about a fault.
"""

from __future__ import annotations

import io
import operator
import os
from codecs import utf_8_decode
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from . import faults
from .events import Close, Event, Failure, Frame, Opcode, Ping, Pong, Role, is_sendable_close_code
from .faults import PeerFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

__all__ = [
    "IMPLEMENTATION",
    "KERNEL",
    "FrameDecoder",
    "FrameEncoder",
    "MessageDecoder",
    "Utf8Validator",
    "apply_mask",
    "mask_inplace",
    "utf8_valid",
]

IMPLEMENTATION: Final = "fallback"
KERNEL: Final = "python"

# The first two bytes of a frame (5.2): FIN RSV1 RSV2 RSV3 opcode(4), MASK length(7).
_FIN: Final = 0x80
_CONTROL: Final = 0x08  # 5.5: an opcode with this bit is a control frame's.
_MASK: Final = 0x80
_LENGTH_16: Final = 126  # the length is in the next 2 bytes
_LENGTH_64: Final = 127  # ... in the next 8
_MAX_CONTROL_SIZE: Final = 125  # 5.5
# Names of their own: looking up ``Opcode.TEXT`` takes 75 ns on CPython 3.11; server messages of 32 bytes
# take 0.7 of the time without (bench_encode).
_CONTINUATION: Final = Opcode.CONTINUATION
_TEXT: Final = Opcode.TEXT
_BINARY: Final = Opcode.BINARY
_CLOSE: Final = Opcode.CLOSE
_PING: Final = Opcode.PING
_PONG: Final = Opcode.PONG
_FINAL_TEXT: Final = _FIN | _TEXT
_FINAL_BINARY: Final = _FIN | _BINARY
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}
_LENGTH_SIZES: Final = {_LENGTH_16: 2, _LENGTH_64: 8}
_SHORTEST: Final = {_LENGTH_16: 126, _LENGTH_64: 0x1_0000}  # the first length that needs the form

# The states of the table.
_START: Final = "START"
_LENGTH: Final = "LENGTH"
_MASKING_KEY: Final = "MASKING_KEY"
_PAYLOAD: Final = "PAYLOAD"
_IGNORING: Final = "IGNORING"

_LARGE_SIZE: Final = 65_536  # bytes that have to be missing before get_buffer() has one
_RSV1: Final = 4  # as ``_FrameParser._rsv`` has it

_XOR_BLOCK_SIZE: Final = 4096
_KEY_BATCH_SIZE: Final = 256
# A bomb takes little memory beside what comes out of it: bytes to inflate at once, and to keep in one object.
_DEFLATED_BLOCK_SIZE: Final = 2048
_INFLATED_BLOCK_SIZE: Final = 8192


# Buffers


def _to_bytes(data: Buffer) -> bytes:
    """Return the raw bytes of any C-contiguous bytes-like object, whatever its items are."""
    if type(data) is bytes:
        return data
    with memoryview(data) as view:
        if not view.c_contiguous:
            raise BufferError("buffer is not C-contiguous")
        return view.tobytes()


# Masking (5.3)

# The most significant byte first, as lengths have it (5.2). Looked up once: XOR of 32 bytes 1.5 times as fast.
_from_bytes: Final = int.from_bytes


def _xor(data: bytes, masking_key: bytes) -> bytes:
    """XOR with the repeated key, as one long integer, or above 4 KiB as one a block.

    Blocks are 1.9 times as fast as one integer at 64 KiB and 2.4 times at 1 MiB. Four ``bytes.translate``,
    one for each byte of the key, take the same time at 16 KiB and 4 times as long at 32 bytes (bench_mask, 3.11).
    """
    size = len(data)
    if size <= _XOR_BLOCK_SIZE:
        key_stream = _from_bytes((masking_key * (size // 4 + 1))[:size])
        return (_from_bytes(data) ^ key_stream).to_bytes(size)
    key_stream = _from_bytes(masking_key * (_XOR_BLOCK_SIZE // 4))
    whole = size - size % _XOR_BLOCK_SIZE
    blocks = [
        (_from_bytes(data[pos : pos + _XOR_BLOCK_SIZE]) ^ key_stream).to_bytes(_XOR_BLOCK_SIZE)
        for pos in range(0, whole, _XOR_BLOCK_SIZE)
    ]
    blocks.append(_xor(data[whole:], masking_key))
    return b"".join(blocks)


def _checked_key(masking_key: Buffer) -> bytes:
    key = _to_bytes(masking_key)
    if len(key) != 4:
        raise ValueError(f"masking key has {len(key)} bytes, not 4")
    return key


def apply_mask(data: Buffer, masking_key: Buffer) -> bytes:
    """Mask or unmask ``data``: XOR with the 4-byte ``masking_key``, repeated (RFC 6455 5.3)."""
    return _xor(_to_bytes(data), _checked_key(masking_key))


def mask_inplace(buffer: Buffer, masking_key: Buffer, phase: int = 0) -> int:
    """Mask or unmask a writable ``buffer`` in place, from ``phase`` in the key on (RFC 6455 5.3)."""
    key = _checked_key(masking_key)
    phase = operator.index(phase)
    if not 0 <= phase <= 3:
        raise ValueError(f"phase is {phase}, not 0 to 3")
    with memoryview(buffer) as view:
        if view.readonly:
            raise BufferError("buffer is read-only")
        masked = _xor(_to_bytes(view), key[phase:] + key[:phase])
        # readinto() writes raw bytes; a memoryview refuses to, for items of some formats.
        io.BytesIO(masked).readinto(view)
    return (phase + len(masked)) % 4


# UTF-8 (8.1)


def _utf8_rest(data: bytes) -> bytes | None:
    """Return the unfinished character at the end of ``data`` (0 to 3 bytes), or None if it is not UTF-8."""
    if data.isascii():
        return b""  # 1.6 times as fast for 16 KiB of ASCII, 2.2 times for 1 KiB (bench_utf8, 3.11)
    try:
        _, valid_size = utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return None
    rest = data[valid_size:]
    # After ED A0 to ED BF, the start of a surrogate, CPython waits for a third byte that cannot mend it.
    # It is the only prefix at which it does so: all of up to 3 bytes and the edges of 4 were compared
    # with table 3-7 of the Unicode standard.
    if rest[:1] == b"\xed" and rest[1:] >= b"\xa0":
        return None
    return rest


def utf8_valid(data: Buffer) -> bool:
    """Tell whether ``data`` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)."""
    return _utf8_rest(_to_bytes(data)) == b""


class Utf8Validator:
    """Check UTF-8 as it arrives, in pieces cut anywhere (RFC 6455 8.1)."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest: bytes | None = b""  # None: it was not UTF-8

    def feed(self, data: Buffer) -> bool:
        """Check the next piece. False from the first byte that no continuation could mend, and ever after."""
        piece = _to_bytes(data)
        if self._rest is not None:
            self._rest = _utf8_rest(self._rest + piece)
        return self._rest is not None

    @property
    def complete(self) -> bool:
        """True when all that was fed is valid and does not end inside a character."""
        return self._rest == b""

    def reset(self) -> None:
        """Start anew, as after construction."""
        self._rest = b""


# Decoding

_Result = TypeVar("_Result")


def _checked_int(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, not an int")
    if value < 0:
        raise ValueError(f"{name} is {value}, below 0")
    return value


def _checked_limit(name: str, limit: int | None) -> int | None:
    return None if limit is None else _checked_int(name, limit)


def _parse_close(payload: bytes) -> Close:
    """Read the body of a Close frame (5.5.1): nothing, or a code (7.4) and a reason in UTF-8."""
    if not payload:
        return Close()  # 7.1.5: no code was sent, which is called 1005.
    if len(payload) == 1:
        raise PeerFault(faults.CLOSE_PAYLOAD_OF_ONE_BYTE)
    code = _from_bytes(payload[:2])
    if not is_sendable_close_code(code):
        raise PeerFault(faults.invalid_close_code(code))
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise PeerFault(faults.CLOSE_REASON_NOT_UTF8) from None


class _FrameParser(Generic[_Result]):
    """The table at the top. A decoder adds what becomes of a payload: ``_data_part``, ``_control_frame``."""

    def __init__(
        self,
        role: Role,
        max_message_size: int | None,
        max_frame_size: int | None,
        max_fragments: int | None,
        allowed_rsv: int,
    ) -> None:
        self._role = Role(role)
        self._max_message_size = _checked_limit("max_message_size", max_message_size)
        self._max_frame_size = _checked_limit("max_frame_size", max_frame_size)
        self._max_fragments = _checked_limit("max_fragments", max_fragments)
        self._allowed_rsv = allowed_rsv
        self._inflate: Callable[[bytes, bool], Iterator[bytes]] | None = None
        self._is_masked = self._role is Role.SERVER  # 5.1: a client masks every frame, a server none.
        self._failure: Failure | None = None
        self._has_control = False
        self._state = _START
        self._tail = b""  # received, and not enough for the state: at most 124 bytes
        # The frame in hand.
        self._fin = False
        self._rsv = 0  # RSV1 as 4, RSV2 as 2, RSV3 as 1
        self._opcode = _CONTINUATION
        self._length = 0  # of the payload, in bytes; in the state LENGTH the 7 bits of the second byte
        self._masking_key = b""
        self._missing = 0  # bytes of payload still to come
        # The message in hand.
        self._message: Opcode | None = None
        self._n_fragments = 0
        self._message_size = 0  # payload of its frames, the one in hand included
        self._compressed = False
        self._inflated_size = 0  # what came out of it so far
        self._blocks: list[bytes] = []  # of that, the part before _payload
        self._payload = bytearray()  # unmasked, where it has to wait for the rest of a frame or message

    @property
    def failure(self) -> Failure | None:
        """None, or what the peer did wrong. What came before it was returned by ``feed``."""
        return self._failure

    @property
    def role(self) -> Role:
        return self._role

    def feed(self, chunk: Buffer) -> list[_Result]:
        """Decode the next ``chunk``, of any size, and return what it completed, in order."""
        received = _to_bytes(chunk)
        results: list[_Result] = []
        self._has_control = False
        if self._state != _IGNORING:
            try:
                self._tail = self._parse(self._tail + received, results)
            except PeerFault as fault:
                # 7.1.7: what comes after the fault is not looked at.
                self._failure = fault.failure
                self._has_control = True
                self._state = _IGNORING
            if self._state == _IGNORING:
                self._tail = b""
                self._payload = bytearray()
                self._blocks = []
        return results

    def _whole_messages(self, chunk: bytes, pos: int, results: list[_Result]) -> int:
        """Take a shorter way through the chunk from ``pos`` on, if there is one; return where it ends."""
        return pos

    def _data_part(self, part: bytes, results: list[_Result]) -> None:
        """Take the next bytes of a data frame, unmasked; ``_missing`` of it are still to come."""
        raise NotImplementedError

    def _control_frame(self, payload: bytes, close: Close | None, results: list[_Result]) -> None:
        """Take a control frame; ``close`` is what a Close frame says."""
        raise NotImplementedError

    def _parse(self, chunk: bytes, results: list[_Result]) -> bytes:
        """Go through the table, and return the bytes that the last state could not use yet."""
        pos, size = 0, len(chunk)
        while True:
            if self._state == _START:
                if self._message is None:
                    pos = self._whole_messages(chunk, pos, results)
                if size - pos < 2:
                    return chunk[pos:]
                self._judge_start(chunk[pos], chunk[pos + 1])
                pos += 2
                self._state = _LENGTH

            if self._state == _LENGTH:
                # 5.2: 126 and 127 stand for a length in the next 2 or 8 bytes, in network byte order.
                end = pos + _LENGTH_SIZES.get(self._length, 0)
                if end > size:
                    return chunk[pos:]
                self._judge_length(_from_bytes(chunk[pos:end]) if end > pos else self._length)
                pos = end
                self._state = _MASKING_KEY

            if self._state == _MASKING_KEY:
                end = pos + 4 if self._is_masked else pos
                if end > size:
                    return chunk[pos:]
                self._masking_key = chunk[pos:end]
                self._missing = self._length
                pos = end
                self._state = _PAYLOAD

            # The state is PAYLOAD. Data is used as it comes; a control frame is small and waits to be whole.
            is_control = self._opcode & _CONTROL
            part_size = min(self._missing, size - pos)
            if part_size < self._missing and (is_control or not part_size):
                return chunk[pos:]
            if self._compressed and not is_control:
                part_size = min(part_size, _DEFLATED_BLOCK_SIZE)
            part = chunk[pos : pos + part_size]
            pos += part_size
            if self._is_masked:
                # 5.3: the key goes on where the part before it ended.
                phase = (self._length - self._missing) % 4
                part = _xor(part, self._masking_key[phase:] + self._masking_key[:phase])
            self._missing -= part_size
            if is_control:
                self._has_control = True
                close = _parse_close(part) if self._opcode is _CLOSE else None
                self._control_frame(part, close, results)
                if close is not None:
                    self._state = _IGNORING  # 5.5.1: no frame comes after a Close frame.
                    return b""
            else:
                self._data_part(part, results)
                if self._missing:
                    continue
                if self._fin:
                    self._message = None
                    self._n_fragments = self._message_size = 0
            self._state = _START

    def _judge_start(self, first: int, second: int) -> None:
        """Check what the first two bytes of a frame say."""
        rsv = first >> 4 & 0b111
        # 5.2: a reserved bit is 0 unless an extension defines it; for control frames none does.
        if bits := rsv & ~(0 if first & _CONTROL else self._allowed_rsv):
            raise PeerFault(faults.reserved_bits(bits))
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise PeerFault(faults.reserved_opcode(first & 0x0F))
        # RFC 7692 6.1: the first frame of a message says whether it is compressed.
        compressed = self._inflate is not None and bool(rsv & _RSV1)
        if compressed and opcode is _CONTINUATION:
            raise PeerFault(faults.COMPRESSED_CONTINUATION)
        # 5.1: a server accepts masked frames only, a client unmasked ones only.
        if bool(second & _MASK) is not self._is_masked:
            raise PeerFault(faults.NOT_MASKED if self._is_masked else faults.MASKED)
        length = second & 0x7F
        fin = bool(first & _FIN)

        if opcode & _CONTROL:
            # 5.5: control frames MUST NOT be fragmented, and have at most 125 bytes of payload.
            if not fin:
                raise PeerFault(faults.CONTROL_FRAGMENTED)
            if length > _MAX_CONTROL_SIZE:
                raise PeerFault(faults.CONTROL_TOO_LONG)
        else:
            # 5.4: a message is one TEXT or BINARY frame, then CONTINUATION frames up to the one with FIN.
            if opcode is _CONTINUATION:
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
        self._fin, self._rsv, self._opcode, self._length = fin, rsv, opcode, length

    def _judge_length(self, length: int) -> None:
        """Check the whole payload length; ``_length`` still has the 7 bits it began with."""
        # 5.2: the top bit of 64 is 0, and the shortest of the three forms MUST be used.
        if length >> 63:
            raise PeerFault(faults.LENGTH_TOP_BIT)
        if length < _SHORTEST.get(self._length, 0):
            raise PeerFault(faults.length_not_minimal(length))
        # 10.4: limits hold before there is any payload. They are for data: 5.5 has limited control frames.
        if not self._opcode & _CONTROL:
            self._message_size += length
            if self._max_frame_size is not None and length > self._max_frame_size:
                raise PeerFault(faults.frame_too_big(length, self._max_frame_size))
            size, limit = self._message_size, self._max_message_size
            if limit is not None and size > limit:
                if not self._compressed:
                    raise PeerFault(faults.message_too_big(size, limit))
                # What does not shrink grows by an eighth at most, and blocks with nothing in them need an end too.
                if size > limit + limit // 8 + 1024:
                    raise PeerFault(faults.compressed_message_too_big(size, limit))
        self._length = length


class MessageDecoder(_FrameParser[Event]):
    """Bytes in, messages out (RFC 6455 5 and 8.1). ``native.pyi`` says what each argument means."""

    def __init__(
        self,
        role: Role,
        *,
        max_message_size: int | None = 1_048_576,
        max_frame_size: int | None = None,
        max_fragments: int | None = 131_072,
        text: Literal["str", "bytes"] = "str",
        inflate: Callable[[bytes, bool], Iterator[bytes]] | None = None,
    ) -> None:
        if inflate is not None and not callable(inflate):
            raise TypeError(f"inflate is {inflate!r}, not a function")
        allowed_rsv = 0 if inflate is None else _RSV1
        super().__init__(role, max_message_size, max_frame_size, max_fragments, allowed_rsv)
        if text not in ("str", "bytes"):
            raise ValueError(f"text is {text!r}, not 'str' or 'bytes'")
        self._text = text
        self._inflate = inflate
        self._utf8 = Utf8Validator()
        self._room: memoryview | None = None  # what get_buffer() returned, until it is used
        # The payload lengths of _whole_messages: those in 7 or 16 bits that no limit refuses.
        limits = [limit for limit in (max_message_size, max_frame_size) if limit is not None]
        self._whole_size = min([0xFFFF, *limits]) if max_fragments != 0 else -1

    @property
    def has_control(self) -> bool:
        """True when the last ``feed`` met a Ping, a Pong, a Close or a failure: else it was data alone."""
        return self._has_control

    @property
    def text(self) -> Literal["str", "bytes"]:
        """What a text message is delivered as."""
        return self._text

    @property
    def max_message_size(self) -> int | None:
        return self._max_message_size

    @property
    def max_frame_size(self) -> int | None:
        return self._max_frame_size

    @property
    def max_fragments(self) -> int | None:
        return self._max_fragments

    def feed(self, chunk: Buffer) -> list[Event]:
        """Decode the next ``chunk``, of any size, and return what it completed, in order."""
        self._room = None
        return super().feed(chunk)

    def get_buffer(self, sizehint: int = -1) -> memoryview | None:
        """Return a view to receive the next bytes into, or None when ``feed`` has to be used."""
        operator.index(sizehint)
        if (
            self._state != _PAYLOAD
            or self._opcode & _CONTROL
            or self._compressed
            or self._missing < _LARGE_SIZE
        ):
            return None
        self._room = memoryview(bytearray(min(self._missing, max(_LARGE_SIZE, len(self._payload)))))
        return self._room

    def buffer_updated(self, nbytes: int) -> list[Event]:
        """Decode what was received into the buffer that ``get_buffer`` returned last."""
        size = operator.index(nbytes)
        if self._room is None:
            raise RuntimeError("buffer_updated() without a get_buffer() before it")
        if not 0 <= size <= len(self._room):
            raise ValueError(f"{size} bytes are not in a buffer of {len(self._room)}")
        return self.feed(self._room[:size])

    def _control_frame(self, payload: bytes, close: Close | None, results: list[Event]) -> None:
        results.append(close or (Ping(payload) if self._opcode is _PING else Pong(payload)))

    def _data_part(self, part: bytes, results: list[Event]) -> None:
        is_last = self._fin and not self._missing
        if self._compressed:
            self._inflate_part(part, is_last)
        else:
            self._keep(part)
        if not is_last:
            return
        payload = b"".join((*self._blocks, self._payload)) if self._blocks else self._payload
        if self._message is _TEXT:
            if not self._utf8.complete:
                raise PeerFault(faults.TEXT_NOT_UTF8)
            results.append(bytes(payload) if self._text == "bytes" else payload.decode())
        else:
            results.append(bytes(payload))
        self._payload = bytearray()
        self._blocks = []

    def _keep(self, part: bytes) -> None:
        # 8.1: text that is not UTF-8 fails the connection: at the first byte that makes it so, or at its end.
        if self._message is _TEXT and not self._utf8.feed(part):
            raise PeerFault(faults.TEXT_NOT_UTF8)
        self._payload += part

    def _inflate_part(self, part: bytes, is_last: bool) -> None:
        if not part and not is_last:
            return
        assert self._inflate is not None
        limit = self._max_message_size
        for piece in self._inflate(part, is_last):
            # 10.4: looked at piece by piece, as a thousandfold may come out of what was received.
            self._inflated_size += len(piece)
            if limit is not None and self._inflated_size > limit:
                raise PeerFault(faults.inflated_too_big(limit))
            self._keep(piece)
            if len(self._payload) >= _INFLATED_BLOCK_SIZE:
                # A bytearray of its size would have room for an eighth more.
                self._blocks.append(bytes(self._payload))
                self._payload.clear()
        if is_last:
            self._inflated_size = 0

    def _whole_messages(self, chunk: bytes, pos: int, results: list[Event]) -> int:
        # Messages of one frame below 64 KiB that is all here and without fault. Anything else ends the loop,
        # and is judged by the table from its first byte on. Against the table alone it is 3.6 times as fast
        # at 32 bytes, 1.6 times at 1 KiB (bench_decode, 3.11).
        is_masked = self._is_masked
        mask_bit, header_size = (_MASK, 6) if is_masked else (0, 2)
        whole_size = self._whole_size
        as_str = self._text == "str"
        size = len(chunk)
        while size - pos >= header_size:
            first = chunk[pos]
            if first != _FINAL_TEXT and first != _FINAL_BINARY:
                break
            length = chunk[pos + 1] ^ mask_bit  # 128 and above: not masked as it has to be
            start = pos + header_size
            if length >= _LENGTH_16:
                length = _from_bytes(chunk[pos + 2 : pos + 4]) if length == _LENGTH_16 else 0
                start += 2
                if length < _LENGTH_16:
                    break
            end = start + length
            if end > size or length > whole_size:
                break
            payload = chunk[start:end]
            if is_masked:
                payload = _xor(payload, chunk[start - 4 : start])
            if first == _FINAL_BINARY:
                results.append(payload)
            else:
                try:
                    decoded = payload.decode()
                except UnicodeDecodeError:
                    break
                results.append(decoded if as_str else payload)
            pos = end
        return pos


class FrameDecoder(_FrameParser[Frame]):
    """Bytes in, frames out (RFC 6455 5). ``native.pyi`` says what each argument means."""

    def __init__(
        self,
        role: Role,
        *,
        max_frame_size: int | None = 1_048_576,
        max_fragments: int | None = None,
        partial: bool = False,
        allowed_rsv: int = 0,
    ) -> None:
        if _checked_int("allowed_rsv", allowed_rsv) > 0b111:
            raise ValueError(f"allowed_rsv is {allowed_rsv}, above 7")
        super().__init__(role, None, max_frame_size, max_fragments, allowed_rsv)
        self._partial = bool(partial)

    def _control_frame(self, payload: bytes, close: Close | None, results: list[Frame]) -> None:
        results.append(Frame(self._opcode, payload))

    def _data_part(self, part: bytes, results: list[Frame]) -> None:
        offset = 0
        if self._partial:
            offset = self._length - self._missing - len(part)
        else:
            self._payload += part
            if self._missing:
                return
            part = bytes(self._payload)
            self._payload = bytearray()
        rsv1, rsv2, rsv3 = (bool(self._rsv & bit) for bit in (4, 2, 1))
        results.append(Frame(self._opcode, part, self._fin, rsv1, rsv2, rsv3, offset, not self._missing))


# Encoding

_n_forks = 0


def _count_fork() -> None:
    global _n_forks
    _n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _opcode_for(data: str | Buffer, text: bool | None) -> Opcode:
    """Return the type of message (5.6) that a caller wants: ``text``, or without it what ``data`` is."""
    return _TEXT if text or (text is None and isinstance(data, str)) else _BINARY


class FrameEncoder:
    """Messages and control frames in, the bytes of one frame out (RFC 6455 5.2)."""

    __slots__ = ("_keys", "_keys_n_forks", "_masks", "_message", "_random_bytes", "_role", "_utf8_rest")

    def __init__(self, role: Role, *, random_bytes: Callable[[int], bytes] | None = None) -> None:
        if random_bytes is not None and not callable(random_bytes):
            raise TypeError(f"random_bytes is {random_bytes!r}, not a function")
        self._role = Role(role)
        self._masks = self._role is Role.CLIENT
        self._random_bytes = random_bytes
        self._keys: list[bytes] = []
        self._keys_n_forks = 0  # how often the process had been forked when they were made
        self._message: Opcode | None = None  # the type of the fragmented message we are in
        self._utf8_rest = b""  # its unfinished character

    @property
    def role(self) -> Role:
        return self._role

    @property
    def in_message(self) -> bool:
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""
        return self._message is not None

    def message(self, data: str | Buffer, text: bool | None = None) -> bytes:
        """Encode a whole message as one frame (RFC 6455 5.6)."""
        if self._message is not None:
            # 5.4: fragments of one message MUST NOT be interleaved with another's.
            raise RuntimeError("message() before the fragmented message was finished")
        opcode = _opcode_for(data, text)
        payload = data.encode() if isinstance(data, str) else _to_bytes(data)
        if opcode is _TEXT and not isinstance(data, str) and _utf8_rest(payload) != b"":
            raise ValueError("bytes sent as text are not valid UTF-8")  # 8.1
        return self._frame(_FIN | opcode, payload)

    def fragment(self, data: str | Buffer, fin: bool = False, text: bool | None = None) -> bytes:
        """Encode the next fragment of a message (RFC 6455 5.4)."""
        opcode = _opcode_for(data, text)
        if self._message is not None and opcode is not self._message:
            raise TypeError(f"{opcode.name} fragment in a {self._message.name} message")
        payload = data.encode() if isinstance(data, str) else _to_bytes(data)
        rest = b""
        if opcode is _TEXT and (self._utf8_rest or not isinstance(data, str)):
            unfinished = _utf8_rest(self._utf8_rest + payload)
            if unfinished is None or (fin and unfinished):
                raise ValueError("bytes sent as text are not valid UTF-8")  # 8.1
            rest = unfinished
        first = opcode if self._message is None else _CONTINUATION
        frame = self._frame(_FIN | first if fin else first, payload)
        self._message = None if fin else opcode
        self._utf8_rest = rest
        return frame

    def ping(self, payload: Buffer = b"") -> bytes:
        """Encode a Ping of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.2)."""
        return self.frame(_PING, payload)

    def pong(self, payload: Buffer = b"") -> bytes:
        """Encode a Pong of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.3)."""
        return self.frame(_PONG, payload)

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        """Encode a Close frame (RFC 6455 5.5.1)."""
        if not isinstance(reason, str):
            raise TypeError(f"close reason is {reason!r}, not a str")
        code = 1005 if code is None else operator.index(code)
        if code == 1005:
            # 7.4.1: 1005 means that there is no code, and a reason comes after one.
            if reason:
                raise ValueError("close reason without a close code")
            return self.frame(_CLOSE)
        if not is_sendable_close_code(code):
            raise ValueError(f"close code {code} must not be sent")
        payload = code.to_bytes(2, "big") + reason.encode()
        if len(payload) > _MAX_CONTROL_SIZE:
            raise ValueError(f"close reason of {len(payload) - 2} bytes is longer than 123")
        return self.frame(_CLOSE, payload)

    def frame(
        self,
        opcode: int,
        payload: Buffer = b"",
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> bytes:
        """Encode one frame as told, without regard to the frames before it (RFC 6455 5.2)."""
        first = operator.index(opcode)
        if first not in _OPCODES:
            raise ValueError(f"reserved opcode {first}")
        # 5.5: control frames are not fragmented, and have at most 125 bytes of payload.
        is_control = first & _CONTROL
        if is_control and not fin:
            raise ValueError("control frame is fragmented")
        raw = _to_bytes(payload)
        if is_control and len(raw) > _MAX_CONTROL_SIZE:
            raise ValueError(f"control frame payload of {len(raw)} bytes is longer than 125")
        for bit, is_set in ((0x80, fin), (0x40, rsv1), (0x20, rsv2), (0x10, rsv3)):
            if is_set:
                first |= bit
        return self._frame(first, raw)

    def _frame(self, first: int, payload: bytes) -> bytes:
        """Put a header before the payload, and mask it if that is our role."""
        mask_bit = _MASK if self._masks else 0
        size = len(payload)
        # 5.2: the shortest of the three forms.
        if size < _LENGTH_16:
            header = bytes((first, mask_bit | size))
        elif size <= 0xFFFF:
            header = bytes((first, mask_bit | _LENGTH_16)) + size.to_bytes(2, "big")
        else:
            header = bytes((first, mask_bit | _LENGTH_64)) + size.to_bytes(8, "big")
        if not self._masks:
            return header + payload
        # 5.3: an empty payload has a key too.
        key = self._next_key()
        return header + key + _xor(payload, key)

    def _next_key(self) -> bytes:
        """Return a new masking key that nobody can predict (5.3, 10.3)."""
        if self._random_bytes is not None:
            return _checked_key(self._random_bytes(4))
        if not self._keys or self._keys_n_forks != _n_forks:
            # One call a batch: 170 ns a key, not 440 (bench_encode, 3.11). A child must not use the keys of its parent.
            batch = os.urandom(_KEY_BATCH_SIZE)
            self._keys = [batch[pos : pos + 4] for pos in range(0, _KEY_BATCH_SIZE, 4)]
            self._keys_n_forks = _n_forks
        return self._keys.pop()
