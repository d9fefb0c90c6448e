"""``connect``: open a client connection (RFC 6455 4.1), once or again and again.

``wsfast.handshake`` checks the opening handshake and follows redirects. This file has TCP, TLS, the time limit, and
the delays between attempts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from ..codec import Role
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import Compression, offer, settings
from ..exceptions import (
    HandshakeTimeout,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    SecurityError,
)
from ..handshake import USER_AGENT, ClientHandshake, redirects
from ..http import Headers, HeadersLike
from ..printable import shown, shown_uri
from ..session import TURN_BOUNDS, queue_limits
from ..uri import WebSocketURI, parse_uri
from . import fastnet
from .arguments import other_options, size_limits
from .connection import Connection, Logger
from .hints import with_hint

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ClientConnection", "backoff", "connect", "process_exception", "unix_connect"]

# Seconds that we wait for the rest of a refusal's body, which may tell the reason. Its status is known already.
_BODY_TIMEOUT = 2.0

# asyncio's default limit of a TLS handshake, in seconds.
_TLS_TIMEOUT = 60.0

_LIMIT_NAMES = {"max_message_size": "max_size", "max_frame_size": "max_size"}


class ClientConnection(Connection):
    """A client's connection; see ``Connection`` for its methods."""

    _body_timer: asyncio.TimerHandle | None = None  # set while a refusal's body is received

    @property
    def _handshake(self) -> ClientHandshake:
        return cast("ClientHandshake", self.protocol.handshake)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.request = self._handshake.request
        self.transport.write(self._handshake.data_to_send())

    def _handshake_received(self, data: Buffer) -> None:
        self.protocol.receive_data(data)
        handshake = self._handshake
        if handshake.done:
            if self._end_handshake() and not handshake.failed:
                self._opened(self.protocol.open())
        elif handshake.response is not None and self._body_timer is None:
            self._body_timer = self._loop.call_later(_BODY_TIMEOUT, self._end_body)

    def _end_body(self) -> None:
        """Treat a refusal as complete, although the end of its body is missing."""
        self._handshake.receive_eof()
        self._end_handshake()

    async def handshake(self) -> None:
        """Wait for the end of the opening handshake.

        Raises:
            InvalidHandshake: the server refused, broke a rule, or closed the connection.
        """
        try:
            await self._handshake_ended()
        finally:
            if self._body_timer is not None:
                self._body_timer.cancel()
        self.response = self._handshake.response
        if self._handshake.failed:
            self.transport.abort()
            raise self._handshake_error()

    def _handshake_error(self) -> InvalidHandshake:
        error = self._handshake.error
        assert error is not None
        if self._cause is not None:
            error.__cause__ = self._cause
        return error

    def eof_received(self) -> bool:
        if self.protocol.ready_state is ReadyState.CONNECTING:
            self._handshake.receive_eof()
        return super().eof_received()


def process_exception(exception: Exception) -> Exception | None:
    """Tell whether a failed attempt is worth another one: return None to try again, else the exception to raise.

    Faults of the network, time limits, and the HTTP statuses 500, 502, 503 and 504 are temporary. The rest is not.
    """
    if isinstance(exception, InvalidStatus):
        return None if exception.response.status_code in (500, 502, 503, 504) else exception
    if isinstance(exception, InvalidMessage) and isinstance(exception.__cause__, EOFError | OSError):
        return None
    if isinstance(exception, ssl_module.SSLCertVerificationError):
        return exception
    return None if isinstance(exception, OSError | TimeoutError) else exception


def backoff() -> Generator[float]:
    """Yield delays between attempts, in seconds: a random one up to 5, then 3, then 1.5 times the last, up to 90."""
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
    - ``origin``: the ``Origin`` header. ``subprotocols``: our offers, the preferred one first.
    - ``compression``: ``"deflate"`` or a ``Deflate`` offers to compress messages (RFC 7692); None offers nothing.
    - ``additional_headers``, ``user_agent_header`` (None sends none): the rest of the request.
    - ``process_exception``, ``reconnect_delays``: for ``async for``; see the functions ``process_exception`` and
      ``backoff``.
    - ``open_timeout``: seconds for all of connecting, redirects included; None waits for ever.
    - ``ping_interval``: seconds between Pings; None sends none. ``ping_timeout``: seconds that a Pong may take before
      the connection fails with 1011; None waits for ever. ``close_timeout``: seconds that the peer has to close.
    - ``max_size``: largest message in bytes, or ``(message, frame)``; None is no limit.
    - ``max_queue``: messages that may wait before reading pauses, or ``(high, low)``.
    - ``write_limit``: bytes that may wait before ``send`` waits, or ``(high, low)``.
    - ``text="bytes"`` receives text as the ``bytes`` of its UTF-8, checked, for parsers that take ``bytes``. Such text
      looks like binary.
    - ``create_connection``: a subclass of ``ClientConnection``.
    - ``aiofastnet``: None uses the transports of the package of this name for TLS, where it is installed and can use
      the context. False never does. True always does, also without TLS; then a missing package is an ``ImportError``.
    - Other arguments go to ``loop.create_connection``: ``ssl``, ``server_hostname``, ``sock``, ``host``, ``port``, ...

    Raises:
        TypeError: an argument that does not exist here, or that has the wrong type.
        ValueError: an argument whose value makes no sense, or that cannot be sent.
        InvalidURI: ``uri`` is not a WebSocket URI.
        OSError: there is no TCP or TLS connection.
        InvalidHandshake: the server does not speak WebSocket, or it refuses; often one of the subclasses.
        HandshakeTimeout: ``open_timeout`` is over.
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
        aiofastnet: bool | None = None,
        **kwargs: Any,
    ) -> None:
        # A mistake in these arguments is raised before anything is connected.
        self._compression = settings(compression)
        if self._compression is not None:
            offer(self._compression)
        queue_limits(max_queue)
        max_message_size, max_frame_size = size_limits(max_size)
        self._protocol_options: dict[str, Any] = {
            "max_message_size": max_message_size,
            "max_frame_size": max_frame_size,
            "text": text,
            **TURN_BOUNDS,
            "limit_names": _LIMIT_NAMES,
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
        self._tcp_options = other_options("connect", kwargs)
        fastnet.check_wish(aiofastnet)
        self._aiofastnet = aiofastnet
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
        """Connect, and connect again each time the body of the loop has finished with a connection."""
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
        attempt = _Attempt(parse_uri(self.uri), self._headers)
        try:
            async with asyncio.timeout(self._open_timeout):
                return await self._follow_redirects(attempt)
        except TimeoutError as exception:
            if isinstance(exception, HandshakeTimeout | OSError) and exception.args:
                raise  # the network's own timeout
            raise self._timed_out(attempt) from exception

    def _timed_out(self, attempt: _Attempt) -> InvalidHandshake:
        handshake = attempt.handshake
        if handshake is not None and handshake.response is not None:
            handshake.receive_eof()  # The server has refused, but its body has not ended.
            if handshake.error is not None:
                return handshake.error
        return HandshakeTimeout(
            f"{self._shown(attempt)} did not finish the opening handshake within {self._open_timeout} s; "
            "is it a WebSocket server? open_timeout sets the limit"
        )

    async def _follow_redirects(self, attempt: _Attempt) -> ClientConnection:
        for _ in range(redirects.MAX_REDIRECTS):
            try:
                return await self._connect_once(attempt)
            except InvalidStatus as exception:
                location = redirects.location(exception.response)
                if location is None:
                    raise
                self._redirect(attempt, location)
        raise SecurityError(f"{shown_uri(self.uri)} redirects more than {redirects.MAX_REDIRECTS} times")

    def _redirect(self, attempt: _Attempt, location: str) -> None:
        target = redirects.follow(attempt.uri, location)
        given = {name for name in ("sock", "host", "port", "path") if self._tcp_options.get(name) is not None}
        is_same = redirects.same_origin(attempt.uri, target)
        if "sock" in given or (given and not is_same):
            raise redirects.RedirectError(
                f"refused to follow a redirect to {shown_uri(str(target))}: {', '.join(sorted(given))} "
                "said where to connect"
            )
        attempt.uri, attempt.is_redirected = target, True
        if not is_same:
            attempt.is_elsewhere = True
            attempt.headers = redirects.for_origin(attempt.headers)

    async def _connect_once(self, attempt: _Attempt) -> ClientConnection:
        attempt.handshake = None
        handshake = ClientHandshake(
            attempt.uri,
            origin=self._origin,
            subprotocols=self._subprotocols,
            compression=self._compression,
            additional_headers=attempt.headers,
            user_agent_header=self._user_agent_header,
        )

        def factory() -> ClientConnection:
            protocol = Protocol(Role.CLIENT, handshake=handshake, **self._protocol_options)
            return self._connection_class(protocol, **self._connection_options)

        connection = await self._open_tcp(factory, attempt)
        attempt.handshake = handshake
        try:
            await connection.handshake()
        except BaseException:
            connection.transport.abort()
            raise
        return connection

    async def _open_tcp(self, factory: Callable[[], ClientConnection], attempt: _Attempt) -> ClientConnection:
        uri, options = attempt.uri, dict(self._tcp_options)
        if uri.secure:
            if options.get("ssl") is False or ("ssl" in options and options["ssl"] is None):
                raise ValueError("ssl=None is for ws:// URIs; wss:// is encrypted")
            options.setdefault("ssl", True)
            if attempt.is_elsewhere:
                options.pop("server_hostname", None)  # the user gave it for the first origin
            options.setdefault("server_hostname", uri.tls_name)
            # Our limit counts; asyncio's default would be shorter.
            if self._open_timeout is not None and self._open_timeout > _TLS_TIMEOUT:
                options.setdefault("ssl_handshake_timeout", self._open_timeout)
        elif options.get("ssl") is not None:
            raise ValueError("ssl is for wss:// URIs; ws:// is not encrypted")
        try:
            sock = options.get("sock")
            if sock is None and "path" not in options:
                options["host"] = options.get("host") or uri.host
                options["port"] = options.get("port") or uri.port
            elif sock is not None and sock.fileno() < 0:
                raise ValueError("sock is closed; it serves one attempt to connect")
            return await fastnet.open_connection(factory, options, self._aiofastnet)
        except OSError as exception:
            hinted = with_hint(exception, self._shown(attempt))
            if hinted is None:
                raise
            raise hinted from exception

    def _shown(self, attempt: _Attempt) -> str:
        return shown_uri(str(attempt.uri) if attempt.is_redirected else self.uri)


@dataclass
class _Attempt:
    """The state of an attempt to connect: how far redirects have led it."""

    uri: WebSocketURI
    headers: Headers
    handshake: ClientHandshake | None = None
    """The handshake of the attempt; set when there is a connection."""
    is_redirected: bool = False
    is_elsewhere: bool = False
    """True after a redirect to another origin."""


def unix_connect(path: str | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect over a Unix socket at ``path``; ``uri`` gives the ``Host`` and the path of the request."""
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return connect(uri, path=path, **kwargs)
