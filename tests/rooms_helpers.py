"""A broker in memory that can do all that a broker may do wrong; and real ones, which can be killed and started."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest


class MemoryBroker:
    """The channels of all buses that ``bus()`` makes."""

    def __init__(self) -> None:
        self.buses: list[MemoryBus] = []
        self.is_down = False
        self.hangs: set[str] = set()  # names of methods that never return
        self.is_mute = False  # takes messages and brings none
        self.limit: int | None = None
        self.published: list[tuple[str, bytes]] = []

    def bus(self) -> MemoryBus:
        return MemoryBus(self)

    def go_down(self) -> None:
        self.is_down = True
        for bus in list(self.buses):
            bus.lost(ConnectionError("the broker is gone"))

    def channels(self) -> list[str]:
        return sorted(channel for bus in self.buses for channel in bus.channels)

    def inject(self, channel: str, payload: bytes) -> None:
        for bus in self.buses:
            if channel in bus.channels:
                bus.receive(channel, payload)


class MemoryBus:
    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.channels: set[str] = set()
        self.calls: list[str] = []

    async def _answer(self, name: str) -> None:
        self.calls.append(name)
        while name in self.broker.hangs:
            await asyncio.sleep(0.5)
        await asyncio.sleep(0)
        if self.broker.is_down and name != "stop":
            raise ConnectionError("the broker is down")

    async def start(
        self, receive: Callable[[str, bytes], object], lost: Callable[[BaseException], object]
    ) -> int | None:
        await self._answer("start")
        self.receive, self.lost = receive, lost
        self.broker.buses.append(self)
        return self.broker.limit

    async def subscribe(self, channels: Sequence[str]) -> None:
        await self._answer("subscribe")
        self.channels |= set(channels)

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        await self._answer("unsubscribe")
        self.channels -= set(channels)

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        await self._answer("publish")
        self.broker.published += messages
        if not self.broker.is_mute:
            for channel, payload in messages:
                self.broker.inject(channel, payload)

    async def stop(self) -> None:
        self.channels.clear()
        if self in self.broker.buses:
            self.broker.buses.remove(self)
        await self._answer("stop")


def need(program: str) -> str:
    """Return the path of a server. Where CI runs it is there; elsewhere the test may be skipped."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"{program} is missing: .ci/run installs it")
        pytest.skip(f"{program} is not installed")
    return path


class Broker:
    """A process. ``url`` stays the same when it is started again."""

    url: str
    command: list[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 10
        while not self.answers():
            assert self.process.poll() is None, "the broker ended"
            assert time.monotonic() < limit, "the broker did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Broker):
    """On a socket in a folder: no port is needed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        path = folder / "redis.sock"
        self.path = str(path)
        self.url = f"unix://{path}"
        self.command = [need("redis-server"), "--port", "0", "--unixsocket", self.path, "--save", ""]
        self.command += ["--dir", str(folder), "--appendonly", "no"]

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(self.path)
                client.sendall(b"PING\r\n")
                return client.recv(7).startswith(b"+PONG")
            except OSError:
                return False


class NatsServer(Broker):
    """On a port that it chose the first time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = -1
        self.command = [need("nats-server"), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(folder)]

    def start(self) -> None:
        super().start()
        self.command[4] = str(self.port)
        self.url = f"nats://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        if self.port < 0:
            for ports in self.folder.glob("*.ports"):
                text = ports.read_text()
                if '"nats"' in text and "]" in text:
                    self.port = int(text.partition("127.0.0.1:")[2].partition('"')[0])
        if self.port < 0:
            return False
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class RedisCluster(Broker):
    """A cluster of one node, which has all slots. It has to have ports: another is taken if one is in use."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = 0

    def start(self) -> None:
        for _ in range(3 if self.port == 0 else 1):
            port, bus_port = self.port or free_port(), free_port()
            self.command = [need("redis-server"), "--bind", "127.0.0.1", "--port", f"{port}", "--save", ""]
            self.command += ["--cluster-enabled", "yes", "--cluster-port", f"{bus_port}"]
            self.command += ["--dir", str(self.folder)]
            self.address = ("127.0.0.1", port)
            try:
                super().start()
            except AssertionError:
                continue
            self.port, self.url = port, f"redis://127.0.0.1:{port}"
            return
        raise AssertionError("no cluster was started")

    def answers(self) -> bool:
        try:
            with socket.create_connection(self.address, 1) as client:
                client.sendall(b"CLUSTER ADDSLOTSRANGE 0 16383\r\nCLUSTER INFO\r\n")
                client.settimeout(0.2)
                received = b""
                while b"cluster_state:" not in received:
                    received += client.recv(4096)
                return b"cluster_state:ok" in received
        except OSError:
            return False
