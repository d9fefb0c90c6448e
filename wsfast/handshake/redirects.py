"""The target of a redirect, and the headers that may follow to it (RFC 9110 10.2.2, 15.4).

Two rules. A redirect never leads from a connection with TLS to one without. And credentials and other headers for one
origin go to that origin only (RFC 6454 4: scheme, host and port).
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from typing import Final

from ..exceptions import InvalidURI, SecurityError
from ..http import Headers, Response
from ..printable import shown, shown_uri
from ..uri import WebSocketURI, parse_uri

__all__ = ["MAX_REDIRECTS", "RedirectError", "follow", "for_origin", "location", "same_origin"]

MAX_REDIRECTS: Final = 10
"""Number of redirects that are followed, one after the other."""

# RFC 9110 15.4: with these a user agent goes to Location; with 300 only if the response has one.
_STATUSES = frozenset({300, 301, 302, 303, 307, 308})

# Headers for one origin only: credentials, and the name of a virtual host.
_FOR_ONE_ORIGIN = frozenset({"authorization", "cookie", "host", "proxy-authorization"})

_HTTP = re.compile("http(?=s?:)", re.IGNORECASE)

_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?P<authority>[^/?#]*)")


class RedirectError(SecurityError, ValueError):
    """A redirect that cannot be followed, because our caller fixed the place to connect to."""


def location(response: Response) -> str | None:
    """Return the ``Location`` of a redirect; None if the response is no redirect, or names two places."""
    values = response.headers.get_all("Location")
    return values[0] if response.status_code in _STATUSES and len(values) == 1 else None


def follow(uri: WebSocketURI, reference: str) -> WebSocketURI:
    """Return the URI to which ``reference``, a ``Location``, leads from ``uri`` (RFC 3986 5).

    User name and password are kept if the origin is the same.

    Raises:
        InvalidURI: the target is not a WebSocket URI.
        SecurityError: the redirect leaves TLS, or ``reference`` has a user name or a password.
    """
    text = _decoded(reference)
    authority = _AUTHORITY.match(text)
    if authority is not None and "@" in authority["authority"]:
        # RFC 9110 4.2.4: it "is likely being used to obscure the authority".
        raise SecurityError(
            f"refused to follow a redirect to {shown_uri(text)}: it has a user name, or something that looks so"
        )
    try:
        target, _ = urllib.parse.urldefrag(urllib.parse.urljoin(str(uri), text))
    except ValueError as error:
        raise InvalidURI(text, f"a redirect leads there, and {shown(str(error))}") from None
    # Servers answer with http or https; ws and wss have the same ports (RFC 6455 3).
    new = parse_uri(_HTTP.sub("ws", target, count=1) if _HTTP.match(target) else target)
    if uri.secure and not new.secure:
        raise SecurityError(f"refused to follow a redirect to {shown_uri(target)}: it is not encrypted")
    if same_origin(uri, new):
        return dataclasses.replace(new, username=uri.username, password=uri.password)
    return new


def same_origin(one: WebSocketURI, other: WebSocketURI) -> bool:
    """Tell whether scheme, host and port are the same (RFC 6454 5)."""
    return (one.secure, one.host, one.port) == (other.secure, other.host, other.port)


def for_origin(headers: Headers) -> Headers:
    """Return the user's ``headers`` without those for one origin."""
    return Headers(item for item in headers.raw_items() if item[0].lower() not in _FOR_ONE_ORIGIN)


def _decoded(reference: str) -> str:
    """Return a ``Location`` as text. Its bytes are UTF-8, as browsers read them; if not, each is escaped."""
    data = reference.encode("iso-8859-1")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "".join(chr(octet) if octet < 0x80 else f"%{octet:02X}" for octet in data)
    return text.replace(" ", "%20")  # RFC 9110 10.2.2 allows to mend an invalid reference
