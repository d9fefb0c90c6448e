"""Both roles on trio: with a URI and a name the client, as ``echo_client.py``, else the server, as ``echo_server.py``.

As those, it prints the codec in use first; the server adds the port it listens on.
"""

import argparse
import contextlib
import functools
import traceback
from typing import Any
from urllib.parse import quote

import trio

from wsfast import ConnectionClosed
from wsfast.codec import IMPLEMENTATION
from wsfast.trio import Connection, connect, serve

# The largest messages of the suite are those of 9.1.6 and 9.2.6. A Ping of ours, which comes after 20 s on a slow
# machine, ends a case of groups 12 and 13 there.
OPTIONS: dict[str, Any] = {"compression": "deflate", "max_size": 16 * 2**20, "ping_interval": None}


async def echo(ws: Connection) -> None:
    async for message in ws:
        await ws.send(message)


async def run_server() -> int:
    async with trio.open_nursery() as nursery:
        start = functools.partial(serve, echo, 0, host="127.0.0.1", **OPTIONS)
        server = await nursery.start(start)
        print(IMPLEMENTATION, server.listeners[0].socket.getsockname()[1], flush=True)
    return 0


async def run_client(uri: str, agent: str) -> int:
    print(IMPLEMENTATION, flush=True)
    async with connect(f"{uri}/getCaseCount") as ws:
        n_cases = int(await ws.recv())
    status = 0
    for case in range(1, n_cases + 1):
        try:
            async with connect(f"{uri}/runCase?case={case}&agent={quote(agent)}", **OPTIONS) as ws:
                # Half of the cases break the protocol, on which wsfast fails the connection.
                with contextlib.suppress(ConnectionClosed):
                    await echo(ws)
        except Exception:
            # Seen by whoever runs this; the other cases shall have their results nevertheless.
            traceback.print_exc()
            status = 1
    async with connect(f"{uri}/updateReports?agent={quote(agent)}") as ws:
        await ws.wait_closed()
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", nargs="?", help="where the suite listens, as ws://127.0.0.1:9001")
    parser.add_argument("agent", nargs="?", help="our name in the suite's reports")
    arguments = parser.parse_args()
    if arguments.uri is None:
        raise SystemExit(trio.run(run_server))
    raise SystemExit(trio.run(run_client, arguments.uri, arguments.agent))
