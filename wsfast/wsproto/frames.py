"""wsproto's ``FrameProtocol`` on our codec: from bytes to wsproto's ``Frame`` tuples, and back.

It is wsproto's class with another parser. If a message has one frame, and that frame is whole in the received bytes,
one call of ``MessageDecoder`` decodes it. All other frames go through ``FrameDecoder``: it passes payloads on in the
parts that arrive, and extensions see the header first. Text in parts is decoded here (8.1), and wsproto reads Close
frames (5.5.1).

One rule: all observable behaviour is wsproto's. So wsproto's own parser gets a faulty frame, byte for byte, and reads
on from there. Its texts, its codes, and the order of its checks need no copy here.
"""

from __future__ import annotations

from codecs import getincrementaldecoder, utf_8_decode
from typing import TYPE_CHECKING, Any, Final, cast

import wsproto.frame_protocol
from wsproto.frame_protocol import CloseReason, Frame, Opcode, ParseFailed, RsvBits

from .. import codec
from ..codec import FrameDecoder, FrameEncoder, Role
from ..events import FrameHeader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from wsproto.extensions import Extension

__all__ = ["FrameProtocol"]

# Module names for enum members: looking up a member takes 75 ns on CPython 3.11.
_TEXT: Final = Opcode.TEXT
_BINARY: Final = Opcode.BINARY
_CLOSE: Final = Opcode.CLOSE
# By number: a dict look-up with an enum member calls its __hash__, in Python.
_OPCODES: Final = [Opcode(number) if number in {*Opcode} else None for number in range(16)]
_FINAL_TEXT: Final = 0x80 | _TEXT
_FINAL_BINARY: Final = 0x80 | _BINARY
_NO_RSV: Final = RsvBits(False, False, False)
_ANY_RSV: Final = 0b111  # Extensions judge the reserved bits of data frames themselves (5.2).
_MAX_TAIL_SIZE: Final = 14 + 125  # bytes: the longest header, and a control frame's payload (5.2, 5.5)

_from_bytes = int.from_bytes  # the most significant byte first, as in lengths (5.2)
_new_tuple = tuple.__new__  # Frame(...) takes twice the time


class FrameProtocol(wsproto.frame_protocol.FrameProtocol):
    """The frames of one connection, like ``wsproto.frame_protocol.FrameProtocol``; the bytes to send are ``bytes``.

    ``extensions`` are wsproto's; an extension that is not enabled is left out.
    """

    def __init__(self, client: bool, extensions: Sequence[Extension]) -> None:
        # Not wsproto's own __init__: it makes a generator, which would keep this object until the next collection.
        self.client = client
        self.extensions = [extension for extension in extensions if extension.enabled()]
        self._outbound_opcode: Opcode | None = None  # of the message that we are sending in fragments (5.4)
        self._opcode: Opcode | None = None  # of the message that we are receiving
        self._rest = b""  # the start of a character, at the end of its text so far
        # wsproto's parsers; in use after a faulty frame.
        self._frame_decoder: Any = None
        self._message_decoder: Any = None

        role = Role.CLIENT if client else Role.SERVER
        self._encoder = FrameEncoder(role)
        options: Any = {"headers": True, "allowed_rsv": _ANY_RSV} if self.extensions else {}
        self._decoder: FrameDecoder[Any] = FrameDecoder(role, max_frame_size=None, partial=True, **options)
        self._chunks: list[bytes] = []  # received, and not decoded yet
        self._data = b""  # the chunk that was decoded last
        self._frames: Iterator[Any] = iter(())  # its frames that the caller has not taken yet
        self._ended = False  # True after a Close frame or a fault
        self._at_rest = True  # True between two messages, when everything received has been taken
        self._unfinished = 0  # received bytes of an incomplete frame
        self._tail = b""  # these bytes, while they are only a header, or part of a control frame

        # This decoder gets whole messages only, so it is never inside one.
        self._feed_whole = None
        if not self.extensions:
            self._feed_whole = codec.MessageDecoder(role, max_message_size=None, max_fragments=None).feed
        self._mask_bit, self._header_size = (0, 2) if client else (0x80, 6)  # bytes of the shortest one

    # Receiving

    def receive_bytes(self, data: bytes) -> None:
        """Take received bytes; ``received_frames`` returns their frames."""
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        # Bytes after a Close frame or a fault are ignored, and not kept.
        if data and not self._ended:
            self._chunks.append(data)

    def received_frames(self) -> Iterator[Frame]:
        """Return an iterator over the received frames, and parts of data frames.

        Raises:
            ParseFailed: a fault of the peer; the iterator raises it after the frames before the fault.
        """
        chunks = self._chunks
        if self._at_rest and len(chunks) == 1 and self._feed_whole is not None:
            # The usual case is one message in one piece. It needs no generator.
            chunk = chunks[0]
            size = len(chunk)
            end = self._end_of_whole(chunk, 0) if size > 1 else 0
            if end == size:
                message = self._feed_whole(chunk)
                if message:
                    chunks.clear()
                    opcode = _TEXT if chunk[0] == _FINAL_TEXT else _BINARY
                    return iter((_new_tuple(Frame, (opcode, message[0], True, True)),))
                self._feed_whole = None  # A fault: the other decoder will find it again.
            if not 0 < end < size:
                self._at_rest = False  # The chunk does not begin with a whole message.
        return self._receive()

    def _end_of_whole(self, data: bytes, pos: int) -> int:
        """Return the end of the frame at ``pos`` if it may be a whole message, else 0. At least 2 bytes are there.

        The decoder still judges the frame: its bits, its mask, the shortest form of its length, and its text.
        """
        first = data[pos]
        if first != _FINAL_TEXT and first != _FINAL_BINARY:
            return 0
        length = data[pos + 1] ^ self._mask_bit  # 128 and above: the mask bit is wrong for our role
        if length < 126:
            return pos + self._header_size + length
        if length == 126:
            return pos + self._header_size + 2 + _from_bytes(data[pos + 2 : pos + 4])
        return pos + self._header_size + 8 + _from_bytes(data[pos + 2 : pos + 10]) if length == 127 else 0

    def _receive(self) -> Generator[Frame, None, None]:
        if self._ended:
            return
        try:
            while self._frame_decoder is None:
                for frame in self._frames:
                    kind = type(frame)
                    if kind is Frame:
                        yield frame
                    elif kind is FrameHeader:
                        self._show_header(frame)
                    else:
                        yield self._converted(frame)
                        if self._ended:
                            return
                if self._unfinished and self._keep_tail():
                    break
                self._data = b""
                if not self._chunks:
                    self._at_rest = not self._unfinished and self._opcode is None
                    return
                self._decode(self._take())
            theirs: Any = self._frame_decoder
            while self._chunks:
                theirs.receive_bytes(self._take())
            yield from super().received_frames()
        except Exception:
            self._ended = True
            raise

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    def _decode(self, data: bytes) -> None:
        frames: list[Any] = []
        if self._at_rest and self._feed_whole is not None:
            pos, size = 0, len(data)
            while size - pos > 1 and pos < (end := self._end_of_whole(data, pos)) <= size:
                message = self._feed_whole(data[pos:end])
                if not message:
                    self._feed_whole = None  # A fault: the other decoder will find it again.
                    break
                opcode = _TEXT if data[pos] == _FINAL_TEXT else _BINARY
                frames.append(_new_tuple(Frame, (opcode, message[0], True, True)))
                pos = end
            if pos:
                data = data[pos:]
        self._at_rest = False
        self._data = data
        if data:
            self._unfinished += len(data)
            frames += self._decoder.feed(data)
        self._frames = iter(frames)

    def _keep_tail(self) -> bool:
        """Keep the bytes of the incomplete frame. Return True if the frame is faulty and was handed over."""
        is_faulty = self._decoder.failure is not None
        # A longer tail belongs to a data frame, and its header was judged already.
        if is_faulty or self._unfinished <= _MAX_TAIL_SIZE:
            start = len(self._data) - self._unfinished
            self._tail = self._data[start:] if start >= 0 else self._tail + self._data
        if is_faulty:
            self._hand_over()
        return is_faulty

    def _hand_over(self) -> None:
        """Let wsproto's own parser read on, from the start of the faulty frame."""
        self._frame_decoder = wsproto.frame_protocol.FrameDecoder(self.client, self.extensions)
        self._frame_decoder.receive_bytes(self._tail)
        self._message_decoder = wsproto.frame_protocol.MessageDecoder()
        if self._opcode is not None:
            self._message_decoder.opcode = self._opcode
            if self._opcode is _TEXT:
                self._message_decoder.decoder = getincrementaldecoder("utf-8")()
                self._message_decoder.decoder.decode(self._rest)
        self._parse_more = self._parse_more_gen()

    def _show_header(self, header: FrameHeader) -> None:
        """Show a header to the extensions; a reserved bit that none of them claims must not be set (5.2)."""
        wsproto.frame_protocol.FrameDecoder.extension_processing(
            cast(Any, self),
            _OPCODES[header.opcode],
            RsvBits(header.rsv1, header.rsv2, header.rsv3),
            header.payload_length,
        )

    def _converted(self, frame: codec.Frame) -> Frame:
        """Return a frame, or a part of one, as wsproto's ``Frame``, and count its bytes."""
        payload, finished, fin = frame.payload, frame.frame_finished, frame.fin
        if finished:
            size = len(payload) + frame.offset
            # 5.2: lengths have their shortest form, so the payload length gives the size of the header.
            self._unfinished -= self._header_size + size + (0 if size < 126 else 2 if size < 65536 else 8)
        if self.extensions:
            payload = self._through_extensions(payload, finished, fin)
        opcode = _OPCODES[frame.opcode]
        if opcode >= _CLOSE:
            whole = Frame(opcode, payload, True, True)
            if opcode is not _CLOSE:
                return whole
            self._ended = True  # 5.5.1: a Close frame is the last one
            return self._process_close(whole)
        # The decoder has checked the order of fragments (5.4), but not their text.
        if self._opcode is None:
            self._opcode = opcode
        else:
            opcode = self._opcode
        message_finished = finished and fin
        received: bytes | str = payload
        if opcode is _TEXT:
            try:
                if self._rest:
                    payload = self._rest + payload
                received, n_decoded = utf_8_decode(payload, "strict", message_finished)
                self._rest = payload[n_decoded:]
            except UnicodeDecodeError as error:  # 8.1
                raise ParseFailed(str(error), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from error
        if message_finished:
            self._opcode = None
        return _new_tuple(Frame, (opcode, received, finished, message_finished))

    def _through_extensions(self, payload: bytes, frame_finished: bool, fin: bool) -> bytes:
        """Pass a payload, or a part of one, through the extensions; add the bytes that they held back."""
        for extension in self.extensions:
            payload = _unless_refused(extension.frame_inbound_payload_data(cast(Any, self), payload))
        if frame_finished:
            for extension in self.extensions:
                payload += _unless_refused(extension.frame_inbound_complete(cast(Any, self), fin))
        return payload

    # Sending

    def send_data(self, payload: bytes | bytearray | memoryview | str = b"", fin: bool = True) -> bytes:
        """Return the frame of a message, or of its next fragment (5.4)."""
        if fin and self._outbound_opcode is None and not self.extensions:
            if isinstance(payload, str) or isinstance(payload, (bytes, bytearray)):  # noqa: SIM101 - 30 ns
                return self._encoder.message(payload)
            if isinstance(payload, memoryview):
                return self._encoder.message(payload if payload.c_contiguous else payload.tobytes())
        return super().send_data(payload, fin)

    def _serialize_frame(
        self, opcode: Opcode, payload: bytes | bytearray | memoryview = b"", fin: bool = True
    ) -> bytes:
        rsv = _NO_RSV
        for extension in reversed(self.extensions):
            rsv, payload = extension.frame_outbound(cast(Any, self), opcode, rsv, bytes(payload), fin)
        if type(payload) is memoryview and not payload.c_contiguous:
            payload = payload.tobytes()
        return self._encoder.frame(opcode, payload, fin, *rsv)


def _unless_refused(result: Any) -> bytes:
    """Return an extension's bytes; raise if it returned the reason of a failure instead."""
    if isinstance(result, CloseReason):
        raise ParseFailed("error in extension", result)
    return bytes(result or b"")
