"""Random orders of a listener's calls, inside callbacks and outside, with the peer's frames and turns between them.

Whatever the order: messages, Pings and Pongs come in the order of the wire and none is missing, up to the end that was
chosen; frames go out in the order of the calls; ``on_close`` comes once, as the last; and nothing is logged.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from asyncio_helpers import Received, all_done, turns, without_io
from helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, join
from test_asyncio_listener import Filling, Listening, fill, listen

from wsfast.asyncio import Listener, ListenerConnection
from wsfast.connection import ReadyState
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosed

N_SEEDS = 45

ENDS = ("close", "fail", "abort", "peer's close", "peer's fault", "reset")


class Acting(Listener):
    """Does something by chance in each callback."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.heard: list[Any] = []
        self.sent: list[Received] = []
        self.n_sent = 0
        self.n_opened = 0
        self.closed: list[ConnectionClosed] = []
        self.end: str | None = None
        """How the next callback ends the connection."""
        self.wired: Listening | None = None

    # Callbacks

    def on_open(self, connection: ListenerConnection) -> None:
        self.n_opened += 1

    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        self.note(connection, message)

    def on_ping(self, connection: ListenerConnection, payload: bytes) -> None:
        self.note(connection, (PING, payload))

    def on_pong(self, connection: ListenerConnection, payload: bytes) -> None:
        self.note(connection, (PONG, payload))

    def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
        self.closed.append(closed)

    def on_resume_writing(self, connection: ListenerConnection) -> None:
        self.act(connection)

    def note(self, connection: ListenerConnection, what: Any) -> None:
        assert not self.closed, "a callback after on_close"
        self.heard.append(what)
        if self.end is not None:
            end, self.end = self.end, None
            self.finish(connection, end)
        else:
            self.act(connection)

    # Calls

    def act(self, connection: ListenerConnection) -> None:
        for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3))):
            if connection.ready_state is not ReadyState.OPEN:
                return
            kind = self.chance.choice(
                ("send", "send", "ping", "pong", "fragments", "pause", "resume", "later")
            )
            self.n_sent += 1
            payload = b"%d" % self.n_sent
            if kind == "send":
                connection.send(payload)
                self.sent.append(Received(BINARY, payload))
            elif kind == "ping":
                connection.ping(payload)
                self.sent.append(Received(PING, payload))
            elif kind == "pong":
                connection.pong(b"-" + payload)
                self.sent.append(Received(PONG, b"-" + payload))
            elif kind == "fragments":
                connection.send_fragment(payload)
                connection.send_fragment(payload, True)
                self.sent += [Received(BINARY, payload, False), Received(CONTINUATION, payload)]
            elif kind == "pause":
                connection.pause_reading()
            elif kind == "resume":
                connection.resume_reading()
            else:
                asyncio.get_running_loop().call_later(self.chance.random(), connection.resume_reading)

    def finish(self, connection: ListenerConnection, end: str) -> None:
        if end == "close":
            connection.close()
        elif end == "fail":
            connection.fail(1008)
        elif end == "abort":
            connection.abort()


def events(chance: random.Random, wired: Listening, n: int) -> tuple[list[bytes], list[Any]]:
    """Frames of the peer, and what a listener hears of them."""
    frames: list[bytes] = []
    heard: list[Any] = []
    for number in range(n):
        payload = b"%d" % number
        kind = chance.choice((TEXT, TEXT, BINARY, PING, PONG, CONTINUATION))
        if kind == CONTINUATION:
            frames += [wired.frame(BINARY, payload, fin=False), wired.frame(CONTINUATION, payload)]
            heard.append(payload + payload)
        else:
            frames.append(wired.frame(kind, payload))
            heard.append(payload.decode() if kind == TEXT else payload if kind == BINARY else (kind, payload))
    return frames, heard


async def receive(chance: random.Random, wired: Listening, transport: Filling, data: bytes) -> None:
    """The connection receives the data in chunks, while it reads; between them turns, time, and a peer that reads."""
    while data and not transport.is_closing():
        if transport.reading:
            size = chance.choice((1, 5, 20, 100, 1000))
            wired.connection.data_received(data[:size])
            data = data[size:]
        if transport.is_full and chance.random() < 0.5:
            transport.drain()
        if chance.random() < 0.3:
            await turns(chance.randrange(3))
        if not transport.reading:
            if chance.random() < 0.3:
                wired.connection.resume_reading()
            await asyncio.sleep(chance.random() / 10)


@pytest.mark.parametrize("role", list(Role), ids=["client", "server"])
@without_io
async def test_nothing_is_lost_in_any_order(role: Role) -> None:
    for seed in range(N_SEEDS):
        chance = random.Random(seed)
        listener = Acting(chance)
        wired = listen(listener, role, protocol={"max_feed_events": chance.choice((1, 3, 2048))})
        transport = fill(wired)
        transport.is_full = chance.random() < 0.5
        frames, expected = events(chance, wired, 60)
        await receive(chance, wired, transport, join(*frames))
        for _ in range(200):
            if listener.heard == expected:
                break
            wired.connection.resume_reading()
            if transport.is_full:
                transport.drain()
            await all_done()
        assert listener.heard == expected, seed
        own = [frame for frame in transport.take() if frame.opcode != PONG or frame.payload[:1] == b"-"]
        assert own == listener.sent, seed
        transport.break_off(ConnectionResetError())
        await wired.connection.wait_closed()
        await asyncio.sleep(2)
        assert (listener.n_opened, len(listener.closed)) == (1, 1), seed


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("role", list(Role), ids=["client", "server"])
@without_io
async def test_every_end_in_any_order(role: Role, end: str, caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(N_SEEDS // 2):
        chance = random.Random(seed)
        listener = Acting(chance)
        wired = listen(
            listener, role, close_timeout=1, protocol={"max_feed_events": chance.choice((1, 3, 2048))}
        )
        transport = fill(wired)
        transport.is_full = chance.random() < 0.5
        frames, expected = events(chance, wired, chance.randrange(30))
        more, unexpected = events(chance, wired, 10)
        last = join(
            wired.close_frame() if end == "peer's close" else b"",
            b"\xff" * 10 if end == "peer's fault" else b"",
        )
        await receive(chance, wired, transport, join(*frames))
        if end in ("close", "fail", "abort") and chance.random() < 0.5:
            listener.finish(wired.connection, end)
        elif end in ("close", "fail", "abort"):
            listener.end = end
        await receive(chance, wired, transport, last or join(*more))
        if end == "reset":
            transport.break_off(ConnectionResetError())
        if transport.is_full and chance.random() < 0.5:
            transport.drain()
        await all_done()
        if not transport.is_closing():
            wired.connection.close()
            transport.receive_eof()
        await asyncio.wait_for(wired.connection.wait_closed(), 60)
        await asyncio.sleep(2)
        assert (listener.n_opened, len(listener.closed)) == (1, 1), seed
        if end in ("peer's close", "peer's fault"):
            assert listener.heard == expected, seed
        elif end == "reset":
            assert listener.heard == expected + unexpected, seed
        else:
            assert listener.heard == (expected + unexpected)[: len(listener.heard)], seed
        sent = transport.take()
        assert [frame.opcode for frame in sent].count(CLOSE) <= 1, seed
        if any(frame.opcode == CLOSE for frame in sent):
            assert sent[-1].opcode == CLOSE, seed
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]
