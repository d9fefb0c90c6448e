"""Callbacks instead of coroutines: a ``Listener`` hears of messages inside the read, without a task and a queue.

The signatures: every callback gets the connection first. So one listener can serve many connections, and none has to
keep its connection, which would be a circle for the garbage collector (picows hands over its transport in the same
way). ``on_message`` gets a whole message as ``recv`` returns it, not a frame: a frame of a peer's choice is no unit of
an application. The names begin with ``on_``, as in browsers, so that a method of the user's own is not called by
accident; asyncio's ``pause_writing`` is ``on_pause_writing`` here.

- What is sent in one read, or in one callback, goes out in one write.
- While reading is paused nothing is delivered. The rest of the read waits, in order, and so does the peer.
- A callback that raises ends its connection with 1011, is logged once, and is called no more, ``on_close`` excepted.
- ``on_close`` is the last call, and comes once if ``on_open`` came.

The manners are the session's, as for coroutines: limits, keepalive, turns, and the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from ..codec import Ping, Pong
from ..common.arguments import check_callback
from ..connection import Connection as Protocol
from ..exceptions import ConnectionClosed
from ..session import Data, Stage
from .connection import Connection
from .delivering import BLOCKED, NOT_OPEN, OVER, Delivering, ignore

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Listener",
    "ListenerConnection",
    "OnMessage",
    "checked_listener",
    "connection_class_for",
    "new_listener_of",
]


class Listener:
    """Hears of what happens on a connection. Derive from it, and override what you need.

    Use it as ``serve(listener=MyListener)``, a new one for each connection, or as ``serve(listener=MyListener())``,
    one for all of them; the same with ``connect``. All methods are plain functions, are called in the event loop, and
    must not block: meanwhile nothing else runs.

    Raises:
        TypeError: when a class is derived: a callback is ``async``, takes other arguments, or has the name that
            another library gives it.
    """

    def on_open(self, connection: ListenerConnection) -> None:
        """The opening handshake is done. ``connection.request`` and ``.response`` are there; ``send`` works."""

    def on_message(self, connection: ListenerConnection, message: Data) -> None:
        """A message came: ``str`` for text (``bytes`` with ``text="bytes"``), ``bytes`` for binary (5.6)."""

    def on_ping(self, connection: ListenerConnection, payload: bytes) -> None:
        """A Ping came. It is answered already (RFC 6455 5.5.2)."""

    def on_pong(self, connection: ListenerConnection, payload: bytes) -> None:
        """A Pong came, for a Ping of yours, of the keepalive, or for none (RFC 6455 5.5.3)."""

    def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
        """The connection has ended. It is the last call; ``closed`` says how it ended, as ``recv`` would.

        Messages that waited because reading was paused are delivered before.
        """

    def on_pause_writing(self, connection: ListenerConnection) -> None:
        """The peer reads slower than we send: ``write_limit`` bytes wait. Send no more until ``on_resume_writing``.

        Unless it is overridden, nothing is delivered meanwhile. That is right for a listener that only answers. One
        that overrides it decides for itself; if 16 MiB wait, the connection fails with 1008.
        """
        connection._hold_back(BLOCKED)

    def on_resume_writing(self, connection: ListenerConnection) -> None:
        """The peer has taken enough to send again. It is not called when the connection is lost: ``on_close`` is."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, meant in _OTHER_NAMES.items():
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{name} would never be called: use {meant}")
        for name, arguments in _CALLBACKS.items():
            if name in cls.__dict__:
                is_bound = isinstance(cls.__dict__[name], staticmethod | classmethod)
                arguments = arguments if is_bound else ("self", *arguments)
                check_callback(f"{cls.__name__}.{name}", getattr(cls, name), arguments)


_CALLBACKS: Final[dict[str, tuple[str, ...]]] = {
    "on_open": ("connection",),
    "on_message": ("connection", "message"),
    "on_ping": ("connection", "payload"),
    "on_pong": ("connection", "payload"),
    "on_close": ("connection", "closed"),
    "on_pause_writing": ("connection",),
    "on_resume_writing": ("connection",),
}

# Names of the same callbacks in picows, asyncio, websocket-client, tornado, ws4py and autobahn.
_OTHER_NAMES: Final = {
    **dict.fromkeys(("on_ws_connected", "connection_made", "on_connect", "opened", "onOpen"), "on_open"),
    **dict.fromkeys(
        ("on_ws_frame", "data_received", "on_data", "received_message", "onMessage", "on_messages"),
        "on_message",
    ),
    **dict.fromkeys(
        ("on_ws_disconnected", "connection_lost", "on_disconnect", "on_error", "closed", "onClose"),
        "on_close",
    ),
    "pause_writing": "on_pause_writing",
    "resume_writing": "on_resume_writing",
}

OnMessage: TypeAlias = "Callable[[ListenerConnection, Data], str | Buffer | None]"
"""A function for single messages. A result that is not None is sent: ``str`` as text, bytes-like as binary."""


class _Answering(Listener):
    """Calls a function for each message, and sends its result."""

    def __init__(self, function: OnMessage) -> None:
        self._function = function

    def on_message(self, connection: ListenerConnection, message: Data) -> None:
        answer = self._function(connection, message)
        if answer is not None:
            connection.send(answer)


class ListenerConnection(Delivering):
    """A connection whose messages go to a ``Listener``. Made by ``connect`` and ``serve``.

    Facts, such as ``request``, ``remote_address`` or ``latency``, are those of ``Connection``. Calls do not wait, and
    belong to the connection's event loop.
    """

    __slots__ = ("_new_listener", "listener")

    def __init__(
        self, protocol: Protocol, *args: Any, listener: Callable[[], Listener], **options: Any
    ) -> None:
        super().__init__(protocol, *args, **options)
        self._new_listener = listener
        self.listener: Listener | None = None
        """The listener; None before ``on_open``, and after ``on_close``."""

    def opened(self) -> None:
        super().opened()
        self._holds &= ~NOT_OPEN
        try:
            self.listener = listener = checked_listener(self._new_listener())
            self._on_message = listener.on_message
            self._hears_control = _is_overridden(listener.on_ping, Listener.on_ping) or _is_overridden(
                listener.on_pong, Listener.on_pong
            )
        except BaseException as exception:
            self._listener_failed(exception)
        else:
            self._call(listener.on_open)

    def writing_blocked(self) -> None:
        super().writing_blocked()
        if self.listener is not None and not self._holds & OVER:
            self._call(self.listener.on_pause_writing)

    def writing_resumed(self) -> None:
        super().writing_resumed()
        if self.listener is not None and self._stage is not Stage.CLOSED:
            self._let_go(BLOCKED)
            if not self._holds & OVER:
                self._call(self.listener.on_resume_writing)

    def _has_ended(self) -> bool:
        return super()._has_ended() and self.listener is None

    def _is_closed(self) -> None:
        """Deliver what waits, in turns, and then tell the end."""
        listener = self.listener
        if listener is not None:
            self._holds &= OVER  # nobody is left who could wait
            self._deliver_waiting()
            if not self._holds and self._decode_on():
                self._loop.call_soon(self._is_closed)
                return
            self._call(listener.on_close, self._closed_exception())
            self.listener = None  # it may have us, and the collector would have to find that out
            self._on_message = ignore
        super()._is_closed()

    def _tell(self, event: Data | Ping | Pong) -> None:
        listener = self.listener
        assert listener is not None
        if isinstance(event, Ping):
            listener.on_ping(self, event.payload)
        elif isinstance(event, Pong):
            listener.on_pong(self, event.payload)
        else:
            self._on_message(self, event)


def _is_overridden(method: Any, original: object) -> bool:
    return getattr(method, "__func__", None) is not original


# Checks of arguments


def checked_listener(listener: object) -> Listener:
    """Return ``listener``, which a factory made.

    Raises:
        TypeError: it is no ``Listener``.
    """
    if isinstance(listener, Listener):
        return listener
    raise TypeError(
        f"listener() returned a {type(listener).__name__}; it has to be a wsfast.asyncio.Listener"
    )


def new_listener_of(call: str, listener: object, on_message: object) -> Callable[[], Listener] | None:
    """Return what makes the listener of a connection, from the arguments of ``call``; None if there are none.

    Raises:
        TypeError: both are given, or one has the wrong type.
    """
    if on_message is not None:
        if listener is not None:
            raise TypeError(f"{call}() takes listener or on_message, and not both")
        check_callback("on_message", on_message, _CALLBACKS["on_message"])
        answering = _Answering(cast("OnMessage", on_message))
        return lambda: answering
    if listener is None:
        return None
    if isinstance(listener, Listener):
        return lambda: listener
    if isinstance(listener, type) and not issubclass(listener, Listener):
        raise TypeError(f"{listener.__name__} is no listener: derive it from wsfast.asyncio.Listener")
    if not callable(listener):
        raise TypeError(
            f"the listener is a {type(listener).__name__}; it has to be a wsfast.asyncio.Listener, its class, or a "
            "function that returns one"
        )
    if inspect.iscoroutinefunction(listener):
        raise TypeError(f"{call}(listener=) is called inside the read, and cannot be async")
    try:
        signature = inspect.signature(listener)
    except (TypeError, ValueError):  # not written in Python
        signature = None
    if signature is not None:
        try:
            signature.bind()
        except TypeError as error:
            raise TypeError(
                f"wsfast calls listener(), and this one takes {signature}: {error}; functools.partial gives arguments, "
                "and a function of single messages is on_message"
            ) from None
    return cast("Callable[[], Listener]", listener)


_AnyConnection = TypeVar("_AnyConnection", bound=Connection)


def connection_class_for(
    new_listener: object,
    wanted: type[_AnyConnection] | None,
    of_coroutines: type[_AnyConnection],
    of_listeners: type[_AnyConnection],
) -> type[_AnyConnection]:
    """Return the class of connections: the ``wanted`` one, or the usual one with or without a listener.

    Raises:
        TypeError: the wanted one is of the other kind.
    """
    if wanted is None:
        return of_coroutines if new_listener is None else of_listeners
    if isinstance(wanted, type) and issubclass(wanted, ListenerConnection) != (new_listener is not None):
        needed = (
            "it needs a listener, or on_message"
            if new_listener is None
            else f"with a listener, or on_message, it has to be a {of_listeners.__name__}"
        )
        raise TypeError(f"create_connection is {wanted.__name__}: {needed}")
    return wanted
