"""What an echo server costs per message, for wsfast and its peers: ``python benchmarks/echo.py``.

How it is measured, and why:

- Each server is a process of its own; all of them and the client share one core. To wake a second, halted core costs
  a virtual machine more than a whole echo, and would hide the servers.
- What counts is the CPU clock of the server process (all its threads, user and system), divided by the messages that
  it echoed. The kernel's work on loopback falls to whoever sends. "total" adds the client's own CPU time.
- The client is the same for all: a blocking socket that sends masked frames built beforehand and counts the bytes
  that come back. Before that, echoes of different messages are compared byte by byte.
- The servers take turns, sample by sample, in a few series with new processes: where the code of a process happens to
  lie in memory can make a tenth. A ratio is the median of the ratios inside each round, as a processor that
  changes its speed then changes it for both; the best sample comes nearest to what the work costs. Figures of
  different runs are not to be compared.

Linux only: CPU affinity, and the clock of another process. Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import importlib.util
import math
import operator
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cases import KEY, KIB, frame, size_name, text_of
from echo_servers import SUBJECTS
from machine import describe_machine

USUAL = ("raw", "picows", "picows.websockets", "wsfast", "websockets", "aiohttp")
REFERENCES = ("picows.websockets", "picows")  # what the others are compared with
N_SERIES = 3
MAX_IN_FLIGHT_SIZE = 64 * KIB  # bytes: the client sends them all before it reads
SOCKET_SECONDS = 10
START_SECONDS = 20


@dataclass(frozen=True)
class Case:
    """Text messages of ``size`` bytes; ``n_in_flight`` of them are sent at once, and their echoes read."""

    size: int
    n_in_flight: int

    @property
    def name(self) -> str:
        return f"{size_name(self.size)} text, {self.n_in_flight} in flight"


@dataclass(frozen=True)
class Bar:
    """A promise for uvloop: ``subject`` costs at most ``max_ratio`` times what ``peer`` does."""

    case: Case
    subject: str
    peer: str
    max_ratio: float


BARS = (
    Bar(Case(64, 1), "wsfast", "picows.websockets", 1.1),
    Bar(Case(64, 64), "wsfast", "picows", 0.35),
)


@dataclass
class Samples:
    """What one server used for one case, in CPU us per message, sample by sample."""

    server_us: list[float] = field(default_factory=list)
    total_us: list[float] = field(default_factory=list)


class EchoError(Exception):
    """A server does not do what it is measured for."""


class Server:
    """A server process. It ends when ``stop`` is called, or when we end in whatever way: it reads our pipe."""

    def __init__(self, name: str, loop: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("echo_servers.py")), name, loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | SUBJECTS[name].environment,
            start_new_session=True,  # Ctrl-C is for us, who then stop the servers.
        )
        self.connections: list[socket.socket] = []
        # The clock of another process, as clock_getcpuclockid(3) names it on Linux.
        self.clock = (~self.process.pid << 3) | 2

    def port(self) -> int:
        """Wait until it serves."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise EchoError(f"{self.name}: the server did not start")
        return int(line)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        # Only now: most servers report a connection that is closed without a Close frame.
        for connection in self.connections:
            connection.close()


class Sampler:
    """One case with one server process: the connection, and how long a sample is."""

    def __init__(
        self, server: Server, port: int, case: Case, samples: Samples, sample_seconds: float
    ) -> None:
        self.server = server
        self.case = case
        self.samples = samples
        message = text_of("ASCII", case.size)
        self.request = frame(message, KEY) * case.n_in_flight
        self.response_size = len(frame(message)) * case.n_in_flight
        self.buffer = bytearray(256 * KIB)
        self.connection = self._connect(port)
        self._check()
        self.n_turns = 100
        self.run()
        start = time.perf_counter()
        self.run()
        self.n_turns = max(1, int(self.n_turns * sample_seconds / (time.perf_counter() - start)))

    def _connect(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), SOCKET_SECONDS)
        self.server.connections.append(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sizes = f"{len(self.request) // self.case.n_in_flight}/{self.response_size // self.case.n_in_flight}"
        connection.sendall(
            f"GET /{sizes} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        response = b""
        while not response.endswith(b"\r\n\r\n"):
            response += connection.recv(1) or self._closed()
        if not response.startswith(b"HTTP/1.1 101 "):
            raise EchoError(f"{self.server.name}: refused the opening handshake: {response!r:.80}")
        # From now on recv() waits in the kernel alone: a timeout would cost the client a poll() each time.
        seconds = struct.pack("ll", SOCKET_SECONDS, 0)
        connection.setblocking(True)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        return connection

    def _closed(self) -> bytes:
        raise EchoError(f"{self.server.name}: closed the connection")

    def _check(self) -> None:
        """Compare the echoes of different messages with what they have to be."""
        filling = text_of("ASCII", self.case.size)
        for number in range(0, 64, self.case.n_in_flight):
            texts = [(f"{number + i} {filling}")[: self.case.size] for i in range(self.case.n_in_flight)]
            expected = b"".join(map(frame, texts))
            self.connection.sendall(b"".join(frame(text, KEY) for text in texts))
            received = b""
            while len(received) < len(expected):
                received += self.connection.recv(len(expected) - len(received)) or self._closed()
            if received != expected and self.server.name != "raw":
                raise EchoError(f"{self.server.name}: sent a wrong echo: {received!r:.80}")

    def run(self) -> None:
        sendall, recv_into, buffer = self.connection.sendall, self.connection.recv_into, self.buffer
        request, response_size = self.request, self.response_size
        for _ in range(self.n_turns):
            sendall(request)
            n_missing = response_size
            while n_missing > 0:
                n_received = recv_into(buffer)
                if not n_received:
                    self._closed()
                n_missing -= n_received

    def sample(self) -> None:
        server_start, client_start = time.clock_gettime_ns(self.server.clock), time.process_time_ns()
        self.run()
        client_ns = time.process_time_ns() - client_start
        server_ns = time.clock_gettime_ns(self.server.clock) - server_start
        n_messages = self.n_turns * self.case.n_in_flight
        self.samples.server_us.append(server_ns / n_messages / 1000)
        self.samples.total_us.append((server_ns + client_ns) / n_messages / 1000)


def ratio(own: Samples, reference: Samples) -> float:
    """How many times as much CPU time as ``reference`` a server uses for a message."""
    return statistics.median(map(operator.truediv, own.server_us, reference.server_us))


Results = dict[Case, dict[str, Samples]]


def measure(names: list[str], cases: list[Case], options: argparse.Namespace) -> Results:
    """Sample all the servers in turns, in a few series, each with new processes."""
    deadline = time.monotonic() + options.seconds
    results: Results = {case: {name: Samples() for name in names} for case in cases}
    n_rounds = 0
    for series in range(N_SERIES):
        n_rounds += measure_series(results, options, math.ceil(options.rounds / N_SERIES), deadline)
        if time.monotonic() > deadline:
            print(f"stopped by --seconds in series {series + 1} of {N_SERIES}")
            break
    print(f"{n_rounds} samples each of about {options.sample:g} s, taken in turns")
    return results


def measure_series(results: Results, options: argparse.Namespace, n_rounds: int, deadline: float) -> int:
    """Run all the servers, sample them in turns, and stop them whatever happens. Returns the number of rounds."""
    with ExitStack() as stack:
        servers = []
        for name in next(iter(results.values())):
            server = Server(name, options.loop)
            stack.callback(server.stop)
            servers.append(server)
        samplers = []
        for server in servers:
            try:
                port = server.port()
                for case, of_case in results.items():
                    samplers.append(Sampler(server, port, case, of_case[server.name], options.sample))
            except (EchoError, OSError) as error:
                print(f"left out: {server.name}: {error}")
                samplers = [sampler for sampler in samplers if sampler.server is not server]
                for of_case in results.values():
                    del of_case[server.name]
        # All servers with one case, then all with the next: those that are compared stand side by side.
        samplers.sort(key=lambda sampler: list(results).index(sampler.case))
        gc.collect()
        gc.disable()
        n_done = 0
        while n_done == 0 or (n_done < n_rounds and time.monotonic() < deadline):
            for sampler in samplers:
                sampler.sample()
            n_done += 1
        gc.enable()
    return n_done


def report(results: Results) -> None:
    for case, samples in results.items():
        references = [name for name in REFERENCES if name in samples]
        print(f"\n{case.name}: CPU us of the server per message (total: with the client)")
        header = "".join(f"  {'/ ' + name:>19}" for name in references)
        print(f"{'':20}{'best':>8}  {'median':>8}  {'total':>8}{header}")
        for name, own in samples.items():
            best, median, total = min(own.server_us), statistics.median(own.server_us), min(own.total_us)
            ratios = "".join(f"  {ratio(own, samples[reference]):18.2f}x" for reference in references)
            print(f"{name:20}{best:8.2f}  {median:8.2f}  {total:8.2f}{ratios}")


def judge(results: Results, loop: str) -> int:
    """Print how the promises stand; return how many are missed, or could not be judged."""
    print()
    n_missed = 0
    for bar in BARS:
        promise = f"{bar.subject} at most {bar.max_ratio:g}x {bar.peer}, {bar.case.name}, uvloop"
        samples = results.get(bar.case, {})
        if loop != "uvloop" or bar.subject not in samples or bar.peer not in samples:
            print(f"{promise}: not measured")
            n_missed += 1
            continue
        measured = ratio(samples[bar.subject], samples[bar.peer])
        met = measured <= bar.max_ratio
        n_missed += not met
        print(f"{promise}: {measured:.2f}x, {'met' if met else 'MISSED'}")
    return n_missed


def version_of(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time that echo servers use per message.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument(
        "--subjects",
        default=",".join(USUAL),
        metavar="NAMES",
        help=f"of {', '.join(SUBJECTS)} (default: %(default)s)",
    )
    parser.add_argument("--sizes", default="64", metavar="BYTES", help="such as 8,256,102400 (default: 64)")
    parser.add_argument(
        "--in-flight", default="1,64", metavar="N", help="messages sent at once (default: 1,64)"
    )
    parser.add_argument("--rounds", type=int, default=27, metavar="N", help="samples of each (default: 27)")
    parser.add_argument(
        "--sample", type=float, default=0.15, metavar="S", help="seconds a sample (default: 0.15)"
    )
    parser.add_argument(
        "--seconds", type=float, default=75, metavar="S", help="stop sampling after (default: 75)"
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="the core to use (default: the last one)")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a bar is missed, or was not measured"
    )
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        print("needs Linux: CPU affinity, and the clock of another process")
        return 1
    unknown = set(options.subjects.split(",")) - set(SUBJECTS)
    if unknown:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu})
    print("\n".join(describe_machine()))
    if options.loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        print("uvloop is not installed: measuring on asyncio's own loop")
        options.loop = "asyncio"
    print(f"loop: {version_of('uvloop') if options.loop == 'uvloop' else 'asyncio'}")
    names = []
    for name in options.subjects.split(","):
        needs = SUBJECTS[name].needs
        if needs is not None and importlib.util.find_spec(needs) is None:
            print(f"left out: {name}: {needs} is not installed")
        else:
            names.append(name)
    peers = sorted({version_of(needs) for name in names if (needs := SUBJECTS[name].needs)})
    print("peers: " + (", ".join(peers) or "none"))
    cases = [
        Case(int(size), int(n_in_flight))
        for size in options.sizes.split(",")
        for n_in_flight in options.in_flight.split(",")
        if int(n_in_flight) == 1 or int(size) * int(n_in_flight) <= MAX_IN_FLIGHT_SIZE
    ]
    sys.stdout.flush()
    try:
        results = measure(names, cases, options)
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    except (EchoError, OSError) as error:
        print(f"a server failed while it was measured: {error}")
        return 1
    report(results)
    n_missed = judge(results, options.loop)
    return 1 if n_missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
