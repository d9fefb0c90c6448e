"""RFC 6455 5.3: octet i of the payload XOR octet i MOD 4 of the masking key."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable
from types import ModuleType

import pytest
from helpers import BINARY, KEY, PING, TEXT, Peer, assert_decodes, cut, frame, join, splits, xor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsfast.events import Ping, Role
from wsfast.fallback import octets

KEYS = (KEY, b"\x01\x02\x03\x04", b"\x00\x00\x00\xff", b"\xff\x00\x00\x00", b"\x80\x80\x80\x80", bytes(4))
SIZES = (*range(81), 127, 128, 129, 191, 255, 256, 257, 511, 512, 1023, 1024, 1025, 4096, 65537)


def data_of(size: int) -> bytes:
    return bytes((i * 31 + i // 251) & 0xFF for i in range(size))


def test_apply_mask_of_every_size(codec: ModuleType) -> None:
    """RFC 6455 5.3: vectors end in tails, tails in single bytes; each size takes its own way."""
    for size in SIZES:
        data = data_of(size)
        for key in KEYS:
            result = codec.apply_mask(data, key)
            assert result == xor(data, key), (size, key)
            assert type(result) is bytes


@pytest.mark.parametrize(
    "masked_by", [octets.xor_by_integers, octets.xor_where_zeros_stay, octets.xor_by_octets]
)
def test_both_ways_of_the_fallback(masked_by: Callable[[bytes, bytes], bytes]) -> None:
    """RFC 6455 5.3: an interpreter takes the way that is fast there."""
    for size in SIZES:
        for key in KEYS:
            assert masked_by(data_of(size), key) == xor(data_of(size), key), (size, key)


def test_apply_mask_at_every_alignment(codec: ModuleType) -> None:
    """RFC 6455 5.3: where in memory the payload begins changes nothing."""
    data = data_of(300)
    for start, size in itertools.product(range(65), (0, 1, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 65, 200)):
        view = memoryview(data)[start : start + size]
        assert codec.apply_mask(view, KEY) == xor(data[start : start + size], KEY)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=300), key=st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_data_back(codec: ModuleType, data: bytes, key: bytes) -> None:
    """RFC 6455 5.3: "the same algorithm applies" to mask and to unmask."""
    masked = codec.apply_mask(data, key)
    assert masked == xor(data, key)
    assert codec.apply_mask(masked, key) == data


def test_apply_mask_leaves_its_input_alone(codec: ModuleType) -> None:
    """RFC 6455 5.3: a new object, also for no bytes and for a key of zeros."""
    data = bytearray(data_of(100))
    for key in (KEY, bytes(4)):
        assert codec.apply_mask(data, key) == xor(data_of(100), key)
        assert data == data_of(100)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde", b"abcdefgh"], ids=len)
def test_key_that_has_not_four_bytes_is_a_value_error(codec: ModuleType, key: bytes) -> None:
    """RFC 6455 5.3: "the masking key is a 32-bit value"; nothing is masked."""
    buffer = bytearray(b"hello")
    with pytest.raises(ValueError, match="4"):
        codec.apply_mask(b"hello", key)
    with pytest.raises(ValueError, match="4"):
        codec.mask_inplace(buffer, key)
    assert buffer == b"hello"


def test_key_is_read_from_any_buffer(codec: ModuleType) -> None:
    """RFC 6455 5.3: the key stands in a receive buffer, as the payload does."""
    for key in (KEY, bytearray(KEY), memoryview(KEY), array("B", KEY), memoryview(b"xx" + KEY + b"x")[2:6]):
        assert codec.apply_mask(b"hello", key) == xor(b"hello", KEY)
        buffer = bytearray(b"hello")
        assert codec.mask_inplace(buffer, key) == 1
        assert buffer == xor(b"hello", KEY)


@pytest.mark.parametrize("phase", range(4))
def test_mask_inplace_of_every_size_and_phase(codec: ModuleType, phase: int) -> None:
    """RFC 6455 5.3: i counts from the start of the payload; the bytes around are not touched."""
    rotated = KEY[phase:] + KEY[:phase]
    for size in SIZES:
        data = data_of(size)
        buffer = bytearray(b"<" + data + b">")
        with memoryview(buffer) as whole, whole[1 : size + 1] as middle:
            assert codec.mask_inplace(middle, KEY, phase) == (phase + size) % 4
        assert buffer == b"<" + xor(data, rotated) + b">", size


def test_mask_inplace_at_every_alignment(codec: ModuleType) -> None:
    """RFC 6455 5.3: guard bytes on both sides stay what they were."""
    for start, size in itertools.product(range(65), (0, 1, 5, 8, 15, 16, 33, 64, 127, 200)):
        buffer = bytearray(b"\xa5" * 300)
        with memoryview(buffer) as whole:
            codec.mask_inplace(whole[start : start + size], KEY)
        expected = b"\xa5" * start + xor(b"\xa5" * size, KEY) + b"\xa5" * (300 - start - size)
        assert buffer == expected, (start, size)


def test_mask_inplace_composes_over_every_cut(codec: ModuleType) -> None:
    """RFC 6455 5.3: the phase that one piece returns is where the next one starts."""
    data = data_of(23)
    for chunks in splits(data):
        phase, masked = 0, b""
        for chunk in chunks:
            piece = bytearray(chunk)
            phase = codec.mask_inplace(piece, KEY, phase)
            masked += piece
        assert masked == xor(data, KEY)
        assert phase == 3
    assert codec.mask_inplace(bytearray(), KEY, phase=2) == 2


@pytest.mark.parametrize("phase", [-1, 4, 5, 2**31, 2**32, 2**64, -(2**63)])
def test_phase_out_of_range_is_a_value_error(codec: ModuleType, phase: int) -> None:
    """RFC 6455 5.3: i MOD 4; nothing is masked."""
    buffer = bytearray(b"hello")
    with pytest.raises(ValueError, match="phase"):
        codec.mask_inplace(buffer, KEY, phase)
    assert buffer == b"hello"


def test_read_only_buffer_cannot_be_masked_in_place(codec: ModuleType) -> None:
    """RFC 6455 5.3: ``bytes`` are immutable, and stay so."""
    data = b"hello, immutable"
    for buffer in (data, memoryview(data), memoryview(bytearray(data)).toreadonly()):
        with pytest.raises(BufferError):
            codec.mask_inplace(buffer, KEY)
    assert data == b"hello, " + b"immutable"


def test_payload_of_every_size_is_unmasked(codec: ModuleType) -> None:
    """RFC 6455 5.3: wherever the frame begins in its chunk, whatever is left of it."""
    for size in range(131):
        for key in KEYS[:4]:
            payload = data_of(size)
            stream = frame(BINARY, payload, key=key) + frame(PING, payload[:125], key=key)
            decoder = codec.MessageDecoder(Role.SERVER)
            assert decoder.feed(stream) == [payload, Ping(payload[:125])], (size, key)


@pytest.mark.parametrize("size", [17, 40, 130])
def test_masked_payload_is_unmasked_over_every_cut(codec: ModuleType, size: int) -> None:
    """RFC 6455 5.3: a piece of the payload goes on in the key where the last one stopped."""
    stream = frame(BINARY, data_of(size), key=b"\x01\x02\x04\x08")
    for place in range(1, len(stream)):
        decoder = codec.MessageDecoder(Role.SERVER)
        first, second = cut(stream, [place])
        assert decoder.feed(first) + decoder.feed(second) == [data_of(size)]
    for two in itertools.combinations(range(6, min(len(stream), 40)), 2):
        decoder = codec.MessageDecoder(Role.SERVER)
        events = [event for chunk in cut(stream, two) for event in decoder.feed(chunk)]
        assert events == [data_of(size)]


def test_each_frame_is_unmasked_with_its_own_key(codec: ModuleType) -> None:
    """RFC 6455 5.3: the key comes with the frame, and starts anew with it."""
    server = Peer(Role.SERVER)
    stream = join(
        frame(TEXT, "first", key=KEYS[0]),
        frame(TEXT, "second", key=KEYS[1]),
        frame(BINARY, b"ab", fin=False, key=KEYS[2]),
        frame(PING, b"ping", key=KEYS[3]),
        frame(0, b"cde", key=KEYS[4]),
    )
    assert_decodes(codec, server, stream, ["first", "second", Ping(b"ping"), b"abcde"])


def test_chunk_is_not_unmasked_in_place(codec: ModuleType) -> None:
    """RFC 6455 5.3: the chunk is borrowed, and its owner may look at it again."""
    stream = frame(TEXT, "hello" * 30, key=KEY)
    chunk = bytearray(stream)
    assert codec.MessageDecoder(Role.SERVER).feed(chunk) == ["hello" * 30]
    assert chunk == stream
    assert len(codec.FrameDecoder(Role.SERVER).feed(chunk)) == 1
    assert chunk == stream
