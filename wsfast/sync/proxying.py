"""Connections through a proxy: HTTP CONNECT, over TCP or TLS, and SOCKS by python-socks (``wsfast[socks]``)."""

from __future__ import annotations

import socket
import ssl as ssl_module
import time
from typing import Any

from ..common.hints import hints
from ..exceptions import ProxyError
from ..printable import shown
from ..proxy import ConnectHandshake, Proxy
from ..uri import WebSocketURI
from .stream import Stream

__all__ = ["connect_through"]

# Seconds: python-socks has a limit of its own if none is given.
_A_DAY = 86_400.0


def connect_through(
    proxy: Proxy, uri: WebSocketURI, options: dict[str, Any], user_agent: str | None, until: float | None
) -> Stream:
    """Return a stream to the server of ``uri`` through ``proxy``; ``options`` are those of ``connect``.

    Raises:
        ImportError: a SOCKS proxy, and python-socks is not installed.
        ProxyError: the proxy did not connect us; often a subclass.
        OSError: there is no TCP or TLS connection to the proxy.
        TimeoutError: it takes too long.
    """
    host, port = options.pop("host", None) or uri.host, options.pop("port", None) or uri.port
    context, server_hostname = options.pop("proxy_ssl", None), options.pop("proxy_server_hostname", None)
    left = None if until is None else max(0.001, until - time.monotonic())
    where = f"the proxy {shown(str(proxy))}"
    if proxy.scheme.startswith("socks"):
        with hints(where):
            return Stream(_connect_socks(proxy, host, port, left), until)
    with hints(where):
        stream = Stream(
            socket.create_connection((proxy.host, proxy.port), **({"timeout": left} | options)), until
        )
    try:
        if proxy.scheme == "https":
            with hints(where):
                stream.start_tls(
                    context or ssl_module.create_default_context(),
                    server_hostname=server_hostname or proxy.host,
                )
        handshake = ConnectHandshake(proxy, uri, host, port, user_agent)
        with hints(where):
            stream.send(handshake.data_to_send())
            while not handshake.done:
                data = stream.receive()
                handshake.receive_data(data) if data else handshake.receive_eof()
        if handshake.error is not None:
            raise handshake.error
    except BaseException:
        stream.cut()
        raise
    return stream


def _connect_socks(proxy: Proxy, host: str, port: int, timeout: float | None) -> socket.socket:
    try:
        from python_socks import ProxyType
        from python_socks.sync import Proxy as SocksProxy
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
        connected: socket.socket = socks.connect(host, port, timeout=_A_DAY if timeout is None else timeout)
        return connected
    except OSError:
        raise
    except Exception as error:
        if type(error).__name__ == "ProxyTimeoutError":
            raise TimeoutError from error
        raise ProxyError(
            f"the proxy {shown(str(proxy))} did not connect to {shown(host)}:{port}: {shown(str(error))}"
        ) from error
