"""Random orders of a socket's calls, inside events and outside, with the peer's frames and turns between them.

Whatever the order: open comes first and once, then the messages in the order of the wire, up to the end that was
chosen; then error, if there is one, and close, once and as the last. ``readyState`` only grows, ``bufferedAmount`` does
not fall after the end, and what the peer received is what was sent.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from asyncio_helpers import turns, without_io
from test_browser import Scripted

from wsfast.browser import Event, WebSocket
from wsfast.codec import Opcode
from wsfast.testing import ScriptedPeer

N_SEEDS = 60

ENDS = (
    "close",
    "close while connecting",
    "peer's close",
    "peer's fault",
    "peer's reset",
    "peer's end of TCP",
)


class Acting(Scripted):
    """Does something by chance in each event."""

    def __init__(self, chance: random.Random, **options: Any) -> None:
        self.chance = chance
        self.sent: list[str] = []
        self.late_size = 0  # of texts for which it was too late
        self.n_texts = 0
        self.states: list[int] = []
        super().__init__(ScriptedPeer(chunk_size=chance.choice((None, 7, 100))), **options)

    def note(self, event: Any) -> None:
        super().note(event)
        self.act()

    def act(self) -> None:
        self.states.append(self.readyState)
        assert self.bufferedAmount >= 0
        for _ in range(self.chance.choice((0, 0, 1, 2))):
            kind = self.chance.choice(("send", "send", "send", "type", "listener", "dispatch", "handler"))
            if kind == "send" and self.readyState != WebSocket.CONNECTING:
                text = f"{self.n_texts}" * self.chance.choice((1, 50))
                self.n_texts += 1
                before = self.bufferedAmount
                is_open = self.readyState == WebSocket.OPEN
                self.send(text)
                assert self.bufferedAmount == before + len(text)
                if is_open:
                    self.sent.append(text)
                else:
                    self.late_size += len(text)
            elif kind == "type":
                self.binaryType = self.chance.choice(("blob", "arraybuffer", "none"))
            elif kind == "listener":
                self.addEventListener("message", lambda event: None, once=True)
            elif kind == "handler":
                self.onmessage = self.chance.choice((None, lambda event: None))
            elif kind == "dispatch":
                assert self.dispatchEvent(Event("other"))


async def some_turns(chance: random.Random) -> None:
    await turns(chance.choice((0, 0, 1, 3, 10)))


@pytest.mark.parametrize("end", ENDS)
@without_io
async def test_every_end_in_any_order(end: str) -> None:
    for seed in range(N_SEEDS):
        chance = random.Random(seed)
        socket = Acting(
            chance,
            close_timeout=1,
            max_queue=chance.choice((1, 16)),
            compression=chance.choice((None, "deflate")),
        )
        peer = socket.peer
        if end == "close while connecting":
            await turns(chance.randrange(4))
            assert socket.readyState == WebSocket.CONNECTING
            socket.close()
            await socket.reach(WebSocket.CLOSED)
            assert socket.notes[1:] == [1006], seed
            continue
        await socket.reach(WebSocket.OPEN)
        told: list[str] = []
        for number in range(chance.randrange(40)):
            kind = chance.choice(("text", "text", "text", "ping", "act", "pause", "resume"))
            if kind == "text":
                told.append(f"{number}" * chance.choice((1, 30)))
                peer.send(told[-1])
            elif kind == "ping":
                peer.send_frame(Opcode.PING, b"?")
            elif kind == "act":
                socket.act()
            elif kind == "pause":
                peer.transport.pause_reading()
            else:
                peer.transport.resume_reading()
            await some_turns(chance)
        peer.transport.resume_reading()
        code = 1006
        if end == "close":
            code = chance.choice((1000, 3000, 4999))
            socket.close(code, "enough")
            socket.close(4000)
            told = socket.notes[1:]  # no message comes any more
            peer.send_close(code)
        elif end == "peer's close":
            code = chance.choice((1000, 1001, 1011))
            peer.send_close(code)
        elif end == "peer's fault":
            peer.send_bytes(b"\xff" * 10)
        elif end == "peer's end of TCP":
            peer.transport.write_eof()
        else:
            await turns(1000)
            peer.transport.abort()
        await some_turns(chance)
        received = []
        while (frame := await peer.receive()) is not None:
            if frame.opcode is Opcode.TEXT and socket.extensions == "":
                received.append(frame.payload.decode())
        if not peer.transport.is_closing():
            peer.transport.close()
        await socket.reach(WebSocket.CLOSED)
        amount = socket.bufferedAmount
        await asyncio.sleep(1)
        assert socket.bufferedAmount == amount, seed
        opened, *messages = socket.notes
        closed = messages.pop()
        assert (opened, closed) == ("open", code), seed
        if code == 1006:
            assert isinstance(messages.pop(), Exception), seed
        assert messages == told, seed
        assert socket.states == sorted(socket.states), seed
        assert (socket.states[0], socket.states[-1]) == (WebSocket.OPEN, WebSocket.CLOSED), seed
        if code != 1006:
            assert amount == socket.late_size, seed
        if socket.extensions == "":
            assert received == socket.sent[: len(received)], seed
            if end in ("close", "peer's close"):
                assert len(received) == len(socket.sent), seed
