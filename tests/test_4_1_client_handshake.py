"""RFC 6455 4.1: the client's opening handshake, without I/O.

The servers are bytes in the form that real ones send, and the sans-I/O server of the websockets package.
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

import h11
import pytest
from helpers import Wire, frame, splits
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import Memory
from websockets.protocol import State
from websockets.server import ServerProtocol

from wsfast.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidProtocol,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    SecurityError,
)
from wsfast.handshake import (
    MAX_BODY_SIZE,
    MAX_HEAD_SIZE,
    MAX_HEADERS,
    USER_AGENT,
    ClientHandshake,
    Response,
    accept_value,
)
from wsfast.headers import Headers
from wsfast.uri import parse_uri

# The key and the accept value of RFC 6455 1.3 and 4.2.2.
NONCE = b"the sample nonce"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

FIRST_FRAMES = frame(0x1, b"hello") + frame(0x9, b"")


def client(uri: str = "ws://server.example.com/chat", **options: Any) -> ClientHandshake:
    """A handshake whose key is the one of the RFC, and whose request was sent."""
    handshake = ClientHandshake(uri, random_bytes=lambda size: NONCE[:size], **options)
    handshake.data_to_send()
    return handshake


def response(
    *lines: str,
    status: str = "HTTP/1.1 101 Switching Protocols",
    leave_out: str = "",
    body: bytes = b"",
) -> Wire:
    """A right response, with ``lines`` at its end, without the header ``leave_out``. Marks: its line ends."""
    head = [status, "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {ACCEPT}"]
    kept = [line for line in head if not (leave_out and line.startswith(f"{leave_out}:"))]
    data = "".join(f"{line}\r\n" for line in (*kept, *lines, "")).encode("iso-8859-1")
    marks = [place for match in re.finditer(b"\r\n", data) for place in (match.start() + 1, match.end())]
    return Wire(data + body, marks)


def receive(handshake: ClientHandshake, chunks: Iterable[bytes]) -> ClientHandshake:
    for chunk in chunks:
        handshake.receive_data(chunk)
    return handshake


def refuse(data: bytes, kind: type[InvalidHandshake], text: str, **options: Any) -> InvalidHandshake:
    """Check that ``data`` fails the handshake in the same way, whatever the chunks; return the error."""
    error: InvalidHandshake | None = None
    for chunks in splits(data):
        handshake = receive(client(**options), chunks)
        assert handshake.done
        assert type(handshake.error) is kind, handshake.error
        assert text in str(handshake.error)
        assert handshake.subprotocol is None
        assert handshake.trailing_data == b""
        error = handshake.error
    assert error is not None
    return error


# The request


def test_request_of_the_rfc() -> None:
    """RFC 6455 1.2 and 4.1: the example, header for header."""
    handshake = ClientHandshake(
        "ws://server.example.com/chat",
        origin="http://example.com",
        subprotocols=["chat", "superchat"],
        user_agent_header=None,
        random_bytes=lambda size: NONCE,
    )
    assert handshake.data_to_send() == (
        b"GET /chat HTTP/1.1\r\n"
        b"Host: server.example.com\r\n"
        b"Origin: http://example.com\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\n"
        b"\r\n"
    )
    assert handshake.data_to_send() == b""
    assert handshake.request.path == "/chat"
    assert handshake.request.headers["sec-websocket-key"] == KEY


def test_request_without_options_has_no_more_than_it_needs() -> None:
    """RFC 6455 4.1; no extension is offered."""
    headers = ClientHandshake("ws://h/").request.headers
    assert list(headers) == [
        "host",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "user-agent",
    ]
    assert headers["User-Agent"] == USER_AGENT
    assert re.fullmatch(r"Python/3\.\d+ wsfast/\d+\.\d+.*", USER_AGENT)


def test_key_is_16_random_bytes_and_new_each_time() -> None:
    """RFC 6455 4.1: "a randomly selected 16-byte value that has been base64-encoded"."""
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    handshake = ClientHandshake("ws://h/", random_bytes=random_bytes)
    assert asked == [16]
    assert handshake.request.headers["Sec-WebSocket-Key"] == "A" * 22 + "=="
    keys = {ClientHandshake("ws://h/").request.headers["Sec-WebSocket-Key"] for _ in range(20)}
    assert len(keys) == 20
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


def test_accept_value_of_the_rfc() -> None:
    """RFC 6455 1.3 and 4.2.2, step 5.4."""
    assert accept_value(KEY) == ACCEPT


def test_request_line_and_host_are_those_of_the_uri() -> None:
    """RFC 6455 4.1: the resource name, and the host with its port if that is not the default."""
    data = ClientHandshake(parse_uri("wss://[::1]:8443/ü?a=b c".replace(" ", "%20"))).data_to_send()
    assert data.startswith(b"GET /%C3%BC?a=b%20c HTTP/1.1\r\nHost: [::1]:8443\r\n")
    assert ClientHandshake("wss://h").data_to_send().startswith(b"GET / HTTP/1.1\r\nHost: h\r\n")


def test_user_info_becomes_basic_authentication() -> None:
    """RFC 7617 2 and 2.1: "test" with the password "123£", in UTF-8."""
    headers = ClientHandshake("ws://test:123%C2%A3@h/").request.headers
    assert headers["Authorization"] == "Basic dGVzdDoxMjPCow=="
    assert b"test" not in ClientHandshake("ws://test:x@h/").data_to_send()


def test_additional_headers_are_sent_as_they_are() -> None:
    extra = [("Cookie", "a=1"), ("X-Twice", "1"), ("x-twice", "2"), ("X-Latin", "é")]
    data = ClientHandshake("ws://h/", additional_headers=extra).data_to_send()
    assert b"Cookie: a=1\r\nX-Twice: 1\r\nx-twice: 2\r\nX-Latin: \xe9\r\n" in data


def test_additional_headers_replace_ours() -> None:
    extra = {
        "host": "virtual.example",
        "user-agent": "mine",
        "authorization": "Bearer x",
        "origin": "http://b",
    }
    handshake = ClientHandshake("ws://u:p@h/", origin="http://a", additional_headers=extra)
    headers = handshake.request.headers
    assert {name: headers[name] for name in extra} == extra
    # RFC 9110 7.2: Host goes first.
    assert handshake.data_to_send().startswith(b"GET / HTTP/1.1\r\nhost: virtual.example\r\n")


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "upgrade",
        "Sec-WebSocket-Key",
        "SEC-WEBSOCKET-VERSION",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Accept",
        "Content-Length",
        "Transfer-Encoding",
    ],
)
def test_headers_that_make_the_handshake_cannot_be_given(name: str) -> None:
    with pytest.raises(ValueError, match=f"leave {name.lower()} out"):
        ClientHandshake("ws://h/", additional_headers={name: "x"})


@pytest.mark.parametrize("injected", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\x00b"])
def test_nothing_can_be_injected_into_the_request(injected: str) -> None:
    """RFC 9110 5.5, RFC 9112 11.1: a line break in a value would be another header."""
    attempts: list[Callable[[], object]] = [
        lambda: ClientHandshake("ws://h/", origin=injected),
        lambda: ClientHandshake("ws://h/", subprotocols=[injected]),
        lambda: ClientHandshake("ws://h/", user_agent_header=injected),
        lambda: ClientHandshake("ws://h/", additional_headers={"X": injected}),
        lambda: ClientHandshake("ws://h/", additional_headers={injected: "x"}),
        lambda: ClientHandshake(dataclasses.replace(parse_uri("ws://h/"), path=f"/{injected}")),
        lambda: ClientHandshake(dataclasses.replace(parse_uri("ws://h/"), host=injected)),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=r"cannot be sent|not a token"):
            attempt()
    with pytest.raises(InvalidURI):
        ClientHandshake(f"ws://h/{injected}")


@pytest.mark.parametrize(
    ("subprotocols", "kind"),
    [
        ("chat", TypeError),
        (["a", "a"], ValueError),
        ([""], ValueError),
        (["a b"], ValueError),
        (["a,b"], ValueError),
    ],
)
def test_subprotocols_are_unique_tokens(subprotocols: Any, kind: type[Exception]) -> None:
    """RFC 6455 4.1."""
    with pytest.raises(kind, match="subprotocol"):
        ClientHandshake("ws://h/", subprotocols=subprotocols)


def test_no_subprotocols_no_header() -> None:
    """RFC 6455 4.1, 11.3.4: the list is not empty."""
    assert "Sec-WebSocket-Protocol" not in ClientHandshake("ws://h/", subprotocols=[]).request.headers


# The response: right ones


def test_right_response_opens_the_connection() -> None:
    """RFC 6455 4.1; what comes behind the empty line are the first frames (4.1, 5)."""
    for chunks in splits(response()):
        handshake = client()
        for chunk in chunks:
            assert not handshake.done
            handshake.receive_data(chunk)
            if handshake.done:
                break
        assert handshake.done
        assert handshake.error is None
        assert handshake.subprotocol is None
        assert handshake.trailing_data == b""
        assert isinstance(handshake.response, Response)
        assert handshake.response.status_code == 101
        assert handshake.response.reason_phrase == "Switching Protocols"
        assert handshake.response.headers["upgrade"] == "websocket"


def test_frames_behind_the_response_are_kept() -> None:
    data = response(body=FIRST_FRAMES)
    for chunks in splits(data):
        handshake = receive(client(), chunks)
        assert handshake.error is None
        assert handshake.trailing_data == FIRST_FRAMES
        assert handshake.trailing_data == FIRST_FRAMES  # reading it changes nothing


def test_large_frames_behind_the_response_are_kept() -> None:
    """They come in the same chunk as the response, whatever the limit of its head."""
    body = bytes(range(256)) * 1024
    assert receive(client(), [response(body=body)]).trailing_data == body


@pytest.mark.parametrize(
    "data",
    [
        # Tomcat 10: no reason phrase.
        b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Date: Sat, 21 Nov 2026 04:00:00 GMT\r\n\r\n",
        # A status line that ends behind its code, as some embedded servers write it.
        b"HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
        # Jetty 9: WebSocket in its own case.
        b"HTTP/1.1 101 Switching Protocols\r\nDate: Sat, 21 Nov 2026 04:00:00 GMT\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\nServer: Jetty(9.4.50.v20221201)\r\nUpgrade: WebSocket\r\n\r\n",
        # Kestrel behind a proxy that lists more options.
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nServer: Kestrel\r\n"
        b"upgrade: websocket\r\nsec-websocket-accept: %s\r\n\r\n",
        # Envoy: lower case, and headers of its own.
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: %s\r\nx-envoy-upstream-service-time: 1\r\nserver: envoy\r\n\r\n",
        # The reason phrase of the drafts, cookies, white space around values, and a Content-Length of 0.
        b"HTTP/1.1 101 Web Socket Protocol Handshake \xe2\x98\xba\r\nUpgrade:WEBSOCKET\r\nConnection: \tUPGRADE\t \r\n"
        b"Sec-WebSocket-Accept:   %s  \r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        # Options in two lines, empty elements.
        b"HTTP/1.1 101 OK\r\nUpgrade: ,websocket,\r\nConnection: keep-alive\r\nConnection: ,, Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n",
        # Folded, with bare LF, and with obs-text in a value that is not ours (RFC 9112 2.2, 5.2; RFC 9110 5.5).
        b"HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: keep-alive,\n\tUpgrade\nX: \xff\xe9\n"
        b"Sec-WebSocket-Accept: %s\n\n",
        # A body that no 1xx has (RFC 9112 6.3): frames follow.
        b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Content-Length: 5\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["tomcat", "no-reason", "jetty", "kestrel", "envoy", "draft", "lists", "folded", "length", "chunked"],
)
def test_responses_of_real_servers(data: bytes) -> None:
    """RFC 6455 4.1; RFC 9110 5.1, 5.6.1 and 7.8: case, lists and white space; RFC 9112 4: the reason is optional."""
    for chunks in splits(data % ACCEPT.encode() + FIRST_FRAMES):
        handshake = receive(client(), chunks)
        assert handshake.done
        assert handshake.error is None
        assert handshake.trailing_data == FIRST_FRAMES


@pytest.mark.parametrize("n_interim", [1, 3])
def test_interim_responses_are_skipped(n_interim: int) -> None:
    """RFC 9110 15.2: "A client MUST be able to parse one or more 1xx responses" before the final one."""
    early_hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    processing = b"HTTP/1.1 102\r\n\r\n"
    for chunks in splits((early_hints + processing) * n_interim + response(body=FIRST_FRAMES)):
        handshake = receive(client(), chunks)
        assert handshake.error is None
        assert handshake.trailing_data == FIRST_FRAMES


# The response: wrong ones


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (response(leave_out="Upgrade"), InvalidUpgrade, "missing Upgrade header"),
        (response("Upgrade: h2c", leave_out="Upgrade"), InvalidUpgrade, "invalid Upgrade header: h2c"),
        (response("Upgrade: websocket"), InvalidUpgrade, "invalid Upgrade header: websocket, websocket"),
        (response("Upgrade: h2c"), InvalidUpgrade, "invalid Upgrade header: websocket, h2c"),
        (response("Upgrade: websocket/13", leave_out="Upgrade"), InvalidUpgrade, "websocket/13"),
        (response("Upgrade:", leave_out="Upgrade"), InvalidUpgrade, "missing Upgrade header"),
        (
            response("Upgrade: web socket", leave_out="Upgrade"),
            InvalidHeaderFormat,
            "expected a protocol at 0",
        ),
        (response(leave_out="Connection"), InvalidUpgrade, "missing Connection header"),
        (
            response("Connection: close", leave_out="Connection"),
            InvalidUpgrade,
            "invalid Connection header: close",
        ),
        (
            response("Connection: Upgraded", leave_out="Connection"),
            InvalidUpgrade,
            "invalid Connection header",
        ),
        (response("Connection: a b", leave_out="Connection"), InvalidHeaderFormat, "expected a token at 0"),
        (response(leave_out="Sec-WebSocket-Accept"), InvalidHeader, "missing Sec-WebSocket-Accept header"),
        (response(f"Sec-WebSocket-Accept: {ACCEPT}"), InvalidHeaderValue, f"{ACCEPT}, {ACCEPT}"),
        (
            response("Sec-WebSocket-Accept: x3JJHMbDL1EzLkh9GBhXDw==", leave_out="Sec-WebSocket-Accept"),
            InvalidHeaderValue,
            "invalid Sec-WebSocket-Accept header: x3JJ",
        ),
        (
            response(f"Sec-WebSocket-Accept: {ACCEPT.lower()}", leave_out="Sec-WebSocket-Accept"),
            InvalidHeaderValue,
            "invalid Sec-WebSocket-Accept header",
        ),
        (
            response("Sec-WebSocket-Accept:", leave_out="Sec-WebSocket-Accept"),
            InvalidHeaderValue,
            "empty Sec-WebSocket-Accept header",
        ),
        (response(status="HTTP/1.0 101 Switching Protocols"), InvalidProtocol, "not HTTP/1.0"),
        (
            response("Sec-WebSocket-Extensions: permessage-deflate"),
            NegotiationError,
            "extension permessage-deflate, which was not offered",
        ),
        (response("Sec-WebSocket-Extensions: foo bar"), InvalidHeaderFormat, 'expected "," or ";" at 4'),
        (response("Sec-WebSocket-Extensions:"), InvalidHeaderFormat, "expected an extension"),
        (
            response("Sec-WebSocket-Protocol: chat"),
            NegotiationError,
            "subprotocol chat, which was not offered",
        ),
    ],
)
def test_wrong_response_fails_the_handshake(data: Wire, kind: type[InvalidHandshake], text: str) -> None:
    """RFC 6455 4.1, "the client MUST validate the server's response", steps 2 to 6."""
    error = refuse(data, kind, text)
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("chosen", "subprotocol"), [("v11.stomp", "v11.stomp"), ("v10.stomp", "v10.stomp"), (None, None)]
)
def test_subprotocol_that_was_offered(chosen: str | None, subprotocol: str | None) -> None:
    """RFC 6455 4.1: one of those offered, or none, which is for the application to judge."""
    lines = [] if chosen is None else [f"Sec-WebSocket-Protocol: {chosen}"]
    for chunks in splits(response(*lines)):
        handshake = receive(client(subprotocols=["v11.stomp", "v10.stomp"]), chunks)
        assert handshake.error is None
        assert handshake.subprotocol == subprotocol


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        (["Sec-WebSocket-Protocol: c"], NegotiationError, "subprotocol c, which was not offered"),
        (["Sec-WebSocket-Protocol: A"], NegotiationError, "subprotocol A, which was not offered"),
        (["Sec-WebSocket-Protocol: a, b"], InvalidHeaderValue, "header: a, b"),
        (["Sec-WebSocket-Protocol: a, a"], InvalidHeaderValue, "header: a, a"),
        (["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"], InvalidHeaderValue, "header: a, a"),
        (["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol:"], InvalidHeaderValue, "header: a, "),
        (["Sec-WebSocket-Protocol:"], InvalidHeaderValue, "empty Sec-WebSocket-Protocol"),
        (["Sec-WebSocket-Protocol: a b"], InvalidHeaderFormat, "expected a token"),
    ],
)
def test_subprotocol_that_was_not_offered_fails_the_handshake(
    lines: list[str], kind: type[InvalidHandshake], text: str
) -> None:
    """RFC 6455 4.1, step 6, and 11.3.4: one header with one of the offers, in their case."""
    refuse(response(*lines), kind, text, subprotocols=["a", "b"])


# Refusals


@pytest.mark.parametrize(
    ("data", "status", "body", "text"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nInvalid CORS",
            403,
            b"Invalid CORS",
            "HTTP 403 Forbidden (the server may not like the origin or the credentials): Invalid CORS",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nnot\r\n5\r\n here\r\n0\r\nA: b\r\n\r\n",
            404,
            b"not here",
            "HTTP 404 Not Found (is the path right?)",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://h/login\r\nContent-Length: 0\r\n\r\n",
            302,
            b"",
            "HTTP 302 Found (it points to https://h/login)",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", "HTTP 204 No Content"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", "HTTP 304 Not Modified"),
        (b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 503, b"", "HTTP 503"),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 No\r\nContent-Length: 1\r\n\r\nx",
            401,
            b"x",
            "HTTP 401 No (credentials are missing or wrong)",
        ),
        # A page of HTML is not shown.
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<h1>hello</h1",
            200,
            b"<h1>hello</h1",
            "HTTP 200 OK (an ordinary web page; is the path right?)",
        ),
        # What is behind a body that has a length is not read.
        (
            b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n",
            400,
            b"ab",
            "HTTP 400 Bad",
        ),
    ],
)
def test_other_status_than_101_is_a_refusal_with_its_body(
    data: bytes, status: int, body: bytes, text: str
) -> None:
    """RFC 6455 4.1, step 1; RFC 9112 6.3: Content-Length, chunked, or none."""
    for chunks in splits(data):
        handshake = receive(client(), chunks)
        assert handshake.done
        assert isinstance(handshake.error, InvalidStatus)
        assert str(handshake.error) == f"the server refused the WebSocket connection: {text}"
        assert handshake.error.response is handshake.response
        assert handshake.response is not None
        assert handshake.response.status_code == status
        assert handshake.response.body == body
        assert handshake.trailing_data == b""


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 500 Oops\r\n\r\n",
        b"HTTP/1.0 500 Oops\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n",
    ],
    ids=["to-eof", "http-1.0", "content-length", "chunked"],
)
def test_body_ends_with_the_connection(head: bytes) -> None:
    """RFC 9112 6.3, 8: up to the end of the connection, which may be too early: the status counts."""
    for chunks in splits(head + b"went wrong"):
        handshake = receive(client(), chunks)
        assert not handshake.done
        assert handshake.response is not None  # for an adapter whose patience ends
        handshake.receive_eof()
        assert handshake.done
        assert isinstance(handshake.error, InvalidStatus)
        assert handshake.error.response.body == b"went wrong"
        handshake.receive_data(b"ignored")
        handshake.receive_eof()
        assert handshake.error.response.body == b"went wrong"


def test_broken_body_is_a_refusal_all_the_same() -> None:
    data = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnot hexadecimal\r\n"
    for chunks in splits(data):
        handshake = receive(client(), chunks)
        assert isinstance(handshake.error, InvalidStatus)
        assert handshake.error.response.body == b"ok"


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 10000000\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("chunk_size", [1000, 10_000_000])
def test_body_is_kept_up_to_a_limit(framing: bytes, chunk_size: int) -> None:
    body = b"x" * 100_000
    data = (
        b"HTTP/1.1 500 Oops\r\n"
        + framing
        + b"\r\n"
        + (b"%X\r\n" % len(body) if b"chunked" in framing else b"")
        + body
    )
    handshake = receive(client(), [data[pos : pos + chunk_size] for pos in range(0, len(data), chunk_size)])
    assert handshake.done
    assert isinstance(handshake.error, InvalidStatus)
    assert handshake.error.response.body == b"x" * MAX_BODY_SIZE


def test_text_of_a_refusal_is_fit_for_a_terminal() -> None:
    body = b"\x1b[31mred\x07" + b"x" * 1000 + b"\nsecond line"
    head = b"HTTP/1.1 500 \x1b[0m\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    error = receive(client(), [head + body]).error
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert "\\x1b[31mred\\x07xxx" in str(error)


# No HTTP


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH server"),
        (b"220 mail.example.com ESMTP Postfix\r\n", "mail or FTP server"),
        (b"\x15\x03\x01\x00\x02\x02\x46", 'it speaks TLS, so use "wss://"'),
        (b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03", "TLS handshake"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "HTTP/2"),
        (b"-ERR unknown command\r\n", "something else; is the port right?"),
        (b"?\r\n", "something else"),
        (b"\r\n\r\nHTTP/1.1 101 OK\r\n\r\n", "something else"),
        (b"HTTX/1.1 101 OK\r\n\r\n", "something else"),
        (b"http/1.1 101 OK\r\n\r\n", "something else"),
        (b"<!DOCTYPE html>", "something else"),
    ],
)
def test_server_that_does_not_speak_http_is_named_at_once(data: bytes, text: str) -> None:
    """Not only when the connection ends: an SSH server would wait for us."""
    error = refuse(data, InvalidMessage, text)
    assert "the server does not speak HTTP" in str(error)
    assert repr(data[:7])[2:-1] in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("data", [b"\x15\x03\x01", b"SSH-", b"?"])
def test_few_bytes_that_are_no_http_are_named_at_the_end(data: bytes) -> None:
    handshake = receive(client(), [data])
    assert not handshake.done
    handshake.receive_eof()
    assert isinstance(handshake.error, InvalidMessage)
    assert repr(data) in str(handshake.error)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 1x1 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/11 101 OK\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nbad name: x\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_malformed_response_fails_the_handshake(data: bytes) -> None:
    """RFC 9112 4, 5, 6.3."""
    error = refuse(data, InvalidMessage, "the response is not valid HTTP")
    assert str(error).isprintable()


@pytest.mark.parametrize("place", [1, 5, 30, -1])
def test_connection_closed_inside_the_response(place: int) -> None:
    """RFC 6455 4.1: a handshake that is not finished fails; an adapter may try again by the cause."""
    for chunks in splits(bytes(response()[:place])):
        handshake = receive(client(), chunks)
        assert not handshake.done
        handshake.receive_eof()
        assert handshake.done
        assert isinstance(handshake.error, InvalidMessage)
        assert str(handshake.error).startswith(
            "the server closed the connection before its response was complete"
        )
        assert isinstance(handshake.error.__cause__, EOFError)


@pytest.mark.parametrize(("uri", "hint"), [("ws://h/", True), ("wss://h/", False)])
def test_connection_closed_without_an_answer(uri: str, hint: bool) -> None:
    """What TLS servers do to those who do not speak TLS."""
    handshake = client(uri)
    handshake.receive_eof()
    assert isinstance(handshake.error, InvalidMessage)
    assert "without an answer" in str(handshake.error)
    assert ('use "wss://"' in str(handshake.error)) == hint


def test_connection_closed_after_the_response_is_no_error_of_the_handshake() -> None:
    handshake = receive(client(), [response()])
    handshake.receive_eof()
    assert handshake.done
    assert handshake.error is None


# Limits


def padded(size: int, *, body: bytes = b"") -> Wire:
    """A right response whose head has ``size`` bytes."""
    empty = response("X: ")
    return response(f"X: {'x' * (size - len(empty))}", body=body)


@pytest.mark.parametrize("body", [b"", FIRST_FRAMES, bytes(100_000)], ids=len)
@pytest.mark.parametrize("chunk_size", [1, 7, 4096, 1_000_000])
def test_head_of_the_largest_size_passes_and_one_more_byte_fails(chunk_size: int, body: bytes) -> None:
    """RFC 6455 10.4 asks for limits; this one is exact in any chunking."""
    for size, passes in ((MAX_HEAD_SIZE, True), (MAX_HEAD_SIZE + 1, False)):
        data = bytes(padded(size, body=body))
        handshake = client()
        for pos in range(0, size + 200, chunk_size):
            handshake.receive_data(data[pos : pos + chunk_size] if chunk_size < 100_000 else data)
            if handshake.done:
                break
        assert handshake.done
        assert (handshake.error is None) == passes
        if not passes:
            assert type(handshake.error) is SecurityError
            assert "larger than 16384 bytes" in str(handshake.error)


def test_interim_responses_count_towards_the_limit() -> None:
    handshake = receive(client(), [b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 1000)
    assert type(handshake.error) is SecurityError


@pytest.mark.parametrize("status", ["HTTP/1.1 101 OK", "HTTP/1.1 200 OK", "HTTP/1.1 103 OK"])
def test_number_of_headers_is_limited(status: str) -> None:
    """RFC 6455 10.4."""
    most = [f"X-{i}: x" for i in range(MAX_HEADERS - 3)]
    assert not isinstance(receive(client(), [response(*most, status=status)]).error, SecurityError)
    handshake = receive(client(), [response(*most, "One: more", status=status)])
    assert type(handshake.error) is SecurityError
    assert "129 headers, more than 128" in str(handshake.error)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 101 OK\r\n", b"X: x\r\n"),
        (b"HTTP/1.1 101 ", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n"),
        (b"\x15", b"\x03"),
    ],
)
def test_memory_is_bounded_whatever_the_server_sends(memory: Memory, head: bytes, piece: bytes) -> None:
    """RFC 6455 10.4: 8 MB of each, in chunks of 64 KB."""
    chunk = (piece * (65536 // len(piece) + 1))[:65536]
    handshake = client()
    handshake.receive_data(head)
    with memory:
        for _ in range(128):
            handshake.receive_data(chunk)
        assert memory.peak < 1_000_000
    assert handshake.done


# Any bytes at all

pieces = st.sampled_from(
    [
        bytes(response()),
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 \r\n\r\n",
        b"HTTP/1.0 404\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        f"Sec-WebSocket-Accept: {ACCEPT}\r\n".encode(),
        b"Sec-WebSocket-Protocol: a",
        b'Sec-WebSocket-Extensions: x; y="z"\r\n',
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"\r\n",
        b" folded\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces | st.binary(max_size=20), max_size=12), st.booleans())
def test_any_bytes_end_in_the_same_state_whatever_the_chunks(parts: list[bytes], eof: bool) -> None:
    """Nothing is raised, and what a handshake comes to depends on the bytes, not on the chunks."""
    ends = []
    data = b"".join(parts)
    for chunks in ([data], parts, [data[i : i + 1] for i in range(len(data))]):
        handshake = receive(client(subprotocols=["a"]), chunks)
        if eof:
            handshake.receive_eof()
        # The kind of fault does not depend on how much had come; what is shown of it does.
        text = re.split("it began with|is not valid HTTP", str(handshake.error))[0]
        ends.append(
            (handshake.done, type(handshake.error), text, handshake.response, handshake.trailing_data)
        )
        assert handshake.done or handshake.error is None
        assert handshake.done or not eof
        assert str(handshake.error).isprintable()
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_chunks_are_any_bytes_and_borrowed_only(kind: Callable[[bytes], Any]) -> None:
    handshake = client()
    for start in (0, 40):
        chunk = kind(bytes(response(body=FIRST_FRAMES))[start : start + 40 if not start else None])
        handshake.receive_data(chunk)
        if not memoryview(chunk).readonly:
            memoryview(chunk)[:] = bytes(len(chunk))
    assert handshake.error is None
    assert handshake.trailing_data == FIRST_FRAMES


@pytest.mark.parametrize("chunk", [None, 5, "HTTP/1.1", [1]])
def test_chunk_that_is_not_bytes_is_a_type_error_and_changes_nothing(chunk: Any) -> None:
    handshake = client()
    with pytest.raises(TypeError):
        handshake.receive_data(chunk)
    assert not handshake.done
    assert receive(handshake, [response()]).error is None


# The websockets package as the server


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"origin": "https://example.com", "subprotocols": ["chat", "superchat"]},
        {"additional_headers": Headers({"Cookie": "a=1"}), "user_agent_header": None},
    ],
)
def test_websockets_accepts_our_request_and_we_its_response(options: dict[str, Any]) -> None:
    ours = ClientHandshake("ws://u:p@example.com:8765/chat?x=1", **options)
    theirs = ServerProtocol(
        origins=["https://example.com", None],
        subprotocols=["superchat"] if "subprotocols" in options else None,  # type: ignore[list-item]
    )
    data = ours.data_to_send()
    for i in range(len(data)):
        theirs.receive_data(data[i : i + 1])
    (request,) = theirs.events_received()
    theirs.send_response(theirs.accept(request))  # type: ignore[arg-type]
    theirs.send_text(b"hello")
    receive(ours, theirs.data_to_send())
    assert theirs.handshake_exc is None
    assert theirs.state is State.OPEN
    assert ours.done
    assert ours.error is None
    assert ours.subprotocol == theirs.subprotocol == ("superchat" if "subprotocols" in options else None)
    assert ours.trailing_data == b"\x81\x05hello"


def test_websockets_refuses_our_origin_and_we_show_why() -> None:
    ours = ClientHandshake("ws://example.com/", origin="https://foreign.example")
    theirs = ServerProtocol(origins=["https://example.com"])  # type: ignore[list-item]
    theirs.receive_data(ours.data_to_send())
    (request,) = theirs.events_received()
    theirs.send_response(theirs.accept(request))  # type: ignore[arg-type]
    receive(ours, theirs.data_to_send())
    assert isinstance(ours.error, InvalidStatus)
    assert ours.error.response.status_code == 403
    assert "foreign.example" in str(ours.error)


def test_error_is_a_new_exception_each_time() -> None:
    """Its traceback would keep the frames of whoever raised it alive."""
    handshake = receive(client(), [b"HTTP/1.1 101 \r\nbad line\r\n\r\n"])
    first, second = handshake.error, handshake.error
    assert first is not second
    assert type(first) is type(second) is InvalidMessage
    assert str(first) == str(second)
    assert first is not None
    assert isinstance(first.__cause__, h11.RemoteProtocolError)
    assert first.__traceback__ is first.__cause__.__traceback__ is None
