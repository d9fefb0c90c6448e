"""RFC 6455 10.4: the bounds of one ``feed``: the rest of the chunk waits; nothing is lost, and the order stays."""

from __future__ import annotations

import random
import zlib
from itertools import repeat
from types import ModuleType
from typing import Any

import pytest
from helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, join, same

from wsfast.deflate import Deflate, Inflater, accept
from wsfast.events import Close, Event, Failure, Ping, Pong, Role

RSV1 = 4


def size_of(event: Event) -> int:
    """Bytes of payload."""
    if isinstance(event, (Ping, Pong)):
        return len(event.payload)
    if isinstance(event, Close):
        return 0 if event.code == 1005 else 2 + len(event.reason.encode())
    return len(event.encode() if isinstance(event, str) else event)


def expected_feeds(events: list[Event], max_events: int | None, max_size: int | None) -> list[list[Event]]:
    """What each feed gives for a chunk that has all of them: it stops when a bound is reached."""
    feeds: list[list[Event]] = [[]]
    for event in events:
        if (max_events is not None and len(feeds[-1]) >= max_events) or (
            max_size is not None and sum(map(size_of, feeds[-1])) >= max_size
        ):
            feeds.append([])
        feeds[-1].append(event)
    return feeds


def drain(decoder: Any, chunk: bytes) -> list[list[Event]]:
    feeds = [decoder.feed(chunk)]
    while decoder.has_waiting:
        feeds.append(decoder.feed(b""))
    return feeds


def mixed_stream(peer: Peer) -> tuple[bytes, list[Event]]:
    """Whole messages, fragments with control frames between them, long and short lengths."""
    data = random.Random(0).randbytes(70_000)
    stream = join(
        peer.frame(TEXT, "안녕"),
        peer.frame(TEXT, ""),
        peer.frame(BINARY, data[:300]),
        peer.frame(TEXT, "first ", fin=False),
        peer.frame(PING, b"ping"),
        peer.frame(CONTINUATION, "second", fin=False),
        peer.frame(PONG),
        peer.frame(CONTINUATION, " third"),
        peer.frame(BINARY, data),
        peer.frame(TEXT, "é" * 200),
        peer.frame(CLOSE, b"\x03\xe8bye"),
    )
    events: list[Event] = [
        "안녕",
        "",
        data[:300],
        Ping(b"ping"),
        Pong(b""),
        "first second third",
        data,
        "é" * 200,
        Close(1000, "bye"),
    ]
    return stream, events


BOUNDS = [(1, None), (2, None), (3, 10), (None, 1), (None, 18), (None, 301), (4, 100_000), (100, 2**70)]


@pytest.mark.parametrize(("max_events", "max_size"), BOUNDS)
def test_one_chunk(codec: ModuleType, peer: Peer, max_events: int | None, max_size: int | None) -> None:
    stream, events = mixed_stream(peer)
    decoder = codec.MessageDecoder(peer.role, max_feed_events=max_events, max_feed_size=max_size)
    feeds = drain(decoder, stream + b"ignored")
    expected = expected_feeds(events, max_events, max_size)
    assert same([one for feed in feeds for one in feed], events)
    assert [len(feed) for feed in feeds] == [len(feed) for feed in expected]
    assert decoder.failure is None
    assert (decoder.max_feed_events, decoder.max_feed_size) == (max_events, max_size)


@pytest.mark.parametrize(("max_events", "max_size"), BOUNDS)
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_chunks_that_come_while_bytes_wait(
    codec: ModuleType, peer: Peer, max_events: int | None, max_size: int | None, chunk_size: int
) -> None:
    """They come after those that wait."""
    stream, events = mixed_stream(peer)
    decoder = codec.MessageDecoder(peer.role, max_feed_events=max_events, max_feed_size=max_size)
    got: list[Event] = []
    for start in range(0, len(stream), chunk_size):
        got += decoder.feed(stream[start : start + chunk_size])
    while decoder.has_waiting:
        got += decoder.feed(b"")
    assert same(got, events)


def test_without_a_bound_all_comes_at_once(codec: ModuleType, peer: Peer) -> None:
    stream, events = mixed_stream(peer)
    decoder = codec.MessageDecoder(peer.role)
    assert same(decoder.feed(stream), events)
    assert not decoder.has_waiting
    assert (decoder.max_feed_events, decoder.max_feed_size) == (None, None)


def test_nothing_waits_when_the_bound_is_reached_at_the_end(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.MessageDecoder(peer.role, max_feed_events=2)
    assert decoder.feed(peer.frame(TEXT, "a") * 2) == ["a", "a"]
    assert decoder.has_waiting is False
    assert decoder.feed(b"") == []
    assert decoder.feed(peer.frame(TEXT, "b") * 3) == ["b", "b"]
    assert decoder.has_waiting is True
    assert decoder.get_buffer() is None
    assert decoder.feed(b"") == ["b"]
    assert decoder.has_waiting is False


def test_the_rest_may_end_inside_a_header(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.MessageDecoder(peer.role, max_feed_events=1)
    stream = join(peer.frame(TEXT, "a"), peer.frame(BINARY, bytes(300)))
    for cut in range(1, peer.header_size(300) + 1):
        end = len(stream) - 300 - peer.header_size(300) + cut
        assert decoder.feed(stream[:end]) == ["a"]
        assert decoder.has_waiting
        assert decoder.feed(b"") == []
        assert not decoder.has_waiting
        assert decoder.feed(stream[end:]) == [bytes(300)]


def test_a_fault_keeps_its_place(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 7.1.7: it is found when the bytes before it are used, and not sooner."""
    stream = join(peer.frame(TEXT, "a"), peer.frame(PING), peer.frame(TEXT, b"\xff"), peer.frame(TEXT, "b"))
    decoder = codec.MessageDecoder(peer.role, max_feed_events=1)
    assert decoder.feed(stream) == ["a"]
    assert decoder.failure is None
    assert decoder.has_control is True, "bytes wait, and an adapter has to look"
    assert decoder.feed(b"") == [Ping(b"")]
    assert decoder.failure is None
    assert decoder.has_control is True
    assert decoder.feed(b"") == []
    assert decoder.failure == Failure(1007, "text message is not valid UTF-8", "8.1")
    assert decoder.has_waiting is False
    assert decoder.feed(stream) == []


def test_bytes_after_a_close_do_not_wait(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5.1."""
    decoder = codec.MessageDecoder(peer.role, max_feed_events=1)
    assert decoder.feed(peer.frame(CLOSE) + bytes(1000)) == [Close()]
    assert decoder.has_waiting is False
    decoder = codec.MessageDecoder(peer.role, max_feed_events=1)
    decoder.feed(peer.frame(TEXT, "a") + peer.frame(CLOSE) + bytes(1000))
    assert decoder.has_waiting is True
    assert decoder.feed(b"") == [Close()]
    assert decoder.has_waiting is False


@pytest.mark.parametrize("text", ["str", "bytes"])
def test_inflated_bytes_count(codec: ModuleType, peer: Peer, text: str) -> None:
    """RFC 7692: a chunk of many bombs is inflated one after the other."""
    agreement = accept(["permessage-deflate; server_max_window_bits=15"], Deflate())
    assert agreement is not None
    inflated = [0]
    inflate = Inflater(peer.role, agreement).inflate

    def counted(data: bytes, fin: bool) -> Any:
        for piece in inflate(data, fin):
            inflated[0] += len(piece)
            yield piece

    message = "0" * 500_000
    context = zlib.compressobj(wbits=-15)
    stream = b""
    for _ in repeat(None, 20):
        payload = context.compress(message.encode()) + context.flush(zlib.Z_SYNC_FLUSH)
        stream += peer.frame(TEXT, payload[:-4], rsv=RSV1)
    decoder = codec.MessageDecoder(peer.role, inflate=counted, max_feed_size=1_000_000, text=text)
    events = decoder.feed(stream)
    assert len(events) == 2
    assert inflated == [1_000_000]
    feeds = [events, *drain(decoder, b"")]
    assert [len(feed) for feed in feeds] == [2] * 10
    assert {*map(len, [one for feed in feeds for one in feed])} == {500_000}


def test_a_large_message_in_place(codec: ModuleType) -> None:
    """``get_buffer`` gives one message at most, and its bytes count for no other feed."""
    decoder = codec.MessageDecoder(Role.CLIENT, max_feed_size=10)
    decoder.feed(b"\x82\x7f" + (200_000).to_bytes(8, "big") + b"begin")
    received: list[Event] = []
    n_missing = 200_000 - 5
    while (view := decoder.get_buffer()) is not None:
        size = min(len(view), n_missing)
        received += decoder.buffer_updated(size)
        n_missing -= size
    received += decoder.feed(bytes(n_missing) + b"\x81\x01a" * 2)
    assert decoder.has_waiting is (len(received) == 1 and n_missing > 0)
    while decoder.has_waiting:
        received += decoder.feed(b"")
    assert [len(one) for one in received if isinstance(one, (str, bytes))] == [200_000, 1, 1]


@pytest.mark.parametrize("name", ["max_feed_events", "max_feed_size"])
def test_mistakes_of_the_caller(codec: ModuleType, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, and is 0$"):
        codec.MessageDecoder(Role.SERVER, **{name: 0})
    with pytest.raises(ValueError, match=name):
        codec.MessageDecoder(Role.SERVER, **{name: -1})
    for wrong in ("1", 1.5, True):
        with pytest.raises(TypeError):
            codec.MessageDecoder(Role.SERVER, **{name: wrong})
    assert getattr(codec.MessageDecoder(Role.SERVER, **{name: 2**80}), name) == 2**80


@pytest.mark.parametrize("max_feed_events", [1, 1024, 2000])
def test_fragments_that_complete_nothing_count(codec: ModuleType, peer: Peer, max_feed_events: int) -> None:
    """RFC 6455 5.4: they may be empty, and 40,000 of them fit into a read."""
    n_fragments = 5000
    stream = join(
        peer.frame(TEXT, "", fin=False),
        *(peer.frame(CONTINUATION, "", fin=False) for _ in range(n_fragments - 1)),
        peer.frame(CONTINUATION, "a"),
        peer.frame(TEXT, "b"),
    )
    decoder = codec.MessageDecoder(peer.role, max_feed_events=max_feed_events)
    feeds = [decoder.feed(stream)]
    while decoder.has_waiting:
        feeds.append(decoder.feed(b""))
    n_idle = n_fragments // max(max_feed_events, 1024)
    assert feeds[:n_idle] == [[]] * n_idle
    assert [message for messages in feeds for message in messages] == ["a", "b"]
    assert len(feeds) == n_idle + (2 if max_feed_events == 1 else 1)
