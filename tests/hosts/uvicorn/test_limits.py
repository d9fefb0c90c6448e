"""``limits`` of a subclass of the class, and what happens when one is reached (RFC 6455 10.4)."""

from __future__ import annotations

import asyncio
from typing import Any

from serving import CLOSE, ROOT, TEXT, Wire, frame, in_loop
from test_protocol import DEFLATE, App, close_payload, echo
from uvicorn.server import ServerState

import wsfast
from wsfast.limits import Limits
from wsfast.session.admission import MAX_REFUSALS
from wsfast.uvicorn import WebSocketProtocol


def limited(**limits: Any) -> type[WebSocketProtocol]:
    class Limited(WebSocketProtocol):
        pass

    Limited.limits = Limits(**limits)
    return Limited


async def wired(app: Any, state: ServerState | None = None, **limits: Any) -> Wire:
    return await Wire(app, ws=limited(**limits), state=state).opened()


@in_loop
async def test_a_large_message_fails_with_1009() -> None:
    wire = await wired(echo, max_message_size=10)
    wire.feed(frame(TEXT, "x" * 11))
    await wire.settle()
    assert b"exceeds max_message_size 10" in wire.sent
    assert wire.sent[2:4] == (1009).to_bytes(2, "big")


@in_loop
async def test_messages_wait_up_to_max_queue() -> None:
    app = App()
    wire = Wire(app, ws=limited(max_queue=2))
    await wire.settle()
    await app.receive()
    await app.do({"type": "websocket.accept"})
    for _ in range(2):
        wire.feed(frame(TEXT, "x"))
        assert "pause_reading" not in wire.transport.calls
    wire.feed(frame(TEXT, "x"))
    assert "pause_reading" in wire.transport.calls
    app.done.set()
    await wire.finished()


@in_loop
async def test_too_many_messages_wait_for_their_time() -> None:
    wire = await wired(echo, max_messages_per_second=20)
    wire.feed(*[frame(TEXT, "x")] * 21)
    assert wire.transport.calls == ["pause_reading"]
    await wire.settle()
    assert len(wire.take()) == 21 * 3, "all of them are answered"
    await asyncio.sleep(0.1)
    assert wire.transport.calls == ["resume_reading"]


@in_loop
async def test_connections_are_limited_for_each_server() -> None:
    state, other_server = ServerState(), ServerState()
    Own = limited(max_connections=1)
    first = await Wire(echo, ws=Own, state=state).opened()
    await Wire(echo, ws=Own, state=other_server).opened()
    for _ in range(MAX_REFUSALS):
        refused = Wire(echo, ws=Own, state=state)
        await refused.settle()
        assert refused.sent.startswith(b"HTTP/1.1 503 ")
    cut = Wire(echo, ws=Own, state=state)
    await cut.settle()
    assert cut.sent == b""
    assert cut.transport.calls == ["abort"]
    first.feed(frame(CLOSE, close_payload(1000)))
    await first.finished()
    first.protocol.connection_lost(None)
    await Wire(echo, ws=Own, state=state).opened()


@in_loop
async def test_connections_of_an_address_are_limited() -> None:
    state = ServerState()
    Own = limited(max_connections_per_address=1)
    await Wire(echo, ws=Own, state=state).opened()
    refused = Wire(echo, ws=Own, state=state)
    await refused.settle()
    assert refused.sent.startswith(b"HTTP/1.1 429 ")


@in_loop
async def test_an_application_that_does_not_answer_in_time_is_503() -> None:
    app = App()
    wire = Wire(app, ws=limited(open_timeout=0.05))
    await wire.settle()
    await asyncio.sleep(0.1)
    assert wire.sent.startswith(b"HTTP/1.1 503 ")
    assert "close" in wire.transport.calls
    app.done.set()
    await wire.finished()


@in_loop
async def test_a_large_head_is_refused() -> None:
    wire = Wire(echo, headers=b"cookie: " + b"x" * 1000 + b"\r\n", ws=limited(max_head_size=512))
    await wire.settle()
    assert wire.sent.startswith(b"HTTP/1.1 431 ")


@in_loop
async def test_a_ratio() -> None:
    import zlib

    wire = Wire(echo, headers=DEFLATE, ws=limited(max_message_size=None, max_ratio=100))
    await wire.opened()
    deflating = zlib.compressobj(wbits=-12)
    payload = deflating.compress(bytes(3 * 2**20)) + deflating.flush(zlib.Z_SYNC_FLUSH)
    masked = bytes(octet ^ b"\x37\xfa\x21\x3d"[i % 4] for i, octet in enumerate(payload[:-4]))
    wire.feed(b"\xc2\xfe" + len(masked).to_bytes(2, "big") + b"\x37\xfa\x21\x3d" + masked)
    await wire.settle()
    assert b"exceeds max_ratio 100" in wire.sent


@in_loop
async def test_the_block_of_the_docs() -> None:
    page = (ROOT / "docs" / "limits.md").read_text("utf-8")
    [block] = [
        block for block in page.split("```") if "wsfast.uvicorn" in block and block.startswith("python")
    ]
    names: dict[str, Any] = {"wsfast": wsfast}
    exec(compile(block.removeprefix("python"), "docs/limits.md", "exec"), names)
    state = ServerState()
    for _ in range(20):
        await Wire(echo, ws=names["Protocol"], state=state).opened()
    refused = Wire(echo, ws=names["Protocol"], state=state)
    await refused.settle()
    assert refused.sent.startswith(b"HTTP/1.1 429 ")
