"""``connect``: open a client connection (RFC 6455 4.1); ``reconnect``: once or again and again.

``wsfast.common.connecting`` has the rules, and ``wsfast.handshake`` the opening handshake. This file has TCP, TLS, the
time limit, and the delays between attempts.
"""

from __future__ import annotations

import os
import socket
import ssl as ssl_module
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, cast

from ..common.arguments import check_names, check_proxy_options, session_options
from ..common.connecting import BODY_TIMEOUT, Attempt, Connecting, backoff, process_exception
from ..common.hints import hints
from ..connection import Connection as Protocol
from ..deflate import Compression
from ..exceptions import HandshakeTimeout, InvalidHandshake
from ..handshake import USER_AGENT, ClientHandshake, redirects
from ..http import HeadersLike
from ..limits import Limits
from ..typing import LoggerLike
from .connection import Connection
from .proxying import connect_through
from .stream import Stream, bounded

__all__ = ["ClientConnection", "connect", "reconnect", "unix_connect", "unix_reconnect"]


# Arguments of ``connect`` that are not for the session: for TLS, for ``socket.create_connection``, and in its place.
_OPTIONS = frozenset(
    {
        *("ssl", "server_hostname", "proxy_ssl", "proxy_server_hostname"),
        *("sock", "path", "host", "port", "address", "source_address", "all_errors"),
    }
)


class ClientConnection(Connection):
    """A client's connection; see ``Connection`` for its methods."""

    def handshake(self, stream: Stream) -> None:
        """Do the opening handshake.

        Raises:
            InvalidHandshake: the server refused, broke a rule, or closed the connection.
            TimeoutError: it takes too long.
        """
        handshake = cast("ClientHandshake", self.protocol.handshake)
        self.request = handshake.request
        cause: OSError | None = None
        try:
            self._send_head(stream, handshake.data_to_send())
            while not handshake.done:
                if handshake.response is not None:
                    stream.limit(BODY_TIMEOUT)
                self._receive_head(stream)
        except TimeoutError:
            if handshake.response is None:
                raise
            handshake.receive_eof()  # the refusal is there; the end of its body is missing
        except OSError as error:
            cause = error
            handshake.receive_eof()
        self.response = handshake.response
        if handshake.failed:
            assert handshake.error is not None
            raise handshake.error if cause is None else _with_cause(handshake.error, cause)
        self._opened()


def _with_cause(error: InvalidHandshake, cause: OSError) -> InvalidHandshake:
    error.__cause__ = cause
    return error


class reconnect(Connecting):
    """Connect to a WebSocket server again and again: ``for ws in reconnect(uri): ...``.

    The loop has a new connection whenever the last one is lost, or the body of the loop has finished with it; the
    body's ``break`` ends it. ``with reconnect(uri) as ws`` connects once, and ``connect`` is a method, too.

    - The arguments are those of ``connect``.
    - ``process_exception``, ``reconnect_delays``: see the functions ``process_exception`` and ``backoff`` of
      ``wsfast.sync.client``.

    Raises:
        TypeError, ValueError, InvalidProxy: as ``connect``, and before anything is connected.
    """

    def __init__(
        self,
        uri: str,
        *,
        sock: socket.socket | None = None,
        ssl: ssl_module.SSLContext | Literal[True] | None = None,
        server_hostname: str | None = None,
        origin: str | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: Compression = None,
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
        proxy_ssl: ssl_module.SSLContext | None = None,
        proxy_server_hostname: str | None = None,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        reconnect_delays: Callable[[], Iterable[float]] = backoff,
        max_size: int | tuple[int | None, int | None] | None = 2**20,
        max_queue: int | tuple[int | None, int | None] | None = 16,
        limits: Limits | None = None,
        text: Literal["str", "bytes"] = "str",
        count_frames: bool = False,
        logger: LoggerLike | None = None,
        create_connection: type[ClientConnection] | None = None,
        **kwargs: Any,
    ) -> None:
        named = {
            "sock": sock,
            "ssl": ssl,
            "server_hostname": server_hostname,
            "proxy_ssl": proxy_ssl,
            "proxy_server_hostname": proxy_server_hostname,
        }
        options = {name: value for name, value in named.items() if value is not None} | kwargs
        super().__init__(
            "connect",
            uri,
            options,
            origin=origin,
            subprotocols=subprotocols,
            compression=compression,
            additional_headers=additional_headers,
            user_agent_header=user_agent_header,
            proxy=proxy,
            process_exception=process_exception,
            open_timeout=open_timeout,
            reconnect_delays=reconnect_delays,
            max_size=max_size,
            max_queue=max_queue,
            limits=limits,
            text=text,
            logger=logger,
        )
        check_names("connect", self._tcp_options, _OPTIONS, local_addr="use source_address")
        self._connection_class = create_connection or ClientConnection
        self._connection_options = session_options(
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            logger=self._logger,
            limits=self._limits,
            count_frames=count_frames,
        )
        self._connection: ClientConnection | None = None

    def connect(self) -> ClientConnection:
        """Connect once.

        Raises:
            OSError, InvalidHandshake, HandshakeTimeout, ProxyError: as ``connect`` of this module.
        """
        attempt = self._begin()
        timeout = bounded(self._open_timeout)
        until = None if timeout is None else time.monotonic() + timeout
        try:
            for _ in range(redirects.MAX_REDIRECTS):
                self._uri_in_use = attempt.uri
                try:
                    return self._connect_once(attempt, until)
                except InvalidHandshake as exception:
                    self._follow(attempt, exception)
        except TimeoutError as exception:
            if isinstance(exception, HandshakeTimeout) or exception.errno is not None:
                raise  # the network's own timeout
            raise self._timed_out(attempt) from exception
        raise self._too_many_redirects()

    def _connect_once(self, attempt: Attempt, until: float | None) -> ClientConnection:
        protocol = self._new_protocol(attempt)
        stream = self._open_stream(attempt, until)
        try:
            connection = self._new_connection(protocol, stream)
            attempt.handshake = cast("ClientHandshake", protocol.handshake)
            connection.handshake(stream)
        except BaseException:
            stream.cut()
            raise
        return connection

    def _new_connection(self, protocol: Protocol, stream: Stream) -> ClientConnection:
        return self._connection_class(protocol, stream, **self._connection_options)

    def _open_stream(self, attempt: Attempt, until: float | None) -> Stream:
        uri, options, where = attempt.uri, self._options_for(attempt), self._shown(attempt)
        context, server_hostname = options.pop("ssl", None), options.pop("server_hostname", None)
        proxy = self._proxy_for(uri)
        check_proxy_options(options, proxy)
        if proxy is not None:
            stream = connect_through(proxy, uri, options, self._user_agent_header, until)
        else:
            options = {name: value for name, value in options.items() if not name.startswith("proxy_")}
            host, port = options.pop("host", None) or uri.host, options.pop("port", None) or uri.port
            with hints(where):
                stream = Stream(_connected(options, (host, port), until), until)
        if uri.secure:
            try:
                with hints(where):
                    stream.start_tls(
                        ssl_module.create_default_context() if context is True else context,
                        server_hostname=server_hostname,
                    )
            except BaseException:
                stream.cut()
                raise
        return stream

    def __enter__(self) -> ClientConnection:
        if self._connection is not None:
            raise RuntimeError("this connection was entered already; make a new one for each connection")
        self._connection = self.connect()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        connection.__exit__(kind, exception, trace)

    def __iter__(self) -> Iterator[ClientConnection]:
        """Connect, and connect again each time the body of the loop has finished with a connection."""
        delays: Generator[float] | None = None
        while True:
            try:
                connection = self.connect()
            except Exception as exception:
                self._raise_if_fatal(exception)
                if delays is None:
                    delays = (delay for delay in self._reconnect_delays())
                delay = next(delays, None)
                if delay is None:
                    raise
                self._log_failure(exception, delay)
                time.sleep(delay)
                continue
            delays = None
            try:
                yield connection
            finally:
                connection.close()


def _connected(options: dict[str, Any], address: tuple[str, int], until: float | None) -> socket.socket:
    """Return a connected socket: the user's, or a new one."""
    left = None if until is None else max(0.001, until - time.monotonic())
    sock: socket.socket | None = options.pop("sock", None)
    if sock is not None:
        return sock
    if "path" in options:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(left)
            sock.connect(os.fspath(options["path"]))
        except BaseException:
            sock.close()
            raise
        return sock
    return socket.create_connection(options.pop("address", address), **({"timeout": left} | options))


def connect(
    uri: str,
    *,
    sock: socket.socket | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    server_hostname: str | None = None,
    origin: str | None = None,
    subprotocols: Sequence[str] | None = None,
    compression: Compression = None,
    additional_headers: HeadersLike | None = None,
    user_agent_header: str | None = USER_AGENT,
    proxy: str | Literal[True] | None = True,
    proxy_ssl: ssl_module.SSLContext | None = None,
    proxy_server_hostname: str | None = None,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_size: int | tuple[int | None, int | None] | None = 2**20,
    max_queue: int | tuple[int | None, int | None] | None = 16,
    limits: Limits | None = None,
    text: Literal["str", "bytes"] = "str",
    count_frames: bool = False,
    logger: LoggerLike | None = None,
    create_connection: type[ClientConnection] | None = None,
    legacy: bool | None = None,
    **kwargs: Any,
) -> ClientConnection:
    """Connect to a WebSocket server: ``with connect(uri) as ws: ...``, or ``ws = connect(uri)`` and ``ws.close()``.

    - ``uri``: ``ws://`` or ``wss://``. ``user:password@`` becomes Basic authentication.
    - ``ssl``: the TLS context for ``wss://``; by default it trusts what the system trusts.
    - ``origin``: the ``Origin`` header. ``subprotocols``: our offers, the preferred one first.
    - ``compression``: ``"deflate"`` or a ``Deflate`` offers to compress messages (RFC 7692); None offers nothing.
    - ``additional_headers``, ``user_agent_header`` (None sends none): the rest of the request.
    - ``proxy``: the address of a proxy, True for that of the environment, or None; as in ``wsfast.asyncio.connect``.
      ``proxy_ssl`` and ``proxy_server_hostname`` are for TLS with it.
    - ``open_timeout``: seconds for all of connecting, redirects included; None waits for ever. Looking the name up
      is the system's, and takes as long as it takes.
    - ``ping_interval``: seconds between Pings; None sends none. ``ping_timeout``: seconds that a Pong may take before
      the connection fails with 1011; None waits for ever. ``close_timeout``: seconds that the peer has to close.
    - ``max_size``: largest message in bytes, or ``(message, frame)``; None is no limit.
    - ``max_queue``: messages that may wait before reading pauses, or ``(high, low)``.
    - ``limits``: a ``Limits`` has these three (``open_timeout``, ``max_size``, ``max_queue``), and all the others.
    - ``count_frames=True`` lets ``stats()`` tell frames and bytes of each kind.
    - ``text="bytes"`` receives text as the ``bytes`` of its UTF-8, checked.
    - ``create_connection``: a subclass of ``ClientConnection``.
    - ``sock``, ``host``, ``port``: a connected socket, or where to connect in place of what ``uri`` says. Other
      arguments go to ``socket.create_connection``.
    - ``legacy=False`` returns a ``reconnect``.

    Raises:
        TypeError: an argument that does not exist here, or that has the wrong type.
        ValueError: an argument whose value makes no sense, or that cannot be sent.
        InvalidURI: ``uri`` is not a WebSocket URI.
        InvalidProxy: ``proxy``, or what the environment has, is not the address of a proxy.
        ProxyError: the proxy did not connect us.
        ImportError: a SOCKS proxy, and python-socks is not installed.
        OSError: there is no TCP or TLS connection.
        InvalidHandshake: the server does not speak WebSocket, or it refuses; often one of the subclasses.
        HandshakeTimeout: ``open_timeout`` is over.
    """
    connecting = reconnect(
        uri,
        sock=sock,
        ssl=ssl,
        server_hostname=server_hostname,
        origin=origin,
        subprotocols=subprotocols,
        compression=compression,
        additional_headers=additional_headers,
        user_agent_header=user_agent_header,
        proxy=proxy,
        proxy_ssl=proxy_ssl,
        proxy_server_hostname=proxy_server_hostname,
        open_timeout=open_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        max_size=max_size,
        max_queue=max_queue,
        limits=limits,
        text=text,
        count_frames=count_frames,
        logger=logger,
        create_connection=create_connection,
        **kwargs,
    )
    return cast("ClientConnection", connecting) if legacy is False else connecting.connect()


def unix_connect(
    path: str | os.PathLike[str] | None = None,
    uri: str | None = None,
    *,
    legacy: bool | None = None,
    **kwargs: Any,
) -> ClientConnection:
    """Connect over a Unix socket at ``path``; ``uri`` gives the ``Host`` and the path of the request."""
    connecting = unix_reconnect(path, uri, **kwargs)
    return cast("ClientConnection", connecting) if legacy is False else connecting.connect()


def unix_reconnect(
    path: str | os.PathLike[str] | None = None, uri: str | None = None, **kwargs: Any
) -> reconnect:
    """Make a ``reconnect`` over a Unix socket at ``path``; ``uri`` gives the ``Host`` and the path of the request."""
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return reconnect(uri, path=path, **kwargs)
