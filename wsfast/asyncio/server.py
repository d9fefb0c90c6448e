"""``serve``: accept connections (RFC 6455 4.2) and run a handler for each.

Each connection has one task. It does the opening handshake, runs the handler, and closes the connection with 1000, or
with 1011 when the handler raised. ``wsfast.handshake`` checks the handshake.
"""

from __future__ import annotations

import asyncio
import http
import inspect
import re
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from ..codec import CloseCode, FrameEncoder, Role
from ..common.arguments import check_address, check_handler, session_options
from ..common.serving import Serving, answer, failed, send_answer
from ..common.steps import run_awaiting
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import Compression
from ..exceptions import ConnectionClosed
from ..handshake import SERVER, ServerHandshake
from ..http import Request, Response
from ..limits import Limits
from ..printable import shown
from ..session import HANDSHAKE, Admission
from . import fastnet
from .accepting import Acceptor, Listening, accepts_poorly
from .authentication import basic_auth
from .broadcasting import broadcast
from .connection import Connection, Logger
from .draining import DrainReport, drain
from .listening import Listener, ListenerConnection, OnMessage, connection_class_for, new_listener_of

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = [
    "Server",
    "ServerConnection",
    "ServerListenerConnection",
    "basic_auth",
    "broadcast",
    "serve",
    "unix_serve",
]

Handler: TypeAlias = "Callable[[ServerConnection], Awaitable[None]]"
ProcessRequest: TypeAlias = (
    "Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]"
)
ProcessResponse: TypeAlias = (
    "Callable[[ServerConnection, Request, Response], Awaitable[Response | None] | Response | None]"
)
SelectSubprotocol: TypeAlias = "Callable[[ServerConnection, Sequence[str]], str | None]"


class ServerConnection(Connection):
    """A server's connection; see ``Connection`` for its methods."""

    username: str
    """The user's name, after ``basic_auth`` has let the user in."""

    handler: Callable[..., Awaitable[None]]
    """The handler that ``route`` chose. ``handler_kwargs`` are its keyword arguments."""
    handler_kwargs: Mapping[str, Any]

    def __init__(self, protocol: Protocol, server: Server, **options: Any) -> None:
        super().__init__(protocol, **options)
        self.server = server
        """The server that accepted the connection."""
        self._accepted_at = self._loop.time()  # taken before the TLS handshake

    @property
    def _handshake(self) -> ServerHandshake:
        return cast("ServerHandshake", self.protocol.handshake)

    @property
    def is_accepted(self) -> bool:
        """True after the opening handshake opened the connection, even if it is closed by now."""
        return self._handshake.accepted

    def respond(self, status: int | http.HTTPStatus, text: str) -> Response:
        """Make a plain text HTTP response. If ``process_request`` returns it, there is no handshake.

        Raises:
            ValueError: ``status`` is not from 200 to 599.
        """
        return self._handshake.reject(int(status), text)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.server._start(self)

    def _is_served(self, task: asyncio.Task[None]) -> None:
        # A method, as a function would take 200 bytes more for each connection.
        self.server._tasks.pop(self, None)
        self.server._admission.leave(self)

    def _handshake_received(self, data: Buffer) -> None:
        self.protocol.receive_data(data)
        handshake = self._handshake
        done = self._handshake_done
        if done is not None and (handshake.request is not None or handshake.error is not None):
            done.wake()  # the last act of this read

    async def handshake(
        self,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        select_subprotocol: SelectSubprotocol | None = None,
    ) -> None:
        """Wait for the request and answer it; afterwards the connection is OPEN, or closing."""
        await self._handshake_ended()
        if self.transport.is_closing():
            return
        handshake = self._handshake
        response: Response | None = handshake.response_due
        self.request = request = handshake.request
        refusal = self.server._admission.refusal(self)
        if request is not None and response is None and refusal is not None:
            response = self.respond(*refusal)
        elif request is not None and response is None:
            try:
                if process_request is None and process_response is None and select_subprotocol is None:
                    response = handshake.accept()
                else:
                    steps = answer(self, request, process_request, process_response, select_subprotocol)
                    response = await run_awaiting(steps, self._result_of)
            except Exception:  # raised by the application's functions
                self.logger.error("opening handshake failed", exc_info=True)
                response = failed(self)
            if self.protocol.ready_state is not ReadyState.CONNECTING or self.transport.is_closing():
                return  # Meanwhile the client left, or the application closed the connection.
        if response is None:
            # There is no request that could be answered.
            self.transport.abort()
            return
        self.transport.write(send_answer(self, response))
        self._unpause(HANDSHAKE)
        if handshake.accepted:
            self._opened(self.protocol.open())
        else:
            self._linger()

    async def _result_of(self, answer: Awaitable[Response | None] | Response | None) -> Response | None:
        if answer is None or isinstance(answer, Response) or not inspect.isawaitable(answer):
            return answer
        # The bytes after the request wait in the kernel until the response is decided.
        self._pause(HANDSHAKE)
        return await answer


class ServerListenerConnection(ListenerConnection, ServerConnection):
    """A server's connection whose messages go to a listener; see ``ListenerConnection`` for its methods."""


class Server:
    """A server that ``serve`` started. Use ``async with``, or ``await`` it, or call ``serve_forever``."""

    def __init__(
        self,
        handler: Handler,
        create_server: Callable[[Callable[[], ServerConnection]], Awaitable[Listening]],
        new_connection: Callable[[Server], ServerConnection],
        *,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        select_subprotocol: SelectSubprotocol | None,
        open_timeout: float | None,
        logger: Logger,
        limits: Limits,
    ) -> None:
        self.handler = handler
        self.logger = logger
        self._create_server = create_server
        self._new_connection = new_connection
        self._process_request = process_request
        self._process_response = process_response
        self._select_subprotocol = select_subprotocol
        self._open_timeout = open_timeout
        self._admission = Admission(limits)
        self._server: Listening | None = None
        self._tasks: dict[ServerConnection, asyncio.Task[None]] = {}
        self._closing: asyncio.Task[Any] | None = None
        self._hurry = asyncio.Event()
        self._closed: asyncio.Future[None] | None = None

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections, for ``broadcast``."""
        return {connection for connection in self._tasks if connection.ready_state is ReadyState.OPEN}

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The listening sockets; empty when the server is closed."""
        return () if self._server is None else self._server.sockets

    def is_serving(self) -> bool:
        """Tell whether new connections are accepted."""
        return self._server is not None and self._server.is_serving()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that the server runs on."""
        assert self._closed is not None, "the server is not started"
        return self._closed.get_loop()

    async def start_serving(self) -> None:
        """Accept connections, if ``serve`` was called with ``start_serving=False``."""
        assert self._server is not None, "the server is not started"
        await self._server.start_serving()

    async def serve_forever(self) -> None:
        """Serve until this call is cancelled or ``close`` is called; then wait until everything is closed."""
        if self._server is None:
            await self
        assert self._server is not None
        try:
            await self._server.start_serving()
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

    def close(
        self, close_connections: bool = True, code: int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop listening and close the connections with ``code``; handshakes are answered with 503.

        Does not wait: see ``wait_closed``. With ``close_connections=False`` the open connections continue to their end.
        """
        if self._closing is None and self._server is not None:
            self._closing = self.get_loop().create_task(self._close(close_connections, code, reason))
        if close_connections:
            self._hurry.set()

    async def drain(
        self,
        deadline: float = 30.0,
        *,
        code: int = CloseCode.SERVICE_RESTART,
        reason: str = "",
        jitter: float | None = None,
    ) -> DrainReport:
        """Stop listening, close the connections spread over ``jitter`` seconds, wait for the handlers, and report.

        So not all clients come back at once. ``jitter`` is half of ``deadline`` by default. At the ``deadline``, in
        seconds from now, the handlers that still run are cancelled and their connections cut. ``close`` called
        meanwhile ends the jitter. Cancelling this call does not stop it. Handshakes are answered with 503.

        Raises:
            RuntimeError: the server is not started, or it is closing already.
            ValueError: ``deadline`` or ``jitter`` is out of range, or the code must not be sent (RFC 6455 7.4).
        """
        if self._server is None or self._closing is not None:
            raise RuntimeError(
                "the server is not started" if self._server is None else "the server is closing already"
            )
        if jitter is None:
            jitter = deadline / 2
        if not 0 <= jitter <= deadline:
            raise ValueError(f"jitter must be from 0 to the deadline, {deadline} s, not {jitter}")
        FrameEncoder(Role.SERVER).close(code, reason)
        self._closing = closing = self.get_loop().create_task(self._drain(deadline, code, reason, jitter))
        return await asyncio.shield(closing)

    async def _drain(self, deadline: float, code: int, reason: str, jitter: float) -> DrainReport:
        assert self._server is not None
        assert self._closed is not None
        self._server.close()
        try:
            return await drain(self._tasks, deadline, code, reason, jitter, self._hurry)
        finally:
            self._closed.set_result(None)

    async def _close(self, close_connections: bool, code: int, reason: str) -> None:
        assert self._server is not None
        assert self._closed is not None
        self._server.close()
        closing: list[asyncio.Future[None]] = []
        try:
            for connection, task in self._tasks.items():
                if connection.ready_state is ReadyState.CONNECTING:
                    task.cancel()
                elif close_connections:
                    closing.append(asyncio.ensure_future(connection.close(code, reason)))
            # A handler may work on after its connection has ended: wait for all of them.
            await asyncio.gather(*closing, *self._tasks.values(), return_exceptions=True)
        finally:
            # At the end of a program all tasks are cancelled, and this one too.
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until the server is closed: every connection, and every handler."""
        assert self._closed is not None, "the server is not started"
        await asyncio.shield(self._closed)

    def _start(self, connection: ServerConnection) -> None:
        if self._closing is not None:  # accepted just before the server closed
            connection.transport.abort()
            return
        address = connection.remote_address if self._admission.counts_addresses else None
        if not self._admission.enter(connection, address):
            connection.transport.abort()
            return
        task = self.get_loop().create_task(self._run(connection))
        self._tasks[connection] = task
        task.add_done_callback(connection._is_served)

    async def _run(self, connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout_at(
                None if self._open_timeout is None else connection._accepted_at + self._open_timeout
            ):
                await connection.handshake(
                    self._process_request, self._process_response, self._select_subprotocol
                )
        except asyncio.CancelledError:
            self._refuse(connection)
            raise
        except TimeoutError:
            connection.logger.info(
                "no opening handshake from %s within the time limit", shown(str(connection.remote_address))
            )
            connection.transport.abort()
        except Exception:
            connection.logger.error("opening handshake failed", exc_info=True)
            connection.transport.abort()
        if not connection.is_accepted:
            await connection.wait_closed()
            return
        code = CloseCode.INTERNAL_ERROR
        try:
            running: object = self.handler(connection)
            if not inspect.isawaitable(running):
                raise TypeError(f"the handler returned a {type(running).__name__}; it has to be async def")
            await running
            code = CloseCode.NORMAL_CLOSURE
        except ConnectionClosed as exception:
            # The peer left, and the handler did not catch it: an operator can mend nothing.
            connection.logger.debug("connection handler ended: %s", shown(str(exception), 1000))
        except Exception:
            connection.logger.error("connection handler failed", exc_info=True)
        except asyncio.CancelledError:
            connection.transport.abort()
            raise
        if connection.ready_state is ReadyState.OPEN:
            await connection.close(code)
        else:
            await connection.wait_closed()

    def _refuse(self, connection: ServerConnection) -> None:
        """Answer a handshake with 503, because the server is closing."""
        handshake = connection._handshake
        if (
            handshake.request is not None
            and connection.response is None
            and not connection.transport.is_closing()
        ):
            handshake.send_response(connection.respond(503, "The server is shutting down.\n"))
            connection.transport.write(handshake.data_to_send())
        if (
            not connection.transport.is_closing()
        ):  # asyncio's TLS cannot be cut any more once it is closed twice
            connection.transport.close()

    async def _listen(self) -> Self:
        if self._server is not None:  # `server = await serve(...)`, then `async with server`
            return self
        self._closed = asyncio.get_running_loop().create_future()
        self._server = await self._create_server(lambda: self._new_connection(self))
        for listening in self._server.sockets:
            self.logger.info("server listening on %s", listening.getsockname())
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._listen().__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()


async def _listen(connection: ServerConnection) -> None:
    """The handler of connections that have a listener."""
    await connection._until_closed()


def serve(
    handler: Handler | None = None,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    listener: Listener | Callable[[], Listener] | None = None,
    on_message: OnMessage | None = None,
    origins: Sequence[str | re.Pattern[str] | None] | None = None,
    subprotocols: Sequence[str] | None = None,
    select_subprotocol: SelectSubprotocol | None = None,
    compression: Compression = None,
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    server_header: str | None = SERVER,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_size: int | tuple[int | None, int | None] | None = 2**20,
    max_queue: int | tuple[int | None, int | None] | None = 16,
    limits: Limits | None = None,
    text: Literal["str", "bytes"] = "str",
    write_limit: int | tuple[int, int | None] = 2**15,
    count_frames: bool = False,
    logger: Logger | None = None,
    create_connection: type[ServerConnection] | None = None,
    aiofastnet: bool | None = None,
    **kwargs: Any,
) -> Server:
    """Start a WebSocket server: ``async with serve(handler, host, port) as server``.

    ``handler(connection)`` runs for each open connection; when it returns, the connection is closed.

    - ``listener``: instead of a handler, a ``Listener`` for all connections, or its class or another function without
      arguments, which makes one for each. Or ``on_message(connection, message)``, a plain function that is called for
      each message; its result is sent, unless it is None.
    - ``origins``: the accepted values of ``Origin``: strings, or patterns for the whole value. None in the list accepts
      requests without one (browsers never send such). All others are refused with 403 (RFC 6455 10.2).
    - ``subprotocols``: the supported ones; the client's first offer among them is chosen. Or
      ``select_subprotocol(connection, offers)`` returns one of the offers, or None.
    - ``process_request(connection, request)`` may return a ``Response`` (see ``connection.respond``) to answer with
      HTTP. ``process_response(connection, request, response)`` may return another response. Both may be coroutines.
    - ``server_header``: None sends none. ``open_timeout``: seconds for the opening handshake, that of TLS included.
    - ``compression``: ``"deflate"`` or a ``Deflate`` agrees to compress messages with clients that offer it.
    - ``limits``: a ``Limits``; it has ``open_timeout``, ``max_size``, ``max_queue`` and all the others.
    - The timeouts, ``text``, ``count_frames``, ``logger``, ``create_connection`` and ``aiofastnet`` are ``connect``'s.
    - Other arguments go to ``loop.create_server``: ``ssl``, ``sock``, ``reuse_port``, ``start_serving``, ...

    Raises:
        TypeError: an argument that does not exist here, or that has the wrong type.
        ValueError: an argument whose value makes no sense, or that cannot be sent.
        OSError: the address cannot be listened on; raised when the server starts.
    """
    new_listener = new_listener_of("serve", listener, on_message)
    if new_listener is None:
        check_handler(handler)
    elif handler is not None:
        given = "listener" if on_message is None else "on_message"
        hint = "; host and port are given by name then" if isinstance(handler, str) else ""
        raise TypeError(f"serve() takes a handler or {given}, and not both{hint}")
    check_address(host, None)  # a port may be the name of a service
    fastnet.check_wish(aiofastnet)
    serving = Serving(
        kwargs,
        origins=origins,
        subprotocols=subprotocols,
        compression=compression,
        server_header=server_header,
        open_timeout=open_timeout,
        max_size=max_size,
        max_queue=max_queue,
        limits=limits,
        text=text,
        logger=logger,
    )
    options, limits, server_logger = serving.options, serving.limits, serving.logger
    open_timeout = limits.open_timeout
    if open_timeout is not None and open_timeout > 0 and options.get("ssl") is not None:
        # A TLS handshake comes before connection_made, so it needs the loop's own limit.
        options.setdefault("ssl_handshake_timeout", open_timeout)
    connection_class = connection_class_for(
        new_listener, create_connection, ServerConnection, ServerListenerConnection
    )
    connection_options = session_options(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        write_limit=write_limit,
        logger=server_logger,
        limits=limits,
        count_frames=count_frames,
        **({} if new_listener is None else {"listener": new_listener}),
    )

    def new_connection(server: Server) -> ServerConnection:
        return connection_class(serving.new_protocol(), server, **connection_options)

    async def create_server(factory: Callable[[], ServerConnection]) -> Listening:
        loop = asyncio.get_running_loop()
        create = (
            loop.create_unix_server
            if "path" in options
            else partial(loop.create_server, host=host, port=port)
        )
        if not accepts_poorly(loop) and not fastnet.is_used(loop, options.get("ssl"), aiofastnet):
            return await create(factory, **options)
        server = await create(factory, **(options | {"start_serving": False}))
        tls = {name: options[name] for name in options if name.startswith("ssl")}

        async def connect(accepted: socket.socket) -> None:
            await fastnet.accept_connection(factory, accepted, tls, aiofastnet)

        acceptor = Acceptor(server, connect, backlog=options.get("backlog", 100), logger=server_logger)
        if options.get("start_serving", True):
            await acceptor.start_serving()
        return acceptor

    return Server(
        cast("Handler", handler) if new_listener is None else _listen,
        create_server,
        new_connection,
        process_request=process_request,
        process_response=process_response,
        select_subprotocol=select_subprotocol,
        open_timeout=open_timeout,
        logger=server_logger,
        limits=limits,
    )


def unix_serve(handler: Handler | None = None, path: str | None = None, **kwargs: Any) -> Server:
    """Start a WebSocket server on a Unix socket at ``path``, or on the socket in ``sock``."""
    return serve(handler, path=path, **kwargs)
