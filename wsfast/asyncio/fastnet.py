"""The transports of aiofastnet, where it is installed: an echo over TLS costs half as much (benchmarks/servers/tls.py).

``connect`` and ``serve`` make their connections here. aiofastnet is a package of aio-libs. It works on asyncio's
selector loop and on uvloop, and uses the OpenSSL of Python's ``ssl`` directly. The rules, and why:

- A context with a callback of Python stays with the loop's own TLS: ``sni_callback``, or ``keylog_filename``, which the
  variable SSLKEYLOGFILE sets too. OpenSSL would call it with a connection that ``ssl`` does not know, and the process
  would crash (aiofastnet 1.2).
- So does a subclass of ``ssl.SSLContext``, as that of truststore: its methods, which check the peer, are not called.
- The context is looked at for each connection, because it may change while a server runs.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import socket

__all__ = ["accept_connection", "check_wish", "is_used", "open_connection"]

Made = TypeVar("Made", bound=asyncio.Protocol)

# Bytes of the two buffers of a TLS connection: four records of 16 KiB each. aiofastnet's 256 KiB would stay in memory
# after one large message.
_BUFFER_SIZE = 4 * (16_384 + 64)


@cache
def _package() -> Any:
    """Return aiofastnet, or None if it is not installed, or cannot work here."""
    try:
        return import_module("aiofastnet")
    except ImportError:  # also if it does not find the OpenSSL of this Python
        return None


def check_wish(wish: bool | None) -> None:
    """Check the argument ``aiofastnet`` of ``connect`` and ``serve``.

    Raises:
        ImportError: it is True, and the package is not installed.
        TypeError: it is neither a bool nor None.
    """
    if wish is not None and not isinstance(wish, bool):
        raise TypeError(f"aiofastnet is True, False, or None to use it where it wins, not {wish!r:.80}")
    if wish and _package() is None:
        raise ImportError("aiofastnet=True needs the package aiofastnet: pip install 'wsfast[aiofastnet]'")


def _obstacle(context: ssl_module.SSLContext) -> str | None:
    """Say why aiofastnet cannot use ``context``; None if it can."""
    if type(context) is not ssl_module.SSLContext:
        return f"a {type(context).__name__} may check the peer in methods that it does not call"
    if context.keylog_filename is not None:
        return "keylog_filename is set, perhaps by the variable SSLKEYLOGFILE"
    if context.sni_callback is not None or getattr(context, "_msg_callback", None) is not None:
        return "it has a callback"
    return None


def is_used(
    loop: asyncio.AbstractEventLoop, context: ssl_module.SSLContext | None, wish: bool | None
) -> bool:
    """Tell whether aiofastnet makes a connection with this TLS ``context``; None means without TLS.

    Raises:
        ValueError: ``wish`` is True, and aiofastnet cannot use the context.
    """
    if wish is False or _package() is None:
        return False
    obstacle = None if context is None else _obstacle(context)
    if wish:
        if obstacle is not None:
            raise ValueError(f"aiofastnet=True, but aiofastnet cannot use this SSL context: {obstacle}")
        return True
    # Without TLS it costs as much as the loops (benchmarks/servers/echo.py). On Windows' own loop, and if OpenSSL is
    # a part of Python, it does TLS as they do.
    return (
        context is not None
        and obstacle is None
        and _package().OPENSSL_DYN_LIBS is not None
        and not isinstance(loop, getattr(asyncio, "ProactorEventLoop", ()))
    )


class _Loop:
    """The loop as aiofastnet sees it: of a peer that leaves in the TLS handshake it hears nothing.

    aiofastnet reports it as an error of the program, with a traceback for each port scan (1.2: it looks for an instance
    of ``OSError``, and has the class). Who waits for the connection gets the exception in any case.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._loop, name)
        setattr(self, name, found)
        return found

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if context.get("exception") is not ConnectionResetError:
            self._loop.call_exception_handler(context)


def _with_sizes(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("ssl") is None:
        return options
    return {"ssl_incoming_bio_size": _BUFFER_SIZE, "ssl_outgoing_bio_size": _BUFFER_SIZE} | options


async def open_connection(factory: Callable[[], Made], options: dict[str, Any], wish: bool | None) -> Made:
    """Connect with the ``options`` of ``loop.create_connection``; of ``create_unix_connection`` if there is a path.

    Raises:
        ValueError: ``wish`` is True, and aiofastnet cannot use the SSL context.
        OSError: there is no connection.
    """
    loop = asyncio.get_running_loop()
    if options.get("ssl") is True:
        options = options | {"ssl": ssl_module.create_default_context()}
    verb = "create_unix_connection" if "path" in options else "create_connection"
    connection: Made
    if is_used(loop, options.get("ssl"), wish):
        _, connection = await getattr(_package(), verb)(_Loop(loop), factory, **_with_sizes(options))
    else:
        _, connection = await getattr(loop, verb)(factory, **options)
    return connection


async def accept_connection(
    factory: Callable[[], asyncio.Protocol],
    accepted: socket.socket,
    options: dict[str, Any],
    wish: bool | None,
) -> None:
    """Make a connection of an accepted socket, with the ``options`` of ``loop.connect_accepted_socket``."""
    loop = asyncio.get_running_loop()
    context = options.get("ssl")
    if wish and context is not None and _obstacle(context) is not None:
        wish = False  # it had none when the server started; a client must not crash it, nor find it closed
    if is_used(loop, context, wish):
        await _package().connect_accepted_socket(_Loop(loop), factory, accepted, **_with_sizes(options))
    else:
        await loop.connect_accepted_socket(factory, accepted, **options)
