"""Server processes, and the list of those that can be measured here."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import ROOT
from .machine import version_of
from .program import programs_of

ANSWER_SECONDS = 30


class ServerError(Exception):
    """A server cannot be measured: it does not start, or it does its work wrong."""


def read_line(process: subprocess.Popen[bytes], what: str) -> str:
    """Return the next line of a process's output, if it comes in time."""
    assert process.stdout is not None
    poll = select.poll()  # select() takes no descriptor above 1023
    poll.register(process.stdout, select.POLLIN)
    line = process.stdout.readline() if poll.poll(ANSWER_SECONDS * 1000) else b""
    if not line:
        raise ServerError(f"{what} did not start, died, or did not answer in {ANSWER_SECONDS} s")
    return line.decode()


class Server:
    """A server process. It ends when ``stop`` is called, or when we end for any reason: it reads our pipe."""

    def __init__(
        self,
        module: str,
        name: str,
        loop: str,
        python: str = sys.executable,
        garbage_collected: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.program = programs_of(module)[name]
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.common.program", module, name, loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ
            | self.program.environment
            | ({"BENCHMARK_GC": "1"} if garbage_collected else {})
            | (environment or {}),
            start_new_session=True,  # Ctrl-C reaches only us, and we stop the servers.
        )
        self.connections: list[socket.socket] = []
        self.port = 0
        self.folder = ""
        # The clock of another process, in the numbering of clock_getcpuclockid(3) on Linux.
        self.clock = (~self.process.pid << 3) | 2

    def wait_until_ready(self) -> None:
        """Wait until it serves, and make sure that it uses the expected codec."""
        port, codec, *folder = self.answer().strip().split(maxsplit=2)
        self.port, self.folder = int(port), "".join(folder)
        if self.program.codec not in (None, codec):
            raise ServerError(f"{self.name}: uses the codec {codec} of {self.folder}")

    def ask(self) -> str:
        """Let the program call ``answer``, and return the result; most programs collect garbage."""
        self.tell()
        return self.answer()

    def tell(self) -> None:
        """Do the same, without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"?")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Wait for a line of its output."""
        return read_line(self.process, f"the server {self.name}")

    def cpu_ns(self) -> int:
        """The CPU time of the process until now: all its threads, user and system."""
        return time.clock_gettime_ns(self.clock)

    def memory(self) -> int:
        """The bytes of memory that belong to this process only."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        fields = (line.split() for line in rollup.splitlines())
        return sum(
            int(words[1]) * 1024 for words in fields if words[0] in ("Private_Clean:", "Private_Dirty:")
        )

    def memory_in_use(self) -> int:
        """The bytes that it has in memory, shared ones included."""
        return self._status("VmRSS")

    def forget_peak(self) -> None:
        """Start a new measurement of the peak of its memory."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """The most bytes that it had in memory at once since ``forget_peak``."""
        return self._status("VmHWM")

    def _status(self, field: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field))

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        # Closed after the server: most servers report a connection that is closed without a Close frame.
        for connection in self.connections:
            connection.close()


def available(module: str, names: Iterable[str]) -> list[str]:
    """Return the programs whose packages are installed; print the missing ones, and the versions of the others."""
    programs = programs_of(module)
    found, versions = [], set()
    for name in names:
        needs = programs[name].needs
        if needs is not None and version_of(needs) is None:
            print(f"left out: {name}: {needs} is not installed")
            continue
        found.append(name)
        if needs is not None:
            versions.add(f"{needs} {version_of(needs)}")
    print("peers: " + (", ".join(sorted(versions)) or "none"))
    return found


def usable_loop(loop: str) -> str:
    """Return the loop that was asked for, or asyncio's own if uvloop is missing. Print it."""
    if loop == "uvloop" and version_of("uvloop") is None:
        print("uvloop is not installed: measuring on asyncio's own loop")
        loop = "asyncio"
    print(f"loop: uvloop {version_of('uvloop')}" if loop == "uvloop" else "loop: asyncio")
    return loop


@contextmanager
def running(servers: Iterable[Server]) -> Iterator[list[Server]]:
    """Start servers, wait for each, and stop them in any case. A server that does not start is left out, and named."""
    with ExitStack() as stack:
        started = []
        for server in servers:
            stack.callback(server.stop)
            started.append(server)
        ready = []
        for server in started:
            try:
                server.wait_until_ready()
            except ServerError as error:
                print(f"left out: {error}")
            else:
                ready.append(server)
        yield ready
