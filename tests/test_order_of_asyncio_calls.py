"""Random orders of the calls of a connection, each of which may be cancelled at any await.

Whatever the order: a message is received once, in its place, and what is written is a stream of whole frames and
messages. Every call ends once the connection does. A failure prints its seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import get_args

import pytest
from asyncio_helpers import Received, Wired, all_done, both_roles, run, take_all, wire
from helpers import CLOSE, CONTINUATION, PING, PONG, TEXT

from wsfast.asyncio.broadcasting import Policy, broadcast
from wsfast.connection import ReadyState
from wsfast.events import Role
from wsfast.exceptions import ConcurrencyError, ConnectionClosed

N_SEEDS = 40
N_STEPS = 60


class Play:
    """One connection, and what was asked of it."""

    def __init__(self, role: Role, seed: int) -> None:
        self.random = random.Random(seed)
        self.wired: Wired = wire(
            role,
            max_queue=self.random.choice([1, 4, 16]),
            close_timeout=1,
            ping_interval=self.random.choice([None, 3]),
            ping_timeout=1,
        )
        self.connection = self.wired.connection
        self.tasks: list[asyncio.Task[None]] = []
        self.received: list[str | bytes] = []
        self.n_fed = 0
        self.sent: list[str] = []  # texts whose send() returned
        self.n_asked = 0
        self.has_coalesced = False
        self.broadcasts: list[str] = []  # in the order of the calls
        self.has_closed = False
        self.written: list[Received] = []

    # Calls of the application

    def start(self, call: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            with contextlib.suppress(ConnectionClosed, ConcurrencyError):
                await call()

        self.tasks.append(asyncio.create_task(guarded()))

    async def recv(self) -> None:
        self.received.append(await self.connection.recv())

    async def send(self) -> None:
        self.n_asked += 1
        text = f"text {self.n_asked}"
        await self.connection.send(text)
        self.sent.append(text)

    async def send_fragments(self) -> None:
        self.n_asked += 1
        text = f"fragments {self.n_asked}"

        async def fragments() -> AsyncIterator[str]:
            for letter in text:
                yield letter
                await asyncio.sleep(self.random.choice([0, 0, 0.01]))

        await self.connection.send(fragments() if self.random.random() < 0.5 else list(text))
        self.sent.append(text)

    async def send_batch(self) -> None:
        with self.connection.batch():
            await self.send()
            await self.send()

    def broadcast(self) -> None:
        self.n_asked += 1
        text = f"broadcast {self.n_asked}"
        slow = self.random.choice([*get_args(Policy)])
        report = broadcast(
            [self.connection], text, slow=slow, coalesce=self.random.choice([None, None, "key"])
        )
        self.has_coalesced |= bool(report.coalesced)
        self.broadcasts.append(text)
        if report.sent:
            self.sent.append(text)
        if slow == "wait":
            self.start(report._wait)  # type: ignore[arg-type]

    async def ping(self) -> None:
        await (await self.connection.ping())

    async def pong(self) -> None:
        await self.connection.pong(b"unasked")

    async def close(self) -> None:
        self.has_closed = True
        await self.connection.close(self.random.choice([1000, 4000]))

    async def wait_closed(self) -> None:
        await self.connection.wait_closed()

    # What happens to it

    def cancel(self) -> None:
        if self.tasks:
            self.random.choice(self.tasks).cancel()

    def feed(self) -> None:
        if self.wired.transport.is_closing() or not self.wired.transport.reading:
            return
        frames = []
        for _ in range(self.random.randrange(1, 6)):
            frames.append(self.wired.frame(TEXT, f"{self.n_fed}"))
            self.n_fed += 1
            if self.random.random() < 0.2:
                frames.append(self.wired.frame(self.random.choice([PING, PONG]), b"p"))
        self.wired.receive(*frames)

    def block(self) -> None:
        if not self.wired.transport.is_closing() and not self.connection._blocked:
            self.connection.pause_writing()

    def unblock(self) -> None:
        if self.connection._blocked:
            self.connection.resume_writing()

    def end(self) -> None:
        """The peer ends the connection, in some way."""
        transport = self.wired.transport
        if transport.is_closing():
            return
        how = self.random.choice(["close", "eof", "reset", "fault"])
        if how == "reset":
            transport.break_off(ConnectionResetError("reset"))
        elif how == "eof":
            transport.receive_eof()
        else:
            self.wired.receive(self.wired.close_frame() if how == "close" else b"\xff\xff")
            transport.receive_eof()

    async def run(self) -> None:
        often = [self.recv, self.send, self.feed, self.cancel, self.send, self.recv, self.feed]
        seldom = [self.send_fragments, self.ping, self.pong, self.block, self.unblock, self.unblock]
        seldom += [self.broadcast, self.send_batch]
        rare = [self.close, self.wait_closed]
        for step in range(N_STEPS):
            of = often if self.random.random() < 0.7 else seldom
            call = self.random.choice(rare if step > N_STEPS // 2 and self.random.random() < 0.05 else of)
            if asyncio.iscoroutinefunction(call):
                self.start(call)
            else:
                call()
            for _ in range(self.random.randrange(3)):
                await asyncio.sleep(0)
        await all_done()
        self.unblock()
        if self.connection._n_holds:  # a block of batch() that waited ends now, and writes what it holds
            await all_done()
            self.unblock()
        self.end()
        await self.connection.wait_closed()
        _, running = await asyncio.wait(self.tasks, timeout=5)
        assert not running, running
        for task in self.tasks:
            assert task.cancelled() or task.exception() is None, task.exception()
        rest, _ = await take_all(self.connection)
        self.received += rest
        self.check()

    def check(self) -> None:
        assert self.connection.ready_state is ReadyState.CLOSED
        assert self.connection.next_deadline() is None
        fed = [f"{number}" for number in range(self.n_fed)]
        # What has no room after our own Close is dropped, and all after it.
        closed = self.has_closed or self.connection.protocol.close_sent is not None
        assert self.received == fed[: len(self.received)]
        assert closed or self.received == fed
        texts, message = [], None
        frames = self.wired.transport.take()
        for frame in frames:
            if frame.opcode == TEXT:
                assert message is None, "5.4: a message inside a message of fragments"
                message = b""
            if frame.opcode in (TEXT, CONTINUATION):
                assert message is not None
                message += frame.payload
                if frame.fin:
                    texts.append(message.decode())
                    message = None
        numbers = [self.broadcasts.index(text) for text in texts if text in self.broadcasts]
        assert len(set(numbers)) == len(numbers), "none is written twice"
        if not self.has_coalesced:
            assert numbers == sorted(numbers)
        assert [frame.opcode for frame in frames if frame.opcode == CLOSE] in ([], [CLOSE])
        assert CLOSE not in [frame.opcode for frame in frames[:-1]], "5.5.1: nothing is sent after it"
        assert not set(self.sent) - set(texts), "a send that returned was written"


@pytest.mark.parametrize("first", range(0, 400, N_SEEDS))
@both_roles
def test_no_message_is_lost_and_no_stream_broken(role: Role, first: int) -> None:
    for seed in range(first, first + N_SEEDS):

        async def play(seed: int = seed) -> None:
            await Play(role, seed).run()

        try:
            run(play(), "clockless")
        except BaseException:
            print("seed", seed)
            raise
