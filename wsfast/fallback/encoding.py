"""The encoder in plain Python (RFC 6455 5.2; RFC 7692 6)."""

from __future__ import annotations

import operator
import os
import sys
from typing import TYPE_CHECKING, Final

from .. import mistakes
from ..events import Opcode, Role, is_sendable_close_code
from .layout import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL,
    FIN,
    LENGTH_16,
    LENGTH_64,
    MASK,
    MAX_CONTROL_SIZE,
    OPCODES,
    PING,
    PONG,
    TEXT,
)
from .octets import checked_key, to_bytes, utf8_rest, xor

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ..native import _Deflater

__all__ = ["FrameEncoder"]

_KEY_BATCH_SIZE: Final = 256
_RSV1: Final = 0x40  # RFC 7692 6: the message is compressed

_n_forks = 0


def _count_fork() -> None:
    global _n_forks
    _n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _opcode_for(data: str | Buffer, text: bool | None) -> Opcode:
    """Return the type of the message (5.6): ``text`` decides, and if that is None the type of ``data``."""
    return TEXT if text or (text is None and isinstance(data, str)) else BINARY


class FrameEncoder:
    """Messages and control frames in, the bytes of one frame out (RFC 6455 5.2)."""

    __slots__ = (
        "_busy",
        "_compressed",
        "_deflate",
        "_deflating",
        "_keys",
        "_keys_n_forks",
        "_masks",
        "_message",
        "_random_bytes",
        "_role",
        "_utf8_rest",
    )

    def __init__(
        self,
        role: Role,
        *,
        random_bytes: Callable[[int], bytes] | None = None,
        deflate: _Deflater | None = None,
    ) -> None:
        self._role = Role(role)
        self._masks = self._role is Role.CLIENT
        if random_bytes is not None and not callable(random_bytes):
            raise TypeError(mistakes.not_a_function("random_bytes", random_bytes))
        self._random_bytes = random_bytes
        if deflate is not None and not hasattr(deflate, "threshold"):
            raise TypeError(mistakes.not_a_deflater(deflate))
        self._deflate = deflate
        self._compressed = False  # the fragmented message we are in is (RFC 7692 6.1)
        self._busy = False  # in random_bytes(), which may call anything
        self._deflating = False  # in a call of deflate, the same
        self._keys: list[bytes] = []
        self._keys_n_forks = 0  # how often the process had been forked when they were made
        self._message: Opcode | None = None  # the type of the fragmented message we are in
        self._utf8_rest = b""  # its unfinished character

    @property
    def role(self) -> Role:
        return self._role

    @property
    def deflate(self) -> _Deflater | None:
        """None, or the object that compresses messages (RFC 7692)."""
        return self._deflate

    @property
    def in_message(self) -> bool:
        """True between ``fragment(..., fin=False)`` and ``fragment(..., fin=True)``."""
        return self._message is not None

    def message(self, data: str | Buffer, text: bool | None = None, compress: bool | None = None) -> bytes:
        """Encode a whole message as one frame (RFC 6455 5.6; RFC 7692 7.2.1)."""
        if self._message is not None:
            # 5.4: fragments of one message MUST NOT be interleaved with another's.
            raise RuntimeError(mistakes.MESSAGE_UNFINISHED)
        is_str = isinstance(data, str)
        # As _opcode_for(). That, and two more calls for each message, would take 0.05 us each (compare, ratios).
        opcode = TEXT if text or (text is None and is_str) else BINARY
        payload = data.encode() if isinstance(data, str) else to_bytes(data)
        if self._deflate is not None and self._deflates(payload, compress):
            self._check_text(opcode, data, payload)
            return self._deflated_frame(FIN | opcode, payload, True, compress is None)
        if opcode is TEXT and not is_str:
            self._check_text(opcode, data, payload)
        return self._frame(FIN | opcode, payload)

    def header(self, size: int) -> bytes:
        """Encode the header of a binary message of ``size`` bytes in one frame (RFC 6455 5.2)."""
        size = operator.index(size)
        if self._masks:
            raise ValueError(mistakes.HEADER_OF_A_CLIENT)
        if not 0 <= size <= sys.maxsize:
            raise ValueError(mistakes.size_out_of_range(size))
        if self._message is not None:
            raise RuntimeError(mistakes.MESSAGE_UNFINISHED)  # 5.4
        return self._header(FIN | BINARY, size)

    def fragment(
        self, data: str | Buffer, fin: bool = False, text: bool | None = None, compress: bool | None = None
    ) -> bytes:
        """Encode the next fragment of a message (RFC 6455 5.4; RFC 7692 6.1)."""
        if self._deflating:
            raise RuntimeError(mistakes.ENCODER_BUSY)
        opcode = _opcode_for(data, text)
        is_first = self._message is None
        if not is_first and opcode is not self._message:
            raise TypeError(mistakes.FRAGMENT_OF_OTHER_TYPE)
        payload = data.encode() if isinstance(data, str) else to_bytes(data)
        # RFC 7692 6.1: the first fragment decides, and RSV1 is set in it alone.
        deflates = self._deflates(payload, compress) if is_first else self._compressed
        rest = b""
        if opcode is TEXT and (self._utf8_rest or not isinstance(data, str)):
            unfinished = utf8_rest(self._utf8_rest + payload)
            if unfinished is None or (fin and unfinished):
                raise ValueError(mistakes.TEXT_NOT_UTF8)  # 8.1
            rest = unfinished
        first = (FIN if fin else 0) | (opcode if is_first else CONTINUATION)
        frame = (
            self._deflated_frame(first, payload, is_first, False) if deflates else self._frame(first, payload)
        )
        self._message = None if fin else opcode
        self._utf8_rest = rest
        self._compressed = deflates and not fin
        return frame

    def ping(self, payload: Buffer = b"") -> bytes:
        """Encode a Ping of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.2)."""
        return self.frame(PING, payload)

    def pong(self, payload: Buffer = b"") -> bytes:
        """Encode a Pong of at most 125 bytes of ``payload``, else ``ValueError`` (RFC 6455 5.5.3)."""
        return self.frame(PONG, payload)

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        """Encode a Close frame (RFC 6455 5.5.1)."""
        if not isinstance(reason, str):
            raise TypeError(mistakes.not_a_reason(reason))
        code = 1005 if code is None else operator.index(code)
        if code == 1005:
            # 7.4.1: 1005 means that there is no code, and a reason comes after one.
            if reason:
                raise ValueError(mistakes.REASON_WITHOUT_CODE)
            return self.frame(CLOSE)
        if not is_sendable_close_code(code):
            raise ValueError(mistakes.unsendable_close_code(code))
        payload = code.to_bytes(2, "big") + reason.encode()
        if len(payload) > MAX_CONTROL_SIZE:
            raise ValueError(mistakes.close_reason_too_long(len(payload) - 2))
        return self.frame(CLOSE, payload)

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
        if first not in OPCODES:
            raise ValueError(mistakes.reserved_opcode(first))
        # 5.5: control frames are not fragmented, and have at most 125 bytes of payload.
        is_control = first & CONTROL
        if is_control and not fin:
            raise ValueError(mistakes.CONTROL_FRAGMENTED)
        raw = to_bytes(payload)
        if is_control and len(raw) > MAX_CONTROL_SIZE:
            raise ValueError(mistakes.control_too_long(len(raw)))
        for bit, is_set in ((0x80, fin), (0x40, rsv1), (0x20, rsv2), (0x10, rsv3)):
            if is_set:
                first |= bit
        return self._frame(first, raw)

    def _check_text(self, opcode: Opcode, data: str | Buffer, payload: bytes) -> None:
        if opcode is TEXT and not isinstance(data, str) and utf8_rest(payload) != b"":
            raise ValueError(mistakes.TEXT_NOT_UTF8)  # 8.1

    def _deflates(self, payload: bytes, compress: bool | None) -> bool:
        """Tell whether to compress a message: ``compress`` decides, and if that is None its size."""
        if self._deflate is None:
            return False
        return len(payload) >= self._deflate.threshold if compress is None else bool(compress)

    def _deflated_frame(self, first: int, payload: bytes, rsv1: bool, may_choose: bool) -> bytes:
        """Compress the payload and frame it. The payload is checked: until here the context is as it was."""
        assert self._deflate is not None
        if self._deflating:
            raise RuntimeError(mistakes.ENCODER_BUSY)
        self._deflating = True
        try:
            shrunk = self._deflate.deflate(payload, bool(first & FIN), may_choose)
            if shrunk is None:
                return self._frame(first, payload)
            if type(shrunk) is not bytes:
                raise TypeError(mistakes.not_bytes_deflated(shrunk))
            return self._frame(first | _RSV1 if rsv1 else first, shrunk)
        except BaseException:
            # The peer will not get this frame, so the next message must not refer to it.
            self._deflate.forget()
            raise
        finally:
            self._deflating = False

    def _header(self, first: int, size: int) -> bytes:
        mask_bit = MASK if self._masks else 0
        # 5.2: the shortest of the three forms.
        if size < LENGTH_16:
            return bytes((first, mask_bit | size))
        if size <= 0xFFFF:
            return bytes((first, mask_bit | LENGTH_16)) + size.to_bytes(2, "big")
        return bytes((first, mask_bit | LENGTH_64)) + size.to_bytes(8, "big")

    def _frame(self, first: int, payload: bytes) -> bytes:
        """Put a header before the payload, and mask it if that is our role."""
        size = len(payload)
        # Short ones as _header() does: its call would be 5 % of the message.
        header = (
            bytes((first, size | MASK if self._masks else size))
            if size < LENGTH_16
            else self._header(first, size)
        )
        if not self._masks:
            return header + payload
        # 5.3: an empty payload has a key too.
        key = self._next_key()
        return header + key + xor(payload, key)

    def _next_key(self) -> bytes:
        """Return a new masking key that nobody can predict (5.3, 10.3)."""
        if self._random_bytes is not None:
            if self._busy:
                raise RuntimeError(mistakes.ENCODER_BUSY)
            self._busy = True
            try:
                return checked_key(self._random_bytes(4))
            finally:
                self._busy = False
        if not self._keys or self._keys_n_forks != _n_forks:
            # One call a batch: a key takes 170 ns instead of 440 (bench_encode, 3.11). A child process must not use the
            # keys of its parent.
            batch = os.urandom(_KEY_BATCH_SIZE)
            self._keys = [batch[pos : pos + 4] for pos in range(0, _KEY_BATCH_SIZE, 4)]
            self._keys_n_forks = _n_forks
        return self._keys.pop()
