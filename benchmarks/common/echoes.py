"""The cost of an echo in the server's process, for servers that take turns.

- Each server is a process of its own; all of them and the client share one core (``machine.use_one_core``).
- The CPU clock of the server process counts, divided by the number of echoed messages. The kernel's work on loopback
  counts for the side that sends. "total" adds the client's own CPU time.
- Before that, echoes of different messages are compared byte by byte.
- The servers take turns in a few series with new processes: the place of a process's code in memory, which is chance,
  can change a figure by a tenth. Do not compare figures of different runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .cases import KEY, KIB, frame, size_name, text_of
from .client import Client
from .race import Sampled, median_ratio, race
from .server import Server, ServerError, running

N_SERIES = 3
MAX_IN_FLIGHT_SIZE = 64 * KIB  # bytes: the client sends them all before it reads


@dataclass(frozen=True)
class Load:
    """Messages of ``size`` bytes; ``n_in_flight`` of them are sent at once, and then their echoes are read."""

    size: int
    n_in_flight: int = 1
    is_binary: bool = False

    @property
    def name(self) -> str:
        kind = "binary" if self.is_binary else "text"
        return f"{size_name(self.size)} {kind}, {self.n_in_flight} in flight"

    def message(self, start: str = "") -> str | bytes:
        text = (start + text_of("ASCII", self.size))[: self.size]
        return text.encode() if self.is_binary else text


def loads_of(sizes: str, in_flight: str, is_binary: bool = False) -> list[Load]:
    """The loads for options such as "64,256" and "1,64", without those that the sockets could not hold."""
    return [
        Load(int(size), int(n), is_binary)
        for size in sizes.split(",")
        for n in in_flight.split(",")
        if int(n) == 1 or int(size) * int(n) <= MAX_IN_FLIGHT_SIZE
    ]


@dataclass
class Samples:
    """The CPU time of one server for one load, in us per message, sample by sample."""

    server_us: list[float] = field(default_factory=list)
    total_us: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.server_us)

    def ratio(self, reference: Samples) -> float:
        return median_ratio(self.server_us, reference.server_us)


class EchoSubject(Sampled):
    """One load on one server process. ``samples``: CPU us of the server per message."""

    def __init__(self, server: Server, load: Load, sample_seconds: float) -> None:
        super().__init__()
        self.server = server
        self.load = load
        self.total_us: list[float] = []
        message = load.message()
        self.request = frame(message, KEY) * load.n_in_flight
        self.response_size = len(frame(message)) * load.n_in_flight
        self.buffer = bytearray(256 * KIB)
        # The raw server knows no frames. It takes the sizes of a frame and its echo from the path.
        sizes = f"{len(self.request) // load.n_in_flight}/{self.response_size // load.n_in_flight}"
        self.client = Client(server, f"/{sizes}")
        self._check()
        self.n_turns = 1
        seconds = 0.0
        while seconds < sample_seconds / 4:  # until the time is long enough to compute the turns per sample
            self.n_turns *= 4
            start = time.perf_counter()
            self.run()
            seconds = time.perf_counter() - start
        self.n_turns = max(1, int(self.n_turns * sample_seconds / seconds))

    def _check(self) -> None:
        """Compare the echoes of different messages with the expected bytes."""
        for number in range(0, 64, self.load.n_in_flight):
            messages = [self.load.message(f"{number + i} ") for i in range(self.load.n_in_flight)]
            expected = b"".join(map(frame, messages))
            self.client.socket.sendall(b"".join(frame(message, KEY) for message in messages))
            received = self.client.receive(len(expected))
            if received != expected and self.server.name != "raw":
                raise ServerError(f"{self.server.name}: sent a wrong echo: {received!r:.80}")

    def run(self) -> None:
        connection, buffer = self.client.socket, self.buffer
        sendall, recv_into = connection.sendall, connection.recv_into
        request, response_size = self.request, self.response_size
        for _ in range(self.n_turns):
            sendall(request)
            n_missing = response_size
            while n_missing > 0:
                n_received = recv_into(buffer)
                if not n_received:
                    raise ServerError(f"{self.server.name}: closed the connection")
                n_missing -= n_received

    def sample(self) -> None:
        server_start, client_start = self.server.cpu_ns(), time.process_time_ns()
        self.run()
        client_ns = time.process_time_ns() - client_start
        server_ns = self.server.cpu_ns() - server_start
        n_messages = self.n_turns * self.load.n_in_flight
        self.samples.append(server_ns / n_messages / 1000)
        self.total_us.append((server_ns + client_ns) / n_messages / 1000)


Results = dict[Load, dict[str, Samples]]


def measure_echoes(
    start: Callable[[], Iterable[Server]],
    loads: list[Load],
    rounds: int,
    sample_seconds: float,
    seconds: float,
) -> Results:
    """Sample in turns the servers that ``start`` makes, in a few series, each with new processes."""
    deadline = time.monotonic() + seconds
    results: Results = {load: {} for load in loads}
    lost: set[str] = set()
    n_rounds = 0
    for series in range(N_SERIES):
        with running(start()) as servers:
            subjects = []
            for server in servers:
                try:
                    subjects += [EchoSubject(server, load, sample_seconds) for load in loads]
                except (ServerError, OSError) as error:
                    print(f"left out: {server.name}: {error}")
                    lost.add(server.name)
                    subjects = [subject for subject in subjects if subject.server is not server]
            # All servers with one load, then all with the next one: compared servers run one after the other.
            subjects.sort(key=lambda subject: loads.index(subject.load))
            left = max(0.0, deadline - time.monotonic())
            n_rounds += race(subjects, left, min_rounds=1, max_rounds=math.ceil(rounds / N_SERIES))
            for subject in subjects:
                samples = results[subject.load].setdefault(subject.server.name, Samples())
                samples.server_us += subject.samples
                samples.total_us += subject.total_us
        if time.monotonic() > deadline and series + 1 < N_SERIES:
            print(f"stopped by --seconds in series {series + 1} of {N_SERIES}")
            break
    for of_load in results.values():
        for name in lost & set(of_load):
            del of_load[name]
    print(f"{n_rounds} samples each of about {sample_seconds:g} s, taken in turns")
    return results
