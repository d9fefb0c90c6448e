"""An echo with Starlette, for clients that know the password. It needs ``pip install wsfast starlette uvicorn``.

uvicorn --ws wsfast.uvicorn:WebSocketProtocol --app-dir examples starlette_app:app

wscat --connect ws://127.0.0.1:8000/echo?password=secret
"""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket


async def echo(websocket: WebSocket) -> None:
    if websocket.query_params.get("password") != "secret":
        await websocket.send_denial_response(PlainTextResponse("Who are you?\n", status_code=401))
        return
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


app = Starlette(routes=[WebSocketRoute("/echo", echo)])
