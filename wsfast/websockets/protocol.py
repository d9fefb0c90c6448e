"""The sans-I/O protocols of ``websockets`` with the frames of wsfast: both roles.

``websockets`` has a class for each role, on top of one ``Protocol``. ``_Frames`` goes between them. So their
``super().parse()`` and ``self.send_frame()`` call our methods. They keep the handshakes, the states, the closing
handshake and the answers to control frames. We turn bytes into frames, and frames into bytes.

Three rules. All observable behaviour is theirs: events, exceptions, texts, close codes. So their own parser gets a
faulty frame, byte for byte. An error in their code is thrown into their parser, which always waits between two frames.
Only lengths are judged here, because they accept forms that RFC 6455 5.2 forbids. And state is made on first use. So
``accelerate`` can turn an object of theirs into one of ours, at any time before its first frame.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from websockets.client import ClientProtocol as _ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol
from websockets.server import ServerProtocol as _ServerProtocol
from websockets.version import version as _version

from ..codec import FrameDecoder, FrameEncoder, Role
from ..events import FrameHeader

if TYPE_CHECKING:
    from ..events import Frame as ReceivedFrame

__all__ = ["ClientProtocol", "ServerProtocol", "accelerate"]

if int(_version.partition(".")[0]) < 16:  # Older versions name the attributes that we use differently.
    raise ImportError(f"wsfast.websockets needs websockets 16 or later, and {_version} is installed")

# By number: a dict look-up with an enum member calls its __hash__, in Python.
_OPCODES: Final = [Opcode(number) if number in {*Opcode} else None for number in range(16)]
_CONT: Final = Opcode.CONT
_MAX_HEADER_SIZE: Final = 14  # bytes (RFC 6455 5.2)
_HEAD_SIZE: Final = _MAX_HEADER_SIZE + 125  # The largest payload of a control frame is included (5.5).
_ANY_RSV: Final = 0b111  # Extensions judge the reserved bits of data frames themselves (5.2).


class _Frames(Protocol):
    """A class between ``websockets``' class for a role and its ``Protocol``."""

    # On the class, so that objects made by websockets have them too. No more attributes: with 31 of them an object gets
    # a dict of its own on CPython 3.11, and receiving a fragment takes 1.1 times as long.
    _decoder: FrameDecoder | None = None
    _encoder: FrameEncoder | None = None
    # Received bytes of an incomplete frame; -1: the handshake is not done, or the rest is discarded.
    _unfinished: int = -1
    _head: bytes = b""  # The first of these bytes: at least the header, and all of a control frame.

    # Receiving

    def receive_data(self, data: bytes | bytearray) -> None:
        decoder = self._decoder
        if decoder is None:
            if self._unfinished < 0:
                super().receive_data(data)
                if self._unfinished < 0 or not self.reader.buffer:
                    return
                # These bytes came with the handshake. Their parser goes on to wait for a frame.
                data = bytes(self.reader.buffer)
                self.reader.discard()
                next(self.parser)
            # Not earlier: a server's extensions are settled only when its parser has come to this point.
            decoder = self._decoder = self._new_decoder()
        self._receive_frames(decoder, data)

    def receive_eof(self) -> None:
        if self._decoder is not None and self._unfinished > 0 and not self.reader.eof:
            if self._decoder.unfinished_header:
                self._hand_over(self._head)
            else:
                length = self._declared_length() or 0
                n_received = length - self._decoder.missing_size
                self.reader.feed_eof()
                self.parser.throw(EOFError(f"stream ends after {n_received} bytes, expected {length} bytes"))
        super().receive_eof()

    def parse(self) -> Generator[None]:
        """Begin to take the frames, and leave their parser waiting for one."""
        self._unfinished = 0
        while self.reader.buffer:
            yield
        yield from super().parse()

    def discard(self) -> Generator[None]:
        self._leave()
        return super().discard()

    def _leave(self) -> None:
        self._decoder = None
        self._unfinished = -1
        if self._head:
            self._head = b""

    def _new_decoder(self) -> FrameDecoder:
        limits = [size for size in (self.max_message_size, self.max_fragment_size) if size is not None]
        return FrameDecoder(
            self._role(),
            max_frame_size=max(min(limits), 0) if limits else None,
            allowed_rsv=_ANY_RSV if self.extensions else 0,
        )

    def _receive_frames(self, decoder: FrameDecoder, chunk: bytes | bytearray) -> None:
        frames = decoder.feed(chunk)
        unfinished = self._unfinished + len(chunk)
        header_size = 2 if self.side is CLIENT else 6
        try:
            for frame in frames:
                payload = frame.payload
                size = len(payload)
                # 5.2: lengths have their shortest form, so the payload length gives the size of the header.
                unfinished -= size + header_size + (0 if size < 126 else 2 if size < 65536 else 8)
                if self.current_size is not None or self.extensions:
                    self._receive_frame(frame)
                    continue
                event = Frame(_OPCODES[frame.opcode], payload, frame.fin)
                if self.debug:
                    self.logger.debug("< %s", event)
                self.recv_frame(event)
        except Exception as error:
            self.parser.throw(error)
            return
        if unfinished:
            self._keep_head(decoder, chunk, unfinished)
        elif self._unfinished > 0:
            self._unfinished = 0

    def _receive_frame(self, received: ReceivedFrame) -> None:
        """Receive a frame of a fragmented message, or a frame with extensions."""
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
        """Return the largest allowed size of the next data frame, in bytes, after the earlier ones of its message."""
        limit = self.max_message_size
        if limit is not None and self.current_size is not None:
            limit -= self.current_size
        if self.max_fragment_size is not None:
            limit = self.max_fragment_size if limit is None else min(limit, self.max_fragment_size)
        return limit

    def _keep_head(self, decoder: FrameDecoder, chunk: bytes | bytearray, unfinished: int) -> None:
        """Keep the head of an incomplete frame; its first ``unfinished`` bytes end with ``chunk``. Act on faults."""
        if self._decoder is not decoder:
            return  # A Close frame came before, so the rest is discarded.
        start = len(chunk) - unfinished
        if start >= 0:
            head = b""
        elif len(self._head) < _HEAD_SIZE:
            head, start = self._head, 0
        else:  # A data frame, whose header was judged already.
            self._unfinished = unfinished
            return
        self._head = head + bytes(chunk[start : start + _HEAD_SIZE - len(head)])
        self._unfinished = unfinished
        failure = decoder.failure
        if failure is None:
            if self.current_size is None or len(head) >= _MAX_HEADER_SIZE or not self._exceeds_limit():
                return
        elif failure.kind in ("LENGTH_TOP_BIT", "LENGTH_NOT_MINIMAL"):
            self.parser.throw(ProtocolError(failure.reason))
            return
        self._hand_over(head + bytes(chunk[start:]))

    def _exceeds_limit(self) -> bool:
        """Tell whether the header of a fragment makes its message too big (10.4).

        The decoder has one limit for every frame; this limit depends on the earlier fragments.
        """
        if self._head[0] & 0b1111 != _CONT:
            return False
        length, limit = self._declared_length(), self._size_limit()
        return length is not None and limit is not None and length > limit

    def _declared_length(self) -> int | None:
        """Return the payload length of the incomplete frame, in bytes; None if its header is not complete."""
        if len(self._head) < 2:
            return None
        # Read as a BINARY frame of a server: a fragment would need earlier ones (5.4), and a mask comes first (5.2).
        decoder = FrameDecoder(Role.CLIENT, max_frame_size=None, headers=True)
        for header in decoder.feed(bytes((0x82, self._head[1] & 0x7F)) + self._head[2:]):
            if isinstance(header, FrameHeader):
                return header.payload_length
        return None

    def _hand_over(self, data: bytes) -> None:
        """Let the parser of websockets read on: ``data`` from the start of a frame, and all later bytes."""
        self._leave()
        super().receive_data(data)

    def _role(self) -> Role:
        return Role.CLIENT if self.side is CLIENT else Role.SERVER

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
            encoder = self._encoder = _new_encoder(self._role())
        try:
            data = encoder.frame(frame.opcode, frame.data, frame.fin, frame.rsv1, frame.rsv2, frame.rsv3)
        except BufferError:  # A memoryview with strides.
            data = encoder.frame(
                frame.opcode, bytes(frame.data), frame.fin, frame.rsv1, frame.rsv2, frame.rsv3
            )
        self.writes.append(data)


_new_encoder = FrameEncoder


class ClientProtocol(_ClientProtocol, _Frames):
    """``websockets.client.ClientProtocol`` with the frames of wsfast."""


class ServerProtocol(_ServerProtocol, _Frames):
    """``websockets.server.ServerProtocol`` with the frames of wsfast."""


def accelerate(protocol: Any) -> None:
    """Give a ``ClientProtocol`` or ``ServerProtocol`` of websockets our frames, before it has received a frame.

    An object of a derived class is left unchanged: that class may have a parser of its own.
    """
    if type(protocol) is _ClientProtocol:
        protocol.__class__ = ClientProtocol
    elif type(protocol) is _ServerProtocol:
        protocol.__class__ = ServerProtocol
    else:
        return
    if protocol.state is OPEN:
        # It was made without a handshake: its parser waits for the first frame already, and it is theirs.
        protocol.parser = protocol.parse()
        next(protocol.parser)
