"""A task that waits in ``recv`` goes on inside the read that has its message, and otherwise as with a future."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
from asyncio_helpers import Wired, all_done, both_roles, echo, text, wire, without_io

from wsfast.asyncio.waking import Waiter
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosed


async def in_a_callback(call: Callable[[], Any]) -> Any:
    """Call where no task runs, as a transport does; return the result."""
    result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: result.set_result(call()))
    return await result


def receive_and_take(wired: Wired, *texts: str) -> Callable[[], Any]:
    def call() -> Any:
        wired.receive_text(*texts)
        return wired.transport.take()

    return call


@both_roles
@without_io
async def test_answer_is_written_inside_the_read(role: Role) -> None:
    wired = wire(role)
    echoing = asyncio.create_task(echo(wired.connection))
    await all_done()
    for number in range(3):
        assert await in_a_callback(receive_and_take(wired, f"{number}")) == [text(f"{number}")]
    # Several of a read are one step, too: it ends where the task waits.
    assert await in_a_callback(receive_and_take(wired, "a", "b", "c")) == [text("a"), text("b"), text("c")]
    await in_a_callback(wired.receive_close)
    await wired.finish()
    await echoing


@without_io
async def test_while_a_task_runs_the_other_goes_on_at_the_next_turn() -> None:
    """asyncio refuses a step inside a step."""
    wired = wire(Role.SERVER)
    echoing = asyncio.create_task(echo(wired.connection))
    await all_done()
    wired.receive_text("a")
    assert wired.transport.take() == []
    await all_done()
    assert wired.transport.take() == [text("a")]
    assert await in_a_callback(receive_and_take(wired, "b")) == [text("b")]
    await in_a_callback(wired.receive_close)
    await wired.finish()
    await echoing


@without_io
async def test_task_goes_on_in_its_own_context() -> None:
    name = contextvars.ContextVar("name", default="reader")
    seen: list[str] = []
    wired = wire(Role.SERVER)

    async def handler() -> None:
        name.set("handler")
        while True:
            await wired.connection.recv()
            seen.append(name.get())

    handling = asyncio.create_task(handler())
    await all_done()
    await in_a_callback(receive_and_take(wired, "a"))
    await in_a_callback(receive_and_take(wired, "b"))
    assert seen == ["handler", "handler"]
    assert name.get() == "reader"
    await in_a_callback(wired.receive_close)
    await wired.finish()
    with pytest.raises(ConnectionClosed):
        await handling


@without_io
async def test_cancelled_and_message_in_the_same_turn() -> None:
    """Whichever comes first: no message is lost, and the object is not used again before its callback was called."""
    wired = wire(Role.SERVER)
    for message_first in (True, False):
        receiving = asyncio.create_task(wired.connection.recv())
        await all_done()

        def both(receiving: asyncio.Task[Any] = receiving, message_first: bool = message_first) -> None:
            if message_first:
                wired.receive_text("a")
            receiving.cancel("enough")
            if not message_first:
                wired.receive_text("a")

        await in_a_callback(both)
        second = asyncio.create_task(wired.connection.recv())
        if message_first:
            assert await receiving == "a"  # it was done before
            await in_a_callback(receive_and_take(wired, "b"))
            assert await second == "b"
        else:
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await receiving
            assert await second == "a"


@without_io
async def test_time_limit_ends_the_wait_and_the_next_goes_on() -> None:
    wired = wire(Role.SERVER)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await wired.connection.recv()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wired.connection.recv(), 1)
        waiting = asyncio.create_task(wired.connection.recv())
        await asyncio.wait([waiting], timeout=1)
        await in_a_callback(receive_and_take(wired, "a"))
        assert await waiting == "a"


@without_io
async def test_handler_that_closes_inside_the_read() -> None:
    wired = wire(Role.SERVER)

    async def handler() -> None:
        await wired.connection.recv()
        await wired.connection.close(1001)

    handling = asyncio.create_task(handler())
    await all_done()
    sent = await in_a_callback(receive_and_take(wired, "a", "b"))
    assert [frame.opcode for frame in sent] == [8]
    await in_a_callback(lambda: wired.receive_close(1001))
    await wired.finish()
    await handling


@without_io
async def test_close_of_the_peer_and_its_messages_in_one_read() -> None:
    """The step comes after all of the read: messages first, then the end."""
    wired = wire(Role.SERVER)
    seen: list[Any] = []

    async def handler() -> None:
        try:
            while True:
                seen.append(await wired.connection.recv())
        except ConnectionClosed as closed:
            seen.append(closed.rcvd and closed.rcvd.code)

    handling = asyncio.create_task(handler())
    await all_done()
    await in_a_callback(
        lambda: wired.receive(wired.frame(1, "a"), wired.frame(1, "b"), wired.close_frame(1000))
    )
    await wired.finish()
    await handling
    assert seen == ["a", "b", 1000]


@without_io
async def test_waiter_that_is_done_before_it_is_awaited() -> None:
    waiter = Waiter(asyncio.get_running_loop())
    waiter.wake()
    await waiter
    assert waiter.done()
    assert not waiter.cancel()
    assert asyncio.ensure_future(waiter) is waiter  # its loop is found
