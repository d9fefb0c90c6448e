"""The ``FrameProtocol`` of wsproto on our codec: bytes in, wsproto's ``Frame`` tuples out, and the other way.

A message of one frame that lies whole in the received bytes is one call of ``MessageDecoder``. All else is walked
here, masked by the codec, with wsproto's rules and texts: payloads are handed on as they come, extensions see the
header first, a peer's fault is ``ParseFailed``:

    _walk        header (5.2), extensions, masking key, payload: a control frame's whole, a data frame's in parts
    _Messages    the order of fragments (5.4), and text in parts (8.1)
    _close_of    the body of a Close frame (5.5.1)

``FrameDecoder`` is not used: it does not tell the length of a frame that is not complete, which extensions are
given, and its frames are objects of ours that would be taken apart again (bench_decode has what they cost).
"""

from __future__ import annotations

import struct
from codecs import utf_8_decode
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from wsproto.frame_protocol import (
    LOCAL_ONLY_CLOSE_REASONS,
    MAX_CLOSE_REASON,
    MAX_PAYLOAD_NORMAL,
    MAX_PROTOCOL_CLOSE_REASON,
    MIN_CLOSE_REASON,
    CloseReason,
    Frame,
    Opcode,
    ParseFailed,
    RsvBits,
)

from ..codec import IMPLEMENTATION, FrameEncoder, MessageDecoder, Role, apply_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from wsproto.extensions import Extension

__all__ = ["FrameProtocol"]

# Names of their own: looking up a member of an enum takes 75 ns on CPython 3.11.
_CONTINUATION = Opcode.CONTINUATION
_TEXT = Opcode.TEXT
_BINARY = Opcode.BINARY
_CLOSE = Opcode.CLOSE
_OPCODES = {int(opcode): opcode for opcode in Opcode}
_FINAL_TEXT = 0x80 | _TEXT
_FINAL_BINARY = 0x80 | _BINARY
_CLOSE_REASONS = {int(reason): reason for reason in CloseReason}
_NO_RSV = RsvBits(False, False, False)

_from_bytes = int.from_bytes  # the most significant byte first, as lengths have it (5.2)
_new_tuple = tuple.__new__  # Frame(...) takes twice the time

# The compiled decoder takes a whole message in less time than it takes to cut the payload out; the other does not.
_DECODES_WHOLE = IMPLEMENTATION == "native"


class FrameProtocol:
    """Frames of one connection, as ``wsproto.frame_protocol.FrameProtocol``; what is sent is ``bytes``.

    ``extensions`` are wsproto's; those that are not enabled are left out.
    """

    def __init__(self, client: bool, extensions: Sequence[Extension]) -> None:
        self.client = client
        self.extensions = [extension for extension in extensions if extension.enabled()]
        role = Role.CLIENT if client else Role.SERVER
        self._encoder = FrameEncoder(role)
        self._outbound_opcode: Opcode | None = None  # of the message that we are sending in fragments (5.4)
        self._chunks: list[bytes] = []
        self._messages = _Messages(role, _DECODES_WHOLE and not self.extensions)
        # Only extensions are given this object, as a parser that held it would live until the next collection.
        proto = self if self.extensions else None
        frames = _parse(self._chunks, self._messages, client, self.extensions, proto)
        self._next_frame: Callable[[], Frame | None] = partial(next, frames, None)

    # Receiving

    def receive_bytes(self, data: bytes) -> None:
        """Take received bytes. ``received_frames`` tells what they were."""
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        # After a Close frame and after a fault bytes are ignored, and not kept.
        if data and not self._messages.ended:
            self._chunks.append(data)

    def received_frames(self) -> Iterator[Frame]:
        """Return an iterator over the frames, and parts of data frames, that were received.

        It raises ``ParseFailed`` for what the peer did wrong, after the frames before that.
        """
        chunks = self._chunks
        messages = self._messages
        if messages.at_rest and len(chunks) == 1 and messages.feed is not None:
            # The usual case, one message in one piece, without waking the parser.
            chunk = chunks[0]
            if len(chunk) > 1 and messages.end_of_whole(chunk, 0) == len(chunk):
                message = messages.feed(chunk)
                if message:
                    chunks.clear()
                    opcode = _TEXT if chunk[0] == _FINAL_TEXT else _BINARY
                    return iter((_new_tuple(Frame, (opcode, message[0], True, True)),))
        return iter(self._next_frame, None)

    # Sending

    def send_data(self, payload: bytes | bytearray | memoryview | str = b"", fin: bool = True) -> bytes:
        """Return the frame of a message, or of the next fragment of one (5.4)."""
        if isinstance(payload, str):
            opcode = _TEXT
        elif isinstance(payload, (bytes, bytearray, memoryview)):
            opcode = _BINARY
            if type(payload) is memoryview and not payload.c_contiguous:
                payload = payload.tobytes()
        else:
            raise TypeError("Must provide bytes or text")
        if fin and self._outbound_opcode is None and not self.extensions:
            return self._encoder.message(payload)
        if isinstance(payload, str):
            payload = payload.encode()
        is_first = self._outbound_opcode is None
        if not is_first and self._outbound_opcode is not opcode:
            raise TypeError("Data type mismatch inside message")
        self._outbound_opcode = None if fin else opcode
        return self._frame(opcode if is_first else _CONTINUATION, payload, fin)

    def ping(self, payload: bytes = b"") -> bytes:
        """Return a Ping frame. Raises ``ValueError`` for more than 125 bytes (5.5.2)."""
        return self._frame(Opcode.PING, payload)

    def pong(self, payload: bytes = b"") -> bytes:
        """Return a Pong frame. Raises ``ValueError`` for more than 125 bytes (5.5.3)."""
        return self._frame(Opcode.PONG, payload)

    def close(self, code: int | None = None, reason: str | None = None) -> bytes:
        """Return a Close frame (5.5.1). A reason that is too long is cut, between two characters.

        ``NO_STATUS_RCVD`` and None make an empty one. Other codes that must not be sent (7.4.1) become 1000.
        """
        if code is CloseReason.NO_STATUS_RCVD:
            code = None
        if code is None:
            if reason:
                raise TypeError("cannot specify a reason without a code")
            return self._frame(_CLOSE, b"")
        if code in LOCAL_ONLY_CLOSE_REASONS:
            code = CloseReason.NORMAL_CLOSURE
        encoded = (reason or "").encode()
        size = min(len(encoded), MAX_PAYLOAD_NORMAL - 2)
        while size < len(encoded) and encoded[size] & 0xC0 == 0x80:  # 10xxxxxx: inside a character
            size -= 1
        return self._frame(_CLOSE, struct.pack("!H", code) + encoded[:size])

    def _frame(self, opcode: Opcode, payload: bytes | bytearray | memoryview, fin: bool = True) -> bytes:
        rsv = _NO_RSV
        for extension in reversed(self.extensions):
            rsv, payload = extension.frame_outbound(cast(Any, self), opcode, rsv, bytes(payload), fin)
        return self._encoder.frame(opcode, payload, fin, *rsv)


# Receiving


def _parse(
    chunks: list[bytes],
    messages: _Messages,
    is_client: bool,
    extensions: list[Extension],
    proto: FrameProtocol | None,
) -> Generator[Frame | None, None, None]:
    """Yield the frames that are in ``chunks``, and None when more is needed. Ends after a Close frame."""
    try:
        yield from _walk(chunks, messages, is_client, extensions, proto)
    finally:
        messages.ended = True


def _walk(
    chunks: list[bytes],
    messages: _Messages,
    is_client: bool,
    extensions: list[Extension],
    proto: FrameProtocol | None,
) -> Generator[Frame | None, None, None]:
    masked = not is_client  # 5.1
    data = b""
    pos = size = 0  # the frame that we are at, the end of data
    needed = 2  # bytes from there on, without which there is nothing to do
    judged = False  # its header is
    opcode = _TEXT
    fin = True
    length = header_size = 0

    while True:
        if size - pos < needed:
            if chunks:
                messages.at_rest = False
                data = _take(data[pos:], chunks)
                size = len(data)
            else:
                data = data[pos:]
                size -= pos
                messages.at_rest = not data and messages.opcode is None
                yield None
            pos = 0
            continue

        if messages.feed is not None and messages.opcode is None and not judged:
            end = messages.end_of_whole(data, pos)
            if pos < end <= size:
                message = messages.feed(data[pos:end])
                if message:
                    opcode = _TEXT if data[pos] == _FINAL_TEXT else _BINARY
                    pos = end
                    yield _new_tuple(Frame, (opcode, message[0], True, True))
                    continue
                messages.feed = None  # a fault: found again below, where its text is

        first = data[pos]
        second = data[pos + 1]
        if not judged:
            # FIN RSV1 RSV2 RSV3 opcode(4), MASK length(7)
            fin = first & 0x80 != 0
            if first & 0x0F not in _OPCODES:
                raise ParseFailed(f"Invalid opcode {first & 0x0F:#x}")
            opcode = _OPCODES[first & 0x0F]
            length = second & 0x7F
            header_size = 2
            if opcode >= _CLOSE:
                # 5.5: control frames are not fragmented, and have at most 125 bytes of payload.
                if not fin:
                    raise ParseFailed("Invalid attempt to fragment control frame")
                if length > MAX_PAYLOAD_NORMAL:
                    raise ParseFailed("Control frame with payload len > 125")
            elif length > MAX_PAYLOAD_NORMAL:
                header_size = 4 if length == 126 else 10
                if size - pos < header_size:
                    needed = header_size
                    continue
                length = _judged_length(data[pos + 2 : pos + header_size])
            if first & 0x70 or extensions:
                _judge_rsv(first, opcode, length, extensions, proto)
            if (second & 0x80 != 0) is not masked:  # 5.1
                raise ParseFailed(
                    "client received unexpected masked frame"
                    if is_client
                    else "server received unexpected unmasked frame"
                )
            if masked:
                header_size += 4
            judged = True
            # An empty part of a payload is of no use to anybody, except when that is all.
            needed = header_size + (length if opcode >= _CLOSE else min(length, 1))
            continue

        judged = False
        needed = 2
        start = pos + header_size
        key = data[start - 4 : start]
        pos = start + length
        if opcode >= _CLOSE:
            part = data[start:pos]
            if masked:
                part = apply_mask(part, key)
            if extensions:
                part = _through_extensions(part, True, True, extensions, proto)
            yield Frame(opcode, _close_of(part) if opcode is _CLOSE else part, True, True)
            if opcode is _CLOSE:
                return  # 5.5.1: nothing comes after it
            continue
        while True:
            part = data[start:pos]
            n_missing = pos - start - len(part)
            if masked:
                n_rotated = len(part) % 4
                part = apply_mask(part, key)
                key = key[n_rotated:] + key[:n_rotated]
            if extensions:
                part = _through_extensions(part, not n_missing, fin, extensions, proto)
            yield messages.frame(opcode, part, not n_missing, fin)
            if not n_missing:
                break
            data = b""
            while not chunks:
                yield None
            data = _take(b"", chunks)
            size = len(data)
            start, pos = 0, n_missing
            opcode = _CONTINUATION


def _take(rest: bytes, chunks: list[bytes]) -> bytes:
    """Return ``rest`` and all of ``chunks``, which is empty then."""
    data = chunks[0] if len(chunks) == 1 and not rest else b"".join((rest, *chunks))
    chunks.clear()
    return data


def _judged_length(extended: bytes) -> int:
    """Return the length that is in the 2 or 8 bytes behind the first two (5.2)."""
    length = _from_bytes(extended)
    if len(extended) == 2 and length <= 125:
        raise ParseFailed("Payload length used 2 bytes when 1 would have sufficed")
    if len(extended) == 8 and length <= 0xFFFF:
        raise ParseFailed("Payload length used 8 bytes when 2 would have sufficed")
    if length >> 63:
        raise ParseFailed("8-byte payload length with non-zero MSB")
    return length


def _judge_rsv(
    first: int, opcode: Opcode, length: int, extensions: list[Extension], proto: FrameProtocol | None
) -> None:
    """Show a header to the extensions; a bit that none of them claims must not be set (5.2)."""
    rsv = RsvBits(first & 0x40 != 0, first & 0x20 != 0, first & 0x10 != 0)
    claimed = [False, False, False]
    for extension in extensions:
        result = extension.frame_inbound_header(cast(Any, proto), opcode, rsv, length)
        if isinstance(result, CloseReason):
            raise ParseFailed("error in extension", result)
        for bit, is_claimed in enumerate(result):
            if is_claimed:
                claimed[bit] = True
    if any(is_set and not is_claimed for is_set, is_claimed in zip(rsv, claimed, strict=True)):
        raise ParseFailed("Reserved bit set unexpectedly")


def _through_extensions(
    payload: bytes, frame_finished: bool, fin: bool, extensions: list[Extension], proto: FrameProtocol | None
) -> bytes:
    """Return what the extensions make of a payload, or of a part of one, and add what they held back at its end."""
    for extension in extensions:
        result = extension.frame_inbound_payload_data(cast(Any, proto), payload)
        if isinstance(result, CloseReason):
            raise ParseFailed("error in extension", result)
        payload = bytes(result)
    if frame_finished:
        for extension in extensions:
            rest = extension.frame_inbound_complete(cast(Any, proto), fin)
            if isinstance(rest, CloseReason):
                raise ParseFailed("error in extension", rest)
            if rest:
                payload += rest
    return payload


class _Messages:
    """The message that data frames belong to, and its text, which is not cut inside a character."""

    __slots__ = ("at_rest", "ended", "feed", "header_size", "mask_bit", "opcode", "rest")

    def __init__(self, role: Role, decodes_whole: bool) -> None:
        self.opcode: Opcode | None = None  # of the message that we are in
        self.rest = b""  # the start of a character, at the end of its text so far
        self.at_rest = True  # between two messages, and all that was received before is used
        self.ended = False  # by a Close frame or a fault
        # Gets whole messages only, and so is never inside one.
        self.feed = (
            MessageDecoder(role, max_message_size=None, max_fragments=None).feed if decodes_whole else None
        )
        self.mask_bit = 0x80 if role is Role.SERVER else 0
        self.header_size = 6 if role is Role.SERVER else 2  # the least

    def end_of_whole(self, data: bytes, pos: int) -> int:
        """Return where the frame at ``pos`` ends, if it is a message for ``feed``; else 0.

        At least 2 bytes are there. ``feed`` judges the length once more: whether it has its shortest form, and so on.
        """
        first = data[pos]
        if first != _FINAL_TEXT and first != _FINAL_BINARY:
            return 0
        length = data[pos + 1] ^ self.mask_bit  # 128 and above: not masked as it has to be
        if length <= MAX_PAYLOAD_NORMAL:
            return pos + self.header_size + length
        if length == 126:
            return pos + self.header_size + 2 + _from_bytes(data[pos + 2 : pos + 4])
        if length == 127:
            return pos + self.header_size + 8 + _from_bytes(data[pos + 2 : pos + 10])
        return 0

    def frame(self, opcode: Opcode, payload: bytes, frame_finished: bool, fin: bool) -> Frame:
        """Return the ``Frame`` of a data frame, or of a part; a later part has the opcode CONTINUATION."""
        if self.opcode is None:
            if opcode is _CONTINUATION:
                raise ParseFailed("unexpected CONTINUATION")
            self.opcode = opcode
        elif opcode is not _CONTINUATION:
            raise ParseFailed(f"expected CONTINUATION, got {opcode!r}")
        opcode = self.opcode
        message_finished = frame_finished and fin
        received: bytes | str = payload
        if opcode is _TEXT:
            try:
                if self.rest:
                    payload = self.rest + payload
                received, n_decoded = utf_8_decode(payload, "strict", message_finished)
                self.rest = payload[n_decoded:]
            except UnicodeDecodeError as error:  # 8.1
                raise ParseFailed(str(error), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from error
        if message_finished:
            self.opcode = None
        return Frame(opcode, received, frame_finished, message_finished)


def _close_of(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason in the body of a Close frame (5.5.1); of an empty one 1005."""
    if not payload:
        return CloseReason.NO_STATUS_RCVD, ""
    if len(payload) == 1:
        raise ParseFailed("CLOSE with 1 byte payload")
    code = _from_bytes(payload[:2])
    # 7.4.2
    if not MIN_CLOSE_REASON <= code <= MAX_CLOSE_REASON:
        raise ParseFailed("CLOSE with invalid code")
    if code in LOCAL_ONLY_CLOSE_REASONS:
        raise ParseFailed("remote CLOSE with local-only reason")
    if code <= MAX_PROTOCOL_CLOSE_REASON and code not in _CLOSE_REASONS:
        raise ParseFailed("CLOSE with unknown reserved code")
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError as error:
        raise ParseFailed(
            f"Error decoding CLOSE reason: {error}", CloseReason.INVALID_FRAME_PAYLOAD_DATA
        ) from error
    return _CLOSE_REASONS.get(code, code), reason
