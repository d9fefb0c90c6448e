"""Mistakes in the arguments of ``connect`` and ``serve``, at each door: told at the call, by our names.

A mistake that is found later, in a task or a thread of ours, is one that nobody sees, or sees in each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

import wsfast.asyncio
import wsfast.sync
from wsfast import Limits
from wsfast.asyncio import Listener
from wsfast.browser import WebSocket
from wsfast.http import Headers
from wsfast.uri import parse_uri

trio = pytest.importorskip("trio")

import wsfast.trio  # noqa: E402

pytestmark = pytest.mark.quick

URI = "ws://127.0.0.1:1/"

Call = Callable[..., object]


async def _echo(connection: Any) -> None:
    raise AssertionError("never called")


def _echo_of_threads(connection: Any) -> None:
    raise AssertionError("never called")


def _browser(**options: Any) -> None:
    async def main() -> None:
        WebSocket(URI, **options)

    asyncio.run(main())


def _serve_on_trio(*arguments: Any, **options: Any) -> None:
    trio.run(lambda: wsfast.trio.serve(_echo, *arguments, **options))


CLIENTS: dict[str, Call] = {
    "asyncio": lambda **options: wsfast.asyncio.connect(URI, **options),
    "callbacks": lambda **options: wsfast.asyncio.connect(URI, listener=Listener, **options),
    "threads": lambda **options: wsfast.sync.reconnect(URI, **options),
    "trio": lambda **options: wsfast.trio.connect(URI, **options),
    "browser": _browser,
}
SERVERS: dict[str, Call] = {
    "asyncio": lambda **options: wsfast.asyncio.serve(_echo, "127.0.0.1", 0, **options),
    "threads": lambda **options: wsfast.sync.serve(_echo_of_threads, "127.0.0.1", 0, **options),
    "trio": lambda **options: _serve_on_trio(0, **options),
}
ALL = [pytest.param(call, id=f"connect-{door}") for door, call in CLIENTS.items()] + [
    pytest.param(call, id=f"serve-{door}") for door, call in SERVERS.items()
]
TIMES = ("open_timeout", "ping_interval", "ping_timeout", "close_timeout")


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("call", ALL)
def test_a_time_that_is_no_number_is_told_at_the_call(call: Call, name: str) -> None:
    """Such as one of ``os.environ``."""
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds or None, not '20'"):
        call(**{name: "20"})


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("-inf")])
@pytest.mark.parametrize("call", ALL)
def test_a_time_that_is_over_already_makes_no_sense(call: Call, value: float) -> None:
    for name in TIMES:
        with pytest.raises(ValueError, match=f"{name} must be at least 0 seconds, not {value}"):
            call(**{name: value})


def test_limits_check_the_time() -> None:
    with pytest.raises(TypeError, match="open_timeout must be a number of seconds"):
        Limits(open_timeout="5")  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [call for call in ALL if "threads" not in str(call.id)])
@pytest.mark.parametrize("value", ["64k", (1, "2"), 1.5])
def test_a_write_limit_that_is_no_number_is_told_at_the_call(call: Call, value: Any) -> None:
    with pytest.raises(TypeError, match="write_limit must be an int, or a high and a low mark, not"):
        call(write_limit=value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("header", "use additional_headers"),
        ("headers", "use additional_headers"),
        ("cookie", "use additional_headers"),
        ("sslopt", "use ssl, with an"),
        ("ssl_context", "use ssl"),
        ("http_proxy_host", "use proxy="),
        ("subprotocol", "use subprotocols, with a list"),
    ],
)
@pytest.mark.parametrize("door", CLIENTS)
def test_names_of_other_libraries_are_told(door: str, name: str, text: str) -> None:
    """websocket-client, aiohttp, httpx-ws."""
    with pytest.raises(TypeError, match=rf"connect\(\) has no argument {name}: {text}"):
        CLIENTS[door](**{name: "x"})


@pytest.mark.parametrize("name", ["compresion", "max_siz", "write_limit", "listener", "family"])
@pytest.mark.parametrize("where", ["sock", "path", "proxy", "nothing"])
def test_threads_refuse_names_that_nobody_knows_wherever_they_connect(name: str, where: str) -> None:
    """``socket.create_connection`` would refuse it, and is not called for each of them."""
    with contextlib.closing(socket.socket()) as sock:
        place: dict[str, Any] = {
            "sock": {"sock": sock},
            "path": {"path": "/nowhere"},
            "proxy": {"proxy": "http://h:1"},
            "nothing": {},
        }[where]
        with pytest.raises(TypeError, match=rf"connect\(\) has no argument {name}$"):
            wsfast.sync.connect(URI, **place, **{name: 1})
        if where == "proxy" or name == "family":
            return
        with pytest.raises(TypeError, match=rf"serve\(\) has no argument {name}$"):
            wsfast.sync.serve(_echo_of_threads, **place, **{name: 1})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((8765,), r"host is a str or None, not 8765: serve\(handler, host, port\)"),
        ((8765, "localhost"), r"host is a str or None, not 8765: serve\(handler, host, port\)"),
    ],
)
def test_a_port_in_the_place_of_the_host_is_told(arguments: tuple[Any, ...], text: str) -> None:
    for serve, handler in ((wsfast.sync.serve, _echo_of_threads), (wsfast.asyncio.serve, _echo)):
        with pytest.raises(TypeError, match=text):
            serve(handler, *arguments)  # type: ignore[operator]


def test_a_port_that_is_text_is_told() -> None:
    with pytest.raises(TypeError, match="port is an int, not '8765'"):
        wsfast.sync.serve(_echo_of_threads, "localhost", "8765")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, False, "cert.pem", ("cert.pem", "key.pem")])
@pytest.mark.parametrize("door", ["threads", "trio"])
def test_tls_of_a_server_needs_a_context(door: str, value: Any) -> None:
    """asyncio says so itself."""
    with pytest.raises(
        TypeError, match=r"ssl has to be an ssl\.SSLContext, with the server's certificate, not"
    ):
        SERVERS[door](ssl=value)


@pytest.mark.parametrize("uri", [None, 5, b"ws://h/"])
def test_a_uri_is_a_str(uri: Any) -> None:
    text = f"a URI is a str, not {type(uri).__name__}"
    with pytest.raises(TypeError, match=text):
        parse_uri(uri)
    with pytest.raises(TypeError, match=text):
        wsfast.sync.connect(uri)


@pytest.mark.parametrize("headers", ["Cookie: a=b", ["Cookie: a=b"], ["ab"]])
def test_headers_are_no_lines_of_text(headers: Any) -> None:
    with pytest.raises(TypeError, match="headers are a mapping, or pairs of a name and a value"):
        Headers(headers)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"protocols": None}, "protocols is a str, or several of them, not None"),
        ({"protocols": [1]}, "a subprotocol is a str, not 1"),
        ({"protocol": "chat"}, "use protocols"),
        ({"onmessage": print}, "has no onmessage: use an attribute of the socket"),
        ({"create_connection": print}, "has no create_connection"),
    ],
)
def test_mistakes_of_the_browsers_interface(options: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        _browser(**options)
