"""The rules of ``route``: a handler for each path, by werkzeug (``wsfast[router]``).

werkzeug is imported when a router is made, so that this module can be imported without it.
"""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..http import Request, Response
from ..typing import StatusLike
from .steps import Steps

if TYPE_CHECKING:
    from werkzeug.routing import Map

__all__ = ["RouterRules", "routing"]


class Routed(Protocol):
    """The part of a server's connection that is needed."""

    handler: Callable[..., Any]
    handler_kwargs: Mapping[str, Any]

    def respond(self, status: StatusLike, text: str) -> Response: ...


def routing(
    router: RouterRules, first: Callable[[Any, Request], Any] | None, connection: Routed, request: Request
) -> Steps[Response | None]:
    """Ask ``first``, the ``process_request`` of the application, and then the router."""
    if first is not None:
        answer: Response | None = yield first(connection, request)
        if answer is not None:
            return answer
    routed: Response | None = yield router.route_request(connection, request)
    return routed


class RouterRules:
    """Chooses the handler of each request for ``route``.

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

    def get_server_name(self, connection: Routed, request: Request) -> str:
        """Return the host of the request, for redirects."""
        # One Host is sure: a request without it gets its 400 from the handshake.
        return self.server_name or ",".join(request.headers.get_all("Host"))

    def redirect(self, connection: Routed, url: str) -> Response:
        """Make the response for a rule that leads to ``url``."""
        response = connection.respond(http.HTTPStatus.FOUND, f"Found at {url}\n")
        response.headers["Location"] = url
        return response

    def not_found(self, connection: Routed) -> Response:
        """Make the response for a path without a rule."""
        return connection.respond(http.HTTPStatus.NOT_FOUND, "Not Found\n")

    def route_request(
        self, connection: Routed, request: Request
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
