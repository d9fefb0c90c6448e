"""Callbacks at both ends: a feed of prices, and a client that prints five of them.

Run it with ``python examples/callbacks.py``. docs/callbacks.md says when callbacks are right.
"""

from __future__ import annotations

import asyncio
import itertools
import json

from wsfast.asyncio import Listener, ListenerConnection, broadcast, connect, serve
from wsfast.exceptions import ConnectionClosed


class Feed(Listener):
    """One listener for all connections: who sends the name of a share gets its prices."""

    def __init__(self) -> None:
        self.subscribers: dict[str, set[ListenerConnection]] = {}

    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        if isinstance(message, bytes):
            connection.fail(1003, "send the name of a share")  # 1003: a type of data that we do not take
            return
        self.subscribers.setdefault(message, set()).add(connection)

    def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
        for connections in self.subscribers.values():
            connections.discard(connection)

    def publish(self, share: str, price: float) -> None:
        broadcast(self.subscribers.get(share, ()), json.dumps({"share": share, "price": price}))


class Printer(Listener):
    """Asks for prices, prints some, and closes the connection."""

    def __init__(self, share: str, n_prices: int) -> None:
        self.share = share
        self.n_left = n_prices

    def on_open(self, connection: ListenerConnection) -> None:
        connection.send(self.share)

    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        if self.n_left:
            print(json.loads(message))
            self.n_left -= 1
            if not self.n_left:
                connection.close()

    def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
        print(closed)


async def publish_for_ever(feed: Feed) -> None:
    for number in itertools.count():
        feed.publish("ACME", 100 + number % 7)
        await asyncio.sleep(0.01)


async def main() -> None:
    feed = Feed()
    publishing = asyncio.create_task(publish_for_ever(feed))
    async with serve(listener=feed, host="127.0.0.1", port=0) as server:
        host, port = server.sockets[0].getsockname()
        connection = await connect(f"ws://{host}:{port}/", listener=Printer("ACME", 5))
        await connection.wait_closed()
    publishing.cancel()


if __name__ == "__main__":
    asyncio.run(main())
