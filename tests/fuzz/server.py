"""A server on TCP: any bytes of a client, in any pieces, then FIN or a reset (RFC 6455 4.2, 5, 7; RFC 7692).

An input says what the client asks for, what the application does, how the bytes are cut and how the client leaves.

- The application gets the messages that the fallback's decoder finds in these bytes; after a reset, the first of them.
- What the server wrote is HTTP and, after 101, legal frames; a Close has the code of the fault.
- Then nothing is left: no connection, no task, no line of log at WARNING, and the next client is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["wsfast"]):
    import wsfast.fallback
    from wsfast.asyncio import ServerConnection, serve
    from wsfast.deflate import Deflate, Inflater, accept
    from wsfast.events import Close, Role
    from wsfast.exceptions import ConnectionClosed

from frames import FrameMaker
from handshake import REQUEST, wire
from source import Source, random_cut

LIMIT = 10.0
"""Seconds until a connection has to be gone: several times what the limits below come to."""

OPTIONS: dict[str, Any] = {
    "open_timeout": 1,
    "close_timeout": 1,
    "ping_interval": None,
    "max_size": 65_536,
    "max_queue": 4,
    "compression": "deflate",
}
MAX_EARLY_SIZE = 65_536
"""Bytes that the server takes from a client which does not wait for the response, as RFC 6455 4.1 says it must."""

OFFER = "permessage-deflate; client_max_window_bits"

LINGER = struct.pack("ii", 1, 0)


class Log(logging.Handler):
    """Takes a line at WARNING or above for a fault."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Application:
    """What runs behind the server. ``path`` of the request: "/" takes, "/slow" takes with pauses, and so on."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.closed: ConnectionClosed | None = None

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        try:
            if path == "/close":
                await connection.close()
            elif path == "/fragments":
                while True:
                    self.messages.append(await connection.recv())
                    await connection.send([b"a", b"b"])
            while True:
                self.messages.append(message := await connection.recv())
                if path == "/echo":
                    await connection.send(message)
                elif path == "/slow":
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
        except ConnectionClosed as closed:
            self.closed = closed


PATHS = ("/", "/echo", "/slow", "/fragments", "/close")


class Client:
    """What an input makes of a client."""

    def __init__(self, source: Source) -> None:
        flags = source.byte()
        self.path = PATHS[source.byte() % len(PATHS)]
        self.resets = bool(flags & 1)
        self.deflates = bool(flags & 2)
        cutting = Source(source.take(1))
        self.frames = b""
        self.opens = not flags & 4
        if self.opens:
            request = REQUEST.replace(b"/chat", self.path.encode())
            if self.deflates:
                request += b"Sec-WebSocket-Extensions: " + OFFER.encode() + b"\r\n"
            request += b"\r\n"
            frames = source.rest() if flags & 8 else FrameMaker(source, True).stream()
            if flags & 16:  # 4.1: wait for the response
                self.frames = frames
                self.chunks = [request, b"", *random_cut(frames, cutting)]
            else:
                self.frames = frames[: MAX_EARLY_SIZE - len(request)]
                self.chunks = [chunk for chunk in random_cut(request + self.frames, cutting) if chunk]
        else:
            self.chunks = random_cut(wire(source, REQUEST), cutting)
        self.received = b""
        self.answered = asyncio.Event()
        self.was_cut = False
        """The server was gone before all was sent, or its last bytes were lost to a reset."""

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            reading = asyncio.create_task(self._read(sock))
            try:
                for chunk in self.chunks:
                    if not chunk:
                        await self.answered.wait()
                    await loop.sock_sendall(sock, chunk)
                if not self.resets:
                    sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.was_cut = True
            if self.resets:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading
                self.was_cut = True
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            else:
                await reading

    async def _read(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(sock, 65536):
                self.received += data
                self.answered.set()
        except OSError:
            self.was_cut = True
        self.answered.set()

    # What has to come of it

    def expected(self) -> tuple[list[Any], Any]:
        """The messages that the fallback finds in the frames, until a Close, and its failure."""
        agreement = accept([OFFER], Deflate()) if self.deflates else None
        inflate = None if agreement is None else Inflater(Role.SERVER, agreement).inflate
        decoder = wsfast.fallback.MessageDecoder(
            Role.SERVER, max_message_size=OPTIONS["max_size"], inflate=inflate
        )
        messages = []
        for event in decoder.feed(self.frames):
            if isinstance(event, Close):
                return messages, event
            if isinstance(event, (str, bytes)):
                messages.append(event)
        return messages, decoder.failure

    def check(self, application: Application) -> None:
        if not self.opens:
            return
        messages, end = self.expected()
        if self.path != "/close":
            got = application.messages
            if self.was_cut:
                messages = messages[: len(got)]
            assert got == messages, (
                f"the application gets something else: {got!r:.300}, not {messages!r:.300}"
            )
            assert [type(one) for one in got] == [type(one) for one in messages]
        if self.was_cut or not application.closed:
            return
        head, _, frames = self.received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        agreement = accept([OFFER], Deflate()) if self.deflates else None
        inflate = None if agreement is None else Inflater(Role.CLIENT, agreement).inflate
        decoder = wsfast.fallback.MessageDecoder(Role.CLIENT, max_message_size=None, inflate=inflate)
        written = decoder.feed(frames)
        assert decoder.failure is None, decoder.failure
        if end is None or self.path == "/close" or not isinstance(written[-1] if written else None, Close):
            return
        assert written[-1].code == end.code, (written[-1], end)


class Server:
    """A server on a loop of its own, which serves all inputs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.log = Log()
        logging.getLogger().addHandler(self.log)
        self.application = Application()
        self.server = self.loop.run_until_complete(self._start())
        self.port = self.server.sockets[0].getsockname()[1]
        self.n_tasks = len(asyncio.all_tasks(self.loop))

    async def _start(self) -> Any:
        async def handler(connection: ServerConnection) -> None:
            await self.application(connection)

        return await serve(handler, "127.0.0.1", 0, **OPTIONS)

    async def _serve(self, client: Client) -> None:
        async with asyncio.timeout(LIMIT):
            await client.run(self.port)
            while self.server._tasks:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)

    def take(self, client: Client) -> None:
        self.application = Application()
        self.loop.run_until_complete(self._serve(client))
        client.check(self.application)
        assert len(asyncio.all_tasks(self.loop)) == self.n_tasks, asyncio.all_tasks(self.loop)
        assert not self.log.lines, self.log.lines


SERVER: Server | None = None


def target(data: bytes) -> None:
    global SERVER
    SERVER = SERVER or Server()
    SERVER.take(Client(Source(data)))


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
