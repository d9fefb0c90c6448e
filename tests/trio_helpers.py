"""The common parts of the trio tests: a run with a clock that jumps, connections over memory, and peers of bytes.

With memory streams nothing waits for the system: when all tasks wait, the clock jumps to the next deadline. So hours
pass in milliseconds. Peers are built on the frame builder of ``helpers`` and share no code with the product.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio
import trio.testing
from asyncio_helpers import Received, accept_of, close_payload, parse_frames, take_frame
from helpers import CLOSE, KEY, PING, PONG, TEXT, frame, join

from wsfast.connection import Connection as Protocol
from wsfast.events import Role
from wsfast.trio import Connection, Server, serve

LIMIT = 20.0
"""Seconds that a test with sockets may take: far more than any needs."""

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

Test = Callable[..., Awaitable[None]]


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _as_test(test: Test, clock: Callable[[], trio.abc.Clock | None], limit: float) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            with trio.fail_after(limit):
                await test(*args, **kwargs)

        errors = _Errors()
        logging.getLogger().addHandler(errors)
        try:
            trio.run(main, clock=clock())
        finally:
            logging.getLogger().removeHandler(errors)
        expected = getattr(test, "errors_logged", 0)
        assert len(errors.records) == expected, [record.getMessage() for record in errors.records]

    return run


def in_memory(test: Test) -> Callable[..., None]:
    """Run it with a clock that jumps."""
    return _as_test(test, lambda: trio.testing.MockClock(autojump_threshold=0), 1e6)


def with_sockets(test: Test) -> Callable[..., None]:
    """Run it with a real clock, and a time limit."""
    return _as_test(test, lambda: None, LIMIT)


def logs_an_error(test: Test) -> Test:
    """Mark a test that expects one error in the log; in any other it is a failure."""
    test.errors_logged = 1  # type: ignore[attr-defined]
    return test


class Peer:
    """The other end of a connection whose role is ``role``: frames over any stream of trio's."""

    def __init__(self, stream: trio.abc.Stream, role: Role) -> None:
        self.stream = stream
        self.role = role
        self.key = KEY if role is Role.SERVER else None
        self.received = bytearray()

    def frame(self, opcode: int, payload: bytes | str = b"", **options: Any) -> bytes:
        return frame(opcode, payload, key=self.key, **options)

    async def send(self, *parts: bytes) -> None:
        await self.stream.send_all(join(*parts))

    async def text(self, *texts: str) -> None:
        await self.send(*(self.frame(TEXT, text) for text in texts))

    async def ping(self, payload: bytes = b"") -> None:
        await self.send(self.frame(PING, payload))

    async def pong(self, payload: bytes) -> None:
        await self.send(self.frame(PONG, payload))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.send(self.frame(CLOSE, close_payload(code, reason)))

    async def receive(self) -> Received:
        """Return the next frame."""
        while (received := take_frame(self.received, self.role)) is None:
            data = await self.stream.receive_some(65536)
            assert data, "TCP is closed"
            self.received += data
        return received

    async def rest(self) -> list[Received]:
        """Return all frames up to the end of TCP."""
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some(65536):
                self.received += data
        return parse_frames(bytes(self.received), self.role)

    async def head(self) -> bytes:
        """Return a head of HTTP."""
        while b"\r\n\r\n" not in self.received:
            data = await self.stream.receive_some(65536)
            assert data, bytes(self.received)
            self.received += data
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        self.received[:] = rest
        return head

    async def accept(self, *lines: str) -> bytes:
        """Answer a client's opening handshake; return its request."""
        head = await self.head()
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")
        )
        answer = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_of(key.decode())}",
            *lines,
        ]
        await self.send("\r\n".join([*answer, "", ""]).encode())
        return head


@contextlib.asynccontextmanager
async def joined(
    role: Role = Role.SERVER, codec: Any = None, **options: Any
) -> AsyncIterator[tuple[Connection, Peer]]:
    """Make an open connection over memory, and its peer; at the end the connection is cut."""
    ours, theirs = trio.testing.memory_stream_pair()
    names = ("max_message_size", "max_feed_events", "max_feed_size", "compression")
    protocol = Protocol(role, codec=codec, **{name: options.pop(name) for name in names if name in options})
    connection = Connection(protocol, ours, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await trio.testing.wait_all_tasks_blocked()
        connection._opened(b"")
        yield connection, Peer(theirs, role)
        connection._abort()


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener without sockets."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](math.inf)

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self._receive.close()

    def dial(self) -> trio.abc.Stream:
        """Connect, and return the client's end."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._send.send_nowait(theirs)
        return ours


@contextlib.asynccontextmanager
async def serving(handler: Any, **options: Any) -> AsyncIterator[tuple[Server, MemoryListener]]:
    """Serve over memory."""
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            functools.partial(serve, handler, listeners=[listener], **options)
        )
        async with server:
            yield server, listener


@contextlib.asynccontextmanager
async def serving_sockets(handler: Any, **options: Any) -> AsyncIterator[tuple[Server, int]]:
    """Serve on a port of 127.0.0.1."""
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            functools.partial(serve, handler, 0, host="127.0.0.1", **options)
        )
        async with server:
            yield server, server.listeners[0].socket.getsockname()[1]  # type: ignore[attr-defined]


async def echo(ws: Connection) -> None:
    async for message in ws:
        await ws.send(message)
