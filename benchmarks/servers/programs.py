"""Echo servers of wsfast and of other packages, for the benchmarks of this folder.

Each is written like the examples of its documentation, with the same settings: no compression, no keepalive,
TCP_NODELAY. This file measures nothing.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ..common.cases import KEY, frame, text_of
from ..common.client import answer
from ..common.program import Program


async def serve_raw(listening: socket.socket, **options: Any) -> object:
    """No WebSocket: send as many bytes back as an echo has. The request's path gives the sizes of both frames."""

    class Raw(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.request_size = 0
            self.n_received = 0
            self.response = b""

        def data_received(self, data: bytes) -> None:
            if self.request_size:
                n_frames, self.n_received = divmod(self.n_received + len(data), self.request_size)
                self.transport.write(self.response * n_frames)
            else:
                request_size, response_size = data.split()[1].strip(b"/").split(b"/")
                self.request_size = int(request_size)
                self.response = bytes(int(response_size))
                self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    return await asyncio.get_running_loop().create_server(Raw, sock=listening, **options)


async def serve_picows(listening: socket.socket) -> object:
    """The callback core."""
    from picows import WSListener, WSMsgType, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            opcode = frame.msg_type  # read once, because each read looks up an enum member
            if opcode == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            else:
                transport.send(opcode, frame.get_payload_as_memoryview())

    return await ws_create_server(lambda request: Echo(), sock=listening)


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


async def serve_picows_websockets(listening: socket.socket) -> object:
    from picows.websockets.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None)


async def serve_wsfast(listening: socket.socket) -> object:
    from wsfast.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None)


async def serve_wsfast_callbacks(listening: socket.socket) -> object:
    from wsfast.asyncio import Listener, ListenerConnection
    from wsfast.asyncio.server import serve

    class Echo(Listener):
        def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
            connection.send(message)

    return await serve(listener=Echo, sock=listening, compression=None, ping_interval=None)


async def serve_wsfast_aiofastnet(listening: socket.socket) -> object:
    from wsfast.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None, aiofastnet=True)


async def serve_wsfast_own(listening: socket.socket) -> object:
    """On the transports of the loop, also where those of aiofastnet cost less."""
    from wsfast.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None, aiofastnet=False)


async def serve_websockets(listening: socket.socket) -> object:
    from websockets.asyncio.server import serve

    return await serve(echo, sock=listening, compression=None, ping_interval=None)


async def serve_aiohttp(listening: socket.socket) -> object:
    from aiohttp import WSMsgType, web

    async def handle(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
        return websocket

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.SockSite(runner, listening)
    await site.start()
    return site


async def serve_wsproto(listening: socket.socket) -> object:
    """wsproto has no I/O: it gets asyncio's simplest protocol."""
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.connection = WSConnection(ConnectionType.SERVER)
            self.parts: list[Any] = []

        def data_received(self, data: bytes) -> None:
            connection = self.connection
            connection.receive_data(data)
            for event in connection.events():
                match event:
                    case TextMessage() | BytesMessage():
                        self.parts.append(event.data)
                        if event.message_finished:
                            whole = event.data[:0].join(self.parts)
                            self.parts.clear()
                            self.transport.write(connection.send(type(event)(data=whole)))
                    case Request():
                        self.transport.write(connection.send(AcceptConnection()))
                    case Ping():
                        self.transport.write(connection.send(event.response()))
                    case CloseConnection():
                        self.transport.write(connection.send(event.response()))
                        self.transport.close()

    return await asyncio.get_running_loop().create_server(Echo, sock=listening)


async def serve_canned(listening: socket.socket, **options: Any) -> object:
    """For clients: answer each frame with the same text, without looking at it.

    The path gives the size of a text, or that of the request and that of the answer.
    """

    class Canned(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.request_size = self.n_received = 0
            self.response = b""

        def data_received(self, data: bytes) -> None:
            if self.request_size:
                n_frames, self.n_received = divmod(self.n_received + len(data), self.request_size)
                self.transport.write(self.response * n_frames)
            else:
                sizes = [int(size) for size in data.split()[1].strip(b"/").split(b"/")]
                request, response = text_of("ASCII", sizes[0]), text_of("ASCII", sizes[-1])
                self.request_size, self.response = len(frame(request, KEY)), frame(response)
                self.transport.write(answer(data))

    return await asyncio.get_running_loop().create_server(Canned, sock=listening, **options)


PROGRAMS = {
    "canned": Program(serve_canned),
    "raw": Program(serve_raw),
    "picows": Program(serve_picows, "picows"),
    "picows.websockets": Program(serve_picows_websockets, "picows"),
    "wsfast": Program(serve_wsfast, codec="native"),
    "wsfast-callbacks": Program(serve_wsfast_callbacks, codec="native"),
    "wsfast-aiofastnet": Program(serve_wsfast_aiofastnet, "aiofastnet", codec="native"),
    "wsfast-own": Program(serve_wsfast_own, codec="native"),
    "wsfast-pure": Program(serve_wsfast, codec="fallback"),
    "websockets": Program(serve_websockets, "websockets"),
    "aiohttp": Program(serve_aiohttp, "aiohttp"),
    "wsproto": Program(serve_wsproto, "wsproto"),
}
