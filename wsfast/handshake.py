"""The opening handshake without I/O, for both roles (RFC 6455 4), over h11.

h11 reads and writes HTTP/1.1; what is here is the meaning: the checks of 4.1 and 4.2, the limits, the texts.

    ClientHandshake    data_to_send() -> bytes of the request; receive_data() until ``done``; then ``error``
                       is None, or the exception to raise
    ServerHandshake    receive_data() until there is a ``request`` or an ``error``; then accept() or reject(),
                       send_response(), data_to_send()

Two rules. What the peer does wrong is data (``error``), what our caller does wrong is an exception at once
and changes nothing. And memory is bounded: heads, bodies and bytes that come too early have limits, whatever
the chunks. Time limits are the adapter's.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import http
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h11

from . import deflate
from ._version import __version__
from .deflate import Agreement, Compression
from .exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
    shown,
)
from .headers import Headers, HeadersLike, is_token, parse_extensions, parse_tokens, parse_upgrade
from .uri import WebSocketURI, parse_uri

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "GUID",
    "MAX_BODY_SIZE",
    "MAX_EARLY_SIZE",
    "MAX_HEADERS",
    "MAX_HEAD_SIZE",
    "SERVER",
    "USER_AGENT",
    "ClientHandshake",
    "Request",
    "Response",
    "ServerHandshake",
    "accept_value",
]

GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What is appended to the key before it is hashed (RFC 6455 1.3)."""

MAX_HEAD_SIZE: Final = 16_384
"""Bytes of a request's or response's head: its first line, headers, and the empty line."""

MAX_HEADERS: Final = 128
"""Number of headers in a head."""

MAX_BODY_SIZE: Final = 65_536
"""Bytes that are kept of the body of a response that refuses us."""

MAX_EARLY_SIZE: Final = 65_536
"""Bytes that a client may send behind its request before it has our answer (4.1 forbids it any)."""

USER_AGENT: Final = f"Python/{sys.version_info[0]}.{sys.version_info[1]} wsfast/{__version__}"
SERVER: Final = USER_AGENT

_VERSION = "13"  # 4.1

# 4.2.1: base64 of 16 bytes: 21 characters of 6 bits, one with the last 2 bits, so that its lower 4 are zero.
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")

# 4.2.1 allows "an absolute HTTP/HTTPS URI containing the /resource name/".
_ABSOLUTE_TARGET = re.compile(r"https?://[^/?#]*(?P<rest>.*)", re.IGNORECASE)

# RFC 9110 7.2: uri-host [ ":" port ]
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::[0-9]*)?")

_HTTP_1_1_OR_HIGHER = re.compile(r"HTTP/1\.[1-9]")

# RFC 9112 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text ); it may be missing.
_REASON_PHRASE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# Headers that the handshake writes, or that would give its request a body.
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)

# How other protocols begin, and what to do about it; the first that fits.
_GREETINGS = (
    (b"\x15\x03", 'a TLS alert; it speaks TLS, so use "wss://"'),
    (b"\x16\x03", "a TLS handshake"),
    (b"SSH-", "the greeting of an SSH server; is the port right?"),
    (b"220", "the greeting of a mail or FTP server; is the port right?"),
    (b"\x00\x00", "binary data, as HTTP/2 has it; the server must speak HTTP/1.1"),
)
_GREETING_SIZE = 7  # that of a TLS alert
_SHOWN_SIZE = 60

# h11 is fed in pieces of this size when there is no smaller limit.
_PIECE_SIZE = 16_384

# What a server answers to which error, the first that fits (4.2.1, 4.2.2, 4.4; RFC 9110 15.5, 15.6).
_STATUSES: tuple[tuple[type[InvalidHandshake], http.HTTPStatus], ...] = (
    (SecurityError, http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (InvalidProtocol, http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
    (InvalidMethod, http.HTTPStatus.METHOD_NOT_ALLOWED),
    (InvalidUpgrade, http.HTTPStatus.UPGRADE_REQUIRED),
    (InvalidOrigin, http.HTTPStatus.FORBIDDEN),
    (InvalidHandshake, http.HTTPStatus.BAD_REQUEST),
)


def accept_value(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` that belongs to a ``Sec-WebSocket-Key`` (RFC 6455 4.2.2)."""
    digest = hashlib.sha1((key + GUID).encode("ascii"), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


@dataclass
class Request:
    """The request of an opening handshake. ``path`` is the resource name, with its query (RFC 6455 3)."""

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"


@dataclass
class Response:
    """The response of an opening handshake. ``body`` is empty when it accepts."""

    status_code: int
    reason_phrase: str
    headers: Headers
    body: bytes = b""


class ClientHandshake:
    """A client's opening handshake (RFC 6455 4.1).

    ``additional_headers`` go into the request as they are, instead of ours where the name is the same; those
    that make the handshake (``Upgrade``, ``Sec-WebSocket-Key``, ...) cannot be given. ``origin`` is for
    servers that ask for one. ``subprotocols``: what to offer, the preferred one first; that a server chooses
    none is no error. ``compression``: what to offer (RFC 7692), and ``compression`` of the object is what came of it.
    ``user_agent_header``: None sends none. ``random_bytes`` makes the key.

    Raises ``InvalidURI``, and ``ValueError`` or ``TypeError`` for what cannot be sent.
    """

    request: Request
    """What is sent; a change to it has no effect."""

    def __init__(
        self,
        uri: WebSocketURI | str,
        *,
        origin: str | None = None,
        subprotocols: Sequence[str] | None = None,
        compression: Compression = None,
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.uri = parse_uri(uri) if isinstance(uri, str) else uri
        self.done = False
        """True when the response is complete, or will never be."""
        self.error: InvalidHandshake | None = None
        """None, or what went wrong: the exception to raise."""
        self.response: Response | None = None
        """The final response, as soon as its head is there."""
        self.subprotocol: str | None = None
        """The subprotocol that the server chose, or None."""
        self.compression: Agreement | None = None
        """What the server agreed to, or None."""
        self._compression = deflate.settings(compression)
        self._subprotocols = _checked_subprotocols(subprotocols)
        self._key = base64.b64encode(random_bytes(16)).decode("ascii")
        extra = Headers(additional_headers) if additional_headers is not None else Headers()
        for name in extra:
            if name in _OURS:
                raise ValueError(f"leave {name} out of additional_headers: the handshake writes it")
        headers = self._handshake_headers(origin, extra)
        headers.update(extra)
        if user_agent_header is not None and "User-Agent" not in extra:
            headers["User-Agent"] = user_agent_header
        self.request = Request(self.uri.resource_name, headers)
        self._http: h11.Connection | None = h11.Connection(h11.CLIENT, MAX_HEAD_SIZE)
        self._to_send = self._serialize_request(self._http)
        self._first = b""  # of the first bytes, as many as an error text shows
        self._head_size = 0
        self._body = bytearray()
        self._trailing = bytearray()

    def _handshake_headers(self, origin: str | None, extra: Headers) -> Headers:
        headers = Headers()
        if "Host" not in extra:
            headers["Host"] = self.uri.host_header
        if self.uri.user_info is not None and "Authorization" not in extra:
            credentials = ":".join(self.uri.user_info).encode()  # RFC 7617 2, 2.1
            headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode('ascii')}"
        if origin is not None and "Origin" not in extra:
            headers["Origin"] = origin
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        headers["Sec-WebSocket-Key"] = self._key
        headers["Sec-WebSocket-Version"] = _VERSION
        if self._subprotocols:
            headers["Sec-WebSocket-Protocol"] = ", ".join(self._subprotocols)
        if self._compression is not None:
            headers["Sec-WebSocket-Extensions"] = deflate.offer(self._compression)
        return headers

    def _serialize_request(self, http_: h11.Connection) -> bytes:
        try:
            request = h11.Request(
                method=b"GET",
                target=self.request.path.encode("ascii"),
                headers=_to_wire(self.request.headers),
            )
            data = http_.send(request)
            http_.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise ValueError(f"the request cannot be sent: {error}") from None
        return data

    @property
    def trailing_data(self) -> bytes:
        """What came behind the response that opened the connection: the first frames."""
        return bytes(self._trailing)

    def data_to_send(self) -> bytes:
        """Return the bytes that are to be sent, once."""
        data, self._to_send = self._to_send, b""
        return data

    def receive_data(self, chunk: Buffer) -> None:
        """Take received bytes, in chunks of any size."""
        data = bytes(memoryview(chunk))
        if not self.done:
            try:
                self._read(data)
            except InvalidHandshake as error:
                self._end(error)
        elif self.error is None:
            self._trailing += data

    def receive_eof(self) -> None:
        """Note that the server closed the connection."""
        if self.done:
            return
        if self.response is not None:
            self._refused()  # the body ends here, whatever its length should have been
        elif self._first and not _begins_like_http(self._first):
            self._end(_not_http("server", self._first))
        else:
            how = "before its response was complete" if self._first else "without an answer"
            text = f"the server closed the connection {how}; is it a WebSocket server?"
            if not self.uri.secure and not self._first:
                text += ' If it speaks TLS, use "wss://"'
            self._end(_closed_early(text))

    def _read(self, data: bytes) -> None:
        pos = 0
        while pos < len(data) and not self.done:
            in_head = self.response is None
            piece = data[pos : pos + (MAX_HEAD_SIZE - self._head_size if in_head else _PIECE_SIZE)]
            pos += len(piece)
            if in_head:
                self._head_size += len(piece)
                if not self._is_http(piece):
                    return
            assert self._http is not None
            self._http.receive_data(piece)
            early = self._read_events(self._http)
            if self.done and self.error is None:
                self._trailing += early + data[pos:]
            elif self.response is None and self._head_size == MAX_HEAD_SIZE:
                raise _head_too_large("response", MAX_HEAD_SIZE)

    def _is_http(self, piece: bytes) -> bool:
        """Look at how the response begins. False: it is no HTTP, but too short yet to say what it is."""
        if len(self._first) < _SHOWN_SIZE:
            self._first += piece[: _SHOWN_SIZE - len(self._first)]
        if _begins_like_http(self._first):
            return True
        if len(self._first) >= _GREETING_SIZE or b"\n" in self._first:
            raise _not_http("server", self._first)
        return False

    def _read_events(self, http_: h11.Connection) -> bytes:
        """Work through what h11 makes of the bytes it has; return those behind a 101."""
        while not self.done:
            try:
                event = http_.next_event()
            except h11.RemoteProtocolError as error:
                if self.response is None:
                    raise _malformed("response", error) from error
                self._refused()  # the status says enough, even if the body is broken
                break
            if isinstance(event, h11.InformationalResponse):
                _check_n_headers(event, "response")
                # RFC 9110 15.2: a client has to read past any other 1xx.
                if event.status_code == 101:
                    self.response = _to_response(event)
                    self._check_response(self.response, event.http_version)
                    early = http_.trailing_data[0]
                    self._end(None)
                    return early
            elif isinstance(event, h11.Response):
                _check_n_headers(event, "response")
                self.response = _to_response(event)
            elif isinstance(event, h11.Data):
                self._body += event.data[: MAX_BODY_SIZE - len(self._body)]
                if len(self._body) == MAX_BODY_SIZE:
                    self._refused()
            elif isinstance(event, h11.EndOfMessage):
                self._refused()
            else:  # NEED_DATA
                break
        return b""

    def _refused(self) -> None:
        assert self.response is not None
        self.response.body = bytes(self._body)
        self._end(InvalidStatus(self.response))

    def _end(self, error: InvalidHandshake | None) -> None:
        self.error = _without_frames(error)
        self.done = True
        self._http = None
        self._body.clear()

    def _check_response(self, response: Response, http_version: bytes) -> None:
        """Raise unless a 101 response is what 4.1 asks for; keep the subprotocol."""
        headers = response.headers
        if http_version != b"1.1":
            raise InvalidProtocol(f"HTTP/{http_version.decode('ascii')}")
        _check_upgrade(headers)
        accepts = headers.get_all("Sec-WebSocket-Accept")
        if not accepts:
            raise InvalidHeader("Sec-WebSocket-Accept")
        if accepts != [accept_value(self._key)]:
            raise InvalidHeaderValue("Sec-WebSocket-Accept", ", ".join(accepts))
        extensions = headers.get_all("Sec-WebSocket-Extensions")
        if self._compression is not None:
            self.compression = deflate.confirm(extensions, self._compression)
        elif parsed := parse_extensions(extensions):
            # 4.1, 9.1: no extension that was not offered, and none was.
            raise NegotiationError(f"the server uses the extension {parsed[0][0]}, which was not offered")
        self.subprotocol = self._check_subprotocol(headers)

    def _check_subprotocol(self, headers: Headers) -> str | None:
        name = "Sec-WebSocket-Protocol"
        values = headers.get_all(name)
        if not values:
            return None
        chosen = parse_tokens(name, values)
        # 4.2.2, 11.3.4: one header with one subprotocol.
        if len(values) > 1 or len(chosen) != 1:
            raise InvalidHeaderValue(name, ", ".join(values))
        # 4.1: "a subprotocol that was not present in the client's handshake"; case matters.
        if chosen[0] not in self._subprotocols:
            raise NegotiationError(f"the server chose the subprotocol {chosen[0]}, which was not offered")
        return chosen[0]


class ServerHandshake:
    """A server's opening handshake (RFC 6455 4.2).

    ``origins``: those to accept, as text or patterns for all of it; None in the list accepts requests without
    ``Origin``, None instead of a list accepts all. ``subprotocols``: those supported. Of the client's offers,
    in the client's order, the first one that is supported is chosen; if none is, the connection is opened
    without one (4.2.2). ``select_subprotocol`` chooses instead: from the list of offers, which may be empty,
    one or None; it may raise ``NegotiationError`` to refuse. ``compression``: what to agree to (RFC 7692), and
    ``compression`` of the object is what came of it. ``server_header``: None sends none. ``max_head_size``: bytes of
    the request's head, more is answered with 431; for a host that has a limit of its own.
    """

    def __init__(
        self,
        *,
        origins: Sequence[str | re.Pattern[str] | None] | None = None,
        subprotocols: Sequence[str] | None = None,
        select_subprotocol: Callable[[Sequence[str]], str | None] | None = None,
        compression: Compression = None,
        server_header: str | None = SERVER,
        max_head_size: int = MAX_HEAD_SIZE,
    ) -> None:
        if isinstance(origins, str | re.Pattern):
            raise TypeError("origins is a list; one origin is a list of one")
        if server_header is not None:
            Headers(Server=server_header)  # raises what is wrong with it, now and not at the first request
        self.request: Request | None = None
        """The request, as soon as its head is complete."""
        self.error: InvalidHandshake | None = None
        """None, or what is wrong with the request."""
        self.response_due: Response | None = None
        """What to answer to a request that could not be read; ``request`` may be None then."""
        self.subprotocol: str | None = None
        """The subprotocol that ``accept`` chose, or None."""
        self.compression: Agreement | None = None
        """What ``accept`` agreed to of the client's offers, or None."""
        self.accepted = False
        """True when a response that opens the connection was sent."""
        self._origins = origins
        self._subprotocols = _checked_subprotocols(subprotocols)
        self._select_subprotocol = select_subprotocol
        self._compression = deflate.settings(compression)
        if self._compression is not None:
            deflate.check_server(self._compression)
        self._server_header = server_header
        self._max_head_size = max_head_size
        self._http: h11.Connection | None = h11.Connection(h11.SERVER, max_head_size)
        self._first = b""
        self._head_size = 0
        self._may_switch = False  # accept() found nothing wrong
        self._to_send = b""
        self._trailing = bytearray()

    # Receiving

    @property
    def trailing_data(self) -> bytes:
        """What came behind the request, of a client that did not wait for the response."""
        return bytes(self._trailing)

    def receive_data(self, chunk: Buffer) -> None:
        """Take received bytes, in chunks of any size."""
        data = bytes(memoryview(chunk))
        if self.request is None and self.error is None and data:
            try:
                data = self._read_head(data)
            except InvalidHandshake as error:
                self._fail(error)
        if self.request is not None and self.error is None:
            self._keep(data)

    def receive_eof(self) -> None:
        """Note that the client closed the connection."""
        if self.request is None and self.error is None:
            how = "before its request was complete" if self._first else "without a request"
            self.error = _closed_early(f"the client closed the connection {how}")

    def _read_head(self, data: bytes) -> bytes:
        """Read the request from ``data``; return what comes behind it."""
        assert self._http is not None
        piece = data[: self._max_head_size - self._head_size]
        self._head_size += len(piece)
        if len(self._first) < _SHOWN_SIZE:
            self._first += piece[: _SHOWN_SIZE - len(self._first)]
        self._http.receive_data(piece)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            if self._first[0] < 0x20:
                raise _not_http("client", self._first) from error
            raise _malformed("request", error) from error
        if not isinstance(event, h11.Request):  # NEED_DATA
            if self._head_size == self._max_head_size:
                raise _head_too_large("request", self._max_head_size)
            return b""
        _check_n_headers(event, "request")
        self.request = _to_request(event)
        return self._http.trailing_data[0] + data[len(piece) :]

    def _keep(self, data: bytes) -> None:
        assert self.request is not None
        if _has_body(self.request.headers):
            return  # accept() refuses it
        room = MAX_EARLY_SIZE - len(self._trailing)
        self._trailing += data[:room]
        if len(data) > room and not self.accepted:
            self._fail(
                InvalidMessage(
                    f"the client sent more than {MAX_EARLY_SIZE} bytes without waiting for the response"
                )
            )

    def _fail(self, error: InvalidHandshake) -> None:
        self.error = _without_frames(error)
        self.response_due = self._error_response(error)

    # Answering

    def accept(self) -> Response:
        """Check the request (4.2.1) and return the response to it (4.2.2), for ``send_response``.

        A 101 opens the connection. Anything else refuses; then ``error`` says why.

        Raises ``InvalidState`` before there is a request, ``ValueError`` when ``select_subprotocol`` returned
        what was not offered, and whatever else that raised.
        """
        if self.response_due is not None:
            return self.response_due
        if self.request is None:
            raise InvalidState("there is no request to accept yet")
        try:
            key = self._check_request(self.request)
            self.subprotocol = self._choose_subprotocol(self.request.headers)
        except InvalidHandshake as error:
            self.error = _without_frames(error)
            return self._error_response(error)
        self._may_switch = True
        headers = Headers()
        headers["Date"] = email.utils.formatdate(usegmt=True)
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        headers["Sec-WebSocket-Accept"] = accept_value(key)
        if self.subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = self.subprotocol
        if self.compression is not None:
            headers["Sec-WebSocket-Extensions"] = self.compression.response
        if self._server_header is not None:
            headers["Server"] = self._server_header
        return Response(101, "Switching Protocols", headers)

    def _check_request(self, request: Request) -> str:
        """Raise unless the request is what 4.2.1 asks for; return its key."""
        headers = request.headers
        if not _HTTP_1_1_OR_HIGHER.fullmatch(request.protocol):
            raise InvalidProtocol(request.protocol)
        if request.method != "GET":
            raise InvalidMethod(request.method)
        if _has_body(headers):
            raise InvalidMessage("a WebSocket handshake has no body")
        if not request.path.startswith("/"):
            raise InvalidMessage(f"the request is for {shown(request.path)}, which is no path")
        hosts = headers.get_all("Host")  # not more than one: h11 sees to that
        if not hosts:
            raise InvalidHeader("Host")
        if not _HOST.fullmatch(hosts[0]):
            raise InvalidHeaderValue("Host", hosts[0])
        _check_upgrade(headers)
        versions = headers.get_all("Sec-WebSocket-Version")
        if versions != [_VERSION]:
            raise InvalidHeaderValue("Sec-WebSocket-Version", ", ".join(versions) if versions else None)
        keys = headers.get_all("Sec-WebSocket-Key")
        if not keys:
            raise InvalidHeader("Sec-WebSocket-Key")
        # 11.3.1: not more than once.
        if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
            raise InvalidHeaderValue("Sec-WebSocket-Key", ", ".join(keys))
        self._check_origin(headers.get_all("Origin"))
        # 9.1: a header that does not follow the grammar fails the handshake, even if we use no extension.
        extensions = headers.get_all("Sec-WebSocket-Extensions")
        if self._compression is None:
            parse_extensions(extensions)
        else:
            self.compression = deflate.accept(extensions, self._compression)
        return keys[0]

    def _check_origin(self, values: list[str]) -> None:
        if len(values) > 1:  # RFC 6454 7.3
            raise InvalidHeaderValue("Origin", ", ".join(values))
        if self._origins is None:
            return
        origin = values[0] if values else None
        for allowed in self._origins:
            if isinstance(allowed, re.Pattern):
                if origin is not None and allowed.fullmatch(origin):
                    return
            elif allowed == origin:
                return
        raise InvalidOrigin(origin)

    def _choose_subprotocol(self, headers: Headers) -> str | None:
        name = "Sec-WebSocket-Protocol"
        values = headers.get_all(name)
        offers = parse_tokens(name, values)
        if values and not offers:  # 4.3: 1#token
            raise InvalidHeaderValue(name, "")
        if self._select_subprotocol is None:
            return next((offer for offer in offers if offer in self._subprotocols), None)
        chosen = self._select_subprotocol(offers)
        if chosen is not None and chosen not in offers:
            raise ValueError(
                f"select_subprotocol returned {chosen!r}, which is none of the offers {offers!r}"
            )
        return chosen

    def reject(self, status: int, text: str, headers: HeadersLike | None = None) -> Response:
        """Return a plain text response that does not open the connection, for ``send_response``.

        ``status``: 200 to 599, else ``ValueError``. ``headers`` take the place of ours of the same name.
        """
        status = int(status)
        _check_status(status)
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:  # one that nobody has registered
            phrase = ""
        body = text.encode()
        ours = Headers()
        ours["Date"] = email.utils.formatdate(usegmt=True)
        ours["Connection"] = "close"
        ours["Content-Length"] = str(len(body))
        ours["Content-Type"] = "text/plain; charset=utf-8"
        if self._server_header is not None:
            ours["Server"] = self._server_header
        theirs = Headers(headers) if headers is not None else Headers()
        for name in theirs:
            ours.pop(name, None)
        ours.update(theirs)
        return Response(status, phrase, ours, body)

    def _error_response(self, error: InvalidHandshake) -> Response:
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        text = f"The WebSocket handshake failed: {error}.\n"
        headers = Headers()
        if isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version":
            status = http.HTTPStatus.UPGRADE_REQUIRED  # 4.2.2, 4.4
            headers["Sec-WebSocket-Version"] = _VERSION
        if status == http.HTTPStatus.UPGRADE_REQUIRED:
            # RFC 9110 15.5.22 wants Upgrade, and 7.8 its option in Connection.
            headers["Upgrade"] = "websocket"
            headers["Connection"] = "close, Upgrade"
        if isinstance(error, InvalidUpgrade):
            text = f"This is a WebSocket endpoint: open it with a WebSocket client.\n\n{text}"
        if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"  # RFC 9110 15.5.6
        return self.reject(status, text, headers)

    def send_response(self, response: Response) -> None:
        """Send ``response``, of ``accept``, ``reject`` or the caller's own making.

        One that does not open the connection is completed with ``Date``, ``Content-Length`` and ``Connection:
        close`` where they are missing. If the client has sent too much since ``accept`` returned a 101,
        ``response_due`` goes out instead. A 101 without its ``Sec-WebSocket-Extensions`` declines compression.

        Raises ``ValueError`` for one that cannot be sent, ``InvalidState`` when one was sent already.
        """
        if self._http is None:
            raise InvalidState("a response was sent already")
        opens = response.status_code == 101
        if opens and not self._may_switch:
            raise ValueError("a response with 101 is made by accept(), from a request that is right")
        if opens and self.response_due is not None:
            response, opens = self.response_due, False
        if opens and response.body:
            raise ValueError("a response with 101 has no body")
        if not opens:
            _check_status(response.status_code)
        if not _REASON_PHRASE.fullmatch(response.reason_phrase):
            raise ValueError(f"reason phrase {response.reason_phrase!r} has a character that cannot be sent")
        headers = Headers(response.headers)
        extensions = headers.get_all("Sec-WebSocket-Extensions")
        if opens and self.compression is not None and extensions not in ([], [self.compression.response]):
            raise ValueError(
                "leave Sec-WebSocket-Extensions as accept() made it, or out: we keep to nothing else"
            )
        body = b"" if opens else self._complete(response, headers)
        kind = h11.InformationalResponse if opens else h11.Response
        try:
            event = kind(
                status_code=response.status_code,
                reason=response.reason_phrase.encode("iso-8859-1"),
                headers=_to_wire(headers),
            )
        except h11.LocalProtocolError as error:
            raise ValueError(f"the response cannot be sent: {error}") from None
        self._to_send += self._http.send(event) + body
        self._http = None
        self._select_subprotocol = (
            None  # the caller's function often knows the connection, and would keep it alive
        )
        self.accepted = opens
        if not opens:
            self.subprotocol = None
        if not opens or not extensions:
            self.compression = None

    def _complete(self, response: Response, headers: Headers) -> bytes:
        """Add to ``headers`` what a final response needs; return the body as it is sent."""
        if "Transfer-Encoding" in headers:
            raise ValueError("leave Transfer-Encoding out: the body is sent as it is, with its length")
        size = str(len(response.body))
        has_body = response.status_code not in (204, 304)  # RFC 9110 15.3.5, 15.4.5
        if response.body and not has_body:
            raise ValueError(f"a response with {response.status_code} has no body")
        if has_body and headers.setdefault("Content-Length", size) != size:
            raise ValueError(f"Content-Length is {headers['Content-Length']}, but the body has {size} bytes")
        headers.setdefault("Date", email.utils.formatdate(usegmt=True))
        if self._server_header is not None:
            headers.setdefault("Server", self._server_header)
        # RFC 9112 9.6: the adapter closes, since we read nothing but handshakes.
        if "close" not in ",".join(headers.get_all("Connection")).lower():
            headers["Connection"] = "close"
        # RFC 9110 9.3.2: the response to HEAD is a head.
        return b"" if self.request is not None and self.request.method == "HEAD" else bytes(response.body)

    def data_to_send(self) -> bytes:
        """Return the bytes that are to be sent, once."""
        data, self._to_send = self._to_send, b""
        return data


# Shared by both roles


def _without_frames(error: InvalidHandshake | None) -> InvalidHandshake | None:
    """Return ``error`` fit to be kept: its tracebacks, and its causes', would keep everything else alive."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _check_upgrade(headers: Headers) -> None:
    """Raise unless ``Upgrade`` is websocket and ``Connection`` has upgrade among its options (4.1, 4.2.1)."""
    protocols = parse_upgrade(headers.get_all("Upgrade"))
    if [protocol.lower() for protocol in protocols] != ["websocket"]:
        raise InvalidUpgrade("Upgrade", ", ".join(protocols) or None)
    options = parse_tokens("Connection", headers.get_all("Connection"))
    if "upgrade" not in (option.lower() for option in options):
        raise InvalidUpgrade("Connection", ", ".join(options) or None)


def _checked_subprotocols(subprotocols: Sequence[str] | None) -> tuple[str, ...]:
    """Return what our caller gave as subprotocols, or raise (4.1: tokens, all of them unique)."""
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols is a list; one subprotocol is a list of one")
    checked = tuple(subprotocols or ())
    for subprotocol in checked:
        if not is_token(subprotocol):
            raise ValueError(f"subprotocol {subprotocol!r} is not a token: no spaces, commas or slashes")
    if len(set(checked)) != len(checked):
        raise ValueError(f"subprotocols has one of them twice: {checked!r}")
    return checked


def _check_status(status: int) -> None:
    if not 200 <= status <= 599:
        raise ValueError(f"status {status} does not end a handshake; it has to be from 200 to 599")


def _has_body(headers: Headers) -> bool:
    """Tell whether a request has a body (RFC 9112 6.3); h11 has checked these headers."""
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0").strip("0") != ""


def _to_wire(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("iso-8859-1")) for name, value in headers.raw_items()]


def _to_request(event: h11.Request) -> Request:
    path = event.target.decode("ascii")
    if absolute := _ABSOLUTE_TARGET.fullmatch(path):
        rest = absolute["rest"]
        path = rest if rest.startswith("/") else f"/{rest}"
    protocol = f"HTTP/{event.http_version.decode('ascii')}"
    return Request(path, Headers.from_wire(event.headers.raw_items()), event.method.decode("ascii"), protocol)


def _to_response(event: h11.InformationalResponse | h11.Response) -> Response:
    headers = Headers.from_wire(event.headers.raw_items())
    return Response(event.status_code, event.reason.decode("iso-8859-1"), headers)


def _check_n_headers(event: h11.Request | h11.InformationalResponse | h11.Response, what: str) -> None:
    if len(event.headers) > MAX_HEADERS:
        raise SecurityError(f"the {what} has {len(event.headers)} headers, more than {MAX_HEADERS}")


def _head_too_large(what: str, max_head_size: int) -> SecurityError:
    return SecurityError(f"the head of the {what} is larger than {max_head_size} bytes")


def _malformed(what: str, error: Exception) -> InvalidMessage:
    return InvalidMessage(f"the {what} is not valid HTTP: {shown(str(error))}")


def _begins_like_http(first: bytes) -> bool:
    return first[:5] == b"HTTP/"[: len(first)]


def _not_http(peer: str, first: bytes) -> InvalidMessage:
    """Say what came instead of HTTP, from its ``first`` bytes."""
    if peer == "client" and first.startswith(b"\x16"):
        text = "a TLS handshake, and there is no TLS here; use ws://, or give the server a certificate"
    elif peer == "client":
        text = "something else"
    else:
        known = (text for start, text in _GREETINGS if first.startswith(start))
        text = next(known, "something else; is the port right?")
    return InvalidMessage(f"the {peer} does not speak HTTP: it began with {text} ({first!r})")


def _closed_early(text: str) -> InvalidMessage:
    error = InvalidMessage(text)
    error.__cause__ = EOFError("connection closed")  # by which an adapter knows what is worth another attempt
    return error
