"""``route`` for trio: a server with a handler for each path, by the rules of werkzeug (``wsfast[router]``).

werkzeug is imported when a router is made, so that this module can be imported without it.
"""

from __future__ import annotations

import ssl as ssl_module
from typing import TYPE_CHECKING, Any, Literal

import trio

from ..common.router import RouterRules, routing
from ..common.steps import run_awaiting
from ..http import Request, Response
from .server import Server, ServerConnection, serve

if TYPE_CHECKING:
    from werkzeug.routing import Map

__all__ = ["Router", "route"]


class Router(RouterRules):
    """Chooses the handler of each request for ``route``. Subclasses may override its methods.

    Raises:
        ImportError: werkzeug is not installed.
    """

    async def handler(self, connection: ServerConnection) -> None:
        """Run the handler that was chosen."""
        await connection.handler(connection, **connection.handler_kwargs)


async def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **kwargs: Any,
) -> None:
    """Serve with a handler for each path: ``server = await nursery.start(route, url_map, port)``.

    ``url_map`` is a ``werkzeug.routing.Map``: the endpoint of each rule is a handler, which is called with the
    connection, and with the parts of the path that the rule names as keyword arguments. A path without a rule is
    answered with 404. ``Rule(websocket=True)`` is not needed.

    - ``server_name``: the host for redirects and for rules with a host; by default the ``Host`` header.
    - ``ssl``: True if a proxy before this server does TLS, so that redirects lead to ``wss://``.
    - ``create_router``: a subclass of ``Router``.
    - Other arguments are those of ``serve``. ``process_request`` is asked first; a response of it counts.

    Raises:
        ImportError: werkzeug is not installed.
        TypeError, ValueError, OSError: as ``serve``.
    """
    router = (create_router or Router)(url_map, server_name, "ws" if ssl is None else "wss")
    first = kwargs.pop("process_request", None)
    context = ssl if isinstance(ssl, ssl_module.SSLContext) else None

    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        return await run_awaiting(routing(router, first, connection, request))

    await serve(
        router.handler, *args, ssl=context, process_request=process_request, task_status=task_status, **kwargs
    )
