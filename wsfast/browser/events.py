"""Events and their listeners (DOM, EventTarget), for a target that stands in no tree.

- Listeners are called in the order in which they were added, those with ``capture`` first.
- A listener is one by its type, function and ``capture``: added twice, it is called once.
- A listener that raises is reported to the loop's exception handler, and the others are called.
- What a coroutine function returns runs as a task. Nothing waits for it, as no browser waits for a promise.

An options dictionary of JavaScript is keyword arguments here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from .exceptions import InvalidStateError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["CloseEvent", "ErrorEvent", "Event", "EventTarget", "MessageEvent"]

Callback: TypeAlias = "Callable[[Any], object] | Any"
"""A function of one event, or an object with the method ``handleEvent``."""


class Event:
    """Something that happened; see DOM, Event. ``target`` is set when it is dispatched.

    While a listener runs, ``currentTarget`` is the target too; afterwards, as in a task of a listener, it is None.
    """

    NONE, CAPTURING_PHASE, AT_TARGET, BUBBLING_PHASE = range(4)

    target: EventTarget | None = None
    currentTarget: EventTarget | None = None
    eventPhase = NONE
    defaultPrevented = False
    isTrusted = False
    """True if it comes from the connection, and not from ``dispatchEvent``."""

    _in_passive = _stops = _stops_now = False

    def __init__(self, type: str, *, bubbles: bool = False, cancelable: bool = False) -> None:
        self.type = type
        self.bubbles = bubbles
        self.cancelable = cancelable

    def preventDefault(self) -> None:
        """Let ``dispatchEvent`` return False, if the event is cancelable and the listener not passive."""
        if self.cancelable and not self._in_passive:
            self.defaultPrevented = True

    def stopPropagation(self) -> None:
        """Keep the event from the listeners without ``capture``, if one with it calls this."""
        self._stops = True

    def stopImmediatePropagation(self) -> None:
        """Keep the event from all listeners that were not called yet."""
        self._stops = self._stops_now = True


class MessageEvent(Event):
    """A message. ``origin`` is the scheme, host and port of its sender (HTML, MessageEvent)."""

    def __init__(self, type: str, *, data: Any = None, origin: str = "", **options: bool) -> None:
        super().__init__(type, **options)
        self.data = data
        self.origin = origin


class CloseEvent(Event):
    """The end. ``code`` and ``reason`` are those of the peer's Close frame (WebSockets, CloseEvent)."""

    def __init__(
        self, type: str, *, wasClean: bool = False, code: int = 0, reason: str = "", **options: bool
    ) -> None:
        super().__init__(type, **options)
        self.wasClean = wasClean
        self.code = code
        self.reason = reason


class ErrorEvent(Event):
    """A failure. ``error`` is its exception, which browsers keep from scripts."""

    def __init__(self, type: str, *, error: BaseException | None = None, **options: bool) -> None:
        super().__init__(type, **options)
        self.error = error
        self.message = "" if error is None else str(error)


@dataclass(slots=True, eq=False)
class _Listener:
    callback: Callback
    capture: bool = False
    once: bool = False
    passive: bool = False
    is_handler: bool = False
    """It is that of an attribute such as ``onmessage``."""
    is_removed: bool = False


class Handler:
    """An attribute such as ``onmessage``: one function, called in its place among the listeners, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._type = name.removeprefix("on")

    @overload
    def __get__(self, target: None, owner: type) -> Self: ...
    @overload
    def __get__(self, target: EventTarget, owner: type) -> Callback | None: ...

    def __get__(self, target: EventTarget | None, owner: type) -> Self | Callback | None:
        if target is None:
            return self
        listener = target._handlers.get(self._type)
        return None if listener is None else listener.callback

    def __set__(self, target: EventTarget, callback: Callback | None) -> None:
        if callback is None:
            listener = target._handlers.pop(self._type, None)
            if listener is not None:
                target._remove(self._type, listener)
            return
        if not callable(callback):
            raise TypeError(f"{self._name} has to be a function or None, not {callback!r}")
        if self._type in target._handlers:
            target._handlers[self._type].callback = callback
        else:
            target._handlers[self._type] = listener = _Listener(callback, is_handler=True)
            target._add(self._type, listener)


class EventTarget:
    """Has listeners, and calls them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: dict[str, list[_Listener]] = {}
        self._handlers: dict[str, _Listener] = {}
        self._tasks: set[asyncio.Task[Any]] = set()  # a loop keeps none

    def addEventListener(
        self,
        type: str,
        callback: Callback | None,
        capture: bool = False,
        *,
        once: bool = False,
        passive: bool = False,
    ) -> None:
        """Call ``callback(event)``, or ``callback.handleEvent(event)``, for each event of this type.

        ``once``: for the first one only. ``passive``: its ``preventDefault`` does nothing. Does nothing if it is added
        already, with the same ``capture``; a bound method is the same as another of the same object.

        Raises:
            TypeError: no function, and no object with ``handleEvent``; or options that are no keyword arguments.
        """
        if callback is None or self._find(type, callback, capture) is not None:
            return
        if not callable(callback) and not hasattr(callback, "handleEvent"):
            raise TypeError(f"a listener is a function, or has the method handleEvent, unlike {callback!r}")
        self._add(type, _Listener(callback, capture, once, passive))

    def removeEventListener(self, type: str, callback: Callback | None, capture: bool = False) -> None:
        """Call ``callback`` no more, not even for an event that is being dispatched."""
        listener = self._find(type, callback, capture)
        if listener is not None:
            self._remove(type, listener)

    def dispatchEvent(self, event: Event) -> bool:
        """Call the listeners for an event of yours, now; return False if one of them prevented its default.

        Raises:
            InvalidStateError: the event is being dispatched.
            TypeError: it is no ``Event``.
        """
        if not isinstance(event, Event):
            raise TypeError(f"an event has to be an Event, not {event!r}")
        event.isTrusted = False
        return self._fire(event)

    def _find(self, type: str, callback: Callback | None, capture: bool) -> _Listener | None:
        if not isinstance(capture, bool):
            raise TypeError(f"options are keyword arguments, such as once=True; {capture!r} is no bool")
        for listener in self._listeners.get(type, ()):
            if listener.callback == callback and listener.capture is capture and not listener.is_handler:
                return listener
        return None

    def _add(self, type: str, listener: _Listener) -> None:
        self._listeners.setdefault(type, []).append(listener)

    def _remove(self, type: str, listener: _Listener) -> None:
        listener.is_removed = True
        self._listeners[type].remove(listener)

    def _fire(self, event: Event) -> bool:
        if event.eventPhase:
            raise InvalidStateError(f"the event {event.type} is being dispatched")
        event.target = event.currentTarget = self
        event.eventPhase = Event.AT_TARGET
        for capture in (True, False):
            if event._stops:
                break
            for listener in tuple(self._listeners.get(event.type, ())):
                if listener.capture is capture and not listener.is_removed:
                    self._call(listener, event)
                    if event._stops_now:
                        break
        event.currentTarget = None
        event.eventPhase = Event.NONE
        event._stops = event._stops_now = False
        return not event.defaultPrevented

    def _call(self, listener: _Listener, event: Event) -> None:
        callback = listener.callback
        if listener.once:
            self._remove(event.type, listener)
        event._in_passive = listener.passive
        try:
            result = callback(event) if callable(callback) else callback.handleEvent(event)
            if asyncio.iscoroutine(result):
                task = self._loop.create_task(result)
                self._tasks.add(task)
                task.add_done_callback(self._task_is_done)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exception:
            self._report(exception, f"a listener of {event.type}")
        else:
            if result is False and listener.is_handler:
                event.preventDefault()
        finally:
            event._in_passive = False

    def _task_is_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        exception = None if task.cancelled() else task.exception()
        if exception is not None:
            self._report(exception, "a task of a listener")

    def _report(self, exception: BaseException, where: str) -> None:
        context = {"message": f"{self!r} failed: {where}", "exception": exception}
        self._loop.call_exception_handler(context)
