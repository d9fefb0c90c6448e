"""URLs as browsers take them (WHATWG URL), for ``wsfast.uri``, which takes only those of RFC 6455.

A browser mends what people type: white space at the ends, tabs and line breaks, backslashes, any number of slashes,
"." and ".." in a path. What is left is for ``parse_uri`` to judge.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import quote

from ..exceptions import InvalidURI
from ..uri import parse_uri
from .exceptions import DOMSyntaxError

__all__ = ["parse_url", "usv_string"]

_EDGES = "".join(map(chr, range(0x21)))  # C0 controls and the space
_DROPPED = str.maketrans("", "", "\t\n\r")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):[/\\]*(?P<authority>[^/\\?#]*)(?P<path>[^?#]*)"
    r"(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_DOT = re.compile(r"(?:\.|%2e)", re.IGNORECASE)


def usv_string(text: str) -> str:
    """Return ``text`` as a USVString (Web IDL): pairs of surrogates joined, a lone one as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class URL(NamedTuple):
    """A URL as ``parse_url`` understood it."""

    href: str
    """Its normal form, user name and password included."""
    origin: str
    """Scheme, host and port."""
    uri: str
    """The same, for ``connect``."""


def parse_url(url: str) -> URL:
    """Parse a URL; its scheme becomes ``ws:`` or ``wss:``.

    Raises:
        TypeError: it is no ``str``.
        DOMSyntaxError: it is no absolute URL of ``ws``, ``wss``, ``http`` or ``https``, or it has a fragment.
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}")
    match = _URL.fullmatch(usv_string(url).strip(_EDGES).translate(_DROPPED))
    if match is None:
        raise DOMSyntaxError(
            str(InvalidURI(url, "it has no scheme, and there is no page that it is relative to"))
        )
    scheme = match["scheme"].lower()
    scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    user_info, at, host_port = match["authority"].rpartition("@")
    if at and ":" not in user_info:
        user_info += ":"
    path = _without_dots(match["path"].replace("\\", "/")) + (match["query"] or "")
    path = _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", path)
    try:
        uri = parse_uri(f"{scheme}://{user_info}{at}{host_port}{path}{match['fragment'] or ''}")
    except InvalidURI as error:
        raise DOMSyntaxError(str(error)) from None
    if "%" in uri.host:
        raise DOMSyntaxError("the zone of an IPv6 address has no place in a URL of browsers")
    if ":" in uri.host:
        uri = replace(uri, host=IPv6Address(uri.host).compressed)
    origin = f"{'wss' if uri.secure else 'ws'}://{uri.host_header}"
    scheme, _, host = origin.partition("//")
    name, password = (quote(part, safe="!$&'()*+,;=") for part in uri.user_info or ("", ""))
    credentials = f"{name}:{password}@" if name or password else ""
    query_mark = "?" if match["query"] == "?" else ""
    href = f"{scheme}//{credentials.replace(':@', '@')}{host}{uri.resource_name}{query_mark}"
    return URL(href, origin, f"{scheme}//{credentials}{host}{uri.resource_name}")


def _without_dots(path: str) -> str:
    """Resolve "." and "..", also if they are escaped."""
    kept: list[str] = []
    segment = ""
    for segment in path.split("/")[1:]:
        dots = _DOT.sub(".", segment)
        if dots == "..":
            del kept[-1:]
        elif dots != ".":
            kept.append(segment)
    if _DOT.sub(".", segment) in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
