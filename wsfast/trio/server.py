"""``serve``: accept connections (RFC 6455 4.2) and run a handler for each, on trio.

Each connection has one task and a nursery in it. The task does the opening handshake, runs the handler, and closes the
connection with 1000, or with 1011 when the handler raised. ``wsfast.handshake`` checks the handshake.
"""

from __future__ import annotations

import http
import inspect
import re
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import trio

from ..codec import CloseCode, FrameEncoder, Role
from ..common.arguments import check_handler, check_names, check_tls, session_options
from ..common.awaiting import basic_auth
from ..common.messages import check_close
from ..common.serving import Serving, answer, failed, send_answer
from ..common.steps import run_awaiting
from ..connection import ReadyState
from ..deflate import Compression
from ..exceptions import ConnectionClosed
from ..handshake import SERVER, ServerHandshake
from ..http import Request, Response
from ..limits import Limits
from ..printable import shown
from ..session import HANDSHAKE, Admission, Stage
from ..typing import LoggerLike
from .broadcasting import broadcast
from .connection import Connection
from .observing import Lingering, bottom_of

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve"]

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

    server: Server
    """The server that accepted the connection."""

    @property
    def _handshake(self) -> ServerHandshake:
        return cast("ServerHandshake", self.protocol.handshake)

    def respond(self, status: int | http.HTTPStatus, text: str) -> Response:
        """Make a plain text HTTP response. If ``process_request`` returns it, there is no handshake.

        Raises:
            ValueError: ``status`` is not from 200 to 599.
        """
        return self._handshake.reject(int(status), text)

    def _handshake_received(self, data: Buffer) -> None:
        self.protocol.receive_data(data)
        if self._handshake.request is not None or self._handshake.error is not None:
            self._news.unpark_all()

    async def handshake(
        self,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        select_subprotocol: SelectSubprotocol | None,
        refusal: tuple[int, str] | None,
    ) -> None:
        """Wait for the request and answer it; afterwards the connection is OPEN, or closing."""
        handshake = self._handshake
        while handshake.request is None and handshake.error is None and not self._is_cutting:
            await self._news.park()
        self.request = request = handshake.request
        response: Response | None = handshake.response_due
        if request is not None and response is None and refusal is not None:
            response = self.respond(*refusal)
        elif request is not None and response is None:
            try:
                steps = answer(self, request, process_request, process_response, select_subprotocol)
                response = await run_awaiting(steps, self._result_of)
            except Exception:  # raised by the application's functions
                self.logger.error("opening handshake failed", exc_info=True)
                response = failed(self)
        if response is None or self._is_cutting or self.protocol.ready_state is not ReadyState.CONNECTING:
            # There is no request that could be answered. Or the client left, or the application closed the connection.
            self._abort()
            return
        self._answer_request(response)

    def _answer_request(self, response: Response) -> None:
        self._write(send_answer(self, response))
        self._unpause(HANDSHAKE)
        if self._handshake.accepted:
            self._opened(self.protocol.open())
        else:
            self._linger()

    async def _result_of(self, answer: Any) -> Any:
        if not inspect.isawaitable(answer):
            return answer
        # The bytes after the request wait in the kernel until the response is decided.
        self._pause(HANDSHAKE)
        return await answer


class Server(trio.abc.AsyncResource):
    """A server that ``serve`` started. Leave ``async with``, or call ``aclose``, to close it."""

    def __init__(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        handler: Handler,
        serving: Serving,
        new_connection: Callable[[Server, trio.abc.Stream], ServerConnection],
        handshake_options: Mapping[str, Any],
        ssl: ssl_module.SSLContext | None,
    ) -> None:
        self.handler = handler
        self.logger = serving.logger
        self.listeners = listeners
        """The listeners; ``listeners[0].socket.getsockname()`` tells the address of the first."""
        self._new_connection = new_connection
        self._handshake_options = handshake_options
        self._ssl = ssl
        self._open_timeout = serving.limits.open_timeout
        self._admission = Admission(serving.limits)
        self._connections: dict[ServerConnection, trio.CancelScope] = {}  # and the scope of its handshake
        self._accepting = trio.CancelScope()
        self._is_closing = False
        self._closed = trio.Event()

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections, for ``broadcast``."""
        return {each for each in self._connections if each.ready_state is ReadyState.OPEN}

    async def serve_forever(self, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until this call is cancelled, or ``aclose`` is called; then return when everything is closed."""
        try:
            async with trio.open_nursery() as nursery:
                with self._accepting:
                    for listening in self.listeners:
                        if isinstance(listening, trio.SocketListener):
                            self.logger.info(
                                "server listening on %s", shown(str(listening.socket.getsockname()))
                            )
                    task_status.started(self)
                    await trio.serve_listeners(self._serve, list(self.listeners), handler_nursery=nursery)
        finally:
            self._closed.set()

    async def aclose(
        self, close_connections: bool = True, code: int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop listening, close the connections with ``code``, and wait for the handlers.

        Handshakes are answered with 503. With ``close_connections=False`` the open connections continue to their end.
        If this is cancelled, all connections are cut.

        Raises:
            ProtocolError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        check_close(FrameEncoder(Role.SERVER), code, reason)
        self._is_closing = True
        self._accepting.cancel()
        try:
            async with trio.open_nursery() as nursery:
                for connection, handshake in self._connections.items():
                    handshake.cancel()
                    if close_connections and connection.ready_state is not ReadyState.CONNECTING:
                        nursery.start_soon(connection.aclose, code, reason)
            await self._closed.wait()
        except BaseException:  # Cancelled, alone or in a group
            for connection in self._connections:
                connection._abort()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        accepted_at = trio.current_time()
        bottom = bottom_of(stream)
        try:
            if self._ssl is not None:
                stream = trio.SSLStream(Lingering(stream), self._ssl, server_side=True, https_compatible=True)
            connection = self._new_connection(self, stream)
            if not self._is_closing and self._admission.enter(connection, connection.remote_address):
                try:
                    await self._run(connection, accepted_at)
                finally:
                    self._admission.leave(connection)
                    self._connections.pop(connection, None)
        finally:
            if bottom is not None:
                bottom.close()

    async def _run(self, connection: ServerConnection, accepted_at: float) -> None:
        limit = trio.CancelScope()
        if self._open_timeout is not None:
            limit.deadline = accepted_at + self._open_timeout
        self._connections[connection] = limit
        async with trio.open_nursery() as nursery:
            with limit:
                if isinstance(connection.stream, trio.SSLStream):
                    try:
                        await connection.stream.do_handshake()
                    except (
                        trio.BrokenResourceError,
                        OSError,
                    ) as error:  # the peer's, and never more than that
                        self.logger.debug("no connection could be made of a socket: %s", type(error).__name__)
                        return
                nursery.start_soon(connection.run)
                await connection.handshake(
                    **self._handshake_options, refusal=self._admission.refusal(connection)
                )
            if connection._connecting and connection._stage is Stage.CONNECTING:
                self._give_up(connection)
            if connection._connecting:
                await connection.wait_closed()
                return
            await connection.aclose(await self._handle(connection))

    def _give_up(self, connection: ServerConnection) -> None:
        """End a handshake that took too long, or that the end of the server interrupted."""
        if not self._is_closing:
            connection.logger.info(
                "no opening handshake from %s within the time limit", shown(str(connection.remote_address))
            )
            connection._abort()
        elif connection._handshake.request is not None:
            connection._answer_request(connection.respond(503, "The server is shutting down.\n"))
        else:
            connection._abort()

    async def _handle(self, connection: ServerConnection) -> int:
        """Run the handler, and return the code to close with."""
        try:
            running: object = self.handler(connection)
            if not inspect.isawaitable(running):
                raise TypeError(f"the handler returned a {type(running).__name__}; it has to be async def")
            await running
        except Exception as exception:
            group = exception if isinstance(exception, ExceptionGroup) else ExceptionGroup("", [exception])
            if group.split(ConnectionClosed)[1] is None:
                # The peer left, and the handler, or a nursery in it, did not catch it: an operator can mend nothing.
                connection.logger.debug("connection handler ended: %s", shown(str(exception), 1000))
            else:
                connection.logger.error("connection handler failed", exc_info=True)
        else:
            return CloseCode.NORMAL_CLOSURE
        return CloseCode.INTERNAL_ERROR


async def serve(
    handler: Handler,
    port: int | None = None,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    ssl: ssl_module.SSLContext | None = None,
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
    logger: LoggerLike | None = None,
    create_connection: type[ServerConnection] | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **kwargs: Any,
) -> None:
    """Serve WebSocket connections, until it is cancelled: ``server = await nursery.start(serve, handler, port)``.

    ``handler(connection)`` runs for each open connection; when it returns, the connection is closed. Leave ``async with
    server``, or call ``server.aclose``, to close the server in an orderly way. If ``serve`` is cancelled, the peers are
    told 1001 and cut.

    - ``port``, ``host``, ``backlog``: as for ``trio.open_tcp_listeners``. Port 0 lets the system choose one. Or
      ``listeners``: trio's listeners of TCP or of another kind.
    - ``ssl``: a context for TLS over them.
    - ``origins``: the accepted values of ``Origin``: strings, or patterns for the whole value. None in the list accepts
      requests without one (browsers never send such). All others are refused with 403 (RFC 6455 10.2).
    - ``subprotocols``: the supported ones; the client's first offer among them is chosen. Or
      ``select_subprotocol(connection, offers)`` returns one of the offers, or None.
    - ``process_request(connection, request)`` may return a ``Response`` (see ``connection.respond``) to answer with
      HTTP. ``process_response(connection, request, response)`` may return another response. Both may be async.
    - ``server_header``: None sends none. ``open_timeout``: seconds for the opening handshake, that of TLS included.
    - ``compression``: ``"deflate"`` or a ``Deflate`` agrees to compress messages with clients that offer it.
    - ``limits``: a ``Limits``; it has ``open_timeout``, ``max_size``, ``max_queue`` and all the others.
    - The other timeouts, ``text``, ``write_limit``, ``count_frames``, ``logger`` and ``create_connection`` (a subclass
      of ``ServerConnection``) are ``connect``'s.

    Raises:
        TypeError: an argument that does not exist here, or that has the wrong type.
        ValueError: an argument whose value makes no sense, or that cannot be sent.
        OSError: the address cannot be listened on.
    """
    check_handler(handler)
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
    check_names("serve", serving.options, ())
    check_tls(ssl)
    connection_options = session_options(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        write_limit=write_limit,
        logger=serving.logger,
        limits=serving.limits,
        count_frames=count_frames,
    )
    connection_class = create_connection or ServerConnection

    def new_connection(server: Server, stream: trio.abc.Stream) -> ServerConnection:
        connection = connection_class(serving.new_protocol(), stream, **connection_options)
        connection.server = server
        return connection

    if listeners is None:
        if port is None:
            raise TypeError("serve() needs a port, or listeners")
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    handshake_options = {
        "process_request": process_request,
        "process_response": process_response,
        "select_subprotocol": select_subprotocol,
    }
    server = Server(listeners, handler, serving, new_connection, handshake_options, ssl)
    await server.serve_forever(task_status)
