"""The WebSocket of browsers in Python: the interface of the WHATWG's standard, on asyncio.

    from wsfast.browser import WebSocket

    socket = WebSocket("ws://127.0.0.1:8765/")
    socket.onmessage = lambda event: print(event.data)

``docs/browser.md`` says when to use it, and what differs from a browser.
"""

from __future__ import annotations

from .events import CloseEvent, ErrorEvent, Event, EventTarget, MessageEvent
from .exceptions import DOMException, DOMSyntaxError, InvalidAccessError, InvalidStateError
from .websocket import WebSocket

__all__ = [
    "CloseEvent",
    "DOMException",
    "DOMSyntaxError",
    "ErrorEvent",
    "Event",
    "EventTarget",
    "InvalidAccessError",
    "InvalidStateError",
    "MessageEvent",
    "WebSocket",
]
