"""``wsfast echo``: sends each message back unchanged. Simple on purpose: conformance runs use it."""

from __future__ import annotations

import argparse
import asyncio

from ..asyncio.server import ServerConnection, serve
from ..exceptions import ConnectionClosed
from .serving import CLOSE_TIMEOUT, base_urls, listen_error, logger, run_until_stopped

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    async def serve_echo(stop: asyncio.Event, loop_name: str) -> None:
        try:
            server = await serve(
                echo,
                arguments.host,
                arguments.port,
                compression="deflate" if arguments.compression else None,
                max_size=arguments.max_size,
                ping_interval=None,  # The client gets only its own messages back.
                close_timeout=CLOSE_TIMEOUT,
                logger=logger(arguments),
            )
        except OSError as error:
            raise listen_error(error, arguments.host, arguments.port) from None
        try:
            for url in base_urls("ws", arguments.host, server.sockets):
                print(f"{url}/", flush=True)
            await stop.wait()
        finally:
            server.close()
            await server.wait_closed()

    return run_until_stopped(serve_echo, arguments)


async def echo(connection: ServerConnection) -> None:
    """Send every message back, until the connection is closed."""
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass
