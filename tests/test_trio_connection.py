"""A connection on trio, byte by byte over memory, in both roles and with both codecs; time jumps."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from asyncio_helpers import Received, close, text
from helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, join, splits
from trio_helpers import Peer, echo, in_memory, joined

from wsfast.connection import Connection as Protocol
from wsfast.events import CloseCause, Role
from wsfast.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ProtocolError,
)
from wsfast.limits import Limits
from wsfast.trio import Connection

both_roles = pytest.mark.parametrize("role", list(Role), ids=["client", "server"])


async def taken(ws: Any) -> list[str | bytes]:
    return [message async for message in ws]


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


# Messages


@both_roles
@in_memory
async def test_messages_both_ways(role: Role, codec: Any) -> None:
    """RFC 6455 5.6."""
    async with joined(role, codec) as (ws, peer):
        await peer.send(peer.frame(TEXT, "안녕"), peer.frame(BINARY, b"\xff"))
        assert await ws.recv() == "안녕"
        assert await ws.recv() == b"\xff"
        await ws.send("Grüße")
        await ws.send(bytearray(b"\x00"))
        assert await peer.receive() == text("Grüße")
        assert await peer.receive() == Received(BINARY, b"\x00")


@both_roles
@in_memory
async def test_any_chunks(role: Role, codec: Any) -> None:
    """However the bytes are cut."""
    texts = ["", "x" * 200, "한국어"]
    stream = join(*(Peer(None, role).frame(TEXT, each) for each in texts))  # type: ignore[arg-type]
    for chunks in list(splits(stream))[::7]:
        async with joined(role, codec) as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(send_chunks, peer, chunks)
            assert [await ws.recv() for _ in texts] == texts


async def send_chunks(peer: Peer, chunks: list[bytes]) -> None:
    for chunk in chunks:
        await peer.stream.send_all(chunk)
        await settle()


@in_memory
async def test_decode() -> None:
    async with joined() as (ws, peer):
        await peer.send(peer.frame(TEXT, "a"), peer.frame(BINARY, b"b"))
        assert await ws.recv(decode=False) == b"a"
        assert await ws.recv(decode=True) == "b"
        await peer.send(peer.frame(TEXT, "a"), peer.frame(BINARY, b"b"), peer.frame(BINARY, b"\xff"))
        assert await ws.recv(decode=True) == "a"
        assert await ws.recv(decode=False) == b"b"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.rest)
            with pytest.raises(ConnectionClosedError) as closed:
                await ws.recv(decode=True)
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1007


@both_roles
@in_memory
async def test_fragments_out(role: Role) -> None:
    """RFC 6455 5.4."""

    async def slowly() -> Any:
        for part in ("ab", "", "c"):
            await trio.sleep(1)
            yield part

    async with joined(role) as (ws, peer):
        await ws.send([b"1", b"2"])
        await ws.send(slowly())
        frames = [await peer.receive() for _ in range(7)]
        assert [(each.opcode, each.payload, each.fin) for each in frames] == [
            (BINARY, b"1", False),
            (CONTINUATION, b"2", False),
            (CONTINUATION, b"", True),
            (TEXT, b"ab", False),
            (CONTINUATION, b"", False),
            (CONTINUATION, b"c", False),
            (CONTINUATION, b"", True),
        ]


@in_memory
async def test_others_wait_for_the_end_of_fragments_and_pings_do_not() -> None:
    async def parts() -> Any:
        yield "a"
        await trio.sleep(5)
        yield "b"

    async with joined() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, parts())
        await settle()
        assert ws.is_fragmenting
        nursery.start_soon(ws.send, "after")
        await ws.ping(b"now")
        opcodes = [(await peer.receive()).opcode for _ in range(5)]
        assert opcodes == [TEXT, PING, CONTINUATION, CONTINUATION, TEXT]


@in_memory
async def test_what_is_no_message() -> None:
    async with joined() as (ws, _):
        with pytest.raises(TypeError, match="dict"):
            await ws.send({"a": 1})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not int"):
            await ws.send(1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="UTF-8"):
            await ws.send(b"\xff", text=True)


@in_memory
async def test_parts_come_before_the_end_of_the_message() -> None:
    """RFC 6455 5.4."""
    async with joined() as (ws, peer):
        await peer.send(peer.frame(TEXT, "a", fin=False))
        parts = ws.recv_streaming()
        assert await anext(parts) == "a"
        with pytest.raises(ConcurrencyError):
            await ws.recv()
        await peer.send(peer.frame(CONTINUATION, "b"), peer.frame(TEXT, "next"))
        assert [part async for part in parts] == ["b"]
        assert await ws.recv() == "next"


@in_memory
async def test_a_message_that_is_given_up() -> None:
    async with joined() as (ws, peer):
        await peer.send(peer.frame(TEXT, "a", fin=False))
        parts = ws.recv_streaming()
        with trio.move_on_after(1):
            await anext(parts)
            await anext(parts)
        del parts
        await peer.send(peer.frame(CONTINUATION, "b"), peer.frame(TEXT, "next"))
        assert await ws.recv() == "next"


@in_memory
async def test_a_block_goes_out_in_one_write() -> None:
    async with joined() as (ws, peer):
        with ws.batch():
            await ws.send("a")
            await ws.send("b")
            await settle()
            assert ws.stats().batch_size > 0
        data = await peer.stream.receive_some(100)
        assert len(data) == 6
        peer.received += data
        assert [await peer.receive(), await peer.receive()] == [text("a"), text("b")]


# Pings


@both_roles
@in_memory
async def test_pings_are_answered_while_nobody_receives(role: Role) -> None:
    """RFC 6455 5.5.2."""
    async with joined(role) as (_, peer):
        await peer.ping(b"hello")
        assert await peer.receive() == Received(PONG, b"hello")


@in_memory
async def test_ping_and_its_pong() -> None:
    async with joined() as (ws, peer):
        answer = await ws.ping("x")
        assert not answer.is_set()
        with pytest.raises(ConcurrencyError):
            await ws.ping("x")
        with pytest.raises(ValueError, match="125"):
            await ws.ping(b"x" * 126)
        await trio.sleep(2)
        await peer.pong(b"x")
        assert await answer.wait() == await answer == ws.latency == 2
        assert answer.is_set()
        await ws.pong("unsolicited")
        assert [(await peer.receive()).opcode, (await peer.receive()).opcode] == [PING, PONG]


@in_memory
async def test_a_ping_without_a_pong() -> None:
    async with joined() as (ws, peer):
        lost, closed = await ws.ping(), await ws.ping(ack_on_close=True)
        await peer.stream.aclose()
        await closed.wait()
        with pytest.raises(ConnectionClosedError):
            await lost
        assert closed.is_set()
        assert not lost.is_set()


@in_memory
async def test_keepalive_fails_a_silent_peer() -> None:
    async with joined(ping_interval=20, ping_timeout=5, close_timeout=3) as (ws, peer):
        with pytest.raises(ConnectionClosedError) as closed:
            await ws.recv()
        # 20 s, twice 5 s, as the Ping left the writer meanwhile, and 3 s for TCP.
        assert trio.current_time() == 33
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1011
        assert isinstance(closed.value.__cause__, TimeoutError)
        assert closed.value.cause is CloseCause.KEEPALIVE
        assert [each.opcode for each in await peer.rest()] == [PING, CLOSE]


@in_memory
async def test_keepalive_keeps_a_peer_that_answers() -> None:
    async with joined(ping_interval=20, ping_timeout=5) as (ws, peer):
        with trio.move_on_after(3600):
            while True:
                await peer.pong((await peer.receive()).payload)
        assert ws.stats().round_trips.n == 179
        assert ws.close_code is None


# Back-pressure


@in_memory
async def test_reading_pauses_and_goes_on() -> None:
    """The session's table: session/receiving.py."""
    async with joined(max_queue=4) as (ws, peer):
        await peer.text(*"abcde")
        await settle()
        assert ws.is_reading_paused
        await peer.text("f")
        await settle()
        assert ws.stats().n_queued == 5
        assert [await ws.recv() for _ in range(6)] == list("abcdef")
        assert not ws.is_reading_paused


@in_memory
async def test_a_chunk_of_many_messages_is_decoded_in_turns() -> None:
    async with joined(max_feed_events=8, max_queue=4) as (ws, peer):
        texts = [str(number) for number in range(100)]
        await peer.text(*texts)
        await peer.close()
        assert await taken(ws) == texts


@in_memory
async def test_messages_per_second() -> None:
    async with joined(limits=Limits(max_messages_per_second=10), max_queue=None) as (ws, peer):
        await peer.text(*map(str, range(50)))
        await settle()
        assert ws.is_reading_paused
        await peer.text("after")
        for _ in range(50):
            await ws.recv()
        assert await ws.recv() == "after"
        assert 3.9 < trio.current_time() < 6


def full(stream: Any) -> None:
    """Let a memory stream take nothing more, until it is told to."""
    gate = trio.Event()
    pump = stream.send_stream.send_all_hook

    async def wait_and_pump() -> None:
        await gate.wait()
        await pump()

    stream.send_stream.send_all_hook = wait_and_pump
    stream.open_gate = gate.set


@in_memory
async def test_a_sender_waits_before_it_writes() -> None:
    """Cancelled, it has sent nothing."""
    async with joined(write_limit=100, ping_interval=None) as (ws, peer):
        full(ws.stream)
        await ws.send("a" * 200)  # there is room before it
        assert ws.stats().is_writing_blocked
        with trio.move_on_after(1) as waiting:
            await ws.send("b")
        assert waiting.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "c")
            await settle()
            ws.stream.open_gate()  # type: ignore[attr-defined]
        await peer.receive()
        assert await peer.receive() == text("c")


@in_memory
async def test_a_sender_hears_of_the_end_while_it_waits() -> None:
    async with joined(write_limit=100, ping_interval=10, ping_timeout=10, close_timeout=1) as (ws, _):
        full(ws.stream)
        await ws.send("a" * 200)
        with pytest.raises(ConnectionClosedError) as closed:
            await ws.send("b")
        assert isinstance(closed.value.__cause__, TimeoutError)
        assert trio.current_time() < 60


# The end


@both_roles
@in_memory
async def test_we_close(role: Role, codec: Any) -> None:
    """RFC 6455 7.1.2."""
    async with joined(role, codec) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 1001, "bye")
        assert await peer.receive() == close(1001, "bye")
        await peer.close(1001, "bye")
        if role is Role.CLIENT:
            await peer.stream.aclose()
        else:
            assert await peer.rest() == []
            await peer.stream.aclose()
        await ws.wait_closed()
        assert (ws.close_code, ws.close_reason) == (1001, "bye")
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()
        with pytest.raises(ConnectionClosedOK):
            await ws.send("x")
        await ws.aclose()
        await ws.close()


@both_roles
@in_memory
async def test_the_peer_closes(role: Role, codec: Any) -> None:
    """RFC 6455 5.5.1: what came before its Close is received."""
    async with joined(role, codec) as (ws, peer), trio.open_nursery() as nursery:
        await peer.text("a", "b")
        await peer.close(1000)
        nursery.start_soon(end_tcp, peer)
        assert await taken(ws) == ["a", "b"]
        assert ws.close_code == 1000


async def end_tcp(peer: Peer) -> None:
    """Read on to our Close, and end TCP."""
    await peer.receive()
    await peer.stream.aclose()


@both_roles
@in_memory
async def test_a_fault_of_the_peer(role: Role, codec: Any) -> None:
    """RFC 6455 7.1.7: what came before it is received."""
    async with joined(role, codec) as (ws, peer), trio.open_nursery() as nursery:
        await peer.text("good")
        await peer.send(b"\xff" * 20)
        nursery.start_soon(end_tcp, peer)
        assert await ws.recv() == "good"
        with pytest.raises(ConnectionClosedError) as closed:
            await ws.recv()
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1002


@in_memory
async def test_a_peer_that_never_closes() -> None:
    async with joined(close_timeout=7) as (ws, _):
        await ws.aclose()
        assert trio.current_time() == 7
        with pytest.raises(ConnectionClosedError) as closed:
            await ws.recv()
        assert isinstance(closed.value.__cause__, TimeoutError)


@both_roles
@in_memory
async def test_the_peer_ends_tcp(role: Role, codec: Any) -> None:
    async with joined(role, codec) as (ws, peer):
        await peer.text("last")
        await peer.stream.aclose()
        assert await ws.recv() == "last"
        with pytest.raises(ConnectionClosedError):
            await ws.recv()
        assert ws.close_code == 1006


@in_memory
async def test_wrong_close_codes() -> None:
    async with joined() as (ws, _):
        for code, reason in ((1005, ""), (1006, ""), (999, ""), (1000, "x" * 124)):
            with pytest.raises(ProtocolError):
                await ws.aclose(code, reason)
        assert ws.close_code is None


# Cancellation and checkpoints


@in_memory
async def test_every_call_is_a_checkpoint() -> None:
    async with joined() as (ws, peer):
        await peer.text("a", "b", "c", "d")
        await settle()
        for call in (ws.recv, lambda: anext(aiter(ws)), lambda: ws.send("x"), ws.ping, ws.pong):
            with trio.testing.assert_checkpoints():
                await call()
        parts = ws.recv_streaming()
        with trio.testing.assert_checkpoints():
            await anext(parts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.rest)
            await peer.close()
            with trio.testing.assert_checkpoints():
                await ws.wait_closed()
        for call in (ws.wait_closed, ws.aclose):
            with trio.testing.assert_checkpoints():
                await call()


@in_memory
async def test_a_call_that_is_cancelled_has_done_nothing() -> None:
    async with joined() as (ws, peer):
        await peer.text("a", "b")
        await settle()
        for call in (ws.recv, lambda: ws.send("x"), ws.ping, ws.pong):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        assert await ws.recv() == "a"
        await ws.send("after")
        assert await peer.receive() == text("after")


@in_memory
async def test_recv_that_is_cancelled_loses_nothing() -> None:
    async with joined() as (ws, peer):
        for number in range(20):
            with trio.move_on_after(1) as waiting:
                await ws.recv()
            assert waiting.cancelled_caught
            async with trio.open_nursery() as nursery:
                # The message and the cancellation come in the same turn.
                nursery.start_soon(peer.text, str(number))
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, number % 5)
                    got = await ws.recv()
                    assert got == str(number)
                if scope.cancelled_caught:
                    assert await ws.recv() == str(number)


async def cancel_after(scope: trio.CancelScope, n_turns: int) -> None:
    for _ in range(n_turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@in_memory
async def test_two_receivers() -> None:
    async with joined() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.recv)
        await settle()
        with pytest.raises(ConcurrencyError):
            await ws.recv()
        await peer.text("x")


@in_memory
async def test_fragments_that_are_cancelled_fail_the_connection() -> None:
    async def parts() -> Any:
        yield "a"
        await trio.sleep_forever()

    async with joined(close_timeout=1) as (ws, peer):
        with trio.move_on_after(1):
            await ws.send(parts())
        assert (await peer.receive()).payload == b"a"
        assert (await peer.receive()) == close(1011, "error in fragmented message")
        with pytest.raises(ConnectionClosed):
            await ws.send("x")


@in_memory
async def test_a_generator_of_fragments_is_closed() -> None:
    """trio warns of one that is left in the middle."""
    closed = []

    async def parts() -> Any:
        try:
            yield "a"
            yield 1
        finally:
            closed.append(True)

    async with joined(close_timeout=1) as (ws, _):
        with pytest.raises(TypeError):
            await ws.send(parts())
        assert closed


@in_memory
async def test_aclose_that_is_cancelled_cuts() -> None:
    """As trio.abc.AsyncResource has it."""
    async with joined(close_timeout=None) as (ws, peer):
        with trio.move_on_after(1) as scope:
            await ws.aclose()
        assert scope.cancelled_caught
        await ws.wait_closed()
        assert [each.opcode for each in await peer.rest()] == [CLOSE]
    async with joined(close_timeout=None) as (ws, _):
        await trio.aclose_forcefully(ws)
        await ws.wait_closed()


@in_memory
async def test_a_task_that_is_cancelled_tells_the_peer() -> None:
    """Whoever cancels the nursery of a connection leaves: 1001."""
    ours, theirs = trio.testing.memory_stream_pair()
    ws = Connection(Protocol(Role.SERVER), ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.run)
        await settle()
        ws._opened(b"")
        nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionClosed) as closed:
        await ws.recv()
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1001
    await theirs.aclose()


@in_memory
async def test_echo_of_many() -> None:
    async with joined() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(echo, ws)
        for number in range(500):
            await peer.text(str(number))
            assert await peer.receive() == text(str(number))
        await peer.close()
        await end_tcp(peer)


@in_memory
async def test_parts_next_to_a_task_in_recv_are_refused() -> None:
    """And take nothing from it: its message came in parts, which nobody waited for."""
    async with joined() as (ws, peer), trio.open_nursery() as nursery:
        received: list[Any] = []

        async def receive() -> None:
            received.append(await ws.recv())

        nursery.start_soon(receive)
        await settle()
        second = ws.recv_streaming()
        with pytest.raises(ConcurrencyError, match="already waiting"):
            await anext(second)
        await peer.send(peer.frame(TEXT, "a", fin=False), peer.frame(CONTINUATION, "b"))
        await settle()
        assert received == ["ab"]
