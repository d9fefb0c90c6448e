"""``wsfast.patch.websocket_client()`` with websocket-client: after its import, on, off, and a conversation."""

from __future__ import annotations

import os
import socket
from array import array

import pytest
import websocket
from websocket import _abnf, _utils

from wsfast import patch, unpatch
from wsfast.codec import FrameEncoder, MessageDecoder, Role

THEIR_MASK, THEIR_VALIDATE = _abnf._mask, _utils._validate_utf8


@pytest.fixture(autouse=True)
def patched():
    patch.websocket_client()
    assert _abnf._mask is not THEIR_MASK
    assert _utils._validate_utf8 is not THEIR_VALIDATE
    yield
    unpatch("websocket_client")
    assert _abnf._mask is THEIR_MASK
    assert _utils._validate_utf8 is THEIR_VALIDATE


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 63, 64, 65, 125, 126, 5000])
def test_the_same_bytes(size):
    key, data = os.urandom(4), os.urandom(size)
    masked = _abnf.ABNF.mask(key, data)
    assert masked == THEIR_MASK(array("B", key), array("B", data))
    assert type(masked) is bytes


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
def test_the_same_verdicts(text):
    for end in range(len(text) + 1):
        assert _utils.validate_utf8(text[:end]) is THEIR_VALIDATE(text[:end])


def test_a_conversation():
    """With a peer that is our codec, over a pair of sockets."""
    near, far = socket.socketpair()
    with near, far:
        client = websocket.WebSocket()
        client.sock, client.connected = near, True
        decoder, encoder = MessageDecoder(Role.SERVER, max_message_size=None), FrameEncoder(Role.SERVER)
        for message in ("text", "한국어" * 100, "a" * 70000):
            client.send(message)
            received = []
            while not received:
                received = decoder.feed(far.recv(65536))
            assert received == [message]
            far.sendall(encoder.message(message))
            assert client.recv() == message
        far.sendall(encoder.frame(1, b"a\xff"))
        with pytest.raises(websocket.WebSocketPayloadException):
            client.recv()
        client.connected = False
