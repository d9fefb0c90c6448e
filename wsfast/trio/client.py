"""``connect``: open a client connection (RFC 6455 4.1) on trio, once or again and again.

``wsfast.handshake`` checks the opening handshake, ``common/connecting.py`` has the arguments and redirects. This file
has the nursery of a connection, the time limit, and the delays between attempts.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

import trio

from ..common.arguments import check_names, check_proxy_options, session_options
from ..common.connecting import BODY_TIMEOUT, Attempt, Connecting, backoff, process_exception
from ..connection import ReadyState
from ..deflate import Compression
from ..exceptions import InvalidHandshake
from ..handshake import USER_AGENT, ClientHandshake, redirects
from ..http import HeadersLike
from ..limits import Limits
from ..session import Stage
from ..typing import LoggerLike
from .connection import Connection
from .dialling import OPTIONS, open_stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ClientConnection", "backoff", "connect", "process_exception", "unix_connect"]


class ClientConnection(Connection):
    """A client's connection; see ``Connection`` for its methods."""

    @property
    def _handshake(self) -> ClientHandshake:
        return cast("ClientHandshake", self.protocol.handshake)

    def _begin(self) -> None:
        self.request = self._handshake.request
        self._write(self._handshake.data_to_send())

    def _handshake_received(self, data: Buffer) -> None:
        self.protocol.receive_data(data)
        handshake = self._handshake
        if handshake.done and not handshake.failed:
            self.response = handshake.response
            self._opened(self.protocol.open())
        self._news.unpark_all()

    async def handshake(self) -> None:
        """Wait for the end of the opening handshake.

        Raises:
            InvalidHandshake: the server refused, broke a rule, or closed the connection.
        """
        handshake, body_by = self._handshake, math.inf
        while not handshake.done and self._stage is not Stage.CLOSED:
            if (
                handshake.response is not None and body_by == math.inf
            ):  # a refusal, whose body may tell the reason
                body_by = trio.current_time() + BODY_TIMEOUT
            with trio.CancelScope(deadline=body_by) as limit:
                await self._news.park()
            if limit.cancelled_caught:
                handshake.receive_eof()
        self.response = handshake.response
        if handshake.failed:
            self._abort()
            await self.wait_closed()
            error = handshake.error
            assert error is not None
            error.__cause__ = error.__cause__ if self._fault is None else self._fault
            raise error

    def eof_received(self) -> None:
        if self.protocol.ready_state is ReadyState.CONNECTING:
            self._handshake.receive_eof()
            self._news.unpark_all()
        super().eof_received()


class connect(Connecting):
    """Connect to a WebSocket server: ``async with connect(uri) as ws``.

    Or ``async for ws in connect(uri)``, to connect again whenever the connection is lost. To leave such a loop early,
    close it: ``async with contextlib.aclosing(aiter(connect(uri))) as connections``, and iterate over these.

    A connection has tasks of its own. Their nursery is open inside the block, and no exception of the block, or of
    connecting, comes out in a group.

    - ``uri``: ``ws://`` or ``wss://``. ``user:password@`` becomes Basic authentication.
    - ``origin``: the ``Origin`` header. ``subprotocols``: our offers, the preferred one first.
    - ``compression``: ``"deflate"`` or a ``Deflate`` offers to compress messages (RFC 7692); None offers nothing.
    - ``additional_headers``, ``user_agent_header`` (None sends none): the rest of the request.
    - ``proxy``: the address of an HTTP proxy (``http://``, ``https://``) or of a SOCKS proxy (``socks4://``, ``socks4a://``,
      ``socks5://``, ``socks5h://``; ``wsfast[socks]``), as ``http://user:password@proxy:3128``. None uses none. By
      default the environment or the system names it: see ``wsfast.proxy.get_proxy``. A ``stream`` or a Unix socket is
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
    - Other arguments: ``ssl`` and ``server_hostname`` for TLS with the server, ``proxy_ssl`` and
      ``proxy_server_hostname`` for TLS with the proxy; ``stream``, a connected stream of trio's; ``host`` and ``port``
      in place of those of the URI, ``happy_eyeballs_delay`` and ``local_address``, as for ``trio.open_tcp_stream``.

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
        logger: LoggerLike | None = None,
        create_connection: type[ClientConnection] | None = None,
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
        check_names("connect", self._tcp_options, OPTIONS, sock="use stream")
        self._connection_class = create_connection or ClientConnection
        self._connection_options = session_options(
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            write_limit=write_limit,
            logger=self._logger,
            limits=self._limits,
            count_frames=count_frames,
        )
        self._entered: tuple[AbstractAsyncContextManager[trio.Nursery], trio.Nursery] | None = None
        self._connection: ClientConnection

    async def __aenter__(self) -> ClientConnection:
        if self._entered is not None:
            raise RuntimeError("this connect() was entered already; make a new one for each connection")
        manager = trio.open_nursery()
        self._entered = manager, await manager.__aenter__()
        try:
            self._connection = await self._connect(self._entered[1])
        except BaseException:
            await self._leave()
            raise
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._connection.__aexit__(kind, exception, trace)
        finally:
            del self._connection
            await self._leave()

    async def _leave(self) -> None:
        """Leave the nursery, whose tasks are about to end; so the exception of the block is not put into a group."""
        assert self._entered is not None
        (manager, nursery), self._entered = self._entered, None
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        """Connect, and connect again each time the body of the loop has finished with a connection."""
        delays: Generator[float] | None = None
        while True:
            try:
                connection = await self.__aenter__()
            except Exception as exception:
                self._raise_if_fatal(exception)
                if delays is None:
                    delays = (delay for delay in self._reconnect_delays())
                delay = next(delays, None)
                if delay is None:
                    raise
                self._log_failure(exception, delay)
                await trio.sleep(delay)
                continue
            delays = None
            try:
                yield connection
            finally:
                await self.__aexit__(None, None, None)

    async def _connect(self, nursery: trio.Nursery) -> ClientConnection:
        attempt = self._begin()
        limit = trio.CancelScope()
        if self._open_timeout is not None:
            limit.deadline = trio.current_time() + self._open_timeout
        with limit:
            for _ in range(redirects.MAX_REDIRECTS):
                self._uri_in_use = attempt.uri
                try:
                    return await self._connect_once(nursery, attempt)
                except InvalidHandshake as exception:
                    self._follow(attempt, exception)
            raise self._too_many_redirects()
        raise self._timed_out(attempt)

    async def _connect_once(self, nursery: trio.Nursery, attempt: Attempt) -> ClientConnection:
        protocol = self._new_protocol(attempt)
        options, proxy = self._options_for(attempt), self._proxy_for(attempt.uri)
        check_proxy_options(options, proxy)
        where = self._shown(attempt)
        stream = await open_stream(attempt.uri, proxy, options, self._user_agent_header, where)
        connection = self._connection_class(protocol, stream, **self._connection_options)
        attempt.handshake = connection._handshake
        nursery.start_soon(connection.run)
        try:
            await connection.handshake()
        except BaseException:
            connection._abort()
            raise
        return connection


def unix_connect(path: str | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect over a Unix socket at ``path``; ``uri`` gives the ``Host`` and the path of the request."""
    secure = kwargs.get("ssl") is not None
    return connect(uri or ("wss://localhost/" if secure else "ws://localhost/"), path=path, **kwargs)
