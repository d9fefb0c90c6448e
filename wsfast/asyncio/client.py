"""``connect``: open a client connection (RFC 6455 4.1), once or again and again.

``wsfast.handshake`` checks the opening handshake and follows redirects. This file has TCP, TLS, the time limit, and
the delays between attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from ..common.arguments import check_proxy_options, session_options
from ..common.connecting import BODY_TIMEOUT, Attempt, Connecting, backoff, process_exception
from ..common.hints import hints
from ..connection import ReadyState
from ..deflate import Compression
from ..exceptions import (
    HandshakeTimeout,
    InvalidHandshake,
)
from ..handshake import USER_AGENT, ClientHandshake, redirects
from ..http import HeadersLike
from ..limits import Limits
from . import fastnet
from .connection import Connection, Logger
from .listening import (
    Listener,
    ListenerConnection,
    OnMessage,
    checked_listener,
    connection_class_for,
    new_listener_of,
)
from .proxying import connect_through

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

# asyncio's default limit of a TLS handshake, in seconds.
_TLS_TIMEOUT = 60.0


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
            self._body_timer = self._loop.call_later(BODY_TIMEOUT, self._end_body)

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


class connect(Connecting):
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
        super().__init__(
            "connect",
            uri,
            kwargs,
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
        self._new_listener = new_listener_of("connect", listener, on_message)
        self._connection_class = connection_class_for(
            self._new_listener, create_connection, ClientConnection, ClientListenerConnection
        )
        self._connection_options = session_options(
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            write_limit=write_limit,
            logger=self._logger,
            limits=self._limits,
            count_frames=count_frames,
        )
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
                self._raise_if_fatal(exception)
                if delays is None:
                    delays = (delay for delay in self._reconnect_delays())
                delay = next(delays, None)
                if delay is None:
                    raise
                self._log_failure(exception, delay)
                await asyncio.sleep(delay)
                continue
            delays = None
            try:
                yield connection
            finally:
                await connection.close()

    async def _connect(self) -> ClientConnection:
        attempt = self._begin()
        try:
            async with asyncio.timeout(self._open_timeout):
                return await self._follow_redirects(attempt)
        except TimeoutError as exception:
            if isinstance(exception, HandshakeTimeout | OSError) and exception.args:
                raise  # the network's own timeout
            raise self._timed_out(attempt) from exception

    async def _follow_redirects(self, attempt: Attempt) -> ClientConnection:
        for _ in range(redirects.MAX_REDIRECTS):
            self._uri_in_use = attempt.uri
            try:
                return await self._connect_once(attempt)
            except InvalidHandshake as exception:
                self._follow(attempt, exception)
        raise self._too_many_redirects()

    async def _connect_once(self, attempt: Attempt) -> ClientConnection:
        protocol = self._new_protocol(attempt)
        options = self._connection_options
        if self._new_listener is not None:
            made = checked_listener(self._new_listener())
            options = options | {"listener": lambda: made}
        connection = await self._open_tcp(lambda: self._connection_class(protocol, **options), attempt)
        attempt.handshake = connection._handshake
        try:
            await connection.handshake()
        except BaseException:
            connection.transport.abort()
            raise
        return connection

    async def _open_tcp(self, factory: Callable[[], ClientConnection], attempt: Attempt) -> ClientConnection:
        uri, options, where = attempt.uri, self._options_for(attempt), self._shown(attempt)
        # Our limit counts; asyncio's default would be shorter.
        if uri.secure and self._open_timeout is not None and self._open_timeout > _TLS_TIMEOUT:
            options.setdefault("ssl_handshake_timeout", self._open_timeout)
        proxy = self._proxy_for(uri)
        check_proxy_options(options, proxy)
        if proxy is not None:
            agent = self._user_agent_header
            return await connect_through(proxy, uri, factory, options, agent, self._open_timeout, where)
        options = {name: value for name, value in options.items() if not name.startswith("proxy_")}
        if options.get("sock") is None and "path" not in options:
            options["host"] = options.get("host") or uri.host
            options["port"] = options.get("port") or uri.port
        with hints(where):
            return await fastnet.open_connection(factory, options, self._aiofastnet)


def unix_connect(path: str | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect over a Unix socket at ``path``; ``uri`` gives the ``Host`` and the path of the request."""
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    return connect(uri, path=path, **kwargs)
