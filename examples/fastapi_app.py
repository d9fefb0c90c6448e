"""A chat with FastAPI: each message goes to all. It needs ``pip install wsfast fastapi uvicorn``.

    uvicorn --ws wsfast.uvicorn:WebSocketProtocol --app-dir examples fastapi_app:app

The program does not mention wsfast: the command line tells the server which class to use.
"""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
members: dict[WebSocket, str] = {}


async def tell_all(text: str) -> None:
    for member in list(members):
        try:
            await member.send_text(text)
        except (WebSocketDisconnect, RuntimeError):
            members.pop(member, None)  # it left just now; its own loop ends too


@app.websocket("/chat/{name}")
async def chat(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    members[websocket] = name
    try:
        await tell_all(f"{name} is here")
        async for text in websocket.iter_text():
            await tell_all(f"{name}: {text}")
    finally:
        members.pop(websocket, None)
        await tell_all(f"{name} left")
