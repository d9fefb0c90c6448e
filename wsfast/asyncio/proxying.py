"""Connections through a proxy: HTTP CONNECT, over TCP or TLS, and SOCKS by python-socks (``wsfast[socks]``).

``wsfast.proxy`` has the addresses and the handshake with an HTTP proxy. The time limit is the caller's, over all of it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..common.hints import hints
from ..exceptions import ProxyError
from ..printable import shown
from ..proxy import ConnectHandshake, Proxy
from ..uri import WebSocketURI
from .connection import Connection

__all__ = ["connect_through"]

_Connection = TypeVar("_Connection", bound=Connection)

# Seconds: python-socks has a limit of its own; only ours counts.
_A_DAY = 86_400.0


async def connect_through(
    proxy: Proxy,
    uri: WebSocketURI,
    factory: Callable[[], _Connection],
    options: dict[str, Any],
    user_agent: str | None,
    timeout: float | None,
    where: str,
) -> _Connection:
    """Open a connection to ``uri`` through ``proxy``; ``options`` are those of ``connect``, with ``ssl`` set.

    ``where`` names the server in texts.

    Raises:
        ImportError: a SOCKS proxy, and python-socks is not installed.
        ProxyError: the proxy did not connect us; often a subclass.
        OSError: there is no TCP or TLS connection to the proxy, or no TLS connection through it.
    """
    host = options.pop("host", None) or uri.host
    port = options.pop("port", None) or uri.port
    tls = {
        name: value for name, value in options.items() if name.startswith("ssl") or name == "server_hostname"
    }
    theirs = {name.removeprefix("proxy_"): value for name, value in options.items() if name not in tls}
    loop = asyncio.get_running_loop()
    if proxy.scheme.startswith("socks"):
        sock = await _connect_socks(proxy, host, port, theirs.get("local_addr"))
        try:
            with hints(where):
                _, connection = await loop.create_connection(factory, sock=sock, **tls)
        except BaseException:
            sock.close()
            raise
        return connection
    if proxy.scheme == "https":
        theirs.setdefault("ssl", True)
        if timeout is not None and timeout > 60:  # asyncio's default
            theirs.setdefault("ssl_handshake_timeout", timeout)
    handshake = ConnectHandshake(proxy, uri, host, port, user_agent)
    with hints(f"the proxy {shown(str(proxy))}"):
        transport, asking = await loop.create_connection(
            lambda: _Asking(handshake, loop), proxy.host, proxy.port, **theirs
        )
    try:
        await asking.answered
        if handshake.error is not None:
            raise handshake.error
        waiting = _Waiting()
        if tls.get("ssl") is not None:
            context = tls.pop("ssl")
            if context is True:
                context = ssl_module.create_default_context()
            with hints(where):
                new = await loop.start_tls(transport, waiting, context, **tls)
            assert new is not None  # the stubs say that it may be
            transport = new
        if transport.is_closing() or asking.is_lost or waiting.is_lost:
            raise ProxyError("the proxy closed the connection before the opening handshake")
        return _hand_over(transport, factory(), waiting)
    except BaseException:
        transport.abort()
        raise


def _hand_over(transport: asyncio.Transport, connection: _Connection, waiting: _Waiting) -> _Connection:
    transport.set_protocol(connection)
    connection.connection_made(transport)
    if waiting.received:
        connection.data_received(waiting.received)
    if not transport.is_closing() and not transport.is_reading():
        transport.resume_reading()
    return connection


class _Asking(asyncio.Protocol):
    """The handshake with an HTTP proxy."""

    def __init__(self, handshake: ConnectHandshake, loop: asyncio.AbstractEventLoop) -> None:
        self.answered: asyncio.Future[None] = loop.create_future()
        self.is_lost = False
        self._handshake = handshake
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._handshake.data_to_send())

    def data_received(self, data: bytes) -> None:
        self._handshake.receive_data(data)
        self._look()

    def eof_received(self) -> None:
        self._handshake.receive_eof()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._handshake.receive_eof()
        self._look()

    def _look(self) -> None:
        if self._handshake.done and not self.answered.done():
            if self._transport is not None and not self._transport.is_closing() and not self.is_lost:
                self._transport.pause_reading()  # what follows is for the next protocol
            self.answered.set_result(None)


class _Waiting(asyncio.Protocol):
    """Keeps what comes right after a TLS handshake, until the connection has its transport."""

    def __init__(self) -> None:
        self.received = b""
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


async def _connect_socks(
    proxy: Proxy, host: str, port: int, local_addr: tuple[str, int] | None
) -> socket.socket:
    try:
        from python_socks import ProxyType
        from python_socks.async_.asyncio import Proxy as SocksProxy
    except ImportError as error:
        raise ImportError("a SOCKS proxy needs python-socks: pip install 'wsfast[socks]'") from error
    # The "a" and the "h" let the proxy look the name up.
    socks = SocksProxy(
        ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        proxy.username,
        proxy.password,
        rdns=proxy.scheme in ("socks4a", "socks5h"),
    )
    try:
        with hints(f"the proxy {shown(str(proxy))}"):
            connected: socket.socket = await socks.connect(host, port, timeout=_A_DAY, local_addr=local_addr)
        return connected
    except OSError:
        raise
    except Exception as error:
        raise ProxyError(
            f"the proxy {shown(str(proxy))} did not connect to {shown(host)}:{port}: {shown(str(error))}"
        ) from error
