"""The part of ``serve`` that comes before any I/O, and the answer to an opening handshake (RFC 6455 4.2.2)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Protocol, cast

from ..codec import Role
from ..connection import Connection
from ..deflate import Compression, settings
from ..handshake import ServerHandshake
from ..http import Request, Response
from ..limits import Limits
from ..printable import shown
from ..session import TURN_BOUNDS
from ..typing import LoggerLike
from .arguments import LIMIT_NAMES, limits_of, other_options, with_ratio
from .steps import Steps

__all__ = ["Serving", "answer", "send_answer"]


class Serving:
    """The arguments of ``serve``, checked: a mistake in them is raised now, and not in each connection."""

    def __init__(
        self,
        options: dict[str, Any],
        *,
        origins: Sequence[str | re.Pattern[str] | None] | None,
        subprotocols: Sequence[str] | None,
        compression: Compression,
        server_header: str | None,
        open_timeout: float | None,
        max_size: int | tuple[int | None, int | None] | None,
        max_queue: int | tuple[int | None, int | None] | None,
        limits: Limits | None,
        text: Literal["str", "bytes"],
        logger: LoggerLike | None,
    ) -> None:
        self.options = other_options("serve", options)
        """The arguments that are not ours, but the adapter's."""
        self.logger: LoggerLike = logger or logging.getLogger("wsfast.server")
        names = LIMIT_NAMES if limits is None else {}
        self.limits = limits_of(
            "serve", limits, max_size=max_size, max_queue=max_queue, open_timeout=open_timeout
        )
        self._protocol_options: dict[str, Any] = {
            **self.limits.codec_options(),
            "text": text,
            **TURN_BOUNDS,
            "limit_names": names,
        }
        self._handshake = ServerHandshake(
            origins=origins,
            subprotocols=subprotocols,
            compression=with_ratio(settings(compression), self.limits),
            server_header=server_header,
            max_head_size=self.limits.max_head_size,
        )
        self.new_protocol()

    def new_protocol(self) -> Connection:
        """Make the connection without I/O for one that was accepted."""
        return Connection(Role.SERVER, handshake=self._handshake.another(), **self._protocol_options)


class Answering(Protocol):
    """The part of a server's connection that is needed."""

    protocol: Connection
    response: Response | None

    @property
    def logger(self) -> logging.LoggerAdapter[Any]: ...

    def respond(self, status: int, text: str) -> Response: ...


def answer(
    connection: Answering,
    request: Request,
    process_request: Callable[[Any, Request], Any] | None,
    process_response: Callable[[Any, Request, Response], Any] | None,
    select_subprotocol: Callable[[Any, Sequence[str]], str | None] | None,
) -> Steps[Response]:
    """Decide about a request: with the functions of the application, or else by its headers."""
    response: Response | None = None
    if process_request is not None:
        response = _checked("process_request", (yield process_request(connection, request)))
    if response is None:
        select = None if select_subprotocol is None else partial(select_subprotocol, connection)
        response = cast("ServerHandshake", connection.protocol.handshake).accept(select)
    if process_response is not None:
        change = yield process_response(connection, request, response)
        response = _checked("process_response", change) or response
    return response


def _checked(name: str, answer: Response | None) -> Response | None:
    """Return the answer of the application's function ``name``; raise ``TypeError`` if it has a wrong type."""
    if answer is None or isinstance(answer, Response):
        return answer
    raise TypeError(
        f"{name} returned a {type(answer).__name__}, not None or a Response; connection.respond() makes one"
    )


def failed(connection: Answering) -> Response:
    """Make the response for a request that our own side failed to answer."""
    return connection.respond(500, "The server failed to answer the opening handshake.\n")


def send_answer(connection: Answering, response: Response) -> bytes:
    """Note the response of an opening handshake, tell the log, and return its bytes."""
    handshake = cast("ServerHandshake", connection.protocol.handshake)
    if handshake.error is not None:
        connection.logger.info("opening handshake failed: %s", shown(str(handshake.error), 1000))
    try:
        handshake.send_response(response)
    except ValueError:
        connection.logger.error(
            "this response cannot be sent: %s", shown(repr(response), 1000), exc_info=True
        )
        response = failed(connection)
        handshake.send_response(response)
    connection.response = response
    if not handshake.accepted:
        connection.logger.info(
            "connection rejected (%d %s)", response.status_code, shown(response.reason_phrase)
        )
    return handshake.data_to_send()
