"""The cost of a message to a large room: ``python -m benchmarks.servers.rooms``.

In one process: 1 KiB to all members, of whom 1 % read nothing. ``Rooms.publish`` takes turns with a bare loop of
``transport.write`` over the same connections, which sends the same bytes, and with a loop that takes no heed of those
who read nothing. CPU of the server per member; ``held`` is the time in which nothing else runs.

``--redis`` starts a redis-server and three server processes instead. One client publishes at a steady rate to a room
with members at all of them. Each member checks that it gets every message, in order. Latency is from the client's send
to its receipt by a member, so that it has the client's own work in it. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..common.cases import KEY, frame, text_of
from ..common.client import Client
from ..common.machine import announce, use_one_core
from ..common.program import Program
from ..common.race import Sampled, median_ratio, race
from ..common.report import Bar, Table, add_options, finish
from ..common.server import Server, ServerError, running, usable_loop
from .fanout import allow_descriptors

MODULE = "benchmarks.servers.rooms"
SIZE = 1024
MESSAGE = text_of("ASCII", SIZE)
FRAME = frame(MESSAGE)
ROOM = "room"
N_PROCESSES = 3

# One server


async def serve_one(listening: Any) -> object:
    """The path ``/dead`` is one that reads nothing. A member's text says what to do."""
    from wsfast import serve
    from wsfast.rooms import Rooms

    rooms = Rooms()
    dead: list[Any] = []

    def fill() -> None:
        """Write to those who read nothing until the kernel takes no more."""
        for connection in dead:
            while connection.transport.get_write_buffer_size() < 65_536:
                connection.transport.write(frame(bytes(16_384)))

    def loop() -> None:
        for connection in rooms.members(ROOM):
            connection.transport.write(FRAME)

    commands = {
        "fill": fill,
        "loop": loop,
        "rooms": lambda: rooms.publish(ROOM, MESSAGE, slow="drop_oldest"),
        "rooms, close": lambda: rooms.publish(ROOM, MESSAGE),
    }

    async def handler(websocket: Any) -> None:
        rooms.join(ROOM, websocket)
        if websocket.request.path == "/dead":
            dead.append(websocket)
        if websocket.request.path == "/":
            rooms.leave(ROOM, websocket)  # the one that says what to do
        async for message in websocket:
            start = time.perf_counter()
            cpu = time.process_time()
            commands[message]()
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            await websocket.send(f"{seconds} {cpu}")

    return await serve(handler, sock=listening, compression=None, ping_interval=None)


class RoomSubject(Sampled):
    """``samples``: CPU us of the server per member."""

    def __init__(self, command: str, control: Client, members: list[Client]) -> None:
        super().__init__()
        self.command, self.control, self.members = command, control, members
        self.held: list[float] = []

    def sample(self) -> None:
        self.control.socket.sendall(frame(self.command, KEY))
        seconds, cpu = self.control.receive_frame()[1].split()
        self.samples.append(float(cpu) / len(self.members) * 1e6)
        self.held.append(float(seconds) * 1000)
        for client in self.members:
            if client.receive(len(FRAME)) != FRAME:
                raise ServerError(f"{self.command}: sent a wrong message")


def measure_one(options: argparse.Namespace, loop: str) -> tuple[Table, list[Bar]]:
    n_dead = max(1, options.members // 100)
    with running([Server(MODULE, "one", loop)]) as servers:
        if not servers:
            raise SystemExit(1)
        control = Client(servers[0])
        members = [Client(servers[0], "/member") for _ in range(options.members - n_dead)]
        for _ in range(n_dead):
            Client(servers[0], "/dead")
        control.socket.sendall(frame("fill", KEY))
        control.receive_frame()
        subjects = [RoomSubject(command, control, members) for command in ("loop", "rooms", "rooms, close")]
        before = servers[0].memory_in_use()
        race(subjects, 1, options.rounds, options.rounds)
        grown = (servers[0].memory_in_use() - before) / 2**20
    title = f"1 KiB to {options.members} members, {n_dead} of them read nothing, {loop}"
    table = Table(title, "CPU us of the server per member; ms")
    for subject in subjects:
        table.rows[subject.command] = {
            "best": min(subject.samples),
            "median": statistics.median(subject.samples),
            "held": statistics.median(subject.held),
            "ratio": median_ratio(subject.samples, subjects[0].samples),
        }
    print(f"the server has grown by {grown:.1f} MiB, of which most waits for those who read nothing")
    return table, [
        Bar("rooms to the bare loop", table.rows["rooms"]["ratio"], 1.3),
        Bar("ms in which nothing else runs", max(subjects[1].held), 100, "ms"),
    ]


# Three servers and a Redis


async def serve_shared(listening: Any) -> object:
    from wsfast import serve
    from wsfast.rooms import Rooms
    from wsfast.rooms.redis import RedisBus

    rooms = Rooms(RedisBus(os.environ["REDIS_URL"]))
    await rooms.start()

    async def handler(websocket: Any) -> None:
        rooms.join(ROOM, websocket)
        await rooms.subscribed(ROOM)
        await websocket.send("ready")
        async for message in websocket:
            await rooms.publish(ROOM, message)

    return await serve(handler, sock=listening, compression=None, ping_interval=None)


READY = frame("ready")


class Member:
    """A socket, and the messages that came: each has its number, and the time at which it was sent."""

    __slots__ = ("n_received", "rest", "socket")

    def __init__(self, client: Client) -> None:
        if client.receive(len(READY)) != READY:
            raise ServerError(f"{client.server.name}: is not ready")
        self.socket = client.socket
        self.socket.setblocking(False)
        self.rest = b""
        self.n_received = 0

    def receive(self, latencies: list[float]) -> None:
        data = self.socket.recv(262_144)
        if self.rest:
            data = self.rest + data
        now = time.monotonic()
        pos = 0
        while len(data) - pos >= len(FRAME):
            number, sent = data[pos + 4 : pos + 44].split(None, 2)[:2]
            if int(number) != self.n_received:
                raise ServerError(f"message {int(number)} came in the place of {self.n_received}")
            self.n_received += 1
            latencies.append(now - float(sent))
            pos += len(FRAME)
        self.rest = data[pos:]


def publish(options: argparse.Namespace, servers: list[Server]) -> dict[str, float]:
    """Publish at a steady rate, and receive all of it, in one loop."""
    members: dict[int, Member] = {}
    poll = select.epoll()
    for number in range(options.members):
        member = Member(Client(servers[number % len(servers)]))
        members[member.socket.fileno()] = member
        poll.register(member.socket, select.EPOLLIN)
    publisher = next(iter(members.values())).socket
    gc.collect()
    gc.disable()
    latencies: list[float] = []
    n_published, n_messages = 0, max(2, int(options.seconds * options.rate))
    n_expected = n_messages * len(members)
    start = time.monotonic()
    while len(latencies) < n_expected:
        now = time.monotonic()
        if now > start + options.seconds + 30:
            raise ServerError(f"only {len(latencies)} of {n_expected} messages were received")
        due = start + n_published / options.rate
        if n_published < n_messages and now >= due:
            text = f"{n_published:010} {time.monotonic():.9f} ".ljust(SIZE, "x")
            publisher.sendall(frame(text, KEY))
            n_published += 1
        for descriptor, _ in poll.poll(max(0, min(due - now, 0.1)) if n_published < n_messages else 0.1, 64):
            members[descriptor].receive(latencies)
    seconds = time.monotonic() - start
    gc.enable()
    latencies.sort()
    return {
        "deliveries/s": n_expected / seconds,
        "p50 ms": latencies[n_expected // 2] * 1000,
        "p99 ms": latencies[int(n_expected * 0.99)] * 1000,
    }


def measure_shared(options: argparse.Namespace, loop: str) -> tuple[Table, list[Bar]]:
    redis = shutil.which("redis-server")
    if redis is None:
        raise SystemExit("redis-server is not installed")
    title = f"1 KiB to {options.members} members of {N_PROCESSES} processes over one Redis, {loop}"
    table = Table(title, f"{options.rate:g} messages a second; the client included")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        command = [redis, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        broker = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not path.exists():
                time.sleep(0.01)
            environment = {"REDIS_URL": f"unix://{path}"}
            with running(
                Server(MODULE, "shared", loop, environment=environment) for _ in range(N_PROCESSES)
            ) as servers:
                if len(servers) != N_PROCESSES:
                    raise SystemExit(1)
                table.rows["redis"] = publish(options, servers)
        finally:
            broker.kill()
            broker.wait()
    figures = table.rows["redis"]
    return table, [
        Bar("deliveries a second", figures["deliveries/s"], 50_000, "a second", at_least=True),
        Bar("p99", figures["p99 ms"], 100, "ms"),
    ]


PROGRAMS = {
    "one": Program(serve_one, codec="native"),
    "shared": Program(serve_shared, "redis", codec="native"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a message to a large room.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="asyncio")
    parser.add_argument("--members", type=int, default=10_000, metavar="N", help="(default: 10000)")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="samples of each (default: 20)")
    parser.add_argument("--redis", action="store_true", help="three processes over one Redis")
    parser.add_argument("--rate", type=float, default=6, metavar="N", help="messages a second (default: 6)")
    parser.add_argument("--seconds", type=float, default=5, metavar="S", help="with --redis (default: 5)")
    add_options(parser)
    options = parser.parse_args()
    if not options.redis:
        use_one_core()
    machine = announce()
    loop = usable_loop(options.loop)
    allow_descriptors(options.members)
    table, bars = (measure_shared if options.redis else measure_one)(options, loop)
    return finish(options, [*machine, f"loop: {loop}"], [table], bars)


if __name__ == "__main__":
    sys.exit(main())
