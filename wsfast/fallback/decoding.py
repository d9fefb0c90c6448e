"""``MessageDecoder``: bytes in, messages out (RFC 6455 5.4, 5.6, 8.1; RFC 7692 6). ``FrameDecoder``: frames out.

``parsing`` has the table of the parser. Here payloads become a message: a ``str`` or a ``bytes``.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from .. import faults, mistakes
from ..events import (
    Close,
    Event,
    Fragment,
    Frame,
    FrameHeader,
    Ping,
    Pong,
    Role,
)
from ..faults import PeerFault
from .judging import checked_bound, checked_rsv, parse_close
from .layout import (
    CONTROL,
    FINAL_BINARY,
    FINAL_TEXT,
    LENGTH_16,
    MASK,
    PING,
    TEXT,
)
from .octets import Utf8Validator, from_bytes, xor
from .parsing import IGNORING, LENGTH, MASKING_KEY, PAYLOAD, RSV1, START, VIEW, FrameParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["FrameDecoder", "MessageDecoder"]

_LARGE_SIZE: Final = 65_536  # bytes that have to be missing before get_buffer() has one

# Inflated bytes that are kept in one object: a bomb takes little memory next to its message.
_INFLATED_BLOCK_SIZE: Final = 8192


class MessageDecoder(FrameParser[Event]):
    """Bytes in, messages out (RFC 6455 5 and 8.1). ``native.pyi`` says what each argument means."""

    def __init__(
        self,
        role: Role,
        *,
        max_message_size: int | None = 1_048_576,
        max_frame_size: int | None = None,
        max_fragments: int | None = 131_072,
        max_feed_events: int | None = None,
        max_feed_size: int | None = None,
        text: Literal["str", "bytes"] = "str",
        inflate: Callable[[bytes, bool], Iterator[bytes]] | None = None,
    ) -> None:
        allowed_rsv = 0 if inflate is None else RSV1
        super().__init__(role, max_message_size, max_frame_size, max_fragments, allowed_rsv)
        self._max_feed_events = checked_bound("max_feed_events", max_feed_events)
        self._max_feed_size = checked_bound("max_feed_size", max_feed_size)
        self._is_bounded = max_feed_events is not None or max_feed_size is not None
        if text not in ("str", "bytes"):
            raise ValueError(mistakes.not_a_text_option(text))
        if inflate is not None and not callable(inflate):
            raise TypeError(mistakes.not_a_function("inflate", inflate))
        self._text = text
        self._inflate = inflate
        self._utf8 = Utf8Validator()
        self._room = bytearray()  # what get_buffer() gave a view of
        self._view: memoryview | None = None  # that view, until the next call
        self._is_streaming = False  # the message in hand, or the next one, comes in parts
        self._in_parts = False  # one of them was delivered
        # The payload lengths of _take_whole_messages: those in 7 or 16 bits that no limit refuses.
        self._end_stream()

    def _end_stream(self) -> None:
        self._is_streaming = self._in_parts = False
        limits = [limit for limit in (self._max_message_size, self._max_frame_size) if limit is not None]
        self._whole_size = min([0xFFFF, *limits]) if self._max_fragments != 0 else -1

    def stream_message(self, wanted: bool = True) -> Fragment | None:
        """Deliver the message in hand, or if there is none the next one, in parts."""
        self._refuse_inner_call()
        self._close_view()
        if not wanted:
            if not self._in_parts:
                self._end_stream()
            return None
        if self._is_streaming or self._state == IGNORING:
            return None
        self._is_streaming = True
        self._whole_size = -1
        return (
            self._take_part(False)
            if self._message is not None and (self._collected or self._blocks)
            else None
        )

    def _take_part(self, fin: bool) -> Fragment:
        """Return what was collected, and forget it."""
        payload = b"".join((*self._blocks, self._collected))
        self._collected = bytearray()
        self._blocks = []
        self._in_parts = self._control_seen = True
        return Fragment(payload, self._message is TEXT, fin)

    @property
    def has_control(self) -> bool:
        """True if the last ``feed`` met something that is no message, or bytes wait."""
        return self._control_seen or self._has_waiting

    @property
    def text(self) -> Literal["str", "bytes"]:
        """``"str"`` or ``"bytes"``: the type of a text message."""
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

    @property
    def max_feed_events(self) -> int | None:
        return self._max_feed_events

    @property
    def max_feed_size(self) -> int | None:
        return self._max_feed_size

    @property
    def has_waiting(self) -> bool:
        """True while received bytes wait, as the last ``feed`` had completed as much as it may."""
        return self._has_waiting

    def _close_view(self) -> None:
        """Let nobody write any more to the view that get_buffer() returned."""
        view, self._view = self._view, None
        self._hindrance &= ~VIEW
        self._room = bytearray()
        if view is not None:
            with suppress(BufferError):  # somebody has a part of it, and keeps that
                view.release()

    def get_buffer(self, sizehint: int = -1) -> memoryview | None:
        """Return a view to receive the next bytes into, or None when ``feed`` has to be used."""
        operator.index(sizehint)
        self._refuse_inner_call()
        self._close_view()
        if (
            self._state != PAYLOAD
            or self._opcode & CONTROL
            or self._compressed
            or self._n_missing < _LARGE_SIZE
        ):
            return None
        self._room = bytearray(min(self._n_missing, max(_LARGE_SIZE, len(self._collected))))
        self._view = memoryview(self._room)
        self._hindrance |= VIEW
        return self._view

    def buffer_updated(self, nbytes: int) -> list[Event]:
        """Decode what was received into the buffer that ``get_buffer`` returned last."""
        size = operator.index(nbytes)
        self._refuse_inner_call()
        if self._view is None:
            raise RuntimeError(mistakes.NO_BUFFER)
        if not 0 <= size <= len(self._room):
            raise ValueError(mistakes.more_than_the_buffer(size, len(self._room)))
        return self.feed(self._room[:size])

    def _take_control(self, payload: bytes, close: Close | None, results: list[Event]) -> None:
        results.append(close or (Ping(payload) if self._opcode is PING else Pong(payload)))

    def _take_payload(self, part: bytes, results: list[Event]) -> None:
        is_last = self._fin and not self._n_missing
        if self._compressed:
            self._inflate_piece(part, is_last)
        else:
            self._collect(part)
        if not is_last:
            if self._is_streaming and not self._n_missing:
                self._fed_size += len(self._collected) + sum(map(len, self._blocks))
                results.append(self._take_part(False))
            return
        payload = b"".join((*self._blocks, self._collected)) if self._blocks else self._collected
        self._fed_size += len(payload)
        if self._message is TEXT:
            if not self._utf8.complete:
                raise PeerFault(faults.TEXT_NOT_UTF8)
            if not self._in_parts:
                results.append(bytes(payload) if self._text == "bytes" else payload.decode())
        elif not self._in_parts:
            results.append(bytes(payload))
        if self._in_parts:
            results.append(self._take_part(True))
        if self._is_streaming:
            self._end_stream()
        self._collected = bytearray()
        self._blocks = []

    def _collect(self, part: bytes) -> None:
        # 8.1: text that is not UTF-8 fails the connection: at the first byte that makes it so, or at its end.
        if self._message is TEXT and not self._utf8.feed(part):
            raise PeerFault(faults.TEXT_NOT_UTF8)
        self._collected += part

    def _inflate_piece(self, part: bytes, is_last: bool) -> None:
        if not part and not is_last:
            return
        assert self._inflate is not None
        limit = self._max_message_size
        for piece in self._inflate(part, is_last):
            if type(piece) is not bytes:
                raise TypeError(mistakes.not_bytes_inflated(piece))
            # 10.4: judged piece by piece, as bytes may inflate to a thousand times their size.
            self._inflated_size += len(piece)
            if limit is not None and self._inflated_size > limit:
                raise PeerFault(faults.inflated_too_big(limit))
            self._collect(piece)
            if len(self._collected) >= _INFLATED_BLOCK_SIZE:
                # A bytearray of its size would have room for an eighth more.
                self._blocks.append(bytes(self._collected))
                self._collected.clear()
        if is_last:
            self._inflated_size = 0

    def _take_whole_messages(self, chunk: bytes, pos: int, results: list[Event]) -> int:
        # Messages of one frame below 64 KiB that is all here and has no fault. Anything else ends the loop, and the
        # table judges it from its first byte on. This is 3.6 times as fast as the table alone at 32 bytes, and 1.6
        # times at 1 KiB (bench_decode, 3.11).
        is_masked = self._is_masked
        mask_bit, header_size = (MASK, 6) if is_masked else (0, 2)
        whole_size = self._whole_size
        as_str = self._text == "str"
        is_bounded = self._is_bounded
        size = len(chunk)
        last = size - header_size
        while pos <= last and not (is_bounded and self._is_full(results)):
            first = chunk[pos]
            if first != FINAL_TEXT and first != FINAL_BINARY:
                break
            length = chunk[pos + 1] ^ mask_bit  # 128 and above: not masked as it has to be
            start = pos + header_size
            if length >= LENGTH_16:
                length = from_bytes(chunk[pos + 2 : pos + 4]) if length == LENGTH_16 else 0
                start += 2
                if length < LENGTH_16:
                    break
            end = start + length
            if end > size or length > whole_size:
                break
            payload = chunk[start:end]
            if is_masked:
                payload = xor(payload, chunk[start - 4 : start])
            if first == FINAL_BINARY:
                results.append(payload)
            else:
                try:
                    decoded = payload.decode()
                except UnicodeDecodeError:
                    break
                results.append(decoded if as_str else payload)
            if is_bounded:
                self._fed_size += length
            pos = end
        return pos


class FrameDecoder(FrameParser[Frame | FrameHeader]):
    """Bytes in, frames out (RFC 6455 5). ``native.pyi`` says what each argument means."""

    def __init__(
        self,
        role: Role,
        *,
        max_frame_size: int | None = 1_048_576,
        max_fragments: int | None = None,
        partial: bool = False,
        headers: bool = False,
        allowed_rsv: int = 0,
    ) -> None:
        super().__init__(role, None, max_frame_size, max_fragments, 0)
        self._tells_headers = True
        self._allowed_rsv = checked_rsv(allowed_rsv)
        self._partial = bool(partial)
        self._headers = bool(headers)

    @property
    def unfinished_header(self) -> bytes:
        """The bytes received of a header that is not complete."""
        if self._state == START:
            return self._held
        return self._header + self._held if self._state in (LENGTH, MASKING_KEY) else b""

    @property
    def missing_size(self) -> int:
        """Bytes of the payload of an unfinished frame that have not come yet."""
        return self._n_missing - len(self._held) if self._state == PAYLOAD else 0

    def _rsv_bits(self) -> tuple[bool, bool, bool]:
        return bool(self._rsv & 4), bool(self._rsv & 2), bool(self._rsv & 1)

    def _take_header(self, results: list[Frame | FrameHeader]) -> None:
        if self._headers:
            results.append(FrameHeader(self._opcode, self._payload_length, self._fin, *self._rsv_bits()))

    def _judge_close(self, payload: bytes, results: list[Frame | FrameHeader]) -> Close:
        try:
            return parse_close(payload)
        except PeerFault:
            if self._headers:
                results.append(Frame(self._opcode, payload))
            raise

    def _take_control(self, payload: bytes, close: Close | None, results: list[Frame | FrameHeader]) -> None:
        results.append(Frame(self._opcode, payload))

    def _take_payload(self, part: bytes, results: list[Frame | FrameHeader]) -> None:
        offset = 0
        if self._partial:
            offset = self._payload_length - self._n_missing - len(part)
        else:
            self._collected += part
            if self._n_missing:
                return
            part = bytes(self._collected)
            self._collected = bytearray()
        results.append(Frame(self._opcode, part, self._fin, *self._rsv_bits(), offset, not self._n_missing))
