"""Prices with Starlette: a slow client gets the last price of a share, and not all prices.

uvicorn --ws wsfast.uvicorn:WebSocketProtocol --app-dir examples starlette_rooms:app

It needs ``pip install wsfast starlette uvicorn``. For several workers give ``Rooms`` a bus, as in fastapi_rooms.py.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from wsfast.rooms import Rooms

rooms = Rooms()


async def follow(websocket: WebSocket) -> None:
    await websocket.accept()
    for share in websocket.query_params.getlist("share"):
        rooms.join(share, websocket)
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def publish_prices(shares: tuple[str, ...] = ("ABC", "XYZ")) -> None:
    while True:
        for share in shares:
            price = random.randrange(100, 200)
            rooms.publish(share, f"{share} {price}", slow="drop_oldest", coalesce=share)
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with rooms:
        task = asyncio.create_task(publish_prices())
        yield
        task.cancel()


app = Starlette(routes=[WebSocketRoute("/prices", follow)], lifespan=lifespan)
