"""A message in parts: the server answers with words as it finds them, and the client prints each as it comes.

python examples/streaming.py
"""

import asyncio
from collections.abc import AsyncIterator

from wsfast import connect, serve
from wsfast.asyncio import ServerConnection


async def words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield f"{word} "
        await asyncio.sleep(0.1)  # as a model does that thinks


async def answer(ws: ServerConnection) -> None:
    async for question in ws:
        await ws.send(words(f"you asked: {question}"))  # one message, a fragment for each word


async def main() -> None:
    async with serve(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        # proxy=None: this machine needs none. By default the environment (https_proxy, no_proxy, ...) names it.
        async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as ws:
            await ws.send("what is a frame?")
            async for part in ws.recv_streaming():
                print(part, end="", flush=True)
            print()


if __name__ == "__main__":
    asyncio.run(main())
