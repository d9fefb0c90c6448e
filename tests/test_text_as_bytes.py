"""``text="bytes"``: text messages as the bytes of their UTF-8, checked like a ``str`` (RFC 6455 5.6 and 8.1)."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from helpers import BINARY, CONTINUATION, PING, PONG, TEXT, Peer, join, same, shown, splits

from wsfast.events import Failure, Ping, Pong

NOT_UTF8 = Failure(1007, "text message is not valid UTF-8", "8.1")
TEXTS = [
    "",
    "a",
    "ASCII of more than sixteen bytes",
    "é",
    "한국어 " * 30,
    "😀" * 200,
    "x" * 300 + "ÿ",
    "\0\x7f",
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_text_is_delivered_as_its_utf8(codec: ModuleType, peer: Peer, text: str) -> None:
    """RFC 6455 5.6; in one frame, and in fragments cut inside a character (5.4)."""
    encoded = text.encode()
    half = len(encoded) // 2
    stream = join(
        peer.frame(TEXT, text),
        peer.frame(TEXT, encoded[:half], fin=False),
        peer.frame(PING, b"p"),
        peer.frame(CONTINUATION, encoded[half:]),
        peer.frame(BINARY, b"\xff\x80"),
    )
    for chunks in splits(stream):
        decoder = codec.MessageDecoder(peer.role, text="bytes")
        got = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert same(got, [encoded, Ping(b"p"), encoded, b"\xff\x80"]), shown(chunks)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff",
        b"a" * 100 + b"\x80",
        "한".encode() * 50 + b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"x" * 70 + b"\xe2\x82",
    ],
    ids=lambda bad: bad[-3:].hex(),
)
def test_text_is_checked(codec: ModuleType, peer: Peer, bad: bytes) -> None:
    """RFC 6455 8.1."""
    stream = join(peer.frame(TEXT, "good"), peer.frame(TEXT, bad), peer.frame(TEXT, "after"))
    for chunks in splits(stream):
        decoder = codec.MessageDecoder(peer.role, text="bytes")
        got = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert same(got, [b"good"]), shown(chunks)
        assert decoder.failure == NOT_UTF8, shown(chunks)


def test_the_choice_is_told(codec: ModuleType, peer: Peer) -> None:
    assert codec.MessageDecoder(peer.role).text == "str"
    assert codec.MessageDecoder(peer.role, text="bytes").text == "bytes"
    for wrong in ("utf-8", "", b"str", None, str, bytes):
        with pytest.raises(
            ValueError, match=rf"^text must be 'str' or 'bytes', not {re.escape(repr(wrong))}$"
        ):
            codec.MessageDecoder(peer.role, text=wrong)


def test_control_frames_are_events_as_ever(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.MessageDecoder(peer.role, text="bytes")
    assert decoder.feed(peer.frame(PONG, b"pong")) == [Pong(b"pong")]
