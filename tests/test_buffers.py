"""The buffers that the codec reads: any C-contiguous bytes-like object, borrowed for the call only.

RFC 6455 5 decides about the content. That every kind of buffer gives the same result is a promise of the interface
(``wsfast/native.pyi``).
"""

from __future__ import annotations

import gc
import mmap
import sys
from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from helpers import BINARY, CONTINUATION, KEY, PING, TEXT, counts_references, frame, join, xor

from wsfast.events import Event, Frame, Opcode, Ping, Role


def as_mmap(data: bytes) -> mmap.mmap:
    area = mmap.mmap(-1, max(len(data), 1))
    area[: len(data)] = data
    return area


def as_wider_array(data: bytes) -> array[int]:
    """Items of 2 bytes: what counts are the bytes. ``data`` has an even number of them."""
    return array("H", data)


MAKERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview of bytes": memoryview,
    "memoryview of bytearray": lambda data: memoryview(bytearray(data)),
    "slice of a memoryview": lambda data: memoryview(b"front" + data + b"behind")[5 : 5 + len(data)],
    "slice of a slice": lambda data: memoryview(bytearray(b"12" + data + b"3"))[1:][1:-1],
    "read-only view": lambda data: memoryview(bytearray(data)).toreadonly(),
    "array of bytes": lambda data: array("B", data),
    "array of signed bytes": lambda data: memoryview(data).cast("b"),
    "array of shorts": as_wider_array,
    "two dimensions": lambda data: memoryview(data).cast("B", shape=[len(data) // 2, 2]),
    "mmap": as_mmap,
    "subclass of bytes": type("Bytes", (bytes,), {}),
    "subclass of bytearray": type("ByteArray", (bytearray,), {}),
}

# An even number of bytes, so that wider items fit.
STREAM = join(
    frame(TEXT, "héllo", key=KEY),
    frame(BINARY, bytes(range(200)), key=KEY),
    frame(PING, b"ping", key=KEY),
    frame(BINARY, b"x", fin=False, key=KEY),
    frame(CONTINUATION, b"yz", key=KEY),
    frame(TEXT, "a" * 3, key=KEY),
)
EVENTS: list[Event] = ["héllo", bytes(range(200)), Ping(b"ping"), b"xyz", "aaa"]

NOT_BUFFERS = [None, "text", 5, 1.5, [1, 2], (1, 2), object(), True, range(3), {"a": 1}]


def test_the_stream_has_an_even_size() -> None:
    """The makers above divide it by two."""
    assert len(STREAM) % 2 == 0


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_decoders_read_any_buffer(codec: ModuleType, make: Callable[[bytes], Any]) -> None:
    """RFC 6455 5: whole, and in pieces that end inside frames."""
    pieces = [bytes(STREAM[i : i + 14]) for i in range(0, len(STREAM), 14)]
    for chunks in ([bytes(STREAM)], pieces):
        decoder, frames = codec.MessageDecoder(Role.SERVER), codec.FrameDecoder(Role.SERVER)
        got: list[Event] = []
        got_frames: list[Frame] = []
        for chunk in chunks:
            buffer = make(chunk)
            got += decoder.feed(buffer)
            got_frames += frames.feed(buffer)
        assert got == EVENTS
        assert [type(event) for event in got] == [type(event) for event in EVENTS]
        assert [one.payload for one in got_frames[:2]] == ["héllo".encode(), bytes(range(200))]
        assert all(type(one.payload) is bytes for one in got_frames)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_encoders_and_helpers_read_any_buffer(codec: ModuleType, make: Callable[[bytes], Any]) -> None:
    """RFC 6455 5.2, 5.3, 8.1: as the bytes in it."""
    data = "héé! 한국어".encode()
    assert len(data) % 2 == 0
    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=lambda size: KEY)
    assert encoder.message(make(data)) == frame(BINARY, data, key=KEY)
    assert encoder.message(make(data), text=True) == frame(TEXT, data, key=KEY)
    assert encoder.fragment(make(data)) == frame(BINARY, data, fin=False, key=KEY)
    assert encoder.fragment(make(data), fin=True) == frame(CONTINUATION, data, key=KEY)
    assert encoder.ping(make(data)) == frame(PING, data, key=KEY)
    assert encoder.pong(make(data)) == frame(0xA, data, key=KEY)
    assert encoder.frame(BINARY, make(data)) == frame(BINARY, data, key=KEY)
    assert codec.apply_mask(make(data), KEY) == xor(data, KEY)
    assert codec.apply_mask(data, make(KEY)) == xor(data, KEY)
    assert codec.utf8_valid(make(data)) is True
    assert codec.utf8_valid(make(data[:6] + b"\xff\xff")) is False
    validator = codec.Utf8Validator()
    assert validator.feed(make(data)) is True
    assert validator.complete is True


@pytest.mark.parametrize(
    "name", ["bytearray", "memoryview of bytearray", "array of bytes", "mmap", "array of shorts"]
)
def test_any_writable_buffer_is_masked_in_place(codec: ModuleType, name: str) -> None:
    """RFC 6455 5.3: an array, a view, a mapped file."""
    data = bytes(range(100))
    buffer = MAKERS[name](data)
    assert codec.mask_inplace(buffer, KEY) == 0
    assert bytes(memoryview(buffer)) == xor(data, KEY)


def calls(codec: ModuleType, buffer: Any) -> dict[str, Callable[[], Any]]:
    """Everything that takes a buffer and nothing else."""
    encoder = codec.FrameEncoder(Role.CLIENT)
    return {
        "MessageDecoder.feed": lambda: codec.MessageDecoder(Role.SERVER).feed(buffer),
        "FrameDecoder.feed": lambda: codec.FrameDecoder(Role.SERVER).feed(buffer),
        "Utf8Validator.feed": lambda: codec.Utf8Validator().feed(buffer),
        "utf8_valid": lambda: codec.utf8_valid(buffer),
        "apply_mask": lambda: codec.apply_mask(buffer, KEY),
        "apply_mask, key": lambda: codec.apply_mask(b"data", buffer),
        "mask_inplace": lambda: codec.mask_inplace(buffer, KEY),
        "mask_inplace, key": lambda: codec.mask_inplace(bytearray(b"data"), buffer),
        "ping": lambda: encoder.ping(buffer),
        "pong": lambda: encoder.pong(buffer),
        "frame": lambda: encoder.frame(BINARY, buffer),
    }


@pytest.mark.parametrize("wrong", NOT_BUFFERS, ids=lambda wrong: type(wrong).__name__)
def test_object_without_a_buffer_is_a_type_error(codec: ModuleType, wrong: Any) -> None:
    """A ``str`` is no buffer either: which encoding would it be?"""
    for name, call in calls(codec, wrong).items():
        with pytest.raises(TypeError):
            print(name, call())


@pytest.mark.parametrize(
    "strided",
    [
        memoryview(bytearray(b"abcdefgh"))[::2],
        memoryview(bytearray(b"abcd"))[::-1],
        memoryview(bytearray(b"abcdefgh")).cast("B", shape=[8])[::2],
    ],
    ids=["every second", "backwards", "cast"],
)
def test_strided_buffer_is_a_buffer_error(codec: ModuleType, strided: memoryview) -> None:
    """Its bytes do not follow each other; copying them is the caller's to decide."""
    for name, call in calls(codec, strided).items():
        with pytest.raises(BufferError):
            print(name, call())
    encoder = codec.FrameEncoder(Role.SERVER)
    for method in (encoder.message, encoder.fragment):
        for text in (None, True, False):
            with pytest.raises(BufferError):
                method(strided, text=text)
    assert encoder.in_message is False


def test_wrong_chunk_leaves_the_decoder_as_it_was(codec: ModuleType) -> None:
    """A caller's mistake changes nothing: the stream goes on where it was, inside a frame."""
    for decoder, expected in (
        (codec.MessageDecoder(Role.SERVER), ["héllo"]),
        (codec.FrameDecoder(Role.SERVER), [Frame(Opcode.TEXT, "héllo".encode())]),
    ):
        stream = frame(TEXT, "héllo", key=KEY)
        got: list[Any] = []
        for i in range(len(stream)):
            got += decoder.feed(stream[i : i + 1])
            for wrong in ("text", None, memoryview(b"abcd")[::2]):
                with pytest.raises((TypeError, BufferError)):
                    decoder.feed(wrong)
        assert got == expected
        assert decoder.failure is None
    decoder = codec.MessageDecoder(Role.SERVER)
    decoder.feed(frame(PING, key=KEY))
    with pytest.raises(TypeError):
        decoder.feed(None)
    assert decoder.has_control is True
    validator = codec.Utf8Validator()
    validator.feed(b"\xc3")
    with pytest.raises(TypeError):
        validator.feed("text")
    assert validator.feed(b"\xa9") is True


def test_chunk_may_change_after_feed(codec: ModuleType) -> None:
    """A receive buffer is written again at once: nothing that was kept or returned may show it."""
    for size in (1, 2, 3, 5, 7, 16, 50, 100, 300):
        decoder, frames = codec.MessageDecoder(Role.SERVER), codec.FrameDecoder(Role.SERVER)
        partial = codec.FrameDecoder(Role.SERVER, partial=True)
        got: list[Event] = []
        got_frames: list[Frame] = []
        parts: list[Frame] = []
        buffer = bytearray(size)
        for start in range(0, len(STREAM), size):
            chunk = STREAM[start : start + size]
            buffer[: len(chunk)] = chunk
            with memoryview(buffer) as view, view[: len(chunk)] as piece:
                got += decoder.feed(piece)
                got_frames += frames.feed(piece)
                parts += partial.feed(piece)
            buffer[:] = b"\xff" * size
        assert got == EVENTS, size
        payload = b"".join(one.payload for one in got_frames)
        assert payload == b"".join(part.payload for part in parts)
        assert payload == "héllo".encode() + bytes(range(200)) + b"ping" + b"xyz" + b"aaa"


def test_buffers_are_given_back(codec: ModuleType) -> None:
    """Borrowed for the call only: a bytearray can be resized after each, and after an error too."""
    buffer = bytearray(STREAM)
    kept = [codec.MessageDecoder(Role.SERVER), codec.FrameDecoder(Role.SERVER, partial=True)]
    kept += [codec.FrameDecoder(Role.SERVER), codec.Utf8Validator(), codec.FrameEncoder(Role.CLIENT)]
    for keeper in kept[:4]:
        for size in (len(STREAM), 3, 20):
            buffer[:] = STREAM[:size]
            results = keeper.feed(buffer)
            buffer.extend(b"longer")  # BufferError while somebody holds a view
            assert results is not None
    for call in calls(codec, buffer).values():
        try:
            call()
        except ValueError:
            pass  # a key that has not 4 bytes, a Ping that is too long
        buffer.extend(b"longer")
    encoder = kept[4]
    encoder.message(buffer)
    buffer.append(1)
    encoder.fragment(buffer)
    buffer.append(1)
    with pytest.raises(RuntimeError):
        encoder.message(buffer)
    buffer.append(1)


@counts_references
def test_inputs_are_not_kept_alive(codec: ModuleType) -> None:
    """A connection that waits must not hold the chunks it was fed, nor what it sent."""
    chunk = bytes(STREAM) + frame(BINARY, b"abc", fin=False, key=KEY)
    before = sys.getrefcount(chunk)
    kept = [codec.MessageDecoder(Role.SERVER), codec.FrameDecoder(Role.SERVER)]
    for decoder in kept:
        assert decoder.feed(chunk)
    encoder = codec.FrameEncoder(Role.SERVER)
    assert encoder.message(chunk)
    gc.collect()
    assert sys.getrefcount(chunk) == before


def test_empty_buffers(codec: ModuleType) -> None:
    """RFC 6455 5: no bytes are a chunk too, between any two others."""
    for empty in (b"", bytearray(), memoryview(b""), array("B")):
        assert codec.MessageDecoder(Role.SERVER).feed(empty) == []
        assert codec.FrameDecoder(Role.SERVER, partial=True).feed(empty) == []
        assert codec.apply_mask(empty, KEY) == b""
        assert codec.utf8_valid(empty) is True
        assert codec.FrameEncoder(Role.SERVER).message(empty) == b"\x82\x00"
        assert codec.FrameEncoder(Role.SERVER).message(empty, text=True) == b"\x81\x00"
