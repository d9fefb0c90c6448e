"""The server that the Autobahn test suite connects to, in threads. As ``echo_server.py``."""

from wsfast.codec import IMPLEMENTATION
from wsfast.sync import ServerConnection, serve

# The largest messages of the suite, in 9.1.6 and 9.2.6.
MAX_SIZE = 16 * 2**20


def echo(ws: ServerConnection) -> None:
    for message in ws:
        ws.send(message)


if __name__ == "__main__":
    with serve(echo, "127.0.0.1", 0, compression="deflate", max_size=MAX_SIZE) as server:
        print(IMPLEMENTATION, server.sockets[0].getsockname()[1], flush=True)
        server.serve_forever()
