"""The encoder in plain Python (RFC 6455 5.2)."""

from __future__ import annotations

import operator
import os
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

__all__ = ["FrameEncoder"]

_KEY_BATCH_SIZE: Final = 256

_n_forks = 0


def _count_fork() -> None:
    global _n_forks
    _n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _opcode_for(data: str | Buffer, text: bool | None) -> Opcode:
    """Return the type of message (5.6) that a caller wants: ``text``, or without it what ``data`` is."""
    return TEXT if text or (text is None and isinstance(data, str)) else BINARY


class FrameEncoder:
    """Messages and control frames in, the bytes of one frame out (RFC 6455 5.2)."""

    __slots__ = (
        "_busy",
        "_keys",
        "_keys_n_forks",
        "_masks",
        "_message",
        "_random_bytes",
        "_role",
        "_utf8_rest",
    )

    def __init__(self, role: Role, *, random_bytes: Callable[[int], bytes] | None = None) -> None:
        if random_bytes is not None and not callable(random_bytes):
            raise TypeError(f"random_bytes is {random_bytes!r}, not a function")
        self._role = Role(role)
        self._masks = self._role is Role.CLIENT
        self._random_bytes = random_bytes
        self._busy = False  # in random_bytes(), which may call anything
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
        payload = data.encode() if isinstance(data, str) else to_bytes(data)
        if opcode is TEXT and not isinstance(data, str) and utf8_rest(payload) != b"":
            raise ValueError("bytes sent as text are not valid UTF-8")  # 8.1
        return self._frame(FIN | opcode, payload)

    def fragment(self, data: str | Buffer, fin: bool = False, text: bool | None = None) -> bytes:
        """Encode the next fragment of a message (RFC 6455 5.4)."""
        opcode = _opcode_for(data, text)
        if self._message is not None and opcode is not self._message:
            raise TypeError(f"{opcode.name} fragment in a {self._message.name} message")
        payload = data.encode() if isinstance(data, str) else to_bytes(data)
        rest = b""
        if opcode is TEXT and (self._utf8_rest or not isinstance(data, str)):
            unfinished = utf8_rest(self._utf8_rest + payload)
            if unfinished is None or (fin and unfinished):
                raise ValueError("bytes sent as text are not valid UTF-8")  # 8.1
            rest = unfinished
        first = opcode if self._message is None else CONTINUATION
        frame = self._frame(FIN | first if fin else first, payload)
        self._message = None if fin else opcode
        self._utf8_rest = rest
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
            raise TypeError(f"close reason is {reason!r}, not a str")
        code = 1005 if code is None else operator.index(code)
        if code == 1005:
            # 7.4.1: 1005 means that there is no code, and a reason comes after one.
            if reason:
                raise ValueError("close reason without a close code")
            return self.frame(CLOSE)
        if not is_sendable_close_code(code):
            raise ValueError(f"close code {code} must not be sent")
        payload = code.to_bytes(2, "big") + reason.encode()
        if len(payload) > MAX_CONTROL_SIZE:
            raise ValueError(f"close reason of {len(payload) - 2} bytes is longer than 123")
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
            raise ValueError(f"reserved opcode {first}")
        # 5.5: control frames are not fragmented, and have at most 125 bytes of payload.
        is_control = first & CONTROL
        if is_control and not fin:
            raise ValueError("control frame is fragmented")
        raw = to_bytes(payload)
        if is_control and len(raw) > MAX_CONTROL_SIZE:
            raise ValueError(f"control frame payload of {len(raw)} bytes is longer than 125")
        for bit, is_set in ((0x80, fin), (0x40, rsv1), (0x20, rsv2), (0x10, rsv3)):
            if is_set:
                first |= bit
        return self._frame(first, raw)

    def _frame(self, first: int, payload: bytes) -> bytes:
        """Put a header before the payload, and mask it if that is our role."""
        mask_bit = MASK if self._masks else 0
        size = len(payload)
        # 5.2: the shortest of the three forms.
        if size < LENGTH_16:
            header = bytes((first, mask_bit | size))
        elif size <= 0xFFFF:
            header = bytes((first, mask_bit | LENGTH_16)) + size.to_bytes(2, "big")
        else:
            header = bytes((first, mask_bit | LENGTH_64)) + size.to_bytes(8, "big")
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
            # One call a batch: 170 ns a key, not 440 (bench_encode, 3.11). A child must not use the keys of its parent.
            batch = os.urandom(_KEY_BATCH_SIZE)
            self._keys = [batch[pos : pos + 4] for pos in range(0, _KEY_BATCH_SIZE, 4)]
            self._keys_n_forks = _n_forks
        return self._keys.pop()
