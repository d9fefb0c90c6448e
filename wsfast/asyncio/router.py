"""``route``: a server with a handler for each path, by the rules of werkzeug (``wsfast[router]``).

werkzeug is imported when a router is made, so that this module can be imported without it.
"""

from __future__ import annotations

import ssl as ssl_module
from typing import TYPE_CHECKING, Any, Literal

from ..common.router import RouterRules, routing
from ..common.steps import run_awaiting
from ..http import Request, Response
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
    """Start a server that has a handler for each path: ``async with route(url_map, host, port) as server``.

    ``url_map`` is a ``werkzeug.routing.Map``: the endpoint of each rule is a handler, which is called with the
    connection, and with the parts of the path that the rule names as keyword arguments. A path without a rule is
    answered with 404. ``Rule(websocket=True)`` is not needed.

    - ``server_name``: the host for redirects and for rules with a host; by default the ``Host`` header.
    - ``ssl``: True if a proxy before this server does TLS, so that redirects lead to ``wss://``.
    - ``create_router``: a subclass of ``Router``.
    - Other arguments are those of ``serve``. ``process_request`` is asked first; a response of it counts.

    Raises:
        ImportError: werkzeug is not installed.
        TypeError, ValueError: as ``serve``.
    """
    router = (create_router or Router)(url_map, server_name, "ws" if ssl is None else "wss")
    if ssl is not None and ssl is not True:
        kwargs["ssl"] = ssl
    first = kwargs.pop("process_request", None)

    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        return await run_awaiting(routing(router, first, connection, request))

    return serve(router.handler, *args, process_request=process_request, **kwargs)


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Start a server as ``route``, on a Unix socket at ``path``."""
    return route(url_map, path=path, **kwargs)


class Router(RouterRules):
    """Chooses the handler of each request for ``route``. Subclasses may override its methods.

    Raises:
        ImportError: werkzeug is not installed.
    """

    async def handler(self, connection: ServerConnection) -> None:
        """Run the handler that was chosen."""
        await connection.handler(connection, **connection.handler_kwargs)
