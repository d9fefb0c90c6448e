"""A chat on trio: everybody hears everybody, and a client that waits no longer than a second for an answer.

python examples/trio_chat.py
"""

import trio

from wsfast.trio import ServerConnection, broadcast, connect, serve


async def chat(ws: ServerConnection) -> None:
    async for message in ws:
        broadcast(ws.server.connections, message)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, chat, 0)
        async with server:  # it is closed at the end of the block
            port = server.listeners[0].socket.getsockname()[1]
            # proxy=None: this machine needs none. By default the environment (https_proxy, no_proxy, ...) names it.
            async with connect(f"ws://localhost:{port}/", proxy=None) as ws:
                await ws.send("Hello!")
                print(await ws.recv())
                with trio.move_on_after(1) as waiting:
                    await ws.recv()  # nobody says anything: cancelled, it has taken no message
                print("nobody answers" if waiting.cancelled_caught else "somebody answers")


if __name__ == "__main__":
    trio.run(main)
