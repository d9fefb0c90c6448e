"""``stream_message``: the parts of a message as their frames come (RFC 6455 5.4), by the rules of all messages."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest
from helpers import BINARY, CLOSE, CONTINUATION, PING, TEXT, Peer, join, splits

from wsfast.deflate import Deflate, Deflater, Inflater, accept
from wsfast.events import Close, Failure, Fragment, Ping, Role


def of(opcode: int, peer: Peer, *payloads: bytes | str) -> list[bytes]:
    last = len(payloads) - 1
    return [
        peer.frame(opcode if n == 0 else CONTINUATION, payload, fin=n == last)
        for n, payload in enumerate(payloads)
    ]


@pytest.mark.parametrize(
    "payloads", [("a", "b"), ("", ""), ("", "x" * 70_000, ""), ("x" * 126, "é" * 200, "z"), ("가나", "다")]
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_each_frame_is_a_part(codec: ModuleType, peer: Peer, opcode: int, payloads: tuple[str, ...]) -> None:
    """Pings between them are events in their place; the message after it is whole again."""
    frames = of(opcode, peer, *payloads)
    frames.insert(1, peer.frame(PING, "p"))
    stream = join(*frames, *of(TEXT, peer, "wh", "ole"), peer.frame(BINARY, "next"))
    last = len(payloads) - 1
    parts: list[Any] = [
        Fragment(payload.encode(), opcode == TEXT, n == last) for n, payload in enumerate(payloads)
    ]
    parts.insert(1, Ping(b"p"))
    for chunks in splits(stream):
        decoder = codec.MessageDecoder(peer.role)
        assert decoder.stream_message() is None
        assert decoder.stream_message() is None, "again, it changes nothing"
        got: list[Any] = []
        for chunk in chunks:
            events = decoder.feed(chunk)
            assert decoder.has_control is any(isinstance(event, Fragment | Ping) for event in events)
            got += events
        assert got == [*parts, "whole", b"next"]


@pytest.mark.parametrize("message", ["", "a", "é" * 100, "x" * 70_000, b"", b"\xff" * 300])
def test_a_message_of_one_frame_is_whole(codec: ModuleType, peer: Peer, message: str | bytes) -> None:
    stream = join(
        peer.frame(TEXT if isinstance(message, str) else BINARY, message), *of(TEXT, peer, "b", "c")
    )
    for chunks in splits(stream):
        decoder = codec.MessageDecoder(peer.role)
        decoder.stream_message()
        assert [event for chunk in chunks for event in decoder.feed(chunk)] == [message, "bc"]


def test_what_was_collected_comes_at_once(codec: ModuleType, peer: Peer) -> None:
    """And the rest of the frame that was cut with the next part."""
    for opcode in (TEXT, BINARY):
        frames = of(opcode, peer, "ab", "cd", "efé", "g")
        decoder = codec.MessageDecoder(peer.role)
        assert decoder.feed(frames[0] + frames[1] + frames[2][:-2]) == []
        is_text = opcode == TEXT
        part = decoder.stream_message()
        assert part is not None
        assert part.payload + b"\xa9"[:0] == b"abcd" + "efé".encode()[: len(part.payload) - 4]
        assert (part.is_text, part.fin) == (is_text, False)
        rest = "efé".encode()[len(part.payload) - 4 :]
        assert decoder.feed(frames[2][-2:]) == [Fragment(rest, is_text, False)]
        assert decoder.feed(frames[3]) == [Fragment(b"g", is_text, True)]
        assert decoder.feed(peer.frame(TEXT, "next")) == ["next"]
        assert not decoder.has_control


def test_a_message_in_one_frame_of_which_a_part_was_delivered(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.MessageDecoder(peer.role)
    whole = peer.frame(TEXT, "가나다" * 100_000)
    assert decoder.feed(whole[:301]) == []
    first = decoder.stream_message()
    assert first is not None
    assert first.payload == ("가나다" * 100_000).encode()[: len(first.payload)]
    [last] = decoder.feed(whole[301:])
    assert last == Fragment(("가나다" * 100_000).encode()[len(first.payload) :], True, True)


def test_text_is_checked_across_parts(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: at the first octet that is wrong; and a message must not end inside a character."""
    for payloads, parts, fault in (
        ((b"a\xed", b"\x95\x9c", b"b"), [b"a\xed", b"\x95\x9c", b"b"], False),
        ((b"a\xed", b"\xa0\x80", b"b"), [b"a\xed"], True),
        ((b"a", b"b\xff", b"b"), [b"a"], True),
        ((b"a", b"\xed\x95"), [b"a"], True),
        ((b"\xed", b"", b"\x95", b"\x9c"), [b"\xed", b"", b"\x95", b"\x9c"], False),
    ):
        for chunks in splits(join(*of(TEXT, peer, *payloads))):
            decoder = codec.MessageDecoder(peer.role)
            decoder.stream_message()
            got: list[Any] = [event for chunk in chunks for event in decoder.feed(chunk)]
            assert [event.payload for event in got] == parts
            assert (decoder.failure is not None) is fault
            assert not fault or decoder.failure.code == 1007
            assert decoder.stream_message() is None or not fault


def test_limits_are_for_the_whole_message(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 10.4."""
    stream = join(*of(BINARY, peer, b"12345", b"67890", b"1"))
    decoder = codec.MessageDecoder(peer.role, max_message_size=10)
    decoder.stream_message()
    assert [event.payload for event in decoder.feed(stream)] == [b"12345", b"67890"]
    assert decoder.failure == Failure(1009, "message of 11 bytes exceeds max_message_size 10", "10.4")
    decoder = codec.MessageDecoder(peer.role, max_fragments=2)
    decoder.stream_message()
    assert len(decoder.feed(stream)) == 2
    assert decoder.failure.kind == "TOO_MANY_FRAGMENTS"
    decoder = codec.MessageDecoder(peer.role, max_feed_size=6)
    decoder.stream_message()
    assert len(decoder.feed(stream)) == 2
    assert decoder.has_waiting
    assert len(decoder.feed(b"")) == 1


def test_it_can_be_taken_back_before_the_first_part(codec: ModuleType, peer: Peer) -> None:
    frames = of(TEXT, peer, "a", "b", "c")
    decoder = codec.MessageDecoder(peer.role)
    decoder.stream_message()
    assert decoder.stream_message(False) is None
    assert decoder.feed(b"".join(frames)) == ["abc"]
    decoder.stream_message()
    assert decoder.feed(frames[0]) == [Fragment(b"a", True)]
    assert decoder.stream_message(wanted=False) is None
    assert decoder.feed(frames[1] + frames[2] + frames[0]) == [
        Fragment(b"b", True),
        Fragment(b"c", True, True),
    ]
    assert decoder.feed(frames[1] + frames[2]) == ["abc"]


def test_after_the_end_nothing_is_streamed(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.MessageDecoder(peer.role)
    assert decoder.feed(peer.frame(CLOSE)) == [Close()]
    assert decoder.stream_message() is None
    assert decoder.feed(peer.frame(TEXT, "after")) == []


@pytest.mark.parametrize("size", [10, 3000, 200_000])
def test_inflated_parts(codec: ModuleType, size: int) -> None:
    """RFC 7692 6.1: the fragments of a compressed message; the limit is for what comes out of all of them."""
    agreement = accept(["permessage-deflate"], Deflate())
    assert agreement is not None
    peer = Peer(Role.SERVER)
    payload = random.Random(1).choices(range(97, 110), k=size)
    text = bytes(payload)
    deflater = Deflater(Role.CLIENT, agreement)
    half = size // 2
    pieces = [deflater.deflate(text[:half], False, False), deflater.deflate(text[half:], True, False)]
    frames = [
        peer.frame(TEXT, pieces[0] or b"", fin=False, rsv=4),
        peer.frame(CONTINUATION, pieces[1] or b"", fin=True),
    ]
    for limit in (size, size - 1):
        for chunks in splits(join(*frames)):
            decoder = codec.MessageDecoder(
                Role.SERVER, max_message_size=limit, inflate=Inflater(Role.SERVER, agreement).inflate
            )
            decoder.stream_message()
            got: list[Any] = [event for chunk in chunks for event in decoder.feed(chunk)]
            if limit == size:
                assert b"".join(event.payload for event in got) == text
                assert [event.fin for event in got] == [False, True]
            else:
                assert decoder.failure is not None
                assert decoder.failure.code == 1009


def test_a_view_that_was_given_ends(codec: ModuleType) -> None:
    """As with each call of the decoder."""
    peer = Peer(Role.CLIENT)
    decoder = codec.MessageDecoder(Role.CLIENT)
    whole = peer.frame(TEXT, "x" * 300_000)
    assert decoder.feed(whole[:1000]) == []
    assert decoder.get_buffer() is not None
    part = decoder.stream_message()
    assert part is not None
    assert len(part.payload) == 990
    with pytest.raises(RuntimeError):
        decoder.buffer_updated(1)
    pos = 1000
    while (view := decoder.get_buffer()) is not None:
        size = min(len(view), 70_000)
        view[:size] = whole[pos : pos + size]
        pos += size
        assert decoder.buffer_updated(size) == []
    [last] = decoder.feed(whole[pos:])
    assert last == Fragment(b"x" * (300_000 - 990), True, True)


@pytest.mark.parametrize("seed", range(300))
def test_both_codecs_agree(codecs: tuple[ModuleType, ModuleType], seed: int) -> None:
    rng = random.Random(seed)
    peer = Peer(rng.choice(list(Role)))
    stream = b""
    for _ in range(rng.randrange(1, 12)):
        opcode = rng.choice((TEXT, BINARY))
        payload = rng.choice(("", "a", "가나다é😀" * rng.randrange(20), "x" * rng.randrange(70_000))).encode()
        if rng.random() < 0.05:
            payload += b"\xff"
        places = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.randrange(4)))
        pieces = [
            payload[start:end] for start, end in zip([0, *places], [*places, len(payload)], strict=True)
        ]
        frames = of(opcode, peer, *pieces)
        if rng.random() < 0.3:
            frames.insert(rng.randrange(len(frames) + 1), peer.frame(PING, "p"))
        stream += b"".join(frames)
    chunks, pos = [], 0
    while pos < len(stream):
        size = rng.choice((1, 2, 7, 100, 5000, 100_000))
        chunks.append(stream[pos : pos + size])
        pos += size
    streams = [rng.random() < 0.3 for _ in chunks]
    outcomes = []
    for codec in codecs:
        decoder = codec.MessageDecoder(peer.role, text=rng.choice(("str",)), max_message_size=60_000)
        events: list[Any] = []
        for chunk, starts in zip(chunks, streams, strict=True):
            if starts:
                events.append(decoder.stream_message())
            events += decoder.feed(chunk)
            events.append(decoder.has_control)
        outcomes.append((events, decoder.failure))
    assert outcomes[0] == outcomes[1]
