"""The class that uvicorn makes for each WebSocket connection.

uvicorn makes one for each request to upgrade, passes it the request once more, and then leaves it the transport.
Frames, limits and the closing handshake are the sans-I/O connection's, the request is ``ServerHandshake``'s; what
is here is ASGI: the scope, the events, and what uvicorn's own classes do about them. The rules, and why:

- What an application can see is what it sees with uvicorn's own classes, and what uvicorn's tests ask for.
- A message goes straight to a receiver that waits. Reading pauses when nobody does, after one message; to pause and
  resume it for each message costs two system calls on asyncio's own loop.
- Frames that are sent while received messages still wait go out in one write, when the application is about to wait
  or at the loop's next turn, whichever is first.
- The first end counts: ``receive`` returns it behind the messages that came before it, and from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http
import logging
import math
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from uvicorn.logging import TRACE_LOG_LEVEL
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_path_with_query_string,
    get_remote_addr,
)

from ..asyncio.buffered import BufferedReceiver, wants_buffer
from ..asyncio.writing import BatchWriter
from ..codec import CloseCode, Event, Failure, Pong, Role
from ..connection import Connection, Ending, ReadyState
from ..deflate import Deflate
from ..handshake import Request, Response, ServerHandshake
from .denial import Denial
from .keepalive import Keepalive
from .scope import decoded, make_scope

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGIReceiveEvent,
        ASGISendEvent,
        WebSocketAcceptEvent,
        WebSocketCloseEvent,
        WebSocketDisconnectEvent,
        WebSocketResponseBodyEvent,
        WebSocketResponseStartEvent,
        WebSocketScope,
    )
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["WebSocketProtocol"]

_CONNECTING, _OPEN, _CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED

# uvicorn has a limit for the inflated message, ws_max_size, and none for its ratio.
_DEFLATE = Deflate(max_ratio=None)

# Bytes of a request's head: uvicorn has read it before, and its other classes take 128 lines of 8 KiB.
_MAX_HEAD_SIZE = 2**20

# Seconds for which we read on, and ignore, after the peer's fault: it may be sending, and has to see our Close.
_FAULT_LINGER = 1.0

# Seconds after which a transport that was closed is cut, if the peer takes nothing of what was written to it.
_ABORT_TIMEOUT = 10.0


class WebSocketProtocol(BatchWriter, asyncio.Protocol):
    """A WebSocket connection of uvicorn's. Made by uvicorn, with these arguments."""

    transport: asyncio.Transport
    scope: WebSocketScope

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.app_state = app_state
        self.loop = _loop or asyncio.get_running_loop()
        super().__init__(self.loop)
        self.logger = logging.getLogger("uvicorn.error")
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.default_headers = decoded(server_state.default_headers)
        self.client: tuple[str, int] | None = None

        self.handshake = ServerHandshake(
            compression=_DEFLATE if config.ws_per_message_deflate else None,
            server_header=None,
            max_head_size=_MAX_HEAD_SIZE,
        )
        self.protocol = Connection(Role.SERVER, handshake=self.handshake, max_message_size=config.ws_max_size)
        self._connecting = True
        self._take_codec()
        self._response: Response | None = None  # the one that opens the connection
        self._denial: Denial | None = None  # the one that the application sends instead
        self._is_answered = False  # the request was, in whatever way
        self._app_closed = False

        self._queue: deque[Event | ASGIReceiveEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None  # of the task that waits in receive()
        self._disconnect: WebSocketDisconnectEvent | None = None
        self.read_paused = False
        self._write_paused = False
        self._writable = asyncio.Event()

        self.close_timeout = 10.0
        """Seconds for the peer to answer our Close."""
        self.close_timer: asyncio.TimerHandle | None = None
        """Runs while we wait for the peer: for its answer to our Close, or after its fault."""
        self._abort_timer: asyncio.TimerHandle | None = None
        self.keepalive = Keepalive(self, config.ws_ping_interval, config.ws_ping_timeout)

    def _take_codec(self) -> None:
        self._decoder = self.protocol.decoder
        self._feed = self._decoder.feed
        self._encode = self.protocol.encoder.message

    @property
    def ping_timer(self) -> asyncio.TimerHandle | None:
        """Runs until the next Ping is sent."""
        return self.keepalive.ping_timer

    @property
    def ping_sent_at(self) -> float:
        """When the last Ping was sent, by the loop's clock; 0 before the first."""
        return self.keepalive.ping_sent_at

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.connections.add(cast("Any", self))
        self.client = get_remote_addr(self.transport)
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does not for sockets made with protocol number 0, as uvicorn's are with --reload, --workers and
            # --fd; small frames would wait for an ACK.
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._trace("WebSocket connection made")

    def data_received(self, data: bytes) -> None:
        if self._connecting:
            self._handshake_received(data)
            return
        # Straight to the decoder: Connection.receive_data between would be 0.1 us a chunk.
        self.take_events(self._feed(data))

    def take_events(self, events: list[Event]) -> None:
        """Take what the decoder made of the bytes that came last."""
        if self._decoder.has_control:
            self._receive_control(cast("list[Event | Failure]", events))
        elif events:
            self._deliver(events)

    def eof_received(self) -> None:
        """Let the transport be closed."""

    def pause_writing(self) -> None:
        self._write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._writable.set()
        if self.protocol.ready_state is _OPEN:
            self._send_owed()

    def connection_lost(self, exc: Exception | None) -> None:
        was_open = self.protocol.ready_state is not _CONNECTING
        self._end(CloseCode.NO_STATUS_RECEIVED if was_open else CloseCode.ABNORMAL_CLOSURE)
        self.protocol.receive_eof()
        self.connections.discard(cast("Any", self))
        self.keepalive.stop()
        self._cancel_close_timer()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        self._batch.clear()
        self.resume_writing()  # the transport does not, and who waits in send() has to hear of it
        self._trace("WebSocket connection lost")
        if exc is None:
            self.transport.close()

    # Called by uvicorn

    def shutdown(self) -> None:
        """End the connection, as the server is shutting down."""
        self.keepalive.stop()
        if self.protocol.ready_state is _OPEN:
            self._end(CloseCode.SERVICE_RESTART)
            self.protocol.close(CloseCode.SERVICE_RESTART)
            self._send_owed()
        else:
            self._send_500()
        self._cancel_close_timer()
        self._close_transport()

    # The opening handshake

    def _handshake_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        if self._is_answered:
            return
        if self.handshake.response_due is not None:  # the request is wrong, or too much followed it
            self._refuse(self.handshake.response_due)
        elif self._response is None and self.handshake.request is not None:
            response = self.handshake.accept()
            if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
                self._response = response
                self._start_app(self.handshake.request)
            else:
                self._refuse(response)

    def _start_app(self, request: Request) -> None:
        self.scope = make_scope(request, self.transport, self.config, self.app_state)
        self._queue.append({"type": "websocket.connect"})
        task = self.loop.create_task(self._run_app())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run_app(self) -> None:
        try:
            result: object = await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self._send_500()
        else:
            if self.protocol.ready_state is _CONNECTING and not self._is_answered:
                self.logger.error("ASGI callable returned without completing handshake.")
                self._send_500()
            elif result is not None:
                self.logger.error("ASGI callable should return None, but returned '%s'.", result)
        if self._denial is not None and not self.transport.is_closing():
            self.transport.write(self._denial.give_up())
        if self.close_timer is None:
            self._close_transport()

    def _accept(self, message: WebSocketAcceptEvent) -> None:
        self._log_answer("[accepted]")
        if self.transport.is_closing():
            return
        assert self._response is not None
        headers = self._response.headers.copy()
        del headers["Date"]  # uvicorn's takes its place, if it is to have one
        headers.update(self.default_headers)
        headers.update((name.lower(), value) for name, value in decoded(message.get("headers", ())))
        subprotocol = message.get("subprotocol")
        if subprotocol:
            headers["Sec-WebSocket-Protocol"] = subprotocol
        self.handshake.send_response(dataclasses.replace(self._response, headers=headers))
        self._response = None
        self._is_answered = True
        self.transport.write(self.handshake.data_to_send())
        trailing_data = self.protocol.open()
        self._connecting = False
        self._take_codec()
        if wants_buffer(self.transport):
            self.transport.set_protocol(BufferedReceiver(cast("Any", self), self.loop))
        self.keepalive.start()
        if trailing_data:
            self.data_received(trailing_data)

    def _refuse(self, response: Response) -> None:
        """Answer the request with a whole response that does not open the connection, and close."""
        self.handshake.send_response(response)
        self._is_answered = True
        self._end(CloseCode.ABNORMAL_CLOSURE)
        self.transport.write(self.handshake.data_to_send())
        self._close_transport()

    def _send_500(self) -> None:
        """Answer the request, unless it was answered, by saying that the application failed."""
        if self.protocol.ready_state is _CONNECTING and not self._is_answered:
            self._refuse(self.handshake.reject(500, "Internal Server Error", self.default_headers))

    def _start_denial(self, message: WebSocketResponseStartEvent) -> None:
        status = message["status"]
        if not 200 <= status < 600:
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
        self._denial = Denial(status, decoded(message.get("headers", ())), self.default_headers)
        self._is_answered = True
        self._log_answer(str(status))
        self.transport.write(self._denial.start())

    def _continue_denial(self, denial: Denial, message: WebSocketResponseBodyEvent) -> None:
        is_last = not message.get("more_body", False)
        self.transport.write(denial.body(message.get("body", b""), is_last))
        if is_last:
            self._app_closed = True
            self._end(CloseCode.ABNORMAL_CLOSURE)
            self._close_transport()

    # Receiving

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event for the application; once the connection has ended, how it did."""
        queue = self._queue
        while not queue:
            if self._disconnect is not None:
                return self._disconnect.copy()
            if self._batch:
                self._flush()
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                await asyncio.wait([waiter])  # of another task: not ours to be cancelled
                continue
            waiter = self._waiter = self.loop.create_future()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None
        event = queue.popleft()
        if self.read_paused and not queue:
            self._resume_reading()
        if type(event) is str:
            return {"type": "websocket.receive", "text": event}
        if type(event) is bytes:
            return {"type": "websocket.receive", "bytes": event}
        return cast("ASGIReceiveEvent", event)

    def _deliver(self, messages: list[Event]) -> None:
        """Queue messages, and wake the task that waits for one."""
        if self._app_closed:
            return  # nobody takes them, and the peer's Close behind them has to be read
        self._queue.extend(messages)
        waiter = self._waiter
        if waiter is None:
            if not self.read_paused and not self.transport.is_closing():
                self.read_paused = True
                self.transport.pause_reading()
        elif not waiter.done():
            waiter.set_result(None)

    def _receive_control(self, events: list[Event | Failure]) -> None:
        """Take events with control frames among them: deliver the messages, then act on the rest."""
        self.protocol.receive_control(events)
        messages: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is str or kind is bytes:
                messages.append(cast("str | bytes", event))
            elif isinstance(event, Pong):
                self.keepalive.pong_received(event.payload)
        if messages:
            self._deliver(messages)
        ending = self.protocol.ending
        if ending is not None:
            self._peer_ended(ending)
        elif self.protocol.receiving_done:
            if self.close_timer is not None:  # it was our Close that was answered, or will not be any more
                self._cancel_close_timer()
                self._close_transport()
        elif not self._write_paused:
            self._send_owed()  # else resume_writing() does: Pongs do not pile up behind a peer that does not read

    def _peer_ended(self, ending: Ending) -> None:
        """Answer the peer's Close, or its fault."""
        self.keepalive.stop()
        self.protocol.answer()
        self._send_owed()
        self._end(ending.code, ending.reason)
        if isinstance(ending, Failure):
            # Closed with bytes that we have not read, TCP would be reset, and the peer could lose our Close.
            self._resume_reading()
            self.close_timer = self.loop.call_later(_FAULT_LINGER, self._close_transport)
        else:
            self._close_transport()

    def _end(self, code: int, reason: str | None = None) -> None:
        """Note how the connection ended, for the application."""
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": int(code)}
            if reason is not None:
                self._disconnect["reason"] = reason
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # Sending

    async def send(self, message: ASGISendEvent) -> None:
        """Take an event of the application's. Waits while the peer reads slower than we send.

        Raises ``ClientDisconnected``, an ``OSError``, when the peer is gone; ``RuntimeError`` for an event out of
        turn; ``ValueError`` or ``TypeError`` for what cannot be sent.
        """
        if self._write_paused:
            await self._writable.wait()
        if self.protocol.ready_state is _OPEN and message["type"] == "websocket.send":
            data = message.get("bytes")
            if data is not None:
                frame = self._encode(data, False)
            else:
                text = message.get("text")
                if text is None:
                    return
                frame = self._encode(text, True)
            if self._queue or self._batch:
                self._add_to_batch(frame)
            else:
                self.transport.write(frame)
        else:
            self._send_event(message)

    def _send_event(self, message: ASGISendEvent) -> None:
        state = self.protocol.ready_state
        if state is _CLOSED:
            raise ClientDisconnected
        if self._app_closed:
            raise RuntimeError(
                f"Unexpected ASGI message '{message['type']}', after sending 'websocket.close'."
            )
        if self._denial is not None:
            if message["type"] != "websocket.http.response.body":
                raise _unexpected(message, "'websocket.http.response.body' but")
            self._continue_denial(self._denial, message)
        elif state is _CONNECTING:
            if message["type"] == "websocket.accept":
                self._accept(message)
            elif self.transport.is_closing():
                raise ClientDisconnected
            elif message["type"] == "websocket.close":
                self._log_answer("403")
                self._app_closed = True
                self._refuse(self.handshake.reject(403, "", self.default_headers))
            elif message["type"] == "websocket.http.response.start":
                self._start_denial(message)
            else:
                raise _unexpected(
                    message, "'websocket.accept', 'websocket.close' or 'websocket.http.response.start' but"
                )
        elif message["type"] == "websocket.close":
            if not self.transport.is_closing():
                self._close(message)
        elif state is _OPEN:
            raise _unexpected(message, "'websocket.send' or 'websocket.close', but")
        else:
            raise ClientDisconnected

    def _close(self, message: WebSocketCloseEvent) -> None:
        """Start the closing handshake for the application; the peer's answer closes the transport."""
        if self.protocol.ready_state is not _OPEN:
            return  # the peer was first
        code = message.get("code")
        code = CloseCode.NORMAL_CLOSURE if code is None else code
        reason = message.get("reason") or ""
        self.protocol.close(code, reason)
        self._app_closed = True
        self._send_owed()
        self.keepalive.stop()
        self._end(code, reason)
        self._resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self._close_transport)

    def send_ping(self, payload: bytes) -> None:
        self.protocol.ping(payload)
        self._send_owed()

    def keepalive_timed_out(self) -> None:
        """Fail the connection, and wait for nothing any more (RFC 6455 7.1.7)."""
        self._trace("WebSocket keepalive ping timeout")
        self.keepalive.stop()
        self.protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        self._send_owed()
        self._close_transport()

    def _close_transport(self) -> None:
        if not self.transport.is_closing():
            self._flush()
            self.transport.close()
            # That waits until all is sent. A peer that reads nothing must not keep the connection, and a shutdown.
            self._abort_timer = self.loop.call_later(_ABORT_TIMEOUT, self._abort_unless_taken, math.inf)

    def _abort_unless_taken(self, n_left: float) -> None:
        """Cut the transport, unless the peer has taken some of the ``n_left`` bytes that were to be sent."""
        n_left_now = self.transport.get_write_buffer_size()
        if n_left_now < n_left:
            self._abort_timer = self.loop.call_later(_ABORT_TIMEOUT, self._abort_unless_taken, n_left_now)
        else:
            self.transport.abort()

    def _cancel_close_timer(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = None

    # Logging

    def _trace(self, text: str) -> None:
        if self.logger.isEnabledFor(TRACE_LOG_LEVEL):
            prefix = "{}:{} - ".format(*self.client) if self.client else ""
            self.logger.log(TRACE_LOG_LEVEL, "%s%s", prefix, text)

    def _log_answer(self, answer: str) -> None:
        path = get_path_with_query_string(self.scope)
        self.logger.info('%s - "WebSocket %s" %s', get_client_addr(self.scope), path, answer)


def _unexpected(message: ASGISendEvent, expected: str) -> RuntimeError:
    return RuntimeError(f"Expected ASGI message {expected} got '{message['type']}'.")
