"""The rules of ``basic_auth``, a ``process_request`` that asks for a user name and a password (RFC 7617).

A wrong name takes as long as a wrong password, and no text or log has either of them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from ..http import Request, Response
from ..typing import StatusLike
from .steps import Steps

__all__ = ["BasicAuth"]


class _Answering(Protocol):
    """The part of a server's connection that is needed."""

    username: str

    def respond(self, status: StatusLike, text: str) -> Response: ...


class BasicAuth:
    """The arguments of ``basic_auth``, checked.

    Raises:
        TypeError: ``credentials`` are no pairs of ``str``, ``check_credentials`` cannot be called, or ``realm`` is no
            ``str``.
        ValueError: both or none of ``credentials`` and ``check_credentials`` are given, or ``realm`` has a character
            that cannot be sent.
    """

    def __init__(
        self,
        realm: str,
        credentials: tuple[str, str] | Iterable[tuple[str, str]] | None,
        check_credentials: Callable[[str, str], Any] | None,
    ) -> None:
        if (credentials is None) == (check_credentials is None):
            raise ValueError("basic_auth() needs either credentials or check_credentials")
        if not isinstance(realm, str):
            raise TypeError(f"realm is a {type(realm).__name__}; it has to be a str")
        if not (realm.isascii() and (realm == "" or realm.isprintable())):
            raise ValueError(f"realm {realm!r} has a character that cannot be sent")
        self._check = _checker(credentials) if check_credentials is None else check_credentials
        if not callable(self._check):
            raise TypeError(f"check_credentials is a {type(self._check).__name__}; it has to be a function")
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')  # RFC 9110 5.6.4
        self._challenge = f'Basic realm="{quoted}", charset="UTF-8"'  # RFC 7617 2, 2.1

    def process_request(self, connection: _Answering, request: Request) -> Steps[Response | None]:
        """Let the request in, or return the response that refuses it."""
        values = request.headers.get_all("Authorization")
        given = _parsed(values[0]) if len(values) == 1 else None
        if given is None:
            text = "Unsupported credentials\n" if values else "Missing credentials\n"
        else:
            if (yield self._check(*given)):
                connection.username = given[0]
                return None
            text = "Invalid credentials\n"
        response = connection.respond(401, text)
        response.headers["WWW-Authenticate"] = self._challenge
        return response


def _is_pair(pair: object) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)


def _checker(credentials: object) -> Callable[[str, str], bool]:
    if _is_pair(credentials):
        credentials = [credentials]
    pairs = list(credentials) if isinstance(credentials, Iterable) else []
    if not pairs or not all(map(_is_pair, pairs)):
        raise TypeError("credentials has to be (username, password), or a list of such pairs, each a str")
    known = {name: _octets(password) for name, password in cast("list[tuple[str, str]]", pairs)}

    def check(username: str, password: str) -> bool:
        # An unknown name is compared too, so that time does not tell it.
        is_right = hmac.compare_digest(known.get(username, b""), _octets(password))
        return is_right and username in known

    return check


def _octets(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _parsed(value: str) -> tuple[str, str] | None:
    """Return user name and password of an ``Authorization`` header, or None if it has another scheme or form."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":  # RFC 9110 11.1: in any case
        return None
    try:
        octets = base64.b64decode(encoded.strip(" ").encode("iso-8859-1"), validate=True)
    except binascii.Error:
        return None
    username, colon, password = octets.decode(errors="surrogateescape").partition(":")
    return (username, password) if colon else None
