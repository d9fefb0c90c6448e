"""A client's opening handshake (RFC 6455 4.1)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import h11

from .. import deflate
from ..deflate import Agreement, Compression
from ..exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidProtocol,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
)
from ..headers import parse_extensions, parse_tokens, parse_upgrade
from ..http import Headers, HeadersLike, Request, Response
from ..uri import WebSocketURI, parse_uri
from .messages import (
    MAX_BODY_SIZE,
    MAX_HEAD_SIZE,
    SHOWN_SIZE,
    USER_AGENT,
    VERSION,
    Problem,
    accept_value,
    begins_like_http,
    check_connection,
    check_n_headers,
    checked_subprotocols,
    closed_early,
    head_too_large,
    malformed,
    next_event,
    not_http,
    to_response,
    to_wire,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ClientHandshake"]

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

_GREETING_SIZE = 7  # bytes of a TLS alert

# Bytes: h11 is fed in pieces of this size if there is no smaller limit.
_PIECE_SIZE = 16_384


class ClientHandshake:
    """A client's opening handshake (RFC 6455 4.1).

    ``additional_headers`` go into the request unchanged, and replace ours of the same name. The handshake's own
    headers (``Upgrade``, ``Sec-WebSocket-Key``, ...) cannot be given. ``origin``: the ``Origin`` header, for servers
    that ask for one. ``subprotocols``: our offers, the preferred one first; it is no error if the server chooses
    none. ``compression``: our offer (RFC 7692); the attribute ``compression`` holds the result.
    ``user_agent_header``: None sends none. ``random_bytes`` makes the key. ``max_head_size``: bytes of the response's
    head that are read at most.

    Raises:
        InvalidURI: ``uri`` is not a WebSocket URI.
        ValueError: a subprotocol, a header, ``origin`` or ``compression`` has a value that cannot be sent.
        TypeError: ``subprotocols`` is one ``str`` instead of a list, or a value is no text.
    """

    request: Request
    """The request; a change to it has no effect on the bytes that are sent."""

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
        max_head_size: int = MAX_HEAD_SIZE,
    ) -> None:
        self.uri = parse_uri(uri) if isinstance(uri, str) else uri
        self.done = False
        """True when the response is complete, or can never become complete."""
        self.response: Response | None = None
        """The final response, when its head is complete."""
        self.subprotocol: str | None = None
        """The subprotocol that the server chose, or None."""
        self.compression: Agreement | None = None
        """The agreement about compression, or None."""
        self._compression = deflate.settings(compression)
        self._subprotocols = checked_subprotocols(subprotocols)
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
        self._problem: Problem | None = None
        self._http: h11.Connection | None = h11.Connection(h11.CLIENT, max_head_size)
        self._to_send = self._serialize_request(self._http)
        self._max_head_size = max_head_size
        self._first = b""  # the first bytes: as many as an error text shows
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
        headers["Sec-WebSocket-Version"] = VERSION
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
                headers=to_wire(self.request.headers),
            )
            data = http_.send(request)
            http_.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise ValueError(f"the request cannot be sent: {error}") from None
        return data

    @property
    def failed(self) -> bool:
        """True when there is an ``error``."""
        return self._problem is not None

    @property
    def error(self) -> InvalidHandshake | None:
        """The reason of the failure as an exception to raise, a new one each time; None if there is none."""
        return None if self._problem is None else cast("InvalidHandshake", self._problem.exception())

    @property
    def trailing_data(self) -> bytes:
        """The bytes after the response that opened the connection: the first frames."""
        return bytes(self._trailing)

    def take_trailing_data(self) -> bytes:
        """Return ``trailing_data`` and forget it: a connection lives longer than its handshake."""
        data = bytes(self._trailing)
        self._trailing = bytearray()
        return data

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
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
        elif self._problem is None:
            self._trailing += data

    def receive_eof(self) -> None:
        """Note that the server closed the connection."""
        if self.done:
            return
        if self.response is not None:
            self._refused()  # the body ends here, even if a longer one was announced
        elif self._first and not begins_like_http(self._first):
            self._end(not_http("server", self._first))
        else:
            how = "before its response was complete" if self._first else "without an answer"
            text = f"the server closed the connection {how}; is it a WebSocket server?"
            if not self.uri.secure and not self._first:
                text += ' If it speaks TLS, use "wss://"'
            self._end(closed_early(text))

    def _read(self, data: bytes) -> None:
        pos = 0
        while pos < len(data) and not self.done:
            in_head = self.response is None
            piece = data[pos : pos + (self._max_head_size - self._head_size if in_head else _PIECE_SIZE)]
            pos += len(piece)
            if in_head:
                self._head_size += len(piece)
                if not self._is_http(piece):
                    return
            assert self._http is not None
            self._http.receive_data(piece)
            early = self._read_events(self._http)
            if self.done and self._problem is None:
                self._trailing += early + data[pos:]
            elif self.response is None and self._head_size == self._max_head_size:
                raise head_too_large("response", self._max_head_size)

    def _is_http(self, piece: bytes) -> bool:
        """Tell whether the response begins like HTTP. False: the bytes so far do not yet tell the other protocol.

        Raises:
            InvalidMessage: enough bytes came, and they are not HTTP.
        """
        if len(self._first) < SHOWN_SIZE:
            self._first += piece[: SHOWN_SIZE - len(self._first)]
        if begins_like_http(self._first):
            return True
        if len(self._first) >= _GREETING_SIZE or b"\n" in self._first:
            raise not_http("server", self._first)
        return False

    def _read_events(self, http_: h11.Connection) -> bytes:
        """Act on h11's events until it needs more bytes; return the bytes after a 101."""
        while not self.done:
            try:
                event = next_event(http_)
            except h11.RemoteProtocolError as error:
                if self.response is None:
                    raise malformed("response", error) from error
                self._refused()  # the status is known; that is enough, even if the body is broken
                break
            if isinstance(event, h11.InformationalResponse):
                check_n_headers(event, "response")
                # RFC 9110 15.2: a client must be able to read and skip every other 1xx.
                if event.status_code == 101:
                    self.response = to_response(event)
                    self._check_response(self.response, event.http_version)
                    early = http_.trailing_data[0]
                    self._end(None)
                    return early
            elif isinstance(event, h11.Response):
                check_n_headers(event, "response")
                self.response = to_response(event)
            elif isinstance(event, h11.Data):
                self._body += event.data[: MAX_BODY_SIZE - len(self._body)]
                if len(self._body) == MAX_BODY_SIZE:
                    self._refused()
            elif isinstance(event, h11.EndOfMessage):
                self._refused()
            else:
                break
        return b""

    def _refused(self) -> None:
        assert self.response is not None
        self.response.body = bytes(self._body)
        self._end(InvalidStatus(self.response))

    def _end(self, error: InvalidHandshake | None) -> None:
        self._problem = None if error is None else Problem(error)
        self.done = True
        self._http = None
        self._body.clear()

    def _check_response(self, response: Response, http_version: bytes) -> None:
        """Check a 101 response by 4.1 and keep the subprotocol; raise ``InvalidHandshake`` if a check fails."""
        headers = response.headers
        if http_version != b"1.1":
            raise InvalidProtocol(f"HTTP/{http_version.decode('ascii')}")
        protocols = parse_upgrade(headers.get_all("Upgrade"))
        # 4.1, step 2: the response names exactly one protocol. Only a request may name more.
        if [protocol.lower() for protocol in protocols] != ["websocket"]:
            raise InvalidUpgrade("Upgrade", ", ".join(protocols) or None)
        check_connection(headers)
        accepts = headers.get_all("Sec-WebSocket-Accept")
        if not accepts:
            raise InvalidHeader("Sec-WebSocket-Accept")
        if accepts != [accept_value(self._key)]:
            raise InvalidHeaderValue("Sec-WebSocket-Accept", ", ".join(accepts))
        extensions = headers.get_all("Sec-WebSocket-Extensions")
        if self._compression is not None:
            self.compression = deflate.confirm(extensions, self._compression)
        elif parsed := parse_extensions(extensions):
            # 4.1, 9.1: a server must not use an extension that we did not offer, and we offered none.
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
