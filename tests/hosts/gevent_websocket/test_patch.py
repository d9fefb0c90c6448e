"""``wsfast.patch.gevent_websocket()`` with gevent-websocket: its masks beside ours, and a server."""

from __future__ import annotations

import os

import pytest
from gevent import socket
from gevent.pywsgi import WSGIServer
from geventwebsocket import utf8validator, websocket
from geventwebsocket.handler import WebSocketHandler
from geventwebsocket.websocket import Header

from wsfast import patch, unpatch
from wsfast.codec import Close, FrameEncoder, MessageDecoder, Role

THEIR_MASK, THEIR_VALIDATOR = Header.mask_payload, websocket.Utf8Validator


@pytest.fixture(autouse=True)
def patch_and_undo():
    patch.gevent_websocket()
    assert Header.mask_payload is Header.unmask_payload is not THEIR_MASK
    assert websocket.Utf8Validator is utf8validator.Utf8Validator is not THEIR_VALIDATOR
    yield
    unpatch("gevent_websocket")
    assert Header.mask_payload is Header.unmask_payload is THEIR_MASK
    assert websocket.Utf8Validator is utf8validator.Utf8Validator is THEIR_VALIDATOR


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 63, 64, 65, 125, 126, 5000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_the_same_bytes(size, kind):
    header = Header(1, 2, 0, size)
    header.mask = os.urandom(4)
    data = kind(os.urandom(size))
    masked = header.mask_payload(data)
    assert masked == THEIR_MASK(header, data)
    assert type(masked) is bytearray
    assert header.unmask_payload(masked) == data
    if size:
        for mask in (header.mask_payload, lambda data: THEIR_MASK(header, data)):
            with pytest.raises(IndexError):
                mask(data[:-1])


def echo(environ, start_response):
    connection = environ["wsgi.websocket"]
    while (message := connection.receive()) is not None:
        connection.send(message)
    return []


class Client:
    """A connection to a server that echoes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.encoder, self.decoder = FrameEncoder(Role.CLIENT), MessageDecoder(Role.CLIENT)
        self.socket.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)

    def ask(self, data):
        self.socket.sendall(data)
        events = []
        while not events:
            events = self.decoder.feed(self.socket.recv(65536))
        return events[0]


@pytest.fixture
def client():
    server = WSGIServer(("127.0.0.1", 0), echo, handler_class=WebSocketHandler, log=None)
    server.start()
    client = Client(server.server_port)
    yield client
    client.socket.close()
    server.stop(timeout=1)


def test_an_echo(client):
    for message in ("text", "한국어" * 100, "a" * 70000, os.urandom(300), os.urandom(70001)):
        answer = client.ask(client.encoder.message(message))
        assert answer == message


@pytest.mark.parametrize("patched", [True, False])
@pytest.mark.parametrize("text", [b"a\xff", b"\xed\xa0\x80", "é".encode()[:1]])
def test_text_that_is_none(client, text, patched):
    """RFC 6455 8.1: it closes, with an empty Close frame, as it does by itself."""
    if not patched:
        unpatch("gevent_websocket")
    assert client.ask(client.encoder.frame(1, text)) == Close()
