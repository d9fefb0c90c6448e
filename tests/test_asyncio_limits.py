"""``limits=`` of ``serve`` and ``connect``: what a peer sees when one is reached (RFC 6455 10.4, 7.4.1)."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import (
    accept,
    answer_close,
    close,
    echo,
    in_both_loops,
    in_loop,
    raw_client,
    raw_server,
    tcp_client,
    tcp_server,
    uri_of,
)
from helpers import CONTINUATION, TEXT

import wsfast
from wsfast.asyncio import connect, serve
from wsfast.exceptions import HandshakeTimeout, InvalidStatus, SecurityError
from wsfast.limits import Limits

HOST = "127.0.0.1"
REASONS: list[tuple[dict[str, Any], list[tuple[int, str, bool]], str]] = [
    (
        {"max_message_size": 10},
        [(TEXT, "x" * 11, True)],
        "message of 11 bytes exceeds max_message_size 10",
    ),
    ({"max_frame_size": 10}, [(TEXT, "x" * 11, True)], "frame payload of 11 bytes exceeds max_frame_size 10"),
    (
        {"max_fragments": 2},
        [(TEXT, "x", False), (CONTINUATION, "x", False), (CONTINUATION, "x", False)],
        "message of more than max_fragments 2 frames",
    ),
]


@pytest.mark.parametrize(("limits", "frames", "reason"), REASONS, ids=lambda each: str(each)[:20])
@in_loop
async def test_a_server_fails_with_1009(
    limits: Any, frames: Any, reason: str, connection_codec: ModuleType
) -> None:
    async with serve(echo, HOST, 0, limits=Limits(**limits)) as server, raw_client(server) as peer:
        peer.send(*(peer.frame(opcode, payload, fin=fin) for opcode, payload, fin in frames))
        assert await peer.receive() == close(1009, reason)


@pytest.mark.parametrize(("limits", "frames", "reason"), REASONS, ids=lambda each: str(each)[:20])
@in_loop
async def test_a_client_fails_with_1009(
    limits: Any, frames: Any, reason: str, connection_codec: ModuleType
) -> None:
    async def script(peer: Any) -> None:
        peer.send(*(peer.frame(opcode, payload, fin=fin) for opcode, payload, fin in frames))
        assert await peer.receive() == close(1009, reason)

    async with raw_server(script) as server, connect(uri_of(server), limits=Limits(**limits)) as ws:
        with pytest.raises(wsfast.ConnectionClosedError, match=reason):
            await ws.recv()


@in_loop
async def test_a_ratio(connection_codec: ModuleType) -> None:
    """In both roles; that of ``Deflate`` counts, if there is one."""
    limits = Limits(max_message_size=None, max_ratio=10)
    message = bytes(2**21)
    async with (
        serve(echo, HOST, 0, compression="deflate", limits=limits) as server,
        connect(uri_of(server), compression="deflate", max_size=None) as ws,
    ):
        await ws.send(message)
        with pytest.raises(wsfast.ConnectionClosedError, match="exceeds max_ratio 10"):
            await ws.recv()
    own = wsfast.Deflate(max_ratio=10_000)
    async with serve(echo, HOST, 0, compression=own, limits=limits) as server:
        async with connect(uri_of(server), compression="deflate", max_size=None) as ws:
            await ws.send(message)
            assert await ws.recv() == message
        async with connect(uri_of(server), compression="deflate", limits=limits) as ws:
            await ws.send(message)
            with pytest.raises(wsfast.ConnectionClosedError, match="exceeds max_ratio 10"):
                await ws.recv()


@in_loop
async def test_connections_of_a_server() -> None:
    async with serve(echo, HOST, 0, limits=Limits(max_connections=1)) as server:
        async with connect(uri_of(server)) as ws:
            with pytest.raises(InvalidStatus) as caught:
                await connect(uri_of(server))
            assert caught.value.response.status_code == 503
            assert caught.value.response.body == b"The server has as many connections as it takes.\n"
            await ws.send("still served")
            assert await ws.recv() == "still served"
        await free(server)
        async with connect(uri_of(server)) as ws:
            await ws.send("there is room again")


async def free(server: Any) -> None:
    """Wait until the server has no connection."""
    while server._tasks:
        await asyncio.sleep(0.001)


@in_loop
async def test_connections_of_an_address() -> None:
    limits = Limits(max_connections_per_address=1)
    called = 0

    def process_request(connection: Any, request: Any) -> None:
        nonlocal called
        called += 1

    async with serve(echo, HOST, 0, limits=limits, process_request=process_request) as server:
        async with connect(uri_of(server)):
            with pytest.raises(InvalidStatus) as caught:
                await connect(uri_of(server))
            assert caught.value.response.status_code == 429
            async with connect(uri_of(server), local_addr=("127.0.0.2", 0)) as other:
                await other.send("another address")
                assert await other.recv() == "another address"
        assert called == 2, "a refused one takes nothing of the application's time"


@in_loop
async def test_half_a_handshake_counts() -> None:
    """Or a peer could hold any number of sockets for ``open_timeout``."""
    async with serve(echo, HOST, 0, limits=Limits(max_connections=1)) as server, tcp_client(server) as peer:
        peer.writer.write(b"GET / HTTP/1.1\r\n")
        while not server._tasks:
            await asyncio.sleep(0.001)
        with pytest.raises(InvalidStatus):
            await connect(uri_of(server))


@in_loop
async def test_head_of_a_request() -> None:
    async with serve(echo, HOST, 0, limits=Limits(max_head_size=1000)) as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(uri_of(server), additional_headers={"Cookie": "x" * 1000})
        assert caught.value.response.status_code == 431


@in_loop
async def test_head_of_a_response() -> None:
    async def script(peer: Any) -> None:
        await accept(peer, "X-Long: " + "x" * 1000)
        await peer.eof()

    async with tcp_server(script) as server:
        with pytest.raises(SecurityError, match="the head of the response is larger than 1000 bytes"):
            await connect(uri_of(server), limits=Limits(max_head_size=1000))


@in_loop
async def test_time_for_the_handshake() -> None:
    async with serve(echo, HOST, 0, limits=Limits(open_timeout=0.01)) as server, tcp_client(server) as peer:
        await peer.eof()

    async def silent(peer: Any) -> None:
        await peer.read_head()
        await peer.eof()

    async with tcp_server(silent) as other:
        with pytest.raises(HandshakeTimeout, match=r"0\.01 s"):
            await connect(uri_of(other), limits=Limits(open_timeout=0.01))


@in_both_loops
async def test_messages_per_second() -> None:
    """None is lost, and the others are served."""
    limits = Limits(max_messages_per_second=100)
    async with serve(echo, HOST, 0, limits=limits) as server, connect(uri_of(server)) as ws:
        start = asyncio.get_running_loop().time()
        for number in range(120):
            await ws.send(str(number))
        assert [await ws.recv() for _ in range(120)] == [str(number) for number in range(120)]
        await ws.send("last")
        assert await ws.recv() == "last"
        assert asyncio.get_running_loop().time() - start > 0.15


@in_loop
async def test_messages_that_wait_in_a_client() -> None:
    async def script(peer: Any) -> None:
        peer.send_text(*"0123456789")
        await answer_close(peer)

    limits = Limits(max_queue=(5, 2))
    async with raw_server(script) as server, connect(uri_of(server), limits=limits) as ws:
        while not ws.is_reading_paused:
            await asyncio.sleep(0.001)
        for number in range(10):
            assert await ws.recv() == str(number)
        assert not ws.is_reading_paused


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_size": 1}, "max_message_size and max_frame_size"),
        ({"max_size": None}, "max_message_size and max_frame_size"),
        ({"max_queue": 1}, "max_queue"),
        ({"open_timeout": 1}, "open_timeout"),
    ],
)
@in_loop
async def test_two_words_for_one_limit_are_a_type_error(arguments: Any, named: str) -> None:
    [name] = arguments
    for call in (
        lambda: connect("ws://a/", limits=Limits(), **arguments),
        lambda: serve(echo, limits=Limits(), **arguments),
    ):
        with pytest.raises(TypeError, match=rf"^\w+\(\) got limits and {name}: set {named} in the limits$"):
            call()


@in_loop
async def test_limits_of_another_type() -> None:
    with pytest.raises(TypeError, match=r"^limits must be a wsfast\.Limits, not a dict$"):
        serve(echo, limits={})  # type: ignore[arg-type]
