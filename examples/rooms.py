"""A chat with rooms: the path is the room. It needs ``pip install wsfast``.

    python examples/rooms.py

With a Redis, several of these are one chat; that needs ``pip install 'wsfast[redis]'``:

    REDIS_URL=redis://127.0.0.1:6379 PORT=8001 python examples/rooms.py
    REDIS_URL=redis://127.0.0.1:6379 PORT=8002 python examples/rooms.py
"""

import asyncio
import os

from wsfast import serve
from wsfast.rooms import Rooms


def tell_gap(room):
    print(f"{room}: messages of other processes may be missing")


def make_rooms():
    url = os.environ.get("REDIS_URL")
    if url is None:
        return Rooms()
    from wsfast.rooms.redis import RedisBus

    return Rooms(RedisBus(url), on_gap=tell_gap)


def make_handler(rooms):
    async def chat(ws):
        room = ws.request.path
        rooms.join(room, ws)  # it leaves by itself when it is closed
        async for message in ws:
            await rooms.publish(room, message)

    return chat


async def main():
    port = int(os.environ.get("PORT", "8001"))
    async with make_rooms() as rooms, serve(make_handler(rooms), "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
