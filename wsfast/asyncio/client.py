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
from dataclasses import dataclass, replace
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
    InvalidURI,
    SecurityError,
)
from ..handshake import USER_AGENT, ClientHandshake, redirects
from ..http import Headers, HeadersLike
from ..limits import Limits
from ..printable import shown, shown_uri
from ..proxy import Proxy, get_proxy, parse_proxy
from ..session import TURN_BOUNDS
from ..uri import WebSocketURI, parse_uri
from . import fastnet
from .arguments import limits_of, other_options, with_ratio
from .connection import Connection, Logger
from .hints import with_hint
from .listening import (
    Listener,
    ListenerConnection,
    OnMessage,
    checked_listener,
    connection_class_for,
    new_listener_of,
)
from .proxying import check_proxy_options, connect_through

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "ClientConnection",
    "ClientListenerConnection",
    "backoff",
    "connect",
    "process_exception",
    "unix_connect",
]

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
                self.response = handshake.response  # a listener may ask for it at once
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


class ClientListenerConnection(ListenerConnection, ClientConnection):
    """A client's connection whose messages go to a listener; see ``ListenerConnection`` for its methods."""


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
    - ``listener``: a ``Listener``, or its class or another function without arguments, which makes one for each
      connection. It gets the messages; the connection is a ``ClientListenerConnection``. Or
      ``on_message(connection, message)``, a plain function that is called for each message; its result is sent,
      unless it is None.
    - ``origin``: the ``Origin`` header. ``subprotocols``: our offers, the preferred one first.
    - ``compression``: ``"deflate"`` or a ``Deflate`` offers to compress messages (RFC 7692); None offers nothing.
    - ``additional_headers``, ``user_agent_header`` (None sends none): the rest of the request.
    - ``proxy``: the address of an HTTP proxy (``http://``, ``https://``) or of a SOCKS proxy (``socks4://``, ``socks4a://``,
      ``socks5://``, ``socks5h://``; ``wsfast[socks]``), as ``http://user:password@proxy:3128``. None uses none. By
      default the environment or the system names it: see ``wsfast.proxy.get_proxy``. A ``sock`` or a Unix socket is
      used as it is.
    - ``process_exception``, ``reconnect_delays``: for ``async for``; see the functions ``process_exception`` and
      ``backoff``.
    - ``open_timeout``: seconds for all of connecting, redirects included; None waits for ever.
    - ``ping_interval``: seconds between Pings; None sends none. ``ping_timeout``: seconds that a Pong may take before
      the connection fails with 1011; None waits for ever. ``close_timeout``: seconds that the peer has to close.
    - ``max_size``: largest message in bytes, or ``(message, frame)``; None is no limit.
    - ``max_queue``: messages that may wait before reading pauses, or ``(high, low)``.
    - ``limits``: a ``Limits`` has these three (``open_timeout``, ``max_size``, ``max_queue``), and all the others.
    - ``write_limit``: bytes that may wait before ``send`` waits, or ``(high, low)``.
    - ``count_frames=True`` lets ``stats()`` tell frames and bytes of each kind; it costs some microseconds a message.
    - ``text="bytes"`` receives text as the ``bytes`` of its UTF-8, checked, for parsers that take ``bytes``. Such text
      looks like binary.
    - ``create_connection``: a subclass of ``ClientConnection``.
    - ``aiofastnet``: None uses the transports of the package of this name for TLS, where it is installed and can use
      the context. False never does. True always does, also without TLS; then a missing package is an ``ImportError``.
    - Other arguments go to ``loop.create_connection``: ``ssl``, ``server_hostname``, ``sock``, ``host``, ``port``, ...
      With a proxy, ``ssl`` and ``server_hostname`` are for the server; ``proxy_ssl`` and ``proxy_server_hostname`` are
      for TLS with the proxy.

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

    def __init__(
        self,
        uri: str,
        *,
        listener: Listener | Callable[[], Listener] | None = None,
        on_message: OnMessage | None = None,
        origin: str | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: Compression = None,
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
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
        write_limit: int | tuple[int, int | None] = 2**15,
        count_frames: bool = False,
        logger: Logger | None = None,
        create_connection: type[ClientConnection] | None = None,
        aiofastnet: bool | None = None,
        **kwargs: Any,
    ) -> None:
        # A mistake in these arguments is raised before anything is connected.
        self._compression = settings(compression)
        if self._compression is not None:
            offer(self._compression)
        names = _LIMIT_NAMES if limits is None else {}
        limits = limits_of(
            "connect", limits, max_size=max_size, max_queue=max_queue, open_timeout=open_timeout
        )
        self._compression = with_ratio(self._compression, limits)
        self._max_head_size = limits.max_head_size
        self._protocol_options: dict[str, Any] = {
            **limits.codec_options(),
            "text": text,
            **TURN_BOUNDS,
            "limit_names": names,
        }
        Protocol(Role.CLIENT, **self._protocol_options)
        self.uri = uri
        self._uri_in_use: WebSocketURI  # of this attempt, as redirects have led it
        self._origin = origin
        self._subprotocols = subprotocols
        self._headers = Headers(additional_headers if additional_headers is not None else ())
        self._user_agent_header = user_agent_header
        self._process_exception = process_exception
        self._reconnect_delays = reconnect_delays
        self._open_timeout = limits.open_timeout
        self._logger: Logger = logger or logging.getLogger("wsfast.client")
        self._new_listener = new_listener_of("connect", listener, on_message)
        self._connection_class = connection_class_for(
            self._new_listener, create_connection, ClientConnection, ClientListenerConnection
        )
        self._connection_options: dict[str, Any] = {
            "ping_interval": ping_interval,
            "ping_timeout": ping_timeout,
            "close_timeout": close_timeout,
            "max_queue": limits.max_queue,
            "write_limit": write_limit,
            "logger": self._logger,
            "limits": limits,
            "count_frames": count_frames,
        }
        self._tcp_options = other_options("connect", kwargs)
        fastnet.check_wish(aiofastnet)
        self._aiofastnet = aiofastnet
        if proxy is not None and proxy is not True and not isinstance(proxy, str):
            raise TypeError(f"proxy has to be a str, True or None, not {proxy!r}")
        self._proxy = parse_proxy(proxy) if isinstance(proxy, str) else proxy
        if isinstance(self._proxy, Proxy):
            check_proxy_options(self._tcp_options, self._proxy)
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
            # If it is a redirect, the time was too short to follow it.
            if handshake.error is not None and redirects.location(handshake.response) is None:
                return handshake.error
        return HandshakeTimeout(
            f"{self._shown(attempt)} did not finish the opening handshake within {self._open_timeout} s; "
            "is it a WebSocket server? open_timeout sets the limit"
        )

    async def _follow_redirects(self, attempt: _Attempt) -> ClientConnection:
        for _ in range(redirects.MAX_REDIRECTS):
            self._uri_in_use = attempt.uri
            try:
                return await self._connect_once(attempt)
            except InvalidHandshake as exception:
                result = self.process_redirect(exception)
                try:
                    if result is exception:
                        raise
                    if isinstance(result, Exception):
                        raise result from exception
                    self._redirect(attempt, parse_uri(result))
                finally:
                    del result  # its traceback has this frame: a cycle would keep the connection
        raise SecurityError(f"{shown_uri(self.uri)} redirects more than {redirects.MAX_REDIRECTS} times")

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the URI to which a refusal redirects, to follow it, or the exception to raise. For subclasses.

        By default a redirect is followed up to ten times, never from TLS to none, and not if ``sock``, or for another
        origin ``host``, ``port`` or a Unix socket, says where to connect. Whatever is returned: another origin gets no
        credentials (``Authorization``, ``Cookie``, ``Proxy-Authorization``, and those in the URI).
        """
        location = redirects.location(exc.response) if isinstance(exc, InvalidStatus) else None
        if location is None:
            return exc
        try:
            target = redirects.follow(self._uri_in_use, location)
        except (InvalidURI, SecurityError) as refused:
            return refused
        given = {name for name in ("sock", "host", "port", "path") if self._tcp_options.get(name) is not None}
        if "sock" in given or (given and not redirects.same_origin(self._uri_in_use, target)):
            return redirects.RedirectError(
                f"refused to follow a redirect to {shown_uri(str(target))}: {', '.join(sorted(given))} "
                "said where to connect"
            )
        return str(target)

    def _redirect(self, attempt: _Attempt, target: WebSocketURI) -> None:
        before, attempt.uri, attempt.is_redirected = attempt.uri, target, True
        if not redirects.same_origin(before, target):
            attempt.is_elsewhere = True
            attempt.headers = redirects.for_origin(attempt.headers)
        elif target.user_info is None:
            attempt.uri = replace(target, username=before.username, password=before.password)

    async def _connect_once(self, attempt: _Attempt) -> ClientConnection:
        attempt.handshake = None
        handshake = ClientHandshake(
            attempt.uri,
            origin=self._origin,
            subprotocols=self._subprotocols,
            compression=self._compression,
            additional_headers=attempt.headers,
            user_agent_header=self._user_agent_header,
            max_head_size=self._max_head_size,
        )

        options = self._connection_options
        if self._new_listener is not None:
            made = checked_listener(self._new_listener())
            options = options | {"listener": lambda: made}

        def factory() -> ClientConnection:
            protocol = Protocol(Role.CLIENT, handshake=handshake, **self._protocol_options)
            return self._connection_class(protocol, **options)

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
        proxy = self._proxy_for(uri)
        check_proxy_options(options, proxy)
        if proxy is not None:
            where, agent = self._shown(attempt), self._user_agent_header
            return await connect_through(proxy, uri, factory, options, agent, self._open_timeout, where)
        options = {name: value for name, value in options.items() if not name.startswith("proxy_")}
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
            try:
                raise hinted from exception
            finally:
                del hinted  # the traceback of its cause has this frame: a cycle would keep the callers'

    def _proxy_for(self, uri: WebSocketURI) -> Proxy | None:
        if self._tcp_options.get("sock") is not None or "path" in self._tcp_options:
            return None
        if self._proxy is not True:
            return self._proxy
        found = get_proxy(uri)
        return None if found is None else parse_proxy(found)

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
