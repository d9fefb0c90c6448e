"""The lines of a connection's log at DEBUG: the heads of its handshake and its frames, ``<`` received and ``>`` sent.

The bytes are parsed a second time, and none is changed. Credentials are not told, a compressed payload is not inflated,
and of each line all that is not printable is escaped.
"""

from __future__ import annotations

from typing import Final

from ..codec import Frame, FrameDecoder, FrameHeader, Opcode, Role
from ..connection import Connection, ReadyState
from ..printable import shown
from ..typing import LoggerLike

__all__ = ["Stream", "streams"]

_MAX_HEAD_SIZE: Final = 16_384
_SHOWN_SIZE: Final = 75  # characters of a payload
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


def streams(protocol: Connection, logger: LoggerLike) -> tuple[Stream, Stream]:
    """Return the streams of both directions, received and sent, of a connection that begins."""
    role = protocol.role
    opens = protocol.ready_state is ReadyState.CONNECTING
    received = Stream("<", role, logger, opens)
    return received, Stream(">", Role.SERVER if role is Role.CLIENT else Role.CLIENT, logger, opens)


class Stream:
    """One direction: a head if there is a handshake, then frames. ``role`` is that of the receiver."""

    def __init__(self, sign: str, role: Role, logger: LoggerLike, opens: bool) -> None:
        self._sign = sign
        self._logger = logger
        self._head: bytes | None = b"" if opens else None
        self._frames: FrameDecoder[Frame | FrameHeader] | None = FrameDecoder(
            role, max_frame_size=None, partial=True, headers=True, allowed_rsv=4
        )
        self._length = 0
        self._message = Opcode.BINARY
        self._is_compressed = False

    def tell(self, line: str) -> None:
        self._logger.debug("%s", shown(f"{self._sign} {line}", 400))

    def take(self, data: bytes) -> None:
        while self._head is not None and data:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head[:_MAX_HEAD_SIZE]
                return
            self._take_head(head.decode("iso-8859-1"))
        if self._frames is not None:
            for event in self._frames.feed(data):
                self._take_frame(event)

    def _take_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.tell(first)
        for line in lines:
            name, colon, _ = line.partition(":")
            self.tell(f"{name}: ***" if colon and name.strip().lower() in _SECRET else line)
        status = first.split(" ")[1:2] if first.startswith("HTTP/") else ["101"]
        if status != ["100"]:  # another head follows that
            self._head = None
        if status not in (["100"], ["101"]):
            self._frames = None  # a body follows

    def _take_frame(self, event: Frame | FrameHeader) -> None:
        if isinstance(event, FrameHeader):
            self._length = event.payload_length
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._message, self._is_compressed = event.opcode, event.rsv1
        elif event.offset == 0:
            size = f"{self._length} byte{'' if self._length == 1 else 's'}"
            notes = [size]
            if event.opcode < Opcode.CLOSE and self._is_compressed:
                notes.append("compressed")
            if not event.fin:
                notes.append("continued")
            self.tell(f"{_NAMES[event.opcode]} {self._payload(event)} [{', '.join(notes)}]")

    def _payload(self, frame: Frame) -> str:
        data, is_cut = frame.payload[: 4 * _SHOWN_SIZE], self._length > len(frame.payload)
        if frame.opcode is Opcode.CLOSE:
            code = str(int.from_bytes(data[:2], "big")) if len(data) > 1 else "without a code"
            return f"{code} {shown(data[2:].decode(errors='replace'), 123)}".strip()
        if frame.opcode >= Opcode.CLOSE:
            is_text = data.isascii() and data.decode("latin-1").isprintable()
        else:
            is_text = self._message is Opcode.TEXT and not self._is_compressed
        if is_text:
            # A part may end inside a character.
            text = shown(data.decode(errors="ignore" if is_cut else "replace"), _SHOWN_SIZE)
            return f"'{text}{'...' if is_cut and not text.endswith('...') else ''}'"
        return data[: _SHOWN_SIZE // 3].hex(" ") + (" ..." if self._length > _SHOWN_SIZE // 3 else "")


_NAMES: Final = {opcode: opcode.name for opcode in Opcode} | {Opcode.CONTINUATION: "CONT"}
