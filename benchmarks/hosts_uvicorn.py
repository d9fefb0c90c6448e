"""What uvicorn costs per echoed message, by its WebSocket class: ``python benchmarks/hosts_uvicorn.py``.

Measured as in ``echo.py``, and by the same client: uvicorn servers of their own processes take turns on one core, the
CPU clock of the process counts, and echoes are compared first. All have uvicorn's HTTP parser, no keepalive and no
compression; the application echoes what it receives and does nothing else. "raw" is no WebSocket and no uvicorn: what
the kernel and the loop alone cost. To be run by a Python with uvicorn, websockets, wsproto, httptools and uvloop
(tests/hosts/uvicorn/constraints.txt).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))  # wsfast, where it is not installed

from echo import Case, EchoError, Sampler, Samples, Server, ratio, version_of
from machine import describe_machine

OWN = "wsfast"


@dataclass(frozen=True)
class Subject:
    """A WebSocket class of uvicorn's: ``ws`` is what ``uvicorn --ws`` is given."""

    ws: str
    environment: dict[str, str] = field(default_factory=dict)


SUBJECTS = {
    "websockets-sansio": Subject("websockets-sansio"),
    "wsproto": Subject("wsproto"),
    OWN: Subject("wsfast.uvicorn:WebSocketProtocol", {"WSFAST_PURE": ""}),
    "wsfast-pure": Subject("wsfast.uvicorn:WebSocketProtocol", {"WSFAST_PURE": "1"}),
}

RAW = "raw"
USUAL = "raw,websockets-sansio,wsproto,wsfast"
BARS = {"websockets-sansio": 0.6, "wsproto": 0.3}
"""What a message costs with ours, at most, in terms of what it costs with uvicorn's classes."""

N_SERIES = 3


class UvicornServer(Server):
    """A server process of this file, or ``echo.py``'s raw one."""

    def __init__(self, name: str, loop: str) -> None:
        if name == RAW:
            super().__init__(name, loop)
            return
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--loop", loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | SUBJECTS[name].environment,
            start_new_session=True,
        )
        self.connections: list[socket.socket] = []
        self.clock = (~self.process.pid << 3) | 2


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def serve(name: str, loop: str) -> None:
    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
            print(listening.getsockname()[1], flush=True)

    config = uvicorn.Config(
        echo,
        ws=SUBJECTS[name].ws,
        loop=loop,
        lifespan="off",
        log_level="error",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # for all alike
    listening.bind(("127.0.0.1", 0))
    gc.disable()
    Announcing(config).run([listening])


def measure(
    names: list[str], cases: list[Case], options: argparse.Namespace
) -> dict[Case, dict[str, Samples]]:
    """Sample all the servers in turns, in a few series, each with new processes."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # Linux; the servers inherit it
    results = {case: {name: Samples() for name in names} for case in cases}
    deadline = time.monotonic() + options.seconds
    for _ in range(N_SERIES):
        with ExitStack() as stack:
            servers = [UvicornServer(name, options.loop) for name in names]
            for server in servers:
                stack.callback(server.stop)
            ports = [server.port() for server in servers]
            samplers = [
                Sampler(server, port, case, results[case][server.name], options.sample)
                for case in cases
                for server, port in zip(servers, ports, strict=True)
            ]
            gc.collect()
            gc.disable()
            for _ in range(math.ceil(options.rounds / N_SERIES)):
                for sampler in samplers:
                    sampler.sample()
                if time.monotonic() > deadline:
                    break
            gc.enable()
    return results


def report(results: dict[Case, dict[str, Samples]], loop: str) -> int:
    """Print the results; return how many bars are missed."""
    n_missed = 0
    for case, samples in results.items():
        print(f"\n{case.name}, {loop}: CPU us of the server per message, and what ours costs of theirs")
        print(f"{'':20}{'best':>8}  {'median':>8}  {'ours':>7}  {'of the best':>11}  {'above raw':>9}")
        own = samples.get(OWN)
        for name, theirs in samples.items():
            line = f"{name:20}{min(theirs.server_us):8.2f}  {statistics.median(theirs.server_us):8.2f}"
            if own is not None and theirs is not own:
                own_best, best = min(own.server_us), min(theirs.server_us)
                line += f"  {ratio(own, theirs):6.2f}x  {own_best / best:10.2f}x"
                if RAW in samples and name != RAW and loop == "uvloop":  # asyncio's receives into new memory
                    raw = min(samples[RAW].server_us)
                    line += f"  {(own_best - raw) / (best - raw):8.2f}x"
                if name in BARS and loop == "uvloop":
                    met = ratio(own, theirs) <= BARS[name]
                    n_missed += not met
                    line += f"  at most {BARS[name]}x: {'met' if met else 'MISSED'}"
            print(line)
    return n_missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time that uvicorn uses per message.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--subjects", default=USUAL, help=f"of {', '.join(SUBJECTS)} (default: %(default)s)")
    parser.add_argument("--sizes", default="125,65536", help="bytes (default: %(default)s)")
    parser.add_argument("--in-flight", default="1", metavar="N", help="messages sent at once (default: 1)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="samples of each (default: 15)")
    parser.add_argument("--sample", type=float, default=0.15, metavar="S", help="seconds (default: 0.15)")
    parser.add_argument(
        "--seconds", type=float, default=75, metavar="S", help="stop sampling after (default: 75)"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument("--serve", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.loop)
        return 0
    names = options.subjects.split(",")
    if unknown := set(names) - {RAW, *SUBJECTS}:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    print("\n".join(describe_machine()))
    print(", ".join(version_of(package) for package in ("uvicorn", "websockets", "wsproto", "uvloop")))
    cases = [
        Case(int(size), int(n)) for size in options.sizes.split(",") for n in options.in_flight.split(",")
    ]
    try:
        results = measure(names, cases, options)
    except (EchoError, OSError) as error:
        print(f"a server failed while it was measured: {error}")
        return 1
    n_missed = report(results, options.loop)
    return 1 if n_missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
