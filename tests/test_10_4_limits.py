"""RFC 6455 10.4: limits on frames and messages, checked at the header; memory for received bytes, not for claims."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    assert_decodes,
    assert_fails,
    assert_frames,
    failure_position,
    frame,
    join,
)
from memory import Memory

from wsfast.events import Close, Failure, Frame, Opcode, Ping, Pong, Role

MIB = 2**20


def message_too_big(size: int, limit: int) -> Failure:
    return Failure(1009, f"message of {size} bytes exceeds max_message_size {limit}", "10.4")


def frame_too_big(size: int, limit: int) -> Failure:
    return Failure(1009, f"frame payload of {size} bytes exceeds max_frame_size {limit}", "10.4")


def too_many_fragments(limit: int) -> Failure:
    return Failure(1009, f"message of more than max_fragments {limit} frames", "10.4")


@pytest.mark.parametrize("limit", [0, 1, 10, 125, 126, 1000, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_at_its_limit_and_one_above(codec: ModuleType, peer: Peer, opcode: int, limit: int) -> None:
    """RFC 6455 10.4: the limit itself is allowed."""
    message: Any = "m" * limit if opcode == TEXT else b"m" * limit
    assert_decodes(codec, peer, peer.frame(opcode, message), [message], max_message_size=limit)
    bad = peer.frame(opcode, b"m" * (limit + 1))
    assert_decodes(codec, peer, bad, [], message_too_big(limit + 1, limit), max_message_size=limit)


@pytest.mark.parametrize("limit", [2, 10, 125, 126, 1000, 65535, 65536])
def test_frame_at_its_limit_and_one_above(codec: ModuleType, peer: Peer, limit: int) -> None:
    """RFC 6455 10.4: for both decoders; a message may be larger than its frames."""
    payload = b"f" * limit
    good = join(peer.frame(BINARY, payload, fin=False), peer.frame(CONTINUATION, payload))
    assert_decodes(codec, peer, good, [payload * 2], max_frame_size=limit)
    frames = [Frame(Opcode.BINARY, payload, fin=False), Frame(Opcode.CONTINUATION, payload)]
    assert_frames(codec, peer, good, frames, max_frame_size=limit)
    bad = peer.frame(BINARY, payload + b"x")
    assert_fails(codec, peer, bad, frame_too_big(limit + 1, limit), max_frame_size=limit)


def test_limit_of_a_message_counts_all_its_fragments(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: what was received plus what the header declares."""
    first = peer.frame(TEXT, "abcd", fin=False)
    middle = peer.frame(CONTINUATION, "efg", fin=False)
    ping = peer.frame(PING, bytes(125))
    good = join(first, ping, middle, peer.frame(CONTINUATION, "hij"), peer.frame(BINARY, b"0123456789"))
    events = [Ping(bytes(125)), "abcdefghij", b"0123456789"]
    assert_decodes(codec, peer, good, events, max_message_size=10)
    bad = join(first, ping, middle, peer.frame(CONTINUATION, "hijk"))
    assert_decodes(codec, peer, bad, [Ping(bytes(125))], message_too_big(11, 10), max_message_size=10)
    huge = join(first, middle, peer.frame(CONTINUATION, length=2**62))
    assert_decodes(codec, peer, huge, [], message_too_big(2**62 + 7, 10), max_message_size=10)


def test_message_over_63_bits_is_named_in_full(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: received plus declared does not wrap around, and is no crash without a limit."""
    first = peer.frame(BINARY, b"0123456789", fin=False)
    stream = join(first, peer.frame(CONTINUATION, length=2**63 - 1))
    for limit in (2**63 - 1, 2**62):
        failure = message_too_big(2**63 + 9, limit)
        assert_decodes(codec, peer, stream, [], failure, max_message_size=limit)
    decoder = codec.MessageDecoder(peer.role, max_message_size=None)
    assert decoder.feed(stream + b"more") == []
    assert decoder.failure is None


def test_default_limits_are_one_mebibyte(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: messages of 1_048_576 bytes, frames of as many where there are no messages."""
    decoder = codec.MessageDecoder(peer.role)
    assert (decoder.max_message_size, decoder.max_frame_size, decoder.max_fragments) == (MIB, None, 131072)
    assert decoder.role is peer.role
    assert decoder.feed(peer.frame(BINARY, length=MIB)) == []
    assert decoder.failure is None
    decoder = codec.MessageDecoder(peer.role)
    assert decoder.feed(peer.frame(BINARY, length=MIB + 1)) == []
    assert decoder.failure == message_too_big(MIB + 1, MIB)
    frames = codec.FrameDecoder(peer.role)
    assert frames.role is peer.role
    frames.feed(peer.frame(BINARY, length=MIB))
    assert frames.failure is None
    frames = codec.FrameDecoder(peer.role)
    frames.feed(peer.frame(BINARY, length=MIB + 1))
    assert frames.failure == frame_too_big(MIB + 1, MIB)


def test_limits_are_told(codec: ModuleType) -> None:
    """RFC 6455 10.4: each limit reads as it was given."""
    decoder = codec.MessageDecoder(Role.CLIENT, max_message_size=5, max_frame_size=4, max_fragments=3)
    assert (decoder.max_message_size, decoder.max_frame_size, decoder.max_fragments) == (5, 4, 3)
    decoder = codec.MessageDecoder(Role.CLIENT, max_message_size=None, max_fragments=None)
    assert (decoder.max_message_size, decoder.max_frame_size, decoder.max_fragments) == (None, None, None)


def test_limits_that_are_lifted(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: None means none."""
    payload = bytes(range(256)) * 4100
    stream = peer.frame(BINARY, payload)
    assert len(payload) > MIB
    assert codec.MessageDecoder(peer.role, max_message_size=None).feed(stream) == [payload]
    assert codec.MessageDecoder(peer.role).feed(stream) == []
    whole = [Frame(Opcode.BINARY, payload)]
    assert codec.FrameDecoder(peer.role, max_frame_size=None).feed(stream) == whole


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_fragments_at_their_limit_and_one_above(codec: ModuleType, peer: Peer, limit: int) -> None:
    """RFC 6455 10.4: a limit on memory has to count empty fragments too; control frames are none."""
    start, ping = peer.frame(BINARY, b"", fin=False), peer.frame(PING)
    middle = [peer.frame(CONTINUATION, b"", fin=False)] * (limit - 2)
    last = peer.frame(CONTINUATION, b"x")
    alone = peer.frame(BINARY, b"x")
    good = alone if limit == 1 else join(start, ping, *middle, last)
    pings = [] if limit == 1 else [Ping()]
    # Twice: the count starts anew with each message.
    assert_decodes(
        codec, peer, join(good, alone, good), [*pings, b"x", b"x", *pings, b"x"], max_fragments=limit
    )
    for final in (last, peer.frame(CONTINUATION, b"x", fin=False), peer.frame(CONTINUATION, length=70000)):
        more = [peer.frame(CONTINUATION, b"", fin=False)] * (limit - 1)
        failure = too_many_fragments(limit)
        assert_fails(codec, peer, join(start, *more, final), failure, max_fragments=limit)


def test_fragment_limits_of_the_two_decoders_by_default(codec: ModuleType) -> None:
    """RFC 6455 10.4: 131,072 frames a message; frames one by one have no such limit."""
    many = frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 131_071
    decoder = codec.MessageDecoder(Role.CLIENT)
    assert decoder.feed(many) == []
    assert decoder.failure is None
    assert decoder.feed(frame(CONTINUATION)) == []
    assert decoder.failure == too_many_fragments(131_072)
    decoder = codec.MessageDecoder(Role.CLIENT)
    assert decoder.feed(many[:-2] + frame(CONTINUATION, b"x")) == [b"x"]
    decoder = codec.MessageDecoder(Role.CLIENT, max_fragments=None)
    assert decoder.feed(many + frame(CONTINUATION, b"x")) == [b"x"]
    frames = codec.FrameDecoder(Role.CLIENT)
    assert len(frames.feed(many + frame(CONTINUATION))) == 131_073
    assert frames.failure is None


def test_limit_is_checked_before_the_masking_key_and_payload(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: the last byte of the length is enough; a count of fragments needs not even that."""
    for length, header_size in ((20, 2), (200, 4), (70000, 10), (2**62, 10)):
        for limits in ({"max_frame_size": 10}, {"max_message_size": 10}):
            decoder = codec.MessageDecoder(peer.role, **limits)
            assert failure_position(decoder, peer.frame(BINARY, length=length)) == header_size
        decoder = codec.FrameDecoder(peer.role, max_frame_size=10)
        assert failure_position(decoder, peer.frame(BINARY, length=length)) == header_size
    start = peer.frame(BINARY, b"a", fin=False)
    for cls in (codec.MessageDecoder, codec.FrameDecoder):
        stream = start + peer.frame(CONTINUATION, length=70000)
        assert failure_position(cls(peer.role, max_fragments=1), stream) == len(start) + 2


def test_frame_limit_comes_before_message_limit(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: in the order of the table of wsfast/faults.py; fragments before both."""
    limits = {"max_frame_size": 10, "max_message_size": 5, "max_fragments": 1}
    assert_decodes(codec, peer, peer.frame(BINARY, bytes(11)), [], frame_too_big(11, 10), **limits)
    assert_decodes(codec, peer, peer.frame(BINARY, bytes(10)), [], message_too_big(10, 5), **limits)
    stream = join(peer.frame(BINARY, b"a", fin=False), peer.frame(CONTINUATION, bytes(11)))
    assert_decodes(codec, peer, stream, [], too_many_fragments(1), **limits)


def test_control_frames_are_not_messages(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4 and 5.5: 125 bytes are their own limit; a message's limit does not touch them."""
    stream = join(
        peer.frame(PING, bytes(125)),
        peer.frame(PONG, bytes(125)),
        peer.frame(CLOSE, b"\x03\xe8" + b"x" * 123),
    )
    events = [Ping(bytes(125)), Pong(bytes(125)), Close(1000, "x" * 123)]
    assert_decodes(codec, peer, stream, events, max_message_size=0)


@pytest.mark.parametrize("cls", ["MessageDecoder", "FrameDecoder"])
@pytest.mark.parametrize("name", ["max_frame_size", "max_fragments", "max_message_size"])
def test_negative_limit_is_a_value_error(codec: ModuleType, cls: str, name: str) -> None:
    """RFC 6455 10.4: None lifts a limit; a negative one is a mistake."""
    if (cls, name) == ("FrameDecoder", "max_message_size"):
        with pytest.raises(TypeError):
            codec.FrameDecoder(Role.SERVER, max_message_size=10)
        return
    for limit in (-1, -(2**40)):
        with pytest.raises(ValueError, match=name):
            getattr(codec, cls)(Role.SERVER, **{name: limit})


@pytest.mark.parametrize("limit", [2**31, 2**32 + 3, 2**62, 2**63 - 1])
def test_large_limits_are_not_cut(codec: ModuleType, limit: int) -> None:
    """RFC 6455 10.4: a limit of 64 bits is not read as one of 32."""
    decoder = codec.MessageDecoder(
        Role.CLIENT, max_message_size=limit, max_frame_size=limit, max_fragments=limit
    )
    assert (decoder.max_message_size, decoder.max_frame_size, decoder.max_fragments) == (limit, limit, limit)
    assert decoder.feed(frame(TEXT, "a") + frame(BINARY, length=limit)) == ["a"]
    assert decoder.failure is None


@pytest.mark.parametrize("length", [2**20, 2**30, 2**40, 2**62, 2**63 - 1])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_claimed_length_allocates_nothing(
    codec: ModuleType, peer: Peer, opcode: int, length: int, memory: Memory
) -> None:
    """RFC 6455 10.4: memory follows the bytes received, never the bytes declared."""
    start = peer.frame(opcode, "abcde" * 25, length=length)
    fragment = peer.frame(opcode, "a", fin=False) + peer.frame(CONTINUATION, "abcde" * 25, length=length)
    made: list[Any] = []
    with memory:
        for stream in (start, fragment):
            made.append(codec.MessageDecoder(peer.role, max_message_size=None))
            made.append(codec.FrameDecoder(peer.role, max_frame_size=None))
            made.append(codec.FrameDecoder(peer.role, max_frame_size=None, partial=True))
            for decoder in made[-3:]:
                for chunk in (stream[:5], stream[5:12], stream[12:60], stream[60:]):
                    decoder.feed(chunk)
                assert decoder.failure is None
        assert memory.peak < 100_000


@pytest.mark.parametrize("chunk_size", [4096, 65536, 9 * MIB])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_memory_of_a_large_message_is_given_back(
    codec: ModuleType, peer: Peer, opcode: int, chunk_size: int, memory: Memory
) -> None:
    """RFC 6455 10.4: an idle connection owns almost nothing, however much it once received."""
    stream = peer.frame(opcode, b"a" * (8 * MIB))
    decoder = codec.MessageDecoder(peer.role, max_message_size=None)
    decoder.feed(peer.frame(TEXT, "warm"))
    with memory:
        n_messages = 0
        for start in range(0, len(stream), chunk_size):
            n_messages += len(decoder.feed(stream[start : start + chunk_size]))
        assert n_messages == 1
        assert memory.now < 100_000
        assert memory.peak < 40 * MIB
    assert decoder.feed(peer.frame(TEXT, "still alive")) == ["still alive"]


@pytest.mark.parametrize("end", ["failure", "close"])
def test_memory_of_an_unfinished_message_is_given_back(
    codec: ModuleType, peer: Peer, end: str, memory: Memory
) -> None:
    """RFC 6455 10.4: what will never be delivered is not kept, nor are the bytes that are ignored."""
    stream = peer.frame(BINARY, bytes(MIB), fin=False)
    last = peer.frame(CLOSE) if end == "close" else peer.frame(0x3)
    decoder = codec.MessageDecoder(peer.role, max_message_size=None)
    decoder.feed(peer.frame(TEXT, "warm"))
    ignored = bytes(MIB)
    with memory:
        decoder.feed(stream)
        decoder.feed(last)
        for _ in range(3):
            decoder.feed(ignored)
        assert memory.now < 100_000


def test_memory_of_many_small_messages_is_given_back(codec: ModuleType, peer: Peer, memory: Memory) -> None:
    """RFC 6455 10.4: a decoder keeps nothing of the messages and frames it returned."""
    stream = join(peer.frame(TEXT, "한" * 20), peer.frame(PING, b"p"), peer.frame(BINARY, bytes(50))) * 200
    decoder = codec.MessageDecoder(peer.role)
    frames = codec.FrameDecoder(peer.role, partial=True)
    decoder.feed(stream)
    frames.feed(stream)
    with memory:
        for _ in range(4):
            decoder.feed(stream)
            frames.feed(stream)
            for start in range(0, len(stream), 997):
                decoder.feed(stream[start : start + 997])
        assert memory.now < 20_000


def test_memory_of_empty_and_tiny_fragments_is_bounded(codec: ModuleType, peer: Peer, memory: Memory) -> None:
    """RFC 6455 10.4: fragments of a byte each cost no more than a small multiple of the wire."""
    start = peer.frame(BINARY, b"x", fin=False)
    many = peer.frame(CONTINUATION, b"x", fin=False) * 1000
    decoder = codec.MessageDecoder(peer.role)
    with memory:
        decoder.feed(start)
        for _ in range(10):
            decoder.feed(many)
        assert memory.now < MIB
    assert decoder.feed(peer.frame(CONTINUATION, b"x")) == [b"x" * 10_002]


def test_memory_of_zeros_goes_to_nobody_else(codec: ModuleType, peer: Peer, memory: Memory) -> None:
    """RFC 6455 10.4: CPython 3.14 makes the next integer of the one that zeros became, in all of its memory."""
    stream = peer.frame(BINARY, bytes(4000)) * 30
    decoder = codec.MessageDecoder(peer.role)
    kept: list[int] = []
    with memory:
        for number in range(100):
            decoder.feed(stream)
            kept += [10**6 + 30 * number + one for one in range(30)]
        assert memory.now / len(kept) < 200
