"""The class that uvicorn makes for each WebSocket connection.

uvicorn makes one for each request to upgrade, passes it the request once more, and then leaves it the transport.
Queue, keepalive and the orderly end are the session's, the request is ``ServerHandshake``'s. Here is ASGI: the scope,
the events, and the habits of uvicorn's own classes. The rules, and why:

- An application sees the same as with uvicorn's own classes, and as uvicorn's tests ask for.
- Reading pauses after one message that nobody waits for.
- The first end counts: ``receive`` returns it after the messages that came before it, and from then on.
- TCP is closed whole: asyncio's clients of CPython 3.11 do not bear a server that closes its half first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http
import weakref
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_remote_addr,
)

from ..asyncio.transport import LARGE_MESSAGE
from ..codec import CloseCode
from ..connection import ReadyState
from ..handshake import Request, Response
from ..session import MAX_BATCH_SIZE, SENDS_PER_TURN, Deadline, Stage
from .denial import Denial
from .limited import Limited
from .logs import LOGGER, log_answer, log_rejection, trace
from .scope import decoded, make_scope

if TYPE_CHECKING:
    from typing_extensions import Buffer
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
_STAGE_OPEN = Stage.OPEN


class WebSocketProtocol(Limited):
    """A WebSocket connection of uvicorn's. Made by uvicorn, with these arguments."""

    scope: WebSocketScope

    # For rooms, which broadcast: an ASGI application sends whole messages only.
    is_fragmenting = False

    # We read on for a second after the peer's fault, and ignore it: the peer may be sending, and has to see our Close.
    linger_after_fault = 1.0

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
        super().__init__(config, server_state, _loop)
        self.logger = LOGGER
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.default_headers = decoded(server_state.default_headers)
        self.client: tuple[str, int] | None = None

        self._response: Response | None = None  # the one that opens the connection
        self._denial: Denial | None = None  # the one that the application sends instead
        self._is_answered = False  # the request was, in whatever way
        self._app_closed = False
        self._disconnect: WebSocketDisconnectEvent | None = None

    @property
    def ping_timer(self) -> asyncio.TimerHandle | None:
        """Runs until the next Ping is sent."""
        return self._timer if self._deadline is Deadline.PING else None

    @property
    def close_timer(self) -> asyncio.TimerHandle | None:
        """Runs while we wait for the peer's answer to our Close."""
        return self._timer if self._deadline is Deadline.PEER_CLOSE else None

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connections.add(cast("Any", self))
        self.client = get_remote_addr(self.transport)
        trace(self.client, "WebSocket connection made")

    def connection_lost(self, exc: Exception | None) -> None:
        was_open = self.protocol.ready_state is not _CONNECTING
        ending = self.protocol.ending
        if ending is not None:
            self._end(ending.code, ending.reason)
        else:
            self._end(CloseCode.NO_STATUS_RECEIVED if was_open else CloseCode.ABNORMAL_CLOSURE)
        super().connection_lost(exc)
        self.connections.discard(cast("Any", self))
        trace(self.client, "WebSocket connection lost")
        if exc is None:
            self.transport.close()

    # Called by uvicorn

    def shutdown(self) -> None:
        """End the connection, as the server is shutting down."""
        if self.protocol.ready_state is _OPEN:
            self._end(CloseCode.SERVICE_RESTART)
            self.start_close(CloseCode.SERVICE_RESTART)
        else:
            self._send_500()
        self._linger()

    # The opening handshake

    def _handshake_received(self, data: Buffer) -> None:
        self.protocol.receive_data(data)
        if self._is_answered:
            return
        if self.handshake.response_due is not None:  # the request is wrong, or too much followed it
            self._refuse(self.handshake.response_due)
        elif self._response is None and self.handshake.request is not None:
            response = self._answer_to_request()
            if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
                self._response = response
                self._start_app(self.handshake.request)
            else:
                self._refuse(response)

    def _start_app(self, request: Request) -> None:
        self.scope = make_scope(request, self.transport, self.config, self.app_state)
        # For wsfast.rooms. Weak: the scope is ours, and a circle would have to be found by the collector.
        self.scope["extensions"]["wsfast"] = {"connection": weakref.ref(self)}
        self._own_queue().append(cast("Any", {"type": "websocket.connect"}))
        task = self._loop.create_task(self._run_app())
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
        self._dropping = True
        self._wait_for_end()
        if self._stage is not Stage.CLOSING:  # we wait for the peer's Close
            self._linger()

    def _accept(self, message: WebSocketAcceptEvent) -> None:
        log_answer(self.scope, "[accepted]")
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
        self._stop_open_timer()
        self.transport.write(self.handshake.data_to_send())
        self.logger.info("connection open")
        self.receive_in_place()
        self._opened(self.protocol.open())

    def _refuse(self, response: Response) -> None:
        """Answer the request with a whole response that does not open the connection, and close."""
        self.handshake.send_response(response)
        self._is_answered = True
        self._end(CloseCode.ABNORMAL_CLOSURE)
        self.transport.write(self.handshake.data_to_send())
        log_rejection(response.status_code)
        self._linger()

    def _open_is_late(self) -> None:
        if self.protocol.ready_state is _CONNECTING and not self._is_answered:
            self._refuse(self._response_when_late())

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
        log_answer(self.scope, str(status))
        self.transport.write(self._denial.start())

    def _continue_denial(self, denial: Denial, message: WebSocketResponseBodyEvent) -> None:
        is_last = not message.get("more_body", False)
        self.transport.write(denial.body(message.get("body", b""), is_last))
        if is_last:
            self._app_closed = True
            self._end(CloseCode.ABNORMAL_CLOSURE)
            log_rejection(denial.status)
            self._linger()

    def writing_blocked(self) -> None:
        super().writing_blocked()
        if self._denial is not None:  # no keepalive looks after it
            self._set_close_deadline(Deadline.TCP_CLOSE)

    def writing_resumed(self) -> None:
        super().writing_resumed()
        if self._denial is not None and self._stage is Stage.CONNECTING:
            self._set_deadline(None)

    # Receiving

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event for the application; once the connection has ended, how it did."""
        queue = self._messages
        while not queue:
            if self._stage is not _STAGE_OPEN:
                if self._stage is Stage.CLOSED and self._pauses and self._decode_on():
                    continue  # the connection was lost, but bytes of it are still here
                if self.protocol.ending is not None:
                    self._answer()  # all before it was taken: it is its turn
            if self._disconnect is not None:
                return self._disconnect.copy()
            if self._batch:
                self._flush()
            waiter: asyncio.Future[None] | None = self._waiter
            if waiter is not None and not waiter.done():
                await asyncio.wait([waiter])  # of another task: not ours to be cancelled
                continue
            self._sends_left = SENDS_PER_TURN
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None
        event = queue.popleft()
        if self._pauses:
            self._message_taken()
        if type(event) is str:
            return {"type": "websocket.receive", "text": event}
        if type(event) is bytes:
            return {"type": "websocket.receive", "bytes": event}
        return cast("ASGIReceiveEvent", event)

    def _wake(self) -> None:
        # Who waits is kept until it runs: a chunk that comes before does not pause reading.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _answer(self) -> None:
        ending = self.protocol.ending
        if ending is not None:
            self._end(ending.code, ending.reason)
        super()._answer()

    def _end(self, code: int, reason: str | None = None) -> None:
        """Note how the connection ended, for the application."""
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": int(code)}
            if reason is not None:
                self._disconnect["reason"] = reason
        self._wake()

    # Sending

    async def send(self, message: ASGISendEvent) -> None:
        """Take an event of the application's. Waits while the peer reads slower than we send; a close does not.

        Raises ``ClientDisconnected``, an ``OSError``, when the peer is gone; ``RuntimeError`` for an event out of
        turn; ``ValueError`` or ``TypeError`` for what cannot be sent.
        """
        if self._blocked and message["type"] != "websocket.close":
            await self._wait_writable()
        if self.protocol.ready_state is _OPEN and message["type"] == "websocket.send":
            data = message.get("bytes")
            if data is not None:
                if type(data) is bytes and len(data) >= LARGE_MESSAGE:
                    header = self._header_of(data, None, None)
                    if header is not None:
                        self._write_uncopied(header, data)
                        await self._give_way()
                        return
                frame = self._encode(data, False)
            else:
                text = message.get("text")
                if text is None:
                    return
                frame = self._encode(text, True)
            if self._messages or self._batch:
                # The first lines of _add_to_batch(), whose call would be 2 % of an echo with 64 in flight.
                self._batch.append(frame)
                self._batch_size += len(frame)
                gives_way = (
                    self._batch_size >= MAX_BATCH_SIZE or not self._flush_scheduled
                ) and self._batch_grew()
            else:
                self.transport.write(frame)
                self._sends_left = n_left = self._sends_left - 1
                gives_way = not n_left & 3
            if gives_way:
                await self._give_way()
        else:
            self._send_event(message)

    async def _give_way(self) -> None:
        await self._let_others_run()
        if self._is_gone():
            raise ClientDisconnected

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
                log_answer(self.scope, "403")
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
        self.start_close(code, reason)
        self._app_closed = self._dropping = True
        self._end(code, reason)

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 7.1.7); the keepalive does."""
        trace(self.client, f"WebSocket {reason}")
        super().fail(code, reason)

    def _abort(self) -> None:
        # TLS would be closed only after the peer's answer, or 30 s.
        if self._unsent_size() or self.transport.is_closing() or not self._can_half_close():
            self.transport.abort()
        else:
            self.transport.close()

    def _close_half(self) -> None:
        if self.protocol.failure is None or self._app_closed:
            self.transport.close()


def _unexpected(message: ASGISendEvent, expected: str) -> RuntimeError:
    return RuntimeError(f"Expected ASGI message {expected} got '{message['type']}'.")
