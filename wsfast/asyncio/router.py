"""``route``: a server with a handler for each path, by the rules of werkzeug (``wsfast[router]``).

werkzeug is imported when a router is made, so that this module can be imported without it.
"""

from __future__ import annotations

import http
import inspect
import ssl as ssl_module
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Literal

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
        if first is not None:
            answer = first(connection, request)
            answer = await answer if inspect.isawaitable(answer) else answer
            if answer is not None:
                response: Response = answer
                return response
        routed: Awaitable[Response | None] | Response | None = router.route_request(connection, request)
        return await routed if inspect.isawaitable(routed) else routed

    return serve(router.handler, *args, process_request=process_request, **kwargs)


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Start a server as ``route``, on a Unix socket at ``path``."""
    return route(url_map, path=path, **kwargs)


class Router:
    """Chooses the handler of each request for ``route``. Subclasses may override its methods.

    Raises:
        ImportError: werkzeug is not installed.
    """

    def __init__(self, url_map: Map, server_name: str | None = None, url_scheme: str = "ws") -> None:
        try:
            import werkzeug.routing  # noqa: F401
        except ImportError as error:
            raise ImportError("route() needs werkzeug: pip install 'wsfast[router]'") from error
        self.url_map = url_map
        self.server_name = server_name
        self.url_scheme = url_scheme
        for rule in url_map.iter_rules():
            rule.websocket = True

    def get_server_name(self, connection: ServerConnection, request: Request) -> str:
        """Return the host of the request, for redirects."""
        # One Host is sure: a request without it gets its 400 from the handshake.
        return self.server_name or ",".join(request.headers.get_all("Host"))

    def redirect(self, connection: ServerConnection, url: str) -> Response:
        """Make the response for a rule that leads to ``url``."""
        response = connection.respond(http.HTTPStatus.FOUND, f"Found at {url}\n")
        response.headers["Location"] = url
        return response

    def not_found(self, connection: ServerConnection) -> Response:
        """Make the response for a path without a rule."""
        return connection.respond(http.HTTPStatus.NOT_FOUND, "Not Found\n")

    def route_request(
        self, connection: ServerConnection, request: Request
    ) -> Awaitable[Response | None] | Response | None:
        """Choose the handler of a request, or return a response that refuses or redirects it."""
        from werkzeug.exceptions import HTTPException
        from werkzeug.routing import RequestRedirect

        path, _, query = request.path.partition("?")
        try:
            adapter = self.url_map.bind(self.get_server_name(connection, request), url_scheme=self.url_scheme)
            endpoint, arguments = adapter.match(
                path,
                query_args=query,
                websocket=True,
            )
        except RequestRedirect as redirect:
            return self.redirect(connection, redirect.new_url)
        except (HTTPException, UnicodeError):  # no rule, or a Host that is no host
            return self.not_found(connection)
        connection.handler, connection.handler_kwargs = endpoint, arguments
        return None

    async def handler(self, connection: ServerConnection) -> None:
        """Run the handler that was chosen."""
        await connection.handler(connection, **connection.handler_kwargs)
