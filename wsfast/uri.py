"""WebSocket URIs (RFC 6455 3): ``ws://`` and ``wss://``.

One rule: the parts that ``parse_uri`` returns go into a request unchanged. They are ASCII, without white space and
control characters. The host has the form that the DNS takes, and the port is a number from 1 to 65535.
"""

from __future__ import annotations

import encodings.idna
import ipaddress
import re
import unicodedata
import urllib.parse
from dataclasses import dataclass, field

from .exceptions import InvalidURI
from .printable import shown

__all__ = ["WebSocketURI", "parse_uri"]

# RFC 3986 appendix B, with a scheme. Not urllib's own splitting: it silently drops tabs and line breaks.
_URI = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?"
)

# RFC 3986 3.2: host [ ":" port ], the host a name, or an IPv6 address in brackets.
_HOST_PORT = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")

# Letters, digits and hyphens (RFC 1123 2.1), and the underscore, which private networks use.
_HOST_NAME = re.compile(r"[a-z0-9._-]+")

# RFC 3490 3.1: the full stops that separate labels.
_DOTS = re.compile("[.\u3002\uff0e\uff61]")

# IDNA 2003 turns them into "ss" and a medial sigma; IDNA 2008 and browsers keep them as letters (RFC 5894 7.2).
_DEVIATIONS = re.compile("([\u00df\u03c2])")

# IDNA 2003 drops them. IDNA 2008 needs them in some places, by tables that Python lacks (RFC 5892 A.1, A.2).
_JOINERS = re.compile("[\u200c\u200d]")

_MAX_NAME_SIZE = 254  # characters: RFC 1035 2.3.4, as text with a dot at its end

# RFC 3986 2.2, 2.3: allowed in a path or a query without escaping (quote() adds the unreserved ones).
_SAFE = "%:/?[]@!$&'()*+,;="

_DEFAULT_PORTS = {False: 80, True: 443}  # 3: without and with TLS

_OTHER_SCHEMES = {"http": "ws", "https": "wss"}


@dataclass(frozen=True)
class WebSocketURI:
    """A WebSocket URI in its parts; see ``parse_uri``.

    ``host`` is a name in lower case, in punycode if needed, or an address without brackets.
    ``port`` is always set. ``username`` and ``password`` are decoded; both are set, or neither.
    """

    secure: bool
    host: str
    port: int
    path: str = ""
    query: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the URI without user name and password."""
        scheme = "wss" if self.secure else "ws"
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.secure] else f":{self.port}"
        return f"{scheme}://{host}{port}{self.resource_name}"

    @property
    def resource_name(self) -> str:
        """The target of the request: the path, or "/" if it is empty, and the query (RFC 6455 3)."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    @property
    def user_info(self) -> tuple[str, str] | None:
        """User name and password, or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header; it has the port unless that is the default one (RFC 6455 4.1)."""
        # RFC 6874 4: the zone of an IPv6 address has a meaning on this machine only.
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.secure] else f"{host}:{self.port}"

    @property
    def tls_name(self) -> str:
        """The name for TLS: without the dot at its end (RFC 6066 3), or the zone of an IPv6 address (RFC 6874 4)."""
        return self.host.partition("%")[0].removesuffix(".")


def parse_uri(uri: str) -> WebSocketURI:
    """Parse a WebSocket URI (RFC 6455 3); text beyond ASCII is encoded on the way.

    Raises:
        InvalidURI: ``uri`` is not a WebSocket URI. The text gives the right form.
        TypeError: ``uri`` is no ``str``.
    """
    if not isinstance(uri, str):
        raise TypeError(f"a URI is a str, not {type(uri).__name__}")
    for char in uri:
        if char <= " " or char == "\x7f":
            raise InvalidURI(uri, f"{char!r} must not stand in a URI; write it as %{ord(char):02X}")
    match = _URI.fullmatch(uri)
    assert match is not None  # every part is optional, and no character is excluded, because there is no LF
    secure = _parse_scheme(uri, match["scheme"])
    user_info, at, host_port = (match["authority"] or "").rpartition("@")
    username, password = _parse_user_info(uri, user_info) if at else (None, None)
    try:
        host, port = _parse_host_port(uri, host_port, secure)
    except InvalidURI:
        if at or "@" not in uri:
            raise
        # The caught text would show the beginning of a password.
        raise InvalidURI(
            uri, 'in a password, "/" is written as "%2F", "?" as "%3F" and "#" as "%23"'
        ) from None
    if match["fragment"] is not None:
        raise InvalidURI(uri, '"#" starts a fragment, which a WebSocket has no use for; write "#" as "%23"')
    try:
        path = urllib.parse.quote(match["path"], safe=_SAFE)
        query = urllib.parse.quote(match["query"] or "", safe=_SAFE)
    except UnicodeEncodeError:
        raise InvalidURI(uri, "it has a lone surrogate, which is no character") from None
    return WebSocketURI(secure, host, port, path, query, username, password)


def _parse_scheme(uri: str, scheme: str | None) -> bool:
    lower = (scheme or "").lower()
    if lower in _OTHER_SCHEMES:
        raise InvalidURI(uri, f'use "{_OTHER_SCHEMES[lower]}://" instead of "{lower}://"')
    if lower not in ("ws", "wss"):
        raise InvalidURI(uri, 'it has to start with "ws://", or with "wss://" for TLS')
    return lower == "wss"


def _parse_user_info(uri: str, user_info: str) -> tuple[str, str]:
    username, colon, password = user_info.partition(":")
    if not colon:
        raise InvalidURI(uri, 'it has a user name without a password; write "user:password@", or "user:@"')
    try:
        username = urllib.parse.unquote(username, errors="strict")
        password = urllib.parse.unquote(password, errors="strict")
        f"{username}{password}".encode()
    except UnicodeError:
        raise InvalidURI(uri, "user name or password is not UTF-8") from None
    if ":" in username:  # RFC 7617 2
        raise InvalidURI(uri, 'a user name for Basic authentication cannot have a ":"')
    return username, password


def _parse_host_port(uri: str, host_port: str, secure: bool) -> tuple[str, int]:
    match = _HOST_PORT.fullmatch(host_port)
    if match is None:
        raise InvalidURI(
            uri, f'"{_part(host_port)}" is not a host and a port; an IPv6 address stands in brackets'
        )
    if match["ipv6"] is not None:
        host = _parse_ipv6(uri, match["ipv6"])
    elif match["name"]:
        host = _parse_host_name(uri, match["name"])
    else:
        raise InvalidURI(uri, 'the host is missing; write "ws://localhost/" for this machine')
    digits = match["port"] or ""
    if not digits:
        return host, _DEFAULT_PORTS[secure]  # RFC 3986 3.2.3: an empty port is the default one
    significant = digits.lstrip("0")  # RFC 3986 3.2.3: any number of digits
    if not (re.fullmatch("[0-9]{1,5}", significant) and int(significant) <= 65535):
        raise InvalidURI(uri, f'the port "{_part(digits)}" is not a number from 1 to 65535')
    return host, int(significant)


def _parse_ipv6(uri: str, address: str) -> str:
    # RFC 6874 2: "%25" separates the zone; people write a bare "%".
    address, percent, zone = address.replace("%25", "%", 1).partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise InvalidURI(uri, f'"[{_part(address)}]" is not an IPv6 address') from None
    if percent and not re.fullmatch(r"[A-Za-z0-9._~-]+", zone):
        raise InvalidURI(uri, f'"{_part(zone)}" is not the zone of an IPv6 address')
    return address.lower() + percent + zone


def _parse_host_name(uri: str, name: str) -> str:
    try:
        name = urllib.parse.unquote(name, errors="strict")  # RFC 3986 3.2.2: in UTF-8
        if len(name) > _MAX_NAME_SIZE:
            raise InvalidURI(uri, f"a host name of {len(name)} characters is too long")
        if not name.isascii():
            name = ".".join(_to_ascii(uri, label) for label in _DOTS.split(name))
        # The codec checks that no label is empty or longer than 63 characters, as the resolver will.
        host = name.encode("idna").decode("ascii").lower()
        if len(host) > _MAX_NAME_SIZE:  # the "xn--" form is longer
            raise InvalidURI(uri, f"a host name of {len(host)} characters is too long")
    except UnicodeError:
        raise InvalidURI(uri, f'"{_part(name)}" is not a host name') from None
    if not _HOST_NAME.fullmatch(host):
        raise InvalidURI(uri, f'"{_part(name)}" is not a host name')
    return host


def _to_ascii(uri: str, label: str) -> str:
    """Return a label in the form that the DNS takes, if IDNA 2003, IDNA 2008 and browsers (UTS 46) agree about it.

    Raises:
        InvalidURI: they do not agree.
        UnicodeError: no host can have this label.
    """
    if label.isascii():
        return label
    parts = _DEVIATIONS.split(label.replace("\u1e9e", "\u00df"))  # U+1E9E is the capital of U+00DF
    prepared = [part if _DEVIATIONS.match(part) else encodings.idna.nameprep(part) for part in parts]
    # IDNA 2003 knows Unicode 3.2 only, so it has no lower case for newer letters.
    folded = [
        part if _DEVIATIONS.match(part) else unicodedata.normalize("NFKC", part.casefold())
        for part in prepared
    ]
    if folded != prepared or _JOINERS.search(label):
        raise InvalidURI(
            uri, f'"{_part(label)}" is one host in IDNA 2003 and another in IDNA 2008; write its "xn--" form'
        )
    text = unicodedata.normalize("NFC", "".join(prepared))
    if text.isascii():
        return text
    if text.startswith("xn--"):
        raise UnicodeError("an ACE label with characters beyond ASCII")
    return "xn--" + text.encode("punycode").decode("ascii")


def _part(text: str) -> str:
    return shown(text, 60)
