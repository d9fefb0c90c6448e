"""``ScriptedPeer``: a peer that does what it is told, right or wrong, to see what a program makes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ..asyncio.client import ClientConnection, connect
from ..asyncio.connection import Connection
from ..asyncio.server import ServerConnection
from ..codec import CloseCode, Frame, FrameDecoder, FrameEncoder, Opcode, Role
from ..deflate import Compression
from ..handshake import ClientHandshake, ServerHandshake
from .memory import MemoryTransport, join
from .pairs import URI, Handler, listen

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["ScriptedPeer"]


class ScriptedPeer(asyncio.Protocol):
    """A peer without sockets: ``async with ScriptedPeer() as peer``, and ``peer.connection`` is the other end, open.

    ``role`` is the peer's. If it is a client, ``handler`` runs on the connection, if there is one. ``options`` are
    those of ``connect``, if the peer is a server, else those of ``serve``. The peer agrees to ``compression`` if the
    options have it; it compresses nothing by itself. It answers nothing by itself either: no Ping, and no Close.

    At the end the peer aborts the connection, if it is not closed.
    """

    connection: Connection
    """Our end."""

    def __init__(
        self,
        role: Role = Role.SERVER,
        *,
        handler: Handler | None = None,
        chunk_size: int | None = None,
        **options: Any,
    ) -> None:
        if role is Role.SERVER and handler is not None:
            raise TypeError("a handler runs on a server's connection: the peer has to be Role.CLIENT")
        self.role = role
        self._handler = handler
        self._chunk_size = chunk_size
        self._options = options
        self._encoder = FrameEncoder(role)
        self._decoder: Any = FrameDecoder(role, max_frame_size=None, allowed_rsv=4)
        self._handshake: ClientHandshake | ServerHandshake | None = None
        self._frames: deque[Frame] = deque()
        self._has_ended = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._done = asyncio.Event()
        await (self._accept() if self.role is Role.SERVER else self._connect())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.transport.is_closing():
            self.transport.abort()
        await self.connection.wait_closed()
        self._done.set()
        if self.role is Role.CLIENT:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self) -> None:
        compression: Compression = self._options.get("compression")
        self._handshake = ServerHandshake(
            subprotocols=self._options.get("subprotocols"), compression=compression
        )
        dialled = _ConnectToPeer(URI, **self._options)
        dialled.peer = self
        self.connection = await dialled

    async def _connect(self) -> None:
        accepted: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

        async def handler(ws: ServerConnection) -> None:
            accepted.set_result(ws)
            if self._handler is None:
                await self._done.wait()
            else:
                await self._handler(ws)

        self._server = listen(handler, self._options)
        await self._server
        self._handshake = handshake = ClientHandshake(
            URI,
            subprotocols=self._options.get("subprotocols"),
            compression=self._options.get("compression"),
        )
        join(self, self._server._new_connection(self._server), self._chunk_size)
        self.transport.write(handshake.data_to_send())
        self.connection = await accepted

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("MemoryTransport", transport)
        """The transport: ``pause_reading``, ``write_eof``, ``abort``, ... are at your disposal."""

    def data_received(self, data: bytes) -> None:
        handshake = self._handshake
        if handshake is not None:
            handshake.receive_data(data)
            if isinstance(handshake, ServerHandshake):
                if handshake.request is None:
                    return
                handshake.send_response(handshake.accept())
                self.transport.write(handshake.data_to_send())
            elif not handshake.done:
                return
            self._handshake = None
            data = handshake.take_trailing_data()
        self._frames += self._decoder.feed(data)
        self._news.set()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        self._news.set()

    # What a script says

    def send(self, message: str | Buffer) -> None:
        """Send a message in one frame: ``str`` as text, bytes-like as binary."""
        self.transport.write(self._encoder.message(message))

    def send_frame(
        self, opcode: Opcode, payload: str | Buffer = b"", *, fin: bool = True, rsv1: bool = False
    ) -> None:
        """Send one frame as told, without regard to the frames before it (RFC 6455 5.2)."""
        if isinstance(payload, str):
            payload = payload.encode()
        self.transport.write(self._encoder.frame(opcode, payload, fin, rsv1))

    def send_bytes(self, data: Buffer) -> None:
        """Send bytes as they are."""
        self.transport.write(data)

    def send_close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Send a Close frame (RFC 6455 5.5.1)."""
        self.transport.write(self._encoder.close(code, reason))

    async def receive(self) -> Frame | None:
        """Return the next frame of our end, unmasked; None at the end of TCP.

        Raises:
            AssertionError: our end sent something that is no frame.
        """
        while not self._frames:
            if self._decoder.failure is not None:
                raise AssertionError(f"this end sent no legal frame: {self._decoder.failure}")
            if self._has_ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    async def expect(self, opcode: Opcode, payload: str | bytes | None = None) -> Frame:
        """Receive the next frame, and check it; ``payload=None`` is any.

        Raises:
            AssertionError: the frame is another one, or there is none.
        """
        frame = await self.receive()
        wanted = payload.encode() if isinstance(payload, str) else payload
        if frame is None or frame.opcode is not opcode or wanted not in (None, frame.payload):
            expected = opcode.name if wanted is None else f"{opcode.name} {wanted!r}"
            raise AssertionError(f"expected {expected}, received {frame}")
        return frame

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Do the closing handshake (RFC 6455 7.1.2): send a Close frame, wait for the answer, close TCP.

        Raises:
            AssertionError: our end closes TCP without an answer.
        """
        self.send_close(code)
        while (frame := await self.receive()) is None or frame.opcode is not Opcode.CLOSE:
            if frame is None:
                raise AssertionError("TCP was closed without a Close frame")
        self.transport.close()
        await self.connection.wait_closed()


class _ConnectToPeer(connect):
    """Connects to a peer that is no server of ours."""

    peer: ScriptedPeer

    async def _open_tcp(self, factory: Any, attempt: Any) -> ClientConnection:
        client: ClientConnection = factory()
        join(client, self.peer, self.peer._chunk_size)
        return client
