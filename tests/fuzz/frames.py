"""Streams of frames out of a fuzzer's decisions: mostly legal, with each fault that RFC 6455 5 and RFC 7692 know."""

from __future__ import annotations

import zlib

from helpers import frame
from source import Source

MAX_WIRE_SIZE = 150_000
"""Bytes after which a stream ends, as more only takes longer."""

TEXTS = ("a", "é", "한국어", "a한😀", "\0\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff")
LENGTHS = (126, 65536, 2**31, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


class FrameMaker:
    """Writes frames for one connection; the peer masks if we are the server (5.1)."""

    def __init__(self, source: Source, masks: bool) -> None:
        self._source = source
        self._masks = masks
        self._deflate = zlib.compressobj(wbits=-15)

    def stream(self) -> bytes:
        wire = b""
        while not self._source.empty and len(wire) < MAX_WIRE_SIZE:
            wire += self._frame()
        return wire

    def _frame(self) -> bytes:
        source = self._source
        first, second = source.byte(), source.byte()
        opcode, fin, rsv = first & 0x0F, not first & 0x10, first >> 5  # a zero byte is a legal beginning
        payload = self._payload(second & 0x07)
        key: bytes | None = None
        if self._masks != (second & 0xF8 == 0xF8):
            key = source.take(4).ljust(4, b"\0")
        form = {}
        if second & 0x78 == 0x70:
            form["length"] = source.choose(LENGTHS)
        elif second & 0x78 == 0x68:
            form["length_bits"] = 64 if len(payload) > 65535 else source.choose((16, 64))
        return bytes(frame(opcode, payload, fin=fin, rsv=rsv, key=key, **form))

    def _payload(self, kind: int) -> bytes:
        source = self._source
        if kind == 0:
            return source.take(source.byte())
        if kind == 1:
            text = source.choose(TEXTS).encode()
            return (text * (source.byte() // len(text) + 1))[: source.byte() or None]
        if kind == 2:  # long
            return source.take(3).ljust(1, b"x") * (source.byte() * 128)
        if kind == 3:  # text, long
            return source.choose(TEXTS).encode() * (source.byte() * 32)
        if kind == 4:
            return self._compressed(source.take(source.byte()))
        if kind == 5:  # it inflates to far more than it is
            return self._compressed(source.take(1) * (source.word() * 4))
        if kind == 6:
            code = source.choose((1000, 1001, 1005, 1006, 3000, 4999, 5000, source.word()))
            return code.to_bytes(2, "big") + source.choose(TEXTS).encode() * (source.byte() % 16)
        return b""

    def _compressed(self, data: bytes) -> bytes:
        """RFC 7692 7.2.1, or, by one more decision: without its end, with a final block, or damaged."""
        way = self._source.byte()
        data = self._deflate.compress(data)
        if way & 0x0F == 1:  # 7.2.3.4: a block with BFINAL, and a new stream after it
            data += self._deflate.flush(zlib.Z_FINISH)
            self._deflate = zlib.compressobj(wbits=-15)
            return data
        data += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if way & 0x0F == 2:
            return data
        if way & 0x0F == 3 and data:
            damaged = bytearray(data)
            damaged[self._source.word() % len(data)] ^= self._source.byte()
            return bytes(damaged)
        return data[:-4]
