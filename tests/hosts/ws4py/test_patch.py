"""``wsfast.patch.ws4py()`` with ws4py: what it puts in place beside what was there. Its suite does the rest."""

from __future__ import annotations

import os

import pytest
from ws4py import streaming
from ws4py.framing import OPCODE_BINARY, OPCODE_TEXT, Frame
from ws4py.messaging import BinaryMessage, TextMessage

from wsfast import patch, unpatch

THEIR_MASK, THEIR_VALIDATOR = Frame.mask, streaming.Utf8Validator


@pytest.fixture(autouse=True)
def patched():
    patch.ws4py()
    assert Frame.mask is Frame.unmask is not THEIR_MASK
    assert streaming.Utf8Validator is not THEIR_VALIDATOR
    yield
    unpatch("ws4py")
    assert Frame.mask is Frame.unmask is THEIR_MASK
    assert streaming.Utf8Validator is THEIR_VALIDATOR


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 63, 64, 65, 125, 126, 5000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_the_same_bytes(size, kind):
    frame = Frame(OPCODE_BINARY, b"", masking_key=os.urandom(4), fin=1)
    data = kind(os.urandom(size))
    masked = frame.mask(data)
    assert masked == THEIR_MASK(frame, data)
    assert type(masked) is bytearray
    assert frame.unmask(masked) == data


def test_no_key():
    frame = Frame(OPCODE_TEXT, b"x", fin=1)
    assert frame.mask(b"") == bytearray()
    with pytest.raises(TypeError):
        frame.mask(b"x")


@pytest.mark.parametrize("message", [TextMessage("한국어 " * 1000), BinaryMessage(os.urandom(70000))])
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_a_message_through_a_stream(message, chunk):
    """From a client's bytes to a message of a server."""
    stream = streaming.Stream()
    data = message.single(mask=True)
    if chunk == 1:
        message = type(message)(message.data[:300])
        data = message.single(mask=True)
    for pos in range(0, len(data), chunk):
        stream.parser.send(data[pos : pos + chunk])
    assert stream.errors == []
    assert stream.message.completed
    assert stream.message.data == message.data


@pytest.mark.parametrize("cut", range(1, 8))
def test_text_that_is_none(cut):
    """RFC 6455 8.1: 1007, also when it is cut inside a character."""
    for text in ("한국어".encode() + b"\xff", b"abcdefg\xed\xa0\x80"):
        stream = streaming.Stream()
        frames = [Frame(1, text[:cut], os.urandom(4), fin=0), Frame(0, text[cut:], os.urandom(4), fin=1)]
        for frame in frames:
            stream.parser.send(frame.build())
        assert [error.code for error in stream.errors] == [1007]
