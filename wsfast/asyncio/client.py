"""``connect``: open a client connection (RFC 6455 4.1), once or again and again.

Everything of the opening handshake that can be checked is checked in ``wsfast.handshake``; here are TCP, TLS, the
time limit, redirects, and the delays between attempts.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
import ssl as ssl_module
import urllib.parse
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ..codec import Role
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import Compression, offer, settings
from ..exceptions import (
    HandshakeTimeout,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    SecurityError,
)
from ..handshake import USER_AGENT, ClientHandshake
from ..http import Headers, HeadersLike
from ..printable import shown, shown_uri
from ..session import queue_limits
from ..uri import WebSocketURI, parse_uri
from .connection import Connection, Logger

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ClientConnection", "backoff", "connect", "process_exception", "unix_connect"]

MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Headers that are meant for one origin and must not be shown to another.
_CREDENTIALS = frozenset({"authorization", "cookie"})


class ClientConnection(Connection):
    """A client's connection; see ``Connection`` for what it does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        handshake = self.protocol.handshake
        assert isinstance(handshake, ClientHandshake)
        self.request = handshake.request
        self.transport.write(handshake.data_to_send())

    def _handshake_received(self, data: Buffer) -> None:
        self.protocol.receive_data(data)
        handshake = self.protocol.handshake
        assert isinstance(handshake, ClientHandshake)
        if handshake.done and not self._handshake_done.done():
            self._handshake_done.set_result(None)
            if handshake.error is None:
                self._opened(self.protocol.open())

    async def handshake(self) -> None:
        """Wait for the opening handshake to end; raise what is wrong with it."""
        await self._handshake_done
        handshake = self.protocol.handshake
        assert isinstance(handshake, ClientHandshake)
        self.response = handshake.response
        if handshake.error is not None:
            self.transport.abort()
            raise self._handshake_error(handshake)

    def _handshake_error(self, handshake: ClientHandshake) -> InvalidHandshake:
        error = handshake.error
        assert error is not None
        if self._cause is not None:
            error.__cause__ = self._cause
        return error

    def eof_received(self) -> bool:
        if self.protocol.ready_state is ReadyState.CONNECTING:
            handshake = self.protocol.handshake
            assert handshake is not None
            handshake.receive_eof()
        return super().eof_received()


def process_exception(exception: Exception) -> Exception | None:
    """Tell which failures of an attempt are worth another one: None to try again, else what to raise.

    The network's faults, time limits, and the HTTP statuses 500, 502, 503 and 504 pass; the rest does not.
    """
    if isinstance(exception, InvalidStatus):
        return None if exception.response.status_code in (500, 502, 503, 504) else exception
    if isinstance(exception, InvalidMessage) and isinstance(exception.__cause__, EOFError | OSError):
        return None
    if isinstance(exception, ssl_module.SSLCertVerificationError):
        return exception
    return None if isinstance(exception, OSError | TimeoutError) else exception


def backoff() -> Generator[float]:
    """Delays between attempts, in seconds: at random up to 5, then 3 and half as much again each time, up to 90."""
    yield random.random() * 5
    delay = 3.0
    while True:
        yield delay
        delay = min(delay * 1.5, 90.0)


class connect:
    """Connect to a WebSocket server.

    Use it as ``async with connect(uri) as ws``, as ``ws = await connect(uri)``, or as
    ``async for ws in connect(uri)`` to connect again whenever the connection is lost.

    - ``uri``: ``ws://`` or ``wss://``. ``user:password@`` becomes Basic authentication.
    - ``origin``: the ``Origin`` header. ``subprotocols``: what to offer, the preferred one first.
    - ``compression``: ``"deflate"`` or a ``Deflate`` offers to compress messages (RFC 7692); None does not.
    - ``additional_headers``, ``user_agent_header`` (None sends none): the rest of the request.
    - ``process_exception``, ``reconnect_delays``: for ``async for``; see the functions of these names.
    - ``open_timeout``: seconds for all of connecting, redirects included; None waits for ever.
    - ``ping_interval``, ``ping_timeout``: seconds between Pings, and until a missing Pong fails the connection with
      1011; None switches either off. ``close_timeout``: seconds the peer has to close.
    - ``max_size``: bytes of a message, or ``(message, frame)``; None is no limit. ``max_queue``: messages that may
      wait before reading pauses, or ``(high, low)``. ``write_limit``: bytes that may wait before ``send`` does, or
      ``(high, low)``. ``text="bytes"`` receives text as the ``bytes`` of its UTF-8, checked, for parsers that take
      those; it then looks like binary.
    - ``create_connection``: a subclass of ``ClientConnection``.
    - Others go to ``loop.create_connection``: ``ssl``, ``server_hostname``, ``sock``, ``host``, ``port``, ...

    Raises ``InvalidURI``; ``OSError`` when there is no TCP or TLS connection; ``InvalidHandshake`` or one of its
    subclasses when the server does not speak WebSocket or refuses; ``HandshakeTimeout``.
    """

    def __init__(
        self,
        uri: str,
        *,
        origin: str | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: Compression = None,
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        reconnect_delays: Callable[[], Iterable[float]] = backoff,
        max_size: int | tuple[int | None, int | None] | None = 2**20,
        max_queue: int | tuple[int | None, int | None] | None = 16,
        text: Literal["str", "bytes"] = "str",
        write_limit: int | tuple[int, int | None] = 2**15,
        logger: Logger | None = None,
        create_connection: type[ClientConnection] | None = None,
        **kwargs: Any,
    ) -> None:
        # What is wrong with these is heard before anything is connected.
        self._compression = settings(compression)
        if self._compression is not None:
            offer(self._compression)
        queue_limits(max_queue)
        max_message_size, max_frame_size = size_limits(max_size)
        self._protocol_options: dict[str, Any] = {
            "max_message_size": max_message_size,
            "max_frame_size": max_frame_size,
            "text": text,
        }
        Protocol(Role.CLIENT, **self._protocol_options)
        self.uri = uri
        self._origin = origin
        self._subprotocols = subprotocols
        self._headers = Headers(additional_headers if additional_headers is not None else ())
        self._user_agent_header = user_agent_header
        self._process_exception = process_exception
        self._reconnect_delays = reconnect_delays
        self._open_timeout = open_timeout
        self._logger: Logger = logger or logging.getLogger("wsfast.client")
        self._connection_class = create_connection or ClientConnection
        self._connection_options: dict[str, Any] = {
            "ping_interval": ping_interval,
            "ping_timeout": ping_timeout,
            "close_timeout": close_timeout,
            "max_queue": max_queue,
            "write_limit": write_limit,
            "logger": self._logger,
        }
        self._tcp_options = kwargs
        self._connection: ClientConnection | None = None

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self._connect().__await__()

    async def __aenter__(self) -> ClientConnection:
        if self._connection is not None:
            raise RuntimeError("this connect() was entered already; make a new one for each connection")
        self._connection = await self
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        await connection.__aexit__(kind, exception, trace)

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        """Connect, and connect again when the body of the loop is done with a connection."""
        delays: Generator[float] | None = None
        while True:
            try:
                connection = await self
            except Exception as exception:
                fatal = self._process_exception(exception)
                if fatal is exception:
                    raise
                if fatal is not None:
                    raise fatal from exception
                if delays is None:
                    delays = (delay for delay in self._reconnect_delays())
                delay = next(delays, None)
                if delay is None:
                    raise
                self._logger.info(
                    "connecting to %s failed, again in %.1f s: %s",
                    shown_uri(self.uri),
                    delay,
                    shown(str(exception), 1000),
                )
                await asyncio.sleep(delay)
                continue
            delays = None
            try:
                yield connection
            finally:
                await connection.close()

    async def _connect(self) -> ClientConnection:
        try:
            async with asyncio.timeout(self._open_timeout):
                return await self._follow_redirects()
        except TimeoutError as exception:
            if isinstance(exception, HandshakeTimeout | OSError) and exception.args:
                raise  # the network's own
            raise HandshakeTimeout(
                f"{shown_uri(self.uri)} did not finish the opening handshake within {self._open_timeout} s; "
                "is it a WebSocket server? open_timeout sets the limit"
            ) from exception

    async def _follow_redirects(self) -> ClientConnection:
        uri, headers = self.uri, self._headers
        for _ in range(MAX_REDIRECTS):
            try:
                return await self._connect_once(parse_uri(uri), headers)
            except InvalidStatus as exception:
                locations = exception.response.headers.get_all("Location")
                if exception.response.status_code not in _REDIRECTS or len(locations) != 1:
                    raise
                uri, headers = self._redirect(uri, locations[0], headers)
        raise SecurityError(f"{shown_uri(self.uri)} redirects more than {MAX_REDIRECTS} times")

    def _redirect(self, uri: str, location: str, headers: Headers) -> tuple[str, Headers]:
        try:
            target = urllib.parse.urljoin(uri, location)
        except ValueError as error:
            raise InvalidURI(location, f"a redirect leads there, and {error}") from error
        # Servers answer in the terms of HTTP: the schemes are those of the same ports (RFC 6455 3).
        if target.startswith(("http:", "https:")):
            target = "ws" + target.removeprefix("http")
        old, new = parse_uri(uri), parse_uri(target)
        if old.secure and not new.secure:
            raise SecurityError(
                f"refused to follow a redirect from {shown_uri(uri)} to {shown_uri(target)}: it is not encrypted"
            )
        if (old.secure, old.host, old.port) != (new.secure, new.host, new.port):
            if self._tcp_options.keys() & {"sock", "host", "port", "path"}:
                raise SecurityError(
                    f"refused to follow a redirect to {shown_uri(target)}: where to connect was given"
                )
            headers = Headers(
                (name, value) for name, value in headers.raw_items() if name.lower() not in _CREDENTIALS
            )
        return target, headers

    async def _connect_once(self, uri: WebSocketURI, headers: Headers) -> ClientConnection:
        handshake = ClientHandshake(
            uri,
            origin=self._origin,
            subprotocols=self._subprotocols,
            compression=self._compression,
            additional_headers=headers,
            user_agent_header=self._user_agent_header,
        )

        def factory() -> ClientConnection:
            protocol = Protocol(Role.CLIENT, handshake=handshake, **self._protocol_options)
            return self._connection_class(protocol, **self._connection_options)

        connection = await self._open_tcp(factory, uri)
        try:
            await connection.handshake()
        except BaseException:
            connection.transport.abort()
            raise
        return connection

    async def _open_tcp(self, factory: Callable[[], ClientConnection], uri: WebSocketURI) -> ClientConnection:
        loop = asyncio.get_running_loop()
        options = dict(self._tcp_options)
        if uri.secure:
            if options.get("ssl") is False or ("ssl" in options and options["ssl"] is None):
                raise ValueError("ssl=None is for ws:// URIs; wss:// is encrypted")
            options.setdefault("ssl", True)
            options.setdefault("server_hostname", uri.host)
        elif options.get("ssl") is not None:
            raise ValueError("ssl is for wss:// URIs; ws:// is not encrypted")
        try:
            if "path" in options:
                _, connection = await loop.create_unix_connection(factory, **options)
                return connection
            if options.get("sock") is None:
                options.setdefault("host", uri.host)
                options.setdefault("port", uri.port)
            _, connection = await loop.create_connection(factory, **options)
            return connection
        except OSError as exception:
            hinted = self._with_hint(exception)
            if hinted is None:
                raise
            raise hinted from exception

    def _with_hint(self, exception: OSError) -> OSError | None:
        """The same exception with a text that says what to do, for the two that most people meet."""
        if isinstance(exception, socket.gaierror):
            hint = "the host name has no address; is it spelled right?"
            return socket.gaierror(exception.errno, f"cannot connect to {shown_uri(self.uri)}: {hint}")
        # asyncio makes one OSError of several, when a name has several addresses.
        refused, text = f"[Errno {errno.ECONNREFUSED}]", str(exception)
        if isinstance(exception, ConnectionRefusedError) or 0 < text.count("[Errno ") == text.count(refused):
            hint = "nothing listens there; is the server running, and is the port right?"
            return ConnectionRefusedError(
                errno.ECONNREFUSED, f"cannot connect to {shown_uri(self.uri)}: {hint}"
            )
        return None


def unix_connect(path: str | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect over a Unix socket at ``path``; ``uri`` gives the ``Host`` and the path of the request."""
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return connect(uri, path=path, **kwargs)


def size_limits(max_size: int | tuple[int | None, int | None] | None) -> tuple[int | None, int | None]:
    """The limits of a message and of a frame, in bytes, that ``max_size`` stands for."""
    return max_size if isinstance(max_size, tuple) else (max_size, None)
