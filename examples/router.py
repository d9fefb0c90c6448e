"""A server with a handler for each path. It needs ``pip install 'wsfast[router]'``.

python examples/router.py
wsfast connect ws://127.0.0.1:8765/room/7
"""

import asyncio

from werkzeug.routing import Map, Rule

from wsfast import route
from wsfast.asyncio import Server, ServerConnection


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def room(ws: ServerConnection, number: int) -> None:
    await ws.send(f"this is room {number}")
    await echo(ws)


PATHS = Map([Rule("/echo", endpoint=echo), Rule("/room/<int:number>", endpoint=room)])


def make_server(port: int = 8765) -> Server:
    return route(PATHS, "127.0.0.1", port)


if __name__ == "__main__":
    asyncio.run(make_server().serve_forever())
