"""The measurements of ``compare``: the codec in workers, the rest in server processes.

A suite starts the parties (base, base again, head) for one series. For each cell it gives three subjects that take
turns.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from .. import ROOT
from ..common.echoes import EchoSubject, loads_of
from ..common.race import Sampled, Subject
from ..common.server import Server, read_line, running
from ..hosts.uvicorn import MODULE as UVICORN
from ..servers import deflate, fanout, programs
from ..servers.handshakes import HandshakeSubject
from ..servers.memory import N_FIRST, MemorySubject

ECHO = programs.__name__
LOOPS = ("asyncio", "uvloop")
SAMPLE_SECONDS = 0.05
N_CONNECTIONS = 100  # connections of a broadcast
N_IDLE = 1000


class MismatchError(Exception):
    """A party cannot be measured, or is not the expected one."""


@dataclass(frozen=True)
class Version:
    """An installed wsfast: the interpreter that imports it, and its folder."""

    python: str
    folder: str
    package: str


@dataclass(frozen=True)
class Entry:
    """A cell of one series: its name, its unit, and one subject for each party."""

    name: str
    unit: str
    subjects: tuple[Subject, ...]


def luck(series: int, party: int) -> dict[str, str]:
    """An environment that moves the stack, the heap (``Ballast``) and the order of sets from process to process.

    Their places change some cells by a tenth. Without this, they would be the same in every series, because they also
    depend on the length of the interpreter's path.
    """
    choose = random.Random(f"{series} {party}")
    seed = str(choose.randrange(2**32))
    return {"PYTHONHASHSEED": seed, "BENCHMARK_LUCK": seed * choose.randrange(1, 400)}


# In workers


class Worker:
    """A process of ``worker.py``."""

    def __init__(self, python: str, environment: dict[str, str]) -> None:
        self.python = python
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.compare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | environment,
        )
        self.hello = self._read()

    def ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        return json.loads(read_line(self.process, f"a worker of {self.python}"))

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def version_at(python: str) -> Version:
    """Ask an interpreter for its wsfast; refuse a fallback that nobody asked for."""
    worker = Worker(python, {})
    worker.stop()
    if worker.hello["problem"] is not None:
        raise MismatchError(worker.hello["problem"])
    package = f"{worker.hello['package']}, {worker.hello['python']}"
    return Version(python, worker.hello["folder"], package)


class WorkerSubject(Sampled):
    def __init__(self, worker: Worker, number: int) -> None:
        super().__init__()
        self.worker = worker
        self.number = number

    def sample(self) -> None:
        self.samples.append(self.worker.ask(f"sample {self.number}"))


def in_workers(suite: str, parties: list[Version], series: int) -> Iterator[list[Entry]]:
    with ExitStack() as stack:
        names: list[dict[str, int]] = []
        workers = []
        for number, party in enumerate(parties):
            worker = Worker(party.python, luck(series, number))
            stack.callback(worker.stop)
            workers.append(worker)
            names.append({name: i for i, name in enumerate(worker.ask(f"prepare {suite}"))})
        yield [
            Entry(
                f"{suite}: {name}",
                "ns",
                tuple(
                    WorkerSubject(worker, known[name]) for worker, known in zip(workers, names, strict=True)
                ),
            )
            for name in names[0]
            if all(name in known for known in names)
        ]


# In server processes


@contextmanager
def servers_of(
    module: str, name: str, loop: str, parties: list[Version], series: int, collected: bool = False
) -> Iterator[list[Server]]:
    made = (
        Server(module, name, loop, party.python, collected, luck(series, number))
        for number, party in enumerate(parties)
    )
    with running(made) as servers:
        if len(servers) < len(parties):
            raise MismatchError(f"{name} of {module} does not run in every version")
        for server, party in zip(servers, parties, strict=True):
            if server.folder not in ("", party.folder):
                raise MismatchError(f"{name}: uses {server.folder}, and not {party.folder}")
        yield servers


def echoes_of(
    suite: str, module: str, sizes: str, parties: list[Version], series: int
) -> Iterator[list[Entry]]:
    for loop in LOOPS:
        with servers_of(module, "wsfast", loop, parties, series) as servers:
            yield [
                Entry(
                    f"{suite}: {loop}, {load.name}",
                    "us",
                    tuple(EchoSubject(server, load, SAMPLE_SECONDS) for server in servers),
                )
                for load in loads_of(sizes, "1,64")
            ]


def echoes(parties: list[Version], series: int) -> Iterator[list[Entry]]:
    yield from echoes_of("echo", ECHO, "64,256,65536", parties, series)


def uvicorn_echoes(parties: list[Version], series: int) -> Iterator[list[Entry]]:
    yield from echoes_of("hosts_uvicorn", UVICORN, "125,65536", parties, series)


def compressed_echoes(parties: list[Version], series: int) -> Iterator[list[Entry]]:
    for loop, name in itertools.product(LOOPS, ("wsfast, 12 bits", "wsfast, 15 bits")):
        with servers_of(deflate.MODULE, name, loop, parties, series) as servers:
            subjects = tuple(deflate.DeflateSubject(server, 2048) for server in servers)
            yield [Entry(f"deflate: {loop}, {name}, 2 KiB of JSON", "us", subjects)]


def fanouts(parties: list[Version], series: int) -> Iterator[list[Entry]]:
    fanout.allow_descriptors(N_CONNECTIONS * len(parties))
    for loop in LOOPS:
        with servers_of(fanout.MODULE, "wsfast", loop, parties, series) as servers:
            subjects = tuple(fanout.FanoutSubject(server, N_CONNECTIONS, 64, 20) for server in servers)
            yield [Entry(f"fanout: {loop}, 64 B to {N_CONNECTIONS} connections, each", "us", subjects)]


def handshakes(parties: list[Version], series: int) -> Iterator[list[Entry]]:
    for loop in LOOPS:
        with servers_of(ECHO, "wsfast", loop, parties, series) as servers:
            subjects = tuple(HandshakeSubject(server, 50) for server in servers)
            yield [Entry(f"handshakes: {loop}, opening and closing", "us", subjects)]


def memory(parties: list[Version], series: int) -> Iterator[list[Entry]]:
    fanout.allow_descriptors((N_FIRST + N_IDLE) * len(parties))
    for loop, with_message in itertools.product(LOOPS, (False, True)):
        with servers_of(ECHO, "wsfast", loop, parties, series, True) as servers:
            subjects = tuple(MemorySubject(server, N_IDLE, with_message) for server in servers)
            what = "after a message" if with_message else "idle"
            yield [Entry(f"memory: {loop}, a connection, {what}", "KiB", subjects)]


@dataclass(frozen=True)
class Suite:
    """``groups`` starts the parties for one series, and gives a few cells at a time; ``n_rounds``: turns of each."""

    groups: Callable[[list[Version], int], Iterator[list[Entry]]]
    n_rounds: int
    what: str


SUITES = {
    "ratios": Suite(functools.partial(in_workers, "ratios"), 3, "the codec, native and fallback"),
    "peers": Suite(functools.partial(in_workers, "peers"), 2, "the rows of peers.py"),
    "echo": Suite(echoes, 8, "an echo server, asyncio and uvloop"),
    "hosts_uvicorn": Suite(uvicorn_echoes, 8, "the same inside uvicorn"),
    "deflate": Suite(compressed_echoes, 4, "compressed echoes"),
    "fanout": Suite(fanouts, 8, "a broadcast to many connections"),
    "handshakes": Suite(handshakes, 8, "opening and closing connections"),
    "memory": Suite(memory, 1, "idle connections"),
}
