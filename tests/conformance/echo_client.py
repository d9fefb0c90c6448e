"""The client that the Autobahn test suite serves its cases to: one connection a case, each echoes what comes.

The suite's server has a protocol of its own: /getCaseCount says how many cases there are, /runCase runs one
on the connection, /updateReports has it write its reports. Prints the codec in use; exits with 1 if a case
raised what a user of wsfast would not expect.
"""

import argparse
import asyncio
import contextlib
import traceback
from urllib.parse import quote

from wsfast import ConnectionClosed, connect
from wsfast.codec import IMPLEMENTATION

# The largest messages of the suite, in 9.1.6 and 9.2.6.
MAX_SIZE = 16 * 2**20


async def echo(uri: str) -> None:
    async with connect(uri, compression="deflate", max_size=MAX_SIZE) as ws:
        # Half of the cases break the protocol, on which wsfast fails the connection.
        with contextlib.suppress(ConnectionClosed):
            async for message in ws:
                await ws.send(message)


async def main(uri: str, agent: str) -> int:
    print(IMPLEMENTATION, flush=True)
    async with connect(f"{uri}/getCaseCount") as ws:
        n_cases = int(await ws.recv())
    status = 0
    for case in range(1, n_cases + 1):
        try:
            await echo(f"{uri}/runCase?case={case}&agent={quote(agent)}")
        except Exception:
            # Seen by whoever runs this; the other cases shall have their results nevertheless.
            traceback.print_exc()
            status = 1
    async with connect(f"{uri}/updateReports?agent={quote(agent)}") as ws:
        await ws.wait_closed()
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="where the suite listens, as ws://127.0.0.1:9001")
    parser.add_argument("agent", help="our name in the suite's reports")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    arguments = parser.parse_args()
    loop_factory = None
    if arguments.uvloop:
        from uvloop import new_event_loop as loop_factory
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        raise SystemExit(runner.run(main(arguments.uri, arguments.agent)))
