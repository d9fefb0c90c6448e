"""The exceptions that browsers throw: ``name`` is the one that scripts know."""

from __future__ import annotations

from typing import ClassVar

from ..exceptions import WebSocketException

__all__ = ["DOMException", "DOMSyntaxError", "InvalidAccessError", "InvalidStateError"]


class DOMException(WebSocketException):
    """Base of what the interface raises for a caller's mistake (Web IDL, DOMException)."""

    name: ClassVar[str] = "Error"
    """The name of the exception in browsers."""
    code: ClassVar[int] = 0
    """The number that old scripts know it by."""

    @property
    def message(self) -> str:
        """The text."""
        return str(self)


class DOMSyntaxError(DOMException, ValueError):
    """A URL, a subprotocol or a close reason that cannot be used: a "SyntaxError" in browsers."""

    name = "SyntaxError"
    code = 12


class InvalidStateError(DOMException, RuntimeError):
    """The call came too early, or an event was dispatched inside its own dispatch."""

    name = "InvalidStateError"
    code = 11


class InvalidAccessError(DOMException, ValueError):
    """A close code that is neither 1000 nor in the range from 3000 to 4999."""

    name = "InvalidAccessError"
    code = 15
