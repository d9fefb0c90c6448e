"""A server that lets users in by name and password, and a client that reconnects for ever.

    python examples/basic_auth.py serve
    python examples/basic_auth.py connect

Send passwords over TLS only: give ``serve`` an ``ssl=`` context, and use wss://.
"""

import asyncio
import sys

from wsfast import ConnectionClosed, basic_auth, connect, serve
from wsfast.asyncio import ClientConnection, ServerConnection

PASSWORDS = {"admin": "secret"}


async def check(user: str, password: str) -> bool:
    return PASSWORDS.get(user) == password  # or ask a database


async def greet(ws: ServerConnection) -> None:
    await ws.send(f"Hello, {ws.username}!")
    async for message in ws:
        await ws.send(message)


async def run_server(port: int = 8765) -> None:
    auth = basic_auth("example", check_credentials=check)
    async with serve(greet, "127.0.0.1", port, process_request=auth) as server:
        await server.serve_forever()


async def say(ws: ClientConnection) -> None:
    print(await ws.recv())


async def run_client(uri: str = "ws://admin:secret@127.0.0.1:8765/") -> None:
    async for ws in connect(uri):  # again whenever the connection is lost; a wrong password is an exception
        try:
            await say(ws)
            await ws.wait_closed()
        except ConnectionClosed:
            continue


if __name__ == "__main__":
    asyncio.run(run_server() if sys.argv[1:] == ["serve"] else run_client())
