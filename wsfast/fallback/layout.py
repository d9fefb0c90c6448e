"""The layout of a frame in plain Python: bits, opcodes, lengths (RFC 6455 5.2)."""

from __future__ import annotations

from typing import Final

from ..events import Opcode

# The first two bytes of a frame (5.2): FIN RSV1 RSV2 RSV3 opcode(4), MASK length(7).
FIN: Final = 0x80
CONTROL: Final = 0x08  # 5.5: an opcode with this bit is a control frame's.
MASK: Final = 0x80
LENGTH_16: Final = 126  # the length is in the next 2 bytes
LENGTH_64: Final = 127  # ... in the next 8
MAX_CONTROL_SIZE: Final = 125  # 5.5
# Names of their own: looking up ``Opcode.TEXT`` takes 75 ns on CPython 3.11; server messages of 32 bytes
# take 0.7 of the time without (bench_encode).
CONTINUATION: Final = Opcode.CONTINUATION
TEXT: Final = Opcode.TEXT
BINARY: Final = Opcode.BINARY
CLOSE: Final = Opcode.CLOSE
PING: Final = Opcode.PING
PONG: Final = Opcode.PONG
FINAL_TEXT: Final = FIN | TEXT
FINAL_BINARY: Final = FIN | BINARY
OPCODES: Final = {int(opcode): opcode for opcode in Opcode}
LENGTH_SIZES: Final = {LENGTH_16: 2, LENGTH_64: 8}
SHORTEST: Final = {LENGTH_16: 126, LENGTH_64: 0x1_0000}  # the first length that needs the form
