"""Reads that cost a server as much as possible: the inputs of ``worst_read.py``.

Each is a stream of frames that fits into one read. The frames are built without the product's code.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import repeat

from ..common.cases import TEXT, TEXTS, frame, text_of

KEY = bytes(4)  # zeros: masking costs the server the same, and the client nothing
MIB = 2**20
CONTINUATION, BINARY, CLOSE, PING, PONG = 0x0, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40

Make = Callable[[int], bytes]  # makes at most that many bytes


def raw_frame(first: int, payload: bytes) -> bytes:
    """A frame with any first byte (RFC 6455 5.2)."""
    return bytes((first,)) + frame(payload, KEY)[1:]


def filled(one: bytes) -> Make:
    """The same frames again and again, as many as fit."""
    return lambda size: one * max(1, size // len(one))


def deflated(data: bytes) -> bytes:
    """A payload in the form of RFC 7692 7.2.1."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bombs(data: bytes, opcode: int = TEXT) -> Make:
    return filled(raw_frame(FIN | RSV1 | opcode, deflated(data)))


def bombs_of_the_window(size: int) -> bytes:
    """Messages that refer to the one before (RFC 7692 7.2.2): they have no literals, only matches."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames = []
    for data in (b"a" * 2**15, b"a" * 1024):
        payload = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
        frames.append(raw_frame(FIN | RSV1 | TEXT, payload[:-4]))
    first, next_one = frames
    return first + next_one * ((size - len(first)) // len(next_one))


def bomb_in_fragments(data: bytes, piece_size: int) -> Make:
    payload = deflated(data)
    pieces = [payload[start : start + piece_size] for start in range(0, len(payload), piece_size)]
    frames = [raw_frame(RSV1 | TEXT, pieces[0])]
    frames += [raw_frame(CONTINUATION, piece) for piece in pieces[1:]]
    frames.append(raw_frame(FIN | CONTINUATION, b""))
    return filled(b"".join(frames))


def one_message(unit: str) -> Make:
    """One uncompressed text, as long as the read."""

    def make(size: int) -> bytes:
        data = (unit.encode() * (size // len(unit.encode()) + 1))[: size - 20]
        return frame(data.decode(errors="ignore"), KEY)

    return make


def one_compressed(block: bytes) -> Make:
    """One message whose payload is the same deflate block again and again."""

    def make(size: int) -> bytes:
        return raw_frame(FIN | RSV1 | TEXT, block * ((size - 20) // len(block)))

    return make


def fragments(payload: bytes) -> Make:
    def make(size: int) -> bytes:
        one = raw_frame(CONTINUATION, payload)
        return raw_frame(TEXT, payload) + one * (size // len(one) - 2)

    return make


def pings_in_a_message(size: int) -> bytes:
    pair = raw_frame(CONTINUATION, b"x") + raw_frame(FIN | PING, b"")
    return raw_frame(TEXT, b"x") + pair * (size // len(pair) - 1)


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of (value, number of bits), the lowest bit first (RFC 1951 3.1.1); zeros fill the last byte."""
    value = n_bits = 0
    for field, width in fields:
        value |= field << n_bits
        n_bits += width
    return value.to_bytes((n_bits + 7) // 8, "little")


def empty_dynamic_blocks(n: int) -> bytes:
    """Blocks with Huffman tables of their own and no content (RFC 1951 3.2.7): 90 bits for two tables to build.

    The code lengths 1 and 18 have a code of one bit each. 18 says 138 zeros, then 118. Then the end of block has a
    code of one bit, and so has the only distance.
    """
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    lengths = [1 if symbol in (18, 1) else 0 for symbol in order]
    block = [
        (0, 1),  # not the last
        (2, 2),  # dynamic
        (0, 5),  # 257 codes for literals and lengths
        (0, 5),  # 1 for distances
        (len(lengths) - 4, 4),
        *zip(lengths, repeat(3)),
        *((1, 1), (138 - 11, 7)),
        *((1, 1), (118 - 11, 7)),
        (0, 1),  # the end of block: a code of 1 bit
        (0, 1),  # the distance: the same
        (0, 1),  # and the end of block itself
    ]
    eight = bits(*block * 8)  # whole bytes
    return eight * n


def dynamic_blocks(size: int) -> bytes:
    one = empty_dynamic_blocks(1)
    payload = one * ((size - 20) // len(one))
    inflater = zlib.decompressobj(-15)
    if inflater.decompress(payload) or inflater.eof:
        raise ValueError("the blocks are not what they should be")
    return raw_frame(FIN | RSV1 | TEXT, payload)


EMPTY_STORED = b"\x00\x00\x00\xff\xff"  # RFC 1951 3.2.4


def reads() -> Iterator[tuple[str, Make]]:
    """Yield the name of a read, and the function that makes it."""
    for kind, data in (
        ("ASCII", b"a" * MIB),
        ("Latin-1", "é".encode() * (MIB // 2)),
        ("Korean", "한".encode() * (MIB // 3)),
        ("emoji", "😀".encode() * (MIB // 4)),
        ("ASCII after an emoji", ("😀" + "a" * (MIB - 4)).encode()),
        ("JSON with Korean", text_of("JSON+Korean", MIB).encode()),
    ):
        yield f"bombs of 1 MiB, {kind}", bombs(data)
    yield "bombs of 1 MiB, binary", bombs(bytes(MIB), BINARY)
    yield "bombs of 64 KiB, emoji", bombs("😀".encode() * 2**14)
    yield "bombs of 64 KiB, ASCII after an emoji", bombs(("😀" + "a" * (2**16 - 4)).encode())
    yield "bombs of 1 KiB, emoji", bombs("😀".encode() * 256)
    yield "bombs of 1 KiB, out of the window", bombs_of_the_window
    yield "a bomb of 64 MiB", bombs(b"a" * 64 * MIB)
    yield "a bomb in fragments of 1 byte", bomb_in_fragments(b"a" * MIB, 1)
    yield "bombs of 1 MiB with a wrong last byte", bombs(b"a" * (MIB - 1) + b"\xff")
    yield "compressed texts of 0 bytes", filled(raw_frame(FIN | RSV1 | TEXT, b"\x00"))
    yield "compressed texts of 1 byte", filled(raw_frame(FIN | RSV1 | TEXT, deflated(b"a")))
    yield "one message of empty stored blocks", one_compressed(EMPTY_STORED)
    yield "one message of empty dynamic blocks", dynamic_blocks
    yield (
        "messages of 8 empty dynamic blocks",
        filled(raw_frame(FIN | RSV1 | TEXT, empty_dynamic_blocks(1) + b"\x00")),
    )
    yield "texts of 0 bytes", filled(raw_frame(FIN | TEXT, b""))
    yield "texts of 1 byte", filled(raw_frame(FIN | TEXT, b"a"))
    yield "binary messages of 1 byte", filled(raw_frame(FIN | BINARY, b"a"))
    yield "fragments of 0 bytes", fragments(b"")
    yield "fragments of 1 byte", fragments(b"a")
    yield "Pings of 0 bytes", filled(raw_frame(FIN | PING, b""))
    yield "Pings of 125 bytes", filled(raw_frame(FIN | PING, bytes(125)))
    yield "Pongs of 0 bytes", filled(raw_frame(FIN | PONG, b""))
    yield "Ping and text of 0 bytes in turn", filled(raw_frame(FIN | PING, b"") + raw_frame(FIN | TEXT, b""))
    yield "Pings between fragments of 1 byte", pings_in_a_message
    for kind in TEXTS:
        yield f"one text, {kind}", one_message(TEXTS[kind])
    yield "one text, a letter and a syllable in turn", one_message("a한")
