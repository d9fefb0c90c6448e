"""``NatsBus``: rooms over core NATS, by nats-py: ``wsfast[nats]``.

Each channel is a subject: its characters are quoted as in a URI, dots included, and a long one is hashed. nats-py could
connect again by itself, but it keeps what is published meanwhile, and tells nobody of what was missed. So that is
switched off, and ``link.py`` does it. The other options of ``nats.connect`` are free, several servers among them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

__all__ = ["NatsBus"]

# Bytes of a subject, after the prefix: nats-py reads a line of up to 1,024.
_MAX_SUBJECT_SIZE = 300

# Messages and bytes of one subscription that wait for the event loop: more count as lost.
_MAX_WAITING, _MAX_WAITING_SIZE = 65_536, 64 * 2**20


class NatsBus:
    """A bus over NATS. ``servers`` and ``options`` are those of ``nats.connect``.

    Subjects begin with ``prefix``: processes with the same one share their rooms. A message and its head have to fit
    into ``max_payload`` of the server, 1 MiB by default; a larger one stays in its process, and is told as a gap.
    """

    def __init__(
        self, servers: str | list[str] = "nats://localhost:4222", *, prefix: str = "wsfast", **options: Any
    ) -> None:
        self._servers, self._prefix, self._options = servers, prefix, options
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._receive: Callable[[str, bytes], bool] | None = None
        self._lost: Callable[[BaseException], object] | None = None

    async def start(
        self, receive: Callable[[str, bytes], bool], lost: Callable[[BaseException], object]
    ) -> int | None:
        self._receive, self._lost = receive, lost
        self._client = client = Client()
        await client.connect(
            self._servers,
            **{"max_reconnect_attempts": 1, "reconnect_time_wait": 0.1, "ping_interval": 20}
            | self._options
            | {
                "allow_reconnect": False,
                "no_echo": False,
                "error_cb": self._failed,
                "closed_cb": self._closed,
            },
        )
        max_payload: int = client.max_payload
        return max_payload

    async def _failed(self, error: BaseException) -> None:
        if self._lost is not None and self._client is not None and self._client.is_connected:
            self._lost(error)  # such as a subscription that was too slow

    async def _closed(self) -> None:
        if self._lost is not None:
            self._lost(ConnectionError("the connection to NATS is closed"))

    def _subject(self, channel: str) -> str:
        name = quote(channel, safe="").replace(".", "%2E")
        if len(name) > _MAX_SUBJECT_SIZE:
            name = "%%" + hashlib.sha256(channel.encode()).hexdigest()
        return f"{self._prefix}.{name}"

    async def subscribe(self, channels: Sequence[str]) -> None:
        client = self._connected()
        for channel in channels:

            async def receive(message: Msg, channel: str = channel) -> None:
                if self._receive is not None and self._receive(channel, message.data):
                    await asyncio.sleep(0)

            self._subscriptions[channel] = await client.subscribe(
                self._subject(channel),
                cb=receive,
                pending_msgs_limit=_MAX_WAITING,
                pending_bytes_limit=_MAX_WAITING_SIZE,
            )
        await self._confirmed(client)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            await self._subscriptions.pop(channel).unsubscribe()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        client = self._connected()
        for channel, payload in messages:
            await client.publish(self._subject(channel), payload)
        await self._confirmed(client)

    async def _confirmed(self, client: Client) -> None:
        """Wait until the server has taken all commands: it answers a PING after them."""
        seconds = 0.0
        while client.pending_data_size:  # nats-py writes a PING before the commands that wait
            await asyncio.sleep(seconds)
            seconds = 0.001
        await client.flush()

    def _connected(self) -> Client:
        if self._client is None:
            raise ConnectionError("not connected to NATS")
        return self._client

    async def stop(self) -> None:
        self._receive = self._lost = None
        self._subscriptions.clear()
        client, self._client = self._client, None
        if client is not None:
            await client.close()
