"""``wsfast.exceptions``: the names of the websockets package, and texts in plain words."""

from __future__ import annotations

import ast
import copy
import pickle
import traceback
from pathlib import Path

import pytest
import websockets.exceptions

import wsfast
from wsfast import exceptions
from wsfast.events import Close, Failure
from wsfast.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DuplicateParameter,
    HandshakeTimeout,
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidProtocol,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    ProxyError,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyFragments,
    TooManyHeaders,
    WebSocketException,
)
from wsfast.handshake import Response
from wsfast.http import Headers
from wsfast.printable import shown

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
        (
            InvalidProxy("http://user:hunter2@h/x", "no"),
            "http://user:***@h/x is not the address of a proxy: no",
        ),
        (
            InvalidProxyStatus(Response(403, "No\n", Headers())),
            "the proxy refused to connect: HTTP 403 No\\x0a",
        ),
        (DuplicateParameter("x"), "the parameter x is there twice"),
        (InvalidParameterName("x"), "there is no parameter x"),
        (InvalidParameterValue("x", None), "the parameter x needs a value"),
        (InvalidParameterValue("x", "9"), "the parameter x cannot be '9'"),
        (TooManyFragments(7), "more than 7 fragments"),
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


# C0, DEL, C1, line and paragraph separators, overrides and isolates of direction, no width, lone surrogates, no
# character, private use, and one beyond 16 bits.
DANGEROUS = [
    *map(chr, [*range(0x20), *range(0x7F, 0xA0)]),
    *"\u2028\u2029\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\u200b\ufeff",
    "\ud800",
    "\udfff",
    "\uffff",
    "\ue000",
    "\U000e0001",
]


@pytest.mark.parametrize("char", DANGEROUS, ids=ascii)
def test_dangerous_character_is_escaped(char: str) -> None:
    code = ord(char)
    escaped = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    assert shown(f"a{char}b") == f"a{escaped}b"


def test_text_that_is_fine_is_shown_as_it_is() -> None:
    for text in ("", "plain", "안녕하세요", "é ß 例 😀", "x" * 200):
        assert shown(text) == text


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 100])
def test_size_is_that_of_the_result(size: int) -> None:
    """Escapes count as they are shown, and none is cut."""
    assert shown("\x1b" * 101, size) == "\\x1b" * (size // 4) + "..."
    assert shown("x" * (size + 1), size) == "x" * size + "..."
    assert shown("x" * size, size) == "x" * size


EVIL = "".join(DANGEROUS) + "x" * 100_000

WITH_EVIL = [
    WebSocketException(EVIL),
    ConnectionClosed(Close(1000, EVIL), Close(4000, EVIL), True),
    ConnectionClosedOK(Close(1000, EVIL), Close(1000, EVIL), False),
    ConnectionClosedError(None, Close(1002, EVIL), failure=Failure(1002, EVIL, "5.1")),
    InvalidURI(EVIL, EVIL),
    InvalidHandshake(EVIL),
    HandshakeTimeout(EVIL),
    SecurityError(EVIL),
    InvalidMessage(EVIL),
    InvalidMethod(EVIL),
    InvalidProtocol(EVIL),
    InvalidStatus(Response(302, EVIL, Headers.from_wire([(b"Location", EVIL.encode("utf-8", "replace"))]))),
    InvalidStatus(
        Response(400, EVIL, Headers({"Content-Type": "text/plain"}), EVIL.encode("utf-8", "replace"))
    ),
    InvalidHeader(EVIL, EVIL),
    InvalidHeader(EVIL),
    InvalidHeaderFormat(EVIL, EVIL, EVIL, 1),
    InvalidHeaderValue(EVIL, EVIL),
    InvalidOrigin(EVIL),
    InvalidUpgrade(EVIL, EVIL),
    NegotiationError(EVIL),
    InvalidState(EVIL),
    ConcurrencyError(EVIL),
    InvalidProxy(EVIL, EVIL),
    TooManyHeaders(EVIL),
    RequestLineTooLong(EVIL),
    StatusLineTooLong(EVIL),
    HeaderLineTooLong(EVIL),
    ProxyError(EVIL),
    InvalidProxyMessage(EVIL),
    InvalidProxyStatus(Response(407, EVIL, Headers())),
    DuplicateParameter(EVIL),
    InvalidParameterName(EVIL),
    InvalidParameterValue(EVIL, EVIL),
    ProtocolError(EVIL),
    PayloadTooBig(EVIL),
    TooManyFragments(1),
]


def test_every_class_of_exception_is_tried() -> None:
    assert {type(error).__name__ for error in WITH_EVIL} == set(exceptions.__all__)


@pytest.mark.parametrize("exception", WITH_EVIL, ids=lambda error: type(error).__name__)
def test_nothing_of_a_peer_is_shown_raw(exception: Exception) -> None:
    """What is logged of an exception: its text, what a traceback has, and what asyncio logs of a task."""
    for text in (str(exception), repr(exception), *traceback.format_exception_only(exception)):
        assert text.removesuffix("\n").isprintable()
        assert len(text) < 1200


def test_repr_has_no_password() -> None:
    """asyncio logs it when nobody takes the exception of a task."""
    assert "hunter" not in repr(InvalidURI("ws://user:hunter2@h:x/", "no"))


# Calls of loggers in our own code; the drop-in for websockets logs its frames, as that does.
LOGGING_MODULES = [
    path for path in sorted(Path(wsfast.__file__).parent.rglob("*.py")) if path.parent.name != "websockets"
]

# Arguments that hold nothing of a peer's: ours, the application's, or made safe by uvicorn (quoted paths).
SAFE_ARGUMENTS = {
    "delay",
    "listening.getsockname()",
    "prefix",
    "step",
    "result",
    "path",
    "answer",
    "get_client_addr(scope)",
    "error.strerror",  # of the system
    "type(error).__name__",
    "response.status_code",
    "status",  # a number, and its phrase from a table
    "phrase_of(status)",
}


def test_every_argument_of_a_log_call_is_made_fit() -> None:
    """Nothing from a peer is logged raw: each argument goes through ``shown``, or is known to be safe."""
    n_calls = 0
    for path in LOGGING_MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical", "log")
                and ast.unparse(node.func.value).rpartition(".")[2] in ("logger", "_logger")
            ):
                continue
            n_calls += 1
            arguments = node.args[1:] if node.func.attr == "log" else node.args
            assert isinstance(arguments[0], ast.Constant), ast.unparse(node)
            for argument in arguments[1:]:
                text = ast.unparse(argument)
                assert text.startswith(("shown(", "shown_uri(")) or text in SAFE_ARGUMENTS, ast.unparse(node)
    assert n_calls > 10


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
