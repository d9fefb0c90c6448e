"""The asyncio API, closing: both sides, after queued messages, and silent peers (RFC 6455 5.5.1, 7.1).

On a fake transport, as in ``test_asyncio_connection``.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import ModuleType
from typing import cast

import pytest
from asyncio_helpers import (
    FakeTransport,
    all_done,
    both_roles,
    close,
    echo,
    take_all,
    text,
    turns,
    wire,
    without_io,
)
from helpers import TEXT, counts_references

from wsfast.asyncio.buffered import BufferedReceiver
from wsfast.asyncio.connection import Connection
from wsfast.connection import Connection as Protocol
from wsfast.connection import ReadyState
from wsfast.events import Close, Role
from wsfast.exceptions import ConnectionClosedError, ConnectionClosedOK


@both_roles
@without_io
async def test_close_waits_for_the_peer(role: Role, connection_codec: ModuleType) -> None:
    """7.1.2, 7.1.1: the server closes TCP, the client waits for it."""
    wired = wire(role)
    states = [wired.connection.ready_state]
    closing = asyncio.create_task(wired.connection.close(4999, "작별"))
    await all_done()
    states.append(wired.connection.ready_state)
    assert wired.transport.take() == [close(4999, "작별")]
    assert not closing.done()
    wired.receive_close(4999, "작별")
    await all_done()
    states.append(wired.connection.ready_state)
    assert wired.transport.eof_written is (role is Role.SERVER)
    wired.transport.receive_eof()
    await closing
    states.append(wired.connection.ready_state)
    assert [int(state) for state in states] == [1, 2, 2, 3]
    assert wired.connection.state is wired.connection.ready_state
    assert (wired.connection.close_code, wired.connection.close_reason) == (4999, "작별")
    assert not wired.transport.aborted


@both_roles
@without_io
async def test_close_timeout_cuts_off_a_peer_that_never_answers(role: Role) -> None:
    wired = wire(role, close_timeout=10)
    await wired.connection.close()
    assert asyncio.get_running_loop().time() == pytest.approx(1010)
    assert wired.transport.aborted
    with pytest.raises(ConnectionClosedError) as closed:
        await wired.connection.recv()
    assert (closed.value.rcvd, closed.value.sent) == (None, Close(1000))


@both_roles
@without_io
async def test_close_timeout_cuts_off_a_peer_that_does_not_close_tcp(role: Role) -> None:
    wired = wire(role, close_timeout=10)
    wired.receive_close()
    await wired.connection.wait_closed()
    assert asyncio.get_running_loop().time() == pytest.approx(1010)
    assert wired.transport.aborted
    with pytest.raises(ConnectionClosedOK):
        await wired.connection.recv()


@without_io
async def test_close_timeout_none_waits_for_ever() -> None:
    wired = wire(Role.SERVER, close_timeout=None)
    closing = asyncio.create_task(wired.connection.close())
    await asyncio.sleep(10_000)
    assert not closing.done()
    wired.receive_close()
    await wired.finish()
    await closing


LONGEST = "가" * 41
"""123 bytes of UTF-8, the longest reason (5.5, 5.5.1)."""


@pytest.mark.parametrize("reason", ["", "bye", "x" * 123, LONGEST, "🚀" * 30 + "가"], ids=len)
@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
@both_roles
@without_io
async def test_codes_and_reasons_go_both_ways(
    role: Role, code: int, reason: str, connection_codec: ModuleType
) -> None:
    """7.1.5, 7.1.6: whole, up to the 123rd byte."""
    ours = wire(role)
    closing = asyncio.create_task(ours.connection.close(code, reason))
    await turns(1)
    assert ours.transport.take() == [close(code, reason)]
    await ours.finish()
    await closing

    theirs = wire(role)
    theirs.receive_close(code, reason)
    assert theirs.transport.take() == [close(code, reason)]
    await theirs.finish()
    assert (theirs.connection.close_code, theirs.connection.close_reason) == (code, reason)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *((code, "") for code in (0, 999, 1004, 1006, 1015, 1016, 2999, 5000, -1, 70_000)),
        (1000, "x" * 124),
        (1000, "가" * 42),
        (1000, "\ud800"),
    ],
)
@pytest.mark.parametrize("state", ["open", "closed"])
@without_io
async def test_wrong_code_or_reason_raises_and_changes_nothing(code: int, reason: str, state: str) -> None:
    """7.4: in every state, so that a wrong code is not found only when the peer is slow."""
    wired = wire(Role.SERVER)
    if state == "closed":
        await wired.finish()
    with pytest.raises(ValueError, match=r"code|reason|surrogate"):
        await wired.connection.close(code, reason)
    assert wired.transport.writes == []
    assert wired.connection.ready_state is (ReadyState.OPEN if state == "open" else ReadyState.CLOSED)


@without_io
async def test_all_who_close_or_wait_hear_the_end() -> None:
    wired = wire(Role.SERVER)
    connection = wired.connection
    tasks = [
        asyncio.create_task(coroutine)
        for coroutine in (
            connection.close(1001),
            connection.close(1000),
            connection.wait_closed(),
            connection.wait_closed(),
        )
    ]
    await all_done()
    tasks[2].cancel()
    tasks[0].cancel()
    await all_done()
    assert wired.transport.take() == [close(1001)], "a second close() sends nothing"
    assert [task.done() for task in tasks] == [True, False, True, False]
    wired.receive_close(1001)
    await wired.finish()
    await asyncio.gather(tasks[1], tasks[3])


@without_io
async def test_messages_before_close_can_be_answered(connection_codec: ModuleType) -> None:
    """5.5.1: the Close stands in line. [m1, m2, Close] in one chunk: both are echoed, then comes our Close."""
    wired = wire(Role.SERVER)
    serving = asyncio.create_task(echo(wired.connection))
    await turns(1)
    wired.receive(wired.frame(TEXT, "1"), wired.frame(TEXT, "2"), wired.close_frame(1000))
    wired.transport.receive_eof()
    await serving
    assert wired.transport.take() == [text("1"), text("2"), close(1000)]


@without_io
async def test_messages_before_a_fault_can_be_answered(connection_codec: ModuleType) -> None:
    """7.1.7: [m1, fault] in one chunk: m1 is echoed, then comes our Close with 1002."""
    wired = wire(Role.SERVER)
    serving = asyncio.create_task(echo(wired.connection))
    await turns(1)
    wired.receive(wired.frame(TEXT, "1"), wired.frame(TEXT, "2", rsv=4))
    wired.transport.receive_eof()
    with pytest.raises(ConnectionClosedError) as closed:
        await serving
    frames = wired.transport.take()
    assert frames[0] == text("1")
    assert frames[1].payload[:2] == (1002).to_bytes(2, "big")
    assert closed.value.failure is not None
    assert closed.value.failure.section == "5.2"


@without_io
async def test_a_slow_handler_can_answer_what_came_before_the_close() -> None:
    """Also after the peer closed its half of TCP; as long as messages are taken, within close_timeout."""
    wired = wire(Role.SERVER, close_timeout=10)
    receiving = asyncio.create_task(wired.connection.recv())
    await all_done()
    wired.receive(wired.frame(TEXT, "0"))
    assert await receiving == "0"
    wired.receive(wired.frame(TEXT, "1"), wired.frame(TEXT, "2"), wired.close_frame(1000))
    wired.transport.receive_eof()
    for _ in range(2):
        message = await wired.connection.recv()
        await asyncio.sleep(0.2)
        await wired.connection.send(message)
    with pytest.raises(ConnectionClosedOK):
        await wired.connection.recv()
    assert wired.transport.take() == [text("1"), text("2"), close(1000)]
    assert asyncio.get_running_loop().time() == pytest.approx(1000.4)


@without_io
async def test_a_slow_handler_that_never_had_to_wait_can_answer_too() -> None:
    """All of it was there when the handler began: recv() found it in the queue."""
    wired = wire(Role.SERVER, close_timeout=10)
    wired.receive(wired.frame(TEXT, "1"), wired.frame(TEXT, "2"), wired.close_frame(1000))
    for _ in range(2):
        message = await wired.connection.recv()
        await asyncio.sleep(0.2)
        await wired.connection.send(message)
    assert wired.transport.take() == [text("1"), text("2")]
    receiving = asyncio.create_task(wired.connection.recv())
    await all_done()
    assert wired.transport.take() == [close(1000)]
    await wired.finish()
    with pytest.raises(ConnectionClosedOK):
        await receiving


@both_roles
@without_io
async def test_close_is_answered_at_once_when_nothing_is_queued(role: Role) -> None:
    """5.5.1: as soon as practical; nobody has to receive."""
    wired = wire(role)
    wired.receive_close(3000, "why")
    assert wired.transport.take() == [close(3000, "why")]
    await wired.finish()


@both_roles
@without_io
async def test_close_is_answered_soon_when_nobody_receives(role: Role) -> None:
    """A server that only sends: what its clients say must not keep them waiting for the answer to their Close."""
    wired = wire(role, close_timeout=10)
    wired.receive(wired.frame(TEXT, "never taken"), wired.close_frame())
    assert wired.connection.ready_state is ReadyState.OPEN
    assert await wired.next_write() == [close(1000)]
    assert asyncio.get_running_loop().time() == pytest.approx(1000.25)
    await wired.finish()
    assert await wired.connection.recv() == "never taken"
    with pytest.raises(ConnectionClosedOK):
        await wired.connection.recv()


@without_io
async def test_fault_is_answered_soon_when_nobody_receives() -> None:
    wired = wire(Role.SERVER, close_timeout=10)
    wired.receive(wired.frame(TEXT, "never taken"), wired.frame(3))
    [closing] = await wired.next_write()
    assert closing.payload[:2] == (1002).to_bytes(2, "big")
    await wired.finish()


@both_roles
@without_io
async def test_our_close_is_the_answer_to_one_that_is_in_line(role: Role) -> None:
    wired = wire(role)
    wired.receive(wired.frame(TEXT, "1"), wired.close_frame(1000))
    closing = asyncio.create_task(wired.connection.close(1001, "ours"))
    await all_done()
    assert wired.transport.take() == [close(1001, "ours")]
    await wired.finish()
    await closing
    assert await wired.connection.recv() == "1"
    with pytest.raises(ConnectionClosedOK) as closed:
        await wired.connection.recv()
    assert (closed.value.rcvd, closed.value.sent) == (Close(1000), Close(1001, "ours"))


@without_io
async def test_close_with_a_full_queue_reads_on_to_the_peers_close() -> None:
    """Reading was paused; the peer's Close is behind what we did not read."""
    wired = wire(Role.SERVER, max_queue=2)
    wired.receive_numbers(3)
    assert not wired.transport.reading
    closing = asyncio.create_task(wired.connection.close())
    await turns(1)
    assert wired.transport.reading
    wired.receive_text("late")
    assert wired.transport.reading
    wired.receive_close()
    await wired.finish()
    await closing
    with pytest.raises(ConnectionClosedOK):
        await take_then_raise(wired.connection)


async def take_then_raise(connection: Connection) -> None:
    _, closed = await take_all(connection)
    raise closed


@without_io
async def test_closing_while_the_peer_floods_keeps_memory_bounded(connection_codec: ModuleType) -> None:
    wired = wire(Role.SERVER, max_queue=4)
    closing = asyncio.create_task(wired.connection.close())
    await turns(1)
    for _ in range(50):
        wired.receive_text(*(f"{number}" for number in range(20)))
    assert wired.transport.reading
    wired.receive_close()
    await wired.finish()
    await closing
    messages, closed = await take_all(wired.connection)
    assert len(messages) <= 4
    assert isinstance(closed, ConnectionClosedOK)


@without_io
async def test_messages_that_come_while_closing_have_no_hole() -> None:
    """What is dropped when the queue is full is the rest, and never something in between."""
    wired = wire(Role.SERVER, max_queue=4)
    closing = asyncio.create_task(wired.connection.close())
    await turns(1)
    received = []
    for number in range(0, 30, 3):
        wired.receive_text(*(f"{number + offset}" for offset in range(3)))
        if 9 < number < 20:
            received.append(await wired.connection.recv())
    wired.receive_close()
    await wired.finish()
    await closing
    rest, _ = await take_all(wired.connection)
    received += rest
    assert received == [f"{number}" for number in range(len(received))]


@both_roles
@without_io
async def test_after_our_close_a_fault_of_the_peer_ends_it(role: Role, connection_codec: ModuleType) -> None:
    wired = wire(role, close_timeout=10)
    closing = asyncio.create_task(wired.connection.close())
    await turns(1)
    wired.receive(wired.frame(TEXT, "1"), wired.frame(TEXT, b"\xff"))
    assert wired.transport.take() == [close(1000)]
    await wired.finish()
    await closing
    messages, closed = await take_all(wired.connection)
    assert messages == ["1"]
    assert isinstance(closed, ConnectionClosedError)
    assert closed.failure is not None


@both_roles
@without_io
async def test_close_behind_a_peer_that_does_not_read_ends_by_the_time_limit(role: Role) -> None:
    wired = wire(role, close_timeout=10)
    wired.connection.pause_writing()
    sending = asyncio.create_task(wired.connection.send("x"))
    await all_done()
    await wired.connection.close()
    assert wired.transport.aborted
    with pytest.raises(ConnectionClosedError):
        await sending


@without_io
async def test_close_wakes_the_task_that_receives() -> None:
    wired = wire(Role.SERVER, close_timeout=10)
    receiving = asyncio.create_task(wired.connection.recv())
    iterating = asyncio.create_task(wired.connection.close(1001))
    await all_done()
    wired.receive_close(1001)
    await wired.finish()
    with pytest.raises(ConnectionClosedOK):
        await receiving
    await iterating


@pytest.mark.parametrize(
    ("leave", "code"), [(None, 1000), (ValueError("of the body"), 1011), (asyncio.CancelledError(), 1011)]
)
@without_io
async def test_async_with_closes(leave: BaseException | None, code: int) -> None:
    wired = wire(Role.CLIENT)

    async def body() -> None:
        async with wired.connection as same:
            assert same is wired.connection
            if leave is not None:
                raise leave

    task = asyncio.create_task(body())
    await all_done()
    assert wired.transport.take()[0].payload[:2] == code.to_bytes(2, "big")
    await wired.finish()
    [raised] = await asyncio.gather(task, return_exceptions=True)
    assert type(raised) is type(leave)


class KeepingTransport(FakeTransport):
    """Keeps its protocol after the end, as the transports of Windows' loop do (asyncio/proactor_events.py)."""

    __module__ = "asyncio.fake"  # one of asyncio's own: it receives into our buffer

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.Protocol", protocol)


@counts_references
@both_roles
@without_io
async def test_a_transport_that_keeps_its_protocol_keeps_no_connection(role: Role) -> None:
    """A closed connection dies with its last reference: no cycle waits for the garbage collector."""
    connection = Connection(Protocol(role), ping_interval=None)
    transport = KeepingTransport(connection, role)
    connection.connection_made(transport)
    assert isinstance(transport.protocol, BufferedReceiver)
    transport.break_off(ConnectionResetError("reset"))
    await connection.wait_closed()
    await all_done()
    alive = weakref.ref(connection)
    gc.collect()
    gc.disable()
    try:
        del connection
        assert alive() is None
    finally:
        gc.enable()
