"""The part of ``connect`` that comes before any I/O, and the rules of its attempts: redirects, the proxy, TLS.

An adapter inherits ``Connecting`` and brings TCP, TLS, the time limit, and the delays between attempts.
"""

from __future__ import annotations

import logging
import random
import ssl as ssl_module
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..codec import Role
from ..connection import Connection as Protocol
from ..deflate import Compression, offer, settings
from ..exceptions import (
    HandshakeTimeout,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    SecurityError,
)
from ..handshake import ClientHandshake, redirects
from ..http import Headers, HeadersLike
from ..limits import Limits
from ..printable import shown, shown_uri
from ..proxy import Proxy, get_proxy, parse_proxy
from ..session import TURN_BOUNDS
from ..typing import LoggerLike
from ..uri import WebSocketURI, parse_uri
from .arguments import LIMIT_NAMES, check_proxy_options, limits_of, other_options, with_ratio

__all__ = ["BODY_TIMEOUT", "Attempt", "Connecting", "backoff", "process_exception"]

# Seconds that we wait for the rest of a refusal's body, which may tell the reason. Its status is known already.
BODY_TIMEOUT = 2.0


def process_exception(exception: Exception) -> Exception | None:
    """Tell whether a failed attempt is worth another one: return None to try again, else the exception to raise.

    Faults of the network, time limits, and the HTTP statuses 500, 502, 503 and 504 are temporary. The rest is not.
    """
    if isinstance(exception, InvalidStatus):
        return None if exception.response.status_code in (500, 502, 503, 504) else exception
    if isinstance(exception, InvalidMessage) and isinstance(exception.__cause__, EOFError | OSError):
        return None
    if isinstance(exception, ssl_module.SSLCertVerificationError):
        return exception
    return None if isinstance(exception, OSError | TimeoutError) else exception


def backoff() -> Generator[float]:
    """Yield delays between attempts, in seconds: a random one up to 5, then 3, then 1.5 times the last, up to 90."""
    yield random.random() * 5
    delay = 3.0
    while True:
        yield delay
        delay = min(delay * 1.5, 90.0)


@dataclass
class Attempt:
    """The state of an attempt to connect: how far redirects have led it."""

    uri: WebSocketURI
    headers: Headers
    handshake: ClientHandshake | None = None
    """The handshake of the attempt; set when there is a connection."""
    is_redirected: bool = False
    is_elsewhere: bool = False
    """True after a redirect to another origin."""


class Connecting:
    """The arguments of ``call``, checked: a mistake in them is raised before anything is connected."""

    def __init__(
        self,
        call: str,
        uri: str,
        options: dict[str, Any],
        *,
        origin: str | None,
        subprotocols: Sequence[str] | None,
        compression: Compression,
        additional_headers: HeadersLike | None,
        user_agent_header: str | None,
        proxy: str | Literal[True] | None,
        process_exception: Callable[[Exception], Exception | None],
        open_timeout: float | None,
        reconnect_delays: Callable[[], Iterable[float]],
        max_size: int | tuple[int | None, int | None] | None,
        max_queue: int | tuple[int | None, int | None] | None,
        limits: Limits | None,
        text: Literal["str", "bytes"],
        logger: LoggerLike | None,
    ) -> None:
        self._compression = settings(compression)
        if self._compression is not None:
            offer(self._compression)
        names = LIMIT_NAMES if limits is None else {}
        limits = limits_of(call, limits, max_size=max_size, max_queue=max_queue, open_timeout=open_timeout)
        self._limits = limits
        self._compression = with_ratio(self._compression, limits)
        self._protocol_options: dict[str, Any] = {
            **limits.codec_options(),
            "text": text,
            **TURN_BOUNDS,
            "limit_names": names,
        }
        Protocol(Role.CLIENT, **self._protocol_options)
        self.uri = uri
        self._uri_in_use: WebSocketURI  # of this attempt, as redirects have led it
        self._origin = origin
        self._subprotocols = subprotocols
        self._headers = Headers(additional_headers if additional_headers is not None else ())
        self._user_agent_header = user_agent_header
        self._process_exception = process_exception
        self._reconnect_delays = reconnect_delays
        self._open_timeout = limits.open_timeout
        self._logger: LoggerLike = logger or logging.getLogger("wsfast.client")
        self._tcp_options = other_options(call, options)
        if proxy is not None and proxy is not True and not isinstance(proxy, str):
            raise TypeError(f"proxy has to be a str, True or None, not {proxy!r}")
        self._proxy = parse_proxy(proxy) if isinstance(proxy, str) else proxy
        if isinstance(self._proxy, Proxy):
            check_proxy_options(self._tcp_options, self._proxy)

    # One attempt

    def _begin(self) -> Attempt:
        return Attempt(parse_uri(self.uri), self._headers)

    def _new_protocol(self, attempt: Attempt) -> Protocol:
        """Make the connection without I/O for an attempt. ``attempt.handshake`` is to be set when TCP is there."""
        attempt.handshake = None
        handshake = ClientHandshake(
            attempt.uri,
            origin=self._origin,
            subprotocols=self._subprotocols,
            compression=self._compression,
            additional_headers=attempt.headers,
            user_agent_header=self._user_agent_header,
            max_head_size=self._limits.max_head_size,
        )
        return Protocol(Role.CLIENT, handshake=handshake, **self._protocol_options)

    def _options_for(self, attempt: Attempt) -> dict[str, Any]:
        """Return the options for TCP and TLS, with ``ssl`` and ``server_hostname`` set for ``wss://``.

        Raises:
            ValueError: ``ssl`` contradicts the scheme of the URI.
        """
        uri, options = attempt.uri, dict(self._tcp_options)
        if uri.secure:
            if options.get("ssl") is False or ("ssl" in options and options["ssl"] is None):
                raise ValueError("ssl=None is for ws:// URIs; wss:// is encrypted")
            options.setdefault("ssl", True)
            if attempt.is_elsewhere:
                options.pop("server_hostname", None)  # the user gave it for the first origin
            options.setdefault("server_hostname", uri.tls_name)
        elif options.get("ssl") is not None:
            raise ValueError("ssl is for wss:// URIs; ws:// is not encrypted")
        sock = options.get("sock")
        if sock is not None and sock.fileno() < 0:
            raise ValueError("sock is closed; it serves one attempt to connect")
        return options

    def _proxy_for(self, uri: WebSocketURI) -> Proxy | None:
        if any(self._tcp_options.get(name) is not None for name in ("sock", "stream", "path")):
            return None
        if self._proxy is not True:
            return self._proxy
        found = get_proxy(uri)
        return None if found is None else parse_proxy(found)

    def _shown(self, attempt: Attempt) -> str:
        return shown_uri(str(attempt.uri) if attempt.is_redirected else self.uri)

    # Redirects

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the URI to which a refusal redirects, to follow it, or the exception to raise. For subclasses.

        By default a redirect is followed up to ten times, never from TLS to none, and not if ``sock``, or for another
        origin ``host``, ``port`` or a Unix socket, says where to connect. Whatever is returned: another origin gets no
        credentials (``Authorization``, ``Cookie``, ``Proxy-Authorization``, and those in the URI).
        """
        location = redirects.location(exc.response) if isinstance(exc, InvalidStatus) else None
        if location is None:
            return exc
        try:
            target = redirects.follow(self._uri_in_use, location)
        except (InvalidURI, SecurityError) as refused:
            return refused
        places = ("sock", "stream", "host", "port", "path")
        given = {name for name in places if self._tcp_options.get(name) is not None}
        if given & {"sock", "stream"} or (given and not redirects.same_origin(self._uri_in_use, target)):
            return redirects.RedirectError(
                f"refused to follow a redirect to {shown_uri(str(target))}: {', '.join(sorted(given))} "
                "said where to connect"
            )
        return str(target)

    def _follow(self, attempt: Attempt, exception: InvalidHandshake) -> None:
        """Lead the attempt to where a refusal redirects; raise if it does not, or must not be followed."""
        result = self.process_redirect(exception)
        try:
            if result is exception:
                raise exception
            if isinstance(result, Exception):
                raise result from exception
            target = parse_uri(result)
        finally:
            del result, exception  # their tracebacks have this frame: a cycle would keep the connection
        before, attempt.uri, attempt.is_redirected = attempt.uri, target, True
        if not redirects.same_origin(before, target):
            attempt.is_elsewhere = True
            attempt.headers = redirects.for_origin(attempt.headers)
        elif target.user_info is None:
            attempt.uri = replace(target, username=before.username, password=before.password)

    def _too_many_redirects(self) -> SecurityError:
        return SecurityError(f"{shown_uri(self.uri)} redirects more than {redirects.MAX_REDIRECTS} times")

    # Attempts that fail

    def _timed_out(self, attempt: Attempt) -> InvalidHandshake:
        handshake = attempt.handshake
        if handshake is not None and handshake.response is not None:
            handshake.receive_eof()  # The server has refused, but its body has not ended.
            # If it is a redirect, the time was too short to follow it.
            if handshake.error is not None and redirects.location(handshake.response) is None:
                return handshake.error
        return HandshakeTimeout(
            f"{self._shown(attempt)} did not finish the opening handshake within {self._open_timeout} s; "
            "is it a WebSocket server? open_timeout sets the limit"
        )

    def _raise_if_fatal(self, exception: Exception) -> None:
        """Raise, unless a failed attempt is worth another one."""
        fatal = self._process_exception(exception)
        try:
            if fatal is exception:
                raise exception
            if fatal is not None:
                raise fatal from exception
        finally:
            del fatal, exception  # as above

    def _log_failure(self, exception: Exception, delay: float) -> None:
        self._logger.info(
            "connecting to %s failed, again in %.1f s: %s",
            shown_uri(self.uri),
            delay,
            shown(str(exception), 1000),
        )
