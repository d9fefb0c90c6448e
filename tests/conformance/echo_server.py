"""The server that the Autobahn test suite connects to: an echo server as any user of wsfast would write it.

Prints the codec in use and the port it listens on, then serves until it is stopped.
"""

import argparse
import asyncio

from wsfast import serve
from wsfast.asyncio import ServerConnection
from wsfast.codec import IMPLEMENTATION

# The largest messages of the suite, in 9.1.6 and 9.2.6.
MAX_SIZE = 16 * 2**20


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    async with serve(echo, "127.0.0.1", 0, compression="deflate", max_size=MAX_SIZE) as server:
        print(IMPLEMENTATION, server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    loop_factory = None
    if parser.parse_args().uvloop:
        from uvloop import new_event_loop as loop_factory
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
