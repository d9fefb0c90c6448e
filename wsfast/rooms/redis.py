"""``RedisBus``: rooms over the pub/sub of Redis or Valkey, by redis-py's asyncio client: ``wsfast[redis]``.

Each channel is a channel of Redis. redis-py connects again, and subscribes again, by itself, without telling anybody of
the messages that were missed. So a connection that it makes anew counts as lost here, and ``link.py`` does the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

__all__ = ["RedisBus"]


def _nobody(*args: object) -> bool:
    """Take calls before the start and after the stop."""
    return False


class RedisBus:
    """A bus over one Redis, or with ``sharded=True`` over the shards of a Redis Cluster.

    ``url`` and ``options`` are those of ``redis.asyncio.from_url``, such as ``rediss://user:password@host:6379``. But
    ``socket_timeout`` has no effect, as ``Rooms`` has the time limits. Channels begin with ``prefix``: processes with
    the same one share their rooms.

    Without ``sharded`` any server will do; in a cluster each message goes to all of its nodes. With it each channel
    belongs to one node, so that a cluster carries more; that needs Redis 7 and redis-py 8.
    """

    def __init__(self, url: str, *, prefix: str = "wsfast:", sharded: bool = False, **options: Any) -> None:
        if sharded and not hasattr(PubSub, "ssubscribe"):
            raise RuntimeError("sharded=True needs redis-py 8")
        self._url, self._prefix, self._sharded = url, prefix.encode(), sharded
        self._options = options | {"decode_responses": False, "socket_timeout": None}
        self._cluster: RedisCluster | None = None
        self._nodes: dict[str, _Node] = {}  # by "host:port"; without a cluster there is one, ""
        self._receive: Callable[[str, bytes], bool] = _nobody
        self._lost: Callable[[BaseException], object] = _nobody

    async def start(
        self, receive: Callable[[str, bytes], bool], lost: Callable[[BaseException], object]
    ) -> int | None:
        self._receive, self._lost = receive, lost
        node = self._add_node("", {})
        info = await node.client.info("cluster") if self._sharded else {}
        if info.get("cluster_enabled"):
            del self._nodes[""]
            await node.close()
            self._cluster = RedisCluster.from_url(self._url, **self._options)
            await self._cluster.initialize()
        else:
            await node.client.ping()
        return 512 * 2**20 - 1024  # proto-max-bulk-len

    def _add_node(self, name: str, place: dict[str, Any]) -> _Node:
        # Without another attempt, which would connect again without a word.
        client = Redis.from_url(self._url, **self._options, retry=Retry(NoBackoff(), 0))
        client.connection_pool.connection_kwargs.update(place)
        node = self._nodes[name] = _Node(self, client, self._sharded)
        return node

    def _node_of(self, channel: bytes) -> _Node:
        if self._cluster is None:
            return self._nodes[""]
        place = self._cluster.get_node_from_key(channel)
        if place is None:
            raise RedisError("no node of the cluster has the slot of a channel")
        name = f"{place.host}:{place.port}"
        return self._nodes.get(name) or self._add_node(name, {"host": place.host, "port": place.port})

    def _by_node(self, channels: Sequence[str]) -> dict[_Node, list[bytes]]:
        found: dict[_Node, list[bytes]] = {}
        for channel in channels:
            name = self._prefix + channel.encode()
            found.setdefault(self._node_of(name), []).append(name)
        return found

    async def subscribe(self, channels: Sequence[str]) -> None:
        for node, names in self._by_node(channels).items():
            await node.subscribe(names)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        for node, names in self._by_node(channels).items():
            await node.unsubscribe(names)

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        command = "SPUBLISH" if self._sharded else "PUBLISH"
        pipelines: dict[_Node, Any] = {}
        for channel, payload in messages:
            name = self._prefix + channel.encode()
            node = self._node_of(name)
            if node not in pipelines:
                pipelines[node] = node.client.pipeline(transaction=False)
            pipelines[node].execute_command(command, name, payload)
        for pipeline in pipelines.values():
            await pipeline.execute()

    def received(self, channel: bytes, payload: bytes) -> bool:
        return self._receive(channel.removeprefix(self._prefix).decode(errors="replace"), payload)

    def lost(self, error: BaseException) -> None:
        self._lost(error)

    async def stop(self) -> None:
        self._receive = self._lost = _nobody
        nodes, self._nodes = self._nodes, {}
        cluster, self._cluster = self._cluster, None
        for node in nodes.values():
            await node.close()
        if cluster is not None:
            await cluster.aclose()


class _Node:
    """A server: a client for what is published, and a connection for what is subscribed."""

    def __init__(self, bus: RedisBus, client: Redis, sharded: bool) -> None:
        self.client = client
        self._bus = bus
        self._pubsub = client.pubsub()
        self._subscribe = self._pubsub.ssubscribe if sharded else self._pubsub.subscribe
        self._unsubscribe = self._pubsub.sunsubscribe if sharded else self._pubsub.unsubscribe
        self._sharded = sharded
        self._reader: asyncio.Task[None] | None = None
        self._awaited: set[bytes] = set()  # channels whose confirmation we wait for
        self._confirmed = asyncio.Event()

    async def _change(self, command: Callable[..., Awaitable[object]], channels: list[bytes]) -> None:
        """Subscribe to channels, or unsubscribe, and wait for each confirmation."""
        self._awaited = set(channels)
        self._confirmed.clear()
        # One command may name the channels of one slot only, where there are slots.
        for some in [[channel] for channel in channels] if self._sharded else [channels]:
            await command(*some)
        if self._reader is None:
            self._pubsub.connection.register_connect_callback(self._connected_again)
            self._reader = asyncio.create_task(self._read())
        await self._confirmed.wait()

    async def subscribe(self, channels: list[bytes]) -> None:
        await self._change(self._subscribe, channels)

    async def unsubscribe(self, channels: list[bytes]) -> None:
        await self._change(self._unsubscribe, channels)

    async def _connected_again(self, connection: object) -> None:
        self._bus.lost(ConnectionError("redis-py has connected again"))

    async def _read(self) -> None:
        try:
            while True:
                message = await self._pubsub.get_message(timeout=None)
                if message is None:
                    continue
                kind, channel = message["type"], message["channel"]
                if kind == "message" or kind == "smessage":
                    if self._bus.received(channel, message["data"]):
                        await asyncio.sleep(0)
                elif channel in self._awaited:
                    self._awaited.remove(channel)
                    if not self._awaited:
                        self._confirmed.set()
                elif kind == "sunsubscribe":
                    raise ConnectionError("a slot of the cluster has moved")
        except Exception as error:
            self._bus.lost(error)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        with contextlib.suppress(RedisError, OSError):
            await self._pubsub.aclose()
        await self.client.aclose()
