"""``broadcast`` on asyncio: its report, and its policies for peers that read slowly. The policies are the session's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncio_helpers import FakeTransport, Wired, in_both_loops, port_of, text, turns, wire, without_io

import wsfast
from wsfast.asyncio import BroadcastReport, ServerConnection, broadcast, serve
from wsfast.asyncio.broadcasting import Outcome
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosed


def slow_wire(role: Role = Role.SERVER) -> Wired:
    wired = wire(role)
    wired.connection.pause_writing()
    return wired


@without_io
async def test_the_report_counts_each_connection_once(caplog: pytest.LogCaptureFixture) -> None:
    reading, slow, closed, cut, fragmenting = (
        wire(Role.SERVER),
        slow_wire(),
        *(wire(Role.SERVER) for _ in range(3)),
    )
    closed.receive_close()
    await closed.finish()
    cut.transport.close()

    async def fragments() -> Any:
        yield "a"
        await asyncio.sleep(10)

    sending = asyncio.create_task(fragmenting.connection.send(fragments()))
    await turns(3)
    everyone = [wired.connection for wired in (reading, slow, closed, cut, fragmenting)]
    report = broadcast(iter(everyone), "x", slow="drop_newest")
    assert (report.sent, report.waiting, report.closed, report.skipped) == (1, 1, 2, 1)
    assert (report.dropped, report.failed, report.coalesced, report.displaced) == (0, 0, 0, 0)
    assert len(report) == 5
    assert repr(report) == "<BroadcastReport: 1 sent, 1 waiting, 2 closed, 1 skipped>"
    assert report.connections(Outcome.WAITING) == [slow.connection]
    assert report.connections(Outcome.CLOSED) == [closed.connection, cut.connection]
    with pytest.raises(ValueError, match="no list"):
        report.connections(Outcome.SENT)
    await sending


@without_io
async def test_the_report_of_nobody() -> None:
    report = broadcast([], "x")
    assert isinstance(report, BroadcastReport)
    assert report, "it is true, so that `if broadcast(...)` asks for nothing by chance"
    assert await report is report
    assert len(report) == report.sent == 0


@without_io
async def test_waiting_for_the_slow_ones() -> None:
    wired, other = slow_wire(), wire(Role.SERVER)
    report = broadcast([wired.connection, other.connection], "x", slow="wait")
    waiting = asyncio.create_task(report._wait())
    await turns(3)
    assert not waiting.done()
    assert wired.transport.writes == []
    wired.connection.resume_writing()
    assert await waiting is report
    assert wired.transport.take() == other.transport.take() == [text("x")]
    assert report.waiting == 1, "as it was when broadcast returned"


@without_io
async def test_waiting_does_not_wait_for_later_messages() -> None:
    class Narrow(FakeTransport):
        def write(self, data: Any) -> None:
            super().write(data)
            self.protocol.pause_writing()

    wired = slow_wire()
    wired.transport.__class__ = Narrow
    first, second = (broadcast([wired.connection], message, slow="wait") for message in "ab")
    wired.connection.resume_writing()
    await asyncio.wait_for(first, 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second, 1)
    wired.connection.resume_writing()
    await second
    assert wired.transport.take() == [text("a"), text("b")]


@without_io
async def test_waiting_ends_with_the_connection() -> None:
    wired = slow_wire()
    report = broadcast([wired.connection], "x", slow="wait")
    asyncio.get_running_loop().call_later(5, wired.transport.abort)
    assert await report is report


@without_io
async def test_send_stands_after_what_waits() -> None:
    """Messages stay in the order of the calls."""
    wired = slow_wire()
    broadcast([wired.connection], "1", slow="drop_oldest")
    sending = asyncio.create_task(wired.connection.send("2"))
    pinging = asyncio.create_task(wired.connection.ping(b"?"))
    await turns(3)
    assert wired.transport.writes == []
    wired.connection.resume_writing()
    await sending
    await pinging
    assert wired.transport.take()[:2] == [text("1"), text("2")]
    await wired.connection.send("3")
    assert wired.transport.take() == [text("3")]


@without_io
async def test_a_sender_that_waits_hears_of_the_end() -> None:
    wired = slow_wire()
    broadcast([wired.connection], "1", slow="drop_oldest")
    sending = asyncio.create_task(wired.connection.send("2"))
    await turns(3)
    wired.transport.abort()
    with pytest.raises(ConnectionClosed):
        await sending


@without_io
async def test_a_buffer_is_copied() -> None:
    """The caller may use it again while the message waits."""
    wired = slow_wire()
    message = bytearray(b"first")
    broadcast([wired.connection], message, slow="wait", text=True)
    message[:] = b"other"
    wired.connection.resume_writing()
    assert wired.transport.take() == [text("first")]


@without_io
async def test_text_of_bytes() -> None:
    wired = wire(Role.SERVER)
    broadcast([wired.connection], b"a", text=True)
    assert wired.transport.take() == [text("a")]
    with pytest.raises(ValueError, match=r"."):
        broadcast([wired.connection], b"\xff", text=True)


@without_io
async def test_mistakes() -> None:
    wired = wire(Role.SERVER)
    with pytest.raises(
        ValueError, match="slow must be one of close, wait, drop_newest, drop_oldest, not 'coalesce'"
    ):
        broadcast([wired.connection], "x", slow="coalesce")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        broadcast([wired.connection], "x", coalesce=[])  # type: ignore[arg-type]
    assert wired.transport.writes == []


@pytest.mark.parametrize("slow", ["wait", "drop_newest", "drop_oldest"])
@in_both_loops
async def test_a_slow_peer_over_a_socket(slow: Any) -> None:
    """One that reads nothing holds nobody up, and gets news, in order, when it reads."""
    connected: list[ServerConnection] = []

    async def handler(ws: ServerConnection) -> None:
        connected.append(ws)
        await ws.wait_closed()

    message = "x" * 100_000
    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        uri = f"ws://127.0.0.1:{port_of(server)}/"
        async with wsfast.connect(uri, max_queue=1) as reading, wsfast.connect(uri, max_queue=1) as idle:
            while len(connected) < 2:
                await asyncio.sleep(0.01)
            idle.transport.pause_reading()
            [its] = [ws for ws in connected if ws.remote_address == idle.local_address]
            n_sent = n_slow = 0
            while n_slow < 30:
                report = broadcast(connected, f"{n_sent} {message}", slow=slow)
                assert (await reading.recv()).startswith(f"{n_sent} ")
                n_sent += 1
                n_slow += its._blocked
            assert report.waiting + report.dropped == 1

            async def read_all() -> list[int]:
                numbers = []
                while (received := await idle.recv()) != "last":
                    numbers.append(int(received.split()[0]))
                return numbers

            idle.transport.resume_reading()
            taking = asyncio.create_task(read_all())
            await report
            await broadcast(connected, "last", slow="wait")
            numbers = await taking
            assert numbers == sorted(set(numbers))
            if slow == "wait":
                assert numbers == list(range(n_sent))
            else:
                assert len(numbers) < n_sent
                assert (numbers[-1] == n_sent - 1) is (slow == "drop_oldest")
