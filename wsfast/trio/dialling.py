"""Streams to a server: TCP, a Unix socket, TLS, and through a proxy: HTTP CONNECT, or SOCKS (``wsfast[socks]``).

trio hides the error of a name's only address in a cause, and errors of TLS in its own. Here they come out as they are.
The time limit is the caller's.
"""

from __future__ import annotations

import contextlib
import ssl as ssl_module
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from ..common.hints import hints
from ..exceptions import ProxyError
from ..printable import shown
from ..proxy import ConnectHandshake, Proxy
from ..uri import WebSocketURI

__all__ = ["OPTIONS", "open_stream"]

OPTIONS = frozenset(
    {
        *("stream", "path", "host", "port", "happy_eyeballs_delay", "local_address"),
        *("ssl", "server_hostname", "proxy_ssl", "proxy_server_hostname"),
    }
)
"""Arguments of ``connect`` that are for this room."""

# Seconds: python-socks has a limit of its own; only ours counts.
_A_DAY = 86_400.0

_READ_SIZE = 65_536


async def open_stream(
    uri: WebSocketURI, proxy: Proxy | None, options: dict[str, Any], user_agent: str | None, where: str
) -> trio.abc.Stream:
    """Open a stream to the server of ``uri``; ``options`` are those of ``connect``. ``where`` names it in texts.

    Raises:
        ImportError: a SOCKS proxy, and python-socks is not installed.
        ProxyError: the proxy did not connect us; often a subclass.
        OSError: there is no TCP or TLS connection.
    """
    host, port = options.get("host") or uri.host, options.get("port") or uri.port
    tcp: dict[str, Any] = {
        name: options[name] for name in ("happy_eyeballs_delay", "local_address") if name in options
    }
    stream: trio.abc.Stream
    if options.get("stream") is not None:
        stream = options["stream"]
    elif proxy is not None:
        stream = await _through(proxy, uri, host, port, options, tcp, user_agent)
    else:
        with hints(where), _plain():
            if options.get("path") is not None:
                stream = await trio.open_unix_socket(options["path"])
            else:
                stream = await trio.open_tcp_stream(host, port, **tcp)
    if options.get("ssl") is not None:
        async with _cut_if_it_fails(stream):
            with hints(where), _plain():
                stream = await _start_tls(stream, options["ssl"], options.get("server_hostname"))
    return stream


async def _start_tls(stream: trio.abc.Stream, context: Any, server_hostname: str | None) -> trio.abc.Stream:
    if context is True:
        context = ssl_module.create_default_context()
    # Many servers end TCP without a word of TLS, which harms nobody: a connection of ours has a Close of its own.
    encrypted = trio.SSLStream(stream, context, server_hostname=server_hostname, https_compatible=True)
    await encrypted.do_handshake()
    return encrypted


async def _through(
    proxy: Proxy,
    uri: WebSocketURI,
    host: str,
    port: int,
    options: dict[str, Any],
    tcp: dict[str, Any],
    user_agent: str | None,
) -> trio.abc.Stream:
    where = f"the proxy {shown(str(proxy))}"
    if proxy.scheme.startswith("socks"):
        return await _through_socks(proxy, host, port, where)
    with hints(where), _plain():
        stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port, **tcp)
    async with _cut_if_it_fails(stream):
        handshake = ConnectHandshake(proxy, uri, host, port, user_agent)
        with hints(where), _plain():
            if proxy.scheme == "https":
                name = options.get("proxy_server_hostname") or proxy.host
                stream = await _start_tls(stream, options.get("proxy_ssl") or True, name)
            await stream.send_all(handshake.data_to_send())
            while not handshake.done:
                data = await stream.receive_some(_READ_SIZE)
                if data:
                    handshake.receive_data(data)
                else:
                    handshake.receive_eof()
        if handshake.error is not None:
            raise handshake.error
    return stream


async def _through_socks(proxy: Proxy, host: str, port: int, where: str) -> trio.SocketStream:
    try:
        from python_socks import ProxyType
        from python_socks.async_.trio import Proxy as SocksProxy
    except ImportError as error:
        raise ImportError("a SOCKS proxy needs python-socks: pip install 'wsfast[socks]'") from error
    socks = SocksProxy(
        ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        proxy.username,
        proxy.password,
        rdns=proxy.scheme in ("socks4a", "socks5h"),  # the "a" and the "h" let the proxy look the name up
    )
    try:
        with hints(where):
            return trio.SocketStream(await socks.connect(host, port, timeout=_A_DAY))
    except OSError:
        raise
    except Exception as error:
        raise ProxyError(f"{where} did not connect to {shown(host)}:{port}: {shown(str(error))}") from error


@contextlib.asynccontextmanager
async def _cut_if_it_fails(stream: trio.abc.Stream) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


@contextlib.contextmanager
def _plain() -> Iterator[None]:
    """Raise the error of the network or of TLS that trio has put into another one; of several, the first."""
    try:
        yield
    except (OSError, trio.BrokenResourceError) as error:
        cause = error.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if cause is None:
            raise
        raise cause from error
