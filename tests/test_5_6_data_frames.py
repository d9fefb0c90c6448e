"""RFC 6455 5.6: a text message is a ``str``, a binary one ``bytes``, and both arrive unchanged."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from helpers import BINARY, CONTINUATION, KEY, TEXT, Peer, assert_decodes, frame, join

from wsfast.events import Role

TEXTS = {
    "ASCII": "The quick brown fox",
    "NUL": "a\0b\0",
    "controls": "".join(map(chr, range(0x20))) + "\x7f",
    "Latin-1": "ÄÖÜäöüß÷ÿ\x80\xa0",
    "two bytes": "κόσμε Привет ﬁ"[:12] + "\u07ff",
    "Korean": "안녕하세요, 세계! 코덱 시험 중입니다.",
    "edge of three bytes": "\u0800\ud7ff\ue000\uffff",
    "non-characters": "\ufdd0\ufffe\uffff\U0001fffe\U0010ffff",
    "BOM": "\ufeffkept",
    "replacement": "\ufffd",
    "emoji": "😀👩‍👩‍👧‍👦🇰🇷",
    "edge of four bytes": "\U00010000\U0003ffff\U00040000\U0010ffff",
    "all widths": "aé한😀" * 9,
    "line ends": "a\r\nb\nc\r\u2028\u2029\x85",
    "combining": "e\u0301 \u1112\u1161\u11ab",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_text_arrives_unchanged(codec: ModuleType, peer: Peer, text: str) -> None:
    """RFC 6455 5.6: UTF-8 in, the same characters out: nothing normalised, no BOM dropped."""
    assert_decodes(codec, peer, peer.frame(TEXT, text), [text])


@pytest.mark.parametrize("payload", [b"", b"\0", bytes(range(256)), b"\xff\xfe\xc0\x80", "é".encode()[:1]])
def test_binary_arrives_unchanged(codec: ModuleType, peer: Peer, payload: bytes) -> None:
    """RFC 6455 5.6: arbitrary data, never looked at as UTF-8."""
    assert_decodes(codec, peer, peer.frame(BINARY, payload), [payload])
    halves = join(
        peer.frame(BINARY, payload[:1], fin=False),
        peer.frame(CONTINUATION, payload[1:]),
    )
    assert_decodes(codec, peer, halves, [payload])


def test_empty_messages_are_messages(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.6: of either type. Autobahn 1.1.1, 1.2.1."""
    stream = join(peer.frame(TEXT), peer.frame(BINARY), peer.frame(TEXT), peer.frame(TEXT, "x"))
    assert_decodes(codec, peer, stream, ["", b"", "", "x"])


@pytest.mark.parametrize("char", ["\x80", "ÿ", "Ā", "߿", "ࠀ", "한", "\uffff", "😀", "\U0010ffff"], ids=ascii)
def test_one_wide_character_at_every_place_of_ascii(codec: ModuleType, char: str) -> None:
    """RFC 6455 5.6: a fast path for ASCII has to leave it at the right byte, at either end."""
    for size in (1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 70):
        for place in range(size):
            text = "a" * place + char + "b" * (size - place - 1)
            for role, key in ((Role.SERVER, KEY), (Role.CLIENT, None)):
                (got,) = codec.MessageDecoder(role).feed(frame(TEXT, text, key=key))
                assert got == text, (role, size, place)


def test_text_of_every_size(codec: ModuleType) -> None:
    """RFC 6455 5.6: vectors end in tails; runs of one width, and widths in turn."""
    for char in ("a", "é", "한", "😀", "a한"):
        for size in (*range(70), 127, 128, 129, 300, 1000):
            text = char * size
            for role, key in ((Role.SERVER, KEY), (Role.CLIENT, None)):
                (got,) = codec.MessageDecoder(role).feed(frame(TEXT, text, key=key))
                assert got == text, (role, char, size)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_text_is_a_str_like_any_other(codec: ModuleType, text: str) -> None:
    """RFC 6455 5.6: hash, size and width of the object are what Python itself would have made."""
    data = text.encode()
    reference = data.decode()
    for chunks in ([frame(TEXT, data)], [frame(TEXT, data)[:3], frame(TEXT, data)[3:]]):
        decoder = codec.MessageDecoder(Role.CLIENT)
        (got,) = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert type(got) is str
        assert hash(got) == hash(reference)
        assert {reference: 1}[got] == 1
        assert sys.getsizeof(got) == sys.getsizeof(reference)
        assert got.isascii() is reference.isascii()
        assert (got + "!").encode() == data + b"!"


def test_large_messages(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.6: 1 MiB of Korean and emoji, the default limit to the byte, whole and in chunks."""
    unit = "안녕하세요 세계😀 "
    text = unit * (2**20 // 27) + "a" * (2**20 % 27)
    assert len(text.encode()) == 2**20
    binary = bytes(range(256)) * 4096
    stream = join(peer.frame(TEXT, text), peer.frame(BINARY, binary))
    for chunk_size in (len(stream), 65536, 4093):
        decoder = codec.MessageDecoder(peer.role)
        events = []
        for start in range(0, len(stream), chunk_size):
            events += decoder.feed(stream[start : start + chunk_size])
        assert events == [text, binary]
        assert decoder.failure is None
