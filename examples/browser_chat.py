"""A chat between a page in a browser and Python, with the same ``WebSocket`` at both ends.

Run it with ``python examples/browser_chat.py``, and open the address that it prints. What is typed there comes out
here, and what is typed here comes out there. docs/browser.md has both clients side by side.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from wsfast import broadcast, serve
from wsfast.asyncio import Server, ServerConnection
from wsfast.browser import WebSocket
from wsfast.http import Headers, Request, Response

PAGE = Path(__file__).with_name("browser_chat.html").read_bytes()


def page(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/chat":
        return None
    return Response(200, "OK", Headers({"Content-Type": "text/html; charset=utf-8"}), PAGE)


async def pass_on(connection: ServerConnection) -> None:
    async for message in connection:
        broadcast(connection.server.connections, message)


def chat_server(port: int) -> Server:
    return serve(pass_on, "127.0.0.1", port, process_request=page, subprotocols=["chat"])


def join(url: str) -> WebSocket:
    socket = WebSocket(url, "chat")

    socket.onopen = lambda event: socket.send("hello from Python")
    socket.onmessage = lambda event: print(event.data)
    socket.onerror = lambda event: print("no connection")
    socket.onclose = lambda event: print(f"closed: {event.code} {event.reason}")
    return socket


async def main(port: int = 8765) -> None:
    async with chat_server(port) as server:
        host, port = server.sockets[0].getsockname()
        print(f"http://{host}:{port}/")
        socket = join(f"http://{host}:{port}/chat")
        closed = asyncio.Event()
        socket.addEventListener("close", lambda event: closed.set(), once=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if socket.readyState == WebSocket.OPEN:
                socket.send(line.rstrip("\n"))
        socket.close(1000, "bye")
        await closed.wait()


if __name__ == "__main__":
    asyncio.run(main())
