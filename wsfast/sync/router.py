"""``route``: a server with a handler for each path, by the rules of werkzeug (``wsfast[router]``)."""

from __future__ import annotations

import ssl as ssl_module
from typing import TYPE_CHECKING, Any, Literal

from ..common.router import RouterRules, routing
from ..common.steps import run
from ..typing import PathLike
from .server import Server, ServerConnection, serve

if TYPE_CHECKING:
    from werkzeug.routing import Map

__all__ = ["Router", "route", "unix_route"]


def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    **kwargs: Any,
) -> Server:
    """Listen with a handler for each path: ``with route(url_map, host, port) as server: server.serve_forever()``.

    The arguments are those of ``wsfast.asyncio.route`` and of ``serve``.

    Raises:
        ImportError: werkzeug is not installed.
        TypeError, ValueError: as ``serve``.
    """
    router = (create_router or Router)(url_map, server_name, "ws" if ssl is None else "wss")
    if ssl is not None and ssl is not True:
        kwargs["ssl"] = ssl
    first = kwargs.pop("process_request", None)
    return serve(
        router.handler,
        *args,
        process_request=lambda connection, request: run(routing(router, first, connection, request)),
        **kwargs,
    )


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Listen as ``route``, on a Unix socket at ``path``."""
    return route(url_map, path=path, **kwargs)


class Router(RouterRules):
    """Chooses the handler of each request for ``route``. Subclasses may override its methods.

    Raises:
        ImportError: werkzeug is not installed.
    """

    def handler(self, connection: ServerConnection) -> None:
        """Run the handler that was chosen."""
        connection.handler(connection, **connection.handler_kwargs)
