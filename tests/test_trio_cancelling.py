"""Calls that are cancelled at any moment: no message is lost or sent by half, and the stream stays whole."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from asyncio_helpers import client_tls, server_tls
from helpers import PING, TEXT
from trio_helpers import echo, in_memory, joined, serving_sockets, with_sockets

from wsfast.trio import Connection, ServerConnection, connect

SEEDS = range(8)


async def turns(n: int) -> None:
    for _ in range(n):
        await trio.lowlevel.checkpoint()


async def cancelled_after(n_turns: int, call: Any) -> bool:
    """Run a call, and cancel it after so many turns; tell whether it was."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await turns(n_turns)
                scope.cancel()

            nursery.start_soon(cancel)
            await call()
            nursery.cancel_scope.cancel()
    return scope.cancelled_caught


@pytest.mark.parametrize("seed", SEEDS)
@in_memory
async def test_what_was_sent_is_what_was_not_cancelled(seed: int, codec: Any) -> None:
    """Over memory that takes a message now and then; ``send`` waits for room most of the time."""
    rng = random.Random(seed)
    sent: list[str] = []
    received: list[str] = []

    async def sender(ws: Connection, name: str) -> None:
        for number in range(60):
            text = f"{name}{number} " + "x" * rng.choice((0, 10, 200))
            if not await cancelled_after(rng.randrange(8), lambda text=text: ws.send(text)):
                sent.append(text)
            elif rng.random() < 0.2:
                await trio.sleep(0.01)

    async with joined(codec=codec, write_limit=150, ping_interval=None) as (ws, peer):
        pump = ws.stream.send_stream.send_all_hook  # type: ignore[attr-defined]

        async def slow_pump() -> None:
            await trio.sleep(rng.choice((0, 0, 0.01)))
            await pump()

        ws.stream.send_stream.send_all_hook = slow_pump  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                while True:
                    frame = await peer.receive()
                    assert frame.opcode in (TEXT, PING)
                    received.append(frame.payload.decode())

            nursery.start_soon(read)
            async with trio.open_nursery() as senders:
                for name in "abc":
                    senders.start_soon(sender, ws, name)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert 0 < len(sent) < 180
    # A call that is cancelled in its last checkpoint has returned: its scope caught nothing.
    assert sorted(received) == sorted(sent)


@pytest.mark.parametrize("seed", SEEDS)
@in_memory
async def test_what_comes_is_received_once(seed: int, codec: Any) -> None:
    rng = random.Random(seed)
    texts = [str(number) for number in range(200)]
    got: list[Any] = []

    async with joined(codec=codec, max_queue=4) as (ws, peer), trio.open_nursery() as nursery:

        async def write() -> None:
            rest = list(texts)
            while rest:
                n = rng.randrange(1, 6)
                await peer.text(*rest[:n])
                del rest[:n]
                await trio.sleep(rng.choice((0, 0.01)))

        async def take() -> None:
            got.append(await ws.recv())

        nursery.start_soon(write)
        while len(got) < len(texts):
            await cancelled_after(rng.randrange(6), take)
            if rng.random() < 0.1:
                await trio.sleep(0.01)
    assert got == texts


@contextlib.asynccontextmanager
async def echo_server(with_tls: bool) -> AsyncIterator[dict[str, Any]]:
    async with serving_sockets(echo, ssl=server_tls() if with_tls else None) as (_, port):
        options: dict[str, Any] = {"uri": f"ws{'s' * with_tls}://localhost:{port}/", "host": "127.0.0.1"}
        yield options | ({"ssl": client_tls()} if with_tls else {})


@pytest.mark.parametrize("with_tls", [False, True], ids=["tcp", "tls"])
@with_sockets
async def test_over_sockets(with_tls: bool) -> None:
    """Echoes of messages larger than the kernel takes at once, with calls cancelled on the way."""
    rng = random.Random(1)
    sent: list[bytes] = []
    got: list[Any] = []
    async with echo_server(with_tls) as options, connect(**options, proxy=None, write_limit=1000) as ws:

        async def take() -> None:
            got.append(await ws.recv())

        for number in range(60):
            message = bytes([number]) * rng.choice((10, 70_000, 300_000))
            if not await cancelled_after(rng.randrange(20), lambda message=message: ws.send(message)):
                sent.append(message)
            await cancelled_after(rng.randrange(20), take)
        while len(got) < len(sent):
            await take()
        assert got == sent
        await ws.send("whole")
        assert await ws.recv() == "whole"


@pytest.mark.parametrize("with_tls", [False, True], ids=["tcp", "tls"])
@with_sockets
async def test_connecting_is_cancelled_at_any_turn(with_tls: bool) -> None:
    """And nothing of it is left."""
    async with echo_server(with_tls) as options:
        for n_turns in range(0, 60, 3):

            async def use() -> None:
                async with connect(**options, proxy=None) as ws:
                    await ws.send("x")
                    assert await ws.recv() == "x"

            await cancelled_after(n_turns, use)


@pytest.mark.parametrize("n_turns", range(0, 24, 3))
@with_sockets
async def test_a_server_is_cancelled_at_any_turn(n_turns: int) -> None:
    async def handler(ws: ServerConnection) -> None:
        await echo(ws)

    async def use() -> None:
        async with serving_sockets(handler) as (_, port):
            with contextlib.suppress(OSError):
                async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as ws:
                    await ws.send("x")
                    await ws.recv()

    await cancelled_after(n_turns, use)
