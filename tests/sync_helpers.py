"""The common parts of the tests of threads: a connection with a raw socket at its other end, and servers in threads.

Nothing hangs: sockets and joins have a time limit. Peers speak bytes, and share no code with the product.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import KEY, frame
from hostile_peers import small_buffers

from wsfast.connection import Connection as Protocol
from wsfast.events import Role
from wsfast.sync import Connection, Server, ServerConnection, serve
from wsfast.sync.keeper import keeper
from wsfast.sync.stream import Stream

LIMIT = 20.0
"""Seconds that a wait may take: far more than any needs."""

SHORT_TICK = 0.02

both_roles = pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER], ids=["client", "server"])


class RawPeer:
    """The other end of a connection of ours, which has ``role``."""

    def __init__(self, sock: socket.socket, role: Role) -> None:
        self.socket = sock
        sock.settimeout(LIMIT)
        self.key = KEY if role is Role.SERVER else None

    def frame(self, opcode: int, payload: bytes = b"", **options: Any) -> bytes:
        return frame(opcode, payload, key=self.key, **options)

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def read_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload, unmasked, of the next frame."""
        first, second = self.receive(2)
        size = second & 127
        if size > 125:
            size = int.from_bytes(self.receive(2 if size == 126 else 8), "big")
        key = self.receive(4) if second & 128 else bytes(4)
        payload = self.receive(size)
        return first, bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))

    def rest(self) -> bytes:
        """Read to the end of TCP."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while more := self.socket.recv(65536):
                data += more
        return data


@contextlib.contextmanager
def wire(
    role: Role = Role.CLIENT, kind: type[Connection] = Connection, **options: Any
) -> Iterator[tuple[Connection, RawPeer]]:
    """An open connection of ours, over TCP, and its peer."""
    names = {"text", "max_message_size", "compression", "max_feed_events", "max_feed_size"}
    protocol = Protocol(role, **{name: options.pop(name) for name in names & options.keys()})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        small_buffers(listening)
        theirs = socket.socket()
        small_buffers(theirs)
        theirs.connect(listening.getsockname())
        own, _ = listening.accept()
    connection = kind(protocol, Stream(own, None), **({"close_timeout": 2} | options))
    keeper().add(connection)
    with connection._lock:
        connection.opened()
        connection._is_plain = not options.get("count_frames")
    with theirs:
        try:
            yield connection, RawPeer(theirs, role)
        finally:
            connection.cut()


class InThread:
    """A call that runs in a thread; ``result`` waits for it."""

    def __init__(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self._call = lambda: call(*arguments, **options)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._result: Any = None
        self._exception: BaseException | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as exception:
            self._exception = exception

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "it hangs"
        if self._exception is not None:
            raise self._exception
        return self._result


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@contextlib.contextmanager
def serving(handler: Callable[[Any], None] = echo, **options: Any) -> Iterator[tuple[Server, str]]:
    """A server in a thread, and its URI."""
    with running(serve(handler, "127.0.0.1", 0, **options)) as server:
        scheme = "wss" if options.get("ssl") else "ws"
        yield server, f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}/"


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Let a server accept in a thread."""
    accepting = InThread(server.serve_forever)
    try:
        with server:
            yield server
    finally:
        accepting.result()


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        more = sock.recv(1)
        if not more:
            break
        head += more
    return head


def accepting_response(head: bytes) -> bytes:
    match = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
    assert match is not None
    digest = hashlib.sha1(match[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


@contextlib.contextmanager
def scripted(script: Callable[[RawPeer], None]) -> Iterator[str]:
    """A server that does ``script`` with each connection, one after the other, before any handshake; and its URI."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stopping = False

        def run() -> None:
            while True:
                sock, _ = listening.accept()
                with sock, contextlib.suppress(OSError):
                    if stopping:
                        return
                    script(RawPeer(sock, Role.CLIENT))

        running_it = InThread(run)
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        stopping = True
        socket.create_connection(listening.getsockname()).close()
        running_it.result()
