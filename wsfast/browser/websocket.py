"""``WebSocket``: the interface of browsers (WHATWG WebSockets), over a connection of ``wsfast.asyncio``.

    readyState   becomes so                                      then
    ----------   ----------------------------------------------  ------------------------------------
    CONNECTING   in the constructor
    OPEN         the opening handshake is done                   ``open``, and a ``message`` for each
    CLOSING      ``close()``, or the peer's Close, after all     no ``message`` any more
                 messages before it
    CLOSED       TCP is closed, or there was no connection       ``error`` if it failed, ``close``

One task lives as long as the socket, and dispatches its events. After each event it gives the loop a turn, so that
whatever an event wakes runs before the next one: in a browser each event is a task, and promises run in between.

Queue, limits, keepalive and the orderly end are the session's, with the defaults of ``connect``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from ..asyncio.client import connect
from ..codec import CloseCode
from ..common.messages import is_buffer
from ..connection import ReadyState
from ..deflate import Compression
from ..events import CloseCause
from ..exceptions import ConnectionClosed, InvalidHandshake, NegotiationError, WebSocketException
from ..headers import is_token
from ..printable import shown, shown_uri
from .connection import BrowserConnect, BrowserConnection
from .events import CloseEvent, ErrorEvent, Event, EventTarget, Handler, MessageEvent
from .exceptions import DOMSyntaxError, InvalidAccessError, InvalidStateError
from .url import parse_url, usv_string

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["WebSocket"]

_CONNECTING, _OPEN, _CLOSING, _CLOSED = range(4)

_NOT_HERE: Final = {
    "subprotocols": "protocols",
    "protocol": "protocols",
    "listener": "onmessage",
    "on_message": "onmessage",
    "create_connection": "addEventListener",
} | dict.fromkeys(("onopen", "onmessage", "onerror", "onclose", "binaryType"), "an attribute of the socket")

# They failed the connection (RFC 6455 7.1.7), whatever the peer answered.
_FAILURES = (CloseCause.PROTOCOL, CloseCause.LIMIT, CloseCause.KEEPALIVE)


class WebSocket(EventTarget):
    """A WebSocket connection, as scripts in browsers have it. It connects at once, in the running loop.

    - ``url``: ``ws:``, ``wss:``, ``http:`` or ``https:``; the last two become the first two. ``user:password@``
      becomes Basic authentication.
    - ``protocols``: a subprotocol, or more of them. If there are any, the server has to choose one.

    The others are ours. ``loop``: the event loop, if it does not run yet. ``compression`` and ``options`` are those of
    ``wsfast.connect``: ``ssl``, ``additional_headers``, ``origin``, ``proxy``, ``open_timeout``, ``max_size``, and all
    limits. Compression is offered, as by browsers; redirects are not followed.

    It is kept until it is closed, with listeners or without. If its loop ends before, it closes with 1001.

    Raises:
        DOMSyntaxError: ``url`` is no such URL, or has a fragment; a subprotocol is no token, or stands there twice.
        RuntimeError: no loop is running.
        TypeError, ValueError: ``options`` are wrong; see ``connect``.
    """

    CONNECTING: ClassVar[int] = _CONNECTING
    OPEN: ClassVar[int] = _OPEN
    CLOSING: ClassVar[int] = _CLOSING
    CLOSED: ClassVar[int] = _CLOSED

    onopen = Handler()
    """Called with an ``Event`` when the connection is open."""
    onmessage = Handler()
    """Called with a ``MessageEvent`` for each message."""
    onerror = Handler()
    """Called with an ``ErrorEvent`` if the connection fails, or could not be made; ``onclose`` follows."""
    onclose = Handler()
    """Called with a ``CloseEvent`` at the end, always."""

    def __init__(
        self,
        url: str,
        protocols: str | Iterable[str] = (),
        *,
        compression: Compression = "deflate",
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Any,
    ) -> None:
        super().__init__(loop or asyncio.get_running_loop())
        for name in _NOT_HERE.keys() & options.keys():
            raise TypeError(f"WebSocket() has no {name}: use {_NOT_HERE[name]}")
        self._url = parse_url(url)
        if not isinstance(protocols, Iterable):
            raise TypeError(f"protocols is a str, or several of them, not {protocols!r}")
        self._protocols = [protocols] if isinstance(protocols, str) else list(protocols)
        for protocol in self._protocols:
            if not isinstance(protocol, str):
                raise TypeError(f"a subprotocol is a str, not {protocol!r}")
            if not is_token(protocol):
                raise DOMSyntaxError(
                    f"{shown(protocol)!r} is no subprotocol: it is no token (RFC 9110 5.6.2)"
                )
        if len(set(self._protocols)) < len(self._protocols):
            raise DOMSyntaxError("a subprotocol is offered twice")
        self._state = _CONNECTING
        self._binary_type = "blob"
        self._extensions = self._protocol = ""
        self._connection: BrowserConnection | None = None  # from open to close
        self._opening: asyncio.Timeout | None = None
        self._awaits_message = False
        self._unsendable = 0  # bytes of messages for which it was too late
        dialled = self._dial(
            self._url.uri,
            subprotocols=self._protocols or None,
            compression=compression,
            create_connection=BrowserConnection,
            **options,
        )
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._live(dialled))
        self._task.add_done_callback(self._task_has_ended)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("onopen", "onmessage", "onerror", "onclose"):
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{name} would never be called: set {name} of a socket")

    def __repr__(self) -> str:
        state = ReadyState(self.readyState).name
        return f"<WebSocket {shown_uri(self._url.href)} {state}>"

    # Facts

    @property
    def url(self) -> str:
        """The URL in its normal form, user name and password included."""
        return self._url.href

    @property
    def readyState(self) -> int:
        """``CONNECTING``, ``OPEN``, ``CLOSING`` or ``CLOSED``: 0 to 3."""
        connection = self._connection
        if self._state == _OPEN and self._awaits_message and connection is not None:
            # The peer's Close is there, and all messages before it were dispatched.
            return int(min(connection.ready_state, ReadyState.CLOSING))
        return self._state

    @property
    def protocol(self) -> str:
        """The subprotocol that the server chose, or ""."""
        return self._protocol

    @property
    def extensions(self) -> str:
        """The extensions that the server accepted, or ""."""
        return self._extensions

    @property
    def binaryType(self) -> str:
        """The type of binary messages: "blob" is ``bytes``, "arraybuffer" is ``bytearray``. Others are ignored."""
        return self._binary_type

    @binaryType.setter
    def binaryType(self, value: str) -> None:
        if value in ("blob", "arraybuffer"):
            self._binary_type = value

    @property
    def bufferedAmount(self) -> int:
        """Bytes of messages that were sent, and not handed to the system when this turn of the loop began.

        UTF-8 of text, before compression, without frame headers. It does not fall any more once the socket is closed.
        """
        connection = self._connection
        return self._unsendable + (0 if connection is None else connection.untaken_size)

    # Calls

    def send(self, data: str | Buffer) -> None:
        """Send a message: ``str`` as text, bytes-like as binary. Does not wait.

        A lone surrogate goes out as U+FFFD. After ``close`` nothing is sent, and ``bufferedAmount`` grows all the same.
        If the peer leaves 16 MiB untaken, the connection fails.

        Raises:
            InvalidStateError: the socket is ``CONNECTING``.
            TypeError: ``data`` has another type.
        """
        if isinstance(data, str):
            try:
                size = len(data) if data.isascii() else len(data.encode())
            except UnicodeEncodeError:
                data = usv_string(data)
                size = len(data.encode())
        elif is_buffer(data):
            size = memoryview(data).nbytes
        else:
            raise TypeError(f"a message must be str or bytes-like, not {type(data).__name__}")
        if self._state == _CONNECTING:
            raise InvalidStateError("send() before the socket is open: wait for the event open")
        connection = self._connection
        if connection is None or not connection.send_now(data, size):
            self._unsendable += size

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Start the closing handshake; without ``code``, with an empty Close frame. The event ``close`` tells its end.

        While the socket is connecting, it fails. While it is closing or closed, nothing happens.

        Raises:
            InvalidAccessError: ``code`` is neither 1000 nor from 3000 to 4999, or missing while there is a reason.
            DOMSyntaxError: ``reason`` is longer than 123 bytes of UTF-8.
        """
        if not (isinstance(code, int | None) and isinstance(reason, str | None)):
            raise TypeError(f"close() takes an int and a str, not {code!r} and {reason!r}")
        if code is not None and code != 1000 and not 3000 <= code <= 4999:
            raise InvalidAccessError(f"close code {code} is neither 1000 nor from 3000 to 4999")
        if code is None and reason is not None:
            raise InvalidAccessError("a close reason needs a code: 1000, or one from 3000 to 4999")
        reason = usv_string(reason or "")
        if len(reason.encode()) > 123:
            raise DOMSyntaxError(f"a close reason of {len(reason.encode())} bytes is longer than 123")
        if self._state == _CONNECTING:
            self._state = _CLOSING
            if self._opening is not None:
                self._opening.reschedule(self._loop.time())
        elif self._state == _OPEN and self._connection is not None:
            self._connection.start_close(code, reason)
            self._state = _CLOSING

    # What happens to it

    def _dial(self, url: str, **options: Any) -> connect:
        return BrowserConnect(url, **options)

    async def _live(self, dialled: connect) -> None:
        await asyncio.sleep(0)  # an eager task factory has called us inside the constructor
        closing = CloseEvent("close", code=CloseCode.ABNORMAL_CLOSURE.value)
        error: Exception | None = None
        try:
            connection = await self._open(dialled)
            self._state, self._connection = _OPEN, connection
            self._fire_ours(Event("open"))
            await self._receive(connection)
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.cause in _FAILURES:
                error = closed.with_traceback(None)
            else:
                is_clean = closed.sent is not None
                code, reason = int(closed.code), closed.reason
                closing = CloseEvent("close", wasClean=is_clean, code=code, reason=reason)
        except Exception as exception:
            error = exception.with_traceback(None)
            if not isinstance(error, WebSocketException | OSError | ImportError):
                self._report(error, "connecting")  # a mistake in the options, that only the loop could find
        self._unsendable = self.bufferedAmount
        self._state, self._connection = _CLOSED, None
        if error is not None:
            if not self._listeners.get("error") and not self._listeners.get("close"):
                dialled._logger.warning("%s failed: %s", shown_uri(self._url.href), shown(str(error), 1000))
            self._fire_ours(ErrorEvent("error", error=error))
            error = None  # the traceback of its cause leads to this frame: a cycle would keep us
        self._fire_ours(closing)

    async def _open(self, dialled: connect) -> BrowserConnection:
        connection: Any = None
        try:
            async with asyncio.timeout(None) as self._opening:
                if self._state == _CONNECTING:
                    connection = await dialled
        except TimeoutError:
            if self._state == _CONNECTING:
                raise
        self._opening = None
        if self._state != _CONNECTING:
            reason: Exception = InvalidHandshake("the socket was closed before it was open")
        elif self._protocols and connection.subprotocol is None:
            offers = ", ".join(self._protocols)
            reason = NegotiationError(f"the server chose none of our subprotocols: {offers}")
        else:
            self._protocol = connection.subprotocol or ""
            self._extensions = ", ".join(connection.response.headers.get_all("Sec-WebSocket-Extensions"))
            return cast(BrowserConnection, connection)
        if connection is not None:
            connection.transport.abort()
        raise reason

    async def _receive(self, connection: BrowserConnection) -> None:
        """Dispatch the messages; raise ``ConnectionClosed`` at the end."""
        while True:
            self._awaits_message = not connection.has_waiting
            if not self._awaits_message and self._state == _OPEN:
                await asyncio.sleep(0)
            data = await connection.recv()
            self._awaits_message = False
            if self._state == _OPEN:
                is_buffer = self._binary_type == "arraybuffer" and isinstance(data, bytes)
                message = bytearray(cast("bytes", data)) if is_buffer else data
                self._fire_ours(MessageEvent("message", data=message, origin=self._url.origin))

    def _fire_ours(self, event: Event) -> None:
        event.isTrusted = True
        self._fire(event)

    def _task_has_ended(self, task: asyncio.Task[None]) -> None:
        """If the loop ends, all tasks are cancelled: there is no time for a handshake then, and no event."""
        if not task.cancelled():
            task.exception()  # it went through the loop already: KeyboardInterrupt, SystemExit
        connection, self._connection = self._connection, None
        self._state, self._task = _CLOSED, None
        if connection is not None:
            connection.start_close(CloseCode.GOING_AWAY)
            connection.transport.close()
