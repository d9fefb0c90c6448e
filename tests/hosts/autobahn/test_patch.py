"""``wsfast.patch.autobahn()`` with autobahn: what it puts in place beside what was there. Its suite does the rest."""

from __future__ import annotations

import os

import pytest
from autobahn.websocket import protocol

from wsfast import patch, unpatch

THEIR_MASKER, THEIR_VALIDATOR = protocol.create_xor_masker, protocol.Utf8Validator


@pytest.fixture(autouse=True)
def patched():
    patch.autobahn(force=True)
    assert protocol.create_xor_masker is not THEIR_MASKER
    yield
    unpatch("autobahn")
    assert protocol.create_xor_masker is THEIR_MASKER
    assert protocol.Utf8Validator is THEIR_VALIDATOR


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 5000])
@pytest.mark.parametrize("length", [None, 1, 127, 128, 100_000])
def test_the_same_bytes_in_pieces(size, length):
    key, data = os.urandom(4), os.urandom(size)
    theirs, mine = THEIR_MASKER(key, length), protocol.create_xor_masker(key, length)
    for start, end in ((0, size // 3), (size // 3, size // 2), (size // 2, size)):
        piece = mine.process(data[start:end])
        assert type(piece) is bytes
        assert piece == theirs.process(data[start:end])
        assert mine.pointer() == theirs.pointer()
    mine.reset()
    theirs.reset()
    assert mine.pointer() == theirs.pointer() == 0
    assert mine.process(data) == theirs.process(data)


def test_the_same_errors():
    for create in (THEIR_MASKER, protocol.create_xor_masker):
        with pytest.raises(
            (AssertionError, ValueError)
        ):  # the latter is wsaccel's, which 24.4 takes if it is there
            create(b"abc")
        with pytest.raises(TypeError):
            create(5)
        with pytest.raises(TypeError):
            create(b"abcd").process("text")


TEXTS = [
    b"",
    b"ASCII",
    "héllo 한국어 🙂".encode(),
    b"\xc0\x80",
    b"a\xff",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_verdicts_however_it_is_cut(text):
    """RFC 6455 8.1. What is behind a fault is not compared: autobahn asks no further."""
    for cut in range(len(text) + 1):
        theirs, mine = THEIR_VALIDATOR(), protocol.Utf8Validator()
        for piece in (text[:cut], text[cut:]):
            verdict = mine.validate(piece)
            expected = theirs.validate(piece)
            assert verdict[0] == expected[0]
            if not verdict[0]:
                break
            assert verdict[1] == expected[1]
        mine.reset()
        assert mine.validate(b"x")[:2] == (True, True)
