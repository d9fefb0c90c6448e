"""The class without a network: what the application sees, what goes out, and when reading pauses."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import weakref
import zlib
from typing import Any

import pytest
from serving import BINARY, CLOSE, PING, PONG, REQUEST, TEXT, Wire, answer, frame, in_loop
from uvicorn.protocols.utils import ClientDisconnected

import wsfast.uvicorn.limited
from wsfast.uvicorn import WebSocketProtocol

DEFLATE = b"sec-websocket-extensions: permessage-deflate\r\n"


def close_payload(code: int, reason: str = "") -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(message | {"type": "websocket.send"})


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


class App:
    """Does what it is told: ``do(message)`` sends, ``receive()`` receives, ``finish()`` returns."""

    def __init__(self) -> None:
        self.result: Any = None
        self.done = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        self.scope, self.receive, self.do = scope, receive, send
        await self.done.wait()
        return self.result

    async def accepted(self, **options: Any) -> Wire:
        wire = Wire(self, **options)
        await wire.settle()
        assert await self.receive() == {"type": "websocket.connect"}
        await self.do({"type": "websocket.accept"})
        return await wire.opened()

    async def asked(self, **options: Any) -> Wire:
        wire = Wire(self, **options)
        await wire.settle()
        assert await self.receive() == {"type": "websocket.connect"}
        return wire

    async def text(self, text: str) -> None:
        await self.do({"type": "websocket.send", "text": text})


# The opening handshake


@in_loop
async def test_large_headers_are_uvicorns_to_refuse() -> None:
    """Cookies of 40 KB pass its HTTP parsers, and its other classes."""
    app = App()
    wire = await app.asked(headers=b"".join(b"cookie: %s\r\n" % (b"x" * 8000) for _ in range(5)))
    await app.do({"type": "websocket.accept"})
    assert wire.take().startswith(b"HTTP/1.1 101 ")


@in_loop
async def test_scope() -> None:
    app = App()
    wire = await app.asked(
        headers=b"x-latin: \xe9\r\nsec-websocket-protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n",
        root_path="/prefix",
    )
    assert app.scope["extensions"].pop("wsfast")["connection"]() is wire.protocol
    assert app.scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 8001),
        "root_path": "/prefix",
        "path": "/prefix/a/b",
        "raw_path": b"/prefix/a%2Fb",
        "query_string": b"c=%20",
        "headers": [
            (b"host", b"example.org"),
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"x-latin", b"\xe9"),
            (b"sec-websocket-protocol", b"a, b"),
            (b"sec-websocket-protocol", b"c"),
        ],
        "subprotocols": ["a", "b", "c"],
        "state": {"a": [1]},
        "extensions": {"websocket.http.response": {}},
    }
    assert app.scope["state"] is not wire.protocol.app_state


@in_loop
async def test_accept() -> None:
    """4.2.2; the application's headers stand behind uvicorn's, in lower case, as often as they are given."""
    app = App()
    wire = await app.asked()
    headers = [(b"Server", b"one"), (b"Server", b"\xe9")]
    await app.do({"type": "websocket.accept", "subprotocol": "any", "headers": headers})
    head = wire.sent.split(b"\r\n")
    assert head[0] == b"HTTP/1.1 101 Switching Protocols"
    assert sorted(head[1:4]) == [
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"Upgrade: websocket",
    ]
    assert head[4:8] == [b"date: now", b"server: uvicorn", b"server: one", b"server: \xe9"]
    assert head[8:] == [b"Sec-WebSocket-Protocol: any", b"", b""]


@in_loop
async def test_headers_cannot_be_split() -> None:
    """RFC 9112 11.1: what an application passes on does not become a line of its own."""
    app = App()
    wire = await app.asked()
    with pytest.raises(ValueError, match="cannot be sent"):
        await app.do({"type": "websocket.accept", "headers": [(b"a", b"b\r\nset-cookie: c")]})
    with pytest.raises(ValueError, match="cannot be sent"):
        await app.do({"type": "websocket.accept", "subprotocol": "b\r\nset-cookie: c"})
    start = {"type": "websocket.http.response.start", "status": 400, "headers": [(b"a", b"b\r\nc: d")]}
    with pytest.raises(ValueError, match="cannot be sent"):
        await app.do(start)
    assert not wire.sent
    await app.do({"type": "websocket.accept"})  # as if nothing had been tried
    assert wire.sent.count(b"date: now") == wire.sent.count(b"server: uvicorn") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"upgrade: websocket", b"upgrade: h2c, WebSocket"),
        (b"upgrade: websocket", b"upgrade: h2c\r\nupgrade: websocket"),
        (b"connection: Upgrade", b"connection: keep-alive\r\nconnection: , upgrade"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"AQIDBAUGBwgJCgsMDQ4PEC=="),
    ],
)
@in_loop
async def test_requests_that_are_right_in_other_words(old: bytes, new: bytes) -> None:
    """RFC 6455 4.2.1, items 3 to 5: lists, lines and case; a key is 16 bytes when decoded."""
    app = App()
    await app.accepted(request=REQUEST.replace(old, new) if old else REQUEST)


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://admin.internal:81/x%2Fy?z", b"admin.internal:81", b"/x%2Fy"),
        (b"HTTPS://admin.internal?z", b"admin.internal", b"/"),
    ],
)
@in_loop
async def test_host_gives_way_to_a_target_in_absolute_form(target: bytes, host: bytes, path: bytes) -> None:
    """RFC 9112 3.2.2: "MUST ignore the received Host header field"."""
    app = App()
    rest = REQUEST.partition(b"\r\n")[2]
    wire = Wire(app, request=b"GET %b HTTP/1.1\r\n" % target + rest)
    await wire.settle()
    assert [value for name, value in app.scope["headers"] if name == b"host"] == [host]
    assert app.scope["raw_path"] == path
    assert app.scope["query_string"] == b"z"


@in_loop
async def test_empty_elements_are_no_subprotocols() -> None:
    """RFC 9110 5.6.1.2: a recipient ignores them."""
    app = App()
    await app.asked(headers=b"sec-websocket-protocol: ,a ,, b,\r\nsec-websocket-protocol: ,\r\n")
    assert app.scope["subprotocols"] == ["a", "b"]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"sec-websocket-version: 8\r\n", b"HTTP/1.1 426 "),
        (b"sec-websocket-key: x\r\n", b"HTTP/1.1 400 "),
        (b"sec-websocket-protocol: ,\r\n", b"HTTP/1.1 400 "),
    ],
)
@in_loop
async def test_a_wrong_request_is_not_the_applications(request_line: bytes, status: bytes) -> None:
    app = App()
    wire = Wire(app, headers=request_line)
    await wire.settle()
    assert wire.sent.startswith(status)
    assert wire.transport.closing
    assert not wire.state.tasks
    wire.feed(frame(TEXT, "ignored"))
    wire.protocol.connection_lost(None)
    assert not wire.state.connections


@in_loop
async def test_frames_before_the_answer_are_kept() -> None:
    """4.1 has the client wait; what comes early is there after accept, in order."""
    app = App()
    wire = await app.asked()
    wire.feed(frame(TEXT, "early"), frame(TEXT, "more")[:3])
    await app.do({"type": "websocket.accept"})
    wire.feed(frame(TEXT, "more")[3:])
    assert await app.receive() == {"type": "websocket.receive", "text": "early"}
    assert await app.receive() == {"type": "websocket.receive", "text": "more"}


@in_loop
async def test_too_much_before_the_answer_is_refused() -> None:
    app = App()
    wire = await app.asked()
    for _ in range(20):
        wire.feed(bytes(4096))
    assert wire.take().startswith(b"HTTP/1.1 400 ")
    assert wire.transport.closing
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1006}
    await app.do({"type": "websocket.accept"})
    assert not wire.sent
    with pytest.raises(ClientDisconnected):
        await app.text("nobody is there")


@in_loop
async def test_refused_by_close() -> None:
    app = App()
    wire = await app.asked()
    await app.do({"type": "websocket.close"})
    head, _, body = wire.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"server: uvicorn" in head
    assert not body
    assert wire.transport.closing
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1006}
    with pytest.raises(RuntimeError, match=r"'websocket\.accept', after sending 'websocket\.close'"):
        await app.do({"type": "websocket.accept"})


@in_loop
async def test_lost_before_the_answer() -> None:
    app = App()
    wire = await app.asked()
    wire.protocol.connection_lost(None)
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1006}
    with pytest.raises(ClientDisconnected):
        await app.do({"type": "websocket.accept"})
    app.done.set()
    await wire.finished()
    assert not wire.sent


# Refusing with a response of the application's


def start(status: int, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "websocket.http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, more_body: bool = False) -> dict[str, Any]:
    return {"type": "websocket.http.response.body", "body": data, "more_body": more_body}


@in_loop
async def test_denial_in_one_part_has_its_length() -> None:
    app = App()
    wire = await app.asked()
    await app.do(start(418, (b"X-A", b"1"), (b"X-A", b"2"), (b"Date", b"then")))
    assert not wire.sent
    await app.do(body(b"\xff\x00"))
    assert wire.sent == (
        b"HTTP/1.1 418 I'm a Teapot\r\nX-A: 1\r\nX-A: 2\r\nDate: then\r\nserver: uvicorn\r\nConnection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\n\xff\x00"
    )
    assert wire.transport.closing
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1006}
    with pytest.raises(RuntimeError, match="Unexpected ASGI message"):
        await app.do(body(b"more"))


@in_loop
async def test_denial_in_parts_is_chunked() -> None:
    """RFC 9112 7.1. How it is framed is the server's: the application's Transfer-Encoding is ignored."""
    app = App()
    wire = await app.asked()
    await app.do(
        start(499, (b"transfer-encoding", b"gzip"), (b"content-type", b"a/b"), (b"connection", b"x"))
    )
    await app.do(body(b"0123456789abcdef0", True))
    head, _, first = wire.take().partition(b"\r\n\r\n")
    assert head == (
        b"HTTP/1.1 499 \r\ncontent-type: a/b\r\nconnection: x\r\ndate: now\r\nserver: uvicorn\r\n"
        b"Transfer-Encoding: chunked"
    )
    assert first == b"11\r\n0123456789abcdef0\r\n"
    await app.do(body(b"", True))
    assert not wire.sent  # an empty chunk would be the last
    await app.do(body(b"x"))
    assert wire.sent == b"1\r\nx\r\n0\r\n\r\n"


@in_loop
async def test_denial_with_a_length_is_streamed() -> None:
    app = App()
    wire = await app.asked()
    await app.do(start(404, (b"Content-Length", b"3")))
    assert wire.take().count(b"Content-Length: 3\r\n") == 1
    await app.do(body(b"a", True))
    assert wire.take() == b"a"
    with pytest.raises(RuntimeError, match="longer than Content-Length"):
        await app.do(body(b"bcd", True))
    assert not wire.sent


@in_loop
async def test_denial_that_is_shorter_than_it_said() -> None:
    app = App()
    await app.asked()
    await app.do(start(404, (b"Content-Length", b"3")))
    with pytest.raises(RuntimeError, match="shorter than Content-Length"):
        await app.do(body(b"a"))


@in_loop
async def test_denial_without_a_body() -> None:
    """RFC 9110 15.3.5: 204 has none, and no headers about one."""
    app = App()
    wire = await app.asked()
    await app.do(start(204))
    await app.do(body(b"lost"))
    assert wire.sent.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-" not in wire.sent.lower()
    assert wire.sent.endswith(b"\r\n\r\n")


@in_loop
async def test_denial_of_an_application_that_ends() -> None:
    """The client sees the status, even if the application sent nothing more."""
    app = App()
    wire = await app.asked()
    await app.do(start(404))
    with pytest.raises(
        RuntimeError, match=r"^Expected ASGI message 'websocket\.http\.response\.body' but got "
    ):
        await app.do(start(404))
    app.done.set()
    await wire.finished()
    assert wire.sent.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert wire.sent.endswith(b"Content-Length: 0\r\n\r\n")
    assert wire.transport.closing


@in_loop
async def test_denial_that_breaks_off_does_not_look_whole() -> None:
    app = App()
    wire = await app.asked()
    await app.do(start(404))
    await app.do(body(b"a", True))
    wire.take()
    app.done.set()
    await wire.finished()
    assert not wire.sent
    assert wire.transport.closing


@pytest.mark.parametrize("status", [0, 99, 101, 600])
@in_loop
async def test_denial_with_a_status_that_is_none(status: int) -> None:
    app = App()
    wire = await app.asked()
    with pytest.raises(RuntimeError, match=f"Invalid HTTP status code '{status}' in response"):
        await app.do(start(status))
    app.done.set()
    await wire.finished()
    assert wire.sent.startswith(b"HTTP/1.1 500 ")
    assert wire.sent.endswith(b"\r\n\r\nInternal Server Error")


@in_loop
async def test_a_peer_that_does_not_read_a_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no keepalive yet: without a limit it would stay for ever, and the application's task with it."""
    monkeypatch.setattr(wsfast.uvicorn.limited, "_CLOSE_TIMEOUT", 0.01)
    app = App()
    wire = await app.asked()
    await app.do({"type": "websocket.http.response.start", "status": 403, "headers": []})
    wire.transport.n_left = 100_000
    wire.protocol.pause_writing()
    wire.protocol.resume_writing()
    assert wire.protocol.next_deadline() is None, "it reads slowly"
    wire.protocol.pause_writing()
    await until(lambda: "abort" in wire.transport.calls)
    wire.protocol.connection_lost(None)
    with pytest.raises(ClientDisconnected):
        await app.do({"type": "websocket.http.response.body", "body": b"x", "more_body": True})
    app.done.set()
    await wire.finished()


@in_loop
async def test_lost_during_a_denial() -> None:
    app = App()
    wire = await app.asked()
    await app.do(start(404))
    await app.do(body(b"a", True))
    wire.protocol.connection_lost(ConnectionResetError())
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1006}
    with pytest.raises(ClientDisconnected):
        await app.do(body(b"b"))


# Receiving


@in_loop
async def test_reading_does_not_pause_while_the_application_waits() -> None:
    wire = await Wire(echo).opened()
    for number in range(100):
        wire.feed(frame(TEXT, str(number)))
        await asyncio.sleep(0)
    await wire.settle()
    assert wire.transport.writes == [answer(TEXT, str(number)) for number in range(100)]
    assert not wire.transport.calls


@in_loop
async def test_reading_does_not_pause_for_a_receiver_that_was_woken() -> None:
    """uvloop reads several times in a turn, before the task that was woken runs."""
    wire = await Wire(echo).opened()
    wire.feed(frame(TEXT, "a"))
    wire.feed(frame(TEXT, "b"))
    await wire.settle()
    assert wire.sent == answer(TEXT, "a") + answer(TEXT, "b")
    assert not wire.transport.calls


@in_loop
async def test_reading_pauses_after_a_message_that_nobody_waits_for() -> None:
    app = App()
    wire = await app.accepted()
    wire.feed(frame(PING), frame(TEXT, "a"), frame(BINARY, b"b"))
    wire.feed(frame(TEXT, "c"))
    assert wire.transport.calls == ["pause_reading"]
    assert [await app.receive() for _ in range(2)] == [
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "bytes": b"b"},
    ]
    assert wire.transport.calls == ["pause_reading"]
    await app.receive()
    assert wire.transport.calls == ["pause_reading", "resume_reading"]


@in_loop
async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    app = App()
    wire = await app.accepted()
    waiting = asyncio.create_task(app.receive())
    await asyncio.sleep(0)
    wire.feed(frame(TEXT, "a"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await app.receive() == {"type": "websocket.receive", "text": "a"}


@in_loop
async def test_tasks_that_receive_at_once() -> None:
    """Each message goes to one of them, and the end of one is not the other's."""
    app = App()
    wire = await app.accepted()
    tasks = [asyncio.create_task(app.receive()) for _ in range(4)]
    await wire.settle()
    tasks[0].cancel()
    await wire.settle()
    assert [task.done() for task in tasks] == [True, False, False, False]
    wire.feed(frame(TEXT, "a"), frame(TEXT, "b"))
    await wire.settle()
    assert sorted(task.result()["text"] for task in tasks[1:] if task.done()) == ["a", "b"]
    wire.feed(frame(CLOSE))
    await wire.settle()
    assert [task.result()["type"] for task in tasks[1:]].count("websocket.disconnect") == 1


@in_loop
async def test_the_first_end_counts_and_stays() -> None:
    app = App()
    wire = await app.accepted()
    wire.feed(frame(TEXT, "a"), frame(CLOSE, close_payload(4000, "왜")))
    wire.protocol.connection_lost(None)
    assert await app.receive() == {"type": "websocket.receive", "text": "a"}
    ended = {"type": "websocket.disconnect", "code": 4000, "reason": "왜"}
    first = await app.receive()
    assert first == ended
    first.clear()  # it is the application's
    assert await app.receive() == ended


@pytest.mark.parametrize(
    ("payload", "ended"),
    [
        (b"", {"code": 1005, "reason": ""}),
        (close_payload(1000), {"code": 1000, "reason": ""}),
        (close_payload(3000, "r"), {"code": 3000, "reason": "r"}),
    ],
)
@in_loop
async def test_the_peer_closes(payload: bytes, ended: dict[str, Any]) -> None:
    """5.5.1: answered at once with the same code; the server closes TCP first (7.1.1)."""
    app = App()
    wire = await app.accepted()
    wire.feed(frame(CLOSE, payload), frame(PING))
    assert wire.sent == answer(CLOSE, payload)
    assert wire.transport.closing
    assert await app.receive() == {"type": "websocket.disconnect"} | ended
    with pytest.raises(ClientDisconnected):
        await app.text("a")
    await app.do({"type": "websocket.close"})  # was on its way already, for all that the application knew
    assert wire.sent == answer(CLOSE, payload)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (b"\x81\x05hello", 1002),  # 5.1: not masked
        (frame(TEXT, b"\xff"), 1007),  # 8.1
        (frame(0x3), 1002),  # 5.2
        (frame(TEXT, "a", rsv1=True), 1002),  # 5.2: compression was not negotiated
    ],
)
@in_loop
async def test_a_message_before_a_fault_can_be_answered(fault: bytes, code: int) -> None:
    """7.1.7, Autobahn 3.2: the message is echoed, and the fault takes effect after it."""
    app = App()
    wire = await app.accepted()
    wire.feed(frame(TEXT, "a"), fault, frame(TEXT, "b"))
    assert not wire.transport.calls
    assert await app.receive() == {"type": "websocket.receive", "text": "a"}
    await app.text("a")
    assert wire.take() == answer(TEXT, "a")
    ended = await app.receive()
    assert wire.sent[:1] == b"\x88"
    assert wire.sent[2:4] == code.to_bytes(2, "big")
    assert ended == {"type": "websocket.disconnect", "code": code, "reason": wire.sent[4:].decode()}
    with pytest.raises(ClientDisconnected):
        await app.text("a")
    # For a while all that comes is read and ignored: a reset of TCP could cost the peer our Close.
    assert not wire.transport.closing
    wire.feed(frame(PING))
    assert not wire.transport.closing
    app.done.set()
    await wire.finished()
    assert not wire.transport.closing
    wire.protocol.connection_lost(None)


@in_loop
async def test_the_transport_is_closed_in_the_end_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebSocketProtocol, "linger_after_fault", 0.0)
    wire = await Wire(echo).opened()
    wire.feed(b"\x81\x05hello")
    await until(lambda: wire.transport.calls == ["close"])


@in_loop
async def test_the_limit_is_seen_at_the_header() -> None:
    """10.4, before any of the payload."""
    app = App()
    wire = await app.accepted(ws_max_size=10)
    wire.feed(frame(TEXT, "x" * 10))
    assert (await app.receive())["text"] == "x" * 10
    wire.feed(frame(TEXT, "x" * 11)[:2])
    assert (await app.receive())["code"] == 1009


# Compression (RFC 7692)


@in_loop
async def test_messages_are_compressed_where_it_was_negotiated() -> None:
    text = "compress me " * 100
    wire = Wire(echo, headers=DEFLATE)
    await wire.settle()
    assert b"Sec-WebSocket-Extensions: permessage-deflate" in wire.take()
    deflate = zlib.compressobj(wbits=-15)
    payload = (deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    wire.feed(frame(TEXT, payload, rsv1=True))
    await wire.settle()
    assert wire.sent[0] == 0xC1
    inflated = zlib.decompressobj(wbits=-15).decompress(wire.sent[2:] + b"\x00\x00\xff\xff")
    assert inflated.decode() == text


@in_loop
async def test_the_limit_is_for_what_is_inflated() -> None:
    app = App()
    wire = await app.accepted(headers=DEFLATE, ws_max_size=1000)
    deflate = zlib.compressobj(wbits=-15)
    payload = (deflate.compress(bytes(1001)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    wire.feed(frame(BINARY, payload, rsv1=True))
    assert (await app.receive())["code"] == 1009


@in_loop
async def test_what_is_inflated_may_be_all_alike() -> None:
    """10.4: uvicorn limits the size of a message, and not how much smaller it was."""
    app = App()
    wire = await app.accepted(headers=DEFLATE)
    deflate = zlib.compressobj(wbits=-15)
    payload = (deflate.compress(bytes(2**21)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    wire.feed(frame(BINARY, payload, rsv1=True))
    assert (await app.receive())["bytes"] == bytes(2**21)


@in_loop
async def test_compression_can_be_declined() -> None:
    wire = Wire(echo, headers=DEFLATE, ws_per_message_deflate=False)
    await wire.settle()
    assert b"extensions" not in wire.sent.lower()


# Sending


@in_loop
async def test_what_is_sent_while_messages_wait_is_one_write() -> None:
    wire = await Wire(echo).opened()
    wire.feed(*(frame(TEXT, str(number)) for number in range(10)))
    await asyncio.sleep(0)  # lets the application run until it waits, and no more
    assert wire.transport.writes == [b"".join(answer(TEXT, str(number)) for number in range(10))]


@in_loop
async def test_what_was_collected_goes_out_without_another_receive() -> None:
    app = App()
    wire = await app.accepted()
    wire.feed(frame(TEXT, "a"))
    await app.text("1")
    await app.text("2")
    assert not wire.sent
    await asyncio.sleep(0)
    assert wire.transport.writes == [answer(TEXT, "1") + answer(TEXT, "2")]


@in_loop
async def test_what_is_collected_has_a_bound() -> None:
    app = App()
    wire = await app.accepted()
    wire.feed(frame(TEXT, "a"))
    for _ in range(33):
        await app.do({"type": "websocket.send", "bytes": bytes(2000)})
    assert len(wire.transport.writes) == 1


@in_loop
async def test_what_was_collected_goes_out_before_the_transport_is_closed() -> None:
    async def answer_one(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send(await receive() | {"type": "websocket.send"})

    wire = await Wire(answer_one).opened()
    wire.feed(frame(TEXT, "1"), frame(TEXT, "2"))
    await wire.finished()
    assert wire.transport.closing
    assert wire.sent == answer(TEXT, "1")


@pytest.mark.parametrize("how", ["ping", "peer closes", "app closes", "shutdown"])
@in_loop
async def test_what_was_collected_goes_out_before_all_else(how: str) -> None:
    app = App()
    wire = await app.accepted()
    wire.feed(frame(TEXT, "a"))
    await app.text("1")
    if how == "ping":
        wire.feed(frame(PING, b"p"))
        rest = answer(PONG, b"p")
    elif how == "peer closes":
        wire.feed(frame(CLOSE))
        await app.receive()  # the Close stands in line
        receiving = asyncio.create_task(app.receive())
        await wire.settle()
        assert (await receiving)["type"] == "websocket.disconnect"
        rest = answer(CLOSE)
    elif how == "app closes":
        await app.do({"type": "websocket.close", "code": 1001, "reason": "r"})
        rest = answer(CLOSE, close_payload(1001, "r"))
    else:
        wire.protocol.shutdown()
        rest = answer(CLOSE, close_payload(1012))
    assert wire.sent == answer(TEXT, "1") + rest


@in_loop
async def test_send_takes_bytes_before_text_and_nothing_for_nothing() -> None:
    app = App()
    wire = await app.accepted()
    await app.do({"type": "websocket.send", "bytes": b"b", "text": "t"})
    await app.do({"type": "websocket.send", "bytes": None, "text": "t"})
    await app.do({"type": "websocket.send", "bytes": None, "text": None})
    await app.do({"type": "websocket.send", "bytes": b""})
    assert wire.sent == answer(BINARY, b"b") + answer(TEXT, "t") + answer(BINARY)


@in_loop
async def test_events_out_of_turn() -> None:
    app = App()
    await app.asked()
    expected = (
        "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' "
        "but got 'websocket.send'."
    )
    with pytest.raises(RuntimeError) as caught:
        await app.text("a")
    assert str(caught.value) == expected
    await app.do({"type": "websocket.accept"})
    with pytest.raises(RuntimeError) as caught:
        await app.do({"type": "websocket.accept"})
    assert str(caught.value) == (
        "Expected ASGI message 'websocket.send' or 'websocket.close', but got 'websocket.accept'."
    )
    with pytest.raises(ValueError, match="1006"):
        await app.do({"type": "websocket.close", "code": 1006})
    await app.do({"type": "websocket.close", "code": None, "reason": None})
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1000, "reason": ""}
    for message in ({"type": "websocket.send", "text": "a"}, {"type": "websocket.close"}):
        with pytest.raises(RuntimeError) as caught:
            await app.do(message)
        assert str(caught.value) == (
            f"Unexpected ASGI message '{message['type']}', after sending 'websocket.close'."
        )


@in_loop
async def test_a_slow_peer_stops_send() -> None:
    app = App()
    wire = await app.accepted()
    wire.protocol.pause_writing()
    tasks = [asyncio.create_task(app.text(text)) for text in "ab"]
    wire.feed(frame(PING, b"p"))
    await wire.settle()
    assert not wire.sent  # Pongs wait too: a peer that reads nothing cannot fill our memory
    wire.protocol.resume_writing()
    await asyncio.gather(*tasks)
    assert wire.sent == answer(PONG, b"p") + answer(TEXT, "a") + answer(TEXT, "b")


@in_loop
async def test_a_connection_that_is_lost_stops_send() -> None:
    app = App()
    wire = await app.accepted()
    wire.protocol.pause_writing()
    task = asyncio.create_task(app.text("a"))
    await wire.settle()
    wire.protocol.connection_lost(ConnectionResetError())
    with pytest.raises(ClientDisconnected):
        await task
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1005}


# Closing


@in_loop
async def test_the_application_closes() -> None:
    """7.1.1: TCP stays until the peer has answered; what it sent before is dropped, and reading goes on for it."""
    app = App()
    wire = await app.accepted()
    wire.feed(frame(TEXT, "nobody takes it"))
    await app.do({"type": "websocket.close", "code": 3000, "reason": "r"})
    assert wire.transport.calls == ["pause_reading", "resume_reading"]
    assert wire.take() == answer(CLOSE, close_payload(3000, "r"))
    app.done.set()
    await wire.finished()
    wire.feed(frame(TEXT, "late"), frame(PING))
    assert not wire.sent
    assert not wire.transport.calls
    wire.feed(frame(CLOSE, close_payload(3000, "r")))
    assert wire.transport.calls == ["close"]
    assert wire.protocol.close_timer is None
    assert (await app.receive())["text"] == "nobody takes it"
    assert await app.receive() == {"type": "websocket.disconnect", "code": 3000, "reason": "r"}


@in_loop
async def test_a_fault_instead_of_the_answer_to_our_close() -> None:
    app = App()
    wire = await app.accepted()
    await app.do({"type": "websocket.close"})
    wire.feed(b"\x81\x05hello")
    assert wire.transport.calls == ["close"]


@in_loop
async def test_a_peer_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that is closed first sends what it has; that must not take for ever."""
    monkeypatch.setattr(wsfast.uvicorn.limited, "_CLOSE_TIMEOUT", 0)
    app = App()
    wire = await app.accepted()
    left = iter([30_000, 20_000, 10_000, 10_000, 10_000, 0])
    monkeypatch.setattr(wire.transport, "get_write_buffer_size", lambda: next(left))
    wire.protocol.shutdown()
    await until(lambda: wire.transport.calls == ["close", "abort"])
    assert next(left) == 0  # as long as the peer took something, it had time


@in_loop
async def test_shutdown() -> None:
    app = App()
    wire = await app.accepted()
    wire.protocol.shutdown()
    assert wire.take() == answer(CLOSE, close_payload(1012))
    assert wire.transport.closing
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1012}
    with pytest.raises(ClientDisconnected):
        await app.text("a")
    wire.feed(frame(CLOSE, close_payload(1012)))
    assert not wire.sent


@in_loop
async def test_shutdown_before_the_answer() -> None:
    app = App()
    wire = await app.asked()
    wire.protocol.shutdown()
    assert wire.take().startswith(b"HTTP/1.1 500 ")
    assert wire.transport.closing
    assert await app.receive() == {"type": "websocket.disconnect", "code": 1006}
    app.done.set()
    await wire.finished()
    assert not wire.sent


@in_loop
async def test_shutdown_during_a_denial() -> None:
    app = App()
    wire = await app.asked()
    await app.do(start(404))
    await app.do(body(b"a", True))
    wire.take()
    wire.protocol.shutdown()
    assert not wire.sent
    assert wire.transport.closing


# Keepalive (5.5.2)


@in_loop
async def test_pings_are_sent_and_a_pong_brings_the_next() -> None:
    app = App()
    wire = await app.accepted(ws_ping_interval=0.001, ws_ping_timeout=1000)
    await until(lambda: wire.sent)
    first = wire.take()
    assert first[:2] == b"\x89\x04"
    wire.feed(frame(PONG, b"other"))
    assert wire.protocol.ping_timer is None  # still waits for the Pong
    wire.feed(frame(PONG, first[2:]))
    await until(lambda: wire.sent)
    assert wire.sent[:2] == b"\x89\x04"
    wire.protocol.connection_lost(None)
    assert wire.protocol.next_deadline() is None


@in_loop
async def test_pings_without_a_time_limit() -> None:
    app = App()
    wire = await app.accepted(ws_ping_interval=0.001, ws_ping_timeout=None)
    await until(lambda: wire.sent.count(b"\x89\x04") >= 3)
    assert not wire.transport.closing
    wire.protocol.connection_lost(None)
    assert wire.protocol.ping_timer is None


@in_loop
async def test_a_pong_that_does_not_come() -> None:
    app = App()
    wire = await app.accepted(ws_ping_interval=0.001, ws_ping_timeout=0.001)
    await until(lambda: wire.transport.closing)
    assert wire.sent[6:] == answer(CLOSE, close_payload(1011, "keepalive ping timeout"))
    with pytest.raises(ClientDisconnected):
        await app.text("a")


@in_loop
async def test_a_pong_is_found_though_nobody_receives() -> None:
    """The application is busy and reading is paused: that is no reason to drop a client that answers."""
    app = App()
    wire = await app.accepted(ws_ping_interval=0.001, ws_ping_timeout=1)
    wire.feed(frame(TEXT, "a"))
    for _ in range(5):
        await until(lambda: wire.sent)
        ping = wire.take()
        await until(lambda: "resume_reading" in wire.transport.calls)
        wire.feed(frame(PONG, ping[2:]))
        assert wire.transport.calls[-1] == "pause_reading"
    assert not wire.transport.closing
    assert (await app.receive())["text"] == "a"
    wire.protocol.connection_lost(None)


@in_loop
async def test_a_peer_that_is_gone_is_found_though_nobody_receives() -> None:
    app = App()
    wire = await app.accepted(ws_ping_interval=0.001, ws_ping_timeout=0.001)
    wire.feed(frame(TEXT, "a"))
    await until(lambda: wire.transport.closing)
    assert wire.sent[6:] == answer(CLOSE, close_payload(1011, "keepalive ping timeout"))


# And else


@in_loop
async def test_logs(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    with caplog.at_level(5, "uvicorn.error"):
        wire = await app.asked(log_level="trace")
        await app.do({"type": "websocket.accept"})
        wire.protocol.connection_lost(None)
    records = [record for record in caplog.records if record.name == "uvicorn.error"]
    assert [record.getMessage() for record in records] == [
        "127.0.0.1:8001 - WebSocket connection made",
        '127.0.0.1:8001 - "WebSocket /a/b?c=%20" [accepted]',
        "connection open",
        "127.0.0.1:8001 - WebSocket connection lost",
    ]
    assert [record.levelno for record in records] == [5, logging.INFO, logging.INFO, 5]


@pytest.mark.parametrize("accepts", [True, False])
@in_loop
async def test_an_application_that_fails(accepts: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        if accepts:
            await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    wire = Wire(fail)
    await wire.finished()
    assert wire.transport.closing
    assert wire.sent.startswith(b"HTTP/1.1 101 " if accepts else b"HTTP/1.1 500 ")
    assert "Exception in ASGI application" in caplog.text
    assert not wire.state.tasks


@in_loop
async def test_a_connection_that_ended_leaves_nothing() -> None:
    """It dies without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        wire = await Wire(echo, headers=DEFLATE, ws_ping_interval=1000).opened()
        wire.feed(frame(TEXT, "a"), frame(CLOSE))
        await wire.finished()
        wire.protocol.connection_lost(None)
        await wire.settle()
        protocol = weakref.ref(wire.protocol)
        assert not wire.state.connections
        del wire
        await asyncio.sleep(0)
        assert protocol() is None
    finally:
        gc.enable()


def test_the_package_does_without_uvicorn() -> None:
    code = "import sys, wsfast, wsfast.codec; sys.exit('uvicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
