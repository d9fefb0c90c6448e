"""The common parts of both roles of the opening handshake: requests, responses, limits and checks (RFC 6455 4).

This file does not know for which role it works, and it keeps no state.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import h11

from .._version import __version__
from ..exceptions import InvalidMessage, InvalidUpgrade, SecurityError
from ..headers import parse_tokens
from ..http import Headers, Request, Response, is_token
from ..printable import shown

GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The text that is appended to the key before hashing (RFC 6455 1.3)."""

MAX_HEAD_SIZE: Final = 16_384
"""Largest head of a request or response, in bytes: its first line, headers, and the empty line."""

MAX_HEADERS: Final = 128
"""Largest number of headers in a head."""

MAX_BODY_SIZE: Final = 65_536
"""Bytes that we keep of the body when a response refuses us."""

MAX_EARLY_SIZE: Final = 65_536
"""Bytes that a client may send after its request and before our answer (4.1 forbids it any)."""

USER_AGENT: Final = f"Python/{sys.version_info[0]}.{sys.version_info[1]} wsfast/{__version__}"
SERVER: Final = USER_AGENT

VERSION = "13"  # 4.1

# 4.2.1 allows "an absolute HTTP/HTTPS URI containing the /resource name/".
_ABSOLUTE_TARGET = re.compile(r"https?://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE)

# RFC 9110 7.2: uri-host [ ":" port ]; http has no empty host (4.2.1).
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::[0-9]*)?")

# The first bytes of other protocols, and the advice for each. The first row that fits counts.
_GREETINGS = (
    (b"\x15\x03", 'a TLS alert; it speaks TLS, so use "wss://"'),
    (b"\x16\x03", "a TLS handshake"),
    (b"SSH-", "the greeting of an SSH server; is the port right?"),
    (b"220", "the greeting of a mail or FTP server; is the port right?"),
    (b"\x00\x00", "binary data, as HTTP/2 has it; the server must speak HTTP/1.1"),
)
# Bytes that an error shows if they are not HTTP.
SHOWN_SIZE = 60


def accept_value(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key`` (RFC 6455 4.2.2)."""
    digest = hashlib.sha1((key + GUID).encode("ascii"), usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


class Problem:
    """An exception to raise later: class, arguments and attributes, and those of its cause.

    The caught exception is not kept: its traceback would keep every frame alive, with all variables.
    """

    __slots__ = ("_arguments", "_attributes", "_cause", "_kind")

    def __init__(self, error: BaseException) -> None:
        self._kind = type(error)
        self._arguments = error.args
        self._attributes = vars(error).copy()
        self._cause = None if error.__cause__ is None else Problem(error.__cause__)

    def exception(self) -> BaseException:
        """Return a new exception that is equal to the caught one."""
        # Without __init__: a class of our caller may not take the arguments that it passes on.
        error = self._kind.__new__(self._kind, *self._arguments)
        vars(error).update(self._attributes)
        if self._cause is not None:
            error.__cause__ = self._cause.exception()
        return error


def check_connection(headers: Headers) -> None:
    """Raise ``InvalidUpgrade`` unless ``Connection`` has the option upgrade (4.1, 4.2.1)."""
    values = headers.get_all("Connection")
    if values == ["Upgrade"]:  # nothing to parse
        return
    options = parse_tokens("Connection", values)
    if "upgrade" not in (option.lower() for option in options):
        raise InvalidUpgrade("Connection", ", ".join(options) or None)


def checked_subprotocols(subprotocols: Sequence[str] | None) -> tuple[str, ...]:
    """Return our caller's subprotocols as a tuple; 4.1 wants tokens, all of them unique.

    Raises:
        TypeError: one ``str`` instead of a list.
        ValueError: a subprotocol that is no token, or that is there twice.
    """
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols is a list; one subprotocol is a list of one")
    checked = tuple(subprotocols or ())
    for subprotocol in checked:
        if not is_token(subprotocol):
            raise ValueError(f"subprotocol {subprotocol!r} is not a token: no spaces, commas or slashes")
    if len(set(checked)) != len(checked):
        raise ValueError(f"subprotocols has one of them twice: {checked!r}")
    return checked


def check_status(status: int) -> None:
    if not 200 <= status <= 599:
        raise ValueError(f"status {status} does not end a handshake; it has to be from 200 to 599")


def has_body(headers: Headers) -> bool:
    """Tell whether a request has a body (RFC 9112 6.3); h11 has checked these headers."""
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0").strip("0") != ""


def to_wire(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("iso-8859-1")) for name, value in headers.raw_items()]


def is_host(text: str) -> bool:
    """Tell whether ``text`` is a valid value of ``Host``: a host, with or without a port (RFC 9110 7.2)."""
    return _HOST.fullmatch(text) is not None


def to_request(event: h11.Request) -> Request:
    path, items = event.target.decode("ascii"), event.headers.raw_items()
    if absolute := _ABSOLUTE_TARGET.fullmatch(path):
        rest, authority = absolute["rest"], absolute["authority"]
        path = rest if rest.startswith("/") else f"/{rest}"
        # RFC 9112 3.2.2: then a server ignores Host. An invalid Host stays, because it fails the request (3.2).
        items = [
            (
                name,
                authority.encode() if name.lower() == b"host" and is_host(value.decode("latin-1")) else value,
            )
            for name, value in items
        ]
    protocol = f"HTTP/{event.http_version.decode('ascii')}"
    return Request(path, Headers.from_wire(items), event.method.decode("ascii"), protocol)


def to_response(event: h11.InformationalResponse | h11.Response) -> Response:
    headers = Headers.from_wire(event.headers.raw_items())
    return Response(event.status_code, event.reason.decode("iso-8859-1"), headers)


def next_event(http_: h11.Connection) -> Any:
    """Return h11's next event, or None if h11 needs more bytes.

    Raises:
        h11.RemoteProtocolError: the bytes are not valid HTTP/1.1.
    """
    try:
        event = http_.next_event()
    except h11.RemoteProtocolError as error:
        # h11 raises from a method of its own. The traceback is then a cycle that holds our frames.
        error.__traceback__ = None
        raise
    return None if event is h11.NEED_DATA else event


def check_n_headers(event: h11.Request | h11.InformationalResponse | h11.Response, what: str) -> None:
    if len(event.headers) > MAX_HEADERS:
        raise SecurityError(f"the {what} has {len(event.headers)} headers, more than {MAX_HEADERS}")


def head_too_large(what: str, max_head_size: int) -> SecurityError:
    return SecurityError(f"the head of the {what} is larger than {max_head_size} bytes")


def malformed(what: str, error: Exception) -> InvalidMessage:
    return InvalidMessage(f"the {what} is not valid HTTP: {shown(str(error))}")


def begins_like_http(first: bytes) -> bool:
    return first[:5] == b"HTTP/"[: len(first)]


def not_http(peer: str, first: bytes) -> InvalidMessage:
    """Make the error for a peer that does not speak HTTP; ``first``, its first bytes, tell the protocol."""
    if peer == "client" and first.startswith(b"\x16"):
        text = "a TLS handshake, and there is no TLS here; use ws://, or give the server a certificate"
    elif peer == "client":
        text = "something else"
    else:
        known = (text for start, text in _GREETINGS if first.startswith(start))
        text = next(known, "something else; is the port right?")
    return InvalidMessage(f"the {peer} does not speak HTTP: it began with {text} ({first!r})")


def closed_early(text: str) -> InvalidMessage:
    error = InvalidMessage(text)
    error.__cause__ = EOFError("connection closed")  # tells an adapter that another attempt may succeed
    return error
