"""The servers that ``echo.py`` measures; each is run as ``python benchmarks/echo_servers.py NAME LOOP``.

Each is written as its documentation has it, with the same settings: no compression, no keepalive, TCP_NODELAY.
Nothing here measures.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


async def serve_raw(listening: socket.socket) -> object:
    """No WebSocket: send as many bytes back as an echo has. The request's path tells the sizes of both frames."""

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

    return await asyncio.get_running_loop().create_server(Raw, sock=listening)


async def serve_picows(listening: socket.socket) -> object:
    """The callback core."""
    from picows import WSListener, WSMsgType, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            opcode = frame.msg_type  # asked for once: each time it looks an enum member up
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


@dataclass(frozen=True)
class Subject:
    """A server. ``needs`` is the package it cannot do without, ``environment`` what its process is given."""

    serve: Callable[[socket.socket], Awaitable[object]]
    needs: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


SUBJECTS = {
    "raw": Subject(serve_raw),
    "picows": Subject(serve_picows, "picows"),
    "picows.websockets": Subject(serve_picows_websockets, "picows"),
    "wsfast": Subject(serve_wsfast, environment={"WSFAST_PURE": ""}),
    "wsfast-pure": Subject(serve_wsfast, environment={"WSFAST_PURE": "1"}),
    "websockets": Subject(serve_websockets, "websockets"),
    "aiohttp": Subject(serve_aiohttp, "aiohttp"),
}


async def serve_until_stdin_closes(subject: Subject) -> None:
    """Write the port to standard output and serve. When the client closes our input, or dies, we end too."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux: accepted sockets inherit it.
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    _server = await subject.serve(listening)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
    print(listening.getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


def main(name: str, loop: str) -> None:
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        loop_factory = uvloop.new_event_loop
    gc.disable()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve_until_stdin_closes(SUBJECTS[name]))


if __name__ == "__main__":
    main(*sys.argv[1:])
