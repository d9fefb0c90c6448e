"""What ``connect`` and ``serve`` do about arguments that they do not know, or that mean nothing."""

from __future__ import annotations

import inspect
from typing import Any, Final

__all__ = ["check_handler", "other_options", "size_limits"]

# Arguments of the older API of ``websockets``, and what to write.
_OLD_NAMES: Final = {
    "create_protocol": "create_connection",
    "extra_headers": "additional_headers",
    "klass": "create_connection",
    "timeout": "open_timeout",
    "ws_handler": "handler",
}
# The same for ``serve``, if it differs.
_OLD_NAMES_OF_SERVE: Final = {"extra_headers": "process_response, which can add to the response's headers"}

# Arguments that have no other name here, and why.
_WITHOUT: Final = {
    "loop": "the running event loop is used",
    "legacy": "there is one API",
    "read_limit": "max_queue limits the messages that wait",
    "extensions": "compression sets permessage-deflate, and there are no others",
    "proxy": "proxies are not supported",
}

# Arguments of ``websockets`` for which None says that a feature is not wanted.
_NOT_WANTED: Final = ("extensions", "proxy")


def other_options(call: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the ``options`` of ``call`` that go to the event loop. Raises ``TypeError`` for those that are known to
    be something else; it says which argument to use."""
    options = {name: value for name, value in options.items() if value is not None or name not in _NOT_WANTED}
    for name in options:
        new = (_OLD_NAMES_OF_SERVE.get(name) if call == "serve" else None) or _OLD_NAMES.get(name)
        if new is not None:
            raise TypeError(f"{call}() has no argument {name}: use {new}")
        if name in _WITHOUT:
            raise TypeError(f"{call}() has no argument {name}: {_WITHOUT[name]}")
    return options


def check_handler(handler: object) -> None:
    """Raise ``TypeError`` for a handler that cannot be called with a connection, or that is a generator."""
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
    except (TypeError, ValueError):  # one that is not written in Python
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(
            f"wsfast calls handler(connection), and this one takes {signature}: {error}; "
            "the path is connection.request.path"
        ) from None


def size_limits(max_size: int | tuple[int | None, int | None] | None) -> tuple[int | None, int | None]:
    """The limits of a message and of a frame, in bytes, that ``max_size`` stands for."""
    return max_size if isinstance(max_size, tuple) else (max_size, None)
