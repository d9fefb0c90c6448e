"""``basic_auth``: a ``process_request`` that asks for a user name and a password (RFC 7617)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..common.arguments import check_callback
from ..common.authentication import BasicAuth
from ..common.steps import run
from ..http import Request, Response

__all__ = ["basic_auth"]


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Callable[[str, str], bool] | None = None,
) -> Callable[[Any, Request], Response | None]:
    """Make a ``process_request`` for ``serve`` that lets users in by name and password (RFC 7617).

    ``credentials`` is one pair of user name and password, or several. Or ``check_credentials(username, password)``
    tells whether they are right. ``realm`` names the protected space, in ASCII.

    A request without the right credentials is answered with 401. Else ``connection.username`` is the user's name. Send
    passwords over TLS only.

    Raises:
        TypeError: ``credentials`` are no pairs of ``str``, ``check_credentials`` cannot be called, or ``realm`` is no
            ``str``.
        ValueError: both or none of ``credentials`` and ``check_credentials`` are given, or ``realm`` has a character
            that cannot be sent.
    """
    if check_credentials is not None:
        check_callback("check_credentials", check_credentials, ("username", "password"), hint="")
    rules = BasicAuth(realm, credentials, check_credentials)
    return lambda connection, request: run(rules.process_request(connection, request))
