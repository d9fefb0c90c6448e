"""A server of ``test_rooms_brokers.py``: ``python rooms_worker.py KIND URL``. It prints its port, and ends with stdin.

The path is the room, and each message is published to it. A gap is told to its members.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import unquote

import wsfast
from wsfast.rooms import Bus, Rooms


def bus_of(kind: str, url: str, **options: Any) -> Bus:
    if kind == "nats":
        from wsfast.rooms.nats import NatsBus

        return NatsBus(url, **options)
    from wsfast.rooms.redis import RedisBus

    return RedisBus(url, sharded=kind != "redis", **options)


async def main(kind: str, url: str) -> None:
    def on_gap(room: str) -> None:
        wsfast.broadcast(rooms.members(room), "gap")

    rooms = Rooms(bus_of(kind, url), on_gap=on_gap)

    async def handler(ws: Any) -> None:
        room = unquote(ws.request.path[1:])
        rooms.join(room, ws)
        await rooms.subscribed(room)
        await ws.send("ready")
        async for message in ws:
            rooms.publish(room, message)

    async with rooms, wsfast.serve(handler, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
