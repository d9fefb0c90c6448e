"""Peers that behave badly on purpose, over a real socket, with TLS or without.

A behaviour is a coroutine that acts on a ``Peer`` and returns. The socket stays open after that, unless the behaviour
closed it, and nothing is read from it: the other end has to get rid of the peer by itself. ``BEHAVIOURS`` is the table.

Nothing here comes from the product.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from helpers import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, frame

KIB = b"x" * 1024

# Bytes of the kernel's buffers at both ends, so that they are soon full. The kernel may take more.
SOCKET_BUFFER = 16 * 1024

REQUEST = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def small_buffers(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)


def set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Peer:
    """One end of a connection. ``is_client`` is this end's role; ``tls`` encrypts."""

    def __init__(self, sock: socket.socket, *, is_client: bool, tls: ssl.SSLContext | None) -> None:
        # Or what waits for an ACK is gone with a reset.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.key = KEY if is_client else None
        self.is_client = is_client
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None
        if tls is not None:
            name = "localhost" if is_client else None
            self.tls = tls.wrap_bio(self.incoming, self.outgoing, not is_client, name)
        self.path = b"/"
        self.settled: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        """Wait until the application of the other end does what it is to do."""

    # Bytes

    async def send(self, *data: bytes) -> None:
        """Send all of it; wait while the other end does not read."""
        joined = b"".join(data)
        if self.tls is not None:
            rest = memoryview(joined)
            while rest:
                rest = rest[self.tls.write(rest) :]
            joined = self.outgoing.read()
        await self.send_all(joined)

    async def send_all(self, data: bytes) -> None:
        # Not loop.sock_sendall: the frames of its exceptions keep whatever the loop did before.
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                writable = self.loop.create_future()
                self.loop.add_writer(self.sock, set_once, writable)
                try:
                    await writable
                finally:
                    self.loop.remove_writer(self.sock)

    async def receive(self) -> bytes:
        if self.tls is None:
            return await self.loop.sock_recv(self.sock, 65536)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return self.tls.read(65536)
            self.incoming.write(await self.loop.sock_recv(self.sock, 65536))

    async def do_tls(self) -> None:
        while self.tls is not None:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_all(self.outgoing.read())
                self.incoming.write(await self.loop.sock_recv(self.sock, 65536))
            else:
                await self.send_all(self.outgoing.read())
                return

    def fin(self) -> None:
        """Close our half of TCP, without a word of TLS."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # The opening handshake

    async def open(self) -> None:
        await self.do_tls()
        if self.is_client:
            await self.send(REQUEST % self.path)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self.receive()
        if not self.is_client:
            match = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
            assert match is not None
            digest = hashlib.sha1(match[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            await self.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )

    # Frames

    def frame(self, opcode: int, payload: bytes = b"", **options: int) -> bytes:
        return frame(opcode, payload, key=self.key, **options)

    def texts(self, n: int) -> bytes:
        return self.frame(TEXT, KIB) * n

    def close_frame(self) -> bytes:
        return self.frame(CLOSE, b"\x03\xe8")


# Behaviours


async def vanish(peer: Peer) -> None:
    pass


async def talk_and_read_nothing(peer: Peer) -> None:
    for _ in range(20):
        await peer.send(peer.texts(1))
        await asyncio.sleep(0.02)


async def flood_with_messages(peer: Peer) -> None:
    await peer.send(peer.texts(500))


async def flood_with_tiny_messages(peer: Peer) -> None:
    await peer.send(peer.frame(BINARY) * 50_000)


async def flood_with_pings(peer: Peer) -> None:
    await peer.send(peer.frame(PING, b"x" * 125) * 10_000)


async def flood_with_pongs(peer: Peer) -> None:
    await peer.send(peer.frame(PONG, b"x") * 50_000)


async def flood_with_fragments(peer: Peer) -> None:
    await peer.send(
        peer.frame(TEXT, b"xxxx", fin=False), peer.frame(CONTINUATION, b"xxxx", fin=False) * 70_000
    )


async def stop_inside_a_frame(peer: Peer) -> None:
    await peer.send(peer.texts(1)[:500])


async def stop_inside_a_large_frame(peer: Peer) -> None:
    await peer.send(peer.frame(BINARY, b"x" * 250_000)[:200_000])


async def send_half_frames(peer: Peer) -> None:
    data = peer.frame(BINARY, b"x" * 400)
    for octet in data[:30]:
        await peer.send(bytes([octet]))
        await asyncio.sleep(0.01)


async def send_garbage(peer: Peer) -> None:
    await peer.send(b"\xff" * 4096)


async def fin(peer: Peer) -> None:
    peer.fin()


async def fin_inside_a_frame(peer: Peer) -> None:
    await peer.send(peer.texts(1)[:500])
    peer.fin()


async def fin_after_messages(peer: Peer) -> None:
    await peer.send(peer.texts(3))
    peer.fin()


async def fin_after_many_messages(peer: Peer) -> None:
    await peer.send(peer.texts(100))
    peer.fin()


async def reset(peer: Peer) -> None:
    peer.reset()


async def reset_after_messages(peer: Peer) -> None:
    await peer.send(peer.texts(3))
    peer.reset()


async def close_without_fin(peer: Peer) -> None:
    await peer.send(peer.close_frame())


async def close_and_fin(peer: Peer) -> None:
    await peer.send(peer.close_frame())
    peer.fin()


async def close_after_messages(peer: Peer) -> None:
    await peer.send(peer.texts(3), peer.close_frame())


async def close_and_fin_after_messages(peer: Peer) -> None:
    await peer.send(peer.texts(3), peer.close_frame())
    peer.fin()


async def close_after_many_messages(peer: Peer) -> None:
    await peer.send(peer.texts(100), peer.close_frame())


async def close_and_flood(peer: Peer) -> None:
    await peer.send(peer.close_frame(), peer.texts(2000))


async def close_and_reset(peer: Peer) -> None:
    await peer.send(peer.close_frame())
    peer.reset()


@dataclass(frozen=True)
class Behaviour:
    """``ends``: how, as code received, code sent, cause, unless the other end closed first; "|" means or."""

    act: Callable[[Peer], Awaitable[None]]
    ends: str


_SILENT = "- 1011 TimeoutError"
_GONE = "- - None|- - ConnectionResetError|- - BrokenPipeError|- - TimeoutError"
GONE = _GONE.split("|")

_CLOSED = (
    "1000 1000 None|1000 1000 TimeoutError|1000 1000 ConnectionResetError|1000 1000 BrokenPipeError"
    "|1000 1000 SSLError"  # "application data after close notify"
    "|1000 - None"  # TLS that is cut by FIN
)

BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.act.__name__: behaviour
    for behaviour in (
        Behaviour(vanish, _SILENT),
        Behaviour(talk_and_read_nothing, _SILENT),
        Behaviour(flood_with_messages, _SILENT),
        Behaviour(flood_with_tiny_messages, _SILENT),
        Behaviour(flood_with_pings, _SILENT),
        Behaviour(flood_with_pongs, _SILENT),
        # 1011: the fallback takes longer for a chunk of them than the keepalive waits here.
        Behaviour(flood_with_fragments, "- 1009 TimeoutError|- 1009 SSLError|" + _SILENT),
        Behaviour(stop_inside_a_frame, _SILENT),
        Behaviour(stop_inside_a_large_frame, _SILENT),
        Behaviour(send_half_frames, _SILENT),
        Behaviour(send_garbage, "- 1002 TimeoutError"),
        Behaviour(fin, _GONE),
        Behaviour(fin_inside_a_frame, _GONE),
        Behaviour(fin_after_messages, _GONE),
        Behaviour(fin_after_many_messages, _GONE),
        Behaviour(reset, _GONE),
        Behaviour(reset_after_messages, _GONE),
        Behaviour(close_without_fin, _CLOSED),
        Behaviour(close_and_fin, _CLOSED),
        Behaviour(close_after_messages, _CLOSED),
        Behaviour(close_and_fin_after_messages, _CLOSED),
        Behaviour(close_after_many_messages, _CLOSED),
        Behaviour(close_and_flood, _CLOSED),
        Behaviour(close_and_reset, _CLOSED),
    )
}


async def act(peer: Peer, behaviour: Behaviour) -> None:
    """Open the connection and behave; that the other end has had enough is no error."""
    with contextlib.suppress(OSError, ssl.SSLError):
        await peer.open()
        await peer.settled()
        await behaviour.act(peer)


class LogOfAll(logging.Handler):
    """Keeps what is logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
