"""Checks of the arguments of ``connect`` and ``serve``: unknown names, old names, and values without a meaning."""

from __future__ import annotations

import inspect
from typing import Any, Final

__all__ = ["check_handler", "other_options", "size_limits"]

# Arguments of the older API of ``websockets``, and their new names.
_OLD_NAMES: Final = {
    "create_protocol": "create_connection",
    "extra_headers": "additional_headers",
    "klass": "create_connection",
    "timeout": "open_timeout",
    "ws_handler": "handler",
}
# The same for ``serve``, if its name differs.
_OLD_NAMES_OF_SERVE: Final = {"extra_headers": "process_response, which can add to the response's headers"}

# Arguments that have no other name here, and the reason.
_WITHOUT: Final = {
    "loop": "the running event loop is used",
    "legacy": "there is one API",
    "read_limit": "max_queue limits the messages that wait",
    "extensions": "compression sets permessage-deflate, and there are no others",
    "proxy": "a server has none; connect has it",
}

# Arguments of ``websockets`` that mean "without this feature" if they are None.
_NOT_WANTED: Final = ("extensions", "proxy")


def other_options(call: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the ``options`` of ``call`` that go to the event loop.

    Raises:
        TypeError: an argument of another API; the text names the argument to use.
    """
    options = {name: value for name, value in options.items() if value is not None or name not in _NOT_WANTED}
    for name in options:
        new = (_OLD_NAMES_OF_SERVE.get(name) if call == "serve" else None) or _OLD_NAMES.get(name)
        if new is not None:
            raise TypeError(f"{call}() has no argument {name}: use {new}")
        if name in _WITHOUT:
            raise TypeError(f"{call}() has no argument {name}: {_WITHOUT[name]}")
    return options


def check_handler(handler: object) -> None:
    """Check that a handler can be called with a connection.

    Raises:
        TypeError: the handler takes other arguments, or it is a generator.
    """
    if not callable(handler):
        raise TypeError(
            f"the handler is a {type(handler).__name__}; it has to be async def handler(connection)"
        )
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise TypeError(
            "the handler has a yield, so that calling it runs nothing; it has to be async def without one"
        )
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # the handler is not written in Python
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(
            f"wsfast calls handler(connection), and this one takes {signature}: {error}; "
            "the path is connection.request.path"
        ) from None


def size_limits(max_size: int | tuple[int | None, int | None] | None) -> tuple[int | None, int | None]:
    """Return the limits of a message and of a frame, in bytes, that ``max_size`` gives."""
    return max_size if isinstance(max_size, tuple) else (max_size, None)
