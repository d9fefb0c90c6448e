"""A server's opening handshake (RFC 6455 4.2)."""

from __future__ import annotations

import http
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import h11

from .. import deflate
from ..deflate import Agreement, Compression
from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidState,
    InvalidUpgrade,
    SecurityError,
)
from ..headers import parse_extensions, parse_tokens, parse_upgrade
from ..http import Headers, HeadersLike, Request, Response
from ..printable import shown
from .date import date_now
from .messages import (
    MAX_EARLY_SIZE,
    MAX_HEAD_SIZE,
    MAX_HEADERS,
    SERVER,
    SHOWN_SIZE,
    VERSION,
    Problem,
    accept_value,
    check_connection,
    check_n_headers,
    check_status,
    checked_subprotocols,
    closed_early,
    has_body,
    head_too_large,
    is_host,
    malformed,
    next_event,
    not_http,
    to_request,
    to_wire,
)
from .usual import read_request, write_response

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ServerHandshake"]

SelectSubprotocol: TypeAlias = Callable[[Sequence[str]], str | None]

# 4.2.1: the value decodes to 16 bytes: 21 characters of 6 bits, and one for the last 2 bits. The lower 4 bits of that
# one may have any value: decoders ignore them (RFC 4648 3.5), and in the example of 4.1 some of them are set.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")

_HTTP_1_1_OR_HIGHER = re.compile(r"HTTP/1\.[1-9]")

# RFC 9112 4: reason-phrase = 1*( HTAB / SP / VCHAR / obs-text ); it may be missing.
_REASON_PHRASE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# The status for each error; the first row that fits counts (4.2.1, 4.2.2, 4.4; RFC 9110 15.5, 15.6).
_STATUSES: tuple[tuple[type[InvalidHandshake], http.HTTPStatus], ...] = (
    (SecurityError, http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (InvalidProtocol, http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
    (InvalidMethod, http.HTTPStatus.METHOD_NOT_ALLOWED),
    (InvalidUpgrade, http.HTTPStatus.UPGRADE_REQUIRED),
    (InvalidOrigin, http.HTTPStatus.FORBIDDEN),
    (InvalidHandshake, http.HTTPStatus.BAD_REQUEST),
)


class ServerHandshake:
    """A server's opening handshake (RFC 6455 4.2).

    ``origins``: the accepted values, as text or as patterns for the whole value. None in the list accepts requests
    without ``Origin``; None instead of a list accepts all. ``subprotocols``: the supported ones. The client's first
    offer that is supported is chosen. If there is none, the connection opens without a subprotocol (4.2.2).
    ``select_subprotocol`` chooses instead: it gets the list of offers, which may be empty, and returns one or None.
    It may raise ``NegotiationError`` to refuse. ``compression``: the settings to agree to (RFC 7692); the attribute
    ``compression`` holds the result. ``server_header``: None sends none. ``max_head_size``: bytes of the request's
    head, for a host with a limit of its own; a larger head is answered with 431.

    Raises:
        ValueError: an origin has a "*", or an argument has a value that cannot be sent.
        TypeError: ``origins`` or ``subprotocols`` is one value instead of a list, or a value is no text.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_compression",
        "_empty_line",
        "_first",
        "_head",
        "_head_size",
        "_http",
        "_is_answered",
        "_max_head_size",
        "_may_switch",
        "_origins",
        "_problem",
        "_select_subprotocol",
        "_server_header",
        "_subprotocols",
        "_to_send",
        "_trailing",
        "accepted",
        "compression",
        "request",
        "response_due",
        "subprotocol",
    )

    def __init__(
        self,
        *,
        origins: Sequence[str | re.Pattern[str] | None] | None = None,
        subprotocols: Sequence[str] | None = None,
        select_subprotocol: SelectSubprotocol | None = None,
        compression: Compression = None,
        server_header: str | None = SERVER,
        max_head_size: int = MAX_HEAD_SIZE,
    ) -> None:
        if isinstance(origins, str | re.Pattern):
            raise TypeError("origins is a list; one origin is a list of one")
        for origin in origins or ():
            if isinstance(origin, str) and "*" in origin:
                raise ValueError(
                    f'origins has {origin!r}, and no browser sends a "*": leave origins out, or None, to accept all; '
                    "a compiled pattern accepts some"
                )
        if server_header is not None:  # a mistake in it is raised now, and not at the first request
            server_header = Headers(Server=server_header)["Server"]
        self._origins = origins
        self._subprotocols = checked_subprotocols(subprotocols)
        self._select_subprotocol = select_subprotocol
        self._compression = deflate.settings(compression)
        self._server_header = server_header
        self._max_head_size = max_head_size
        self._begin()

    def another(self) -> ServerHandshake:
        """Return a new handshake with the same settings: they need not be checked for each connection."""
        made = type(self).__new__(type(self))
        made._origins = self._origins
        made._subprotocols = self._subprotocols
        made._select_subprotocol = self._select_subprotocol
        made._compression = self._compression
        made._server_header = self._server_header
        made._max_head_size = self._max_head_size
        made._begin()
        return made

    def _begin(self) -> None:
        self.request: Request | None = None
        """The request, when its head is complete."""
        self.response_due: Response | None = None
        """The response to a request that could not be read; ``request`` may be None then."""
        self.subprotocol: str | None = None
        """The subprotocol that ``accept`` chose, or None."""
        self.compression: Agreement | None = None
        """The agreement about compression that ``accept`` made, or None."""
        self.accepted = False
        """True when the response that opens the connection was sent."""
        self._problem: Problem | None = None
        self._http: h11.Connection | None = None  # made when it is needed
        self._head = b""  # the request's, if it was read without h11
        self._is_answered = False
        self._empty_line = b"\r\n"  # the missing bytes of an empty line before the request
        self._first = b""
        self._head_size = 0
        self._may_switch = False  # True when accept() found no fault
        self._to_send = b""
        self._trailing: bytearray | None = None

    @property
    def error(self) -> InvalidHandshake | None:
        """The fault of the request as an exception, a new one each time; None if there is none."""
        return None if self._problem is None else cast("InvalidHandshake", self._problem.exception())

    # Receiving

    @property
    def trailing_data(self) -> bytes:
        """The bytes after the request, if the client did not wait for the response."""
        return bytes(self._trailing or b"")

    def take_trailing_data(self) -> bytes:
        """Return ``trailing_data`` and forget it: a connection lives longer than its handshake."""
        data, self._trailing = bytes(self._trailing or b""), None
        return data

    def receive_data(self, chunk: Buffer) -> None:
        """Take received bytes, in chunks of any size."""
        data = bytes(memoryview(chunk))
        if self.request is None and self._problem is None and data:
            try:
                data = self._read_head(data)
            except InvalidHandshake as error:
                self._fail(error)
        if data and self.request is not None and self._problem is None:
            self._keep(data)

    def receive_eof(self) -> None:
        """Note that the client closed the connection."""
        if self.request is None and self._problem is None:
            how = "before its request was complete" if self._first else "without a request"
            self._problem = Problem(closed_early(f"the client closed the connection {how}"))

    def _read_head(self, data: bytes) -> bytes:
        """Read the request from ``data``; return the bytes after it."""
        data = self._without_empty_line(data)
        if not data:
            return b""
        piece = data[: self._max_head_size - self._head_size]
        if self._http is None:
            usual = read_request(piece, MAX_HEADERS)
            if usual is not None:
                self.request, size = usual
                self._head = piece[:size]
                return data[size:]
            self._http = h11.Connection(h11.SERVER, self._max_head_size)
        self._head_size += len(piece)
        if len(self._first) < SHOWN_SIZE:
            self._first += piece[: SHOWN_SIZE - len(self._first)]
        self._http.receive_data(piece)
        try:
            event = next_event(self._http)
        except h11.RemoteProtocolError as error:
            if self._first[0] < 0x20:
                raise not_http("client", self._first) from error
            raise malformed("request", error) from error
        if event is None:
            if self._head_size == self._max_head_size:
                raise head_too_large("request", self._max_head_size)
            return b""
        check_n_headers(event, "request")
        self.request = to_request(event)
        return self._http.trailing_data[0] + data[len(piece) :]

    def _without_empty_line(self, data: bytes) -> bytes:
        """Return ``data`` without an empty line before the request (RFC 9112 2.2: "SHOULD ignore at least one")."""
        if self._empty_line == b"\r\n" and data.startswith(b"\r"):
            data, self._empty_line = data[1:], b"\n"
        if data and self._empty_line:
            if data.startswith(b"\n"):
                data = data[1:]
            elif self._empty_line == b"\n":
                data = b"\r" + data  # this CR ends no line, so it belongs to the request
            self._empty_line = b""
        return data

    def _keep(self, data: bytes) -> None:
        assert self.request is not None
        if has_body(self.request.headers):
            return  # accept() refuses it
        if self._trailing is None:
            self._trailing = bytearray()
        room = MAX_EARLY_SIZE - len(self._trailing)
        self._trailing += data[:room]
        if len(data) > room and not self.accepted:
            self._fail(
                InvalidMessage(
                    f"the client sent more than {MAX_EARLY_SIZE} bytes without waiting for the response"
                )
            )

    def _fail(self, error: InvalidHandshake) -> None:
        self._problem = Problem(error)
        self.response_due = self._error_response(error)

    # Answering

    def accept(self, select_subprotocol: SelectSubprotocol | None = None) -> Response:
        """Check the request (4.2.1) and return the response to it (4.2.2), for ``send_response``.

        A 101 opens the connection. Any other response refuses; then ``error`` has the reason. ``select_subprotocol``
        replaces the function of the constructor for this call. It is not kept, so it may refer to the connection.

        Raises:
            InvalidState: there is no request yet.
            ValueError: ``select_subprotocol`` returned a subprotocol that the client did not offer.
            Exception: ``select_subprotocol`` raised it, and it is no ``InvalidHandshake``.
        """
        if self.response_due is not None:
            return self.response_due
        if self.request is None:
            raise InvalidState("there is no request to accept yet")
        try:
            key = self._check_request(self.request)
            select = select_subprotocol or self._select_subprotocol
            self.subprotocol = self._choose_subprotocol(self.request.headers, select)
        except InvalidHandshake as error:
            self._problem = Problem(error)
            return self._error_response(error)
        self._may_switch = True
        headers = [
            ("Date", date_now()),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_value(key)),
        ]
        if self.subprotocol is not None:
            headers.append(("Sec-WebSocket-Protocol", self.subprotocol))
        if self.compression is not None:
            headers.append(("Sec-WebSocket-Extensions", self.compression.response))
        if self._server_header is not None:
            headers.append(("Server", self._server_header))
        return Response(101, "Switching Protocols", Headers.checked(headers))

    def _check_request(self, request: Request) -> str:
        """Check the request by the rules of 4.2.1 and return its key; raise ``InvalidHandshake`` if it fails."""
        headers = request.headers
        if not self._head:  # else read_request() has read it, and all of this is so
            self._check_usual(request)
        hosts = headers.get_all("Host")  # at most one: h11 checks that
        if not hosts:
            raise InvalidHeader("Host")
        if not is_host(hosts[0]):
            raise InvalidHeaderValue("Host", hosts[0])
        # 4.2.1, items 3 and 4: "containing"; a client may also offer other protocols (RFC 9110 7.8).
        upgrade = headers.get_all("Upgrade")
        if upgrade != ["websocket"]:  # else there is nothing to parse
            protocols = parse_upgrade(upgrade)
            if "websocket" not in (protocol.lower() for protocol in protocols):
                raise InvalidUpgrade("Upgrade", ", ".join(protocols) or None)
        check_connection(headers)
        versions = headers.get_all("Sec-WebSocket-Version")
        if versions != [VERSION]:
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
        if self._compression is not None:
            self.compression = deflate.accept(extensions, self._compression)
        elif extensions:
            parse_extensions(extensions)
        return keys[0]

    def _check_usual(self, request: Request) -> None:
        """Check the parts of a request that the pattern of ``usual.py`` has checked (4.2.1; RFC 9112 3)."""
        if not _HTTP_1_1_OR_HIGHER.fullmatch(request.protocol):
            raise InvalidProtocol(request.protocol)
        if request.method != "GET":
            raise InvalidMethod(request.method)
        if has_body(request.headers):
            raise InvalidMessage("a WebSocket handshake has no body")
        if not request.path.startswith("/"):
            raise InvalidMessage(f"the request is for {shown(request.path)}, which is no path")
        if "#" in request.path:  # RFC 9112 3.2: no form of a target has a fragment
            raise InvalidMessage(f"the request is for {shown(request.path)}, which has a fragment")

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

    def _choose_subprotocol(self, headers: Headers, select: SelectSubprotocol | None) -> str | None:
        name = "Sec-WebSocket-Protocol"
        values = headers.get_all(name)
        offers = parse_tokens(name, values)
        if values and not offers:  # 4.3: 1#token
            raise InvalidHeaderValue(name, "")
        if select is None:
            return next((offer for offer in offers if offer in self._subprotocols), None)
        chosen = select(offers)
        if chosen is not None and chosen not in offers:
            raise ValueError(
                f"select_subprotocol returned {chosen!r}, which is none of the offers {offers!r}"
            )
        return chosen

    def reject(self, status: int, text: str, headers: HeadersLike | None = None) -> Response:
        """Return a plain text response that does not open the connection, for ``send_response``.

        ``status``: 200 to 599. ``headers`` replace ours of the same name.

        Raises:
            ValueError: ``status`` is out of range, or a header cannot be sent.
        """
        status = int(status)
        check_status(status)
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:  # a status that is not registered
            phrase = ""
        body = text.encode()
        ours = Headers()
        ours["Date"] = date_now()
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
        headers = Headers({"X-Content-Type-Options": "nosniff"})  # the text quotes the request
        if isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version":
            status = http.HTTPStatus.UPGRADE_REQUIRED  # 4.2.2, 4.4
            headers["Sec-WebSocket-Version"] = VERSION
        if status == http.HTTPStatus.UPGRADE_REQUIRED:
            # RFC 9110 15.5.22 requires Upgrade, and 7.8 requires its option in Connection.
            headers["Upgrade"] = "websocket"
            headers["Connection"] = "close, Upgrade"
        if isinstance(error, InvalidUpgrade):
            text = f"This is a WebSocket endpoint: open it with a WebSocket client.\n\n{text}"
        if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"  # RFC 9110 15.5.6
        return self.reject(status, text, headers)

    def send_response(self, response: Response) -> None:
        """Send ``response``, made by ``accept``, by ``reject`` or by the caller.

        A response that does not open the connection gets ``Date``, ``Content-Length`` and ``Connection: close`` if
        they are missing. If the client has sent too much since ``accept`` returned a 101, ``response_due`` is sent
        instead. A 101 without its ``Sec-WebSocket-Extensions`` declines compression.

        Raises:
            ValueError: the response cannot be sent.
            InvalidState: a response was sent already.
        """
        if self._is_answered:
            raise InvalidState("a response was sent already")
        opens = response.status_code == 101
        if opens and not self._may_switch:
            raise ValueError("a response with 101 is made by accept(), from a request that is right")
        if opens and self.response_due is not None:
            response, opens = self.response_due, False
        if opens and response.body:
            raise ValueError("a response with 101 has no body")
        if not opens:
            check_status(response.status_code)
        if not _REASON_PHRASE.fullmatch(response.reason_phrase):
            raise ValueError(f"reason phrase {response.reason_phrase!r} has a character that cannot be sent")
        headers = Headers(response.headers)
        extensions = headers.get_all("Sec-WebSocket-Extensions") if self.compression is not None else []
        if opens and self.compression is not None and extensions not in ([], [self.compression.response]):
            raise ValueError(
                "leave Sec-WebSocket-Extensions as accept() made it, or out: we keep to nothing else"
            )
        body = b"" if opens else self._complete(response, headers)
        written = write_response(response, headers) if opens and self._http is None else None
        self._to_send += self._written_by_h11(response, headers) + body if written is None else written
        self._is_answered = True
        self._http = None
        self._head = b""
        self.accepted = opens
        response.headers.shrink()
        if self.request is not None:
            self.request.headers.shrink()
        if not opens:
            self.subprotocol = None
        if not opens or not extensions:
            self.compression = None

    def _written_by_h11(self, response: Response, headers: Headers) -> bytes:
        """Return the head on the wire, of any response; h11 checks it."""
        if self._http is None:  # it has not seen the request
            self._http = h11.Connection(h11.SERVER, self._max_head_size)
            if self._head:
                self._http.receive_data(self._head)
                next_event(self._http)
        opens = response.status_code == 101
        kind = h11.InformationalResponse if opens else h11.Response
        try:
            event = kind(
                status_code=response.status_code,
                reason=response.reason_phrase.encode("iso-8859-1"),
                headers=to_wire(headers),
            )
        except h11.LocalProtocolError as error:
            raise ValueError(f"the response cannot be sent: {error}") from None
        if opens and self._expects_continue():
            # RFC 9110 7.8: "MUST send a 100 (Continue) response before sending a 101".
            first = self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
            return first + (self._http.send(event) or b"")
        return self._http.send(event) or b""

    def _expects_continue(self) -> bool:
        assert self.request is not None
        expectations = ",".join(self.request.headers.get_all("Expect")).lower().split(",")
        return "100-continue" in (expectation.strip(" \t") for expectation in expectations)

    def _complete(self, response: Response, headers: Headers) -> bytes:
        """Add the missing headers of a final response to ``headers``; return the body to send."""
        if "Transfer-Encoding" in headers:
            raise ValueError("leave Transfer-Encoding out: the body is sent as it is, with its length")
        size = str(len(response.body))
        has_body = response.status_code not in (204, 304)  # RFC 9110 15.3.5, 15.4.5
        if response.body and not has_body:
            raise ValueError(f"a response with {response.status_code} has no body")
        if has_body and headers.setdefault("Content-Length", size) != size:
            raise ValueError(f"Content-Length is {headers['Content-Length']}, but the body has {size} bytes")
        headers.setdefault("Date", date_now())
        if self._server_header is not None:
            headers.setdefault("Server", self._server_header)
        # RFC 9112 9.6: the adapter closes, because we read handshakes only.
        if "close" not in ",".join(headers.get_all("Connection")).lower():
            headers["Connection"] = "close"
        # RFC 9110 9.3.2: the response to HEAD has no body.
        return b"" if self.request is not None and self.request.method == "HEAD" else bytes(response.body)

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
        data, self._to_send = self._to_send, b""
        return data
