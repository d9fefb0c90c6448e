"""The common parts of the two servers of the command line: the event loop, stopping, and the addresses.

The first Ctrl-C (or SIGTERM) asks the server to close its connections with code 1001, and to end. The second one ends
it at once, without waiting for peers that do not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from .outcome import FAILURE, OK, CommandError

__all__ = ["CLOSE_TIMEOUT", "base_urls", "listen_error", "logger", "run_until_stopped"]

CLOSE_TIMEOUT: Final = 3.0  # Seconds that a stopping server gives its peers for the closing handshake.

_ADDRESS_IN_USE: Final = {errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)}
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def run_until_stopped(
    serve: Callable[[asyncio.Event, str], Coroutine[Any, Any, None]], arguments: argparse.Namespace
) -> int:
    """Run ``serve(stop, name of the event loop)`` until it returns; it returns after ``stop`` is set."""
    name, loop_factory = _event_loop(arguments.uvloop)

    async def supervise() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                task.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, on_signal)
            except NotImplementedError:
                # Windows: the runner answers Ctrl-C by cancelling this task.
                break
        await serve(stop, name)

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(supervise())
    except KeyboardInterrupt:
        return OK
    except asyncio.CancelledError:
        return FAILURE
    return OK


def _event_loop(uvloop: bool | None) -> tuple[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """Return the name and the factory of the event loop. ``uvloop``: the user's wish; None: either loop."""
    if uvloop is not False:
        try:
            module = importlib.import_module("uvloop")
        except ImportError:
            if uvloop:
                raise CommandError("uvloop is not installed; try: pip install uvloop") from None
        else:
            return f"uvloop {module.__version__}", module.new_event_loop
    return "asyncio", None


def logger(arguments: argparse.Namespace) -> logging.Logger:
    """Return a logger for the server. Without ``--verbose`` it is silent, as peers can cause any number of lines."""
    log = logging.getLogger(f"wsfast.cli.{arguments.command}")
    log.propagate = False
    if arguments.verbose:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.setLevel(logging.INFO)
    else:
        handler = logging.NullHandler()
    log.addHandler(handler)
    return log


def listen_error(error: OSError, host: str, port: int) -> CommandError:
    """Make the one-line error for a server that cannot listen on ``host`` and ``port``."""
    place = f"{host} port {port}"
    if isinstance(error, socket.gaierror):
        return CommandError(f"unknown host {host!r}; give an address of this machine with --host")
    if error.errno in _ADDRESS_IN_USE:
        return CommandError(f"{place} is in use; choose another with --port (0: any that is free)")
    # asyncio skips the addresses that are not of this machine. If none is left, its error has no number (CPython 3.13).
    if error.errno in (errno.EADDRNOTAVAIL, None):
        return CommandError(f"{host} is no address of this machine; choose another with --host")
    if error.errno in (errno.EACCES, errno.EPERM):
        return CommandError(f"not allowed to listen on {place}; choose a port above 1023 with --port")
    return CommandError(f"cannot listen on {place}: {error.strerror or error}")


def base_urls(scheme: str, host: str, sockets: Iterable[socket.socket]) -> list[str]:
    """Return the URLs, without a path, of the ``sockets`` that were bound to ``host``."""
    addresses = [sock.getsockname()[:2] for sock in sockets]
    ports = {port for _, port in addresses}
    if len(ports) == 1 and host not in _ANY_ADDRESS and host:
        return [f"{scheme}://{_bracketed(host)}:{ports.pop()}"]
    # If port 0 is used with a name of several addresses, each address has a port of its own.
    return [f"{scheme}://{_bracketed(_ANY_ADDRESS.get(ip, ip))}:{port}" for ip, port in addresses]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
