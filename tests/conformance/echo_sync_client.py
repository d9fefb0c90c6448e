"""The client that the Autobahn test suite serves its cases to, in a thread. As ``echo_client.py``."""

import argparse
import contextlib
import traceback
from urllib.parse import quote

from wsfast import ConnectionClosed
from wsfast.codec import IMPLEMENTATION
from wsfast.sync import connect

# The largest messages of the suite, in 9.1.6 and 9.2.6.
MAX_SIZE = 16 * 2**20


def echo(uri: str) -> None:
    # Half of the cases break the protocol, on which wsfast fails the connection.
    with connect(uri, compression="deflate", max_size=MAX_SIZE) as ws, contextlib.suppress(ConnectionClosed):
        for message in ws:
            ws.send(message)


def main(uri: str, agent: str) -> int:
    print(IMPLEMENTATION, flush=True)
    with connect(f"{uri}/getCaseCount") as ws:
        n_cases = int(ws.recv())
    status = 0
    for case in range(1, n_cases + 1):
        try:
            echo(f"{uri}/runCase?case={case}&agent={quote(agent)}")
        except Exception:
            # Seen by whoever runs this; the other cases shall have their results nevertheless.
            traceback.print_exc()
            status = 1
    with connect(f"{uri}/updateReports?agent={quote(agent)}") as ws:
        ws.wait_closed()
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="where the suite listens, as ws://127.0.0.1:9001")
    parser.add_argument("agent", help="our name in the suite's reports")
    arguments = parser.parse_args()
    raise SystemExit(main(arguments.uri, arguments.agent))
