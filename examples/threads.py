"""A chat in threads: a server that passes each message on to all, and two clients that wait for messages with a limit.

python examples/threads.py
"""

import threading

from wsfast.exceptions import ConnectionClosed
from wsfast.sync import ServerConnection, broadcast, connect, serve


def chat(ws: ServerConnection) -> None:
    """Runs in a thread of its own for each connection."""
    for message in ws:
        broadcast(ws.server.connections, message)


def main() -> None:
    with serve(chat, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        # proxy=None: this machine needs none. By default the environment (https_proxy, no_proxy, ...) names it.
        with connect(uri, proxy=None) as ann:
            ann.send("ann: is anybody there?")
            print(ann.recv(timeout=5))
            with connect(uri, proxy=None) as bob:
                bob.send("bob: I am")
                print(ann.recv(timeout=5))
            try:
                ann.recv(timeout=0.1)
            except TimeoutError:
                print("nothing more for now")
            # Any thread may send, and close; one at a time receives.
            threading.Timer(0.1, ann.close).start()
            try:
                ann.recv()
            except ConnectionClosed as closed:
                print("ann left:", closed)


if __name__ == "__main__":
    main()
