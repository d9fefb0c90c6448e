"""The log of a connection at DEBUG: the heads of its handshake and its frames, ``<`` received and ``>`` sent.

It stands between the transport and the connection, and only where DEBUG was on when the connection was made. So it
costs nothing elsewhere. It parses the bytes a second time and changes none. Credentials are not told, a compressed
payload is not inflated, and of each line all that is not printable is escaped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from ..codec import Frame, FrameDecoder, FrameHeader, Opcode, Role
from ..connection import ReadyState
from ..printable import shown
from .between import Between

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..typing import LoggerLike
    from .transport import TransportSession

__all__ = ["traced"]

_MAX_HEAD_SIZE: Final = 16_384
_SHOWN_SIZE: Final = 75  # characters of a payload
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


def traced(
    transport: asyncio.BaseTransport, connection: TransportSession, logger: LoggerLike
) -> asyncio.BaseTransport:
    """Return a transport that tells ``logger`` all that ``connection`` receives and sends."""
    role = connection.protocol.role
    opens = connection.protocol.ready_state is ReadyState.CONNECTING
    received = _Stream("<", role, logger, opens)
    sent = _Stream(">", Role.SERVER if role is Role.CLIENT else Role.CLIENT, logger, opens)
    try:
        cast("asyncio.Transport", transport).set_protocol(_Protocol(connection, received))
    except NotImplementedError:  # a transport of an application's own
        pass
    return cast("asyncio.BaseTransport", _Transport(cast("asyncio.Transport", transport), sent))


class _Stream:
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


class _Protocol(Between):
    """The bytes that come, between the transport and the connection."""

    def __init__(self, connection: TransportSession, stream: _Stream) -> None:
        super().__init__(connection)
        self._stream = stream

    def data_received(self, data: Buffer) -> None:
        self._stream.take(bytes(data))
        self._connection.data_received(data)

    def eof_received(self) -> bool | None:
        self._stream.tell("EOF")
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.tell("end of TCP" if exc is None else f"TCP is lost: {exc}")
        super().connection_lost(exc)


class _Transport:
    """The bytes that go, between the connection and the transport."""

    def __init__(self, transport: asyncio.Transport, stream: _Stream) -> None:
        self._transport = transport
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._stream.take(bytes(data))
        self._transport.write(data)

    def writelines(self, parts: list[bytes]) -> None:
        self._stream.take(b"".join(parts))
        self._transport.writelines(parts)

    def write_eof(self) -> None:
        self._stream.tell("EOF")
        self._transport.write_eof()
