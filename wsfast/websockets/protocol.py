"""The sans-I/O protocols of ``websockets`` with the frames of wsfast: both roles.

``websockets`` has a class for each role, on top of one ``Protocol``. ``_Frames`` goes between them, so that their
``super().parse()`` and ``self.send_frame()`` arrive here. They keep the handshakes, the states, the closing handshake
and the answers to control frames; we do what costs: bytes to frames, and frames to bytes.

Two rules. Whatever is observable is theirs: events, exceptions, texts, close codes; the exceptions are faults that
they do not look for (a length that is not in its shortest form, RFC 6455 5.2). And no state is made before it is used,
so that an object of theirs becomes one of ours by ``accelerate``, at any time before its first frame.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from websockets.client import ClientProtocol as _ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol
from websockets.server import ServerProtocol as _ServerProtocol
from websockets.version import version as _version

from .. import faults
from ..codec import FrameDecoder, FrameEncoder, Role

if TYPE_CHECKING:
    from ..events import Failure
    from ..events import Frame as ReceivedFrame

__all__ = ["ClientProtocol", "ServerProtocol", "accelerate"]

if int(_version.partition(".")[0]) < 16:  # There the attributes that are used here have other names.
    raise ImportError(f"wsfast.websockets needs websockets 16 or later, and {_version} is installed")

# By number: to look an enumeration's member up in a dict costs a call of its __hash__, in Python.
_OPCODES: Final = [Opcode(number) if number in {*Opcode} else None for number in range(16)]
_TEXT: Final = Opcode.TEXT
_CONT: Final = Opcode.CONT
_HEAD_SIZE: Final = 14 + 125  # The longest header, and all of a control frame's payload (RFC 6455 5.2, 5.5).
_ANY_RSV: Final = 0b111  # With extensions, it is them who judge the reserved bits of data frames (5.2).

# How websockets words the faults that it knows.
_TEXTS: Final = {
    faults.NOT_MASKED: "incorrect masking",
    faults.MASKED: "incorrect masking",
    faults.CONTROL_FRAGMENTED: "fragmented control frame",
    faults.CONTROL_TOO_LONG: "control frame too long",
    faults.NOTHING_TO_CONTINUE: "unexpected continuation frame",
    faults.MESSAGE_UNFINISHED: "expected a continuation frame",
    faults.CLOSE_PAYLOAD_OF_ONE_BYTE: "close frame too short",
}
# The same for those that have numbers in their text, by section and beginning.
_NUMBERED_TEXTS: Final = (
    ("5.2", "RSV", "reserved bits must be 0"),
    ("5.2", "reserved opcode", "invalid opcode"),
    ("7.4", "close code", "invalid status code"),
)


class _Frames(Protocol):
    """What stands between ``websockets``' class for a role and its ``Protocol``."""

    # On the class, so that an object that was made by websockets has them too.
    _decoder: FrameDecoder | None = None  # None: we are not at the frames yet, or the rest is discarded.
    _encoder: FrameEncoder | None = None
    _unfinished: int = 0  # Bytes received of a frame that is not complete.
    _head: bytes = b""  # The first of them, for what has to be said about that frame.

    # Receiving

    def receive_data(self, data: bytes | bytearray) -> None:
        if self._decoder is None:
            super().receive_data(data)
        else:
            self._receive_frames(self._decoder, data)

    def parse(self) -> Generator[None]:
        """Take over from the parser of the opening handshake.

        What comes later goes past this generator, but for the end of the stream.
        """
        while True:
            if self.reader.buffer:
                chunk = bytes(self.reader.buffer)
                self.reader.discard()
                # Not before: a server's extensions are settled after its parser has come here.
                self._decoder = self._new_decoder()
                self._receive_frames(self._decoder, chunk)
            elif self.reader.eof:
                if self.debug:
                    self.logger.debug("< EOF")
                self._fail_by(EOFError(self._eof_text()))
            yield

    def discard(self) -> Generator[None]:
        self._decoder = None
        self._head, self._unfinished = b"", 0
        return super().discard()

    def _new_decoder(self) -> FrameDecoder:
        limits = [size for size in (self.max_message_size, self.max_fragment_size) if size is not None]
        return FrameDecoder(
            Role.CLIENT if self.side is CLIENT else Role.SERVER,
            max_frame_size=max(min(limits), 0) if limits else None,
            allowed_rsv=_ANY_RSV if self.extensions else 0,
        )

    def _receive_frames(self, decoder: FrameDecoder, chunk: bytes | bytearray) -> None:
        try:
            frames = decoder.feed(chunk)
            unfinished = self._unfinished + len(chunk)
            header_size = 2 if self.side is CLIENT else 6
            for frame in frames:
                payload = frame.payload
                size = len(payload)
                # 5.2: lengths are in their shortest form, so that the payload tells the size of its header.
                unfinished -= size + header_size + (0 if size < 126 else 2 if size < 65536 else 8)
                if self.current_size is not None or self.extensions:
                    self._receive_frame(frame)
                    continue
                event = Frame(_OPCODES[frame.opcode], payload, frame.fin)
                if self.debug:
                    self.logger.debug("< %s", event)
                self.recv_frame(event)
            if unfinished or self._unfinished:
                self._keep_head(chunk, unfinished)
            if decoder.failure is not None:
                raise self._error_for(decoder.failure)
        except Exception as error:
            self._fail_by(error)

    def _receive_frame(self, received: ReceivedFrame) -> None:
        """Receive a frame as one of a fragmented message, or with extensions."""
        opcode, rsv = _OPCODES[received.opcode], (received.rsv1, received.rsv2, received.rsv3)
        frame = Frame(opcode, received.payload, received.fin, *rsv)
        limit = self._size_limit()
        if frame.opcode is _CONT and limit is not None and len(frame.data) > limit:
            raise PayloadTooBig(len(frame.data), limit)
        for extension in reversed(self.extensions):
            frame = extension.decode(frame, max_size=limit)
        frame.check()
        if self.debug:
            self.logger.debug("< %s", frame)
        self.recv_frame(frame)

    def _size_limit(self) -> int | None:
        """Return the size that the next data frame may have, after those of the same message."""
        limit = self.max_message_size
        if limit is not None and self.current_size is not None:
            limit -= self.current_size
        if self.max_fragment_size is not None:
            limit = self.max_fragment_size if limit is None else min(limit, self.max_fragment_size)
        return limit

    def _keep_head(self, chunk: bytes | bytearray, unfinished: int) -> None:
        """Keep the head of the frame whose first ``unfinished`` bytes end with ``chunk``."""
        if unfinished <= len(chunk):
            start = len(chunk) - unfinished
            self._head = bytes(chunk[start : start + _HEAD_SIZE])
        else:
            self._head += bytes(chunk[: _HEAD_SIZE - len(self._head)])
        self._unfinished = unfinished
        if self.current_size is None or not unfinished:
            return
        # 10.4: a message is too big as soon as the header of a fragment says so. The decoder's limit is one for
        # every frame, and this one depends on those before.
        size, limit = _payload_length(self._head), self._size_limit()
        if size is not None and limit is not None and self._head[0] & 0b1111 == _CONT and size > limit:
            raise PayloadTooBig(size, limit)

    def _error_for(self, failure: Failure) -> Exception:
        """Return the exception with which websockets speaks of ``failure``."""
        if failure.code == CloseCode.MESSAGE_TOO_BIG:
            size, limit = _payload_length(self._head), self._size_limit()
            assert size is not None
            assert limit is not None
            return PayloadTooBig(size, limit)
        if failure is faults.CLOSE_REASON_NOT_UTF8:
            try:
                self._close_reason().decode()
            except UnicodeDecodeError as error:
                return error
        for section, beginning, text in _NUMBERED_TEXTS:
            if failure.section == section and failure.reason.startswith(beginning):
                return ProtocolError(text)
        return ProtocolError(_TEXTS.get(failure, failure.reason))

    def _close_reason(self) -> bytes:
        """Return the reason in the Close frame whose bytes are ``_head`` (RFC 6455 5.5.1)."""
        payload = self._head[2:]
        if self.side is not CLIENT:
            masking_key, masked = payload[:4], payload[4:]
            payload = bytes(byte ^ masking_key[pos & 3] for pos, byte in enumerate(masked))
        return payload[2 : self._head[1] & 0x7F]

    def _eof_text(self) -> str:
        """Say where the stream ended: between frames, or in which part of one."""
        if not self._unfinished:
            return "unexpected end of stream"
        parts = [2]
        length = _payload_length(self._head)
        if len(self._head) >= 2:
            parts += {126: [2], 127: [8]}.get(self._head[1] & 0x7F, [])
        if length is not None:
            parts += [length] if self.side is CLIENT else [4, length]
        received = self._unfinished
        for size in parts:
            if received < size:
                break
            received -= size
        return f"stream ends after {received} bytes, expected {size} bytes"

    def _fail_by(self, error: Exception) -> None:
        """Fail the connection (RFC 6455 7.1.7) by what was raised while receiving."""
        if isinstance(error, ProtocolError):
            self.fail(CloseCode.PROTOCOL_ERROR, str(error))
        elif isinstance(error, EOFError):
            self.fail(CloseCode.ABNORMAL_CLOSURE, str(error))
        elif isinstance(error, UnicodeDecodeError):
            self.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
        elif isinstance(error, PayloadTooBig):
            error.set_current_size(self.current_size)
            self.fail(CloseCode.MESSAGE_TOO_BIG, str(error))
        else:
            self.logger.error("parser failed", exc_info=True)
            self.fail(CloseCode.INTERNAL_ERROR)  # Without details, which are not for the peer to read.
        self.parser_exc = error

    # Sending

    def send_frame(self, frame: Frame) -> None:
        if self.debug:
            self.logger.debug("> %s", frame)
        if frame.opcode > 2 or frame.rsv1 or frame.rsv2 or frame.rsv3:
            frame.check()
        for extension in self.extensions:
            frame = extension.encode(frame)
        encoder = self._encoder
        if encoder is None:
            encoder = self._encoder = _new_encoder(Role.CLIENT if self.side is CLIENT else Role.SERVER)
        try:
            data = encoder.frame(frame.opcode, frame.data, frame.fin, frame.rsv1, frame.rsv2, frame.rsv3)
        except BufferError:  # A memoryview with strides.
            data = encoder.frame(
                frame.opcode, bytes(frame.data), frame.fin, frame.rsv1, frame.rsv2, frame.rsv3
            )
        self.writes.append(data)


_new_encoder = FrameEncoder


def _payload_length(head: bytes) -> int | None:
    """Return the payload length that a frame's header declares, or None where the header is incomplete."""
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    if length < 126:
        return length
    end = 4 if length == 126 else 10
    return int.from_bytes(head[2:end], "big") if len(head) >= end else None


class ClientProtocol(_ClientProtocol, _Frames):
    """``websockets.client.ClientProtocol`` with the frames of wsfast."""


class ServerProtocol(_ServerProtocol, _Frames):
    """``websockets.server.ServerProtocol`` with the frames of wsfast."""


def accelerate(protocol: Any) -> None:
    """Give a ``ClientProtocol`` or ``ServerProtocol`` of websockets our frames, before it has received any.

    One of a class that somebody derived from them is left as it is: that class may have a parser of its own.
    """
    if type(protocol) is _ClientProtocol:
        protocol.__class__ = ClientProtocol
    elif type(protocol) is _ServerProtocol:
        protocol.__class__ = ServerProtocol
    else:
        return
    if protocol.state is OPEN:
        # Made without a handshake: its parser stands at the first frame already, and is theirs.
        protocol.parser = protocol.parse()
        next(protocol.parser)
