"""An ASGI echo server in uvicorn, with wsfast's class for its WebSocket connections.

Prints the codec in use and the port it listens on, then serves until it is stopped.
"""

import argparse
import asyncio
import contextlib
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.utils import ClientDisconnected

from wsfast.codec import IMPLEMENTATION


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    # The peer may have gone before its last message is answered.
    with contextlib.suppress(ClientDisconnected):
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})


async def main() -> None:
    config = uvicorn.Config(
        echo, ws="wsfast.uvicorn:WebSocketProtocol", lifespan="off", log_level="warning", access_log=False
    )
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        print(IMPLEMENTATION, listener.getsockname()[1], flush=True)
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    loop_factory = None
    if parser.parse_args().uvloop:
        from uvloop import new_event_loop as loop_factory
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
