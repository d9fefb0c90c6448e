"""RFC 6455 10.4, RFC 7692 8: limits on inflated data, checked piece by piece; memory only for contexts in use."""

from __future__ import annotations

import random
import zlib
from types import ModuleType
from typing import Any

import pytest
from helpers import BINARY, CONTINUATION, PING, TEXT, Peer, join
from memory import Memory

from wsfast import faults
from wsfast.connection import Connection
from wsfast.deflate import Agreement, Deflate, Deflater, Inflater, accept
from wsfast.events import Failure, Role

MIB = 2**20
RSV1 = 4


def agree(parameters: str = "", **config: Any) -> Agreement:
    agreement = accept(
        [f"permessage-deflate{parameters}"], Deflate(**{"server_max_window_bits": 15, **config})
    )
    assert agreement is not None
    return agreement


def deflated(data: bytes, end: int = zlib.Z_SYNC_FLUSH, **options: Any) -> bytes:
    context = zlib.compressobj(wbits=-15, **options)
    return context.compress(data) + context.flush(end)


def payload_of(data: bytes, **options: Any) -> bytes:
    return deflated(data, **options)[:-4]


def decoder_of(codec: ModuleType, peer: Peer, agreement: Agreement | None = None, **limits: Any) -> Any:
    return codec.MessageDecoder(
        peer.role, inflate=Inflater(peer.role, agreement or agree()).inflate, **limits
    )


# Sizes


@pytest.mark.parametrize("limit", [0, 1, 125, 1000, 8191, 8192, 8193, 32_768, 100_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("level", [0, 9])
def test_message_at_its_limit_and_one_above(
    codec: ModuleType, peer: Peer, opcode: int, limit: int, level: int
) -> None:
    """RFC 6455 10.4: of what comes out; the limit itself is allowed, also where nothing shrinks."""
    message: Any = "m" * limit if opcode == TEXT else b"m" * limit
    decoder = decoder_of(codec, peer, max_message_size=limit)
    good = peer.frame(opcode, payload_of(b"m" * limit, level=level), rsv=RSV1)
    assert decoder.feed(join(good, good)) == [message, message]
    bad = peer.frame(opcode, payload_of(b"m" * (limit + 1), level=level), rsv=RSV1)
    assert decoder.feed(bad) == []
    assert decoder.failure == Failure(1009, f"inflated message exceeds max_message_size {limit}", "10.4")


def test_the_limit_counts_all_fragments_and_each_message_anew(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4."""
    context = zlib.compressobj(wbits=-15)

    def flushed(data: bytes) -> bytes:
        return context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH)

    decoder = decoder_of(codec, peer, max_message_size=10)
    for _ in range(3):
        first = peer.frame(BINARY, flushed(b"abcde"), fin=False, rsv=RSV1)
        last = peer.frame(CONTINUATION, flushed(b"fghij")[:-4])
        assert decoder.feed(join(first, peer.frame(PING), last))[-1] == b"abcdefghij"
    first = peer.frame(BINARY, flushed(b"abcdefghij"), fin=False, rsv=RSV1)
    assert decoder.feed(first) == []
    assert decoder.failure is None
    assert decoder.feed(peer.frame(CONTINUATION, flushed(b"k"), fin=False)) == []
    assert decoder.failure == faults.inflated_too_big(10)


@pytest.mark.parametrize("limit", [0, 10, 1000, MIB])
def test_what_is_received_of_a_message_has_a_limit(codec: ModuleType, peer: Peer, limit: int) -> None:
    """RFC 6455 10.4: found at the header. Data that does not shrink grows by far less than an eighth."""
    most = limit + limit // 8 + 1024
    decoder = decoder_of(codec, peer, max_message_size=limit)
    header = peer.frame(BINARY, length=most + 1, rsv=RSV1)
    assert decoder.feed(header) == []
    text = f"compressed message of {most + 1} bytes cannot fit into max_message_size {limit}"
    assert decoder.failure == Failure(1009, text, "10.4")
    decoder = decoder_of(codec, peer, max_message_size=limit)
    assert decoder.feed(peer.frame(BINARY, length=most, rsv=RSV1)) == []
    assert decoder.failure is None
    # A message that is not compressed has no more than before.
    decoder = decoder_of(codec, peer, max_message_size=limit)
    assert decoder.feed(peer.frame(BINARY, length=limit + 1)) == []
    assert decoder.failure == faults.message_too_big(limit + 1, limit)


def test_what_is_received_of_a_message_is_counted_over_its_fragments(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4."""
    decoder = decoder_of(codec, peer, max_message_size=800)
    empty = b"\x00\x00\x00\xff\xff" * 100
    assert decoder.feed(peer.frame(BINARY, empty, fin=False, rsv=RSV1)) == []
    for _ in range(2):
        assert decoder.feed(peer.frame(CONTINUATION, empty, fin=False)) == []
        assert decoder.failure is None
    assert decoder.feed(peer.frame(CONTINUATION, length=425)) == []
    assert decoder.failure == faults.compressed_message_too_big(1925, 800)


def test_frames_and_fragments_are_limited_as_they_are_received(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: those limits are the wire's."""
    payload = payload_of(b"m" * 100_000)
    decoder = decoder_of(codec, peer, max_frame_size=len(payload))
    assert decoder.feed(peer.frame(BINARY, payload, rsv=RSV1)) == [b"m" * 100_000]
    assert decoder.feed(peer.frame(BINARY, length=len(payload) + 1, rsv=RSV1)) == []
    assert decoder.failure == faults.frame_too_big(len(payload) + 1, len(payload))
    decoder = decoder_of(codec, peer, max_fragments=3)
    first, more = peer.frame(BINARY, b"", fin=False, rsv=RSV1), peer.frame(CONTINUATION, b"", fin=False)
    assert decoder.feed(join(first, more, more)) == []
    assert decoder.failure is None
    assert decoder.feed(more) == []
    assert decoder.failure == faults.too_many_fragments(3)


def test_without_a_limit_everything_is_inflated(codec: ModuleType, peer: Peer) -> None:
    """No ratio is a limit by default: a white image of 8 MiB has 1000, and is honest."""
    decoder = decoder_of(codec, peer, agree(), max_message_size=None)
    assert decoder.feed(peer.frame(BINARY, payload_of(bytes(8 * MIB)), rsv=RSV1)) == [bytes(8 * MIB)]


# The ratio


def test_the_ratio_is_limited_above_one_mib(codec: ModuleType, peer: Peer) -> None:
    """RFC 7692 8: zeros shrink to a thousandth. Below 1 MiB that is nobody's harm."""
    agreement = agree(max_ratio=100)
    decoder = decoder_of(codec, peer, agreement, max_message_size=None)
    assert decoder.feed(peer.frame(BINARY, payload_of(bytes(MIB)), rsv=RSV1)) == [bytes(MIB)]
    assert decoder.feed(peer.frame(BINARY, payload_of(bytes(MIB + 1)), rsv=RSV1)) == []
    assert decoder.failure == Failure(1009, "inflated message exceeds max_ratio 100", "10.4")
    # A hundredth of noise is below the limit.
    noise = random.Random(1).randbytes(40_000)
    good = noise + bytes(3 * MIB)
    decoder = decoder_of(codec, peer, agreement, max_message_size=None)
    for _ in range(3):
        assert decoder.feed(peer.frame(BINARY, payload_of(good), rsv=RSV1)) == [good]


def test_the_ratio_is_that_of_the_message_so_far(codec: ModuleType, peer: Peer) -> None:
    """RFC 7692 8: fragments that will come do not count, nor do messages that came."""
    decoder = decoder_of(codec, peer, agree(max_ratio=200), max_message_size=None)
    noise = random.Random(1).randbytes(MIB)
    assert decoder.feed(peer.frame(BINARY, payload_of(noise), rsv=RSV1)) == [noise]
    payload = payload_of(bytes(2 * MIB))
    for start in range(0, len(payload), 100):
        opcode, rsv = (CONTINUATION, 0) if start else (BINARY, RSV1)
        decoder.feed(peer.frame(opcode, payload[start : start + 100], fin=False, rsv=rsv))
    assert decoder.failure == faults.ratio_too_high(200)


# Bombs

LIMIT = MIB // 4
ZEROS = deflated(bytes(8 * MIB))
UP_TO_THE_LIMIT = deflated(bytes(LIMIT))
SMALL_OBJECTS = 2048
"""Bytes: of frames, iterators and the like, which differ with the version of Python."""


def in_pieces(payload: bytes, size: int) -> list[bytes]:
    return [payload[start : start + size] for start in range(0, len(payload), size)]


BOMBS = {
    "one frame": [ZEROS],
    "many fragments": in_pieces(ZEROS, 50),
    "fragments of one byte": in_pieces(ZEROS[:900], 1),
    "exactly the limit, and then more": [UP_TO_THE_LIMIT, deflated(b"x")],
    "exactly the limit, and then a bomb": [UP_TO_THE_LIMIT, ZEROS],
    "one above the limit": [deflated(bytes(LIMIT + 1))],
    "empty blocks": [b"\x00\x00\x00\xff\xff" * 50_000] * 2,
    "empty blocks in fragments": [b"\x00\x00\x00\xff\xff" * 200] * 300,
    "final blocks": [b"\x03\x00" * 120_000] * 3,
    "final blocks with something in them": [deflated(bytes(4000), zlib.Z_FINISH) * 1000],
    "noise and then a bomb": [deflated(random.Random(1).randbytes(LIMIT - 20_000)), ZEROS],
    "stored blocks": [deflated(bytes(LIMIT + 1), level=0)],
    "empty fragments": [b""] * 1001,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bomb_takes_no_more_than_the_limit_and_64_kib(
    codec: ModuleType, peer: Peer, opcode: int, name: str, memory: Memory
) -> None:
    """RFC 7692 8: whatever its shape; and it ends with 1009."""
    pieces = BOMBS[name]
    if opcode == TEXT and name == "noise and then a bomb":
        pieces = [deflated(random.Random(1).randbytes(LIMIT).hex()[: LIMIT - 20_000].encode()), ZEROS]
    frames = [bytes(peer.frame(opcode, pieces[0], fin=len(pieces) == 1, rsv=RSV1))]
    frames += [bytes(peer.frame(CONTINUATION, piece, fin=False)) for piece in pieces[1:]]
    stream = b"".join(frames)
    chunks = [stream[start : start + 65_536] for start in range(0, len(stream), 65_536)]
    decoder = decoder_of(codec, peer, agree(max_ratio=None), max_message_size=LIMIT, max_fragments=1000)
    with memory:
        for chunk in chunks:
            assert decoder.feed(chunk) == []
        assert memory.peak <= LIMIT + 65_536 + SMALL_OBJECTS
        assert memory.now <= 65_536
    assert decoder.failure is not None
    assert decoder.failure.code == 1009


# Memory of contexts


def traced(memory: Memory, make: Any, n_objects: int = 200) -> float:
    """Return the bytes that one of the objects takes."""
    make()
    with memory:
        objects = [make() for _ in range(n_objects)]
        taken = memory.now
    assert len(objects) == n_objects
    return taken / n_objects


@pytest.mark.parametrize("role", list(Role))
def test_an_idle_connection_owns_no_context(connection_codec: ModuleType, role: Role, memory: Memory) -> None:
    """Within 1 KiB of a connection that agreed on nothing; also when messages went that were not compressed."""

    def plain() -> Connection:
        connection = Connection(role)
        connection.send("small")
        connection.data_to_send()
        return connection

    def compressing() -> Connection:
        connection = Connection(role, compression=agree())
        connection.send("small")
        connection.data_to_send()
        connection.receive_data(Peer(role).frame(TEXT, "small"))
        return connection

    assert traced(memory, compressing) - traced(memory, plain) <= 1024


def test_without_context_takeover_a_context_is_gone_after_the_message(
    codec: ModuleType, memory: Memory
) -> None:
    """RFC 7692 7.1.1: what it is for."""
    parameters = "; server_no_context_takeover; client_no_context_takeover"
    payload = payload_of(b"m" * 1000)

    def used(parameters: str) -> Any:
        agreement = agree(parameters)
        encoder = codec.FrameEncoder(Role.SERVER, deflate=Deflater(Role.SERVER, agreement))
        encoder.message(b"m" * 1000)
        encoder.fragment(b"m" * 1000)
        encoder.fragment(b"", fin=True)
        inflater = Inflater(Role.SERVER, agreement)
        assert b"".join(inflater.inflate(payload, True)) == b"m" * 1000
        return encoder, inflater

    assert traced(memory, lambda: used(parameters)) <= 2048
    assert traced(memory, lambda: used("")) > 32_768


def test_default_contexts_are_small(codec: ModuleType, memory: Memory) -> None:
    """Windows of 12 bits and memLevel 5, in both directions, where the client lets us."""
    agreement = accept(["permessage-deflate; client_max_window_bits"], "deflate")
    assert agreement is not None
    payload = payload_of(b"m" * 1000)

    def used() -> Any:
        encoder = codec.FrameEncoder(Role.SERVER, deflate=Deflater(Role.SERVER, agreement))
        encoder.message(b"m" * 1000)
        inflater = Inflater(Role.SERVER, agreement)
        assert b"".join(inflater.inflate(payload, True)) == b"m" * 1000
        return encoder, inflater

    # Windows' CPython has zlib-ng since 3.14, whose contexts have one size, or nearly so.
    assert traced(memory, used) <= (216 if hasattr(zlib, "ZLIBNG_VERSION") else 56) * 1024


@pytest.mark.parametrize("size", [100_000, MIB])
def test_an_inflater_by_itself_takes_small_steps(size: int, memory: Memory) -> None:
    """For those who have a decoder of their own: whatever they give it at once, it copies little of it."""
    payload = payload_of(random.Random(1).randbytes(size) + bytes(8 * size))
    inflater = Inflater(Role.SERVER, agree(max_ratio=None))
    with memory:
        n_inflated = sum(len(piece) for piece in inflater.inflate(payload, True))
        assert memory.peak <= 65_536
    assert n_inflated == 9 * size
