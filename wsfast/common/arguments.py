"""Checks of the arguments of ``connect`` and ``serve``: unknown names, old names, and values without a meaning."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Container, Iterable
from typing import Any, Final

from ..deflate import Deflate
from ..limits import Limits, check_seconds
from ..proxy import Proxy
from ..typing import LoggerLike

__all__ = [
    "LIMIT_NAMES",
    "check_address",
    "check_callback",
    "check_handler",
    "check_names",
    "check_proxy_options",
    "check_tls",
    "limits_of",
    "other_options",
    "session_options",
    "size_limits",
    "with_ratio",
]

# The arguments' names for fields of ``Limits``.
LIMIT_NAMES: Final = {"max_message_size": "max_size", "max_frame_size": "max_size"}

# Arguments of the older API of ``websockets``, of ``websocket-client`` and of others, and their names here.
_OLD_NAMES: Final = {
    "cookie": 'additional_headers={"Cookie": ...}',
    "create_protocol": "create_connection",
    "extra_headers": "additional_headers",
    "header": "additional_headers",
    "headers": "additional_headers",
    "http_proxy_host": 'proxy="http://host:port"',
    "klass": "create_connection",
    "ssl_context": "ssl",
    "sslopt": "ssl, with an ssl.SSLContext",
    "subprotocol": "subprotocols, with a list",
    "timeout": "open_timeout",
    "ws_handler": "handler",
}
# The same for ``serve``, if its name differs.
_OLD_NAMES_OF_SERVE: Final = {"extra_headers": "process_response, which can add to the response's headers"}

# Arguments that have no other name here, and the reason.
_WITHOUT: Final = {
    "loop": "the running event loop is used, if there is one",
    "legacy": "there is one API",
    "read_limit": "max_queue limits the messages that wait",
    "extensions": "compression sets permessage-deflate, and there are no others",
    "proxy": "a server has none; connect has it",
}

# Of the arguments that are limits, too.
_DEFAULTS: Final = {"max_size": 2**20, "max_queue": 16, "open_timeout": 10}

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


def check_names(call: str, options: Iterable[str], known: Container[str], **hints: str) -> None:
    """Check that all names of ``options`` are ``known``; ``hints`` are for single ones that are not.

    Raises:
        TypeError: one is not.
    """
    for name in options:
        if name not in known:
            hint = f": {hints[name]}" if name in hints else ""
            raise TypeError(f"{call}() has no argument {name}{hint}")


def check_address(host: object, port: object) -> None:
    """Check that ``serve`` did not get the port as its second argument.

    Raises:
        TypeError: it did.
    """
    if isinstance(host, int):
        raise TypeError(f"host is a str or None, not {host!r}: serve(handler, host, port)")
    if not isinstance(port, int | None):
        raise TypeError(f"port is an int, not {port!r}")


def check_tls(ssl: object) -> None:
    """Check the ``ssl`` of ``serve``.

    Raises:
        TypeError: it is no context.
    """
    if ssl is not None and not hasattr(ssl, "wrap_bio"):
        raise TypeError(f"ssl has to be an ssl.SSLContext, with the server's certificate, not {ssl!r}")


def session_options(
    *,
    ping_interval: float | None,
    ping_timeout: float | None,
    close_timeout: float | None,
    limits: Limits,
    logger: LoggerLike,
    count_frames: bool,
    **others: Any,
) -> dict[str, Any]:
    """Return the arguments with which each connection is made.

    Raises:
        TypeError: a time is no number of seconds.
        ValueError: a time is negative.
    """
    times = {"ping_interval": ping_interval, "ping_timeout": ping_timeout, "close_timeout": close_timeout}
    for name, value in times.items():
        check_seconds(name, value)
    marks = others.get("write_limit", 0)
    if not all(isinstance(mark, int | None) for mark in (marks if isinstance(marks, tuple) else (marks,))):
        raise TypeError(f"write_limit must be an int, or a high and a low mark, not {marks!r}")
    return {
        **times,
        "max_queue": limits.max_queue,
        "logger": logger,
        "limits": limits,
        "count_frames": count_frames,
        **others,
    }


def check_handler(handler: object, is_async: bool = True) -> None:
    """Check that a handler can be called with a connection.

    Raises:
        TypeError: the handler takes other arguments, or it is a generator; or it is async where threads run it.
    """
    kind = "async def" if is_async else "def"
    if not callable(handler):
        raise TypeError(f"the handler is a {type(handler).__name__}; it has to be {kind} handler(connection)")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise TypeError(
            f"the handler has a yield, so that calling it runs nothing; it has to be {kind} without one"
        )
    if not is_async and any(map(inspect.iscoroutinefunction, (handler, type(handler).__call__))):
        raise TypeError(
            "the handler is async, and threads would not await it; it has to be def handler(connection), "
            "or wsfast.asyncio serves it"
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


def limits_of(call: str, limits: Limits | None, **arguments: Any) -> Limits:
    """Return the limits of ``call``: of ``limits``, or of the single arguments.

    Raises:
        TypeError: ``limits`` is no ``Limits``, or an argument that is not the default is given next to it.
        ValueError: a limit is out of range.
    """
    if limits is None:
        message_size, frame_size = size_limits(arguments["max_size"])
        return Limits(
            max_message_size=message_size,
            max_frame_size=frame_size,
            max_queue=arguments["max_queue"],
            open_timeout=arguments["open_timeout"],
        )
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a wsfast.Limits, not a {type(limits).__name__}")
    for name, value in arguments.items():
        if value != _DEFAULTS[name]:
            field = {"max_size": "max_message_size and max_frame_size"}.get(name, name)
            raise TypeError(f"{call}() got limits and {name}: set {field} in the limits")
    return limits


def with_ratio(deflate: Deflate | None, limits: Limits) -> Deflate | None:
    """Return ``deflate`` with the ratio of ``limits``, unless it has one of its own."""
    if deflate is None or limits.max_ratio is None or deflate.max_ratio is not None:
        return deflate
    return dataclasses.replace(deflate, max_ratio=limits.max_ratio)


def size_limits(max_size: int | tuple[int | None, int | None] | None) -> tuple[int | None, int | None]:
    """Return the limits of a message and of a frame, in bytes, that ``max_size`` gives."""
    return max_size if isinstance(max_size, tuple) else (max_size, None)


def check_callback(
    name: str,
    callback: Any,
    arguments: tuple[str, ...],
    hint: str = ": start a task in it, or use a coroutine as handler",
) -> None:
    """Check that a callback is a plain function that takes as many arguments; ``hint`` is for one that is async.

    Raises:
        TypeError: it is asynchronous, a generator, or takes other arguments.
    """
    expected = f"def {name.rpartition('.')[2]}({', '.join(arguments)})"
    if not callable(callback):
        raise TypeError(f"{name} is a {type(callback).__name__}; it has to be {expected}")
    called = (callback, type(callback).__call__)  # the second for objects that can be called
    if any(map(inspect.iscoroutinefunction, called)) or any(map(inspect.isasyncgenfunction, called)):
        raise TypeError(f"{name} is async, and nobody would await it; it has to be {expected}{hint}")
    if inspect.isgeneratorfunction(callback):
        raise TypeError(f"{name} has a yield, so that calling it runs nothing; it has to be {expected}")
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # not written in Python
        return
    try:
        signature.bind(*(None,) * len(arguments))
    except TypeError as error:
        raise TypeError(f"{name} takes {signature}: {error}; it has to be {expected}") from None


def check_proxy_options(options: dict[str, Any], proxy: Proxy | None) -> None:
    """Check the options for the proxy, which begin with ``proxy_``.

    Raises:
        ValueError: ``proxy_ssl`` contradicts the scheme of the proxy.
    """
    if proxy is None or "proxy_ssl" not in options:
        return
    if proxy.scheme == "https" and not options["proxy_ssl"]:
        raise ValueError("proxy_ssl=None is for http:// proxies; https:// is encrypted")
    if proxy.scheme != "https" and options["proxy_ssl"] is not None:
        raise ValueError(f"proxy_ssl is for https:// proxies; {proxy.scheme}:// is not encrypted")
