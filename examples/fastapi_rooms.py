"""A chat with rooms in FastAPI, for several workers. It needs ``pip install 'wsfast[redis]' fastapi uvicorn``.

    export REDIS_URL=redis://127.0.0.1:6379
    uvicorn --ws wsfast.uvicorn:WebSocketProtocol --workers 2 --app-dir examples fastapi_rooms:app

Without ``REDIS_URL`` each worker has rooms of its own.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket

from wsfast.rooms import Rooms


def make_rooms() -> Rooms:
    url = os.environ.get("REDIS_URL")
    if url is None:
        return Rooms()
    from wsfast.rooms.redis import RedisBus

    return Rooms(RedisBus(url))


rooms = make_rooms()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with rooms:
        yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/chat/{room}")
async def chat(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    rooms.join(room, websocket)  # it leaves by itself when it is closed
    async for text in websocket.iter_text():
        await rooms.publish(room, text)


@app.post("/news/{room}")
async def news(room: str, text: str) -> dict[str, int]:
    report = await rooms.publish(room, text)
    return {"members of this worker": len(report)}
