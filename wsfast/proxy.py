"""Proxies without I/O: their addresses, the one that the environment names, and HTTP CONNECT (RFC 9110 9.3.6).

Two rules. No text of ours has a proxy's password. And the bytes of a proxy have the limits of a handshake: a head that
is too large, or bytes after it, fail the attempt.
"""

from __future__ import annotations

import base64
import os
import sys
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import h11

from .exceptions import InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, ProxyError, SecurityError
from .handshake.messages import MAX_HEAD_SIZE, check_n_headers, next_event, to_response, to_wire
from .http import Headers, Response
from .printable import shown
from .uri import WebSocketURI

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ConnectHandshake", "Proxy", "get_proxy", "parse_proxy"]

# Schemes and their default ports.
_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True)
class Proxy:
    """The address of a proxy. ``scheme``: http, https, socks4, socks4a, socks5 or socks5h."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the address without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def user_info(self) -> tuple[str, str] | None:
        """User name and password, or None."""
        return None if self.username is None else (self.username, self.password or "")


def parse_proxy(proxy: str) -> Proxy:
    """Parse the address of a proxy: ``scheme://[user:password@]host[:port]``.

    Raises:
        InvalidProxy: it is not the address of a proxy that we can use.
    """
    if any(char <= " " or char == "\x7f" for char in proxy):
        raise InvalidProxy(proxy, "it has a space or a control character")
    try:
        parts = urllib.parse.urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidProxy(proxy, shown(str(error))) from None
    if parts.scheme not in _PORTS:
        raise InvalidProxy(
            proxy, f'it has to start with one of {", ".join(_PORTS)}, as in "http://proxy:3128"'
        )
    if not host:
        raise InvalidProxy(proxy, "the host is missing")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidProxy(proxy, "there is something after its host and port")
    username, password = parts.username, parts.password
    try:
        if username is not None:
            if password is None:
                raise InvalidProxy(proxy, 'it has a user name without a password; write "user:password@"')
            username = urllib.parse.unquote(username, errors="strict")
            password = urllib.parse.unquote(password, errors="strict")
            f"{username}{password}".encode()
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidProxy(proxy, "host, user name or password cannot be encoded") from None
    return Proxy(parts.scheme, host, port or _PORTS[parts.scheme], username, password)


def get_proxy(uri: WebSocketURI) -> str | None:
    """Return the proxy that the environment, or the system, names for ``uri``; None if there is none.

    These are looked at, in this order: ``wss_proxy``, ``socks_proxy``, ``https_proxy`` for ``wss://``, and
    ``ws_proxy``, ``socks_proxy``, ``https_proxy``, ``http_proxy`` for ``ws://``. ``no_proxy`` lists hosts without one.
    """
    if sys.platform not in ("win32", "darwin") and not any(
        name.lower().endswith("_proxy") for name in os.environ
    ):
        return None  # urllib would find nothing, and takes 20 ms to import
    import urllib.request

    if urllib.request.proxy_bypass(f"{uri.host}:{uri.port}"):
        return None
    proxies = urllib.request.getproxies()
    for scheme in ("wss", "socks", "https") if uri.secure else ("ws", "socks", "https", "http"):
        proxy = proxies.get(scheme)
        if proxy:
            if scheme == "socks" and proxy.startswith("http://"):  # as systems tell it
                return f"socks5h://{proxy.removeprefix('http://')}"
            return proxy
    return None


class ConnectHandshake:
    """Ask an HTTP proxy to connect to ``host`` and ``port`` (RFC 9110 9.3.6), without I/O.

    Send ``data_to_send``, then call ``receive_data`` until ``done``. Then ``error`` is None, or the exception to raise.
    """

    def __init__(self, proxy: Proxy, uri: WebSocketURI, host: str, port: int, user_agent: str | None) -> None:
        self.done = False
        self.error: ProxyError | None = None
        self.response: Response | None = None
        self._n_received = 0
        self._http = h11.Connection(h11.CLIENT, MAX_HEAD_SIZE)
        target = f"[{host.partition('%')[0]}]:{port}" if ":" in host else f"{host}:{port}"
        headers = Headers({"Host": target if (host, port) != (uri.host, uri.port) else uri.host_header})
        if user_agent is not None:
            headers["User-Agent"] = user_agent
        if proxy.user_info is not None:
            credentials = ":".join(proxy.user_info).encode()  # RFC 7617 2
            headers["Proxy-Authorization"] = f"Basic {base64.b64encode(credentials).decode('ascii')}"
        request = h11.Request(
            method="CONNECT",
            target=target,
            headers=to_wire(headers),
        )
        self._to_send = self._http.send(request)
        self._http.send(h11.EndOfMessage())

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
        data, self._to_send = self._to_send, b""
        return data

    def receive_data(self, chunk: Buffer) -> None:
        """Take received bytes, in chunks of any size."""
        data = bytes(memoryview(chunk))
        if self.done:
            if data and self.error is None:
                self._end(InvalidProxyMessage("the proxy, or the server, sent bytes before the request"))
            return
        piece = data[: MAX_HEAD_SIZE - self._n_received]
        self._n_received += len(piece)
        try:
            self._http.receive_data(piece)
            while not self.done and (event := next_event(self._http)) is not None:
                check_n_headers(event, "proxy's response")
                if not isinstance(event, h11.InformationalResponse):
                    self._take_response(event, data[len(piece) :])
        except h11.RemoteProtocolError as error:
            self._end(InvalidProxyMessage(f"the proxy's response is not valid HTTP: {shown(str(error))}"))
        except SecurityError as error:  # too many headers
            self._end(InvalidProxyMessage(str(error)))
        if not self.done and self._n_received == MAX_HEAD_SIZE:
            self._end(
                InvalidProxyMessage(f"the head of the proxy's response is larger than {MAX_HEAD_SIZE} bytes")
            )

    def _take_response(self, event: h11.Response, rest: bytes) -> None:
        self.response = to_response(event)
        if not 200 <= event.status_code < 300:
            self._end(InvalidProxyStatus(self.response))
        elif self._http.trailing_data[0] or rest:
            # A server waits for our request. Whoever speaks first could pass its bytes off as an answer to it.
            self._end(InvalidProxyMessage("the proxy, or the server, sent bytes before the request"))
        else:
            self._end(None)

    def _end(self, error: ProxyError | None) -> None:
        self.error = error
        self.done = True

    def receive_eof(self) -> None:
        """Note that the proxy closed the connection."""
        if not self.done:
            error = InvalidProxyMessage("the proxy closed the connection before its response was complete")
            error.__cause__ = EOFError("connection closed")
            self._end(error)
