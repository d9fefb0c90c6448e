"""``get_buffer`` and ``buffer_updated``: the payload of a large frame is received directly into its message.

The result is that of ``feed`` for the same bytes (RFC 6455 5 and 8.1), for pieces of any size.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import chain, repeat
from types import ModuleType
from typing import Any

import pytest
from helpers import BINARY, CONTINUATION, PING, TEXT, Peer, counts_references, join, same

from wsfast.events import Event, Failure, Ping

LARGE = 65_536
NOT_UTF8 = Failure(1007, "text message is not valid UTF-8", "8.1")

ASCII = "plain text, " * 20_000
TEXTS = {
    "ASCII": ASCII,
    "Korean": "안녕하세요 " * 15_000,
    "Latin-1 at the end": ASCII + "é",
    "emoji at the start": "😀" + ASCII,
    "Korean in the middle": ASCII + "한" + ASCII,
    "emoji": "😀🚀" * 30_000,
}


class _Dropping(list[memoryview]):
    """Keeps nothing."""

    def append(self, view: memoryview) -> None:
        pass


def receive(decoder: Any, stream: bytes, sizes: Iterator[int], views: list[memoryview]) -> list[Event]:
    """What a transport does: read into the decoder's buffer, or where it has none into one of its own."""
    events: list[Event] = []
    pos = 0
    while pos < len(stream):
        size = min(next(sizes), len(stream) - pos)
        view = decoder.get_buffer()
        if view is None:
            events += decoder.feed(stream[pos : pos + size])
        else:
            views.append(view)
            size = min(size, len(view))
            view[:size] = stream[pos : pos + size]
            events += decoder.buffer_updated(size)
        del view  # a transport has none when it asks for the next
        pos += size
    return events


def sizes_of_reads() -> Iterator[tuple[str, Iterator[int]]]:
    for size in (LARGE, 262_144, 10_000, 1 << 30):
        yield str(size), repeat(size)
    for seed in range(4):
        rng = random.Random(seed)
        yield f"seed {seed}", (rng.choice((1, 2, 3, 5, 100, 16_384, 16_385, LARGE)) for _ in repeat(None))
    yield "the header alone first", chain((14,), repeat(LARGE))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("kept", [False, True], ids=["views dropped", "views kept"])
def test_text(codec: ModuleType, peer: Peer, text: str, kept: bool) -> None:
    """RFC 6455 5.6 and 8.1. Who keeps a view keeps memory, and spoils nothing."""
    stream = join(peer.frame(TEXT, text), peer.frame(TEXT, "next"))
    for name, sizes in sizes_of_reads():
        decoder = codec.MessageDecoder(peer.role, max_message_size=None)
        views: list[memoryview] = [] if kept else _Dropping()
        assert receive(decoder, stream, sizes, views) == [text, "next"], name


@pytest.mark.parametrize("kept", [False, True], ids=["views dropped", "views kept"])
def test_binary_and_fragments(codec: ModuleType, peer: Peer, kept: bool) -> None:
    """RFC 6455 5.4: large fragments, small ones, and a control frame between them."""
    data = random.Random(0).randbytes(300_000)
    korean = TEXTS["Korean"]
    cut = len(korean) // 3
    encoded = korean.encode()
    stream = join(
        peer.frame(BINARY, data),
        peer.frame(BINARY, data[:200_000], fin=False),
        peer.frame(PING, b"between"),
        peer.frame(CONTINUATION, data[200_000:200_003], fin=False),
        peer.frame(CONTINUATION, b"", fin=False),
        peer.frame(CONTINUATION, data[200_003:]),
        peer.frame(TEXT, encoded[: cut * 3 + 1], fin=False),  # inside a character
        peer.frame(CONTINUATION, encoded[cut * 3 + 1 :]),
        peer.frame(BINARY, b"last"),
    )
    expected = [data, Ping(b"between"), data, korean, b"last"]
    for name, sizes in sizes_of_reads():
        decoder = codec.MessageDecoder(peer.role, max_message_size=None)
        got = receive(decoder, stream, sizes, [] if kept else _Dropping())
        assert same(got, expected), name


def test_text_as_bytes(codec: ModuleType, peer: Peer) -> None:
    for text in TEXTS.values():
        decoder = codec.MessageDecoder(peer.role, max_message_size=None, text="bytes")
        got = receive(decoder, peer.frame(TEXT, text), repeat(LARGE), [])
        assert same(got, [text.encode()])


@pytest.mark.parametrize("bad", [b"\xff", b"\x80", b"\xed\xa0\x80", b"\xc0\xaf"], ids=bytes.hex)
def test_text_that_is_not_utf8_fails_at_once(codec: ModuleType, peer: Peer, bad: bytes) -> None:
    """RFC 6455 8.1: by the piece that has the bad byte, with more to come."""
    for start in (b"a" * 100_000, "한".encode() * 33_333):
        decoder = codec.MessageDecoder(peer.role, max_message_size=None)
        stream = peer.frame(TEXT, start + bad + b"a" * 200_000)
        assert receive(decoder, stream[:110_000], repeat(30_000), []) == []
        assert decoder.failure == NOT_UTF8
        assert decoder.has_control
        assert decoder.get_buffer() is None
        assert decoder.feed(stream[110_000:]) == []


def test_text_that_ends_inside_a_character(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1."""
    decoder = codec.MessageDecoder(peer.role)
    stream = peer.frame(TEXT, b"a" * 200_000 + "한".encode()[:2])
    assert receive(decoder, stream, repeat(LARGE), []) == []
    assert decoder.failure == NOT_UTF8


def test_there_is_a_buffer_for_large_payloads_only(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.MessageDecoder(peer.role)
    assert decoder.get_buffer() is None
    stream = peer.frame(BINARY, bytes(LARGE + 10))
    header_size = len(stream) - LARGE - 10
    decoder.feed(stream[: header_size - 1])
    assert decoder.get_buffer() is None
    decoder.feed(stream[header_size - 1 : header_size + 10])
    assert decoder.get_buffer(-1) is not None
    assert decoder.get_buffer(sizehint=100) is not None
    decoder.feed(stream[header_size + 10 : header_size + 11])
    assert decoder.get_buffer() is None
    assert decoder.feed(stream[header_size + 11 :]) == [bytes(LARGE + 10)]
    assert decoder.get_buffer() is None
    decoder.feed(peer.frame(PING, bytes(100))[:50])
    assert decoder.get_buffer() is None


def test_the_buffer_follows_what_was_received(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4: not what a header declares."""
    decoder = codec.MessageDecoder(peer.role, max_message_size=None)
    stream = peer.frame(BINARY, b"", length=2**40)
    assert decoder.feed(stream) == []
    n_received = 0
    for _ in range(8):
        view = decoder.get_buffer()
        size = len(view)
        assert LARGE <= size <= max(LARGE, n_received)
        assert not view.readonly
        assert view.format == "B"
        view[:] = bytes(size)
        assert decoder.buffer_updated(nbytes=size) == []
        n_received += size


def test_mistakes_of_the_caller(codec: ModuleType, peer: Peer) -> None:
    """They raise, and change nothing."""
    decoder = codec.MessageDecoder(peer.role)
    with pytest.raises(RuntimeError, match=r"^buffer_updated\(\) without get_buffer\(\) before it$"):
        decoder.buffer_updated(0)
    data = bytes(range(256)) * 1000
    stream = peer.frame(BINARY, data)
    decoder.feed(stream[:1000])
    view = decoder.get_buffer()
    for wrong in (-1, len(view) + 1, 2**62):
        with pytest.raises(
            ValueError, match=rf"^{wrong} bytes cannot have come into a buffer of {len(view)}$"
        ):
            decoder.buffer_updated(wrong)
    with pytest.raises(TypeError):
        decoder.buffer_updated("1")
    with pytest.raises(TypeError):
        decoder.get_buffer("1")
    view[:500] = stream[1000:1500]
    assert decoder.buffer_updated(500) == []
    with pytest.raises(RuntimeError, match=r"^buffer_updated\(\) without get_buffer\(\) before it$"):
        decoder.buffer_updated(1)
    decoder.get_buffer()
    decoder.feed(stream[1500:1501])
    with pytest.raises(RuntimeError, match=r"^buffer_updated\(\) without get_buffer\(\) before it$"):
        decoder.buffer_updated(1)
    decoder.get_buffer()
    assert decoder.buffer_updated(0) == []
    assert decoder.feed(stream[1501:]) == [data]


def test_a_view_ends_with_its_use(codec: ModuleType, peer: Peer) -> None:
    """Nobody can write to a message any more once it was judged, and the decoder forgets what it does not use."""
    stream = peer.frame(BINARY, bytes(LARGE * 4))
    for end in ("feed", "buffer_updated", "get_buffer"):
        decoder = codec.MessageDecoder(peer.role)
        decoder.feed(stream[:20])
        view = decoder.get_buffer()
        view[0] = 0
        getattr(decoder, end)(*{"feed": [b"a"], "buffer_updated": [1], "get_buffer": []}[end])
        with pytest.raises(ValueError, match="released memoryview"):
            view[0] = 0
        del decoder
        with pytest.raises(ValueError, match="released memoryview"):
            view[0] = 0


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("first_size", [50, 300_000])
@pytest.mark.parametrize("text", ["0123456789", "안"])
def test_a_part_of_a_view_is_not_the_message(
    codec: ModuleType, peer: Peer, opcode: int, first_size: int, text: str
) -> None:
    """A part that somebody keeps can be written to. It has memory of its own then (RFC 6455 8.1: text was checked)."""
    data = (text * 200_000).encode()
    stream = peer.frame(opcode, data)
    decoder = codec.MessageDecoder(peer.role, max_message_size=None)
    decoder.feed(stream[:first_size])
    pos = first_size
    parts: list[memoryview] = []
    events: list[Event] = []
    while pos < len(stream):
        view = decoder.get_buffer()
        if view is None:
            events += decoder.feed(stream[pos : pos + LARGE])
            pos += LARGE
            continue
        size = min(len(view), len(stream) - pos)
        view[:size] = stream[pos : pos + size]
        parts.append(view[:size])
        parts.append(memoryview(view.obj))
        events += decoder.buffer_updated(size)
        pos += size
        for part in parts:
            part[:] = b"\xff" * len(part)
    assert events == [data.decode() if opcode == TEXT else data]
    del decoder
    for part in parts:
        part[:] = b"x" * len(part)


def test_a_view_cannot_be_made_again(codec: ModuleType, peer: Peer) -> None:
    """The object that a view shows is of no more use when the view has ended."""
    decoder = codec.MessageDecoder(peer.role)
    stream = peer.frame(TEXT, "a" * LARGE * 2)
    decoder.feed(stream[:20])
    owner = decoder.get_buffer().obj
    decoder.feed(stream[20:100])
    if codec.IMPLEMENTATION == "native":
        with pytest.raises(BufferError, match=r"^this buffer was used: get_buffer\(\) gives the next one$"):
            memoryview(owner)
    else:
        memoryview(owner)[:] = bytes(len(owner))
    assert decoder.feed(stream[100:]) == ["a" * LARGE * 2]


def test_feed_after_get_buffer(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.6: whatever is done with the buffer, the next message has its own type."""
    for opcode, next_opcode in ((TEXT, BINARY), (BINARY, TEXT)):
        stream = peer.frame(opcode, b"a" * 100_000)
        head = len(stream) - 100_000
        decoder = codec.MessageDecoder(peer.role)
        decoder.feed(stream[:head])
        assert decoder.get_buffer() is not None
        (message,) = decoder.feed(stream[head:])
        assert len(message) == 100_000
        payload = b"\xc3\xa9\xc3\xa8"
        fragments = join(
            peer.frame(next_opcode, payload[:2], fin=False), peer.frame(CONTINUATION, payload[2:])
        )
        expected = payload if next_opcode == BINARY else payload.decode()
        assert same(decoder.feed(fragments), [expected])


@counts_references
def test_no_reference_is_lost(codec: ModuleType, peer: Peer) -> None:
    """To make a view takes no reference to None (until 3.11 one can be counted)."""
    decoder = codec.MessageDecoder(peer.role)
    decoder.feed(peer.frame(BINARY, bytes(400_000))[:20])
    before = sys.getrefcount(None)
    for _ in range(1000):
        decoder.get_buffer()
    assert sys.getrefcount(None) - before < 500
