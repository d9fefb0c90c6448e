"""RFC 6455 4.2: the server's opening handshake, without I/O.

The clients are bytes in the form that real ones send, and the sans-I/O client of the websockets package.
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

import h11
import pytest
from helpers import Wire, frame, splits
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import Memory
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus as TheirInvalidStatus
from websockets.protocol import State
from websockets.uri import parse_uri as their_parse_uri

from wsfast.connection import Connection
from wsfast.events import Role
from wsfast.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
)
from wsfast.handshake import (
    MAX_EARLY_SIZE,
    MAX_HEAD_SIZE,
    MAX_HEADERS,
    SERVER,
    ClientHandshake,
    Request,
    Response,
    ServerHandshake,
)
from wsfast.handshake.date import date_now
from wsfast.headers import Headers

# The key and the accept value of RFC 6455 1.3 and 4.2.2.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

EARLY_FRAMES = frame(0x1, b"hello", key=b"abcd") + frame(0x9, b"", key=b"abcd")


def request(*lines: str, first: str = "GET /chat HTTP/1.1", leave_out: str = "", body: bytes = b"") -> Wire:
    """A right request, with ``lines`` at its end, without the header ``leave_out``. Marks: its line ends."""
    head = [
        first,
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    kept = [line for line in head if not (leave_out and line.startswith(f"{leave_out}:"))]
    data = "".join(f"{line}\r\n" for line in (*kept, *lines, "")).encode("iso-8859-1")
    marks = [place for match in re.finditer(b"\r\n", data) for place in (match.start() + 1, match.end())]
    return Wire(data + body, marks)


def instead(line: str) -> Wire:
    """A request that is right but for one header."""
    return request(line, leave_out=line.partition(":")[0])


def receive(handshake: ServerHandshake, chunks: Iterable[bytes]) -> ServerHandshake:
    for chunk in chunks:
        handshake.receive_data(chunk)
    return handshake


def answer(handshake: ServerHandshake, response: Response | None = None) -> bytes:
    """Send ``response``, or what accept() says, and return the bytes."""
    handshake.send_response(response or handshake.accept())
    return handshake.data_to_send()


def is_date(value: str) -> bool:
    """Tell whether this is a date as HTTP wants it (RFC 9110 5.6.7), and not far from now."""
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT", value)
    then = email.utils.parsedate_to_datetime(value)
    return abs(datetime.datetime.now(datetime.UTC) - then) < datetime.timedelta(hours=1)


def as_a_client_sees(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """Read a response that refuses, as the bytes on the wire have it; it has to be whole."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    peer.receive_data(b"")
    head = peer.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := peer.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert peer.trailing_data[0] == b""
    return head, body


def refuse(
    data: bytes, status: int, kind: type[InvalidHandshake], text: str, **options: Any
) -> dict[str, str]:
    """Check that ``data`` is refused in the same way, whatever the chunks; return the headers of the answer."""
    headers: dict[str, str] = {}
    for chunks in splits(data):
        handshake = receive(ServerHandshake(**options), chunks)
        assert handshake.request is not None or handshake.response_due is not None
        response = handshake.accept()
        assert type(handshake.error) is kind, handshake.error
        assert text in str(handshake.error)
        assert str(handshake.error).isprintable()
        assert not handshake.accepted
        method = handshake.request.method if handshake.request is not None else "GET"
        sent = answer(handshake, response)
        assert not handshake.accepted
        assert handshake.subprotocol is None
        head, body = as_a_client_sees(sent, method)
        assert head.status_code == status
        assert head.reason
        headers = {}
        for name, value in head.headers:
            text_before = f"{headers[name.decode()]}, " if name.decode() in headers else ""
            headers[name.decode()] = text_before + value.decode("iso-8859-1")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert "close" in headers["connection"].lower()
        assert is_date(headers["date"])
        assert headers["server"] == SERVER
        assert headers["x-content-type-options"] == "nosniff"  # the text quotes the request
        assert int(headers["content-length"]) > 0
        assert method == "HEAD" or text in body.decode()
    return headers


# Requests of real clients

FIREFOX = (
    b"GET /chat HTTP/1.1\r\nHost: localhost:8765\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0\r\nAccept: */*\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nSec-WebSocket-Version: 13\r\n"
    b"Origin: http://localhost:8765\r\nSec-WebSocket-Protocol: v11.stomp, v10.stomp\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: websocket\r\n"
    b"Sec-Fetch-Site: same-origin\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n"
)
CHROMIUM = (
    b"GET /chat HTTP/1.1\r\nHost: localhost:8765\r\nConnection: Upgrade\r\nPragma: no-cache\r\n"
    b"Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/156.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://localhost:8765\r\n"
    b"Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
    b"Cookie: a=1; b=\xed\x95\x9c\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    b"Sec-WebSocket-Protocol: v11.stomp, v10.stomp\r\n\r\n"
)
JDK = (
    b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nHost: localhost:8765\r\nUpgrade: websocket\r\n"
    b"User-Agent: Java-http-client/21.0.5\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: v11.stomp,v10.stomp\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CURL = (
    b"GET /chat HTTP/1.1\r\nHost: localhost:8765\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# nginx as the tutorials have it, and Envoy: the headers in lower case, and those that proxies add.
NGINX = (
    b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nHost: backend\r\nX-Real-IP: 10.0.0.1\r\n"
    b"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"sec-websocket-version: 13\r\n\r\n"
)
ENVOY = (
    b"GET /chat HTTP/1.1\r\nhost: backend:80\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nx-request-id: 1\r\n"
    b"x-forwarded-proto: http\r\nx-envoy-expected-rq-timeout-ms: 15000\r\ncontent-length: 0\r\n\r\n"
)


@pytest.mark.parametrize("data", [FIREFOX, CHROMIUM, JDK, CURL, NGINX, ENVOY], ids=lambda data: data[-30:])
def test_requests_of_real_clients(data: bytes) -> None:
    """RFC 6455 4.2.1; RFC 9110 5.1, 5.6.1, 7.8: lists, case and order do not matter."""
    for chunks in splits(data + EARLY_FRAMES):
        handshake = receive(ServerHandshake(subprotocols=["v10.stomp", "v11.stomp"]), chunks)
        assert handshake.error is None
        assert handshake.request is not None
        assert handshake.request.path == "/chat"
        assert handshake.request.method == "GET"
        assert handshake.request.protocol == "HTTP/1.1"
        sent = answer(handshake)
        assert sent.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n".encode() in sent
        assert b"Sec-WebSocket-Extensions" not in sent
        assert handshake.accepted
        assert handshake.subprotocol == ("v11.stomp" if b"stomp" in data else None)
        # The client's first frames may be behind its request, and wait until they are asked for.
        assert handshake.trailing_data == EARLY_FRAMES


# The request: right ones


def test_request_is_there_as_soon_as_its_head_is() -> None:
    """RFC 6455 4.2.1."""
    handshake = ServerHandshake()
    for byte in request():
        assert handshake.request is None
        handshake.receive_data(bytes([byte]))
    assert isinstance(handshake.request, Request)
    assert handshake.request.headers["sec-websocket-key"] == KEY
    assert handshake.data_to_send() == b""
    assert not handshake.accepted


def test_response_of_the_rfc() -> None:
    """RFC 6455 1.2 and 4.2.2: the example, with what HTTP wants beside (RFC 9110 6.6.1)."""
    handshake = receive(
        ServerHandshake(subprotocols=["chat"]), [request("Sec-WebSocket-Protocol: chat, superchat")]
    )
    response = handshake.accept()
    assert (response.status_code, response.reason_phrase, response.body) == (101, "Switching Protocols", b"")
    headers = dict(response.headers.raw_items())
    assert is_date(headers.pop("Date"))
    assert re.fullmatch(r"Python/3\.\d+ wsfast/\d+\.\d+.*", headers.pop("Server"))
    assert headers == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": ACCEPT,
        "Sec-WebSocket-Protocol": "chat",
    }
    assert not handshake.accepted
    handshake.send_response(response)
    assert handshake.accepted
    assert handshake.data_to_send() == f"HTTP/1.1 101 Switching Protocols\r\n{response.headers}".encode()
    assert handshake.data_to_send() == b""


@pytest.mark.parametrize(
    "data",
    [
        instead("Upgrade: WebSocket"),
        instead("Upgrade: ,WEBSOCKET,"),
        instead("Connection: keep-alive, Upgrade"),
        instead("Connection: UPGRADE,keep-alive"),
        request("Connection: keep-alive"),
        instead("Connection: close, Upgrade"),
        instead("Host: localhost:8765"),
        instead("Host: [::1]:8765"),
        instead("Host: 127.0.0.1"),
        instead("Sec-WebSocket-Key:   " + KEY + "\t "),
        instead("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        instead("Sec-WebSocket-Key: +/+/+/+/+/+/+/+/+/+/+w=="),
        request("Content-Length: 0"),
        request("Content-Length: 0", "Content-Length: 0"),
        request("Sec-WebSocket-Extensions: unknown; a=1, permessage-deflate"),
        request("Sec-WebSocket-Protocol: unknown"),
        request("X-Folded: a", " b"),
        request("X-Obs-Text: \xe9\xff"),
        request("X-Long: " + "a" * 8000),
        request("Connection:"),
        request("Connection: ,, ,"),
        request("Expect: something-else"),
        request(
            'Sec-WebSocket-Extensions: x-other; a="b"; c, permessage-deflate; client_max_window_bits="10"'
        ),
        request("Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: ,b ;c\t; d = e,"),
        request("X-Empty:"),
        request(first="GET /chat HTTP/1.2"),
        Wire(bytes(request()).replace(b"\r\n", b"\n")),
        Wire(b"\r\n" + request(), [1, 2, 3]),
        Wire(b"\n" + request(), [1, 2]),
        request(first=f"GET /{'a' * 8000} HTTP/1.1"),
    ],
)
def test_requests_that_are_right_in_other_words(data: Wire) -> None:
    """RFC 6455 4.2.1; RFC 9112 2.2 (bare LF, an empty line before), 2.5 (higher minor versions), 3 (8000 bytes of
    request line), 5.2 (folding)."""
    for chunks in splits(data):
        handshake = receive(ServerHandshake(), chunks)
        assert handshake.accept().status_code == 101, handshake.error
        assert answer(handshake).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("last", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
def test_key_is_16_bytes_when_decoded_and_hashed_as_it_came(last: str) -> None:
    """RFC 6455 4.2.1, item 5, and 4.2.2: unused bits may have any value; the example of 4.1 ends with "EC==".

    RFC 4648 3.5: a decoder may refuse them. RFC 6455 does not ask for that, and 15 of 16 random keys have them.
    """
    key = f"AQIDBAUGBwgJCgsMDQ4PE{last}=="
    assert len(base64.b64decode(key)) == 16
    handshake = receive(ServerHandshake(), [instead(f"Sec-WebSocket-Key: {key}")])
    response = handshake.accept()
    assert response.status_code == 101
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    assert response.headers["Sec-WebSocket-Accept"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    "data",
    [
        instead("Upgrade: websocket, h2c"),
        instead("Upgrade: h2c,WebSocket"),
        instead("Upgrade: h2c\t, \tWEBSOCKET ,"),
        instead("Upgrade: HTTP/2.0, SHTTP/1.3, IRC/6.9, RTA/x11, websocket"),
        request("Upgrade: h2c"),
        request("Upgrade: websocket"),  # a proxy that adds its own
        Wire(bytes(request()).replace(b"Upgrade: websocket", b"Upgrade: h2c\r\nUpgrade: websocket")),
        Wire(bytes(request()).replace(b"Upgrade: websocket", b"Upgrade:\r\nUpgrade: websocket")),
        request("Connection: upgrade"),
        request("Connection: HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        instead("Connection: HTTP2-Settings , upgrade, keep-alive"),
    ],
)
def test_upgrade_may_offer_other_protocols_too(data: Wire) -> None:
    """RFC 6455 4.2.1, items 3 and 4: "containing the value"; RFC 9110 7.8: a server takes one of the list."""
    for chunks in splits(data):
        handshake = receive(ServerHandshake(), chunks)
        response = handshake.accept()
        assert response.status_code == 101, handshake.error
        assert response.headers["Upgrade"] == "websocket"


TARGETS = [
    # RFC 9112 3.2.1: origin-form. Target, path, Host.
    ("/", "/", "server.example.com"),
    ("/chat?a=b&c=%20", "/chat?a=b&c=%20", "server.example.com"),
    ("//double", "//double", "server.example.com"),
    ("/?", "/?", "server.example.com"),
    ("/http://other.example/", "/http://other.example/", "server.example.com"),
    # Not in RFC 3986, and sent by browsers.
    ('/a|b^c`d{e}?"<f>', '/a|b^c`d{e}?"<f>', "server.example.com"),
    # RFC 9112 3.2.2: absolute-form, which a server MUST accept, and "MUST ignore the received Host".
    ("http://server.example.com/chat?x", "/chat?x", "server.example.com"),
    ("http://admin.internal/chat", "/chat", "admin.internal"),
    ("http://admin.internal:81/chat", "/chat", "admin.internal:81"),
    ("https://[::1]:8443/chat", "/chat", "[::1]:8443"),
    ("HTTPS://Admin.Internal", "/", "Admin.Internal"),
    ("http://admin.internal?x", "/?x", "admin.internal"),
    ("http://admin.internal/?x=http://h/", "/?x=http://h/", "admin.internal"),
    ("http://127.0.0.1./", "/", "127.0.0.1."),
]


@pytest.mark.parametrize(("target", "path", "host"), TARGETS)
def test_path_is_the_resource_name(target: str, path: str, host: str) -> None:
    """RFC 6455 4.2.1: a path, or "an absolute HTTP/HTTPS URI containing the /resource name/"."""
    handshake = receive(ServerHandshake(), [request(first=f"GET {target} HTTP/1.1")])
    assert handshake.request is not None
    assert handshake.request.path == path
    assert handshake.accept().status_code == 101
    assert handshake.request.headers.get_all("Host") == [host]
    assert [value for name, value in handshake.request.headers.raw_items() if name == "Host"] == [host]


@pytest.mark.parametrize("value", ["100-continue", "100-Continue", "other, 100-continue"])
def test_client_that_expects_100_gets_it_first(value: str) -> None:
    """RFC 9110 7.8: "the server MUST send a 100 (Continue) response before sending a 101"."""
    handshake = receive(ServerHandshake(), [request(f"Expect: {value}")])
    assert answer(handshake).startswith(b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 101 Switching Protocols\r\n")
    assert handshake.accepted
    handshake = receive(ServerHandshake(), [request(f"Expect: {value}")])
    assert answer(handshake, handshake.reject(403, "no")).startswith(b"HTTP/1.1 403 ")


# The request: wrong ones


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get", "CONNECT", "BREW"])
def test_other_method_than_get_is_405(method: str) -> None:
    """RFC 6455 4.2.1, item 1; RFC 9110 15.5.6: Allow says which there are."""
    headers = refuse(
        request(first=f"{method} /chat HTTP/1.1"), 405, InvalidMethod, f"GET request, not {method}"
    )
    assert headers["allow"] == "GET"


@pytest.mark.parametrize("version", ["1.0", "0.9", "2.0"])
def test_other_version_than_http_1_1_is_505(version: str) -> None:
    """RFC 6455 4.2.1, item 1; RFC 9110 15.6.6."""
    refuse(
        request(first=f"GET / HTTP/{version}"), 505, InvalidProtocol, f"needs HTTP/1.1, not HTTP/{version}"
    )
    refuse(b"GET / HTTP/1.0\r\n\r\n", 505, InvalidProtocol, "not HTTP/1.0")


def test_http_2_preface_is_505() -> None:
    """RFC 9113 3.4: what a client sends that knows it talks to an HTTP/2 server."""
    refuse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, InvalidProtocol, "not HTTP/2.0")


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (request(leave_out="Host"), InvalidMessage, "Missing mandatory Host"),
        (request(first="GET / HTTP/1.2", leave_out="Host"), InvalidHeader, "missing Host header"),
        (request("Host: other.example"), InvalidMessage, "multiple Host"),
        (instead("Host:"), InvalidHeaderValue, "empty Host header"),
        (instead("Host: a, b"), InvalidHeaderValue, "invalid Host header: a, b"),
        (instead("Host: user@h"), InvalidHeaderValue, "invalid Host header"),
        (instead("Host: h/path"), InvalidHeaderValue, "invalid Host header"),
        (instead("Host: h:http"), InvalidHeaderValue, "invalid Host header"),
        (instead("Host: ::1"), InvalidHeaderValue, "invalid Host header"),
    ],
)
def test_host_is_needed_once(data: Wire, kind: type[InvalidHandshake], text: str) -> None:
    """RFC 6455 4.2.1, item 2; RFC 9112 3.2."""
    refuse(data, 400, kind, text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", "missing Upgrade header"),
        (request(leave_out="Upgrade"), "missing Upgrade header"),
        (instead("Upgrade: h2c"), "invalid Upgrade header: h2c"),
        (request(leave_out="Connection"), "missing Connection header"),
        (instead("Connection:"), "missing Connection header"),
        (instead("Connection: close"), "invalid Connection header: close"),
        (instead("Connection: keep-alive, Upgraded"), "invalid Connection header: keep-alive, Upgraded"),
    ],
)
def test_no_upgrade_is_426(data: bytes, text: str) -> None:
    """RFC 6455 4.2.1, items 3 and 4; RFC 9110 15.5.22 and 7.8: Upgrade, and its option in Connection."""
    headers = refuse(data, 426, InvalidUpgrade, text)
    assert headers["upgrade"] == "websocket"
    assert headers["connection"].lower() == "close, upgrade"
    assert "sec-websocket-version" not in headers


def test_body_for_a_browser_says_what_this_is() -> None:
    handshake = receive(ServerHandshake(), [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"])
    assert handshake.accept().body.startswith(
        b"This is a WebSocket endpoint: open it with a WebSocket client.\n"
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (request(leave_out="Sec-WebSocket-Version"), "missing Sec-WebSocket-Version header"),
        (instead("Sec-WebSocket-Version:"), "empty Sec-WebSocket-Version header"),
        (instead("Sec-WebSocket-Version: 8"), "invalid Sec-WebSocket-Version header: 8"),
        (instead("Sec-WebSocket-Version: 13, 8"), "invalid Sec-WebSocket-Version header: 13, 8"),
        (instead("Sec-WebSocket-Version: 013"), "invalid Sec-WebSocket-Version header: 013"),
        (request("Sec-WebSocket-Version: 13"), "invalid Sec-WebSocket-Version header: 13, 13"),
        # Hixie-76, which had two keys and no version.
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U",
            "missing Sec-WebSocket-Version header",
        ),
    ],
)
def test_other_version_than_13_is_426_that_names_13(data: bytes, text: str) -> None:
    """RFC 6455 4.2.1, item 6; 4.2.2, step 4; 4.4."""
    headers = refuse(data, 426, InvalidHeaderValue, text)
    assert headers["sec-websocket-version"] == "13"
    assert headers["upgrade"] == "websocket"
    assert headers["connection"].lower() == "close, upgrade"


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (request(leave_out="Sec-WebSocket-Key"), InvalidHeader, "missing Sec-WebSocket-Key header"),
        (request(f"Sec-WebSocket-Key: {KEY}"), InvalidHeaderValue, f"{KEY}, {KEY}"),
        (instead("Sec-WebSocket-Key:"), InvalidHeaderValue, "empty Sec-WebSocket-Key header"),
        (instead(f"Sec-WebSocket-Key: {KEY}, {KEY}"), InvalidHeaderValue, f"{KEY}, {KEY}"),
        # 15, 17 and 13 bytes.
        (instead("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), InvalidHeaderValue, "AAAA"),
        (instead("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="), InvalidHeaderValue, "AAAA"),
        (instead("Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ=="), InvalidHeaderValue, "SGVs"),
        # Padding that is missing or too much, the other alphabet (RFC 4648 5), white space inside.
        (instead("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA"), InvalidHeaderValue, "AAAA"),
        (instead("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==="), InvalidHeaderValue, "AAAA"),
        (instead("Sec-WebSocket-Key: -_AAAAAAAAAAAAAAAAAAAA=="), InvalidHeaderValue, "AAAA"),
        (instead("Sec-WebSocket-Key: AAAAAAAAAAA AAAAAAAAAAA=="), InvalidHeaderValue, "AAAA"),
    ],
)
def test_key_is_base64_of_16_bytes_once(data: Wire, kind: type[InvalidHandshake], text: str) -> None:
    """RFC 6455 4.2.1, item 5; 11.3.1."""
    refuse(data, 400, kind, text)


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (instead("Upgrade: web socket"), InvalidHeaderFormat, "expected a protocol at 0"),
        (instead("Connection: Upgrade;q=1"), InvalidHeaderFormat, "expected a token at 0"),
        (request("Sec-WebSocket-Protocol: a b"), InvalidHeaderFormat, "expected a token at 0"),
        (request("Sec-WebSocket-Protocol:"), InvalidHeaderValue, "empty Sec-WebSocket-Protocol"),
        (request("Sec-WebSocket-Extensions: a b"), InvalidHeaderFormat, 'expected "," or ";" at 2'),
        (request("Sec-WebSocket-Extensions:"), InvalidHeaderFormat, "expected an extension"),
        (request(first="GET * HTTP/1.1"), InvalidMessage, "the request is for *, which is no path"),
        (request(first="GET ws://h/ HTTP/1.1"), InvalidMessage, "which is no path"),
        (request(first="GET chat HTTP/1.1"), InvalidMessage, "which is no path"),
        (request(first="GET server.example.com:80 HTTP/1.1"), InvalidMessage, "which is no path"),
        (request(first="GET ftp://h/ HTTP/1.1"), InvalidMessage, "which is no path"),
        # RFC 9112 3.2: a fragment is part of no target.
        (
            request(first="GET /chat#top HTTP/1.1"),
            InvalidMessage,
            "the request is for /chat#top, which has a fragment",
        ),
        (request(first="GET http://h/chat#top HTTP/1.1"), InvalidMessage, "which has a fragment"),
        (request(first="GET http://h#top HTTP/1.1"), InvalidMessage, "which has a fragment"),
        # RFC 9110 4.2.1, 4.2.4: a host is needed, and user information is no part of it.
        (request(first="GET http:/// HTTP/1.1"), InvalidHeaderValue, "empty Host header"),
        (request(first="GET http://:80/ HTTP/1.1"), InvalidHeaderValue, "invalid Host header: :80"),
        (request(first="GET http://u:p@h/ HTTP/1.1"), InvalidHeaderValue, "invalid Host header"),
        (request(first="GET http://h:x/ HTTP/1.1"), InvalidHeaderValue, "invalid Host header: h:x"),
        # RFC 9112 3.2: a Host that is invalid, or is not there, fails the request whatever its target is.
        (
            Wire(bytes(request(first="GET http://h/ HTTP/1.1")).replace(b"server.example.com", b"a b")),
            InvalidHeaderValue,
            "invalid Host header: a b",
        ),
        (request(first="GET http://h/ HTTP/1.1", leave_out="Host"), InvalidMessage, "Missing mandatory Host"),
    ],
)
def test_other_faults_are_400(data: Wire, kind: type[InvalidHandshake], text: str) -> None:
    """RFC 6455 4.2.1, items 1, 3, 4, 8 and 9; 4.3; 9.1."""
    refuse(data, 400, kind, text)


@pytest.mark.parametrize(
    "data",
    [
        request("Content-Length: 5", body=b"hello"),
        request("Content-Length: 5"),
        request("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
        request("Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ],
)
def test_request_with_a_body_is_400(data: Wire) -> None:
    """RFC 6455 4.2.1: a body would be taken for frames."""
    refuse(data, 400, InvalidMessage, "has no body")
    assert receive(ServerHandshake(), [data, b"more"]).trailing_data == b""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"hello\r\n\r\n", "illegal request line"),
        (b"GET /\r\n\r\n", "illegal request line"),
        (b"GET / a HTTP/1.1\r\n\r\n", "illegal request line"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", "illegal request line"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "illegal header line"),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", "continuation line"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", "illegal header line"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", "illegal header line"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", "illegal header line"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", "Content-Length"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
    ],
)
def test_malformed_request_is_400(data: bytes, text: str) -> None:
    """RFC 9112 3, 5, 6.3."""
    refuse(data, 400, InvalidMessage, text)
    handshake = receive(ServerHandshake(), [data])
    assert handshake.request is None
    assert handshake.response_due is handshake.accept()
    assert str(handshake.error).startswith("the request is not valid HTTP: ")


def test_tls_client_is_told_so() -> None:
    """The commonest of mistakes: wss:// to a port without TLS."""
    client_hello = bytes.fromhex("16030100f8010000f40303") + bytes(range(100))
    for chunks in splits(client_hello):
        handshake = receive(ServerHandshake(), chunks)
        assert type(handshake.error) is InvalidMessage
        assert "began with a TLS handshake, and there is no TLS here" in str(handshake.error)
        assert as_a_client_sees(answer(handshake))[0].status_code == 400


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01binary",
        b"\r\n\r\n",
        b"\n\n",
        b"\r\r\n",
        b"\rGET / HTTP/1.1\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
def test_client_that_does_not_speak_http_is_refused_at_once(data: bytes) -> None:
    refuse(data, 400, InvalidMessage, "the client does not speak HTTP: it began with something else")


@pytest.mark.parametrize("place", [1, 10, -1])
def test_connection_closed_inside_the_request(place: int) -> None:
    handshake = receive(ServerHandshake(), [request()[:place]])
    handshake.receive_eof()
    assert type(handshake.error) is InvalidMessage
    assert str(handshake.error) == "the client closed the connection before its request was complete"
    assert isinstance(handshake.error.__cause__, EOFError)
    assert handshake.response_due is None
    assert handshake.request is None
    handshake.receive_data(request())
    assert handshake.request is None


def test_connection_closed_without_a_request() -> None:
    """Port scanners and health checks do that."""
    handshake = ServerHandshake()
    handshake.receive_eof()
    assert str(handshake.error) == "the client closed the connection without a request"


def test_connection_closed_behind_the_request_is_no_error_of_the_handshake() -> None:
    handshake = receive(ServerHandshake(), [request()])
    handshake.receive_eof()
    assert handshake.error is None


# Origin


@pytest.mark.parametrize(
    ("origins", "lines", "accepted"),
    [
        (None, [], True),
        (None, ["Origin: https://a.example"], True),
        (["https://a.example"], ["Origin: https://a.example"], True),
        (["https://b.example", "https://a.example"], ["Origin: https://a.example"], True),
        (["https://a.example"], [], False),
        (["https://a.example", None], [], True),
        ([None], ["Origin: https://a.example"], False),
        (["https://a.example"], ["Origin: https://a.example.evil"], False),
        (["https://a.example"], ["Origin: https://a.example:8443"], False),
        (["https://a.example"], ["Origin: http://a.example"], False),
        (["https://a.example"], ["Origin: null"], False),
        (["null"], ["Origin: null"], True),
        (["https://a.example"], ["Origin:"], False),
        ([], [], False),
        ([], ["Origin: https://a.example"], False),
        ([re.compile(r"https://[a-z]+\.example")], ["Origin: https://a.example"], True),
        ([re.compile(r"https://[a-z]+\.example")], ["Origin: https://a.example.evil"], False),
        ([re.compile(r"https://[a-z]+\.example")], ["Origin: xhttps://a.example"], False),
        ([re.compile(r".*")], [], False),
    ],
)
def test_origin_has_to_be_one_of_those_allowed(origins: Any, lines: list[str], accepted: bool) -> None:
    """RFC 6455 4.2.2, step 2, and 10.2: 403 for others; patterns are for the whole origin."""
    data = request(*lines)
    if not accepted:
        refuse(data, 403, InvalidOrigin, "not allowed", origins=origins)
        return
    assert receive(ServerHandshake(origins=origins), [data]).accept().status_code == 101


@pytest.mark.parametrize("origins", [None, ["https://a.example"]])
def test_more_than_one_origin_is_400(origins: Any) -> None:
    """RFC 6454 7.3: "MUST NOT include more than one Origin header field"."""
    data = request("Origin: https://a.example", "Origin: https://a.example")
    refuse(data, 400, InvalidHeaderValue, "https://a.example, https://a.example", origins=origins)


@pytest.mark.parametrize("origin", ["*", "https://*.example", "*://a.example"])
def test_origin_with_a_star_is_a_mistake_of_the_caller(origin: str) -> None:
    """RFC 6454 6.2, 7: no browser sends one, so that it would refuse everybody."""
    with pytest.raises(
        ValueError, match=r"no browser sends a \"\*\": leave origins out, or None, to accept all"
    ):
        ServerHandshake(origins=["https://b.example", origin])


@pytest.mark.parametrize("origins", ["https://a.example", re.compile("https://a.example")])
def test_origins_is_a_list(origins: Any) -> None:
    """A text would be taken for a list of characters, and allow none."""
    with pytest.raises(TypeError, match="a list of one"):
        ServerHandshake(origins=origins)


# Subprotocols


@pytest.mark.parametrize(
    ("supported", "lines", "subprotocol"),
    [
        (None, [], None),
        (None, ["Sec-WebSocket-Protocol: a"], None),
        (["a"], [], None),
        (["a"], ["Sec-WebSocket-Protocol: b"], None),
        (["a"], ["Sec-WebSocket-Protocol: A"], None),
        (["a", "b"], ["Sec-WebSocket-Protocol: b, a"], "b"),
        (
            ["v10.stomp", "v11.stomp", "v12.stomp"],
            ["Sec-WebSocket-Protocol: v13.stomp, v11.stomp, v10.stomp"],
            "v11.stomp",
        ),
        (["a", "b"], ["Sec-WebSocket-Protocol: c", "Sec-WebSocket-Protocol: ,b ,a"], "b"),
        (["a"], ["Sec-WebSocket-Protocol: a, a"], "a"),
    ],
)
def test_first_offer_that_is_supported_is_chosen(
    supported: list[str] | None, lines: list[str], subprotocol: str | None
) -> None:
    """RFC 6455 4.2.2, step 5: in the client's order; without a match the connection opens without one."""
    for chunks in splits(request(*lines)):
        handshake = receive(ServerHandshake(subprotocols=supported), chunks)
        response = handshake.accept()
        assert response.status_code == 101
        assert handshake.subprotocol == subprotocol
        assert response.headers.get("Sec-WebSocket-Protocol") == subprotocol


@pytest.mark.parametrize(("chosen", "subprotocol"), [("a", "a"), ("b", "b"), (None, None)])
def test_select_subprotocol_chooses_instead(chosen: str | None, subprotocol: str | None) -> None:
    """RFC 6455 4.2.2, step 5."""
    asked: list[Any] = []

    def select(offers: Any) -> str | None:
        asked.append(offers)
        return chosen

    handshake = ServerHandshake(subprotocols=["c"], select_subprotocol=select)
    receive(handshake, [request("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c")])
    assert asked == []
    assert handshake.accept().headers.get("Sec-WebSocket-Protocol") == subprotocol
    assert handshake.subprotocol == subprotocol
    assert asked == [["a", "b", "c"]]


def test_select_subprotocol_is_asked_without_offers_too() -> None:
    def select(offers: Any) -> None:
        assert offers == []
        raise NegotiationError("this server speaks chat only")

    refuse(request(), 400, NegotiationError, "this server speaks chat only", select_subprotocol=select)


@pytest.mark.parametrize("chosen", ["c", "", "A", 1])
def test_select_subprotocol_has_to_choose_an_offer(chosen: Any) -> None:
    """RFC 6455 4.2.2: it is our caller's mistake; the request can still be answered."""
    handshake = ServerHandshake(select_subprotocol=lambda offers: chosen)
    receive(handshake, [request("Sec-WebSocket-Protocol: a, b")])
    with pytest.raises(ValueError, match="none of the offers"):
        handshake.accept()
    assert handshake.error is None
    assert handshake.subprotocol is None
    assert as_a_client_sees(answer(handshake, handshake.reject(500, "sorry")))[0].status_code == 500


def test_select_subprotocol_of_accept_goes_first() -> None:
    """It is not kept, so that it may know the connection."""
    handshake = ServerHandshake(select_subprotocol=lambda offers: offers[0])
    receive(handshake, [request("Sec-WebSocket-Protocol: a, b")])
    assert handshake.accept(lambda offers: offers[1]).headers["Sec-WebSocket-Protocol"] == "b"


class TooPicky(NegotiationError):
    """An exception of an application, that takes other arguments than it passes on."""

    def __init__(self, offers: list[str]) -> None:
        super().__init__(f"none of {len(offers)} offers will do")
        self.offers = offers


def test_own_exception_of_select_subprotocol_is_kept_as_it_is() -> None:
    def select(offers: Any) -> None:
        raise TooPicky(offers) from ZeroDivisionError("why")

    handshake = ServerHandshake(select_subprotocol=select)
    receive(handshake, [request("Sec-WebSocket-Protocol: a, b")])
    assert handshake.accept().status_code == 400
    error = handshake.error
    assert isinstance(error, TooPicky)
    assert error.offers == ["a", "b"]
    assert str(error) == "none of 2 offers will do"
    assert repr(error.__cause__) == "ZeroDivisionError('why')"


def test_exception_of_select_subprotocol_is_the_callers() -> None:
    def select(offers: Any) -> None:
        raise ZeroDivisionError

    handshake = receive(ServerHandshake(select_subprotocol=select), [request()])
    with pytest.raises(ZeroDivisionError):
        handshake.accept()
    with pytest.raises(ValueError, match="made by accept"):
        handshake.send_response(Response(101, "", Headers()))


@pytest.mark.parametrize(
    ("subprotocols", "kind"),
    [("chat", TypeError), (["a", "a"], ValueError), ([""], ValueError), (["a\r\nb"], ValueError)],
)
def test_subprotocols_are_unique_tokens(subprotocols: Any, kind: type[Exception]) -> None:
    """RFC 6455 4.2.2, 4.3."""
    with pytest.raises(kind, match="subprotocol"):
        ServerHandshake(subprotocols=subprotocols)


# Responses of our own


def test_reject_is_plain_text_with_all_that_http_wants() -> None:
    """RFC 9110 6.6.1, 8.3, 8.6; RFC 9112 9.6."""
    handshake = receive(ServerHandshake(server_header="test"), [request()])
    response = handshake.reject(
        503, "Zu viele Gäste.\n", {"Retry-After": "60", "content-type": "text/x; charset=utf-8"}
    )
    assert response.status_code == 503
    assert response.reason_phrase == "Service Unavailable"
    # What the caller gets can be changed, and has all that is sent.
    assert set(response.headers) == {
        "date",
        "connection",
        "content-length",
        "content-type",
        "server",
        "retry-after",
    }
    head, body = as_a_client_sees(answer(handshake, response))
    assert body == "Zu viele Gäste.\n".encode()
    headers = dict(head.headers)
    assert is_date(headers.pop(b"date").decode())
    assert headers == {
        b"connection": b"close",
        b"content-length": b"17",
        b"content-type": b"text/x; charset=utf-8",
        b"retry-after": b"60",
        b"server": b"test",
    }
    assert not handshake.accepted
    assert handshake.error is None


@pytest.mark.parametrize("status", [200, 204, 304, 599])
def test_reject_takes_final_statuses(status: int) -> None:
    handshake = receive(ServerHandshake(), [request()])
    text = "" if status in (204, 304) else "ok"
    head, body = as_a_client_sees(answer(handshake, handshake.reject(status, text)))
    assert (head.status_code, body) == (status, text.encode())


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 103, 199, 600, 999, 1000])
def test_other_statuses_are_a_value_error(status: int) -> None:
    handshake = receive(ServerHandshake(), [request()])
    with pytest.raises(ValueError, match="200 to 599"):
        handshake.reject(status, "text")
    with pytest.raises(ValueError, match=r"200 to 599|made by accept"):
        handshake.send_response(Response(status, "", Headers()))
    assert handshake.data_to_send() == b""
    assert answer(handshake).startswith(b"HTTP/1.1 101 ")


def test_response_of_the_callers_making_is_completed() -> None:
    """RFC 9110 6.6.1, 8.6; RFC 9112 9.6. The caller's object stays as it is, for the next connection."""
    response = Response(
        200, "OK", Headers({"Content-Type": "text/html", "Connection": "keep-alive"}), b"<h1>hi</h1>"
    )
    before = response.headers.copy()
    for _ in range(2):
        handshake = receive(ServerHandshake(), [request()])
        head, body = as_a_client_sees(answer(handshake, response))
        headers = dict(head.headers)
        assert body == b"<h1>hi</h1>"
        assert headers[b"content-length"] == b"11"
        assert headers[b"connection"] == b"close"
        assert is_date(headers[b"date"].decode())
        assert headers[b"server"] == SERVER.encode()
        assert response.headers == before


def test_what_the_caller_says_is_not_said_again() -> None:
    headers = Headers({"Date": "Sat, 21 Nov 2026 04:00:00 GMT", "Connection": "Close", "Server": "mine"})
    handshake = receive(ServerHandshake(), [request()])
    sent = answer(handshake, Response(200, "OK", headers))
    assert (
        sent == f"HTTP/1.1 200 OK\r\n{headers}".replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n").encode()
    )


def test_no_server_header() -> None:
    for response in (None, Response(200, "OK", Headers())):
        handshake = receive(ServerHandshake(server_header=None), [request()])
        assert b"server" not in answer(handshake, response).lower()


def test_head_has_no_body() -> None:
    """RFC 9110 9.3.2: a health check by HEAD; the length is that of the body which GET would get."""
    handshake = receive(ServerHandshake(), [b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n"])
    assert handshake.request is not None
    assert handshake.request.method == "HEAD"
    head, body = as_a_client_sees(answer(handshake, handshake.reject(200, "OK\n")), "HEAD")
    assert (dict(head.headers)[b"content-length"], body) == (b"3", b"")


@pytest.mark.parametrize("injected", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\x00b", "a\u2028b"])
def test_nothing_can_be_injected_into_a_response(injected: str) -> None:
    """RFC 9110 5.5, RFC 9112 11.1; the error is raised, nothing is sent, and another response can be."""

    class Careless(Headers):
        """Headers that let everything in."""

        def __setitem__(self, name: str, value: str) -> None:
            self._append(name, value)

    handshake = receive(ServerHandshake(), [request()])
    with pytest.raises(ValueError, match="cannot be sent"):
        handshake.accept().headers["X"] = injected
    with pytest.raises(ValueError, match="cannot be sent"):
        handshake.reject(403, "", {"X": injected})
    careless = Careless({"X": injected})
    for response in (
        Response(403, injected, Headers()),
        Response(101, injected, handshake.accept().headers),
        Response(403, "", careless),
        Response(101, "", careless),
    ):
        with pytest.raises(ValueError, match=r"cannot be sent|codec can't encode"):
            handshake.send_response(response)
        assert handshake.data_to_send() == b""
        assert not handshake.accepted
    with pytest.raises(ValueError, match="cannot be sent"):
        ServerHandshake(server_header=injected)
    assert answer(handshake).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (
            Response(200, "", Headers({"Content-Length": "2"}), b"abc"),
            "Content-Length is 2, but the body has 3 bytes",
        ),
        (Response(200, "", Headers({"Transfer-Encoding": "chunked"}), b"abc"), "leave Transfer-Encoding out"),
        (Response(204, "", Headers(), b"abc"), "204 has no body"),
        (Response(101, "", Headers(), b"abc"), "101 has no body"),
    ],
)
def test_response_that_contradicts_itself_is_a_value_error(response: Response, text: str) -> None:
    """RFC 9112 6."""
    handshake = receive(ServerHandshake(), [request()])
    handshake.accept()
    with pytest.raises(ValueError, match=text):
        handshake.send_response(response)
    assert handshake.data_to_send() == b""


def test_headers_can_be_added_to_the_response() -> None:
    handshake = receive(ServerHandshake(), [request()])
    response = handshake.accept()
    response.headers["Set-Cookie"] = "a=1"
    response.headers["Set-Cookie"] = "b=2"
    sent = answer(handshake, response)
    assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in sent
    assert handshake.accepted


def test_right_request_can_be_refused_all_the_same() -> None:
    handshake = receive(ServerHandshake(subprotocols=["a"]), [request("Sec-WebSocket-Protocol: a")])
    assert handshake.accept().status_code == 101
    assert as_a_client_sees(answer(handshake, handshake.reject(401, "who?")))[0].status_code == 401
    assert not handshake.accepted
    assert handshake.error is None
    assert handshake.subprotocol is None


def test_calls_out_of_order() -> None:
    handshake = receive(ServerHandshake(), [request()[:-1]])
    with pytest.raises(InvalidState, match="no request"):
        handshake.accept()
    with pytest.raises(ValueError, match="made by accept"):
        handshake.send_response(Response(101, "", Headers()))
    handshake.receive_data(request()[-1:])
    handshake.send_response(handshake.accept())
    for response in (handshake.accept(), handshake.reject(400, "")):
        with pytest.raises(InvalidState, match="sent already"):
            handshake.send_response(response)
    assert handshake.accepted


def test_wrong_request_cannot_be_opened_by_force() -> None:
    """RFC 6455 4.2.2: a 101 is for a request that was checked."""
    for handshake in (receive(ServerHandshake(), [request(leave_out="Upgrade")]), ServerHandshake()):
        if handshake.request is not None:
            handshake.accept()
        with pytest.raises(ValueError, match="made by accept"):
            handshake.send_response(Response(101, "Switching Protocols", Headers()))
        assert handshake.data_to_send() == b""


@pytest.mark.parametrize("data", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: h"])
def test_server_that_stops_can_answer_before_the_request(data: bytes) -> None:
    """RFC 9110 15.6.4: 503 while it closes."""
    handshake = receive(ServerHandshake(), [data])
    assert as_a_client_sees(answer(handshake, handshake.reject(503, "closing")))[0].status_code == 503


# Limits


@pytest.mark.parametrize("body", [b"", EARLY_FRAMES, bytes(50_000)], ids=len)
@pytest.mark.parametrize("chunk_size", [1, 7, 4096, 1_000_000])
def test_head_of_the_largest_size_passes_and_one_more_byte_is_431(chunk_size: int, body: bytes) -> None:
    """RFC 6455 10.4; RFC 6585 5. The limit is exact in any chunking."""
    empty = len(request("X: "))
    for size in (MAX_HEAD_SIZE, MAX_HEAD_SIZE + 1):
        data = bytes(request(f"X: {'x' * (size - empty)}", body=body))
        handshake = receive(
            ServerHandshake(), (data[pos : pos + chunk_size] for pos in range(0, len(data), chunk_size))
        )
        if size == MAX_HEAD_SIZE:
            assert handshake.accept().status_code == 101
            assert handshake.trailing_data == body
        else:
            assert handshake.accept().status_code == 431
            assert type(handshake.error) is SecurityError
            assert "larger than 16384 bytes" in str(handshake.error)
            assert handshake.trailing_data == b""


def test_a_host_may_have_another_limit_of_the_head() -> None:
    """RFC 6455 10.4; RFC 6585 5."""
    empty = len(request("X: "))
    for max_head_size in (1000, 100_000):
        for size, status_code in ((max_head_size, 101), (max_head_size + 1, 431)):
            data = request(f"X: {'x' * (size - empty)}")
            assert (
                receive(ServerHandshake(max_head_size=max_head_size), [data]).accept().status_code
                == status_code
            )


def test_number_of_headers_is_limited() -> None:
    """RFC 6455 10.4; RFC 6585 5."""
    most = [f"X-{i}: x" for i in range(MAX_HEADERS - 5)]
    assert receive(ServerHandshake(), [request(*most)]).accept().status_code == 101
    handshake = receive(ServerHandshake(), [request(*most, "One: more")])
    assert handshake.accept().status_code == 431
    assert type(handshake.error) is SecurityError
    assert "129 headers, more than 128" in str(handshake.error)
    assert as_a_client_sees(answer(handshake))[0].status_code == 431


@pytest.mark.parametrize("chunk_size", [1, 1000, 1_000_000])
def test_bytes_before_our_answer_are_limited(chunk_size: int) -> None:
    """RFC 6455 4.1: a client "MUST wait for a response", so that few will do."""
    for size in (MAX_EARLY_SIZE, MAX_EARLY_SIZE + 1):
        handshake = receive(ServerHandshake(), [request()])
        receive(handshake, (bytes(min(chunk_size, size - pos)) for pos in range(0, size, chunk_size)))
        response = handshake.accept()
        assert response.status_code == (101 if size == MAX_EARLY_SIZE else 400)
        assert (handshake.error is None) == (size == MAX_EARLY_SIZE)
        assert handshake.trailing_data == bytes(MAX_EARLY_SIZE)


def test_bytes_behind_the_request_are_given_back() -> None:
    """A connection lives longer than its handshake, and keeps nothing of it that was handed on."""
    handshake = receive(ServerHandshake(), [request() + bytes(1000)])
    connection = Connection(Role.SERVER, handshake=handshake)
    handshake.send_response(handshake.accept())
    assert connection.open() == bytes(1000)
    assert handshake.trailing_data == b""


def test_too_many_bytes_between_accept_and_send_response() -> None:
    """The frames would be cut off, so the connection must not open."""
    handshake = receive(ServerHandshake(), [request()])
    response = handshake.accept()
    handshake.receive_data(bytes(MAX_EARLY_SIZE + 1))
    assert as_a_client_sees(answer(handshake, response))[0].status_code == 400
    assert not handshake.accepted
    assert type(handshake.error) is InvalidMessage


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"x"),
        (b"GET / HTTP/1.1\r\n", b"X: x\r\n"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: x\r\n", b" x\r\n"),
        (bytes(request()), b"\x81"),
        (bytes(request("Content-Length: 100000000")), b"x"),
        (bytes(request("Transfer-Encoding: chunked")), b"1\r\nx\r\n"),
        (b"\x16", b"\x03"),
    ],
)
def test_memory_is_bounded_whatever_the_client_sends(memory: Memory, head: bytes, piece: bytes) -> None:
    """RFC 6455 10.4: 8 MB of each, in chunks of 64 KB."""
    chunk = (piece * (65536 // len(piece) + 1))[:65536]
    handshake = ServerHandshake()
    handshake.receive_data(head)
    with memory:
        for _ in range(128):
            handshake.receive_data(chunk)
        assert memory.peak < 1_000_000
    assert handshake.accept().status_code >= 400


# Any bytes at all

pieces = st.sampled_from(
    [
        bytes(request()),
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\n",
        b"GET http://h HTTP/1.0\r\n",
        b"Host: h\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        f"Sec-WebSocket-Key: {KEY}\r\n".encode(),
        b"Sec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Protocol: a, b",
        b'Sec-WebSocket-Extensions: x; y="z"\r\n',
        b"Origin: http://a.example\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 3\r\n",
        b"\r\n",
        b" folded\r\n",
        EARLY_FRAMES,
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces | st.binary(max_size=20), max_size=12), st.booleans())
def test_any_bytes_get_the_same_answer_whatever_the_chunks(parts: list[bytes], eof: bool) -> None:
    """Nothing is raised, and what is answered depends on the bytes, not on the chunks."""
    ends = []
    data = b"".join(parts)
    for chunks in ([data], parts, [data[i : i + 1] for i in range(len(data))]):
        handshake = receive(ServerHandshake(origins=["http://a.example", None], subprotocols=["b"]), chunks)
        if eof:
            handshake.receive_eof()
        status = None
        if handshake.request is not None or handshake.response_due is not None:
            response = handshake.accept()
            status = response.status_code
            handshake.send_response(response)
            assert handshake.data_to_send().startswith(f"HTTP/1.1 {status} ".encode())
        assert handshake.accepted == (status == 101)
        assert str(handshake.error).isprintable()
        # The kind of fault does not depend on how much had come; what is shown of it does.
        text = re.split("it began with|is not valid HTTP", str(handshake.error))[0]
        early = handshake.trailing_data if handshake.accepted else b""
        ends.append((status, type(handshake.error), text, handshake.request, handshake.subprotocol, early))
    assert ends[0] == ends[1] == ends[2]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 700), max_size=6))
def test_frames_behind_a_request_are_kept_whatever_the_chunks(body: bytes, places: list[int]) -> None:
    data = bytes(request(body=body))
    edges = [0, *sorted(place for place in places if place <= len(data)), len(data)]
    handshake = receive(ServerHandshake(), (data[start:end] for start, end in itertools.pairwise(edges)))
    assert handshake.trailing_data == body
    assert handshake.accept().status_code == 101


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_chunks_are_any_bytes_and_borrowed_only(kind: Callable[[bytes], Any]) -> None:
    handshake = ServerHandshake()
    data = bytes(request(body=EARLY_FRAMES))
    for chunk in (kind(data[:40]), kind(data[40:])):
        handshake.receive_data(chunk)
        if not memoryview(chunk).readonly:
            memoryview(chunk)[:] = bytes(len(chunk))
    assert handshake.accept().status_code == 101
    assert handshake.trailing_data == EARLY_FRAMES


@pytest.mark.parametrize("chunk", [None, 5, "GET / HTTP/1.1", [1]])
def test_chunk_that_is_not_bytes_is_a_type_error_and_changes_nothing(chunk: Any) -> None:
    handshake = ServerHandshake()
    with pytest.raises(TypeError):
        handshake.receive_data(chunk)
    assert receive(handshake, [request()]).accept().status_code == 101


# Our own client, and that of the websockets package


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("offers", "supported", "subprotocol"),
    [(None, None, None), (["b", "a"], ["a", "b"], "b"), (["a"], ["b"], None), (None, ["a"], None)],
)
def test_our_client_and_our_server_agree(
    size: int, offers: list[str] | None, supported: list[str] | None, subprotocol: str | None
) -> None:
    client = ClientHandshake("wss://u:p@[::1]:8443/ü?x", origin="https://a.example", subprotocols=offers)
    server = ServerHandshake(origins=["https://a.example"], subprotocols=supported)
    data = client.data_to_send() + EARLY_FRAMES
    receive(server, (data[pos : pos + size] for pos in range(0, len(data), size)))
    assert server.request is not None
    assert server.request.path == "/%C3%BC?x"
    assert server.request.headers == client.request.headers
    data = answer(server) + frame(0x2, b"hello")
    for pos in range(0, len(data), size):
        client.receive_data(data[pos : pos + size])
    assert client.done
    assert client.error is None
    assert server.accepted
    assert client.subprotocol == server.subprotocol == subprotocol
    assert client.trailing_data == frame(0x2, b"hello")
    assert server.trailing_data == EARLY_FRAMES


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"additional_headers": {"Host": "a b"}}, 400),
        ({"additional_headers": [(f"X-{i}", "x") for i in range(200)]}, 431),
        ({"additional_headers": {"X": "x" * 20_000}}, 431),
    ],
)
def test_our_client_sees_why_our_server_refuses(options: dict[str, Any], status: int) -> None:
    client = ClientHandshake("ws://h/", **options)
    server = receive(ServerHandshake(origins=["https://a.example", None]), [client.data_to_send()])
    client.receive_data(answer(server))
    assert isinstance(client.error, InvalidStatus)
    assert client.error.response.status_code == status
    assert str(server.error) in client.error.response.body.decode()
    assert str(server.error)[:60] in str(client.error)


@pytest.mark.parametrize("chunk_size", [1, 10_000])
def test_websockets_accepts_our_response_and_we_its_request(chunk_size: int) -> None:
    theirs = ClientProtocol(their_parse_uri("ws://u:p@example.com:81/chat"), subprotocols=["b", "a"])  # type: ignore[list-item]
    theirs.send_request(theirs.connect())
    ours = receive(ServerHandshake(subprotocols=["a", "b"]), theirs.data_to_send())
    assert ours.request is not None
    assert ours.request.headers["Authorization"] == "Basic dTpw"
    data = answer(ours) + b"\x81\x05hello"
    for pos in range(0, len(data), chunk_size):
        theirs.receive_data(data[pos : pos + chunk_size])
    assert theirs.handshake_exc is None
    assert theirs.state is State.OPEN
    assert theirs.subprotocol == ours.subprotocol == "b"
    _, message = theirs.events_received()
    assert message.data == b"hello"  # type: ignore[union-attr]


def test_websockets_sees_why_we_refuse() -> None:
    theirs = ClientProtocol(their_parse_uri("ws://example.com/"), origin="https://evil.example")  # type: ignore[arg-type]
    theirs.send_request(theirs.connect())
    ours = receive(ServerHandshake(origins=["https://a.example"]), theirs.data_to_send())
    theirs.receive_data(answer(ours))
    theirs.receive_eof()
    assert isinstance(theirs.handshake_exc, TheirInvalidStatus)
    assert theirs.handshake_exc.response.status_code == 403
    assert b"origin https://evil.example" in theirs.handshake_exc.response.body


# Without h11

LINES = [
    "",
    " folded",
    "Host: server.example.com",
    "Host: b",
    "hOST:b",
    "Host : b",
    "Upgrade: websocket",
    "Connection:\t keep-alive, Upgrade \t",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Version:13",
    "Sec-WebSocket-Protocol: chat",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "Expect: 100-continue",
    "Content-Length: 0",
    "CONTENT-LENGTH:5",
    "Transfer-Encoding: chunked",
    "X-Empty:",
    "X-Spaces: \t ",
    "X-Inner: a \t b",
    "X-Text: \xe9\xff\x80\x85\xa0",
    "X-Control: a\x01b",
    "X-Null: a\x00b",
    "X-Return: a\rb",
    "X-Line: a\nb",
    ": no name",
    "no colon",
    "X-\xe9: y",
    "X: y\r\n" * 130 + "X: z",
]
FIRSTS = [
    "GET /chat HTTP/1.1",
    "GET /?a=%20#f HTTP/1.1",
    "GET  /chat HTTP/1.1",
    "GET http://other.example.com/chat HTTP/1.1",
    "GET * HTTP/1.1",
    "GET /chat HTTP/1.0",
    "GET /chat HTTP/1.2",
    "GET /ch\xe9t HTTP/1.1",
    "GET /ch\tat HTTP/1.1",
    "get /chat HTTP/1.1",
    "POST /chat HTTP/1.1",
    "HEAD /chat HTTP/1.1",
    " GET /chat HTTP/1.1",
    "GET /chat HTTP/1.1 ",
    "GET /chat",
]


def told(received: bytes, **options: Any) -> list[Any]:
    """All that a handshake tells about a request, and its answer without the date."""
    handshake = ServerHandshake(subprotocols=["chat"], compression="deflate", **options)
    handshake.receive_data(received)
    sent = b""
    if handshake.request is not None or handshake.response_due is not None:
        sent = re.sub(rb"Date: [^\r]*", b"", answer(handshake))
    return [
        handshake.request,
        None if handshake.request is None else list(handshake.request.headers.raw_items()),
        repr(handshake.error),
        handshake.trailing_data,
        handshake.accepted,
        handshake.subprotocol,
        sent,
    ]


def told_by_h11(received: bytes, **options: Any) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsfast.handshake.server.read_request", lambda data, max_headers: None)
        patch.setattr("wsfast.handshake.server.write_response", lambda response, headers: None)
        return told(received, **options)


@settings(max_examples=300)
@given(
    st.sampled_from([FIRSTS[0]] * 10 + FIRSTS),
    st.lists(st.sampled_from(LINES), max_size=3),
    st.sampled_from(["", "", "", "Host", "Upgrade", "Sec-WebSocket-Key"]),
    st.sampled_from([b"", b"", EARLY_FRAMES, b"\r\n"]),
    st.sampled_from([MAX_HEAD_SIZE, 200, 186]),
)
def test_request_that_is_read_without_h11_has_its_result(
    first: str, lines: list[str], leave_out: str, body: bytes, max_head_size: int
) -> None:
    """RFC 9112: h11 is the judge of what is HTTP, and writes the same response."""
    received = request(*lines, first=first, leave_out=leave_out, body=body)
    assert told(received, max_head_size=max_head_size) == told_by_h11(received, max_head_size=max_head_size)


@pytest.mark.parametrize("line", LINES)
def test_each_line_is_read_as_h11_reads_it(line: str) -> None:
    received = request(line)
    assert told(received) == told_by_h11(received)
    received = request(first=f"GET /chat HTTP/1.1\r\n{line}")
    assert told(received) == told_by_h11(received)


@pytest.mark.parametrize("first", FIRSTS)
def test_each_first_line_is_read_as_h11_reads_it(first: str) -> None:
    received = request(first=first)
    assert told(received) == told_by_h11(received)


def test_usual_request_needs_no_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h11.Connection", None)
    handshake = receive(ServerHandshake(), [request("Cookie: a=b; c=d", "X-Empty:")])
    assert b"101 Switching" in answer(handshake)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host"])
def test_response_with_a_header_that_has_rules_is_left_to_h11(name: str) -> None:
    """RFC 9112 6.3: such a header may be set by a caller; h11 refuses it or knows its place."""
    results = []
    for chunks in ([request()], [request()[:9], request()[9:]]):
        handshake = receive(ServerHandshake(), chunks)
        response = handshake.accept()
        response.headers[name] = "chunked"
        try:
            results.append(re.sub(rb"Date: [^\r]*", b"", answer(handshake, response)))
        except ValueError as error:
            results.append(str(error).encode())
    assert results[0] == results[1]


def test_another_handshake_has_the_settings_and_nothing_else() -> None:
    """RFC 6455 4.2.2: what a server agrees to is the same for each client, and known from the request of that one."""
    first = ServerHandshake(
        origins=["https://a.example"],
        subprotocols=["chat"],
        compression="deflate",
        server_header="mine",
        max_head_size=1000,
    )
    offers = (
        "Origin: https://a.example",
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate",
    )
    sent = answer(receive(first, [request(*offers)]))
    assert first.accepted
    assert first.subprotocol == "chat"
    assert first.compression is not None
    second = first.another()
    assert (second.accepted, second.subprotocol, second.compression, second.request) == (
        False,
        None,
        None,
        None,
    )
    assert second.data_to_send() == b""
    again = answer(receive(second, [request(*offers)]))
    assert re.sub(rb"Date: [^\r]*", b"", again) == re.sub(rb"Date: [^\r]*", b"", sent)
    assert b"Server: mine\r\n" in again
    refused = receive(second.another(), [request()])
    assert refused.accept().status_code == 403
    assert isinstance(refused.error, InvalidOrigin)
    assert receive(second.another(), [request(f"X: {'x' * 1000}")]).accept().status_code == 431


def test_the_date_is_made_anew_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 6.6.1: the time at which the message was made."""
    now = 1_800_000_000.9
    monkeypatch.setattr("time.time", lambda: now)
    assert date_now() == "Fri, 15 Jan 2027 08:00:00 GMT"
    now += 0.05
    assert date_now() == "Fri, 15 Jan 2027 08:00:00 GMT"
    now += 0.1
    assert date_now() == "Fri, 15 Jan 2027 08:00:01 GMT"
    now -= 3600  # somebody has set the clock
    assert date_now() == "Fri, 15 Jan 2027 07:00:01 GMT"
