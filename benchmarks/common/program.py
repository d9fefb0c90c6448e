"""The code of a server process, and the process itself: ``python -m benchmarks.common.program MODULE NAME LOOP``.

MODULE has a table ``PROGRAMS``. The process serves one of them. It writes a line to standard output: its port, and the
codec and the folder of its wsfast. It ends when its standard input closes, so also when its parent dies. For a line of
input it calls ``answer`` of its program, and prints the result as a line.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .race import Ballast


@dataclass(frozen=True)
class Program:
    """A server. ``needs``: the package that it needs.

    ``codec``: the codec of wsfast that it must use; None without wsfast. ``tls``: it serves TLS. ``serve`` belongs to
    an event loop of asyncio, or if the LOOP is ``trio``, to trio: then it returns when it is cancelled.
    """

    serve: Callable[[socket.socket], Awaitable[object]]
    needs: str | None = None
    codec: str | None = None
    answer: Callable[[], object] = gc.collect
    tls: bool = False

    @property
    def environment(self) -> dict[str, str]:
        return {} if self.codec is None else {"WSFAST_PURE": "1" if self.codec == "fallback" else ""}


def programs_of(module: str) -> dict[str, Program]:
    found: dict[str, Program] = importlib.import_module(module).PROGRAMS
    return found


def codec_in_use() -> str:
    """Return the codec and the folder of wsfast, if this process has imported them."""
    codec: Any = sys.modules.get("wsfast.codec")
    return "-" if codec is None else f"{codec.IMPLEMENTATION} {Path(codec.__file__).resolve().parent}"


def read_input(program: Program) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        os._exit(0)
    print(program.answer(), flush=True)


def listen() -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux: accepted sockets inherit it.
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    return listening


async def serve_on_trio(program: Program) -> None:
    import trio

    listening = listen()
    listening.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.serve, listening)
        await trio.testing.wait_all_tasks_blocked()
        print(listening.getsockname()[1], codec_in_use(), flush=True)
        while True:
            await trio.lowlevel.wait_readable(sys.stdin)
            read_input(program)


async def serve_until_stdin_closes(program: Program) -> None:
    listening = listen()
    _server = await program.serve(listening)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), read_input, program)
    print(listening.getsockname()[1], codec_in_use(), flush=True)
    await asyncio.get_running_loop().create_future()


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main(module: str, name: str, loop: str) -> None:
    luck = os.environ.get("BENCHMARK_LUCK")
    _ballast = None if luck is None else Ballast(luck)
    program = programs_of(module)[name]
    if os.environ.get("BENCHMARK_GC") is None:
        gc.disable()
    if loop == "trio":
        import trio
        import trio.testing

        trio.run(serve_on_trio, program)
        return
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(serve_until_stdin_closes(program))


if __name__ == "__main__":
    main(*sys.argv[1:])
