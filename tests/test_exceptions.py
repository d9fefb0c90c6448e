"""``wsfast.exceptions``: the names of the websockets package, and texts in plain words."""

from __future__ import annotations

import copy
import pickle

import pytest
import websockets.exceptions

from wsfast import exceptions
from wsfast.events import Close, Failure
from wsfast.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeTimeout,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    WebSocketException,
)
from wsfast.handshake import Response
from wsfast.headers import Headers

FAILURE = Failure(1002, "frame from a client is not masked", "5.1")


@pytest.mark.parametrize("name", exceptions.__all__)
def test_except_clauses_migrate_with_an_import(name: str) -> None:
    """Each name means what it does in websockets: its bases are there too."""
    ours = getattr(exceptions, name)
    assert issubclass(ours, WebSocketException)
    if name == "HandshakeTimeout":  # websockets raises a bare TimeoutError
        assert issubclass(ours, TimeoutError)
        return
    theirs = getattr(websockets.exceptions, name)
    bases = {base.__name__ for base in theirs.__mro__ if base.__module__ == "websockets.exceptions"}
    assert bases == {base.__name__ for base in ours.__mro__ if base.__module__ == "wsfast.exceptions"}


@pytest.mark.parametrize(
    ("exception", "text"),
    [
        (ConnectionClosedError(), "no close frame received or sent"),
        (
            ConnectionClosedOK(Close(1000, "bye"), Close(1000, "bye"), True),
            "received 1000 (OK) bye; then sent 1000 (OK) bye",
        ),
        (
            ConnectionClosedOK(Close(1001), Close(1000, "안녕"), False),
            "sent 1000 (OK) 안녕; then received 1001 (going away)",
        ),
        (ConnectionClosedError(Close(1011)), "received 1011 (internal error); no close frame sent"),
        (ConnectionClosedError(None, Close(1012)), "sent 1012 (service restart); no close frame received"),
        (ConnectionClosed(Close()), "received 1005 (no status received); no close frame sent"),
        (ConnectionClosed(Close(3000)), "received 3000 (registered); no close frame sent"),
        (ConnectionClosed(Close(4999, "x")), "received 4999 (private use) x; no close frame sent"),
        (ConnectionClosed(Close(4000)), "received 4000 (private use); no close frame sent"),
        (ConnectionClosed(Close(5000)), "received 5000 (unknown); no close frame sent"),
        (ConnectionClosed(Close(2999)), "received 2999 (unknown); no close frame sent"),
        (ConnectionClosed(Close(1000, "\x1b[0m\n")), "received 1000 (OK) \\x1b[0m\\x0a; no close frame sent"),
        (
            ConnectionClosedError(None, Close(1002, FAILURE.reason), failure=FAILURE),
            "sent 1002 (protocol error) frame from a client is not masked; no close frame received; "
            "the peer broke RFC 6455 5.1: frame from a client is not masked",
        ),
        (HandshakeTimeout("too slow"), "too slow"),
        (InvalidURI("http://h", "no"), "http://h is not a WebSocket URI: no"),
        (InvalidMethod("PUT"), "a WebSocket handshake is a GET request, not PUT"),
        (InvalidHeader("X"), "missing X header"),
        (InvalidHeader("X", ""), "empty X header"),
        (InvalidHeaderValue("X", "a\nb"), "invalid X header: a\\x0ab"),
        (
            InvalidHeaderFormat("X", "expected a token", "a b", 1),
            "invalid X header: expected a token at 1 in a b",
        ),
        (InvalidOrigin("http://a"), "requests from the origin http://a are not allowed"),
        (InvalidOrigin(None), "requests without an Origin header are not allowed"),
    ],
)
def test_text(exception: Exception, text: str) -> None:
    assert str(exception) == text
    assert str(pickle.loads(pickle.dumps(exception))) == text
    assert str(copy.copy(exception)) == text


def test_texts_say_what_to_do() -> None:
    assert "proxy_http_version 1.1" in str(InvalidProtocol("HTTP/1.0"))
    assert "let it pass Upgrade and Connection on" in str(InvalidUpgrade("Upgrade"))
    refusal = InvalidStatus(Response(301, "Moved", Headers({"Location": "wss://h/"})))
    assert str(refusal).endswith("HTTP 301 Moved (it points to wss://h/)")


@pytest.mark.parametrize(
    ("status", "headers", "body", "text"),
    [
        (300, {"Location": "/a"}, b"", "HTTP 300 (it points to /a)"),
        (399, {"Location": "/a"}, b"", "HTTP 399 (it points to /a)"),
        (302, {}, b"", "HTTP 302"),
        (400, {"Location": "/a"}, b"", "HTTP 400"),
        (
            500,
            {"Content-Type": "Text/Plain; charset=utf-8"},
            "\n  너무 많다 \nx".encode(),
            "HTTP 500: 너무 많다",
        ),
        (500, {"Content-Type": "text/plain"}, b"\xff", "HTTP 500: \ufffd"),
        (500, {"Content-Type": "text/plain"}, b"", "HTTP 500"),
        (500, {"Content-Type": "text/html"}, b"<html>", "HTTP 500"),
        (500, {}, b"text", "HTTP 500"),
    ],
)
def test_refusal_shows_what_helps(status: int, headers: dict[str, str], body: bytes, text: str) -> None:
    refusal = InvalidStatus(Response(status, "", Headers(headers), body))
    assert str(refusal) == f"the server refused the WebSocket connection: {text}"


def test_closed_code_and_reason_are_those_of_the_peer() -> None:
    """RFC 6455 7.1.5, 7.1.6."""
    closed = ConnectionClosed(Close(4000, "peer"), Close(1000, "us"), True)
    assert (closed.code, closed.reason) == (4000, "peer")
    assert (closed.rcvd, closed.sent, closed.rcvd_then_sent) == (Close(4000, "peer"), Close(1000, "us"), True)
    lost = ConnectionClosed(None, Close(1000, "us"))
    assert (lost.code, lost.reason) == (1006, "")
    assert ConnectionClosedError(failure=FAILURE).failure == FAILURE
    assert ConnectionClosedError().failure is None


def test_long_text_of_a_peer_is_cut() -> None:
    assert len(str(InvalidHeaderValue("X", "x" * 10_000))) < 300


@pytest.mark.parametrize("kind", [InvalidState, ConcurrencyError])
def test_calls_out_of_order_are_runtime_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, RuntimeError)
