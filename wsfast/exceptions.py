"""All exceptions of the package, with the names that users of ``websockets`` know.

    WebSocketException
        ConnectionClosed
            ConnectionClosedOK
            ConnectionClosedError
        InvalidURI
        InvalidProxy
        InvalidHandshake
            HandshakeTimeout        (also a TimeoutError)
            SecurityError
                TooManyHeaders, RequestLineTooLong, StatusLineTooLong, HeaderLineTooLong
            ProxyError
                InvalidProxyMessage
                InvalidProxyStatus
            InvalidMessage
            InvalidMethod
            InvalidProtocol
            InvalidStatus
            InvalidHeader
                InvalidHeaderFormat
                InvalidHeaderValue
                InvalidOrigin
                InvalidUpgrade
            NegotiationError
                DuplicateParameter, InvalidParameterName, InvalidParameterValue
        InvalidState                (also a RuntimeError)
        ConcurrencyError            (also a RuntimeError)
        ProtocolError               (also a ValueError)
        PayloadTooBig, TooManyFragments

A few exist only so that an ``except`` of a program for ``websockets`` finds its name. Their docstrings say so.

Two rules. A text describes the failure in plain words, and tells the user how to mend it if that is possible. And every
text goes through ``shown``, ``repr`` included: it may hold a peer's bytes, and it ends up in logs and on terminals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .events import Close, CloseCause, CloseCode, Failure
from .printable import SHOWN_SIZE, shown, shown_uri

if TYPE_CHECKING:
    from .http import Response

__all__ = [
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DuplicateParameter",
    "HandshakeTimeout",
    "HeaderLineTooLong",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidMethod",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidProtocol",
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatus",
    "InvalidURI",
    "InvalidUpgrade",
    "NegotiationError",
    "PayloadTooBig",
    "ProtocolError",
    "ProxyError",
    "RequestLineTooLong",
    "SecurityError",
    "StatusLineTooLong",
    "TooManyFragments",
    "TooManyHeaders",
    "WebSocketException",
]

# 7.4.1 and IANA's registry, in the words that logs have used for years.
_CODE_NAMES = {
    CloseCode.NORMAL_CLOSURE: "OK",
    CloseCode.NO_STATUS_RECEIVED: "no status received",
    CloseCode.ABNORMAL_CLOSURE: "abnormal closure",
    CloseCode.INVALID_PAYLOAD_DATA: "invalid frame payload data",
    CloseCode.TLS_HANDSHAKE: "TLS handshake failed",
}

_LIMITS = "10.4"  # of RFC 6455: an endpoint may have limits; a peer that exceeds one breaks no rule

# Characters of a whole text; each part from a peer has a limit of its own.
_TEXT_SIZE = 1000

# The usual reason of the most frequent statuses, for a WebSocket.
_STATUS_HINTS = {
    200: "an ordinary web page; is the path right?",
    401: "credentials are missing or wrong",
    403: "the server may not like the origin or the credentials",
    404: "is the path right?",
    426: "the server wants another protocol or version",
}


class WebSocketException(Exception):
    """Base of all exceptions of this package."""

    def __str__(self) -> str:
        return shown(self._text(), _TEXT_SIZE)

    def __repr__(self) -> str:
        # asyncio logs it. The arguments may hold a password, and any amount of a peer's text.
        return f"{type(self).__name__}({str(self)!r})"

    def _text(self) -> str:
        return super().__str__()


class ConnectionClosed(WebSocketException):
    """The connection is closed.

    ``rcvd`` and ``sent`` are the Close frames that were received and sent, or None. If there are both,
    ``rcvd_then_sent`` tells their order. ``cause`` says what ended the connection; ``__cause__`` is the error of the
    transport, or a ``TimeoutError``, if there was one.
    """

    cause: CloseCause

    def __init__(
        self, rcvd: Close | None = None, sent: Close | None = None, rcvd_then_sent: bool | None = None
    ) -> None:
        super().__init__(rcvd, sent, rcvd_then_sent)
        self.rcvd = rcvd
        self.sent = sent
        self.rcvd_then_sent = rcvd_then_sent
        if sent is None and rcvd is None:
            self.cause = CloseCause.TRANSPORT
        else:
            self.cause = CloseCause.PEER if sent is None or rcvd_then_sent else CloseCause.LOCAL

    @property
    def code(self) -> int:
        """The code of the peer's Close frame; 1006 if none was received (RFC 6455 7.1.5)."""
        return CloseCode.ABNORMAL_CLOSURE if self.rcvd is None else self.rcvd.code

    @property
    def reason(self) -> str:
        """The reason in the peer's Close frame; empty if none was received (RFC 6455 7.1.6)."""
        return "" if self.rcvd is None else self.rcvd.reason

    def _text(self) -> str:
        if self.rcvd is None and self.sent is None:
            return "no close frame received or sent"
        if self.rcvd is None:
            return f"sent {_close_text(self.sent)}; no close frame received"
        if self.sent is None:
            return f"received {_close_text(self.rcvd)}; no close frame sent"
        if self.rcvd_then_sent:
            return f"received {_close_text(self.rcvd)}; then sent {_close_text(self.sent)}"
        return f"sent {_close_text(self.sent)}; then received {_close_text(self.rcvd)}"


def _close_text(close: Close | None) -> str:
    assert close is not None
    code = close.code
    if 3000 <= code < 4000:
        name = "registered"
    elif 4000 <= code < 5000:
        name = "private use"
    else:
        try:
            known = CloseCode(code)
        except ValueError:
            name = "unknown"
        else:
            name = _CODE_NAMES.get(known) or known.name.lower().replace("_", " ")
    return f"{code} ({name}) {shown(close.reason)}".rstrip()


class ConnectionClosedOK(ConnectionClosed):
    """The connection was closed in order: each side sent a Close frame with 1000, 1001 or no code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection was lost, or closed with a code that means an error.

    If a fault of the peer is the reason, ``failure`` describes it (RFC 6455 7.1.7).
    """

    def __init__(
        self,
        rcvd: Close | None = None,
        sent: Close | None = None,
        rcvd_then_sent: bool | None = None,
        failure: Failure | None = None,
    ) -> None:
        super().__init__(rcvd, sent, rcvd_then_sent)
        self.failure = failure
        if failure is not None:
            self.cause = cause_of_failure(failure)

    def _text(self) -> str:
        text = super()._text()
        failure = self.failure
        if failure is not None and failure.section == _LIMITS:
            text += f"; a limit of ours: {shown(failure.reason)}"
        elif failure is not None:
            text += f"; the peer broke {failure.reference}: {shown(failure.reason)}"
        return text


def cause_of_failure(failure: Failure) -> CloseCause:
    """Return LIMIT for a limit of ours that a peer exceeded, PROTOCOL for a rule that it broke."""
    return CloseCause.LIMIT if failure.section == _LIMITS else CloseCause.PROTOCOL


class InvalidURI(WebSocketException):
    """The URI is not a WebSocket URI. ``msg`` gives the reason and the right form."""

    def __init__(self, uri: str, msg: str) -> None:
        super().__init__(uri, msg)
        self.uri = uri
        self.msg = msg

    def _text(self) -> str:
        return f"{shown_uri(self.uri) or 'an empty string'} is not a WebSocket URI: {self.msg}"


class InvalidProxy(WebSocketException):
    """The address of a proxy cannot be used. ``msg`` gives the reason; the text shows no password."""

    def __init__(self, proxy: str, msg: str) -> None:
        super().__init__(proxy, msg)
        self.proxy = proxy
        self.msg = msg

    def _text(self) -> str:
        return f"{shown_uri(self.proxy) or 'an empty string'} is not the address of a proxy: {self.msg}"


class InvalidHandshake(WebSocketException):
    """Base of all failures of the opening handshake."""


class HandshakeTimeout(InvalidHandshake, TimeoutError):
    """The opening handshake did not end in time."""


class SecurityError(InvalidHandshake):
    """The peer exceeded a limit, or asks for something that is not safe."""


class TooManyHeaders(SecurityError):
    """For programs written for ``websockets``; a head with too many headers is a ``SecurityError`` here."""


class RequestLineTooLong(SecurityError):
    """For programs written for ``websockets``; a head that is too large is a ``SecurityError`` here."""


class StatusLineTooLong(SecurityError):
    """For programs written for ``websockets``; a head that is too large is a ``SecurityError`` here."""


class HeaderLineTooLong(SecurityError):
    """For programs written for ``websockets``; a head that is too large is a ``SecurityError`` here."""


class ProxyError(InvalidHandshake):
    """The proxy did not connect us to the server."""


class InvalidProxyMessage(ProxyError):
    """The proxy's bytes are not a HTTP response, or not a complete one."""


class InvalidProxyStatus(ProxyError):
    """The proxy refused: its status is not 2xx. ``response`` is its answer, without a body."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def _text(self) -> str:
        response = self.response
        text = f"the proxy refused to connect: HTTP {response.status_code}"
        if response.reason_phrase:
            text += f" {shown(response.reason_phrase, 60)}"
        if response.status_code == 407:
            text += ' (the proxy wants credentials; write "http://user:password@proxy:port")'
        return text


class InvalidMessage(InvalidHandshake):
    """The peer's bytes are not a HTTP request or response, or not a complete one."""


class InvalidMethod(InvalidHandshake):
    """The request's method is not GET (RFC 6455 4.2.1)."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.method = method

    def _text(self) -> str:
        return f"a WebSocket handshake is a GET request, not {shown(self.method, 40)}"


class InvalidProtocol(InvalidHandshake):
    """The peer's HTTP version is not 1.1 (RFC 6455 4.1, 4.2.1)."""

    def __init__(self, protocol: str) -> None:
        super().__init__(protocol)
        self.protocol = protocol

    def _text(self) -> str:
        return (
            f"a WebSocket handshake needs HTTP/1.1, not {shown(self.protocol, 40)}; "
            "if there is a proxy between, let it use HTTP/1.1 (nginx: proxy_http_version 1.1)"
        )


class InvalidStatus(InvalidHandshake):
    """The server refused: its status is not 101. ``response`` is the whole answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response

    def _text(self) -> str:
        response = self.response
        text = f"the server refused the WebSocket connection: HTTP {response.status_code}"
        if response.reason_phrase:
            text += f" {shown(response.reason_phrase, 60)}"
        if 300 <= response.status_code < 400:
            places = response.headers.get_all("Location")
            return f"{text} (it points to {shown(places[0])})" if places else text
        if hint := _STATUS_HINTS.get(response.status_code):
            text += f" ({hint})"
        content_type = ",".join(response.headers.get_all("Content-Type"))
        if response.body and content_type.lower().startswith("text/plain"):
            # Plain text usually gives the server's reason; a page of HTML never does.
            first_line = (
                bytes(response.body[: 4 * SHOWN_SIZE]).decode("utf-8", "replace").strip().split("\n")[0]
            )
            text += f": {shown(first_line.strip())}"
        return text


class InvalidHeader(InvalidHandshake):
    """A header is missing (``value`` is None), or its value is not acceptable."""

    def __init__(self, name: str, value: str | None = None) -> None:
        super().__init__(name, value)
        self.name = name
        self.value = value

    def _text(self) -> str:
        if self.value is None:
            return f"missing {self.name} header"
        if self.value == "":
            return f"empty {self.name} header"
        return f"invalid {self.name} header: {shown(self.value)}"


class InvalidHeaderFormat(InvalidHeader):
    """A header does not follow its grammar: ``error`` at position ``pos`` of ``header``."""

    def __init__(self, name: str, error: str, header: str, pos: int) -> None:
        super().__init__(name, f"{error} at {pos} in {shown(header, 100)}")
        # Exceptions are copied and pickled by their arguments.
        self.args = (name, error, header, pos)


class InvalidHeaderValue(InvalidHeader):
    """A header follows its grammar, but its value is not acceptable."""


class InvalidOrigin(InvalidHeader):
    """The request's origin is not an allowed one (RFC 6455 4.2.2, 10.2)."""

    def __init__(self, origin: str | None) -> None:
        super().__init__("Origin", origin)
        self.args = (origin,)

    def _text(self) -> str:
        if self.value is None:
            return "requests without an Origin header are not allowed"
        return f"requests from the origin {shown(self.value)} are not allowed"


class InvalidUpgrade(InvalidHeader):
    """``Upgrade`` or ``Connection`` does not ask for, or agree to, WebSocket (RFC 6455 4.1, 4.2.1)."""

    def _text(self) -> str:
        return f"{super()._text()}; if there is a proxy between, let it pass Upgrade and Connection on"


class NegotiationError(InvalidHandshake):
    """The two sides do not agree on a subprotocol or an extension (RFC 6455 4.1, 9.1)."""


class DuplicateParameter(NegotiationError):
    """For programs written for ``websockets``: here an offer is declined, or it is a ``NegotiationError``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def _text(self) -> str:
        return f"the parameter {shown(self.name, 60)} is there twice"


class InvalidParameterName(NegotiationError):
    """For programs written for ``websockets``: here an offer is declined, or it is a ``NegotiationError``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def _text(self) -> str:
        return f"there is no parameter {shown(self.name, 60)}"


class InvalidParameterValue(NegotiationError):
    """For programs written for ``websockets``: here an offer is declined, or it is a ``NegotiationError``."""

    def __init__(self, name: str, value: str | None) -> None:
        super().__init__(name, value)
        self.name = name
        self.value = value

    def _text(self) -> str:
        if self.value is None:
            return f"the parameter {shown(self.name, 60)} needs a value"
        return f"the parameter {shown(self.name, 60)} cannot be {shown(self.value, 60)!r}"


class ProtocolError(WebSocketException, ValueError):
    """A call asks for bytes that must not be sent: a close code or a reason that no Close frame may have (7.4)."""


class PayloadTooBig(WebSocketException):
    """For programs written for ``websockets``: here a peer's large message is ``ConnectionClosedError``, 1009."""


class TooManyFragments(WebSocketException):
    """For programs written for ``websockets``: here a peer's many fragments are ``ConnectionClosedError``."""

    def __init__(self, max_fragments: int) -> None:
        super().__init__(max_fragments)
        self.max_fragments = max_fragments

    def _text(self) -> str:
        return f"more than {self.max_fragments} fragments"


class InvalidState(WebSocketException, RuntimeError):
    """The state of the connection or of the handshake does not allow this call."""


class ConcurrencyError(WebSocketException, RuntimeError):
    """This call is not possible while another one of its kind is waiting."""
