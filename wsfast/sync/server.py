"""``serve``: accept connections (RFC 6455 4.2), and run a handler for each in a thread of its own.

The thread does TLS and the opening handshake, runs the handler, and closes the connection with 1000, or with 1011 if
the handler raised. ``wsfast.handshake`` checks the handshake.
"""

from __future__ import annotations

import contextlib
import http
import os
import re
import selectors
import socket
import ssl as ssl_module
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from ..codec import CloseCode, FrameEncoder, Role
from ..common.accepting import EXHAUSTED, OF_THE_NETWORK, RETRY_DELAY, Exhaustion
from ..common.arguments import (
    check_address,
    check_callback,
    check_handler,
    check_names,
    check_tls,
    session_options,
)
from ..common.messages import check_close
from ..common.serving import Serving, answer, failed, send_answer
from ..common.steps import run
from ..connection import Connection as Protocol
from ..connection import ReadyState
from ..deflate import Compression
from ..exceptions import ConnectionClosed
from ..handshake import SERVER, ServerHandshake
from ..http import Request, Response
from ..limits import Limits
from ..printable import shown
from ..session import Admission
from ..typing import LoggerLike
from .authentication import basic_auth
from .broadcasting import broadcast
from .connection import Connection
from .stream import READ, Stream, bounded, is_ready

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve", "unix_serve"]

# Arguments of ``serve`` that go to ``socket.create_server``, and the path of a Unix socket.
_OPTIONS = frozenset({"backlog", "dualstack_ipv6", "family", "path", "reuse_port"})

Handler: TypeAlias = "Callable[[ServerConnection], None]"
ProcessRequest: TypeAlias = "Callable[[ServerConnection, Request], Response | None]"
ProcessResponse: TypeAlias = "Callable[[ServerConnection, Request, Response], Response | None]"
SelectSubprotocol: TypeAlias = "Callable[[ServerConnection, Sequence[str]], str | None]"


class ServerConnection(Connection):
    """A server's connection; see ``Connection`` for its methods."""

    username: str
    """The user's name, after ``basic_auth`` has let the user in."""

    handler: Callable[..., None]
    """The handler that ``route`` chose. ``handler_kwargs`` are its keyword arguments."""
    handler_kwargs: Mapping[str, Any]

    def __init__(self, protocol: Protocol, stream: Stream, server: Server, **options: Any) -> None:
        super().__init__(protocol, stream, **options)
        self.server = server
        """The server that accepted the connection."""

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

    def handshake(
        self,
        stream: Stream,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        select_subprotocol: SelectSubprotocol | None,
    ) -> None:
        """Receive the request and answer it; afterwards the connection is OPEN, or closing.

        Raises:
            TimeoutError: it takes too long.
            OSError: TCP or TLS was lost.
        """
        handshake = self._handshake
        while handshake.request is None and handshake.error is None:
            self._receive_head(stream)
            if self._cut:
                return
        response: Response | None = handshake.response_due
        self.request = request = handshake.request
        if request is not None and response is None:
            refusal = self.server.refusal(self)
            try:
                response = (
                    run(answer(self, request, process_request, process_response, select_subprotocol))
                    if refusal is None
                    else self.respond(*refusal)
                )
            except Exception:  # raised by the application's functions
                self.logger.error("opening handshake failed", exc_info=True)
                response = failed(self)
            refusal = self.server.refusal(self)
            if refusal is not None and handshake.accepted is False:
                response = self.respond(*refusal)  # the server has closed meanwhile
        if response is None or self._cut:
            # There is no request that could be answered, or the application has closed the connection.
            self.cut()
            return
        self._send_head(stream, send_answer(self, response))
        if handshake.accepted:
            self._opened()
        else:
            with self._lock:
                self._linger()
                self._settle()


class Server:
    """A server that ``serve`` started: it listens. ``serve_forever`` accepts; ``shutdown`` ends it."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        handler: Handler,
        new_connection: Callable[[Stream, Server], ServerConnection],
        *,
        ssl: ssl_module.SSLContext | None,
        process_request: ProcessRequest | None,
        process_response: ProcessResponse | None,
        select_subprotocol: SelectSubprotocol | None,
        logger: LoggerLike,
        limits: Limits,
    ) -> None:
        self.handler = handler
        self.logger = logger
        self.sockets: Sequence[socket.socket] = tuple(sockets)
        """The listening sockets."""
        self._new_connection = new_connection
        self._ssl = ssl
        self._process_request = process_request
        self._process_response = process_response
        self._select_subprotocol = select_subprotocol
        self._open_timeout = bounded(limits.open_timeout)
        self._admission = Admission(limits)
        self._lock = threading.RLock()  # the handler of a signal may call shutdown
        self._running: dict[socket.socket, tuple[threading.Thread, ServerConnection | None]] = {}
        self._is_closing = False
        self._closing: tuple[int, str] | None = None  # code and reason
        self._exhaustion = Exhaustion(logger)
        self._wakers: list[
            socket.socket
        ] = []  # one for each call of serve_forever: to close it wakes the call
        for listening in self.sockets:
            listening.setblocking(False)
            logger.info("server listening on %s", listening.getsockname())

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections, for ``broadcast``; a new set each time."""
        with self._lock:
            connections = [connection for _, connection in self._running.values() if connection is not None]
        return {connection for connection in connections if connection.ready_state is ReadyState.OPEN}

    def fileno(self) -> int:
        """Return the descriptor of the listening socket, the first one if there are several."""
        return self.sockets[0].fileno()

    def serve_forever(self) -> None:
        """Accept connections until ``shutdown`` is called, by another thread or the handler of a signal."""
        waker, woken = socket.socketpair()
        with woken, selectors.DefaultSelector() as selector:
            with self._lock:
                if self._is_closing:
                    waker.close()
                    return
                self._wakers.append(waker)
                for readable in (woken, *self.sockets):
                    selector.register(readable, selectors.EVENT_READ)
            try:
                while not self._is_closing:
                    for key, _ in selector.select():
                        if key.fileobj is not woken and not self._accept(cast("socket.socket", key.fileobj)):
                            is_ready(woken, READ, time.monotonic() + RETRY_DELAY)
            finally:
                with self._lock:
                    waker.close()

    def _accept(self, listening: socket.socket) -> bool:
        """Accept a connection; return False if there is no room, so that the next ones have to wait."""
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return True
        except OSError as error:
            if error.errno in OF_THE_NETWORK or self._is_closing:
                return True
            if error.errno not in EXHAUSTED:
                raise
            self._exhaustion.tell(error, time.monotonic())
            return False
        until = None if self._open_timeout is None else time.monotonic() + self._open_timeout
        thread = threading.Thread(
            target=self._run, args=(accepted, until), name="wsfast connection", daemon=True
        )
        with self._lock:
            if self._is_closing or not self._admission.enter(accepted, _peer_of(accepted)):
                accepted.close()
                return True
            self._running[accepted] = thread, None
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._leave(accepted)
            accepted.close()
            self._exhaustion.tell(OSError(0, str(error)), time.monotonic())
            return False
        return True

    def _leave(self, accepted: socket.socket) -> None:
        with self._lock:
            self._running.pop(accepted, None)
            self._admission.leave(accepted)

    def refusal(self, connection: ServerConnection) -> tuple[int, str] | None:
        """Return with what the request of a connection is to be refused, or None."""
        with self._lock:
            if self._is_closing:
                return 503, "The server is shutting down.\n"
            return self._admission.refusal(connection.socket)

    # The thread of a connection

    def _run(self, accepted: socket.socket, until: float | None) -> None:
        try:
            connection = self._open(Stream(accepted, until))
            if connection is not None:
                self._handle(connection)
        except SystemExit:
            pass  # as threading does
        finally:
            self._leave(accepted)

    def _open(self, stream: Stream) -> ServerConnection | None:
        """Do TLS and the opening handshake; return an open connection, or None."""
        try:
            if self._ssl is not None:
                stream.start_tls(self._ssl, server_side=True)
            connection = self._new_connection(stream, self)
        except (OSError, ssl_module.SSLError) as error:  # of TLS: the peer's, and never more than that
            self.logger.debug("no connection could be made of a socket: %s", type(error).__name__)
            stream.cut()
            return None
        with self._lock:
            self._running[stream.socket] = threading.current_thread(), connection
        try:
            connection.handshake(
                stream, self._process_request, self._process_response, self._select_subprotocol
            )
        except TimeoutError:
            connection.logger.info(
                "no opening handshake from %s within the time limit", shown(str(connection.remote_address))
            )
            connection.cut()
        except OSError:
            connection.cut()
        except BaseException as exception:
            connection.cut()
            if not isinstance(exception, Exception):
                raise
            connection.logger.error("opening handshake failed", exc_info=True)
        with self._lock:
            closing = self._closing
        if closing is not None and connection.is_accepted:
            connection.close(*closing)  # it was not open yet when the others were closed
        elif connection.is_accepted:
            return connection
        connection.wait_closed()
        return None

    def _handle(self, connection: ServerConnection) -> None:
        code = CloseCode.INTERNAL_ERROR
        try:
            self.handler(connection)
            code = CloseCode.NORMAL_CLOSURE
        except ConnectionClosed as exception:
            # The peer left, and the handler did not catch it: an operator can mend nothing.
            connection.logger.debug("connection handler ended: %s", shown(str(exception), 1000))
        except Exception:
            connection.logger.error("connection handler failed", exc_info=True)
        finally:  # after sys.exit(), too
            connection.close(code)

    # The end

    def shutdown(
        self, close_connections: bool = True, code: int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop listening, close the connections with ``code``, and wait for the handlers.

        Handshakes are answered with 503. With ``close_connections=False`` the open connections continue to their end.
        A handler that calls this is not waited for. A second call waits, too.

        Raises:
            ProtocolError: a code that must not be sent (RFC 6455 7.4), or a reason that is too long.
        """
        check_close(FrameEncoder(Role.SERVER), code, reason)
        with self._lock:
            self._is_closing = True
            self._closing = self._closing or (code, reason)
            running = dict(self._running)
            for waker in self._wakers:
                waker.close()
            for listening in self.sockets:
                listening.close()
        for accepted, (_, connection) in running.items():
            if connection is None or connection.ready_state is ReadyState.CONNECTING:
                if connection is None or connection.request is None:
                    with contextlib.suppress(OSError):
                        accepted.shutdown(socket.SHUT_RDWR)
            elif close_connections:
                connection.begin_close(code, reason)
        for thread, _ in running.values():
            if thread is not threading.current_thread():
                with contextlib.suppress(RuntimeError):  # Ctrl-C came before it was started
                    thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def _peer_of(accepted: socket.socket) -> Any:
    with contextlib.suppress(OSError):
        return accepted.getpeername()
    return None


def serve(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
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
    count_frames: bool = False,
    logger: LoggerLike | None = None,
    create_connection: type[ServerConnection] | None = None,
    **kwargs: Any,
) -> Server:
    """Listen, and return a server: ``with serve(handler, host, port) as server: server.serve_forever()``.

    ``handler(connection)`` runs for each open connection, in a thread of its own; when it returns, the connection is
    closed. The threads are daemons: ``shutdown`` waits for them, and the end of the program does not.

    - ``sock``: a listening socket in place of ``host`` and ``port``. ``ssl``: a context for TLS.
    - ``origins``: the accepted values of ``Origin``: strings, or patterns for the whole value. None in the list accepts
      requests without one (browsers never send such). All others are refused with 403 (RFC 6455 10.2).
    - ``subprotocols``: the supported ones; the client's first offer among them is chosen. Or
      ``select_subprotocol(connection, offers)`` returns one of the offers, or None.
    - ``process_request(connection, request)`` may return a ``Response`` (see ``connection.respond``) to answer with
      HTTP. ``process_response(connection, request, response)`` may return another response.
    - ``server_header``: None sends none. ``open_timeout``: seconds for the opening handshake, that of TLS included.
    - ``compression``: ``"deflate"`` or a ``Deflate`` agrees to compress messages with clients that offer it.
    - ``limits``: a ``Limits``; it has ``open_timeout``, ``max_size``, ``max_queue`` and all the others.
    - The timeouts, ``text``, ``count_frames``, ``logger`` and ``create_connection`` are ``connect``'s.
    - Other arguments go to ``socket.create_server``: ``family``, ``backlog``, ``reuse_port``, ...

    Raises:
        TypeError: an argument that does not exist here, or that has the wrong type.
        ValueError: an argument whose value makes no sense, or that cannot be sent.
        OSError: the address cannot be listened on.
    """
    check_handler(handler, is_async=False)
    for name, callback, arguments in (
        ("process_request", process_request, ("connection", "request")),
        ("process_response", process_response, ("connection", "request", "response")),
        ("select_subprotocol", select_subprotocol, ("connection", "subprotocols")),
    ):
        if callback is not None:
            check_callback(name, callback, arguments, hint="")
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
    check_names("serve", serving.options, _OPTIONS)
    check_address(host, port)
    check_tls(ssl)
    connection_class = create_connection or ServerConnection
    connection_options = session_options(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        logger=serving.logger,
        limits=serving.limits,
        count_frames=count_frames,
    )

    def new_connection(stream: Stream, server: Server) -> ServerConnection:
        return connection_class(serving.new_protocol(), stream, server, **connection_options)

    return Server(
        [_listening(sock, host, port, serving.options)],
        handler,
        new_connection,
        ssl=ssl,
        process_request=process_request,
        process_response=process_response,
        select_subprotocol=select_subprotocol,
        logger=serving.logger,
        limits=serving.limits,
    )


def _listening(
    sock: socket.socket | None, host: str | None, port: int | None, options: dict[str, Any]
) -> socket.socket:
    path = options.pop("path", None)
    if sock is not None:
        return sock
    if path is not None:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(os.fspath(path))
            sock.listen(options.pop("backlog", 128))
        except BaseException:
            sock.close()
            raise
        return sock
    if host is None and socket.has_dualstack_ipv6():
        options = {"family": socket.AF_INET6, "dualstack_ipv6": True} | options
    elif host is not None and ":" in host:
        options = {"family": socket.AF_INET6} | options
    return socket.create_server((host or "", port or 0), **options)


def unix_serve(handler: Handler, path: str | os.PathLike[str] | None = None, **kwargs: Any) -> Server:
    """Listen on a Unix socket at ``path``, or on the socket in ``sock``, and return a server."""
    return serve(handler, path=path, **kwargs)
