"""Compressing and inflating messages as it was agreed (RFC 7692 6 and 7.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from .. import faults
from ..codec import FrameEncoder, Opcode, Role, Utf8Validator, utf8_valid
from .config import engine_error, is_memory_error, load_engine, make_compressor
from .negotiation import Agreement

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["DeflatingEncoder", "Inflater"]

# 7.2.1: the end of each flushed block is left out of a message, and 7.2.2: it is put back. It is the empty stored
# block 00 00 00 FF FF without its first byte, of which the bits belong to the data.
_TAIL: Final = b"\x00\x00\xff\xff"

_TEXT: Final = Opcode.TEXT
_BINARY: Final = Opcode.BINARY

_Z_SYNC_FLUSH: Final = 2

# Steps of inflating, in bytes: a bomb of any shape takes two of the output's and a few of the input's, beside the
# message and the context, which takes 39 KiB for a window of 32. In one step it would be 7 % faster for text that
# shrinks to a hundredth.
_INPUT_SIZE: Final = 2048
_OUTPUT_SIZE: Final = 6144

RATIO_FREE_SIZE: Final = 1_048_576
"""Inflated bytes of a message up to which its ratio does not matter."""


# Receiving (7.2.2)


class Inflater:
    """Inflates the messages of one peer; ``role`` is ours. Give ``inflate`` to a ``MessageDecoder``."""

    __slots__ = ("_bits", "_config", "_context", "_engine", "_error", "_in_size", "_out_size", "_resets")

    def __init__(self, role: Role, agreement: Agreement) -> None:
        from_server = role is Role.CLIENT
        self._bits = agreement.server_max_window_bits if from_server else agreement.client_max_window_bits
        self._resets = (
            agreement.server_no_context_takeover if from_server else agreement.client_no_context_takeover
        )
        self._config = agreement.config
        self._engine = load_engine(agreement.config.engine)
        self._error = engine_error(self._engine)
        self._context: Any = None
        self._in_size = 0  # of the message in hand
        self._out_size = 0

    def inflate(self, data: bytes, fin: bool) -> Iterator[bytes]:
        """Inflate the next part of a message's payload, the last one with ``fin``; yield pieces of at most 6 KiB.

        What is not taken from the iterator is not inflated. Raises ``PeerFault`` for data that cannot be inflated,
        and for a message that grows beyond ``max_ratio``; no other call makes sense after it.
        """
        pos, size = 0, len(data)
        while True:
            part = data[pos : pos + _INPUT_SIZE]
            pos += _INPUT_SIZE
            self._in_size += len(part)
            ends = fin and pos >= size
            # 7.2.3.6 has an empty message as 00, but some send nothing at all, to which no tail belongs. Nor is
            # there one after a final block with nothing behind it.
            if ends and (part or (self._in_size and self._context is not None)):
                part += _TAIL
            rest: bytes | None = part or None
            while rest is not None:
                if self._context is None:
                    self._context = self._engine.decompressobj(-self._bits)
                context = self._context
                try:
                    piece = context.decompress(rest, _OUTPUT_SIZE)
                except self._error as error:
                    if is_memory_error(error):
                        raise MemoryError from error
                    raise faults.PeerFault(faults.INFLATE_FAILED) from None
                if piece:
                    self._out_size += len(piece)
                    if self._out_size > RATIO_FREE_SIZE:
                        self._check_ratio()
                    yield piece
                if context.eof:
                    # 7.2.3.4: a block with BFINAL ends zlib's stream; what follows begins a new one.
                    # The old context goes before there is a new one: each has up to 42 KiB.
                    rest, context, self._context = context.unused_data or None, None, None
                    if ends and rest == _TAIL:
                        rest = None
                elif context.unconsumed_tail or len(piece) == _OUTPUT_SIZE:
                    rest = context.unconsumed_tail  # where it is empty there may be more inside
                else:
                    rest = None
            if pos >= size:
                break
        if fin:
            self._in_size = self._out_size = 0
            if self._resets:
                self._context = None

    def _check_ratio(self) -> None:
        ratio = self._config.max_ratio
        if ratio is not None and self._out_size > ratio * self._in_size:
            raise faults.PeerFault(faults.ratio_too_high(ratio))


# Sending (7.2.1)


class DeflatingEncoder:
    """Messages in, the bytes of one compressed frame out: a ``FrameEncoder`` that knows an agreement.

    ``message`` and ``fragment`` have one argument more: ``compress=True`` compresses the message, ``False`` sends it as
    it is, ``None`` compresses what has ``threshold`` bytes or more. All of what is wrong with a message is found
    before it is compressed, so that the context is as it was. What is returned has to be sent, in this order.
    """

    __slots__ = (
        "_agreement",
        "_bits",
        "_context",
        "_encoder",
        "_engine",
        "_message",
        "_resets",
        "_threshold",
        "_utf8_rest",
    )

    def __init__(self, encoder: FrameEncoder, agreement: Agreement) -> None:
        is_server = encoder.role.value == "server"
        self._encoder = encoder
        self._agreement = agreement
        self._bits = agreement.server_max_window_bits if is_server else agreement.client_max_window_bits
        self._resets = (
            agreement.server_no_context_takeover if is_server else agreement.client_no_context_takeover
        )
        self._threshold = agreement.config.threshold
        self._engine = load_engine(agreement.config.engine)
        self._context: Any = None
        self._message: Opcode | None = None  # the type of the compressed message of fragments that we are in
        self._utf8_rest = b""  # its unfinished character

    @property
    def role(self) -> Role:
        return self._encoder.role

    @property
    def in_message(self) -> bool:
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""
        return self._message is not None or self._encoder.in_message

    @property
    def shared_with(self) -> Agreement | None:
        """None, or with which agreement a server's connections have the same bytes for the same message.

        Without context takeover a message is compressed without regard to those before it.
        """
        return self._agreement if self._resets else None

    def message(self, data: str | Buffer, text: bool | None = None, compress: bool | None = None) -> bytes:
        """Encode a whole message as one frame (RFC 6455 5.6; RFC 7692 7.2.1)."""
        if self._message is not None:
            raise RuntimeError("message() before the fragmented message was finished")  # RFC 6455 5.4
        if compress is False:
            return self._encoder.message(data, text)
        payload = _to_bytes(data)
        if (compress is None and len(payload) < self._threshold) or self._encoder.in_message:
            return self._encoder.message(data, text)  # which refuses it inside a message
        opcode = _opcode_for(data, text)
        if opcode is _TEXT and not isinstance(data, str) and not utf8_valid(payload):
            raise ValueError("bytes sent as text are not valid UTF-8")  # RFC 6455 8.1
        # The peer's context does not miss what it would not keep.
        return self._compressed_frame(opcode, payload, True, True, compress is None and self._resets)

    def fragment(
        self, data: str | Buffer, fin: bool = False, text: bool | None = None, compress: bool | None = None
    ) -> bytes:
        """Encode the next fragment of a message (RFC 6455 5.4); the first decides whether it is compressed."""
        is_first = self._message is None
        if is_first and (self._encoder.in_message or compress is False):
            return self._encoder.fragment(data, fin, text)
        payload = _to_bytes(data)
        if is_first and compress is None and len(payload) < self._threshold:
            return self._encoder.fragment(data, fin, text)
        opcode = _opcode_for(data, text)
        if self._message is not None and opcode is not self._message:
            raise TypeError(f"{opcode.name} fragment in a {self._message.name} message")
        utf8_rest = b""
        if opcode is _TEXT and (self._utf8_rest or not isinstance(data, str)):
            unfinished = _unfinished_character(self._utf8_rest + payload)
            if unfinished is None or (fin and unfinished):
                raise ValueError("bytes sent as text are not valid UTF-8")  # RFC 6455 8.1
            utf8_rest = unfinished
        # 6.1: RSV1 stands on the first fragment only.
        frame = self._compressed_frame(opcode if is_first else Opcode.CONTINUATION, payload, fin, is_first)
        self._message = None if fin else opcode
        self._utf8_rest = utf8_rest
        return frame

    def _compressed_frame(
        self, opcode: Opcode, payload: bytes, fin: bool, rsv1: bool, unless_larger: bool = False
    ) -> bytes:
        try:
            shrunk = self._deflate(payload, fin)
            if unless_larger and len(shrunk) >= len(payload):
                return self._encoder.frame(opcode, payload)
            return self._encoder.frame(opcode, shrunk, fin, rsv1)
        except BaseException:
            # The peer will never see what the context has just learnt. A new one refers to nothing it does not know.
            self._context = None
            raise

    def _deflate(self, payload: bytes, fin: bool) -> bytes:
        if self._context is None:
            self._context = make_compressor(self._engine, self._agreement.config, self._bits)
        context = self._context
        shrunk: bytes = context.compress(payload) + context.flush(_Z_SYNC_FLUSH)
        if not fin:
            return shrunk
        if self._resets:
            self._context = None
        # 7.2.3.6: of an empty message, or an empty last fragment, the first byte of an empty block is left.
        return shrunk[:-4]

    def ping(self, payload: Buffer = b"") -> bytes:
        return self._encoder.ping(payload)

    def pong(self, payload: Buffer = b"") -> bytes:
        return self._encoder.pong(payload)

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        return self._encoder.close(code, reason)

    def frame(
        self,
        opcode: int,
        payload: Buffer = b"",
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> bytes:
        """Encode one frame as told, compressing nothing."""
        return self._encoder.frame(opcode, payload, fin, rsv1, rsv2, rsv3)


def _to_bytes(data: str | Buffer) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if type(data) is bytes:
        return data
    with memoryview(data) as view:
        if not view.c_contiguous:
            raise BufferError("buffer is not C-contiguous")
        return view.tobytes()


def _opcode_for(data: str | Buffer, text: bool | None) -> Opcode:
    return _TEXT if text or (text is None and isinstance(data, str)) else _BINARY


def _unfinished_character(data: bytes) -> bytes | None:
    """Return the unfinished character at the end of ``data`` (0 to 3 bytes), or None if it is not UTF-8."""
    validator = Utf8Validator()
    if not validator.feed(data):
        return None
    if validator.complete:
        return b""
    first = next(pos for pos in range(1, 4) if data[-pos] >= 0xC0)  # 11xxxxxx begins a character
    return data[-first:]
