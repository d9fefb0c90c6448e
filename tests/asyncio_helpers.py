"""The common parts of the asyncio tests: running a coroutine as a test, a transport without a socket, raw peers.

Nothing hangs: every test has a time limit. Nothing is left behind: tasks that still run, exceptions that nobody
retrieved and errors in the log fail the test, unless it expects them (``errors_logged``).

Peers speak bytes. They are built on the frame builder of ``helpers`` and share no code with the product.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import gc
import hashlib
import inspect
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import pytest
import trustme
from helpers import CLOSE, KEY, TEXT, frame, join, xor

from wsfast.asyncio import fastnet
from wsfast.asyncio.connection import Connection
from wsfast.asyncio.server import Server
from wsfast.connection import Connection as Protocol
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosed
from wsfast.testing.clock import JumpingLoop

try:
    import uvloop
except ImportError:  # not made for Windows
    uvloop = None  # type: ignore[assignment]

LIMIT = 20.0
"""Seconds that a test may take: far more than any needs."""

# Running a coroutine as a test


def _stock_loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _uv_loop() -> asyncio.AbstractEventLoop:
    if uvloop is None:
        pytest.skip("uvloop is not installed")
    return uvloop.new_event_loop()


_LOOP_FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": _stock_loop,
    "uvloop": _uv_loop,
    "aiofastnet": _stock_loop,
    "aiofastnet-uvloop": _uv_loop,
    "clockless": JumpingLoop,
}


@contextlib.contextmanager
def transports_of(loop_name: str) -> Iterator[None]:
    """Choose aiofastnet for all connections of ours if the loop's name says so, else the loop's own transports."""
    wanted = loop_name.startswith("aiofastnet")
    if wanted:
        pytest.importorskip("aiofastnet")
    is_used = fastnet.is_used
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fastnet, "is_used", lambda loop, tls, wish: is_used(loop, tls, wanted if wish is None else wish)
        )
        yield


class _ErrorLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


_error_logs: list[_ErrorLog] = []


@contextlib.contextmanager
def errors_logged() -> Iterator[list[logging.LogRecord]]:
    """Collect what is logged as an error here; elsewhere it fails the test."""
    log = _error_logs[-1]
    n_before = len(log.records)
    expected: list[logging.LogRecord] = []
    try:
        yield expected
    finally:
        expected += log.records[n_before:]
        del log.records[n_before:]


@functools.cache
def _set_old_objects_aside() -> None:
    # What the imports made is not looked at in each collection: 2 ms instead of 50.
    gc.collect()
    if sys.implementation.name == "cpython":
        gc.freeze()


def run(coroutine: Coroutine[Any, Any, Any], loop_name: str = "asyncio") -> Any:
    """Run ``coroutine`` in a loop of its own, with a time limit; fail if it leaves something behind."""
    _set_old_objects_aside()
    unhandled: list[str] = []

    def note_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")

    async def supervise() -> Any:
        asyncio.get_running_loop().set_exception_handler(note_unhandled)
        test = asyncio.ensure_future(coroutine)
        await asyncio.wait({test}, timeout=1e6 if loop_name == "clockless" else LIMIT)
        if not test.done():
            while not test.done():  # what it leaves with may have to be cancelled too
                test.cancel()
                await asyncio.wait({test}, timeout=1)
            raise AssertionError("the test was not done within its time limit")
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others and test.exception() is None:
            # The end of a task may need some more turns of the loop, but not a time limit.
            _, running = await asyncio.wait(others, timeout=2)
            assert not running, f"still running: {running}"
        return test.result()

    errors = _ErrorLog()
    _error_logs.append(errors)
    logging.getLogger().addHandler(errors)
    try:
        with (
            transports_of(loop_name),
            asyncio.Runner(loop_factory=_LOOP_FACTORIES[loop_name]) as runner,
        ):
            result = runner.run(supervise())
        gc.collect()  # "exception was never retrieved" is said when a future dies
    finally:
        coroutine.close()
        logging.getLogger().removeHandler(errors)
        _error_logs.remove(errors)
    assert not unhandled, unhandled
    logged = [(record.name, record.getMessage(), record.exc_info) for record in errors.records]
    assert not logged, logged
    return result


AsyncTest = Callable[..., Coroutine[Any, Any, None]]


def _as_test(test: AsyncTest, loop_names: tuple[str, ...]) -> Callable[..., None]:
    signature = inspect.signature(test)

    @functools.wraps(test)
    def run_test(*args: Any, loop_name: str, **kwargs: Any) -> None:
        run(test(*args, **kwargs), loop_name)

    loop_parameter = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    run_test.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), loop_parameter]
    )
    return pytest.mark.parametrize("loop_name", loop_names)(run_test)


def in_loop(test: AsyncTest) -> Callable[..., None]:
    """Make a coroutine function a test, on the stock loop."""
    return _as_test(test, ("asyncio",))


def in_both_loops(test: AsyncTest) -> Callable[..., None]:
    """Make a coroutine function four tests: on the stock loop and on uvloop, with their transports and aiofastnet's."""
    return _as_test(test, tuple(name for name in _LOOP_FACTORIES if name != "clockless"))


def without_io(test: AsyncTest) -> Callable[..., None]:
    """Make a coroutine function a test on a loop whose clock jumps: timers cost nothing, a hang is noticed."""
    return _as_test(test, ("clockless",))


async def turns(n: int) -> None:
    """Let the loop turn ``n`` times."""
    for _ in range(n):
        await asyncio.sleep(0)


async def all_done() -> None:
    """Without I/O: let the loop turn until nothing but timers is left."""
    await turns(20)


# Frames that were received


class Received(NamedTuple):
    """A frame as it came from the wire, unmasked."""

    opcode: int
    payload: bytes = b""
    fin: bool = True


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a Close frame (RFC 6455 5.5.1)."""
    return code.to_bytes(2, "big") + reason.encode()


def take_frame(buffer: bytearray, role: Role) -> Received | None:
    """Take the first frame, which ``role`` sent, from the buffer, or None if it is not complete (5.2)."""
    if len(buffer) < 2:
        return None
    assert not buffer[0] & 0x70, "RSV bits without an extension"
    masked = bool(buffer[1] & 0x80)
    assert masked is (role is Role.CLIENT), "5.1: a client masks, a server does not"
    pos, length = 2, buffer[1] & 0x7F
    if length > 125:
        size = 2 if length == 126 else 8
        pos += size
        length = int.from_bytes(buffer[2:pos], "big")
    end = pos + (4 if masked else 0) + length
    if len(buffer) < end:
        return None
    key = bytes(buffer[pos : pos + 4]) if masked else bytes(4)
    payload = xor(bytes(buffer[end - length : end]), key)
    received = Received(buffer[0] & 0x0F, payload, bool(buffer[0] & 0x80))
    del buffer[:end]
    return received


def text(payload: str, *, fin: bool = True) -> Received:
    """A text frame as it is received (5.6)."""
    return Received(TEXT, payload.encode(), fin)


def close(code: int, reason: str = "") -> Received:
    """A Close frame as it is received (5.5.1)."""
    return Received(CLOSE, close_payload(code, reason))


def parse_frames(data: bytes, role: Role) -> list[Received]:
    """Parse what ``role`` sent; it has to be whole frames."""
    buffer = bytearray(data)
    frames = []
    while buffer:
        received = take_frame(buffer, role)
        assert received is not None, "a frame is not complete"
        frames.append(received)
    return frames


# A connection without a socket


class FakeTransport(asyncio.Transport):
    """Keeps what is written, one item a write; ends as the transports of asyncio do."""

    def __init__(self, protocol: asyncio.Protocol, role: Role) -> None:
        super().__init__()
        self.protocol = protocol
        self.role = role
        self.writes: list[bytes] = []
        self.written = asyncio.Event()
        self.reading = True
        self.n_pauses = 0
        self.eof_written = False
        self.aborted = False
        self.limits: tuple[int | None, int | None] = (None, None)
        self._closing = False
        self._lost = False

    # What tests ask for

    def take(self) -> list[Received]:
        """Return the frames that were written since the last call."""
        frames = parse_frames(b"".join(self.writes), self.role)
        self.writes.clear()
        self.written.clear()
        return frames

    # What transports do

    def write(self, data: Any) -> None:
        assert not self._lost, "write after connection_lost"
        if not self._closing:
            assert not self.eof_written, "write after write_eof"
            self.writes.append(bytes(data))
            self.written.set()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False
        self.n_pauses += 1

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading and not self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self.aborted = True
        self._lose(None)

    def _lose(self, exception: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._call_connection_lost, exception)

    def _call_connection_lost(self, exception: Exception | None) -> None:
        self._lost = True
        self.protocol.connection_lost(exception)

    def receive_eof(self) -> None:
        if not self.protocol.eof_received():
            self.close()

    def break_off(self, exception: Exception) -> None:
        """The connection breaks."""
        self._lose(exception)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return 0


class Wired(NamedTuple):
    """A connection, its transport, and how its peer builds frames."""

    connection: Connection
    transport: FakeTransport
    key: bytes | None

    def frame(self, opcode: int, payload: bytes | str = b"", **options: Any) -> bytes:
        return frame(opcode, payload, key=self.key, **options)

    def receive(self, *frames: bytes) -> None:
        """The connection receives these frames in one chunk."""
        self.connection.data_received(join(*frames))

    def receive_text(self, *texts: str) -> None:
        self.receive(*(self.frame(TEXT, text) for text in texts))

    def receive_numbers(self, n: int) -> None:
        """The connection receives the texts "0", "1", ... each in a chunk of its own."""
        for number in range(n):
            self.receive_text(f"{number}")

    def receive_close(self, code: int | None = 1000, reason: str = "") -> None:
        self.receive(self.close_frame(code, reason))

    def close_frame(self, code: int | None = 1000, reason: str = "") -> bytes:
        return self.frame(CLOSE, b"" if code is None else close_payload(code, reason))

    async def finish(self) -> None:
        """Let the peer close TCP, and see the connection closed."""
        self.transport.receive_eof()
        await self.connection.wait_closed()

    async def next_write(self) -> list[Received]:
        """Wait until the connection writes; return what it wrote."""
        await self.transport.written.wait()
        return self.transport.take()


def wire(role: Role, **options: Any) -> Wired:
    """Make a connection that is open, without a socket. No keepalive unless ``ping_interval`` is given."""
    protocol = Protocol(
        role, **{name: options.pop(name) for name in ("max_message_size",) if name in options}
    )
    keepalive = options.setdefault("ping_interval", None) is not None
    connection = Connection(protocol, **options)
    transport = FakeTransport(connection, role)
    connection.connection_made(transport)
    if keepalive:
        connection._start_keepalive()
    return Wired(connection, transport, KEY if role is Role.SERVER else None)


both_roles = pytest.mark.parametrize("role", list(Role), ids=["client", "server"])


async def echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def take_all(connection: Connection) -> tuple[list[str | bytes], ConnectionClosed]:
    """Receive until the end; return the messages, and the exception that was the end."""
    messages: list[str | bytes] = []
    while True:
        try:
            messages.append(await connection.recv())
        except ConnectionClosed as closed:
            return messages, closed


class Gate:
    """Fragments, the second of which waits to be let through."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        yield "a"
        await self.open.wait()
        yield "b"


# Raw peers

SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455 1.3."""

REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {SAMPLE_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


def request_with(*lines: str) -> bytes:
    """The request of a client, with more header lines."""
    return REQUEST[:-2] + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


class RawPeer:
    """One end of a TCP connection, as bytes and frames. ``role`` is its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: Role) -> None:
        self.reader = reader
        self.writer = writer
        self.role = role
        self.head = ""
        """What the other end sent as the head of its request or response."""
        self._buffer = bytearray()

    @property
    def socket(self) -> socket.socket:
        return self.writer.get_extra_info("socket")

    def frame(self, opcode: int, payload: bytes | str = b"", **options: Any) -> bytes:
        return frame(opcode, payload, key=KEY if self.role is Role.CLIENT else None, **options)

    def close_frame(self, code: int | None = 1000, reason: str = "") -> bytes:
        return self.frame(CLOSE, b"" if code is None else close_payload(code, reason))

    def send(self, *frames: bytes) -> None:
        """Send in one write; frames, or any bytes."""
        self.writer.write(b"".join(frames))

    def send_text(self, *texts: str) -> None:
        self.send(*(self.frame(TEXT, text) for text in texts))

    async def read_head(self) -> str:
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        return self.head

    def header(self, name: str) -> str | None:
        """The value of a header in ``head``, None if it is not there."""
        values = self.headers(name)
        return values[0] if values else None

    def headers(self, name: str) -> list[str]:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return [value.strip() for found, _, value in lines if found.lower() == name.lower()]

    async def receive(self) -> Received:
        """Read one frame. ``EOFError`` when there is none."""
        other = Role.SERVER if self.role is Role.CLIENT else Role.CLIENT
        while (received := take_frame(self._buffer, other)) is None:
            chunk = await self.reader.read(65536)
            if not chunk:
                raise EOFError("no frame, but the end of TCP")
            self._buffer += chunk
        return received

    async def receive_until_eof(self) -> list[Received]:
        frames = []
        with contextlib.suppress(EOFError):
            while True:
                frames.append(await self.receive())
        assert not self._buffer, "the last frame is not complete"
        self.writer.close()
        return frames

    async def eof(self) -> None:
        """See the end of TCP, and nothing before it; then close it as well (7.1.1)."""
        assert not self._buffer, bytes(self._buffer)
        assert await self.reader.read(65536) == b""
        self.writer.close()

    def send_eof(self) -> None:
        self.writer.write_eof()

    def abort(self) -> None:
        """Break the connection off, with a reset."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def close_handshake(self, code: int = 1000) -> None:
        """Close as a client does: Close, the other's Close, the end of TCP (7.1.1)."""
        self.send(self.close_frame(code))
        assert (await self.receive())[:2] == (CLOSE, close_payload(code))
        await self.eof()


def port_of(server: Server | asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def uri_of(server: Server | asyncio.Server, path: str = "/", host: str = "127.0.0.1") -> str:
    return f"ws://{host}:{port_of(server)}{path}"


@contextlib.asynccontextmanager
async def tcp_client(server: Server | int) -> AsyncIterator[RawPeer]:
    """Connect to a server, and send nothing yet."""
    port = server if isinstance(server, int) else port_of(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = RawPeer(reader, writer, Role.CLIENT)
    try:
        yield peer
    finally:
        await peer.close()


@contextlib.asynccontextmanager
async def raw_client(server: Server | int, request: bytes = REQUEST) -> AsyncIterator[RawPeer]:
    """Connect to a server, and do the opening handshake."""
    async with tcp_client(server) as peer:
        peer.send(request)
        await peer.read_head()
        assert peer.head.startswith("HTTP/1.1 101 "), peer.head
        yield peer


Script = Callable[[RawPeer], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_server(script: Script, **options: Any) -> AsyncIterator[asyncio.Server]:
    """Run ``script(peer)`` for each connection; its end closes the connection, its exceptions fail the test."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = RawPeer(reader, writer, Role.SERVER)
        try:
            await script(peer)
        finally:
            await peer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, **options)
    try:
        yield server
        await asyncio.gather(*tasks)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def accept(peer: RawPeer, *lines: str) -> None:
    """Read a request, and accept it, with more header lines."""
    await peer.read_head()
    key = peer.header("Sec-WebSocket-Key")
    assert key is not None
    more = "".join(f"{line}\r\n" for line in lines)
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_of(key)}\r\n{more}\r\n".encode()
    )


def accept_of(key: str) -> str:
    """RFC 6455 4.2.2."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def raw_server(script: Script) -> contextlib.AbstractAsyncContextManager[asyncio.Server]:
    """A server that accepts every handshake and then runs ``script(peer)``."""

    async def accept_first(peer: RawPeer) -> None:
        await accept(peer)
        await script(peer)

    return tcp_server(accept_first)


async def answer_close(peer: RawPeer) -> Received:
    """As a server: read up to the client's Close, answer it, close TCP; return it."""
    while (received := await peer.receive()).opcode != CLOSE:
        pass
    peer.send(peer.frame(CLOSE, received.payload[:2]))
    return received


# TLS


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def server_tls(host: str = "localhost") -> ssl.SSLContext:
    """What a server needs to be ``host``, signed by ``authority``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(host).configure_cert(context)
    return context


@functools.cache
def client_tls() -> ssl.SSLContext:
    """What a client needs to trust ``authority``."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context
